"""Arithmetic of numbers, element by element, with broadcasting: https://onnx.ai/onnx/operators/ and Broadcasting.md."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import infix, one_way
from graphopt.exec.kernels.dtypes import is_integer, is_narrow
from graphopt.exec.kernels.registry import Array, kernel


def divided(xp: Backend, a: Array, b: Array) -> Array:
    """The quotient, of integers rounded toward zero."""
    if a.dtype.kind not in "iu":
        return a / b
    q = a // b
    if a.dtype.kind == "u":
        return q
    return q + ((q < 0) & (q * b != a))  # it was rounded down


def power(xp: Backend, x: Array, y: Array) -> Array:
    """x to the power of y, in the dtype of x."""
    dtype = x.dtype
    if dtype.kind == "O":
        return xp.power(x, y)
    if isinstance(y, (np.ndarray, np.generic)) and y.size == 1 and y.ndim <= x.ndim:
        exponent = y.item()
        if exponent == 2:
            return x * x
        if exponent == 3:
            return x * x * x
        if exponent == 0.5 and dtype.kind == "f":
            return xp.sqrt(x)
    if dtype.kind in "iu" and y.dtype.kind in "iu":
        return _integer_power(xp, x, y)
    if is_narrow(dtype):
        x = xp.cast(x, np.float32)
    if is_narrow(y.dtype) or (is_integer(y.dtype) and not is_integer(dtype)):
        y = xp.cast(y, x.dtype if not is_integer(dtype) else np.float32)
    return xp.cast(xp.power(x, y), dtype)


def _integer_power(xp: Backend, x: Array, y: Array) -> Array:
    """A negative power of an integer is 0, but those of 1 and -1, which are the positive ones too."""
    if y.dtype.kind == "u":
        return xp.cast(xp.power(x, xp.cast(y, x.dtype)), x.dtype)
    result = xp.power(x, xp.abs(y))
    return xp.cast(xp.where((y < 0) & (xp.abs(x) != 1), 0, result), x.dtype)


for _op, _function in {
    "Add": infix(operator.add),
    "Div": divided,
    "Mul": infix(operator.mul),
    "Pow": power,
    "Sub": infix(operator.sub),
}.items():
    kernel(_op)(one_way(_function))
    kernel(_op, since=7)(_function)


@kernel("Mod", since=10)
def mod(xp: Backend, a: Array, b: Array, *, fmod: int = 0) -> Array:
    """What remains, with the sign of the divisor, or (`fmod`) of the dividend."""
    return xp.fmod(a, b) if fmod else xp.mod(a, b)


# ------------------------------------------------------------------------------------------------ of any number of inputs
@kernel("Max")
def max_(xp: Backend, *xs: Array, consumed_inputs: Sequence[int] = ()) -> Array:
    return functools.reduce(xp.maximum, xs)


@kernel("Min")
def min_(xp: Backend, *xs: Array, consumed_inputs: Sequence[int] = ()) -> Array:
    return functools.reduce(xp.minimum, xs)


@kernel("Sum", wide=True)
def sum_(xp: Backend, *xs: Array, consumed_inputs: Sequence[int] = ()) -> Array:
    return functools.reduce(operator.add, xs)


@kernel("Mean", wide=True)
def mean(xp: Backend, *xs: Array, consumed_inputs: Sequence[int] = ()) -> Array:
    return functools.reduce(operator.add, xs) / len(xs)
