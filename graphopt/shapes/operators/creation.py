"""Operators that make tensors: constants, ranges, random numbers, windows, and the shapes of others as tensors.

Their types only: the elements of shapes, sizes and ranges are computed where all elements are.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from onnx import TensorProto

from graphopt.ir import Dim
from graphopt.shapes.dims import add, as_size, ceildiv, floor, floordiv, maximum, sub
from graphopt.shapes.registry import infers
from graphopt.shapes.site import FLOATS, Site
from graphopt.shapes.types import TypeInfo, Unknown

#: Attributes of Constant that hold the elements themselves, one of them or a row.
_PLAIN = {
    "value_float": TensorProto.FLOAT,
    "value_floats": TensorProto.FLOAT,
    "value_int": TensorProto.INT64,
    "value_ints": TensorProto.INT64,
    "value_string": TensorProto.STRING,
    "value_strings": TensorProto.STRING,
}


# ------------------------------------------------------------------------------------------------------------ constants
@infers("Constant")
def constant(node: Site) -> TypeInfo:
    """Where the value is no plain tensor: it comes from the call of a function, or is sparse."""
    if (t := node.attribute("value")) is not None:
        return TypeInfo(t.dtype, tuple(t.dims))
    if (sparse := node.attribute("sparse_value")) is not None:
        return TypeInfo(sparse.values.data_type, tuple(sparse.dims))
    for name, dtype in _PLAIN.items():
        if (value := node.attribute(name)) is not None:
            return TypeInfo(dtype, (len(value),) if name.endswith("s") else ())
    raise Unknown("the constant has no value")


@infers("ConstantOfShape")
def constant_of_shape(node: Site) -> TypeInfo:
    """The shape that is given, filled with one element: 0 of float32 where none is given."""
    t = node.attribute("value")
    dtype = TensorProto.FLOAT if t is None else t.dtype
    if node.rank(0) not in (None, 1):
        raise ValueError(f"ConstantOfShape: the shape is a tensor of {node.rank(0)} dims")
    wanted = node.numbers(0)
    if wanted is None:
        return TypeInfo(dtype, None)
    if any(isinstance(d, int) and d < 0 for d in wanted):
        raise ValueError(f"ConstantOfShape: {wanted} is no shape")
    return TypeInfo(dtype, node.or_fresh(map(as_size, wanted)))


@infers("Range")
def range_(node: Site) -> TypeInfo:
    """As many numbers as there are steps from the start to before the limit."""
    dtype = node.dtype(0) or node.dtype(1) or node.dtype(2)
    start, limit, delta = (node.element(i) for i in range(3))
    if delta == 0:
        raise ValueError("Range: the step is 0")
    if dtype in FLOATS:
        count = _float_steps(start, limit, delta, dtype)
    elif isinstance(delta, int):
        distance = sub(limit, start) if delta > 0 else sub(start, limit)
        count = maximum(ceildiv(distance, abs(delta)), 0)
    else:
        count = None
    return TypeInfo(dtype, node.or_fresh((count,)))


def _float_steps(start: Dim, limit: Dim, delta: Dim, dtype: int) -> Dim:
    """The number of steps between floats; None where it depends on when a runtime rounds: 0.6 / 0.1 is 6 or just above."""
    if isinstance(start, int) and isinstance(delta, int) and delta and not isinstance(limit, (int, Fraction)):
        # floats hold dims exactly
        return maximum(ceildiv(sub(limit, start), delta), 0) if delta > 0 and floor(limit) == limit else None
    if not all(isinstance(d, (int, Fraction)) for d in (start, limit, delta)):
        return None
    a, b, d = float(start), float(limit), float(delta)
    quotients = {(b - a) / d}
    if dtype == TensorProto.FLOAT:
        narrow = np.float32(b) - np.float32(a)
        quotients |= {float(narrow) / d, float(narrow / np.float32(d))}
    counts = {math.ceil(q) for q in quotients if math.isfinite(q)}
    return max(counts.pop(), 0) if len(counts) == 1 else None


# ---------------------------------------------------------------------------------------------- as large as another one
@infers("EyeLike", "Bernoulli", "RandomNormalLike", "RandomUniformLike")
def shaped_like(node: Site) -> TypeInfo:
    """The shape of the input, and its dtype where none is given."""
    shape = node.shape(0)
    if node.op_type == "EyeLike":
        if shape is None:
            shape = node.unknown_dims(2)
        elif len(shape) != 2:
            raise ValueError(f"EyeLike takes 2 dims, not {len(shape)}")
    return TypeInfo(int(node.attribute("dtype") or node.dtype(0)), shape)


@infers("RandomNormal", "RandomUniform")
def random(node: Site) -> TypeInfo:
    """The shape and dtype of the attributes."""
    return TypeInfo(int(node.attribute("dtype", TensorProto.FLOAT)), tuple(node.attribute("shape")))


@infers("Multinomial")
def multinomial(node: Site) -> TypeInfo:
    """[batch, classes] -> [batch, samples]"""
    x = node.shape(0)
    if x is not None and len(x) != 2:
        raise ValueError(f"Multinomial takes 2 dims, not {len(x)}")
    samples = int(node.attribute("sample_size", 1))
    return TypeInfo(int(node.attribute("dtype", TensorProto.INT32)), (node.fresh() if x is None else x[0], samples))


# -------------------------------------------------------------------------------------------------------------- windows
@infers("BlackmanWindow", "HammingWindow", "HannWindow")
def window(node: Site) -> TypeInfo:
    """A row of the size that is given."""
    dtype = int(node.attribute("output_datatype", TensorProto.FLOAT))
    return TypeInfo(dtype, node.or_fresh((as_size(node.element(0)),)))


@infers("MelWeightMatrix")
def mel_weights(node: Site) -> TypeInfo:
    """A row for each frequency that a one-sided transform gives, a column for each band."""
    dtype = int(node.attribute("output_datatype", TensorProto.FLOAT))
    return TypeInfo(dtype, node.or_fresh((bins(as_size(node.element(1))), as_size(node.element(0)))))


def bins(length: Dim) -> Dim:
    """The number of frequencies that a one-sided Fourier transform of real numbers gives."""
    return add(floordiv(length, 2), 1)


# ------------------------------------------------------------------------------------------------- shapes of other ones
@infers("Shape")
def shape(node: Site) -> TypeInfo:
    """A number for each dim, or for those from `start` to before `end`."""
    x = node.shape(0)
    if x is None:
        return TypeInfo(TensorProto.INT64, node.unknown_dims(1))
    part = x[slice(node.attribute("start", 0), node.attribute("end"))]
    return TypeInfo(TensorProto.INT64, (len(part),))


@infers("Size")
def size(node: Site) -> TypeInfo:
    """One number."""
    return TypeInfo(TensorProto.INT64, ())
