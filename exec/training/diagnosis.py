"""Where a step stopped being finite: it runs once more, value by value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphopt.exec.plan import EMPTY
from graphopt.exec.training.differentiation import Differentiable, TrainingBackend
from graphopt.exec.training.losses import Loss
from graphopt.exec.training.stepping import State, key_of, objective

import jax  # isort: skip - the back end above says what to install where it is missing


def first_bad(f: Differentiable, loss: Loss, state: State, batch: Mapping[str, Any], seed: int) -> str:
    """What first is not finite in a step: an array of the batch, a weight, what a node gives, the loss, a gradient.

    Args:
        f: the model.
        loss: of its outputs and the batch.
        state: before the step.
        batch: of the step.
        seed: of the session.
    """
    for kind, arrays in (("batch entry", batch), ("weight", state["weights"]), ("statistic", state["statistics"])):
        for name, array in arrays.items():
            if not is_finite(array):
                return f"{kind} '{name}' holds {_kind(array)}"
    key = key_of(seed, state["step"]) if f.random else None
    form = f.training_form
    values = {**state["weights"], **state["statistics"], **{a.name: batch[a.name] for a in f.signature.inputs}}
    slots = form.slots(values)
    for step in form.run(TrainingBackend(key, f.platform), slots):
        for i, slot in enumerate(step.outputs):
            if slot != EMPTY and not is_finite(slots[slot]) and all(is_finite(slots[s]) for s in step.inputs):
                return f"output {i} of {step} holds {_kind(slots[slot])}, and its inputs are finite"
    value = objective(f, loss, "it", seed)

    def alone(w: Any) -> Any:
        return value(w, state["statistics"], batch, state["step"])[0]

    if not is_finite(alone(state["weights"])):
        return (
            "all values of the model are finite, and the loss of them is not: labels beyond the classes, or the logarithm "
            "of zero?"
        )
    for name, gradient in jax.grad(alone)(state["weights"]).items():
        if not is_finite(gradient):
            return f"the loss is finite, and its gradient with respect to '{name}' holds {_kind(gradient)}"
    return "it is finite when it runs value by value, so that rounding decides: a division by almost zero?"


def is_finite(value: Any) -> bool:
    """Whether an array has no infinity and no NaN; what has no floats is finite."""
    if value is None or not hasattr(value, "dtype") or not jax.numpy.issubdtype(value.dtype, np.floating):
        return True
    return bool(jax.numpy.isfinite(value).all())


def _kind(array: Any) -> str:
    return "NaN" if bool(jax.numpy.isnan(array).any()) else "infinities"
