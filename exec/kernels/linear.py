"""Products of matrices, and sums over products of tensors."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.dtypes import is_integer
from graphopt.exec.kernels.registry import Array, kernel


@kernel("MatMul", wide=True, products=True)
def matmul(xp: Backend, a: Array, b: Array) -> Array:
    return xp.matmul(a, b)


@kernel("Gemm", wide=True, products=True)
def gemm(
    xp: Backend,
    a: Array,
    b: Array,
    c: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    broadcast: int = 0,
    transA: int = 0,
    transB: int = 0,
) -> Array:
    """alpha·A·B + beta·C, which broadcasts into the product; before opset 7 that had to be announced by `broadcast`."""
    y = xp.matmul(a.T if transA else a, b.T if transB else b)
    if is_integer(y.dtype) and (alpha % 1 or (c is not None and beta % 1)):
        y = alpha * xp.cast(y, np.float64)
        return xp.cast(y if c is None else y + beta * c, a.dtype)
    if alpha != 1:
        y *= xp.number(alpha, y)
    if c is not None and beta != 0:
        y += c if beta == 1 else c * xp.number(beta, c)
    return y


# --------------------------------------------------------------------------------------------------------------- Einsum
#: What an axis stands for: a letter, or a place in what the ellipses stand for, counted from its end.
_Label = str | int
#: A tensor and the labels of its axes.
_Term = tuple[Array, list[_Label]]


@kernel("Einsum", since=12, wide=True)
def einsum(xp: Backend, *inputs: Array, equation: str) -> Array:
    """The terms are multiplied two by two, each time those that leave least, as matrices where something is summed up."""
    labels, result = _parsed(equation, tuple([x.ndim for x in inputs]))
    sizes: dict[_Label, int] = {}
    for x, own in zip(inputs, labels):
        for label, n in zip(own, x.shape):
            if sizes.setdefault(label, n) != n and n != 1:
                if sizes[label] != 1:
                    raise ValueError(f"Einsum: '{label}' is both {sizes[label]} and {n} in '{equation}'")
                sizes[label] = n
    terms = [_diagonal(xp, x, own, sizes) for x, own in zip(inputs, labels)]
    while len(terms) > 1:
        i, j = min(itertools.combinations(range(len(terms)), 2), key=lambda ij: _growth(terms, ij, result, sizes))
        second, first = terms.pop(j), terms.pop(i)
        needed = {*result, *itertools.chain.from_iterable(own for _, own in terms)}
        first, second = (_summed(xp, t, needed | set(other[1])) for t, other in ((first, second), (second, first)))
        terms.append(_product(xp, first, second, needed))
    x, own = _summed(xp, terms[0], set(result))
    return xp.transpose(x, [own.index(label) for label in result])


@functools.lru_cache(256)
def _parsed(equation: str, ranks: tuple[int, ...]) -> tuple[list[list[_Label]], list[_Label]]:
    """The labels of each input's axes and of the result's."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ValueError(f"Einsum: '{equation}' for {len(ranks)} inputs")
    labels = [_labels(term, rank, equation) for term, rank in zip(terms, ranks)]
    ellipsis = sorted({label for own in labels for label in own if isinstance(label, int)})
    if not arrow:
        right = "..." + "".join(sorted(c for c in set(left) if c.isalpha() and left.count(c) == 1))
    before, dots, after = right.partition("...")
    result: list[_Label] = [*before, *(ellipsis if dots else ()), *after]
    unknown = set(result).difference(*labels)
    if unknown or len(set(result)) < len(result):
        raise ValueError(
            f"Einsum: '{equation}' gives no result, as each of its labels must be in a term, and be there once"
        )
    return labels, result


def _labels(term: str, rank: int, equation: str) -> list[_Label]:
    before, dots, after = term.partition("...")
    rest = rank - len(before) - len(after)
    if rest < 0 or (rest and not dots):
        raise ValueError(f"Einsum: a tensor of rank {rank} for '{term}' in '{equation}'")
    return [*before, *range(-rest, 0), *after]


def _diagonal(xp: Backend, x: Array, labels: list[_Label], sizes: dict[_Label, int]) -> _Term:
    """Each label once, without axes of size 1 that others broadcast."""
    if 1 in x.shape:
        kept = [a for a, label in enumerate(labels) if x.shape[a] == sizes[label]]
        x, labels = x.reshape([x.shape[a] for a in kept]), [labels[a] for a in kept]
    while len(set(labels)) < len(labels):
        label = next(c for c in labels if labels.count(c) > 1)
        i = labels.index(label)
        j = labels.index(label, i + 1)
        x = xp.diagonal(x, axis1=i, axis2=j)
        labels = [c for a, c in enumerate(labels) if a not in (i, j)] + [label]
    return x, labels


def _growth(terms: list[_Term], pair: tuple[int, int], result: list[_Label], sizes: dict[_Label, int]) -> int:
    """Elements that a product has more than its factors."""
    first, second = (set(terms[i][1]) for i in pair)
    needed = set(result).union(*(own for i, (_, own) in enumerate(terms) if i not in pair))
    size = [math.prod(sizes[label] for label in own) for own in (first, second, (first | second) & needed)]
    return size[2] - size[0] - size[1]


def _summed(xp: Backend, term: _Term, needed: set[_Label]) -> _Term:
    """Sum up over axes that nobody else needs."""
    x, labels = term
    gone = tuple(a for a, label in enumerate(labels) if label not in needed)
    return (xp.sum(x, axis=gone), [label for label in labels if label in needed]) if gone else term


def _product(xp: Backend, first: _Term, second: _Term, needed: set[_Label]) -> _Term:
    """The product of two tensors, summed up over what both have and nobody needs."""
    (a, left), (b, right) = first, second
    batch = [label for label in left if label in right and label in needed]
    inner = [label for label in left if label in right and label not in needed]
    rows = [label for label in left if label not in right]
    columns = [label for label in right if label not in left]
    labels = batch + rows + columns
    a = xp.transpose(a, [left.index(label) for label in batch + rows + inner])
    b = xp.transpose(b, [right.index(label) for label in batch + inner + columns])
    nb, nr = len(batch), len(batch) + len(rows)
    if not inner:
        return a.reshape(a.shape + (1,) * len(columns)) * b.reshape(
            b.shape[:nb] + (1,) * len(rows) + b.shape[nb:]
        ), labels
    k = math.prod(a.shape[nr:])
    shape = (*a.shape[:nr], *b.shape[nb + len(inner) :])
    y = xp.matmul(
        a.reshape(*a.shape[:nb], math.prod(a.shape[nb:nr]), k), b.reshape(*b.shape[:nb], k, math.prod(shape[nr:]))
    )
    return y.reshape(shape), labels
