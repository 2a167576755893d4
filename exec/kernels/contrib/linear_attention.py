"""Linear attention of com.microsoft: ContribOperators.md of ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.exec.kernels.activation import softplus
from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import ints
from graphopt.exec.kernels.dtypes import is_narrow
from graphopt.exec.kernels.linear_attention import linear_attention, recur
from graphopt.exec.kernels.registry import Array, Host, kernel

DOMAIN = "com.microsoft"

kernel("LinearAttention", domain=DOMAIN)(linear_attention)


@kernel("GatedDeltaNet", domain=DOMAIN)
def gated_delta_net(
    xp: Backend, query: Array, key: Array | None = None, value: Array | None = None, cu_seqlens: Host = None,
    decay: Array | None = None, beta: Array | None = None, initial_state: Array | None = None,
    a_log: Array | None = None, dt_bias: Array | None = None, capture_count: Array | None = None,
    state_update_active: Array | None = None, *,
    beta_activation: str = "none", chunk_size: int = 64, gate_activation: str = "none", gate_lower_bound: float = -5.0,
    qk_l2_norm: int = 0, scale: float = 0.0, state_update_capacity: int = 0, update_rule: str = "gated_delta",
) -> tuple[Array, Array]:  # fmt: skip
    """Tokens [all of them, heads, size] of requests one behind the other; the state is [batch, heads, values, keys]."""
    if state_update_capacity:
        raise ValueError("updates of the state are not given one by one")
    dtype = query.dtype
    if key is None or value is None:
        query, key, value = _apart(query, initial_state)
    leading, size = query.shape[: query.ndim - 2], query.shape[-1]
    tokens = _Tokens(xp, cu_seqlens, leading, 1 if initial_state is None else len(initial_state))
    q, k, v = (tokens.batched(x) for x in (query, key, value))
    if qk_l2_norm:
        q, k = (x / xp.sqrt(xp.sum(x * x, axis=-1, keepdims=True) + xp.number(1e-12, x)) for x in (q, k))
    heads = v.shape[1]
    q, k = (xp.repeat(x, heads // x.shape[1], axis=1) for x in (q, k))
    if "gated" not in update_rule:
        decay = None
    if decay is not None:
        decay = _wide(xp, decay)
        if gate_activation != "none":
            if a_log is None:
                raise ValueError("a gate with an activation needs a_log")
            decay = _gated(xp, decay.reshape(*leading, heads, -1), a_log, dt_bias, gate_activation, gate_lower_bound)
        decay = tokens.batched(decay.reshape(*leading, heads, decay.size // max(heads * tokens.count, 1)))
    if "delta" not in update_rule:
        beta = None
    if beta is not None:
        beta = _wide(xp, beta)
        beta = xp.sigmoid(beta) if beta_activation == "sigmoid" else beta
        beta = tokens.batched(beta.reshape(*leading, heads, 1))
    if initial_state is None:
        state = xp.zeros((len(k), heads, size, v.shape[3]), k.dtype)
    else:
        state = initial_state.swapaxes(2, 3)
    y, state, _ = recur(xp, q, k, v, state, decay, beta)
    y *= xp.number(scale, y) if scale else 1 / xp.sqrt(xp.number(size, y))
    return xp.cast(tokens.packed(y).reshape(*leading, heads, v.shape[3]), dtype), state.swapaxes(2, 3)


def _wide(xp: Backend, x: Array) -> Array:
    return xp.cast(x, np.float32) if is_narrow(x.dtype) else x


def _apart(qkv: Array, state: Array | None) -> tuple[Array, Array, Array]:
    """Query, key and value that are side by side; the state says how large they are."""
    if state is None:
        raise ValueError("a query with keys and values in it needs an initial state")
    _, heads, value_size, size = state.shape
    width = (qkv.shape[-1] - heads * value_size) // 2
    q, k, v = qkv[..., :width], qkv[..., width : 2 * width], qkv[..., 2 * width :]
    shape = (*qkv.shape[:-1], width // size, size)
    return q.reshape(shape), k.reshape(shape), v.reshape(*qkv.shape[:-1], heads, value_size)


def _gated(xp: Backend, decay: Array, a_log: Array, dt_bias: Array | None, activation: str, lowest: float) -> Array:
    """The logarithm of decay [..., heads, features or 1] from what a projection gave."""
    if dt_bias is not None:
        decay = decay + dt_bias.reshape(decay.shape[-2], dt_bias.size // decay.shape[-2])
    strength = xp.exp(a_log)[:, None]
    if activation in ("softplus", "qwen"):
        return -strength * softplus(xp, decay)
    if activation in ("sigmoid", "kda"):
        return xp.gated(xp.number(lowest, decay), strength * decay)
    raise ValueError(f"gate_activation '{activation}' is unknown")


class _Tokens:
    """Where the tokens of each request are, and where they go in a batch that is as long as the longest of them."""

    def __init__(self, xp: Backend, ends: Any, leading: tuple[int, ...], batch: int) -> None:
        self.xp = xp
        self.count = int(np.prod(leading))
        self.places: np.ndarray | None = None
        if ends is None:
            self.batch, self.length = (
                (leading[0], leading[1]) if len(leading) > 1 else (batch, self.count // max(batch, 1))
            )
            return
        starts = np.array(ints(ends))
        lengths = np.diff(starts)
        self.batch, self.length = len(lengths), int(lengths.max(initial=0))
        request = np.repeat(np.arange(self.batch), lengths)
        self.places = request * self.length + np.arange(self.count) - starts[request]

    def batched(self, x: Array) -> Array:
        """[tokens..., heads, size] as [batch, heads, length, size], with zeros at the ends."""
        xp = self.xp
        x = _wide(xp, x.reshape(self.count, *x.shape[-2:]))
        if self.places is not None:
            x = xp.put(xp.zeros((self.batch * self.length, *x.shape[1:]), x.dtype), self.places, x)
        return x.reshape(self.batch, self.length, *x.shape[1:]).swapaxes(1, 2)

    def packed(self, x: Array) -> Array:
        """[batch, heads, length, size] as [tokens, heads, size]."""
        x = x.swapaxes(1, 2).reshape(self.batch * self.length, x.shape[1], x.shape[3])
        return x if self.places is None else x[self.places]
