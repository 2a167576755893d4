"""Rules with a mistake each, of the kinds that rules have: what `check_rule` and `prove` must find."""

from __future__ import annotations

import numpy as np

from graphopt.rewrite import Attrs, Axis, Const, Float, Int, Maybe, Perm, op, rule


def channelwise(k, w):
    return np.reshape(k, (-1,) + (1,) * (w.ndim - 1))


@rule
def batch_norm_into_conv(
    x, w: Const, b: Maybe[Const], scale: Const, shift: Const, mean: Const, var: Const, eps: Float, conv: Attrs
):
    """The design's: without a bias the mean is forgotten."""
    yield op.BatchNormalization(op.Conv(x, w, b, **conv), scale, shift, mean, var, epsilon=eps)
    with np.errstate(all="ignore"):
        k = scale / np.sqrt(var + eps)
    yield op.Conv(x, w * channelwise(k, w), (0 if b is None else b - mean) * k + shift, **conv)


@rule(exact=True)
def transpositions_the_wrong_way_round(x, p: Perm, q: Perm):
    yield op.Transpose(op.Transpose(x, perm=p), perm=q)
    yield op.Transpose(x, perm=[q[i] for i in p])


@rule(exact=True)
def operands_swapped(x, y):
    yield op.Neg(x - y)
    yield x - y


@rule
def operands_swapped_the_other_way(x, y):
    yield x - op.Neg(y)
    yield y - x


@rule(exact=True)
def zero_is_not_neutral(x):
    """-0.0 + 0 is 0.0."""
    yield x + 0
    yield x


@rule(exact=True)
def sign_of_zero(x):
    """-1 * 0 is -0.0."""
    yield x - x
    yield x * 0


@rule(exact=True)
def maximum_of_clip(x, a: Float, b: Float):
    """Where the bounds cross, the upper one is the result."""
    yield op.Relu(op.Clip(x, min=a, max=b))
    yield op.Clip(x, min=max(a, 0.0), max=b)


@rule
def slope_of_any_sign(x, a: Const):
    yield op.Relu(x * a)
    yield op.Relu(x) * a


@rule
def gelu_with_a_wrong_constant(x):
    yield 0.5 * x * (1 + op.Erf(x / 1.4142135623730951))
    yield 0.5 * x * (1 + op.Erf(x * 0.7))


@rule(exact=True)
def concat_axis_forgotten(*xs, axis: Axis, a: Axis):
    yield op.Concat(op.Concat(*xs, axis=a), axis=axis)
    yield op.Concat(*xs, axis=0)


@rule
def epsilon_dropped(x, s: Const, b: Const, eps: Float):
    yield op.Neg(op.Neg(op.InstanceNormalization(x, s, b, epsilon=eps)))
    yield op.InstanceNormalization(x, s, b)


@rule(exact=True)
def last_index_forgotten(x, axis: Axis, last: Int):
    yield op.Identity(op.ArgMax(x, axis=axis, select_last_index=last))
    yield op.ArgMax(x, axis=axis)


@rule
def factor_not_broadcast(x, w: Const, k: Const):
    """A factor per row is none per column."""
    yield op.MatMul(x, w) * k
    if k.ndim > w.ndim:
        return "more dims"
    yield op.MatMul(x, w * np.broadcast_to(k, np.broadcast_shapes(k.shape, w.shape)))


@rule
def beta_ignored(x, w: Const, b: Const, k: Const, a: Attrs):
    yield op.Gemm(x, w, b, **a) * k
    if k.size != 1:
        return "not a single factor"
    yield op.Gemm(x, w, b, **{**a, "alpha": a["alpha"] * float(np.asarray(k).reshape(()))})
