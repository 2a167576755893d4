"""What rules about recurrent networks ask of their states."""

from __future__ import annotations

from onnx import TensorProto

from graphopt.ir import Tensor, Value
from graphopt.patterns._elementwise import filled
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
