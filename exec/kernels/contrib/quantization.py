"""Operators of com.microsoft on quantised tensors, element by element and by pieces: ContribOperators.md of ONNX Runtime.

Where that project rounds after it has added the zero point, so is done here: the two ways differ at ties.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import axes_of, axis_of
from graphopt.exec.kernels.pooling import average_pool, max_pool
from graphopt.exec.kernels.quantization import dequantize_linear, is_zero, quantize_linear, quantized, real, single
from graphopt.exec.kernels.quantized_linear import centred, per_column, qlinear_conv, requantized
from graphopt.exec.kernels.registry import Array, kernel
from graphopt.exec.kernels.windows import padded, windows

DOMAIN = "com.microsoft"


@kernel("QuantizeLinear", domain=DOMAIN)
def quantize(
    xp: Backend, x: Array, y_scale: Array, y_zero_point: Array | None = None, *, axis: int = 1, block_size: int = 0
) -> Array:
    return quantize_linear(xp, x, y_scale, y_zero_point, axis=axis, block_size=block_size)


@kernel("DequantizeLinear", domain=DOMAIN)
def dequantize(
    xp: Backend, x: Array, x_scale: Array, x_zero_point: Array | None = None, *, axis: int = 1, block_size: int = 0
) -> Array:
    return dequantize_linear(xp, x, x_scale, x_zero_point, axis=axis, block_size=block_size)


# ------------------------------------------------------------------------------------------------- two operands
@kernel("QLinearAdd", domain=DOMAIN)
def qlinear_add(
    xp: Backend, a: Array, a_scale: Array, a_zero_point: Array | None, b: Array, b_scale: Array,
    b_zero_point: Array | None, c_scale: Array, c_zero_point: Array | None = None,
) -> Array:  # fmt: skip
    a_zero_point, b_zero_point, c_zero_point = (_scalar(xp, z) for z in (a_zero_point, b_zero_point, c_zero_point))
    c_scale = _scalar(xp, c_scale)
    a_ratio, b_ratio = (xp.divide(_scalar(xp, s), c_scale) for s in (a_scale, b_scale))
    x, y = single(xp, a), single(xp, b)
    x *= a_ratio
    y *= b_ratio
    y = x + y
    y += c_zero_point - (a_ratio * a_zero_point + b_ratio * b_zero_point)
    return xp.saturate(y, a.dtype)


@kernel("QLinearMul", domain=DOMAIN)
def qlinear_mul(
    xp: Backend, a: Array, a_scale: Array, a_zero_point: Array | None, b: Array, b_scale: Array,
    b_zero_point: Array | None, c_scale: Array, c_zero_point: Array | None = None,
) -> Array:  # fmt: skip
    a_scale, b_scale, c_scale, c_zero_point = (_scalar(xp, p) for p in (a_scale, b_scale, c_scale, c_zero_point))
    y = centred(xp, a, per_column(a_zero_point))[0] * centred(xp, b, per_column(b_zero_point))[0]
    y *= xp.divide(a_scale * b_scale, c_scale)
    y += c_zero_point
    return xp.saturate(y, a.dtype)


@kernel("MulInteger", domain=DOMAIN)
def mul_integer(
    xp: Backend, a: Array, a_zero_point: Array | None, b: Array, b_zero_point: Array | None = None
) -> Array:
    y = centred(xp, a, per_column(a_zero_point))[0] * centred(xp, b, per_column(b_zero_point))[0]
    return xp.cast(y, np.int32)


# --------------------------------------------------------------------------------------------- tables of all 256 values
@kernel("QLinearSigmoid", domain=DOMAIN)
def qlinear_sigmoid(
    xp: Backend, x: Array, x_scale: Array, x_zero_point: Array | None, y_scale: Array, y_zero_point: Array | None = None
) -> Array:
    def sigmoid(x: Array) -> Array:
        return 1 / (1 + xp.exp(-x))

    return _mapped(xp, x, x_scale, x_zero_point, y_scale, y_zero_point, sigmoid)


@kernel("QLinearLeakyRelu", domain=DOMAIN)
def qlinear_leaky_relu(
    xp: Backend, x: Array, x_scale: Array, x_zero_point: Array | None, y_scale: Array,
    y_zero_point: Array | None = None, *, alpha: float = 0.01,
) -> Array:  # fmt: skip
    def leaky_relu(x: Array) -> Array:
        return xp.where(x >= 0, x, x * xp.number(alpha, x))

    return _mapped(xp, x, x_scale, x_zero_point, y_scale, y_zero_point, leaky_relu)


@kernel("QLinearConcat", domain=DOMAIN)
def qlinear_concat(xp: Backend, y_scale: Array, y_zero_point: Array, *inputs: Array, axis: int) -> Array:
    """Inputs are triples of a tensor, its scale and its zero point."""
    triples = zip(inputs[::3], inputs[1::3], inputs[2::3], strict=True)
    parts = [_mapped(xp, x, x_scale, x_zero_point, y_scale, y_zero_point) for x, x_scale, x_zero_point in triples]
    return xp.concatenate(parts, axis=axis)


@kernel("QLinearWhere", domain=DOMAIN)
def qlinear_where(
    xp: Backend, condition: Array, x: Array, x_scale: Array, x_zero_point: Array, y: Array, y_scale: Array,
    y_zero_point: Array, z_scale: Array, z_zero_point: Array,
) -> Array:  # fmt: skip
    x = _mapped(xp, x, x_scale, x_zero_point, z_scale, z_zero_point)
    return xp.where(condition, x, _mapped(xp, y, y_scale, y_zero_point, z_scale, z_zero_point))


def _mapped(
    xp: Backend, x: Array, x_scale: Array, x_zero_point: Array | None, y_scale: Array, y_zero_point: Array | None,
    function: Callable[[Array], Array] | None = None,
) -> Array:  # fmt: skip
    """A function of the real numbers behind x, quantised anew: computed for what a byte can be, then looked up."""
    x_scale, x_zero_point, y_scale, y_zero_point = map(per_column, (x_scale, x_zero_point, y_scale, y_zero_point))
    if function is None and _same(x_scale, y_scale) and _same(x_zero_point, y_zero_point):
        return x
    values = real(xp, np.arange(256, dtype=np.uint8).view(x.dtype), x_scale, x_zero_point)
    table = quantized(xp, values if function is None else function(values), y_scale, x.dtype, y_zero_point)
    return xp.take(table, x.view(np.uint8), axis=0)


def _same(a: Array | None, b: Array | None) -> bool:
    if a is None or b is None:
        return is_zero(a) and is_zero(b)
    return a is b or (
        isinstance(a, (np.ndarray, np.generic)) and isinstance(b, (np.ndarray, np.generic)) and bool(a == b)
    )


# -------------------------------------------------------------------------------------------------- along axes
@kernel("QLinearSoftmax", domain=DOMAIN)
def qlinear_softmax(
    xp: Backend, x: Array, x_scale: Array, x_zero_point: Array | None, y_scale: Array,
    y_zero_point: Array | None = None, *, opset: int, axis: int = -1,
) -> Array:  # fmt: skip
    """Along an axis; before opset 13 along it and all that follow. The reciprocal of the scale counts as a whole number."""
    if not x.size:
        return x
    axis = axis_of(axis, x.ndim)
    axes = tuple(range(axis, x.ndim)) if opset < 13 else (axis,)
    y = single(xp, x)
    y -= xp.max(y, axis=axes, keepdims=True)
    y *= _scalar(xp, x_scale)
    y = xp.into(xp.exp, y)
    total = xp.sum(y, axis=axes, keepdims=True)
    y *= xp.floor(xp.divide(xp.number(1, y), _scalar(xp, y_scale)))
    return xp.saturate(xp.divide(y, total), x.dtype, per_column(y_zero_point))


@kernel("QLinearGlobalAveragePool", domain=DOMAIN)
def qlinear_global_average_pool(
    xp: Backend, x: Array, x_scale: Array, x_zero_point: Array, y_scale: Array, y_zero_point: Array, *,
    channels_last: int = 0,
) -> Array:  # fmt: skip
    axes = tuple(range(1, x.ndim - 1) if channels_last else range(2, x.ndim))
    return _mean(xp, x, axes, True, x_scale, x_zero_point, y_scale, y_zero_point)


@kernel("QLinearAveragePool", domain=DOMAIN)
def qlinear_average_pool(
    xp: Backend, x: Array, x_scale: Array, x_zero_point: Array | None, y_scale: Array,
    y_zero_point: Array | None = None, *, auto_pad: str = "NOTSET", ceil_mode: int = 0, channels_last: int = 0,
    count_include_pad: int = 0, kernel_shape: Sequence[int], pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    y = real(xp, xp.moveaxis(x, -1, 1) if channels_last else x, per_column(x_scale), per_column(x_zero_point))
    if count_include_pad:  # and so does what sticks out behind the padding
        y = padded(xp, y, windows(y.shape[2:], kernel_shape, strides, None, pads, auto_pad, ceil_mode).cover)
        auto_pad, ceil_mode, pads = "NOTSET", 0, None
    y = average_pool(
        xp, y, auto_pad=auto_pad, ceil_mode=ceil_mode, kernel_shape=kernel_shape, pads=pads, strides=strides
    )
    y = xp.divide(y, _scalar(xp, y_scale)) + _scalar(xp, y_zero_point)
    y = xp.saturate(y, x.dtype)
    return xp.moveaxis(y, 1, -1) if channels_last else y


@kernel("NhwcMaxPool", domain=DOMAIN)
def nhwc_max_pool(
    xp: Backend, x: Array, *, auto_pad: str = "NOTSET", ceil_mode: int = 0, dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int], pads: Sequence[int] | None = None, strides: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    y = max_pool(
        xp, xp.moveaxis(x, -1, 1), auto_pad=auto_pad, ceil_mode=ceil_mode, dilations=dilations,
        kernel_shape=kernel_shape, pads=pads, strides=strides,
    )  # fmt: skip
    return xp.moveaxis(y, 1, -1)


@kernel("QLinearConv", domain=DOMAIN)
def qlinear_conv_either_way(
    xp: Backend, x: Array, x_scale: Array, x_zero_point: Array, w: Array, w_scale: Array, w_zero_point: Array,
    y_scale: Array, y_zero_point: Array, b: Array | None = None, *, channels_last: int = 0, **attributes: Any,
) -> Array:  # fmt: skip
    """Channels may come last in the image; in the weights they stay where they are."""
    x = xp.moveaxis(x, -1, 1) if channels_last else x
    y = qlinear_conv(
        xp, x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, b, **attributes
    )  # fmt: skip
    return xp.moveaxis(y, 1, -1) if channels_last else y


@kernel("QLinearReduceMean", domain=DOMAIN)
def qlinear_reduce_mean(
    xp: Backend, x: Array, x_scale: Array, x_zero_point: Array | None, y_scale: Array,
    y_zero_point: Array | None = None, *, axes: list[int], keepdims: int = 1,
) -> Array:  # fmt: skip
    over = axes_of(axes or range(x.ndim), x.ndim)
    return _mean(xp, x, over, bool(keepdims), x_scale, x_zero_point, y_scale, y_zero_point)


def _mean(
    xp: Backend, x: Array, axes: tuple[int, ...], keepdims: bool, x_scale: Array, x_zero_point: Array | None,
    y_scale: Array, y_zero_point: Array | None,
) -> Array:  # fmt: skip
    count = math.prod(x.shape[a] for a in axes)
    centre, most = centred(xp, x, per_column(x_zero_point))
    wide = centre if count * most < 1 << 24 else xp.cast(centre, np.float64)
    total = xp.sum(wide, axis=axes, keepdims=keepdims)
    y_zero_point = np.zeros((), x.dtype) if y_zero_point is None else per_column(y_zero_point)
    scale = xp.divide(_scalar(xp, x_scale), xp.number(count, centre))
    return requantized(xp, total, scale, per_column(y_scale), y_zero_point)


@kernel("ReduceSumInteger", domain=DOMAIN)
def reduce_sum_integer(xp: Backend, x: Array, *, axes: list[int], keepdims: int = 1) -> Array:
    wide = np.int32 if x.dtype == np.int8 else np.uint32
    return xp.sum(xp.cast(x, wide), axis=axes_of(axes or range(x.ndim), x.ndim), keepdims=bool(keepdims))


def _scalar(xp: Backend, parameter: Array | None) -> Array:
    """A scale or zero point as float32 of rank 0; 0 where there is none."""
    return np.float32(0) if parameter is None else single(xp, parameter).reshape(())
