"""Small operators of com.microsoft around the recurrences and streams of newer language models: ContribOperators.md."""

from __future__ import annotations

import numpy as np

from graphopt.exec.kernels.activation import softplus
from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.contrib.normalization import root_mean_square
from graphopt.exec.kernels.dtypes import is_narrow
from graphopt.exec.kernels.registry import Array, kernel

DOMAIN = "com.microsoft"


@kernel("LinearAttentionGate", domain=DOMAIN, wide=True)
def linear_attention_gate(
    xp: Backend, a: Array, dt_bias: Array, decay_scale: Array, b: Array | None = None
) -> tuple[Array, Array | None]:
    """decay_scale · softplus(a + dt_bias), and sigmoid(b)."""
    return decay_scale * softplus(xp, a + dt_bias), None if b is None else xp.sigmoid(b)


@kernel("GatedAdd", domain=DOMAIN)
def gated_add(xp: Backend, x: Array, y: Array, gate: Array, gate_weight: Array | None = None) -> Array:
    """x + y · gate, the product rounded; or with the sigmoid of the gate's product with a weight, rounded as well."""
    dtype = x.dtype

    def rounded(t: Array) -> Array:
        return xp.cast(xp.cast(t, dtype), np.float32) if is_narrow(dtype) else t

    x, y, gate = (xp.cast(t, np.float32) if is_narrow(dtype) else t for t in (x, y, gate))
    if gate_weight is not None:
        gate = rounded(xp.matmul(gate, xp.cast(gate_weight, gate.dtype)))
        gate = rounded(xp.sigmoid(gate))
    return xp.cast(x + rounded(y * gate), dtype)


@kernel("EngramGate", domain=DOMAIN, wide=True)
def engram_gate(
    xp: Backend, key: Array, query: Array, value: Array, key_norm_scale: Array, query_norm_scale: Array,
    conv_norm_scale: Array | None = None, *, epsilon: float = float(np.float32(1e-5)),
) -> tuple[Array, Array | None]:  # fmt: skip
    """The value times sigmoid(±√|k·q / √size|), for each of several normalized keys and queries; that normalized."""
    key = key * root_mean_square(xp, key, epsilon) * key_norm_scale
    query = query * root_mean_square(xp, query, epsilon) * query_norm_scale
    dot = xp.sum(key * query, axis=-1, keepdims=True) / xp.sqrt(xp.number(key.shape[-1], key))
    strength = xp.sign(dot) * xp.sqrt(xp.maximum(xp.abs(dot), xp.number(1e-6, dot)))
    y = xp.gated(value[..., None, :], strength)
    return y, None if conv_norm_scale is None else y * root_mean_square(xp, y, epsilon) * conv_norm_scale


# ----------------------------------------------------------------------------------------------------------- streams
@kernel("HyperConnectionPreMix", domain=DOMAIN, wide=True)
def hyper_connection_pre_mix(
    xp: Backend, streams: Array, pre_mix: Array, *, num_branches: int = 0, reduction_scale: float = 1.0
) -> Array:
    """The sum of streams [..., branches, features], each with its weight or weights."""
    streams = _branches(streams, num_branches)
    y = xp.sum(streams * _weights(pre_mix, streams), axis=-2)
    return y * xp.number(reduction_scale, y)


@kernel("HyperConnectionPostMix", domain=DOMAIN, wide=True)
def hyper_connection_post_mix(
    xp: Backend, streams: Array, block_output: Array, post_mix: Array, stream_mix: Array | None = None, *,
    num_branches: int = 0,
) -> Array:  # fmt: skip
    """Streams [..., branches, features] mixed by a matrix, and a block's output added to each with its weights."""
    apart = _branches(streams, num_branches)
    mixed = apart if stream_mix is None else xp.matmul(stream_mix.swapaxes(-1, -2), apart)
    return (mixed + _weights(post_mix, apart) * block_output[..., None, :]).reshape(streams.shape)


def _branches(x: Array, count: int) -> Array:
    return x.reshape(*x.shape[:-1], count, x.shape[-1] // count) if count else x


def _weights(x: Array, streams: Array) -> Array:
    """For [..., branches, features]: one for each branch, or one for each feature of it, side by side or not."""
    shape = streams.shape
    if x.shape == shape[:-1]:
        return x[..., None]
    return x if x.ndim == len(shape) else x.reshape(shape)
