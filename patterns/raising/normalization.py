"""Normalizations that exporters spell out in means, differences and square roots.

First the bare normalization becomes one node with a scale of ones; then factors and summands that follow move into its
scale and bias. GroupNormalization stays a reshaped InstanceNormalization, which runtimes have kernels for.
"""

from __future__ import annotations

from functools import reduce
from math import prod
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from graphopt.ir import Shape
from graphopt.patterns._elementwise import SINGLE
from graphopt.patterns.raising._constants import scalar
from graphopt.rewrite import Attrs, Const, Filled, Float, Int, Ints, Maybe, Tensor, any_of, op, rule
from graphopt.rewrite.terms import Alternatives
from graphopt.shapes import same_shape
from graphopt.shapes.dims import mul

#: Elements of a scale of ones that a rule may add to the model.
_ONES = 1 << 16
_FLOAT = int(TensorProto.FLOAT)


# -------------------------------------------------------------------------------------------------------------- helpers
def _first_axis(x: Tensor, *reductions: list[int]) -> int | str:
    """The first of the last axes over which every reduction goes; what is wrong where they do something else."""
    if not x.rank:
        return "the rank is not known"
    found = {tuple(sorted({a % x.rank for a in axes})) for axes in reductions}
    axes = found.pop()
    if found:
        return "the means are taken over different axes"
    return axes[0] if axes and axes == tuple(range(axes[0], x.rank)) else "not over the last axes"


def _sizes(x: Tensor, axis: int) -> tuple[int, ...] | None:
    """The dims from an axis on, None where one is unknown or 0."""
    if x.shape is None:
        return None
    sizes = tuple(d for d in x.shape[axis:] if isinstance(d, int) and d > 0)
    return sizes if axis + len(sizes) == x.rank else None


def _normalized(x: Tensor, axis: int) -> Shape | None:
    """The dims of x from an axis on, None where they are unknown."""
    return x.shape[axis % x.rank :] if x.rank else None


def _channels(x: Tensor) -> int | None:
    """The dim of axis 1 of a tensor with axes behind it, None where it is unknown."""
    if x.shape is None or len(x.shape) < 3:
        return None
    return x.shape[1] if isinstance(x.shape[1], int) else None


def _over_last(c: Const, x: Tensor, axis: int) -> np.ndarray | None:
    """A constant that scales x as an array of the dims from an axis on; None where it varies over others, or adds some."""
    sizes = _sizes(x, axis)
    if sizes is None or c.rank > x.rank:
        return None
    lead = max(c.rank - len(sizes), 0)
    if any(d != 1 for d in c.shape[:lead]) or any(d not in (1, s) for d, s in zip(c.shape[::-1], sizes[::-1])):
        return None
    return np.broadcast_to(np.reshape(c, c.shape[lead:]), sizes)


def _over_channels(c: Const, x: Tensor) -> np.ndarray | None:
    """A constant that scales x as an array over axis 1; None where it varies over others, or adds some."""
    channels = _channels(x)
    if channels is None or c.rank > x.rank:
        return None
    dims = (1,) * (x.rank - c.rank) + c.shape
    if dims[1] not in (1, channels) or any(d != 1 for i, d in enumerate(dims) if i != 1):
        return None
    return np.broadcast_to(np.reshape(c, -1), (channels,))


def _typed(c: Const, dtype: int) -> np.ndarray:
    """A constant in a dtype, for inputs that may have another one than those beside them."""
    with np.errstate(over="ignore"):
        return np.asarray(c).astype(helper.tensor_dtype_to_np_dtype(dtype))


def _product(a: np.ndarray | None, b: np.ndarray | None, dtype: int) -> np.ndarray | None:
    """What two scales make together, None where one is missing or this dtype cannot hold it."""
    if a is None or b is None:
        return None
    product = _typed(a * b, dtype)
    return product if np.isfinite(product).all() else None


def _fits(c: Const, dtype: int) -> bool:
    """Whether a float32 constant has the same values in a narrower dtype."""
    return np.array_equal(_typed(c, dtype).astype(np.float32), np.asarray(c))


def _inverse(v: Any) -> Alternatives:
    """Ways to write 1 / sqrt(v)."""
    return any_of(op.Reciprocal(op.Sqrt(v)), 1 / op.Sqrt(v), v**-0.5)


def _variance(x: Any, b: Any, c: Any) -> Alternatives:
    """Ways to write the variance of x: the mean of squared differences from the mean, or that of squares less its square."""
    mean = op.ReduceMean(x, axes=b)
    d = x - mean
    spread = op.ReduceMean(any_of(x * x, x**2), axes=c) - any_of(mean * mean, mean**2)
    squares = any_of(d * d, d**2)
    return any_of(op.ReduceMean(squares, axes=c), spread, op.Max(spread, 0.0), op.Relu(spread))


