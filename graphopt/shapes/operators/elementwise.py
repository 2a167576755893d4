"""Operators that work element by element, with and without broadcasting."""

from __future__ import annotations

from onnx import TensorProto

from graphopt.shapes.registry import infers
from graphopt.shapes.site import Site
from graphopt.shapes.types import TypeInfo, Unknown

#: One output, of the dtype and shape of the first input.
LIKE_FIRST = (
    "Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Ceil Celu Clip Cos Cosh CumProd CumSum Elu Erf Exp Floor Gelu "
    "HardSigmoid HardSwish Hardmax LeakyRelu Log LogSoftmax Mish Neg Not PRelu Reciprocal Relu Round Selu Shrink Sigmoid "
    "Sign Sin Sinh Softmax Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu Trilu"
).split()
#: One output, of the first input's dtype and the inputs' broadcast shape.
BROADCAST = "Add BitShift BitwiseAnd BitwiseOr BitwiseXor Div Max Mean Min Mod Mul Pow Sub Sum".split()
#: The same with a truth value.
COMPARISON = "And Equal Greater GreaterOrEqual Less LessOrEqual Or Xor".split()
#: Operators that broadcast one way only, by their attributes `broadcast` and `axis`, before opset 7.
_LIMITED = "Add And Div Equal Greater Less Mul Or Pow Sub Xor".split()


@infers(*LIKE_FIRST)
def like_first(node: Site) -> TypeInfo:
    """The type of the first input."""
    v = node.inputs[0]
    if v is None:
        raise Unknown("the input is left out")
    return TypeInfo(v.dtype, v.shape, v.type)


@infers("IsInf", "IsNaN")
def truth_like_first(node: Site) -> TypeInfo:
    """A truth value for each element."""
    return TypeInfo(TensorProto.BOOL, node.shape(0))


@infers(*BROADCAST)
def broadcasting(node: Site) -> TypeInfo:
    """All inputs broadcast together."""
    inputs = node.inputs
    a = inputs[0]
    if a is None:
        raise Unknown("the first input is left out")
    shape = a.shape
    for b in inputs[1:]:
        if b is not None and b.shape != shape:
            shape = node.broadcast(shape, b.shape)
        elif shape is None:
            break
    return TypeInfo(a.dtype, shape)


@infers(*COMPARISON)
def comparison(node: Site) -> TypeInfo:
    """A truth value for each element of the inputs, broadcast together."""
    return TypeInfo(TensorProto.BOOL, node.broadcast(node.shape(0), node.shape(1)))


def _limited(node: Site, dtype: int) -> TypeInfo:
    """Before opset 7 the second input broadcasts into the first, which has the shape of the result."""
    if not node.attribute("broadcast", 0) and node.shape(0) is not None and node.shape(1) is not None:
        a, b = node.needed(0), node.needed(1)
        if len(a) != len(b):
            raise ValueError(f"{node.op_type} does not broadcast {b} to {a} at this opset")
        return TypeInfo(dtype, tuple([node.equate(p, q) for p, q in zip(a, b, strict=True)]))
    return TypeInfo(dtype, node.shape(0))


@infers(*(op for op in _LIMITED if op in BROADCAST))
def limited(node: Site) -> TypeInfo:
    """The first input's type."""
    return _limited(node, node.dtype(0))


@infers(*(op for op in _LIMITED if op in COMPARISON))
def limited_comparison(node: Site) -> TypeInfo:
    """A truth value for each element of the first input."""
    return _limited(node, TensorProto.BOOL)


infers(*(op for op in _LIMITED if op in BROADCAST), since=7)(broadcasting)
infers(*(op for op in _LIMITED if op in COMPARISON), since=7)(comparison)


@infers("Max", "Min", "Mean", "Sum")
def equal_shapes(node: Site) -> TypeInfo:
    """Before opset 8 all inputs have one shape."""
    shape = node.shape(0)
    for i in range(1, len(node.inputs)):
        other = node.shape(i)
        if shape is None:
            shape = other
        elif other is not None:
            if len(other) != len(shape):
                raise ValueError(f"{node.op_type} does not broadcast {other} and {shape} at this opset")
            shape = tuple([node.equate(p, q) for p, q in zip(shape, other, strict=True)])
    return TypeInfo(node.dtype(0), shape)


infers("Max", "Min", "Mean", "Sum", since=8)(broadcasting)


@infers("Where")
def where(node: Site) -> TypeInfo:
    """Condition and choices broadcast together; the dtype is that of the choices."""
    return TypeInfo(node.dtype(1) or node.dtype(2), node.broadcast(node.shape(0), node.shape(1), node.shape(2)))


@infers("Cast")
def cast(node: Site) -> TypeInfo:
    """The dtype that the attribute names."""
    to = node.attribute("to", 0)
    if isinstance(to, str):  # before opset 6
        to = TensorProto.DataType.Value(to.upper())
    return TypeInfo(int(to), node.shape(0))


@infers("BitCast")
def bit_cast(node: Site) -> TypeInfo:
    """The dtype that the attribute names; elements keep their size."""
    return TypeInfo(int(node.attribute("to", 0)), node.shape(0))


@infers("CastLike")
def cast_like(node: Site) -> TypeInfo:
    """The dtype of the second input."""
    return TypeInfo(node.dtype(1), node.shape(0))


@infers("Identity")
def identity(node: Site) -> TypeInfo:
    """Whatever comes in."""
    return node.like(0)


@infers("Dropout")
def dropout(node: Site) -> list[TypeInfo]:
    """The input, and a mask: of its dtype before opset 10, a truth value since."""
    mask = TensorProto.BOOL if node.version >= 10 else node.dtype(0)
    return [node.like(0), TypeInfo(mask, node.shape(0))]


@infers("SwiGLU")
def swiglu(node: Site) -> TypeInfo:
    """Gate and value have one shape."""
    a, b = node.shape(0), node.shape(1)
    if a is None or b is None or len(a) != len(b):
        return TypeInfo(node.dtype(0), b if a is None else a)
    return TypeInfo(node.dtype(0), tuple([node.equate(p, q) for p, q in zip(a, b, strict=True)]))
