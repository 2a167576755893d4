"""Operators that pick elements by index and put them by index.

All but Gather turn their indices into positions in the flattened data, or in its rows: one index per element is several
times faster than one per axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import axis_of, ints
from graphopt.exec.kernels.registry import Array, Host, kernel

#: Up to so many blocks are moved as such.
_FEW_BLOCKS = 8


def _from_front(xp: Backend, indices: Array, n: int) -> Array:
    """Indices of n elements, counted from the front. Where arrays may be traced nobody looks whether they are inside."""
    if isinstance(indices, (np.ndarray, np.generic)):
        if not indices.size:
            return indices
        low, high = indices.min(), indices.max()
        if low < -n or high >= n:
            raise IndexError(f"index {low if low < -n else high} is out of bounds for an axis of {n} elements")
        if low >= 0:
            return indices
    return xp.where(indices < 0, indices + n, indices)


# -------------------------------------------------------------------------------------------------------------- gathered
@kernel("Gather")
def gather(xp: Backend, x: Array, indices: Array, *, axis: int = 0) -> Array:
    """The dims of the indices in place of the axis."""
    axis = axis_of(axis, x.ndim)
    if isinstance(x, np.ndarray) and isinstance(indices, (np.ndarray, np.generic)):
        if x.flags.c_contiguous and not x.dtype.hasobject:
            return x.take(np.asarray(indices), axis)
    else:
        x = xp.asarray(x)
        if blocks := _blocks(indices, x.shape[axis]):
            sizes, order = blocks
            parts = xp.cutter(sizes, axis)(x)
            return xp.concatenate([parts[i] for i in order], axis=axis)
    return x[(*(slice(None),) * axis, indices, ...)]  # the dots: NumPy would give an object without an array around it


def _blocks(indices: Array, n: int) -> tuple[list[int], list[int]] | None:
    """Where indices on the host put a few blocks of n elements into another order: their sizes, and that order.

    Gates of recurrent networks are reordered so. Cutting and putting together has a gradient of the same kind, where that of
    picking elements adds them one by one.
    """
    if not isinstance(indices, np.ndarray) or indices.shape != (n,) or not n:
        return None
    begins = np.flatnonzero(np.diff(indices, prepend=indices[0]) != 1)
    if len(begins) > _FEW_BLOCKS or (np.sort(indices) != np.arange(n)).any():
        return None
    places = np.argsort(indices[begins])
    return np.diff(begins, append=n)[places].tolist(), np.argsort(places).tolist()


@kernel("GatherElements", since=11)
def gather_elements(xp: Backend, x: Array, indices: Array, *, axis: int = 0) -> Array:
    """An element for each index, in the place of the index but along the axis."""
    return xp.take(x.reshape(-1), _element_positions(xp, x.shape, indices, axis), mode="clip")


@kernel("GatherND", since=11)
def gather_nd(xp: Backend, x: Array, indices: Array, *, batch_dims: int = 0) -> Array:
    """[batch, *many, k] picks from [batch, *k dims, *slice]: [batch, *many, *slice]."""
    positions, rows, row = _row_positions(xp, x.shape, indices, batch_dims)
    picked = xp.take(x.reshape(rows), positions.reshape(-1), axis=0, mode="clip")
    return picked.reshape((*indices.shape[:-1], *row))


# ------------------------------------------------------------------------------------------------------------- scattered
@kernel("Scatter", "ScatterElements", since=9)
def scatter_elements(
    xp: Backend, x: Array, indices: Array, updates: Array, *, axis: int = 0, reduction: str = "none"
) -> Array:
    """The data with an update in the place of each index but along the axis; of several in one place the last one stays."""
    if indices.shape != updates.shape:
        raise ValueError(f"there are {indices.shape} indices for {updates.shape} updates")
    positions = _element_positions(xp, x.shape, indices, axis)
    y = xp.put(x.reshape(-1), positions.reshape(-1), updates.reshape(-1), _combine(reduction))
    return y.reshape(x.shape)


@kernel("ScatterND", since=11)
def scatter_nd(xp: Backend, x: Array, indices: Array, updates: Array, *, reduction: str = "none") -> Array:
    """The data with an update in the place of the slice that each index names."""
    positions, rows, row = _row_positions(xp, x.shape, indices)
    if updates.shape != (*indices.shape[:-1], *row):
        raise ValueError(f"{indices.shape} indices into {x.shape} do not fit {updates.shape} updates")
    y = xp.put(
        x.reshape(rows), positions.reshape(-1), updates.reshape((positions.size, *rows[1:])), _combine(reduction)
    )
    return y.reshape(x.shape)


def _combine(reduction: str) -> str:
    if reduction not in ("none", "add", "mul", "max", "min"):
        raise ValueError(f"there is no reduction '{reduction}'")
    return "set" if reduction == "none" else reduction


# ------------------------------------------------------------------------------------------------------------- positions
def _element_positions(xp: Backend, shape: Sequence[int], indices: Array, axis: int) -> Array:
    """Positions in the flattened data of elements that stand where their indices do, but along the axis."""
    axis = axis_of(axis, len(shape))
    if indices.ndim != len(shape):
        raise ValueError(f"indices of rank {indices.ndim} for data of rank {len(shape)}")
    positions = _from_front(xp, indices, shape[axis])
    stride = math.prod(shape[axis + 1 :])
    if stride != 1:
        positions = positions * np.int64(stride)
    others = None  # the same for all indices along the axis
    stride = 1
    for a in reversed(range(len(shape))):
        n = indices.shape[a]
        if a != axis and n > 1:
            if n > shape[a]:
                raise ValueError(f"indices of {tuple(indices.shape)} do not fit data of {tuple(shape)}")
            along = (np.arange(n) * stride).reshape((n, *(1,) * (len(shape) - a - 1)))
            others = along if others is None else others + along
        stride *= shape[a]
    return positions if others is None else positions + others


def _row_positions(
    xp: Backend, shape: Sequence[int], indices: Array, batch: int = 0
) -> tuple[Array, tuple[int, ...], tuple[int, ...]]:
    """What indices along the last axis pick.

    Returns:
        Positions among the rows, the shape of the data as rows (of elements, if a row is one), and the shape of a row.
    """
    k = indices.shape[-1] if indices.ndim else 0
    if indices.ndim <= batch or batch + k > len(shape) or indices.shape[:batch] != shape[:batch]:
        raise ValueError(f"indices of {tuple(indices.shape)} do not fit data of {tuple(shape)} with {batch} batch dims")
    picked, row = shape[batch : batch + k], tuple(shape[batch + k :])
    positions = None
    for j, n in enumerate(picked):
        part = _from_front(xp, indices[..., j], n)
        positions = part if positions is None else positions * np.int64(n) + part
    if positions is None:
        positions = np.zeros(indices.shape[:-1], np.int64)
    if batch:
        first = np.arange(math.prod(shape[:batch])) * math.prod(picked)
        positions = positions + first.reshape((*shape[:batch], *(1,) * (indices.ndim - 1 - batch)))
    count = math.prod(shape[: batch + k])
    return positions, (count, math.prod(row)) if row else (count,), row


# -------------------------------------------------------------------------------------------------------- where they are
@kernel("OneHot", since=9)
def one_hot(xp: Backend, indices: Array, depth: Host, values: Array, *, axis: int = -1) -> Array:
    """A new axis on which the second of the values stands where the index says, and the first elsewhere."""
    size = ints(depth)[0]
    axis = axis_of(axis, indices.ndim + 1)
    wanted = xp.cast(indices, np.dtype(np.int64))
    wanted = xp.where(wanted < 0, wanted + size, wanted)
    wanted = wanted.reshape((*indices.shape[:axis], 1, *indices.shape[axis:]))
    hot = wanted == np.arange(size).reshape((size, *(1,) * (indices.ndim - axis)))
    return xp.where(hot, values[1:], values[:1])


@kernel("Compress", since=9, on_host=True)
def compress(xp: Backend, x: Array, condition: Array, *, axis: int | None = None) -> Array:
    """The slices along an axis, or of all elements those, for which the condition holds."""
    if axis is None:
        x, axis = x.reshape(-1), 0
    return np.compress(condition[: x.shape[axis]], x, axis)


@kernel("NonZero", since=9, on_host=True)
def non_zero(xp: Backend, x: Array) -> Array:
    """Where elements are not 0: a row for each axis."""
    return np.argwhere(x).T
