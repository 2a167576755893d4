"""Operators on images: blocks of pixels and channels, crops, and files that are decoded."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from graphopt.errors import MissingDependencyError
from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import axes_of, ints
from graphopt.exec.kernels.registry import Array, Host, kernel


# ------------------------------------------------------------------------------------------------------------------ blocks
@kernel("DepthToSpace", since=1)
def depth_to_space(xp: Backend, x: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    """Channels become blocks of pixels: a channel is counted [row, column, depth], or [depth, row, column] ('CRD')."""
    n, c, h, w = x.shape
    depth = c // blocksize**2
    if depth * blocksize**2 != c:
        raise ValueError(f"{c} channels cannot become blocks of {blocksize} by {blocksize} pixels")
    if _is_depth_last(mode):
        x = x.reshape(n, blocksize, blocksize, depth, h, w)
        parts = [[x[:, i, j] for j in range(blocksize)] for i in range(blocksize)]
    else:
        x = x.reshape(n, depth, blocksize, blocksize, h, w)
        parts = [[x[:, :, i, j] for j in range(blocksize)] for i in range(blocksize)]
    rows = [xp.stack(row, -1).reshape(n, depth, h, 1, w * blocksize) for row in parts]  # faster than a transposition
    return xp.concatenate(rows, 3).reshape(n, depth, h * blocksize, w * blocksize)


@kernel("SpaceToDepth", since=1)
def space_to_depth(xp: Backend, x: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    """Blocks of pixels become channels, counted as for DepthToSpace."""
    n, c, h, w = x.shape
    height, width = h // blocksize, w // blocksize
    if height * blocksize != h or width * blocksize != w:
        raise ValueError(f"{h} by {w} pixels do not consist of blocks of {blocksize} by {blocksize}")
    axis = 1 if _is_depth_last(mode) else 2
    parts = [x[:, :, i::blocksize, j::blocksize] for i in range(blocksize) for j in range(blocksize)]
    return xp.stack(parts, axis).reshape(n, c * blocksize**2, height, width)


def _is_depth_last(mode: str) -> bool:
    if mode not in ("DCR", "CRD"):
        raise ValueError(f"there is no mode '{mode}'")
    return mode == "DCR"


# ------------------------------------------------------------------------------------------------------------------- crops
@kernel("CenterCropPad", since=18)
def center_crop_pad(xp: Backend, x: Array, shape: Host, *, axes: Sequence[int] | None = None) -> Array:
    """The middle of a tensor, or zeros around it; what is odd is cut off, and added, at the end."""
    where = range(x.ndim) if axes is None else axes_of(axes, x.ndim)
    sizes = ints(shape)
    if len(sizes) != len(where):
        raise ValueError(f"{len(sizes)} sizes for {len(where)} axes")
    crop, widths = [slice(None)] * x.ndim, [(0, 0)] * x.ndim
    for axis, new in zip(where, sizes):
        old = x.shape[axis]
        start = abs(new - old) // 2
        if new < old:
            crop[axis] = slice(start, start + new)
        else:
            widths[axis] = (start, new - old - start)
    empty = "" if x.dtype.kind == "O" and not xp.exact else 0
    return xp.pad(x[tuple(crop)], widths, empty)


# ------------------------------------------------------------------------------------------------------------------- files
@kernel("ImageDecoder", since=20, on_host=True)
def image_decoder(xp: Backend, encoded_stream: np.ndarray, *, pixel_format: str = "RGB") -> np.ndarray:
    """The pixels [H, W, channels] of an image file; empty where it cannot be decoded."""
    try:
        from PIL import Image
    except ImportError as e:
        raise MissingDependencyError("ImageDecoder needs Pillow, which is not installed: pip install pillow") from e
    if pixel_format not in ("RGB", "BGR", "Grayscale"):
        raise ValueError(f"there is no pixel_format '{pixel_format}'")
    channels = 1 if pixel_format == "Grayscale" else 3
    try:
        with Image.open(io.BytesIO(encoded_stream.tobytes())) as image:
            pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
    except (OSError, SyntaxError, ValueError):  # what Pillow raises for files that are none
        return np.empty((0, 0, channels), np.uint8)
    pixels = pixels.reshape(*pixels.shape[:2], channels)
    return pixels[..., ::-1] if pixel_format == "BGR" else pixels
