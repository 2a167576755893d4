"""Linear models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.ml import DOMAIN
from graphopt.exec.kernels.ml.scores import completed, labels_of, pick, rows_of, transformed
from graphopt.exec.kernels.registry import Array, kernel


def _scores(xp: Backend, x: Array, coefficients: np.ndarray, intercepts: np.ndarray) -> Array:
    """A column for each row of the coefficients."""
    x = rows_of(xp, x)
    if not x.shape[1] or coefficients.size % x.shape[1]:
        raise ValueError(f"{coefficients.size} coefficients for rows of {x.shape[1]}")
    scores = xp.matmul(x, xp.constant(coefficients.reshape(-1, x.shape[1]).T, x))
    return scores + xp.constant(intercepts, scores) if intercepts.size else scores


def _regressor(
    *,
    coefficients: Sequence[float] = (),
    intercepts: Sequence[float] = (),
    post_transform: str = "NONE",
    targets: int = 1,
) -> dict[str, Any]:
    weights = np.array(coefficients, np.float32).reshape(targets, -1)
    offsets = np.array(intercepts if len(intercepts) == targets else (), np.float32)
    return {"coefficients": weights, "intercepts": offsets, "post_transform": post_transform}


@kernel("LinearRegressor", domain=DOMAIN, prepare=_regressor)
def linear_regressor(
    xp: Backend, x: Array, *, coefficients: np.ndarray, intercepts: np.ndarray, post_transform: str
) -> Array:
    return transformed(xp, _scores(xp, x, coefficients, intercepts), post_transform)


def _classifier(
    *,
    coefficients: Sequence[float],
    classlabels_ints: Sequence[int] | None = None,
    classlabels_strings: Sequence[str] | None = None,
    intercepts: Sequence[float] = (),
    multi_class: int = 0,
    post_transform: str = "NONE",
) -> dict[str, Any]:
    labels = labels_of(classlabels_ints, classlabels_strings)
    weights = np.array(coefficients, np.float32)
    offsets = np.array(intercepts, np.float32)
    return {"coefficients": weights, "intercepts": offsets, "labels": labels, "post_transform": post_transform}


@kernel("LinearClassifier", domain=DOMAIN, prepare=_classifier)
def linear_classifier(
    xp: Backend,
    x: Array,
    *,
    coefficients: np.ndarray,
    intercepts: np.ndarray,
    labels: np.ndarray,
    post_transform: str,
) -> tuple[Array, Array]:
    """The label of the highest score, and all scores; a single one is that of the second of two classes."""
    scores = _scores(xp, x, coefficients, intercepts)
    if scores.shape[1] > 1:
        return pick(xp, labels, xp.argmax(scores, axis=1)), transformed(xp, scores, post_transform)
    two = labels if len(labels) == 2 else np.array(["0", "1"] if labels.dtype == object else [0, 1], labels.dtype)
    label = pick(xp, two, xp.cast(scores[:, 0] > 0, np.int64))
    if len(labels) == 2:
        return label, completed(xp, scores[:, 0], post_transform, probability=True)
    return label, transformed(xp, scores, post_transform)
