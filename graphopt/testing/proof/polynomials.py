"""Formulas in a normal form: quotients of polynomials in symbols and in what functions make of such quotients.

Two formulas are equal over the reals where their difference has no term left. That is decided by arithmetic alone: products
are multiplied out, and every function is an atom that is told from others by comparing arguments in the same way. What is
known of the functions is built into products (see `Table.reduced`): a root to its power is what is under it, x⁺ · x⁺ is x⁺ · x.

Coefficients are fractions, or floats that may be off by a relative tolerance: a rule that folds constants rounds them. Such
a coefficient carries along how large the terms were that it was added up from, so that nothing is called equal because
something larger stands beside it.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from graphopt.exec.backends.exact import NotExact
from graphopt.testing.proof.formulas import TimeIsUp
from graphopt.testing.proof.rough import Rough

#: Powers of atoms, by the atoms' numbers, in order.
Monomial = tuple[tuple[int, Any], ...]
Polynomial = dict[Monomial, Any]
ONE: Monomial = ()


@dataclass(frozen=True)
class Atom:
    """What a polynomial is a polynomial in.

    Attributes:
        kind: "symbol", "exp" (of a monomial), "root", "part" (the positive part), "step" (1 where it is positive, else 0), or
            the name of another function.
        arguments: formulas; of "exp" a monomial, of a symbol its name.
    """

    kind: str
    arguments: tuple[Any, ...]


class Table:
    """The atoms of some formulas that are to be compared.

    Attributes:
        tolerance: relative, of coefficients; 0: they are exact.
        deadline: when to give up, as `time.monotonic` tells it.
    """

    def __init__(self, tolerance: float = 0.0, deadline: float = math.inf) -> None:
        self.tolerance = tolerance
        self.deadline = deadline
        self.atoms: list[Atom] = []
        self._by_kind: dict[tuple[str, int], list[int]] = {}
        self._special: set[int] = set()
        self._exponents: list[float] = []
        self._steps = 0
        self.unit: Polynomial = {ONE: self.coefficient(1)}

    # ------------------------------------------------------------------------------------------------- coefficients
    def coefficient(self, value: Any) -> Any:
        """A number as coefficients are here."""
        if self.tolerance:
            return Rough(float(value))
        return Fraction(value.item() if isinstance(value, np.generic) else value)

    def nothing(self, c: Any) -> bool:
        """Whether a coefficient is zero, as far as can be told."""
        return abs(c.value) <= self.tolerance * c.mass if isinstance(c, Rough) else c == 0

    def exponent(self, c: Any) -> Any:
        """A coefficient as an exponent: of those that are nearly equal, one."""
        if not isinstance(c, Rough):
            return c.numerator if c.denominator == 1 else c
        near = round(2 * c.value) / 2
        if abs(near - c.value) <= self.tolerance * c.mass:
            return int(near) if near == int(near) else near
        for e in self._exponents:
            if abs(e - c.value) <= self.tolerance * (abs(e) + c.mass):
                return e
        self._exponents.append(c.value)
        return c.value

    # -------------------------------------------------------------------------------------------------------- atoms
    def atom(self, kind: str, *arguments: Any) -> int:
        """The number of an atom: of one that is there already with equal arguments, or of a new one."""
        known = self.found(kind, *arguments)
        if known is not None:
            return known
        i = len(self.atoms)
        self.atoms.append(Atom(kind, arguments))
        self._by_kind.setdefault((kind, len(arguments)), []).append(i)
        if kind in ("root", "part", "step"):
            self._special.add(i)
        return i

    def found(self, kind: str, *arguments: Any) -> int | None:
        """The number of an atom that is there already, else None."""
        for i in self._by_kind.get((kind, len(arguments)), ()):
            if all(map(self.same, self.atoms[i].arguments, arguments)):
                return i
        return None

    def same(self, a: Any, b: Any) -> bool:
        """Whether two arguments are equal."""
        if isinstance(a, Form) and isinstance(b, Form):
            return not (a - b).top
        return bool(a == b)

    def symbol(self, name: str) -> Form:
        """A real number of which nothing is known."""
        return self.power_of(self.atom("symbol", name))

    def power_of(self, atom: int, exponent: Any = 1) -> Form:
        """An atom to a power."""
        m = ((atom, exponent),)
        return self.reduced(m) or Form(self, {m: self.coefficient(1)}, self.unit)

    def number(self, value: Any) -> Form:
        """A number."""
        c = self.coefficient(value)
        return Form(self, {} if self.nothing(c) else {ONE: c}, self.unit)

    # ------------------------------------------------------------------------------------------------------ products
    def tick(self) -> None:
        """Look at the clock now and then."""
        self._steps += 1
        if self._steps % 512 == 0 and time.monotonic() > self.deadline:
            raise TimeIsUp("the normal form takes too long")

    def reduced(self, m: Monomial) -> Form | None:
        """What a product of powers is by what is known of its atoms; None where nothing is to be done."""
        if self._special.isdisjoint([a for a, _ in m]):
            return None
        powers = dict(m)
        for a, e in m:
            kind, arguments = self.atoms[a].kind, self.atoms[a].arguments
            if kind == "root" and not 0 < e < 1:  # whole powers of the base are multiplied out
                whole = math.floor(e)
                powers.pop(a)
                rest = self.monomial({**powers, a: e - whole} if e != whole else powers)
                return rest * arguments[0] ** whole
            if kind == "part" and e > 1 and e == int(e):
                return self.monomial({**powers, a: 1}) * arguments[0] ** (int(e) - 1)
            if kind == "step":
                if e > 1:
                    return self.monomial({**powers, a: 1})
                part = self.found("part", arguments[0])
                if part in powers and powers[part] > 0:
                    powers.pop(a)
                    return self.monomial(powers)
                if any(self.found(other, -arguments[0]) in powers for other in ("step", "part")):
                    return self.number(0)
        return None

    def monomial(self, powers: dict[int, Any]) -> Form:
        """A product of powers."""
        m = tuple(sorted((a, e) for a, e in powers.items() if e != 0))
        return self.reduced(m) or Form(self, {m: self.coefficient(1)}, self.unit)

    def times(self, p: Polynomial, q: Polynomial) -> Form:
        """The product of two polynomials."""
        plain: Polynomial = {}
        others: list[Form] = []
        for m, c in p.items():
            for n, d in q.items():
                self.tick()
                both = joined(m, n) if m and n else m or n
                reduced = self.reduced(both) if m and n else None
                if reduced is None:
                    self.put(plain, both, c * d)
                else:
                    others.append(reduced.scaled(c * d))
        out = Form(self, plain, self.unit)
        for other in others:
            out = out + other
        return out

    def put(self, p: Polynomial, m: Monomial, c: Any) -> None:
        """Add a term; one that adds up to nothing goes."""
        old = p.get(m)
        new = c if old is None else old + c
        if self.nothing(new):
            p.pop(m, None)
        else:
            p[m] = new

    def quotient(self, top: Polynomial, bottom: Polynomial) -> Form:
        """A quotient of polynomials. A single term is divided by at once."""
        if not bottom:
            raise NotExact("a division by zero")
        if not top:
            return self.number(0)
        (m, c), *more = sorted(bottom.items(), key=lambda term: term[0])
        one = self.coefficient(1) / c
        if not more:
            inverse = self.monomial({a: -e for a, e in m})
            if inverse.bottom == self.unit and len(inverse.top) == 1 and m == ONE:
                return Form(self, {n: d * one for n, d in top.items()}, self.unit)
            return Form(self, top, self.unit).scaled(one) * inverse
        return Form(self, {n: d * one for n, d in top.items()}, {n: d * one for n, d in bottom.items()})

    # --------------------------------------------------------------------------------------------------------- signs
    def positive(self, p: Polynomial) -> int:
        """1 where a polynomial is certainly not negative, -1 where not positive, 0 where it is not known."""
        signs = {(1 if c > 0 else -1) if self._not_negative(m) else 0 for m, c in p.items()}
        if len(signs) > 1 and all(sum(e for _, e in m) == 2 and all(e in (1, 2) for _, e in m) for m in p):
            return next((s for s in (1, -1) if self._sum_of_squares(p, s)), 0)
        return signs.pop() if len(signs) == 1 else 0

    def _sum_of_squares(self, p: Polynomial, sign: int) -> bool:
        """Whether a quadratic form is one, times a sign: its matrix has no negative pivot, and none of zero with a row beside."""
        order = sorted({a for m in p for a, _ in m})
        at = {a: i for i, a in enumerate(order)}
        zero, half = self.coefficient(0), self.coefficient(sign) / self.coefficient(2)
        rows = [[zero for _ in order] for _ in order]
        for m, c in p.items():
            i, j = at[m[0][0]], at[m[-1][0]]
            rows[i][j] = rows[i][j] + c * half
            rows[j][i] = rows[j][i] + c * half
        for k in range(len(order)):
            self.tick()
            pivot = rows[k][k]
            if self.nothing(pivot):
                if not all(map(self.nothing, rows[k][k:])):
                    return False
                continue
            if pivot < 0:
                return False
            for i in range(k + 1, len(order)):
                factor = rows[i][k] / pivot
                rows[i] = [c + -(factor * d) for c, d in zip(rows[i], rows[k], strict=True)]
        return True

    def _not_negative(self, m: Monomial) -> bool:
        return all(self.atoms[a].kind in ("exp", "root", "part", "step") or (e == int(e) and e % 2 == 0) for a, e in m)


class Form:
    """A quotient of polynomials."""

    __slots__ = ("bottom", "table", "top")

    def __init__(self, table: Table, top: Polynomial, bottom: Polynomial) -> None:
        self.table = table
        self.top = top
        self.bottom = bottom

    @property
    def constant(self) -> Any:
        """Its only coefficient where it is a number, else None."""
        if not self.top:
            return self.table.coefficient(0)
        return self.top.get(ONE) if self.plain and len(self.top) == 1 else None

    @property
    def plain(self) -> bool:
        """Whether it is a polynomial."""
        return len(self.bottom) == 1

    @property
    def sign(self) -> int:
        """1 where it is certainly not negative, -1 where not positive, 0 where it is not known."""
        return self.table.positive(self.top) * self.table.positive(self.bottom)

    @property
    def first(self) -> tuple[Monomial, Any]:
        """The term that decides about orientation and scale."""
        m = min(self.top)
        return m, self.top[m]

    def scaled(self, c: Any) -> Form:
        """So many times."""
        return Form(self.table, {m: d * c for m, d in self.top.items()}, self.bottom)

    def _formed(self, other: Any) -> Any:
        if isinstance(other, Form):
            return other
        return self.table.number(other) if isinstance(other, (int, float, Fraction, np.number)) else None

    def __add__(self, other: Any) -> Any:
        other, table = self._formed(other), self.table
        if other is None:
            return NotImplemented
        if not self.top or not other.top:
            return other if not self.top else self
        if self.bottom is other.bottom or (self.plain and other.plain) or _alike(table, self.bottom, other.bottom):
            top = dict(self.top)
            for m, c in other.top.items():
                table.put(top, m, c)
            return Form(table, top, self.bottom if top else table.unit)
        left, right = table.times(self.top, other.bottom), table.times(other.top, self.bottom)
        return (left + right) / table.times(self.bottom, other.bottom)

    def __mul__(self, other: Any) -> Any:
        other, table = self._formed(other), self.table
        if other is None:
            return NotImplemented
        if self.plain and other.plain:
            return table.times(self.top, other.top)
        for a, b in ((self, other), (other, self)):
            if a.constant is not None:
                return b.scaled(a.constant) if a.top else a
        return table.times(self.top, other.top) / table.times(self.bottom, other.bottom)

    def __truediv__(self, other: Any) -> Any:
        other, table = self._formed(other), self.table
        if other is None:
            return NotImplemented
        if self.plain and other.plain:
            return table.quotient(self.top, other.top)
        if other.constant is not None and other.top:
            return self.scaled(table.coefficient(1) / other.constant)
        top, bottom = table.times(self.top, other.bottom), table.times(self.bottom, other.top)
        return top / bottom

    def inverse(self) -> Form:
        """One over it."""
        return self.table.quotient(self.bottom, self.top)

    def __neg__(self) -> Form:
        return Form(self.table, {m: -c for m, c in self.top.items()}, self.bottom)

    def __sub__(self, other: Any) -> Any:
        other = self._formed(other)
        return NotImplemented if other is None else self + -other

    def __rsub__(self, other: Any) -> Any:
        other = self._formed(other)
        return NotImplemented if other is None else other + -self

    def __rtruediv__(self, other: Any) -> Any:
        other = self._formed(other)
        return NotImplemented if other is None else other / self

    __radd__, __rmul__ = __add__, __mul__

    def __pow__(self, exponent: int) -> Form:
        out = self.table.number(1)
        for _ in range(abs(exponent)):
            out = out * self
        return out if exponent >= 0 else out.inverse()

    def __repr__(self) -> str:
        return f"{_text(self.table, self.top)}" + ("" if self.plain else f" / ({_text(self.table, self.bottom)})")


def joined(m: Monomial, n: Monomial) -> Monomial:
    """The product of two monomials, nothing reduced."""
    powers = dict(m)
    for a, e in n:
        powers[a] = powers.get(a, 0) + e
    return tuple(sorted((a, e) for a, e in powers.items() if e != 0))


def _alike(table: Table, p: Polynomial, q: Polynomial) -> bool:
    return p.keys() == q.keys() and all(table.nothing(c + -q[m]) for m, c in p.items())


def _text(table: Table, p: Polynomial) -> str:
    def power(a: int, e: Any) -> str:
        atom = table.atoms[a]
        name = atom.arguments[0] if atom.kind == "symbol" else f"{atom.kind}({', '.join(map(str, atom.arguments))})"
        return str(name) if e == 1 else f"{name}^{e}"

    return " + ".join("·".join([str(c), *(power(a, e) for a, e in m)]) for m, c in sorted(p.items())) or "0"
