"""Activations that exporters spell out: hard sigmoid and swish, GELU, leaky ReLU, ELU, softmax.

Left as they are, since one node would not be faster: `x * Sigmoid(x)` (runtimes fuse it, and take Swish apart again),
`Log(1 + Exp(x))`, and softmax over another axis than the last.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

import numpy as np

from graphopt.patterns._elementwise import SINGLE
from graphopt.patterns.raising._constants import close, scalar, single
from graphopt.rewrite import Axis, Const, Float, Int, Ints, Maybe, Tensor, any_of, op, rule
from graphopt.rewrite.terms import Alternatives
from graphopt.shapes import same_shape


# ---------------------------------------------------------------------------------------------------------------- hard
def _line(x: Any, slope: Any, divisor: Any, offset: Any, early: Any) -> Alternatives:
    """A straight line through x, its offset added at the end or, `early`, before the slope is applied."""
    return any_of(
        x * slope + offset, x / divisor + offset, (x + early) * slope, (x + early) / divisor, x + offset, x * slope
    )  # fmt: skip


def _slope_and_offset(
    x: Tensor, slope: Const | None, divisor: Const | None, offset: Const | None, early: Const | None
) -> tuple[float, float] | None:
    """Of what `_line` matched; None where one of the constants is not a single number."""
    numbers = [None if c is None else scalar(c, x) for c in (slope, divisor, offset, early)]
    if any(c is not None and n is None for c, n in zip((slope, divisor, offset, early), numbers)):
        return None
    a, d, b, c = numbers
    if d == 0:
        return None
    a = 1.0 if a is None and d is None else 1 / d if d is not None else a
    assert a is not None
    return a, c * a if c is not None else b or 0.0


@rule
def hard_sigmoid(x, a: Const, d: Const, b: Const, c: Const):
    """A straight line clipped to 0...1 is a hard sigmoid."""
    yield op.Clip(_line(x, a, d, b, c), min=0.0, max=1.0)
    line = _slope_and_offset(x, a, d, b, c)
    if line is None:
        return "slope and offset are not single numbers"
    if x.dtype not in SINGLE:
        return "not a single precision float"
    yield op.HardSigmoid(x, alpha=line[0], beta=line[1])


@rule
def hard_sigmoid_scaled(x, a: Const, d: Const, b: Const, c: Const, top: Float, k: Const, q: Const):
    """A straight line clipped to 0...top and divided by top is a hard sigmoid."""
    y = op.Clip(_line(x, a, d, b, c), min=0.0, max=top)
    yield any_of(y * k, y / q)
    line = _slope_and_offset(x, a, d, b, c)
    scale = _scale(x, k, q)
    if line is None or scale is None:
        return "slope, offset and scale are not single numbers"
    if x.dtype not in SINGLE:
        return "not a single precision float"
    if top <= 0 or not close(scale * top, 1, x.dtype):
        return "the upper bound does not become 1"
    yield op.HardSigmoid(x, alpha=line[0] * scale, beta=line[1] * scale)


@rule
def hard_swish_spelled_out(x, c: Const, top: Float, k: Const, q: Const):
    """x times the clipped x + c, divided by the upper bound, is x times a hard sigmoid."""
    y = op.Clip(x + c, min=0.0, max=top)
    yield any_of(x * y * k, x * y / q, x / q * y)
    offset, scale = scalar(c, x), _scale(x, k, q)
    if offset is None or scale is None:
        return "offset and scale are not single numbers"
    if x.dtype not in SINGLE:
        return "not a single precision float"
    if top <= 0 or not close(scale * top, 1, x.dtype):
        return "the upper bound does not become 1"
    yield x * op.HardSigmoid(x, alpha=scale, beta=offset * scale)


@rule
def hard_swish(x, a: Float, b: Float):
    """x times its hard sigmoid of slope 1/6 is a hard swish."""
    yield x * op.HardSigmoid(x, alpha=a, beta=b)
    if x.dtype not in SINGLE:
        return "not a single precision float, and the attributes are"
    if not (close(a, 1 / 6, x.dtype) and close(b, 0.5, x.dtype)):
        return "the slope is not 1/6 or the offset not 1/2"
    yield op.HardSwish(x)


def _scale(x: Tensor, factor: Const | None, divisor: Const | None) -> float | None:
    """One of a factor and a divisor, as a factor."""
    if factor is not None:
        return scalar(factor, x)
    assert divisor is not None
    d = scalar(divisor, x)
    return 1 / d if d else None


# ---------------------------------------------------------------------------------------------------------------- GELU
@rule
def gelu(x):
    """x times the normal distribution function of x, written with Erf, is GELU."""
    e = op.Erf(any_of(x / sqrt(2), x * sqrt(0.5)))
    yield any_of(0.5 * x * (1 + e), x * (1 + e) / 2, x / 2 * (1 + e), x * ((1 + e) / 2), x * (0.5 + 0.5 * e))
    yield op.Gelu(x)


@rule
def gelu_tanh(x):
    """The approximation of GELU by Tanh."""
    k, s = 0.044715, sqrt(2 / pi)
    cubic = any_of(s * (x + k * x**3), s * (x + k * x * x * x), s * x * (1 + k * x * x), s * x * (1 + k * x**2))
    t = op.Tanh(cubic)
    yield any_of(0.5 * x * (1 + t), x * (1 + t) / 2, x / 2 * (1 + t))
    yield op.Gelu(x, approximate="tanh")


@rule
def mish(x):
    """x * tanh(softplus(x)) is Mish."""
    yield x * op.Tanh(op.Softplus(x))
    if x.dtype not in SINGLE:
        return "not a single precision float"
    yield op.Mish(x)


# ---------------------------------------------------------------------------------------------------------- leaky, ELU
def _choose(x: Any, negative: Any) -> Alternatives:
    """Ways to write: x where it is positive, else `negative`."""
    above = any_of(op.Greater(x, 0.0), op.GreaterOrEqual(x, 0.0))
    below = any_of(op.Less(x, 0.0), op.LessOrEqual(x, 0.0))
    return any_of(op.Where(above, x, negative), op.Where(below, negative, x))


@rule
def leaky_relu_of_max(x, a: Const):
    """The larger of x and a * x, 0 < a < 1, is a leaky ReLU."""
    yield op.Max(x, x * a)
    slope = scalar(a, x)
    if slope is None or x.dtype not in SINGLE:
        return "the slope is not a single number of single precision"
    if not 0 < slope < 1:
        return "the slope is not between 0 and 1"
    yield op.LeakyRelu(x, alpha=slope)


@rule
def leaky_relu_of_where(x, a: Const):
    """x where it is positive and a * x elsewhere is a leaky ReLU."""
    yield _choose(x, x * a)
    slope = scalar(a, x)
    if slope is None or x.dtype not in SINGLE:
        return "the slope is not a single number of single precision"
    yield op.LeakyRelu(x, alpha=slope)


@rule
def leaky_relu_of_relus(x, a: Const, b: Const):
    """Relu(x) - a * Relu(-x) is a leaky ReLU."""
    up, down = op.Relu(x), op.Relu(-x)
    yield any_of(up - down * a, up + -(down * a), up + -down * a, up + down * b, up + op.Min(x, 0.0) * a)
    slope = scalar(a, x) if a is not None else scalar(b, x)
    if slope is None or x.dtype not in SINGLE:
        return "the slope is not a single number of single precision"
    yield op.LeakyRelu(x, alpha=slope if a is not None else -slope)


@rule
def leaky_relu_of_prelu(x, a: Const):
    """PRelu with one slope for all is a leaky ReLU."""
    yield op.PRelu(x, a)
    if x.dtype not in SINGLE:
        return "not a single precision float"
    if not 0 < a.size <= 65536:
        return "no slope, or too many to look at"
    slopes = np.asarray(a)
    if (slopes != slopes.flat[0]).any() or not np.isfinite(slopes.flat[0]):
        return "the slopes differ"
    yield op.LeakyRelu(x, alpha=float(slopes.flat[0]))


@rule
def elu(x, a: Const):
    """x where it is positive and a * (exp(x) - 1) elsewhere is ELU."""
    e = op.Exp(x) - 1
    below = any_of(a * e, e)
    yield any_of(_choose(x, below), op.Relu(x) + op.Min(below, 0.0))
    alpha = 1.0 if a is None else scalar(a, x)
    if alpha is None or x.dtype not in SINGLE:
        return "alpha is not a single number of single precision"
    if alpha < 0:
        return "alpha is negative"
    yield op.Elu(x, alpha=alpha)


@rule
def celu(x, r: Const, k: Const):
    """A scaled ELU of x divided by the scale is CELU."""
    yield op.Elu(any_of(x / k, x * r)) * k
    alpha, inverse = single(x, k), _scale(x, r, k)
    if alpha is None or inverse is None:
        return "the scale is not a single number of single precision"
    if alpha <= 0 or not close(alpha * inverse, 1, x.dtype):
        return "x is not divided by the scale, or that is negative"
    yield op.Celu(x, alpha=alpha)


@rule
def selu(x, a: Float, k: Const):
    """A scaled ELU is SELU."""
    yield op.Elu(x, alpha=a) * k
    scale = single(x, k)
    if scale is None:
        return "the scale is not a single number of single precision"
    yield op.Selu(x, alpha=a, gamma=scale)


# ------------------------------------------------------------------------------------------------- sigmoid and softmax
@rule
def sigmoid(x):
    """1 / (1 + exp(-x)) is the sigmoid."""
    e = op.Exp(any_of(-x, x * -1.0))
    yield any_of(1 / (1 + e), op.Reciprocal(1 + e))
    yield op.Sigmoid(x)


@rule
def sigmoid_quotient(x, y):
    """y / (1 + exp(-x)) is y times the sigmoid of x."""
    e = op.Exp(any_of(-x, x * -1.0))
    yield y / (1 + e)
    yield y * op.Sigmoid(x)


@rule
def softmax(x, a: Ints, b: Ints):
    """Exponentials over their sum are softmax, which does not overflow where they would."""
    e = op.Exp(any_of(x - op.ReduceMax(x, axes=a), x))
    s = op.ReduceSum(e, axes=b)
    yield any_of(e / s, e * op.Reciprocal(s))
    if not (_is_last(x, b) and (a is None or _is_last(x, a))):
        return "not over the last axis"
    yield op.Softmax(x, axis=-1 if x.rank is None else x.rank - 1)


@rule
def softmax_of_rows(x, a: Axis, n: Axis, shape, z: Maybe[Int]):
    """Softmax over the last axis needs no matrix, as it did before opset 13."""
    y = op.Reshape(op.Softmax(op.Flatten(x, axis=a), axis=n), shape, allowzero=z)
    yield y
    if x.rank is None or a != x.rank - 1 or n != 1:
        return "not over the last axis"
    if not same_shape(x.shape, y.shape):
        return "reshaped too, or not known not to be"
    yield op.Softmax(x, axis=a)


@rule
def log_softmax(x, n: Int):
    """The logarithm of softmax, which is finite where softmax rounds to 0."""
    yield op.Log(op.Softmax(x, axis=n))
    yield op.LogSoftmax(x, axis=n)


@rule
def log_softmax_spelled_out(x, a: Ints, b: Ints):
    """x minus the logarithm of the sum of its exponentials is the logarithm of softmax."""
    y = any_of(x - op.ReduceMax(x, axes=a), x)
    yield any_of(y - op.Log(op.ReduceSum(op.Exp(y), axes=b)), y - op.ReduceLogSumExp(y, axes=b))
    if not (_is_last(x, b) and (a is None or _is_last(x, a))):
        return "not over the last axis"
    yield op.LogSoftmax(x, axis=-1 if x.rank is None else x.rank - 1)


def _is_last(x: Tensor, axes: list[int]) -> bool:
    return axes == [-1] or (x.rank is not None and axes == [x.rank - 1])
