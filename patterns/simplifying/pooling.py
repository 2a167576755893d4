"""Pools: those that do nothing, those over everything, and padding in front."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphopt.patterns._elementwise import SINGLE
from graphopt.patterns._windows import added_pads, along, finite, unpadded
from graphopt.rewrite import Attrs, Const, Float, Ints, Maybe, Str, any_of, op, rule
from graphopt.shapes import is_static, same_dims


def _single(kernel: list[int], attrs: dict[str, Any]) -> bool:
    """Whether every window is one element, and every element one window."""
    return all(k == 1 for k in (*kernel, *(attrs.get("strides") or ()))) and unpadded(attrs, kernel)


@rule
def average_pool_of_one(x, kernel: Ints, a: Attrs):
    """The averages of single elements are the elements."""
    yield op.AveragePool(x, kernel_shape=kernel, **a)
    if not _single(kernel, a):
        return "windows of more than one element, strides or padding"
    yield x


@rule
def max_pool_of_one(x, kernel: Ints, a: Attrs):
    """The maxima of single elements are the elements."""
    yield op.MaxPool(x, kernel_shape=kernel, **a)
    if not _single(kernel, a):
        return "windows of more than one element, strides or padding"
    yield x


@rule
def global_average_of_one(x):
    """The average over single positions is the element there."""
    yield op.GlobalAveragePool(x)
    if not x.rank or any(d != 1 for d in x.shape[2:]):
        return "more than one position"
    yield x


@rule
def global_maximum_of_one(x):
    """The maximum over single positions is the element there."""
    yield op.GlobalMaxPool(x)
    if not x.rank or any(d != 1 for d in x.shape[2:]):
        return "more than one position"
    yield x


@rule
def average_pool_of_everything(x, kernel: Ints, a: Attrs):
    """One window over all positions is a global average."""
    y = op.AveragePool(x, kernel_shape=kernel, **a)
    yield y
    if not x.rank or list(x.shape[2:]) != kernel:
        return "not known to be one window over all positions"
    if not unpadded(a, kernel):
        return "padding"
    yield op.GlobalAveragePool(x)


@rule
def mean_over_positions(x, axes: Ints):
    """A mean over all axes behind the channels is a global average."""
    yield op.ReduceMean(x, axes=axes, keepdims=1)
    if x.rank is None or x.rank < 4:
        return "not an image"
    if sorted(a % x.rank for a in axes) != list(range(2, x.rank)):
        return "not all positions, or more"
    if x.dtype not in SINGLE:
        return "not a float that runtimes have pooling for"
    yield op.GlobalAveragePool(x)


@rule
def average_of_product(x, k: Const, a: Attrs):
    """A factor per channel may as well come after an average, where there is less to multiply."""
    pool = op.AveragePool(x * k, **a)
    yield any_of(pool, op.GlobalAveragePool(x * k))
    f = _per_channel(k, x)
    if f is None:
        return "not one finite factor per channel"
    yield (op.GlobalAveragePool(x) if pool.value is None else op.AveragePool(x, **a)) * k


@rule
def average_of_sum(x, c: Const, a: Attrs):
    """A shift per channel may as well come after an average of elements alone, where there is less to shift."""
    pool = op.AveragePool(x + c, **a)
    yield any_of(pool, op.GlobalAveragePool(x + c))
    if _per_channel(c, x) is None:
        return "not one finite shift per channel"
    if a.get("count_include_pad") or any(d != 1 for d in a.get("dilations") or ()):
        return "padding is not shifted, and a window of steps may see nothing else"
    yield (op.GlobalAveragePool(x) if pool.value is None else op.AveragePool(x, **a)) + c


def _per_channel(k: Any, x: Any) -> np.ndarray | None:
    """A constant beside `x` as one finite number per channel; None where it is none, or broadcasts `x` up."""
    if x.rank is None or x.rank < 2 or (k.size > 1 and not same_dims(x.shape[1], k.size)):
        return None
    f = along(k, 1, x.rank, k.size)
    return f if f is not None and finite(f) else None


@rule
def average_pool_of_pad(x, p: Ints, v: Maybe[Float], axes: Maybe[Ints], kernel: Ints, a: Attrs):
    """Zeros put around the input of an average are its own padding, where that counts."""
    yield op.AveragePool(op.Pad(x, pads=p, value=v, axes=axes, mode="constant"), kernel_shape=kernel, **a)
    if v:
        return "not padded with zeros"
    if any(a.get("pads") or ()) and not a.get("count_include_pad"):
        return "it has padding that does not count"
    pads = _window_pads(x, p, axes, kernel, a)
    if isinstance(pads, str):
        return pads
    more = {"auto_pad": "NOTSET", "pads": pads, "count_include_pad": 1}
    yield op.AveragePool(x, kernel_shape=kernel, **{**a, **more})


@rule
def max_pool_of_pad(x, p: Ints, v: Float, axes: Maybe[Ints], kernel: Ints, a: Attrs):
    """Negative infinity put around the input of a maximum is its own padding."""
    yield op.MaxPool(op.Pad(x, pads=p, value=v, axes=axes, mode="constant"), kernel_shape=kernel, **a)
    if v != -math.inf:
        return "not padded with negative infinity"
    pads = _window_pads(x, p, axes, kernel, a)
    if isinstance(pads, str):
        return pads
    yield op.MaxPool(x, kernel_shape=kernel, **{**a, "auto_pad": "NOTSET", "pads": pads})


@rule
def max_pool_of_zero_pad(
    x, low: Float, high: Maybe[Float], p: Ints, v: Maybe[Float], axes: Maybe[Ints], kernel: Ints, a: Attrs
):
    """Zeros put around the input of a maximum are its own padding, where the input is nowhere negative."""
    relu, sigmoid, clip = op.Relu(x), op.Sigmoid(x), op.Clip(x, min=low, max=high)
    pad = op.Pad(any_of(relu, sigmoid, clip), pads=p, value=v, axes=axes, mode="constant")
    yield op.MaxPool(pad, kernel_shape=kernel, **a)
    if v or any(b is not None and not b >= 0 for b in (low, high)):
        return "not padded with zeros, or not known to be nowhere negative"
    sizes = None if x.shape is None else x.shape[2:]
    if not is_static(sizes) or any(d != 1 for d in a.get("dilations") or ()):
        return "a window may see padding alone"
    pads = _window_pads(x, p, axes, kernel, a)
    if isinstance(pads, str):
        return pads
    inner = next(c for c in (relu, sigmoid, clip) if c.value is not None)
    yield op.MaxPool(inner, kernel_shape=kernel, **{**a, "auto_pad": "NOTSET", "pads": pads})


@rule(exact=True)
def max_pool_of_unread_pad(x, p: Ints, v: Maybe[Float], axes: Maybe[Ints], mode: Str, kernel: Ints, a: Attrs):
    """Rows that are put behind an image where no window reaches are not put there."""
    pad = op.Pad(x, pads=p, value=v, axes=axes, mode=mode)
    yield op.MaxPool(pad, kernel_shape=kernel, **a)
    if any(a.get("pads") or ()) or a.get("ceil_mode") or a.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return "windows reach over the border"
    rank = len(kernel) + 2
    where = list(range(rank)) if axes is None else [i % rank for i in axes]
    strides, dilations = (a.get(name) or [1] * len(kernel) for name in ("strides", "dilations"))
    pads = list(p)
    for k, axis in enumerate(where):
        size, end = pad.shape[axis] if pad.shape else None, p[len(where) + k]
        if axis < 2 or end <= 0 or not isinstance(size, int):
            continue
        extent = (kernel[axis - 2] - 1) * dilations[axis - 2] + 1
        pads[len(where) + k] -= min(end, (size - extent) % strides[axis - 2]) if size >= extent else 0
    if pads == p:
        return "windows reach everything that is put behind, or its size is not known"
    padded = op.Pad(x, pads=pads, value=v, axes=axes, mode=mode) if any(pads) else x
    yield op.MaxPool(padded, kernel_shape=kernel, **a)


def _window_pads(
    x: Any, pads: list[int], axes: list[int] | None, kernel: list[int], attrs: dict[str, Any]
) -> list[int] | str:
    """The pads of a pool after it has taken over those in front of it; why not, where it cannot.

    Images of unknown size are taken not to be empty: of nothing but padding both make the same, where a runtime takes it.
    """
    if 0 in (x.shape or ()):
        return "the image is empty"
    if attrs.get("ceil_mode"):
        return "ceil_mode lets windows hang over"
    all_pads = added_pads(pads, axes, len(kernel) + 2, attrs)
    if not isinstance(all_pads, str) and any(q >= k for q, k in zip(all_pads, kernel * 2, strict=True)):
        return "a window would lie in the padding"
    return all_pads
