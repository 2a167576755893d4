"""Rounding floats to narrow numbers, in few passes over memory; what quantisation spends its time on."""

from __future__ import annotations

import functools
from typing import Any

import ml_dtypes
import numpy as np

from graphopt.exec.kernels.dtypes import SUB_BYTE
from graphopt.exec.kernels.registry import Array

#: Added to a float32 of less than 2**22, this leaves the integer next to it (half to even) in the low bits of the sum.
_LOW_BITS = np.float32(1.5 * 2**23)


@functools.cache
def limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The smallest and the largest integer of a dtype."""
    info = ml_dtypes.iinfo(dtype)
    return int(info.min), int(info.max)


def saturate(x: Array, dtype: np.dtype[Any], zero_point: Array | None = None) -> Array:
    """NumPy's `Backend.saturate`: overwrites `x`."""
    x = np.asarray(x)
    low, high = limits(dtype)
    if zero_point is not None and zero_point.size != 1:
        if not zero_point.any():
            return saturate(x, dtype)
        np.rint(x, out=x)
        x += zero_point.astype(np.float32)
        return x.clip(low, high, out=x).astype(dtype)
    shift = 0 if zero_point is None else int(zero_point.item())
    x.clip(low - shift, high - shift, out=x)
    x += _LOW_BITS
    y = x.view(np.int32).astype(np.int8 if dtype in SUB_BYTE else dtype)
    if zero_point is not None and shift:
        y += zero_point.reshape(()).astype(y.dtype)  # wraps around into the range
    return y.astype(dtype) if dtype in SUB_BYTE else y
