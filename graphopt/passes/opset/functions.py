"""The function by which ONNX defines an operator, for opsets that do not have it."""

from __future__ import annotations

from functools import cache
from typing import Any

from onnx import FunctionProto, TypeProto, defs

from graphopt.ir import Node, OpSchema, Value
from graphopt.ir.messages import node_proto
from graphopt.shapes.types import type_proto

#: Functions that do not compute what the operator does: that of AffineGrid loses the batch where it is 1.
WRONG = frozenset({"AffineGrid"})


def has_function(schema: OpSchema) -> bool:
    """Whether ONNX defines an operator by a function, at least for some types."""
    described: Any = schema.proto
    return bool(described.has_function or described.has_context_dependent_function)


def body_of(node: Node, schema: OpSchema, target: int) -> FunctionProto | None:
    """The function that an operator stands for, written at the highest opset that is not above the one asked for.

    None where ONNX defines it by words alone, or where the function depends on types that are not known.
    """
    if schema.op_type in WRONG:
        return None
    described: Any = schema.proto  # parts of it are missing in onnx's type stubs
    if described.has_function:
        return _plain(
            schema.op_type, schema.since_version, schema.domain, _nearest(described.function_opset_versions, target)
        )
    if not described.has_context_dependent_function:
        return None
    version = _nearest(described.context_dependent_function_opset_versions, target)
    types = [_type(v).SerializeToString() for v in node.inputs]
    try:
        data = described.get_context_dependent_function_with_opset_version(
            version, node_proto(node).SerializeToString(), types
        )
    except Exception:  # its builders raise many types
        return None
    return _parsed(data)


@cache
def _plain(op_type: str, since: int, domain: str, version: int) -> FunctionProto | None:
    described: Any = defs.get_schema(op_type, since, domain)
    return _parsed(described.get_function_with_opset_version(version))


def _parsed(data: bytes) -> FunctionProto | None:
    if not data:
        return None
    function = FunctionProto()
    function.ParseFromString(data)
    return function if function.node else None


def _nearest(versions: list[int], target: int) -> int:
    fitting = [v for v in versions if v <= target]
    return max(fitting) if fitting else min(versions)


def _type(v: Value | None) -> TypeProto:
    return TypeProto() if v is None else type_proto(v)
