"""OpenVINO as an executor."""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np
import onnx

from graphopt.errors import MissingDependencyError, UnsupportedError
from graphopt.exec.executors.base import Feeds, Source


class OpenVino:
    """OpenVINO with one stream and one thread, in the precision of the model.

    Args:
        model: a path (with or without external data), or bytes.
        folder: what external data is relative to; OpenVINO cannot read it where the model comes as bytes.
        device: 'CPU', 'GPU'...
        threads: threads inside an operator.

    Raises:
        MissingDependencyError: openvino is not installed.
        UnsupportedError: it has no conversion for an operator or type.
        Exception: what OpenVINO raises for a model that it does not load.
    """

    def __init__(
        self, model: Source, *, folder: str | os.PathLike[str] | None = None, device: str = "CPU", threads: int = 1
    ) -> None:
        try:
            import openvino as ov
        except ImportError as e:
            raise MissingDependencyError("openvino is not installed: pip install graphopt[openvino]") from e
        if folder is not None:
            raise UnsupportedError("openvino reads external data beside a file only: pass a path")
        config = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}
        core = ov.Core()
        try:
            read = core.read_model(model) if isinstance(model, bytes) else core.read_model(os.fspath(model))
            self._compiled = core.compile_model(read, device, config)
        except RuntimeError as e:
            if lacks := _LACKS.search(str(e)):
                raise UnsupportedError(f"openvino: {lacks[0].strip()}") from e
            raise
        ports = [*read.inputs, *read.outputs]
        if stuck := [f"{_name(p)}: {p.element_type.get_type_name()}" for p in ports if not _plain(p)]:
            raise UnsupportedError(f"openvino's Python API does not take or give NumPy arrays of {', '.join(stuck)}")
        loaded = (
            onnx.load_from_string(model) if isinstance(model, bytes) else onnx.load(model, load_external_data=False)
        )
        self._constants = {t.name for t in loaded.graph.initializer}
        # a port has the name of any value that is the same tensor, but stands at the model's place
        self._outputs = [v.name for v in loaded.graph.output]
        self._inputs = [v.name for v in loaded.graph.input if v.name not in self._constants]
        if len(self._inputs) != len(read.inputs):  # those that nothing reads are left out
            self._inputs = [_name(port) for port in read.inputs]

    def run(self, feeds: Feeds, /) -> dict[str, Any]:
        if missing := [name for name in self._inputs if name not in feeds]:
            raise ValueError(f"no value is given for input '{missing[0]}'")
        if fixed := [name for name in feeds if name in self._constants]:
            raise UnsupportedError(f"openvino takes inputs with an initializer for constants: {', '.join(fixed)}")
        wanted = {i: np.asarray(feeds[name]) for i, name in enumerate(self._inputs)}
        results = self._compiled.create_infer_request().infer(wanted)
        return {name: np.array(results[i]) for i, name in enumerate(self._outputs)}


_LACKS = re.compile(
    r"[^\n]*(?:No conversion rule|not supported|unsupported|Not implemented|not been converted)[^\n]*", re.I
)


_PLAIN = frozenset("boolean f16 f32 f64 i8 i16 i32 i64 u8 u16 u32 u64".split())


def _plain(port: Any) -> bool:
    return port.element_type.get_type_name() in _PLAIN


def _name(port: Any) -> str:
    return str(port.get_any_name())
