"""Proof arrays: the kernels on NumPy object arrays of exact elements, for equality over the reals instead of in floats.

    SYMBOLIC    SymPy expressions: symbols in, formulas out
    RATIONAL    fractions: exact, as long as nothing transcendental is asked for
    FIELD       integers modulo the prime 2^61 - 1, every other function uninterpreted (the same argument gives the same
                value): two formulas that differ agree at a random point with a probability of about degree / 2^61
                (Schwartz-Zippel), so that a run is an identity test of field arithmetic without any tolerance

Constants stay exact: a float of the model becomes the rational number that it is.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from graphopt.exec.backends.numpy import NumPyBackend
from graphopt.exec.kernels.dtypes import is_float


class NotExact(Exception):
    """The algebra has no exact value for what was asked."""


class ExactArray(np.ndarray[Any, np.dtype[Any]]):
    """An array of exact elements: what is computed with one of rank 0 is an array too, where NumPy would give its element."""

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array.view(ExactArray) if array.dtype == object else array


@dataclass(frozen=True)
class Algebra:
    """Elements and what can be done with them beside + - * /.

    Attributes:
        name: of the algebra.
        number: an element from a Python number.
        functions: of one or two elements, under NumPy's names.
    """

    name: str
    number: Callable[[Any], Any]
    functions: Mapping[str, Callable[..., Any]]


class ExactBackend(NumPyBackend):
    """See `Backend`; arrays of dtype object are exact, integers and booleans stay as they are."""

    exact = True
    lifts = True

    def __init__(self, algebra: Algebra) -> None:
        self.name = algebra.name
        self.algebra = algebra
        for name, function in algebra.functions.items():
            setattr(self, name, _elementwise(function, getattr(np, name, None)))

    def number(self, value: float, like: Any) -> Any:
        return self.algebra.number(value) if like.dtype.kind == "O" else like.dtype.type(value)

    def constant(self, array: np.ndarray, like: Any) -> Any:
        return self.lift(np.asarray(array), always=True) if like.dtype.kind == "O" else array.astype(like.dtype)

    def cast(self, x: Any, dtype: Any) -> Any:
        dtype = np.dtype(dtype)
        if x.dtype.kind == "O" or dtype.kind == "O":
            if is_float(dtype) or dtype.kind == "O":
                return self.lift(x, always=True)
            raise NotExact(f"a cast to {dtype}")
        return x.astype(dtype)

    def lift(self, value: Any, always: bool = False) -> Any:
        """A value with its floats (`always`: its integers and booleans too) made exact; arrays of text stay."""
        if isinstance(value, list):
            return [self.lift(v) for v in value]
        if value is None or isinstance(value, (str, dict)):
            return value
        if not isinstance(value, (np.ndarray, np.generic)):  # an element
            value = _alone(value)
        if value.dtype.kind == "O":
            text = value.size > 0 and isinstance(value.flat[0], str)
            return value if text or isinstance(value, ExactArray) else value.view(ExactArray)
        if is_float(value.dtype) or always:
            wide = value.astype(np.float64) if is_float(value.dtype) else np.asarray(value)
            return _elementwise(lambda v: self.algebra.number(v.item() if hasattr(v, "item") else v), None)(wide)
        return value

    def lowest(self, dtype: Any) -> Any:
        return LOWEST if dtype.kind == "O" else super().lowest(dtype)

    def pad(self, x: Any, widths: Sequence[tuple[int, int]], value: Any = 0, mode: str = "constant") -> Any:
        if x.dtype.kind == "O" and mode == "constant" and isinstance(value, (int, float, np.generic)):
            value = self.algebra.number(value)
        return super().pad(x, widths, value, mode)

    # ------------------------------------------------------------------------ what NumPy does not do on objects
    def max(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        """The largest along axes."""
        return (
            self._reduce(self.maximum, x, axis, keepdims) if x.dtype.kind == "O" else np.max(x, axis, keepdims=keepdims)
        )

    def min(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        """The smallest along axes."""
        return (
            self._reduce(self.minimum, x, axis, keepdims) if x.dtype.kind == "O" else np.min(x, axis, keepdims=keepdims)
        )

    amax, amin = max, min

    @staticmethod
    def _reduce(function: Callable[..., Any], x: Any, axis: Any, keepdims: bool) -> Any:
        axes = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
        for a in sorted((a % x.ndim for a in axes), reverse=True):
            parts = [np.take(x, [i], axis=a) for i in range(x.shape[a])]
            x = functools.reduce(function, parts)
            x = x if keepdims else np.squeeze(x, a)
        return x

    def mean(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        """The mean along axes: the sum over the number of elements."""
        if x.dtype.kind != "O":
            return np.mean(x, axis, keepdims=keepdims)
        total = np.sum(x, axis=axis, keepdims=keepdims)
        return total / self.algebra.number(x.size // max(np.size(total), 1))

    def zeros(self, shape: Any, dtype: Any = np.float64) -> Any:
        """Zeros, exact where the dtype is object."""
        return self.full(shape, 0, dtype)

    def ones(self, shape: Any, dtype: Any = np.float64) -> Any:
        """Ones, exact where the dtype is object."""
        return self.full(shape, 1, dtype)

    def full(self, shape: Any, fill_value: Any, dtype: Any = None) -> Any:
        """One value everywhere."""
        if dtype is not None and np.dtype(dtype).kind == "O" and isinstance(fill_value, (int, float, np.generic)):
            fill_value = self.algebra.number(fill_value)
        return np.full(shape, fill_value, dtype)

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        """Choose element by element; the condition is known, or a symbolic relation."""
        if condition.dtype.kind != "O":
            return np.where(condition, a, b)
        choose = self.algebra.functions.get("choose")
        if choose is None:
            raise NotExact("a choice that depends on elements")
        return _elementwise(choose, None)(condition, a, b)

    def einsum(self, equation: str, *operands: Any, **options: Any) -> Any:
        """`numpy.einsum`, without the reordering that objects cannot take."""
        return np.einsum(equation, *operands)


def _alone(element: Any) -> np.ndarray:
    """An element as an array of rank 0."""
    array = np.empty((), object)
    array[()] = element
    return array


class _Lowest:
    """What no element is below; all that can be done with it is to take a maximum."""

    def __repr__(self) -> str:
        return "-inf"


LOWEST = _Lowest()


def _elementwise(function: Callable[..., Any], numeric: Any) -> Callable[..., Any]:
    """A function of elements as one of arrays; `numeric` serves arrays that hold no objects."""

    def apply(*arrays: Any) -> Any:
        if numeric is not None and all(hasattr(a, "dtype") and a.dtype.kind != "O" for a in arrays):
            return numeric(*arrays)
        broadcast = np.broadcast_arrays(*[np.asarray(a, object) for a in arrays])
        out = np.empty(broadcast[0].shape, object).view(ExactArray)
        flat = out.reshape(-1)
        for i, elements in enumerate(zip(*(b.reshape(-1) for b in broadcast), strict=True)):
            flat[i] = function(*elements)
        return out

    return apply


def _bounded(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A maximum that knows LOWEST."""
    return lambda a, b: b if a is LOWEST else a if b is LOWEST else function(a, b)


