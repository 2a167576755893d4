"""Operators of com.microsoft on images, and on words as if they were such: ContribOperators.md of ONNX Runtime."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import ints
from graphopt.exec.kernels.convolution import conv_transpose
from graphopt.exec.kernels.registry import Array, Host, kernel
from graphopt.exec.kernels.sampling import grid_sample
from graphopt.exec.kernels.windows import padded, windows

DOMAIN = "com.microsoft"


@kernel("GridSample", domain=DOMAIN)
def grid_sample_1(
    xp: Backend, x: Array, grid: Array, *, align_corners: int = 0, mode: str = "bilinear", padding_mode: str = "zeros"
) -> Array:
    return grid_sample(xp, x, grid, align_corners=align_corners, mode=mode, padding_mode=padding_mode)


@kernel("ConvTransposeWithDynamicPads", domain=DOMAIN, wide=True)
def conv_transpose_with_dynamic_pads(
    xp: Backend, x: Array, w: Array, pads: Host = None, b: Array | None = None, *, auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None, group: int = 1, kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None, strides: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    return conv_transpose(
        xp, x, w, b, auto_pad=auto_pad, dilations=dilations, group=group, kernel_shape=kernel_shape,
        output_padding=output_padding, pads=None if pads is None else ints(pads), strides=strides,
    )  # fmt: skip


@kernel("MaxpoolWithMask", domain=DOMAIN)
def maxpool_with_mask(
    xp: Backend, x: Array, mask: Array, *, auto_pad: str = "NOTSET", kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None, storage_order: int = 0, strides: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    """The largest element of windows, whose rows end where the mask is 0.

    The first element of an image counts in any case, but not that of a signal.
    """
    move = windows(x.shape[2:], kernel_shape, strides, None, pads, auto_pad)
    lowest = xp.number(float(np.finfo(np.float32).min), x)
    first = np.arange(mask[0, 0].size).reshape(mask.shape[2:]) == (0 if mask.ndim > 3 else -1)
    seen, x = padded(xp, (mask != 0) | first, move.cover, True), padded(xp, x, move.cover, lowest)
    y: Any = None
    *outer, last = [list(move.along(dim)) for dim in range(len(move.kernel))]
    for offsets in itertools.product(*outer):
        row: Any = True
        for offset in last:
            at = (slice(None), slice(None), *offsets, offset)
            row = row & seen[at]
            element = xp.where(row, x[at], lowest)
            y = element if y is None else xp.maximum(y, element)
    return y


@kernel("CropAndResize", domain=DOMAIN)
def crop_and_resize(
    xp: Backend, x: Array, rois: Array, batch_indices: Array, crop_size: Host, *, extrapolation_value: float = 0.0,
    mode: str = "bilinear",
) -> Array:  # fmt: skip
    """Regions [y1, x1, y2, x2] of images, 0 to 1 being all of one, as images of one size; corners stay corners."""
    taps = []
    for axis, count in enumerate(ints(crop_size)):
        start, end, size = rois[:, axis, None], rois[:, axis + 2, None], x.shape[2 + axis]
        if count > 1:
            places = start * (size - 1) + np.arange(count) * ((end - start) * (size - 1) / (count - 1))
            places = xp.where(np.arange(count) == count - 1, end * (size - 1), places)  # without rounding
        else:
            places = xp.number(0.5, x) * (start + end) * (size - 1)
        places = xp.cast(places, x.dtype)
        inside = (places >= 0) & (places <= size - 1)
        taps.append((xp.where(inside, places, xp.number(0, places)), inside))
    (down, rows_inside), (right, columns_inside) = taps
    entry = batch_indices.reshape(-1, 1, 1)

    def pixels(rows: Array, columns: Array) -> Array:
        """[regions, rows, columns, channels]"""
        index = (xp.cast(t, np.int64) for t in (rows[:, :, None], columns[:, None]))
        return xp.moveaxis(x, 1, -1)[(entry, *index)]

    if mode == "bilinear":
        top, left = xp.floor(down), xp.floor(right)
        bottom, east = xp.ceil(down), xp.ceil(right)
        across, along = (right - left)[:, None, :, None], (down - top)[:, :, None, None]
        upper, lower = pixels(top, left), pixels(bottom, left)
        upper = upper + (pixels(top, east) - upper) * across
        lower = lower + (pixels(bottom, east) - lower) * across
        y = upper + (lower - upper) * along
    else:
        half = xp.number(0.5, x)
        y = pixels(xp.floor(down + half), xp.floor(right + half))
    inside = (rows_inside[:, :, None] & columns_inside[:, None])[..., None]
    return xp.moveaxis(xp.where(inside, y, xp.number(extrapolation_value, y)), -1, 1)


@kernel("WordConvEmbedding", domain=DOMAIN)
def word_conv_embedding(
    xp: Backend, sequence: Array, w: Array, b: Array, c: Array, *, char_embedding_size: int = 0,
    conv_window_size: int = 0, embedding_size: int = 0,
) -> Array:  # fmt: skip
    """A vector for each word: what a convolution of its characters is at most, through tanh.

    Words [words, characters] end with zeros, and shorter ones than the window [outputs, 1, characters, features] are as
    long as that.
    """
    outputs, _, width, features = w.shape
    words, length = sequence.shape
    count = xp.where(sequence[:, :1] > 0, xp.sum(sequence > 0, axis=1, keepdims=True), 0)
    places = np.arange(length - width + 1)[:, None] + np.arange(width)
    seen = xp.take(c, xp.take(sequence, places, axis=1), axis=0).reshape(words, len(places), width * features)
    y = xp.matmul(seen, w.reshape(outputs, width * features).T)
    y += b
    within = np.arange(len(places)) < xp.maximum(count, width) - (width - 1)
    y = xp.tanh(xp.max(xp.where(within[..., None], y, xp.number(-np.inf, y)), axis=1))
    return xp.where(count > 0, y, xp.number(0, y))
