"""Conditions, and operators that only pass something on."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from graphopt.patterns._elementwise import INTEGERS, chosen, filled, small, within
from graphopt.patterns._shapes import dim, entries
from graphopt.rewrite import Attrs, Const, Maybe, Tensor, any_of, op, rule
from graphopt.shapes import same_shape


@rule(exact=True)
def identity_nothing(x):
    """Identity does nothing."""
    yield op.Identity(x)
    yield x


@rule(exact=True)
def dropout_nothing(x, ratio: Maybe[Tensor], training: Maybe[Const], attrs: Attrs):
    """Dropout does nothing at inference."""
    yield op.Dropout(x, ratio, training, **attrs)
    if attrs.get("is_test", 1) != 1:
        return "it drops: is_test is not set"
    if training is not None and not filled(training, False):
        return "it drops: training_mode is set"
    yield x


# ------------------------------------------------------------------------------------------------------------ logic
@rule(exact=True)
def not_not(x):
    """Two negations cancel."""
    yield op.Not(op.Not(x))
    yield x


@rule(exact=True)
def not_less(x, y):
    """Of integers, what is not less is greater or equal; of floats, NaN is neither."""
    yield op.Not(any_of(op.Less(x, y), op.Greater(y, x)))
    if x.dtype not in INTEGERS:
        return "not integers"
    yield op.GreaterOrEqual(x, y)


@rule(exact=True)
def not_less_or_equal(x, y):
    """Of integers, what is not less or equal is greater; of floats, NaN is neither."""
    yield op.Not(any_of(op.LessOrEqual(x, y), op.GreaterOrEqual(y, x)))
    if x.dtype not in INTEGERS:
        return "not integers"
    yield op.Greater(x, y)


@rule(exact=True)
def and_true(x, t: Const, f: Const, d: Const):
    """`and true`, `or false` and `xor false` do nothing."""
    yield any_of(op.And(x, t), op.Or(x, f), op.Xor(x, d))
    c = next(c for c in (t, f, d) if c is not None)
    if not filled(c, t is not None):
        return "not the neutral element"
    if not within(c.shape, x.shape):
        return "the constant may broadcast x up"
    yield x


@rule(exact=True)
def and_false(x, t: Const, f: Const):
    """`and false` is false, `or true` is true."""
    yield (whole := any_of(op.And(x, f), op.Or(x, t)))
    if not filled(t if f is None else f, f is None):
        return "does not decide alone"
    shape = chosen(whole).shape
    if not small(shape):
        return "the shape is not known, or large"
    yield np.full(shape, f is None)


@rule(exact=True)
def xor_true(x):
    """`xor true` is a negation."""
    yield op.Xor(x, True)
    yield op.Not(x)


@rule(exact=True)
def and_same(x):
    """`and` or `or` of a tensor with itself is that tensor."""
    yield any_of(op.And(x, x), op.Or(x, x))
    yield x


@rule(exact=True)
def equal_true(x, c: Const):
    """A truth value compared with true is itself, with false its negation."""
    yield op.Equal(x, c)
    if x.dtype != TensorProto.BOOL:
        return "not truth values"
    if not within(c.shape, x.shape):
        return "the constant may broadcast x up"
    if filled(c, True):
        yield x
    elif filled(c, False):
        yield op.Not(x)
    else:
        return "neither all true nor all false"


# ------------------------------------------------------------------------------------------------------------ Where
# ONNX Runtime's Where makes 0.0 of -0.0 now and then, so leaving one out or turning it round is not exact there.
@rule
def where_decided(c: Const, x, y):
    """A constant condition that is the same everywhere chooses once and for all."""
    yield op.Where(c, x, y)
    if filled(c, True):
        taken, left = x, y
    elif filled(c, False):
        taken, left = y, x
    else:
        return "neither all true nor all false"
    if not within(c.shape, taken.shape) or not within(left.shape, taken.shape):
        return "the others may broadcast it up"
    yield taken


@rule
def where_decided_for_all(c: Const, shape, x, y):
    """A constant condition that is spread out and the same everywhere spreads out what it chooses."""
    spread = op.Expand(c, shape)
    result = op.Where(spread, x, y)
    yield result
    taken = x if filled(c, True) else y if filled(c, False) else None
    if taken is None:
        return "neither all true nor all false"
    if not same_shape(spread.shape, result.shape):
        return "the others may broadcast it up"
    wanted = entries(shape.value)
    if wanted is None or not same_shape(tuple(dim(e) for e in wanted), spread.shape):
        return "the shape is not known to be that of the result"
    yield op.Expand(taken, shape)


@rule
def where_same(c, x):
    """A choice between a tensor and itself is that tensor."""
    yield op.Where(c, x, x)
    if not within(c.shape, x.shape):
        return "the condition may broadcast x up"
    yield x


@rule
def where_not(c, x, y):
    """A negated condition chooses the other way round."""
    yield op.Where(op.Not(c), x, y)
    yield op.Where(c, y, x)
