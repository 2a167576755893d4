"""Bounds: Relu, Clip, Min and Max one after the other, or around what they cannot change.

Clip is Min(max, Max(min, x)): where min is above max, the result is max. Clip, Relu, Min and Max with constants are all of
this form, so two of them in a row are one. A bound that Clip leaves out stands for the largest number of the dtype (so
says the specification, and so does ONNX Runtime; the reference lets infinity pass), so a Clip of floats without bounds
stays, and rules neither leave out nor add a bound, but for clip_to_relu.
"""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto, helper

from graphopt.patterns._elementwise import FLOATS, INTEGERS, chosen, foldable, within, wrapping
from graphopt.rewrite import Const, Filled, Float, Int, Maybe, Tensor, any_of, op, rule

Interval = tuple[float | None, float | None]
_RELU: Interval = (0.0, None)


# ------------------------------------------------------------------------------------------------------ two in a row
@rule
def clip_clip(x, a: Maybe[Float], b: Maybe[Float], c: Maybe[Float], d: Maybe[Float]):
    """Two Clips are one."""
    yield op.Clip(op.Clip(x, min=a, max=b), min=c, max=d)
    if reason := _unfit(x, a, b, c, d):
        return reason
    low, high = _both((a, b), (c, d))
    yield op.Clip(x, min=low, max=high)


@rule
def relu_of_clip(x, a: Maybe[Float], b: Maybe[Float]):
    """A Clip and then a Relu is a Clip: Relu(Clip(x, -1, -0.5)) is 0, not -0.5."""
    yield op.Relu(inner := op.Clip(x, min=a, max=b))
    if reason := _unfit(x, a, b):
        return reason
    low, high = _both((a, b), _RELU)
    if (low, high) == (a, b):
        yield inner
    else:
        yield op.Clip(x, min=low, max=high)


@rule
def clip_of_relu(x, a: Maybe[Float], b: Maybe[Float]):
    """A Relu and then a Clip is a Clip."""
    yield op.Clip(op.Relu(x), min=a, max=b)
    if reason := _unfit(x, a, b):
        return reason
    low, high = _both(_RELU, (a, b))
    yield op.Clip(x, min=low, max=high)


@rule
def min_max_to_clip(x, a: Const, b: Const):
    """The minimum and the maximum with numbers, one after the other, are a Clip."""
    yield (outer := any_of(op.Min(op.Max(x, a), b), op.Max(op.Min(x, b), a)))
    low, high = _number(a, x), _number(b, x)
    if low is None or high is None:
        return "a bound is no single number, or may broadcast x up"
    if reason := _unfit(x, low, high) or _unusual(x):
        return reason
    if chosen(outer).op_type == "Min":
        low, high = _both((low, None), (None, high))
    else:
        low, high = _both((None, high), (low, None))
    yield op.Clip(x, min=low, max=high)


@rule
def min_relu_to_clip(x, b: Const):
    """The minimum of a Relu and a number (ReLU6), or the other way round, is a Clip."""
    yield (outer := any_of(op.Min(op.Relu(x), b), op.Relu(op.Min(x, b))))
    high = _number(b, x)
    if high is None:
        return "the bound is no single number, or may broadcast x up"
    if reason := _unfit(x, high) or _unusual(x):
        return reason
    first, second = (_RELU, (None, high)) if chosen(outer).op_type == "Min" else ((None, high), _RELU)
    low, high = _both(first, second)
    yield op.Clip(x, min=low, max=high)


@rule
def max_max(x, a: Const, b: Const, c: Const, d: Const):
    """Two maximums (minimums) with constants are one."""
    yield any_of(op.Max(op.Max(x, a), b), op.Min(op.Min(x, c), d))
    p, q = (a, b) if c is None else (c, d)
    if not foldable(p, q):
        return "the new constant would be larger"
    yield op.Max(x, wrapping(np.maximum, p, q)) if c is None else op.Min(x, wrapping(np.minimum, p, q))


@rule(exact=True)
def max_of_same(x):
    """The maximum or minimum of a tensor and itself is that tensor."""
    yield any_of(op.Max(x, x), op.Min(x, x))
    yield x


# ------------------------------------------------------------------------------------------- nothing to be bounded
@rule(exact=True)
def max_of_infinity(x, a: Filled[-math.inf], b: Filled[math.inf]):
    """Nothing is below negative infinity, nor above infinity."""
    yield any_of(op.Max(x, a), op.Min(x, b))
    if not within((a if b is None else b).shape, x.shape):
        return "it may broadcast x up"
    yield x


