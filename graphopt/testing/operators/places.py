"""Operands that belong together: the parts of a tensor side by side, elements by their own places, and indices among all
places."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from onnx import TensorProto

from graphopt.ir import Value
from graphopt.testing.building.builder import Invalid
from graphopt.testing.building.recipes import assembled, counted, size_of
from graphopt.testing.operators.site import Shape, Site
from graphopt.testing.values import array as draw_array


def part_of_all(s: Site, x: Shape) -> None:
    """One of several slices that are all of a tensor together; now and then one of them is missing, or takes more."""
    axis, builder = s.choices.integer(0, len(x) - 1), s.builder
    bounds = sorted({0, x[axis], *(s.choices.integer(0, x[axis]) for _ in range(s.choices.integer(1, 3)))})
    parts = [[a, b] for a, b in pairwise(bounds)] or [[0, 0]]
    own = s.choices.one(parts)
    others = [p for p in parts if p is not own]
    if s.choices.chance(3) and others:  # one ends or lies elsewhere
        near = s.choices.one(others)
        start, end = near
        near[:] = s.choices.one([[start, end - 1], [max(start - 1, 0), end - 1], [s.choices.integer(0, end), end]])
    for start, end in others:
        named = {"starts": [start], "ends": [end], "axes": [axis]}
        if "starts" in s.schema.attributes:
            part = builder.node("Slice", [s.inputs[0]], named)[0]
        else:
            part = builder.node("Slice", [s.inputs[0], *(builder.constant(np.array(v)) for v in named.values())])[0]
        if part.graph is builder.model.graph:
            builder.output(part)
    s.parameter("axes", lambda: [axis])
    s.parameter("starts", lambda: own[:1])
    s.parameter("ends", lambda: own[1:])


def own_places(s: Site, x: Shape) -> Value:
    """For each element of a tensor its place; now and then a part of them, in another order, or put together otherwise."""
    b, rank = s.builder, len(x) + s.choices.integer(0, 2)
    axes = sorted(s.choices.order(rank)[: len(x)]) if not s.choices.chance(8) else s.choices.order(rank)[: len(x)]
    dims = [1] * rank
    for a, d in zip(axes, x, strict=True):
        dims[a] = d - (d > 1 and s.choices.chance(8))
    if s.choices.chance(12):
        dims[s.choices.integer(0, rank - 1)] = 1
    widths = [1] * len(x)
    if len(x) > 1 and s.choices.chance(12):  # two indices in one, none in another
        widths[:2] = s.choices.one([[2, 0], [0, 2]])
    parts = [_counted(s, (*dims, w), a) for a, w in zip(axes, widths, strict=True)]
    if s.choices.chance(12):  # nobody can tell
        parts = [b.input(b.arrays[p], "places") for p in parts]
    aside = len(x) > 1 and s.choices.chance(8)
    axis = s.choices.integer(0, rank - 1) if aside else s.choices.one([-1, rank])
    if len({tuple(np.delete(b.arrays[p].shape, axis)) for p in parts}) > 1:
        raise Invalid("the indices are not put together")
    return b.node("Concat", parts, {"axis": axis})[0]


def flat_places(s: Site) -> None:
    """For each element of a matrix its place among all of them, which are in a column; now and then other elements."""
    b, node = s.builder, s.inputs[0].node
    x = node.inputs[0] if node is not None and node.op in ("Flatten", "Reshape") else None
    if x is None or len(b.arrays[x].shape) != 2 or s.array(0).shape[:1] != (b.arrays[x].size,):
        return
    (m, n), rank = b.arrays[x].shape, s.choices.integer(2, 4)
    rows, columns = s.choices.order(rank)[:2] if s.choices.chance(6) else sorted(s.choices.order(rank)[:2])
    steps = n if m == 1 or not s.choices.chance(6) else s.choices.integer(0, n)
    wide = (
        n + s.choices.one([-1, 1]) if min(m, n) > 1 and s.choices.chance(6) else n
    )  # more of them go on in the next row
    parts = []
    for count, axis in ((m - (wide > n or (m > 1 and s.choices.chance(8))), rows), (wide, columns)):
        part = _counted(s, tuple(count if k == axis else 1 for k in range(rank)), axis)
        parts.append(b.input(b.arrays[part], "places") if s.choices.chance(12) else part)
    if s.choices.integer(0, 1):
        width = b.constant(np.array(steps, np.int64))
    else:
        width = assembled(b, np.array([steps], np.int64))
    both = [b.node("Mul", [parts[0], width])[0], parts[1]]
    s.take(1, b.node("Add", both if s.choices.integer(0, 1) else both[::-1])[0])


def indices_among(s: Site, i: int) -> None:
    """Indices: which elements are the largest ones, places, or numbers that may count from the end."""
    b, shape = s.builder, s.choices.one([(2,), (3, 2), (2, 2), (1,), (2, 1)])
    kind = s.choices.weighted(((3, "chosen"), (3, "counted"), (1, "numbers")))
    if kind == "chosen":
        x = b.input(draw_array(s.choices, int(TensorProto.FLOAT), (*shape, s.choices.integer(1, 4))), "x")
        s.take(i, b.node("ArgMax", [x], {"axis": len(shape), "keepdims": 0})[0])
    elif kind == "counted":
        s.take(i, _counted(s, shape, s.choices.integer(0, len(shape) - 1)))
    else:
        s.take(i, b.input(s.random().integers(-3, 4, shape), "x"))


def all_places(s: Site, i: int, x: Shape) -> None:
    """All places that indices may stand for, in a row beside them; now and then others, elsewhere, or repeated."""
    b, depth = s.builder, s.choices.integer(0 if s.choices.chance(4) else 1, 4)
    rows = x[-2] if len(x) > 1 else depth
    shapes = [(depth,), (depth,), (1, depth), (*x[:-1], depth), (2, depth), (rows, 1)]
    if x[-1] > 1:  # the dim of their own is not the last one
        shapes = [(x[-1],), (x[-1], x[-1])]
    elif s.choices.integer(0, 1):
        s.take(i, b.constant(np.arange(depth) + s.choices.chance(8)))
        return
    shape = s.choices.one(shapes)
    s.take(i, _counted(s, shape, 0 if shape == (rows, 1) else len(shape) - 1))


def _counted(s: Site, shape: Shape, axis: int) -> Value:
    """0, 1, 2... along an axis, up to a number or to the size of something."""
    return counted(s.builder, shape, axis, size_of(s.builder, shape[axis]) if s.choices.integer(0, 1) else None)


def never_negative(s: Site, i: int) -> None:
    """Positions along an axis, which are compared with what may be a bound of theirs."""
    shape = s.choices.one([(3,), (2, 1), (1, 3), (2, 3), (1,)])
    s.take(i, _counted(s, shape, s.choices.integer(0, len(shape) - 1)))
    bound = s.choices.one([(), (1,), (1, 1), shape])
    s.operand(1 - i, bound, array=np.full(bound, s.choices.one([0, 0, -1, -3, 1]), np.int64))


def buckets_of_distances(s: Site, i: int, rows: int) -> None:
    """For each distance of two positions a row: by itself up to a number, by halves for both signs, or more coarsely further
    away; now and then without an end."""
    b = s.builder
    m, n = s.choices.integer(1, 4), s.choices.integer(1, 4)
    places = [_counted(s, (m, 1), 0), _counted(s, (1, n), 1)]
    d = b.node("Sub", places if s.choices.integer(0, 1) else places[::-1])[0]

    def number(k: float, dtype: type = np.int64) -> Value:
        return b.constant(np.array(k, dtype))

    far = b.node("Abs", [d])[0]
    half = max(rows // 2, 1)
    if s.choices.integer(0, 1):  # the logarithm of what is further away
        real = b.node("Cast", [b.node("Max", [far, number(1)])[0]], {"to": int(TensorProto.FLOAT)})[0]
        log = b.node("Mul", [b.node("Log", [real])[0], number(1.37, np.float32)])[0]
        far = b.node("Cast", [log], {"to": int(TensorProto.INT64)})[0]
    elif s.choices.chance(6):
        far = b.node("Neg", [far])[0]
    far = far if s.choices.chance(8) else b.node("Min", [far, number(half - 1)])[0]
    behind = b.node("Cast", [b.node("Greater", [d, number(0)])[0]], {"to": int(TensorProto.INT64)})[0]
    s.take(i, b.node("Add", [b.node("Mul", [behind, number(rows - half)])[0], far])[0])
