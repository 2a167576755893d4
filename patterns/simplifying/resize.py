"""Resize, where it turns out to do nothing, is done twice, or stands between transpositions.

Not exact: what is interpolated is multiplied by ones and zeros, which make something of infinities.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.patterns.simplifying.transpose import compose, transposed
from graphopt.rewrite import Attrs, Const, Maybe, Perm, Tensor, op, rule
from graphopt.shapes import same_shape

#: By which a position is mapped to itself where nothing is made larger or smaller.
_IN_PLACE = ("align_corners", "asymmetric", "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel")


@rule(since=11)
def resize_nothing(x, roi: Maybe[Tensor], scales: Maybe[Const], sizes: Maybe[Tensor], attrs: Attrs):
    """An image that is resized to the size that it has stays as it is."""
    y = op.Resize(x, roi, scales, sizes, **attrs)
    yield y
    if attrs["coordinate_transformation_mode"] not in _IN_PLACE:
        return "positions are moved"
    if scales is not None and np.any(np.asarray(scales) != 1):
        return "it is scaled"
    if attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        return "the ratio of rows and columns may decide about the scale"
    if not same_shape(x.shape, y.shape):
        return "the size may change"
    yield x


@rule(since=11)
def resize_resize(x, roi: Maybe[Tensor], s: Const, more: Maybe[Tensor], t: Const, a: Attrs, b: Attrs):
    """An image whose rows are resized and then its columns is resized once."""
    yield op.Resize(op.Resize(x, roi, s, **a), more, t, **b)
    if a != b or a["coordinate_transformation_mode"] not in _IN_PLACE:
        return "in two ways, or positions are moved"
    first, second = np.asarray(s), np.asarray(t)
    if not first.size or first.shape != second.shape:
        return "not by scales"
    factors = first * second
    repeated = a["mode"] == "nearest" and a["nearest_mode"] == "floor" and _asymmetric(a) and _whole(first, second)
    if not repeated and ((first != 1) & (second != 1)).any():
        return "one axis is resized twice"
    if a["mode"] != "nearest" and not _are_images(x, factors, a):
        return "runtimes interpolate along the last two axes of an image"
    yield op.Resize(x, roi, factors, **a)


@rule(since=11)
def transpose_resize_transpose(x, p: Perm, roi: Maybe[Tensor], s: Const, q: Perm, a: Attrs):
    """Transpositions on both sides of a Resize are one."""
    yield op.Transpose(op.Resize(op.Transpose(x, perm=p), roi, s, **a), perm=q)
    if a["coordinate_transformation_mode"] not in _IN_PLACE or a.get("axes"):
        return "positions are moved, or axes are named"
    scales = np.asarray(s)
    if scales.size != len(p):
        return "not by scales"
    own = scales[np.argsort(p)]
    if a["mode"] == "cubic" or a.get("antialias"):
        return "runtimes interpolate so along the last two axes alone"
    if a["mode"] == "linear" and not (len(p) == 4 and own[0] == 1 and (own[1] == 1 or own[3] == 1)):
        return "runtimes interpolate along the axes of an image, channels first or last"
    yield transposed(op.Resize(x, roi, own, **a), compose(p, q))


def _asymmetric(attrs: dict[str, Any]) -> bool:
    return bool(attrs["coordinate_transformation_mode"] == "asymmetric")


def _whole(*scales: np.ndarray) -> bool:
    """Whether positions are repeated whole numbers of times."""
    return all(bool(((k >= 1) & (k == np.rint(k))).all()) for k in scales)


def _are_images(x: Tensor, factors: np.ndarray, attrs: dict[str, Any]) -> bool:
    """Whether nothing but the last two axes of four changes."""
    if x.rank != 4:
        return False
    axes = attrs.get("axes") or range(4)
    return all(k == 1 or a % 4 > 1 for a, k in zip(axes, factors, strict=True))
