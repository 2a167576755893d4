"""Operators that put elements in order to select some: the largest ones, each one once."""

from __future__ import annotations

import math

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import axis_of, ints
from graphopt.exec.kernels.dtypes import is_float, is_narrow
from graphopt.exec.kernels.registry import Array, Host, kernel

#: From so many elements in a row on a faster way to select pays off.
_MANY = 256
#: That many times as many elements as are wanted make it worth while to drop most of them first.
_FEW = 16


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
    many = x.size > 0 and n >= _MANY and x.dtype.kind in "iuf"
    if many and 0 < k * _FEW <= n:
        order = _first_few(np.ascontiguousarray(x).reshape(-1, n), k, largest).reshape((*x.shape[:-1], k))
    elif many and x.itemsize < 8:
        order = _first_of_short(_sort_keys(x, largest), k)
    else:
        keys = _sort_keys(x, False) if x.dtype.kind == "V" else x  # NumPy cannot sort bfloat16 with NaN in it
        if largest:  # backwards, so that of equals the one in front comes out first
            order = n - 1 - np.argsort(keys[..., ::-1], axis=-1, kind="stable")[..., ::-1][..., :k]
        else:
            order = np.argsort(keys, axis=-1, kind="stable")[..., :k]
    return np.take_along_axis(x, order, -1), order


def _sort_keys(x: np.ndarray, largest: bool) -> np.ndarray:
    """Signed integers in the order of the elements, or the reverse: the bits of floats, those of negative ones flipped."""
    signed = np.dtype(f"i{x.dtype.itemsize}")
    if is_float(x.dtype):
        x = x + x.dtype.type(0)  # -0 is 0
        x[x != x] = x.dtype.type(np.nan)  # one without a sign
        keys = x.view(signed)
        flips = keys >> (8 * signed.itemsize - 1)
        flips &= np.iinfo(signed).max
        keys ^= flips
    elif x.dtype.kind == "u":
        keys = (x ^ x.dtype.type(1 << (8 * signed.itemsize - 1))).view(signed)
    else:
        keys = x
    return ~keys if largest else keys


def _first_few(x: np.ndarray, k: int, largest: bool) -> np.ndarray:
    """Where the k largest or smallest of each row are, far fewer than there are.

    The elements are put into groups. The k-th of the groups' best ones is a border: what lies beyond is not among the
    first k, so few are left to be put in order.
    """
    rows, n = x.shape
    groups = k * _FEW // 2
    best = x[:, : n // groups * groups].reshape(rows, -1, groups)
    if largest:
        border = np.partition(best.max(1), groups - k, axis=-1)[:, groups - k, None]
        kept = np.flatnonzero(~(x < border))
    else:
        border = np.partition(best.min(1), k - 1, axis=-1)[:, k - 1, None]
        kept = np.flatnonzero(~(x > border))
    row, column = np.divmod(kept, n)
    order = np.lexsort((_sort_keys(x.reshape(-1)[kept], largest), row))
    first = np.searchsorted(row, np.arange(rows))
    return column[order[first[:, None] + np.arange(k)]]


def _first_of_short(keys: np.ndarray, k: int) -> np.ndarray:
    """Where the k smallest of keys of up to 32 bits are: key and place in one number, so that no two are equal."""
    n = keys.shape[-1]
    both = keys.astype(np.int64)
    both <<= 32
    both |= np.arange(n)
    if 0 < k < n:
        both.partition(k - 1, axis=-1)
    both = both[..., :k]
    both.sort(axis=-1)
    return both & 0xFFFFFFFF


# --------------------------------------------------------------------------------------------------------- each one once
@kernel("Unique", since=11, on_host=True)
def unique(xp: Backend, x: Array, *, axis: int | None = None, sorted: int = 1, outputs: int = 1) -> tuple[Array, ...]:
    """What differs, where each is first, which of them each one is, and how often it is there."""
    x = np.asarray(x)
    if axis is None:
        if outputs == 1 and sorted and x.dtype.kind != "V":
            return (np.unique(x),)
        x, axis = x.reshape(-1), 0
    n = x.shape[axis]
    keys = _sort_keys(x, False) if is_narrow(x.dtype) else x
    keys = np.moveaxis(keys, axis, 0)
    keys = keys.reshape(n, math.prod(keys.shape[1:]))
    order = np.lexsort(keys.T[::-1]) if keys.shape[1] else np.arange(n)  # the first column decides first
    keys = keys[order]
    before, after = keys[:-1], keys[1:]
    differs = (before != after) & ((before == before) | (after == after))  # NaN is NaN
    starts = np.concatenate([[0] if n else [], np.flatnonzero(differs.any(1)) + 1]).astype(np.int64)
    counts = np.diff(starts, append=n)
    first = order[starts]
    which = np.empty(n, np.int64)
    which[order] = np.repeat(np.arange(len(starts)), counts)
    if not sorted:
        order = np.argsort(first)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        first, which, counts = first[order], place[which], counts[order]
    return x.take(first, axis), first, which, counts
