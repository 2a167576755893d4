"""Operators that pick elements, or put them somewhere: by indices, by conditions, by their order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from graphopt.testing.building.builder import Invalid
from graphopt.testing.operators.places import own_places
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
