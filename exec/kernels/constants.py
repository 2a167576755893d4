"""Operators that make tensors out of nothing but attributes and shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import dense, ints
from graphopt.exec.kernels.dtypes import is_integer, is_narrow, np_dtype
from graphopt.exec.kernels.registry import Array, Host, kernel


@kernel("Constant")
def constant(
    xp: Backend,
    *,
    value: np.ndarray | None = None,
    sparse_value: Any = None,
    value_float: float | None = None,
    value_floats: Sequence[float] | None = None,
    value_int: int | None = None,
    value_ints: Sequence[int] | None = None,
    value_string: str | None = None,
    value_strings: Sequence[str] | None = None,
) -> np.ndarray:
    """What the one attribute says that is there; on the host always."""
    if value is not None:
        return value
    if sparse_value is not None:
        return dense(sparse_value)
    for elements, dtype in (
        (value_float, np.float32),
        (value_floats, np.float32),
        (value_int, np.int64),
        (value_ints, np.int64),
        (value_string, object),
        (value_strings, object),
    ):
        if elements is not None:
            return np.array(elements, dtype)
    raise ValueError("the constant has no value")


@kernel("ConstantOfShape", since=9)
def constant_of_shape(xp: Backend, shape: Host, *, value: np.ndarray | None = None) -> np.ndarray:
    """One element everywhere, 0 of float32 if none is given; on the host, where shapes are computed."""
    if value is None:
        return np.zeros(ints(shape), np.float32)
    if value.dtype.kind != "O" and not any(value.tobytes()):
        return np.zeros(ints(shape), value.dtype)  # memory that is zero already
    return np.full(ints(shape), value.reshape(()), value.dtype)


@kernel("EyeLike", since=9)
def eye_like(xp: Backend, x: Array, *, dtype: int | None = None, k: int = 0) -> Array:
    """Ones on a diagonal of a matrix that is as large as the input."""
    if x.ndim != 2:
        raise ValueError(f"a matrix is needed, not a tensor of rank {x.ndim}")
    return xp.eye(*x.shape, k, dtype=x.dtype if dtype is None else np_dtype(dtype))


@kernel("Range", since=11)
def range_(xp: Backend, start: Host, limit: Host, delta: Host, *, stash_type: int = 1) -> np.ndarray:
    """The numbers from the start to before the limit; on the host, since they are as many as the values say."""
    first, last, step = (np.asarray(v).reshape(()) for v in (start, limit, delta))
    dtype = first.dtype
    if not step:
        raise ValueError("the step of a range is 0")
    if is_integer(dtype):
        return np.arange(int(first), int(last), int(step), dtype=dtype)
    if is_narrow(dtype) and stash_type == 1:
        first, last, step = (v.astype(np.float32) for v in (first, last, step))
    count = max(math.ceil((last.item() - first.item()) / step.item()), 0)  # in double precision, as runtimes count
    return (first + np.arange(count).astype(first.dtype) * step).astype(dtype, copy=False)


# ------------------------------------------------------------------------------------------------ what shapes are
@kernel("Shape")
def shape(xp: Backend, x: Array, *, start: int = 0, end: int | None = None) -> np.ndarray:
    """The dims from `start` to before `end`; on the host always: shapes are known there."""
    return np.array(x.shape[start:end], np.int64)


@kernel("Size")
def size(xp: Backend, x: Array) -> np.ndarray:
    """The number of elements; on the host always."""
    return np.array(x.size, np.int64)
