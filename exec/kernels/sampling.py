"""Samples of images at computed places: GridSample, AffineGrid, and regions of interest.

Pixels are fetched as rows of channels from a channels-last copy of the image: one fetch for each tap.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import ints
from graphopt.exec.kernels.dtypes import is_narrow, mean_dtype
from graphopt.exec.kernels.registry import Array, Host, kernel, rounded

_INT = np.dtype(np.int64)
#: With fewer channels than this a row is too short to be worth the copy.
_ROW = 8
#: Of the cubic convolution.
_A = -0.75


# ------------------------------------------------------------------------------------------------------------ GridSample
@kernel("GridSample", since=16)
def grid_sample(
    xp: Backend, x: Array, grid: Array, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> Array:
    """[N, C, D...] at the places [N, E..., one number for each of D, the last of D first] -> [N, C, E...]."""
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    if mode not in ("nearest", "linear", "cubic"):
        raise ValueError(f"there is no mode '{mode}'")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(f"there is no padding_mode '{padding_mode}'")
    sizes, rank, dtype = x.shape[2:], x.ndim - 2, x.dtype
    if grid.ndim != x.ndim or grid.shape[-1] != rank or grid.shape[0] != x.shape[0]:
        raise ValueError(f"a tensor of shape {x.shape} cannot be sampled at a grid of shape {grid.shape}")
    shape = (*x.shape[:2], *grid.shape[1:-1])
    if 0 in shape:
        return xp.zeros(shape, dtype)
    if mode != "nearest":
        x = xp.cast(x, mean_dtype(dtype))
    if padding_mode == "zeros":
        empty = "" if dtype.kind == "O" and not xp.exact else 0
        x = xp.pad(x, [(0, 0), (0, 0)] + [(1, 1)] * rank, empty)
    places = grid if not is_narrow(grid.dtype) else xp.cast(grid, np.dtype(np.float32))
    places = places.reshape(len(x), -1, rank)
    taps = []
    for axis, size in enumerate(sizes):
        p = places[..., rank - 1 - axis] + 1
        p = p * xp.number((size - 1) / 2, p) if align_corners else (p * size - 1) / 2
        taps.append(_axis_taps(xp, p, size, mode, padding_mode, bool(align_corners)))
    y = _sampled(xp, x, taps).reshape(shape)
    return xp.cast(y, dtype)


def _axis_taps(
    xp: Backend, p: Array, size: int, mode: str, padding: str, align_corners: bool
) -> list[tuple[Array, Array | None]]:
    """Places along an axis, and weights, for samples at coordinates.

    Beside the image there are zeros, one on each side, in the padding mode of that name.
    """
    first = 1 if padding == "zeros" else 0
    low, high = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
    if mode == "nearest":
        p = xp.rint(p)
    if padding == "reflection":
        p = _reflected(xp, p, low, high)
    if mode == "cubic" or padding == "zeros":
        p = xp.clip(p, -3, size + 2)  # nothing changes further out, and integers come to an end
    else:
        p = xp.clip(p, 0, size - 1)

    def place(i: Array) -> Array:
        if mode == "cubic" and padding == "reflection":
            i = _reflected(xp, i, low, high)
        return xp.clip(xp.cast(i, _INT) + first, 0, size - 1 + 2 * first)

    if mode == "nearest":
        return [(place(p), None)]
    i = xp.floor(p)
    t = p - i
    if mode == "linear":
        return [(place(i), 1 - t), (place(i + 1), t)]
    weights = (_far(t + 1), _near(t), _near(1 - t), _far(2 - t))
    return [(place(i + k), w) for k, w in zip((-1, 0, 1, 2), weights)]


def _near(d: Array) -> Array:
    """The weight of cubic convolution at a distance up to 1."""
    return ((_A + 2) * d - (_A + 3)) * d * d + 1


def _far(d: Array) -> Array:
    """The weight of cubic convolution at a distance from 1 to 2."""
    return ((_A * d - 5 * _A) * d + 8 * _A) * d - 4 * _A


def _reflected(xp: Backend, p: Array, low: float, high: float) -> Array:
    """Coordinates mirrored at both borders until they lie within."""
    span = high - low
    if not span:
        return p * 0
    from_low = xp.abs(p - low)
    mirrored = low + span - xp.abs(xp.mod(from_low, 2 * span) - span)
    return xp.where((p < low) | (p > high), mirrored, p)


def _sampled(xp: Backend, x: Array, taps: Sequence[Sequence[tuple[Array, Array | None]]]) -> Array:
    """Sums over all combinations of the taps [N, P] of each axis: [N, C, P]."""
    batch, channels, *sizes = x.shape
    pixels = math.prod(sizes)
    in_rows = channels >= _ROW
    if in_rows:
        source = _channels_last(xp, x).reshape(batch * pixels, channels)
        start = (np.arange(batch) * pixels)[:, None]
    else:
        source = x.reshape(-1)
        start = (np.arange(batch * channels) * pixels).reshape(batch, channels, 1)
    y = None
    for combination in itertools.product(*taps):
        place: Any = 0
        weight: Any = None
        for size, (i, w) in zip(sizes, combination):
            place = place * size + i
            weight = w if weight is None else weight * w
        part = xp.take(source, start + (place if in_rows else place[:, None]), axis=0)
        if weight is not None:
            part *= xp.cast(weight[..., None] if in_rows else weight[:, None], part.dtype)
        if y is None:
            y = part
        else:
            y += part
    return xp.moveaxis(y, -1, 1) if in_rows else y


def _channels_last(xp: Backend, x: Array) -> Array:
    """A copy with the channels of a pixel side by side."""
    moved = xp.moveaxis(x, 1, -1)
    return moved.reshape(-1).reshape(moved.shape)  # flattening is what copies


# ------------------------------------------------------------------------------------------------------------ AffineGrid
@kernel("AffineGrid", since=20, wide=True)
def affine_grid(xp: Backend, theta: Array, size: Host, *, align_corners: int = 0) -> Array:
    """Matrices [N, 2, 3] or [N, 3, 4] and sizes N, C, D... -> places [N, D..., 2 or 3]."""
    sizes = ints(size)[2:]
    rank = len(sizes)
    if theta.shape[1:] != (rank, rank + 1):
        raise ValueError(f"matrices of shape {theta.shape[1:]} do not fit an image of {rank} dims")
    column = theta.reshape(*theta.shape, *[1] * rank)
    y = column[:, :, rank]
    for axis, n in enumerate(sizes):
        steps = np.arange(n)
        places = 2 * steps / max(n - 1, 1) - 1 if align_corners else (2 * steps + 1) / max(n, 1) - 1
        y = y + column[:, :, rank - 1 - axis] * xp.constant(places.reshape([-1] + [1] * (rank - 1 - axis)), theta)
    return xp.moveaxis(y, 1, -1)


# ---------------------------------------------------------------------------------------------------- regions of interest
@kernel("RoiAlign", since=10)
def roi_align_10(
    xp: Backend,
    x: Array,
    rois: Host,
    batch_indices: Host,
    *,
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Array:
    shape, ratio = (output_height, output_width), sampling_ratio
    return _roi_align(xp, x, rois, batch_indices, mode, shape, ratio, spatial_scale, half_pixel=False)


@kernel("RoiAlign", since=16)
def roi_align(
    xp: Backend,
    x: Array,
    rois: Host,
    batch_indices: Host,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Array:
    """Regions are on the host: their sizes decide how many samples are taken of each."""
    shape, ratio = (output_height, output_width), sampling_ratio
    half_pixel = coordinate_transformation_mode == "half_pixel"
    return _roi_align(xp, x, rois, batch_indices, mode, shape, ratio, spatial_scale, half_pixel)


def _roi_align(
    xp: Backend,
    x: Array,
    rois: np.ndarray,
    images: np.ndarray,
    mode: str,
    shape: tuple[int, int],
    ratio: int,
    scale: float,
    half_pixel: bool,
) -> Array:
    if mode not in ("avg", "max"):
        raise ValueError(f"there is no mode '{mode}'")
    regions, (batch, channels, height, width) = len(rois), x.shape
    corners = rois.astype(np.promote_types(rois.dtype, np.float32)) * scale - (0.5 if half_pixel else 0.0)
    starts, extents = corners[:, 1::-1], corners[:, 3:1:-1] - corners[:, 1::-1]  # height first
    if not half_pixel:
        extents = np.maximum(extents, 1)  # a malformed region has the size of a pixel
    bins = extents / np.array(shape, extents.dtype)
    grids = np.full((regions, 2), ratio) if ratio > 0 else np.maximum(np.ceil(bins), 0).astype(int)
    rows = _channels_last(xp, xp.cast(x, mean_dtype(x.dtype))).reshape(batch * height * width, channels)

    def pooled(group: np.ndarray, grid: tuple[int, int]) -> Array:
        """All regions of which as many samples are taken."""
        taps = [_bin_taps(starts[group, a], bins[group, a], shape[a], n, x.shape[2 + a]) for a, n in enumerate(grid)]
        first = images[group].astype(int)[:, None, None] * (height * width)
        y = None
        for (i, u), (j, v) in itertools.product(*taps):
            part = xp.take(rows, first + i[:, :, None] * width + j[:, None], axis=0)
            part *= xp.constant((u[:, :, None] * v[:, None])[..., None], part)
            if y is None:
                y = part
            elif mode == "max":
                y = xp.maximum(y, part)
            else:
                y += part
        if y is None:
            return xp.zeros((len(group), *shape, channels), rows.dtype)
        return y if mode == "max" else y / (grid[0] * grid[1])

    kinds, kind = np.unique(grids, axis=0, return_inverse=True)
    groups = [np.flatnonzero(kind.reshape(-1) == k) for k in range(len(kinds))]
    size = shape[0] * shape[1] * channels
    parts = [
        xp.blockwise(functools.partial(pooled, grid=(int(h), int(w))), group, size)
        for group, (h, w) in zip(groups, kinds)
    ]
    if not parts:
        return xp.zeros((0, channels, *shape), x.dtype)
    y = parts[0] if len(parts) == 1 else xp.concatenate(parts)[np.argsort(np.concatenate(groups))]
    return rounded(xp, xp.moveaxis(y, -1, 1), x.dtype)


def _bin_taps(
    start: np.ndarray, step: np.ndarray, bins: int, samples: int, size: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Along an axis: places and weights of two pixels [regions, bins] for each of the samples of a bin."""
    taps = []
    for k in range(samples):
        p = start[:, None] + np.arange(bins) * step[:, None] + ((k + 0.5) / samples) * step[:, None]
        outside = (p < -1) | (p > size)
        p = np.clip(p, 0, size - 1)
        low = np.floor(p).astype(int)
        t = p - low
        taps.append((low, np.where(outside, 0, 1 - t)))
        taps.append((np.minimum(low + 1, size - 1), np.where(outside, 0, t)))
    return taps