# ------------------------------------------------------------------------------------------------------ bare and scaled
@rule
def normalization(x, a: Ints, b: Ints, c: Ints, eps: Const):
    """(x - mean) / sqrt(variance + eps) over the last axes is a layer normalization, over axes 2 and up an instance one."""
    y = x - op.ReduceMean(x, axes=a)
    v = _variance(x, b, c) + eps
    yield any_of(y / op.Sqrt(v), y / v**0.5, y * _inverse(v))
    axis, e = _first_axis(x, a, b, c), scalar(eps, x)
    if isinstance(axis, str):
        return axis
    if e is None or x.dtype not in SINGLE:
        return "epsilon is not a single number of single precision"
    sizes, channels = _sizes(x, axis), _channels(x)
    if axis == 2 and channels is not None and (x.rank > 3 or sizes is None):
        yield op.InstanceNormalization(x, np.ones(channels, np.float32), np.zeros(channels, np.float32), epsilon=e)
    if sizes is not None and prod(sizes) <= _ONES:
        yield op.LayerNormalization(x, np.ones(sizes, np.float32), axis=axis - x.rank, epsilon=e)
    return "the sizes are not known, or too large for a scale of ones"


@rule
def normalization_scaled(x, a: Ints, b: Ints, c: Ints, eps: Const, g: Const):
    """A normalization whose scale is multiplied to 1 / sqrt(variance + eps), or too large for a scale of ones first."""
    y = x - op.ReduceMean(x, axes=a)
    v = _variance(x, b, c) + eps
    yield any_of(y * _inverse(v) * g, y / op.Sqrt(v) * g, y * (g / op.Sqrt(v)))
    axis, e = _first_axis(x, a, b, c), scalar(eps, x)
    if isinstance(axis, str):
        return axis
    if e is None or x.dtype not in SINGLE:
        return "epsilon is not a single number of single precision"
    if (scale := _over_last(g, x, axis)) is not None:
        yield op.LayerNormalization(x, scale, axis=axis - x.rank, epsilon=e)
    elif axis == 2 and (scale := _over_channels(g, x)) is not None:
        yield op.InstanceNormalization(x, scale, np.zeros(scale.shape, np.float32), epsilon=e)
    return "the scale varies over other axes, or the sizes are not known"


@rule
def normalization_as_line(x, a: Ints, b: Ints, c: Ints, eps: Const, g: Const, h: Const):
    """x * k + (h - mean * k) with k = g / sqrt(variance + eps) is a layer normalization."""
    mean = op.ReduceMean(x, axes=a)
    d = x - op.ReduceMean(x, axes=b)
    v = op.ReduceMean(any_of(d * d, d**2), axes=c) + eps
    k = any_of(op.Reciprocal(op.Sqrt(v)), 1 / op.Sqrt(v)) * g
    yield any_of(x * k + (h - mean * k), x * k - mean * k + h)
    axis, e = _first_axis(x, a, b, c), scalar(eps, x)
    if isinstance(axis, str):
        return axis
    if e is None or x.dtype not in SINGLE:
        return "epsilon is not a single number of single precision"
    scale, bias = _over_last(g, x, axis), _over_last(h, x, axis)
    if scale is None or bias is None:
        return "scale or bias varies over other axes, or the sizes are not known"
    yield op.LayerNormalization(x, scale, bias, axis=axis - x.rank, epsilon=e)


@rule
def rms_normalization(x, a: Ints, eps: Const):
    """x / sqrt(mean square + eps) is an RMS normalization."""
    v = op.ReduceMean(any_of(x**2, x * x), axes=a) + eps
    yield any_of(x / op.Sqrt(v), x / v**0.5, x * _inverse(v))
    axis, e = _first_axis(x, a), scalar(eps, x)
    if isinstance(axis, str):
        return axis
    if e is None or x.dtype not in SINGLE:
        return "epsilon is not a single number of single precision"
    sizes = _sizes(x, axis)
    if sizes is None or prod(sizes) > _ONES:
        return "the sizes are not known, or too large for a scale of ones"
    yield op.RMSNormalization(x, _typed(np.ones(sizes), x.dtype), axis=axis - x.rank, epsilon=e)


