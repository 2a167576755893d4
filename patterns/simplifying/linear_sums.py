"""Sums of matrix products that share an operand are one product."""

from __future__ import annotations

from typing import Any

from onnx import TensorProto

from graphopt.patterns._windows import refuses_weights, survives, wide
from graphopt.rewrite import Attrs, Const, Maybe, op, rule
from graphopt.rewrite.terms import Constant
from graphopt.shapes import same_shape

#: Weights of more elements are not computed anew out of more than two.
_LARGEST = 1 << 24
_TOO_SMALL = "the weights would become too small for their dtype"


def _refuses(x: Any, *weights: Constant) -> str | None:
    """Why new weights must not be made out of these."""
    return next((why for w in weights if (why := refuses_weights(x, w))), None)


@rule
def product_plus_product(x, a: Const["K N"], b: Const["K N"]):
    """Two products of one tensor with weights are one product with their sum."""
    yield x @ a + x @ b
    if why := _refuses(x, a, b):
        return why
    yield x @ (wide(a) + wide(b))


@rule
def product_plus_low_rank(x, w: Const["K N"], a: Const["K R"], b: Const["R N"]):
    """A product and a small correction of it, two products with few columns between them, are one product."""
    yield x @ w + (x @ a) @ b
    if w.size > _LARGEST:
        return "the weights are large"
    if why := _refuses(x, w, a, b):
        return why
    total = wide(w) + wide(a) @ wide(b)
    if not survives(total, (1,), w.onnx_dtype):
        return _TOO_SMALL
    yield x @ total


@rule
def sum_times_weights(x, y, w):
    """The sum of two products with the same right side is a product of the sum."""
    yield x @ w + y @ w
    if x.dtype not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        return "not floats, or of so small a range that the sum may leave it"
    if not same_shape(x.shape, y.shape):
        return "one may be broadcast"
    yield (x + y) @ w


@rule
def gemm_plus_gemm(x, w: Const["_ _"], b: Maybe[Const], w2: Const["_ _"], b2: Maybe[Const], a: Attrs, a2: Attrs):
    """Two Gemms of one matrix with weights are one with their sum."""
    yield op.Gemm(x, w, b, **a) + op.Gemm(x, w2, b2, **a2)
    if a != a2:
        return "transposed or scaled in other ways"
    if why := _refuses(x, w, w2):
        return why
    biases = [wide(c) for c in (b, b2) if c is not None]
    yield op.Gemm(x, wide(w) + wide(w2), sum(biases) if biases else None, **a)
