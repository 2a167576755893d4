"""Other optimizers as functions from model to model, to be fuzzed like our own: `--optimizer graphopt.testing.peers:onnxslim`."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from graphopt.errors import MissingDependencyError, UnsupportedError
from graphopt.exec.executors.onnxruntime import OnnxRuntime


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as e:
        top = name.partition(".")[0]
        raise MissingDependencyError(f"{top} is not installed: pip install {top}") from e


def onnxsim(model: ModelProto) -> ModelProto:
    """onnx-simplifier, without its own comparison on random inputs."""
    simplified, _ = _package("onnxsim").simplify(model, check_n=0)
    return simplified


def onnxslim(model: ModelProto) -> ModelProto:
    """OnnxSlim."""
    return _package("onnxslim").slim(model)


def onnxoptimizer(model: ModelProto) -> ModelProto:
    """onnxoptimizer with its default passes."""
    return _package("onnxoptimizer").optimize(model)


def onnxscript(model: ModelProto) -> ModelProto:
    """onnxscript's optimizer."""
    return _package("onnxscript.optimizer").optimize(model)


def onnxruntime_basic(model: ModelProto) -> ModelProto:
    """ONNX Runtime's graph optimizations that every executor understands."""
    return _onnxruntime(model, "ORT_ENABLE_BASIC")


def onnxruntime_extended(model: ModelProto) -> ModelProto:
    """ONNX Runtime's graph optimizations with its own operators: compare on onnxruntime alone."""
    return _onnxruntime(model, "ORT_ENABLE_EXTENDED")


def _onnxruntime(model: ModelProto, level: str) -> ModelProto:
    ort = _package("onnxruntime")
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        OnnxRuntime(model.SerializeToString())
    except Exception as e:
        raise UnsupportedError(f"onnxruntime does not run it unoptimized either: {e}") from e
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(path)
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(path)
