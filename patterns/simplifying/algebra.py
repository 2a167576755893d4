"""Arithmetic: neutral elements, signs, constants one after the other, divisions and powers that something cheaper can do.

Left as they are: `x + (-c)` and `x - c` (no cost between them), `1 / x` and Reciprocal (equally fast; rules take either),
`sqrt(x * x)` and `log(exp(x))` (overflow, domain), `x * 0` and `x - x` of floats (NaN).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.patterns._elementwise import (
    FLOATS,
    INTEGERS,
    chosen,
    decides,
    foldable,
    normal,
    reciprocal,
    rounds,
    small,
    within,
    wrapping,
)
from graphopt.rewrite import Const, Filled, Int, any_of, op, rule


# ------------------------------------------------------------------------------------------------- neutral elements
@rule(exact=True)
def multiply_by_one(x, c: Filled[1]):
    """Multiplying by ones does nothing."""
    yield x * c
    if not within(c.shape, x.shape):
        return "the ones may broadcast x up"
    yield x


@rule(exact=True)
def divide_by_one(x, c: Filled[1]):
    """Dividing by ones does nothing."""
    yield x / c
    if not within(c.shape, x.shape):
        return "the ones may broadcast x up"
    yield x


@rule(exact=True)
def add_neutral_zero(x, p: Filled[0], m: Filled[0]):
    """Adding integer zeros or -0.0, and subtracting 0.0, does nothing; adding 0.0 would make 0.0 of -0.0."""
    yield any_of(x + p, x - m)
    c = m if p is None else p
    if x.dtype not in INTEGERS and (np.signbit(c) != (m is None)).any():
        return "a zero of the other sign"
    if not within(c.shape, x.shape):
        return "the zeros may broadcast x up"
    yield x


@rule
def add_zero(x, p: Filled[0], m: Filled[0]):
    """Adding or subtracting zeros does nothing, but for the sign of zero."""
    yield any_of(x + p, x - m)
    c = m if p is None else p
    if not within(c.shape, x.shape):
        return "the zeros may broadcast x up"
    yield x


@rule(exact=True)
def multiply_integers_by_zero(x):
    """Integers times zero are zeros; of floats NaN and infinity stay."""
    yield (product := x * 0)
    if x.dtype not in INTEGERS:
        return "not integers"
    if not small(product.shape):
        return "the shape is not known, or large"
    yield np.zeros(product.shape, np.int64)


@rule(exact=True)
def power_one(x):
    """The first power is the number itself."""
    yield x**1
    yield x


@rule(exact=True)
def single_operand(x):
    """Sum, mean, maximum or minimum of one tensor is that tensor."""
    yield any_of(op.Sum(x), op.Mean(x), op.Max(x), op.Min(x))
    yield x


@rule
def sum_of_two(x, y):
    """The sum of two tensors is an addition (some executors start from 0.0, which -0.0 does not survive)."""
    yield op.Sum(x, y)
    yield x + y


# ------------------------------------------------------------------------------------------------------------ signs
@rule(exact=True)
def negate_twice(x):
    """Two changes of sign cancel."""
    yield -op.Neg(x)
    yield x


@rule(exact=True)
def subtract_negation(x, y):
    """Subtracting what was negated is adding."""
    yield x - (-y)
    yield x + y


@rule(exact=True)
def add_negation(x, y):
    """Adding what was negated is subtracting."""
    yield x + (-y)
    yield x - y


@rule(exact=True)
def multiply_negations(x, y):
    """The signs of two negated factors cancel."""
    yield (-x) * (-y)
    yield x * y


@rule(exact=True)
def divide_negations(x, y):
    """The signs of a negated dividend and divisor cancel."""
    yield (-x) / (-y)
    if x.dtype not in FLOATS:
        return "not floats"
    yield x / y


@rule(exact=True)
def negate_into_factor(x, c: Const):
    """A change of sign before or after a constant factor belongs to the constant."""
    yield any_of((-x) * c, -(x * c))
    if not foldable(c):
        return "the constant is large and used elsewhere"
    yield x * wrapping(np.negative, c)


@rule
def negate_difference(x, y):
    """A negated difference is the difference the other way round, but for the sign of zero."""
    yield -(x - y)
    yield y - x


@rule(exact=True)
def absolute_of_absolute(x):
    """The absolute value does not depend on signs."""
    yield op.Abs(any_of(op.Abs(x), -x))
    yield op.Abs(x)


@rule(exact=True)
def absolute_of_positive(x, axis: Int):
    """What is never negative is its own absolute value."""
    yield op.Abs(inner := any_of(op.Exp(x), op.Sigmoid(x), op.Softmax(x, axis=axis), x * x))
    if x.dtype not in FLOATS:
        return "not a float"
    yield chosen(inner)


@rule(exact=True)
def square_of_absolute(x):
    """A square does not depend on signs."""
    yield (a := op.Abs(x)) * a
    yield x * x


@rule(exact=True)
def round_twice(x):
    """Whole numbers stay as they are when they are rounded again."""
    whole = any_of(op.Floor(x), op.Ceil(x), op.Round(x))
    yield any_of(op.Floor(whole), op.Ceil(whole), op.Round(whole))
    yield chosen(whole)


# --------------------------------------------------------------------------------- constants one after the other
@rule
def add_constants(x, a: Const, s: Const, c: Const, b: Const, t: Const):
    """Constants that are added and subtracted one after the other are added up: (x + a) + b = x + (a + b)."""
    inner = any_of(x + a, x - s, c - x)
    yield any_of(inner + b, inner - t)
    k = _sum(x.dtype, plus=(a, c, b), minus=(s, t))
    if isinstance(k, str):
        return k
    yield x + k if c is None else k - x


@rule
def subtract_from_constant(x, a: Const, s: Const, c: Const, b: Const):
    """A constant minus a sum with a constant: b - (x + a) = (b - a) - x."""
    yield b - any_of(x + a, x - s, c - x)
    k = _sum(x.dtype, plus=(b, s), minus=(a, c))
    if isinstance(k, str):
        return k
    yield k - x if c is None else x + k


@rule
def multiply_constants(x, a: Const, d: Const, n: Const, b: Const, e: Const):
    """Constant factors and divisors one after the other are one factor: (x * a) / e = x * (a / e)."""
    inner = any_of(x * a, x / d, n / x)
    yield (whole := any_of(inner * b, inner / e))
    if x.dtype not in FLOATS and (a is None or b is None):
        return "division of integers"
    k = _product(x.dtype, times=(a, n, b), by=(d, e), term=chosen(whole))
    if isinstance(k, str):
        return k
    yield x * k if n is None else k / x


@rule
def divide_constant(x, a: Const, d: Const, n: Const, b: Const):
    """A constant divided by a product with a constant: b / (x * a) = (b / a) / x."""
    yield (whole := b / any_of(x * a, x / d, n / x))
    if x.dtype not in FLOATS:
        return "not floats"
    k = _product(x.dtype, times=(b, d), by=(a, n), term=whole)
    if isinstance(k, str):
        return k
    yield k / x if n is None else x * k


@rule
def common_factor(x, a: Const, b: Const):
    """A tensor times one constant plus the same tensor times another: x * a + x * b = x * (a + b)."""
    yield (total := x * a + x * b)
    if x.dtype not in FLOATS:
        return "not floats"
    k = _sum(x.dtype, plus=(a, b), minus=())
    if isinstance(k, str):
        return k
    if not (np.sign(np.asarray(a)) * np.sign(np.asarray(b)) > 0).all():
        return "the factors differ in sign, infinity would become another number"
    if rounds(k, x.dtype) and decides(total):
        return "a last bit decides further on"
    yield x * k


# -------------------------------------------------------------------------------------------- division and powers
@rule(exact=True)
def divide_by_power_of_two(x, c: Const):
    """Dividing by a power of two is multiplying by its reciprocal, which is exact."""
    yield x / c
    k = reciprocal(x.dtype, c)
    if isinstance(k, str):
        return k
    if (np.abs(np.frexp(k)[0]) != 0.5).any():
        return "not a power of two"
    yield x * k


@rule
def divide_by_constant(x, c: Const):
    """Dividing by a constant is multiplying by its reciprocal."""
    yield (quotient := x / c)
    k = reciprocal(x.dtype, c)
    if isinstance(k, str):
        return k
    if decides(quotient):
        return "a last bit decides further on"
    if any(n.op == "Erf" for n in quotient.value.uses):
        return "runtimes know a Gelu by this division"
    yield x * k


@rule
def multiply_by_reciprocal(x, y):
    """Multiplying by a reciprocal is dividing: x * Reciprocal(sqrt(y)) = x / sqrt(y)."""
    yield x * any_of(op.Reciprocal(y), 1 / y)
    if x.dtype not in FLOATS:
        return "not floats"
    yield x / y


@rule
def divide_by_reciprocal(x, y):
    """Dividing by a reciprocal is multiplying."""
    yield x / any_of(op.Reciprocal(y), 1 / y)
    if x.dtype not in FLOATS:
        return "not floats"
    yield x * y


@rule
def reciprocal_of_reciprocal(x):
    """The reciprocal of a reciprocal is the number itself."""
    yield op.Reciprocal(op.Reciprocal(x))
    yield x


@rule
def reciprocal_of_quotient(x, y):
    """The reciprocal of a quotient is the quotient the other way round."""
    yield any_of(op.Reciprocal(x / y), 1 / (x / y))
    if x.dtype not in FLOATS:
        return "not floats"
    yield y / x


@rule
def power_two(x):
    """A square is a product: half the time of Pow in ONNX Runtime."""
    yield x**2
    if x.dtype not in FLOATS:
        return "not a float"
    yield x * x


@rule
def power_half(x):
    """The power of one half is the square root (at -inf, executors disagree about this power already)."""
    yield x**0.5
    if x.dtype not in FLOATS:
        return "not a float"
    yield op.Sqrt(x)


@rule
def power_minus_one(x):
    """The power of minus one is the reciprocal."""
    yield x**-1
    if x.dtype not in FLOATS:
        return "not a float"
    yield op.Reciprocal(x)


# -------------------------------------------------------------------------------------------------------- constants
def _sum(dtype: int, plus: Sequence[Any], minus: Sequence[Any]) -> np.ndarray | str:
    """The sum of two constants with their signs (those that are not None), or why it is refused."""
    plus, minus = [c for c in plus if c is not None], [c for c in minus if c is not None]
    if dtype not in FLOATS and dtype not in INTEGERS:
        return "dtype not known"
    if not foldable(*plus, *minus):
        return "the new constant would be larger"
    if dtype in INTEGERS:
        a, b = [np.asarray(c) for c in plus] + [wrapping(np.negative, c) for c in minus]
        return wrapping(np.add, a, b)
    a, b = [np.asarray(c, np.float64) for c in plus] + [-np.asarray(c, np.float64) for c in minus]
    with np.errstate(all="ignore"):
        total = a + b
        finite = np.isfinite(a) & np.isfinite(b)
        size = np.maximum(np.abs(a), np.abs(b))
        if (finite & ~np.isfinite(total)).any():
            return "the sum overflows"
        if (finite & (size >= 2.0 ** (FLOATS[dtype].digits // 6)) & (np.abs(total) < size / 2)).any():
            return "large constants that cancel: they may be there to round"
    return total


def _product(dtype: int, times: Sequence[Any], by: Sequence[Any], term: Any) -> np.ndarray | str:
    """The product or quotient of two constants (those that are not None), or why it is refused."""
    times, by = [c for c in times if c is not None], [c for c in by if c is not None]
    if not foldable(*times, *by):
        return "the new constant would be larger"
    if dtype in INTEGERS:
        return wrapping(np.multiply, *times)
    if dtype not in FLOATS:
        return "dtype not known"
    k = np.ones(())
    with np.errstate(all="ignore"):
        for c in times:
            k = k * np.asarray(c, np.float64)
        for c in by:
            k = k / np.asarray(c, np.float64)
    if not normal(k, dtype):
        return "the factor would be zero, infinite or too small for its dtype"
    if rounds(k, dtype) and decides(term):
        return "a last bit decides further on"
    return k
