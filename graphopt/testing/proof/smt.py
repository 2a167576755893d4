"""Kernels on formulas of Z3: maxima, choices and comparisons are what it is good at; the rest is uninterpreted.

Of exponentials, roots and logarithms a few facts are told to the solver. What it proves with them holds for the real
functions; what it refutes may not, unless nothing but arithmetic and choices is in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from graphopt.errors import MissingDependencyError
from graphopt.exec.backends.exact import LOWEST, Algebra, NotExact
from graphopt.testing.proof.formulas import FormulaBackend

_UNINTERPRETED = "erf sin cos tan asin acos atan sinh cosh asinh acosh atanh tanh floor ceil rint".split()
_LARGEST_POWER = 8


def solver_module() -> Any:
    """The module `z3`.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import z3
    except ImportError as e:
        raise MissingDependencyError("proofs by Z3 need it: pip install graphopt[proof]") from e
    return z3


class Condition:
    """A truth value of Z3's, which NumPy can combine with those of Python."""

    __slots__ = ("holds",)

    def __init__(self, holds: Any) -> None:
        self.holds = holds

    def _with(self, other: Any, combine: Callable[..., Any]) -> Any:
        if isinstance(other, Condition):
            return Condition(combine(self.holds, other.holds))
        if isinstance(other, (bool, np.bool_)):
            return Condition(combine(self.holds, bool(other)))
        return NotImplemented

    def __and__(self, other: Any) -> Any:
        return self._with(other, solver_module().And)

    def __or__(self, other: Any) -> Any:
        return self._with(other, solver_module().Or)

    def __xor__(self, other: Any) -> Any:
        return self._with(other, solver_module().Xor)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __invert__(self) -> Condition:
        return Condition(solver_module().Not(self.holds))


