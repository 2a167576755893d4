"""The runtime that is measured: opens models, and finds inputs for them."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from graphopt import sampling
from graphopt.cost import BATCH, LENGTH, PIXELS
from graphopt.errors import ArgumentError
from graphopt.exec.executors import create, model_file
from graphopt.ir import Model
from graphopt.targets import Target

Feeds = Mapping[str, Any]
#: What the time of one that has but one thread is: that of the thread which calls it, or that of the process.
_OWN_TIME: dict[str, Callable[[], float]] = {"onnxruntime": time.thread_time, "openvino": time.process_time}
#: How an executor is told to optimise; others do so by themselves.
_OPTIONS: dict[str, dict[str, Any]] = {"onnxruntime": {"optimize": True}}
#: Runs a model on inputs and gives its outputs by name.
Session = Callable[[Feeds], Mapping[str, Any]]


class Stand(Protocol):
    """Where models are measured.

    Attributes:
        runtime: its name and version.
        processor: the processor's name.
        threads: of a session.
        timer: seconds that runs are timed with.
    """

    runtime: str
    processor: str
    threads: int
    timer: Callable[[], float]

    def open(self, model: Model) -> Session:
        """Load a model; raises whatever the runtime raises for one that it refuses."""
        ...

    def find_inputs(self, model: Model, session: Session, seconds: float) -> Feeds:
        """Inputs that the model takes, of usual sizes if it takes those."""
        ...


class RuntimeStand:
    """The runtime of a target, with its own optimizations on.

    Raises:
        ArgumentError: the target names no runtime, or no device of this machine.
        MissingDependencyError: the runtime is not installed.
    """

    def __init__(self, target: Target, threads: int = 1) -> None:
        if target.executor is None:
            raise ArgumentError(
                f"tune measures on the runtime that the model is for, and target '{target.name}' names none that runs here; "
                "pass target='onnxruntime'"
            )
        self._executor = target.executor
        self.threads = threads
        name = target.executor.partition(":")[0]
        self._options = _OPTIONS.get(name, {})
        # What other programs take from the one thread that does all the work is no part of its own time.
        on_processor = threads == 1 and target.executor == name
        self.timer = _OWN_TIME.get(name, time.perf_counter) if on_processor else time.perf_counter
        self.runtime = _version(target.executor)
        self.processor = processor_name()
        self.open(_smallest())  # finds out whether it is there

    def open(self, model: Model) -> Session:
        with model_file(model) as file:
            folder = {} if file.folder is None else {"folder": file.folder}
            return create(self._executor, file.source, threads=self.threads, **self._options, **folder).run

    def find_inputs(self, model: Model, session: Session, seconds: float) -> Feeds:
        found = usual_inputs(model, session, seconds)
        if isinstance(found, str):
            raise ArgumentError(
                f"tune found no inputs that the model takes; pass tune_inputs= (it said: {found[:200]})"
            )
        return found


def usual_inputs(model: Model, session: Session, seconds: float) -> Feeds | str:
    """Inputs that the model takes, of usual sizes if it takes those; what it said to the first ones if none were found.

    Args:
        model: whose inputs they are.
        session: runs it.
        seconds: of searching.
    """
    with model_file(model) as file:
        inputs, _ = sampling.inputs_of(file.proto)

    def refuses(feeds: dict[str, Any]) -> str:
        try:
            session(feeds)
        except Exception as e:
            return str(e) or type(e).__name__
        return ""

    usual = [sampling.Plan(usual_sizes(inputs), style) for style in sampling.STYLES[:4]]
    for first in (usual, ()):
        found = sampling.search(inputs, refuses, 1, first=first, seconds=seconds)
        if found.plans:
            return sampling.draw(found.inputs, found.plans[0], 0)
    return found.refusal


def usual_sizes(inputs: list[sampling.Input]) -> dict[str, int]:
    """Sizes of dynamic dims as `graphopt.cost` takes them: one in a batch, images of 224 pixels, sequences of 64."""
    sizes: dict[str, int] = {}
    for i in inputs:
        for axis, d in enumerate(i.dims):
            if isinstance(d, str):
                sizes.setdefault(d, BATCH if axis == 0 else PIXELS if len(i.dims) >= 4 and axis >= 2 else LENGTH)
    return sizes


def sizes_of(feeds: Feeds) -> dict[str, list[int]]:
    """The dims of inputs that are arrays."""
    return {name: list(value.shape) for name, value in feeds.items() if isinstance(value, np.ndarray)}


def processor_name() -> str:
    """What the processor calls itself."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def _version(executor: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    name, _, device = executor.partition(":")
    try:
        return " ".join(filter(None, (name, version(name), device)))
    except PackageNotFoundError:
        return executor


def _smallest() -> Model:
    """A model of one node."""
    from onnx import TensorProto, helper

    from graphopt.ir import load

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "smallest", [x], [y])
    return load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))
