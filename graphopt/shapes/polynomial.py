"""Polynomials with rational coefficients: what dims are where they are neither a number nor a name.

Their indeterminates are names, all whole numbers of 0 or more, and what is no polynomial of them: roundings, choices and
broadcasts. Kept expanded, so that most that are equal are so by structure. SymPy can do all of this, and takes longer to be
imported than a model to be optimised; `sympy.sympify` makes its expression of a polynomial.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import cached_property
from typing import Any

Number = int | Fraction
#: Factors with their exponents, in order.
Monomial = tuple[tuple[Any, int], ...]
ONE: Monomial = ()


class Function:
    """A factor that is not a name.

    Attributes:
        kind: "floor", "Max", "Min", or "broadcast": what two dims broadcast to, neither known to be above 1.
        args: numbers, names and polynomials.
    """

    __slots__ = ("_hash", "args", "kind", "names", "size", "text")

    def __init__(self, kind: str, args: Iterable[Any]) -> None:
        self.kind = kind
        self.args = tuple(args) if kind == "floor" else tuple(sorted(args, key=_order))
        written = [str(a) for a in self.args]
        self.text = f"{kind}({', '.join(written)})"
        if kind == "broadcast":
            a, b = written
            self.text = f"Max({a}, {b})*Min(1, {a}, {b})"
        self._hash = hash((kind, self.args))
        self.names: frozenset[str] = frozenset().union(*map(names_of, self.args))
        self.size: int = 1 + sum(map(size_of, self.args))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Function):
            return NotImplemented
        return self is other or (self._hash == other._hash and self.kind == other.kind and self.args == other.args)

    def __str__(self) -> str:
        return self.text

    def _sympy_(self) -> Any:
        import sympy

        args = [lift(a)._sympy_() for a in self.args]
        if self.kind == "broadcast":
            return sympy.Max(*args) * sympy.Min(1, *args)
        return getattr(sympy, self.kind)(*args)


class Polynomial:
    """A sum of products. `terms`: the coefficient of each monomial, none of them 0; never changed."""

    def __init__(self, terms: Mapping[Monomial, Number]) -> None:
        self.terms = terms

    def __eq__(self, other: object) -> bool:
        return self.terms == other.terms if isinstance(other, Polynomial) else NotImplemented

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(frozenset(self.terms.items()))

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset().union(*(names_of(f) for m in self.terms for f, _ in m))

    @cached_property
    def size(self) -> int:
        """How many numbers, names and functions it is written with."""
        return 1 + sum((c != 1 or not m) + sum(size_of(f) + (n > 1) for f, n in m) for m, c in self.terms.items())

    @property
    def number(self) -> Number | None:
        """Its value where it has no factors."""
        if not self.terms:
            return 0
        return self.terms.get(ONE) if len(self.terms) == 1 else None

    @property
    def denominator(self) -> int:
        """The smallest number that makes it whole where names and functions are."""
        return math.lcm(*[c.denominator for c in self.terms.values()])

    @property
    def only(self) -> Any:
        """The factor that it is; None where it is none."""
        if len(self.terms) == 1:
            ((monomial, c),) = self.terms.items()
            if c == 1 and len(monomial) == 1 and monomial[0][1] == 1:
                return monomial[0][0]
        return None

    # ------------------------------------------------------------------ arithmetic
    def plus(self, other: Polynomial, times: Number = 1) -> Polynomial:
        """self + times * other."""
        terms = dict(self.terms)
        for m, c in other.terms.items():
            if total := terms.get(m, 0) + c * times:
                terms[m] = _plain(total)
            else:
                terms.pop(m, None)
        return Polynomial(terms)

    def scaled(self, by: Number) -> Polynomial:
        return Polynomial({m: _plain(c * by) for m, c in self.terms.items()} if by else {})

    def times(self, other: Polynomial) -> Polynomial:
        terms: dict[Monomial, Number] = {}
        for m, c in self.terms.items():
            for n, d in other.terms.items():
                product = _product(m, n)
                terms[product] = terms.get(product, 0) + c * d
        return Polynomial({m: _plain(c) for m, c in terms.items() if c})

    def divided(self, by: Polynomial) -> Polynomial | None:
        """The quotient; None where there is a rest. Division by one polynomial with lexicographic order (Cox, Little, O'Shea:
        Ideals, Varieties, and Algorithms, 2.3)."""
        factors = sorted({f for p in (self, by) for m in p.terms for f, _ in m}, key=_order)

        def rank(m: Monomial) -> tuple[int, ...]:
            exponents = dict(m)
            return tuple(exponents.get(f, 0) for f in factors)

        first = max(by.terms, key=rank)
        rest, quotient = self, Polynomial({})
        while rest.terms:
            leading = max(rest.terms, key=rank)
            m = _quotient(leading, first)
            if m is None:
                return None
            q = Polynomial({m: _plain(Fraction(rest.terms[leading]) / by.terms[first])})
            quotient, rest = quotient.plus(q), rest.plus(q.times(by), -1)
        return quotient

    # -------------------------------------------------------------------- writing
    def __repr__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        factors = sorted({f for m in self.terms for f, _ in m}, key=_order)

        def rank(m: Monomial) -> tuple[int, ...]:
            exponents = dict(m)
            return tuple(-exponents.get(f, 0) for f in factors)

        ordered = sorted(self.terms, key=rank)
        if len(ordered) == 2 and ordered[1] == ONE and self.terms[ONE] > 0 > self.terms[ordered[0]]:
            ordered.reverse()  # 3 - a
        text = ""
        for m in ordered:
            c = self.terms[m]
            term = _written(m, -c if c < 0 else c)
            text += f" {'-' if c < 0 else '+'} {term}" if text else f"{'-' if c < 0 else ''}{term}"
        return text or "0"

    def _sympy_(self) -> Any:
        import sympy

        return sympy.Add(*(
            sympy.Mul(sympy.Rational(c.numerator, c.denominator), *(_factor_in_sympy(f) ** n for f, n in m))
            for m, c in self.terms.items()
        ))  # fmt: skip


def lift(d: Any) -> Polynomial:
    """A number, a name or a polynomial as a polynomial."""
    if isinstance(d, Polynomial):
        return d
    return of_factor(d) if isinstance(d, str) else Polynomial({ONE: d} if d else {})


def of_factor(f: str | Function) -> Polynomial:
    return Polynomial({((f, 1),): 1})


def lower(p: Polynomial) -> Any:
    """A polynomial as a dim: plain where it is a number or a name."""
    n = p.number
    if n is not None:
        return n
    f = p.only
    return f if isinstance(f, str) else p


def names_of(d: Any) -> frozenset[str]:
    """The names in a number, a name, a function or a polynomial."""
    if isinstance(d, str):
        return frozenset((d,))
    return d.names if isinstance(d, (Polynomial, Function)) else frozenset()


def size_of(d: Any) -> int:
    """The number of parts of what `names_of` takes."""
    return d.size if isinstance(d, (Polynomial, Function)) else 1


def _plain(c: Number) -> Number:
    return c.numerator if isinstance(c, Fraction) and c.denominator == 1 else c


def _order(d: Any) -> tuple[bool, bool, str]:
    """Numbers before names before what is computed."""
    return not isinstance(d, (int, Fraction)), not isinstance(d, str), str(d)


def _product(m: Monomial, n: Monomial) -> Monomial:
    if not m or not n:
        return m or n
    exponents = dict(m)
    for f, k in n:
        exponents[f] = exponents.get(f, 0) + k
    return tuple(sorted(exponents.items(), key=lambda item: _order(item[0])))


def _quotient(m: Monomial, n: Monomial) -> Monomial | None:
    exponents = dict(m)
    for f, k in n:
        left = exponents.get(f, 0) - k
        if left < 0:
            return None
        exponents[f] = left
    return tuple((f, k) for f, k in exponents.items() if k)


def _written(m: Monomial, c: Number) -> str:
    factors = [f"{f}**{k}" if k > 1 else str(f) for f, k in m]
    if c.numerator != 1 or not factors:
        factors.insert(0, str(c.numerator))
    return "*".join(factors) + (f"/{c.denominator}" if c.denominator > 1 else "")


def _factor_in_sympy(f: str | Function) -> Any:
    import sympy

    return sympy.Symbol(f, integer=True, nonnegative=True) if isinstance(f, str) else f._sympy_()
