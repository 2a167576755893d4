"""Targets: the runtimes that a model is written for, as tables of what they have kernels for and what they prefer."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from graphopt.cost.machine import ONNXRUNTIME_CPU, Machine
from graphopt.errors import ArgumentError
from graphopt.targets import onnxruntime
from graphopt.targets.kernels import Kernel, Kernels
from graphopt.targets.tables import table

__all__ = ["TARGETS", "Kernel", "Kernels", "Target", "target_of"]


@dataclass(frozen=True, slots=True)
class Target:
    """A runtime to write a model for.

    Attributes:
        about: one line for users.
        read: gives its kernels; None: whatever the standard has counts as runnable.
        opset: the opset to write at where none is asked for and every node has a kernel there; None: the model's own.
        newest: the newest opset that it reads, which models at a newer one are led down to; None: any.
        phases: rules that write operators of the runtime's own, by their folder in `graphopt.patterns`.
        hands_in: what a body reads from around it costs each time that it runs, so it had better hold its own initializers.
        machine: what costs are computed with.
        executor: what runs models of it here, by its name in `graphopt.exec.executors`; None: nothing to measure on.
    """

    name: str
    about: str
    read: Callable[[], Kernels] | None = None
    opset: int | None = None
    newest: int | None = None
    phases: tuple[str, ...] = ()
    hands_in: bool = False
    machine: Machine = ONNXRUNTIME_CPU
    executor: str | None = None

    def kernels(self) -> Kernels | None:
        """What it runs.

        Raises:
            MissingDependencyError: that can only be asked of a package that is not installed.
        """
        return None if self.read is None else self.read()


#: Opset 23 is the first with Attention, RMSNormalization and RotaryEmbedding.
TARGETS = {
    t.name: t
    for t in (
        Target("onnx", "any runtime: standard operators at the model's own opset"),
        Target(
            "onnxruntime",
            "ONNX Runtime on the CPU, the build that is installed",
            lambda: onnxruntime.kernels_of(onnxruntime.CPU),
            opset=23,
            phases=("onnxruntime_cpu",),
            hands_in=True,
            executor="onnxruntime",
        ),
        Target(
            "onnxruntime-cuda",
            "ONNX Runtime on NVIDIA GPUs, the build that is installed (onnxruntime-gpu)",
            lambda: onnxruntime.kernels_of(onnxruntime.CUDA),
            opset=23,
            hands_in=True,
            executor="onnxruntime:CUDAExecutionProvider",
        ),
        Target("openvino", "OpenVINO on the CPU", lambda: table("openvino"), opset=17, executor="openvino"),
        Target("tensorrt", "TensorRT, by its own list of operators", lambda: table("tensorrt"), newest=20),
        Target(
            "web",
            "ONNX Runtime Web (WebAssembly)",
            lambda: table("web"),
            opset=23,
            phases=("onnxruntime_cpu",),
            hands_in=True,
        ),
    )
}


def target_of(name: object) -> Target:
    """The target of this name.

    Raises:
        ArgumentError: there is none.
    """
    if isinstance(name, str) and name in TARGETS:
        return TARGETS[name]
    close = difflib.get_close_matches(str(name), TARGETS, 1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    raise ArgumentError(f"target {name!r} does not exist; {hint}the targets are {', '.join(TARGETS)}")
