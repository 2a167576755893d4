"""Whether it is worth more nodes to touch every element of a tensor in less time."""

from __future__ import annotations

from math import prod

from onnx import TensorProto

from graphopt.rewrite import Tensor
from graphopt.shapes import is_static

_FLOAT = int(TensorProto.FLOAT)
#: What a node costs besides its work, in nanoseconds.
OVERHEAD = 800


def refuses(x: Tensor, saved: float, nodes: int) -> str | None:
    """Why `nodes` more nodes are not worth `saved` nanoseconds an element of x; None where they are, or nobody knows its size."""
    if x.dtype != _FLOAT:
        return "measured for float32 only"
    if is_static(x.shape) and prod(x.shape) * saved < nodes * OVERHEAD:
        return "few elements"
    return None
