"""Products and convolutions of narrow integers: https://onnx.ai/onnx/operators/ (MatMulInteger, QLinearConv...).

Integers are multiplied as floats, which BLAS is fast at, and summed in pieces that these hold exactly; the pieces are
summed as int32, which wraps around as the standard allows it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.dtypes import is_integer
from graphopt.exec.kernels.quantization import is_zero, narrowed, single
from graphopt.exec.kernels.registry import Array, kernel
from graphopt.exec.kernels.rounding import limits

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
    xp: Backend, a: Array, b: Array, a_zero_point: Array | None = None, b_zero_point: Array | None = None
) -> Array:
    """Matrix product of integers minus their zero points, which broadcast: exact, in float32 if it is sure to fit."""
    a, most_a = centred(xp, a, a_zero_point)
    b, most_b = centred(xp, b, b_zero_point)
    rows = a.shape[-1]

    def product(part: slice, dtype: Any) -> Array:
        whole = part == slice(0, rows)
        left = a if whole else a[..., part]
        right = b if whole else b[..., part, :] if b.ndim > 1 else b[part]
        return xp.matmul(xp.cast(left, dtype), xp.cast(right, dtype))

    return exact_sum(xp, product, rows, 1, most_a * most_b)


# ------------------------------------------------------------------------------------------- what other operators share
def per_row(parameter: Array | None) -> Array | None:
    """Scales or zero points of the left matrix's rows, or one for all, so that they broadcast against it."""
    parameter = per_column(parameter)
    return parameter[:, None] if parameter is not None and parameter.ndim == 1 else parameter


def per_column(parameter: Array | None) -> Array | None:
    """Scales or zero points of the right matrix's columns, or one for all, so that they broadcast against it."""
    return parameter.reshape(()) if parameter is not None and parameter.size == 1 else parameter


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


def exact_sum(xp: Backend, product: Callable[[slice, Any], Array], length: int, terms: int, most: int) -> Array:
    """A sum of products along an axis, exact: float32 if one piece is enough, else int32.

    Args:
        product: what a part of the axis contributes, computed in a dtype.
        length: of the axis.
        terms: products that are summed for each index of the axis.
        most: what the magnitude of a product never exceeds.
    """
    size = _SINGLE // (terms * most)
    with xp.unabridged():
        if length <= size:
            return product(slice(0, length), np.float32)
        if size * terms < _PIECE:
            size = max(_DOUBLE // (terms * most), 1)
            pieces = [product(slice(i, min(i + size, length)), np.float64) for i in range(0, length, size)]
            return sum(xp.cast(xp.cast(p, np.int64), np.int32) for p in pieces)
        total = xp.cast(product(slice(0, size), np.float32), np.int32)
        for i in range(size, length, size):
            total += xp.cast(product(slice(i, min(i + size, length)), np.float32), np.int32)
    return total


def requantized(xp: Backend, y: Array, scale: Array, y_scale: Array, y_zero_point: Array) -> Array:
    """Round sums of products, of their scale, to what the output's scale and zero point make of them."""
    y = single(xp, y)
    y *= xp.divide(scale, single(xp, y_scale))
    return narrowed(xp, y, y_zero_point.dtype, y_zero_point)
