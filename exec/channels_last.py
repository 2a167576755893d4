"""Model-local functions for the channels-last forms of image operators, with a body that every runtime can run."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from onnx import AttributeProto, FunctionProto, defs, helper

from graphopt.errors import ArgumentError
from graphopt.exec.kernels.channels_last import DOMAIN, OPERATORS, TRAINING, dims_of, form_name, to_first, to_last


def function(op: str, dims: int, opset: int = 22, training: bool = False) -> FunctionProto:
    """The function that a node of the channels-last form calls: Transpose, the operator, Transpose.

    Args:
        op: an operator of the standard, one of `kernels.channels_last.OPERATORS`.
        dims: its number of spatial dims.
        opset: the version of ONNX's operator set that the body is written for.
        training: the form of its training mode, with all outputs; one of `kernels.channels_last.TRAINING`.

    Raises:
        ArgumentError: there is no such form.
    """
    known: Collection[str] = TRAINING if training else OPERATORS
    if op not in known or dims not in dims_of(op):
        form = "channels-last form for training" if training else "channels-last form"
        raise ArgumentError(f"{op} on {dims} spatial dims has no {form}; those that have one: {', '.join(known)}")
    schema = defs.get_schema(op, opset)
    names = [p.name for p in schema.inputs]
    more = [p.name for p in schema.outputs[1:]] if training else []
    passed = [name for name in schema.attributes if not training or name != "training_mode"]
    nodes = [
        helper.make_node("Transpose", [names[0]], ["first"], perm=to_first(dims + 2)),
        helper.make_node(op, ["first", *names[1:]], ["result", *more]),
        helper.make_node("Transpose", ["result"], ["last"], perm=to_last(dims + 2)),
    ]
    if training:
        nodes[1].attribute.append(helper.make_attribute("training_mode", 1))
    for name in passed:
        kind: Any = schema.attributes[name].type  # an enumeration of C++
        reference = AttributeProto(name=name, type=kind.value, ref_attr_name=name)
        nodes[1].attribute.append(reference)
    return helper.make_function(
        DOMAIN, form_name(op, dims, training), names, ["last", *more], nodes, [helper.make_opsetid("", opset)], passed
    )
