"""Resize and Upsample: other sizes for images.

Every axis is treated by itself. What the elements of the result are made of along an axis, their taps, is a table of
places and weights that follows from sizes and attributes alone; it is applied one tap after another.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import axes_of
from graphopt.exec.kernels.dtypes import is_integer, mean_dtype
from graphopt.exec.kernels.registry import Array, Host, kernel


@dataclass(frozen=True, slots=True)
class Sampling:
    """How elements are computed: the attributes of Resize of the same names."""

    mode: str
    transformation: str = "half_pixel"
    nearest_mode: str = "round_prefer_floor"
    cubic_coeff_a: float = -0.75
    antialias: int = 0
    exclude_outside: int = 0


@dataclass(frozen=True, slots=True)
class Stretch:
    """What happens along one axis.

    Attributes:
        axis: counted from the front.
        old: its length.
        new: its length afterwards.
        scale: what coordinates are scaled by: `new / old`, or nearly so where `new` was rounded to an integer.
        span: the part of it that is shown, in fractions of the whole.
    """

    axis: int
    old: int
    new: int
    scale: float
    span: tuple[float, float]

    @property
    def is_identity(self) -> bool:
        return self.old == self.new and self.scale == 1 and self.span == (0, 1)


@dataclass(frozen=True, slots=True)
class Taps:
    """What the elements of the result are made of along an axis.

    Attributes:
        axis: counted from the front.
        places: for each tap, where along the axis: [new], or a slice where they are evenly spaced.
        weights: for each tap, the factors, shaped to broadcast; none where elements are only picked.
        times: elements are picked in their order, and each so many times; 0: they are not.
        beyond: which elements of the result lie outside of the tensor, shaped to broadcast; None: none.
    """

    axis: int
    places: tuple[np.ndarray | slice, ...]
    weights: tuple[np.ndarray, ...]
    times: int
    beyond: np.ndarray | None


# ---------------------------------------------------------------------------------------------------------- the operators
@kernel("Upsample", since=1)
def upsample_image(xp: Backend, x: Array, *, height_scale: float, width_scale: float, mode: str = "nearest") -> Array:
    return _upsample(xp, x, [1, 1, height_scale, width_scale], mode)


@kernel("Upsample", since=7)
def upsample(xp: Backend, x: Array, *, scales: Sequence[float], mode: str = "nearest") -> Array:
    return _upsample(xp, x, scales, mode)


@kernel("Upsample", since=9)
@kernel("Resize", since=10)
def upsample_by(xp: Backend, x: Array, scales: Host, *, mode: str = "nearest") -> Array:
    return _upsample(xp, x, scales, mode)


def _upsample(xp: Backend, x: Array, scales: Any, mode: str) -> Array:
    """Before opset 11 coordinates were scaled without an offset, and those between two elements got the lower one.

    Where an axis shrinks, they got the upper one: the specification says nothing, but its examples do.
    """
    sampling = Sampling({"bilinear": "linear"}.get(mode, mode), "asymmetric", "simple")
    return _resized(xp, x, *_tables(x.shape, tuple(range(x.ndim)), _numbers(scales), None, "stretch", None, sampling))


@kernel("Resize", since=11)
def resize(
    xp: Backend,
    x: Array,
    roi: Host = None,
    scales: Host = None,
    sizes: Host = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Array:
    """By scales or to sizes; before opset 13 the one that is not meant is an empty tensor."""
    where = tuple(range(x.ndim)) if axes is None else axes_of(axes, x.ndim)
    spans = _numbers(roi) if coordinate_transformation_mode == "tf_crop_and_resize" else None
    how = Sampling(mode, coordinate_transformation_mode, nearest_mode, cubic_coeff_a, antialias, exclude_outside)
    tables = _tables(x.shape, where, _numbers(scales), _numbers(sizes), keep_aspect_ratio_policy, spans, how)
    return _resized(xp, x, *tables, extrapolation_value)


def _numbers(values: Any) -> tuple[float, ...] | None:
    """The numbers in a tensor; None where it is empty or left out."""
    return None if values is None or not len(values) else tuple(np.asarray(values).tolist())


# ------------------------------------------------------------------------------------------------------------- computing
def _resized(xp: Backend, x: Array, shape: tuple[int, ...], tables: Sequence[Taps], outside: float = 0.0) -> Array:
    """Resample a tensor to a shape by tables; elements that lie outside of it get the value given."""
    if 0 in shape:
        return xp.zeros(shape, x.dtype)
    y = x
    if any(t.weights for t in tables):
        y = _interpolated(xp, x, shape, tables)
    else:
        for t in tables:
            y = _picked(xp, y, t)
    for t in tables:
        if t.beyond is not None:
            y = xp.where(t.beyond, xp.number(outside, y), y)
    return y


def _picked(xp: Backend, x: Array, t: Taps) -> Array:
    """Elements along an axis."""
    if not t.times:
        return _at(xp, x, t.axis, t.places[0])
    if t.axis == x.ndim - 1:  # NumPy stacks faster than it repeats single elements
        return xp.stack([x] * t.times, -1).reshape(*x.shape[:-1], -1)
    return xp.repeat(x, t.times, axis=t.axis)


def _interpolated(xp: Backend, x: Array, shape: tuple[int, ...], tables: Sequence[Taps]) -> Array:
    """Weighted sums along several axes, one after the other. Integers are rounded half to even, and saturate."""
    dtype, wide = x.dtype, mean_dtype(x.dtype)
    first = min(t.axis for t in tables)  # the axes before that one are treated entry by entry
    steps = [(t.axis - first + 1, t.places, [xp.constant(w, np.empty(0, wide)) for w in t.weights]) for t in tables]

    def block(z: Array) -> Array:
        z = xp.cast(z, wide)
        for axis, places, weights in steps:
            z = _summed(xp, z, axis, places, weights)
        return _narrowed(xp, z, dtype)

    z = x.reshape(math.prod(shape[:first]), *x.shape[first:])
    return xp.blockwise(block, z, math.prod(shape[first:])).reshape(shape)


def _summed(xp: Backend, x: Array, axis: int, places: Sequence[np.ndarray | slice], weights: Sequence[Array]) -> Array:
    """The weighted sum of the taps."""
    y = None
    for where, weight in zip(places, weights):
        part = _at(xp, x, axis, where)
        if isinstance(where, slice):
            part = part * weight
        else:
            part *= weight
        if y is None:
            y = part
        else:
            y += part
    return y


def _at(xp: Backend, x: Array, axis: int, places: np.ndarray | slice) -> Array:
    """Elements along an axis: a view for a slice, else a copy."""
    return x[(slice(None),) * axis + (places,)] if isinstance(places, slice) else xp.take(x, places, axis=axis)


def _narrowed(xp: Backend, x: Array, dtype: Any) -> Array:
    if not is_integer(dtype):
        return xp.cast(x, dtype)
    if dtype.itemsize <= 2:
        return xp.saturate(x, dtype)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    highest = high if dtype.itemsize < 8 else np.nextafter(np.float64(high), 0.0)  # the next float64 is too large
    return xp.cast(xp.clip(xp.rint(x), low, highest), dtype)


# ---------------------------------------------------------------------------------------------------------------- tables
@functools.lru_cache(maxsize=256)  # it is a pure function, and takes longer than a small image
def _tables(
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    scales: tuple[float, ...] | None,
    sizes: tuple[float, ...] | None,
    policy: str,
    spans: tuple[float, ...] | None,
    how: Sampling,
) -> tuple[tuple[int, ...], tuple[Taps, ...]]:
    """The shape of the result, and the tables for the axes that change, in the order in which that is best done."""
    stretches = _stretches(shape, axes, scales, sizes, policy, spans)
    changed = {s.axis: s.new for s in stretches}
    new = tuple(changed.get(a, n) for a, n in enumerate(shape))
    if 0 in new:
        return new, ()
    # Shrinking first, as it leaves less to do; steps along the last axis, which cost most, while there is least to do.
    order = sorted(stretches, key=lambda s: (s.new / s.old, s.axis if s.new < s.old else -s.axis))
    return new, tuple(_taps(s, how, len(shape)) for s in order if not s.is_identity)


def _stretches(
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    scales: Sequence[float] | None,
    sizes: Sequence[float] | None,
    policy: str,
    spans: Sequence[float] | None,
) -> list[Stretch]:
    """What happens along each of the axes. Lengths are computed in float32, as runtimes do."""
    if (scales is None) == (sizes is None):
        raise ValueError(f"takes either scales or sizes, not {'neither' if scales is None else 'both'}")
    spans = (0.0,) * len(axes) + (1.0,) * len(axes) if spans is None else spans
    for name, numbers in ("scales", scales), ("sizes", sizes), ("roi", spans[::2]):
        if numbers is not None and len(numbers) != len(axes):
            raise ValueError(f"{name} has numbers for {len(numbers)} axes, where {len(axes)} are resized")
    old = [shape[a] for a in axes]
    lengths = np.array(old, np.float32)
    if scales is not None:
        new = np.floor(lengths * np.array(scales, np.float32))
    elif sizes is not None and policy == "stretch":
        new, scales = np.array(sizes), [s / n if n else 1.0 for n, s in zip(old, sizes)]
    elif sizes is not None and policy in ("not_larger", "not_smaller"):
        scale = (np.min if policy == "not_larger" else np.max)(np.array(sizes, np.float32) / lengths)
        new, scales = np.floor(scale * lengths + np.float32(0.5)), [float(scale)] * len(axes)
    else:
        raise ValueError(f"there is no keep_aspect_ratio_policy '{policy}'")
    for a, n, m in zip(axes, old, new):
        if m < 0 or (m and not n):
            raise ValueError(f"axis {a}, of length {n}, cannot get length {m:g}")
    ends = zip(spans, spans[len(axes) :])
    return [Stretch(a, n, int(m), s, span) for a, n, m, s, span in zip(axes, old, new, scales, ends)]


def _taps(s: Stretch, how: Sampling, rank: int) -> Taps:
    """The table for an axis.

    'nearest' computes coordinates in float32, as runtimes do: that decides about those that lie halfway.
    """
    nearest = how.mode == "nearest"
    x = _coordinates(s, how.transformation, np.dtype(np.float32 if nearest else np.float64))
    beyond = None
    if how.transformation == "tf_crop_and_resize":
        beyond = (x < 0) | (x > s.old - 1)
        beyond = _along(beyond, s.axis, rank) if beyond.any() else None
    if nearest:
        mode = how.nearest_mode
        if mode == "simple":
            mode = "ceil" if s.scale < 1 else "floor"
        picked = np.clip(_rounded(x, mode), 0, s.old - 1).astype(np.intp)
        times = s.new // s.old
        repeats = times * s.old == s.new and np.array_equal(picked, np.arange(s.new) // times)
        return Taps(s.axis, (_spaced(picked),), (), times if repeats else 0, beyond)
    if how.mode not in ("linear", "cubic"):
        raise ValueError(f"there is no mode '{how.mode}'")
    narrowing = min(s.scale, 1.0) if how.antialias else 1.0  # the filter is stretched where the image shrinks
    reach = math.ceil((1 if how.mode == "linear" else 2) / narrowing)
    places = np.floor(x) + np.arange(1 - reach, reach + 1)[:, None]
    distance = np.abs(places - x) * narrowing
    weights = np.maximum(1 - distance, 0) if how.mode == "linear" else _cubic(distance, how.cubic_coeff_a)
    if how.exclude_outside:
        weights *= (places >= 0) & (places < s.old)
    if how.exclude_outside or how.antialias:
        total = weights.sum(axis=0)
        weights /= np.where(total == 0, 1, total)
    places = np.clip(places, 0, s.old - 1).astype(np.intp)
    used = np.asarray(weights.any(axis=1))
    used[0] |= not used.any()
    factors = tuple(_along(w, s.axis, rank) for w in weights[used])
    return Taps(s.axis, tuple(map(_spaced, places[used])), factors, 0, beyond)


def _spaced(places: np.ndarray) -> np.ndarray | slice:
    """The slice where places are evenly spaced."""
    first, last = int(places[0]), int(places[-1])
    step = (last - first) // max(len(places) - 1, 1) or 1
    spaced = step > 0 and np.array_equal(places, np.arange(first, last + 1, step))
    return slice(first, last + 1, step) if spaced else places


def _along(table: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """Numbers along an axis, shaped to broadcast against the whole."""
    return table.reshape([-1] + [1] * (rank - 1 - axis))


def _coordinates(s: Stretch, transformation: str, dtype: np.dtype[Any]) -> np.ndarray:
    """Where in the tensor the elements of the result lie along an axis."""
    i = np.arange(s.new, dtype=dtype)
    old, scale = dtype.type(s.old), dtype.type(s.scale)
    if transformation == "half_pixel" or (transformation == "pytorch_half_pixel" and s.new > 1):
        return (i + 0.5) / scale - 0.5
    if transformation == "pytorch_half_pixel":
        return i
    if transformation == "half_pixel_symmetric":  # the middles of both lie upon each other
        return old / 2 * (1 - s.new / (scale * old)) + (i + 0.5) / scale - 0.5
    if transformation == "asymmetric":
        return i / scale
    if transformation == "tf_half_pixel_for_nn":
        return (i + 0.5) / scale
    if transformation == "align_corners":  # of the length before it was rounded
        return i * (old - 1) / (scale * old - 1) if s.new > 1 else i
    if transformation == "tf_crop_and_resize":
        start, end = map(dtype.type, s.span)
        if s.new == 1:
            return i + (start + end) * (old - 1) / 2
        return start * (old - 1) + i * (end - start) * (old - 1) / (s.new - 1)
    raise ValueError(f"there is no coordinate_transformation_mode '{transformation}'")


def _rounded(x: np.ndarray, mode: str) -> np.ndarray:
    if mode == "round_prefer_floor":
        return np.ceil(x - 0.5)
    if mode == "round_prefer_ceil":
        return np.floor(x + 0.5)
    if mode in ("floor", "ceil"):
        return np.floor(x) if mode == "floor" else np.ceil(x)
    raise ValueError(f"there is no nearest_mode '{mode}'")


def _cubic(d: np.ndarray, a: float) -> np.ndarray:
    """Cubic convolution: the weight of an element at a distance, which is 0 from 2 on."""
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = a * (((d - 5) * d + 8) * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0))