@rule
def rms_normalization_scaled(x, a: Ints, eps: Const, g: Const):
    """An RMS normalization whose scale is multiplied to 1 / sqrt(mean square + eps)."""
    v = op.ReduceMean(any_of(x**2, x * x), axes=a) + eps
    yield any_of(x * (_inverse(v) * g), x * (g / op.Sqrt(v)))
    axis, e = _first_axis(x, a), scalar(eps, x)
    if isinstance(axis, str):
        return axis
    if e is None or x.dtype not in SINGLE:
        return "epsilon is not a single number of single precision"
    scale = _over_last(g, x, axis)
    if scale is None:
        return "the scale varies over other axes, or the sizes are not known"
    yield op.RMSNormalization(x, _typed(scale, x.dtype), axis=axis - x.rank, epsilon=e)


@rule
def instance_normalization_of_reshaped(
    x, first, s: Const, b: Const, n: Filled[1], axis: Int, eps: Float, last, p: Maybe[Int], q: Maybe[Int]
):
    """An instance normalization, or a layer normalization over the same elements, needs no shape of its own."""
    inner = op.Reshape(x, first, allowzero=p)
    instance = op.InstanceNormalization(inner, s, b, epsilon=eps)
    layer = op.LayerNormalization(inner, n, axis=axis, epsilon=eps)
    y = op.Reshape(any_of(instance, layer), last, allowzero=q)
    yield y
    channels = _channels(x)
    if channels is None or not inner.rank or x.dtype not in SINGLE:
        return "ranks, the number of channels or the dtype are not known"
    start = 2 if n is None else axis % inner.rank
    if not same_shape((_product_of(x.shape[2:]),), (_product_of(inner.shape[start:]),)):
        return "not the elements of one channel, or not known to be these"
    if not same_shape(x.shape, y.shape):
        return "reshaped too, or not known not to be"
    if n is not None:
        scale, bias = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    elif s.size == channels:
        scale, bias = np.asarray(s), np.asarray(b)
    elif s.size and _alike(s) and _alike(b):
        scale, bias = (np.full(channels, np.asarray(k).flat[0]) for k in (s, b))
    else:
        return "the scale varies over other channels"
    yield op.InstanceNormalization(x, scale, bias, epsilon=eps)


def _product_of(dims: Shape) -> Any:
    """How many elements a tensor of this shape has."""
    return reduce(mul, dims, 1)


def _alike(c: Const) -> bool:
    """Whether all elements of a constant are the same number."""
    return bool((np.asarray(c) == np.asarray(c).flat[0]).all())


# ------------------------------------------------------------------------------------------- what follows moves into it
@rule
def layer_normalization_scale(x, s: Const, b: Maybe[Const], g: Const, attrs: Attrs):
    """A factor behind a layer normalization belongs to its scale."""
    yield op.LayerNormalization(x, s, b, **attrs) * g
    if not x.rank:
        return "the rank is not known"
    axis = attrs["axis"] % x.rank
    old, new = _over_last(s, x, axis), _over_last(g, x, axis)
    bias = None if b is None else _over_last(b, x, axis)
    if old is None or new is None or (b is not None and bias is None):
        return "the factor varies over other axes, or the sizes are not known"
    yield op.LayerNormalization(x, old * new, None if b is None else bias * new, **attrs)


@rule
def layer_normalization_by_channel(x, s: Filled[1], g: Const, axis: Int, eps: Float):
    """A factor per channel behind a layer normalization over axes 2 and up makes it an instance normalization."""
    yield op.LayerNormalization(x, s, axis=axis, epsilon=eps) * g
    if x.rank is None or axis not in (2, 2 - x.rank):
        return "not known to go over axes 2 and up"
    k = _over_channels(g, x)
    if k is None or g.size == 1 or x.dtype not in SINGLE:
        return "the factor does not vary over channels alone"
    yield op.InstanceNormalization(x, k, np.zeros(k.shape, np.float32), epsilon=eps)


@rule
def layer_normalization_bias(x, s, b: Maybe[Const], c: Const, attrs: Attrs):
    """A summand behind a layer normalization belongs to its bias."""
    yield op.LayerNormalization(x, s, b, **attrs) + c
    if not x.rank:
        return "the rank is not known"
    axis = attrs["axis"] % x.rank
    new, old = _over_last(c, x, axis), None if b is None else _over_last(b, x, axis)
    if new is None or (b is not None and old is None):
        return "the summand varies over other axes, or the sizes are not known"
    yield op.LayerNormalization(x, s, new if b is None else old + new, **attrs)


