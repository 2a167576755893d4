"""Training: gradients through a whole model under JAX, with respect to its float initializers.

    from graphopt.exec.training import Batches, TrainingSession

Nothing is imported before it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphopt.exec.training.batches import Batches
    from graphopt.exec.training.differentiation import Differentiable
    from graphopt.exec.training.fitting import History
    from graphopt.exec.training.losses import LOSSES
    from graphopt.exec.training.optimizers import OPTIMIZERS
    from graphopt.exec.training.parameters import Parameter
    from graphopt.exec.training.session import TrainingSession

#: Public names, and where they live.
_EXPORTS = {
    "Batches": "batches",
    "Differentiable": "differentiation",
    "History": "fitting",
    "LOSSES": "losses",
    "OPTIMIZERS": "optimizers",
    "Parameter": "parameters",
    "TrainingSession": "session",
}


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        value = getattr(importlib.import_module(f"graphopt.exec.training.{_EXPORTS[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'graphopt.exec.training' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})


__all__ = ["LOSSES", "OPTIMIZERS", "Batches", "Differentiable", "History", "Parameter", "TrainingSession"]
