"""Matrix products with constant weights take in factors, shifts, normalisations and other products beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.patterns._elementwise import FLOATS, normal
from graphopt.patterns._weights import beside, per_column, scaled
from graphopt.patterns._windows import (
    belongs_in_front,
    finite,
    moderate,
    normalisation,
    only_first_output,
    refuses_weights,
    survives,
    wide,
)
from graphopt.rewrite import Attrs, Const, Float, Perm, any_of, op, rule
from graphopt.rewrite.terms import Constant


def _number(k: Constant, x: Any) -> float | None:
    """The one finite number that a constant beside `x` is; None where it is none, or may broadcast `x` up."""
    n = k.item()
    return float(n) if n is not None and finite(n) and k.ndim <= (x.rank or 0) else None


@rule
def product_times_factor(x, w: Const["K N"], b: Const, k: Const):
    """A factor per column after a matrix product goes into its weights."""
    y = x @ w
    yield any_of(y, z := y + b) * k
    if (y if b is None else z).uses > 1:
        return "nothing would be saved, since what is multiplied is used elsewhere"
    f, shift = per_column(k, y.rank, w.shape[1]), None if b is None else per_column(b, y.rank, w.shape[1])
    if f is None or (shift is None) != (b is None):
        return "not one finite number per column"
    if why := refuses_weights(x, w):
        return why
    w_times_k = scaled(w, f)
    if w_times_k is None:
        return "the weights would become too small for their dtype"
    yield x @ w_times_k if b is None else x @ w_times_k + shift * f


@rule
def product_over_divisor(x, w: Const["K N"], b: Const, k: Const):
    """A divisor per column after a matrix product goes into its weights."""
    y = x @ w
    yield any_of(y, z := y + b) / k
    if (y if b is None else z).uses > 1:
        return "nothing would be saved, since what is divided is used elsewhere"
    f, shift = per_column(k, y.rank, w.shape[1]), None if b is None else per_column(b, y.rank, w.shape[1])
    if f is None or not f.all() or (shift is None) != (b is None):
        return "not one finite number per column"
    if why := refuses_weights(x, w):
        return why
    w_over_k = scaled(w, 1 / f)
    if w_over_k is None:
        return "the weights would become too small for their dtype"
    yield x @ w_over_k if b is None else x @ w_over_k + shift / f


@rule
def moved_product_times_factor(x, w: Const["K N"], b: Const, s, r: Attrs, p: Perm, k: Const, d: Const):
    """A factor after a matrix product that is split into heads goes into its weights."""
    y = x @ w
    heads = op.Transpose(op.Reshape(any_of(y, y + b), s, **r), perm=p)
    yield any_of(heads * k, heads / d)
    c = d if k is None else k
    if not c.item() or not finite(c) or c.ndim > len(p):
        return "not one finite factor"
    shift = None if b is None else per_column(b, y.rank, w.shape[1])
    if (shift is None) != (b is None):
        return "not one finite shift per column"
    if why := refuses_weights(x, w):
        return why
    f = c.item() if d is None else 1 / c.item()
    w_times_k = scaled(w, np.array([f]))
    if w_times_k is None:
        return "the weights would become too small for their dtype"
    product = x @ w_times_k if b is None else x @ w_times_k + shift * f
    yield op.Transpose(op.Reshape(product, s, **r), perm=p)


@rule
def left_product_times_factor(x, w: Const["M K"], k: Const):
    """A factor after a matrix product with constant weights on its left goes into them."""
    yield (y := w @ x) * k
    if per_column(k, y.rank, 1) is None:
        return "not one finite factor"
    if why := refuses_weights(x, w):
        return why
    w_times_k = scaled(w, wide(k).reshape(1))
    if w_times_k is None:
        return "the weights would become too small for their dtype"
    yield w_times_k @ x


@rule
def product_of_factor(x, w: Const["K N"], k: Const):
    """A factor per input before a matrix product goes into its weights."""
    yield (x * k) @ w
    f = beside(k, x, -1, w.shape[0])
    if f is None:
        return "not one finite factor per input"
    if belongs_in_front(k, x):
        return "the factor of a normalisation or an activation"
    if why := refuses_weights(x, w):
        return why
    w_times_k = scaled(w, f, 0)
    if w_times_k is None:
        return "the weights would become too small for their dtype"
    yield x @ w_times_k


@rule
def product_of_factors(x, y, c: Const, d: Const):
    """A factor on each side of a matrix product is one factor."""
    yield (x * c) @ (y * d)
    f, g = _number(c, x), _number(d, y)
    if f is None or g is None:
        return "not single finite numbers"
    k = np.array(f * g)
    if x.dtype not in (TensorProto.FLOAT, TensorProto.DOUBLE) or not normal(k, x.dtype):
        return "floats that small products are too coarse for, or the factor is too small or large"
    yield (x * k) @ y


@rule
def product_of_quotient(x, w: Const["K N"], k: Const):
    """A divisor per input before a matrix product goes into its weights."""
    yield (x / k) @ w
    f = beside(k, x, -1, w.shape[0])
    if f is None or not f.all():
        return "not one finite divisor per input"
    if why := refuses_weights(x, w):
        return why
    w_over_k = scaled(w, 1 / f, 0)
    if w_over_k is None:
        return "the weights would become too small for their dtype"
    yield x @ w_over_k


@rule
def product_of_sum_plus_shift(x, w: Const["K N"], c: Const, b: Const):
    """A shift per input before a matrix product goes into the shift after it."""
    y = (x + c) @ w
    yield y + b
    s, shift = beside(c, x, -1, w.shape[0]), per_column(b, y.rank, w.shape[1])
    if s is None or shift is None:
        return "not one finite shift per input and per column"
    if belongs_in_front(c, x):
        return "the shift of a normalisation"
    if not moderate(s, x.dtype):
        return "so large a shift would cost precision"
    if x.dtype not in FLOATS:
        return "not floats"
    yield x @ w + (s @ wide(w) + shift)


@rule
def product_of_product(x, w: Const["K M"], b: Const, w2: Const["M N"]):
    """Two matrix products with constant weights are one, where that multiplies less."""
    y = x @ w
    yield any_of(y, y + b) @ w2
    (k, m), n = w.shape, w2.shape[1]
    if k * n >= k * m + m * n:
        return "one would multiply more than two"
    shift = None if b is None else per_column(b, y.rank, m)
    if (shift is None) != (b is None):
        return "not one finite shift per column"
    if why := refuses_weights(x, w) or refuses_weights(x, w2):
        return why
    w_w2 = wide(w) @ wide(w2)
    if not survives(w_w2, (1,), w.onnx_dtype):
        return "the weights would become too small for their dtype"
    yield x @ w_w2 if b is None else x @ w_w2 + shift @ wide(w2)


@rule
def batch_norm_of_product(
    x, w: Const["K N"], b: Const, scale: Const, shift: Const, mean: Const, var: Const, eps: Float
):
    """A normalisation with constant statistics after a matrix product goes into its weights, and a shift is left."""
    y = x @ w
    norm = op.BatchNormalization(any_of(y, y + b), scale, shift, mean, var, epsilon=eps)
    yield norm
    if y.rank != 2:
        return "the channels are not the columns"
    if not only_first_output(norm):
        return "it trains"
    if why := refuses_weights(x, w):
        return why
    n = w.shape[1]
    found, before = normalisation(scale, shift, mean, var, eps, n), 0 if b is None else per_column(b, 2, n)
    if found is None or before is None:
        return "not one finite number per column"
    k, c = found
    w_times_k = scaled(w, k)
    if w_times_k is None:
        return "the weights would become too small for their dtype"
    yield x @ w_times_k + (before * k + c)
