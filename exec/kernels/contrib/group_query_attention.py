"""GroupQueryAttention of com.microsoft, which language models are exported with, and its sparse relative.

ContribOperators.md of ONNX Runtime describes them. A cache that a caller says to hold more tokens than it has got is a
buffer: each batch entry fills it up to its own length, and what lies behind that is anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt.exec.kernels.attending import BIASED, PROBABILITIES, Scoring, attend, split_heads
from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import ints
from graphopt.exec.kernels.contrib.weights import unpacked
from graphopt.exec.kernels.dtypes import is_narrow
from graphopt.exec.kernels.registry import Array, Host, kernel
from graphopt.exec.kernels.rotary import rotate

DOMAIN = "com.microsoft"


@kernel("GroupQueryAttention", domain=DOMAIN)
def group_query_attention(
    xp: Backend, query: Array, key: Array | None, value: Array | None, past_key: Array | None, past_value: Array | None,
    seqlens_k: Array, total_sequence_length: Host, cos_cache: Array | None = None, sin_cache: Array | None = None,
    position_ids: Array | None = None, attention_bias: Array | None = None, head_sink: Array | None = None,
    k_scale: Array | None = None, v_scale: Array | None = None, q_norm_weight: Array | None = None,
    k_norm_weight: Array | None = None, query_seqlens: Array | None = None, *,
    causal: int = 1, do_rotary: int = 0, k_norm_epsilon: float | None = None, k_quant_type: str = "NONE",
    kv_cache_bit_width: int = 0, kv_num_heads: int, local_window_size: int = -1, num_heads: int,
    q_norm_epsilon: float | None = None, qk_norm_epsilon: float = 1e-6, qk_output: int = 0, rotary_interleaved: int = 0,
    scale: float = 0.0, sliding_window_cache: int = 0, smooth_softmax: int = -1, softcap: float = 0.0,
    v_quant_type: str = "NONE",
) -> tuple[Array, Array, Array, Array | None]:  # fmt: skip
    """`seqlens_k` has one less than the number of keys that each batch entry has with the new ones."""
    if sliding_window_cache:
        raise ValueError("caches of a window's size are not supported")
    q, k, v = _heads(query, key, value, num_heads, kv_num_heads)
    (total,) = ints(total_sequence_length)
    length = q.shape[2]
    tokens = _Tokens.of(xp, seqlens_k, total, length, query_seqlens)
    if q_norm_weight is not None and k_norm_weight is not None:
        q = _normalized(xp, q, q_norm_weight, qk_norm_epsilon if q_norm_epsilon is None else q_norm_epsilon)
        k = _normalized(xp, k, k_norm_weight, qk_norm_epsilon if k_norm_epsilon is None else k_norm_epsilon)
    if do_rotary:
        if cos_cache is None or sin_cache is None:
            raise ValueError("do_rotary needs cosines and sines")
        places = tokens.positions(length) if position_ids is None else position_ids
        if position_ids is not None and tokens.first:
            places = position_ids.reshape(-1)[:1].reshape(1, 1) + np.arange(length)
        cos, sin = (xp.take(c, places, axis=0)[:, None] for c in (cos_cache, sin_cache))
        q, k = (rotate(xp, x, cos, sin, bool(rotary_interleaved)) for x in (q, k))
    codes = (
        _Codes(xp, k_scale, kv_cache_bit_width or 8, k_quant_type),
        _Codes(xp, v_scale, kv_cache_bit_width or 8, v_quant_type),
    )
    k, v = (
        tokens.appended(xp, code.packed(new), past, total)
        for code, new, past in zip(codes, (k, v), (past_key, past_value))
    )
    sink = head_sink
    if sink is None and smooth_softmax == 1:
        sink = xp.zeros(num_heads, np.float32)
    scoring = Scoring(
        scale=scale or None,
        softcap=softcap,
        masks=() if attention_bias is None else (attention_bias,),
        left=local_window_size - 1 if local_window_size > 0 else None,
        right=0 if causal else None,
        offset=tokens.past,
        lengths=tokens.lengths,
        sink=sink,
    )
    wanted = {0: None, 1: BIASED, 2: PROBABILITIES}[qk_output]
    seen_k, seen_v = (code.unpacked(x[:, :, :total]) for code, x in zip(codes, (k, v)))
    y, scores = attend(xp, q, seen_k, seen_v, scoring, packed=True, wanted=wanted)
    if wanted == BIASED:
        scores = xp.where(scores == -np.inf, xp.number(0, scores), scores)
    return y, k, v, scores


@dataclass(slots=True)
class _Tokens:
    """How many tokens each batch entry has.

    Attributes:
        first: these are the first ones.
        past: in front of the new ones; a number where all entries have as many, else an array.
        lengths: with them, an array.
    """

    first: bool
    past: Any
    lengths: Array

    @classmethod
    def of(cls, xp: Backend, last: Array, total: int, length: int, valid: Array | None) -> _Tokens:
        lengths = last.reshape(-1) + 1
        first = total == length and valid is None
        past = lengths - (length if valid is None else valid.reshape(-1))
        if first:
            past = 0
        elif isinstance(past, np.ndarray) and past.size and (past == past[0]).all():
            past = int(past[0])
        return cls(first, past, lengths)

    def positions(self, length: int) -> Array:
        """[batch or 1, length]"""
        return (self.past if isinstance(self.past, int) else self.past[:, None]) + np.arange(length)[None]

    def appended(self, xp: Backend, new: Array, past: Array | None, total: int) -> Array:
        """A cache [batch, heads, tokens, size] with new tokens behind those that each batch entry has."""
        missing = total - (0 if past is None else past.shape[2])
        if past is None:
            return xp.pad(new, [(0, 0), (0, 0), (0, max(total - new.shape[2], 0)), (0, 0)])
        if isinstance(self.past, int) and missing >= 0:
            known = past[:, :, : self.past]
            rest = max(total - self.past - new.shape[2], 0)
            y = xp.concatenate([known, new], axis=2)
            return xp.pad(y, [(0, 0), (0, 0), (0, rest), (0, 0)])
        past = xp.pad(past, [(0, 0), (0, 0), (0, max(missing, 0)), (0, 0)])
        places = xp.broadcast_to(self.positions(new.shape[2]), (len(new), new.shape[2]))
        index = (np.arange(len(new))[:, None], slice(None), places)
        return xp.put(past, index, new.swapaxes(1, 2))  # axes that arrays are indices of come first


@dataclass(slots=True)
class _Codes:
    """How a cache keeps numbers: as they are, or as integers with a scale, of four bits two in a byte."""

    xp: Backend
    scale: Array | None
    bits: int
    kind: str

    def packed(self, x: Array) -> Array:
        if self.kind == "NONE":
            return x
        xp, limit = self.xp, 1 << (self.bits - 1)
        codes = xp.clip(xp.rint(xp.cast(x, np.float32) / self.scale), -limit, limit - 1)
        if self.bits == 8:
            return xp.cast(codes, np.int8)
        codes = xp.cast(codes + limit, np.uint8)
        return codes[..., ::2] | (codes[..., 1::2] << np.uint8(4))

    def unpacked(self, x: Array) -> Array:
        if self.kind == "NONE":
            return x
        xp = self.xp
        codes = xp.cast(unpacked(xp, x, self.bits) if self.bits < 8 else x, np.float32)
        return (codes if self.bits == 8 else codes - (1 << (self.bits - 1))) * self.scale


def _heads(
    query: Array, key: Array | None, value: Array | None, heads: int, kv_heads: int
) -> tuple[Array, Array, Array]:
    """Query, key and value [batch, heads, length, size]; without a key all three are side by side."""
    if key is not None and value is not None:
        return split_heads(query, heads), split_heads(key, kv_heads), split_heads(value, kv_heads)
    qkv = split_heads(query, heads + 2 * kv_heads)
    return qkv[:, :heads], qkv[:, heads : heads + kv_heads], qkv[:, heads + kv_heads :]


def _normalized(xp: Backend, x: Array, weight: Array, epsilon: float) -> Array:
    """Divided by the root of the mean square of each head, and scaled."""
    dtype = x.dtype
    if is_narrow(dtype):
        x, weight = xp.cast(x, np.float32), xp.cast(weight, np.float32)
    mean = xp.sum(x * x, axis=-1, keepdims=True) / xp.number(x.shape[-1], x)
    y = x / xp.sqrt(mean + xp.number(epsilon, x))
    y *= weight
    return xp.cast(y, dtype)
