"""Dims: arithmetic on them, and questions that are answered True, False, or None where nobody can tell.

A dim is an int, a name, or a `Polynomial` over names and roundings; all dims are integers of 0 or more. Elements of shape
tensors are computed in the same way; they may be negative and, where a tensor holds floats, fractions.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeGuard

from graphopt.ir.node import Dim, Shape
from graphopt.shapes import expressions
from graphopt.shapes.polynomial import Function, Polynomial, lift, lower, names_of, size_of

#: Names that exporters write for "I do not know"; they say nothing about equality.
ANONYMOUS = frozenset({"?", "None", "-1", "unknown", "*"})
#: How the names begin that inference gives to dims of which nothing is known.
FRESH = "?"
_REMEMBERED = 1 << 14
#: Expressions with more parts than this are given up.
_LONGEST = 200


def is_anonymous(d: Dim) -> bool:
    """Whether a dim is a name that nobody declared, or an expression with one in it; also where nothing is known."""
    if isinstance(d, int):
        return False
    if isinstance(d, str):
        return d.startswith(FRESH)
    return d is None or any(n.startswith(FRESH) for n in names_in(d))


def names_in(d: Dim) -> frozenset[str]:
    """The names that a dim is made of."""
    return names_of(d)


def too_long(d: Dim) -> bool:
    """Whether an expression has grown beyond what anybody can use."""
    return isinstance(d, Polynomial) and d.size > _LONGEST


def complexity(d: Dim) -> int:
    """Orders dims that are equal by how much they tell: ints, declared names, expressions, and what is anonymous last."""
    if isinstance(d, (int, Fraction)):
        return 0
    if d is None:
        return 1 << 30
    if isinstance(d, str):
        return 1 << 20 if d.startswith(FRESH) else 1
    return (1 << 21 if is_anonymous(d) else 2) + size_of(d)


# ---------------------------------------------------------------------------------------------------------- arithmetic
def _slow(name: str, *dims: Dim) -> Dim:
    """Ask the module that works with polynomials, once for each question; sums aside, nothing is known of what is too long."""
    return None if name not in ("add", "sub") and any(map(too_long, dims)) else _remembered(name, dims)


@lru_cache(_REMEMBERED)
def _remembered(name: str, dims: tuple[Dim, ...]) -> Any:
    return getattr(expressions, name)(*dims)


def add(a: Dim, b: Dim) -> Dim:
    if a is None or b is None:
        return None
    if isinstance(a, int):
        if isinstance(b, int):
            return a + b
        if a == 0:
            return b
    elif isinstance(b, int) and b == 0:
        return a
    return _slow("add", a, b)


def sub(a: Dim, b: Dim) -> Dim:
    if a is None or b is None:
        return None
    if isinstance(b, int):
        if isinstance(a, int):
            return a - b
        if b == 0:
            return a
    if a == b:
        return 0
    return _slow("sub", a, b)


def mul(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int):
        if isinstance(b, int):
            return a * b
        if a == 0:
            return 0
        if a == 1:
            return b
    elif isinstance(b, int):
        if b == 0:
            return 0
        if b == 1:
            return a
    if a is None or b is None:
        return None
    return _slow("mul", a, b)


def floordiv(a: Dim, b: Dim) -> Dim:
    """a / b, rounded towards minus infinity; None where b may be 0 or less."""
    if a is None or b is None:
        return None
    if isinstance(b, int):
        if b <= 0:
            return None
        if isinstance(a, int):
            return a // b
        if b == 1:
            return a
    elif a == 0 or a == b:
        return int(a == b) if less(0, b) else None
    return _slow("floordiv", a, b)


def ceildiv(a: Dim, b: Dim) -> Dim:
    """a / b, rounded towards infinity; None where b may be 0 or less."""
    if isinstance(a, int) and isinstance(b, int) and b > 0:
        return -(-a // b)
    if not isinstance(b, int):
        return None
    return floordiv(add(a, b - 1), b)


def floor(a: Dim) -> Dim:
    """A number, or an expression that need not be whole, rounded towards minus infinity."""
    return a if a is None or isinstance(a, (int, str)) else _slow("rounded", a)


def ceil(a: Dim) -> Dim:
    """The same rounded towards infinity."""
    return a if a is None or isinstance(a, (int, str)) else _slow("rounded_up", a)


def exact_div(a: Dim, b: Dim) -> Dim:
    """a / b where something else says that there is no rest, so that 'N/2' is whole; None where it is no polynomial."""
    if a is None or b is None or b == 0:
        return None
    if isinstance(a, int) and isinstance(b, int):
        return a // b if a % b == 0 else None
    if b == 1:
        return a
    return _slow("exact_div", a, b)


def mod(a: Dim, b: Dim) -> Dim:
    """The rest of a floor division by a positive number, written as a - b*floor(a/b)."""
    if a is None or b is None or not isinstance(b, int) or b <= 0:
        return None
    if isinstance(a, int):
        return a % b
    a = _slow("without_multiples", a, b)
    return sub(a, mul(b, floordiv(a, b)))


def minimum(a: Dim, b: Dim) -> Dim:
    return _either("minimum", a, b, a, b)


def maximum(a: Dim, b: Dim) -> Dim:
    return _either("maximum", a, b, b, a)


def _either(name: str, a: Dim, b: Dim, small: Dim, large: Dim) -> Dim:
    """`small` where a <= b, `large` where a >= b."""
    if a is None or b is None:
        return None
    if a == b:
        return a
    if less_equal(a, b):
        return small
    if less_equal(b, a):
        return large
    return _slow(name, a, b)


def product(dims: Iterable[Dim]) -> Dim:
    """The number of elements of a shape."""
    total: Dim = 1
    for d in dims:
        total = mul(total, d)
    return total


def broadcast_dims(a: Dim, b: Dim) -> Dim:
    """The dim that two broadcast to. One of them may be 1; a number above 1 wins, since anything else could not run.

    Raises ValueError where they can never be broadcast.
    """
    if a == b:
        return a
    if isinstance(a, int):
        if a == 1:
            return b
        if isinstance(b, int):
            if b == 1:
                return a
            raise ValueError(f"{a} and {b} cannot be broadcast")
        return a
    if isinstance(b, int):
        return a if b == 1 else b
    if a is None or b is None:
        return None
    if less(1, a):
        return a
    if less(1, b):
        return b
    return _slow("broadcast", *sorted((a, b), key=str))


def broadcast(a: Shape | None, b: Shape | None) -> Shape | None:
    """The shape of an elementwise result (ONNX multidirectional broadcasting); None where the rank is unknown.

    Raises ValueError where the shapes can never be broadcast.
    """
    if a is None or b is None:
        return None
    if a == b and None not in a:
        return a
    if len(a) < len(b):
        a, b = b, a
    extra = len(a) - len(b)
    try:
        joined = tuple([p if p == q or q == 1 else broadcast_dims(p, q) for p, q in zip(a[extra:], b, strict=True)])
    except ValueError:
        raise ValueError(f"shapes {a} and {b} cannot be broadcast") from None
    return a if joined == a[extra:] and None not in joined else a[:extra] + joined


# ----------------------------------------------------------------------------------------------------------- questions
def same_dims(a: Dim, b: Dim) -> bool | None:
    """Whether two dims are equal."""
    if a is None or b is None:
        return None
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    if a == b:
        return True
    if isinstance(a, str) and isinstance(b, (str, int)):
        return False if isinstance(b, int) and b < 0 else None
    if isinstance(b, str) and isinstance(a, int):
        return False if a < 0 else None
    return _slow("equal", a, b)


def less(a: Dim, b: Dim) -> bool | None:
    """Whether a < b."""
    if a is None or b is None:
        return None
    if isinstance(a, int) and isinstance(b, int):
        return a < b
    if isinstance(a, int) and isinstance(b, str):
        return True if a < 0 else None
    if isinstance(a, str) and isinstance(b, int):
        return False if b <= 0 else None
    return _slow("less", a, b)


def less_equal(a: Dim, b: Dim) -> bool | None:
    """Whether a <= b."""
    answer = less(b, a)
    return None if answer is None else not answer


def as_size(d: Dim) -> Dim:
    """A computed number where it is the size of a dim; None where it may be negative."""
    return d if d is not None and less(d, 0) is False else None


def divides(a: Dim, b: Dim) -> bool | None:
    """Whether a divides b without a rest."""
    if a is None or b is None or a == 0:
        return None
    if isinstance(a, int) and isinstance(b, int):
        return b % a == 0
    if a == 1 or a == b:
        return True
    return _slow("divides", a, b)


def same_shape(a: Shape | None, b: Shape | None) -> bool | None:
    """Whether two shapes are equal: True, False, or None where nobody can tell."""
    if a is None or b is None:
        return None
    if len(a) != len(b):
        return False
    if a == b and None not in a:
        return True
    answers = [same_dims(p, q) for p, q in zip(a, b, strict=True)]
    if False in answers:
        return False
    return None if None in answers else True


def same_size(a: Shape | None, b: Shape | None) -> bool | None:
    """Whether two shapes hold equally many elements."""
    if a is None or b is None:
        return None
    return same_dims(product(a), product(b))


def is_static(shape: Shape | None) -> TypeGuard[tuple[int, ...]]:
    """Whether every dim is a number."""
    return shape is not None and all(isinstance(d, int) for d in shape)


def substitute(d: Dim, values: dict[str, Dim]) -> Dim:
    """An expression with names replaced; rounding and comparisons are simplified again as in the arithmetic."""
    if isinstance(d, str):
        return values.get(d, d)
    if not isinstance(d, Polynomial) or d.names.isdisjoint(values):
        return d
    total: Dim = 0
    for m, c in d.terms.items():
        term: Dim = c
        for f, n in m:
            factor = values.get(f, f) if isinstance(f, str) else _substituted(f, values)
            for _ in range(n):
                term = mul(term, factor)
        total = add(total, term)
    return total


def _substituted(f: Function, values: dict[str, Dim]) -> Dim:
    if f.kind == "floor":
        p = lift(f.args[0])
        return floordiv(substitute(lower(p.scaled(p.denominator)), values), p.denominator)
    first, *others = [substitute(a, values) for a in f.args]
    combine = {"Max": maximum, "Min": minimum, "broadcast": broadcast_dims}[f.kind]
    for a in others:
        try:
            first = combine(first, a)
        except ValueError:  # can never be broadcast
            return None
    return first


def operation_of(d: Dim) -> tuple[str, tuple[Dim, ...]] | None:
    """The ONNX operator on whole numbers, and its operands, that compute an expression; None where there is none.

    More than two operands are combined from left to right. Div rounds towards 0, so its dividend must not be negative.
    """
    if d is None or isinstance(d, (int, str, Fraction)):
        return None
    found: tuple[str, tuple[Dim, ...]] | None = _slow("operation", d)
    if found is not None and found[0] == "Div" and less(found[1][0], 0) is not False:
        return None
    return found
