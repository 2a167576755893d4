"""Rotary position embeddings of com.microsoft: ContribOperators.md of ONNX Runtime."""

from __future__ import annotations

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.registry import Array, kernel
from graphopt.exec.kernels.rotary import rotate_heads

DOMAIN = "com.microsoft"


@kernel("RotaryEmbedding", domain=DOMAIN)
def rotary_embedding(
    xp: Backend, x: Array, position_ids: Array, cos_cache: Array, sin_cache: Array, *, interleaved: int = 0,
    is_packed_batching: int = 0, num_heads: int = 0, rotary_embedding_dim: int = 0, scale: float = 1.0,
) -> Array:  # fmt: skip
    """Positions are one for each token, or that of the first; the scale is one that no runtime heeds."""
    if position_ids.ndim < 2:
        position_ids = position_ids.reshape(1, 1) + np.arange(x.shape[-2 if x.ndim == 4 else 1])
    cos, sin = xp.take(cos_cache, position_ids, axis=0), xp.take(sin_cache, position_ids, axis=0)
    return rotate_heads(xp, x, cos, sin, num_heads or _heads(x, cos), bool(interleaved))


@kernel("MRotaryEmbedding", domain=DOMAIN)
def m_rotary_embedding(
    xp: Backend, x: Array, position_ids: Array, cos_cache: Array, sin_cache: Array, *, interleaved: int = 0,
    is_packed_batching: int = 0, mrope_layout: int = 0, mrope_section: list[int], num_heads: int = 0,
    rotary_embedding_dim: int = 0, scale: float = 1.0,
) -> Array:  # fmt: skip
    """Each angle is of one of three positions [3, batch, length], in turns or one after the other."""
    half = cos_cache.shape[1]
    feature = np.arange(half)
    if mrope_layout:
        which = np.where((feature % 3 > 0) & (feature < 3 * np.array(mrope_section)[feature % 3]), feature % 3, 0)
    else:
        which = np.repeat(np.arange(3), mrope_section)
    positions = xp.moveaxis(xp.take(position_ids, which, axis=0), 0, -1)
    cos, sin = (c[positions, feature] * xp.number(scale, c) for c in (cos_cache, sin_cache))
    return rotate_heads(xp, x, cos, sin, num_heads or _heads(x, cos), bool(interleaved))


def _heads(x: Array, cos: Array) -> int:
    """How many heads there are side by side if all of each is turned."""
    return x.shape[-1] // max(2 * cos.shape[-1], 1)