@rule
def rms_normalization_scale(x, s: Const, g: Const, attrs: Attrs):
    """A factor behind an RMS normalization belongs to its scale."""
    yield op.RMSNormalization(x, s, **attrs) * g
    if not x.rank:
        return "the rank is not known"
    axis = attrs["axis"] % x.rank
    scale = _product(_over_last(s, x, axis), _over_last(g, x, axis), s.onnx_dtype)
    if scale is None:
        return "the factor varies over other axes, the sizes are not known, or the scale overflows"
    yield op.RMSNormalization(x, scale, **attrs)


@rule
def layer_normalization_takes_scale(x, s: Filled[1], g, attrs: Attrs):
    """A factor of the normalized shape behind a layer normalization is its scale, computed or not."""
    yield op.LayerNormalization(x, s, **attrs) * g
    if not same_shape(g.shape, _normalized(x, attrs["axis"])):
        return "not known to be of the normalized shape"
    yield op.LayerNormalization(x, g, **attrs)


@rule
def layer_normalization_takes_bias(x, s, c, attrs: Attrs):
    """A summand of the normalized shape behind a layer normalization is its bias, computed or not."""
    yield op.LayerNormalization(x, s, **attrs) + c
    if not same_shape(c.shape, _normalized(x, attrs["axis"])):
        return "not known to be of the normalized shape"
    yield op.LayerNormalization(x, s, c, **attrs)


@rule
def rms_normalization_takes_scale(x, s: Filled[1], g, attrs: Attrs):
    """A factor of the normalized shape behind an RMS normalization is its scale, computed or not."""
    yield op.RMSNormalization(x, s, **attrs) * g
    if not same_shape(g.shape, _normalized(x, attrs["axis"])):
        return "not known to be of the normalized shape"
    yield op.RMSNormalization(x, g, **attrs)


@rule
def instance_normalization_scale(x, s: Const, b: Const, g: Const, eps: Float):
    """A factor behind an instance normalization belongs to its scale and bias."""
    yield op.InstanceNormalization(x, s, b, epsilon=eps) * g
    k = _over_channels(g, x)
    if k is None:
        return "the factor varies over other axes than the channels"
    yield op.InstanceNormalization(x, s * k, b * k, epsilon=eps)


@rule
def instance_normalization_by_position(x, s: Filled[1], b: Filled[0], g: Const, eps: Float):
    """A factor per position behind an instance normalization makes it a layer normalization over axes 2 and up."""
    yield op.InstanceNormalization(x, s, b, epsilon=eps) * g
    k = _over_last(g, x, 2)
    if k is None or g.size == 1:
        return "the factor does not vary over positions alone"
    yield op.LayerNormalization(x, k, axis=2 - x.rank, epsilon=eps)


@rule
def instance_normalization_bias(x, s, b: Const, c: Const, eps: Float):
    """A summand behind an instance normalization belongs to its bias."""
    yield op.InstanceNormalization(x, s, b, epsilon=eps) + c
    k = _over_channels(c, x)
    if k is None:
        return "the summand varies over other axes than the channels"
    yield op.InstanceNormalization(x, s, b + k, epsilon=eps)


@rule
def layer_normalization_casts(x, s: Const, b: Maybe[Const], attrs: Attrs, t: Int):
    """Layer normalization computes in float32 by itself."""
    yield op.Cast(op.LayerNormalization(op.Cast(x, to=_FLOAT), s, b, **attrs), to=t)
    if reason := _refuse_casts(x, t, attrs, s, b):
        return reason
    yield op.LayerNormalization(x, _typed(s, x.dtype), None if b is None else _typed(b, x.dtype), **attrs)


@rule
def rms_normalization_casts(x, s: Const, attrs: Attrs, t: Int):
    """RMS normalization computes in float32 by itself."""
    yield op.Cast(op.RMSNormalization(op.Cast(x, to=_FLOAT), s, **attrs), to=t)
    if reason := _refuse_casts(x, t, attrs, s):
        return reason
    if x.dtype != TensorProto.FLOAT16:
        return "runtimes have no kernel for this dtype"
    yield op.RMSNormalization(x, _typed(s, x.dtype), **attrs)


def _refuse_casts(x: Tensor, t: int, attrs: dict[str, Any], *constants: Const | None) -> str | None:
    """Why the casts around a normalization must stay, None where they can go."""
    if x.dtype not in (TensorProto.FLOAT16, TensorProto.BFLOAT16) or t != x.dtype:
        return "the casts do not go from a 16-bit float and back"
    if attrs["stash_type"] != _FLOAT:
        return "the normalization does not compute in float32"
    if not all(c is None or _fits(c, x.dtype) for c in constants):
        return "scale or bias would be rounded"
    return None
