"""Slice and Gather: parts of parts, and parts that are everything."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.ir import Dim
from graphopt.patterns._shapes import (
    TO_THE_END,
    axes_of,
    from_the_front,
    piece_of,
    refuses_text,
    size_of,
    slices_of,
)
from graphopt.rewrite import Axis, Const, Ints, Maybe, any_of, op, rule
from graphopt.shapes import same_shape

#: Indices are read from constants of at most so many elements.
_LARGEST = 4096


# --------------------------------------------------------------------------------------------------------------- Slice
@rule(exact=True)
def slice_nothing(x, starts: Ints, ends: Ints, axes: Maybe[Ints], steps: Maybe[Ints]):
    """A slice from the first to the last is everything."""
    yield op.Slice(x, starts=starts, ends=ends, axes=axes, steps=steps)
    cut = slices_of(starts, ends, axes, steps, x.rank)
    if cut is None or not all(_is_all(size_of(x, a), *c) for a, c in cut.items()):
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
            joined = _joined(from_the_front(first[axis], size_of(x, axis)), from_the_front(c, size_of(inner, axis)))
            if joined is None:
                return "it counts from the end of a dim of unknown size, or backwards"
            cut[axis] = joined
        else:
            cut[axis] = c
    ordered = sorted((axis, c) for axis, c in cut.items() if not _is_all(size_of(x, axis), *c))
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
    i = _only(chosen, size_of(x, axis))
    if i is None:
        return "it counts from the end of a dim of unknown size, or there may be several elements"
    if why := refuses_text(x):
        return why
    yield op.Gather(x, np.array(i), axis=axis)


@rule(exact=True)
def flat_column(x, s: Ints, e: Ints, a: Maybe[Ints], t: Maybe[Ints]):
    """A slice of one row or column of a matrix that is made a vector is a Gather."""
    cutout = op.Slice(x, starts=s, ends=e, axes=a, steps=t)
    yield any_of(op.Reshape(cutout, shape=[-1]), op.Reshape(cutout, shape=[0]))
    cut = slices_of(s, e, a, t, x.rank)
    if x.rank != 2 or cut is None or len(cut) != 1:
        return "not a matrix of which one dim is sliced"
    ((axis, chosen),) = cut.items()
    i = _only(chosen, size_of(x, axis))
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
        chosen = from_the_front(cut, dim)
        return chosen[0] if chosen is not None and 0 < chosen[1] - chosen[0] <= step else None
    return start if 0 <= start < end <= start + step else None


# -------------------------------------------------------------------------------------------------------------- Gather
@rule(exact=True)
def gather_nothing(x, indices: Const, axis: Axis):
    """To gather all elements in order is to do nothing."""
    yield op.Gather(x, indices, axis=axis)
    if indices.shape != (size_of(x, axis),) or indices.size > _LARGEST:
        return "not all elements"
    if not np.array_equal(np.asarray(indices) % indices.size, np.arange(indices.size)):
        return "not in order"
    yield x


@rule(exact=True)
def gather_only_element(x, index: Const, axis: Axis):
    """The element of a dim of 1 is had by taking the dim away."""
    yield op.Gather(x, index, axis=axis)
    if index.ndim or size_of(x, axis) != 1:
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


@rule(exact=True)
def gather_slice(x, s: Ints, e: Ints, a: Maybe[Ints], t: Maybe[Ints], indices: Const, axis: Axis):
    """Elements of a slice are elements of the whole."""
    inner = op.Slice(x, starts=s, ends=e, axes=a, steps=t)
    yield op.Gather(inner, indices, axis=axis)
    cut = slices_of(s, e, a, t, x.rank)
    if cut is None or list(cut) != [axis] or indices.size > _LARGEST:
        return "another dim is sliced"
    c, length = from_the_front(cut[axis], size_of(x, axis)), size_of(inner, axis)
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
    sizes = [size_of(p, a) for p in xs]
    known = [n for n in sizes if isinstance(n, int)]
    start, end, step = from_the_front(cut[a], sum(known) if len(known) == len(sizes) else None) or cut[a]
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
        n = size_of(xs[k], axis)
        if not isinstance(n, int):
            return (k, i) if i >= 0 and k == len(xs) - 1 else None
        if 0 <= i < n:
            return k, i
        if -n <= i < 0:
            return k, i + n
        i += n if i < 0 else -n
    return None
