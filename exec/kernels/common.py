"""Small helpers that several families share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


def ints(values: Any) -> list[int]:
    """A host tensor (or list) of integers as a list."""
    return [int(v) for v in np.asarray(values).reshape(-1)]


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the front.

    Raises:
        ValueError: it is none of the tensor's.
    """
    if not -rank <= axis < max(rank, 1):
        raise ValueError(f"axis {axis} does not exist in a tensor of rank {rank}")
    return axis + rank if axis < 0 else axis


def axes_of(axes: Iterable[int], rank: int) -> tuple[int, ...]:
    """Axes counted from the front, in the order given."""
    return tuple(axis_of(int(a), rank) for a in axes)
