"""Sums, products, roundings, casts and reductions of elements."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.ir import Dim
from graphopt.shapes import dims
from graphopt.shapes.elements.arrays import (
    Array,
    Inputs,
    array_of,
    in_range,
    is_number,
    map_known,
    static_sizes,
)
from graphopt.shapes.registry import computes
from graphopt.shapes.site import FLOATS, Site, all_axes, one_axis, plain_number
from graphopt.shapes.types import TypeInfo

_NUMPY: dict[int, Any] = {TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64}
#: The largest number that is added to or multiplied with a dim where rounding must not matter, and its reciprocal's limit.
_LARGEST_FACTOR = 1 << 12
#: The odd part of a factor: float32 holds the product with a dim below 2^18 exactly.
_MOST_DIGITS = 1 << 6


def _div(a: Dim, b: Dim) -> Dim:
    """Whole numbers: the quotient rounded towards 0."""
    if isinstance(a, int) and isinstance(b, int):
        return None if b == 0 else int(math.copysign(1, a) * math.copysign(1, b)) * (abs(a) // abs(b))
    if dims.divides(b, a):
        return dims.exact_div(a, b)
    if not isinstance(b, int) or b < 1:
        return dims.floordiv(a, b) if dims.less(a, 0) is False and dims.less(0, b) else None
    if dims.less(a, 0) is False:
        return dims.floordiv(a, b)
    # what lies between -b and 0 becomes 0, as a dim less 1 may
    return dims.floordiv(dims.maximum(a, 0), b) if dims.less(-b, a) else None


def _pow(a: Dim, b: Dim) -> Dim:
    if not isinstance(b, int) or not 0 <= b <= 8:
        return None
    return reduce(dims.mul, [a] * b, 1)


_WHOLE_OPERATIONS: dict[str, Callable[[Dim, Dim], Dim]] = {
    "Add": dims.add,
    "Sub": dims.sub,
    "Mul": dims.mul,
    "Div": _div,
    "Pow": _pow,
    "Min": dims.minimum,
    "Max": dims.maximum,
    "Sum": dims.add,
}
_FLOAT_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Min": np.minimum,
    "Max": np.maximum,
    "Sum": np.add,
}


def _whole_operation(op: str, dtype: int) -> Callable[[Dim, Dim], Dim]:
    """Whole numbers; what 32 bits may not hold is not known: dims multiplied with each other."""
    if dtype != TensorProto.INT32 or op not in ("Mul", "Pow"):
        return _WHOLE_OPERATIONS[op]

    def narrow(a: Dim, b: Dim) -> Dim:
        small = _is_short(a) if isinstance(a, int) else isinstance(b, int) and _is_short(b) and op == "Mul"
        return _WHOLE_OPERATIONS[op](a, b) if small or (isinstance(a, int) and isinstance(b, int)) else None

    return narrow


def _float_operation(op: str, dtype: int) -> Callable[[Dim, Dim], Dim]:
    """Floats: as the dtype computes where both are numbers; with a dim, where nothing is rounded."""

    def apply(a: Dim, b: Dim) -> Dim:
        if op == "Pow":
            return _exact(_pow(a, b), dtype) if is_number(a) else None
        if is_number(a) and is_number(b):
            kind = _NUMPY[dtype]
            with np.errstate(all="ignore"):
                return plain_number(float(_FLOAT_OPERATIONS[op](kind(float(a)), kind(float(b)))))
        if op in ("Add", "Sub", "Min", "Max", "Sum"):
            return _WHOLE_OPERATIONS[op](a, b) if _is_short(a) and _is_short(b) else None
        if op == "Mul":
            factor = a if is_number(a) else b
            return dims.mul(a, b) if is_number(factor) and _is_short(factor) and _has_few_digits(factor) else None
        if op == "Div" and isinstance(b, int) and 0 < b <= _LARGEST_FACTOR:
            if dims.divides(b, a):
                return dims.exact_div(a, b)
            return dims.mul(a, Fraction(1, b)) if b & (b - 1) == 0 else None
        return None

    return apply


def _exact(e: Dim, dtype: int) -> Dim:
    """A number that its dtype holds exactly, else None: runtimes round powers differently."""
    return e if e is not None and Fraction(float(_NUMPY[dtype](float(e)))) == e else None


def _is_short(e: Dim) -> bool:
    """Whether a number has so few digits that no product or sum with a dim is rounded."""
    if isinstance(e, int):
        return abs(e) <= _LARGEST_FACTOR
    if isinstance(e, Fraction):
        return abs(e.numerator) <= _LARGEST_FACTOR and e.denominator <= _LARGEST_FACTOR
    return True


def _has_few_digits(e: Dim) -> bool:
    """Whether the product of a number with a dim has no more digits than a float."""
    n = abs(Fraction(e).numerator)
    return n == 0 or n // (n & -n) <= _MOST_DIGITS


@computes(*_WHOLE_OPERATIONS)
def arithmetic(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Sums, products and the like."""
    known = [x for x in inputs if x is not None]
    if len(known) < len(inputs):
        return None
    op = node.op_type
    operation = _float_operation(op, out.dtype) if out.dtype in FLOATS else _whole_operation(op, out.dtype)
    result = known[0]
    for x in known[1:]:
        result = map_known(operation, result, x)
    return map_known(lambda e: in_range(e, out.dtype), result)


