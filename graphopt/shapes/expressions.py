"""Dims that are expressions: the part of `dims` that needs SymPy. Ask `dims`, which remembers the answers.

Expressions are kept expanded, so that most that are equal are so by structure. What is proved about signs uses nothing
but that every name stands for a number of 0 or more.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Any

import sympy
from sympy import Add, Expr, Integer, Max, Min, Mul, Pow, Rational, Symbol
from sympy.printing.precedence import PRECEDENCE

from graphopt.ir.node import Dim

#: Sums with more terms than this are not expanded further, nor searched for a proof.
_LONGEST = 64
_DEEPEST = 8
_MOST_STEPS = 128


@lru_cache(4096)
def symbol(name: str) -> Symbol:
    """The symbol of a name: an integer of 0 or more."""
    return Symbol(name, integer=True, nonnegative=True)


def lift(d: Dim) -> Expr:
    """A dim as an expression."""
    if isinstance(d, int):
        return Integer(d)
    if isinstance(d, str):
        return symbol(d)
    return Rational(d.numerator, d.denominator) if isinstance(d, Fraction) else d


def lower(e: Expr) -> Dim:
    """An expression as a dim: plain where it is a number or a name."""
    if e.is_Symbol:
        return e.name
    if e.is_Integer:
        return int(e)
    if e.is_Rational:
        return Fraction(int(e.p), int(e.q))
    if (e.is_Mul and any(a.is_Add for a in e.args)) or (e.is_Pow and e.base.is_Add):
        e = e.expand()
    return e


class floor(sympy.Function):
    """Rounding towards minus infinity. SymPy's own takes Max(2, 2*a)/6 for a whole number, so nothing is left to it."""

    is_integer = True
    nargs = 1

    @classmethod
    def eval(cls, a: Expr) -> Expr | None:
        return Integer(math.floor(a)) if a.is_Rational else None


class broadcast_(sympy.Function):
    """What two dims broadcast to, neither known to be above 1: the other one where one is 1, else both."""

    is_integer = True
    is_nonnegative = True
    nargs = 2
    precedence = PRECEDENCE["Mul"]  # of what is written for it

    @classmethod
    def eval(cls, a: Expr, b: Expr) -> Expr | None:
        if a == b or b == 1:
            return a
        if a == 1:
            return b
        for p, q in ((a, b), (b, a)):
            if p.is_Integer and (p > 1 or p == 0):
                return p
            if isinstance(p, broadcast_) and q in p.args:
                return p
            # Min(512, q) is q or above 1, and 0 only where q is
            if isinstance(p, Min) and q in p.args and all(a == q or (a.is_Integer and a >= 1) for a in p.args):
                return q
        return None

    def _sympystr(self, printer: Any) -> str:
        a, b = map(printer.doprint, self.args)
        return f"Max({a}, {b})*Min(1, {a}, {b})"


# ---------------------------------------------------------------------------------------------------------- arithmetic
def add(a: Dim, b: Dim) -> Dim:
    return lower(lift(a) + lift(b))


def sub(a: Dim, b: Dim) -> Dim:
    return lower(lift(a) - lift(b))


def mul(a: Dim, b: Dim) -> Dim:
    p, q = lift(a), lift(b)
    if len(Add.make_args(p)) * len(Add.make_args(q)) > _LONGEST:
        return None
    return lower(p * q)


def rounded(a: Any) -> Dim:
    e = lift(a).expand()
    k = _denominator(e)
    return floordiv(lower(e * k), k)


def rounded_up(a: Any) -> Dim:
    e = lift(a).expand()
    k = _denominator(e)
    return floordiv(lower((e * k + k - 1).expand()), k)


def exact_div(a: Dim, b: Dim) -> Dim:
    quotient = _quotient(lift(a), lift(b))
    return None if quotient is None else lower(quotient)


def _quotient(a: Expr, b: Expr) -> Expr | None:
    """a / b as a polynomial, None where it is none."""
    q = (a / b).expand()
    if not _has_denominator(q):
        return q
    q = sympy.cancel(sympy.together(a / b)).expand()
    return None if _has_denominator(q) else q


def _has_denominator(e: Expr) -> bool:
    return any(p.exp.is_negative for p in e.atoms(Pow)) or (e.is_Pow and e.exp.is_negative)


