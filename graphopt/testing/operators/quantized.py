"""Quantized tensors, and products of them."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from graphopt.testing.building.builder import Invalid
from graphopt.testing.operators.registry import operands
from graphopt.testing.operators.site import Shape, Site
from graphopt.testing.operators.windows import convolution
from graphopt.testing.values import array as draw_array
from graphopt.testing.values import np_dtype

_REAL = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16})
_BYTES = frozenset({TensorProto.UINT8, TensorProto.INT8})
#: Int32 is for what products add up to: its zero point is 0.
_LEVELS = _BYTES | {TensorProto.INT16, TensorProto.INT32}


@operands("QuantizeLinear", carries=(0,), dtypes={0: _REAL, 1: _REAL, 2: _BYTES | {TensorProto.INT16}})
def quantize(s: Site) -> None:
    s.operand(0, s.new_shape(0))
    x = s.shape(0)
    if x is None:
        raise Invalid("a sequence cannot be quantized")
    scale(s, 1, 2, _granularity(s, x))
    if not s.wants(2) and "output_dtype" in s.schema.attributes:
        s.integer("output_dtype", [TensorProto.UINT8, TensorProto.INT8], 0)


@operands("DequantizeLinear", carries=(0,), dtypes={0: _LEVELS, 1: _REAL})
def dequantize(s: Site) -> None:
    s.operand(0, s.new_shape(0))
    x = s.shape(0)
    if x is None:
        raise Invalid("a sequence cannot be dequantized")
    scale(s, 1, 2, _granularity(s, x))


def scale(s: Site, factor: int, zero: int, shape: Shape = (), result: bool = False) -> None:
    """A scale and a zero point of this shape. `result`: they are that of a result, of which nothing lies between two levels."""
    if result:  # else it would be up to rounding, of which runtimes do more or less on the way, which of them it is
        s.operand(factor, shape, array=draw_array(s.choices, np.float32, shape, "positive") * np.float32(1.0137))
    s.operand(factor, shape, "positive")
    known = s.shape(factor)
    wide = s.wants(zero) and s.dtype(zero) == TensorProto.INT32
    s.operand(zero, known or (), array=np.zeros(known or (), np.int32) if wide else None)


def _granularity(s: Site, x: Shape) -> Shape:
    """The shape of a scale: one for all, one for each index along an axis, or one for each block along it."""
    known = s.shape(1)
    most = 1 if s.schema.since_version < 13 or len(x) < 2 else 2 if s.schema.since_version < 21 else 3
    kind = s.choices.integer(1, most) if known is None else 1 if known == () else 3 if len(known) > 1 else 2
    if kind == 1:
        return ()
    axis = s.axis(len(x), default=1)
    if kind == 2:
        return (x[axis],)
    size = s.parameter(
        "block_size", lambda: s.choices.one([b for b in (2, 1, 3, x[axis]) if b and x[axis] % b == 0] or [1]), 0
    )
    return (*x[:axis], x[axis] // size, *x[axis + 1 :]) if size else (x[axis],)


@operands("DynamicQuantizeLinear", carries=(0,))
def dynamic_quantize(s: Site) -> None:
    s.operand(0, s.new_shape(0, empty=False))


@operands("QLinearMatMul", ranks={0: (2, 3), 3: (2, 2)}, dtypes={0: _BYTES, 1: frozenset({TensorProto.FLOAT})})
def product(s: Site) -> None:
    a = s.shape(0) or s.new_shape(0, 2, 3, empty=False)
    s.operand(0, a)
    scale(s, 1, 2)
    b = s.shape(3) or (a[-1], s.dim())
    s.operand(3, b)
    scale(s, 4, 5, (b[-1],) if s.choices.chance(3) else ())
    scale(s, 6, 7, result=True)


@operands("QLinearConv", ranks={0: (3, 5), 3: (3, 5), 8: (1, 1)})
def quantized_conv(s: Site) -> None:
    w = convolution(s, 3, 8)
    if not w[0]:
        raise Invalid("without output channels it is the end of ONNX Runtime")
    scale(s, 1, 2)
    each = (w[0],) if s.choices.chance(2) else ()
    s.operand(4, each, "positive")
    zero = np_dtype(s.dtype(5))
    # zero points that differ between the channels, or are none in unsigned weights, are beyond some runtimes
    s.operand(5, each, array=np.zeros(each, zero) if zero == np.int8 else np.full(each, s.choices.integer(0, 5), zero))
    scale(s, 6, 7, result=True)


@operands("ConvInteger", ranks={0: (3, 5), 1: (3, 5)})
def conv_integer(s: Site) -> None:
    convolution(s, 1, None)
    s.operand(2, ())
    s.operand(3, ())
