"""The elements of shape tensors: computed with dims where numbers are not known.

An array of elements holds ints, names, expressions, fractions (where the tensor holds floats), and None for what is not
known; truth values are 0 and 1. What would overflow its dtype, or be rounded when a session computes it, is not known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.ir import Dim, Tensor
from graphopt.shapes import dims
from graphopt.shapes.operators.movement import runtimes_differ
from graphopt.shapes.registry import computes
from graphopt.shapes.site import FLOATS, LARGEST_KNOWN, Site, all_axes, one_axis, plain_number
from graphopt.shapes.types import TypeInfo

Array = np.ndarray
Inputs = list["np.ndarray | None"]

_RANGES = {TensorProto.INT64: (-(1 << 63), (1 << 63) - 1), TensorProto.INT32: (-(1 << 31), (1 << 31) - 1)}
_NUMPY = {TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64}
#: Factors whose product with a dim below 2^12 float32 holds exactly.
_LARGEST_FACTOR = 1 << 12


def array_of(elements: Sequence[Dim], shape: Sequence[int] | None = None) -> Array:
    """An array of elements; without a shape, a vector."""
    out = np.empty(len(elements), object)
    out[:] = elements
    return out if shape is None else out.reshape(tuple(shape))


def _map(function: Callable[..., Dim], *arrays: Array) -> Array:
    """Apply a function to elements that broadcast; what is not known stays so."""

    def each(*elements: Dim) -> Dim:
        return None if None in elements else function(*elements)

    with np.errstate(all="ignore"):
        return np.asarray(np.frompyfunc(each, len(arrays), 1)(*arrays), object)


def _is_number(e: Dim) -> bool:
    return isinstance(e, (int, Fraction))


def _in_range(e: Dim, dtype: int) -> Dim:
    """An element, None where its dtype cannot hold it."""
    if isinstance(e, int) and dtype in _RANGES:
        low, high = _RANGES[dtype]
        return e if low <= e <= high else None
    return e


def _static(shape: Sequence[Dim] | None) -> list[int] | None:
    if shape is None:
        return None
    sizes = [d for d in shape if isinstance(d, int)]
    return sizes if len(sizes) == len(shape) and math.prod(sizes) <= LARGEST_KNOWN else None


# ------------------------------------------------------------------------------------------------------------ from types
@computes("Shape")
def shape(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """The dims of a tensor."""
    x = node.shape(0)
    if x is None:
        return None
    start, end = int(node.attribute("start", 0)), node.attribute("end")
    return array_of(x[start : None if end is None else int(end)])


@computes("Size")
def size(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """The product of the dims of a tensor."""
    x = node.shape(0)
    return None if x is None else array_of([dims.product(x)], ())


@computes("ConstantOfShape")
def constant_of_shape(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """One value everywhere."""
    sizes = _static(out.shape)
    value = node.attribute("value")
    if sizes is None:
        return None
    number = plain_number(value.item()) if isinstance(value, Tensor) else 0
    return array_of([number] * math.prod(sizes), sizes)


@computes("Range")
def range_(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Numbers in a row."""
    start, limit, delta = (node.element(i) for i in range(3))
    if not (isinstance(start, int) and isinstance(limit, int) and isinstance(delta, int) and delta):
        return None
    numbers = range(start, limit, delta)
    return array_of(list(numbers)) if len(numbers) <= LARGEST_KNOWN and out.dtype not in FLOATS else None


