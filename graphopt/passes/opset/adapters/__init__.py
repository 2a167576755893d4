"""What changed its meaning from one version to another, a family of operators a file; importing them registers all."""

from graphopt.passes.opset.adapters import (
    attention,
    control,
    creation,
    early,
    elementwise,
    indexing,
    machine_learning,
    movement,
    normalization,
    pooling,
    quantization,
    recurrent,
    reduction,
    resize,
    sampling,
    softmax,
)

__all__ = [
    "attention", "control", "creation", "early", "elementwise", "indexing", "machine_learning", "movement",
    "normalization", "pooling", "quantization", "recurrent", "reduction", "resize", "sampling", "softmax",
]  # fmt: skip
