"""Operators of training: gradients, and steps of optimizers."""

from __future__ import annotations

from graphopt.shapes.registry import infers
from graphopt.shapes.site import Site
from graphopt.shapes.types import TypeInfo

DOMAIN = "ai.onnx.preview.training"
#: Inputs for each tensor that a step updates (itself, its gradient, what the optimizer keeps), and outputs for each.
_STEPS = {"Adagrad": (3, 2), "Momentum": (3, 2), "Adam": (4, 3)}


@infers("Gradient", domain=DOMAIN)
def gradient(node: Site) -> list[TypeInfo]:
    """For each input that is differentiated by, one of its type."""
    return [node.info(i) for i in range(len(node.attribute("xs")))]


@infers(*_STEPS, domain=DOMAIN)
def step(node: Site) -> list[TypeInfo]:
    """The tensors after the step, then what the optimizer keeps of them, both as before it."""
    ins, outs = _STEPS[node.op_type]
    count, rest = divmod(len(node.inputs) - 2, ins)
    if rest:
        raise ValueError(f"{node.op_type}: {len(node.inputs) - 2} tensors cannot be {ins} for each that is updated")
    kept = [2 + count * k + i for k in range(2, ins) for i in range(count)]
    return [node.info(i) for i in [*range(2, 2 + count), *kept]][: count * outs]
