"""Reductions on NumPy in few passes over memory: what `xp.sum`, `xp.max` and `xp.min` are.

NumPy is slow where it reduces several axes at once, or short rows, and adds up in turn whatever is not innermost, with an
error that grows with the number of terms. So neighbouring axes are merged and reduced group by group, from the innermost
outwards, and sums of floats are products with ones, where BLAS keeps many partial sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

#: Elements up to which NumPy's own reduction is as fast as ours.
_FEW = 1 << 11
#: Terms that one sum of floats has at most: longer ones are sums of sums. Those side by side get many partial sums each.
_TERMS, _TERMS_APART = 1 << 12, 1 << 8
#: Elements that a matrix has at least that is worth a call of BLAS.
_MATRIX = 1 << 10
#: Rows up to this length are reduced faster when they stand upright, and up to that one by one.
_SHORT, _LONG = 20, 1 << 10


def total(x: np.ndarray, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """Sums in the array's own dtype; of booleans, how many are true."""
    if x.size <= _FEW or x.dtype.char in "?O":
        return _plain(np.add, x, axis, None if x.dtype == bool else x.dtype, keepdims)
    return _reduced(_sums if x.dtype.char in "fd" else _added, x, axis, keepdims)


def folded(ufunc: np.ufunc, x: np.ndarray, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """What a ufunc for which order does not matter (maximum, multiply...) makes of the elements along axes."""
    if x.size <= _FEW or x.dtype == object:
        return _plain(ufunc, x, axis, x.dtype, keepdims)
    return _reduced(lambda y: _fold(ufunc, y), x, axis, keepdims)


def squares(xp: Any, x: Any, axis: tuple[int, ...], keepdims: bool = True) -> Any:
    """Sums of squares, on any backend; axes are counted from the front and in order."""
    rank = x.ndim
    if xp.traces or x.dtype.char not in "fd" or axis != tuple(range(rank - len(axis), rank)) or x.size <= _FEW:
        return xp.sum(x * x, axis=axis, keepdims=keepdims)
    kept = x.shape[: rank - len(axis)]
    rows = x.reshape(*kept, math.prod(x.shape[len(kept) :]))
    y = np.vecdot(rows, rows)
    return y.reshape(*kept, *[1] * len(axis)) if keepdims else y


def _plain(ufunc: Any, x: np.ndarray, axis: int | Sequence[int] | None, dtype: Any, keepdims: bool) -> Any:
    return ufunc.reduce(x, axis=tuple(axis) if isinstance(axis, list) else axis, dtype=dtype, keepdims=keepdims)


def _reduced(
    fold: Callable[[np.ndarray], np.ndarray], x: np.ndarray, axis: int | Sequence[int] | None, keepdims: bool
) -> np.ndarray:
    """Reduce axes by a function that reduces the middle one of three. The result is never a view of the array."""
    rank = x.ndim
    gone = {a % rank for a in (range(rank) if axis is None else (axis,) if isinstance(axis, int) else axis)}
    order = None
    if not x.flags.c_contiguous:  # take the axes as they lie in memory
        order = sorted(range(rank), key=lambda a: -abs(x.strides[a]))
        x = x.transpose(order)
    sizes: list[int] = []
    reduces: list[bool] = []
    for a, size in zip(order or range(rank), x.shape):
        if size > 1:
            if reduces and reduces[-1] == (a in gone):
                sizes[-1] *= size
            else:
                sizes.append(size)
                reduces.append(a in gone)
    y = x
    for i in reversed(range(len(sizes))):
        if reduces[i]:
            y = fold(y.reshape(math.prod(sizes[:i]), sizes[i], -1))
            sizes[i] = 1
    if y is x:
        y = x.copy()
    if order is None:
        return y.reshape([1 if a in gone else n for a, n in enumerate(x.shape) if keepdims or a not in gone])
    y = y.reshape([1 if a in gone else n for a, n in zip(order, x.shape)]).transpose(np.argsort(order))
    return y if keepdims else y.reshape([n for a, n in enumerate(y.shape) if a not in gone])


def _added(x: np.ndarray) -> np.ndarray:
    return np.add.reduce(x, axis=1, dtype=x.dtype)


def _sums(x: np.ndarray) -> np.ndarray:
    outer, n, inner = x.shape
    if inner > 1 and n * inner < _MATRIX:
        return _added(x)
    terms = _TERMS if inner == 1 else _TERMS_APART
    if n <= terms:
        ones = np.ones(n, x.dtype)
        return np.matmul(x.reshape(outer, n), ones) if inner == 1 else np.matmul(ones, x)
    whole = n - n % terms
    sums = _sums(x[:, :whole].reshape(-1, terms, inner))
    y = _sums(sums.reshape(outer, whole // terms, inner))
    return y if whole == n else y + _sums(x[:, whole:])


def _fold(ufunc: np.ufunc, x: np.ndarray) -> np.ndarray:
    outer, n, inner = x.shape
    if inner > 1 or n > _LONG:
        return ufunc.reduce(x, axis=1, dtype=x.dtype)
    if n <= _SHORT < outer:
        return ufunc.reduce(np.ascontiguousarray(x.reshape(outer, n).T), axis=0, dtype=x.dtype)
    return ufunc.reduceat(x.reshape(-1), np.arange(0, x.size, n), dtype=x.dtype)
