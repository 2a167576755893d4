"""Between real numbers and the narrow ones that stand for them."""

from __future__ import annotations

from onnx import TensorProto

from graphopt.shapes.registry import infers
from graphopt.shapes.site import Site
from graphopt.shapes.types import TypeInfo


@infers("QuantizeLinear")
def quantize(node: Site) -> TypeInfo:
    """The dtype that is given, from opset 21 on by an attribute, or that of the zero point; else uint8."""
    zero_point = node.dtype(2) if node.has(2) else TensorProto.UINT8
    return TypeInfo(int(node.attribute("output_dtype", 0)) or zero_point, node.shape(0))


@infers("DequantizeLinear")
def dequantize(node: Site) -> TypeInfo:
    """float32 before opset 19; since then the dtype of the scale, or from opset 23 on that of an attribute."""
    scale = node.dtype(1) if node.version >= 19 else TensorProto.FLOAT
    return TypeInfo(int(node.attribute("output_dtype", 0)) or scale, node.shape(0))


@infers("DynamicQuantizeLinear")
def dynamic_quantize(node: Site) -> list[TypeInfo]:
    """uint8, with one scale and one zero point."""
    return [
        TypeInfo(TensorProto.UINT8, node.shape(0)),
        TypeInfo(TensorProto.FLOAT, ()),
        TypeInfo(TensorProto.UINT8, ()),
    ]
