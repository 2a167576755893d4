"""Softmax and its relatives.

Before opset 13 these took a matrix: the axes from `axis` on were a row's.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import axis_of
from graphopt.exec.kernels.registry import Array, kernel

#: Exponentials below e^this may be summed up as they are: float32 ends at e^88.
_HIGHEST = 64
#: Sums of exponentials above this lose nothing to underflow: float32 begins at 1e-38.
_LEAST = 1e-4


def softmax(xp: Backend, x: Array, axis: int = -1) -> Array:
    """e^x / sum(e^x) along an axis."""
    if xp.exact:
        y = xp.exp(x)
    else:
        if not xp.traces and x.size and x.max() < _HIGHEST:  # no need to shift rows, unless one is masked as a whole
            y = xp.exp(x)
            total = xp.sum(y, axis=axis, keepdims=True)
            if total.min() > _LEAST:
                y /= total
                return y
        y = xp.into(xp.exp, _shifted(xp, x, axis))
    y /= xp.sum(y, axis=axis, keepdims=True)
    return y


def log_softmax(xp: Backend, x: Array, axis: int = -1) -> Array:
    """The logarithm of softmax, finite also where softmax is too small a number."""
    if xp.exact:
        return x - xp.log(xp.sum(xp.exp(x), axis=axis, keepdims=True))
    y = _shifted(xp, x, axis)
    y -= xp.log(xp.sum(xp.exp(y), axis=axis, keepdims=True))
    return y


def hardmax(xp: Backend, x: Array, axis: int = -1) -> Array:
    """1 at the first of the largest elements along an axis, 0 elsewhere."""
    if not all(x.shape):
        return xp.array(x)
    positions = np.arange(x.shape[axis]).reshape([-1 if a == axis % x.ndim else 1 for a in range(x.ndim)])
    return xp.where(xp.argmax(x, axis=axis, keepdims=True) == positions, xp.number(1, x), xp.number(0, x))


def _shifted(xp: Backend, x: Array, axis: int) -> Array:
    """Relative to the largest along an axis, so that no exponential overflows and one of them is 1."""
    return x - xp.held(xp.max(x, axis=axis, keepdims=True)) if all(x.shape) else xp.array(x)


def _register(op_type: str, function: Callable[[Backend, Array, int], Array]) -> None:
    @kernel(op_type, since=1, wide=True)
    def of_rows(xp: Backend, x: Array, *, axis: int = 1) -> Array:
        rows = math.prod(x.shape[: axis + x.ndim if axis < 0 else axis])
        return function(xp, x.reshape(rows, x.size // max(rows, 1)), -1).reshape(x.shape)

    @kernel(op_type, since=13, wide=True)
    def along_axis(xp: Backend, x: Array, *, axis: int = -1) -> Array:
        return function(xp, x, axis_of(axis, x.ndim))


for _op_type, _function in (("Softmax", softmax), ("LogSoftmax", log_softmax), ("Hardmax", hardmax)):
    _register(_op_type, _function)
