"""Support vector machines."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.ml import DOMAIN
from graphopt.exec.kernels.ml.scores import completed, labels_of, logistic, pick, rows_of, transformed
from graphopt.exec.kernels.registry import Array, kernel


@dataclass(frozen=True, eq=False)
class SupportVectors:
    """Vectors that examples are compared with.

    Attributes:
        vectors: one a row; float64, where the distances of the RBF kernel do not cancel out.
        kernel_type: how they are compared.
        gamma, coef0, degree: the parameters of that.
    """

    vectors: np.ndarray
    kernel_type: str
    gamma: float
    coef0: float
    degree: float

    def products(self, xp: Backend, x: Array) -> Array:
        """The kernel function of each example with each vector, as float64."""
        if x.shape[1] != self.vectors.shape[1]:
            raise ValueError(f"examples of {x.shape[1]} features, but support vectors of {self.vectors.shape[1]}")
        x = xp.cast(x, np.float64)
        y = xp.matmul(x, self.vectors.T)
        if self.kernel_type == "RBF":
            squares = xp.sum(x * x, axis=1, keepdims=True) + np.sum(self.vectors * self.vectors, axis=1)
            return xp.exp(-self.gamma * xp.maximum(squares - 2 * y, 0))
        if self.kernel_type == "POLY":
            return xp.power(self.gamma * y + self.coef0, self.degree)
        if self.kernel_type == "SIGMOID":
            return xp.tanh(self.gamma * y + self.coef0)
        return y


def _support(vectors: Sequence[float], count: int, kernel_type: str, parameters: Sequence[float]) -> SupportVectors:
    if kernel_type not in ("LINEAR", "POLY", "RBF", "SIGMOID"):
        raise ValueError(f"unknown kernel_type {kernel_type!r}; known: LINEAR, POLY, RBF, SIGMOID")
    gamma, coef0, degree = parameters or (0.0, 0.0, 0.0)
    return SupportVectors(np.array(vectors, np.float64).reshape(count, -1), kernel_type, gamma, coef0, degree)


# ----------------------------------------------------------------------------------------------------------- regression
def _regressor(
    *,
    coefficients: Sequence[float],
    kernel_params: Sequence[float] = (),
    kernel_type: str = "LINEAR",
    n_supports: int = 0,
    one_class: int = 0,
    post_transform: str = "NONE",
    rho: Sequence[float],
    support_vectors: Sequence[float] = (),
) -> dict[str, Any]:
    weights = np.array(coefficients, np.float64)
    if n_supports:
        support = _support(support_vectors, n_supports, kernel_type, kernel_params)
    else:  # the coefficients are the only vector
        support, weights = _support(coefficients, 1, "LINEAR", ()), np.ones(1)
    return {"support": support, "coefficients": weights, "rho": rho[0], "one_class": bool(one_class)}


@kernel("SVMRegressor", domain=DOMAIN, prepare=_regressor)
def svm_regressor(
    xp: Backend, x: Array, *, support: SupportVectors, coefficients: np.ndarray, rho: float, one_class: bool
) -> Array:
    """A sum over support vectors, or its sign; runtimes do not transform it."""
    y = xp.matmul(support.products(xp, rows_of(xp, x)), coefficients[:, None]) + rho
    return xp.cast(xp.where(y > 0, 1, -1) if one_class else y, np.float32)


# ------------------------------------------------------------------------------------------------------- classification
@dataclass(frozen=True, eq=False)
class Machine:
    """A classifier.

    Attributes:
        support: what examples are compared with.
        weights: of each support vector for each pair of classes.
        rho: what is added to the score of each pair.
        votes: for each pair its two classes, one row each: one where the class gets the vote.
        sigmoid: the parameters a and b that make probabilities of the scores of pairs; None: there are none.
        labels: of the classes.
        post_transform: of the scores.
        positive: all coefficients are positive.
    """

    support: SupportVectors
    weights: np.ndarray
    rho: np.ndarray
    votes: tuple[np.ndarray, np.ndarray] | None
    sigmoid: tuple[np.ndarray, np.ndarray] | None
    labels: np.ndarray
    post_transform: str
    positive: bool


def _classifier(
    *,
    classlabels_ints: Sequence[int] | None = None,
    classlabels_strings: Sequence[str] | None = None,
    coefficients: Sequence[float],
    kernel_params: Sequence[float] = (),
    kernel_type: str = "LINEAR",
    post_transform: str = "NONE",
    prob_a: Sequence[float] = (),
    prob_b: Sequence[float] = (),
    rho: Sequence[float],
    support_vectors: Sequence[float] = (),
    vectors_per_class: Sequence[int] = (),
) -> dict[str, Any]:
    labels = labels_of(classlabels_ints, classlabels_strings)
    count, classes = sum(vectors_per_class), len(labels)
    sigmoid = (np.array(prob_a, np.float32), np.array(prob_b, np.float32)) if prob_a else None
    common: dict[str, Any] = {
        "sigmoid": sigmoid,
        "labels": labels,
        "post_transform": post_transform,
        "positive": min(coefficients) >= 0,
    }
    if not count:  # a linear machine: a vector for each class
        support = _support(coefficients, classes, "LINEAR", ())
        return {"machine": Machine(support, np.eye(classes), np.full(classes, rho[0]), None, **common)}
    if len(vectors_per_class) != classes:
        raise ValueError(f"vectors_per_class has {len(vectors_per_class)} entries for {classes} classes")
    support = _support(support_vectors, count, kernel_type, kernel_params)
    # For a pair (i, j), the vectors of class i have their coefficients in row j - 1, those of class j in row i.
    rows = np.array(coefficients, np.float64).reshape(classes - 1, count)
    start = np.concatenate([[0], np.cumsum(vectors_per_class)])
    pairs = list(itertools.combinations(range(classes), 2))
    weights = np.zeros((count, len(pairs)))
    votes = np.zeros((2, len(pairs), classes))
    for n, (i, j) in enumerate(pairs):
        weights[start[i] : start[i + 1], n] = rows[j - 1, start[i] : start[i + 1]]
        weights[start[j] : start[j + 1], n] = rows[i, start[j] : start[j + 1]]
        votes[0, n, i] = votes[1, n, j] = 1
    offsets = np.array(rho[: len(pairs)], np.float64)
    return {"machine": Machine(support, weights, offsets, (votes[0], votes[1]), **common)}


@kernel("SVMClassifier", domain=DOMAIN, prepare=_classifier)
def svm_classifier(xp: Backend, x: Array, *, machine: Machine) -> tuple[Array, Array]:
    """The class that wins most pairs, and a probability for each class or else the score of each pair."""
    support, labels, transform = machine.support, machine.labels, machine.post_transform
    exact = xp.matmul(support.products(xp, rows_of(xp, x)), machine.weights) + machine.rho
    scores = xp.cast(exact, np.float32)
    if machine.votes is None:
        best = xp.argmax(scores, axis=1)
        if len(labels) == 2 and machine.sigmoid is None:  # a score that is high enough counts as that of the second
            top = xp.max(scores, axis=1)
            best = xp.where(top >= xp.number(0.5, top) if machine.positive else top > 0, 1, best)
        return pick(xp, labels, best), transformed(xp, scores, transform)
    won = xp.cast(exact > 0, np.float64)
    votes = xp.matmul(won, machine.votes[0]) + xp.matmul(1 - won, machine.votes[1])
    label = pick(xp, labels, xp.argmax(votes, axis=1))
    if machine.sigmoid is not None:
        return label, transformed(xp, _probabilities(xp, scores, machine), transform)
    if len(labels) == 2:
        return label, completed(xp, scores[:, 0], transform, probability=transform != "NONE")
    return label, transformed(xp, scores, transform)


def _probabilities(xp: Backend, scores: Array, machine: Machine) -> Array:
    """Probabilities of classes from those of pairs: the second method of https://www.csie.ntu.edu.tw/~cjlin/papers/svmprob."""
    assert machine.sigmoid is not None
    classes = len(machine.labels)
    a, b = machine.sigmoid
    low = xp.number(1e-7, scores)
    first = xp.minimum(xp.maximum(1 - logistic(xp, scores * a + b), low), 1 - low)
    # r[:, i, j] is the probability of class i where it is i or j; what stands on the diagonal does not count.
    pair = np.zeros((classes, classes), int)
    above = np.triu_indices(classes, 1)
    pair[above] = np.arange(len(above[0]))
    chosen = xp.take(first, pair + pair.T, axis=1)
    r = xp.where(np.triu(np.ones((classes, classes), bool)), chosen, 1 - chosen)
    other = ~np.eye(classes, dtype=bool)
    squares = xp.sum(xp.where(other, r * r, 0), axis=1)
    q = xp.where(other, -r * xp.swapaxes(r, 1, 2), squares[:, :, None])
    p = xp.full_like(squares, 1 / classes)
    tolerance = xp.number(0.005 / classes, q)

    def improved(p: Array, settled: Array) -> tuple[Array, Array]:
        """One round, for those examples that are not settled yet."""
        qp = xp.sum(q * p[:, None], axis=2)
        pqp = xp.sum(p * qp, axis=1)
        settled = settled | (xp.max(xp.abs(qp - pqp[:, None]), axis=1) < tolerance)
        new = p
        for i in range(classes):
            step = (pqp - qp[:, i]) / q[:, i, i]
            grown = 1 + step
            pqp = (pqp + step * (step * q[:, i, i] + 2 * qp[:, i])) / grown / grown
            qp = (qp + step[:, None] * q[:, i]) / grown[:, None]
            new = (new + step[:, None] * xp.constant(np.eye(classes)[i], new)) / grown[:, None]
        return xp.where(settled[:, None], p, new), settled

    settled = xp.zeros(p.shape[:1], bool)
    if xp.traces:
        (p, _), _ = xp.scan(lambda state, _: (improved(*state), ()), (p, settled), np.arange(100))
        return p
    for _ in range(100):
        p, settled = improved(p, settled)
        if settled.all():
            break
    return p
