"""Gradients: the operator that differentiates a part of its own graph."""

from __future__ import annotations

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.registry import Array, Body, kernel


@kernel("Gradient", domain="ai.onnx.preview.training")
def gradient(
    xp: Backend, *inputs: Array, xs: list[str], y: str, zs: list[str] | tuple[str, ...] = (), function: Body
) -> tuple[Array, ...]:
    """dy/dx for each of the inputs that `xs` names. `function`: from the inputs to y, what the plan found between them."""
    return xp.gradient(lambda *a: function(*a)[0], inputs, len(xs))
