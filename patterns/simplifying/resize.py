"""Resize, where it turns out to do nothing or is done twice.

Not exact: what is interpolated is multiplied by ones and zeros, which make something of infinities.
"""

from __future__ import annotations

import numpy as np

from graphopt.rewrite import Attrs, Const, Maybe, Tensor, op, rule
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
