"""Activation functions, and Dropout: https://onnx.ai/onnx/operators/.

They are written as sums of what they are above and below a threshold rather than as choices, which NumPy is slow at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.registry import Array, Host, kernel
from graphopt.exec.kernels.special import clamp, elementwise, expm1, log1p

_FLOAT_MAX = float(np.finfo(np.float32).max)


# ------------------------------------------------------------------------------------------------- piecewise linear
@kernel("Relu")
def relu(xp: Backend, x: Array, *, consumed_inputs: Sequence[int] = ()) -> Array:
    return clamp(xp, x, 0)


@kernel("LeakyRelu", wide=True)
@elementwise
def leaky_relu(
    xp: Backend, x: Array, *, alpha: float = 0.009999999776482582, consumed_inputs: Sequence[int] = ()
) -> Array:
    below = x * xp.number(alpha, x)
    return xp.maximum(x, below) if alpha <= 1 else xp.minimum(x, below)


@kernel("PRelu", since=7, wide=True)
@elementwise
def p_relu(xp: Backend, x: Array, slope: Array) -> Array:
    return clamp(xp, x, 0) + slope * clamp(xp, x, high=0)


@kernel("PRelu", wide=True)
def p_relu_1(xp: Backend, x: Array, slope: Array, *, consumed_inputs: Sequence[int] = ()) -> Array:
    """Before opset 7 there is one slope, or one for each channel."""
    return p_relu(xp, x, slope.reshape(() if slope.size == 1 else (-1, *[1] * (x.ndim - 2))))


@kernel("ThresholdedRelu", since=10, wide=True)
@elementwise
def thresholded_relu(xp: Backend, x: Array, *, alpha: float = 1.0) -> Array:
    return xp.where(xp.greater(x, xp.number(alpha, x)), x, xp.number(0, x))


@kernel("Shrink", since=9, wide=True)
def shrink(xp: Backend, x: Array, *, bias: float = 0.0, lambd: float = 0.5) -> Array:
    """Nothing between -lambd and lambd; outside, nearer to 0 by the bias. Integers are computed with as floats."""
    dtype = x.dtype
    if dtype.kind in "iu":
        x = xp.cast(x, np.float64)
    zero, by, limit = (xp.number(v, x) for v in (0, bias, lambd))
    above = xp.where(xp.greater(x, limit), x - by, zero)
    return xp.cast(xp.where(xp.less(x, -limit), x + by, above), dtype)


@kernel("Clip")
def clip_1(
    xp: Backend,
    x: Array,
    *,
    min: float | None = None,
    max: float | None = None,
    consumed_inputs: Sequence[int] = (),
) -> Array:
    low, high = (v if v is None else xp.number(v, x) for v in (min, max))
    return clamp(xp, x, low, high)


@kernel("Clip", since=6, wide=True)
def clip_6(xp: Backend, x: Array, *, min: float = -_FLOAT_MAX, max: float = _FLOAT_MAX) -> Array:
    return clamp(xp, x, xp.number(min, x), xp.number(max, x))


@kernel("Clip", since=11)
def clip(xp: Backend, x: Array, min: Array | None = None, max: Array | None = None) -> Array:
    low, high = (v if v is None else v.reshape(()) for v in (min, max))
    return clamp(xp, x, low, high)


@kernel("HardSigmoid", wide=True)
@elementwise
def hard_sigmoid(
    xp: Backend, x: Array, *, alpha: float = 0.20000000298023224, beta: float = 0.5, consumed_inputs: Sequence[int] = ()
) -> Array:
    y = x * xp.number(alpha, x)
    y += xp.number(beta, x)
    return clamp(xp, y, 0, 1)


@kernel("HardSwish", since=14, wide=True)
@elementwise
def hard_swish(xp: Backend, x: Array) -> Array:
    """x * clamp(x / 6 + 1 / 2, 0, 1)"""
    y = x / 6
    y += xp.number(0.5, x)
    y = clamp(xp, y, 0, 1)
    y *= x
    return y


# --------------------------------------------------------------------------------------------- linear above, bent below
@kernel("Elu", wide=True)
@elementwise
def elu(xp: Backend, x: Array, *, alpha: float = 1.0, consumed_inputs: Sequence[int] = ()) -> Array:
    y = expm1(xp, clamp(xp, x, high=0))
    y *= xp.number(alpha, x)
    y += clamp(xp, x, 0)
    return y


@kernel("Selu", since=6, wide=True)
@elementwise
def selu(xp: Backend, x: Array, *, alpha: float = 1.6732631921768188, gamma: float = 1.0507010221481323) -> Array:
    y = elu(xp, x, alpha=alpha)
    y *= xp.number(gamma, x)
    return y


@kernel("Selu", wide=True)
def selu_1(
    xp: Backend,
    x: Array,
    *,
    alpha: float = 1.673200011253357,
    gamma: float = 1.0506999492645264,
    consumed_inputs: Sequence[int] = (),
) -> Array:
    """The first version has other defaults."""
    return selu(xp, x, alpha=alpha, gamma=gamma)


@kernel("Celu", since=12, wide=True)
@elementwise
def celu(xp: Backend, x: Array, *, alpha: float = 1.0) -> Array:
    y = clamp(xp, x, high=0)
    y /= xp.number(alpha, x)
    y = expm1(xp, y)
    y *= xp.number(alpha, x)
    y += clamp(xp, x, 0)
    return y


# ------------------------------------------------------------------------------------------------------------- smooth
@kernel("Sigmoid", wide=True)
@elementwise
def sigmoid(xp: Backend, x: Array, *, consumed_inputs: Sequence[int] = ()) -> Array:
    return xp.sigmoid(x)


@kernel("Swish", since=24, wide=True)
@elementwise
def swish(xp: Backend, x: Array, *, alpha: float = 1.0) -> Array:
    """x * sigmoid(alpha * x)"""
    return xp.gated(x, x * xp.number(alpha, x))


@kernel("SwiGLU", since=28, wide=True)
@elementwise
def swiglu(xp: Backend, gate: Array, value: Array, *, alpha: float = 1.0) -> Array:
    if gate.shape != value.shape:
        raise ValueError(f"gate and value have different shapes: {list(gate.shape)} and {list(value.shape)}")
    y = swish(xp, gate, alpha=alpha)
    y *= value
    return y


@kernel("Gelu", since=20, wide=True)
@elementwise
def gelu(xp: Backend, x: Array, *, approximate: str = "none") -> Array:
    """x * P(X <= x) for a normally distributed X, or what is near to that (`tanh`)."""
    if approximate == "tanh":
        y = x * x
        y *= xp.number(0.044715, x)
        y += 1
        y *= x
        y *= xp.sqrt(xp.number(2 / math.pi, x))
        y = xp.tanh(y)
    elif approximate == "none":
        y = xp.erf(x * xp.sqrt(xp.number(0.5, x)))
    else:
        raise ValueError(f"unknown approximation {approximate!r}; known: none, tanh")
    y += 1
    y *= x
    y *= xp.number(0.5, x)
    return y


@kernel("Softplus", wide=True)
@elementwise
def softplus(xp: Backend, x: Array) -> Array:
    """log(1 + exp(x))"""
    if xp.exact:
        return log1p(xp, xp.exp(x))
    y = log1p(xp, xp.exp(-xp.abs(x)))
    y += clamp(xp, x, 0)
    return y


@kernel("Mish", since=18, wide=True)
@elementwise
def mish(xp: Backend, x: Array) -> Array:
    """x * tanh(softplus(x)), where tanh(log(1 + e)) = e(e + 2) / (e(e + 2) + 2)"""
    e = xp.exp(x if xp.exact else clamp(xp, x, high=40))  # beyond that tanh is 1
    y = e + 2
    y *= e
    y /= y + 2
    y *= x
    return y


@kernel("Softsign", wide=True)
@elementwise
def softsign(xp: Backend, x: Array) -> Array:
    y = xp.abs(x)
    y += 1
    return x / y


# ------------------------------------------------------------------------------------------------------------ Dropout
@kernel("Dropout")
def dropout_1(
    xp: Backend,
    x: Array,
    *,
    ratio: float = 0.5,
    is_test: int = 0,
    outputs: int = 1,
    consumed_inputs: Sequence[int] = (),
) -> Array:
    """Drops unless it is told that this is a test; the mask has the input's dtype."""
    y, mask = _dropped(xp, x, 0.0 if is_test else ratio, None, outputs)
    return y, None if mask is None else xp.cast(mask, x.dtype)