class Formulas:
    """The back end on Z3's formulas of one proof.

    Attributes:
        backend: for kernels.
        facts: what the solver may know of the functions in them.
        interpreted: whether nothing in them is uninterpreted.
    """

    def __init__(self) -> None:
        self.z3 = z3 = solver_module()
        self.facts: list[Any] = []
        self.interpreted = True
        functions: dict[str, Callable[..., Any]] = {n: self._unknown(n) for n in _UNINTERPRETED}
        functions |= {
            "exp": self._exp, "log": self._log, "sqrt": self._sqrt, "power": self._power,
            "abs": lambda a: z3.If(a >= 0, a, -a), "absolute": lambda a: z3.If(a >= 0, a, -a),
            "sign": lambda a: z3.If(a > 0, z3.RealVal(1), z3.If(a < 0, z3.RealVal(-1), z3.RealVal(0))),
            "maximum": self._maximum, "minimum": self._minimum,
            "less": lambda a, b: Condition(a < b), "greater": lambda a, b: Condition(a > b),
            "less_equal": lambda a, b: Condition(a <= b), "greater_equal": lambda a, b: Condition(a >= b),
            "equal": self._equal, "logical_not": lambda a: ~a if isinstance(a, Condition) else not a,
            "choose": self._choose, "truth": self._is_truth,
            "unknown": lambda name, *elements: self._unknown(name)(*elements),
            "isnan": lambda a: False, "isinf": lambda a: False,
        }  # fmt: skip
        self.backend = FormulaBackend(Algebra("smt", self.number, functions))

    def number(self, value: Any) -> Any:
        """A number; infinities stay floats, which only maxima and minima know."""
        if isinstance(value, (float, np.floating)) and not math.isfinite(value):
            return float(value)
        exact = Fraction(value.item() if isinstance(value, np.generic) else value)
        return self.z3.RealVal(f"{exact.numerator}/{exact.denominator}")

    def symbol(self, name: str) -> Any:
        """A real number."""
        return self.z3.Real(name)

    # ------------------------------------------------------------------------------------------------- functions
    def _applied(self, name: str, arguments: Sequence[Any]) -> Any:
        real = self.z3.RealSort()
        return self.z3.Function(name, *[real] * (len(arguments) + 1))(*arguments)

    def _unknown(self, name: str) -> Callable[..., Any]:
        def function(*elements: Any) -> Any:
            self.interpreted = False
            if any(isinstance(e, (bool, float, Condition)) for e in elements):
                raise NotExact(f"{name} of what is no number")
            return self._applied(name, elements)

        return function

    def _exp(self, a: Any) -> Any:
        y = self._unknown("exp")(a)
        self.facts += [y > 0, self._applied("exp", [self.z3.RealVal(0)]) == 1]
        self.facts += [self.z3.Implies(a <= 0, y <= 1), self.z3.Implies(a >= 0, y >= 1)]
        return y

    def _log(self, a: Any) -> Any:
        y = self._unknown("log")(a)
        self.facts += [self.z3.Implies(a >= 1, y >= 0), self.z3.Implies(a <= 1, y <= 0)]
        return y

    def _sqrt(self, a: Any) -> Any:
        y = self._unknown("sqrt")(a)
        self.facts.append(self.z3.Implies(a >= 0, self.z3.And(y >= 0, y * y == a)))
        return y

    def _power(self, a: Any, b: Any) -> Any:
        b = self.number(b) if isinstance(b, int) else b
        if self.z3.is_rational_value(b):
            e = b.as_fraction()
            if e.denominator == 1 and abs(e) <= _LARGEST_POWER:
                out = self.number(1)
                for _ in range(abs(int(e))):
                    out = out * a
                return out if e >= 0 else 1 / out
            if e == Fraction(1, 2):
                return self._sqrt(a)
        return self._unknown("power")(a, b)

    def _maximum(self, a: Any, b: Any) -> Any:
        for x, y in ((a, b), (b, a)):
            if x is LOWEST or (isinstance(x, float) and x < 0):
                return y
            if isinstance(x, float):
                return x
        return self.z3.If(a >= b, a, b)

    def _minimum(self, a: Any, b: Any) -> Any:
        for x, y in ((a, b), (b, a)):
            if isinstance(x, float):
                return y if x > 0 else x
        return self.z3.If(a <= b, a, b)

    def _equal(self, a: Any, b: Any) -> Condition:
        if self._is_truth(a) or self._is_truth(b):
            a, b = self._holds(a), self._holds(b)
        return Condition(a == b)

    def _choose(self, condition: Any, a: Any, b: Any) -> Any:
        if isinstance(condition, (bool, np.bool_)):
            return a if condition else b
        if not isinstance(condition, Condition) or isinstance(a, float) or isinstance(b, float):
            raise NotExact("a choice of other things than numbers and truth values")
        if self._is_truth(a) and self._is_truth(b):
            return Condition(self.z3.If(condition.holds, self._holds(a), self._holds(b)))
        return self.z3.If(condition.holds, a, b)

    @staticmethod
    def _is_truth(e: Any) -> bool:
        return isinstance(e, (bool, np.bool_, Condition))

    def _holds(self, e: Any) -> Any:
        return e.holds if isinstance(e, Condition) else self.z3.BoolVal(bool(e))

    # ---------------------------------------------------------------------------------------------------- proofs
    def differ(
        self, pairs: Sequence[tuple[Any, Any]], assumptions: Sequence[Any], tolerance: float, seconds: float
    ) -> Any:
        """Where two lists of elements differ: None where they cannot, a model of Z3's, or False where it cannot tell.

        Args:
            tolerance: numbers that are not further apart, relative to the sum of magnitudes, are equal.
        """
        z3 = self.z3
        solver = z3.Solver()
        solver.set("timeout", max(int(1000 * seconds), 1))
        solver.add(*assumptions, *self.facts)
        solver.add(z3.Or([self._apart(a, b, tolerance) for a, b in pairs]))
        answer = solver.check()
        return None if answer == z3.unsat else solver.model() if answer == z3.sat else False

    def _apart(self, a: Any, b: Any, tolerance: float) -> Any:
        z3 = self.z3
        if self._is_truth(a) or self._is_truth(b):
            return self._holds(a) != self._holds(b)
        if isinstance(a, float) or isinstance(b, float):
            return z3.BoolVal(not (isinstance(a, float) and isinstance(b, float) and a == b))
        if not tolerance:
            return a != b
        bound = self.number(tolerance)
        size = z3.If(a >= 0, a, -a) + bound
        return z3.Or(a - b > bound * size, b - a > bound * size)

    def value(self, model: Any, symbol: Any) -> Fraction:
        """The number that a model has for a symbol, an irrational one to 40 digits."""
        v = model.eval(symbol, model_completion=True)
        return Fraction(v.as_fraction()) if self.z3.is_rational_value(v) else Fraction(v.approx(40).as_fraction())