def floordiv(a: Dim, b: Dim) -> Dim:
    x, k = lift(a), lift(b)
    if not k.is_Integer:
        if less(0, b) is not True:
            return None
        q = _quotient(x, k)
        return lower(q) if q is not None and _whole(q) else None
    q = (x / k).expand()
    if _whole(q):
        return lower(q)
    # floor((floor(y) + n) / k) = floor((y + n) / k) for whole n and k > 0 (Graham, Knuth, Patashnik: Concrete Mathematics, 3.11)
    common = math.gcd(int(k), *[int(c) if c.is_Integer else 1 for c, _ in map(_split, Add.make_args(x))])
    if common > 1:
        x, k = (x / common).expand(), k / common
    inner = next((t for t in Add.make_args(x) if isinstance(t, floor)), None)
    if inner is not None:
        q = ((x - inner + inner.args[0]) / k).expand()
    whole: list[Expr] = []
    rest: list[Expr] = []
    for t in Add.make_args(q):
        (whole if _whole(t) else rest).append(t)
    fraction = Add(*rest)
    if fraction.is_Rational:
        return lower(Add(*whole) + math.floor(fraction))
    number = Add(*[t for t in rest if t.is_Rational])
    moved = math.floor(number)
    return lower(Add(*whole) + moved + floor(fraction - moved))


def _whole(e: Expr) -> bool:
    """Whether an expanded expression is a whole number whatever its names stand for, by its coefficients."""
    return all(c.is_Integer and not _has_denominator(t) for c, t in map(_split, Add.make_args(e)))


def _split(term: Expr) -> tuple[Any, Expr]:
    """Number and rest of a term."""
    c, rest = term.as_coeff_Mul()
    return c, rest


def without_multiples(a: Dim, k: int) -> Dim:
    """An expression that leaves the same rest when it is divided by k, with coefficients below k."""
    kept = []
    for t in Add.make_args(lift(a)):
        c, rest = _split(t)
        kept.append((c % k if c.is_Integer and _whole(rest) else c) * rest)
    return lower(Add(*kept))


def minimum(a: Dim, b: Dim) -> Dim:
    return lower(Min(*_flat(Min, a, b), evaluate=False))


def maximum(a: Dim, b: Dim) -> Dim:
    return lower(Max(*_flat(Max, a, b), evaluate=False))


def _flat(kind: Any, a: Dim, b: Dim) -> list[Expr]:
    parts = {p: None for e in (lift(a), lift(b)) for p in (e.args if isinstance(e, kind) else (e,))}
    return list(parts)


def broadcast(a: Dim, b: Dim) -> Dim:
    return lower(broadcast_(lift(a), lift(b)))


def substitute(d: Expr, values: dict[str, Dim]) -> Dim:
    """An expression with names replaced; rounding and comparisons are simplified again as in the arithmetic."""
    return _rebuilt(d, {s: values[s.name] for s in d.free_symbols if s.name in values})


def _rebuilt(e: Expr, values: dict[Symbol, Dim]) -> Dim:
    from graphopt.shapes import dims

    if not values.keys() & e.free_symbols:
        return lower(e)
    if e.is_Symbol:
        return values.get(e, e.name)
    if isinstance(e, floor):
        top, bottom = e.args[0].as_numer_denom()
        return dims.floordiv(_rebuilt(top, values), lower(bottom))
    args = [_rebuilt(a, values) for a in e.args]
    if None in args:
        return None
    if isinstance(e, (Max, Min)):
        choose = dims.maximum if isinstance(e, Max) else dims.minimum
        out = args[0]
        for a in args[1:]:
            out = choose(out, a)
        return out
    if isinstance(e, broadcast_):
        try:
            return dims.broadcast_dims(*args)
        except ValueError:  # cannot run
            return None
    return lower(e.func(*map(lift, args)))


# ----------------------------------------------------------------------------------------------------------- questions
def equal(a: Dim, b: Dim) -> bool | None:
    difference = _difference(a, b)
    if difference is None:
        return None
    if difference == 0:
        return True
    if difference.is_Rational or _proved(difference, strictly=True) or _proved(-difference, strictly=True):
        return False
    return None


def less(a: Dim, b: Dim) -> bool | None:
    difference = _difference(b, a)
    if difference is None:
        return None
    if _proved(difference, strictly=True):
        return True
    return False if _proved(-difference) else None


def _difference(a: Dim, b: Dim) -> Expr | None:
    """a - b expanded, None where that would be too long."""
    p, q = lift(a), lift(b)
    return (p - q).expand() if len(Add.make_args(p)) + len(Add.make_args(q)) <= _LONGEST else None


def divides(a: Dim, b: Dim) -> bool | None:
    q = _quotient(lift(b), lift(a))
    if q is None:
        return None
    if _whole(q):
        return True
    fractions = [t for t in Add.make_args(q) if not _whole(t)]
    return False if len(fractions) == 1 and fractions[0].is_Rational else None