@kernel("Dropout", since=7)
def dropout_7(xp: Backend, x: Array, *, ratio: float = 0.5, outputs: int = 1) -> Array:
    """Drops nothing; the mask has the input's dtype."""
    y, mask = _dropped(xp, x, 0.0, None, outputs)
    return y, None if mask is None else xp.cast(mask, x.dtype)


@kernel("Dropout", since=10)
def dropout_10(xp: Backend, x: Array, *, ratio: float = 0.5, outputs: int = 1) -> Array:
    """Drops nothing."""
    return _dropped(xp, x, 0.0, None, outputs)


@kernel("Dropout", since=12)
def dropout(
    xp: Backend,
    x: Array,
    ratio: Host = None,
    training_mode: Host = None,
    *,
    seed: int | None = None,
    outputs: int = 1,
) -> tuple[Array, Array | None]:
    """Drops elements where it is told that this is training."""
    training = training_mode is not None and bool(np.asarray(training_mode).reshape(()))
    share = (0.5 if ratio is None else float(np.asarray(ratio).reshape(()))) if training else 0.0
    return _dropped(xp, x, share, seed, outputs)


def _dropped(xp: Backend, x: Array, ratio: float, seed: int | None, outputs: int) -> tuple[Array, Array | None]:
    """x without a share of its elements, the others larger for it; and which these are, if that is asked for."""
    if not ratio:
        return x, xp.ones(x.shape, bool) if outputs > 1 else None
    if not 0 <= ratio < 1:
        raise ValueError(f"the ratio of what is dropped is {ratio}, not from 0 to before 1")
    mask = xp.uniform(x.shape, seed) >= ratio
    return xp.where(mask, x * xp.number(1 / (1 - ratio), x), xp.number(0, x)), mask
