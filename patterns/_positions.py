"""Integer tensors that hold the place of each element along an axis, as exporters make them to index and to compare with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from onnx import TensorProto

from graphopt.ir import Dim, Node, Value
from graphopt.patterns._shapes import axes_of, dim, entries
from graphopt.rewrite.matching import params
from graphopt.shapes import same_dims
from graphopt.shapes.dims import add, sub

_WIDE = (TensorProto.INT64, TensorProto.INT32)
_LARGEST = 4096
_DEEPEST = 16


@dataclass(frozen=True, slots=True)
class Positions:
    """What is known of such a tensor.

    Attributes:
        axis: along which its elements count one by one.
        counted: a vector of as many numbers that it is made of.
        start: the first of them.
    """

    axis: int
    counted: Value
    start: Dim = 0


def positions(v: Value) -> Positions | None:
    """Along which axis a tensor counts 0, 1, 2...; None where it does not, or that cannot be told."""
    found = counting(v)
    return found if found is not None and found.start == 0 and isinstance(found.start, int) else None


def counting(v: Value, depth: int = _DEEPEST) -> Positions | None:
    """Along which axis a tensor counts from whatever known number on; None where it does not, or that cannot be told."""
    if v.dtype not in _WIDE or v.shape is None:
        return None
    if v.const is not None:
        return _written_out(v)
    node = v.node
    if node is None or node.domain or not depth or not node.inputs or (first := node.inputs[0]) is None:
        return None
    if node.op == "Range":
        step = node.inputs[2]
        start = _number(first) if step is not None and step.const is not None and step.const.item() == 1 else None
        return None if start is None else Positions(0, v, start)
    if node.op in ("Add", "Sub"):
        return _shifted(node, v, depth)
    if node.op not in ("Cast", "Expand", "Identity", "Reshape", "Squeeze", "Unsqueeze"):
        return None
    inner = counting(first, depth - 1)
    axis = None if inner is None else _moved(node, first, v, inner.axis)
    return None if inner is None or axis is None else replace(inner, axis=axis)


def _number(v: Value | None) -> Dim:
    """The only element of an integer tensor, None where there are several or it is not known."""
    found = entries(v) if v is not None and v.rank is not None and v.rank < 2 else None
    return dim(found[0]) if found is not None and len(found) == 1 else None


def _written_out(v: Value) -> Positions | None:
    """Of a constant vector."""
    assert v.const is not None
    n = v.const.size
    if len(v.const.dims) != 1 or not 1 < n <= _LARGEST:
        return None
    a = v.const.numpy()
    return Positions(0, v, int(a[0])) if np.array_equal(a, np.arange(n) + a[0]) else None


def _shifted(node: Node, v: Value, depth: int) -> Positions | None:
    """Of positions to which the same number is added."""
    pairs = (node.inputs, node.inputs[::-1]) if node.op == "Add" else (node.inputs,)
    for x, by in pairs:
        if x is None or x.rank != v.rank or (number := _number(by)) is None:
            continue
        if (inner := counting(x, depth - 1)) is not None:
            start = add(inner.start, number) if node.op == "Add" else sub(inner.start, number)
            return None if start is None else replace(inner, start=start)
    return None


def _moved(node: Node, x: Value, y: Value, axis: int) -> int | None:
    """Where an axis of x is in y, which is x with other dims of 1, or repeated along others."""
    assert x.shape is not None and y.shape is not None
    if node.op in ("Cast", "Identity"):
        return axis
    if node.op == "Expand":
        to = axis + len(y.shape) - len(x.shape)
        return to if to >= 0 and same_dims(x.shape[axis], y.shape[to]) else None
    if node.op == "Reshape":
        if any(d != 1 for i, d in enumerate(x.shape) if i != axis):
            return None
        places = [i for i, d in enumerate(y.shape) if d != 1]
        return places[0] if len(places) == 1 and same_dims(x.shape[axis], y.shape[places[0]]) else None
    named = params(node, 1, ("axes",), False)
    if named is None or not isinstance(named[0], list):
        return None
    axes = axes_of(named[0], max(len(x.shape), len(y.shape)))
    if axes is None:
        return None
    if node.op == "Squeeze":
        return None if axis in axes else axis - sum(a < axis for a in axes)
    for a in axes:
        axis += a <= axis
    return axis
