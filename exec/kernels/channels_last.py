"""Image operators on [N, D..., C] instead of [N, C, D...]: what a layout pass writes.

They are no operators of the standard. A model that uses them brings each as a model-local function, whose body is the
standard's operator between two Transposes (`graphopt.exec.channels_last`), so that every runtime can run it; here they have
kernels. Their names end in the number of spatial dims: 'Conv2d', 'MaxPool1d'. Weights and parameters stay as they are.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphopt.exec.kernels import convolution, image, normalization, pooling, quantized_linear
from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.convolution import kernel_windows
from graphopt.exec.kernels.pooling import is_all, window_counts
from graphopt.exec.kernels.registry import Array, kernel
from graphopt.exec.kernels.windows import padded_last, windows

DOMAIN = "graphopt.channels_last"
#: Operators that have such a form, with the kernel of the standard's newest version.
OPERATORS: dict[str, Callable[..., Any]] = {
    "Conv": convolution.conv,
    "ConvTranspose": convolution.conv_transpose,
    "ConvInteger": quantized_linear.conv_integer,
    "QLinearConv": quantized_linear.qlinear_conv,
    "MaxPool": pooling.max_pool,
    "AveragePool": pooling.average_pool,
    "LpPool": pooling.lp_pool,
    "GlobalMaxPool": pooling.global_max_pool,
    "GlobalAveragePool": pooling.global_average_pool,
    "GlobalLpPool": pooling.global_lp_pool,
    "BatchNormalization": normalization.batch_normalization,
    "InstanceNormalization": normalization.instance_normalization,
    "GroupNormalization": normalization.group_normalization,
    "LRN": normalization.local_response_normalization,
    "DepthToSpace": image.depth_to_space,
    "SpaceToDepth": image.space_to_depth,
}
#: Operators that have another form in training mode, where they have more outputs: 'BatchNormalizationTraining2d'.
TRAINING: dict[str, Callable[..., Any]] = {"BatchNormalization": normalization.batch_normalization_training_last}
#: Those that are about pictures only.
_FLAT = frozenset({"DepthToSpace", "LRN", "SpaceToDepth"})


def dims_of(op: str) -> tuple[int, ...]:
    """The numbers of spatial dims for which an operator has a form."""
    return (2,) if op in _FLAT else (1, 2, 3)


def form_name(op: str, dims: int, training: bool = False) -> str:
    """How the form of an operator for so many spatial dims is called; `training`: that of its training mode."""
    return f"{op}{'Training' if training else ''}{dims}d"


def to_first(rank: int) -> tuple[int, ...]:
    """The permutation from channels last to channels first."""
    return (0, rank - 1, *range(1, rank - 1))


def to_last(rank: int) -> tuple[int, ...]:
    """The permutation from channels first to channels last."""
    return (0, *range(2, rank), 1)


def _between_transposes(standard: Callable[..., Any]) -> Callable[..., Any]:
    """The standard's kernel on a view with the channels in front; what it gives is seen with the channels behind."""

    @functools.wraps(standard)
    def apply(xp: Backend, x: Array, *others: Any, **attributes: Any) -> Any:
        y = standard(xp, xp.transpose(x, to_first(x.ndim)), *others, **attributes)
        y, *more = y if isinstance(y, tuple) else (y,)
        y = xp.transpose(y, to_last(y.ndim))
        return (y, *more) if more else y

    return apply


def _by_backend(standard: Callable[..., Any], traced: Callable[..., Any] | None) -> Callable[..., Any]:
    """Another kernel under a tracer, if there is one."""
    if traced is None:
        return standard

    @functools.wraps(standard)
    def apply(xp: Backend, *inputs: Any, **attributes: Any) -> Any:
        return (traced if xp.traces else standard)(xp, *inputs, **attributes)

    return apply


def conv(
    xp: Backend, x: Array, w: Array, b: Array | None = None, *, auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None, group: int = 1, kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None, strides: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    """Pixels are rows of channels: on NumPy a kernel of one element is one product with the weights, without a copy."""
    rank = x.ndim
    move = kernel_windows(xp.transpose(x, to_first(rank)), w, group, kernel_shape, strides, dilations, pads, auto_pad)
    if xp.traces or group > 1 or math.prod(move.kernel) > 1:
        return xp.convolve_channels_last(x, w, move.strides, move.dilations, move.pads, group, b)
    x = padded_last(xp, x, move.cover)[(slice(None), *next(move.offsets()))]
    y = xp.matmul(x.reshape(-1, x.shape[-1]), w.reshape(w.shape[:2]).T)
    if b is not None:
        y += b
    return y.reshape(*x.shape[:-1], w.shape[0])


def global_average_pool(xp: Backend, x: Array) -> Array:
    """A product with ones: XLA, which may compute a sum once for each reader, computes products once."""
    count = math.prod(x.shape[1:-1])
    if not count:
        return xp.full((x.shape[0], *[1] * (x.ndim - 2), x.shape[-1]), np.nan, dtype=x.dtype)
    y = xp.matmul(np.ones((1, count), x.dtype), x.reshape(x.shape[0], count, x.shape[-1])) / xp.number(count, x)
    return y.reshape(x.shape[0], *[1] * (x.ndim - 2), x.shape[-1])


def max_pool(
    xp: Backend, x: Array, *, kernel_shape: Sequence[int], auto_pad: str = "NOTSET", ceil_mode: int = 0,
    dilations: Sequence[int] | None = None, pads: Sequence[int] | None = None, storage_order: int = 0,
    strides: Sequence[int] | None = None, outputs: int = 1,
) -> Array:  # fmt: skip
    """Without Transposes around it, which XLA does not move through slices: the way back would take several times as long."""
    sizes = tuple(x.shape[1:-1])
    move = windows(sizes, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode, whole=False)
    if is_all(sizes, move):
        return xp.max(x, tuple(range(1, x.ndim - 1)), True)
    return xp.fold_windows(xp.maximum, x, move, xp.lowest(x.dtype), 1)


def average_pool(
    xp: Backend, x: Array, *, kernel_shape: Sequence[int], auto_pad: str = "NOTSET", ceil_mode: int = 0,
    count_include_pad: int = 0, dilations: Sequence[int] | None = None, pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    """As `max_pool`."""
    sizes = tuple(x.shape[1:-1])
    move = windows(sizes, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode, whole=False)
    if is_all(sizes, move):
        return global_average_pool(xp, x)
    counts = window_counts(move, sizes, bool(count_include_pad))
    return xp.fold_windows(xp.add, x, move, 0, 1) / xp.constant(counts[..., None] if counts.ndim else counts, x)


#: Forms with a kernel of their own; and what tracers see instead of the standard's between Transposes.
_OWN: dict[str, Callable[..., Any]] = {"Conv": conv}
_TRACED: dict[str, Callable[..., Any]] = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
}
#: As those of the standard's operators: these compute in float32 what is narrower, and the first ones are products.
_PRODUCTS = frozenset({"Conv", "ConvTranspose"})
_WIDE = frozenset(OPERATORS) - {"BatchNormalization", "ConvInteger", "DepthToSpace", "QLinearConv", "SpaceToDepth"}

for _op, _standard in OPERATORS.items():
    _function = _OWN.get(_op) or _by_backend(_between_transposes(_standard), _TRACED.get(_op))
    _names = [form_name(_op, n) for n in dims_of(_op)]
    kernel(*_names, domain=DOMAIN, wide=_op in _WIDE, products=_op in _PRODUCTS)(_function)
for _op, _function in TRAINING.items():
    kernel(*[form_name(_op, n, training=True) for n in dims_of(_op)], domain=DOMAIN)(_function)
