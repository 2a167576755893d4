"""Between real numbers and the narrow ones that stand for them: https://onnx.ai/onnx/operators/ (QuantizeLinear...).

A scale and a zero point belong to a whole tensor, to each index of one axis, or to each block along one axis. Real
numbers are computed with as float32, and rounded once where they are to be narrower.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.cast import converted
from graphopt.exec.kernels.common import axis_of
from graphopt.exec.kernels.dtypes import NARROW, np_dtype
from graphopt.exec.kernels.registry import Array, kernel

_UINT8 = np.dtype(np.uint8)
_INT32 = np.dtype(np.int32)
_FLOAT = np.dtype(np.float32)
_POWER_OF_TWO = np.dtype(ml_dtypes.float8_e8m0fnu)


# ------------------------------------------------------------------------------------------------------- the operators
@kernel("QuantizeLinear", since=10)
def quantize_linear(
    xp: Backend, x: Array, y_scale: Array, y_zero_point: Array | None = None, *,
    axis: int = 1, saturate: int = 1, block_size: int = 0, output_dtype: int = 0,
) -> Array:  # fmt: skip
    """round(x / y_scale) + y_zero_point"""
    return _quantize(xp, x, y_scale, y_zero_point, axis, saturate, block_size, output_dtype, _FLOAT)


@kernel("QuantizeLinear", since=23)
def quantize_linear_23(
    xp: Backend, x: Array, y_scale: Array, y_zero_point: Array | None = None, *,
    axis: int = 1, saturate: int = 1, block_size: int = 0, output_dtype: int = 0, precision: int = 0,
) -> Array:  # fmt: skip
    """Since then the quotient is rounded to the precision of the scale, or to that asked for."""
    quotient = np_dtype(precision) if precision else y_scale.dtype
    if quotient not in _QUOTIENTS:  # an integer, or a power of two
        quotient = _FLOAT
    return _quantize(xp, x, y_scale, y_zero_point, axis, saturate, block_size, output_dtype, quotient)


def _quantize(
    xp: Backend, x: Array, scale: Array, zero_point: Array | None,
    axis: int, saturate: int, block_size: int, output_dtype: int, quotient: Any,
) -> Array:  # fmt: skip
    dtype = np_dtype(output_dtype or TensorProto.UINT8) if zero_point is None else zero_point.dtype
    shape = x.shape
    x, scale, zero_point = granular(xp, x, axis, block_size, scale, zero_point)
    y = xp.divide(single(xp, xp.cast(x, quotient)), single(xp, xp.cast(scale, quotient)))
    if quotient != _FLOAT:
        y = single(xp, xp.cast(y, quotient))
    return narrowed(xp, y, dtype, zero_point, saturate).reshape(shape)


@kernel("DequantizeLinear", since=10)
def dequantize_linear(
    xp: Backend, x: Array, x_scale: Array, x_zero_point: Array | None = None, *,
    axis: int = 1, block_size: int = 0, output_dtype: int = 0,
) -> Array:  # fmt: skip
    """(x - x_zero_point) * x_scale"""
    dtype = np_dtype(output_dtype) if output_dtype else x_scale.dtype
    shape = x.shape
    x, x_scale, x_zero_point = granular(xp, x, axis, block_size, x_scale, x_zero_point)
    y = real(xp, x, x_scale, x_zero_point).reshape(shape)
    return xp.cast(y, _FLOAT if dtype == _POWER_OF_TWO else dtype)


@kernel("DynamicQuantizeLinear", since=11)
def dynamic_quantize_linear(xp: Backend, x: Array) -> tuple[Array, Array, Array]:
    """x as uint8, with the scale and zero point that make the most of its range."""
    low, high = x.min(initial=0), x.max(initial=0)
    scale = xp.divide(high - low, xp.number(255, x))
    scale = xp.where(scale > 0, scale, xp.number(1, x))
    zero_point = xp.saturate(xp.divide(-low, scale), _UINT8)
    return xp.saturate(xp.divide(x, scale), _UINT8, zero_point), scale, zero_point


# ------------------------------------------------------------------------------------------- what other operators share
def real(xp: Backend, x: Array, scale: Array, zero_point: Array | None = None) -> Array:
    """(x - zero_point) * scale in float32, a new array; scale and zero point broadcast."""
    if is_zero(zero_point):
        y = single(xp, x)
    elif x.dtype == _INT32:
        y = single(xp, x - zero_point)  # more digits than float32 has
    else:
        y = single(xp, x)
        y -= single(xp, zero_point)
    y *= single(xp, scale)
    return y


def quantized(xp: Backend, y: Array, scale: Array, dtype: Any, zero_point: Array | None = None) -> Array:
    """round(y / scale) + zero_point in an integer dtype."""
    return xp.saturate(xp.divide(y, single(xp, scale)), dtype, zero_point)


def narrowed(xp: Backend, y: Array, dtype: Any, zero_point: Array | None = None, saturate: int = 1) -> Array:
    """A float32 temporary, plus the zero point, in a narrow dtype: clipped to its range, or (floats, on demand) not."""
    if dtype not in NARROW:
        return xp.saturate(y, dtype, zero_point)
    if not is_zero(zero_point):
        y = y + single(xp, zero_point)
    return converted(xp, xp.asarray(y), dtype, saturate)


def single(xp: Backend, x: Array) -> Array:
    """An array in float32, never one on the host where others are traced; the array itself where it is that already."""
    return xp.asarray(xp.cast(x, _FLOAT))


def is_zero(zero_point: Array | None) -> bool:
    """Whether there is nothing to subtract, as far as that can be told without waiting for a device."""
    return zero_point is None or (isinstance(zero_point, (np.ndarray, np.generic)) and not zero_point.any())


def granular(xp: Backend, x: Array, axis: int, block_size: int, *parameters: Array | None) -> tuple[Array | None, ...]:
    """x and its parameters, in shapes that broadcast; those of x differ from its own where blocks are split off.

    Raises:
        ValueError: a parameter's shape fits neither the tensor, nor its axis, nor its blocks.
    """
    if all(p is None or p.size == 1 for p in parameters):
        return x, *[p if p is None else p.reshape(()) for p in parameters]
    axis = axis_of(axis, len(x.shape))
    length = x.shape[axis]
    if not block_size:
        per_axis = (length,) + (1,) * (len(x.shape) - axis - 1)
        return x, *[p if p is None else _fitted(p, (length,), x.shape).reshape(per_axis) for p in parameters]
    if block_size < 0:
        raise ValueError(f"blocks have {block_size} elements")
    blocks = -(-length // block_size)
    expected = (*x.shape[:axis], blocks, *x.shape[axis + 1 :])
    split = [p if p is None else _fitted(p, expected, x.shape) for p in parameters]
    if length == blocks * block_size:
        split = [p if p is None else xp.expand_dims(p, axis + 1) for p in split]
        return x.reshape(*x.shape[:axis], blocks, block_size, *x.shape[axis + 1 :]), *split
    part = (slice(None),) * axis + (slice(length),)
    return x, *[p if p is None else xp.repeat(p, block_size, axis=axis)[part] for p in split]


def _fitted(parameter: Array, expected: tuple[int, ...], of: tuple[int, ...]) -> Array:
    if tuple(parameter.shape) != expected:
        found, wanted = list(parameter.shape), list(expected)
        raise ValueError(f"scale or zero point has shape {found} instead of {wanted} for a tensor of shape {list(of)}")
    return parameter


#: Floats that a quotient can have the precision of.
_QUOTIENTS = frozenset(map(np.dtype, (np.float32, np.float16, ml_dtypes.bfloat16)))
