"""Shape functions, a family of operators a file. Importing this registers all of them.

The sources are the operators' specifications (https://onnx.ai/onnx/operators/); where two versions differ in more than
where a parameter is kept, each has its function.
"""

from graphopt.shapes.operators import (
    attention,
    contrib,
    contrib_attention,
    control,
    convolution,
    creation,
    elementwise,
    image,
    indexing,
    linear,
    machine_learning,
    movement,
    normalization,
    parts,
    pooling,
    quantization,
    recurrent,
    reduction,
    sequences,
    signal,
    strings,
    training,
)

__all__ = [
    "attention",
    "contrib",
    "contrib_attention",
    "control",
    "convolution",
    "creation",
    "elementwise",
    "image",
    "indexing",
    "linear",
    "machine_learning",
    "movement",
    "normalization",
    "parts",
    "pooling",
    "quantization",
    "recurrent",
    "reduction",
    "sequences",
    "signal",
    "strings",
    "training",
]
