"""Convolutions that look beside the places of their windows: https://onnx.ai/onnx/operators/onnx__DeformConv.html."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.convolution import kernel_windows
from graphopt.exec.kernels.registry import Array, kernel
from graphopt.exec.kernels.windows import Windows

#: Elements that are sampled at a time, unless inputs and outputs have more.
_SAMPLES = 1 << 18


@kernel("DeformConv", since=19, wide=True)
def deform_conv(
    xp: Backend, x: Array, w: Array, offset: Array, b: Array | None = None, mask: Array | None = None, *,
    dilations: Sequence[int] | None = None, group: int = 1, kernel_shape: Sequence[int] | None = None,
    offset_group: int = 1, pads: Sequence[int] | None = None, strides: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    """Each element of a window has an offset from its place, at which the image is interpolated, and a factor."""
    move = kernel_windows(x, w, group, kernel_shape, strides, dilations, pads)
    n, elements, count = len(move.kernel), math.prod(move.kernel), math.prod(move.places)
    batch, channels = x.shape[:2]
    if channels % offset_group or offset.size != batch * offset_group * elements * n * count:
        raise ValueError(
            f"offsets {list(offset.shape)} in {offset_group} groups are not for an input {list(x.shape)} "
            f"and windows of {move.kernel} at {move.places} places"
        )
    offset = offset.reshape(batch, offset_group, elements, n, count)
    mask = None if mask is None else mask.reshape(batch, offset_group, elements, count)
    grid = _elements(move)
    pixels = x.reshape(batch * offset_group, channels // offset_group, math.prod(x.shape[2:])).transpose(0, 2, 1)
    pixels = pixels.reshape(-1, channels // offset_group)  # a row for each pixel of each group
    outputs = w.shape[0]
    w = w.reshape(group, outputs // group, math.prod(w.shape[1:]))
    samples = max(_SAMPLES, x.size + batch * outputs * count)
    step = max(1, samples // max(batch * channels * elements, 1))
    parts = []
    for start in range(0, max(count, 1), step):
        at = slice(start, start + step)
        positions = offset[..., at] + xp.constant(grid[..., at], offset)
        seen = _interpolated(xp, pixels, positions, x.shape[2:], None if mask is None else mask[..., at])
        seen = seen.transpose(0, 1, 4, 2, 3).reshape(batch, group, w.shape[2], positions.shape[-1])
        parts.append(xp.matmul(w, seen))
    y = parts[0] if len(parts) == 1 else xp.concatenate(parts, axis=-1)
    y = y.reshape(batch, outputs, *move.places)
    return y if b is None else y + b.reshape(-1, *[1] * n)


def _elements(move: Windows) -> np.ndarray:
    """Where the elements of windows lie without offsets: [elements of a window, spatial dims, places]."""
    n = len(move.kernel)
    along = []
    for dim in range(n):
        first = np.arange(move.places[dim]) * move.strides[dim] - move.pads[dim][0]
        positions = np.add.outer(np.arange(move.kernel[dim]) * move.dilations[dim], first)
        shape = [1] * (2 * n)
        shape[dim], shape[n + dim] = positions.shape
        along.append(positions.reshape(shape))
    return np.stack(np.broadcast_arrays(*along), axis=n).reshape(math.prod(move.kernel), n, -1)


def _interpolated(
    xp: Backend, pixels: Array, positions: Array, sizes: Sequence[int], factors: Array | None
) -> Array:  # fmt: skip
    """Linear interpolation between pixels [image pixel, channel], at positions [N, group, element, spatial dim, place].

    Nothing is outside of the image. An image is a group of channels of an entry of the batch.

    Returns:
        [N, group, element, place, channel].
    """
    batch, groups = positions.shape[:2]
    neighbours = []  # along each dim: where both are, in pixels of the image, and their weights
    for dim, size in enumerate(sizes):
        position, below = positions[:, :, :, dim], math.prod(sizes[dim + 1 :])
        low = xp.floor(position)
        share = position - low
        low = xp.cast(xp.clip(low, -2, size), np.int64)
        neighbours.append([
            (xp.clip(i, 0, size - 1) * below, xp.where((i >= 0) & (i < size), weight, xp.number(0, weight)))
            for i, weight in ((low, 1 - share), (low + 1, share))
        ])  # fmt: skip
    image = np.arange(batch * groups).reshape(batch, groups, 1, 1) * math.prod(sizes)
    total = None
    for corner in itertools.product(*neighbours):
        index: Array = image
        weight: Array = factors
        for i, part in corner:
            index = index + i
            weight = part if weight is None else weight * part
        found = xp.take(pixels, index, axis=0) * weight[..., None]
        total = found if total is None else total + found
    return total
