"""ONNX's own attention operators, and the scatter that fills their caches."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from graphopt.exec.kernels.attending import Scoring, attend, split_heads
from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import axis_of
from graphopt.exec.kernels.dtypes import np_dtype
from graphopt.exec.kernels.registry import Array, Body, kernel

_ALL = slice(None)


def _attention(
    version: int, xp: Backend, q: Array, k: Array, v: Array, attn_mask: Array | None = None,
    past_key: Array | None = None, past_value: Array | None = None, nonpad_kv_seqlen: Array | None = None, *,
    is_causal: int = 0, kv_num_heads: int = 0, q_num_heads: int = 0, qk_matmul_output_mode: int = 0,
    scale: float | None = None, softcap: float = 0.0, softmax_precision: int | None = None,
    left_window_size: int = -1, right_window_size: int = -1, outputs: int = 1,
) -> Any:  # fmt: skip
    if q.ndim != k.ndim or q.ndim != v.ndim:
        raise ValueError(f"query, key and value have {q.ndim}, {k.ndim} and {v.ndim} axes")
    if (past_key is None) != (past_value is None):
        raise ValueError("there is a past of keys or of values, but not of both")
    packed = q.ndim == 3
    q, k, v = split_heads(q, q_num_heads), split_heads(k, kv_num_heads), split_heads(v, kv_num_heads)
    offset: Any = 0
    if past_key is not None and past_value is not None:
        offset = past_key.shape[2]
        k, v = xp.concatenate([past_key, k], axis=2), xp.concatenate([past_value, v], axis=2)
    elif nonpad_kv_seqlen is not None:
        offset = nonpad_kv_seqlen - q.shape[2]
    right = [0] * bool(is_causal) + [right_window_size] * (right_window_size >= 0)
    scoring = Scoring(
        scale=scale,
        softcap=softcap,
        masks=() if attn_mask is None else (_padded(xp, attn_mask, k.shape[2], version),),
        left=left_window_size if left_window_size >= 0 else None,
        right=min(right) if right else None,
        offset=offset,
        lengths=nonpad_kv_seqlen,
        precision=None if softmax_precision is None else np_dtype(softmax_precision),
    )
    y, scores = attend(xp, q, k, v, scoring, packed, qk_matmul_output_mode if outputs > 3 else None)
    return y, k, v, scores


def _padded(xp: Backend, mask: Array, keys: int, version: int) -> Array:
    """A mask for all keys: since version 24 it may end before them, and hides the rest."""
    missing = keys - mask.shape[-1]
    if version < 24 or missing <= 0:
        return mask
    widths = [(0, 0)] * (mask.ndim - 1) + [(0, missing)]
    return xp.pad(mask, widths, False if mask.dtype == bool else -np.inf)


for _version in (23, 24, 25):
    kernel("Attention", since=_version)(functools.partial(_attention, _version))


@kernel("FlexAttention", domain="ai.onnx.preview")
def flex_attention(
    xp: Backend, q: Array, k: Array, v: Array, *, scale: float | None = None, softmax_precision: int | None = None,
    score_mod: Body | None = None, prob_mod: Body | None = None,
) -> Array:  # fmt: skip
    """Attention whose scores and probabilities go through graphs."""
    precision = None if softmax_precision is None else np_dtype(softmax_precision)
    scoring = Scoring(scale=scale, precision=precision, score_mod=score_mod, prob_mod=prob_mod)
    return attend(xp, q, k, v, scoring)[0]


@kernel("TensorScatter", since=24)
def tensor_scatter(
    xp: Backend, past_cache: Array, update: Array, write_indices: Array | None = None, *,
    axis: int = -2, mode: str = "linear",
) -> Array:  # fmt: skip
    """A cache with something new written along an axis, from an index on that each batch entry has for itself."""
    axis = axis_of(axis, past_cache.ndim)
    if not axis:
        raise ValueError("the axis is that of the batch")
    batch, size, length = len(past_cache), past_cache.shape[axis], update.shape[axis]
    places = np.arange(length)[None]
    if write_indices is not None:
        places = write_indices.reshape(batch, 1) + places
    if mode == "circular":
        places = places % size
    index = (np.arange(batch).reshape(batch, 1), *[_ALL] * (axis - 1), places)
    entries = xp.moveaxis(update, axis, 1)  # where two arrays are indices with slices between, their axes come first
    return xp.put(past_cache, index, entries)
