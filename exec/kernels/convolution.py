"""Convolutions, and what puts blocks back into an image: https://onnx.ai/onnx/operators/.

All run on `xp.convolve`, for which every backend has what its library is best at; `convolve` here is the plain one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import ints
from graphopt.exec.kernels.registry import Array, Host, kernel
from graphopt.exec.kernels.windows import Pads, Windows, chosen_pads, halves, padded, windows


# ------------------------------------------------------------------------------------------------------------- forwards
@kernel("Conv", wide=True)
def conv(
    xp: Backend, x: Array, w: Array, b: Array | None = None, *, auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None, group: int = 1, kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None, strides: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    move = kernel_windows(x, w, group, kernel_shape, strides, dilations, pads, auto_pad)
    return xp.convolve(x, w, move.strides, move.dilations, move.pads, group, b)


def kernel_windows(
    x: Array, w: Array, group: int, kernel_shape: Sequence[int] | None, strides: Sequence[int] | None,
    dilations: Sequence[int] | None, pads: Sequence[int] | None, auto_pad: str,
) -> Windows:  # fmt: skip
    """The windows of a convolution of [N, C, D...] with [M, C/group, K...].

    Raises:
        ValueError: the two do not go together.
    """
    if x.ndim < 3 or w.ndim != x.ndim or x.shape[1] != w.shape[1] * group or w.shape[0] % group:
        raise ValueError(f"weights {list(w.shape)} in {group} groups do not go with an input {list(x.shape)}")
    if kernel_shape and tuple(kernel_shape) != w.shape[2:]:
        raise ValueError(f"kernel_shape is {list(kernel_shape)}, and the weights are {list(w.shape)}")
    return windows(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)


def convolve(
    xp: Backend, x: Array, w: Array, strides: Sequence[int], dilations: Sequence[int], pads: Pads, group: int
) -> Array:
    """`Backend.convolve` on any backend: what the windows see is stacked, and multiplied with the weights."""
    around = [p for pair in zip(*pads, strict=True) for p in pair]
    move = windows(x.shape[2:], w.shape[2:], strides, dilations, around)
    x = padded(xp, x, move.cover)
    batch, channels, outputs = x.shape[0], w.shape[1], w.shape[0] // group
    seen = xp.stack([x[(..., *at)] for at in move.offsets()], axis=2)
    seen = seen.reshape(batch, group, channels * math.prod(move.kernel), math.prod(move.places))
    y = xp.matmul(w.reshape(1, group, outputs, seen.shape[2]), seen)
    return y.reshape(batch, w.shape[0], *move.places)


# ------------------------------------------------------------------------------------------------------------ backwards
@kernel("ConvTranspose", wide=True)
def conv_transpose(
    xp: Backend, x: Array, w: Array, b: Array | None = None, *, auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None, group: int = 1, kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None, output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None, strides: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    """[N, C, D...] * [C, M/group, K...]: each element spreads over a window of the output."""
    if x.ndim < 3 or w.ndim != x.ndim or x.shape[1] != w.shape[0] or w.shape[0] % group:
        raise ValueError(f"weights {list(w.shape)} in {group} groups do not go with an input {list(x.shape)}")
    if kernel_shape and tuple(kernel_shape) != w.shape[2:]:
        raise ValueError(f"kernel_shape is {list(kernel_shape)}, and the weights are {list(w.shape)}")
    n = x.ndim - 2
    around, sizes = spread_pads(
        x.shape[2:], w.shape[2:], strides or [1] * n, dilations or [1] * n, pads or [0] * (2 * n), auto_pad,
        output_padding or [0] * n, output_shape,
    )  # fmt: skip
    return spread(xp, x, w, b, strides or [1] * n, dilations or [1] * n, around, sizes, group)


def spread_pads(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int],
    pads: Sequence[int], auto_pad: str, output_padding: Sequence[int], output_shape: Sequence[int] | None,
) -> tuple[list[int], list[int]]:  # fmt: skip
    """What a transposed convolution cuts off in front of each dim, and the dims that it leaves.

    Raises:
        ValueError: an attribute does not have the right number of numbers.
    """
    n = len(sizes)
    given = list(output_shape or [])[-n:]  # some write batch and channels in front
    for name, numbers, count in (
        ("strides", strides, n), ("dilations", dilations, n), ("pads", pads, 2 * n),
        ("output_padding", output_padding, n), ("output_shape", given, n),
    ):  # fmt: skip
        if len(numbers) != count and (numbers or name != "output_shape"):
            raise ValueError(f"{name} {list(numbers)} does not have {count} numbers, for spatial dims {list(sizes)}")
    full = [
        (size - 1) * stride + (k - 1) * step + 1 + extra
        for size, k, stride, step, extra in zip(sizes, kernel, strides, dilations, output_padding, strict=True)
    ]
    chosen = chosen_pads(auto_pad, sizes, kernel, strides, dilations)
    if auto_pad.startswith("SAME") and not given:
        given = [size * stride for size, stride in zip(sizes, strides, strict=True)]
    if given:
        cuts = [halves(most - size, auto_pad == "SAME_UPPER") for most, size in zip(full, given, strict=True)]
    else:
        cuts = list(chosen or zip(pads[:n], pads[n:], strict=True))
    left = [most - before - after for most, (before, after) in zip(full, cuts, strict=True)]
    if min(left, default=0) < 0:
        raise ValueError(f"pads {cuts} leave nothing of spatial dims {full}")
    return [before for before, _ in cuts], left


def spread(
    xp: Backend, x: Array, w: Array, b: Array | None, strides: Sequence[int], dilations: Sequence[int],
    cut: Sequence[int], sizes: Sequence[int], group: int,
) -> Array:  # fmt: skip
    """A transposed convolution as one of stride 1.

    An output element s q + r sees the elements s t + r of the kernel, through x[q - t]: its remainder r by the stride
    decides which. So for each r there is a small kernel over t, all of them at once are the channels of one convolution,
    and their outputs are interleaved.
    """
    n = x.ndim - 2
    batch, inputs, outputs = x.shape[0], x.shape[1] // group, w.shape[1]
    kernel = w.shape[2:]
    for dim in range(n):
        w = _stretched(xp, w, 2 + dim, dilations[dim], strides[dim])
    turns = [k // s for k, s in zip(w.shape[2:], strides, strict=True)]  # numbers of t
    # [C, M, (t, r)...] -> [group, M, r..., C, t backwards...]
    w = w.reshape(group, inputs, outputs, *[size for pair in zip(turns, strides, strict=True) for size in pair])
    w = w.transpose(0, 2, *range(4, 4 + 2 * n, 2), 1, *range(3, 3 + 2 * n, 2))
    w = w[(..., *[slice(None, None, -1)] * n)].reshape(group * outputs * math.prod(strides), inputs, *turns)
    places = [-(-(c + size) // s) for c, size, s in zip(cut, sizes, strides, strict=True)]
    around = [(t - 1, p - size) for t, p, size in zip(turns, places, x.shape[2:], strict=True)]
    if any(after < 0 for _, after in around):
        x, around = padded(xp, x, tuple((0, min(after, 0)) for _, after in around)), [(t, max(a, 0)) for t, a in around]
    y = xp.convolve(x, w, (1,) * n, (1,) * n, tuple(around), group)
    return y
