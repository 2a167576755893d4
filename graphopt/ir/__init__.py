"""The graph that everything else works on, read from and written to ONNX protobuf."""

from graphopt.ir.attributes import Reference
from graphopt.ir.graph import Graph
from graphopt.ir.load import Origin, load, origin_of
from graphopt.ir.model import Function, Model
from graphopt.ir.node import Dim, Node, Shape, Value, op_key
from graphopt.ir.schema import (
    COMMUTATIVE_OPS,
    IRRELEVANT_ATTRIBUTES,
    OpSchema,
    Param,
    any_number,
    as_input,
    input_of,
    newest_schema,
    op_schema,
)
from graphopt.ir.tensor import Tensor, dtype_name

__all__ = [
    "COMMUTATIVE_OPS", "IRRELEVANT_ATTRIBUTES", "Dim", "Function", "Graph", "Model", "Node", "OpSchema", "Origin", "Param",
    "Reference", "Shape", "Tensor", "Value", "any_number", "as_input", "dtype_name", "input_of", "load", "newest_schema",
    "op_key", "op_schema", "origin_of",
]  # fmt: skip
