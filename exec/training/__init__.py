"""Training: gradients through a whole model under JAX, with respect to its float initializers.

from graphopt.exec.training import Batches, TrainingSession
"""

from __future__ import annotations

from graphopt.exec.training.batches import Batches
from graphopt.exec.training.differentiation import Differentiable
from graphopt.exec.training.fitting import History
from graphopt.exec.training.losses import LOSSES
from graphopt.exec.training.optimizers import OPTIMIZERS
from graphopt.exec.training.parameters import Parameter
from graphopt.exec.training.session import TrainingSession

__all__ = ["LOSSES", "OPTIMIZERS", "Batches", "Differentiable", "History", "Parameter", "TrainingSession"]
