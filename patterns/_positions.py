"""Integer tensors that hold the place of each element along an axis, as exporters make them to index with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from graphopt.ir import Node, Value
from graphopt.patterns._shapes import axes_of
from graphopt.rewrite.matching import params
from graphopt.shapes import same_dims

_WIDE = (TensorProto.INT64, TensorProto.INT32)
_LARGEST = 4096
_DEEPEST = 16


@dataclass(frozen=True, slots=True)
class Positions:
    """What is known of such a tensor.

    Attributes:
        axis: along which its elements count 0, 1, 2...
        counted: a vector of these numbers that it is made of.
    """

    axis: int
    counted: Value


def positions(v: Value, depth: int = _DEEPEST) -> Positions | None:
    """Along which axis a tensor counts; None where it does not, or that cannot be told."""
    if v.dtype not in _WIDE or v.shape is None:
        return None
    if v.const is not None:
        return _written_out(v)
    node = v.node
    if node is None or node.domain or not depth or not node.inputs or (first := node.inputs[0]) is None:
        return None
    if node.op == "Range":
        return Positions(0, v) if _is(first, 0) and _is(node.inputs[2], 1) else None
    if node.op not in ("Cast", "Expand", "Identity", "Reshape", "Squeeze", "Unsqueeze"):
        return None
    inner = positions(first, depth - 1)
    axis = None if inner is None else _moved(node, first, v, inner.axis)
    return None if inner is None or axis is None else Positions(axis, inner.counted)


def _is(v: Value | None, number: int) -> bool:
    return v is not None and v.const is not None and v.const.item() == number


def _written_out(v: Value) -> Positions | None:
    """Of a constant vector."""
    assert v.const is not None
    n = v.const.size
    if len(v.const.dims) != 1 or not 1 < n <= _LARGEST or not np.array_equal(v.const.numpy(), np.arange(n)):
        return None
    return Positions(0, v)


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