# ------------------------------------------------------------------------------------------------------------- movement
@computes("Identity")
def identity(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """The same elements."""
    return inputs[0]


@computes("Reshape", "Squeeze", "Unsqueeze", "Flatten")
def reshaped(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """The same elements in another shape."""
    x, sizes = inputs[0], _static(out.shape)
    return x.reshape(sizes) if x is not None and sizes is not None and x.size == math.prod(sizes) else None


@computes("Expand")
def expand(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Elements repeated along dims of 1."""
    x, sizes = inputs[0], _static(out.shape)
    return None if x is None or sizes is None else np.broadcast_to(x, sizes).copy()


@computes("Tile")
def tile(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Everything repeated."""
    x, repeats = inputs[0], node.numbers(1)
    if x is None or repeats is None or _static(out.shape) is None or not all(isinstance(r, int) for r in repeats):
        return None
    return np.tile(x, repeats) if len(repeats) == x.ndim else None


@computes("Transpose")
def transpose(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Another order of the dims."""
    return None if inputs[0] is None else np.transpose(inputs[0], node.attribute("perm"))


@computes("Concat")
def concat(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """One after the other; the elements of an input that is not known are not known."""
    parts = []
    for i, x in enumerate(inputs):
        if x is None:
            sizes = _static(node.shape(i))
            if sizes is None:
                return None
            x = array_of([None] * math.prod(sizes), sizes)
        parts.append(x)
    return np.concatenate(parts, axis=node.axis(parts[0].ndim, default=1))


@computes("Slice")
def slice_(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """A part."""
    x = inputs[0]
    if x is None:
        return None
    if node.version < 10:
        parameters = [node.attribute("starts"), node.attribute("ends"), node.attribute("axes"), None]
    else:
        parameters = [node.numbers(i) if node.has(i) else None for i in range(1, 5)]
        if any(p is None and node.has(i + 1) for i, p in enumerate(parameters)):
            return None
    if not all(isinstance(n, int) for p in parameters if p is not None for n in p):
        return None
    starts, ends, axes, steps = parameters
    where = all_axes(range(len(starts)) if axes is None else axes, x.ndim)
    index = [slice(None)] * x.ndim
    for a, start, end, step in zip(where, starts, ends, steps or [1] * len(where), strict=True):
        if step < 0 and runtimes_differ(start, end, x.shape[a]):
            return None
        stop = None if step < 0 and end <= -(1 << 31) + 1 else end
        index[a] = slice(start, stop, step)
    return np.asarray(x[tuple(index)], object)


@computes("Split")
def split(node: Site, inputs: Inputs, out: TypeInfo) -> list[Array] | None:
    """Parts in a row."""
    x = inputs[0]
    outputs = node.node.outputs
    if x is None or any(v is None for v in outputs):
        return None
    axis = node.axis(x.ndim)
    sizes = [v.shape[axis] if v is not None and v.shape is not None else None for v in outputs]
    if not all(isinstance(s, int) for s in sizes):
        return None
    return list(np.split(x, np.cumsum(sizes)[:-1].tolist(), axis=axis))


@computes("Gather")
def gather(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Elements by their index along an axis."""
    x, index = inputs[0], _whole_numbers(inputs[1])
    if x is None or index is None:
        return None
    axis = node.axis(x.ndim)
    n = x.shape[axis]
    if index.size and not (index.min() >= -n and index.max() < n):
        return None
    moved = np.moveaxis(x, axis, 0)
    picked = moved[index.reshape(-1) % max(n, 1)].reshape(index.shape + moved.shape[1:])
    return np.moveaxis(picked, range(index.ndim), range(axis, axis + index.ndim))


@computes("GatherElements")
def gather_elements(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Elements by an index of their own along an axis."""
    x, index = inputs[0], _whole_numbers(inputs[1])
    if x is None or index is None or x.ndim != 1 or index.ndim != 1 or (index.size and not -x.size <= index.min()):
        return None
    return x[index] if not index.size or index.max() < x.size else None


@computes("GatherND")
def gather_nd(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Elements by their place."""
    x, index = inputs[0], _whole_numbers(inputs[1])
    if x is None or index is None or node.attribute("batch_dims", 0) or not index.ndim or index.shape[-1] > x.ndim:
        return None
    sizes = np.array(x.shape[: index.shape[-1]], np.int64)
    if index.size and not ((index >= -sizes) & (index < sizes)).all():
        return None
    return np.asarray(x[tuple(np.moveaxis(index, -1, 0))], object)


@computes("ScatterElements", "Scatter")
def scatter_elements(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Elements of a vector replaced by their index."""
    x, index, update = inputs[0], _whole_numbers(inputs[1]), inputs[2]
    if x is None or index is None or update is None or x.ndim != 1 or index.shape != update.shape:
        return None
    if node.attribute("reduction", "none") != "none" or not _inside(index, x.size):
        return None
    result = x.copy()
    result[index] = update
    return result


@computes("ScatterND")
def scatter_nd(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Elements of a vector replaced by their place."""
    x, index, update = inputs[0], _whole_numbers(inputs[1]), inputs[2]
    if x is None or index is None or update is None or x.ndim != 1 or index.ndim != 2 or index.shape[1] != 1:
        return None
    if node.attribute("reduction", "none") != "none" or not _inside(index, x.size) or update.shape != index.shape[:1]:
        return None
    result = x.copy()
    result[index[:, 0]] = update
    return result


@computes("Pad")
def pad(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Elements with a constant around them."""
    if node.version < 11 or node.has(3) or node.attribute("mode", "constant") != "constant":
        return None
    x, pads = inputs[0], _whole_numbers(inputs[1])
    if x is None or pads is None or pads.size != 2 * x.ndim or pads.min(initial=0) < 0 or _static(out.shape) is None:
        return None
    value = node.element(2) if node.has(2) else 0
    result = np.full(tuple(np.array(x.shape, int) + pads[: x.ndim] + pads[x.ndim :]), value, object)
    result[tuple(slice(p, p + n) for p, n in zip(pads[: x.ndim].tolist(), x.shape, strict=True))] = x
    return result


@computes("NonZero")
def non_zero(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Where the elements are not 0, if that is known of all of them."""
    x = inputs[0]
    if x is None or not x.ndim:
        return None
    answers = [dims.same_dims(e, 0) for e in x.reshape(-1)]
    if None in answers:
        return None
    places = np.array(np.nonzero(~np.array(answers, bool).reshape(x.shape)))
    return array_of(places.reshape(-1).tolist(), places.shape) if places.size <= LARGEST_KNOWN else None


def _whole_numbers(x: Array | None) -> Array | None:
    """An array of elements as one of ints, None where one is not known."""
    if x is None or not all(isinstance(e, int) for e in x.reshape(-1)):
        return None
    return np.array(x.tolist(), np.int64).reshape(x.shape)


def _inside(index: Array, n: int) -> bool:
    return not index.size or bool(index.min() >= -n and index.max() < n)


# ----------------------------------------------------------------------------------------------------------- arithmetic
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
            return _exact(_pow(a, b), dtype) if _is_number(a) else None
        if _is_number(a) and _is_number(b):
            kind = _NUMPY[dtype]
            with np.errstate(all="ignore"):
                return plain_number(float(_FLOAT_OPERATIONS[op](kind(float(a)), kind(float(b)))))
        if op in ("Add", "Sub", "Min", "Max", "Sum"):
            return _WHOLE_OPERATIONS[op](a, b) if _is_short(a) and _is_short(b) else None
        if op == "Mul":
            return dims.mul(a, b) if (_is_number(a) or _is_number(b)) and _is_short(a) and _is_short(b) else None
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
        result = _map(operation, result, x)
    return _map(lambda e: _in_range(e, out.dtype), result)


@computes("Mod")
def mod(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """The rest; it has the sign of the divisor, with `fmod` that of the dividend."""
    if inputs[0] is None or inputs[1] is None or out.dtype in FLOATS:
        return None
    if node.attribute("fmod", 0):
        return None
    return _map(dims.mod, inputs[0], inputs[1])


def _abs(e: Dim) -> Dim:
    return abs(e) if _is_number(e) else e if dims.less(e, 0) is False else None


def _sign(e: Dim) -> Dim:
    if _is_number(e):
        return (e > 0) - (e < 0)
    return 1 if dims.less(0, e) else None


def _ceil(e: Dim) -> Dim:
    return dims.mul(-1, dims.floor(dims.mul(-1, e)))


_UNARY: dict[str, Callable[[Dim], Dim]] = {
    "Neg": lambda e: dims.mul(-1, e),
    "Abs": _abs,
    "Sign": _sign,
    "Floor": dims.floor,
    "Ceil": _ceil,
}


@computes(*_UNARY)
def unary(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Functions of one element."""
    if inputs[0] is None:
        return None
    operation = _UNARY[node.op_type]
    return _map(lambda e: _in_range(operation(e), out.dtype), inputs[0])


@computes("Round", "Sqrt")
def rounded_unary(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Functions of one float that is a number, as its dtype computes them."""
    if inputs[0] is None or out.dtype not in FLOATS:
        return None
    function, kind = (np.rint if node.op_type == "Round" else np.sqrt), _NUMPY[out.dtype]
    with np.errstate(all="ignore"):
        return _map(lambda e: plain_number(float(function(kind(float(e))))) if _is_number(e) else None, inputs[0])


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
            return plain_number(float(_NUMPY[out.dtype](float(e)))) if _is_number(e) else e
        if _is_number(e):
            return _in_range(math.trunc(e), out.dtype)
        return dims.floor(e) if dims.less(e, 0) is False else e if node.dtype(0) not in FLOATS else None

    return _map(convert, inputs[0])


# ------------------------------------------------------------------------------------------------------- truth and choice
_COMPARISONS: dict[str, Callable[[Dim, Dim], bool | None]] = {
    "Equal": dims.same_dims,
    "Less": dims.less,
    "LessOrEqual": dims.less_equal,
    "Greater": lambda a, b: dims.less(b, a),
    "GreaterOrEqual": lambda a, b: dims.less_equal(b, a),
}


@computes(*_COMPARISONS)
def comparison(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Whether two elements compare; None where nobody can tell."""
    if inputs[0] is None or inputs[1] is None:
        return None
    compare = _COMPARISONS[node.op_type]

    def answer(a: Dim, b: Dim) -> Dim:
        found = compare(a, b)
        return None if found is None else int(found)

    return _map(answer, inputs[0], inputs[1])


@computes("And", "Or", "Xor")
def logic(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Truth tables, with the answers that one operand alone decides."""
    op = node.op_type
    decides = {"And": 0, "Or": 1}.get(op)

    def combine(a: Dim, b: Dim) -> Dim:
        if decides is not None and decides in (a, b):
            return decides
        if a is None or b is None:
            return None
        return int(a != b) if op == "Xor" else 1 - (decides or 0)

    if inputs[0] is None or inputs[1] is None:
        return None
    return np.asarray(np.frompyfunc(combine, 2, 1)(inputs[0], inputs[1]), object)


@computes("Not")
def not_(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """The other truth value."""
    return None if inputs[0] is None else _map(lambda e: 1 - e if isinstance(e, int) else None, inputs[0])


@computes("Where")
def where(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """One or the other; where the condition is not known, what both have in common."""
    condition, x, y = inputs
    if x is None or y is None:
        return None
    if condition is None:
        sizes = _static(node.shape(0))
        if sizes is None:
            return None
        condition = array_of([None] * math.prod(sizes), sizes)

    def choose(c: Dim, a: Dim, b: Dim) -> Dim:
        if c is None:
            return a if dims.same_dims(a, b) else None
        return a if c else b

    return np.asarray(np.frompyfunc(choose, 3, 1)(condition, x, y), object)


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
    x, sizes = inputs[0], _static(out.shape)
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
    combined = [_in_range(reduce(operation, column), out.dtype) for column in rows.T]
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
    sums = [_in_range(e, out.dtype) for e in sums]
    chosen = sums[:-1] if node.attribute("exclusive", 0) else sums[1:]
    return array_of(chosen[::-1] if node.attribute("reverse", 0) else chosen)
