"""Operators that move elements without changing them: other shapes, other orders, parts and copies.

Where the array library can, what comes out is a view: of the same memory, to be read only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import axes_of, axis_of, ints, zero
from graphopt.exec.kernels.registry import Array, Host, kernel


@kernel("Identity")
def identity(xp: Backend, x: Any) -> Any:
    """Also of a sequence or an optional."""
    return x


# --------------------------------------------------------------------------------------------------------- other shapes
@kernel("Reshape", since=5)
def reshape(xp: Backend, x: Array, shape: Host, *, allowzero: int = 0) -> Array:
    """A 0 copies a dim of the input, unless `allowzero`; a -1 is what is left over."""
    wanted = ints(shape)
    if 0 in wanted and not allowzero:
        if len(wanted) > x.ndim and 0 in wanted[x.ndim :]:
            raise ValueError(f"the 0 in the shape {wanted} copies no dim of {x.shape}")
        wanted = [d or x.shape[i] for i, d in enumerate(wanted)]
    return x.reshape(wanted)


@kernel("Reshape")
def reshape_by_attribute(xp: Backend, x: Array, *, shape: Sequence[int], consumed_inputs: Any = None) -> Array:
    return reshape(xp, x, list(shape))


@kernel("Flatten")
def flatten(xp: Backend, x: Array, *, axis: int = 1) -> Array:
    """A matrix: the dims before the axis, and those from it on."""
    if not -x.ndim <= axis <= x.ndim:
        raise ValueError(f"axis {axis} is out of range for a tensor of rank {x.ndim}")
    axis += x.ndim if axis < 0 else 0
    return x.reshape((math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@kernel("Squeeze", since=13)
def squeeze(xp: Backend, x: Array, axes: Host = None) -> Array:
    """Without the dims that are named, or without all that are 1."""
    if axes is None:
        return x.reshape([d for d in x.shape if d != 1])
    gone = axes_of(ints(axes), x.ndim)
    for a in gone:
        if x.shape[a] != 1:
            raise ValueError(f"axis {a} of {x.shape} has {x.shape[a]} elements and cannot be squeezed")
    return x.reshape([d for a, d in enumerate(x.shape) if a not in gone])


@kernel("Squeeze")
def squeeze_by_attribute(xp: Backend, x: Array, *, axes: Sequence[int] | None = None) -> Array:
    return squeeze(xp, x, axes)


@kernel("Unsqueeze", since=13)
def unsqueeze(xp: Backend, x: Array, axes: Host) -> Array:
    """With dims of 1 put in; the axes count in the result."""
    new = ints(axes)
    rank = x.ndim + len(new)
    put = set(axes_of(new, rank))
    if len(put) != len(new):
        raise ValueError(f"the axes {new} name one twice in a tensor of rank {rank}")
    dims = iter(x.shape)
    return x.reshape([1 if a in put else next(dims) for a in range(rank)])


@kernel("Unsqueeze")
def unsqueeze_by_attribute(xp: Backend, x: Array, *, axes: Sequence[int]) -> Array:
    return unsqueeze(xp, x, axes)


# --------------------------------------------------------------------------------------------------------- other orders
@kernel("Transpose")
def transpose(xp: Backend, x: Array, *, perm: Sequence[int] | None = None) -> Array:
    """The dims in another order; without `perm` the reverse one."""
    return x.transpose() if perm is None else x.transpose(perm)


@kernel("ReverseSequence", since=10)
def reverse_sequence(xp: Backend, x: Array, lengths: Array, *, batch_axis: int = 1, time_axis: int = 0) -> Array:
    """Each batch entry with its first elements in reverse order, as many as `lengths` says."""
    if {batch_axis, time_axis} != {0, 1}:
        raise ValueError(f"the axes of batch {batch_axis} and time {time_axis} are not 0 and 1")
    time = np.arange(x.shape[time_axis])
    if isinstance(lengths, np.ndarray) and not 0 <= lengths.min(initial=0) <= lengths.max(initial=0) <= len(time):
        raise ValueError(
            f"the lengths {lengths.tolist()} do not lie between 0 and the {len(time)} elements that there are"
        )
    until = lengths[:, None]
    source = xp.where(time < until, until - 1 - time, time)  # [batch, time]
    batch = np.arange(x.shape[batch_axis])[:, None]
    x = xp.asarray(x)
    return x[batch, source] if batch_axis == 0 else x[source.T, batch.T]


# ----------------------------------------------------------------------------------------------------------------- parts
@kernel("Slice", since=10)
def slice_(xp: Backend, x: Array, starts: Host, ends: Host, axes: Host = None, steps: Host = None) -> Array:
    """A part of each axis; backwards where the step is negative."""
    first, last = ints(starts), ints(ends)
    along = range(len(first)) if axes is None else ints(axes)
    by = [1] * len(first) if steps is None else ints(steps)
    if not len(first) == len(last) == len(along) == len(by):
        raise ValueError(f"{len(first)} starts, {len(last)} ends, {len(along)} axes and {len(by)} steps do not match")
    parts = [slice(None)] * x.ndim
    for start, end, axis, step in zip(first, last, along, by):
        axis = axis_of(axis, x.ndim)
        if step < 0 and start < -x.shape[axis]:
            start = 0  # the first element, where Python would begin before it
        parts[axis] = slice(start, end, step)
    return x[tuple(parts)]


@kernel("Slice")
def slice_by_attributes(
    xp: Backend, x: Array, *, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int] | None = None
) -> Array:
    return slice_(xp, x, starts, ends, axes)


@kernel("Split", since=13)
def split(
    xp: Backend, x: Array, sizes: Host = None, *, axis: int = 0, num_outputs: int | None = None, outputs: int
) -> tuple[Array, ...]:
    """Parts along an axis: of the sizes given, else equal ones, of which `num_outputs` lets the last be smaller."""
    axis = axis_of(axis, x.ndim)
    if sizes is None:
        total, parts = x.shape[axis], num_outputs or outputs
        if total % parts and num_outputs is None:
            raise ValueError(f"the {total} elements along axis {axis} cannot be split into {parts} equal parts")
        size = -(-total // parts)
        return tuple(cut(x, axis, [min(size, max(total - i * size, 0)) for i in range(parts)]))
    return tuple(cut(x, axis, ints(sizes)))


@kernel("Split")
def split_by_attribute(
    xp: Backend, x: Array, sizes: Host = None, *, axis: int = 0, split: Sequence[int] | None = None, outputs: int
) -> tuple[Array, ...]:
    """Opset 1 takes the sizes either way, opsets 2 to 12 as an attribute."""
    return _split(xp, x, sizes if split is None else split, axis=axis, outputs=outputs)


_split = split


def cut(x: Array, axis: int, sizes: Sequence[int]) -> list[Array]:
    """Parts of these sizes, one after the other along an axis."""
    bounds = [0, *itertools.accumulate(sizes)]
    if bounds[-1] != x.shape[axis] or min(sizes, default=0) < 0:
        raise ValueError(f"the sizes {sizes} do not add up to the {x.shape[axis]} elements along axis {axis}")
    before = (slice(None),) * axis
    return [x[(*before, slice(a, b))] for a, b in itertools.pairwise(bounds)]


@kernel("Trilu", since=14)
def trilu(xp: Backend, x: Array, k: Array | None = None, *, upper: int = 1) -> Array:
    """The upper or lower triangle of matrices, zeros elsewhere; k moves the border to the right."""
    rows, columns = x.shape[-2:]
    shift = np.arange(columns) - np.arange(rows)[:, None]
    border = 0 if k is None else k.reshape(())
    return xp.where(shift >= border if upper else shift <= border, x, zero(xp, x))


# ---------------------------------------------------------------------------------------------------------- more of them
@kernel("Concat", since=4)
def concat(xp: Backend, *xs: Array, axis: int) -> Array:
    return xs[0] if len(xs) == 1 else xp.concatenate(xs, axis)


@kernel("Concat")
def concat_along_1(xp: Backend, *xs: Array, axis: int = 1) -> Array:
    return concat(xp, *xs, axis=axis)


@kernel("Expand", since=8)
def expand(xp: Backend, x: Array, shape: Host) -> Array:
    """The input broadcast to a shape, in which smaller dims do no harm."""
    wanted = ints(shape)
    rank = max(x.ndim, len(wanted))
    old = (1,) * (rank - x.ndim) + x.shape
    new = [1] * (rank - len(wanted)) + wanted
    if any(a != b and a != 1 and b != 1 for a, b in zip(old, new)):
        raise ValueError(f"{x.shape} cannot be broadcast to {tuple(wanted)}")
    out = tuple([b if a == 1 else a for a, b in zip(old, new)])
    return x if out == x.shape else xp.broadcast_to(x, out)


@kernel("Tile", since=6)
def tile(xp: Backend, x: Array, repeats: Host) -> Array:
    """Each dim as often as `repeats` says."""
    times = ints(repeats)
    if len(times) != x.ndim:
        raise ValueError(f"{len(times)} repeats for a tensor of rank {x.ndim}")
    if all(n == 1 for n in times):
        return x
    apart: list[int] = []  # every dim that is repeated with one of 1 in front, which is then broadcast
    spread: list[int] = []
    for d, n in zip(x.shape, times):
        apart += (1, d) if n != 1 else (d,)
        spread += (n, d) if n != 1 else (d,)
    return xp.broadcast_to(x.reshape(apart), tuple(spread)).reshape([d * n for d, n in zip(x.shape, times)])


@kernel("Tile")
def tile_one_axis(xp: Backend, x: Array, tiles: Host, axis: Host) -> Array:
    """Opset 1: one axis, so many times."""
    times = [1] * x.ndim
    times[axis_of(ints(axis)[0], x.ndim)] = ints(tiles)[0]
    return tile(xp, x, times)


# --------------------------------------------------------------------------------------------------------------- padding
@kernel("Pad", since=11)
def pad(
    xp: Backend, x: Array, pads: Host, value: Array | None = None, axes: Host = None, *, mode: str = "constant"
) -> Array:
    """Elements before and after those of each axis; a negative number takes away so many."""
    counts = ints(pads)
    along = tuple(range(x.ndim)) if axes is None else axes_of(ints(axes), x.ndim)
    if len(counts) != 2 * len(along):
        raise ValueError(f"{len(counts)} pads for {len(along)} axes")
    widths = [(0, 0)] * x.ndim
    for a, before, after in zip(along, counts, counts[len(along) :]):
        widths[a] = before, after
    if min(counts, default=0) < 0:
        x = x[tuple([_kept(n, before, after) for n, (before, after) in zip(x.shape, widths)])]
        widths = [(max(before, 0), max(after, 0)) for before, after in widths]
    if mode == "constant":
        return xp.pad(x, widths, zero(xp, x) if value is None else value.reshape(()))
    if mode not in ("edge", "reflect", "wrap"):
        raise ValueError(f"there is no mode '{mode}'")
    return xp.pad(x, widths, mode=mode)


def _kept(n: int, before: int, after: int) -> slice:
    """What negative pads leave of n elements."""
    start, stop = max(-before, 0), n + min(after, 0)
    if start > n or stop < 0 or start > stop:
        raise ValueError(f"pads of {before} and {after} take away more than the {n} elements that there are")
    return slice(start, stop)


@kernel("Pad", since=2)
def pad_by_attributes(
    xp: Backend, x: Array, *, pads: Sequence[int], mode: str = "constant", value: float = 0.0
) -> Array:
    return pad(xp, x, pads, np.asarray(xp.number(value, x)), mode=mode)


@kernel("Pad")
def pad_by_first_attributes(
    xp: Backend, x: Array, *, paddings: Sequence[int], mode: str = "constant", value: float = 0.0
) -> Array:
    return pad_by_attributes(xp, x, pads=paddings, mode=mode, value=value)
