"""Products and convolutions of narrow integers: https://onnx.ai/onnx/operators/ (MatMulInteger, QLinearConv...).

Integers are multiplied as floats, which BLAS is fast at, and summed in pieces that these hold exactly; the pieces are
summed as int32, which wraps around as the standard allows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.convolution import convolve, kernel_windows
from graphopt.exec.kernels.dtypes import is_integer
from graphopt.exec.kernels.quantization import is_zero, narrowed, single
from graphopt.exec.kernels.registry import Array, kernel
from graphopt.exec.kernels.rounding import limits
from graphopt.exec.kernels.windows import Windows

#: Largest magnitude up to which float32 and float64 hold all integers.
_SINGLE, _DOUBLE = 1 << 24, 1 << 53
#: Terms that a piece should have at least to be worth while in float32.
_PIECE = 64


# ------------------------------------------------------------------------------------------------------------ products
@kernel("MatMulInteger", since=10)
def matmul_integer(
    xp: Backend, a: Array, b: Array, a_zero_point: Array | None = None, b_zero_point: Array | None = None
) -> Array:
    """(a - a_zero_point) @ (b - b_zero_point) in int32"""
    return xp.cast(integer_matmul(xp, a, b, per_row(a_zero_point), per_column(b_zero_point)), np.int32)


@kernel("QLinearMatMul", since=10)
def qlinear_matmul(
    xp: Backend, a: Array, a_scale: Array, a_zero_point: Array, b: Array, b_scale: Array, b_zero_point: Array,
    y_scale: Array, y_zero_point: Array,
) -> Array:  # fmt: skip
    a_scale, a_zero_point, y_scale, y_zero_point = map(per_row, (a_scale, a_zero_point, y_scale, y_zero_point))
    b_scale, b_zero_point = map(per_column, (b_scale, b_zero_point))
    if is_integer(a.dtype):
        y = integer_matmul(xp, a, b, a_zero_point, b_zero_point)
    else:
        with xp.unabridged():
            y = xp.matmul(single(xp, a) - single(xp, a_zero_point), single(xp, b) - single(xp, b_zero_point))
    return requantized(xp, y, single(xp, a_scale) * single(xp, b_scale), y_scale, y_zero_point)


def integer_matmul(
    xp: Backend, a: Array, b: Array, a_zero_point: Array | None = None, b_zero_point: Array | None = None,
    bias: Array | None = None,
) -> Array:  # fmt: skip
    """Product of integers minus their zero points, and a bias, which broadcast: exact, in float32 if it is sure to fit."""
    a, most_a = centred(xp, a, a_zero_point)
    b, most_b = centred(xp, b, b_zero_point)
    rows = a.shape[-1]

    def product(part: slice, dtype: Any) -> Array:
        whole = part == slice(0, rows)
        left = a if whole else a[..., part]
        right = b if whole else b[..., part, :] if b.ndim > 1 else b[part]
        return xp.matmul(xp.cast(left, dtype), xp.cast(right, dtype))

    return exact_sum(xp, product, rows, 1, most_a * most_b, bias)


# -------------------------------------------------------------------------------------------------------- convolutions
@kernel("ConvInteger", since=10)
def conv_integer(
    xp: Backend, x: Array, w: Array, x_zero_point: Array | None = None, w_zero_point: Array | None = None, *,
    auto_pad: str = "NOTSET", dilations: Sequence[int] | None = None, group: int = 1,
    kernel_shape: Sequence[int] | None = None, pads: Sequence[int] | None = None, strides: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    """Convolution of x - x_zero_point with w - w_zero_point in int32; what is padded with is the zero point."""
    move = kernel_windows(x, w, group, kernel_shape, strides, dilations, pads, auto_pad)
    return xp.cast(integer_convolve(xp, x, w, x_zero_point, w_zero_point, move, group), np.int32)


@kernel("QLinearConv", since=10)
def qlinear_conv(
    xp: Backend, x: Array, x_scale: Array, x_zero_point: Array, w: Array, w_scale: Array, w_zero_point: Array,
    y_scale: Array, y_zero_point: Array, b: Array | None = None, *, auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None, group: int = 1, kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None, strides: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    move = kernel_windows(x, w, group, kernel_shape, strides, dilations, pads, auto_pad)
    y = integer_convolve(xp, x, w, x_zero_point, w_zero_point, move, group, per_output(b, x.ndim))
    scale = single(xp, per_column(x_scale)) * single(xp, per_output(w_scale, x.ndim))
    return requantized(xp, y, scale, per_column(y_scale), per_column(y_zero_point))


def integer_convolve(
    xp: Backend, x: Array, w: Array, x_zero_point: Array | None, w_zero_point: Array | None, move: Windows, group: int,
    bias: Array | None = None,
) -> Array:  # fmt: skip
    """Convolution of integers minus their zero points, and a bias: exact, in float32 if it is sure to fit."""
    x, most_x = centred(xp, x, per_column(x_zero_point))
    w, most_w = centred(xp, w, per_output(w_zero_point, w.ndim + 1))
    channels = w.shape[1]

    def product(part: slice, dtype: Any) -> Array:
        left, right = x, w
        if part != slice(0, channels):
            left = x.reshape(len(x), group, channels, *x.shape[2:])[:, :, part].reshape(len(x), -1, *x.shape[2:])
            right = w[:, part]
        left, right = xp.cast(left, dtype), xp.cast(right, dtype)
        if xp.traces:  # libraries for devices have faster ways, which are not exact
            return convolve(xp, left, right, move.strides, move.dilations, move.pads, group, None)
        return xp.convolve(left, right, move.strides, move.dilations, move.pads, group)

    return exact_sum(xp, product, channels, math.prod(w.shape[2:]), most_x * most_w, bias)


# ------------------------------------------------------------------------------------------- what other operators share
def per_row(parameter: Array | None) -> Array | None:
    """Scales or zero points of the left matrix's rows, or one for all, so that they broadcast against it."""
    parameter = per_column(parameter)
    return parameter[:, None] if parameter is not None and parameter.ndim == 1 else parameter


