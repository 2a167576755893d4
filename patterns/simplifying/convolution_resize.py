"""Pointwise convolutions around Resize: what is multiplied before it is made larger is multiplied less often.

To enlarge an image by repetition or interpolation is to average over places with weights that sum to 1, and a pointwise
convolution mixes the channels of one place: they swap places, bias included.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from graphopt.ir import Shape
from graphopt.patterns._shapes import leaf, made_by
from graphopt.patterns._windows import pointwise, refuses_weights
from graphopt.rewrite import Attrs, Const, Maybe, Tensor, op, rule
from graphopt.shapes import same_shape

#: How Resize finds its weights. Cubic ones amplify rounding, regions have values from outside.
_MODES = ("nearest", "linear")


def _places(shape: Shape | None) -> int | None:
    """How many places an image has; None where that is not known."""
    return int(np.prod(shape[2:])) if shape is not None and all(isinstance(d, int) for d in shape[2:]) else None


def _enlarges(x: Any, y: Any) -> bool:
    """Whether an image has fewer places than what it is resized to, and is the same otherwise."""
    few, many = _places(x.shape), _places(y.shape)
    if few is None or many is None or len(x.shape) < 3 or len(x.shape) != len(y.shape):
        return False
    return 0 < few < many and bool(same_shape(x.shape[:2], y.shape[:2]))


@rule(since=11)
def convolution_of_resize(
    x, roi: Maybe[Tensor], scales: Maybe[Const], sizes: Maybe[Tensor], r: Attrs, w: Const, b: Maybe[Tensor], a: Attrs
):
    """A pointwise convolution of an image that was made larger is done before."""
    y = op.Resize(x, roi, scales, sizes, **r)
    yield op.Conv(y, w, b, **a)
    if not pointwise(w, a):
        return "the convolution is not pointwise"
    if r["mode"] not in _MODES or r["coordinate_transformation_mode"] == "tf_crop_and_resize":
        return "not an average of places"
    if not _enlarges(x, y):
        return "not known to become larger"
    outputs, inputs = w.shape[:2]
    if outputs > inputs:
        return "more channels would have to be resized"
    named = r.get("axes") or range(x.rank)
    if sizes is not None and outputs != inputs and 1 in {k % x.rank for k in named}:
        return "the number of channels is said with the size"
    yield op.Resize(op.Conv(x, w, b), roi, scales, sizes, **r)


@rule(since=11)
def convolution_of_concat(*xs, w: Const, b: Maybe[Tensor], a: Attrs):
    """Where some of the channels of a pointwise convolution were made larger, these are convolved by themselves, and added."""
    y = op.Concat(*xs, axis=1)
    yield op.Conv(y, w, b, **a)
    if not pointwise(w, a):
        return "the convolution is not pointwise"
    if why := refuses_weights(y, w):
        return why
    sizes: list[Any] = [x.shape[1] if x.shape is not None else None for x in xs]
    if not all(isinstance(d, int) and d for d in sizes):
        return "the numbers of channels are not known"
    starts = np.cumsum([0, *sizes])
    outputs = w.shape[0]
    before = [_made_of(x, y.value, outputs) if x.uses == 1 else None for x, d in zip(xs, sizes, strict=True)]
    apart = [n is not None for n in before]
    many = _places(y.shape) or 0
    left = sum(d * (many if n is None else n) for d, n in zip(sizes, before, strict=True))
    if 2 * left >= many * starts[-1]:
        return "half of the products would be left: not enough was made larger, or it would have more channels then"
    kernel = np.asarray(w)
    parts = [kernel[:, s:e] for s, e in pairwise(starts)]
    rest = [i for i, alone in enumerate(apart) if not alone]
    alone = [i for i in range(len(xs)) if apart[i]]
    if rest:
        together = op.Concat(*(xs[i] for i in rest), axis=1) if len(rest) > 1 else xs[rest[0]]
        total = op.Conv(together, np.concatenate([parts[i] for i in rest], axis=1), b)
    else:
        total = op.Conv(xs[alone[0]], parts[alone.pop(0)], b)
    for i in alone:
        total = total + op.Conv(xs[i], parts[i])
    yield total


def _made_of(x: Any, y: Any, outputs: int) -> int | None:
    """How many places an image had before a Resize that a convolution to `outputs` channels may pass made it larger."""
    node = made_by(x, "Resize", y)
    if node is None or (image := node.inputs[0]) is None:
        return None
    mode, place = (node.attributes.get(k) for k in ("mode", "coordinate_transformation_mode"))
    if (mode or "nearest") not in _MODES or place == "tf_crop_and_resize" or not _enlarges(leaf(image), x):
        return None
    by_size = len(node.inputs) > 3 and node.inputs[3] is not None and "axes" not in node.attributes
    if outputs > x.shape[1] or (by_size and outputs != x.shape[1]):
        return None
    return _places(image.shape)
