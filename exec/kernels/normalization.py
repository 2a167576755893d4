"""Normalization: statistics over some of the axes, then a scale and a shift.

Floats of 16 bits and less are computed with as float32 and rounded once at the end, where ONNX's functions round a second
time before the scale.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphopt.exec.kernels import sums
from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import axes_of, axis_of
from graphopt.exec.kernels.dtypes import is_narrow, np_dtype
from graphopt.exec.kernels.registry import Array, kernel

#: Defaults of attributes, which are float32: 1e-5 and 0.9.
_EPSILON, _MOMENTUM = float(np.float32(1e-5)), float(np.float32(0.9))


def _wide(xp: Backend, *arrays: Array) -> tuple[Array, ...]:
    return tuple([xp.cast(x, np.float32) if x is not None and is_narrow(x.dtype) else x for x in arrays])


def _centered(xp: Backend, x: Array, axes: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """A new array of the differences from the mean over axes; the mean, and the variance."""
    count = xp.number(math.prod(x.shape[a] for a in axes), x)
    mean = xp.sum(x, axis=axes, keepdims=True) / count
    y = x - mean
    return y, mean, sums.squares(xp, y, axes) / count


# --------------------------------------------------------------------------------------------------- batch normalization
@kernel("BatchNormalization", since=1)
def batch_normalization_1(
    xp: Backend,
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    var: Array,
    *,
    consumed_inputs: list[int] | None = None,
    epsilon: float = _EPSILON,
    is_test: int = 0,
    momentum: float = _MOMENTUM,
    spatial: int = 1,
    outputs: int = 1,
) -> tuple[Array, ...]:
    """In training mode if it has outputs for statistics; without `spatial`, each element of an entry has its own."""
    training = outputs > 1 and not is_test
    y, *statistics = _batch_normalized(xp, x, scale, bias, mean, var, epsilon, momentum, training, bool(spatial))
    return y, *statistics


@kernel("BatchNormalization", since=14)
def batch_normalization(
    xp: Backend,
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    var: Array,
    *,
    epsilon: float = _EPSILON,
    momentum: float = _MOMENTUM,
    training_mode: int = 0,
) -> tuple[Array, ...]:
    """Each channel by itself; in training mode by its own statistics, which are mixed into the running ones."""
    return _batch_normalized(xp, x, scale, bias, mean, var, epsilon, momentum, bool(training_mode), True)[:3]


def batch_normalization_training_last(
    xp: Backend,
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    var: Array,
    *,
    epsilon: float = _EPSILON,
    momentum: float = _MOMENTUM,
) -> tuple[Array, ...]:
    """In training mode, of an image with its channels last."""
    return _batch_normalized(xp, x, scale, bias, mean, var, epsilon, momentum, True, True, x.ndim - 1)[:3]


def _batch_normalized(
    xp: Backend,
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    var: Array,
    epsilon: float,
    momentum: float,
    training: bool,
    spatial: bool,
    axis: int = 1,
) -> tuple[Array, ...]:
    """The result; in training mode then running mean and variance, and the batch's own."""
    dtype, kept = x.dtype, mean.dtype
    x, scale, bias, mean, var = _wide(xp, x, scale, bias, mean, var)

    def fitted(statistic: Array) -> Array:
        return statistic.reshape(-1, *[1] * (x.ndim - 1 - axis)) if spatial else statistic

    if not training:
        factor = scale / xp.sqrt(var + xp.number(epsilon, var))
        y = x * fitted(factor)
        y += fitted(bias - mean * factor)
        return (xp.cast(y, dtype),)
    y, own_mean, own_var = _centered(xp, x, tuple(a for a in range(x.ndim) if a != axis) if spatial else (0,))
    own_mean, own_var = own_mean.reshape(mean.shape), own_var.reshape(var.shape)
    y *= fitted(scale / xp.sqrt(own_var + xp.number(epsilon, own_var)))
    y += fitted(bias)
    keep, learn = xp.number(momentum, mean), xp.number(1 - momentum, mean)
    statistics = (mean * keep + own_mean * learn, var * keep + own_var * learn, own_mean, own_var)
    return xp.cast(y, dtype), *[xp.cast(s, kept) for s in statistics]


# --------------------------------------------------------------------------------------- of each entry, groups of channels
@kernel("InstanceNormalization", since=1, wide=True)
def instance_normalization(
    xp: Backend,
    x: Array,
    scale: Array,
    bias: Array,
    *,
    consumed_inputs: list[int] | None = None,
    epsilon: float = _EPSILON,
) -> Array:
    return _group_normalized(xp, x, scale, bias, x.shape[1], epsilon)


