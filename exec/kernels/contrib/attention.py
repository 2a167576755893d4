"""Attention operators of com.microsoft whose heads are all alike: ContribOperators.md of ONNX Runtime.

Masks there are numbers that are added to scores, -10000 unless another is asked for: where all keys are masked, all
count.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.exec.kernels.attending import BIASED, Scoring, attend, split_heads
from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.registry import Array, kernel
from graphopt.exec.kernels.rotary import rotate

DOMAIN = "com.microsoft"
_FILTER = -10000.0


@kernel("Attention", domain=DOMAIN, wide=True)
def attention(
    xp: Backend, x: Array, weights: Array, bias: Array | None = None, mask_index: Array | None = None,
    past: Array | None = None, attention_bias: Array | None = None, past_sequence_length: Array | None = None, *,
    do_rotary: int = 0, mask_filter_value: float = _FILTER, num_heads: int, past_present_share_buffer: int = 0,
    qkv_hidden_sizes: list[int] | None = None, rotary_embedding_dim: int = 0, scale: float = 0.0,
    unidirectional: int = 0,
) -> tuple[Array, Array]:  # fmt: skip
    """The projections to query, key and value are part of it; those of the past and present are stacked."""
    qkv = xp.matmul(x, weights)
    if bias is not None:
        qkv += bias
    known = past_sequence_length if past_present_share_buffer else None
    return projected_attention(
        xp, qkv, mask_index, past, attention_bias, known, do_rotary=do_rotary, mask_filter_value=mask_filter_value,
        num_heads=num_heads, qkv_hidden_sizes=qkv_hidden_sizes, rotary_embedding_dim=rotary_embedding_dim, scale=scale,
        unidirectional=unidirectional,
    )  # fmt: skip


def projected_attention(
    xp: Backend, qkv: Array, mask_index: Array | None, past: Array | None, attention_bias: Array | None = None,
    known: Array | None = None, *, do_rotary: int, mask_filter_value: float, num_heads: int,
    qkv_hidden_sizes: list[int] | None = None, rotary_embedding_dim: int = 0, scale: float, unidirectional: int,
) -> tuple[Array, Array]:  # fmt: skip
    """Attention of what is projected: query, key and value side by side."""
    sizes = qkv_hidden_sizes or [qkv.shape[2] // 3] * 3
    q, k, v = (
        split_heads(t, num_heads) for t in (qkv[..., : sizes[0]], qkv[..., sizes[0] : -sizes[2]], qkv[..., -sizes[2] :])
    )
    past_k, past_v = (None, None) if past is None else (past[0], past[1])
    if do_rotary:
        start = 0 if past is None else past.shape[3] if known is None else known.reshape(())
        cos, sin = _angles(xp, start + np.arange(q.shape[2]), rotary_embedding_dim or q.shape[3], q)
        q, k = rotate(xp, q, cos, sin), rotate(xp, k, cos, sin)
    keys = _Keys(xp, k, v, past_k, past_v, known)
    masks = keys.masks(mask_index, q.shape[2], mask_filter_value, attention_bias)
    y, _ = attend(xp, q, keys.k, keys.v, keys.scoring(scale, masks, unidirectional, q.shape[2]), packed=True)
    same = keys.present_k.shape == keys.present_v.shape
    return y, xp.stack([keys.present_k, keys.present_v]) if same else keys.present_k


@kernel("MultiHeadAttention", domain=DOMAIN, wide=True)
def multi_head_attention(
    xp: Backend, query: Array, key: Array | None = None, value: Array | None = None, bias: Array | None = None,
    key_padding_mask: Array | None = None, attention_bias: Array | None = None, past_key: Array | None = None,
    past_value: Array | None = None, past_sequence_length: Array | None = None,
    cache_indirection: Array | None = None, *, mask_filter_value: float = _FILTER, num_heads: int, scale: float = 0.0,
    unidirectional: int = 0, outputs: int = 1,
) -> tuple[Array, Array, Array, Array | None]:  # fmt: skip
    """Keys and values come side by side, packed together or with the query, or with their heads apart."""
    if query.ndim == 5:  # [batch, length, heads, 3, size]
        query, key, value = (query[:, :, :, i].reshape(*query.shape[:2], -1) for i in range(3))
    elif key is not None and key.ndim == 5:
        key, value = (key[:, :, :, i].reshape(*key.shape[:2], -1) for i in range(2))
    if key is None or value is None:
        raise ValueError("there is no key or no value")
    q, k, v = (split_heads(t, num_heads) for t in _biased(query, key, value, bias))
    keys = _Keys(xp, k, v, past_key, past_value, past_sequence_length, cache_indirection)
    masks = keys.masks(key_padding_mask, q.shape[2], mask_filter_value, attention_bias)
    scoring = keys.scoring(scale, masks, unidirectional, q.shape[2])
    y, scores = attend(xp, q, keys.k, keys.v, scoring, packed=True, wanted=BIASED if outputs > 3 else None)
    return y, keys.present_k, keys.present_v, scores


@kernel("DecoderMaskedMultiHeadAttention", domain=DOMAIN, wide=True)
def decoder_masked_multi_head_attention(
    xp: Backend, query: Array, key: Array | None = None, value: Array | None = None, mask_index: Array | None = None,
    attention_bias: Array | None = None, past_key: Array | None = None, past_value: Array | None = None,
    past_sequence_length: Array | None = None, beam_width: Array | None = None, cache_indirection: Array | None = None,
    bias: Array | None = None, *, mask_filter_value: float = _FILTER, num_heads: int, output_qk: int = 0,
    past_present_share_buffer: int = 0, scale: float = 0.0,
) -> tuple[Array, Array, Array, Array | None]:  # fmt: skip
    """For one token; without a past, to keys and values with their heads apart."""
    if key is None or value is None:
        size = query.shape[2] // 3
        query, key, value = (query[..., i * size : (i + 1) * size] for i in range(3))
    q, k, v = (split_heads(t, num_heads) for t in _biased(query, key, value, bias))
    known = past_sequence_length if past_present_share_buffer else None
    keys = _Keys(xp, k, v, past_key, past_value, known, cache_indirection)
    masks = keys.masks(mask_index, q.shape[2], mask_filter_value, attention_bias)
    scoring = keys.scoring(scale, masks, 0, q.shape[2])
    y, scores = attend(xp, q, keys.k, keys.v, scoring, packed=True, wanted=BIASED if output_qk else None)
    if scores is not None and keys.held is not None:
        scores = scores[..., : int(keys.held[0])]
    return y, keys.present_k, keys.present_v, scores


def _biased(query: Array, key: Array, value: Array, bias: Array | None) -> tuple[Array, Array, Array]:
    """Each with its part of the bias; what has its heads apart comes from a cache, and had it already."""
    if bias is None:
        return query, key, value
    size = query.shape[2]
    q, k, v = bias[:size], bias[size : 2 * size], bias[2 * size :]
    return query + q, key + k if key.ndim == 3 else key, value + v if value.ndim == 3 else value


def _angles(xp: Backend, positions: Any, features: int, like: Array) -> tuple[Array, Array]:
    """Cosines and sines of the usual angles, [length, features / 2]."""
    frequencies = 1 / 10000 ** (np.arange(0, features, 2) / features)
    angles = positions[:, None] * frequencies
    return xp.cast(xp.cos(angles), like.dtype), xp.cast(xp.sin(angles), like.dtype)


class _Keys:
    """Keys and values together with those of the past, [batch, heads, length, size].

    Attributes:
        k, v: all of them.
        present_k, present_v: what is kept for the next call, in the order of the buffer where the past is one.
        past: how many are of the past.
        held: how many of a buffer are there; None: all.
    """

    def __init__(
        self, xp: Backend, k: Array, v: Array, past_k: Array | None, past_v: Array | None, known: Array | None = None,
        beams: Array | None = None,
    ) -> None:  # fmt: skip
        """`known` says how much of the past is there, where that is a buffer; `beams` which batch entry it is of."""
        self.xp = xp
        self.past: Any = 0
        self.held = None
        if past_k is not None and past_v is not None:
            if known is None:
                self.past = past_k.shape[2]
                k, v = xp.concatenate([past_k, k], axis=2), xp.concatenate([past_v, v], axis=2)
            else:
                self.past = known.reshape(1)
                self.held = self.past + k.shape[2]
                places = self.past + np.arange(k.shape[2])
                index = (slice(None), slice(None), places)
                k, v = xp.put(past_k, index, k), xp.put(past_v, index, v)
        self.k, self.v = self.present_k, self.present_v = k, v
        if beams is not None:
            self.k, self.v = self.of_beams(k, beams), self.of_beams(v, beams)

    def of_beams(self, x: Array, beams: Array) -> Array:
        """A cache [batch·beams, heads, tokens, size], each token of the beam that [batch, beams, tokens] says."""
        entries, heads, tokens, _ = x.shape
        width = beams.shape[1]
        source = beams.reshape(entries, -1)[:, None, :tokens] + (np.arange(entries) // width * width).reshape(-1, 1, 1)
        own, token = np.arange(entries).reshape(-1, 1, 1), np.arange(tokens)
        source = self.xp.where(token < self.past, source, own)
        return x[source, np.arange(heads)[:, None], token]

    def masks(self, mask: Array | None, length: int, filter_value: float, bias: Array | None) -> list[Array]:
        """What is added to scores, from the many forms in which operators say what is padding."""
        masks = [] if bias is None else [bias]
        if mask is not None:
            xp, total = self.xp, self.k.shape[2]
            seen = self.seen(mask, length, total)
            if seen is not None:
                masks.append(xp.where(seen, xp.number(0, self.k), xp.number(filter_value, self.k)))
        return [m if m.shape[-1] in (1, self.k.shape[2]) else self.widened(m) for m in masks]

    def widened(self, mask: Array) -> Array:
        """A mask for what is in a buffer, for all of it."""
        return self.xp.pad(mask, [(0, 0)] * (mask.ndim - 1) + [(0, self.k.shape[2] - mask.shape[-1])])

    def seen(self, mask: Array, length: int, total: int) -> Array | None:
        batch, key = len(self.k), np.arange(total)
        if mask.ndim == 1:
            ends = mask[:batch].reshape(batch, 1, 1, 1)
            if len(mask) == 2 * batch:  # where they end, and where they start
                return (key < ends) & (key >= mask[batch:].reshape(batch, 1, 1, 1))
            return key < ends
        if mask.ndim == 2:
            return None if mask.shape[1] == 1 < total else (mask > 0)[:, None, None]
        if mask.ndim == 3:
            return (mask > 0)[:, None]
        return (mask > 0)[:, :, total - length : total, :total]

    def scoring(self, scale: float, masks: list[Array], causal: int, length: int) -> Scoring:
        right = 0 if causal and length > 1 else None
        return Scoring(scale=scale or None, masks=masks, right=right, offset=self.past, lengths=self.held)
