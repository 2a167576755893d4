"""Masks of attention that show each query the keys up to its own place, as exporters write and compute them."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from graphopt.ir import Value
from graphopt.testing.building.recipes import counted, size_of
from graphopt.testing.operators.site import Shape, Site
from graphopt.testing.values import np_dtype


def causal_mask(s: Site, shape: Shape, past: int, dtype: int) -> Value:
    """Such a mask behind a past, of booleans or of numbers that are added; now and then with another diagonal, and often with
    something else that it hides."""
    b, (rows, columns) = s.builder, shape[-2:]
    diagonal = past + (s.choices.one([-1, 1]) if s.choices.chance(10) else 0)
    make = s.choices.one([_compared, _compared, _cut, _sliced])
    seen = make(s, rows, columns, diagonal)
    others = s.random().integers(0, 4, shape if s.choices.integer(0, 1) else (*shape[:-2], 1, columns)) > 0
    beside = s.choices.integer(0, 1) == 1
    if dtype == TensorProto.BOOL:
        return b.node("And", _either_order(s, seen, b.input(others, "seen")))[0] if beside else seen
    low = -np.inf if s.choices.integer(0, 2) else -6e4 if dtype == TensorProto.FLOAT16 else -3e38
    zero, hidden = (b.constant(np.array(x, np_dtype(dtype))) for x in (0, low))
    mask = b.node("Where", [seen, zero, hidden])[0]
    if not beside:
        return mask
    added = b.input(np.where(others, s.random().integers(-4, 5, others.shape) / 4, low).astype(np_dtype(dtype)), "mask")
    return b.node("Add", _either_order(s, mask, added))[0]


def _either_order(s: Site, x: Value, y: Value) -> list[Value]:
    return [x, y] if s.choices.integer(0, 1) else [y, x]


def _compared(s: Site, rows: int, columns: int, diagonal: int) -> Value:
    """Of the numbers of rows and columns."""
    b = s.builder
    place = [
        counted(b, shape, axis, size_of(b, shape[axis]) if s.choices.integer(0, 1) else None)
        for shape, axis in (((rows, 1), 0), ((1, columns), 1))
    ]
    if diagonal or s.choices.chance(6):
        place[0] = b.node("Add", [place[0], b.constant(np.array(diagonal, np.int64))])[0]
    kind = s.choices.one(["LessOrEqual", "GreaterOrEqual", "Greater", "Less"])
    seen = b.node(kind, place[::-1] if kind in ("LessOrEqual", "Greater") else place)[0]
    return b.node("Not", [seen])[0] if kind in ("Greater", "Less") else seen


def _cut(s: Site, rows: int, columns: int, diagonal: int) -> Value:
    """Ones, of which the upper or the lower triangle is kept."""
    b, upper = s.builder, s.choices.integer(0, 1)
    ones = b.node("Expand", [b.constant(np.array(1, np.float32)), b.constant(np.array([rows, columns], np.int64))])[0]
    k = b.constant(np.array(diagonal + upper, np.int64))
    kept = b.node("Trilu", [ones, k], {"upper": upper})[0]
    if upper:
        return b.node("Equal", [kept, b.constant(np.array(0, np.float32))])[0]
    return b.node("Cast", [kept], {"to": int(TensorProto.BOOL)})[0]


def _sliced(s: Site, rows: int, columns: int, diagonal: int) -> Value:
    """A part of a larger table."""
    b = s.builder
    before = max(diagonal, 0)
    size = max(before + rows, columns) + s.choices.integer(1, 3)
    table = b.constant(np.tri(size, size, diagonal - before, bool)[None, None], "table")
    starts, ends, axes = (b.constant(np.array(n, np.int64)) for n in ([before, 0], [before + rows, columns], [2, 3]))
    return b.node("Slice", [table, starts, ends, axes])[0]