def _fraction(value: Any) -> Fraction:
    """The rational number that a number of Python's or NumPy's is.

    Raises:
        NotExact: it is infinite, or none.
    """
    if not math.isfinite(value):
        raise NotExact(f"{value} as a fraction")
    return Fraction(int(value) if isinstance(value, (bool, int, np.bool_, np.integer)) else float(value))


# ------------------------------------------------------------------------------------------------------ the algebras
@functools.cache
def symbolic() -> ExactBackend:
    """SymPy expressions."""
    import sympy

    names = "exp log sqrt erf sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh sign floor ceiling".split()
    functions: dict[str, Callable[..., Any]] = {n: getattr(sympy, n) for n in names}
    functions |= {
        "abs": sympy.Abs, "absolute": sympy.Abs, "ceil": functions.pop("ceiling"),
        "maximum": _bounded(sympy.Max), "minimum": sympy.Min, "power": lambda a, b: a**b,
        "less": lambda a, b: sympy.Lt(a, b), "greater": lambda a, b: sympy.Gt(a, b),
        "less_equal": lambda a, b: sympy.Le(a, b), "greater_equal": lambda a, b: sympy.Ge(a, b),
        "equal": lambda a, b: sympy.Eq(a, b), "logical_not": lambda a: sympy.Not(a),
        "choose": lambda c, a, b: sympy.Piecewise((a, c), (b, True)) if isinstance(c, sympy.Basic) else a if c else b,
        "isnan": lambda a: False, "isinf": lambda a: False,
    }  # fmt: skip

    def number(value: Any) -> Any:
        if math.isfinite(value):
            return sympy.Rational(_fraction(value))
        return sympy.nan if math.isnan(value) else sympy.oo if value > 0 else -sympy.oo

    return ExactBackend(Algebra("symbolic", number, functions))


