"""Reductions over axes, positions of extremes, and running sums and products."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphopt.exec.kernels import sums
from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import axes_of, axis_of, ints
from graphopt.exec.kernels.dtypes import is_integer
from graphopt.exec.kernels.registry import Array, Host, kernel

#: Elements of one step of a running sum from which on it is made step by step.
_STEP = 1 << 8
#: Elements from which on positions are found by comparing, and the number in a row up to which they are.
_MANY, _SHORT = 1 << 12, 20

#: Reduces axes, counted from the front: backend, array, axes, keepdims.
_Reduction = Callable[[Backend, Array, tuple[int, ...], bool], Array]


# ----------------------------------------------------------------------------------------------------------- reductions
def _sum(xp: Backend, x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    return xp.sum(x, axis=axes, keepdims=keepdims)


def _mean(xp: Backend, x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """Of integers, cut off towards zero."""
    total = xp.sum(x, axis=axes, keepdims=keepdims)
    count = math.prod(x.shape[a] for a in axes)
    if not is_integer(x.dtype):
        return total / xp.number(count, x)
    n = xp.number(max(count, 1), x)
    quotient = total // n
    return quotient + ((quotient < 0) & (quotient * n != total)).astype(x.dtype)


def _prod(xp: Backend, x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    return xp.prod(x, axis=axes, keepdims=keepdims)


def _sum_square(xp: Backend, x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    return sums.squares(xp, x, axes, keepdims)


def _l1(xp: Backend, x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    return xp.sum(xp.abs(x), axis=axes, keepdims=keepdims)


def _l2(xp: Backend, x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    return xp.sqrt(sums.squares(xp, x, axes, keepdims))


def _log_sum(xp: Backend, x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    return xp.log(xp.sum(x, axis=axes, keepdims=keepdims))


def _log_sum_exp(xp: Backend, x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """Relative to the largest element, so that nothing overflows; infinite ones are no measure."""
    if xp.exact or not all(x.shape):
        return _log_sum(xp, xp.exp(x), axes, keepdims)
    top = xp.max(x, axis=axes, keepdims=True)
    top = xp.where(xp.isfinite(top), top, xp.number(0, x))
    y = _log_sum(xp, xp.into(xp.exp, x - top), axes, keepdims)
    return y + (top if keepdims else top.reshape(y.shape))


def _max(xp: Backend, x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    return _extreme(xp, xp.max, x, axes, keepdims)


def _min(xp: Backend, x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    return _extreme(xp, xp.min, x, axes, keepdims)


def _extreme(xp: Backend, function: Callable[..., Any], x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """Of no elements, what any other would replace."""
    if all(x.shape[a] for a in axes):
        return function(x, axis=axes, keepdims=keepdims)
    if x.dtype == bool:
        fill: Any = function == xp.min
    elif is_integer(x.dtype):
        fill = np.iinfo(x.dtype).min if function == xp.max else np.iinfo(x.dtype).max
    else:
        fill = -math.inf if function == xp.max else math.inf
    shape = [1 if a in axes else n for a, n in enumerate(x.shape) if keepdims or a not in axes]
    return xp.full(shape, fill, x.dtype)


def _in_floats(function: _Reduction) -> _Reduction:
    """Integers through float64 and back, cut off towards zero."""

    def reduce(xp: Backend, x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
        if not is_integer(x.dtype):
            return function(xp, x, axes, keepdims)
        return xp.cast(function(xp, xp.cast(x, np.float64), axes, keepdims), x.dtype)

    return reduce


_REDUCTIONS: dict[str, _Reduction] = {
    "ReduceL1": _l1,
    "ReduceL2": _in_floats(_l2),
    "ReduceLogSum": _in_floats(_log_sum),
    "ReduceLogSumExp": _in_floats(_log_sum_exp),
    "ReduceMax": _max,
    "ReduceMean": _mean,
    "ReduceMin": _min,
    "ReduceProd": _prod,
    "ReduceSum": _sum,
    "ReduceSumSquare": _sum_square,
}


def _register(op_type: str, reduce: _Reduction) -> None:
    """Axes are an attribute at first, and an input later."""

    @kernel(op_type, since=1, wide=True)
    def by_attribute(xp: Backend, data: Array, *, axes: list[int] | None = None, keepdims: int = 1) -> Array:
        return reduce(xp, data, _axes(axes, data.ndim), bool(keepdims))

    @kernel(op_type, since=13 if op_type == "ReduceSum" else 18, wide=True)
    def by_input(
        xp: Backend, data: Array, axes: Host = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Array:
        given = [] if axes is None else ints(axes)
        return reduce(xp, data, () if noop_with_empty_axes and not given else _axes(given, data.ndim), bool(keepdims))


def _axes(axes: list[int] | None, rank: int) -> tuple[int, ...]:
    """All of them where none are named; one that is named twice counts once, and a scalar has none."""
    return tuple(sorted(set(axes_of(axes, rank)))) if axes and rank else tuple(range(rank))


for _op_type, _function in _REDUCTIONS.items():
    _register(_op_type, _function)


# ------------------------------------------------------------------------------------------------------------ positions
@kernel("ArgMax", wide=True)
def arg_max(xp: Backend, data: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Array:
    return _position(xp, "max", data, axis, bool(keepdims), bool(select_last_index))


@kernel("ArgMin", wide=True)
def arg_min(xp: Backend, data: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Array:
    return _position(xp, "min", data, axis, bool(keepdims), bool(select_last_index))


def _position(xp: Backend, which: str, x: Array, axis: int, keepdims: bool, last: bool) -> Array:
    x = x.reshape(x.shape or (1,))
    axis = axis_of(axis, x.ndim)
    n, inner = x.shape[axis], math.prod(x.shape[axis + 1 :])
    if not (xp.traces or xp.exact) and x.size > _MANY and (inner > 1 or n <= _SHORT):
        y = _compared(xp, getattr(xp, which), x.reshape(-1, n, inner), last)
        return y.reshape(*x.shape[:axis], *(1,) * keepdims, *x.shape[axis + 1 :])
    y = getattr(xp, f"arg{which}")(xp.flip(x, axis) if last else x, axis=axis, keepdims=keepdims)
    return xp.cast(n - 1 - y if last else y, np.int64)


def _compared(xp: Backend, extreme: Callable[..., Any], x: np.ndarray, last: bool) -> np.ndarray:
    """Positions of extremes along the middle one of three axes, for NumPy, which looks for them column by column."""
    n = x.shape[1]
    if x.shape[2] == 1:  # short rows
        x = np.ascontiguousarray(x[:, :, 0].T)[None]
    positions = np.arange(n, dtype=np.min_scalar_type(n))[:, None]
    top = extreme(x, axis=1, keepdims=True)
    found = x == top
    if (top != top).any():  # a NaN is what the others are no match for
        found |= x != x
    y = xp.max(positions * found, axis=1) if last else n - 1 - xp.max(positions[::-1] * found, axis=1)
    return y.astype(np.int64)


# ------------------------------------------------------------------------------------------------------------- running
@kernel("CumSum", since=11, wide=True)
def cum_sum(xp: Backend, x: Array, axis: Host, *, exclusive: int = 0, reverse: int = 0) -> Array:
    return _running(xp, xp.add, xp.cumsum, 0, x, axis, bool(exclusive), bool(reverse))


@kernel("CumProd", since=26, wide=True)
def cum_prod(xp: Backend, x: Array, axis: Host, *, exclusive: int = 0, reverse: int = 0) -> Array:
    return _running(xp, xp.multiply, xp.cumprod, 1, x, axis, bool(exclusive), bool(reverse))


def _running(
    xp: Backend,
    combine: Callable[..., Any],
    accumulate: Callable[..., Any],
    neutral: int,
    x: Array,
    axis: Any,
    exclusive: bool,
    reverse: bool,
) -> Array:
    """Combine each element along an axis with all those before it, in reverse with all after it."""
    a = axis_of(ints(axis)[0], x.ndim)
    if reverse:
        x = xp.flip(x, a)
    if exclusive:  # the last one takes part in nothing
        head = xp.full((*x.shape[:a], min(1, x.shape[a]), *x.shape[a + 1 :]), neutral, x.dtype)
        x = xp.concatenate([head, x[(slice(None),) * a + (slice(None, -1),)]], axis=a)
    n = x.shape[a]
    if xp.traces or a == x.ndim - 1 or x.size <= n * _STEP:
        y = accumulate(x, axis=a, dtype=x.dtype)
    else:  # NumPy would go along the axis for each of the others
        y = np.empty(x.shape, x.dtype)
        steps, ys = xp.moveaxis(x, a, 0), xp.moveaxis(y, a, 0)
        ys[0] = steps[0]
        for t in range(1, n):
            combine(ys[t - 1], steps[t], out=ys[t])
    return xp.flip(y, a) if reverse else y
