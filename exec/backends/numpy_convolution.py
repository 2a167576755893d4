"""Convolutions of floats on NumPy: what `xp.convolve` is there.

All are products with the weights, by BLAS. What windows see is copied side by side, for as many places at a time as fit
into the second-level cache, and multiplied; products are written where they belong. They are cut into small ones, which
OpenBLAS computes faster on some processors: see `_multiply`. Where each channel is by itself there is little to compute
for what is copied: see `_by_channel`.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphopt.exec.kernels.windows import cropped

#: Bytes to copy at a time: a cache; more where weights do not fit into it either, as a block has to read all of them.
_CACHE, _LARGE = 1 << 20, 1 << 22
#: Weights for one output up to which they count as small.
_SMALL = 1 << 11


def convolve(
    x: np.ndarray,
    w: np.ndarray,
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[tuple[int, int]],
    group: int,
    bias: np.ndarray | None = None,
) -> np.ndarray:
    """See `Backend.convolve`."""
    pads = tuple(pads)
    if any(before < 0 or after < 0 for before, after in pads):
        x = cropped(x, pads)
        pads = tuple((max(before, 0), max(after, 0)) for before, after in pads)
    plan = _plan(x.shape, w.shape, tuple(strides), tuple(dilations), pads, group, x.itemsize)
    y = np.empty(plan.shape, x.dtype)
    if y.size:
        if plan.together:
            _by_channel(x, w, y, strides, dilations[1], pads, plan.together)
        else:
            _in_blocks(plan, x, w, y)
        if bias is not None:
            y += bias.reshape(plan.bias)
    return y


#: What indexes an array.
_Index = tuple[Any, ...]


class _View(NamedTuple):
    """What windows see at some offsets along the last dim: [N, group, C, elements of the kernel, places] in memory."""

    offsets: slice
    shape: tuple[int, ...]
    start: int
    steps: tuple[int, ...]


class _Layout(NamedTuple):
    """A padded input, whose columns are taken apart by their remainders by something.

    Attributes:
        shape: [N, C, D..., remainders, columns]; without remainders if there are no others than 0.
        moves: where the input goes, and what of it; nothing where it can stay as it is.
        edges: where zeros are.
        views: what windows see.
    """

    shape: tuple[int, ...]
    moves: tuple[tuple[_Index, _Index], ...]
    edges: tuple[_Index, ...]
    views: tuple[_View, ...]


class _Plan(NamedTuple):
    """What follows from shapes and attributes.

    Attributes:
        shape: of the output.
        bias: a shape in which the bias broadcasts against it.
        group: channels and outputs in so many groups.
        alone: windows are single elements, all of them: nothing has to be copied.
        whole: all is copied at once.
        entries: how much is copied at a time: entries of the batch...
        groups: groups...
        axis: along which spatial dim; all of those behind it, one place of those in front.
        places: along that dim.
        together: channels are by themselves, and computed with so many rows at a time; 0 where they are not.
    """

    shape: tuple[int, ...]
    bias: tuple[int, ...]
    group: int
    layout: _Layout
    alone: bool
    whole: bool
    entries: int
    groups: int
    axis: int
    places: int
    together: int


@functools.lru_cache(maxsize=1 << 12)
def _plan(
    x: tuple[int, ...],
    w: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: tuple[tuple[int, int], ...],
    group: int,
    itemsize: int,
) -> _Plan:
    batch, kernel = x[0], w[2:]
    n, weights = len(kernel), math.prod(w[1:])
    places = [
        max((before + size + after - (k - 1) * step - 1) // stride + 1, 0)
        for size, k, stride, step, (before, after) in zip(x[2:], kernel, strides, dilations, pads)
    ]
    room = _CACHE if weights < _SMALL else _LARGE
    axis, unit = n - 1, weights * itemsize  # of one place
    while axis and unit * places[axis] <= room:
        unit *= places[axis]
        axis -= 1
    count = max(1, min(places[axis], room // max(unit, 1)))
    full = _COLUMNS // math.gcd(math.prod(places[axis + 1 :]), _COLUMNS)
    if full < count < places[axis]:  # pieces of full width
        count -= count % full
    groups = entries = 1
    if axis == 0 and count == places[0]:
        groups = max(1, min(group, room // max(unit * count, 1)))
        entries = max(1, min(batch, room // max(unit * count * group, 1))) if groups == group else 1
    together = 0
    if n == 2 and w[0] == group and w[1] == 1 and dilations[0] == 1 and strides[1] <= 2 and kernel[0] > 1:
        together = _together(places[0], places[1])
    return _Plan(
        shape=(batch, w[0], *places),
        bias=(w[0], *[1] * n),
        group=group,
        layout=_layout(x, w, strides, dilations, pads, places, group, itemsize),
        alone=math.prod(kernel) == math.prod(strides) == 1,
        whole=(entries, groups, axis, count) == (batch, group, 0, places[0]),
        entries=entries,
        groups=groups,
        axis=axis,
        places=count,
        together=together,
    )


_EVERY = slice(None)


def _layout(
    x: tuple[int, ...],
    w: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: tuple[tuple[int, int], ...],
    places: Sequence[int],
    group: int,
    itemsize: int,
) -> _Layout:
    """How the input is laid out for windows to be copied from it.

    NumPy is slow at steps between neighbours: elements that would be copied with such, and often, are taken apart first.
    """
    (batch, channels, *sizes), (_, inner, *kernel) = x, w
    sides = [before + size + after for size, (before, after) in zip(sizes, pads)]
    apart = strides[-1] if kernel[-1] > strides[-1] else 1
    width = -(-sides[-1] // apart)
    # where the input goes
    edges: list[_Index] = []
    for dim, (size, (before, _)) in enumerate(zip(sizes[:-1], pads)):
        ends = (slice(0, before), slice(before + size, sides[dim]))
        edges += [(_EVERY,) * (2 + dim) + (end,) for end in ends if end.start < end.stop]
    rows = [slice(before, before + size) for size, (before, _) in zip(sizes[:-1], pads)]
    moves: list[tuple[_Index, _Index]] = []
    for remainder in range(apart):
        first = max(0, -(-(pads[-1][0] - remainder) // apart))
        start = first * apart + remainder - pads[-1][0]
        stop = first + len(range(start, sizes[-1], apart))
        ends = (slice(0, first), slice(stop, width))
        if apart > 1:
            edges += [(..., remainder, end) for end in ends if end.start < end.stop]
            moves.append(((_EVERY, _EVERY, *rows, remainder, slice(first, stop)), (..., slice(start, None, apart))))
        else:
            edges += [(..., end) for end in ends if end.start < end.stop]
            moves.append(((_EVERY, _EVERY, *rows, slice(first, stop)), (...,)))
    # what windows see of it
    below = [itemsize * apart * width * math.prod(sides[dim + 1 : -1]) for dim in range(len(kernel) - 1)]
    image = itemsize * apart * width * math.prod(sides[:-1])
    turn = apart // math.gcd(dilations[-1], apart)  # offsets from one with a remainder to the next
    views = []
    for i in range(min(turn, kernel[-1])):
        shift, remainder = divmod(i * dilations[-1], apart)
        steps = [channels * image, inner * image, image]
        steps += [*[step * b for step, b in zip(dilations, below)], turn * dilations[-1] // apart * itemsize]
        steps += [*[stride * b for stride, b in zip(strides, below)], strides[-1] // apart * itemsize]
        shape = (batch, group, inner, *kernel[:-1], len(range(i, kernel[-1], turn)), *places)
        views.append(_View(slice(i, None, turn), shape, (remainder * width + shift) * itemsize, tuple(steps)))
    return _Layout(
        (batch, channels, *sides[:-1], *([apart] if apart > 1 else []), width),
        tuple(moves) if edges or apart > 1 else (),
        tuple(edges),
        tuple(views),
    )


def _in_blocks(plan: _Plan, x: np.ndarray, w: np.ndarray, y: np.ndarray) -> None:
    """Convolve block by block: each is copied and multiplied."""
    layout, group, kernel = plan.layout, plan.group, w.shape[2:]
    if layout.moves:
        image = np.empty(layout.shape, x.dtype)
        for edge in layout.edges:
            image[edge] = 0
        for to, source in layout.moves:
            image[to] = x[source]
    else:
        image = np.ascontiguousarray(x)
    w = w.reshape(group, w.shape[0] // group, -1)
    weights = w.shape[2]
    out: np.ndarray = y.reshape(len(y), group, w.shape[1], -1)
    if plan.alone:
        _multiply(w, image.reshape(len(y), group, weights, -1), out)
        return
    seen = [np.ndarray(v.shape, x.dtype, image, v.start, v.steps) for v in layout.views]
    if plan.whole and len(seen) == 1:
        _multiply(w, seen[0].reshape(len(y), group, weights, -1), out)
        return
    axis, count, places = plan.axis, plan.places, plan.shape[2:]
    row, slab = math.prod(places[axis + 1 :]), math.prod(places[axis:])
    room = np.empty(plan.entries * plan.groups * weights * count * row, x.dtype)
    elements = (_EVERY,) * len(kernel)  # channels, and all dims of the kernel but the last
    for entry, first in itertools.product(range(0, len(y), plan.entries), range(0, group, plan.groups)):
        some = (slice(entry, entry + plan.entries), slice(first, first + plan.groups))
        size = (min(plan.entries, len(y) - entry), min(plan.groups, group - first))
        for i, front in enumerate(np.ndindex(places[:axis])):
            for place in range(0, places[axis], count):
                length = min(count, places[axis] - place) * row
                copy = room[: math.prod(size) * weights * length].reshape(*size, weights, length)
                parts = copy.reshape(*size, -1, *kernel, length // row, *places[axis + 1 :])
                for view, part in zip(layout.views, seen):
                    parts[(_EVERY, _EVERY, *elements, view.offsets)] = part[
                        (*some, *elements, _EVERY, *front, slice(place, place + count))
                    ]
                at = i * slab + place * row
                _multiply(w[some[1]], copy, out[(*some, _EVERY, slice(at, at + length))])


# ------------------------------------------------------------------------------------------------------------ products
#: Multiplications of the largest piece, and columns of the narrowest: several vector registers.
_PIECE, _COLUMNS = 10**6, 64
#: Rows of the highest piece, and columns of the widest.
_HIGHEST, _WIDEST = 64, 1 << 9


def _multiply(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """[group, M, K] @ [N, group, K, L] -> [N, group, M, L], in pieces of the right size where these are faster."""
    (group, rows, inner), columns = w.shape, x.shape[3]
    height, width = _pieces(rows, inner, columns)
    if not width:
        np.matmul(w, x, out=y)
        return
    batch, high, wide = len(x), rows // height, columns // width
    end = wide * width
    np.matmul(
        w.reshape(group, 1, high, height, inner),
        x[..., :end].reshape(batch, group, inner, wide, width).transpose(0, 1, 3, 2, 4)[:, :, :, None],
        out=y[..., :end].reshape(batch, group, high, height, wide, width).transpose(0, 1, 4, 2, 3, 5),
    )
    if end < columns:
        _multiply(w, x[..., end:], y[..., end:])


@functools.lru_cache(maxsize=1 << 12)
def _pieces(rows: int, inner: int, columns: int) -> tuple[int, int]:
    """Rows and columns of the pieces of a product; no columns where it stays in one."""
    if rows * inner * columns <= _PIECE or columns < _COLUMNS or not _pieces_pay():
        return rows, 0
    most = min(_PIECE // (inner * _COLUMNS), _HIGHEST, rows)
    height = next((m for m in range(most, 0, -1) if rows % m == 0), 0)
    if height < min(8, rows):
        return rows, 0
    return height, min(_PIECE // (inner * height), _WIDEST, columns) // _COLUMNS * _COLUMNS


@functools.cache
def _pieces_pay() -> bool:
    """Whether OpenBLAS has kernels for small products on this processor, and no threads to share large ones among."""
    config = np.show_config(mode="dicts")
    asked = next((os.environ[v] for v in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS") if v in os.environ), "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        (int(asked) if asked.isdigit() else cores) == 1
        and "openblas" in config["Build Dependencies"]["blas"]["name"]
        and any(f.startswith(("AVX512", "X86_V4")) for f in config["SIMD Extensions"].get("found", ()))
    )


# -------------------------------------------------------------------------------------------------- channel by channel
def _together(rows: int, columns: int) -> int:
    """How many rows of the output are computed at once: more save copies, but take longer for the zeros."""
    most = min(4 if rows * columns >= 400 else 2, rows)
    return -(-rows // -(-rows // most)) if rows else 0


def _by_channel(
    x: np.ndarray,
    w: np.ndarray,
    y: np.ndarray,
    strides: Sequence[int],
    dilation: int,
    pads: tuple[tuple[int, int], ...],
    together: int,
) -> None:
    """Convolve an image whose channels are by themselves, with several rows of the output at a time.

    Copies for single rows would be as many as the kernel has elements, and as many as there are products. Rows that are
    computed together share them: their weights are those of the kernel, one row further down for each, among zeros.

    Padded rows q * period + b of the input lie in memory by b, then q. So whatever an element of the weights sees, in a
    whole image, is one run of memory. Between rows there is room for the padding of one side, which serves both. All
    columns are computed, whatever the stride.
    """
    batch, channels, height, width = x.shape
    kernel, columns = w.shape[2:]
    (top, _), (left, _) = pads
    period = together * strides[0]
    taps = (together - 1) * strides[0] + kernel
    turns = -(-taps // period)
    runs = -(-y.shape[2] // together)  # of rows together
    rows = runs + turns - 1
    span = (y.shape[3] - 1) * strides[1] + 1
    end = span + (columns - 1) * dilation
    pitch = max(width + max(left, end - width - left), span)
    image = period * rows * pitch + max(end - pitch, 0)
    # how much at a time
    unit = (taps * columns + together + period) * pitch * x.itemsize
    deep = max(1, min(runs, 2 * _CACHE // unit))
    many = max(1, min(channels, 2 * _CACHE // (unit * runs)))
    entries = max(1, min(batch, 2 * _CACHE // (unit * runs * many))) if many == channels else 1
    w = _shifted(w, together, strides[0])
    buffer = np.zeros((entries, many, image), x.dtype)
    inside = buffer[..., : period * rows * pitch].reshape(entries, many, period, rows, pitch)[..., left : left + width]
    moves = []
    for b in range(period):
        first = max(0, -(-(top - b) // period))
        start = first * period + b - top
        count = min(rows - first, -(-(height - start) // period))
        if count > 0:
            moves.append((b, slice(first, first + count), slice(start, start + (count - 1) * period + 1, period)))
    steps = [s * x.itemsize for s in (many * image, image, rows * pitch, dilation, 1)]
    seen = np.empty(entries * many * taps * columns * deep * pitch, x.dtype)
    found = np.empty((entries, many, together, deep * pitch), x.dtype)
    for entry, channel in itertools.product(range(0, batch, entries), range(0, channels, many)):
        some = (slice(entry, entry + entries), slice(channel, channel + many))
        size = (min(entries, batch - entry), min(many, channels - channel))
        for b, to, source in moves:
            inside[: size[0], : size[1], b, to] = x[(*some, source)]
        for run in range(0, runs, deep):
            length = (min(deep, runs - run) - 1) * pitch + span
            copy = seen[: math.prod(size) * taps * columns * length].reshape(*size, taps, columns, length)
            for turn in range(turns):
                part = copy[:, :, turn * period : (turn + 1) * period]
                at = (run + turn) * pitch * x.itemsize
                part[...] = np.ndarray(part.shape, x.dtype, buffer, at, steps)
            copy = copy.reshape(*size, taps * columns, length)
            np.matmul(w[some[1]], copy, out=found[: size[0], : size[1], :, :length])
            lines = found[: size[0], : size[1]].reshape(*size, together, deep, pitch)[..., : span : strides[1]]
            out = y[(*some, slice(run * together, (run + deep) * together))]
            whole = out.shape[2] // together
            even = out[:, :, : whole * together].reshape(*size, whole, together, -1)
            even[...] = lines[:, :, :, :whole].swapaxes(2, 3)
            if whole * together < out.shape[2]:
                out[:, :, whole * together :] = lines[:, :, : out.shape[2] - whole * together, whole]


def _shifted(w: np.ndarray, together: int, stride: int) -> np.ndarray:
    """[C, 1, k, l] -> [C, rows, elements]: the weights of rows that are computed together."""
    channels, _, kernel, columns = w.shape
    if together == 1:
        return w.reshape(channels, 1, kernel * columns)
    y = np.zeros((channels, together, (together - 1) * stride + kernel, columns), w.dtype)
    a, b, c, d = y.strides
    np.ndarray((channels, together, kernel, columns), w.dtype, y, 0, (a, b + stride * c, c, d))[...] = w
    return y.reshape(channels, together, -1)
