"""The function bodies of ONNX's own operators, seen as these operators.

Made by `python -m benchmarks.functions --write`; change it there. What rules written by hand restore is not repeated here.
"""

from __future__ import annotations

from graphopt.patterns._elementwise import SINGLE, within
from graphopt.patterns.raising._constants import close, single, singles
from graphopt.rewrite import Const, any_of, op, rule


@rule
def softsign(x):
    """What ONNX defines Softsign by."""
    yield x / (1.0 + op.Abs(x))
    if x.dtype not in SINGLE:
        return "not a single precision float"
    yield op.Softsign(x)


@rule
def thresholded_relu(x, alpha: Const):
    """What ONNX defines ThresholdedRelu by."""
    yield op.Where(any_of(op.Less(alpha, x), op.Greater(x, alpha)), x, 0.0)
    given = single(x, alpha)
    if given is None:
        return "alpha is not a single number of single precision"
    yield op.ThresholdedRelu(x, alpha=given)


@rule
def shrink(x, lambd: Const, bias: Const, neg_lmbda: Const):
    """What ONNX defines Shrink by."""
    yield op.Where(
        any_of(op.Less(x, neg_lmbda), op.Greater(neg_lmbda, x)),
        x + bias,
        op.Where(any_of(op.Less(lambd, x), op.Greater(x, lambd)), x - bias, 0.0),
    )
    given = singles(x, lambd, bias, neg_lmbda)
    if given is None:
        return "lambd, bias, neg_lmbda are not single numbers of single precision"
    lambd_, bias_, neg_lmbda_ = given
    if not close(neg_lmbda_, -lambd_, x.dtype):
        return "neg_lmbda is not -lambd"
    yield op.Shrink(x, lambd=lambd_, bias=bias_)


@rule
def shrink_hard(x, lambd: Const, neg_lmbda: Const):
    """What ONNX defines Shrink by, with bias 0.0."""
    yield op.Where(
        any_of(op.Less(x, neg_lmbda), op.Greater(neg_lmbda, x)),
        x + 0.0,
        op.Where(any_of(op.Less(lambd, x), op.Greater(x, lambd)), x, 0.0),
    )
    given = singles(x, lambd, neg_lmbda)
    if given is None:
        return "lambd, neg_lmbda are not single numbers of single precision"
    lambd_, neg_lmbda_ = given
    if not close(neg_lmbda_, -lambd_, x.dtype):
        return "neg_lmbda is not -lambd"
    yield op.Shrink(x, lambd=lambd_)


@rule
def selu_of_where(x, alpha: Const, gamma: Const):
    """What ONNX defines Selu by."""
    yield op.Where(any_of(op.Less(x, 0.0), op.Greater(0.0, x)), gamma * (alpha * op.Exp(x) - alpha), gamma * x)
    given = singles(x, alpha, gamma)
    if given is None:
        return "alpha, gamma are not single numbers of single precision"
    alpha_, gamma_ = given
    yield op.Selu(x, alpha=alpha_, gamma=gamma_)


@rule
def hard_sigmoid_of_bounds(x, alpha: Const, beta: Const):
    """What ONNX defines HardSigmoid by."""
    yield op.Max(op.Min(x * alpha + beta, 1.0), 0.0)
    given = singles(x, alpha, beta)
    if given is None:
        return "alpha, beta are not single numbers of single precision"
    alpha_, beta_ = given
    yield op.HardSigmoid(x, alpha=alpha_, beta=beta_)


@rule
def prelu(x, slope):
    """What ONNX defines PRelu by."""
    yield op.Where(any_of(op.Less(x, 0.0), op.Greater(0.0, x)), slope * x, x)
    if x.dtype not in SINGLE:
        return "not a single precision float"
    if not within(slope.shape, x.shape):
        return "the slope may broadcast x up"
    yield op.PRelu(x, slope)


@rule
def gelu_of_sum(x):
    """What ONNX defines Gelu by, with approximate none."""
    yield 0.5 * x * op.Sum(1.0, op.Erf(x / 1.4142135))
    if x.dtype not in SINGLE:
        return "not a single precision float"
    yield op.Gelu(x)


@rule
def gelu_tanh_of_sum(x):
    """What ONNX defines Gelu by, with approximate tanh."""
    yield 0.5 * x * op.Sum(1.0, op.Tanh(0.7978845 * op.Sum(x, 0.044715 * x**3.0)))
    if x.dtype not in SINGLE:
        return "not a single precision float"
    yield op.Gelu(x, approximate="tanh")


@rule(since=12)
def clip_of_where(x, low, high):
    """What ONNX defines Clip by."""
    tmp = any_of(op.Where(any_of(op.Less(x, low), op.Greater(low, x)), low, x), op.Clip(x, low))
    yield op.Where(any_of(op.Less(high, tmp), op.Greater(tmp, high)), high, tmp)
    if low.shape != () or high.shape != ():
        return "a bound is not known to be a scalar"
    yield op.Clip(x, low, high)


@rule(since=12)
def clip_below(x, low):
    """What ONNX defines Clip by."""
    yield op.Where(any_of(op.Less(x, low), op.Greater(low, x)), low, x)
    if low.shape != ():
        return "a bound is not known to be a scalar"
    yield op.Clip(x, low)


@rule(since=12)
def clip_above(x, high):
    """What ONNX defines Clip by."""
    yield op.Where(any_of(op.Less(high, x), op.Greater(x, high)), high, x)
    if high.shape != ():
        return "a bound is not known to be a scalar"
    yield op.Clip(x, None, high)


@rule(exact=True)
def greater_or_equal(a, b):
    """What ONNX defines GreaterOrEqual by."""
    yield op.Or(op.Greater(a, b), op.Equal(a, b))
    yield op.GreaterOrEqual(a, b)


@rule(exact=True)
def less_or_equal(a, b):
    """What ONNX defines LessOrEqual by."""
    yield op.Or(op.Less(a, b), op.Equal(a, b))
    yield op.LessOrEqual(a, b)


@rule
def dynamic_quantize_linear(x):
    """What ONNX defines DynamicQuantizeLinear by."""
    x_min_adjusted = op.Min(op.ReduceMin(x, keepdims=0), 0.0)
    y_scale = (op.Max(op.ReduceMax(x, keepdims=0), 0.0) - x_min_adjusted) / 255.0
    y_zero_point = op.Cast(op.Round(op.Clip(0.0 - x_min_adjusted / y_scale, min=0.0, max=255.0)), to=2)
    yield op.QuantizeLinear(x, y_scale, y_zero_point), y_scale, y_zero_point
    yield op.DynamicQuantizeLinear(x, outputs=3)
