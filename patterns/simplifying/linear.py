"""Matrix products with constant weights take in factors, shifts, normalisations and other products beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.patterns._elementwise import FLOATS, normal, within
from graphopt.patterns._windows import (
    along,
    belongs_in_front,
    finite,
    moderate,
    normalisation,
    only_first_output,
    refuses_weights,
    survives,
    wide,
)
from graphopt.rewrite import Attrs, Const, Float, Maybe, Perm, Tensor, any_of, op, rule
from graphopt.rewrite.terms import Constant
from graphopt.shapes import same_dims, same_shape


def _per_column(k: Constant, rank: int | None, n: int) -> np.ndarray | None:
    """A constant beside a tensor [..., n] as one finite number per column; None where it is none, or broadcasts that up."""
    f = along(k, (rank or 1) - 1, rank or 1, n)
    return f if f is not None and finite(f) else None


def _beside(k: Constant, x: Any, axis: int, n: int) -> np.ndarray | None:
    """A constant beside `x`, whose axis of n is summed over, as one finite number each; None where it is none, or may
    broadcast `x` up."""
    if x.rank is None or not x.rank or not same_dims(x.shape[axis], n):
        return None
    f = along(k, axis % x.rank, x.rank, n)
    return f if f is not None and finite(f) else None


def _number(k: Constant, x: Any) -> float | None:
    """The one finite number that a constant beside `x` is; None where it is none, or may broadcast `x` up."""
    n = k.item()
    return float(n) if n is not None and finite(n) and k.ndim <= (x.rank or 0) else None


def _columns(attrs: dict[str, Any]) -> int:
    """Which axis of Gemm's weights the columns of the result are."""
    return 0 if attrs.get("transB") else 1


def _scaled(w: Constant, f: np.ndarray, axis: int = 1) -> np.ndarray | None:
    """Weights with a factor along one axis, that of the columns; None where their dtype cannot hold them well."""
    narrow = None
    if w.onnx_dtype == TensorProto.FLOAT and w.ndim == 2 and (np.abs(f) <= FLOATS[w.onnx_dtype].largest).all():
        narrow = f.astype(np.float32)
    if narrow is not None and np.array_equal(narrow, f):  # then float32 rounds the products as float64 would
        largest = wide(np.maximum(w.max(1 - axis, initial=0), -w.min(1 - axis, initial=0))) * np.abs(f)
        if (largest <= FLOATS[w.onnx_dtype].largest).all():
            return w.array * (narrow if axis else narrow[:, None]) if survives(largest, (0,), w.onnx_dtype) else None
    scaled = wide(w) * (f if axis else f[:, None])
    return scaled if survives(scaled, (axis,), w.onnx_dtype) else None


# ----------------------------------------------------------------------------------------------------------- MatMul
@rule
def product_times_factor(x, w: Const["K N"], b: Const, k: Const):
    """A factor per column after a matrix product goes into its weights."""
    y = x @ w
    yield any_of(y, y + b) * k
    f, shift = _per_column(k, y.rank, w.shape[1]), None if b is None else _per_column(b, y.rank, w.shape[1])
    if f is None or (shift is None) != (b is None):
        return "not one finite number per column"
    if why := refuses_weights(x, w):
        return why
    w_times_k = _scaled(w, f)
    if w_times_k is None:
        return "the weights would become too small for their dtype"
    yield x @ w_times_k if b is None else x @ w_times_k + shift * f


@rule
def product_over_divisor(x, w: Const["K N"], b: Const, k: Const):
    """A divisor per column after a matrix product goes into its weights."""
    y = x @ w
    yield any_of(y, y + b) / k
    f, shift = _per_column(k, y.rank, w.shape[1]), None if b is None else _per_column(b, y.rank, w.shape[1])
    if f is None or not f.all() or (shift is None) != (b is None):
        return "not one finite number per column"
    if why := refuses_weights(x, w):
        return why
    w_over_k = _scaled(w, 1 / f)
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
    shift = None if b is None else _per_column(b, y.rank, w.shape[1])
    if (shift is None) != (b is None):
        return "not one finite shift per column"
    if why := refuses_weights(x, w):
        return why
    f = c.item() if d is None else 1 / c.item()
    w_times_k = _scaled(w, np.array([f]))
    if w_times_k is None:
        return "the weights would become too small for their dtype"
    product = x @ w_times_k if b is None else x @ w_times_k + shift * f
    yield op.Transpose(op.Reshape(product, s, **r), perm=p)


@rule
def left_product_times_factor(x, w: Const["M K"], k: Const):
    """A factor after a matrix product with constant weights on its left goes into them."""
    yield (y := w @ x) * k
    if _per_column(k, y.rank, 1) is None:
        return "not one finite factor"
    if why := refuses_weights(x, w):
        return why
    w_times_k = _scaled(w, wide(k).reshape(1))
    if w_times_k is None:
        return "the weights would become too small for their dtype"
    yield w_times_k @ x


