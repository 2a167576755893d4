"""Proof arrays, continued: real numbers of 50 digits.

    DIGITS      what kernels compute at a point, as good as without rounding: two formulas that agree there to 40 digits
                are equal, or were made to look so

No proof, but the cheapest way to find that two formulas differ: whatever a kernel asks for has a value here.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np

from graphopt.exec.backends.exact import LOWEST, Algebra, ExactBackend
from graphopt.exec.kernels.dtypes import is_float

PRECISION = 50
_CONTEXT = mpmath.MPContext()
_CONTEXT.dps = PRECISION
#: Exponents beyond this are not computed with: what comes out has more digits than there is memory.
_LARGEST = 1 << 20
_Real = Any


class Digits:
    """A real number of 50 digits; also the infinities, and NaN where there is no number: IEEE 754 without its zeros' signs."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value: _Real = value if isinstance(value, _CONTEXT.mpf) else _CONTEXT.mpf(value)

    def _with(self, other: Any, operation: Callable[[_Real, _Real], _Real]) -> Any:
        if isinstance(other, Digits):
            return Digits(operation(self.value, other.value))
        if isinstance(other, (int, float, np.integer, np.floating)):
            return Digits(operation(self.value, _CONTEXT.mpf(other.item() if isinstance(other, np.generic) else other)))
        return NotImplemented

    def __add__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a + b)

    def __sub__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a * b)

    def __truediv__(self, other: Any) -> Any:
        return self._with(other, _quotient)

    def __rtruediv__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: _quotient(b, a))

    __radd__, __rmul__ = __add__, __mul__

    def __pow__(self, other: Any) -> Any:
        return self._with(other, _power)

    def __neg__(self) -> Digits:
        return Digits(-self.value)

    def __abs__(self) -> Digits:
        return Digits(abs(self.value))

    def _compared(self, other: Any) -> Any:
        return other.value if isinstance(other, Digits) else other

    def __lt__(self, other: Any) -> bool:
        return bool(self.value < self._compared(other))

    def __le__(self, other: Any) -> bool:
        return bool(self.value <= self._compared(other))

    def __gt__(self, other: Any) -> bool:
        return bool(self.value > self._compared(other))

    def __ge__(self, other: Any) -> bool:
        return bool(self.value >= self._compared(other))

    def __eq__(self, other: object) -> bool:
        return bool(self.value == self._compared(other))

    def __hash__(self) -> int:
        return hash(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    @property
    def finite(self) -> bool:
        """Whether it is a number."""
        return bool(_CONTEXT.isfinite(self.value))

    def __repr__(self) -> str:
        return str(_CONTEXT.nstr(self.value, 17))


def _quotient(a: _Real, b: _Real) -> _Real:
    """By zero, whose sign is not known, nothing is divided."""
    return _CONTEXT.nan if b == 0 else a / b


def _power(a: _Real, b: _Real) -> _Real:
    if a == 0 and b < 0:
        return _CONTEXT.nan
    return _real(lambda: a**b)


def _real(function: Callable[[], Any]) -> _Real:
    """What a function gives, NaN where that is no real number."""
    try:
        value = function()
    except (ValueError, ZeroDivisionError, OverflowError):
        return _CONTEXT.nan
    if isinstance(value, _CONTEXT.mpc):
        return value.real if value.imag == 0 else _CONTEXT.nan
    return value


class DigitsBackend(ExactBackend):
    """See `ExactBackend`. Comparisons have answers, and whole numbers can be made of elements."""

    def cast(self, x: Any, dtype: Any) -> Any:
        dtype = np.dtype(dtype)
        if x.dtype.kind != "O" or dtype.kind == "O" or is_float(dtype):
            return super().cast(x, dtype)
        if dtype.kind == "b":
            return np.array([e != 0 for e in x.reshape(-1)], bool).reshape(x.shape)
        # through Python's integers, which hold them all: what is cut off are high bits, as those of integers
        whole = [int(e) if e.finite else 0 for e in x.reshape(-1)]
        bits = np.array([n % (1 << 64) for n in whole], np.uint64).reshape(x.shape)
        return bits.astype(dtype)


@functools.cache
def digits() -> ExactBackend:
    """Real numbers of 50 digits."""
    c = _CONTEXT

    def of_one(name: str) -> Callable[[Any], Digits]:
        function = getattr(c, name)
        return lambda a: Digits(_real(lambda: function(a.value)))

    def log(a: Any) -> Digits:
        return Digits(c.log(a.value) if a.value > 0 else c.nan)

    def exp(a: Any) -> Digits:
        if abs(a.value) > _LARGEST and c.isfinite(a.value):
            return Digits(c.inf if a.value > 0 else 0)
        return Digits(c.exp(a.value))

    def extreme(better: Callable[[Any, Any], bool]) -> Callable[[Any, Any], Any]:
        def choose(a: Any, b: Any) -> Any:
            if a is LOWEST or b is LOWEST:
                return b if a is LOWEST else a
            return a if c.isnan(a.value) or better(a, b) else b

        return choose

    names = "sqrt erf sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh floor".split()
    functions: dict[str, Callable[..., Any]] = {name: of_one(name) for name in names}
    functions |= {
        "exp": exp, "log": log, "ceil": of_one("ceil"), "rint": of_one("nint"), "abs": abs, "absolute": abs,
        "sign": of_one("sign"), "power": lambda a, b: a**b,
        "maximum": extreme(lambda a, b: a > b), "minimum": extreme(lambda a, b: a < b),
    }  # fmt: skip
    backend = DigitsBackend(Algebra("digits", number, functions))
    for name, test in (("isnan", c.isnan), ("isinf", c.isinf)):
        setattr(backend, name, _tested(test, getattr(np, name)))
    return backend


def number(value: Any) -> Digits:
    """The number that one of Python's or NumPy's is; a fraction to 50 digits."""
    if hasattr(value, "numerator") and not isinstance(value, (int, np.integer)):
        return Digits(_CONTEXT.mpf(value.numerator) / value.denominator)
    if isinstance(value, (bool, int, np.bool_, np.integer)):
        return Digits(int(value))
    return Digits(value if math.isfinite(value) else float(value))


def _tested(test: Callable[[Any], bool], numeric: Any) -> Callable[[Any], Any]:
    def apply(x: Any) -> Any:
        if x.dtype.kind != "O":
            return numeric(x)
        return np.array([bool(test(e.value)) for e in x.reshape(-1)], bool).reshape(x.shape)

    return apply
