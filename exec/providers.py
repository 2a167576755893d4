"""Execution providers: what a session runs on.

    ReferenceExecutionProvider   NumPy on the CPU; the default
    JaxExecutionProvider         JAX on the CPU, or a GPU where it finds one; options: see `_jax`
    any other name               is ONNX Runtime's, which then loads and runs the optimised model

Short names stand for (provider, device): 'reference', 'jax', 'cpu', 'cuda', 'gpu', 'tpu'. The first provider of a list
decides; those that follow go along where they are ONNX Runtime's too.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from graphopt.errors import ArgumentError, MissingDependencyError
from graphopt.exec.backends.numpy import REFERENCE
from graphopt.exec.environment import ENV, hold_memory, numpy_settings
from graphopt.exec.options import SessionOptions
from graphopt.exec.plan import Plan, Step
from graphopt.exec.planning import plan
from graphopt.ir import Model

REFERENCE_PROVIDER = "ReferenceExecutionProvider"
JAX_PROVIDER = "JaxExecutionProvider"
_SHORT: dict[str, tuple[str, dict[str, Any]]] = {
    "reference": (REFERENCE_PROVIDER, {}),
    "cpu": (REFERENCE_PROVIDER, {}),
    "jax": (JAX_PROVIDER, {}),
    "cuda": (JAX_PROVIDER, {"device": "cuda"}),
    "gpu": (JAX_PROVIDER, {"device": "gpu"}),
    "tpu": (JAX_PROVIDER, {"device": "tpu"}),
}


class Program(Protocol):
    """A model that is ready to run."""

    def run(self, feeds: Mapping[str, Any], outputs: Sequence[str]) -> list[Any]:
        """The outputs that are named, in that order; feeds are checked before."""
        ...


@dataclass(frozen=True)
class Context:
    """What a program needs of its session: the options, and where it notes what it did, if that is wanted."""

    options: SessionOptions
    record: Callable[..., None] | None = None


@dataclass(frozen=True)
class Provider:
    """A provider as a session uses it.

    Attributes:
        names: as `InferenceSession.get_providers` gives them.
        options: of the first.
        prepare: makes a program of a model.
        specializes: a program of its own for each set of shapes is worth its while.
        layout: the layout that it runs fastest in, given its options; None: the model's own.
    """

    names: tuple[str, ...]
    options: dict[str, Any]
    prepare: Callable[[Model, dict[str, Any], Context], Program]
    specializes: bool
    layout: Callable[[Mapping[str, Any]], str | None] = lambda options: None


def available_providers() -> list[str]:
    """Names of the providers whose packages are installed, ONNX Runtime's among them."""
    names = [REFERENCE_PROVIDER]
    if importlib.util.find_spec("jax"):
        names.append(JAX_PROVIDER)
    if importlib.util.find_spec("onnxruntime"):
        import onnxruntime

        names += onnxruntime.get_available_providers()
    return names


def choose(providers: Sequence[Any] | None, options: Sequence[Mapping[str, Any]] | None = None) -> Provider:
    """The provider that a list asks for.

    Args:
        providers: names, or pairs of a name and its options; None: those in the environment variable GRAPHOPT_PROVIDERS
            (names with commas between), else the reference.
        options: one dict for each name, where they do not stand beside it.

    Raises:
        ArgumentError: a name is unknown here and to the installed ONNX Runtime.
        MissingDependencyError: what it needs is not installed.
    """
    pairs: list[tuple[str, dict[str, Any]]] = []
    default = os.environ.get("GRAPHOPT_PROVIDERS", REFERENCE_PROVIDER).split(",")
    for i, entry in enumerate(providers or default):
        name, own = (entry, {}) if isinstance(entry, str) else entry
        name, preset = _SHORT.get(name, (name, {}))
        pairs.append((name, {**preset, **(dict(options[i]) if options else {}), **own}))
    first, own = pairs[0]
    if first == REFERENCE_PROVIDER:
        return Provider((first,), own, _reference, False)
    if first == JAX_PROVIDER:
        if importlib.util.find_spec("jax") is None:
            raise MissingDependencyError("JaxExecutionProvider needs jax: pip install graphopt[jax]")
        return Provider((first,), own, _jax, True, _jax_layout)
    if importlib.util.find_spec("onnxruntime") is None:
        raise MissingDependencyError(
            f"'{first}' is a provider of ONNX Runtime, which is not installed: pip install graphopt[ort]; "
            f"without it there are {', '.join(available_providers())}"
        )
    passed = [pair for pair in pairs if pair[0] not in (REFERENCE_PROVIDER, JAX_PROVIDER)]
    known = available_providers()
    if unknown := [name for name, _ in passed if name not in known]:
        raise ArgumentError(f"no execution provider is called '{unknown[0]}'; there are: {', '.join(known)}")
    return Provider(tuple(name for name, _ in passed), {"providers": passed}, _onnxruntime, False)


