"""What windows of poolings make of their elements on NumPy: what `xp.fold_windows` is there.

Along one dim after the other, in long runs of memory, and block by block. Hardly anything is padded: what is not there is
left out.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from graphopt.exec.kernels.windows import Windows

#: Elements of the input at a time: they fit into the second-level cache with what becomes of them.
_BLOCK = 1 << 17


def fold_windows(combine: np.ufunc, x: np.ndarray, move: Windows, nothing: Any) -> np.ndarray:
    """See `Backend.fold_windows`."""
    y = np.empty((*x.shape[:2], *move.places), x.dtype)
    if y.size:
        images = math.prod(x.shape[:2])
        x = np.ascontiguousarray(x).reshape(images, *x.shape[2:])
        out = y.reshape(images, *move.places)
        step = max(1, _BLOCK // math.prod(x.shape[1:]))
        for i in range(0, images, step):
            _fold(combine, x[i : i + step], move, nothing, out[i : i + step])
    return y


def _fold(combine: np.ufunc, x: np.ndarray, move: Windows, nothing: Any, y: np.ndarray) -> None:
    last = len(move.kernel) - 1
    for dim, (kernel, stride, (before, _)) in enumerate(zip(move.kernel[:-1], move.strides, move.pads)):
        if kernel > 1 or stride > 1 or before:
            front, size, behind = x.shape[: 1 + dim], x.shape[1 + dim], x.shape[2 + dim :]
            taps = _taps(kernel, stride, move.dilations[dim], before, move.places[dim], size)
            parts = x.reshape(math.prod(front), size, math.prod(behind))
            x = _rows(combine, parts, taps, move.places[dim], nothing).reshape(*front, move.places[dim], *behind)
        elif move.places[dim] < x.shape[1 + dim]:
            x = x[(slice(None),) * (1 + dim) + (slice(0, move.places[dim]),)]
    x = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
    _columns(
        combine, x, move.kernel[last], move.strides[last], move.dilations[last], move.cover[last], nothing,
        y.reshape(len(x), y.shape[-1]),
    )  # fmt: skip


#: Places of windows, and the elements that are there at one offset.
_Tap = tuple[slice, slice]


@functools.lru_cache(maxsize=1 << 10)
def _taps(kernel: int, stride: int, dilation: int, before: int, count: int, size: int) -> tuple[_Tap, ...]:
    """For each offset: at which places it is not padding, and where the elements are; those with most places first."""
    taps = []
    for i in range(kernel):
        shift = i * dilation - before
        low, high = max(0, -(shift // stride)), min(count, (size - 1 - shift) // stride + 1)
        if low < high:
            start = low * stride + shift
            taps.append((slice(low, high), slice(start, start + (high - low - 1) * stride + 1, stride)))
    return tuple(sorted(taps, key=lambda tap: tap[0].start - tap[0].stop))


def _rows(combine: np.ufunc, x: np.ndarray, taps: tuple[_Tap, ...], count: int, nothing: Any) -> np.ndarray:
    """Along the middle one of three dims."""
    y = np.empty((len(x), count, x.shape[2]), x.dtype)
    every = slice(0, count)
    if len(taps) > 1 and taps[0][0] == taps[1][0] == every:
        combine(x[:, taps[0][1]], x[:, taps[1][1]], out=y)
        taps = taps[2:]
    elif taps and taps[0][0] == every:
        y[...] = x[:, taps[0][1]]
        taps = taps[1:]
    else:
        y[...] = nothing
    for places, elements in taps:
        combine(y[:, places], x[:, elements], out=y[:, places])
    return y


def _columns(
    combine: np.ufunc, x: np.ndarray, kernel: int, stride: int, dilation: int, cover: tuple[int, int], nothing: Any,
    y: np.ndarray,
) -> None:  # fmt: skip
    """Along the last of two dims: all rows are one, with windows at each element; those across two rows are put right."""
    (rows, size), count, before = x.shape, y.shape[1], cover[0]
    edges = _edges(kernel, stride, dilation, before, count, size)
    if 2 * len(edges) > count or (count - 1) * stride >= size:
        image = np.full((rows, before + size + max(cover[1], 0)), nothing, x.dtype)
        image[:, before : before + size] = x
        _columns(combine, image, kernel, stride, dilation, (0, 0), nothing, y)
        return
    if kernel == 1:
        y[...] = x[:, : (count - 1) * stride + 1 : stride]
        return
    whole = y if stride == 1 and count == size else np.empty(x.shape, x.dtype)
    flat, reach = x.reshape(-1), (kernel - 1) * dilation
    length = flat.size - reach
    out = whole.reshape(-1)[before : before + length]
    combine(flat[:length], flat[dilation : dilation + length], out=out)
    for i in range(2, kernel):
        combine(out, flat[i * dilation : i * dilation + length], out=out)
    if whole is not y:
        y[...] = whole[:, : (count - 1) * stride + 1 : stride]
    for place, elements in edges:
        y[:, place] = functools.reduce(combine, [x[:, i] for i in elements]) if elements else nothing


@functools.lru_cache(maxsize=1 << 10)
def _edges(
    kernel: int, stride: int, dilation: int, before: int, count: int, size: int
) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Places at which a window sees padding, and what else it sees."""
    edges = []
    for place in range(count):
        elements = range(place * stride - before, place * stride - before + kernel * dilation, dilation)
        if elements[0] < 0 or elements[-1] >= size:
            edges.append((place, tuple(i for i in elements if 0 <= i < size)))
    return tuple(edges)
