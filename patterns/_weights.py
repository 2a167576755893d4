"""Constants beside matrix products: one number per column or row, and weights that take them in."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.patterns._windows import along, finite, times
from graphopt.rewrite.terms import Constant
from graphopt.shapes import same_dims


def per_column(k: Constant, rank: int | None, n: int) -> np.ndarray | None:
    """A constant beside a tensor [..., n] as one finite number per column; None where it is none, or broadcasts that up."""
    f = along(k, (rank or 1) - 1, rank or 1, n)
    return f if f is not None and finite(f) else None


def beside(k: Constant, x: Any, axis: int, n: int) -> np.ndarray | None:
    """A constant beside `x`, whose axis of n is summed over, as one finite number each; None where it is none, or may
    broadcast `x` up."""
    if x.rank is None or not x.rank or not same_dims(x.shape[axis], n):
        return None
    f = along(k, axis % x.rank, x.rank, n)
    return f if f is not None and finite(f) else None


def scaled(w: Constant, f: np.ndarray, axis: int = 1) -> np.ndarray | None:
    """Weights with a factor along one axis, that of the columns; None where their dtype cannot hold them well."""
    return times(w.array, f if axis else f[:, None], (axis,), w.onnx_dtype)
