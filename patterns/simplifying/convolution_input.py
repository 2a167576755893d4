"""Convolutions take in what stands before them: factors, shifts and normalisations per channel."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.patterns._windows import (
    Kernel,
    along,
    belongs_in_front,
    finite,
    moderate,
    normalisation,
    only_first_output,
    refuses_weights,
    unpadded,
    wide,
)
from graphopt.rewrite import Attrs, Const, Float, Maybe, any_of, op, rule
from graphopt.shapes import same_dims


def _per_input(k: Any, x: Any, kernel: Kernel) -> np.ndarray | None:
    """A constant beside `x` as one finite number per input channel; None where it is none, or broadcasts `x` up."""
    f = along(k, 1, kernel.rank, kernel.inputs)
    if f is None or not finite(f):
        return None
    # What is convolved has the kernel's rank. A constant of lower rank leaves that to x, one of the same rank need not.
    if k.ndim == kernel.rank and x.rank != kernel.rank:
        return None
    if k.size > 1 and (x.rank != kernel.rank or not same_dims(x.shape[1], kernel.inputs)):
        return None
    return f


def _in_front(x: Any) -> bool:
    """Whether `x` is a convolution that takes in what follows it."""
    node = x.value.node
    return (
        x.uses == 1 and node is not None and node.op in ("Conv", "ConvTranspose") and node.inputs[1].const is not None
    )


@rule
def convolution_of_product(x, w: Const, b: Maybe[Const], k: Const, a: Attrs):
    """A factor per channel before a convolution goes into its weights."""
    deconv = op.ConvTranspose(x * k, w, b, **a)
    yield any_of(op.Conv(x * k, w, b, **a), deconv)
    kernel = Kernel(w, a, deconv)
    f = _per_input(k, x, kernel)
    if f is None:
        return "not one finite factor per channel"
    if belongs_in_front(k, x):
        return "the factor of a normalisation or an activation"
    if why := refuses_weights(x, w):
        return why
    w_times_k = kernel.times_inputs(f)
    if w_times_k is None:
        return "the weights would become too small for their dtype"
    conv = kernel.op
    yield conv(x, w_times_k, b, **a)


@rule
def convolution_of_quotient(x, w: Const, b: Maybe[Const], k: Const, a: Attrs):
    """A divisor per channel before a convolution goes into its weights."""
    deconv = op.ConvTranspose(x / k, w, b, **a)
    yield any_of(op.Conv(x / k, w, b, **a), deconv)
    kernel = Kernel(w, a, deconv)
    f = _per_input(k, x, kernel)
    if f is None or not f.all():
        return "not one finite divisor per channel"
    if why := refuses_weights(x, w):
        return why
    w_over_k = kernel.times_inputs(1 / f)
    if w_over_k is None:
        return "the weights would become too small for their dtype"
    conv = kernel.op
    yield conv(x, w_over_k, b, **a)


@rule
def convolution_of_sum(x, w: Const, b: Maybe[Const], c: Const, a: Attrs):
    """A shift per channel before a convolution without padding goes into its bias."""
    yield op.Conv(x + c, w, b, **a)
    s = _answer(x, w, c, a)
    if isinstance(s, str):
        return s
    b_plus_w_c = s if b is None else wide(b) + s
    yield op.Conv(x, w, b_plus_w_c, **a)


@rule
def convolution_of_difference(x, w: Const, b: Maybe[Const], c: Const, a: Attrs):
    """What is subtracted per channel before a convolution without padding goes into its bias."""
    yield op.Conv(x - c, w, b, **a)
    s = _answer(x, w, c, a)
    if isinstance(s, str):
        return s
    b_minus_w_c = -s if b is None else wide(b) - s
    yield op.Conv(x, w, b_minus_w_c, **a)


@rule
def convolution_of_reversed_difference(x, w: Const, b: Maybe[Const], c: Const, a: Attrs):
    """A subtraction from a constant per channel before a convolution without padding goes into its weights and bias."""
    yield op.Conv(c - x, w, b, **a)
    s = _answer(x, w, c, a)
    if isinstance(s, str):
        return s
    if why := refuses_weights(x, w):
        return why
    b_plus_w_c = s if b is None else wide(b) + s
    yield op.Conv(x, -wide(w), b_plus_w_c, **a)


def _answer(x: Any, w: Any, c: Any, attrs: dict[str, Any]) -> np.ndarray | str:
    """What a convolution makes of `c` alone, per output channel; why not, where that is not one number."""
    kernel = Kernel(w, attrs)
    f = _per_input(c, x, kernel)
    if f is None:
        return "not one finite shift per channel"
    if not unpadded(attrs, w.shape[2:]):
        return "the padding is not shifted"
    if _in_front(x):
        return "the convolution in front takes it without loss"
    if not moderate(f, x.dtype):
        return "so large a shift would cost precision"
    if not w.size:
        return "there are no weights"
    return kernel.answer(f)


@rule
def convolution_of_product_and_sum(x, w: Const, b: Maybe[Const], k: Const, c: Const, a: Attrs):
    """A factor before a shift before a convolution: the shift, divided by it, goes first, the factor into the weights."""
    yield op.Conv(x * k + c, w, b, **a)
    kernel = Kernel(w, a)
    f, s = _per_input(k, x, kernel), _per_input(c, x, kernel)
    if f is None or s is None or not f.all():
        return "not one finite factor and shift per channel"
    if x.dtype not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        return "the dtype has too small a range"
    if why := refuses_weights(x, w):
        return why
    w_times_k = kernel.times_inputs(f)
    if w_times_k is None:
        return "the weights would become too small for their dtype"
    yield op.Conv(x + wide(c) / wide(k), w_times_k, b, **a)


@rule
def convolution_of_batch_norm(
    x, w: Const, b: Maybe[Const], scale: Const, shift: Const, mean: Const, var: Const, eps: Float, a: Attrs
):
    """A normalisation with constant statistics before a convolution without padding goes into its weights and bias."""
    norm = op.BatchNormalization(x, scale, shift, mean, var, epsilon=eps)
    yield op.Conv(norm, w, b, **a)
    if not only_first_output(norm):
        return "it trains"
    if not unpadded(a, w.shape[2:]):
        return "the padding is not normalised"
    if _in_front(x):
        return "the convolution in front takes it without loss"
    if why := refuses_weights(x, w):
        return why
    kernel = Kernel(w, a)
    found = normalisation(scale, shift, mean, var, eps, kernel.inputs)
    if found is None:
        return "not a finite factor per channel"
    k, c = found
    if not moderate(c, x.dtype):
        return "so large a shift would cost precision"
    w_times_k = kernel.times_inputs(k)
    if w_times_k is None:
        return "the weights would become too small for their dtype"
    b_plus_w_c = kernel.answer(c) + (0 if b is None else wide(b))
    yield op.Conv(x, w_times_k, b_plus_w_c, **a)