@rule
def product_of_factor(x, w: Const["K N"], k: Const):
    """A factor per input before a matrix product goes into its weights."""
    yield (x * k) @ w
    f = _beside(k, x, -1, w.shape[0])
    if f is None:
        return "not one finite factor per input"
    if belongs_in_front(k, x):
        return "the factor of a normalisation or an activation"
    if why := refuses_weights(x, w):
        return why
    w_times_k = _scaled(w, f, 0)
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
    f = _beside(k, x, -1, w.shape[0])
    if f is None or not f.all():
        return "not one finite divisor per input"
    if why := refuses_weights(x, w):
        return why
    w_over_k = _scaled(w, 1 / f, 0)
    if w_over_k is None:
        return "the weights would become too small for their dtype"
    yield x @ w_over_k


@rule
def product_of_sum_plus_shift(x, w: Const["K N"], c: Const, b: Const):
    """A shift per input before a matrix product goes into the shift after it."""
    y = (x + c) @ w
    yield y + b
    s, shift = _beside(c, x, -1, w.shape[0]), _per_column(b, y.rank, w.shape[1])
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
    shift = None if b is None else _per_column(b, y.rank, m)
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
    found, before = normalisation(scale, shift, mean, var, eps, n), 0 if b is None else _per_column(b, 2, n)
    if found is None or before is None:
        return "not one finite number per column"
    k, c = found
    w_times_k = _scaled(w, k)
    if w_times_k is None:
        return "the weights would become too small for their dtype"
    yield x @ w_times_k + (before * k + c)


# ------------------------------------------------------------------------------------------------------------- Gemm
@rule
def gemm_times_factor(x, w: Const["_ _"], b: Maybe[Const], k: Const, a: Attrs):
    """A factor per column after Gemm goes into its weights and bias."""
    yield op.Gemm(x, w, b, **a) * k
    axis = _columns(a)
    f, row = _per_column(k, 2, w.shape[axis]), None if b is None else _per_column(b, 2, w.shape[axis])
    if f is None or (row is None) != (b is None):
        return "not one finite number per column"
    if why := refuses_weights(x, w):
        return why
    w_times_k = _scaled(w, f, axis)
    if w_times_k is None:
        return "the weights would become too small for their dtype"
    yield op.Gemm(x, w_times_k, None if b is None else row * f, **a)


@rule
def gemm_over_divisor(x, w: Const["_ _"], b: Maybe[Const], k: Const, a: Attrs):
    """A divisor per column after Gemm goes into its weights and bias."""
    yield op.Gemm(x, w, b, **a) / k
    axis = _columns(a)
    f, row = _per_column(k, 2, w.shape[axis]), None if b is None else _per_column(b, 2, w.shape[axis])
    if f is None or not f.all() or (row is None) != (b is None):
        return "not one finite number per column"
    if why := refuses_weights(x, w):
        return why
    w_over_k = _scaled(w, 1 / f, axis)
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
    s, row = _per_column(m if p is None else p, 2, n), np.zeros(n) if b is None else _per_column(b, 2, n)
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
    found, row = normalisation(scale, shift, mean, var, eps, n), np.zeros(n) if b is None else _per_column(b, 2, n)
    if found is None or row is None:
        return "not one finite number per column"
    k, c = found
    w_times_k = _scaled(w, k, axis)
    if w_times_k is None:
        return "the weights would become too small for their dtype"
    yield op.Gemm(x, w_times_k, row * a["beta"] * k + c, **{**a, "beta": 1.0})


@rule
def gemm_of_factor(x, w: Const["_ _"], b: Maybe[Tensor], k: Const, a: Attrs):
    """A factor per input before Gemm goes into its weights."""
    yield op.Gemm(x * k, w, b, **a)
    axis = 1 - _columns(a)
    f = _beside(k, x, 0 if a.get("transA") else 1, w.shape[axis]) if x.rank == 2 else None
    if f is None:
        return "not one finite factor per input"
    if belongs_in_front(k, x):
        return "the factor of a normalisation or an activation"
    if why := refuses_weights(x, w):
        return why
    w_times_k = _scaled(w, f, axis)
    if w_times_k is None:
        return "the weights would become too small for their dtype"
    yield op.Gemm(x, w_times_k, b, **a)


@rule
def gemm_of_sum(x, w: Const["_ _"], b: Maybe[Const], c: Const, a: Attrs):
    """A shift per input before Gemm goes into its bias."""
    yield op.Gemm(x + c, w, b, **a)
    axis = _columns(a)
    n = w.shape[axis]
    s = _beside(c, x, 0 if a.get("transA") else 1, w.shape[1 - axis]) if x.rank == 2 else None
    row = np.zeros(n) if b is None else _per_column(b, 2, n)
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
