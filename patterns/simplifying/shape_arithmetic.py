"""Shapes that the graph computes: read them early, and from as little as possible."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from graphopt.ir import Value
from graphopt.patterns._shapes import KEEPS_SHAPE, Entry, entries, leaf, shape_of, slices_of
from graphopt.rewrite import Attrs, Axis, Const, Int, Ints, Maybe, Perm, op, rule
from graphopt.shapes import same_shape

#: How far up a shape is looked for.
_FARTHEST = 64


# --------------------------------------------------------------------------------------------------- where to read from
@rule(exact=True)
def shape_of_same(x, attrs: Attrs):
    """A shape is read from the earliest tensor that has it."""
    y = op.Shape(x, **attrs)
    yield y
    found = _earliest(x.value)
    if found is None:
        return "no earlier tensor provably has this shape, or to read one would only give it another reader"
    yield op.Shape(leaf(found), **attrs)


@rule(exact=True, always=True)
def dim_of_input(x, index: Const):
    """A dim that an input has too is read from the input."""
    y = op.Gather(op.Shape(x), index, axis=0)
    yield y
    k = _index(index, x.rank)
    found = _input_with(x.value, k)
    if found is None:
        return "no input has this dim"
    yield op.Gather(shape_of(found[0], y.value.node), np.full(index.shape, found[1]), axis=0)


@rule(exact=True)
def dims_of_input(x, start: Int, end: Int):
    """A dim that Shape takes by itself and that an input has too is read from the input."""
    yield op.Shape(x, start=start, end=end)
    chosen = range(x.rank or 0)[start:end]
    found = [_input_with(x.value, k) for k in chosen]
    if len(found) != 1 or found[0] is None:
        return "several dims, or no input has this dim"
    v, k = found[0]
    yield op.Shape(leaf(v), start=k, end=k + 1)


@rule(exact=True, always=True)
def gather_shape_transpose(x, p: Perm, indices: Const):
    """Dims of a transposed tensor are dims of the tensor."""
    t = op.Transpose(x, perm=p)
    yield op.Gather(op.Shape(t), indices, axis=0)
    if t.uses > 1 and x.uses == 1 and x.value.node is not None:
        return "x would only get another reader"
    if not np.all((np.asarray(indices) >= -len(p)) & (np.asarray(indices) < len(p))):
        return "not indices of its dims"
    yield op.Gather(op.Shape(x), np.asarray(p, np.int64)[np.asarray(indices)], axis=0)


@rule(exact=True)
def shape_of_constant_of_shape(shape, attrs: Attrs):
    """A tensor that is made with a shape has this shape."""
    yield op.Shape(op.ConstantOfShape(shape, **attrs))
    yield shape


@rule(exact=True, always=True)
def slice_shape(x, starts: Ints, ends: Ints, axes: Maybe[Ints], steps: Maybe[Ints]):
    """Some dims in a row are had from Shape itself."""
    yield op.Slice(op.Shape(x), starts=starts, ends=ends, axes=axes, steps=steps)
    cut = slices_of(starts, ends, axes, steps, 1)
    if x.rank is None or cut is None or list(cut) != [0] or cut[0][2] != 1:
        return "the rank is unknown, or not dims in a row"
    chosen = range(x.rank)[cut[0][0] : cut[0][1]]
    if not chosen:
        return "no dim at all"
    yield op.Shape(x, start=chosen[0], end=chosen[-1] + 1)


# ------------------------------------------------------------------------------------------------------- put together again
@rule(exact=True)
def concat_of_dims(*xs, axis: Axis):
    """Elements in a row that are put together are a slice of the vector that they come from."""
    y = op.Concat(*xs, axis=axis)
    yield y
    found = entries(y.value)
    if not found:
        return "not an integer vector"
    first, last, n = found[0], found[-1], len(found)
    if first.vector is not None and _in_a_row([(e.vector, e.index) for e in found]):
        if first.vector.shape == (n,):
            yield leaf(first.vector)
        else:
            yield op.Slice(leaf(first.vector), starts=[first.index], ends=[last.index + 1])
    else:
        return "not elements in a row"


# ---------------------------------------------------------------------------------------- what exporters write around it
@rule(exact=True)
def reshape_of_scalar(x, shape: Ints, allowzero: Maybe[Int]):
    """A scalar that becomes a list of one gets a dim, and loses it when it becomes a scalar again."""
    yield op.Reshape(x, shape=shape, allowzero=allowzero)
    if x.shape == () and shape in ([1], [-1]):
        yield op.Unsqueeze(x, axes=[0])
    elif x.rank == 1 and shape == []:
        yield op.Squeeze(x, axes=[0])
    else:
        return "neither a scalar nor a list of one"


@rule(exact=True)
def where_minus_one(shape, minus: Const, other: Const):
    """A test for -1 in a shape that is made of dims comes out as it must."""
    yield op.Where(op.Equal(shape, minus), other, shape)
    found = entries(shape.value) if shape.rank == 1 else None
    if not found or not _fits(minus, len(found)) or not _fits(other, len(found)) or np.any(np.asarray(minus) != -1):
        return "not a vector that is compared with -1"
    if all(e.is_size for e in found):
        yield shape
        return
    instead = np.broadcast_to(np.asarray(other), len(found))
    if all(isinstance(e.key, int) for e in found):
        yield np.array([i if e.key == -1 else e.key for e, i in zip(found, instead)], np.int64)
        return
    pieces = _pieces(shape.value, found, instead)
    if pieces is None:
        return "an element may be -1, or the vector is no Concat"
    yield op.Concat(*pieces, axis=0)


def _earliest(y: Value) -> Value | None:
    """The earliest value that has the shape of y and would not lose a fusion by another reader; None where there is none."""
    best, v, alone = None, y, _readers(y) == 1
    for _ in range(_FARTHEST):
        above = _same_above(v)
        if above is None or above.graph is not y.graph:
            break
        v = above
        if alone or v.node is None or _readers(v) > 1:
            best = v
        alone = alone and _readers(v) == 1
    return best


def _readers(v: Value) -> int:
    return len(v.uses) + v.exits


def _same_above(v: Value) -> Value | None:
    """An input of the producer of v that has the same shape as v."""
    node = v.node
    if node is None or node.domain:
        return None
    if node.op in KEEPS_SHAPE and v is node.outputs[0]:
        return node.inputs[0]
    return next((i for i in node.inputs if i is not None and same_shape(v.shape, i.shape) is True), None)


def _input_with(v: Value, axis: int | None) -> tuple[Value, int] | None:
    """An input of the model that has a dim of the same name, and which; None for an input and outside the main graph."""
    graph = v.graph
    if axis is None or v.shape is None or v in graph.inputs or graph is not graph.model.graph:
        return None
    name = v.shape[axis]
    if not isinstance(name, str):
        return None
    return next(((i, i.shape.index(name)) for i in graph.inputs if i.shape is not None and name in i.shape), None)


def _index(index: Any, length: int | None) -> int | None:
    """The only element of an index, counted from the front."""
    i = index.item()
    if i is None or length is None or not -length <= i < length:
        return None
    return int(i) % length


def _in_a_row(places: Sequence[tuple[Value | None, int]]) -> bool:
    """Whether these are neighbours: (vector or tensor, index)."""
    return all(a[0] is b[0] is not None and b[1] == a[1] + 1 for a, b in pairwise(places))


def _fits(c: Any, length: int) -> bool:
    """Whether a constant goes with a vector without making it longer."""
    return c.ndim <= 1 and c.size in (1, length)


def _pieces(v: Value, found: list[Entry], instead: np.ndarray) -> list[Any] | None:
    """The parts of a Concat, with other values where a constant part is -1."""
    if v.node is None or v.node.op != "Concat":
        return None
    pieces: list[Any] = []
    start = 0
    for part in v.node.inputs:
        held = entries(part) if part is not None else None
        if held is None:
            return None
        here = slice(start, start + len(held))
        if all(e.is_size for e in held):
            pieces.append(leaf(part))
        elif all(isinstance(e.key, int) for e in held):
            pieces.append(np.array([i if e.key == -1 else e.key for e, i in zip(held, instead[here])], np.int64))
        else:
            return None
        start += len(held)
    return pieces if start == len(found) else None
