"""Dims that are polynomials: what `dims` leaves to this module, and remembers the answers of.

What is proved about signs uses nothing but that every name stands for a number of 0 or more.
"""

from __future__ import annotations

import math
from fractions import Fraction

from graphopt.ir.node import Dim
from graphopt.shapes.polynomial import ONE, Function, Monomial, Polynomial, lift, lower, of_factor

#: Sums with more terms than this are not multiplied further, nor searched for a proof.
_LONGEST = 64
_DEEPEST = 8
_MOST_STEPS = 128


# ---------------------------------------------------------------------------------------------------------- arithmetic
def add(a: Dim, b: Dim) -> Dim:
    return lower(lift(a).plus(lift(b)))


def sub(a: Dim, b: Dim) -> Dim:
    return lower(lift(a).plus(lift(b), -1))


def mul(a: Dim, b: Dim) -> Dim:
    p, q = lift(a), lift(b)
    return lower(p.times(q)) if len(p.terms) * len(q.terms) <= _LONGEST else None


def rounded(a: Dim) -> Dim:
    p = lift(a)
    return floordiv(lower(p.scaled(p.denominator)), p.denominator)


def rounded_up(a: Dim) -> Dim:
    p = lift(a)
    return floordiv(lower(p.scaled(p.denominator).plus(lift(p.denominator - 1))), p.denominator)


def exact_div(a: Dim, b: Dim) -> Dim:
    quotient = lift(a).divided(lift(b))
    return None if quotient is None else lower(quotient)


def floordiv(a: Dim, b: Dim) -> Dim:
    p = lift(a)
    if not isinstance(b, int):
        if less(0, b) is not True:
            return None
        q = p.divided(lift(b))
        return lower(q) if q is not None and _whole(q) else None
    q = p.scaled(Fraction(1, b))
    if _whole(q):
        return lower(q)
    # floor((floor(y) + n) / k) = floor((y + n) / k) for whole n and k > 0 (Graham, Knuth, Patashnik: Concrete Mathematics, 3.11)
    common = math.gcd(b, *[c if isinstance(c, int) else 1 for c in p.terms.values()])
    p, b = p.scaled(Fraction(1, common)), b // common
    roundings = [f for m, c in p.terms.items() if c == 1 and (f := _alone(m)) is not None and f.kind == "floor"]
    if roundings:
        inner = min(roundings, key=str)
        p = p.plus(of_factor(inner), -1).plus(lift(inner.args[0]))
    q = p.scaled(Fraction(1, b))
    whole = Polynomial({m: c for m, c in q.terms.items() if isinstance(c, int)})
    fraction = q.plus(whole, -1)
    moved = lift(math.floor(fraction.terms.get(ONE, 0)))
    fraction = fraction.plus(moved, -1)
    whole = whole.plus(moved)
    return lower(whole if fraction.number is not None else whole.plus(of_factor(Function("floor", (fraction,)))))


def _whole(p: Polynomial) -> bool:
    """Whether it is a whole number whatever its names stand for, by its coefficients."""
    return all(isinstance(c, int) for c in p.terms.values())


def _alone(m: Monomial) -> Function | None:
    """The function that a monomial is."""
    return m[0][0] if len(m) == 1 and m[0][1] == 1 and isinstance(m[0][0], Function) else None


def without_multiples(a: Dim, k: int) -> Dim:
    """An expression that leaves the same rest when it is divided by k, with coefficients below k."""
    terms = {m: c % k if isinstance(c, int) else c for m, c in lift(a).terms.items()}
    return lower(Polynomial({m: c for m, c in terms.items() if c}))


def minimum(a: Dim, b: Dim) -> Dim:
    return _choice("Min", a, b)


def maximum(a: Dim, b: Dim) -> Dim:
    return _choice("Max", a, b)


def _choice(kind: str, a: Dim, b: Dim) -> Dim:
    parts: dict[Dim, None] = {}
    for d in (a, b):
        parts.update(dict.fromkeys(f.args if (f := _function(d)) is not None and f.kind == kind else (d,)))
    return lower(of_factor(Function(kind, parts)))


def _function(d: Dim) -> Function | None:
    """The function that a dim is."""
    f = d.only if isinstance(d, Polynomial) else None
    return f if isinstance(f, Function) else None


def broadcast(a: Dim, b: Dim) -> Dim:
    """What two dims broadcast to, neither known to be above 1: the other one where one is 1, else both."""
    if a == b or b == 1:
        return a
    if a == 1:
        return b
    for p, q in ((a, b), (b, a)):
        if isinstance(p, int) and (p > 1 or p == 0):
            return p
        f = _function(p)
        if f is not None and f.kind == "broadcast" and q in f.args:
            return p
        # Min(512, q) is q or above 1, and 0 only where q is
        if (
            f is not None
            and f.kind == "Min"
            and q in f.args
            and all(d == q or (isinstance(d, int) and d > 0) for d in f.args)
        ):
            return q
    return lower(of_factor(Function("broadcast", (a, b))))