@functools.cache
def rational() -> ExactBackend:
    """Fractions."""

    def refuse(name: str) -> Callable[..., Any]:
        def function(*elements: Any) -> Any:
            raise NotExact(f"{name} of a fraction")

        return function

    def sqrt(a: Fraction) -> Fraction:
        top, bottom = math.isqrt(a.numerator) if a >= 0 else 0, math.isqrt(a.denominator)
        if a < 0 or top * top != a.numerator or bottom * bottom != a.denominator:
            raise NotExact(f"the square root of {a}")
        return Fraction(top, bottom)

    names = "exp log erf sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh".split()
    functions: dict[str, Callable[..., Any]] = {n: refuse(n) for n in names}
    functions |= {
        "sqrt": sqrt, "abs": abs, "absolute": abs, "sign": lambda a: Fraction((a > 0) - (a < 0)),
        "floor": lambda a: Fraction(a.__floor__()), "ceil": lambda a: Fraction(a.__ceil__()),
        "maximum": _bounded(max), "minimum": min, "power": lambda a, b: a ** int(b) if b == int(b) else refuse("power")(),
        "less": lambda a, b: a < b, "greater": lambda a, b: a > b, "choose": lambda c, a, b: a if c else b,
        "isnan": lambda a: False, "isinf": lambda a: False,
    }  # fmt: skip
    return ExactBackend(Algebra("rational", _fraction, functions))


PRIME = 2**61 - 1
#: Exponents up to this magnitude are computed with; others are uninterpreted.
_LARGEST_EXPONENT = 1 << 10


class Residue:
    """An integer modulo PRIME."""

    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        self.value = value % PRIME

    def _other(self, other: Any) -> int | None:
        if isinstance(other, Residue):
            return other.value
        return int(other) if isinstance(other, (int, np.integer)) else None

    def _with(self, other: Any, operation: Callable[[int, int], int]) -> Any:
        value = self._other(other)
        return NotImplemented if value is None else Residue(operation(self.value, value))

    def __add__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a + b)

    def __sub__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a * b)

    def __truediv__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a * pow(b, -1, PRIME))

    def __rtruediv__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: b * pow(a, -1, PRIME))

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Residue:
        return Residue(-self.value)

    def __pow__(self, exponent: Any) -> Residue:
        if isinstance(exponent, Residue):  # a small integer, or nobody knows what
            small = exponent.value - PRIME * (exponent.value > PRIME // 2)
            if abs(small) > _LARGEST_EXPONENT:
                return uninterpreted("power", self, exponent)
            exponent = small
        return Residue(pow(self.value, int(exponent), PRIME))

    def _unordered(self, other: Any) -> Any:
        raise NotExact("an order of residues")

    __lt__ = __le__ = __gt__ = __ge__ = _unordered

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Residue) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"Residue({self.value})"


def uninterpreted(name: str, *arguments: Any) -> Residue:
    """A value that depends on the function's name and its arguments alone."""
    text = ",".join([name, *(str(a.value if isinstance(a, Residue) else a) for a in arguments)])
    return Residue(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big"))


@functools.cache
def field() -> ExactBackend:
    """Integers modulo a prime."""
    one = "exp log sqrt erf sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh sign floor ceil abs absolute".split()
    functions: dict[str, Callable[..., Any]] = {n: functools.partial(uninterpreted, n) for n in one}

    def symmetric(name: str) -> Callable[[Any, Any], Any]:
        return lambda a, b: a if a == b else uninterpreted(name, *sorted((a, b), key=lambda r: r.value))

    functions |= {
        "maximum": _bounded(symmetric("maximum")), "minimum": symmetric("minimum"),
        "power": lambda a, b: a**b, "isnan": lambda a: False, "isinf": lambda a: False,
    }  # fmt: skip

    def equal(a: Any, b: Any) -> bool:
        if a == b:
            return True
        raise NotExact("whether residues are equal: those of other points may be")

    functions["equal"] = equal

    def number(value: Any) -> Residue:
        exact = _fraction(value)
        return Residue(exact.numerator * pow(exact.denominator, -1, PRIME))

    return ExactBackend(Algebra("field", number, functions))


# ------------------------------------------------------------------------------------------------------------ inputs
def symbols(name: str, shape: Sequence[int], positive: bool = False) -> np.ndarray:
    """An array of real symbols name_0, name_1..."""
    import sympy

    size = int(np.prod(shape, dtype=int))
    made = [sympy.Symbol(f"{name}_{i}", real=True, positive=positive or None) for i in range(size)]
    return np.array([*made, None], object)[:-1].reshape(tuple(shape))


def fractions(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """An array of random fractions with small numerators and denominators."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape, dtype=int))
    pairs = zip(rng.integers(-99, 100, size).tolist(), rng.integers(1, 20, size).tolist(), strict=True)
    return np.array([*(Fraction(a, b) for a, b in pairs), None], object)[:-1].reshape(tuple(shape))


def residues(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """An array of random elements of the field."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, PRIME, int(np.prod(shape, dtype=int))).tolist()
    return np.array([*(Residue(v) for v in values), None], object)[:-1].reshape(tuple(shape))
