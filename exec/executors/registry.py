"""The executors known by name.

    >>> create("onnxruntime", "model.onnx").run({"x": x})["y"]

A package adds its own through an entry point of the group 'graphopt.executors': a name, and what makes the executor of a
`Source` (and of `folder`, what external data is relative to where the model comes as bytes).
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from graphopt.errors import ArgumentError, MissingDependencyError
from graphopt.exec.executors.base import Executor, Reloadable, Source

#: Name -> where what makes the executor is found, and the package that it needs.
BUILT_IN = {
    "reference": ("graphopt.exec.executors.own:reference", ""),
    "jax": ("graphopt.exec.executors.own:jax", "jax"),
    "onnxruntime": ("graphopt.exec.executors.onnxruntime:OnnxRuntime", "onnxruntime"),
    "openvino": ("graphopt.exec.executors.openvino:OpenVino", "openvino"),
    "web": ("graphopt.exec.executors.web:OnnxRuntimeWeb", ""),
    "tfjs": ("graphopt.exec.executors.tfjs:TensorFlowJs", ""),
    "onnx.reference": ("graphopt.exec.executors.onnx_reference:OnnxReference", ""),
}
#: Those whose packages are npm's: their modules say what is missing.
_IN_NODE = frozenset({"web", "tfjs"})
#: Those that compare models where nobody asks for others: fast ones, and independent of each other.
DEFAULTS = ("reference", "onnxruntime")


@cache
def _added() -> dict[str, EntryPoint]:
    return {e.name: e for e in entry_points(group="graphopt.executors")}


def names() -> list[str]:
    """All names, those that packages added last."""
    return [*BUILT_IN, *(name for name in _added() if name not in BUILT_IN)]


def installed() -> list[str]:
    """The names whose packages are there."""
    return [n for n in names() if n not in BUILT_IN or _is_there(n)]


def _is_there(name: str) -> bool:
    if name in _IN_NODE:
        return importlib.import_module(BUILT_IN[name][0].partition(":")[0]).missing() is None
    package = BUILT_IN[name][1]
    return not package or importlib.util.find_spec(package) is not None


def known(wanted: list[str]) -> list[str]:
    """The names, if all of them are known.

    A name may go on with a provider or device after a colon: 'onnxruntime:CUDAExecutionProvider', 'jax:cuda',
    'openvino:GPU', 'web:chromium', 'tfjs:cpu'.

    Raises:
        ArgumentError: one is not; the message lists those that are.
    """
    if unknown := [n for n in wanted if n.partition(":")[0] not in names()]:
        raise ArgumentError(f"no executor is called {unknown[0]!r}; known: {', '.join(names())}")
    return wanted


def create(name: str, model: Source, **options: Any) -> Executor:
    """Load `model` on the executor of this name.

    Raises:
        ArgumentError: no executor has this name, or not this device.
        MissingDependencyError: its package is not installed, or broken.
        UnsupportedError: it lacks an operator or a type that the model needs.
        Exception: the executor refuses the model; see the executor.
    """
    factory, device = _factory(name)
    return factory(model, **options, **device)


def waiting(name: str) -> Reloadable | None:
    """The executor of this name before its first model, where it takes one after the other; None: it does not.

    Raises:
        ArgumentError, MissingDependencyError: as `create`.
    """
    factory, device = _factory(name)
    executor = factory(None, **device) if hasattr(factory, "load") else None
    return executor if isinstance(executor, Reloadable) else None


def _factory(name: str) -> tuple[Callable[..., Executor], dict[str, str]]:
    """What makes the executor, and the device as its argument."""
    name, _, device = known([name])[0].partition(":")
    factory = _found(name)
    if device and "device" not in inspect.signature(factory).parameters:
        raise ArgumentError(f"'{name}:{device}': {name} has no devices to choose from, write '{name}'")
    return factory, {"device": device} if device else {}


def _found(name: str) -> Callable[..., Executor]:
    if name not in BUILT_IN:
        try:
            factory: Callable[..., Executor] = _added()[name].load()
        except (ImportError, AttributeError) as e:
            raise MissingDependencyError(f"executor '{name}' cannot be loaded: {e}") from e
        return factory
    module, _, attribute = BUILT_IN[name][0].partition(":")
    found: Callable[..., Executor] = getattr(importlib.import_module(module), attribute)
    return found
