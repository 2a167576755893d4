"""Operator kernels: one source per operator, in the file of its family.

    from graphopt.exec.kernels import kernel_for

    kernel_for("Conv", 22).function(backend, x, w, strides=[2, 2])

A kernel is written against a `Backend`, and so runs on NumPy arrays, under JAX, and on arrays of exact objects.
"""

from __future__ import annotations

from graphopt.exec.kernels.registry import Host, Kernel, kernel, kernel_for, operators

__all__ = ["Host", "Kernel", "kernel", "kernel_for", "operators"]
