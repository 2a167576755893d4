"""Training: gradients through a whole model under JAX, with respect to its float initializers.

    from graphopt.exec.training import Batches, TrainingSession

Nothing is imported before it is asked for.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from graphopt._lazy import lazy
from graphopt.errors import MissingDependencyError

if TYPE_CHECKING:
    from graphopt.exec.training.batches import Batches
    from graphopt.exec.training.differentiation import Differentiable
    from graphopt.exec.training.fitting import History
    from graphopt.exec.training.losses import LOSSES
    from graphopt.exec.training.optimizers import OPTIMIZERS
    from graphopt.exec.training.parameters import Parameter
    from graphopt.exec.training.session import TrainingSession

if importlib.util.find_spec("jax") is None:
    raise MissingDependencyError("training needs jax and optax: pip install 'graphopt[train]'")

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Batches": "batches",
        "Differentiable": "differentiation",
        "History": "fitting",
        "LOSSES": "losses",
        "OPTIMIZERS": "optimizers",
        "Parameter": "parameters",
        "TrainingSession": "session",
    },
)


__all__ = ["LOSSES", "OPTIMIZERS", "Batches", "Differentiable", "History", "Parameter", "TrainingSession"]
