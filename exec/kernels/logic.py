"""Truth values, bits and choices, element by element: https://onnx.ai/onnx/operators/."""

from __future__ import annotations

import operator
from collections.abc import Callable

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import infix, one_way
from graphopt.exec.kernels.registry import Array, kernel


def _named(name: str) -> Callable[..., Array]:
    """The kernel that is one of the array library's functions."""

    def function(xp: Backend, a: Array, b: Array) -> Array:
        return getattr(xp, name)(a, b)

    return function


#: Operators of the first version, which broadcast one way only before opset 7.
_FIRST = {
    "And": infix(operator.and_),
    "Equal": _named("equal"),
    "Greater": _named("greater"),
    "Less": _named("less"),
    "Or": infix(operator.or_),
    "Xor": infix(operator.xor),
}
#: Operators that came later, and when.
_LATER = {
    "BitwiseAnd": (infix(operator.and_), 18),
    "BitwiseOr": (infix(operator.or_), 18),
    "BitwiseXor": (infix(operator.xor), 18),
    "GreaterOrEqual": (_named("greater_equal"), 12),
    "LessOrEqual": (_named("less_equal"), 12),
}

for _op, _function in _FIRST.items():
    kernel(_op)(one_way(_function))
    kernel(_op, since=7)(_function)
for _op, (_function, _since) in _LATER.items():
    kernel(_op, since=_since)(_function)


@kernel("Not")
def not_(xp: Backend, x: Array) -> Array:
    return xp.logical_not(x)


@kernel("BitwiseNot", since=18)
def bitwise_not(xp: Backend, x: Array) -> Array:
    return ~x


@kernel("BitShift", since=11)
def bit_shift(xp: Backend, x: Array, y: Array, *, direction: str) -> Array:
    """Bits moved by y; to the right, the sign fills in. A y that is negative or too large moves all bits out."""
    if direction not in ("LEFT", "RIGHT"):
        raise ValueError(f"bits are shifted LEFT or RIGHT, not {direction}")
    return x << y if direction == "LEFT" else x >> y


@kernel("Where", since=9)
def where(xp: Backend, condition: Array, x: Array, y: Array) -> Array:
    if x.dtype.kind == "O" and not xp.exact:  # text
        return np.where(condition, x, y)
    return xp.where(condition, x, y)
