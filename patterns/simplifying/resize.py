"""Resize, where it turns out to do nothing, is done twice, or stands between transpositions.

Not exact: what is interpolated is multiplied by ones and zeros, which make something of infinities.
"""

from __future__ import annotations

import numpy as np

from graphopt.patterns._resize import interpolates, repeats
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
    if ((first != 1) & (second != 1)).any() and not repeats(np.append(first, second), a):
        return "one axis is resized twice"
    if not interpolates(x, first * second, a):
        return "runtimes interpolate floats along two axes of an image"
    yield op.Resize(x, roi, first * second, **a)


@rule(since=11)
def transpose_resize_transpose(x, p: Perm, roi: Maybe[Tensor], s: Const, q: Perm, a: Attrs):
    """Transpositions on both sides of a Resize are one."""
    yield op.Transpose(op.Resize(op.Transpose(x, perm=p), roi, s, **a), perm=q)
    if a["coordinate_transformation_mode"] == "tf_crop_and_resize" or a.get("axes"):
        return "a region is cut out, or axes are named"
    own = np.asarray(s)[np.argsort(p)]
    if not interpolates(x, own, a):
        return "runtimes interpolate floats along two axes of an image"
    yield transposed(op.Resize(x, roi, own, **a), compose(p, q))
