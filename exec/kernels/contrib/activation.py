"""Activation functions of com.microsoft: ContribOperators.md of ONNX Runtime."""

from __future__ import annotations

import math

import numpy as np

from graphopt.exec.kernels.activation import dropout, gelu, swish
from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import axis_of
from graphopt.exec.kernels.dtypes import is_narrow
from graphopt.exec.kernels.registry import Array, Host, kernel
from graphopt.exec.kernels.softmax import softmax

DOMAIN = "com.microsoft"


@kernel("Gelu", domain=DOMAIN, wide=True)
def plain_gelu(xp: Backend, x: Array) -> Array:
    return gelu(xp, x)


@kernel("BiasGelu", domain=DOMAIN, wide=True)
def bias_gelu(xp: Backend, a: Array, b: Array) -> Array:
    return gelu(xp, a + b)


@kernel("FastGelu", domain=DOMAIN, wide=True)
def fast_gelu(xp: Backend, x: Array, bias: Array | None = None) -> Array:
    """Through tanh."""
    return gelu(xp, x if bias is None else x + bias, approximate="tanh")


@kernel("QuickGelu", domain=DOMAIN, wide=True)
def quick_gelu(xp: Backend, x: Array, *, alpha: float = 1.7020000219345093) -> Array:
    return swish(xp, x, alpha=alpha)


@kernel("ScaledSiLU", domain=DOMAIN)
def scaled_silu(xp: Backend, x: Array, scale: Array | None = None, *, alpha: float = 1.0) -> Array:
    """z * sigmoid(z) of z = scale * x; z and the sigmoid are rounded to the dtype as well as the result."""
    dtype = x.dtype
    if is_narrow(dtype):
        x = xp.cast(x, np.float32)
    z = xp.cast(x * (xp.number(alpha, x) if scale is None else xp.cast(scale.reshape(()), x.dtype)), dtype)
    if not is_narrow(dtype):
        return swish(xp, z)
    wide = xp.cast(z, np.float32)
    return xp.cast(wide * xp.cast(xp.cast(xp.sigmoid(wide), dtype), np.float32), dtype)


@kernel("BiasSoftmax", domain=DOMAIN, wide=True)
def bias_softmax(xp: Backend, data: Array, bias: Array, *, axis: int = 1, is_inner_broadcast: int) -> Array:
    """The axes from `axis` on are a row's; the bias broadcasts to the data."""
    y = data + bias
    rows = math.prod(y.shape[: axis_of(axis, y.ndim)])
    return softmax(xp, y.reshape(rows, y.size // max(rows, 1)), -1).reshape(y.shape)


@kernel("BiasDropout", domain=DOMAIN)
def bias_dropout(
    xp: Backend, data: Array, bias: Array, residual: Array | None = None, ratio: Host = None,
    training_mode: Host = None, *, seed: int | None = None, outputs: int = 1,
) -> tuple[Array, Array | None]:  # fmt: skip
    y, mask = dropout(xp, data + bias, ratio, training_mode, seed=seed, outputs=outputs)
    return y if residual is None else y + residual, mask
