"""Operators that put elements in order to select some: the largest ones, each one once."""

from __future__ import annotations

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import axis_of, ints
from graphopt.exec.kernels.dtypes import is_float
from graphopt.exec.kernels.registry import Array, Host, kernel

#: From so many elements in a row on a faster way to select pays off.
_MANY = 256


# ----------------------------------------------------------------------------------------------------------- the largest
@kernel("TopK", since=10)
def top_k(
    xp: Backend, x: Array, k: Host, *, axis: int = -1, largest: int = 1, sorted: int = 1
) -> tuple[Array, Array]:  # always in order: without `sorted` any order will do
    """The first k along an axis and where they stand; of equal ones the one in front comes first."""
    axis = axis_of(axis, x.ndim)
    count = ints(k)[0]
    if not 0 <= count <= x.shape[axis]:
        raise ValueError(f"there are no {count} elements along axis {axis} of {x.shape}")
    last = axis == x.ndim - 1
    values, indices = xp.top_k(x if last else xp.moveaxis(x, axis, -1), count, bool(largest))
    return (values, indices) if last else (xp.moveaxis(values, -1, axis), xp.moveaxis(indices, -1, axis))


@kernel("TopK")
def top_k_by_attribute(xp: Backend, x: Array, *, k: int, axis: int = -1) -> tuple[Array, Array]:
    return top_k(xp, x, [k], axis=axis)


def first_k(x: np.ndarray, k: int, largest: bool) -> tuple[np.ndarray, np.ndarray]:
    """NumPy's `top_k`, see Backend: the first k along the last axis. NaN counts as larger than any number."""
    n = x.shape[-1]
    if n < _MANY or not (x.dtype.kind in "iu" or is_float(x.dtype)):
        if largest:  # backwards, so that of equals the one in front comes out first
            order = n - 1 - np.argsort(x[..., ::-1], axis=-1, kind="stable")[..., ::-1][..., :k]
        else:
            order = np.argsort(x, axis=-1, kind="stable")[..., :k]
    else:
        keys = _sort_keys(x)
        if largest:
            keys = ~keys
        order = (_first_of_short if keys.itemsize < 8 else _first_of_long)(keys, k)
    return np.take_along_axis(x, order, -1), order


def _sort_keys(x: np.ndarray) -> np.ndarray:
    """Signed integers that are in the same order as the elements: the bits of floats, those of negative ones reversed."""
    signed = np.dtype(f"i{x.dtype.itemsize}")
    if is_float(x.dtype):
        x = x + x.dtype.type(0)  # -0 is 0
        x[x != x] = x.dtype.type(np.nan)  # one without a sign
        keys = x.view(signed)
        return keys ^ ((keys >> (8 * signed.itemsize - 1)) & np.iinfo(signed).max)
    if x.dtype.kind == "u":
        return (x ^ x.dtype.type(1 << (8 * signed.itemsize - 1))).view(signed)
    return x


def _first_of_short(keys: np.ndarray, k: int) -> np.ndarray:
    """Where the k smallest are: key and place in one number, so that no two are equal."""
    n = keys.shape[-1]
    both = keys.astype(np.int64)
    both <<= 32
    both |= np.arange(n)
    if 0 < k < n:
        both.partition(k - 1, axis=-1)
    both = both[..., :k]
    both.sort(axis=-1)
    return both & 0xFFFFFFFF


def _first_of_long(keys: np.ndarray, k: int) -> np.ndarray:
    """Where the k smallest are, for keys that leave no room for the place."""
    n = keys.shape[-1]
    if not 0 < 2 * k < n:
        return np.argsort(keys, axis=-1, kind="stable")[..., :k]
    border = np.partition(keys, k - 1, axis=-1)[..., k - 1 : k]
    below, equal = keys < border, keys == border
    room = k - below.sum(-1, keepdims=True)
    chosen = below | (equal & (equal.cumsum(-1) <= room))
    where = np.nonzero(chosen)[-1].reshape((*keys.shape[:-1], k))
    order = np.argsort(np.take_along_axis(keys, where, -1), axis=-1, kind="stable")
    return np.take_along_axis(where, order, -1)


# --------------------------------------------------------------------------------------------------------- each one once
@kernel("Unique", since=11, on_host=True)
def unique(xp: Backend, x: Array, *, axis: int | None = None, sorted: int = 1, outputs: int = 1) -> tuple[Array, ...]:
    """What differs, where each is first, which of them each one is, and how often it is there."""
    if axis is None:
        x, along = x.reshape(-1), 0
        keys = x
    else:
        along = axis_of(axis, x.ndim)
        keys = x if x.dtype.kind in "biuf" else np.unique(x, return_inverse=True)[1].reshape(x.shape)
    if outputs == 1 and sorted and axis is None:
        return (np.unique(x),)
    _, first, which, counts = np.unique(keys, True, True, True, axis=None if axis is None else along)
    which = which.reshape(-1)
    if not sorted:
        order = np.argsort(first)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        first, which, counts = first[order], place[which], counts[order]
    return x.take(first, along), first, which, counts
