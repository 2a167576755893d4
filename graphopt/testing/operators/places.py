"""Operands that belong together: the parts of a tensor side by side, and elements by their own places."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from graphopt.ir import Value
from graphopt.testing.building.builder import Invalid
from graphopt.testing.building.recipes import assembled, counted
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
    """For each element of a tensor its place; now and then a part of them, or in another order."""
    b, rank = s.builder, len(x) + s.choices.integer(0, 2)
    axes = sorted(s.choices.order(rank)[: len(x)]) if not s.choices.chance(8) else s.choices.order(rank)[: len(x)]
    dims = [1] * rank
    for a, d in zip(axes, x, strict=True):
        dims[a] = d - (d > 1 and s.choices.chance(8))
    if s.choices.chance(12):
        dims[s.choices.integer(0, rank - 1)] = 1
    parts = [counted(b, (*dims, 1), a) for a in axes]
    shapes = {b.arrays[p].shape for p in parts}
    if len(shapes) > 1:
        raise Invalid("the indices are not put together")
    return b.node("Concat", parts, {"axis": s.choices.one([-1, rank])})[0]


def flat_places(s: Site) -> None:
    """A matrix flattened, and for each of its elements its place there; now and then another one."""
    b, rank = s.builder, s.choices.integer(2, 4)
    m, n = s.choices.integer(1, 4), s.choices.integer(1, 4)
    rows, columns = s.choices.order(rank)[:2] if s.choices.chance(6) else sorted(s.choices.order(rank)[:2])
    x = b.input(draw_array(s.choices, s.dtype(0), (m, n)), "x")
    if s.choices.integer(0, 1):
        s.take(0, b.node("Flatten", [x], {"axis": 2})[0])
    else:
        s.take(0, b.node("Reshape", [x, b.constant(np.array(s.choices.one([[-1], [-1, 1]]), np.int64))])[0])
    row = counted(b, tuple(m if k == rows else 1 for k in range(rank)), rows)
    column = counted(b, tuple(n if k == columns else 1 for k in range(rank)), columns)
    steps = n if m == 1 or not s.choices.chance(6) else s.choices.integer(1, n)
    if s.choices.integer(0, 1):
        width = b.constant(np.array(steps, np.int64))
    else:
        width = assembled(b, np.array([steps], np.int64))
    product = b.node("Mul", [row, width])[0]
    s.take(1, b.node("Add", [product, column] if s.choices.integer(0, 1) else [column, product])[0])


def among_places(s: Site) -> None:
    """Indices with a dim of their own, and all the places that they may stand for; now and then not quite all that."""
    b, depth = s.builder, s.choices.integer(1, 4)
    shape = s.choices.one([(2,), (3, 2), (1,), (2, 1)])
    if s.choices.chance(6):
        x = b.input(np.zeros(shape, np.int64), "x")
    else:
        x = counted(b, shape, s.choices.integer(0, len(shape) - 1))
    axis = len(shape) if not s.choices.chance(8) else 0
    if "axes" in b.schema("Unsqueeze").attributes:
        wide = b.node("Unsqueeze", [x], {"axes": [axis]})[0]
    else:
        wide = b.node("Unsqueeze", [x, b.constant(np.array([axis], np.int64))])[0]
    first = s.choices.chance(8)
    places = b.constant(np.arange(depth) + first) if s.choices.integer(0, 1) else counted(b, (depth,), 0)
    for i, v in enumerate([wide, places] if s.choices.integer(0, 1) else [places, wide]):
        s.take(i, v)


def never_negative(s: Site, i: int) -> None:
    """Positions along an axis, which are compared with what may be a bound of theirs."""
    shape = s.choices.one([(3,), (2, 1), (1, 3), (2, 3), (1,)])
    s.take(i, counted(s.builder, shape, s.choices.integer(0, len(shape) - 1)))
