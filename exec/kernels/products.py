"""Products of matrices on NumPy: what `xp.matmul` is. NumPy leaves only float32 and float64 to BLAS, and is slow at others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphopt.exec.kernels.dtypes import is_integer, is_narrow

#: Multiplications from which on looking for the largest factors pays.
_MANY = 1 << 12


def matmul(a: np.ndarray, b: np.ndarray) -> Any:
    """`numpy.matmul` in the array's own dtype; integers wrap around, floats of 16 bits and less are rounded once."""
    if a.dtype.char in "fd":
        return _by_rows(a, b)
    if is_integer(a.dtype):
        return _integers(a, b)
    if is_narrow(a.dtype):
        return _by_rows(a.astype(np.float32), b.astype(np.float32)).astype(a.dtype)
    return np.matmul(a, b)


def _by_rows(a: np.ndarray, b: np.ndarray) -> Any:
    """Many matrices times one are one matrix of all their rows times that one."""
    rank = a.ndim
    if rank > 2 and rank >= b.ndim > 1 and a.flags.c_contiguous:
        *batch, m, k = a.shape
        inner, n = b.shape[-2:]
        rows = math.prod(batch)
        if rows > 1 and k == inner and b.size == k * n:
            return np.matmul(a.reshape(rows * m, k), b.reshape(k, n)).reshape(*batch, m, n)
    return np.matmul(a, b)


def _integers(a: np.ndarray, b: np.ndarray) -> Any:
    """Through floats, where these are sure to hold the sums."""
    if a.ndim and b.ndim and a.size * b.shape[-1] >= _MANY and b.size:
        bound = a.shape[-1] * _largest(a) * _largest(b)
        if bound < 1 << 53:
            wide = np.float32 if bound < 1 << 24 else np.float64
            y = _by_rows(a.astype(wide), b.astype(wide))
            return y.astype(np.int64).astype(a.dtype)
    return np.matmul(a, b)


def _largest(x: np.ndarray) -> int:
    """The largest magnitude."""
    return max(int(x.max()), -int(x.min()))
