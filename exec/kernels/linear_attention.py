"""Linear attention: a state of [keys' size, values' size] that every token changes a little and every query reads.

    S[t] = diag(decay[t]) S[t-1] + k[t] u[t]ᵀ      y[t] = S[t]ᵀ q[t]
    u[t] = v[t], or by the delta rule beta[t] (v[t] - (diag(decay[t]) S[t-1])ᵀ k[t])

A chunk of tokens can be done at once with matrix products: within it, a query sees an earlier token's u through its
product with that one's key, times all decay in between; and the u of the delta rule are the solution of a triangular
system. (Yang et al., Parallelizing Linear Transformers with the Delta Rule over Sequence Length)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.exec.kernels.attending import merge_heads, split_heads
from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.dtypes import is_narrow
from graphopt.exec.kernels.registry import Array, kernel

#: Tokens of a chunk; fewer where each feature has its own decay.
_CHUNK, _SMALL_CHUNK = 32, 8
#: Rows of a triangular matrix that is inverted by a power series; of more, some terms become too large.
_LEAF = 8
#: Logarithms of decay below this are nothing in float32, and -∞ has no differences.
_LEAST = -1e3


def recur(
    xp: Backend, q: Array, k: Array, v: Array, state: Array, decay: Array | None = None, beta: Array | None = None,
    keep: int = 0,
) -> tuple[Array, Array, list[Array]]:  # fmt: skip
    """Run the recurrence.

    Args:
        q: [batch, heads, length, size], with as many heads or more than keys have; each of these serves several.
        k, v: [batch, heads, length, size].
        state: [batch, heads, size of keys, size of values].
        decay: logarithms, [batch, heads, length, size of keys or 1].
        beta: [batch, heads or 1, length, 1], and the delta rule with it.
        keep: how many states to give beside the last.

    Returns:
        [batch, heads of q, length, size of values], the last state, and the `keep` last ones, or as many as there are.
    """
    batch, heads, length, _ = k.shape
    if not length:
        return xp.zeros((batch, q.shape[1], 0, v.shape[3]), v.dtype), state, []
    q = q.reshape(batch, heads, q.shape[1] // heads, length, q.shape[3])
    streams = {"q": q, "k": k, "v": v}
    if decay is not None:
        streams["decay"] = decay
    if beta is not None:
        streams["beta"] = beta
    cut = length - min(keep, length)
    ys, kept = [], []
    if cut:
        part = {name: x[..., :cut, :] for name, x in streams.items()}
        y, state = (_chunks if cut > 4 and not xp.exact else _steps)(xp, part, state)
        ys.append(y)
    for t in range(cut, length):
        y, state = _steps(xp, {name: x[..., t : t + 1, :] for name, x in streams.items()}, state)
        ys.append(y)
        kept.append(state)
    y = xp.concatenate(ys, axis=3) if len(ys) != 1 else ys[0]
    return y.reshape(batch, heads * q.shape[2], length, v.shape[3]), state, kept


def _steps(xp: Backend, streams: dict[str, Array], state: Array) -> tuple[Array, Array]:
    """Token by token."""
    streams = dict(streams)
    if "decay" in streams:
        streams["decay"] = xp.exp(streams["decay"])
    names = list(streams)

    def step(state: Array, xs: tuple[Array, ...]) -> tuple[Array, Array]:
        x = dict(zip(names, xs))
        if "decay" in x:
            state = state * x["decay"][..., None]
        u = x["v"]
        if "beta" in x:
            u = x["beta"] * (u - xp.matmul(x["k"][..., None, :], state)[..., 0, :])
        change = x["k"][..., None] * u[..., None, :]
        change += state
        return change, xp.matmul(x["q"], change)

    state, y = xp.scan(step, state, tuple(xp.moveaxis(x, -2, 0) for x in streams.values()))
    return xp.moveaxis(y, 0, 3), state


def _chunks(xp: Backend, streams: dict[str, Array], state: Array) -> tuple[Array, Array]:
    """Many tokens at once."""
    length, decay = streams["k"].shape[2], streams.get("decay")
    by_feature = decay is not None and decay.shape[-1] > 1
    size = min(_SMALL_CHUNK if by_feature else _CHUNK, max(_LEAF, 1 << (length - 1).bit_length()))
    pieces = -(-length // size)
    names = list(streams)
    until, before = np.tri(size, dtype=bool), np.tri(size, k=-1, dtype=bool)

    def cut(x: Array) -> Array:
        """[..., length, size] as [pieces, ..., size of a piece, size]; tokens of zeros at the end change nothing."""
        x = xp.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, pieces * size - length), (0, 0)])
        return xp.moveaxis(x.reshape(*x.shape[:-2], pieces, size, x.shape[-1]), -3, 0)

    def step(state: Array, xs: tuple[Array, ...]) -> tuple[Array, Array]:
        x = dict(zip(names, xs))
        q, k, u = x["q"], x["k"], x["v"]
        reading, asking, writing, left = q, k, k, None  # what meets the old state, and what the new one is made of
        total: Any = None
        if "decay" in x:
            total = xp.cumsum(xp.cast(xp.maximum(x["decay"], xp.number(_LEAST, k)), np.float64), axis=-2)
            start, end, left = (
                xp.exp(xp.cast(d, k.dtype)) for d in (total, total[..., -1:, :] - total, total[..., -1, :])
            )
            reading, asking, writing = q * start[:, :, None], k * start, k * end
        scores, own = _scores(xp, q, k, total, until)
        if "beta" in x:
            system = xp.where(before, own * x["beta"], xp.number(0, k))
            u = xp.matmul(_inverse(xp, system), x["beta"] * (u - xp.matmul(asking, state)))
        y = xp.matmul(reading, state[:, :, None])
        y += xp.matmul(scores, u[:, :, None])
        change = xp.matmul(writing.swapaxes(-1, -2), u)
        change += state if left is None else state * left[..., None]
        return change, y

    state, y = xp.scan(step, state, tuple(map(cut, streams.values())))
    y = xp.moveaxis(y, 0, 3)
    return y.reshape(*y.shape[:3], pieces * size, y.shape[-1])[..., :length, :], state


def _scores(xp: Backend, q: Array, k: Array, total: Array | None, until: np.ndarray) -> tuple[Array, Array]:
    """Products of the queries and the keys of a chunk with its keys up to there, times the decay between.

    Differences of sums of decay's logarithms are sums of what lies between, so nothing overflows.
    """
    if total is None or total.shape[-1] == 1:
        between = until
        if total is not None:
            between = xp.exp(xp.cast(xp.where(until, total - total.swapaxes(-1, -2), -np.inf), k.dtype))
        transposed = k.swapaxes(-1, -2)
        own = xp.matmul(k, transposed) * between
        return xp.matmul(q, transposed[:, :, None]) * (between if total is None else between[:, :, None]), own
    apart = xp.where(until[..., None], total[:, :, :, None] - total[:, :, None], -np.inf)
    decayed = xp.exp(xp.cast(apart, k.dtype)) * k[:, :, None]  # [batch, heads, to, from, features]
    products = xp.matmul(decayed, xp.concatenate([k[..., None], xp.moveaxis(q, 2, -1)], axis=-1))
    return xp.moveaxis(products[..., 1:], -1, 2), products[..., 0]


def _inverse(xp: Backend, x: Array) -> Array:
    """(1 + x)⁻¹ where x has nothing on and above its diagonal, and a power of two of rows.

    Small blocks on the diagonal from 1 - x + x² - x³... = (1 - x) (1 + x²) (1 + x⁴), as x⁸ = 0; then those of twice the
    size from them, [a 0; c b]⁻¹ = [a⁻¹ 0; -b⁻¹ c a⁻¹ b⁻¹].
    """
    rows, size = x.shape[-1], _LEAF

    def blocks(step: int, down: int) -> Array:
        return xp.stack([x[..., i + down : i + down + size, i : i + size] for i in range(0, rows, step)], axis=2)

    leaf, one = blocks(size, 0), np.eye(size, dtype=x.dtype)
    square = xp.matmul(leaf, leaf)
    y = xp.matmul(xp.matmul(one - leaf, one + square), one + xp.matmul(square, square))
    while size < rows:
        a, b = y[:, :, ::2], y[:, :, 1::2]
        c = xp.matmul(xp.matmul(b, blocks(2 * size, size)), a)
        upper, lower = xp.concatenate([a, xp.zeros_like(a)], axis=-1), xp.concatenate([-c, b], axis=-1)
        y = xp.concatenate([upper, lower], axis=-2)
        size *= 2
    return y[:, :, 0]


@kernel("LinearAttention", since=27)
def linear_attention(
    xp: Backend, query: Array, key: Array, value: Array, past_state: Array | None = None, decay: Array | None = None,
    beta: Array | None = None, *, chunk_size: int = 64, kv_num_heads: int, q_num_heads: int, scale: float = 0.0,
    state_window: int = 0, update_rule: str = "gated_delta",
) -> tuple[Array, Array]:  # fmt: skip
    """All tensors have their heads side by side; what is narrow is computed with as float32.

    With a window, states have an axis in front for the last ones, zeros where there are fewer.
    """
    if update_rule not in ("linear", "gated", "delta", "gated_delta"):
        raise ValueError(f"update_rule '{update_rule}' is unknown")
    given = [name for name, x in (("gated", decay), ("delta", beta)) if x is not None]
    if given != [name for name in ("gated", "delta") if name in update_rule]:
        raise ValueError(
            f"update_rule '{update_rule}' needs a decay where it is gated, and a beta for its delta, no others"
        )
    dtype, kept_dtype = query.dtype, query.dtype if past_state is None else past_state.dtype
    if is_narrow(dtype):
        query, key, value = (xp.cast(x, np.float32) for x in (query, key, value))
    decay, beta = (x if x is None else xp.cast(x, query.dtype) for x in (decay, beta))
    q, k, v = split_heads(query, q_num_heads), split_heads(key, kv_num_heads), split_heads(value, kv_num_heads)
    if q_num_heads < kv_num_heads:
        q = xp.repeat(q, kv_num_heads // q_num_heads, axis=1)
    if decay is not None:
        decay = split_heads(decay, kv_num_heads)
    if beta is not None:
        beta = split_heads(beta, beta.shape[2])
    shape = (len(k), kv_num_heads, k.shape[3], v.shape[3])
    if past_state is None:
        state = xp.zeros(shape, k.dtype)
    else:
        state = xp.cast(past_state[-1] if state_window else past_state, k.dtype)
    y, state, kept = recur(xp, q, k, v, state, decay, beta, state_window)
    y *= xp.number(scale, y) if scale else 1 / xp.sqrt(xp.number(k.shape[3], y))
    if state_window:
        state = xp.stack([xp.zeros(shape, k.dtype)] * (state_window - len(kept)) + kept)
    return xp.cast(merge_heads(y), dtype), xp.cast(state, kept_dtype)
