"""Model-local functions for the channels-last forms of image operators, with a body that every runtime can run."""

from __future__ import annotations

from typing import Any

from onnx import AttributeProto, FunctionProto, defs, helper

from graphopt.errors import ArgumentError
from graphopt.exec.kernels.channels_last import DOMAIN, OPERATORS, dims_of, to_first, to_last


def function(op: str, dims: int, opset: int = 22) -> FunctionProto:
    """The function that a node of the channels-last form calls: Transpose, the operator, Transpose.

    Args:
        op: an operator of the standard, one of `kernels.channels_last.OPERATORS`.
        dims: its number of spatial dims.
        opset: the version of ONNX's operator set that the body is written for.

    Raises:
        ArgumentError: there is no such form.
    """
    if op not in OPERATORS or dims not in dims_of(op):
        raise ArgumentError(
            f"{op} on {dims} spatial dims has no channels-last form; those that have one: {', '.join(OPERATORS)}"
        )
    schema = defs.get_schema(op, opset)
    names = [p.name for p in schema.inputs]
    nodes = [
        helper.make_node("Transpose", [names[0]], ["first"], perm=to_first(dims + 2)),
        helper.make_node(op, ["first", *names[1:]], ["result"]),
        helper.make_node("Transpose", ["result"], ["last"], perm=to_last(dims + 2)),
    ]
    for name, attribute in schema.attributes.items():
        kind: Any = attribute.type  # an enumeration of C++
        reference = AttributeProto(name=name, type=kind.value, ref_attr_name=name)
        nodes[1].attribute.append(reference)
    return helper.make_function(
        DOMAIN, f"{op}{dims}d", names, ["last"], nodes, [helper.make_opsetid("", opset)], list(schema.attributes)
    )
