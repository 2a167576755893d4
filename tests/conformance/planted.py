"""Optimisers with planted bugs, one each: a harness that trusts one of them is no harness."""

from __future__ import annotations

import os

import onnx


def swap_operands(model: onnx.ModelProto) -> onnx.ModelProto:
    """Takes subtraction for commutative."""
    for node in model.graph.node:
        if node.op_type == "Sub":
            node.input[0], node.input[1] = node.input[1], node.input[0]
    return model


def drop_activations(model: onnx.ModelProto) -> onnx.ModelProto:
    """Takes Relu for a no-op."""
    for node in model.graph.node:
        if node.op_type == "Relu":
            node.op_type = "Identity"
    return model


def rename_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Computes the right values, under another name."""
    old, new = model.graph.output[0].name, "renamed"
    model.graph.output[0].name = new
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    return model


def name_dims(model: onnx.ModelProto) -> onnx.ModelProto:
    """Declares the output's first dim otherwise."""
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "renamed"
    return model


def last_bit(model: onnx.ModelProto) -> onnx.ModelProto:
    """Right up to rounding: multiplies the first output by 1 + 2**-23."""
    value = model.graph.output[0]
    for node in model.graph.node:
        node.output[:] = ["before" if name == value.name else name for name in node.output]
    tensor = onnx.helper.make_tensor("almost_one", onnx.TensorProto.FLOAT, [], [1 + 2.0**-23])
    model.graph.initializer.append(tensor)
    model.graph.node.append(onnx.helper.make_node("Mul", ["before", "almost_one"], [value.name]))
    return model


def refuse(model: onnx.ModelProto) -> onnx.ModelProto:
    """Raises."""
    raise ValueError("planted")


def die(model: onnx.ModelProto) -> onnx.ModelProto:
    """Takes the process with it."""
    os._exit(3)


def invalid(model: onnx.ModelProto) -> onnx.ModelProto:
    """Writes an operator that does not exist."""
    model.graph.node[0].op_type = "Nonesuch"
    return model
