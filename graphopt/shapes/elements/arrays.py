"""Arrays of elements, and what their functions have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from onnx import TensorProto

from graphopt.ir import Dim
from graphopt.shapes import dims
from graphopt.shapes.site import LARGEST_KNOWN

Array = np.ndarray
Inputs = list["np.ndarray | None"]

_RANGES: dict[int, tuple[int, int]] = {
    TensorProto.INT64: (-(1 << 63), (1 << 63) - 1),
    TensorProto.INT32: (-(1 << 31), (1 << 31) - 1),
}


def array_of(elements: Sequence[Dim], shape: Sequence[int] | None = None) -> Array:
    """An array of elements; without a shape, a vector."""
    out = np.empty(len(elements), object)
    out[:] = elements
    return out if shape is None else out.reshape(tuple(shape))


def map_known(function: Callable[..., Dim], *arrays: Array) -> Array:
    """Apply a function to elements that broadcast; what is not known stays so."""

    def each(*elements: Dim) -> Dim:
        return None if None in elements else function(*elements)

    with np.errstate(all="ignore"):
        return np.asarray(np.frompyfunc(each, len(arrays), 1)(*arrays), object)


def is_number(e: Dim) -> bool:
    return isinstance(e, (int, Fraction))


def in_range(e: Dim, dtype: int) -> Dim:
    """An element, None where its dtype cannot hold it."""
    if dtype not in _RANGES or isinstance(e, str) or e is None:
        return e
    low, high = _RANGES[dtype]
    if not isinstance(e, int):  # room for dims around the numbers of an expression
        few = [dims.substitute(e, dict.fromkeys(dims.names_in(e), n)) for n in (0, 1)]
        return e if all(n is not None and low / 2 < n < high / 2 for n in few) else None
    return e if low <= e <= high else None


def static_sizes(shape: Sequence[Dim] | None) -> list[int] | None:
    if shape is None:
        return None
    sizes = [d for d in shape if isinstance(d, int)]
    return sizes if len(sizes) == len(shape) and math.prod(sizes) <= LARGEST_KNOWN else None


def whole_numbers(x: Array | None) -> Array | None:
    """An array of elements as one of ints, None where one is not known."""
    if x is None or not all(isinstance(e, int) for e in x.reshape(-1)):
        return None
    return np.array(x.tolist(), np.int64).reshape(x.shape)


def inside(index: Array, n: int) -> bool:
    return not index.size or bool(index.min() >= -n and index.max() < n)