def _proved(e: Expr, strictly: bool = False) -> bool:
    """Whether an expanded expression is provably 0 or more (above 0: `strictly`)."""
    return _Proof().at_least(e, _DEEPEST, strictly)


class _Proof:
    """One search for a proof, which gives up after so many steps."""

    def __init__(self) -> None:
        self.steps = _MOST_STEPS

    def at_least(self, e: Expr, depth: int, strictly: bool = False) -> bool:
        """Whether an expanded expression is provably 0 or more (above 0: `strictly`)."""
        self.steps -= 1
        terms = Add.make_args(e)
        if len(terms) > _LONGEST or not depth or self.steps < 0:
            return False
        lowest = Rational(0)
        for t in terms:
            c, rest = _split(t)
            if rest == 1:
                lowest += c
            elif c < 0 or not all(self.not_negative(f, depth) for f in Mul.make_args(rest)):
                return self.relaxed(e, terms, depth, strictly)
        return bool(lowest > 0 if strictly else lowest >= 0) or self.relaxed(e, terms, depth, strictly)

    def not_negative(self, f: Expr, depth: int) -> bool:
        """Whether a factor cannot be below 0."""
        if f.is_Symbol or isinstance(f, broadcast_):
            return True
        if f.is_Pow:
            return bool(f.exp.is_Integer and f.exp > 0) and self.not_negative(f.base, depth)
        if isinstance(f, floor):
            return self.at_least(f.args[0].expand(), depth - 1)
        if isinstance(f, Max):
            return any(self.at_least(a.expand(), depth - 1) for a in f.args)
        if isinstance(f, Min):
            return all(self.at_least(a.expand(), depth - 1) for a in f.args)
        return bool(f >= 0) if f.is_number else f.is_Add and self.at_least(f, depth - 1)

    def relaxed(self, e: Expr, terms: tuple[Expr, ...], depth: int, strictly: bool) -> bool:
        """The same question for something that is no larger: one rounding or choice in the sum replaced by its bound."""
        for t in terms:
            c, rest = _split(t)
            if isinstance(rest, floor):
                y = rest.args[0]
                loss = Rational(0) if c < 0 else 1 - Rational(1, _denominator(y))
                return self.at_least((e - t + c * (y - loss)).expand(), depth - 1, strictly)
            if isinstance(rest, (Max, Min, broadcast_)):
                # its value is one of its arguments; a Max that counts positively is at least each of them
                enough = any if isinstance(rest, Max if c > 0 else Min) else all
                return enough(self.at_least((e - t + c * a).expand(), depth - 1, strictly) for a in rest.args)
        return False


def _denominator(e: Expr) -> int:
    """The smallest number that makes an expression of whole names whole."""
    return math.lcm(*[int(c.q) for c, _ in map(_split, Add.make_args(e))])


# ------------------------------------------------------------------------------------------------------------- reading
def operation(e: Dim) -> tuple[str, tuple[Dim, ...]] | None:
    """The operator and operands that compute an expression; None where no operator on whole numbers does."""
    if not isinstance(e, Expr):
        return None
    if isinstance(e, floor):
        k = _denominator(e.args[0].expand())
        return "Div", (lower((e.args[0] * k).expand()), k)
    if isinstance(e, (Max, Min)):
        return ("Max" if isinstance(e, Max) else "Min"), tuple(map(lower, e.args))
    if e.is_Add:
        if (k := _denominator(e)) > 1:
            return "Div", (lower((e * k).expand()), k)
        minus = [t for t in e.args if _split(t)[0] < 0 and not t.is_number]
        if minus and len(minus) < len(e.args):
            return "Sub", (lower(Add(*[t for t in e.args if t not in minus])), *(lower(-t) for t in minus))
        return "Add", tuple(map(lower, sorted(e.args, key=lambda t: (t.is_number, str(t)))))
    if e.is_Mul:
        c, rest = _split(e)
        if c.q > 1:
            return "Div", (lower(c.p * rest), int(c.q))
        factors = [f for f in Mul.make_args(rest) for _ in range(int(f.exp) if f.is_Pow else 1)]
        factors = [f.base if f.is_Pow else f for f in factors]
        return "Mul", tuple(map(lower, [*factors, *([c] if c != 1 else [])]))
    if e.is_Pow and e.exp.is_Integer and e.exp > 1:
        return "Mul", (lower(e.base),) * int(e.exp)
    return None