# ---------------------------------------------------------------------------------------------------------- programs
class _PlanProgram:
    """A plan, and the order of its inputs and outputs."""

    def __init__(self, model: Model, steps: Plan, call: Callable[[list[Any]], list[Any]]) -> None:
        defaults = {v.name: t.numpy() for v, t in model.graph.initializers.items() if v in set(model.graph.inputs)}
        self.plan = steps
        self._inputs = [(v.name, defaults.get(v.name)) for v in model.graph.inputs]
        self._outputs = {v.name: i for i, v in enumerate(model.graph.outputs)}
        self._call = call

    def run(self, feeds: Mapping[str, Any], outputs: Sequence[str]) -> list[Any]:
        results = self._call([feeds.get(name, default) for name, default in self._inputs])
        return [results[self._outputs[name]] for name in outputs]


def _reference(model: Model, options: dict[str, Any], context: Context) -> Program:
    _only(options, REFERENCE_PROVIDER, ())
    hold_memory()
    steps = plan(model)

    record = context.record

    def note(step: Step, began: int) -> None:
        assert record is not None
        record(step.node, "Node", began, op_name=step.op, provider=REFERENCE_PROVIDER)

    watch = None if record is None else note

    def call(inputs: list[Any]) -> list[Any]:
        with numpy_settings(), ENV.limit_threads(context.options.intra_op_num_threads):
            results = steps.run(REFERENCE, [_frozen(v) for v in inputs], watch)
        return [_owned(r) for r in results]

    return _PlanProgram(model, steps, call)


def _jax(model: Model, options: dict[str, Any], context: Context) -> Program:
    """Options: device ('cpu', 'cuda', 'gpu', 'tpu'), device_id, cache_dir (where compiled programs are kept between
    processes), precision of matrix products ('highest', the default, 'tensorfloat32', 'bfloat16'), embed (constants are
    compiled in: '1' or '0'), layout ('NHWC', the default on the CPU, or 'NCHW')."""
    from graphopt.exec.backends import jax_program
    from graphopt.exec.backends.devices import find

    hold_memory()
    _only(options, JAX_PROVIDER, ("device", "device_id", "cache_dir", "precision", "embed", "layout"))
    device = find(options["device"], int(options.get("device_id", 0))) if "device" in options else None
    jax_program.configure(options.get("cache_dir"))
    embed = None if "embed" not in options else str(options["embed"]) not in ("0", "False")
    precision = options.get("precision", "highest")
    steps = plan(model)
    program = jax_program.JaxProgram(
        steps, device, embed, context.options.log_severity_level, precision, context.record
    )
    return _PlanProgram(model, steps, program.run)


def _jax_layout(options: Mapping[str, Any]) -> str | None:
    """What is asked for; else channels last on the CPU (`python -m benchmarks.layout`)."""
    if "layout" in options:
        return str(options["layout"])
    import jax

    return "NHWC" if str(options.get("device") or jax.default_backend()) == "cpu" else None


def _onnxruntime(model: Model, options: dict[str, Any], context: Context) -> Program:
    from graphopt.exec.executors.onnxruntime import PassedThrough

    return PassedThrough(model, options["providers"], context.options)


def _only(options: Mapping[str, Any], provider: str, known: Sequence[str]) -> None:
    if unknown := [name for name in options if name not in known]:
        raise ArgumentError(f"{provider} has no option '{unknown[0]}'; it has: {', '.join(known) or 'none'}")


def _frozen(value: Any) -> Any:
    """A view that no kernel can write through."""
    if isinstance(value, np.ndarray) and value.flags.writeable:
        value = value.view()
        value.flags.writeable = False
    return value


def _owned(value: Any) -> Any:
    """A result that shares no memory with what the caller or the model still holds."""
    if isinstance(value, list):
        return [_owned(v) for v in value]
    if value is None or isinstance(value, dict):
        return value
    array = np.asarray(value)
    return array.copy() if array.base is not None or not array.flags.writeable else array
