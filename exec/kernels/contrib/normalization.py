"""Normalizations of com.microsoft, and those that ONNX Runtime adds to ONNX's own domain: ContribOperators.md."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.exec.kernels import sums
from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import axis_of
from graphopt.exec.kernels.dtypes import is_narrow, np_dtype
from graphopt.exec.kernels.normalization import layer_normalization
from graphopt.exec.kernels.registry import Array, kernel

DOMAIN = "com.microsoft"
#: Defaults of attributes, which are float32.
_EPSILON, _TINY = float(np.float32(1e-5)), float(np.float32(1e-12))

kernel("LayerNormalization")(layer_normalization)  # before ONNX had it


def _wide(xp: Backend, *arrays: Array | None) -> list[Any]:
    return [xp.cast(x, np.float32) if x is not None and is_narrow(x.dtype) else x for x in arrays]


def root_mean_square(xp: Backend, x: Array, epsilon: float, axis: int = -1) -> Array:
    """1 / √(mean(x²) + epsilon) over the axes from one on."""
    axes = tuple(range(axis_of(axis, x.ndim), x.ndim))
    count = xp.number(np.prod([x.shape[a] for a in axes]), x)
    return 1 / xp.sqrt(sums.squares(xp, x, axes) / count + xp.number(epsilon, x))


@kernel("SimplifiedLayerNormalization")
def simplified_layer_normalization(
    xp: Backend, x: Array, scale: Array, *, axis: int = -1, epsilon: float = _EPSILON, stash_type: int = 1
) -> tuple[Array, Array]:
    """The result, in the dtype of the scale, and the inverse of the root of the mean square."""
    dtype = scale.dtype
    x, scale = _wide(xp, x, scale)
    inverse = root_mean_square(xp, x, epsilon, axis)
    y = x * inverse
    y *= scale
    return xp.cast(y, dtype), inverse if xp.exact else xp.cast(inverse, np_dtype(stash_type))


# -------------------------------------------------------------------------------------------------- of a sum
@kernel("SkipLayerNormalization", domain=DOMAIN)
def skip_layer_normalization(
    xp: Backend, x: Array, skip: Array, gamma: Array, beta: Array | None = None, bias: Array | None = None, *,
    epsilon: float = _TINY,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """The result, mean and inverse deviation, and the sum that was normalized."""
    total = _total(xp, x, skip, bias)
    y, mean, inverse = layer_normalization(xp, total, *_wide(xp, gamma, beta), epsilon=epsilon)
    return xp.cast(y, x.dtype), mean, inverse, xp.cast(total, x.dtype)


@kernel("SkipSimplifiedLayerNormalization", domain=DOMAIN)
def skip_simplified_layer_normalization(
    xp: Backend, x: Array, skip: Array, gamma: Array, bias: Array | None = None, *, epsilon: float = _TINY
) -> tuple[Array, None, Array, Array]:
    """The result, no mean, the inverse of the root of the mean square, and the sum that was normalized."""
    total = _total(xp, x, skip, bias)
    y, inverse = simplified_layer_normalization(xp, total, *_wide(xp, gamma), epsilon=epsilon)
    return xp.cast(y, x.dtype), None, inverse, xp.cast(total, x.dtype)


def _total(xp: Backend, x: Array, skip: Array, bias: Array | None) -> Array:
    x, skip, bias = _wide(xp, x, skip, bias)
    total = x + skip
    if bias is not None:
        total += bias
    return total


@kernel("EmbedLayerNormalization", domain=DOMAIN)
def embed_layer_normalization(
    xp: Backend, input_ids: Array, segment_ids: Array | None, word_embedding: Array, position_embedding: Array,
    segment_embedding: Array | None, gamma: Array, beta: Array, mask: Array | None = None,
    position_ids: Array | None = None, *, epsilon: float = _TINY, mask_index_type: int = 0,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """The normalized sum of embeddings of words, places and segments; how many words are not masked; and the sum."""
    batch, length = input_ids.shape
    places = (
        position_embedding[None, :length] if position_ids is None else xp.take(position_embedding, position_ids, axis=0)
    )
    words, places = _wide(xp, xp.take(word_embedding, input_ids, axis=0), places)
    total = words + places
    if segment_ids is not None and segment_embedding is not None:
        total += _wide(xp, xp.take(segment_embedding, segment_ids, axis=0))[0]
    y, _, _ = layer_normalization(xp, total, *_wide(xp, gamma, beta), epsilon=epsilon)
    count = xp.zeros(batch, np.int32) if mask is None else xp.cast(xp.sum(mask == 1, axis=1), np.int32)
    dtype = word_embedding.dtype
    return xp.cast(y, dtype), count, xp.cast(total, dtype)


# ----------------------------------------------------------------------------------------- of pieces of the last axis
@kernel("GatedRMSNorm", domain=DOMAIN)
def gated_rms_norm(
    xp: Backend, x: Array, scale: Array, gate: Array, *, activation: str = "silu", epsilon: float = _EPSILON
) -> Array:
    """Each piece as long as the scale divided by its root of the mean square, times silu(gate) or sigmoid(gate)."""
    dtype = x.dtype
    x, scale, gate = _wide(xp, x, scale, gate)
    pieces = x.reshape(*x.shape[:-1], x.shape[-1] // scale.size, scale.size)
    y = pieces * root_mean_square(xp, pieces, epsilon)
    y *= scale
    y = y.reshape(x.shape)
    y = xp.gated(y, gate)
    if activation != "sigmoid":
        y *= gate
    return xp.cast(y, dtype)


@kernel("BranchwiseRMSNorm", domain=DOMAIN)
def branchwise_rms_norm(
    xp: Backend, x: Array, scale: Array | None = None, *, epsilon: float = _EPSILON, num_branches: int = 0
) -> Array:
    """Each branch, a piece of the last axis, divided by its root of the mean square."""
    dtype = x.dtype
    x, scale = _wide(xp, x, scale)
    pieces = x.reshape(*x.shape[:-1], num_branches, x.shape[-1] // num_branches) if num_branches else x
    y = pieces * root_mean_square(xp, pieces, epsilon)
    if scale is not None:
        y *= scale if scale.size == y.shape[-1] else scale.reshape(y.shape[-2:])
    return xp.cast(y.reshape(x.shape), dtype)
