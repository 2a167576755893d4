"""Pointwise convolutions that are matrix products: of rows that were turned into an image, and of channels that were moved."""

from __future__ import annotations

import numpy as np

from graphopt.patterns._shapes import target_of
from graphopt.patterns._weights import per_column
from graphopt.patterns._windows import pointwise, refuses_weights, survives, wide
from graphopt.rewrite import Attrs, Const, Int, Maybe, Perm, any_of, op, rule
from graphopt.shapes import same_dims


@rule
def convolution_of_product_rows(
    x, w: Const["K M"], c: Const, p: Perm, s, r: Attrs, w2: Const, b: Maybe[Const], a: Attrs
):
    """A pointwise convolution of an image whose pixels are the rows of a matrix product goes into its weights."""
    y = x @ w
    rows = any_of(y, y + c)
    channels = op.Transpose(rows, perm=p)
    image = op.Reshape(channels, s, **r)
    conv = op.Conv(image, w2, b, **a)
    yield conv
    if p != [0, 2, 1] or not pointwise(w2, a):
        return "not rows that become channels, or the convolution is not pointwise"
    (k, m), n = w.shape, w2.shape[0]
    if image.shape is None or not same_dims(image.shape[1], m):
        return "the channels of the image are not known to be the columns"
    if not same_dims(image.shape[0], channels.shape[0]):
        return "the batch is not known to stay"
    if k * n >= k * m + m * n:
        return "one would multiply more than two"
    shift = 0 if c is None else per_column(c, y.rank, m)
    if shift is None:
        return "not one finite shift per column"
    if why := refuses_weights(x, w) or refuses_weights(x, w2):
        return why
    mix = wide(w2).reshape(n, m).T
    w_w2 = wide(w) @ mix
    if not survives(w_w2, (1,), w.onnx_dtype):
        return "the weights would become too small for their dtype"
    shape, how = (s, r) if n == m else (target_of((channels.shape[0], n, channels.shape[2]), conv.shape), {})
    if shape is None:
        return "a constant shape cannot say where the dims of unknown size go"
    product = x @ w_w2
    if c is not None or b is not None:
        product = product + ((np.zeros(m) + shift) @ mix + (0 if b is None else wide(b)))
    yield op.Reshape(op.Transpose(product, perm=p), shape, **how)


@rule(since=13)
def convolution_of_moved_channels(x: "B G C L", p: Perm, n: Int, w: Const, b: Maybe[Const], a: Attrs):
    """To sum over channels that were moved there, or over their Softmax, is to sum over them where they were."""
    moved = op.Transpose(x, perm=p)
    yield op.Conv(any_of(moved, op.Softmax(moved, axis=n)), w, b, **a)
    if p != [0, 2, 1, 3] or n not in (None, 1, -3):
        return "not channels that stood one dim behind, or a Softmax over others"
    if not pointwise(w, a) or w.shape[0] != 1:
        return "the convolution is not pointwise, or has more than one output, which would have to be moved"
    if why := refuses_weights(x, w):
        return why
    total = wide(w).reshape(1, -1) @ (x if n is None else op.Softmax(x, axis=2))
    yield op.Transpose(total if b is None else total + wide(b), perm=p)
