"""Operands whose neighbours along the last axis are taken apart, turned and put together, as rotations of positions do."""

from __future__ import annotations

from graphopt.testing.operators.site import Shape, Site


def pairs_to_slice(s: Site) -> Shape:
    """A shape with an even number of elements along the last axis, most often."""
    x = s.new_shape(0, 1)
    known = [d for d in (8, 2, 4, 12) if d not in s.builder.names or s.choices.chance(8)]
    return x if s.choices.chance(8) else (*x[:-1], s.choices.one(known))


def put_together(s: Site, x: Shape, copied: bool) -> list[int]:
    """Pairs along the last axis made neighbours in the axis before it; or the last axis made groups."""
    low, high = s.output_ranks()
    lead = [0] * len(x) if copied and s.choices.integer(0, 2) else list(x)  # what a 0 copies is known to be the same
    if x[-1] == 2 and len(x) > 1 and low <= len(x) - 1 <= high and "Gather" not in s.operators:
        return [*lead[:-2], 2 * x[-2]]
    if not x[-1]:
        return list(x)
    s.note("axis", len(x))
    inner = s.choices.one([k for k in (2, 2, 3, 1, x[-1]) if x[-1] % k == 0])
    return [*lead[:-1], x[-1] // inner, inner]


def to_be_repeated(s: Site) -> Shape:
    """A shape with a last axis of 1, and one for heads as it is wanted."""
    wanted = s.wanted
    if wanted is None or len(wanted) != 5 or wanted[-1] != 2:
        shape = s.new_shape(0, 1 if s.choices.chance(3) else 4, 4)
        return (*shape, 1) if len(shape) < 4 else (*for_all_heads(s, shape), 1)
    return (*for_all_heads(s, wanted[:-1]), 1)


def for_all_heads(s: Site, full: Shape) -> Shape:
    """A shape beside one by batch, heads, positions and elements, or by batch, positions, heads and elements."""
    if len(full) != 4:
        return full
    heads = s.recent("heads") or [s.choices.one([1, 2])]
    s.note("heads", heads[0])
    dims = list(full)
    dims[heads[0]] = 1
    if s.choices.chance(3):
        dims[0] = 1
    return tuple(dims)
