"""Products of matrices as Gemm, which adds and transposes on the way."""

from __future__ import annotations

from graphopt.patterns._elementwise import FLOATS, within
from graphopt.rewrite import Attrs, Maybe, Perm, Tensor, any_of, op, rule


@rule
def product_plus_bias(x: "_ _", w: "_ _", b):
    """A product of two matrices with something added is Gemm."""
    y = x @ w
    yield y + b
    if x.dtype not in FLOATS:
        return "not floats"
    if not within(b.shape, y.shape):
        return "may broadcast the product up"
    yield op.Gemm(x, w, b)


@rule
def product_of_transposed(x: "_ _", w: "_ _", p: Perm):
    """A product with a transposed matrix is a Gemm that transposes."""
    left = op.Transpose(x, perm=p) @ w
    yield any_of(left, x @ op.Transpose(w, perm=p))
    if x.dtype not in FLOATS:
        return "not floats"
    if p != [1, 0]:
        return "not transposed"
    trans = {"transA": 1} if left.value is not None else {"transB": 1}
    yield op.Gemm(x, w, **trans)


@rule
def gemm_of_transposed(x: "_ _", w: "_ _", b: Maybe[Tensor], p: Perm, a: Attrs):
    """Gemm transposes its matrices itself."""
    left = op.Gemm(op.Transpose(x, perm=p), w, b, **a)
    yield any_of(left, op.Gemm(x, op.Transpose(w, perm=p), b, **a))
    if p != [1, 0]:
        return "not transposed"
    trans = "transA" if left.value is not None else "transB"
    yield op.Gemm(x, w, b, **{**a, trans: 1 - a[trans]})
