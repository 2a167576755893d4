"""Activations that exporters spell out: hard sigmoid and swish, GELU, sigmoid and tanh, softmax.

Left as they are, since one node would not be faster: `x * Sigmoid(x)` (runtimes fuse it, and take Swish apart again),
`Log(1 + Exp(x))`, and softmax over another axis than the last.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

from graphopt.patterns._elementwise import SINGLE
from graphopt.patterns.raising._constants import as_factor, close, scalar
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
    scale = as_factor(x, k, q)
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
    offset, scale = scalar(c, x), as_factor(x, k, q)
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


# ---------------------------------------------------------------------------------------------------------------- GELU
@rule
def gelu(x):
    """x times the normal distribution function of x, written with Erf, is GELU."""
    e = op.Erf(any_of(x / sqrt(2), x * sqrt(0.5)))
    h = x * 0.5
    yield any_of(
        0.5 * x * (1 + e), x * (1 + e) / 2, x / 2 * (1 + e), x * ((1 + e) / 2), x * (0.5 + 0.5 * e), h + h * e
    )  # fmt: skip
    yield op.Gelu(x)


@rule
def gelu_of_complement(x):
    """GELU by the complement of the error function, 1 - Erf."""
    n = 1 - op.Erf(any_of(x * -sqrt(0.5), x / -sqrt(2), -x * sqrt(0.5), -x / sqrt(2)))
    yield any_of(0.5 * x * n, x * n / 2, x / 2 * n, x * (0.5 - 0.5 * op.Erf(x * -sqrt(0.5))))
    yield op.Gelu(x)


@rule
def gelu_tanh(x):
    """The approximation of GELU by Tanh."""
    k, s = 0.044715, sqrt(2 / pi)
    cubic = any_of(s * (x + k * x**3), s * (x + k * x * x * x), s * x * (1 + k * x * x), s * x * (1 + k * x**2))
    t = op.Tanh(cubic)
    yield any_of(0.5 * x * (1 + t), x * (1 + t) / 2, x / 2 * (1 + t), x * (0.5 + 0.5 * t))
    yield op.Gelu(x, approximate="tanh")


@rule
def gelu_tanh_of_sigmoid(x):
    """The approximation of GELU by Tanh, which 2 * sigmoid(2 * x) - 1 is."""
    k, s = 0.044715, sqrt(8 / pi)
    yield x * op.Sigmoid(
        any_of(s * (x + k * x**3), s * (x + k * x * x * x), s * x * (1 + k * x * x), s * x * (1 + k * x**2))
    )
    yield op.Gelu(x, approximate="tanh")


@rule
def mish(x):
    """x * tanh(softplus(x)) is Mish."""
    yield x * op.Tanh(op.Softplus(x))
    if x.dtype not in SINGLE:
        return "not a single precision float"
    yield op.Mish(x)


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
def sigmoid_of_exponential(x):
    """exp(x) / (1 + exp(x)) is the sigmoid, which does not overflow."""
    e = op.Exp(x)
    yield e / (1 + e)
    yield op.Sigmoid(x)


@rule
def sigmoid_of_tanh(x):
    """The hyperbolic tangent of x / 2, from 0 to 1 instead of -1 to 1, is the sigmoid."""
    t = op.Tanh(any_of(x * 0.5, x / 2))
    yield any_of(0.5 * (1 + t), (1 + t) / 2, 0.5 * t + 0.5, t / 2 + 0.5)
    yield op.Sigmoid(x)


@rule
def tanh_of_exponentials(x):
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x)) is the hyperbolic tangent, which does not overflow."""
    up, down = op.Exp(x), op.Exp(-x)
    yield (up - down) / (up + down)
    yield op.Tanh(x)


@rule
def softmax(x, a: Ints, b: Ints):
    """Exponentials over their sum are softmax, which does not overflow where they would."""
    e = op.Exp(any_of(x - op.ReduceMax(x, axes=a), x))
    s = op.ReduceSum(e, axes=b)
    yield any_of(e / s, e * op.Reciprocal(s), e * (1 / s))
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
def softmax_of_reshaped(x, rows, n: Axis, shape, y: Maybe[Int], z: Maybe[Int]):
    """Softmax over the last axis does not care how the others are arranged."""
    inner = op.Reshape(x, rows, allowzero=y)
    result = op.Reshape(op.Softmax(inner, axis=n), shape, allowzero=z)
    yield result
    if not x.rank or not inner.rank or n != inner.rank - 1:
        return "not over the last axis, or ranks are not known"
    if not same_shape(inner.shape[-1:], x.shape[-1:]):
        return "the last axis is another one, or not known to be the same"
    if not same_shape(x.shape, result.shape):
        return "reshaped too, or not known not to be"
    yield op.Softmax(x, axis=x.rank - 1)


@rule
def softmax_of_difference(x, n: Axis, a: Ints):
    """Softmax does not change where the largest element is subtracted first, as it does itself."""
    yield op.Softmax(x - op.ReduceMax(x, axes=a), axis=n)
    if x.rank is None or [i % x.rank for i in a] != [n]:
        return "the largest of other elements"
    if n != x.rank - 1 and x.value.graph.opsets[""] < 13:
        return "over all axes from this one on"
    yield op.Softmax(x, axis=n)


@rule
def softmax_of_logarithm(x, n: Int):
    """The exponential of the logarithm of softmax is softmax."""
    yield op.Exp(op.LogSoftmax(x, axis=n))
    yield op.Softmax(x, axis=n)


@rule
def log_softmax(x, n: Int):
    """The logarithm of softmax, which is finite where softmax rounds to 0."""
    yield op.Log(op.Softmax(x, axis=n))
    yield op.LogSoftmax(x, axis=n)


@rule
def log_softmax_spelled_out(x, a: Ints, b: Ints):
    """x minus the logarithm of the sum of its exponentials is the logarithm of softmax."""
    y = any_of(x - op.ReduceMax(x, axes=a), x)
    m = op.ReduceMax(x, axes=a)
    shifted = x - (op.Log(op.ReduceSum(op.Exp(x - m), axes=b)) + m)
    yield any_of(
        y - op.Log(op.ReduceSum(op.Exp(y), axes=b)),
        y - op.ReduceLogSumExp(y, axes=b),
        y - op.ReduceLogSum(op.Exp(y), axes=b),
        shifted,
    )
    if not (_is_last(x, b) and (a is None or _is_last(x, a))):
        return "not over the last axis"
    yield op.LogSoftmax(x, axis=-1 if x.rank is None else x.rank - 1)


def _is_last(x: Tensor, axes: list[int]) -> bool:
    return axes == [-1] or (x.rank is not None and axes == [x.rank - 1])
