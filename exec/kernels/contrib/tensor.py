"""Operators of com.microsoft that move, make and compare tensors: ContribOperators.md of ONNX Runtime.

Several are older forms of what ONNX has now.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import axis_of, ints
from graphopt.exec.kernels.constants import range_
from graphopt.exec.kernels.indexing import gather_nd
from graphopt.exec.kernels.movement import pad, trilu
from graphopt.exec.kernels.registry import Array, Host, kernel
from graphopt.exec.kernels.selection import unique

DOMAIN = "com.microsoft"

kernel("Trilu", domain=DOMAIN)(trilu)


@kernel("SampleOp", domain=DOMAIN)
def sample(xp: Backend, x: Array) -> Array:
    """What it is given."""
    return x


@kernel("ExpandDims", domain=DOMAIN)
def expand_dims(xp: Backend, x: Array, axis: Host) -> Array:
    (place,) = ints(axis)
    return xp.expand_dims(x, axis_of(place, x.ndim + 1))


@kernel("GatherND", domain=DOMAIN)
def gather_nd_1(xp: Backend, x: Array, indices: Array) -> Array:
    return gather_nd(xp, x, indices)


@kernel("Pad", domain=DOMAIN)
def pad_1(xp: Backend, x: Array, pads: Host, value: Array | None = None, *, mode: str = "constant") -> Array:
    return pad(xp, x, pads, value, mode=mode)


@kernel("Range", domain=DOMAIN)
def range_1(xp: Backend, start: Host, limit: Host, delta: Host = None) -> np.ndarray:
    return range_(xp, start, limit, np.ones((), np.asarray(start).dtype) if delta is None else delta)


@kernel("Unique", domain=DOMAIN, on_host=True)
def unique_1(xp: Backend, x: Array) -> tuple[Array, ...]:
    """What differs, in the order in which it comes; which of them each one is, and how often it is there."""
    y, _, which, counts = unique(xp, x, sorted=0, outputs=4)
    return y, which, counts


@kernel("UnfoldTensor", domain=DOMAIN)
def unfold(xp: Backend, x: Array, *, dim: int = -1, size: int, step: int = 1) -> Array:
    """Pieces of a dim, each `step` behind the one before; a new last dim is for what is in a piece."""
    axis = axis_of(dim, x.ndim)
    if x.shape[axis] < size:
        raise ValueError(f"a piece of {size} does not fit into the {x.shape[axis]} elements along axis {dim}")
    places = np.arange(0, x.shape[axis] - size + 1, step)[:, None] + np.arange(size)
    return xp.moveaxis(xp.take(x, places, axis=axis), axis + 1, -1)


@kernel("Inverse", domain=DOMAIN, wide=True)
def inverse(xp: Backend, x: Array) -> Array:
    """Of the matrices in the last two dims."""
    return xp.linalg.inv(x)


@kernel("CDist", domain=DOMAIN)
def distances(xp: Backend, a: Array, b: Array, *, metric: str = "sqeuclidean") -> Array:
    """From each row of one matrix to each of the other: |a|² - 2ab + |b|², or its root."""
    if metric not in ("sqeuclidean", "euclidean"):
        raise ValueError(f"the metric '{metric}' is not supported")
    y = xp.matmul(a, b.T)
    y *= -2
    y += xp.sum(a * a, axis=1, keepdims=True)
    y += xp.sum(b * b, axis=1)
    y = xp.maximum(y, xp.number(0, y))
    return xp.into(xp.sqrt, y) if metric == "euclidean" else y


@kernel("DynamicTimeWarping", domain=DOMAIN, on_host=True)
def dynamic_time_warping(xp: Backend, x: Array) -> np.ndarray:
    """The cheapest way through a matrix of costs, by steps down, right, or both; its rows and its columns.

    Costs of ways up to a diagonal follow from those up to the two before, all of its elements at once.
    """
    cost = np.asarray(x).reshape(x.shape[-2:])
    rows, columns = cost.shape
    best = np.full((rows + 1, columns + 1), np.inf, cost.dtype)
    best[0, 0] = 0
    step = np.zeros((rows, columns), np.int8)
    for d in range(rows + columns - 1):
        i = np.arange(max(0, d - columns + 1), min(rows, d + 1))
        j = d - i
        before = np.stack([best[i, j], best[i, j + 1], best[i + 1, j]])
        both, down, right = before
        step[i, j] = np.where((both < down) & (both < right), 0, np.where((down < both) & (down < right), 1, 2))
        best[i + 1, j + 1] = cost[i, j] + np.take_along_axis(before, step[i, j][None].astype(np.intp), 0)[0]
    way: list[Any] = []
    i, j = rows - 1, columns - 1
    while i >= 0 and j >= 0:
        way.append((i, j))
        i, j = i - (step[i, j] != 2), j - (step[i, j] != 1)
    return np.array(way[::-1], np.int32).reshape(-1, 2).T
