"""Images that are cut into blocks of rows and columns, which become channels, or are made of channels."""

from __future__ import annotations

from graphopt.testing.operators.site import Shape, Site


def image_of_blocks(s: Site) -> Shape:
    """A shape in which rows and columns, or channels, are enough for blocks, most often of two by two."""
    x = s.new_shape(0, 4)
    if len(x) != 4 or s.choices.chance(8):
        return x
    size = 2 if s.op_type == "Slice" else s.choices.one([2, 2, 1, 3])
    s.note("block", size)
    if "DepthToSpace" in s.operators:
        return (x[0], x[1] * size * size, *x[2:])
    return (x[0], *(d * size for d in x[1:]))


def cut_into_blocks(s: Site, x: Shape) -> list[int]:
    """An image with its blocks as dims of their own, and back: after dims have changed places."""
    size = (s.recent("block") or [1])[0]
    if len(x) == 6:
        if not s.operators.isdisjoint(("DepthToSpace", "Resize")):
            return [x[0], x[1], x[2] * x[3], x[4] * x[5]]
        return [x[0], x[1] * x[2] * x[3], x[4], x[5]]
    batch, channels, height, width = x
    if "Resize" in s.operators:
        return _mixed(s, [batch, channels, height, 1, width, 1])
    if "DepthToSpace" not in s.operators:
        s.note("order", s.choices.one([[0, 3, 5, 1, 2, 4], [0, 3, 5, 1, 2, 4], [0, 1, 3, 5, 2, 4]]))
        rows, columns = height // size, width // size
        if s.choices.chance(6):  # as many elements, by other rows or channels
            return s.choices.one(
                [[batch, channels * size, rows, size, columns, 1], [batch, channels, 1, size, rows * columns, size]]
            )
        return _mixed(s, [batch, channels, rows, size, columns, size])
    kept = channels // (size * size)
    orders = (([kept, size, size], [0, 1, 4, 2, 5, 3]), ([size, size, kept], [0, 3, 4, 1, 5, 2]))
    block, order = s.choices.one(orders)
    s.note("order", order)
    return _mixed(s, [batch, *block, height, width])


def _mixed(s: Site, dims: list[int]) -> list[int]:
    """Dims, now and then with some that have changed places."""
    if not s.choices.chance(5):
        return dims
    first = s.choices.integer(0, 4)
    return [*dims[:first], *dims[first:][::-1]]
