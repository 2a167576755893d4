"""Poolings: one number from a window or from all of an image, and the way back: https://onnx.ai/onnx/operators/."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import ints
from graphopt.exec.kernels.registry import Array, Host, kernel
from graphopt.exec.kernels.windows import Windows, padded, padded_last, windows


# ------------------------------------------------------------------------------------------------------------- windows
@kernel("MaxPool", wide=True)
def max_pool(
    xp: Backend, x: Array, *, kernel_shape: Sequence[int], auto_pad: str = "NOTSET", ceil_mode: int = 0,
    dilations: Sequence[int] | None = None, pads: Sequence[int] | None = None, storage_order: int = 0,
    strides: Sequence[int] | None = None, outputs: int = 1,
) -> Array:  # fmt: skip
    """The largest element, and where the first of these is among the elements of the input."""
    move = windows(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode, whole=False)
    if outputs > 1:
        return _found(xp, x, move, storage_order)
    return (
        xp.max(x, _images(x), True)
        if is_all(x.shape[2:], move)
        else xp.fold_windows(xp.maximum, x, move, xp.lowest(x.dtype))
    )


@kernel("AveragePool", wide=True)
def average_pool(
    xp: Backend, x: Array, *, kernel_shape: Sequence[int], auto_pad: str = "NOTSET", ceil_mode: int = 0,
    count_include_pad: int = 0, dilations: Sequence[int] | None = None, pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    """The mean of the elements that are not padding, or that are not behind it."""
    move = windows(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode, whole=False)
    counts = window_counts(move, tuple(x.shape[2:]), bool(count_include_pad))
    y = xp.sum(x, _images(x), True) if is_all(x.shape[2:], move) else xp.fold_windows(xp.add, x, move, 0)
    y /= xp.constant(counts, x)
    return y


@kernel("LpPool", wide=True)
def lp_pool(
    xp: Backend, x: Array, *, kernel_shape: Sequence[int] | None = None, auto_pad: str = "NOTSET", ceil_mode: int = 0,
    dilations: Sequence[int] | None = None, p: float = 2, pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    """The p-th root of the sum of p-th powers."""
    move = windows(x.shape[2:], kernel_shape or x.shape[2:], strides, dilations, pads, auto_pad, ceil_mode, whole=False)
    return _root(xp, xp.fold_windows(xp.add, _power(xp, x, p), move, 0), p)


def _images(x: Array) -> tuple[int, ...]:
    """The spatial dims."""
    return tuple(range(2, x.ndim))


def is_all(sizes: Sequence[int], move: Windows) -> bool:
    """Whether there is one window, and it sees all of an image of such dims."""
    return move.kernel == tuple(sizes) and math.prod(move.places) == 1 and not any(map(any, move.cover))


def gathered(xp: Backend, combine: Callable[..., Any], x: Array, move: Windows, nothing: Any, first: int = 2) -> Array:
    """`Backend.fold_windows` on any backend: along one dim after the other, slices are combined."""
    widen = padded if first == 2 else padded_last
    for dim in range(len(move.kernel)):
        x = widen(xp, x, tuple(cover if d == dim else (0, 0) for d, cover in enumerate(move.cover)), nothing)
        x = functools.reduce(combine, [x[(slice(None),) * (first + dim) + (at,)] for at in move.along(dim)])
    return xp.copy(x) if math.prod(move.kernel) == 1 else x


@functools.lru_cache(maxsize=1 << 8)
def window_counts(move: Windows, sizes: tuple[int, ...], padding: bool) -> np.ndarray:
    """How many elements of the image, and of its padding if that counts, each window has; a number where all are equal."""
    counts = np.ones((), np.int64)
    for dim, (size, (before, after)) in enumerate(zip(sizes, move.pads, strict=True)):
        first = np.arange(move.places[dim]) * move.strides[dim] - before
        at = np.add.outer(first, np.arange(move.kernel[dim]) * move.dilations[dim])
        inside = (at >= -before) & (at < size + after) if padding else (at >= 0) & (at < size)
        counts = np.multiply.outer(counts, np.maximum(inside.sum(axis=1), 1))  # nothing but padding makes 0
    return counts.reshape(-1)[0] if counts.size and counts.min() == counts.max() else counts


def _found(xp: Backend, x: Array, move: Windows, storage_order: int) -> tuple[Array, Array]:
    """The largest element of each window, and where it is: (image, channel, spatial dims) as one number.

    Args:
        storage_order: 0 counts the elements of an image with the last dim innermost, 1 with the first.
    """
    sizes, n = x.shape[2:], len(move.kernel)
    best = xp.full((*x.shape[:2], *move.places), xp.lowest(x.dtype), dtype=x.dtype)
    image = padded(xp, x, move.cover, xp.lowest(x.dtype))
    spots, inside = _spots(move, tuple(sizes), storage_order)
    start = spots[np.argmax(inside, axis=0), np.arange(inside.shape[1])].reshape(move.places)
    where = xp.broadcast_to(xp.asarray(start), best.shape)  # the first element that is no padding
    for spot, at in zip(spots, move.offsets(), strict=True):
        seen = image[(..., *at)]
        where = xp.where(seen > best, spot.reshape(move.places), where)
        best = xp.maximum(best, seen)
    images = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * n) * math.prod(sizes)
    return best, where + images


@functools.lru_cache(maxsize=1 << 4)
def _spots(move: Windows, sizes: tuple[int, ...], storage_order: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the elements of windows are in an image, and whether they are in it: [elements of a window, places]."""
    n = len(sizes)
    spots, inside = np.zeros((), np.int64), np.ones((), bool)
    for dim, size in enumerate(sizes):
        first = np.arange(move.places[dim]) * move.strides[dim] - move.pads[dim][0]
        at = np.add.outer(np.arange(move.kernel[dim]) * move.dilations[dim], first)
        shape = [1] * (2 * n)
        shape[dim], shape[n + dim] = at.shape
        at = at.reshape(shape)
        spots = spots + at * math.prod(sizes[:dim] if storage_order else sizes[dim + 1 :])
        inside = inside & (at >= 0) & (at < size)
    shape = [math.prod(move.kernel), math.prod(move.places)]
    return spots.reshape(shape), inside.reshape(shape)


