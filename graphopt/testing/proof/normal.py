"""The functions of kernels on formulas in normal form (see `polynomials`).

What is known of them: exp(a + b) = exp(a) exp(b) and exp(log a) = a; log of a product of positive factors; tanh by exp; roots
and powers are one thing; max(a, b) = b + (a - b)⁺ with (k a)⁺ = k a⁺ for k > 0 and (-a)⁺ = a⁺ - a; |a|, min and choices
likewise. Everything else is uninterpreted. All of it holds wherever both sides are defined.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from graphopt.exec.backends.exact import LOWEST, Algebra, NotExact
from graphopt.testing.proof.formulas import FormulaBackend
from graphopt.testing.proof.polynomials import ONE, Form, Monomial, Polynomial, Table, joined

#: Powers up to this are multiplied out.
_LARGEST_POWER = 16
_UNINTERPRETED = "erf sin cos tan asin acos atan sinh cosh asinh acosh atanh"
_WHOLE = ("floor", "ceil", "rint")


class Infinite:
    """Plus or minus infinity, as bounds may be: nothing can be computed with it, but maxima and minima."""

    __slots__ = ("sign",)

    def __init__(self, sign: int) -> None:
        self.sign = sign


class Truth:
    """Whether a formula is positive, or is not."""

    __slots__ = ("form", "negated")

    def __init__(self, form: Form, negated: bool = False) -> None:
        self.form = form
        self.negated = negated

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Truth):
            return False
        return self.negated == other.negated and self.form.table.same(self.form, other.form)

    def _with(self, other: Any, neutral: bool, operation: str) -> Any:
        if isinstance(other, (bool, np.bool_)):
            return self if bool(other) == neutral else bool(other)
        if isinstance(other, Truth) and self == other:
            return self
        raise NotExact(f"{operation} of truth values that are not known")

    def __and__(self, other: Any) -> Any:
        return self._with(other, True, "and")

    def __or__(self, other: Any) -> Any:
        return self._with(other, False, "or")

    def __xor__(self, other: Any) -> Any:
        if isinstance(other, (bool, np.bool_)):
            return Truth(self.form, self.negated != bool(other))
        raise NotExact("xor of truth values that are not known")

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__


def normal_forms(table: Table) -> FormulaBackend:
    """The back end on normal forms over one table of atoms."""

    def number(value: Any) -> Any:
        if isinstance(value, (float, np.floating)) and not math.isfinite(value):
            if math.isnan(value):
                raise NotExact("NaN as a number")
            return Infinite(1 if value > 0 else -1)
        return table.number(value)

    def of_one(name: str) -> Callable[[Form], Form]:
        return lambda a: _evaluated(name, a) or table.power_of(table.atom(name, a))

    def rounding(name: str) -> Callable[[Form], Form]:
        return lambda a: a if _is_whole(a) else table.power_of(table.atom(name, a))

    functions: dict[str, Callable[..., Any]] = {n: of_one(n) for n in _UNINTERPRETED.split()}
    functions |= {name: rounding(name) for name in _WHOLE}
    functions |= {
        "exp": exp, "log": log, "tanh": tanh, "sqrt": lambda a: power(a, table.number(Fraction(1, 2))), "power": power,
        "abs": absolute, "absolute": absolute, "sign": lambda a: step(a) - step(-a),
        "maximum": maximum, "minimum": lambda a, b: _negative(maximum(_negative(a), _negative(b))),
        "less": lambda a, b: above(b, a), "greater": above, "logical_not": negation,
        "less_equal": lambda a, b: negation(above(a, b)), "greater_equal": lambda a, b: negation(above(b, a)),
        "equal": equal, "choose": choose, "truth": lambda e: isinstance(e, (bool, np.bool_, Truth)),
        "unknown": lambda name, *elements: table.power_of(table.atom(name, *elements)),
        "isnan": lambda a: False, "isinf": lambda a: False,
    }  # fmt: skip
    return FormulaBackend(Algebra("normal form", number, functions))


def _evaluated(name: str, a: Form) -> Form | None:
    """The value at a number, where numbers are rounded anyway."""
    c = a.constant
    if c is None or not a.table.tolerance:
        return None
    function = getattr(math, name, None)
    try:
        return a.table.number(function(float(c))) if function is not None else None
    except ValueError:
        return None


def _is_whole(a: Form) -> bool:
    """Whether it is what rounding gave, or a whole number."""
    if not a.plain or len(a.top) > 1:
        return False
    if (c := a.constant) is not None:
        return float(c) == int(float(c))
    ((m, c),) = a.top.items()
    return len(m) == 1 and m[0][1] == 1 and a.table.atoms[m[0][0]].kind in _WHOLE and float(c) == 1


# ----------------------------------------------------------------------------------------------- exponentials and powers
def exp(a: Form) -> Form:
    """The product of the exponentials of the terms."""
    table = a.table
    if not a.plain:
        inverse = table.found("exp", -a)
        return table.power_of(table.atom("exp", a)) if inverse is None else table.power_of(inverse, -1)
    out = table.number(1)
    for m, c in a.top.items():
        if m == ONE and table.tolerance:
            out = out * table.number(math.exp(float(c)))
        elif len(m) == 1 and m[0][1] == 1 and table.atoms[m[0][0]].kind == "log":
            out = out * power(table.atoms[m[0][0]].arguments[0], Form(table, {ONE: c}, table.unit))
        else:
            out = out * table.power_of(table.atom("exp", m), table.exponent(c))
    return out


def log(a: Form) -> Form:
    """The sum of the logarithms of the positive factors that can be told, and of what is left."""
    if a.plain:
        return _log(a.table, a.top)
    if a.table.positive(a.bottom) > 0:
        return _log(a.table, a.top) - _log(a.table, a.bottom)
    return a.table.power_of(a.table.atom("log", a))


def _log(table: Table, p: Polynomial) -> Form:
    if not p:
        raise NotExact("the logarithm of zero")
    shared: dict[int, Any] = {}  # powers of exponentials that all terms have
    for i, m in enumerate(p):
        powers = {a: e for a, e in m if table.atoms[a].kind == "exp"}
        names = powers.keys() | shared.keys()
        shared = {a: min(shared.get(a, 0), powers.get(a, 0)) for a in names} if i else powers
    out = table.number(0)
    for a, e in shared.items():
        inner = table.atoms[a].arguments[0]
        out = out + (inner if isinstance(inner, Form) else Form(table, {inner: table.coefficient(1)}, table.unit)) * e
    inverse: Monomial = tuple(sorted((a, -e) for a, e in shared.items()))
    p = {joined(m, inverse): c for m, c in p.items()}
    scale = abs(p[min(p)])
    p = {m: c / scale for m, c in p.items()}
    if table.tolerance:
        out = out + table.number(math.log(float(scale)))
    elif scale != 1:
        out = out + table.power_of(table.atom("log", table.number(scale)))
    rest = Form(table, p, table.unit)
    return out if rest.constant is not None and rest.constant > 0 else out + table.power_of(table.atom("log", rest))


def tanh(a: Form) -> Form:
    """By exponentials."""
    e = exp(a + a)
    return (e - 1) / (e + 1)


def power(a: Form, b: Any) -> Form:
    """A number to the power of another one."""
    table = a.table
    b = b if isinstance(b, Form) else table.number(b)
    c = b.constant
    if c is None:
        return table.power_of(table.atom("power", a, b))
    e = table.exponent(c)
    if e == int(e) and abs(e) <= _LARGEST_POWER:
        return a ** int(e)
    base = a.constant
    if base is not None and base > 0 and (table.tolerance or _is_square(base, e)):
        return table.number(float(base) ** float(e) if table.tolerance else _root(base, e))
    return table.power_of(table.atom("root", a), e)


def _is_square(c: Fraction, e: Any) -> bool:
    return 2 * e == int(2 * e) and all(math.isqrt(n) ** 2 == n for n in (c.numerator, c.denominator))


def _root(c: Fraction, e: Any) -> Fraction:
    return Fraction(math.isqrt(c.numerator), math.isqrt(c.denominator)) ** int(2 * e)


# ---------------------------------------------------------------------------------------------------- piecewise formulas
def _oriented(a: Form) -> tuple[Form, Any]:
    """A formula as a positive number times one whose first coefficient is 1 or -1; a positive denominator is left out."""
    table = a.table
    if not a.plain and table.positive(a.bottom) > 0:
        a = Form(table, a.top, table.unit)
    scale = abs(a.first[1])
    return a.scaled(table.coefficient(1) / scale), scale


def part(a: Form) -> Form:
    """The positive part: a where that is positive, else 0."""
    table = a.table
    if not a.top or a.sign:
        return a if a.top and a.sign > 0 else table.number(0)
    if not a.plain and table.positive(a.bottom) > 0:
        return part(Form(table, a.top, table.unit)) / Form(table, a.bottom, table.unit)
    unit, scale = _oriented(a)
    if unit.first[1] > 0:
        return table.power_of(table.atom("part", unit)).scaled(scale)
    return (table.power_of(table.atom("part", -unit)) + unit).scaled(scale)


def step(a: Form) -> Form:
    """1 where a formula is positive, else 0."""
    table = a.table
    if not a.top or a.sign < 0 or a.constant is not None:
        return table.number(int(bool(a.top) and a.constant is not None and a.constant > 0))
    return table.power_of(table.atom("step", _oriented(a)[0]))


def absolute(a: Form) -> Form:
    return part(a) + part(-a)


def _negative(a: Any) -> Any:
    return Infinite(-a.sign) if isinstance(a, Infinite) else a if a is LOWEST else -a


def maximum(a: Any, b: Any) -> Any:
    """The larger one."""
    for x, y in ((a, b), (b, a)):
        if x is LOWEST:
            return y
        if isinstance(x, Infinite):
            return x if x.sign > 0 else y
    return b + part(a - b)


def above(a: Any, b: Any) -> Any:
    """Whether a is larger than b."""
    if isinstance(a, Infinite) or isinstance(b, Infinite):
        raise NotExact("a comparison with infinity")
    d = a - b
    if not d.top or d.sign < 0:
        return False
    return d.constant > 0 if d.constant is not None else Truth(_oriented(d)[0])


def negation(t: Any) -> Any:
    """Whether it is not so."""
    return Truth(t.form, not t.negated) if isinstance(t, Truth) else not t


def equal(a: Any, b: Any) -> bool | Truth:
    """Whether two elements are equal, where that can be told; of a truth that depends on the inputs, when."""
    if isinstance(a, Form) and isinstance(b, Form):
        d = a - b
        if not d.top or d.constant is not None:
            return not d.top
    elif isinstance(a, Truth) and isinstance(b, (bool, np.bool_)):
        return a if b else negation(a)
    elif isinstance(b, Truth):
        return equal(b, a)
    raise NotExact("an equality that is not known")


def choose(condition: Any, a: Any, b: Any) -> Any:
    """The first where the condition holds, else the second."""
    if isinstance(condition, (bool, np.bool_)):
        return a if condition else b
    if not isinstance(condition, Truth) or not isinstance(a, Form) or not isinstance(b, Form):
        raise NotExact("a choice of other things than numbers")
    if condition.negated:
        a, b = b, a
    d, f = a - b, condition.form
    if not d.top:
        return a
    ratio = _ratio(d, f, f.first[0])
    return b + (part(f).scaled(ratio) if ratio is not None else step(f) * d)


def _ratio(d: Form, f: Form, m: Monomial) -> Any:
    """How many times f is d, if it is; `m` is a term that both must have then."""
    if m not in d.top or not d.plain or not f.plain:
        return None
    ratio = d.top[m] / f.top[m]
    return ratio if d.table.same(d, f.scaled(ratio)) else None