@kernel("GroupNormalization", since=18, wide=True)
def group_normalization_18(
    xp: Backend, x: Array, scale: Array, bias: Array, *, epsilon: float = _EPSILON, num_groups: int
) -> Array:
    """Scale and bias are of groups."""
    size = x.shape[1] // num_groups
    return _group_normalized(xp, x, xp.repeat(scale, size), xp.repeat(bias, size), num_groups, epsilon)


@kernel("GroupNormalization", since=21, wide=True)
def group_normalization(
    xp: Backend, x: Array, scale: Array, bias: Array, *, epsilon: float = _EPSILON, num_groups: int, stash_type: int = 1
) -> Array:
    """Scale and bias are of channels."""
    return _group_normalized(xp, x, scale, bias, num_groups, epsilon)


def _group_normalized(xp: Backend, x: Array, scale: Array, bias: Array, groups: int, epsilon: float) -> Array:
    batch, channels, *space = x.shape
    if groups < 1 or channels % groups:
        raise ValueError(f"{channels} channels do not divide into {groups} groups")
    shape = (batch, groups, channels // groups, math.prod(space))
    y, _, var = _centered(xp, x.reshape(shape), (2, 3))
    y *= scale.reshape(*shape[1:3], 1) / xp.sqrt(var + xp.number(epsilon, var))
    y += bias.reshape(*shape[1:3], 1)
    return y.reshape(x.shape)


# ------------------------------------------------------------------------------------------------------ over the last axes
@kernel("LayerNormalization", since=17)
def layer_normalization(
    xp: Backend,
    x: Array,
    scale: Array,
    bias: Array | None = None,
    *,
    axis: int = -1,
    epsilon: float = _EPSILON,
    stash_type: int = 1,
) -> tuple[Array, Array, Array]:
    """The result, the mean, and the inverse of the standard deviation."""
    dtype, stashed = x.dtype, np_dtype(stash_type)
    x, scale, bias = _wide(xp, x, scale, bias)
    y, mean, var = _centered(xp, x, tuple(range(axis_of(axis, x.ndim), x.ndim)))
    inverse = 1 / xp.sqrt(var + xp.number(epsilon, var))
    y *= inverse
    y *= scale
    if bias is not None:
        y += bias
    return xp.cast(y, dtype), _stashed(xp, mean, stashed), _stashed(xp, inverse, stashed)


def _stashed(xp: Backend, x: Array, dtype: Any) -> Array:
    return x if xp.exact else xp.cast(x, dtype)


@kernel("RMSNormalization", since=23)
def rms_normalization(
    xp: Backend, x: Array, scale: Array, *, axis: int = -1, epsilon: float = _EPSILON, stash_type: int = 1
) -> Array:
    """Divided by the root of the mean square; the result has the dtype of the scale."""
    dtype = scale.dtype
    x, scale = _wide(xp, x, scale)
    axes = tuple(range(axis_of(axis, x.ndim), x.ndim))
    square = sums.squares(xp, x, axes) / xp.number(math.prod(x.shape[a] for a in axes), x)
    y = x / xp.sqrt(square + xp.number(epsilon, x))
    y *= scale
    return xp.cast(y, dtype)


# ------------------------------------------------------------------------------------------------------ without parameters
@kernel("LpNormalization", wide=True)
def lp_normalization(xp: Backend, x: Array, *, axis: int = -1, p: int = 2) -> Array:
    """Divided by the norm along an axis; zeros stay zeros."""
    if p not in (1, 2):
        raise ValueError(f"p = {p} is neither 1 nor 2")
    axes = (axis_of(axis, x.ndim),)
    norm = xp.sum(xp.abs(x), axis=axes, keepdims=True) if p == 1 else xp.sqrt(sums.squares(xp, x, axes))
    return x / xp.where(norm == 0, xp.number(1, x), norm)


@kernel("MeanVarianceNormalization", since=9, wide=True)
def mean_variance_normalization(xp: Backend, x: Array, *, axes: list[int] | None = None) -> Array:
    y, _, var = _centered(xp, x, tuple(sorted(axes_of((0, 2, 3) if axes is None else axes, x.ndim))))
    y /= xp.sqrt(var) + xp.number(1e-9, x)
    return y


@kernel("LRN", wide=True)
def local_response_normalization(
    xp: Backend, x: Array, *, alpha: float = float(np.float32(1e-4)), beta: float = 0.75, bias: float = 1.0, size: int
) -> Array:
    """x / (bias + alpha / size · sum of squares of `size` neighbouring channels) ^ beta."""
    before = (size - 1) // 2
    squares = xp.pad(x * x, [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)])
    channels = x.shape[1]
    y = squares[:, :channels] + squares[:, size - 1 : size - 1 + channels] if size > 1 else squares
    for i in range(1, size - 1):
        y += squares[:, i : i + channels]
    y *= xp.number(alpha / size, x)
    y += xp.number(bias, x)
    return x / xp.power(y, xp.number(beta, x))
