"""Wrong kernels, as people write them: each must be caught by the cases of its operator.

A row: operator, what is wrong, and what makes the wrong kernel of the right one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Function = Callable[..., Any]
Bug = Callable[[Function], Function]


def ignoring(*attributes: str) -> Bug:
    """Attributes are not looked at."""
    return lambda f: lambda xp, *x, **a: f(xp, *x, **{k: v for k, v in a.items() if k not in attributes})


def changing(attribute: str, change: Callable[[Any], Any]) -> Bug:
    """An attribute is read wrongly, where it is given."""
    return lambda f: lambda xp, *x, **a: f(xp, *x, **{k: change(v) if k == attribute else v for k, v in a.items()})


def leaving_out(position: int) -> Bug:
    """An optional input is not looked at."""
    return lambda f: lambda xp, *x, **a: f(xp, *[v if i != position else None for i, v in enumerate(x)], **a)


def reading(position: int, change: Callable[[Any], Any]) -> Bug:
    """An input is read wrongly."""
    return lambda f: lambda xp, *x, **a: f(xp, *[change(v) if i == position else v for i, v in enumerate(x)], **a)


def giving(change: Callable[[Any], Any]) -> Bug:
    """The result is wrong."""

    def bug(f: Function) -> Function:
        def wrong(xp: Any, *x: Any, **a: Any) -> Any:
            y = f(xp, *x, **a)
            return (change(y[0]), *y[1:]) if isinstance(y, tuple) else change(y)

        return wrong

    return bug


def swapped(f: Function) -> Function:
    """The first two inputs have changed places."""
    return lambda xp, a, b, *x, **attributes: f(xp, b, a, *x, **attributes)


def _later(pads: list[int]) -> list[int]:
    """One row more in front, one less behind."""
    half = len(pads) // 2
    return [p + 1 for p in pads[:half]] + [p - 1 for p in pads[half:]]


def _ends_later(v: Any) -> Any:
    return v + 1


PLANTED: list[tuple[str, str, Bug]] = [
    ("Sub", "operands swapped", swapped),
    (
        "Div",
        "rounds toward minus infinity instead of zero",
        lambda f: lambda xp, a, b: a // b if a.dtype.kind in "iu" else f(xp, a, b),
    ),
    ("Mod", "fmod is ignored", ignoring("fmod")),
    ("Pow", "operands swapped", swapped),
    ("Gemm", "transB is ignored", ignoring("transB")),
    ("Gemm", "beta is ignored", ignoring("beta")),
    ("Conv", "strides are ignored", ignoring("strides")),
    ("Conv", "padding off by one", changing("pads", _later)),
    ("Conv", "auto_pad is ignored", ignoring("auto_pad")),
    ("ConvTranspose", "output_padding is ignored", ignoring("output_padding")),
    ("MaxPool", "dilations are ignored", ignoring("dilations")),
    ("MaxPool", "ceil_mode is ignored", ignoring("ceil_mode")),
    ("AveragePool", "count_include_pad is ignored", ignoring("count_include_pad")),
    ("Softmax", "over the last axis whatever axis says", ignoring("axis")),
    ("LogSoftmax", "the logarithm is forgotten", giving(np.exp)),
    ("LayerNormalization", "epsilon is ignored", changing("epsilon", lambda v: 0.0)),
    (
        "BatchNormalization",
        "mean and variance swapped",
        lambda f: lambda xp, x, s, b, m, v, **a: f(xp, x, s, b, v, m, **a),
    ),
    ("InstanceNormalization", "bias is forgotten", reading(2, np.zeros_like)),
    ("ReduceSum", "keepdims is ignored", ignoring("keepdims")),
    ("ReduceSum", "noop_with_empty_axes is ignored", ignoring("noop_with_empty_axes")),
    ("ArgMax", "select_last_index is ignored", ignoring("select_last_index")),
    ("CumSum", "exclusive is ignored", ignoring("exclusive")),
    ("Transpose", "perm is ignored", ignoring("perm")),
    ("Concat", "along the first axis whatever axis says", changing("axis", lambda v: 0)),
    ("Slice", "ends off by one", reading(2, _ends_later)),
    ("Gather", "negative indices clamped", reading(1, lambda v: np.maximum(v, 0))),
    ("ScatterElements", "reduction is ignored", ignoring("reduction")),
    ("TopK", "smallest instead of largest", changing("largest", lambda v: 1)),
    ("Pad", "mode is ignored", ignoring("mode")),
    ("Resize", "coordinate_transformation_mode is ignored", ignoring("coordinate_transformation_mode")),
    ("DepthToSpace", "CRD taken for DCR", ignoring("mode")),
    ("LSTM", "peepholes are forgotten", leaving_out(7)),
    ("GRU", "bias is forgotten", leaving_out(3)),
    ("QuantizeLinear", "zero point is forgotten", reading(2, lambda v: None if v is None else np.zeros_like(v))),
    ("DequantizeLinear", "zero point is forgotten", leaving_out(2)),
    ("Attention", "the mask is forgotten", leaving_out(3)),
    ("Einsum", "operands swapped", swapped),
    ("Clip", "the upper bound is forgotten", leaving_out(2)),
    ("Where", "branches swapped", lambda f: lambda xp, c, a, b: f(xp, c, b, a)),
    ("Unique", "sorted is ignored", ignoring("sorted")),
]
