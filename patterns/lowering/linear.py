"""Products of matrices as Gemm, which adds and transposes on the way."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.cost import ONNXRUNTIME_CPU as TYPICAL
from graphopt.cost import elements_of
from graphopt.patterns._elementwise import FLOATS, within
from graphopt.patterns._windows import refuses_weights
from graphopt.rewrite import Attrs, Axis, Const, Ints, Maybe, Perm, Tensor, any_of, op, rule
from graphopt.rewrite.terms import Constant

#: Elements of weights that are put side by side.
_LARGEST = 1 << 24


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


# --------------------------------------------------------------------------------------------- products side by side
@rule
def two_products(
    x: "... A B K",
    a: Const["K L"],
    p: Const["L"],
    b: Const["K M"],
    q: Const["M"],
):
    """Two products of one tensor with weights, each with a bias, are parts of one."""
    yield x @ a + p, x @ b + q
    merged = _side_by_side(x, (a, b), (p, q), copied=a.shape[1] + b.shape[1], saved=1)
    if isinstance(merged, str):
        return merged
    weights, bias = merged
    yield op.Split(x @ weights + bias, split=[a.shape[1], b.shape[1]], axis=-1, outputs=2)


@rule
def third_product(
    x: "... A B K",
    a: Const["K L"],
    p: Const["L"],
    split: Ints,
    axis: Axis,
    b: Const["K M"],
    q: Const["M"],
):
    """A third product of the tensor goes beside two: query, key and value."""
    first, second = op.Split(x @ a + p, split=split, axis=axis, outputs=2)
    yield first, second, x @ b + q
    if axis != x.rank - 1:
        return "the parts are not columns"
    merged = _side_by_side(x, (a, b), (p, q), copied=b.shape[1], saved=2)
    if isinstance(merged, str):
        return merged
    weights, bias = merged
    yield op.Split(x @ weights + bias, split=[*split, b.shape[1]], axis=-1, outputs=3)


def _side_by_side(
    x: Any, weights: tuple[Constant, ...], biases: tuple[Constant, ...], copied: int, saved: int
) -> tuple[np.ndarray, np.ndarray] | str:
    """Weights and biases beside each other; why not, where that is not wanted.

    One product is computed no faster than two, but there are fewer nodes; for that the parts of it are copied.

    Args:
        copied: columns that are read and written once more.
        saved: how many nodes fewer.
    """
    if sum(w.size for w in weights) > _LARGEST:
        return "the weights are large"
    if 2 * elements_of((*x.shape[:-1], copied)) * weights[0].itemsize > saved * TYPICAL.node * TYPICAL.bandwidth:
        return "copying the parts would cost more than the nodes that are saved"
    if why := next((why for w in weights if (why := refuses_weights(x, w))), None):
        return why
    if any(w.uses > 1 for w in weights):
        return "the weights are used elsewhere too"
    return np.concatenate(weights, 1), np.concatenate(biases)
