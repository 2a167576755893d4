"""Gemm with constant weights takes in factors, shifts, normalisations and tensors beside it."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.patterns._elementwise import FLOATS, within
from graphopt.patterns._weights import beside, per_column, scaled
from graphopt.patterns._windows import (
    belongs_in_front,
    moderate,
    normalisation,
    only_first_output,
    refuses_weights,
    survives,
    wide,
)
from graphopt.rewrite import Attrs, Const, Float, Maybe, Tensor, any_of, op, rule
from graphopt.shapes import same_dims, same_shape


def _columns(attrs: dict[str, Any]) -> int:
    """Which axis of Gemm's weights the columns of the result are."""
    return 0 if attrs.get("transB") else 1


@rule
def gemm_times_factor(x, w: Const["_ _"], b: Maybe[Const], k: Const, a: Attrs):
    """A factor per column after Gemm goes into its weights and bias."""
    yield op.Gemm(x, w, b, **a) * k
    axis = _columns(a)
    f, row = per_column(k, 2, w.shape[axis]), None if b is None else per_column(b, 2, w.shape[axis])
    if f is None or (row is None) != (b is None):
        return "not one finite number per column"
    if why := refuses_weights(x, w):
        return why
    w_times_k = scaled(w, f, axis)
    if w_times_k is None:
        return "the weights would become too small for their dtype"
    yield op.Gemm(x, w_times_k, None if b is None else row * f, **a)


@rule
def gemm_over_divisor(x, w: Const["_ _"], b: Maybe[Const], k: Const, a: Attrs):
    """A divisor per column after Gemm goes into its weights and bias."""
    yield op.Gemm(x, w, b, **a) / k
    axis = _columns(a)
    f, row = per_column(k, 2, w.shape[axis]), None if b is None else per_column(b, 2, w.shape[axis])
    if f is None or not f.all() or (row is None) != (b is None):
        return "not one finite number per column"
    if why := refuses_weights(x, w):
        return why
    w_over_k = scaled(w, 1 / f, axis)
    if w_over_k is None:
        return "the weights would become too small for their dtype"
    yield op.Gemm(x, w_over_k, None if b is None else row / f, **a)


@rule
def gemm_plus_shift(x, w: "_ _", b: Maybe[Const], p: Const, m: Const, a: Attrs):
    """A constant per column that is added to or subtracted from Gemm goes into its bias."""
    y = op.Gemm(x, w, b, **a)
    yield any_of(y + p, y - m)
    n = w.shape[_columns(a)]
    if not isinstance(n, int) or x.dtype not in FLOATS:
        return "the columns are not known"
    s, row = per_column(m if p is None else p, 2, n), np.zeros(n) if b is None else per_column(b, 2, n)
    if s is None or row is None:
        return "not one finite number per column"
    bias = row * a["beta"] + (s if m is None else -s)
    yield op.Gemm(x, w, bias, **{**a, "beta": 1.0})


@rule
def gemm_plus_tensor(x, w, t, a: Attrs):
    """What is added to a Gemm without bias is its bias."""
    y = op.Gemm(x, w, **a)
    yield y + t
    if not within(t.shape, y.shape):
        return "may broadcast the product up"
    if x.dtype not in FLOATS and a["alpha"] % 1:
        return "integers are cut off after the product is scaled, not after the sum"
    yield op.Gemm(x, w, t, **{**a, "beta": 1.0})


@rule
def batch_norm_of_gemm(
    x,
    w: Const["_ _"],
    b: Maybe[Const],
    scale: Const,
    shift: Const,
    mean: Const,
    var: Const,
    eps: Float,
    a: Attrs,
):
    """A normalisation with constant statistics after Gemm goes into its weights and bias."""
    norm = op.BatchNormalization(op.Gemm(x, w, b, **a), scale, shift, mean, var, epsilon=eps)
    yield norm
    if not only_first_output(norm):
        return "it trains"
    if why := refuses_weights(x, w):
        return why
    axis = _columns(a)
    n = w.shape[axis]
    found, row = normalisation(scale, shift, mean, var, eps, n), np.zeros(n) if b is None else per_column(b, 2, n)
    if found is None or row is None:
        return "not one finite number per column"
    k, c = found
    w_times_k = scaled(w, k, axis)
    if w_times_k is None:
        return "the weights would become too small for their dtype"
    yield op.Gemm(x, w_times_k, row * a["beta"] * k + c, **{**a, "beta": 1.0})


