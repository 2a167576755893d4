"""Concat and Split: parts that are put together again, and parts taken one by one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from graphopt.ir import Node, Value
from graphopt.patterns._shapes import (
    TO_THE_END,
    axes_of,
    from_the_front,
    leaf,
    made_by,
    parts_of,
    piece_of,
    refuses_text,
    size_of,
    slices_of,
)
from graphopt.rewrite import Axis, Const, Int, Ints, Maybe, Rule, any_of, op, rule
from graphopt.rewrite.matching import params
from graphopt.shapes import same_dims, same_shape

#: Indices are read from constants of at most so many elements.
_LARGEST = 4096


@rule(exact=True)
def concat_concat(*xs, axis: Axis):
    """A Concat within a Concat on the same axis is one long Concat."""
    y = op.Concat(*xs, axis=axis)
    yield y
    parts: list[Any] = []
    for part in xs:
        inner = made_by(part, "Concat", y.value)
        if inner is not None and part.uses == 1 and _axis(inner, part.rank) == axis:
            parts += [leaf(v) for v in inner.inputs]
        else:
            parts.append(part)
    if len(parts) == len(xs):
        return "no part is a Concat on this axis that nobody else reads"
    yield op.Concat(*parts, axis=axis)


@rule(exact=True)
def concat_split(*xs, axis: Axis):
    """All parts of a Split put together again are the whole."""
    y = op.Concat(*xs, axis=axis)
    yield y
    split = made_by(xs[0], "Split", y.value)
    if split is None or [x.value for x in xs] != split.outputs or _axis(split, xs[0].rank) != axis:
        return "not all parts of one Split, in order and on this axis"
    yield leaf(split.inputs[0])


@rule(exact=True)
def concat_slices(*xs, axis: Axis):
    """Slices next to each other put together again are one slice."""
    y = op.Concat(*xs, axis=axis)
    yield y
    found = [_single_cut(made_by(x, "Slice", y.value), axis) for x in xs]
    whole = [x.value.node.inputs[0] for x, c in zip(xs, found, strict=True) if c is not None]
    cuts = [c for c in found if c is not None]
    if len(cuts) != len(xs) or any(w is not whole[0] for w in whole):
        return "not all slices of one tensor on this axis"
    bounds = [cuts[0][0], *(c[1] for c in cuts)]
    if any(c[0] != end for c, end in zip(cuts[1:], bounds[1:], strict=False)):
        return "not next to each other"
    if not all(_in_order(p, q) for p, q in pairwise(bounds)):
        return "a slice may be empty where it starts behind its end"
    yield op.Slice(leaf(whole[0]), starts=[bounds[0]], ends=[bounds[-1]], axes=[axis])


def _split_concat(n: int) -> Rule:
    def body(*xs, axis: Axis, split: Maybe[Ints], num_outputs: Maybe[Int]):
        parts = op.Split(op.Concat(*xs, axis=axis), axis=axis, split=split, num_outputs=num_outputs, outputs=n)
        yield parts
        if len(xs) != n:
            return "another number of parts"
        if not all(same_dims(size_of(p.value, axis), size_of(x, axis)) for p, x in zip(parts, xs, strict=True)):
            return "the sizes may differ"
        yield xs

    body.__name__ = body.__qualname__ = f"split_concat_of_{n}"
    body.__doc__ = f"The {n} parts that were put together are the parts that Split finds."
    return rule(exact=True)(body)


split_concat_of_2, split_concat_of_3, split_concat_of_4 = (_split_concat(n) for n in (2, 3, 4))


def _squeeze_split(n: int) -> Rule:
    def body(x, axis: Axis, split: Maybe[Ints], num_outputs: Maybe[Int], axes: Ints):
        parts = op.Split(x, axis=axis, split=split, num_outputs=num_outputs, outputs=n)
        yield op.Squeeze(any_of(*parts), axes=axes)
        if x.rank is None or axes_of(axes, x.rank) != [axis] or x.shape[axis] != n:
            return "not as many elements as parts, or another axis is squeezed"
        if why := refuses_text(x):
            return why
        (k,) = [k for k, p in enumerate(parts) if p.value is not None]
        yield op.Gather(x, np.array(k if split is None else sum(split[:k])), axis=axis)

    body.__name__ = body.__qualname__ = f"squeeze_split_of_{n}"
    body.__doc__ = f"Each of {n} elements that Split takes apart can be taken by itself, without its dim."
    return rule(exact=True, always=True)(body)


squeeze_split_of_2, squeeze_split_of_3, squeeze_split_of_4 = (_squeeze_split(n) for n in (2, 3, 4))


@rule(exact=True, always=True)
def squeeze_of_split(x, axes: Ints):
    """Elements that a Split takes apart and whose dims are taken away are gathered one by one."""
    part = op.Squeeze(x, axes=axes)
    yield part
    split: Any = made_by(x, "Split", part.value)
    axis, sizes = (split and parts_of(split)) or (None, [])
    if set(sizes) != {1}:
        return "not of a Split into single elements"
    if not all(_only_squeezed(v, axis) for v in split.outputs):
        return "a part is read with its dim, or without another"
    if why := refuses_text(x):
        return why
    yield op.Gather(leaf(split.inputs[0]), np.array(split.outputs.index(x.value)), axis=axis)


@rule(exact=True, always=True)
def gather_of_split(x, axis: Axis, split: Maybe[Ints], num_outputs: Maybe[Int], indices: Const):
    """Elements of one of two parts are elements of the whole."""
    parts = op.Split(x, axis=axis, split=split, num_outputs=num_outputs, outputs=2)
    yield op.Gather(any_of(*parts), indices, axis=axis)
    k = 0 if parts[0].value is not None else 1
    sizes = parts_of(parts[k].value.node)
    if sizes is None or indices.size > _LARGEST:
        return "the sizes are not known"
    i = np.asarray(indices, np.int64)
    yield op.Gather(x, np.where(i < 0, i + sizes[1][k], i) + sum(sizes[1][:k]), axis=axis)


@rule(exact=True, always=True)
def slice_of_split(
    x, axis: Axis, split: Maybe[Ints], num_outputs: Maybe[Int], s: Ints, e: Ints, a: Maybe[Ints], t: Maybe[Ints]
):
    """A slice of one of two parts is a slice of the whole."""
    parts = op.Split(x, axis=axis, split=split, num_outputs=num_outputs, outputs=2)
    yield op.Slice(any_of(*parts), starts=s, ends=e, axes=a, steps=t)
    k = 0 if parts[0].value is not None else 1
    sizes, piece = parts_of(parts[k].value.node), piece_of(parts[k].value, s, e, a, t)
    if sizes is None or piece is None or piece[0] != axis:
        return "not some elements in a row, or the sizes are not known"
    before = sum(sizes[1][:k])
    yield op.Slice(x, starts=[before + piece[1]], ends=[before + piece[2]], axes=[axis])


@rule(exact=True, always=True)
def concat_of_elements(*xs, axis: Axis):
    """Elements that are taken one by one and put together again are those elements of the whole."""
    y = op.Concat(*xs, axis=axis)
    yield y
    taken: list[tuple[Value, int, list[int]]] = []
    for x in xs:  # looked at again whenever one of them changes: the first that is no element decides
        found = _elements(x.value, axis, y.value)
        if found is None or found[:2] != (taken or [found])[0][:2]:
            return "not elements of one tensor"
        taken.append(found)
    if why := refuses_text(xs[0]):
        return why
    whole, along = taken[0][:2]
    i = [k for f in taken for k in f[2]]
    if i == list(range(size_of(whole, along))):
        part: Any = leaf(whole)
    elif i == list(range(i[0], i[0] + len(i))):
        part = op.Slice(leaf(whole), starts=[i[0]], ends=[i[-1] + 1], axes=[along])
    else:
        part = op.Gather(leaf(whole), np.array(i), axis=along)
    yield part if along == axis else op.Transpose(part, perm=_brought(whole, along, axis))


def _elements(v: Value, axis: int, y: Value) -> tuple[Value, int, list[int]] | None:
    """What a part of a Concat holds along its axis: elements of which tensor, along which axis of that, and which."""
    part, view, perm = v, False, None
    node = v.node
    if node is not None and node.op in ("Reshape", "Squeeze", "Transpose", "Unsqueeze") and node.inputs[0] is not None:
        part, view = node.inputs[0], node.op != "Transpose"
        perm = node.attributes.get("perm") if not view else None
    if (found := _taken(part, y)) is None:
        return None
    x, along, indices = found
    if perm is not None:
        return found if part.rank == x.rank and perm == _brought(x, along, axis) else None
    if not view:
        return found if along == axis and part.rank == x.rank else None
    rest = [d for k, d in enumerate(x.shape or ()) if k != along]
    return found if len(indices) == 1 and same_shape(v.shape, (*rest[:axis], 1, *rest[axis:])) else None


def _taken(v: Value, y: Value) -> tuple[Value, int, list[int]] | None:
    """Of which tensor a Gather, Slice or Split takes elements, along which axis, and which, counted from the front."""
    node = v.node
    x = node.inputs[0] if node is not None and node.graph is y.graph and node.inputs else None
    if node is None or x is None or x.rank is None:
        return None
    axis, indices = -1, []
    if node.op == "Split" and (sizes := parts_of(node)) is not None:
        axis, before = sizes[0], sum(sizes[1][: node.outputs.index(v)])
        indices = list(range(before, before + sizes[1][node.outputs.index(v)]))
    elif node.op == "Slice" and (named := params(node, 1, ("starts", "ends", "axes", "steps"), False)) is not None:
        piece = piece_of(x, named[0], named[1], named[2], named[3])
        axis, indices = (-1, []) if piece is None else (piece[0], list(range(*piece[1:])))
    elif node.op == "Gather" and node.inputs[1] is not None and (i := node.inputs[1].const) is not None:
        short = i.size <= _LARGEST and len(i.dims) < 2
        axis, indices = _axis(node, x.rank) or 0, i.numpy().reshape(-1).tolist() if short else []
    size = size_of(x, axis) if axis >= 0 else None
    if not isinstance(size, int) or not indices or not all(-size <= k < size for k in indices):
        return None
    indices = [k % size for k in indices]
    outer = _taken(x, y) if x.node is not None and x.node.op == "Split" else None
    if outer is not None and outer[1] == axis:
        return outer[0], axis, [outer[2][k] for k in indices]
    return x, axis, indices


def _brought(x: Value, axis: int, to: int) -> list[int]:
    """The permutation that brings an axis to another place."""
    perm = [k for k in range(x.rank or 0) if k != axis]
    perm.insert(to, axis)
    return perm


def _axis(node: Node, rank: int | None) -> int | None:
    """The axis of a Concat or Split, counted from the front."""
    axis = node.attributes.get("axis", 0)
    if not isinstance(axis, int) or (axis < 0 and rank is None):
        return None
    return axis if axis >= 0 or rank is None else axis + rank


def _single_cut(node: Node | None, axis: int) -> tuple[int, int] | None:
    """Start and end of a Slice with step 1 along this axis alone."""
    named = params(node, 1, ("starts", "ends", "axes", "steps"), False) if node is not None else None
    if node is None or named is None or (x := node.inputs[0]) is None:
        return None
    cut = slices_of(named[0], named[1], named[2], named[3], x.rank)
    if cut is None or list(cut) != [axis] or cut[axis][2] != 1:
        return None
    return (from_the_front(cut[axis], size_of(x, axis)) or cut[axis])[:2]


def _in_order(p: int, q: int) -> bool:
    """Whether one bound of a slice lies in front of the other in a dim of any size."""
    return p == 0 or q >= TO_THE_END or ((p < 0) == (q < 0) and p <= q)


def _only_squeezed(v: Value | None, axis: int | None) -> bool:
    """Whether all that read a value take this dim away first."""
    if v is None or v.exits:
        return v is None
    for node in v.uses:
        named = params(node, 1, ("axes",), False) if node.op == "Squeeze" else None
        if named is None or named[0] is None or axes_of(named[0], v.rank) != [axis]:
            return False
    return True
