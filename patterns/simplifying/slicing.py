"""Slice, Gather, Split and Concat: parts of parts, parts put together again, and parts that are everything."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from graphopt.ir import Dim, Node, Value
from graphopt.patterns._shapes import TO_THE_END, axes_of, leaf, made_by, parts_of, piece_of, refuses_text, slices_of
from graphopt.rewrite import Axis, Const, Int, Ints, Maybe, Rule, any_of, op, rule
from graphopt.rewrite.matching import params
from graphopt.shapes import same_dims, same_shape

#: Indices are read from constants of at most so many elements.
_LARGEST = 4096


# --------------------------------------------------------------------------------------------------------------- Slice
@rule(exact=True)
def slice_nothing(x, starts: Ints, ends: Ints, axes: Maybe[Ints], steps: Maybe[Ints]):
    """A slice from the first to the last is everything."""
    yield op.Slice(x, starts=starts, ends=ends, axes=axes, steps=steps)
    cut = slices_of(starts, ends, axes, steps, x.rank)
    if cut is None or not all(_is_all(_size(x, a), *c) for a, c in cut.items()):
        return "something is left out"
    yield x


@rule(exact=True)
def slice_to_own_size(x, starts, ends, axes: Maybe[Const], steps: Maybe[Const]):
    """A slice that ends at the computed size of its dim, or that provably keeps every dim, is everything."""
    y = op.Slice(x, starts, ends, axes, steps)
    yield y
    if steps is not None and np.any(np.asarray(steps) != 1):
        return "elements are skipped"
    if not same_shape(x.shape, y.shape):
        return "something may be left out"
    yield x


@rule(exact=True)
def slice_slice(
    x, s: Ints, e: Ints, a: Maybe[Ints], t: Maybe[Ints], starts: Ints, ends: Ints, axes: Maybe[Ints], steps: Maybe[Ints]
):
    """Two slices are one."""
    inner = op.Slice(x, starts=s, ends=e, axes=a, steps=t)
    yield op.Slice(inner, starts=starts, ends=ends, axes=axes, steps=steps)
    first, then = slices_of(s, e, a, t, x.rank), slices_of(starts, ends, axes, steps, x.rank)
    if first is None or then is None:
        return "the axes are not valid"
    cut = dict(first)
    for axis, c in then.items():
        if axis in first:
            joined = _joined(_normal(first[axis], _size(x, axis)), _normal(c, _size(inner, axis)))
            if joined is None:
                return "it counts from the end of a dim of unknown size, or backwards"
            cut[axis] = joined
        else:
            cut[axis] = c
    ordered = sorted((axis, c) for axis, c in cut.items() if not _is_all(_size(x, axis), *c))
    if not ordered:
        yield x
        return
    yield op.Slice(
        x,
        starts=[c[0] for _, c in ordered],
        ends=[c[1] for _, c in ordered],
        axes=[a for a, _ in ordered],
        steps=[c[2] for _, c in ordered] if any(c[2] != 1 for _, c in ordered) else None,
    )


@rule(exact=True)
def squeeze_slice(x, s: Ints, e: Ints, a: Maybe[Ints], t: Maybe[Ints], axes: Ints):
    """A slice of one element whose dim is taken away is a Gather."""
    yield op.Squeeze(op.Slice(x, starts=s, ends=e, axes=a, steps=t), axes=axes)
    cut = slices_of(s, e, a, t, x.rank)
    if cut is None or len(cut) != 1 or axes_of(axes, x.rank) != list(cut):
        return "not one dim that is sliced and taken away"
    ((axis, chosen),) = cut.items()
    i = _only(chosen, _size(x, axis))
    if i is None:
        return "it counts from the end of a dim of unknown size, or there may be several elements"
    if why := refuses_text(x):
        return why
    yield op.Gather(x, np.array(i), axis=axis)


@rule(exact=True)
def slices_are_split(
    x, s: Ints, e: Ints, a: Maybe[Ints], t: Maybe[Ints], starts: Ints, ends: Ints, axes: Maybe[Ints], steps: Maybe[Ints]
):
    """Two slices that lie side by side and leave nothing out are the parts of a Split."""
    yield (
        op.Slice(x, starts=s, ends=e, axes=a, steps=t),
        op.Slice(x, starts=starts, ends=ends, axes=axes, steps=steps),
    )
    one, other = piece_of(x.value, s, e, a, t), piece_of(x.value, starts, ends, axes, steps)
    if one is None or other is None:
        return "not some elements in a row of a dim of known size"
    pieces = sorted((one, other))
    (axis, _, middle), (_, _, end) = pieces
    if pieces != [(axis, 0, middle), (axis, middle, x.shape[axis])]:
        return "not side by side, or something is left out"
    parts = op.Split(x, axis=axis, split=[middle, end - middle], outputs=2)
    yield parts if one < other else parts[::-1]


def _is_all(dim: Dim, start: int, end: int, step: int) -> bool:
    """Whether a slice takes every element of a dim."""
    from_first = start == 0 or start <= (-dim if isinstance(dim, int) else -TO_THE_END)
    to_last = end >= (dim if isinstance(dim, int) else TO_THE_END)
    return step == 1 and from_first and to_last


def _normal(cut: tuple[int, int, int], dim: Dim) -> tuple[int, int, int] | None:
    """The same slice counted from the front; None where that takes an unknown size, or it runs backwards."""
    start, end, step = cut
    if step < 1:
        return None
    if isinstance(dim, int):
        start, end = (min(max(i + dim if i < 0 else i, 0), dim) for i in (start, end))
    return (start, end, step) if start >= 0 and end >= 0 else None


def _joined(first: tuple[int, int, int] | None, then: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
    """One slice for two on the same axis, both counted from the front."""
    if first is None or then is None:
        return None
    start = first[0] + first[2] * then[0]
    end = first[1] if then[1] >= TO_THE_END else min(first[1], first[0] + first[2] * then[1])
    return min(start, 2**63 - 1), end, first[2] * then[2]


def _only(cut: tuple[int, int, int], dim: Dim) -> int | None:
    """The index of the element that a slice takes, where it is never more than one."""
    start, end, step = cut
    if isinstance(dim, int):
        chosen = _normal(cut, dim)
        return chosen[0] if chosen is not None and 0 < chosen[1] - chosen[0] <= step else None
    return start if 0 <= start < end <= start + step else None


# -------------------------------------------------------------------------------------------------------------- Gather
@rule(exact=True)
def gather_nothing(x, indices: Const, axis: Axis):
    """To gather all elements in order is to do nothing."""
    yield op.Gather(x, indices, axis=axis)
    if indices.shape != (_size(x, axis),) or indices.size > _LARGEST:
        return "not all elements"
    if not np.array_equal(np.asarray(indices) % indices.size, np.arange(indices.size)):
        return "not in order"
    yield x


@rule(exact=True)
def gather_only_element(x, index: Const, axis: Axis):
    """The element of a dim of 1 is had by taking the dim away."""
    yield op.Gather(x, index, axis=axis)
    if index.ndim or _size(x, axis) != 1:
        return "not one element of a dim of 1"
    yield op.Squeeze(x, axes=[axis])


@rule(exact=True, always=True)
def unsqueeze_gather(x, index: Const, axis: Axis, axes: Ints):
    """To take one element and give it a dim again is to take a list of one."""
    y = op.Unsqueeze(op.Gather(x, index, axis=axis), axes=axes)
    yield y
    if index.ndim or axes_of(axes, y.rank) != [axis]:
        return "not one element, or another dim"
    yield op.Gather(x, np.asarray(index).reshape(1), axis=axis)


@rule(exact=True, always=True)
def squeeze_gather(x, index: Const, axis: Axis, axes: Maybe[Ints]):
    """To take a list of one element and take its dim away is to take the element."""
    inner = op.Gather(x, index, axis=axis)
    yield op.Squeeze(inner, axes=axes)
    if index.shape != (1,):
        return "not a list of one element"
    if (inner.rank != 1) if axes is None else (axes_of(axes, inner.rank) != [axis]):
        return "another dim"
    yield op.Gather(x, np.asarray(index).reshape(()), axis=axis)


@rule(exact=True, always=True)
def squeeze_of_split(x, axes: Ints):
    """Elements that a Split takes apart and whose dims are taken away are gathered one by one."""
    part = op.Squeeze(x, axes=axes)
    yield part
    split: Any = made_by(x, "Split", part.value)
    axis, sizes = (split and parts_of(split)) or (None, [])
    if axes_of(axes, x.rank) != [axis] or set(sizes) != {1}:
        return "not of a Split into single elements along this axis"
    if not all(_only_squeezed(v, axis) for v in split.outputs):
        return "a part is read with its dim"
    if why := refuses_text(x):
        return why
    yield op.Gather(leaf(split.inputs[0]), np.array(split.outputs.index(x.value)), axis=axis)


@rule(exact=True)
def gather_slice(x, s: Ints, e: Ints, a: Maybe[Ints], t: Maybe[Ints], indices: Const, axis: Axis):
    """Elements of a slice are elements of the whole."""
    inner = op.Slice(x, starts=s, ends=e, axes=a, steps=t)
    yield op.Gather(inner, indices, axis=axis)
    cut = slices_of(s, e, a, t, x.rank)
    if cut is None or list(cut) != [axis] or indices.size > _LARGEST:
        return "another dim is sliced"
    c, length = _normal(cut[axis], _size(x, axis)), _size(inner, axis)
    i = np.asarray(indices, np.int64)
    if isinstance(length, int):
        i = np.where(i < 0, i + length, i)
    if c is None or c[0] >= TO_THE_END or (i < 0).any():
        return "it counts from the end of a dim of unknown size, or backwards"
    yield op.Gather(x, c[0] + i * c[2], axis=axis)


@rule(exact=True)
def gather_by_slice(table: Const, indices: Const, starts, ends, axes: Maybe[Const], steps: Maybe[Const]):
    """Rows of a table by a slice of constant indices are a slice of the rows by all of them."""
    yield op.Gather(table, op.Slice(indices, starts, ends, axes, steps), axis=0)
    if table.uses > 1 or indices.size > table.shape[0]:
        return "the table would become larger, or is used elsewhere"
    if axes is None or np.any(np.asarray(axes) < 0):
        return "axes that are counted from the end, or not named"
    rows = np.asarray(indices) % table.shape[0]  # an index that is out of bounds is in no part that is ever taken
    yield op.Slice(table.array[rows], starts, ends, axes, steps)


@rule(exact=True, always=True)
def gather_concat(*xs, index: Const, axis: Axis):
    """An element of a Concat is an element of one of its parts."""
    yield op.Gather(op.Concat(*xs, axis=axis), index, axis=axis)
    if index.size != 1:
        return "several elements"
    found = _part(xs, axis, int(index.item()))
    if found is None:
        return "the sizes of the parts before it are not known"
    yield op.Gather(xs[found[0]], np.full(index.shape, found[1]), axis=axis)


@rule(exact=True)
def slice_concat(*xs, a: Axis, starts: Ints, ends: Ints, axes: Maybe[Ints], steps: Maybe[Ints]):
    """A slice that lies within one part of a Concat is a slice of that part."""
    yield op.Slice(op.Concat(*xs, axis=a), starts=starts, ends=ends, axes=axes, steps=steps)
    cut = slices_of(starts, ends, axes, steps, xs[0].rank)
    if cut is None or list(cut) != [a]:
        return "another dim"
    sizes = [_size(p, a) for p in xs]
    known = [n for n in sizes if isinstance(n, int)]
    start, end, step = _normal(cut[a], sum(known) if len(known) == len(sizes) else None) or cut[a]
    found = _part(xs, a, start)
    if found is None:
        return "the sizes of the parts before it are not known"
    k, offset = found
    size, stop = sizes[k], end if end >= TO_THE_END else offset + end - start
    fits = k == len(xs) - 1 or (isinstance(size, int) and stop <= size)
    if not fits or not (0 <= start < end or end >= TO_THE_END):
        return "it takes more than one part, or nothing"
    if _is_all(size, offset, stop, step):
        yield xs[k]
    else:
        yield op.Slice(xs[k], starts=[offset], ends=[stop], axes=[a], steps=None if step == 1 else [step])


def _part(xs: tuple[Any, ...], axis: int, i: int) -> tuple[int, int] | None:
    """Which part of a Concat holds the element, and where in it; None where sizes that it takes are not known."""
    order = range(len(xs)) if i >= 0 else range(len(xs) - 1, -1, -1)
    for k in order:
        n = _size(xs[k], axis)
        if not isinstance(n, int):
            return (k, i) if i >= 0 and k == len(xs) - 1 else None
        if 0 <= i < n:
            return k, i
        if -n <= i < 0:
            return k, i + n
        i += n if i < 0 else -n
    return None


# ---------------------------------------------------------------------------------------------------- Concat and Split
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
        if not all(same_dims(_size(p.value, axis), _size(x, axis)) for p, x in zip(parts, xs, strict=True)):
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


def _size(x: Any, axis: int) -> Dim:
    return x.shape[axis] if x.shape is not None and axis < len(x.shape) else None


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
    return (_normal(cut[axis], _size(x, axis)) or cut[axis])[:2]


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
