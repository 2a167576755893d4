"""ONNX Runtime as an executor, and as what runs a session with one of its providers."""

from __future__ import annotations

import ctypes
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from graphopt.errors import ArgumentError, MissingDependencyError, UnsupportedError
from graphopt.exec.executors.base import Feeds, Source
from graphopt.exec.executors.model_file import model_file
from graphopt.exec.options import SessionOptions
from graphopt.ir import Model

_FOLDER = "session.model_external_initializers_file_folder_path"


def _package() -> Any:
    try:
        import onnxruntime
    except ImportError as e:
        raise MissingDependencyError("onnxruntime is not installed: pip install graphopt[ort]") from e
    return onnxruntime


class OnnxRuntime:
    """ONNX Runtime, by default with all of its graph optimizations off and on the CPU.

    NumPy cannot carry bfloat16, float8 and types of less than a byte into ONNX Runtime: a model with such inputs or
    outputs is fed OrtValues that hold their raw bytes, any other plain NumPy.

    Args:
        model: a path (of any size, with or without external data), or bytes.
        folder: what external data is relative to, where the model comes as bytes.
        threads: threads inside an operator. One, the default, makes two runs agree bit by bit.
        device: the execution provider, by its name.
        optimize: let it apply its graph optimizations.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
        ArgumentError: it has no such provider.
        UnsupportedError: such types stand beside strings, sequences, maps or optionals in the interface.
        Exception: what ONNX Runtime raises for a model that it does not load.
    """

    def __init__(
        self,
        model: Source,
        *,
        folder: str | os.PathLike[str] | None = None,
        threads: int = 1,
        device: str = "CPUExecutionProvider",
        optimize: bool = False,
    ) -> None:
        ort = _package()
        if device not in (there := ort.get_available_providers()):
            raise ArgumentError(f"this ONNX Runtime has no '{device}'; it has: {', '.join(there)}")
        options = ort.SessionOptions()
        levels = ort.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimize else levels.ORT_DISABLE_ALL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # fatal: errors come as exceptions
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if folder is not None:
            options.add_session_config_entry(_FOLDER, str(folder))
        source = model if isinstance(model, bytes) else os.fspath(model)
        self._session = ort.InferenceSession(source, options, providers=[device])
        self._names = [o.name for o in self._session.get_outputs()]
        types = {v.name: v.type for v in (*self._session.get_inputs(), *self._session.get_outputs())}
        self._raw = any(_RAW_TYPE.search(t) for t in types.values())
        if self._raw and (stuck := [f"{n}: {t}" for n, t in types.items() if not _NUMBERS.fullmatch(t)]):
            raise UnsupportedError(f"onnxruntime's Python API cannot mix raw tensors and {', '.join(stuck)}")

    def run(self, feeds: Feeds, /) -> dict[str, Any]:
        if not self._raw:
            return dict(zip(self._names, self._session.run(None, dict(feeds)), strict=True))
        values = {name: _to_ort(np.asarray(value)) for name, value in feeds.items()}
        outputs = self._session.run_with_ort_values(None, values)
        return {name: _from_ort(value) for name, value in zip(self._names, outputs, strict=True)}


class PassedThrough:
    """A session of ONNX Runtime as the program of one of ours: the optimised model, its providers, its options.

    Args:
        model: as optimised here; ONNX Runtime applies its own optimizations at the same level on top.
        providers: names, or pairs of a name and its options.
        options: of the session.
    """

    def __init__(self, model: Model, providers: Sequence[Any], options: SessionOptions) -> None:
        ort = _package()
        theirs = ort.SessionOptions()
        theirs.graph_optimization_level = ort.GraphOptimizationLevel(int(options.graph_optimization_level))
        theirs.intra_op_num_threads = options.intra_op_num_threads
        theirs.inter_op_num_threads = options.inter_op_num_threads
        theirs.execution_mode = ort.ExecutionMode(int(options.execution_mode))
        theirs.enable_cpu_mem_arena = options.enable_cpu_mem_arena
        theirs.enable_mem_pattern = options.enable_mem_pattern
        theirs.use_deterministic_compute = options.use_deterministic_compute
        if options.log_severity_level >= 0:
            theirs.log_severity_level = options.log_severity_level
        for key, value in options.config.items():
            if not key.startswith("graphopt."):
                theirs.add_session_config_entry(key, value)
        with model_file(model) as file:
            if file.folder is not None:
                theirs.add_session_config_entry(_FOLDER, str(file.folder))
            source = file.source if isinstance(file.source, bytes) else str(file.source)
            self._session = ort.InferenceSession(source, theirs, providers=list(providers))
        types = [v.type for v in (*self._session.get_inputs(), *self._session.get_outputs())]
        self._raw = any(map(_RAW_TYPE.search, types))

    def run(self, feeds: Mapping[str, Any], outputs: Sequence[str]) -> list[Any]:
        """See `graphopt.exec.providers.Program`."""
        if not self._raw:
            results: list[Any] = self._session.run(list(outputs), dict(feeds))
            return results
        values = {name: _to_ort(np.asarray(value)) for name, value in feeds.items()}
        return [_from_ort(v) for v in self._session.run_with_ort_values(list(outputs), values)]


# ----------------------------------------------------------------------------------------------- tensors as raw bytes
_RAW_TYPE = re.compile(r"bfloat16|float8|float4|int4|int2")
_NUMBERS = re.compile(r"tensor\((?!string)\w+\)")


def _to_ort(array: np.ndarray) -> Any:
    import onnxruntime as ort
    from onnx import helper, numpy_helper

    if array.dtype.type.__module__ != "ml_dtypes":
        return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array).reshape(array.shape))
    value = ort.OrtValue.ortvalue_from_shape_and_type(list(array.shape), helper.np_dtype_to_tensor_dtype(array.dtype))
    raw = numpy_helper.from_array(array).raw_data  # two or four elements a byte where they are that small
    ctypes.memmove(value.data_ptr(), raw, len(raw))
    return value


def _from_ort(value: Any) -> np.ndarray:
    from onnx import numpy_helper

    if not _RAW_TYPE.search(value.data_type()):
        return np.asarray(value.numpy())
    name = value.data_type()
    bits = 16 if "bfloat16" in name else 8 if "float8" in name else 2 if "int2" in name else 4
    size = (math.prod(value.shape()) * bits + 7) // 8
    raw = ctypes.string_at(value.data_ptr(), size) if size else b""
    return numpy_helper.to_array(onnx.TensorProto(data_type=value.element_type(), dims=value.shape(), raw_data=raw))
