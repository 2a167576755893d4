"""ONNX Runtime's kernels, as the registry of the installed build lists them."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import Any

from graphopt.errors import ArgumentError, MissingDependencyError
from graphopt.ir.schema import TENSOR_TYPES
from graphopt.targets.kernels import Kernel, Kernels

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_PACKAGES = {CPU: "pip install onnxruntime", CUDA: "pip install onnxruntime-gpu, on a machine with CUDA"}


def _state() -> Any:
    try:
        from onnxruntime.capi import _pybind_state
    except ImportError as e:
        raise MissingDependencyError(
            "onnxruntime is not installed, whose build says which operators it has kernels for: pip install graphopt[ort]"
        ) from e
    return _pybind_state


@cache
def kernels_of(provider: str) -> Kernels:
    """The kernels of an execution provider of the installed build.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
        ArgumentError: the build has no kernels of this provider.
    """
    state = _state()
    table: dict[str, list[Kernel]] = defaultdict(list)
    for k in state.get_all_opkernel_def():
        if k.provider == provider:
            types = {variable: _dtypes(texts) for variable, texts in k.type_constraints.items()}
            start, end = k.version_range
            table[_operator(k.domain, k.op_name)].append(
                Kernel(start, end, {variable: dtypes for variable, dtypes in types.items() if dtypes})
            )
    if not table:
        raise ArgumentError(f"the installed onnxruntime has no {provider}: {_PACKAGES[provider]}")
    variables = {
        _operator(s.domain, s.name): (tuple(p.typeStr for p in s.inputs), tuple(p.typeStr for p in s.outputs))
        for s in state.get_all_operator_schema()
        if s.domain not in ("", "ai.onnx.ml")
    }
    return Kernels(table, variables)


def _operator(domain: str, name: str) -> str:
    return f"{domain}::{name}" if domain else name


def _dtypes(texts: Any) -> frozenset[int]:
    """Dtypes of tensors; what is a sequence or an optional has none here."""
    return frozenset(n for t in texts if (n := TENSOR_TYPES.get(str(t))) is not None)