# ----------------------------------------------------------------------------------------------------------------- all
@kernel("GlobalMaxPool", wide=True)
def global_max_pool(xp: Backend, x: Array) -> Array:
    return xp.max(x, axis=_images(x), keepdims=True)


@kernel("GlobalAveragePool", wide=True)
def global_average_pool(xp: Backend, x: Array) -> Array:
    return xp.sum(x, axis=_images(x), keepdims=True) / xp.number(math.prod(x.shape[2:]), x)


@kernel("GlobalLpPool", wide=True)
def global_lp_pool(xp: Backend, x: Array, *, p: float = 2) -> Array:
    return _root(xp, xp.sum(_power(xp, x, p), axis=_images(x), keepdims=True), p)


def _power(xp: Backend, x: Array, p: float) -> Array:
    if p == 2:
        return x * x
    return xp.abs(x) if p == 1 else xp.power(xp.abs(x), xp.number(p, x))


def _root(xp: Backend, x: Array, p: float) -> Array:
    if p == 2:
        return xp.sqrt(x)
    return x if p == 1 else xp.power(x, xp.number(1 / p, x))


# ---------------------------------------------------------------------------------------------------------------- back
@kernel("MaxUnpool", since=9)
def max_unpool(
    xp: Backend, x: Array, indices: Array, output_shape: Host | None = None, *, kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None, strides: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    """Elements where MaxPool found them, and zeros. What is asked for beyond the shape that it pooled is zeros too."""
    n = x.ndim - 2
    strides, pads = strides or [1] * n, pads or [0] * (2 * n)
    if indices.shape != x.shape or not len(kernel_shape) == len(strides) == n or len(pads) != 2 * n:
        raise ValueError(
            f"indices {list(indices.shape)}, kernel {list(kernel_shape)}, strides {list(strides)} and pads {list(pads)} "
            f"are not for an input {list(x.shape)}"
        )
    pooled = [
        (size - 1) * stride + k - before - after
        for size, stride, k, before, after in zip(x.shape[2:], strides, kernel_shape, pads[:n], pads[n:], strict=True)
    ]
    shape = [*x.shape[:2], *pooled]
    y = xp.zeros(math.prod(shape), x.dtype)
    y = xp.put(y, indices.reshape(-1), x.reshape(-1)).reshape(shape)
    if output_shape is None:
        return y
    sizes = ints(output_shape)
    if len(sizes) != x.ndim or sizes[:2] != shape[:2]:
        raise ValueError(f"output_shape {sizes} is not for an input {list(x.shape)}")
    return padded(xp, y, tuple((0, want - have) for want, have in zip(sizes[2:], pooled, strict=True)))
