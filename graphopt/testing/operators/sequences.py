"""Sequences and optionals: what they hold is made for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from graphopt.testing.building.builder import Invalid
from graphopt.testing.operators.registry import operands
from graphopt.testing.operators.site import Shape, Site
from graphopt.testing.values import array as draw_array

_HELD = frozenset(
    {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL, TensorProto.STRING}
)


def sequence(s: Site, i: int, shapes: Sequence[Shape], dtype: int) -> int:
    """Have a sequence of new tensors of these shapes, unless it is there; its length."""
    if not s.given(i):
        parts = [s.builder.input(draw_array(s.choices, dtype, shape), "part") for shape in shapes]
        attributes = {} if parts else {"dtype": dtype}
        s.inputs[i] = s.builder.node("SequenceConstruct" if parts else "SequenceEmpty", parts, attributes)[0]
    return len(s.array(i))


def _shapes(s: Site, least: int = 0) -> list[Shape]:
    """A few shapes, often all the same."""
    first = s.new_shape(0, 0, 3)
    n = s.choices.weighted([(w, k) for w, k in ((3, 2), (3, 3), (2, 1), (1, 0)) if k >= least])
    return [first if s.choices.integer(0, 2) else s.new_shape(0, 0, 3) for _ in range(n)]


def _position(s: Site, i: int, size: int) -> None:
    """An index into a sequence, from its front or its end."""
    s.operand(i, (), array=np.array(s.choices.integer(-size, size - 1)))


@operands("SequenceConstruct")
def construct(s: Site) -> None:
    first = s.new_shape(0, 0, 3)
    for i in range(s.count):
        s.operand(i, first if s.choices.integer(0, 2) else s.new_shape(i, 0, 3))


@operands("SequenceEmpty")
def empty(s: Site) -> None:
    s.integer("dtype", [TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING])


@operands("SequenceLength", dtypes={0: _HELD})
def length(s: Site) -> None:
    sequence(s, 0, _shapes(s), s.dtype(0))


@operands("SequenceAt", "SequenceErase", dtypes={0: _HELD})
def at(s: Site) -> None:
    _position(s, 1, sequence(s, 0, _shapes(s, 1), s.dtype(0)))


@operands("SequenceInsert", dtypes={1: _HELD})
def insert(s: Site) -> None:
    n = sequence(s, 0, _shapes(s), s.dtype(1))
    s.operand(1, s.new_shape(1, 0, 3))
    s.operand(2, (), array=np.array(s.choices.integer(-n, n)))


@operands("ConcatFromSequence", dtypes={0: _HELD})
def concat(s: Site) -> None:
    x = s.new_shape(0, 1, 3)
    stacked = s.integer("new_axis", [0, 1], 0)
    axis = s.axis(len(x) + stacked, signed=False)
    n = s.choices.integer(1, 3)
    sequence(s, 0, [x if stacked else (*x[:axis], s.dim(), *x[axis + 1 :]) for _ in range(n)], s.dtype(0))


@operands("SplitToSequence", ranks={0: (1, 5)})
def split(s: Site) -> None:
    s.operand(0, s.new_shape(0, 1, empty=False))
    x = s.shape(0)
    if not x:
        raise Invalid(f"{s.op_type} of {x}")
    axis = s.axis(len(x), default=0)
    if s.wants(1):
        size = s.choices.integer(1, max(x[axis], 1))
        s.operand(1, (), array=np.array(s.choices.one([size, [size, x[axis] - size]])))
    if "Split" in s.operators and s.choices.chance(3):
        _split_beside(s, x, axis)
    if not s.wants(1) or s.needs(
        "keepdims"
    ):  # it says nothing where sizes are given, which ONNX Runtime 1.32 does not know
        s.integer("keepdims", [1, 0], 1)


def _split_beside(s: Site, x: Shape, axis: int) -> None:
    """Have a Split of the same tensor, mostly into the same parts."""
    given = s.array(1).reshape(-1).tolist() if s.wants(1) else [1]
    sizes = given if len(given) > 1 else [min(given[0], x[axis] - k) for k in range(0, x[axis], given[0])]
    if s.choices.chance(4):
        sizes = sizes[::-1]
    if "split" in s.builder.schema("Split").attributes:
        parts = s.builder.node("Split", [s.inputs[0]], {"axis": axis, "split": sizes}, len(sizes))
    else:
        named = s.builder.constant(np.array(sizes, np.int64))
        parts = s.builder.node("Split", [s.inputs[0], named], {"axis": axis}, len(sizes))
    if parts[0].graph is s.builder.model.graph:
        s.builder.output(parts[0])


# --------------------------------------------------------------------------------------------------------- optionals
def _optional(s: Site, i: int) -> None:
    """Have an optional that holds a tensor or a sequence, unless it is there."""
    if s.given(i):
        return
    dtype, shape = s.dtype(i), s.new_shape(i, 0, 3)
    if s.choices.integer(0, 1):
        inner = s.builder.input(draw_array(s.choices, dtype, shape), "held")
    else:
        inner = s.builder.node("SequenceConstruct", [s.builder.input(draw_array(s.choices, dtype, shape), "part")])[0]
    s.inputs[i] = s.builder.node("Optional", [inner])[0]


@operands("Optional", dtypes={0: _HELD})
def optional(s: Site) -> None:
    s.insist(0)
    if s.choices.integer(0, 1):
        sequence(s, 0, _shapes(s, 1), s.dtype(0))
    else:
        s.operand(0, s.new_shape(0, 0, 3))


@operands("OptionalGetElement", "OptionalHasElement", dtypes={0: _HELD})
def of_optional(s: Site) -> None:
    s.insist(0)
    if s.schema.since_version >= 18 and s.choices.chance(3):  # from then on what is no optional counts as a full one
        s.operand(0, s.new_shape(0, 0, 3))
    else:
        _optional(s, 0)
