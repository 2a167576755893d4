"""Blocks of an image that become channels, and channels that become blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.rewrite import Attrs, Axis, Const, Ints, Maybe, Perm, Tensor, op, rule
from graphopt.shapes import same_shape
from graphopt.shapes.dims import mul

#: For which ONNX Runtime has kernels of DepthToSpace and SpaceToDepth.
_DTYPES = (TensorProto.FLOAT, TensorProto.DOUBLE)
#: What brings the rows and columns of blocks behind those of the image: from [N, C, b, b, H, W], and from [N, b, b, C, H, W].
_COLUMNS_LAST = [0, 1, 4, 2, 5, 3]
_CHANNELS_LAST = [0, 3, 4, 1, 5, 2]
#: What brings the rows and columns of blocks in front of the channels: from [N, C, H, b, W, b].
_SPACE = [0, 3, 5, 1, 2, 4]
#: The same where there is one channel: its place does not matter.
_SPACE_OF_ONE = [0, 1, 3, 5, 2, 4]


@rule(exact=True)
def depth_to_space(x: "N C H W", s, p: Perm, shape):
    """Channels that are laid out as blocks of positions are put there by DepthToSpace."""
    parts = op.Reshape(x, s)
    y = op.Reshape(op.Transpose(parts, perm=p), shape)
    yield y
    if p not in (_COLUMNS_LAST, _CHANNELS_LAST) or x.dtype not in _DTYPES or parts.shape is None:
        return "another order, or not single or double precision"
    batch, channels, height, width = x.shape
    kept, size = (parts.shape[1], parts.shape[2]) if p == _COLUMNS_LAST else (parts.shape[3], parts.shape[1])
    if not isinstance(size, int):
        return "the size of the blocks is not known"
    block = (kept, size, size) if p == _COLUMNS_LAST else (size, size, kept)
    if not same_shape(parts.shape, (batch, *block, height, width)) or channels != mul(kept, size * size):
        return "not the channels made blocks"
    if not same_shape(y.shape, (batch, kept, mul(height, size), mul(width, size))):
        return "the result is no image, or its size is not known"
    yield op.DepthToSpace(x, blocksize=size, mode="CRD" if p == _COLUMNS_LAST else "DCR")


@rule(exact=True)
def space_to_depth(x: "N C H W", s: Ints, p: Perm, shape):
    """Blocks of positions that become channels are put there by SpaceToDepth."""
    parts = op.Reshape(x, shape=s)
    y = op.Reshape(op.Transpose(parts, perm=p), shape)
    yield y
    batch, channels, height, width = x.shape
    if x.dtype not in _DTYPES or (p != _SPACE and not (p == _SPACE_OF_ONE and channels == 1)):
        return "another order, or not single or double precision"
    rows, size, columns = parts.shape[2:5]
    if not isinstance(size, int):
        return "the size of the blocks is not known"
    blocks = (batch, channels, rows, size, columns, size)
    if not same_shape(parts.shape, blocks) or not same_shape((height, width), (mul(rows, size), mul(columns, size))):
        return "not positions made blocks"
    if not same_shape(y.shape, (batch, mul(channels, size * size), rows, columns)):
        return "the result is no image"
    yield op.SpaceToDepth(x, blocksize=size)


# ---------------------------------------------------------------------------------------- every second row and column
def _quarters(x: Any, e: Any, f: Any, rows: int, columns: int) -> list[Any]:
    """The even and the odd rows of x, of both the even columns and then the odd ones, as models with patches write it."""
    halves = [op.Slice(x, starts=[k], ends=e, axes=[rows], steps=[2]) for k in (0, 1)]
    return [op.Slice(half, starts=[k], ends=f, axes=[columns], steps=[2]) for k in (0, 1) for half in halves]


def _all_halved(x: Tensor, parts: list[Any], rows: int, columns: int) -> bool:
    """Whether each part has half the rows and columns of x, which are even, known numbers."""
    assert x.shape is not None
    height, width = x.shape[rows], x.shape[columns]
    if not all(isinstance(d, int) and d and d % 2 == 0 for d in (height, width)):
        return False
    half = list(x.shape)
    half[rows], half[columns] = height // 2, width // 2
    return all(bool(same_shape(p.value.shape, tuple(half))) for p in parts)


@rule(exact=True, since=10)
def patches_of_slices(x: "N H W C", e: Ints, f: Ints, n: Axis):
    """Blocks of two by two, taken apart by slices and laid behind each other, are an image whose axes change places."""
    parts = _quarters(x, e, f, 1, 2)
    yield op.Concat(*parts, axis=n)
    height, width, channels = x.shape[1:]
    if n != 3 or not isinstance(channels, int) or not channels:
        return "not along the last axis, or its size is not known"
    if not _all_halved(x, parts, 1, 2):
        return "not every second row and column of an even, known number"
    y = op.Transpose(op.Reshape(x, [0, height // 2, 2, width // 2, 2, channels]), perm=[0, 1, 3, 4, 2, 5])
    yield op.Reshape(y, [0, height // 2, width // 2, 4 * channels])


@rule(since=10)
def convolution_of_slices(x: "N C H W", e: Ints, f: Ints, n: Axis, w: Const, b: Maybe[Tensor], conv: Attrs):
    """Blocks of two by two, taken apart by slices for a convolution, are had by SpaceToDepth, with channels in its order."""
    parts = _quarters(x, e, f, 2, 3)
    yield op.Conv(op.Concat(*parts, axis=n), w, b, **conv)
    if n != 1 or x.dtype not in _DTYPES:
        return "not along the channels, or not single or double precision"
    if not _all_halved(x, parts, 2, 3):
        return "not every second row and column of an even, known number"
    if conv["group"] != 1:
        return "groups of channels"
    by_part = np.reshape(w, (w.shape[0], 4, w.shape[1] // 4, *w.shape[2:]))
    yield op.Conv(op.SpaceToDepth(x, blocksize=2), by_part[:, [0, 2, 1, 3]].reshape(w.shape), b, **conv)
