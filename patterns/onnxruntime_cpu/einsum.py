"""Einsum as what it is: a matrix product, a sum, a transposition. Runtimes run these faster, and rules know them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from graphopt.patterns.simplifying.transpose import transposed
from graphopt.rewrite import Str, op, rule
from graphopt.shapes import same_dims


def _terms(equation: str, *xs: Any) -> tuple[list[str], str] | str:
    """The letters of each operand and of the result; why not, where they are not one per dim."""
    left, arrow, out = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow or "." in equation:
        return "the result is not spelled out"
    if any(len(set(t)) < len(t) for t in (*terms, out)):
        return "a diagonal"
    if len(terms) != len(xs) or any(x.rank != len(t) for x, t in zip(xs, terms, strict=True)):
        return "the ranks are not known to be those of the equation"
    return terms, out


def _product(x: Any, y: Any, a: str, b: str, out: str) -> Any:
    """The matrix product of two operands with these letters; why not, where there is none."""
    summed = [c for c in a if c in b and c not in out]
    if len(summed) != 1 or set(a + b) != {*out, *summed}:
        return "not one dim of both that is summed over"
    if not same_dims(x.shape[a.index(summed[0])], y.shape[b.index(summed[0])]):
        return "the dims that are summed over are not known to be the same"
    if out[-1:] not in b or out[-1:] in a:
        x, y, a, b = y, x, b, a
    rows, columns = [c for c in out if c not in b], [c for c in out if c not in a]
    if not rows or not columns:
        return "no rows or no columns"
    m, n, k = rows[-1], columns[-1], summed[0]
    batch = [c for c in out if c not in (m, n)]
    result = _arranged(x, a, [*batch, m, k]) @ _arranged(y, b, [*batch, k, n])
    return transposed(result, [[*batch, m, n].index(c) for c in out])


def _arranged(x: Any, letters: str, wanted: list[str]) -> Any:
    """An operand with its dims in this order, and ones for those that it lacks; in front, it may lack them."""
    has = list(letters)
    wanted = wanted[next(i for i, c in enumerate(wanted) if c in letters) :]
    for before, c in pairwise(wanted):
        if c not in has:
            has.insert(has.index(before) + 1, c)
    ones = [i for i, c in enumerate(has) if c not in letters]
    # the ones first: a transposition right in front of a product is done by it
    return transposed(op.Unsqueeze(x, axes=ones) if ones else x, [has.index(c) for c in wanted])


@rule
def einsum_of_one(x, e: Str):
    """An Einsum of one operand sums over dims, and orders the others."""
    yield op.Einsum(x, equation=e)
    found = _terms(e, x)
    if isinstance(found, str):
        return found
    ((term,), out) = found
    if not set(out) <= set(term):
        return "not dims of x"
    gone = [i for i, c in enumerate(term) if c not in out]
    rest = [c for c in term if c in out]
    yield transposed(op.ReduceSum(x, axes=gone, keepdims=0) if gone else x, [rest.index(c) for c in out])


@rule
def einsum_of_two(x, y, e: Str):
    """An Einsum that sums over one dim of two operands is a matrix product."""
    yield op.Einsum(x, y, equation=e)
    found = _terms(e, x, y)
    if isinstance(found, str):
        return found
    ((a, b), out) = found
    product = _product(x, y, a, b, out)
    if isinstance(product, str):
        return product
    yield product


@rule
def einsum_of_three(x, y, z, e: Str):
    """An Einsum of three operands that sums over one dim after the other is two matrix products."""
    yield op.Einsum(x, y, z, equation=e)
    found = _terms(e, x, y, z)
    if isinstance(found, str):
        return found
    ((a, b, c), out) = found
    inner = "".join(k for k in (*a, *(k for k in b if k not in a)) if k in out or k in c)
    if isinstance(why := _product(x, y, a, b, inner), str):
        return why
    yield op.Einsum(op.Einsum(x, y, equation=f"{a},{b}->{inner}"), z, equation=f"{inner},{c}->{out}")
