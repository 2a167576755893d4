"""Images: resizing, sampling at computed places, regions, and what puts patches together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from graphopt.testing.building.builder import Invalid
from graphopt.testing.operators.registry import operands
from graphopt.testing.operators.site import Shape, Site
from graphopt.testing.values import np_dtype

_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16})
#: Sizes of positions, and how often they are drawn: those that have a middle more often.
_SIZES = ((3, 5), (2, 4), (3, 6), (2, 3), (2, 2))
_SCALES = (1.0, 2.0, 0.5, 3.0, 1.5, 1.25)  # the last one leaves 2 and 3 what they are
#: Where corners are aligned, others leave it open where the last corner is.
_WHOLE_SCALES = (1.0, 2.0, 3.0)


def _image(s: Site, low: int = 4, high: int = 4) -> Shape:
    """The shape of the first operand: batch, channels, and dims of 2 to 6."""
    low, high = max(low, s.ranks(0)[0]), min(high, s.ranks(0)[1])
    rank = s.choices.integer(low, high) if low <= high else 0
    x = s.shape(0) or (
        s.choices.integer(1, 2),
        s.choices.integer(1, 3),
        *(s.choices.weighted(_SIZES) for _ in range(rank - 2)),
    )
    s.operand(0, x, "distinct")
    x = s.shape(0) or x
    if not low <= len(x) <= high or 0 in x:
        raise Invalid(f"{s.op_type} of {x}")
    return x


def _places(s: Site, i: int, shape: Shape, low: float, high: float) -> None:
    """An operand of coordinates between two bounds; none lies where rounding decides what is next to it."""
    values = s.random().integers(0, 32, shape) / 32 * (high - low) + low + 0.011
    s.operand(i, shape, array=values.astype(np_dtype(s.dtype(i))))


@operands("Resize", ranks={0: (3, 5)}, carries=(0,), dtypes={0: _FLOATS, 1: frozenset({TensorProto.FLOAT})})
def resize(s: Site) -> None:
    x = _image(s, 3, 5)
    mode = s.text(
        "mode", ["nearest", "linear", *(["cubic"] if len(x) == 4 and s.schema.since_version > 10 else [])], "nearest"
    )
    if s.schema.since_version < 11:
        s.operand(1, (len(x),), array=_scales(s, range(len(x)), _SCALES))
        return
    empty = s.schema.since_version < 13  # what is not used is there, and empty
    by_size = s.choices.one([k for k in (False, True) if s.may(3, k) and (empty or s.may(2, not k))] or [False])
    place = _sampling(s, mode, s.may(1) or empty)
    region = place == "tf_crop_and_resize"
    # a subset of axes beside a region is more than runtimes agree about
    some = "axes" in s.schema.attributes and not region
    named = s.parameter("axes", lambda: _axes(s, len(x)) if s.choices.integer(0, 1) else None) if some else None
    axes = range(len(x)) if named is None else [a % len(x) for a in named]
    s.insist(3, by_size)
    if empty:
        nothing = s.choices.chance(4) and not region
        s.operand(1, (0,) if nothing else (2 * len(x),), array=_corners(len(x), region)[: 0 if nothing else None])
        if by_size:
            s.operand(2, (0,), array=np.zeros(0, np.float32))
    else:
        s.insist(2, not by_size)
        if region or s.choices.chance(3):  # one that nobody reads
            s.insist(1, s.may(1))
            s.operand(1, (2 * len(x),), array=_corners(len(x), region))
        else:
            s.insist(1, not s.may(1, False))
            s.operand(1, (0,), array=np.zeros(0))
    if not by_size:
        options = _WHOLE_SCALES if place == "align_corners" else _SCALES[region and s.agreed :]
        if s.larger and not s.choices.chance(4):
            options = (2.0, 3.0) if place == "align_corners" else (2.0, 3.0, 1.5)
        s.operand(2, (len(axes),), array=_scales(s, axes, options))
        return
    if "keep_aspect_ratio_policy" in s.schema.attributes and not region:
        s.text("keep_aspect_ratio_policy", ["not_larger", "not_smaller", "stretch"], "stretch")
    sizes = [d if k < 2 else _size(s, d, mode == "nearest", region) for k, d in enumerate(x)]
    s.operand(3, (len(axes),), array=np.array([sizes[a] for a in axes], np.int64))


def _axes(s: Site, rank: int) -> list[int]:
    """Those of the positions of an image, or all of them; in any order."""
    axes = list(range(2 * s.choices.integer(0, 1), rank))
    return [axes[k] for k in s.choices.order(len(axes))] if s.choices.integer(0, 1) else axes


def _corners(rank: int, region: bool) -> np.ndarray:
    """Where a region begins and ends along each axis."""
    corners = np.array([0.0] * rank + [1.0] * rank)
    if region:
        corners[[2, -1]] = 0.25, 0.75
    return corners


def _sampling(s: Site, mode: str, regions: bool) -> str:
    """How coordinates become values; how they are transformed."""
    places = ["half_pixel", "asymmetric", "pytorch_half_pixel"]
    if mode != "nearest":  # these have coordinates of which rounding decides what is nearest
        places += ["align_corners", "tf_crop_and_resize"][: 1 + regions]
    elif s.schema.since_version < 13:
        places.append("tf_half_pixel_for_nn")
    if s.schema.since_version >= 19:
        places.append("half_pixel_symmetric")
    place = s.text("coordinate_transformation_mode", places, "half_pixel")
    region = place == "tf_crop_and_resize"
    if mode == "nearest":
        s.text("nearest_mode", ["round_prefer_floor", "floor", "ceil", "round_prefer_ceil"], "round_prefer_floor")
    elif "antialias" in s.schema.attributes and not region:
        s.integer("antialias", [0, 0, 0, 1], 0)
    if mode == "cubic":
        s.integer("exclude_outside", [0, 1], 0)
    if region:
        s.parameter("extrapolation_value", lambda: 1.5, 0.0)
    return place


def _scales(s: Site, axes: Sequence[int], options: Sequence[float]) -> np.ndarray:
    """A scale for each of some axes: of positions any, or mostly one and the same; of batch and channels rarely one.

    Where another image was scaled, it is often the other axes' turn.
    """
    before = [b for b in s.recent("scales") if len(b) == len(axes)]
    turn = [k == 1 for k in before[-1]] if before and s.choices.integer(0, 1) else [True] * len(axes)
    if not s.choices.chance(3):
        asked = [n for n in s.numbers() if n in options and n != 1]
        options = (*[s.choices.one(asked or options)] * 3, 1.0)
    rarely = 8 if list(axes) == sorted(axes) else 2
    scaled = [(a > 1 or (not s.agreed and s.choices.chance(rarely))) and t for a, t in zip(axes, turn, strict=True)]
    found = [s.choices.one(options) if able else 1.0 for able in scaled]
    s.note("scales", found)
    return np.array(found, np.float32)


def _size(s: Site, d: int, whole: bool, region: bool) -> int:
    """What a size may become."""
    return (
        d * s.choices.integer(1 + (region and s.agreed), 3) if whole or region or s.choices.integer(0, 1) else s.dim()
    )


@operands("Upsample", ranks={0: (4, 4)}, carries=(0,), dtypes={0: frozenset({TensorProto.FLOAT})})
def upsample(s: Site) -> None:
    x = _image(s)
    s.text("mode", ["nearest", "linear"], "nearest")
    scales = [1.0, 1.0, *(s.choices.one([2.0, 1.0, 3.0]) for _ in x[2:])]
    if "scales" in s.schema.attributes:
        s.parameter("scales", lambda: scales)
    else:
        s.operand(1, (4,), array=np.array(scales, np.float32))


@operands("GridSample", ranks={0: (4, 5), 1: (4, 5)}, carries=(0, 1), dtypes={0: _FLOATS, 1: _FLOATS})
def grid_sample(s: Site) -> None:
    x = _image(s, 4, 4 if s.schema.since_version < 20 else 5)
    old = s.schema.since_version < 20
    names = ["bilinear", "nearest", "bicubic"] if old else ["linear", "nearest", "cubic"]
    s.text("mode", names if len(x) == 4 else names[:2], names[0])
    s.text("padding_mode", ["zeros", "border", "reflection"], "zeros")
    s.integer("align_corners", [0, 1], 0)
    n = len(x) - 2
    _places(s, 1, (x[0], *(s.choices.integer(1, 4) for _ in range(n)), n), -1.2, 1.2)


@operands("AffineGrid", ranks={0: (3, 3), 1: (1, 1)}, dtypes={0: frozenset({TensorProto.FLOAT, TensorProto.DOUBLE})})
def affine_grid(s: Site) -> None:
    n = s.choices.one([2, 2, 3])
    batch = s.choices.integer(1, 2)
    s.operand(0, (batch, n, n + 1))
    # of a dim of 1 nobody says which corners these are
    s.operand(1, (n + 2,), array=np.array([batch, 2, *(s.choices.integer(2, 4) for _ in range(n))], np.int64))
    s.integer("align_corners", [0, 1], 0)


@operands("CenterCropPad", ranks={0: (1, 5)}, carries=(0,))
def center_crop_pad(s: Site) -> None:
    s.operand(0, s.new_shape(0, 1, empty=False))
    x = s.shape(0) or ()
    axes = s.axes(len(x)) if s.choices.integer(0, 1) else None
    s.operand(1, (len(x if axes is None else axes),), array=np.array([s.dim() for _ in (x if axes is None else axes)]))


@operands("Col2Im", ranks={0: (3, 3)}, dtypes={0: _FLOATS})
def col2im(s: Site) -> None:
    n = s.choices.one([2, 2, 1])
    image = [s.choices.integer(2, 5) for _ in range(n)]
    block = [s.choices.integer(1, 2) for _ in range(n)]
    strides = s.parameter("strides", lambda: [s.choices.integer(1, 2) for _ in range(n)], [1] * n)
    pads = s.parameter("pads", lambda: [s.choices.integer(0, 1) for _ in range(2 * n)], [0] * 2 * n)
    steps = [(image[k] + pads[k] + pads[n + k] - block[k]) // strides[k] + 1 for k in range(n)]
    channels = s.choices.integer(1, 2)
    s.operand(0, (s.choices.integer(1, 2), channels * math.prod(block), math.prod(steps)))
    s.operand(1, (n,), array=np.array(image))
    s.operand(2, (n,), array=np.array(block))


@operands("MaxRoiPool", ranks={0: (4, 4), 1: (2, 2)})
def max_roi_pool(s: Site) -> None:
    x = _image(s)
    count = s.choices.integer(1, 3)
    first = s.random().integers(0, 2, (count, 2))
    last = first + s.random().integers(1, 3, (count, 2))
    images = s.random().integers(0, x[0], (count, 1))
    s.operand(1, (count, 5), array=np.concatenate([images, first, last], 1).astype(np_dtype(s.dtype(1))))
    s.parameter("pooled_shape", lambda: [s.choices.integer(1, 3), s.choices.integer(1, 3)])
    s.parameter("spatial_scale", lambda: s.choices.one([1.0, 0.5]), 1.0)


@operands("RoiAlign", ranks={0: (4, 4), 1: (2, 2), 2: (1, 1)})
def roi_align(s: Site) -> None:
    x = _image(s)
    count = s.choices.integer(1, 3)
    first = s.random().integers(0, 6, (count, 2)) / 4 + 0.03  # no sample on the image's edge, where rounding decides
    corners = np.concatenate([first, first + s.random().integers(4, 12, (count, 2)) / 4 + 0.01], 1)
    s.operand(1, (count, 4), array=corners.astype(np_dtype(s.dtype(1))))
    s.operand(2, (count,), array=s.random().integers(0, x[0], count))
    s.integer("output_height", [1, 2, 3], 1)
    s.integer("output_width", [1, 2, 3], 1)
    samples = s.integer("sampling_ratio", [0, 1, 2], 0)
    s.parameter("spatial_scale", lambda: s.choices.one([1.0, 0.5]), 1.0)
    if samples == 1:  # ONNX Runtime knows that its maxima of several are wrong
        s.text("mode", ["avg", "max"], "avg")
    if "coordinate_transformation_mode" in s.schema.attributes:
        s.text("coordinate_transformation_mode", ["half_pixel", "output_half_pixel"], "half_pixel")


@operands("MaxUnpool", ranks={0: (4, 4), 1: (4, 4)}, carries=(0, 1))
def max_unpool(s: Site) -> None:
    x = _image(s)
    kernel = s.parameter("kernel_shape", lambda: [2, s.choices.one([2, 3])])
    strides = s.parameter("strides", lambda: list(kernel), [1, 1])
    sizes = [(d - 1) * step + k for d, step, k in zip(x[2:], strides, kernel, strict=True)]
    random = s.random()
    places = random.permuted(np.tile(np.arange(math.prod(sizes)), (*x[:2], 1)), axis=-1)[..., : math.prod(x[2:])]
    starts = np.arange(x[0] * x[1]).reshape(*x[:2], 1) * math.prod(sizes)
    s.operand(1, x, array=(places + starts).reshape(x))
    s.insist(2, False)


@operands("DeformConv", ranks={0: (4, 4), 1: (4, 4), 2: (4, 4), 3: (1, 1), 4: (4, 4)})
def deform_conv(s: Site) -> None:
    x = _image(s)
    group = s.parameter("group", lambda: s.choices.one([1, x[1]]), 1)
    parts = s.parameter("offset_group", lambda: s.choices.one([1, x[1]]), 1)
    kernel = [s.choices.integer(1, 2), s.choices.integer(1, 2)]
    w = s.shape(1) or (group * s.choices.integer(1, 2), x[1] // group, *kernel)
    s.operand(1, w)
    strides = s.parameter("strides", lambda: [s.choices.integer(1, 2) for _ in range(2)], [1, 1])
    pads = s.parameter("pads", lambda: [s.choices.integer(0, 1) for _ in range(4)], [0] * 4)
    sizes = [(x[2 + k] + pads[k] + pads[2 + k] - w[2 + k]) // strides[k] + 1 for k in range(2)]
    _places(s, 2, (x[0], parts * w[2] * w[3] * 2, *sizes), -1.0, 1.0)
    s.operand(3, (w[0],))
    s.operand(4, (x[0], parts * w[2] * w[3], *sizes), "fraction")
