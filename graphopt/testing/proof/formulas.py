"""The exact back ends that proofs run on: kernels on formulas, with everything that has no formula left uninterpreted.

A function of which nothing is known but that equal arguments give equal values is a sound stand-in for any function: two sides
that are equal for all functions are equal for the one that was meant.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from graphopt.exec.backends.exact import Algebra, ExactBackend, NotExact, symbolic
from graphopt.exec.kernels.dtypes import is_float


class TimeIsUp(NotExact):
    """A proof took longer than it may."""


class FormulaBackend(ExactBackend):
    """See `ExactBackend`. Truth values may be formulas too, and casts to integers and positions are uninterpreted.

    The algebra's functions have three more: `truth(e)` tells whether an element is a truth value, `unknown(name, *elements)`
    is an uninterpreted number, `choose` takes truth values.
    """

    def cast(self, x: Any, dtype: Any) -> Any:
        dtype = np.dtype(dtype)
        functions = self.algebra.functions
        if x.dtype.kind != "O":
            return super().cast(x, dtype)
        if x.size and all(functions["truth"](e) for e in x.reshape(-1)):
            if dtype in (bool, object):
                return x
            one, zero = self.algebra.number(1), self.algebra.number(0)
            return mapped(lambda e: functions["choose"](e, one, zero), x)
        if is_float(dtype) or dtype.kind == "O":
            return super().cast(x, dtype)
        if dtype.kind == "b":
            raise NotExact("a cast of formulas to bool")
        return mapped(lambda e: functions["unknown"](f"cast to {dtype}", e), x)

    def argmax(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        """Where the largest is: a function of all elements in a row."""
        return self._position("argmax", x, axis, keepdims)

    def argmin(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        """Where the smallest is."""
        return self._position("argmin", x, axis, keepdims)

    def _position(self, which: str, x: Any, axis: Any, keepdims: bool) -> Any:
        if x.dtype.kind != "O":
            return getattr(np, which)(x, axis=axis, keepdims=keepdims)
        rows = np.moveaxis(x, axis, -1)
        flat = [self.algebra.functions["unknown"](which, *row) for row in rows.reshape(-1, x.shape[axis])]
        found = np.array([*flat, None], object)[:-1].reshape(rows.shape[:-1])
        return np.expand_dims(found, axis) if keepdims else found


def mapped(function: Callable[[Any], Any], x: np.ndarray) -> np.ndarray:
    """A function of elements as one of an array of objects."""
    return np.array([*(function(e) for e in x.reshape(-1)), None], object)[:-1].reshape(x.shape)


def terms(deadline: float = math.inf) -> FormulaBackend:
    """SymPy's formulas, as `graphopt.exec.backends.exact.symbolic` has them.

    Args:
        deadline: when to give up, as `time.monotonic` tells it; SymPy may be slow to see which of two formulas is larger.
    """
    import sympy
    from sympy.logic.boolalg import Boolean, BooleanAtom

    def is_truth(e: Any) -> bool:
        return isinstance(e, (bool, np.bool_, BooleanAtom)) or (
            isinstance(e, Boolean) and not isinstance(e, sympy.Symbol)
        )

    def unknown(name: str, *elements: Any) -> Any:
        return _function(name)(*elements)

    def equal(a: Any, b: Any) -> Any:
        return sympy.Equivalent(a, b) if is_truth(a) or is_truth(b) else sympy.Eq(a, b)

    def choose(condition: Any, a: Any, b: Any) -> Any:
        if not is_truth(condition):
            raise NotExact("a choice by what is no truth value")
        if is_truth(a) or is_truth(b):
            return sympy.ITE(condition, a, b)
        return sympy.Piecewise((a, condition), (b, True))

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def apply(*elements: Any) -> Any:
            if time.monotonic() > deadline:
                raise TimeIsUp("SymPy takes too long")
            return function(*elements)

        return apply

    base = symbolic().algebra
    functions: dict[str, Callable[..., Any]] = {
        **base.functions, "truth": is_truth, "unknown": unknown, "equal": equal, "choose": choose,
        "rint": functools.partial(unknown, "round"),
    }  # fmt: skip
    functions |= {name: timed(functions[name]) for name in ("maximum", "minimum", "choose")}
    return FormulaBackend(Algebra(base.name, base.number, functions))


@functools.cache
def _function(name: str) -> Any:
    """An uninterpreted real function; rounding leaves whole numbers alone, and makes such."""
    import sympy

    if name != "round":
        return sympy.Function(name.replace(" ", "_"), real=True)

    class Round(sympy.Function):
        is_integer = True

        @classmethod
        def eval(cls, x: Any) -> Any:
            return x if x.is_integer else None

    return Round
