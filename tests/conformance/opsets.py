"""Conversions of the opset as optimizers, for `benchmarks.suite`, `benchmarks.models` and `graphopt fuzz`."""

from __future__ import annotations

import onnx
from onnx import defs

import graphopt


def newest(model: onnx.ModelProto) -> onnx.ModelProto:
    """The newest opset that the installed onnx knows."""
    return graphopt.optimize(model, 0, opset=defs.onnx_opset_version()).proto


def at_23(model: onnx.ModelProto) -> onnx.ModelProto:
    """Opset 23, up or down."""
    return graphopt.optimize(model, 0, opset=23).proto


def at_18(model: onnx.ModelProto) -> onnx.ModelProto:
    """Opset 18, up or down."""
    return graphopt.optimize(model, 0, opset=18).proto


def by_onnx(model: onnx.ModelProto) -> onnx.ModelProto:
    """ONNX's own converter, to opset 23."""
    from onnx import version_converter

    return version_converter.convert_version(model, 23)