@rule
def gemm_of_factor(x, w: Const["_ _"], b: Maybe[Tensor], k: Const, a: Attrs):
    """A factor per input before Gemm goes into its weights."""
    yield op.Gemm(x * k, w, b, **a)
    axis = 1 - _columns(a)
    f = beside(k, x, 0 if a.get("transA") else 1, w.shape[axis]) if x.rank == 2 else None
    if f is None:
        return "not one finite factor per input"
    if belongs_in_front(k, x):
        return "the factor of a normalisation or an activation"
    if why := refuses_weights(x, w):
        return why
    w_times_k = scaled(w, f, axis)
    if w_times_k is None:
        return "the weights would become too small for their dtype"
    yield op.Gemm(x, w_times_k, b, **a)


@rule
def gemm_of_sum(x, w: Const["_ _"], b: Maybe[Const], c: Const, a: Attrs):
    """A shift per input before Gemm goes into its bias."""
    yield op.Gemm(x + c, w, b, **a)
    axis = _columns(a)
    n = w.shape[axis]
    s = beside(c, x, 0 if a.get("transA") else 1, w.shape[1 - axis]) if x.rank == 2 else None
    row = np.zeros(n) if b is None else per_column(b, 2, n)
    if s is None or row is None:
        return "not one finite shift per input and per column"
    if belongs_in_front(c, x):
        return "the shift of a normalisation"
    if not moderate(s, x.dtype):
        return "so large a shift would cost precision"
    if x.dtype not in FLOATS:
        return "not floats"
    bias = row * a["beta"] + a["alpha"] * (s @ wide(w) if axis else wide(w) @ s)
    yield op.Gemm(x, w, bias, **{**a, "beta": 1.0})


@rule
def gemm_factors(x, w: Const["_ _"], b: Maybe[Const], a: Attrs):
    """Gemm's own factors go into constant weights and bias."""
    yield op.Gemm(x, w, b, **a)
    alpha, beta = a["alpha"], a["beta"]
    if alpha == 1 and beta == 1:
        return "there are none"
    if not alpha or not beta:
        return "a factor of zero"
    if why := refuses_weights(x, w):
        return why
    w_times_alpha = wide(w) * alpha
    if not survives(w_times_alpha, (), w.onnx_dtype):
        return "the weights would become too small for their dtype"
    yield op.Gemm(x, w_times_alpha, None if b is None else wide(b) * beta, **{**a, "alpha": 1.0, "beta": 1.0})


@rule(always=True)
def gemm_between_reshapes(x, s, w: Const["_ _"], b: Maybe[Const], t, a: Attrs, r: Attrs, r2: Attrs):
    """Gemm on a tensor that is made a matrix and back multiplies the tensor itself."""
    rows = op.Reshape(x, s, **r)
    y = op.Gemm(rows, w, b, **a)
    back = op.Reshape(y, t, **r2)
    yield back
    if a["alpha"] != 1 or a["beta"] != 1 or a.get("transA"):
        return "Gemm does more than multiply by the weights and add"
    axis = _columns(a)
    if x.rank is None or x.rank < 3 or rows.rank != 2 or not same_dims(rows.shape[1], x.shape[-1]):
        return "the rows are not known to be those of the tensor"
    if not same_shape(back.shape, (*x.shape[:-1], w.shape[axis])):
        return "the shape is not known to be the tensor's again"
    if y.uses > 1:
        return "the product is used elsewhere"
    if b is not None and not within(b.shape, (1, w.shape[axis])):
        return "not a bias per column"
    product = x @ (w if axis else np.ascontiguousarray(np.asarray(w).T))
    yield product if b is None else product + b
