"""Convolutions keep their images in blocks of channels, where what follows can work on blocks too.

Convolutions, pools, Concat, activations and sums of two images can; Split and constants that broadcast cannot, and for them every
image is copied out of its blocks and into them again: 0.5 ns an element each way.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from graphopt.patterns._elementwise import chosen
from graphopt.patterns._windows import along, refuses_weights
from graphopt.patterns.onnxruntime_cpu._sizes import refuses
from graphopt.rewrite import Attrs, Axis, Const, Float, Int, Ints, Maybe, Rule, any_of, op, rule
from graphopt.shapes import same_dims

#: Channels of a block, as the kernels for AVX512 have it; those for others have blocks of 8.
_BLOCK = 16


def _split(n: int) -> Rule:
    def body(
        x, w: Const, b: Maybe[Const], a: Attrs, slope: Float, axis: Axis, split: Maybe[Ints], num_outputs: Maybe[Int]
    ):
        y = op.Conv(x, w, b, **a)
        result = any_of(op.Relu(y), op.LeakyRelu(y, alpha=slope), y * op.Sigmoid(y), y)
        parts = op.Split(result, axis=axis, split=split, num_outputs=num_outputs, outputs=n)
        yield parts
        if axis != 1 or w.ndim != 4 or a["group"] != 1:
            return "not channels of an image, or groups"
        if why := refuses_weights(x, w) or refuses(y, 1.0, n):
            return why
        sizes = split or [-(-w.shape[0] // n)] * (n - 1)
        bounds = list(accumulate(sizes, initial=0))
        bounds = bounds if split else [*bounds, w.shape[0]]
        if any((end - start) % _BLOCK or end <= start for start, end in pairwise(bounds)):
            return "the parts are not whole blocks of 16"
        kernel, shift = np.asarray(w), None if b is None else np.asarray(b)
        found = chosen(result)
        convs = [op.Conv(x, kernel[s:e], None if shift is None else shift[s:e], **a) for s, e in pairwise(bounds)]
        yield tuple(_same(found.op, c, slope) for c in convs)

    body.__name__ = body.__qualname__ = f"split_convolution_in_{n}"
    body.__doc__ = f"A convolution that is split in {n} is {n} convolutions."
    return rule(body)


def _same(name: str, y: Any, slope: float | None) -> Any:
    """What is done to a convolution before it is split, done to one of its parts."""
    if name == "LeakyRelu":
        return op.LeakyRelu(y, alpha=slope)
    return y if name == "Conv" else op.Relu(y) if name == "Relu" else y * op.Sigmoid(y)


split_convolution_in_2, split_convolution_in_3 = (_split(n) for n in (2, 3))


@rule
def shift_between_convolutions(u, v, c: Const, w: Const, b: Maybe[Const], a: Attrs):
    """A shift per channel in front of a convolution is a convolution of each channel by itself, which takes blocks."""
    image = any_of(op.HardSwish(u), u * v)
    yield op.Conv(image + c, w, b, **a)
    x: Any = chosen(image)
    channels = w.shape[1] * a["group"]
    if w.ndim != 4 or channels % _BLOCK:
        return "not whole blocks of 16 channels"
    if x.rank != 4 or not same_dims(x.shape[1], channels):
        return "the constant may broadcast the image up"
    if why := refuses(x, 0.6, 1):
        return why
    pads = a.get("pads") or [0] * 4
    if any(pads[i] + pads[i + 2] >= w.shape[i + 2] for i in (0, 1)):
        return "a convolution makes something of an image without rows, which another refuses"
    shift = along(c, 1, 4, channels)
    if shift is None:
        return "not one shift per channel"
    yield op.Conv(op.Conv(x, np.ones((channels, 1, 1, 1), np.float32), shift, group=channels), w, b, **a)
