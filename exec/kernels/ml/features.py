"""Features before a model sees them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.dtypes import is_float
from graphopt.exec.kernels.ml import DOMAIN
from graphopt.exec.kernels.ml.scores import rows_of
from graphopt.exec.kernels.registry import Array, kernel


@kernel("ArrayFeatureExtractor", domain=DOMAIN)
def array_feature_extractor(xp: Backend, x: Array, y: Array) -> Array:
    """Elements of the last axis; a vector gives a matrix of one row."""
    if isinstance(y, np.ndarray) and ((y < 0) | (y >= x.shape[-1])).any():
        raise ValueError(f"index {y[(y < 0) | (y >= x.shape[-1])][0]} is not within [0, {x.shape[-1]})")
    return xp.take(x if x.ndim > 1 else x[None], y.reshape(-1), axis=-1)


@kernel("Binarizer", domain=DOMAIN)
def binarizer(xp: Backend, x: Array, *, threshold: float = 0.0) -> Array:
    return xp.cast(x > threshold, x.dtype)


@kernel("FeatureVectorizer", domain=DOMAIN)
def feature_vectorizer(xp: Backend, *xs: Array, inputdimensions: Sequence[int] | None = None) -> Array:
    """Rows side by side, each cut or filled up to its size."""
    sizes = [None] * len(xs) if inputdimensions is None else inputdimensions
    parts = []
    for x, size in zip(xs, sizes, strict=True):
        x = rows_of(xp, x.reshape(x.shape[0], -1) if x.ndim > 2 else x)
        parts.append(x if size is None else xp.pad(x[:, :size], [(0, 0), (0, max(0, size - x.shape[1]))]))
    return xp.concatenate(parts, axis=1)


def _imputed(
    *,
    imputed_value_floats: Sequence[float] = (),
    imputed_value_int64s: Sequence[int] = (),
    replaced_value_float: float = 0.0,
    replaced_value_int64: int = 0,
) -> dict[str, Any]:
    if not imputed_value_floats and not imputed_value_int64s:
        raise ValueError("no imputed values are given")
    integers = (np.array(imputed_value_int64s, np.int64), replaced_value_int64)
    floats = (np.array(imputed_value_floats, np.float32), replaced_value_float)
    return {"integers": integers, "floats": floats}


@kernel("Imputer", domain=DOMAIN, prepare=_imputed)
def imputer(xp: Backend, x: Array, *, integers: tuple[np.ndarray, int], floats: tuple[np.ndarray, float]) -> Array:
    """Other values in place of one that stands for those that are missing; NaN stands for all NaNs."""
    first, second = (floats, integers) if is_float(x.dtype) else (integers, floats)
    values, missing = first if first[0].size else second
    if values.size not in (1, x.shape[-1]):
        raise ValueError(f"{values.size} imputed values for {x.shape[-1]} features")
    return xp.where(xp.isnan(x) if math.isnan(missing) else x == missing, xp.constant(values, x), x)


@kernel("Normalizer", domain=DOMAIN)
def normalizer(xp: Backend, x: Array, *, norm: str = "MAX") -> Array:
    """Rows divided by their largest element, their sum of magnitudes, or their length; those where it is zero stay."""
    y = rows_of(xp, x)
    if norm == "MAX":
        size = xp.max(y, axis=1, keepdims=True)
    elif norm == "L1":
        size = xp.sum(xp.abs(y), axis=1, keepdims=True)
    elif norm == "L2":
        size = xp.sqrt(xp.sum(y * y, axis=1, keepdims=True))
    else:
        raise ValueError(f"unknown norm {norm!r}; known: MAX, L1, L2")
    return (y / xp.where(size == 0, xp.number(1, y), size)).reshape(x.shape)


def _scaled(*, offset: Sequence[float] = (), scale: Sequence[float] = ()) -> dict[str, Any]:
    return {"offset": np.array(offset or (0,), np.float32), "scale": np.array(scale or (1,), np.float32)}


@kernel("Scaler", domain=DOMAIN, prepare=_scaled)
def scaler(xp: Backend, x: Array, *, offset: np.ndarray, scale: np.ndarray) -> Array:
    """(x - offset) * scale, for each feature its own or one for all."""
    for parameter in (offset, scale):
        if parameter.size not in (1, x.shape[-1]):
            raise ValueError(f"{parameter.size} offsets or scales for {x.shape[-1]} features")
    y = xp.cast(x, np.float32)
    y = y - xp.constant(offset, y)
    y *= xp.constant(scale, y)
    return y
