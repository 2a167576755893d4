"""Operators that pick elements, or put them somewhere: by indices and bounds, by conditions, by their order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from graphopt.testing.building.builder import Invalid
from graphopt.testing.building.recipes import WITH_WEIGHTS
from graphopt.testing.operators.blocks import image_of_blocks
from graphopt.testing.operators.movement import first_of, of_channels
from graphopt.testing.operators.pairs import pairs_to_slice
from graphopt.testing.operators.places import buckets_of_distances, flat_places, own_places, part_of_all
from graphopt.testing.operators.registry import operands
from graphopt.testing.operators.site import Shape, Site

_NUMBERS = frozenset(
    {
        TensorProto.FLOAT,
        TensorProto.DOUBLE,
        TensorProto.FLOAT16,
        TensorProto.INT64,
        TensorProto.INT32,
        TensorProto.UINT8,
    }
)
_INDICES = frozenset({TensorProto.INT64, TensorProto.INT32})


def _data(s: Site, low: int = 1, high: int = 4) -> Shape:
    """The shape of the first operand, which has elements."""
    s.operand(0, s.new_shape(0, low, high, empty=False))
    x = s.shape(0)
    if x is None or len(x) < low or 0 in x:
        raise Invalid(f"{s.op_type} of {x}")
    return x


def _indices(s: Site, shape: Sequence[int], size: int) -> np.ndarray:
    """Indices into so many elements, some counted from the end."""
    low = -size if s.schema.since_version >= 11 else 0
    return s.random().integers(low, size, tuple(shape))


@operands("GatherElements", carries=(0, 1))
def gather_elements(s: Site) -> None:
    x = _data(s)
    axis = s.axis(len(x), default=0)
    shape = s.known_shape(1) or tuple(s.dim() if k == axis else s.choices.integer(1, d) for k, d in enumerate(x))
    s.operand(1, shape, array=_indices(s, shape, x[axis]))


@operands("GatherND", ranks={0: (1, 5), 1: (1, 5)})
def gather_nd(s: Site) -> None:
    x = _data(s)
    batch = 0
    if "batch_dims" in s.schema.attributes:
        batch = s.parameter("batch_dims", lambda: s.choices.integer(0, min(len(x) - 1, 2)), 0)
    if "Range" in s.operators and not batch and not s.choices.chance(4):
        s.take(1, own_places(s, x))
    k = s.choices.integer(1, len(x) - batch)
    shape = (*x[:batch], *s.choices.one([(2,), (1,), (), (3, 2)]), k)
    columns = [_indices(s, shape[:-1], d) for d in x[batch : batch + k]]
    s.operand(1, shape, array=np.stack(columns, -1))


@operands("ScatterElements", "Scatter", carries=(0, 1, 2), dtypes={0: _NUMBERS})
def scatter_elements(s: Site) -> None:
    x = _data(s)
    axis = s.axis(len(x), default=0)
    shape = s.known_shape(1) or s.known_shape(2) or tuple(s.choices.integer(1, d) for d in x)
    if len(shape) != len(x):
        raise Invalid(f"indices {shape} into {x}")
    reduction = _reduction(s)
    if reduction == "none":  # whoever comes last wins: let each come once
        free = s.random().permuted(
            np.broadcast_to(np.arange(x[axis]), (*shape[:axis], *shape[axis + 1 :], x[axis])), axis=-1
        )
        indices = np.moveaxis(free[..., : shape[axis]], -1, axis)
        if s.schema.since_version >= 11 and s.choices.chance(3):
            indices = indices - x[axis]
    else:
        indices = _indices(s, shape, x[axis])
    s.operand(1, shape, array=indices)
    s.operand(2, s.shape(1) or shape)


@operands("ScatterND", ranks={0: (1, 5), 1: (1, 5)}, carries=(0,), dtypes={0: _NUMBERS})
def scatter_nd(s: Site) -> None:
    x = _data(s)
    k = s.choices.integer(1, len(x))
    places = math.prod(x[:k])
    reduction = _reduction(s)
    if reduction == "none":
        flat = s.random().permutation(places)[: s.choices.integer(1, min(places, 4))]
    else:
        flat = s.random().integers(0, places, s.choices.integer(1, 4))
    indices = np.stack(np.unravel_index(flat, x[:k]), -1).astype(np.int64)
    if s.choices.chance(3):
        indices -= np.array(x[:k])
    s.operand(1, indices.shape, array=indices)
    s.operand(2, (*(s.shape(1) or indices.shape)[:-1], *x[k:]))


def _reduction(s: Site) -> str:
    if "reduction" not in s.schema.attributes:
        return "none"
    more = ["max", "min"] if s.schema.since_version >= 18 else []
    return s.text("reduction", ["none", "add", "mul", *more], "none")


@operands("OneHot", ranks={0: (1, 5)}, dtypes={0: _INDICES, 1: _INDICES, 2: _NUMBERS})
def one_hot(s: Site) -> None:
    depth = s.choices.integer(1, 4)
    shape = s.new_shape(0, 1, 3)
    s.operand(0, shape, array=_indices(s, shape, depth))
    s.operand(1, (), array=np.array(depth if s.choices.integer(0, 1) else [depth]))
    s.operand(2, (2,))
    s.parameter("axis", lambda: s.choices.integer(-1, len(shape)), -1)


@operands("Compress")
def compress(s: Site) -> None:
    x = _data(s)
    axis = s.axis(len(x)) if s.choices.integer(0, 1) else None
    most = math.prod(x) if "axis" not in s.attributes or axis is None else x[axis]
    n = s.choices.integer(1, min(most, 8))
    s.operand(1, (n,))


@operands("Unique", dtypes={0: _NUMBERS | {TensorProto.STRING}})
def unique(s: Site) -> None:
    x = _data(s)
    if s.choices.integer(0, 1):
        s.parameter("axis", lambda: s.choices.integer(-len(x), len(x) - 1))
    s.integer("sorted", [1, 0], 1)


@operands("ReverseSequence", ranks={0: (2, 5)}, carries=(0,))
def reverse_sequence(s: Site) -> None:
    x = _data(s, 2)
    time = s.parameter("time_axis", lambda: s.choices.one([0, 1]), 0)
    batch = s.parameter("batch_axis", lambda: 1 - time, 1)
    if batch == time:
        s.attributes["batch_axis"] = batch = 1 - time
    s.operand(1, (x[batch],), array=s.random().integers(1, x[time] + 1, x[batch]))


@operands("EyeLike", ranks={0: (2, 2)}, carries=(0,))
def eye_like(s: Site) -> None:
    s.operand(0, s.new_shape(0, 2, 2))
    if (x := s.inputs[0]) is None or x.node is not None:
        raise Invalid("onnx's own inference may not know the shape, and would die of it")
    s.integer("dtype", [TensorProto.FLOAT, TensorProto.INT64, TensorProto.DOUBLE, TensorProto.INT32])
    s.parameter("k", lambda: s.choices.integer(-2, 3), 0)


@operands("Range", ranks={0: (0, 0), 1: (0, 0), 2: (0, 0)})
def range_(s: Site) -> None:
    whole = s.dtype(0) not in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
    step = s.choices.one([1, 2, -1]) if whole else s.choices.one([1.0, 0.5, -1.0, 0.25])
    start = s.choices.integer(-3, 5)
    for i, number in enumerate((start, start + step * s.choices.integer(-1, 8), step)):
        s.operand(i, (), array=np.array(number))


@operands("TensorScatter", ranks={0: (3, 5), 1: (3, 5)}, carries=(0,))
def tensor_scatter(s: Site) -> None:
    x = _data(s, 3)
    axis = s.axis(len(x), default=-2, low=1)
    if axis == 0:
        raise Invalid("the batch is no sequence")
    n = s.choices.integer(1, x[axis])
    circular = s.text("mode", ["linear", "circular"], "linear") == "circular"
    s.operand(1, (*x[:axis], n, *x[axis + 1 :]))
    most = x[axis] - 1 if circular else x[axis] - n
    s.operand(2, (x[0],), array=s.random().integers(0, most + 1, x[0]))


_WIDTHS = (
    (TensorProto.FLOAT, TensorProto.INT32, TensorProto.UINT32),
    (TensorProto.DOUBLE, TensorProto.INT64, TensorProto.UINT64),
    (TensorProto.FLOAT16, TensorProto.INT16, TensorProto.BFLOAT16),
    (TensorProto.INT8, TensorProto.UINT8),
)


@operands("BitCast", carries=(0,), dtypes={0: frozenset(t for group in _WIDTHS for t in group)})
def bit_cast(s: Site) -> None:
    s.operand(0, s.new_shape(0))
    s.integer("to", next(group for group in _WIDTHS if s.dtype(0) in group))


@operands("NonMaxSuppression", ranks={0: (3, 3), 1: (3, 3)})
def non_max_suppression(s: Site) -> None:
    batch, classes, n = s.choices.integer(1, 2), s.choices.integer(1, 3), s.choices.integer(1, 6)
    random = s.random()
    centers, sizes = random.integers(0, 9, (batch, n, 2)) / 4, random.integers(1, 9, (batch, n, 2)) / 4
    by_center = s.integer("center_point_box", [0, 1], 0)
    corners = [centers - sizes / 2, centers + sizes / 2]
    s.operand(0, (batch, n, 4), array=np.concatenate([centers, sizes] if by_center else corners, -1))
    s.operand(1, (batch, classes, n), array=random.permutation(batch * classes * n).reshape(batch, classes, n) / 16)
    s.operand(2, (), array=np.array(s.choices.integer(1, 4)))
    s.operand(3, (), array=np.array(s.choices.integer(0, 5) * 0.1875 + 0.01, np.float32))  # no ratio of these areas
    s.operand(4, (), array=np.array(s.choices.integer(0, 8) / 16 + 0.01, np.float32))


@operands("Slice", carries=(0,))
def slice_(s: Site) -> None:
    if (s.pairs or s.blocks) and s.shape(0) is None:
        s.operand(0, pairs_to_slice(s) if s.pairs else image_of_blocks(s))
    x = first_of(s, 1)
    if "Split" in s.operators and s.choices.integer(0, 1):
        part_of_all(s, x)
        return
    steps_exist, products = s.schema.input_index("steps") is not None, s.operators >= WITH_WEIGHTS
    before = [cut for cut in s.recent("cut") if cut[0] < len(x)]
    beside = s.choices.one(before) if before and not s.choices.chance(3) else None
    if beside is not None:  # what another slice has left
        axes = s.parameter("axes", lambda: [s.choices.one([beside[0], beside[0] - len(x)])])
    else:
        written = s.decided("steps")
        if isinstance(written, list) and len(written) == 1:  # of the last axis, most often
            axes = s.parameter("axes", lambda: [s.choices.weighted(((3, -1), (3, len(x) - 1), (1, 0)))])
        elif products and len(x) > 1 and not s.choices.chance(8):  # channels or columns
            axes = s.parameter("axes", lambda: [of_channels(s, x)])
        elif len(x) == 2 and "Gather" in s.operators and s.choices.chance(3):  # rows
            axes = s.parameter("axes", lambda: [s.choices.one([0, -2])])
        else:
            axes = s.axes(len(x)) if not s.choices.chance(6) else None
    if axes is None and s.schema.input_index("axes") is not None and 3 in s.inputs:
        axes = s.array(3).tolist()
    count = len(x) if axes is None else len(axes)
    dims = [x[a] for a in (range(len(x)) if axes is None else axes)]
    steps = None
    if steps_exist:
        steps = s.parameter(
            "steps",
            lambda: [
                s.choices.weighted(((20 if products else 6, 1), (2, -1), (1, 2), (1, s.choices.one([3, 9]))))
                for _ in range(count)
            ],
        )
    if steps is not None and len(steps) != count:
        raise Invalid(f"Slice along {count} axes with {len(steps)} steps")
    backwards = [steps is not None and steps[k] < 0 for k in range(count)]
    starts = [
        s.choices.one([-1, d, d - 1, 0]) if back else s.choices.weighted(((5, 0), (3, 1), (2, -2), (1, -9), (1, d)))
        for d, back in zip(dims, backwards, strict=True)
    ]
    ends = [
        s.choices.one([-9, 0, -d, d])
        if back
        else s.choices.weighted(((3, d), (3, 2), (3, 2**31 - 1), (2, 2**63 - 1), (2, -1), (1, 9)))
        for d, back in zip(dims, backwards, strict=True)
    ]
    if not any(backwards) and s.choices.chance(6):  # everything
        starts = [s.choices.weighted(((5, 0), (1, -d))) for d in dims]
        ends = [s.choices.weighted(((5, d), (1, d + 1), (1, 2**31 - 1))) for d in dims]
    elif all(backwards) and not s.choices.chance(3):  # everything, last things first
        starts, ends = [d - 1 for d in dims], [-d - 1 for d in dims]
    elif not any(backwards) and all(dims) and (products or s.choices.chance(3)):  # one element, or a few
        starts = [s.choices.integer(0, d - 1) for d in dims]
        ends = [k + (s.choices.weighted(((4, 1), (3, 2), (1, 0))) if products else 1) for k in starts]
    if beside is not None and axes is not None and [a % len(x) for a in axes] == [beside[0]] and not any(backwards):
        _, start, end = beside
        starts, ends = ([0], [start]) if start else ([end], [s.choices.one([dims[0], 2**31 - 1])])
    if (s.pairs or s.blocks) and not s.choices.chance(8):
        ends = [s.choices.one([d, 2**31 - 1, 2**63 - 1]) for d in dims]
    starts = s.parameter("starts", lambda: starts)
    ends = s.parameter("ends", lambda: ends)
    if axes is not None and len(axes) == 1 and starts and ends and starts[0] >= 0 <= ends[0]:
        s.note("cut", (axes[0] % len(x), starts[0], ends[0]))


def _of_several(s: Site) -> dict[int, Shape]:
    """Several of what is wanted, behind each other."""
    several = [int(n) for n in s.numbers() if n in (2, 3, 4)] or [2, 3]
    return {} if s.wanted is None else {0: (s.choices.one(several), *s.wanted)}


# ONNX Runtime 1.32 copies the first string of each row only
@operands("Gather", dtypes={0: frozenset(TensorProto.DataType.values()) - {TensorProto.STRING}}, plan=_of_several)
def gather(s: Site) -> None:
    if "Range" in s.operators and s.given(0) and not s.given(1) and not s.choices.chance(8):
        flat_places(s)
    x = first_of(s, 1)
    if {"Range", "Abs", "Min"} <= s.operators and x[0] and not s.choices.chance(8):
        buckets_of_distances(s, 1, x[0])
    if s.pairs and not s.choices.chance(6):
        s.note("axis", len(x) - 1)
        axis = s.parameter("axis", lambda: len(x) - 1, 0) % len(x)
    else:
        products = len(x) > 1 and s.operators >= WITH_WEIGHTS
        axis = s.axis(len(x), default=0, suits=of_channels(s, x) % len(x) if products else None)
    d = x[axis]
    if not d and not s.given(1):
        raise Invalid("nothing to gather")
    shape = s.known_shape(1)
    if shape is None:
        low, high = s.ranks(1)
        options = [(), (1,)] if s.pairs else [(), (1,), (2,), (3,), (2, 2), (d,), (d,), (0,)]
        shape = s.choices.one([o for o in options if low <= len(o) <= high] or options)
    size = math.prod(shape)
    least = -d if s.schema.since_version >= 11 else 0
    kinds = [np.array([s.choices.integer(least, d - 1) for _ in range(size)]), np.arange(size) % max(d, 1)] if d else []
    if least:
        kinds.append(kinds[-1] - d)
    if d and not s.given(1):
        s.operand(1, shape, array=np.asarray(s.choices.one(kinds), np.int64).reshape(shape).astype(_index(s, 1)))


def _index(s: Site, i: int) -> np.dtype:
    return np.dtype(np.int32 if s.dtype(i) == TensorProto.INT32 else np.int64)
