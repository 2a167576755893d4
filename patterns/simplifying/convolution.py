"""Convolutions take in what follows them: factors, shifts and normalisations per channel, pointwise convolutions; and padding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphopt.patterns._windows import (
    Kernel,
    added_pads,
    along,
    finite,
    normalisation,
    only_first_output,
    refuses_weights,
    survives,
    unpadded,
    wide,
)
from graphopt.rewrite import Attrs, Const, Float, Ints, Maybe, Tensor, any_of, op, rule
from graphopt.rewrite.terms import Call, Constant


@rule
def convolution_times_factor(x, w: Const, b: Maybe[Const], k: Const, a: Attrs):
    """A factor per channel after a convolution goes into its weights and bias."""
    deconv = op.ConvTranspose(x, w, b, **a)
    yield any_of(op.Conv(x, w, b, **a), deconv) * k
    kernel = Kernel(w, a, deconv)
    f = along(k, 1, kernel.rank, kernel.outputs)
    if f is None or not finite(f):
        return "not one finite factor per channel"
    if why := refuses_weights(x, w):
        return why
    w_times_k, b_times_k = kernel.times_outputs(f), None if b is None else wide(b) * f
    if w_times_k is None:
        return "the weights would become too small for their dtype"
    conv = kernel.op
    yield conv(x, w_times_k, b_times_k, **a)


@rule
def convolution_over_divisor(x, w: Const, b: Maybe[Const], k: Const, a: Attrs):
    """A divisor per channel after a convolution goes into its weights and bias."""
    deconv = op.ConvTranspose(x, w, b, **a)
    yield any_of(op.Conv(x, w, b, **a), deconv) / k
    kernel = Kernel(w, a, deconv)
    f = along(k, 1, kernel.rank, kernel.outputs)
    if f is None or not finite(f) or not f.all():
        return "not one finite divisor per channel"
    if why := refuses_weights(x, w):
        return why
    w_over_k, b_over_k = kernel.times_outputs(1 / f), None if b is None else wide(b) / f
    if w_over_k is None:
        return "the weights would become too small for their dtype"
    conv = kernel.op
    yield conv(x, w_over_k, b_over_k, **a)


@rule
def convolution_plus_shift(x, w, b: Maybe[Const], c: Const, a: Attrs):
    """A shift per channel after a convolution goes into its bias."""
    deconv = op.ConvTranspose(x, w, b, **a)
    yield any_of(op.Conv(x, w, b, **a), deconv) + c
    s = _shift(w, c, a, deconv)
    if s is None:
        return "not one finite shift per channel"
    conv, b_plus_c = Kernel(w, a, deconv).op, s if b is None else wide(b) + s
    yield conv(x, w, b_plus_c, **a)


@rule
def convolution_minus_shift(x, w, b: Maybe[Const], c: Const, a: Attrs):
    """What is subtracted per channel after a convolution goes into its bias."""
    deconv = op.ConvTranspose(x, w, b, **a)
    yield any_of(op.Conv(x, w, b, **a), deconv) - c
    s = _shift(w, c, a, deconv)
    if s is None:
        return "not one finite shift per channel"
    conv, b_minus_c = Kernel(w, a, deconv).op, -s if b is None else wide(b) - s
    yield conv(x, w, b_minus_c, **a)


@rule
def shift_minus_convolution(x, w: Const, b: Maybe[Const], c: Const, a: Attrs):
    """A convolution subtracted from a constant per channel has its weights negated."""
    deconv = op.ConvTranspose(x, w, b, **a)
    yield c - any_of(op.Conv(x, w, b, **a), deconv)
    s = _shift(w, c, a, deconv)
    if s is None:
        return "not one finite shift per channel"
    if why := refuses_weights(x, w):
        return why
    conv, c_minus_b = Kernel(w, a, deconv).op, s if b is None else s - wide(b)
    yield conv(x, -wide(w), c_minus_b, **a)


def _shift(w: Any, c: Constant, attrs: Mapping[str, Any], deconv: Call) -> np.ndarray | None:
    """The finite constant per output channel that `c` is after a convolution, None where it is none."""
    if not w.dtype or w.shape is None or not all(isinstance(d, int) for d in w.shape[:2]):
        return None
    kernel = Kernel(w, attrs, deconv)
    s = along(c, 1, kernel.rank, kernel.outputs)
    return s if s is not None and finite(s) else None


@rule
def batch_norm_of_convolution(
    x, w: Const, b: Maybe[Const], scale: Const, shift: Const, mean: Const, var: Const, eps: Float, a: Attrs
):
    """A normalisation with constant statistics after a convolution goes into its weights and bias."""
    deconv = op.ConvTranspose(x, w, b, **a)
    norm = op.BatchNormalization(any_of(op.Conv(x, w, b, **a), deconv), scale, shift, mean, var, epsilon=eps)
    yield norm
    if not only_first_output(norm):
        return "it trains"
    if why := refuses_weights(x, w):
        return why
    kernel = Kernel(w, a, deconv)
    found = normalisation(scale, shift, mean, var, eps, kernel.outputs)
    if found is None:
        return "not a finite factor per channel"
    k, c = found
    w_times_k, b_times_k_plus_c = kernel.times_outputs(k), c if b is None else wide(b) * k + c
    if w_times_k is None:
        return "the weights would become too small for their dtype"
    conv = kernel.op
    yield conv(x, w_times_k, b_times_k_plus_c, **a)


@rule
def pointwise_convolution_of_convolution(
    x, w: Const, b: Maybe[Const], w2: Const, b2: Maybe[Const], a: Attrs, a2: Attrs
):
    """A convolution and a pointwise one after it are one, where that multiplies less."""
    yield op.Conv(op.Conv(x, w, b, **a), w2, b2, **a2)
    steps = [*w2.shape[2:], *(a2.get("strides") or ())]
    if any(d != 1 for d in steps) or not unpadded(a2, w2.shape[2:]):
        return "the second is not pointwise"
    if a["group"] != 1 or a2["group"] != 1:
        return "groups"
    if why := refuses_weights(x, w) or refuses_weights(x, w2):
        return why
    out, inner = w2.shape[:2]
    taps = w.size // inner
    if out * taps >= inner * taps + out * inner:
        return "one would multiply more than two"
    mix = wide(w2).reshape(out, inner)
    w_w2 = (mix @ wide(w).reshape(inner, taps)).reshape(out, *w.shape[1:])
    if not survives(w_w2, (0,), w.onnx_dtype):
        return "the weights would become too small for their dtype"
    b_w2 = b2 if b is None else mix @ wide(b) + (0 if b2 is None else wide(b2))
    yield op.Conv(x, w_w2, b_w2, **a)


@rule
def convolution_of_pad(x, w, b: Maybe[Tensor], p: Ints, v: Maybe[Float], axes: Maybe[Ints], a: Attrs):
    """Zeros put around the input of a convolution are its own padding."""
    yield op.Conv(op.Pad(x, pads=p, value=v, axes=axes, mode="constant"), w, b, **a)
    if v:
        return "not padded with zeros"
    if w.shape is None:
        return "the rank is not known"
    pads = added_pads(p, axes, len(w.shape), a)
    if isinstance(pads, str):
        return pads
    yield op.Conv(x, w, b, **{**a, "auto_pad": "NOTSET", "pads": pads})


@rule
def convolution_zero_bias(x, w, b: Const, a: Attrs):
    """A bias of zeros says nothing."""
    deconv = op.ConvTranspose(x, w, b, **a)
    yield any_of(op.Conv(x, w, b, **a), deconv)
    if np.any(b):
        return "not zero"
    conv = op.Conv if deconv.value is None else op.ConvTranspose
    yield conv(x, w, **a)
