"""Functions of one number, element by element: https://onnx.ai/onnx/operators/."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.registry import Array, kernel
from graphopt.exec.kernels.special import elementwise

#: Operators that the array libraries have under the same name in small letters, by the version that they came with.
_FUNCTIONS = {
    1: "Abs Ceil Exp Floor Log Sqrt Tanh",
    7: "Acos Asin Atan Cos Sin Tan",
    9: "Acosh Asinh Atanh Cosh Sign Sinh",
}


def _of_one(name: str) -> Callable[..., Array]:
    def function(xp: Backend, x: Array, *, consumed_inputs: Sequence[int] = ()) -> Array:
        return getattr(xp, name)(x)

    return function


for _since, _ops in _FUNCTIONS.items():
    for _op in _ops.split():
        kernel(_op, since=_since)(_of_one(_op.lower()))


@kernel("Round", since=11)
def round_(xp: Backend, x: Array) -> Array:
    """Half to even."""
    return xp.rint(x)


@kernel("Neg")
def neg(xp: Backend, x: Array, *, consumed_inputs: Sequence[int] = ()) -> Array:
    return -x


@kernel("Reciprocal")
def reciprocal(xp: Backend, x: Array, *, consumed_inputs: Sequence[int] = ()) -> Array:
    return 1 / x


@kernel("Erf", since=9, wide=True)
@elementwise
def erf(xp: Backend, x: Array) -> Array:
    """The error function; of integers too, rounded to such."""
    if x.dtype.kind in "iu":
        return xp.cast(xp.erf(xp.cast(x, np.float64)), x.dtype)
    return xp.erf(x)


@kernel("IsNaN", since=9)
def is_nan(xp: Backend, x: Array) -> Array:
    return xp.isnan(x)


@kernel("IsInf", since=10)
def is_inf(xp: Backend, x: Array, *, detect_negative: int = 1, detect_positive: int = 1) -> Array:
    """Which elements are infinite, of the signs that are asked for."""
    found = xp.isinf(x)
    if not detect_negative:
        found = found & (x > 0)
    return found if detect_positive else found & (x < 0)


@kernel("Det", since=11, wide=True)
def det(xp: Backend, x: Array) -> Array:
    """The determinant of the matrices in the last two dims."""
    return xp.linalg.det(x)