@computes("Mod")
def mod(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """The rest; it has the sign of the divisor, with `fmod` that of the dividend."""
    if inputs[0] is None or inputs[1] is None or out.dtype in FLOATS:
        return None
    if node.attribute("fmod", 0):
        return None
    return map_known(dims.mod, inputs[0], inputs[1])


def _abs(e: Dim) -> Dim:
    return abs(e) if is_number(e) else e if dims.less(e, 0) is False else None


def _sign(e: Dim) -> Dim:
    if is_number(e):
        return (e > 0) - (e < 0)
    return 1 if dims.less(0, e) else None


_UNARY: dict[str, Callable[[Dim], Dim]] = {
    "Neg": lambda e: dims.mul(-1, e),
    "Abs": _abs,
    "Sign": _sign,
    "Floor": dims.floor,
    "Ceil": dims.ceil,
}


@computes(*_UNARY)
def unary(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Functions of one element."""
    if inputs[0] is None:
        return None
    operation = _UNARY[node.op_type]
    return map_known(lambda e: in_range(operation(e), out.dtype), inputs[0])


@computes("Round", "Sqrt")
def rounded_unary(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Functions of one float that is a number, as its dtype computes them."""
    if inputs[0] is None or out.dtype not in FLOATS:
        return None
    function, kind = (np.rint if node.op_type == "Round" else np.sqrt), _NUMPY[out.dtype]
    with np.errstate(all="ignore"):
        return map_known(lambda e: plain_number(float(function(kind(float(e))))) if is_number(e) else None, inputs[0])


@computes("Cast", "CastLike")
def cast(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Another dtype: floats are rounded towards 0, truth values tell whether something is not 0."""
    if inputs[0] is None:
        return None

    def convert(e: Dim) -> Dim:
        if out.dtype == TensorProto.BOOL:
            answer = dims.same_dims(e, 0)
            return None if answer is None else int(not answer)
        if out.dtype in FLOATS:
            return plain_number(float(_NUMPY[out.dtype](float(e)))) if is_number(e) else e
        if is_number(e):
            return in_range(math.trunc(e), out.dtype)
        return dims.floor(e) if dims.less(e, 0) is False else e if node.dtype(0) not in FLOATS else None

    return map_known(convert, inputs[0])


# ----------------------------------------------------------------------------------------------------------- reductions
_REDUCTIONS: dict[str, Callable[[Dim, Dim], Dim]] = {
    "ReduceSum": dims.add,
    "ReduceProd": dims.mul,
    "ReduceMin": dims.minimum,
    "ReduceMax": dims.maximum,
}


@computes(*_REDUCTIONS)
def reduction(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Elements along axes put together."""
    x, sizes = inputs[0], static_sizes(out.shape)
    if x is None or sizes is None or not x.size or out.dtype in FLOATS:
        return None
    axes = node.ints("axes")
    if not axes and node.attribute("noop_with_empty_axes", 0):
        return x
    where = all_axes(axes or range(x.ndim), x.ndim)
    moved = np.moveaxis(x, where, range(len(where)))
    rows = moved.reshape(math.prod(moved.shape[: len(where)]), -1)
    operation = _REDUCTIONS[node.op_type]
    if node.op_type == "ReduceProd":
        operation = _whole_operation("Mul", out.dtype)
    combined = [in_range(reduce(operation, column), out.dtype) for column in rows.T]
    return array_of(combined, sizes) if len(combined) == math.prod(sizes) else None


@computes("CumSum")
def cumulative_sum(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Sums of all elements up to each."""
    x, axis = inputs[0], node.element(1)
    if x is None or x.ndim != 1 or not isinstance(axis, int) or out.dtype in FLOATS:
        return None
    one_axis(axis, 1)
    row = list(x[::-1] if node.attribute("reverse", 0) else x)
    sums: list[Dim] = [0]
    for e in row:
        sums.append(dims.add(sums[-1], e))
    sums = [in_range(e, out.dtype) for e in sums]
    chosen = sums[:-1] if node.attribute("exclusive", 0) else sums[1:]
    return array_of(chosen[::-1] if node.attribute("reverse", 0) else chosen)
