"""Convolutions, and what puts blocks back into an image: https://onnx.ai/onnx/operators/.

They run on `xp.convolve`, for which each backend has what its library is best at; `convolve` here is the plain one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import ints
from graphopt.exec.kernels.registry import Array, Host, kernel
from graphopt.exec.kernels.windows import Pads, Windows, chosen_pads, halves, padded, windows


# ------------------------------------------------------------------------------------------------------------- forwards
@kernel("Conv", wide=True, products=True)
def conv(
    xp: Backend, x: Array, w: Array, b: Array | None = None, *, auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None, group: int = 1, kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None, strides: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    move = kernel_windows(x, w, group, kernel_shape, strides, dilations, pads, auto_pad)
    return xp.convolve(x, w, move.strides, move.dilations, move.pads, group, b)


def kernel_windows(
    x: Array, w: Array, group: int, kernel_shape: Sequence[int] | None, strides: Sequence[int] | None,
    dilations: Sequence[int] | None, pads: Sequence[int] | None, auto_pad: str = "NOTSET",
) -> Windows:  # fmt: skip
    """The windows of a convolution of [N, C, D...] with [M, C/group, K...].

    Raises:
        ValueError: the two do not go together.
    """
    _check(x, w, w.shape[1] * group, w.shape[0], group, kernel_shape)
    return windows(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)


def _check(
    x: Array, w: Array, inputs: int, grouped: int, group: int, kernel_shape: Sequence[int] | None
) -> None:  # fmt: skip
    if x.ndim < 3 or w.ndim != x.ndim or x.shape[1] != inputs or grouped % group:
        raise ValueError(f"weights {list(w.shape)} in {group} groups do not go with an input {list(x.shape)}")
    if kernel_shape and tuple(kernel_shape) != w.shape[2:]:
        raise ValueError(f"kernel_shape is {list(kernel_shape)}, and the weights are {list(w.shape)}")


def convolve(
    xp: Backend, x: Array, w: Array, strides: Sequence[int], dilations: Sequence[int], pads: Pads, group: int,
    bias: Array | None,
) -> Array:  # fmt: skip
    """`Backend.convolve` on any backend: what the windows see is stacked, and multiplied with the weights."""
    around = list(itertools.chain(*zip(*pads, strict=True)))
    move = windows(x.shape[2:], w.shape[2:], strides, dilations, around)
    x = padded(xp, x, move.cover)
    seen = xp.stack([x[(..., *at)] for at in move.offsets()], axis=2)
    seen = seen.reshape(x.shape[0], group, math.prod(w.shape[1:]), math.prod(move.places))
    y = xp.matmul(w.reshape(1, group, w.shape[0] // group, seen.shape[2]), seen)
    y = y.reshape(x.shape[0], w.shape[0], *move.places)
    return y if bias is None else y + bias.reshape(-1, *[1] * len(move.places))


# ------------------------------------------------------------------------------------------------------------ backwards
@kernel("ConvTranspose", wide=True, products=True)
def conv_transpose(
    xp: Backend, x: Array, w: Array, b: Array | None = None, *, auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None, group: int = 1, kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None, output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None, strides: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    """[N, C, D...] * [C, M/group, K...]: each element spreads over a window of the output.

    As a convolution of stride 1: an output element s p + r sees the elements s t + r of the kernel, through x[p - t]: its
    remainder r by the stride decides which. So there is a smaller kernel over t for each r; all of them are channels of
    one convolution, whose outputs are interleaved.
    """
    _check(x, w, w.shape[0], w.shape[0], group, kernel_shape)
    n = x.ndim - 2
    strides, dilations = strides or [1] * n, dilations or [1] * n
    cut, sizes = _spread(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad, output_padding, output_shape)
    inputs, outputs, count = x.shape[1] // group, w.shape[1], math.prod(strides)
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
    return _cropped(y, cut, sizes)


def _spread(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int],
    pads: Sequence[int] | None, auto_pad: str, output_padding: Sequence[int] | None, output_shape: Sequence[int] | None,
) -> tuple[list[int], list[int]]:  # fmt: skip
    """What a transposed convolution cuts off in front of each dim, and the dims that it leaves.

    Raises:
        ValueError: an attribute does not have a number for each dim.
    """
    n = len(sizes)
    pads, output_padding = pads or [0] * (2 * n), output_padding or [0] * n
    given = list(output_shape or ())[-n:]  # some write batch and channels in front
    for name, numbers, count in (
        ("strides", strides, n), ("dilations", dilations, n), ("pads", pads, 2 * n),
        ("output_padding", output_padding, n), ("output_shape", given or [0] * n, n),
    ):  # fmt: skip
        if len(numbers) != count:
            raise ValueError(f"{name} {list(numbers)} does not have {count} numbers, for spatial dims {list(sizes)}")
    full = [
        (size - 1) * stride + (k - 1) * step + 1 + extra
        for size, k, stride, step, extra in zip(sizes, kernel, strides, dilations, output_padding, strict=True)
    ]
    cuts = chosen_pads(auto_pad, sizes, kernel, strides, dilations) or tuple(zip(pads[:n], pads[n:], strict=True))
    if auto_pad.startswith("SAME") and not given:
        given = [size * stride for size, stride in zip(sizes, strides, strict=True)]
    if given:  # where that is more than there is, zeros follow
        cuts = tuple(halves(max(m - size, 0), auto_pad == "SAME_UPPER") for m, size in zip(full, given, strict=True))
    else:
        given = [m - sum(cut) for m, cut in zip(full, cuts, strict=True)]
        if min(given) < 0:
            raise ValueError(f"pads {cuts} cut more than there is of spatial dims {full}")
    return [front for front, _ in cuts], given


def _stretched(xp: Backend, w: Array, axis: int, step: int, multiple: int) -> Array:
    """A kernel with the zeros that a dilation puts between its elements, and more behind, up to a multiple of something."""
    k = w.shape[axis]
    if step > 1:
        w = w.reshape(*w.shape[: axis + 1], 1, *w.shape[axis + 1 :])
        w = xp.pad(w, [(0, step - 1 if a == axis + 1 else 0) for a in range(w.ndim)])
        w = w.reshape(*w.shape[:axis], k * step, *w.shape[axis + 2 :])
        k = (k - 1) * step + 1
        w = w[(slice(None),) * axis + (slice(0, k),)]
    return xp.pad(w, [(0, -k % multiple if a == axis else 0) for a in range(w.ndim)])


def _interleaved(y: Array, strides: Sequence[int]) -> Array:
    """[N, C, (r...), D...] -> [N, C, (D r)...]: what stands every so many elements, in its place."""
    batch, channels, count, *places = y.shape
    n = len(places)
    if count > 1:
        y = y.reshape(batch, channels, *strides, *places)
        y = y.transpose(0, 1, *itertools.chain(*zip(range(2 + n, 2 + 2 * n), range(2, 2 + n), strict=True)))
    return y.reshape(batch, channels, *[p * stride for p, stride in zip(places, strides, strict=True)])


def _cropped(y: Array, cut: Sequence[int], sizes: Sequence[int]) -> Array:
    """So many elements of each spatial dim, after those that are cut off in front."""
    return y[(..., *[slice(front, front + size) for front, size in zip(cut, sizes, strict=True)])]


@kernel("Col2Im", since=18, wide=True)
def col2im(
    xp: Backend, x: Array, image_shape: Host, block_shape: Host, *, dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None, strides: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    """[N, C block..., places of the block] -> [N, C, image...]: elements of blocks that overlap are added."""
    image = ints(image_shape)
    move = windows(image, ints(block_shape), strides, dilations, pads)
    batch, rows, count = x.shape
    elements = math.prod(move.kernel)
    if rows % elements or count != math.prod(move.places):
        raise ValueError(f"an input {list(x.shape)} is not blocks of {move.kernel} at {move.places} places")
    x = x.reshape(batch, rows // elements, elements, *move.places)
    # the element of place p goes to s (p + shift) + remainder: those of one remainder are added up, then interleaved
    sides = [before + size + max(after, 0) for size, (before, after) in zip(image, move.pads, strict=True)]
    places = [-(-side // stride) for side, stride in zip(sides, move.strides, strict=True)]
    if (
        move.kernel == move.strides and set(move.dilations) == {1} and places == list(move.places)
    ):  # blocks side by side
        return _cropped(_interleaved(x, move.strides), [before for before, _ in move.pads], image)
    sums: dict[tuple[int, ...], Array] = {}
    for i, at in enumerate(itertools.product(*map(range, move.kernel))):
        ways = [divmod(a * step, stride) for a, step, stride in zip(at, move.dilations, move.strides, strict=True)]
        widths = [(shift, new - shift - old) for (shift, _), new, old in zip(ways, places, move.places, strict=True)]
        part = xp.pad(x[:, :, i], [(0, 0), (0, 0), *widths])
        remainder = tuple([r for _, r in ways])
        sums[remainder] = sums[remainder] + part if remainder in sums else part
    remainders = list(itertools.product(*map(range, move.strides)))
    if len(sums) < len(remainders):
        nothing = xp.zeros((batch, rows // elements, *places), x.dtype)
        sums = {r: sums.get(r, nothing) for r in remainders}
    y = _interleaved(xp.stack([sums[r] for r in remainders], axis=2), move.strides)
    return _cropped(y, [before for before, _ in move.pads], image)


# --------------------------------------------------------------------------------------------------------------- causal
@kernel("CausalConvWithState", since=27, wide=True)
def causal_conv_with_state(
    xp: Backend, x: Array, w: Array, b: Array | None = None, past: Array | None = None, *, activation: str = "none"
) -> tuple[Array, Array]:
    """Each channel of [N, C, L] by itself, from the elements up to each place; and the last ones, for the next call."""
    y, seen = causal_convolution(xp, x, w, b, past, activation)
    return y, seen[..., x.shape[2] :]


def causal_convolution(
    xp: Backend, x: Array, w: Array, b: Array | None, past: Array | None, activation: str, dilation: int = 1
) -> tuple[Array, Array]:
    """The outputs, and the input behind what came before it.

    Raises:
        ValueError: the inputs do not go together, or there is no such activation.
    """
    batch, channels = x.shape[:2]
    reach = (w.shape[-1] - 1) * dilation
    if x.ndim != 3 or w.ndim != 3 or w.shape[:2] != (channels, 1):
        raise ValueError(f"weights {list(w.shape)} do not go with an input {list(x.shape)}")
    if past is not None and past.shape != (batch, channels, reach):
        raise ValueError(f"the state is {list(past.shape)}, not {[batch, channels, reach]}")
    seen = xp.pad(x, ((0, 0), (0, 0), (reach, 0))) if past is None else xp.concatenate([past, x], axis=2)
    y = xp.convolve(seen, w, (1,), (dilation,), ((0, 0),), channels, b)
    return finished(xp, y, activation), seen


def finished(xp: Backend, y: Array, activation: str) -> Array:
    """The activation function that causal convolutions name.

    Raises:
        ValueError: there is none of this name.
    """
    if activation in ("silu", "swish"):
        return xp.gated(y, y)
    if activation != "none":
        raise ValueError(f"activation cannot be '{activation}'")
    return y
