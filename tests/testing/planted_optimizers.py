"""Optimizers with a planted mistake each, for the fuzzer to find."""

from __future__ import annotations

import os
import time

import numpy as np
from onnx import ModelProto, helper, numpy_helper


def harmless(model: ModelProto) -> ModelProto:
    return model


def swapped_operands(model: ModelProto) -> ModelProto:
    for node in model.graph.node:
        if node.op_type == "Sub":
            node.input[:] = node.input[::-1]
    return model


def wrong_constant(model: ModelProto) -> ModelProto:
    """Whatever multiplies by 2 multiplies by 3."""
    for t in model.graph.initializer:
        a = numpy_helper.to_array(t)
        if a.shape == () and a.dtype == np.float32 and a == 2:
            t.CopyFrom(numpy_helper.from_array(np.float32(3), t.name))
    return model


def lost_node(model: ModelProto) -> ModelProto:
    """The last Relu goes, and what it made with it."""
    for node in reversed(model.graph.node):
        if node.op_type == "Relu":
            model.graph.node.remove(node)
            break
    return model


def no_such_attribute(model: ModelProto) -> ModelProto:
    for node in model.graph.node:
        if node.op_type == "Concat":
            node.attribute.append(helper.make_attribute("nonsense", 1))
    return model


def raises(model: ModelProto) -> ModelProto:
    if any(node.op_type == "Transpose" for node in model.graph.node):
        raise RuntimeError("no Transpose, please")
    return model


def renamed_output(model: ModelProto) -> ModelProto:
    """The first output goes under another name where anything is cast or reshaped."""
    if any(node.op_type in ("Cast", "Reshape") for node in model.graph.node):
        output = model.graph.output[0]
        model.graph.node.append(helper.make_node("Identity", [output.name], ["renamed"]))
        output.name = "renamed"
    return model


def folded_default(model: ModelProto) -> ModelProto:
    """Inputs that have an initializer are taken for constants."""
    constants = {t.name for t in model.graph.initializer}
    for i in [i for i in model.graph.input if i.name in constants]:
        model.graph.input.remove(i)
    return model


def dies(model: ModelProto) -> ModelProto:
    if any(node.op_type == "Add" for node in model.graph.node):
        os._exit(7)
    return model


def hangs(model: ModelProto) -> ModelProto:
    if any(node.op_type == "Mul" for node in model.graph.node):
        time.sleep(600)
    return model
