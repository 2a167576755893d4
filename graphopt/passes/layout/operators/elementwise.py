"""Operators that work element by element: operands are laid alike, constants are laid out anew."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from graphopt.ir import Tensor
from graphopt.passes.layout.form import Form, Site, lays
from graphopt.passes.layout.permutations import Perm

#: Their first input is an image, the others, if any, are numbers for all of its elements.
UNARY = (
    "Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Cast CastLike Ceil Celu Clip Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid "
    "HardSwish Identity IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh "
    "Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu"
).split()
#: All inputs are broadcast together.
BROADCAST = (
    "Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or "
    "PRelu Pow Sub Sum Where Xor"
).split()


@lays(*UNARY)
def unary(site: Site, perm: Perm) -> Form | None:
    """As it is."""
    return Form({0: perm}, {0: perm})


@lays(*BROADCAST)
def broadcasting(site: Site, perm: Perm) -> Form | None:
    """Constants with the dims that they are broadcast with; other operands have all dims, or one element."""
    rank = len(perm)
    if site.result is None or len(site.result) != rank:
        return None
    reads: dict[int, Perm] = {}
    inputs = {}
    for i, v in enumerate(site.node.inputs):
        if v is None or v.shape is None or len(v.shape) > rank:
            return None
        if v.const is not None:
            if v.const.size != 1:
                if v.dtype == TensorProto.STRING:
                    return None
                inputs[i] = _laid(v.const, perm)
        elif len(v.shape) == rank:
            reads[i] = perm
        elif any(d != 1 for d in v.shape):
            return None
    return Form(reads, {0: perm}, inputs=inputs)


def _laid(c: Tensor, perm: Perm) -> np.ndarray:
    """A constant for operands that are laid so."""
    full = c.numpy().reshape((1,) * (len(perm) - len(c.dims)) + tuple(c.dims))
    return np.ascontiguousarray(np.transpose(full, perm))


@lays("QuantizeLinear", "DequantizeLinear", since=10)
def quantized(site: Site, perm: Perm) -> Form | None:
    """By one scale, or one for each index along an axis."""
    scale = site.shape(1)
    if scale is None or len(scale) > 1 or site.attribute("block_size", 0):
        return None
    if scale in ((), (1,)) and "axis" not in site.node.attributes:
        return Form({0: perm}, {0: perm})
    axis = site.attribute("axis", 1)
    return Form({0: perm}, {0: perm}, {"axis": perm.index(axis % len(perm))})