@rule(exact=True)
def relu_of_nonnegative(x, axis: Int, alpha: Float, beta: Float):
    """What is never negative passes a Relu as it is."""
    yield op.Relu(
        inner := any_of(
            op.Relu(x),
            op.Sigmoid(x),
            op.HardSigmoid(x, alpha=alpha, beta=beta),
            op.Softmax(x, axis=axis),
            op.Exp(x),
            op.Softplus(x),
            op.Abs(x),
        )
    )
    if x.dtype not in FLOATS and chosen(inner).op_type != "Relu":
        return "integers have an absolute value that is negative"
    yield chosen(inner)


@rule(exact=True)
def clip_of_fraction(x, axis: Int, alpha: Float, beta: Float, a: Maybe[Float], b: Maybe[Float]):
    """What lies between 0 and 1 passes a wider Clip as it is."""
    yield op.Clip(
        inner := any_of(op.Sigmoid(x), op.HardSigmoid(x, alpha=alpha, beta=beta), op.Softmax(x, axis=axis)),
        min=a,
        max=b,
    )
    if not ((a is None or a <= 0) and (b is None or b >= 1)):
        return "the bounds are inside of 0 and 1"
    yield chosen(inner)


@rule(exact=True)
def clip_to_everything(x, a: Maybe[Float], b: Maybe[Float]):
    """Bounds that no number of the dtype exceeds do nothing."""
    yield op.Clip(x, min=a, max=b)
    if x.dtype in INTEGERS:
        ends = np.iinfo(helper.tensor_dtype_to_np_dtype(x.dtype))
        if ends.bits == 64 and (a, b) != (None, None):
            return "64-bit bounds"
        if (a is not None and a > ends.min) or (b is not None and b < ends.max):
            return "the bounds are inside of the dtype's range"
    elif a != -math.inf or b != math.inf:
        return "the bounds are not infinite"
    yield x


@rule(exact=True)
def leaky_relu_without_leak(x):
    """A slope of 1 on the negative side does nothing."""
    yield op.LeakyRelu(x, alpha=1.0)
    yield x


# ------------------------------------------------------------------------------------------------------------- Relu
@rule
def clip_to_relu(x, b: Maybe[Float]):
    """A Clip at 0 from below is a Relu (which lets infinity pass, as the reference's Clip does)."""
    yield op.Clip(x, min=0.0, max=b)
    if x.dtype not in FLOATS or b not in (None, math.inf):
        return "there is an upper bound, or these are integers"
    yield op.Relu(x)


@rule
def max_zero_to_relu(x):
    """The maximum with 0 is a Relu, but for the sign of zero."""
    yield op.Max(x, 0)
    if x.dtype not in FLOATS:
        return "not floats"
    yield op.Relu(x)


def _both(first: Interval, then: Interval) -> Interval:
    """Two intervals one after the other are one: from where the least number goes to where the largest goes."""

    def bounded(v: float, bounds: Interval) -> float:
        low, high = bounds
        return min(max(v, -math.inf if low is None else low), math.inf if high is None else high)

    low, high = (bounded(bounded(v, first), then) for v in (-math.inf, math.inf))
    return None if low == -math.inf else low, None if high == math.inf else high


def _unusual(x: Tensor) -> str | None:
    """Why no Clip is put where there was none: before opset 12 runtimes have kernels for single precision only."""
    if x.dtype != TensorProto.FLOAT and x.value.graph.opsets.get("", 12) < 12:
        return "a Clip that few runtimes have at this opset"
    return None


def _unfit(x: Tensor, *bounds: float | None) -> str | None:
    """Why these bounds are left alone."""
    given = [b for b in bounds if b is not None]
    if not all(math.isfinite(b) for b in given):
        return "a bound is NaN or infinite"
    if x.dtype in INTEGERS:
        return "64-bit bounds" if any(abs(b) >= 2**53 for b in given) else None
    return None if x.dtype in FLOATS else "dtype not known"


def _number(c: Const, x: Tensor) -> float | None:
    """The only element of a constant that does not broadcast x up."""
    if c.size != 1 or not within(c.shape, x.shape):
        return None
    return float(np.asarray(c).item())
