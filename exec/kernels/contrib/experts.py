"""Mixtures of experts of com.microsoft: each token goes through the few networks that a router thinks best for it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from graphopt.exec.kernels.activation import gelu, swish
from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.registry import Array, kernel
from graphopt.exec.kernels.softmax import softmax
from graphopt.exec.kernels.special import clamp

DOMAIN = "com.microsoft"

#: An activation function of a network with one hidden layer.
Activation = Callable[[Backend, Array], Array]
_ACTIVATIONS: dict[str, Activation] = {
    "relu": lambda xp, x: clamp(xp, x, 0),
    "gelu": functools.partial(gelu, approximate="tanh"),
    "silu": swish,
    "identity": lambda xp, x: x,
}


@kernel("MoE", domain=DOMAIN, wide=True)
def mixture_of_experts(
    xp: Backend, x: Array, router_probs: Array, fc1_weights: Array, fc1_bias: Array | None, fc2_weights: Array,
    fc2_bias: Array | None = None, fc3_weights: Array | None = None, fc3_bias: Array | None = None, *,
    activation_alpha: float = 1.0, activation_beta: float = 0.0, activation_type: str = "relu", k: int = 1,
    normalize_routing_weights: int = 0, swiglu_fusion: int = 0, swiglu_limit: float | None = None,
    swiglu_limit_after_activation: int = 0, use_sparse_mixer: int = 0,
) -> Array:  # fmt: skip
    """Weights are [experts, features out, features in]."""
    if use_sparse_mixer or swiglu_limit_after_activation:
        raise ValueError("neither a sparse mixer nor limits after the activation are supported")
    gated = functools.partial(_swiglu, alpha=activation_alpha, beta=activation_beta, limit=swiglu_limit)
    if activation_type == "swiglu":
        function: Activation = functools.partial(_fused, gated=gated, interleaved=swiglu_fusion == 1)
    elif activation_type in _ACTIVATIONS:
        function = _ACTIVATIONS[activation_type]
    else:
        raise ValueError(f"activation '{activation_type}' is unknown")
    tokens = x.reshape(x.size // max(x.shape[-1], 1), x.shape[-1])
    weights = _routed(xp, router_probs, k, bool(normalize_routing_weights))
    y = xp.zeros((len(tokens), fc2_weights.shape[1]), x.dtype)
    for e in range(len(fc1_weights)):
        rows: Any = slice(None)
        if not xp.traces:  # only the tokens that are sent here
            rows = np.flatnonzero(weights[:, e])
            if not len(rows):
                continue
        some = tokens[rows]
        hidden = _linear(xp, some, fc1_weights[e], None if fc1_bias is None else fc1_bias[e])
        if fc3_weights is None:
            hidden = function(xp, hidden)
        else:
            other = _linear(xp, some, fc3_weights[e], None if fc3_bias is None else fc3_bias[e])
            hidden = gated(xp, hidden, other) if activation_type == "swiglu" else function(xp, hidden) * other
        result = _linear(xp, hidden, fc2_weights[e], None if fc2_bias is None else fc2_bias[e])
        result *= weights[rows, e, None]
        y = xp.put(y, rows, result, "add") if xp.traces else _added(y, rows, result)
    return y.reshape(*x.shape[:-1], y.shape[1])


def _added(y: np.ndarray, rows: np.ndarray, more: np.ndarray) -> np.ndarray:
    y[rows] += more
    return y


def _routed(xp: Backend, logits: Array, k: int, normalized: bool) -> Array:
    """The weights of the k experts with the largest probabilities, [tokens, experts], zeros for all others."""
    probabilities = softmax(xp, logits)
    _, best = xp.top_k(logits, k, True)
    chosen = xp.take_along_axis(probabilities, best, axis=1)
    if normalized:
        chosen = chosen / xp.sum(chosen, axis=1, keepdims=True)
    return xp.put(xp.zeros_like(probabilities), (np.arange(len(logits))[:, None], best), chosen)


def _linear(xp: Backend, x: Array, weight: Array, bias: Array | None) -> Array:
    y = xp.matmul(x, weight.T)
    return y if bias is None else y + bias


def _swiglu(xp: Backend, gate: Array, linear: Array, alpha: float, beta: float, limit: float | None) -> Array:
    if limit is not None:
        bound = xp.number(limit, gate)
        gate, linear = clamp(xp, gate, high=bound), clamp(xp, linear, -bound, bound)
    y = linear + xp.number(beta, linear)
    y *= swish(xp, gate, alpha=alpha)
    return y


def _fused(xp: Backend, x: Array, gated: Callable[..., Array], interleaved: bool) -> Array:
    """Gates and what they are for: neighbours, or halves."""
    half = x.shape[1] // 2
    return gated(xp, x[:, ::2], x[:, 1::2]) if interleaved else gated(xp, x[:, :half], x[:, half:])


@kernel("MoEGroupRouter", domain=DOMAIN)
def moe_group_router(
    xp: Backend, logits: Array, expert_bias: Array, projection_weight: Array | None = None, *,
    group_topk: int = 2, n_group: int = 1, router_sentinel: float = -10000.0, top_k: int, topk_group: int = 1,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Logarithms of sigmoids for the best experts of the best groups; biased sigmoids, which decide; and plain ones."""
    dtype = logits.dtype
    rows = xp.cast(logits.reshape(logits.size // max(logits.shape[-1], 1), logits.shape[-1]), np.float32)
    if projection_weight is not None:
        rows = xp.matmul(rows, xp.cast(projection_weight, np.float32).T)
    scores = xp.sigmoid(rows)
    biased = scores + xp.cast(expert_bias, np.float32)
    groups = biased.reshape(len(rows), n_group, biased.shape[1] // n_group)
    best = xp.sort(groups, axis=2)[:, :, -min(group_topk, groups.shape[2]) :]
    kept = _largest(xp, xp.sum(best, axis=2), min(topk_group, n_group))
    among = xp.where(kept[:, :, None], groups, xp.number(-np.inf, groups)).reshape(biased.shape)
    chosen = _largest(xp, among, top_k)
    logs = xp.log(xp.maximum(scores, xp.number(1e-20, scores)))
    return xp.cast(xp.where(chosen, logs, xp.number(router_sentinel, logs)), dtype), biased, scores


def _largest(xp: Backend, x: Array, k: int) -> Array:
    """Which are the k largest of each row, the first among equals."""
    _, best = xp.top_k(x, k, True)
    return xp.put(xp.zeros(x.shape, bool), (np.arange(len(x))[:, None], best), True)
