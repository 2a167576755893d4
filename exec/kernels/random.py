"""Random numbers: https://onnx.ai/onnx/operators/. They are drawn on the host; the same seed gives the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.dtypes import np_dtype
from graphopt.exec.kernels.registry import Array, kernel


def stream(seed: float | None) -> np.random.RandomState:
    """Random numbers, in a sequence of their own for each seed.

    This class of NumPy's is the one whose numbers stay the same from version to version.
    """
    if seed is None:
        return np.random.RandomState()
    return np.random.RandomState(int(seed) % 2**32 if seed == int(seed) else int(np.float32(seed).view(np.uint32)))


def _uniform(shape: Sequence[int], dtype: Any, low: float, high: float, seed: float | None) -> np.ndarray:
    return np.asarray(stream(seed).uniform(low, high, shape)).astype(dtype)


def _normal(shape: Sequence[int], dtype: Any, mean: float, scale: float, seed: float | None) -> np.ndarray:
    return np.asarray(stream(seed).normal(mean, scale, shape)).astype(dtype)


@kernel("RandomUniform", on_host=True)
def random_uniform(
    xp: Backend, *, shape: Sequence[int], dtype: int = 1, low: float = 0.0, high: float = 1.0, seed: float | None = None
) -> Array:
    """Numbers from `low` to before `high`."""
    return _uniform(shape, np_dtype(dtype), low, high, seed)


@kernel("RandomUniformLike", on_host=True)
def random_uniform_like(
    xp: Backend, x: Array, *, dtype: int = 0, low: float = 0.0, high: float = 1.0, seed: float | None = None
) -> Array:
    """As many of such as the input has elements."""
    return _uniform(x.shape, np_dtype(dtype) if dtype else x.dtype, low, high, seed)


@kernel("RandomNormal", on_host=True)
def random_normal(
    xp: Backend,
    *,
    shape: Sequence[int],
    dtype: int = 1,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
) -> Array:
    """Numbers of a normal distribution with the standard deviation `scale`."""
    return _normal(shape, np_dtype(dtype), mean, scale, seed)


@kernel("RandomNormalLike", on_host=True)
def random_normal_like(
    xp: Backend, x: Array, *, dtype: int = 0, mean: float = 0.0, scale: float = 1.0, seed: float | None = None
) -> Array:
    """As many of such as the input has elements."""
    return _normal(x.shape, np_dtype(dtype) if dtype else x.dtype, mean, scale, seed)


@kernel("Bernoulli", since=15, on_host=True)
def bernoulli(xp: Backend, x: Array, *, dtype: int = 0, seed: float | None = None) -> Array:
    """1 with the probability that the input says, else 0."""
    drawn = xp.uniform(x.shape, seed) < x
    return np.asarray(drawn).astype(np_dtype(dtype) if dtype else x.dtype)


@kernel("Multinomial", since=7, on_host=True)
def multinomial(xp: Backend, x: Array, *, dtype: int = 6, sample_size: int = 1, seed: float | None = None) -> Array:
    """Outcomes for each row of logarithms of probabilities, known but for a factor."""
    if x.ndim != 2 or not x.shape[1]:
        raise ValueError(f"a matrix with outcomes is needed, not a tensor of shape {list(x.shape)}")
    rows, outcomes = x.shape
    logs = x.astype(np.float64)
    odds = np.exp(logs - logs.max(axis=1, keepdims=True))
    ends = np.cumsum(odds, axis=1)
    ends /= ends[:, -1:]
    # All rows in one search: row i has its probabilities between i and i + 1.
    row = np.arange(rows)[:, None]
    drawn = xp.uniform((rows, sample_size), seed) + row
    found = np.searchsorted((ends + row).reshape(-1), drawn.reshape(-1), side="right").reshape(rows, sample_size)
    return np.minimum(found - row * outcomes, outcomes - 1).astype(np_dtype(dtype))
