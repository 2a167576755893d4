"""The devices that JAX sees, by ONNX Runtime's and by its own names."""

from __future__ import annotations

from typing import Any

from graphopt.errors import ArgumentError, MissingDependencyError

_PLATFORMS = {"cuda": "gpu", "rocm": "gpu", "gpu": "gpu", "cpu": "cpu", "tpu": "tpu"}


def find(kind: str, index: int = 0) -> Any:
    """A JAX device.

    Raises:
        MissingDependencyError: JAX is not installed.
        ArgumentError: there is no such device; the message lists those that there are.
    """
    try:
        import jax
    except ImportError as e:
        raise MissingDependencyError(f"device '{kind}' needs jax: pip install graphopt[jax]") from e
    try:
        return jax.devices(_PLATFORMS.get(kind, kind))[index]
    except (RuntimeError, IndexError) as e:
        there = ", ".join(f"{d.platform}:{d.id}" for d in jax.devices())
        raise ArgumentError(f"JAX finds no device '{kind}:{index}'; there are: {there}") from e
