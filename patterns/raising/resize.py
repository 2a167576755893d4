"""Images of another size: from repeated positions, to computed sizes, and to the nearest by one way to write it.

Sizes become scales only where they are multiples that a float holds exactly: coordinates are scaled by a scale that is given,
else by new / old, which differs from it where a size was rounded down. Repetition is not exact: some runtimes compute what is
nearest as a sum with weights of ones and zeros.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from onnx import TensorProto

from graphopt.ir import Dim
from graphopt.patterns._resize import REPEATED, keeps_ratio
from graphopt.patterns._shapes import matched
from graphopt.rewrite import Attrs, Const, Ints, Maybe, Tensor, any_of, op, rule
from graphopt.shapes import same_dims, same_shape
from graphopt.shapes.dims import mul

#: Above this, rounding of coordinates in float32 might come near to a border between two elements.
_LARGEST_FACTOR = 16
#: Up to which scale elements are repeated, by places and what is near. Middles of elements lie on no border.
_LIMITS = {
    ("asymmetric", "round_prefer_floor"): 2,
    **{
        (place, nearest): _LARGEST_FACTOR
        for place in ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel")
        for nearest in ("round_prefer_floor", "round_prefer_ceil")
    },
}


@rule(since=11)
def nearest_by_repetition(x: "N C H W", s, u: Ints, m: Ints, r: Ints, shape):
    """Positions that are repeated, so that each becomes one of equal blocks, are resized to the nearest."""
    reshape, unsqueeze = op.Reshape(x, s), op.Unsqueeze(x, axes=u)
    apart = any_of(reshape, unsqueeze)
    expand, tile = op.Expand(apart, shape=m), op.Tile(apart, repeats=r)
    y = op.Reshape(any_of(expand, tile), shape)
    yield y
    if x.dtype != TensorProto.FLOAT:
        return "not single precision"
    batch, channels, height, width = x.shape
    if not same_shape(matched(reshape, unsqueeze).shape, (batch, channels, height, 1, width, 1)):
        return "rows and columns do not stand by themselves"
    larger = matched(expand, tile).shape
    assert larger is not None
    rows, columns = larger[-3], larger[-1]
    if not rows or not columns:
        return "nothing is left"
    if not same_shape(y.shape, (batch, channels, mul(height, rows), mul(width, columns))):
        return "more than rows and columns are repeated, or the size of the result is not known"
    scales = [1.0, 1.0, float(rows), float(columns)]
    yield op.Resize(x, None, scales, **REPEATED)


@rule(exact=True, since=11)
def resize_by_scales(x, roi: Maybe[Tensor], none: Maybe[Const["0"]], sizes, attrs: Attrs):
    """Sizes that are multiples of those before are scales, which need not be computed."""
    y = op.Resize(x, roi, none, sizes, **attrs)
    yield y
    if attrs["coordinate_transformation_mode"] == "tf_crop_and_resize" or keeps_ratio(attrs):
        return "a region is cut out, or the ratio of rows and columns may decide about the scale"
    if x.shape is None:
        return "the sizes are not known"
    axes = attrs.get("axes") or range(x.rank)
    scales = [_ratio(x.shape[a], y.shape[a]) for a in axes]
    if None in scales:
        return "a size is not known to be a multiple"
    yield op.Resize(x, roi, scales, **attrs)


@rule(exact=True, since=18)
def resize_some_axes(x, roi: Maybe[Tensor], none: Maybe[Const["0"]], sizes, attrs: Attrs):
    """Known sizes of some axes need not be put together with those of the others."""
    y = op.Resize(x, roi, none, sizes, **attrs)
    yield y
    if attrs["coordinate_transformation_mode"] == "tf_crop_and_resize" or keeps_ratio(attrs):
        return "a region is cut out, or the ratio of rows and columns may decide about the scale"
    if sizes.is_const or x.shape is None:
        return "the sizes are constant, or the rank is not known"
    axes = [a for a, (old, new) in enumerate(zip(x.shape, y.shape)) if same_dims(old, new) is not True]
    if not axes or not all(isinstance(y.shape[a], int) for a in axes):
        return "nothing changes, or a size that changes is not known"
    yield op.Resize(x, None, None, np.array([y.shape[a] for a in axes], np.int64), **{**attrs, "axes": axes})


@rule(since=11)
def nearest_whole(x, roi: Maybe[Tensor], s: Const, attrs: Attrs):
    """Where each position is repeated, there are several ways to find what is nearest; this one is the fastest."""
    yield op.Resize(x, roi, s, mode="nearest", **attrs)
    scales = np.asarray(s)
    limit = _LIMITS.get((attrs["coordinate_transformation_mode"], attrs["nearest_mode"]), 0)
    if ((scales > limit) | (scales != np.rint(scales))).any():
        return "not repeated a whole number of times, too often, or the way is this one already"
    yield op.Resize(x, roi, scales, **{**attrs, **REPEATED})


def _ratio(old: Dim, new: Dim) -> float | None:
    """By what one size becomes the other, where that is known and a float32 holds it."""
    if same_dims(old, new) is True:
        return 1.0
    if isinstance(old, int) and isinstance(new, int):
        if old < 1 or new < 1:
            return None
        ratio = float(np.float32(new / old))
        return ratio if Fraction(ratio) == Fraction(new, old) else None
    for k in range(2, _LARGEST_FACTOR + 1):
        if same_dims(mul(old, k), new) is True:
            return float(k)
        if k & (k - 1) == 0 and same_dims(mul(new, k), old) is True:
            return 1 / k
    return None
