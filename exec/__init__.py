"""Running models, with ONNX Runtime's Python API: `import graphopt.exec as ort` runs ordinary programs.

    session = graphopt.exec.InferenceSession("model.onnx", providers=["ReferenceExecutionProvider"])
    outputs = session.run(None, {"x": x})

Nothing is imported before it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphopt._lazy import lazy

if TYPE_CHECKING:
    from graphopt.exec.binding import IOBinding
    from graphopt.exec.environment import ENV, Env
    from graphopt.exec.options import (
        ExecutionMode,
        ExecutionOrder,
        GraphOptimizationLevel,
        RunOptions,
        SessionOptions,
    )
    from graphopt.exec.providers import available_providers as get_available_providers
    from graphopt.exec.session import InferenceSession
    from graphopt.exec.signature import ModelMetadata, NodeArg
    from graphopt.exec.training.session import TrainingSession
    from graphopt.exec.values import OrtDevice, OrtValue

__getattr__, __dir__ = lazy(
    __name__,
    {
        "ENV": "environment",
        "Env": "environment",
        "ExecutionMode": "options",
        "ExecutionOrder": "options",
        "GraphOptimizationLevel": "options",
        "IOBinding": "binding",
        "InferenceSession": "session",
        "ModelMetadata": "signature",
        "NodeArg": "signature",
        "OrtDevice": "values",
        "OrtValue": "values",
        "RunOptions": "options",
        "SessionOptions": "options",
        "TrainingSession": "training.session",
        "get_available_providers": "providers:available_providers",
    },
)


def set_default_logger_severity(severity: int) -> None:
    """See `Env.set_default_logger_severity`."""
    from graphopt.exec.environment import ENV

    ENV.set_default_logger_severity(severity)


def set_global_thread_pool_sizes(intra_op_pool_size: int, inter_op_pool_size: int = 1) -> None:
    """See `Env.set_global_thread_pool_sizes`."""
    from graphopt.exec.environment import ENV

    ENV.set_global_thread_pool_sizes(intra_op_pool_size, inter_op_pool_size)


def get_device() -> str:
    """'GPU' where JAX finds one, else 'CPU'."""
    try:
        import jax
    except ImportError:
        return "CPU"
    return "GPU" if any(d.platform == "gpu" for d in jax.devices()) else "CPU"


__all__ = [
    "ENV",
    "Env",
    "ExecutionMode",
    "ExecutionOrder",
    "GraphOptimizationLevel",
    "IOBinding",
    "InferenceSession",
    "ModelMetadata",
    "NodeArg",
    "OrtDevice",
    "OrtValue",
    "RunOptions",
    "SessionOptions",
    "TrainingSession",
    "get_available_providers",
    "get_device",
    "set_default_logger_severity",
    "set_global_thread_pool_sizes",
]
