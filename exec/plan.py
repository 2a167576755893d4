"""A model as a list of steps: which kernel, on which slots, and what can be freed afterwards.

Model-local functions are written out where they are called. A subgraph is a plan of its own that is given what it
captures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from graphopt.errors import GraphoptError, RunError
from graphopt.exec.backends.numpy import REFERENCE
from graphopt.exec.kernels import Kernel
from graphopt.exec.kernels.backend import Backend

#: Told of a step that ran, and of the nanoseconds at which it began.
Watch = Callable[["Step", int], None]
#: Inputs of a subgraph, then what it captures, to its outputs.
Runner = Callable[[Iterable[Any]], list[Any]]
GRADIENT = "ai.onnx.preview.training::Gradient"
#: The slot of inputs that are left out: always None.
EMPTY = 0


@dataclass(slots=True)
class Step:
    """One call of a kernel.

    Attributes:
        kernel: what is called.
        op: its operator, with the domain in front unless that is ONNX's own.
        node: the node's name, or that of its first output where it has none.
        inputs: slots; EMPTY where an input is left out.
        outputs: slots; EMPTY where nobody reads an output.
        attributes: passed by keyword.
        bodies: subgraphs by attribute.
        frees: slots that nobody reads after this step.
    """

    kernel: Kernel
    op: str
    node: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attributes: dict[str, Any]
    bodies: dict[str, Subplan] = field(default_factory=dict)
    frees: tuple[int, ...] = ()

    def reads(self) -> Iterator[int]:
        """Slots that it reads, those that its subgraphs capture included."""
        yield from self.inputs
        for body in self.bodies.values():
            yield from body.captured

    def __str__(self) -> str:
        return f"node '{self.node}' ({self.op})"


#: What a subgraph declares of an input or output: dtype and dims, None where it does not.
Declared = tuple[np.dtype[Any] | None, tuple[int | None, ...] | None]


@dataclass(slots=True)
class Subplan:
    """A subgraph, the slots around it that it reads, and what it declares of its inputs and outputs."""

    plan: Plan
    captured: tuple[int, ...]
    inputs: tuple[Declared, ...] = ()
    outputs: tuple[Declared, ...] = ()


@dataclass(slots=True)
class BoundBody:
    """A subgraph with what it captures, as kernels call it."""

    run: Runner
    captured: list[Any]
    inputs: tuple[Declared, ...]
    outputs: tuple[Declared, ...]

    def __call__(self, *inputs: Any) -> list[Any]:
        return self.run([*inputs, *self.captured])


@dataclass(slots=True)
class Plan:
    """Steps in the order in which they run.

    Attributes:
        inputs: the slots that are filled first: the graph's inputs, then what a subgraph captures.
        outputs: the slots of the results.
        constants: arrays by slot.
        size: number of slots.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: dict[int, np.ndarray]
    steps: list[Step]
    size: int

    def slots(self, inputs: Iterable[Any]) -> list[Any]:
        """A fresh set of slots with constants and inputs in place."""
        slots: list[Any] = [None] * self.size
        for slot, array in self.constants.items():
            slots[slot] = array
        for slot, value in zip(self.inputs, inputs, strict=True):
            slots[slot] = value
        return slots

    def run(self, xp: Backend, inputs: Iterable[Any], watch: Watch | None = None) -> list[Any]:
        """Run all steps on a backend.

        Args:
            xp: the backend.
            inputs: a value for each of the plan's inputs.
            watch: told of each step, and when it began.

        Raises:
            RunError: a node failed; the kernel's own error is its cause.
        """
        slots = self.slots(inputs)
        for step in self.steps:
            if watch is None:
                run_step(step, xp, slots)
            else:
                began = time.perf_counter_ns()
                run_step(step, xp, slots)
                watch(step, began)
        return [xp.lift(slots[slot]) for slot in self.outputs]


def run_step(
    step: Step, xp: Backend, slots: list[Any], bodies: Mapping[str, Runner] | None = None, free: bool = True
) -> None:
    """Run one step on slots.

    Args:
        step: which.
        xp: the backend. One that traces leaves what follows from the host's arrays alone to the reference.
        slots: values; the outputs' are written.
        bodies: how its subgraphs run, by attribute; None: as it does.
        free: empty the slots that nobody reads afterwards.

    Raises:
        RunError: the kernel failed; its own error is the cause.
    """
    attributes = step.attributes
    if step.bodies:
        attributes = {**attributes}
        for name, body in step.bodies.items():
            inner = xp.differentiable() if step.op == GRADIENT else xp
            runner = partial(body.plan.run, inner) if bodies is None or inner is not xp else bodies[name]
            attributes[name] = BoundBody(runner, [slots[i] for i in body.captured], body.inputs, body.outputs)
    inputs = [slots[i] for i in step.inputs]
    if xp.lifts:
        host = step.kernel.host
        inputs = [v if i in host else xp.lift(v) for i, v in enumerate(inputs)]
    if xp.traces and (step.kernel.on_host or not any(xp.holds(slots[i]) for i in step.reads())):
        xp = REFERENCE  # what follows from the host's arrays alone stays there
    try:
        result = step.kernel.function(xp, *inputs, **attributes)
    except RunError:
        raise
    except Exception as e:
        raise RunError(f"{step}: {describe(e)}; its inputs: {_layouts(inputs)}") from e
    if xp.lifts:
        result = tuple(map(xp.lift, result)) if type(result) is tuple else xp.lift(result)
    if type(result) is tuple:
        for slot, value in zip(step.outputs, result):
            if slot:
                slots[slot] = value
    elif step.outputs and step.outputs[0]:
        slots[step.outputs[0]] = result
    for slot in step.frees if free else ():
        slots[slot] = None


def describe(e: BaseException) -> str:
    """An exception in one line."""
    text = " ".join(str(e).split())
    return (
        text if text and isinstance(e, GraphoptError) else f"{type(e).__name__}: {text}" if text else type(e).__name__
    )


def _layouts(values: Iterable[Any]) -> str:
    def layout(v: Any) -> str:
        return f"{v.dtype}{list(v.shape)}" if hasattr(v, "dtype") else "nothing" if v is None else type(v).__name__

    return ", ".join(map(layout, values)) or "none"
