"""What rules about recurrent networks ask of their states, weights and biases."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from graphopt.ir import Tensor, Value
from graphopt.patterns._elementwise import filled
from graphopt.rewrite import Const
from graphopt.rewrite.terms import Constant

#: Operators that give nothing but elements of their first input.
_MOVING = frozenset("Cast Expand Flatten Gather Identity Reshape Slice Split Squeeze Tile Transpose Unsqueeze".split())
_FARTHEST = 8


def is_zero(v: Value | None) -> bool:
    """Whether all elements are zeros that somebody spread out, moved, or wrote down."""
    for _ in range(_FARTHEST):
        if v is None or v.const is not None:
            break
        node = v.node
        if node is None or node.domain:
            return False
        if node.op == "ConstantOfShape":
            value = node.attributes.get("value")
            return value is None or (isinstance(value, Tensor) and value.item() == 0)
        if node.op not in _MOVING:
            return False
        v = node.inputs[0]
    return v is not None and v.const is not None and v.dtype != TensorProto.STRING and filled(Constant(v), 0)


def _row(c: Const, n: int) -> np.ndarray | None:
    """A constant beside a product of n columns as one number each, None where it varies over rows."""
    if c.rank > 2 or c.size not in (1, n, n * (c.shape[0] if c.rank == 2 else 1)) or not c.size:
        return None
    rows = np.reshape(c, (-1, c.shape[-1] if c.rank else 1))
    return np.broadcast_to(rows[0], (n,)) if (rows == rows[0]).all() else None


def bias_of(n: int, *parts: Const | None) -> np.ndarray | str | None:
    """Biases of n columns as one, None where there is none; what is wrong where one varies over rows."""
    found = [_row(p, n) for p in parts if p is not None]
    rows = [r for r in found if r is not None]
    if len(rows) < len(found):
        return "a bias that is none per column"
    return sum(rows[1:], rows[0]) if rows else None


def columns(w: Const, transposed: int | None) -> int:
    """How many columns a product with these weights has."""
    return int(w.shape[0 if transposed else 1])
