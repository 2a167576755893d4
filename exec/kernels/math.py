"""Functions of one number, element by element: https://onnx.ai/onnx/operators/."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.registry import Array, kernel
from graphopt.exec.kernels.special import elementwise

#: The function of the array libraries, by operator.
_FUNCTIONS = {
    "Abs": "abs",
    "Acos": "acos",
    "Acosh": "acosh",
    "Asin": "asin",
    "Asinh": "asinh",
    "Atan": "atan",
    "Atanh": "atanh",
    "Ceil": "ceil",
    "Cos": "cos",
    "Cosh": "cosh",
    "Exp": "exp",
    "Floor": "floor",
    "Log": "log",
    "Round": "rint",  # half to even
    "Sign": "sign",
    "Sin": "sin",
    "Sinh": "sinh",
    "Sqrt": "sqrt",
    "Tan": "tan",
    "Tanh": "tanh",
}


def _of_one(name: str) -> Callable[..., Array]:
    def function(xp: Backend, x: Array, *, consumed_inputs: Sequence[int] = ()) -> Array:
        return getattr(xp, name)(x)

    return function


for _op, _name in _FUNCTIONS.items():
    kernel(_op)(_of_one(_name))


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