# ----------------------------------------------------------------------------------------------------------- questions
def equal(a: Dim, b: Dim) -> bool | None:
    difference = _difference(a, b)
    if difference is None:
        return None
    if not difference.terms:
        return True
    if difference.number is not None or _proved(difference, True) or _proved(difference.scaled(-1), True):
        return False
    return None


def less(a: Dim, b: Dim) -> bool | None:
    difference = _difference(b, a)
    if difference is None:
        return None
    if _proved(difference, strictly=True):
        return True
    return False if _proved(difference.scaled(-1)) else None


def _difference(a: Dim, b: Dim) -> Polynomial | None:
    """a - b, None where that would be too long."""
    p, q = lift(a), lift(b)
    return p.plus(q, -1) if len(p.terms) + len(q.terms) <= _LONGEST else None


def divides(a: Dim, b: Dim) -> bool | None:
    q = lift(b).divided(lift(a))
    if q is None:
        return None
    fractions = [m for m, c in q.terms.items() if not isinstance(c, int)]
    if not fractions:
        return True
    return False if fractions == [ONE] else None


def _proved(p: Polynomial, strictly: bool = False) -> bool:
    """Whether a polynomial is provably 0 or more (above 0: `strictly`)."""
    return _Proof().at_least(p, _DEEPEST, strictly)


class _Proof:
    """One search for a proof, which gives up after so many steps."""

    def __init__(self) -> None:
        self.steps = _MOST_STEPS

    def at_least(self, p: Polynomial, depth: int, strictly: bool = False) -> bool:
        """Whether a polynomial is provably 0 or more (above 0: `strictly`)."""
        self.steps -= 1
        if len(p.terms) > _LONGEST or not depth or self.steps < 0:
            return False
        if all(m == ONE or (c > 0 and all(self.not_negative(f, depth) for f, _ in m)) for m, c in p.terms.items()):
            lowest = p.terms.get(ONE, 0)
            if lowest > 0 or (lowest == 0 and not strictly):
                return True
        return self.relaxed(p, depth, strictly)

    def not_negative(self, f: str | Function, depth: int) -> bool:
        """Whether a factor cannot be below 0."""
        if isinstance(f, str) or f.kind == "broadcast":
            return True
        enough = any if f.kind == "Max" else all
        return enough(self.at_least(lift(a), depth - 1) for a in f.args)

    def relaxed(self, p: Polynomial, depth: int, strictly: bool) -> bool:
        """The same question for something that is no larger: one rounding or choice in the sum replaced by its bound."""
        for m, c in p.terms.items():
            f = _alone(m)
            if f is None:
                continue
            rest = Polynomial({n: d for n, d in p.terms.items() if n is not m})
            if f.kind == "floor":
                y = lift(f.args[0])
                loss = Fraction(0) if c < 0 else 1 - Fraction(1, y.denominator)
                return self.at_least(rest.plus(y.plus(lift(loss), -1), c), depth - 1, strictly)
            # its value is one of its arguments; a Max that counts positively is at least each of them
            enough = any if f.kind == ("Max" if c > 0 else "Min") else all
            return enough(self.at_least(rest.plus(lift(a), c), depth - 1, strictly) for a in f.args)
        return False


# ------------------------------------------------------------------------------------------------------------- reading
def operation(d: Dim) -> tuple[str, tuple[Dim, ...]] | None:
    """The operator and operands that compute an expression; None where no operator on whole numbers does."""
    f = _function(d)
    if f is not None:
        if f.kind == "floor":
            p = lift(f.args[0])
            return "Div", (lower(p.scaled(p.denominator)), p.denominator)
        return None if f.kind == "broadcast" else (f.kind, f.args)
    p = lift(d)
    k = p.denominator
    if k > 1:
        return "Div", (lower(p.scaled(k)), k)
    terms = [Polynomial({m: c}) for m, c in p.terms.items()]
    if len(terms) > 1:
        minus = [t for t in terms if t.number is None and min(t.terms.values()) < 0]
        if minus and len(minus) < len(terms):
            rest = Polynomial({m: c for t in terms if t not in minus for m, c in t.terms.items()})
            return "Sub", (lower(rest), *(lower(t.scaled(-1)) for t in minus))
        return "Add", tuple(map(lower, sorted(terms, key=lambda t: (t.number is not None, str(t)))))
    ((m, c),) = p.terms.items()
    factors = [lower(of_factor(f)) for f, n in m for _ in range(n)]
    return "Mul", (*factors, *([c] if c != 1 else []))
