"""Convolutions under JAX. XLA's own are the fastest on a GPU; on the CPU that depends on their form (one core, float32):
a product of matrices takes 0.3 to 0.5 of its time for kernels of one element (256 to 64 channels, 56x56), shifted copies
0.01 for a depthwise one (144 channels, 56x56), convolutions group by group 0.4 to 0.85 for 2 to 8 groups, and with channels
last it takes 0.17 for a 7x7 stem, the same for most others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.windows import Pads, cropped_last, padded, padded_last, windows

#: Up to so many places, in all images together, a convolution is a sum of products, one for each element of the kernel
#: (channels last: 0.7 of XLA's time for 512 channels of 7x7, the same for 256 of 14x14; 1.4 for 64 of 56x56, or for eight
#: images of 128 of 14x14).
_FEW_PLACES = 256
#: Up to so many groups are convolved one by one: with more XLA compiles for seconds (32 groups: 0.7 to 1 of the time of one
#: convolution, and 3 to 6 s).
_FEW_GROUPS = 8
#: Images up to this number are multiplied one after the other.
_FEW = 8


def on_cpu(
    xp: Backend, x: Any, w: Any, strides: Sequence[int], dilations: Sequence[int], pads: Pads, group: int
) -> Any:
    """See `Backend.convolve`, without a bias."""
    move = windows(x.shape[2:], w.shape[2:], strides, dilations, [p for pair in zip(*pads, strict=True) for p in pair])
    if math.prod(move.kernel) == 1:
        seen = padded(xp, x, move.cover)[(..., *next(move.offsets()))]
        rows, weights = (
            seen.reshape(x.shape[0], group, w.shape[1], math.prod(move.places)),
            w.reshape(group, -1, w.shape[1]),
        )
        if 0 < x.shape[0] <= _FEW:  # XLA would turn channels and images around, to make one product of them
            y = jnp.stack([jnp.matmul(weights, image) for image in rows])
        else:
            y = jnp.matmul(weights, rows)
        return y.reshape(x.shape[0], w.shape[0], *move.places)
    if w.shape[1] == 1 and w.shape[0] == group:
        image, taps = padded(xp, x, move.cover), w.reshape(group, -1, *[1] * len(move.kernel))
        shifted = [image[(..., *at)] * taps[:, i] for i, at in enumerate(move.offsets())]
        return sum(shifted[1:], start=shifted[0])
    n = x.ndim - 2  # XLA moves transpositions to where they cost least
    y = _convolved(x.transpose(0, *range(2, n + 2), 1), w, strides, dilations, pads, group, cpu=True)
    return y.transpose(0, n + 1, *range(1, n + 1))


def on_accelerator(x: Any, w: Any, strides: Sequence[int], dilations: Sequence[int], pads: Pads, group: int) -> Any:
    """See `Backend.convolve`, without a bias: XLA finds the layout by itself."""
    return jax.lax.conv_general_dilated(x, w, strides, pads, rhs_dilation=dilations, feature_group_count=group)


def channels_last(
    xp: Backend, x: Any, w: Any, strides: Sequence[int], dilations: Sequence[int], pads: Pads, group: int, fast: bool
) -> Any:
    """`Backend.convolve_channels_last`, without a bias. `fast`: by form, as `on_cpu` does."""
    move = windows(
        x.shape[1:-1], w.shape[2:], strides, dilations, [p for pair in zip(*pads, strict=True) for p in pair]
    )
    depthwise = w.shape[1] == 1 and w.shape[0] == group
    few = group == 1 and (math.prod(move.kernel) == 1 or x.shape[0] * math.prod(move.places) <= _FEW_PLACES)
    if fast and (depthwise or few):
        image, taps = padded_last(xp, x, move.cover), w.reshape(*w.shape[:2], math.prod(move.kernel))
        seen = [image[(slice(None), *at)] for at in move.offsets()]
        if depthwise:
            shifted = [part * taps[:, 0, i] for i, part in enumerate(seen)]
        else:
            shifted = [jnp.matmul(part.reshape(-1, w.shape[1]), taps[..., i].T) for i, part in enumerate(seen)]
        return sum(shifted[1:], start=shifted[0]).reshape(x.shape[0], *move.places, w.shape[0])
    return _convolved(x, w, strides, dilations, pads, group, fast)


def _convolved(
    x: Any, w: Any, strides: Sequence[int], dilations: Sequence[int], pads: Pads, group: int, cpu: bool
) -> Any:
    """XLA's convolution of an image with its channels last."""
    x, pads = cropped_last(x, pads)  # XLA (jaxlib 0.10) reads beside the image where a pad in front is negative
    how = (tuple(strides), tuple(dilations), tuple(pads), group)
    if cpu and 1 < group <= _FEW_GROUPS:
        parts = zip(jnp.split(x, group, axis=-1), jnp.split(w, group), strict=True)
        return jnp.concatenate([_xla(image, weights, *how[:-1], 1) for image, weights in parts], axis=-1)
    return _grouped(x, w, *how) if cpu and group > 1 else _xla(x, w, *how)


def _xla(x: Any, w: Any, strides: Sequence[int], dilations: Sequence[int], pads: Pads, group: int) -> Any:
    n = x.ndim - 2
    letters = "ABDEFGHJ"[:n]
    return jax.lax.conv_general_dilated(
        x, w.transpose(*range(2, n + 2), 1, 0), strides, pads, rhs_dilation=dilations, feature_group_count=group,
        dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
    )  # fmt: skip


#: With groups, XLA's gradient of weights is a convolution with groups of the batch, for which it has no fast code on the CPU
#: (jaxlib 0.10: 1604 ms for 128 channels of 56x56 in 32 groups, where the products of `_of_grouped` take 7).
_grouped = jax.custom_vjp(_xla, nondiff_argnums=(2, 3, 4, 5))


def _kept(x: Any, w: Any, *how: Any) -> tuple[Any, tuple[Any, Any]]:
    return _grouped(x, w, *how), (x, w)


def _of_grouped(
    strides: Sequence[int], dilations: Sequence[int], pads: Pads, group: int, kept: tuple[Any, Any], dy: Any
) -> tuple[Any, Any]:
    """Gradients of the image and, as products, one for each element of the kernel, of the weights."""
    x, w = kept
    (dx,) = jax.vjp(lambda image: _xla(image, w, strides, dilations, pads, group), x)[1](dy)
    around = [p for pair in zip(*pads, strict=True) for p in pair]
    move = windows(x.shape[1:-1], w.shape[2:], strides, dilations, around)
    x, cover = cropped_last(x, move.cover)
    image, dy = jnp.pad(x, ((0, 0), *cover, (0, 0))), dy.reshape(-1, group, w.shape[0] // group)
    seen = [image[(slice(None), *at)].reshape(-1, group, w.shape[1]) for at in move.offsets()]
    dw = jnp.stack([jnp.einsum("pgc,pgo->goc", part, dy) for part in seen], axis=-1)
    return dx, dw.reshape(w.shape)


_grouped.defvjp(_kept, _of_grouped)
