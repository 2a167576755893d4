"""Losses of classifiers."""

from __future__ import annotations

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.registry import Array, kernel
from graphopt.exec.kernels.softmax import log_softmax


@kernel("NegativeLogLikelihoodLoss", since=12, wide=True)
def negative_log_likelihood_loss(
    xp: Backend,
    x: Array,
    target: Array,
    weight: Array | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Array:
    """Minus the logarithm of the probability of each target, times the weight of its class; x is [batch, classes, ...]."""
    ignored = None if ignore_index is None else target == ignore_index
    if ignored is not None:
        target = xp.where(ignored, 0, target)
    loss = -xp.take_along_axis(x, target[:, None], axis=1)[:, 0]
    factor = None if weight is None else xp.take(weight, target, axis=0)
    if ignored is not None:
        zero = xp.number(0, x)
        factor = xp.where(ignored, zero, xp.number(1, x) if factor is None else factor)
        loss = xp.where(ignored, zero, loss)  # also where the element taken instead is infinite
    if factor is not None:
        loss = loss * factor
    if reduction == "none":
        return loss
    total = xp.sum(loss)
    if reduction == "sum":
        return total
    return total / (xp.number(loss.size, x) if factor is None else xp.sum(factor))


@kernel("SoftmaxCrossEntropyLoss", since=12, wide=True)
def softmax_cross_entropy_loss(
    xp: Backend,
    scores: Array,
    labels: Array,
    weights: Array | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> tuple[Array, Array]:
    """The loss above for the softmax of scores [batch, classes, ...], and the logarithms of that softmax."""
    logarithms = log_softmax(xp, scores, 1)
    return negative_log_likelihood_loss(
        xp, logarithms, labels, weights, ignore_index=ignore_index, reduction=reduction
    ), logarithms
