"""Convolutions of com.microsoft: ContribOperators.md of ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from graphopt.exec.kernels.activation import clip_6
from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.contrib.linear import activated
from graphopt.exec.kernels.convolution import causal_convolution, conv, finished
from graphopt.exec.kernels.registry import Array, kernel

DOMAIN = "com.microsoft"


# ---------------------------------------------------------------------------------------------------------------- fused
@kernel("FusedConv", domain=DOMAIN, wide=True, products=True)
def fused_conv(
    xp: Backend, x: Array, w: Array, b: Array | None = None, z: Array | None = None, *, activation: str = "",
    activation_params: Sequence[float] = (), auto_pad: str = "NOTSET", dilations: Sequence[int] | None = None,
    group: int = 1, kernel_shape: Sequence[int] | None = None, pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    """An activation function of a convolution, or of its sum with something."""
    y = conv(
        xp, x, w, b, auto_pad=auto_pad, dilations=dilations, group=group, kernel_shape=kernel_shape, pads=pads,
        strides=strides,
    )  # fmt: skip
    if z is not None:
        y += z
    if activation == "Clip":
        return clip_6(xp, y, min=activation_params[0], max=activation_params[1])
    return activated(xp, y, activation, *activation_params)


@kernel("NhwcFusedConv", "NhwcConv", domain=DOMAIN, wide=True, products=True)
def nhwc_fused_conv(
    xp: Backend, x: Array, w: Array, b: Array | None = None, z: Array | None = None, *, activation: str = "",
    activation_params: Sequence[float] = (), auto_pad: str = "NOTSET", dilations: Sequence[int] | None = None,
    group: int = 1, kernel_shape: Sequence[int] | None = None, pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    """The channels are the last dim of inputs and output; the weights are [M, C/group, K...] as ever."""
    y = fused_conv(
        xp, xp.moveaxis(x, -1, 1), w, b, None if z is None else xp.moveaxis(z, -1, 1), activation=activation,
        activation_params=activation_params, auto_pad=auto_pad, dilations=dilations, group=group,
        kernel_shape=kernel_shape, pads=pads, strides=strides,
    )  # fmt: skip
    return xp.moveaxis(y, 1, -1)


# --------------------------------------------------------------------------------------------------------------- causal
@kernel("CausalConvWithState", domain=DOMAIN, wide=True)
def causal_conv_with_state(
    xp: Backend, x: Array, w: Array, b: Array | None = None, past: Array | None = None, *, activation: str = "none",
    channels_last: int = 0, dilation: int = 1, input_channel_offset: int = 0, input_channels: int = 0, ndim: int = 1,
    state_channels_last: int = -1, state_length: int = 0, state_update_capacity: int = 0, state_window: int = 0,
) -> tuple[Array, Array]:  # fmt: skip
    """Each channel by itself, from the elements up to each place; and the last elements, for the next call.

    `channels_last`: [N, L, channels...] instead of [N, C, L]. `state_window`: the states after each of the last so many
    places, along a new leading axis; the last of them is what the next call reads.
    """
    extras = (input_channel_offset, input_channels, state_channels_last + 1, state_length, state_update_capacity)
    if ndim != 1 or any(extras):
        raise ValueError(
            "neither several spatial dims, parts of the channels nor other states than the kernel's are supported"
        )
    dims = x.shape[2:]

    def first(t: Array) -> Array:
        return xp.moveaxis(t.reshape(*t.shape[:2], math.prod(dims)), 1, -1) if channels_last else t

    def last(t: Array) -> Array:
        return xp.moveaxis(t, -1, -2).reshape(*t.shape[:-2], t.shape[-1], *dims) if channels_last else t

    if past is not None:
        past = first(past[-1] if state_window else past)
    x = first(x)
    y, seen = causal_convolution(xp, x, w, b, past, activation, dilation)
    length = x.shape[2]
    reach = seen.shape[2] - length
    if not state_window:
        return last(y), last(seen[..., length:])
    ends = range(length - state_window + 1, length + 1)
    states = [seen[..., end : end + reach] if end > 0 else xp.zeros_like(seen[..., :reach]) for end in ends]
    return last(y), last(xp.stack(states))


@kernel("VarlenCausalConvWithState", domain=DOMAIN, wide=True)
def varlen_causal_conv_with_state(
    xp: Backend, x: Array, w: Array, starts: Array, b: Array | None, states: Array, count: Array | None = None,
    kernel_delta: Array | None = None, previous_mask: Array | None = None, *, activation: str = "none",
    delta_offset: int = 0, dilation: int = 1, group_size: int = 1, state_update_capacity: int = 0,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """The same of several sequences, one behind the other in [tokens, C]; each has a state [C, L] in front.

    The third output is the first tokens of each sequence, as many as `count` says.
    """
    if kernel_delta is not None or previous_mask is not None:
        raise ValueError("weights that change from token to token are not supported")
    tokens, reach = x.shape[0], states.shape[2]
    first, end = starts[:-1, None], starts[1:, None]
    table = xp.concatenate([x, xp.moveaxis(states, 1, 2).reshape(-1, x.shape[1])])

    def element(sequence: Array, place: Array) -> Array:
        """What a sequence has at a place, which is one of its state's if negative."""
        inside = xp.take(starts, sequence) + place
        return xp.take(table, xp.where(place < 0, tokens + (sequence + 1) * reach + place, inside), axis=0)

    sequence = xp.searchsorted(starts, np.arange(tokens), side="right") - 1
    place = np.arange(tokens) - xp.take(starts, sequence)
    y = None
    for i in range(w.shape[2]):
        part = element(sequence, place - (w.shape[2] - 1 - i) * dilation) * w[:, 0, i]
        y = part if y is None else y + part
    each = np.arange(len(states))[:, None]
    state = element(each, end - first - reach + np.arange(reach))
    slots = np.arange(state_update_capacity)
    taken = xp.take(x, xp.clip(first + slots, 0, tokens - 1), axis=0)
    kept = slots < xp.minimum(0 if count is None else count[:, None], end - first)
    update = xp.where(kept[..., None], taken, xp.number(0, x))
    return finished(xp, y if b is None else y + b, activation), xp.moveaxis(state, 1, 2), update
