"""What windows of poolings make of their elements on NumPy: what `xp.fold_windows` is there.

Along one dim after the other. NumPy is fast at long runs of memory only: so there is a window at each element, whatever the
stride, of all images as if they were one; those that reach into what is not theirs are put right afterwards.
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
        images, last = math.prod(x.shape[:2]), len(move.kernel) - 1
        x = np.ascontiguousarray(x).reshape(images, *x.shape[2:])
        out = y.reshape(images, *move.places)
        step = max(1, _BLOCK // math.prod(x.shape[1:]))
        for i in range(0, images, step):
            part = x[i : i + step]
            for dim in range(last + 1):
                part = _along(combine, part, move, dim, nothing, out[i : i + step] if dim == last else None)
    return y


def _along(
    combine: np.ufunc, x: np.ndarray, move: Windows, dim: int, nothing: Any, target: np.ndarray | None
) -> np.ndarray:
    """Fold [images, D...] along a dim; the result is written to `target` if there is one."""
    kernel, stride, dilation, count = move.kernel[dim], move.strides[dim], move.dilations[dim], move.places[dim]
    before, after = move.cover[dim]
    front, size, behind = x.shape[: 1 + dim], x.shape[1 + dim], x.shape[2 + dim :]
    outer, inner = math.prod(front), math.prod(behind)
    edges = _edges(kernel, stride, dilation, before, count, size)
    if edges and (
        kernel == 1 or 2 * len(edges) > count or (count - 1) * stride >= size or not all(e for _, e in edges)
    ):
        image = np.full((outer, before + size + max(after, 0), inner), nothing, x.dtype)
        image[:, before : before + size] = x.reshape(outer, size, inner)
        x, size, before, edges = image, image.shape[1], 0, ()
    x = x.reshape(outer, size, inner)
    every = stride == 1 and count == size
    y = target.reshape(outer, count, inner) if target is not None else None
    whole = x
    if kernel > 1:
        whole = y if every and y is not None else np.empty(x.shape, x.dtype)
        flat, far = x.reshape(-1), dilation * inner
        length = flat.size - (kernel - 1) * far
        run = whole.reshape(-1)[before * inner : before * inner + length]
        combine(flat[:length], flat[far : far + length], out=run)
        for i in range(2, kernel):
            combine(run, flat[i * far : i * far + length], out=run)
        for place, (element, *others) in edges:
            whole[:, place] = x[:, element]
            for other in others:
                combine(whole[:, place], x[:, other], out=whole[:, place])
    if y is None:
        y = whole if every else np.ascontiguousarray(whole[:, : (count - 1) * stride + 1 : stride])
    elif whole is not y:
        y[...] = whole[:, : (count - 1) * stride + 1 : stride]
    return y.reshape(*front, count, *behind)


@functools.lru_cache(maxsize=1 << 10)
def _edges(
    kernel: int, stride: int, dilation: int, before: int, count: int, size: int
) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Elements at which there are windows that see padding, and what else these see."""
    edges = []
    for place in range(0, count * stride, stride):
        elements = range(place - before, place - before + kernel * dilation, dilation)
        if elements[0] < 0 or elements[-1] >= size:
            edges.append((place, tuple(i for i in elements if 0 <= i < size)))
    return tuple(edges)
