"""What is computed and never read is not computed: channels, columns and rows that are cut off behind products with weights."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from graphopt.ir import Node
from graphopt.patterns._elementwise import FLOATS
from graphopt.patterns._parts import Part, part_of
from graphopt.patterns._shapes import parts_of, size_of, slices_of
from graphopt.rewrite import Attrs, Axis, Const, Filled, Float, Int, Ints, Maybe, Rule, any_of, op, rule
from graphopt.rewrite.terms import Constant, Term

#: Places of an axis are listed up to so many.
_LARGEST = 1 << 16
#: Weights of which one column is read: a page of memory for each row.
_LARGEST_APART = 1 << 20
_NOTHING = "no product in front, such as Conv or MatMul, is computed for the rest alone"


@rule
def slice_of_product(y, starts: Ints, ends: Ints, axes: Maybe[Ints], steps: Maybe[Ints]):
    """A slice of what weights make is what a slice of the weights makes."""
    part = op.Slice(y, starts=starts, ends=ends, axes=axes, steps=steps)
    yield part
    cut = slices_of(starts, ends, axes, steps, y.rank)
    if cut is None or len(cut) != 1:
        return "not along one axis"
    ((axis, bounds),) = cut.items()
    size = size_of(y, axis)
    if not isinstance(size, int) or size > _LARGEST:
        return "it is not known how many channels there are"
    found = part_of(y.value, Part(axis, tuple(range(size)[slice(*bounds)])), (part.value.node,), 1)
    if found is None:
        return _NOTHING
    yield found


@rule
def gather_of_product(y, indices: Const, axis: Axis):
    """Elements along an axis of what weights make are what these of the weights make."""
    part = op.Gather(y, indices, axis=axis)
    yield part
    if indices.ndim > 1:
        return "not a list of places"
    places = tuple(np.ravel(indices).tolist())
    found: Any = part_of(y.value, Part(axis, places, indices.ndim == 0), (part.value.node,), 1)
    if found is None and indices.ndim == 0:
        found = part_of(y.value, Part(axis, places), (part.value.node,), 0)
        found = None if found is None else op.Squeeze(found, axes=[axis])
    if found is None:
        return _NOTHING
    yield found


def _read(split: Node) -> list[int]:
    """Which parts of a Split somebody reads."""
    return [k for k, v in enumerate(split.outputs) if v is not None and v.used]


def _only_part(n: int) -> Rule:
    def body(x, axis: Axis, split: Maybe[Ints], num_outputs: Maybe[Int]):
        parts = op.Split(x, axis=axis, split=split, num_outputs=num_outputs, outputs=n)
        yield any_of(*parts)
        (part,) = [p for p in parts if p.value is not None]
        node = part.value.node
        sizes = parts_of(node)
        if sizes is None or _read(node) != [part.index]:
            return "another part is read, or the sizes are not known"
        start = sum(sizes[1][: part.index])
        yield op.Slice(x, starts=[start], ends=[start + sizes[1][part.index]], axes=[axis])

    body.__name__ = body.__qualname__ = f"only_part_of_{n}"
    body.__doc__ = f"The only one of {n} parts that anybody reads is a slice."
    return rule(
        body
    )  # exact, but Slices become Splits part by part in the phase of lowering, where exact rules run too


only_part_of_2, only_part_of_3, only_part_of_4 = (_only_part(n) for n in (2, 3, 4))


def _two_parts(left_out: int) -> Rule:
    def body(y, axis: Axis, split: Maybe[Ints], num_outputs: Maybe[Int]):
        parts = op.Split(y, axis=axis, split=split, num_outputs=num_outputs, outputs=3)
        read = tuple(p for k, p in enumerate(parts) if k != left_out)
        yield read
        node = read[0].value.node
        sizes = parts_of(node)
        if sizes is None or sum(sizes[1]) > _LARGEST or left_out in _read(node):
            return "all parts are read, or their sizes are not known"
        bounds = list(pairwise(accumulate(sizes[1], initial=0)))
        start, end = bounds.pop(left_out)
        places = tuple(i for i in range(sum(sizes[1])) if not start <= i < end)
        found = part_of(y.value, Part(axis, places), (node,), 0)
        if found is None:
            return _NOTHING
        yield op.Split(found, split=[b - a for a, b in bounds], axis=axis, outputs=2)

    name = ("first", "second", "third")[left_out]
    body.__name__ = body.__qualname__ = f"split_without_{name}"
    body.__doc__ = f"Three parts of what weights make, of which nobody reads the {name}, are made without it."
    return rule(body)


split_without_first, split_without_second, split_without_third = map(_two_parts, range(3))


# ------------------------------------------------------------------------------------------ weights and inputs of zero
@rule
def convolution_of_unused_channels(x, w: Const, b: Maybe[Const], a: Attrs):
    """Channels that meet nothing but weights of zero are not computed."""
    y = op.Conv(x, w, b, **a)
    yield y
    if a["group"] != 1:
        return "groups"
    found = _used(x, 1, w, 1, y)
    if found is None:
        return "no weights of zero, or " + _NOTHING
    yield op.Conv(*found, b, **a)


@rule
def product_of_unused_columns(x, w: Const["K N"]):
    """Columns that meet nothing but weights of zero are not computed."""
    y = x @ w
    yield y
    found = _used(x, -1, w, 0, y)
    if found is None:
        return "no weights of zero, or " + _NOTHING
    yield op.MatMul(*found)


@rule
def gemm_of_unused_columns(x, w: Const["_ _"], b: Maybe[Const], a: Attrs):
    """Columns that meet nothing but weights of zero are not computed."""
    y = op.Gemm(x, w, b, **a)
    yield y
    found = _used(x, int(not a["transA"]), w, int(bool(a["transB"])), y)
    if found is None:
        return "no weights of zero, or " + _NOTHING
    yield op.Gemm(*found, b, **a)


def _used(x: Any, x_axis: int, w: Constant, axis: int, y: Any) -> tuple[Term, np.ndarray] | None:
    """Of an operand of the product y the part that meets weights other than zero, and these; None where that is all or
    none, or cannot be computed alone.

    A first look is at the weights of one output. Where these lie apart in large weights, there is none.
    """
    if x.value.node is None or x.uses > 1 or x.rank is None or w.onnx_dtype not in FLOATS or not w.size:
        return None
    if (axis == 0 and w.size > _LARGEST_APART) or w.value.const is None:
        return None
    weights = np.moveaxis(w.value.const.view(), axis, 0)
    first = weights[:, 0].reshape(len(weights), -1)[:, 0]
    unused = {i for i in np.flatnonzero(first == 0).tolist() if not np.any(weights[i])}
    used = tuple(i for i in range(len(weights)) if i not in unused)
    if not unused:
        return None
    found = part_of(x.value, Part(x_axis % x.rank, used), (y.value.node,), 0)
    return None if found is None else (found, np.take(w.array, used, axis))


@rule
def convolution_of_added_channels(x, w: Const, b: Maybe[Const], p: Ints, v: Maybe[Float], axes: Maybe[Ints], a: Attrs):
    """Channels of zeros in front of a convolution need no weights."""
    yield op.Conv(op.Pad(x, pads=p, value=v, axes=axes, mode="constant"), w, b, **a)
    if v or a["group"] != 1:
        return "not zeros, or groups"
    pads = np.zeros((2, w.ndim), np.int64)
    pads[:, slice(None) if axes is None else axes] = np.split(np.array(p), 2)
    before, after = pads[:, 1].tolist()
    if (pads[:, 1] < 0).any() or not 0 < before + after < w.shape[1]:
        return "no channels are added, or some are cut off"
    pads[:, 1] = 0
    padded = op.Pad(x, pads=pads.ravel().tolist()) if pads.any() else x
    yield op.Conv(padded, w[:, before : w.shape[1] - after], b, **a)


@rule
def convolution_of_concat_with_zeros(x, z: Filled[0], w: Const, b: Maybe[Const], axis: Axis, a: Attrs):
    """Channels of zeros beside others need no weights."""
    first = op.Concat(x, z, axis=axis)
    yield op.Conv(any_of(first, op.Concat(z, x, axis=axis)), w, b, **a)
    added = z.shape[1]  # along another axis: all channels
    if a["group"] != 1 or not 0 < added < w.shape[1]:
        return "not channels, or groups"
    yield op.Conv(x, w[:, added:] if first.value is None else w[:, :-added], b, **a)
