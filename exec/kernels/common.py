"""Small helpers that several families share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from onnx import SparseTensorProto, numpy_helper


def ints(values: Any) -> list[int]:
    """A host tensor (or list) of integers as a list."""
    flat = np.asarray(values).reshape(-1)
    return flat.tolist() if flat.dtype.kind in "iu" else [int(v) for v in flat]


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


def zero(xp: Any, like: Any) -> Any:
    """What is nothing among an array's elements: 0, False, the empty string."""
    return "" if like.dtype.kind == "O" and not xp.exact else xp.number(0, like)


# ------------------------------------------------------------------------------------------------- of two operands
def infix(operation: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """The kernel that is one of Python's operators."""

    def function(xp: Any, a: Any, b: Any) -> Any:
        return operation(a, b)

    return function


def one_way(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel of two operands as before opset 7: the second broadcasts to the first, and only where that is asked for.

    Its dims are those of the first from `axis` on, or the last ones. Old exporters wrote dims of 1 among them too.
    """

    def limited(
        xp: Any, a: Any, b: Any, *, axis: int | None = None, broadcast: int = 0, consumed_inputs: Sequence[int] = ()
    ) -> Any:
        if a.shape == b.shape:
            return function(xp, a, b)
        if not broadcast:
            raise ValueError(f"shapes {list(a.shape)} and {list(b.shape)} differ, and broadcast is not set")
        first = a.ndim - b.ndim if axis is None else axis_of(axis, a.ndim)
        if b.size == 1:
            return function(xp, a, b.reshape(()))
        if first < 0 or any(n not in (1, m) for n, m in itertools.zip_longest(b.shape, a.shape[first:][: b.ndim])):
            at = "at the end of" if axis is None else f"from axis {axis} on in"
            raise ValueError(f"shape {list(b.shape)} is not found {at} {list(a.shape)}")
        return function(xp, a, b.reshape(*b.shape, *[1] * (a.ndim - first - b.ndim)))

    return limited


def dense(sparse: SparseTensorProto) -> np.ndarray:
    """A sparse tensor as an array; its indices are positions in the flattened tensor, or coordinates."""
    values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    out = np.zeros(tuple(sparse.dims), values.dtype)
    if indices.ndim == 1:
        out.reshape(-1)[indices] = values
    else:
        out[tuple(indices.T)] = values
    return out
