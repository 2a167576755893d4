"""Dtypes of arrays: ONNX's numbers as NumPy and ml_dtypes have them."""

from __future__ import annotations

import functools
from typing import Any

import ml_dtypes
import numpy as np
from onnx import helper

#: Floats of 16 bits and less.
NARROW = frozenset(
    map(
        np.dtype,
        (
            np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2,
            ml_dtypes.float8_e5m2fnuz, ml_dtypes.float8_e8m0fnu, ml_dtypes.float4_e2m1fn, ml_dtypes.float6_e2m3fn,
            ml_dtypes.float6_e3m2fn,
        ),
    )
)  # fmt: skip
#: Integers that fill less than a byte.
SUB_BYTE = frozenset(map(np.dtype, (ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2)))


@functools.cache
def np_dtype(number: int) -> np.dtype[Any]:
    """The dtype of arrays for an `onnx.TensorProto.DataType`; strings are object arrays."""
    return np.dtype(helper.tensor_dtype_to_np_dtype(number))


def is_narrow(dtype: Any) -> bool:
    """Whether it is a float of 16 bits or less, too coarse to compute in."""
    return dtype in NARROW


def is_float(dtype: Any) -> bool:
    """Whether it is a float of any width."""
    return dtype.kind == "f" or dtype in NARROW


def is_integer(dtype: Any) -> bool:
    """Whether it is a signed or unsigned integer of any width."""
    return dtype.kind in "iu" or dtype in SUB_BYTE


def mean_dtype(dtype: Any) -> np.dtype[Any]:
    """The dtype to compute weighted means of elements in: a float that holds them, float32 at least."""
    if is_integer(dtype):
        return np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)
    return np.dtype(np.float32) if is_narrow(dtype) else dtype
