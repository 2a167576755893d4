"""Rectifiers that exporters spell out: ReLU with a leak, of a slope or many; ELU, SELU and CELU; thresholds.

What is NaN may come to be 0, or stay NaN where it was 0: comparisons say no to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.patterns._elementwise import SINGLE, within
from graphopt.patterns.raising._constants import as_factor, close, scalar, single, singles
from graphopt.rewrite import Const, Float, Int, any_of, op, rule
from graphopt.rewrite.terms import Alternatives


def _choose(x: Any, positive: Any, negative: Any) -> Alternatives:
    """Ways to write: `positive` where x is, else `negative`."""
    above = any_of(op.Greater(x, 0.0), op.GreaterOrEqual(x, 0.0))
    below = any_of(op.Less(x, 0.0), op.LessOrEqual(x, 0.0))
    return any_of(op.Where(above, positive, negative), op.Where(below, negative, positive))


def _negative(x: Any) -> Alternatives:
    """Ways to write: x where it is negative, else 0."""
    return any_of(op.Min(x, 0.0), op.Clip(x, None, 0.0))


# --------------------------------------------------------------------------------------------------------------- leaks
@rule
def relu_of_where(x):
    """x where it is positive and 0 elsewhere is a ReLU."""
    yield _choose(x, x, 0.0)
    if x.dtype not in SINGLE:
        return "not a single precision float"
    yield op.Relu(x)


@rule
def leaky_relu_without_slope(x):
    """A leaky ReLU of slope 0 is a ReLU."""
    yield op.LeakyRelu(x, alpha=0.0)
    yield op.Relu(x)


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
    yield _choose(x, x, x * a)
    slope = scalar(a, x)
    if slope is None or x.dtype not in SINGLE:
        return "the slope is not a single number of single precision"
    yield op.LeakyRelu(x, alpha=slope)


@rule
def leaky_relu_of_relus(x, a: Const, b: Const):
    """Relu(x) - a * Relu(-x) is a leaky ReLU."""
    up, down = op.Relu(x), op.Relu(-x)
    yield any_of(up - down * a, up + -(down * a), up + -down * a, up + down * b, up + _negative(x) * a)
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
def prelu_of_choice(x, slope):
    """x where it is positive and x times a slope elsewhere is PRelu."""
    yield _choose(x, x, x * slope)
    if reason := _no_slope(x, slope):
        return reason
    yield op.PRelu(x, slope)


@rule
def prelu_of_relus(x, s: Const, t: Const):
    """The positive part of x and the negative one times slopes are PRelu."""
    up, down = op.Relu(x), op.Relu(-x)
    halves = any_of((x - op.Abs(x)) * 0.5, (x - op.Abs(x)) / 2)
    yield any_of(up - down * s, up + -down * s, up + down * t, up + _negative(x) * s, up + halves * s)
    slope = t if s is None else s
    if reason := _no_slope(x, slope):
        return reason
    yield op.PRelu(x, -np.asarray(slope) if s is None else slope)


def _no_slope(x: Any, slope: Any) -> str | None:
    """Why this cannot be the slope of a PRelu of x."""
    if x.dtype not in SINGLE:
        return "not a single precision float"
    return None if within(slope.shape, x.shape) else "the slope may broadcast x up"


# ----------------------------------------------------------------------------------------------------------------- ELU
@rule
def elu(x, a: Const):
    """x where it is positive and a * (exp(x) - 1) elsewhere is ELU."""
    e = op.Exp(x) - 1
    below = any_of(a * e, e)
    yield any_of(_choose(x, x, below), op.Relu(x) + op.Min(below, 0.0))
    alpha = 1.0 if a is None else scalar(a, x)
    if alpha is None or x.dtype not in SINGLE:
        return "alpha is not a single number of single precision"
    if alpha < 0:
        return "alpha is negative"
    yield op.Elu(x, alpha=alpha)


@rule
def elu_of_negative(x, a: Const):
    """What is positive of x, and a * (exp(y) - 1) of y, which is x where that is negative and else 0, are ELU."""
    y = any_of(_negative(x), op.Where(op.Greater(x, 0.0), 0.0, x), -op.Relu(-x))
    e = op.Exp(y) - 1
    below = any_of(a * e, e)
    yield any_of(_choose(x, x, below), op.Relu(x) + below)
    alpha = 1.0 if a is None else scalar(a, x)
    if alpha is None or x.dtype not in SINGLE:
        return "alpha is not a single number of single precision"
    yield op.Elu(x, alpha=alpha)


@rule
def celu(x, r: Const, k: Const):
    """A scaled ELU of x divided by the scale is CELU."""
    yield op.Elu(any_of(x / k, x * r)) * k
    alpha, inverse = single(x, k), as_factor(x, r, k)
    if alpha is None or inverse is None:
        return "the scale is not a single number of single precision"
    if alpha <= 0 or not close(alpha * inverse, 1, x.dtype):
        return "x is not divided by the scale, or that is negative"
    yield op.Celu(x, alpha=alpha)


@rule
def celu_spelled_out(x, r: Const, k: Const, a: Const):
    """x where it is positive and a * (exp(x / a) - 1) elsewhere is CELU."""
    below = a * (op.Exp(any_of(x / k, x * r)) - 1)
    bounded = a * (op.Exp(any_of(_negative(x) / k, _negative(x) * r)) - 1)
    yield any_of(_choose(x, x, below), op.Relu(x) + op.Min(below, 0.0), op.Relu(x) + bounded)
    alpha, inverse = single(x, a), as_factor(x, r, k)
    if alpha is None or inverse is None:
        return "the scale is not a single number of single precision"
    if not close(alpha * inverse, 1, x.dtype):
        return "x is not divided by the scale"
    yield op.Celu(x, alpha=alpha)


@rule
def selu(x, a: Float, k: Const):
    """A scaled ELU is SELU."""
    yield op.Elu(x, alpha=a) * k
    scale = single(x, k)
    if scale is None:
        return "the scale is not a single number of single precision"
    yield op.Selu(x, alpha=a, gamma=scale)


@rule
def selu_of_choice(x, k: Const, a: Const):
    """k * x where x is positive and a * (exp(x) - 1) elsewhere is SELU."""
    yield _choose(x, k * x, a * (op.Exp(x) - 1))
    numbers = singles(x, k, a)
    if numbers is None:
        return "the scales are not single numbers of single precision"
    gamma, below = numbers
    if not gamma:
        return "the scale is 0"
    yield op.Selu(x, alpha=below / gamma, gamma=gamma)


# ---------------------------------------------------------------------------------------------------------- thresholds
@rule
def thresholded_relu_of_mask(x, c: Const, t: Int):
    """x times whether it is above a threshold is ThresholdedRelu, or ReLU, which leave no NaN of negative infinity."""
    yield x * op.Cast(any_of(op.Greater(x, c), op.Less(c, x)), to=t)
    alpha = single(x, c)
    if alpha is None:
        return "the threshold is not a single number of single precision"
    yield op.ThresholdedRelu(x, alpha=alpha) if alpha else op.Relu(x)


@rule
def thresholded_relu_at_zero(x):
    """A threshold of 0 is that of a ReLU."""
    yield op.ThresholdedRelu(x, alpha=0.0)
    yield op.Relu(x)


@rule
def shrink_of_parts(x, a: Const, b: Const):
    """What of x is above a bound, less the bound, and below its negative, plus the bound, is a soft shrink."""
    above = op.Where(op.Greater(x, a), x - a, 0.0)
    below = op.Where(op.Less(x, b), x + a, 0.0)
    yield any_of(above + below, op.Where(op.Greater(x, a), x - a, below))
    numbers = singles(x, a, b)
    if numbers is None:
        return "the bounds are not single numbers of single precision"
    bound, negative = numbers
    if bound < 0 or not close(-negative, bound, x.dtype):
        return "the bounds are not a number and its negative"
    yield op.Shrink(x, lambd=bound, bias=bound)


@rule
def shrink_of_magnitude(x, a: Const):
    """x where its magnitude is above a bound and 0 elsewhere is a hard shrink."""
    yield op.Where(op.Greater(op.Abs(x), a), x, 0.0)
    bound = single(x, a)
    if bound is None:
        return "the bound is not a single number of single precision"
    yield op.Shrink(x, lambd=bound)


@rule
def shrink_of_either(x, a: Const, b: Const):
    """x where it is above a bound or below its negative and 0 elsewhere is a hard shrink."""
    yield op.Where(op.Or(op.Greater(x, a), op.Less(x, b)), x, 0.0)
    numbers = singles(x, a, b)
    if numbers is None:
        return "the bounds are not single numbers of single precision"
    above, below = numbers
    if not close(-below, above, x.dtype):
        return "the bounds are not a number and its negative"
    yield op.Shrink(x, lambd=above)
