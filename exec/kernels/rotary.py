"""Rotary position embedding: pairs of features turned by an angle that grows with the position."""

from __future__ import annotations

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.dtypes import is_narrow
from graphopt.exec.kernels.registry import Array, kernel


def rotate(xp: Backend, x: Array, cos: Array, sin: Array, interleaved: bool = False) -> Array:
    """Turn the first features of the last axis, two for each angle; the others stay as they are.

    Args:
        cos, sin: of angles, with axes that broadcast to those of x and half as many features.
        interleaved: features that belong together are neighbours, else each is in its half.

    Floats of 16 bits and less are computed with as float32.

    Raises:
        ValueError: there are more angles than pairs of features.
    """
    half, dtype = cos.shape[-1], x.dtype
    if x.shape[-1] < 2 * half or sin.shape != cos.shape:
        raise ValueError(f"angles of shapes {cos.shape} and {sin.shape} do not turn {x.shape[-1]} features")
    if is_narrow(dtype):
        x, cos, sin = (xp.cast(t, np.float32) for t in (x, cos, sin))
    turned, rest = x[..., : 2 * half], x[..., 2 * half :]

    def join(first: Array, second: Array) -> Array:
        if interleaved:
            return xp.stack([first, second], axis=-1).reshape(*first.shape[:-1], 2 * half)
        return xp.concatenate([first, second], axis=-1)

    first, second = (turned[..., ::2], turned[..., 1::2]) if interleaved else (turned[..., :half], turned[..., half:])
    y = turned * join(cos, cos)  # whole features at once: fewer passes than over the halves
    crossed = join(second, first)
    crossed *= join(-sin, sin)
    y += crossed
    return xp.cast(xp.concatenate([y, rest], axis=-1) if rest.shape[-1] else y, dtype)


def rotate_heads(xp: Backend, x: Array, cos: Array, sin: Array, heads: int, interleaved: bool) -> Array:
    """Turn [batch, length, heads·size] or [batch, heads, length, size] by angles [batch, length, size/2 or less].

    Raises:
        ValueError: the last axis does not divide into so many heads.
    """
    if x.ndim == 4:
        return rotate(xp, x, cos[:, None], sin[:, None], interleaved)
    if x.ndim != 3 or heads < 1 or x.shape[2] % heads:
        raise ValueError(f"a tensor of shape {list(x.shape)} does not divide into {heads} heads")
    apart = x.reshape(*x.shape[:2], heads, x.shape[2] // heads)
    return rotate(xp, apart, cos[:, :, None], sin[:, :, None], interleaved).reshape(x.shape)


@kernel("RotaryEmbedding", since=23)
def rotary_embedding(
    xp: Backend, x: Array, cos_cache: Array, sin_cache: Array, position_ids: Array | None = None, *,
    interleaved: int = 0, num_heads: int = 0, rotary_embedding_dim: int = 0,
) -> Array:  # fmt: skip
    if position_ids is not None:
        cos_cache, sin_cache = xp.take(cos_cache, position_ids, axis=0), xp.take(sin_cache, position_ids, axis=0)
    if rotary_embedding_dim and cos_cache.shape[-1] * 2 != rotary_embedding_dim:
        raise ValueError(
            f"rotary_embedding_dim is {rotary_embedding_dim}, but caches have {cos_cache.shape[-1]} angles"
        )
    return rotate_heads(xp, x, cos_cache, sin_cache, num_heads, bool(interleaved))