@kernel("MaxRoiPool", since=1)
def max_roi_pool(
    xp: Backend, x: Array, rois: Host, *, pooled_shape: Sequence[int], spatial_scale: float = 1.0
) -> Array:
    """Maxima of the pixels in each bin of regions [R, image and x1, y1, x2, y2], whose corners belong to them."""
    batch, channels, height, width = x.shape
    corners = rois[:, 1:].astype(np.promote_types(rois.dtype, np.float32)) * spatial_scale
    corners = np.trunc(corners + np.copysign(0.5, corners)).astype(int)  # rounded, half away from zero
    rows = [
        _bin_pixels(corners[:, 1 - a], corners[:, 3 - a], pooled, size)
        for a, (pooled, size) in enumerate(zip(pooled_shape, (height, width)))
    ]
    (top, bottom), (left, right) = rows
    source = _channels_last(xp, x).reshape(batch * height, width, channels)

    def pooled(group: np.ndarray) -> Array:
        first = rois[group, 0].astype(int)[:, None] * height
        y = _maxima(xp, source, first + top[group], first + bottom[group])  # [regions, bins, width, channels]
        y = y.reshape(-1, channels)
        line = (np.arange(len(group) * pooled_shape[0]) * width).reshape(len(group), -1, 1)
        y = _maxima(xp, y, line + left[group, None], line + right[group, None])
        empty = (bottom < top)[group, :, None] | (right < left)[group, None]
        return xp.where(empty[..., None], xp.number(0, y), y) if empty.any() else y

    if not len(rois):
        return xp.zeros((0, channels, *pooled_shape), x.dtype)
    y = xp.blockwise(pooled, np.arange(len(rois)), pooled_shape[0] * width * channels)
    return xp.moveaxis(y, -1, 1)


def _bin_pixels(start: np.ndarray, end: np.ndarray, bins: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Along an axis: the first and the last pixel of each bin [regions, bins]; the last comes first where it is empty."""
    step = np.maximum(end - start + 1, 1).astype(np.float32)[:, None] / np.float32(bins)
    first = np.floor(np.arange(bins, dtype=np.float32) * step).astype(int) + start[:, None]
    last = np.ceil(np.arange(1, bins + 1, dtype=np.float32) * step).astype(int) + start[:, None]
    return np.clip(first, 0, size), np.clip(last, 0, size) - 1


def _maxima(xp: Backend, source: Array, first: np.ndarray, last: np.ndarray) -> Array:
    """Element by element, the maxima of the rows from the first to the last; of any row where there is none."""
    first = np.minimum(first, len(source) - 1)
    last = np.maximum(last, first)
    y = xp.take(source, first, axis=0)
    for k in range(1, int((last - first).max(initial=0)) + 1):
        y = xp.maximum(y, xp.take(source, np.minimum(first + k, last), axis=0))
    return y
