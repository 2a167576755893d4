"""What models of several classes or targets have in common: rows, transformed scores, labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.registry import Array


def rows_of(xp: Backend, x: Array, dtype: Any = np.float32) -> Array:
    """Examples as the rows of a matrix; a vector is a single one.

    Raises:
        ValueError: the rank is another.
    """
    if x.ndim not in (1, 2):
        raise ValueError(f"examples of shape {list(x.shape)} are neither a row nor a matrix")
    return xp.cast(x if x.ndim == 2 else x[None], dtype)


# ------------------------------------------------------------------------------------------------------------ transforms
def logistic(xp: Backend, x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + xp.exp(-x))


def _softmax(xp: Backend, x: Array) -> Array:
    y = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    return y / xp.sum(y, axis=-1, keepdims=True)


def _softmax_zero(xp: Backend, x: Array) -> Array:
    """Softmax of those scores that are not zero."""
    top = xp.max(x, axis=-1, keepdims=True)
    counts = xp.abs(x) > xp.number(1e-7, x)
    y = xp.where(counts, xp.exp(x - top), 0)
    return xp.where(counts, y, x * xp.exp(-top)) / xp.sum(y, axis=-1, keepdims=True)


def _probit(xp: Backend, x: Array) -> Array:
    """The inverse of the normal distribution, from Winitzki's approximation of the inverse error function, in float32."""
    z = 2 * xp.cast(x, np.float32) - 1
    log = xp.log((1 - z) * (1 + z))
    a = xp.number(0.147, z)
    b = xp.number(2 / (math.pi * 0.147), z) + log * xp.number(0.5, z)
    y = xp.sqrt(xp.sqrt(b * b - log / a) - b) * xp.number(math.sqrt(2), z)
    return xp.cast(xp.where(z < 0, -y, y), x.dtype)


_TRANSFORMS: dict[str, Callable[[Backend, Array], Array]] = {
    "NONE": lambda xp, x: x,
    "SOFTMAX": _softmax,
    "LOGISTIC": logistic,
    "SOFTMAX_ZERO": _softmax_zero,
    "PROBIT": _probit,
}
#: Their names, in the order of TreeEnsemble's numbers.
TRANSFORMS = tuple(_TRANSFORMS)


def transformed(xp: Backend, scores: Array, name: str) -> Array:
    """Scores, a column for each class or target, after their transform; a single one has none but PROBIT.

    Raises:
        ValueError: there is no such transform.
    """
    if name not in _TRANSFORMS:
        raise ValueError(f"unknown post_transform {name!r}; known: {', '.join(TRANSFORMS)}")
    return scores if scores.shape[-1] == 1 and name != "PROBIT" else _TRANSFORMS[name](xp, scores)


def completed(xp: Backend, score: Array, name: str, probability: bool) -> Array:
    """The scores of both classes, given that of the second one.

    Args:
        score: one for each row.
        name: of the transform, of which only LOGISTIC and PROBIT act on a single score.
        probability: without one, the other score is what this one lacks to 1, and not its negative.
    """
    if name == "PROBIT":
        return xp.stack([_probit(xp, score), xp.zeros_like(score)], axis=-1)
    if name == "LOGISTIC":
        return logistic(xp, xp.stack([-score, score], axis=-1))
    return xp.stack([1 - score if probability else -score, score], axis=-1)


# ---------------------------------------------------------------------------------------------------------------- labels
def labels_of(integers: Sequence[int] | None, strings: Sequence[str] | None) -> np.ndarray:
    """The labels of classes, from whichever attribute is there.

    Raises:
        ValueError: none is.
    """
    if strings:
        return np.array(strings, object)
    if not integers:
        raise ValueError("neither integers nor strings are given as labels of the classes")
    return np.array(integers, np.int64)


def pick(xp: Backend, values: np.ndarray, index: Array) -> Array:
    """Some values. Strings are picked on the host: under tracing this fails, as it must."""
    return values[np.asarray(index)] if values.dtype == object else xp.take(values, index)
