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
    n, count = x.ndim - 2, math.prod(strides)
    inputs, outputs = x.shape[1] // group, w.shape[1]
    for dim, (stride, step) in enumerate(zip(strides, dilations, strict=True)):
        w = _stretched(xp, w, 2 + dim, step, stride)
    turns = [k // stride for k, stride in zip(w.shape[2:], strides, strict=True)]  # how many t there are
    # [C, M, (t r)...] -> [group M r..., C, t backwards...]
    w = w.reshape(group, inputs, outputs, *itertools.chain(*zip(turns, strides, strict=True)))
    w = w.transpose(0, 2, *range(4, 4 + 2 * n, 2), 1, *range(3, 3 + 2 * n, 2))
    w = w[(..., *[slice(None, None, -1)] * n)].reshape(group * outputs * count, inputs, *turns)
    places = [-(-(front + size) // stride) for front, size, stride in zip(cut, sizes, strides, strict=True)]
    around = tuple((t - 1, place - size) for t, place, size in zip(turns, places, x.shape[2:], strict=True))
    b = b if b is None or count == 1 else xp.repeat(b, count)
    y = xp.convolve(x, w, (1,) * n, (1,) * n, around, group, b)
    y = _interleaved(y.reshape(x.shape[0], group * outputs, count, *places), strides)
    return y[(..., *[slice(front, front + size) for front, size in zip(cut, sizes, strict=True)])]


def _interleaved(y: Array, strides: Sequence[int]) -> Array:
    """[N, C, r..., D...] -> [N, C, (D r)...]: what stands every so many elements, in its place."""
    batch, channels, count, *places = y.shape
    n = len(places)
    if count > 1:
        y = y.reshape(batch, channels, *strides, *places)
        y = y.transpose(0, 1, *itertools.chain(*zip(range(2 + n, 2 + 2 * n), range(2, 2 + n), strict=True)))
    return y.reshape(batch, channels, *[p * stride for p, stride in zip(places, strides, strict=True)])


def _stretched(xp: Backend, w: Array, axis: int, step: int, multiple: int) -> Array:
    """A kernel with the zeros that a dilation puts between its elements, and behind up to a multiple of something."""
    shape = list(w.shape)
    k = shape[axis]
    if step > 1:
        shape.insert(axis + 1, 1)
        widths = [(0, 0)] * len(shape)
        widths[axis + 1] = (0, step - 1)
        shape[axis : axis + 2] = [k * step]
        w = xp.pad(w.reshape(*w.shape[: axis + 1], 1, *w.shape[axis + 1 :]), widths).reshape(shape)
        k = (k - 1) * step + 1
        w = w[(slice(None),) * axis + (slice(0, k),)]
    widths = [(0, 0)] * w.ndim
    widths[axis] = (0, -k % multiple)
    return xp.pad(w, widths)


@kernel("Col2Im", since=18, wide=True)
def col2im(
    xp: Backend, x: Array, image_shape: Host, block_shape: Host, *, dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None, strides: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    """[N, C block..., places of the block] -> [N, C, image...]: elements of blocks that overlap are added."""
    move = windows(ints(image_shape), ints(block_shape), strides, dilations, pads)
    batch, rows, count = x.shape
    n, elements = len(move.kernel), math.prod(move.kernel)
    if rows % elements or count != math.prod(move.places):
        raise ValueError(f"blocks {list(move.kernel)} at {list(move.places)} places are not what an input {list(x.shape)} holds")
@@