def per_column(parameter: Array | None) -> Array | None:
    """Scales or zero points of the right matrix's columns, or one for all, so that they broadcast against it."""
    return parameter.reshape(()) if parameter is not None and parameter.size == 1 else parameter


def per_output(parameter: Array | None, rank: int) -> Array | None:
    """Scales, zero points or biases of a convolution's outputs, or one for all, so that they broadcast."""
    parameter = per_column(parameter)
    return parameter if parameter is None or parameter.ndim == 0 else parameter.reshape(-1, *[1] * (rank - 2))


def centred(xp: Backend, x: Array, zero_point: Array | None) -> tuple[Array, int]:
    """x - zero_point in float32, and what its magnitude never exceeds."""
    low, high = limits(x.dtype)
    if is_zero(zero_point):
        return single(xp, x), max(-low, high)
    if isinstance(zero_point, (np.ndarray, np.generic)):
        most = max(high - zero_point.min().item(), zero_point.max().item() - low)
    else:
        most = high - low
    y = single(xp, x)
    y -= single(xp, zero_point)
    return y, most


def exact_sum(
    xp: Backend, product: Callable[[slice, Any], Array], length: int, terms: int, most: int, bias: Array | None = None
) -> Array:
    """A sum of products along an axis, exact: a new array, float32 if one piece is enough, else int32.

    Args:
        product: what a part of the axis contributes, computed in a dtype.
        length: of the axis.
        terms: products that are summed for each index of the axis.
        most: what the magnitude of a product never exceeds.
        bias: int32, to be added.
    """
    size = _SINGLE // (terms * most)
    with xp.unabridged():
        if length <= size:
            total = product(slice(0, length), np.float32)
            if bias is None:
                return total
            if isinstance(bias, np.ndarray) and _magnitude(bias) + length * terms * most <= _SINGLE:
                total += single(xp, bias)
                return total
            total = xp.cast(total, np.int32)
        else:
            dtype, size = (np.float32, size) if size * terms >= _PIECE else (np.float64, _DOUBLE // (terms * most))
            total = None
            for i in range(0, length, max(size, 1)):
                piece = product(slice(i, min(i + size, length)), dtype)
                piece = xp.cast(piece if dtype == np.float32 else xp.cast(piece, np.int64), np.int32)
                if total is None:
                    total = piece
                else:
                    total += piece
    if bias is not None:
        total += bias
    return total


def _magnitude(x: np.ndarray) -> int:
    """The largest one."""
    return max(x.max().item(), -x.min().item()) if x.size else 0


def requantized(xp: Backend, y: Array, scale: Array, y_scale: Array, y_zero_point: Array) -> Array:
    """Round sums of products, of their scale, to what the output's scale and zero point make of them."""
    y = single(xp, y)
    y *= xp.divide(scale, single(xp, y_scale))
    return narrowed(xp, y, y_zero_point.dtype, y_zero_point)
