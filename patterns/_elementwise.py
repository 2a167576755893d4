"""What rules about elementwise operators ask: of dtypes, of shapes, of constants, of those who read a result."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto

from graphopt.ir import Shape, Value
from graphopt.rewrite.terms import Alternatives
from graphopt.shapes import is_static, same_dims


class Precision(NamedTuple):
    """Bits of the significand, the smallest normal number and the largest."""

    digits: int
    smallest: float
    largest: float


FLOATS = {
    int(TensorProto.FLOAT16): Precision(11, 2.0**-14, 65504.0),
    int(TensorProto.BFLOAT16): Precision(8, 2.0**-126, (2 - 2.0**-7) * 2.0**127),
    int(TensorProto.FLOAT): Precision(24, 2.0**-126, (2 - 2.0**-23) * 2.0**127),
    int(TensorProto.DOUBLE): Precision(53, 2.0**-1022, float(np.finfo(np.float64).max)),
}
#: Dtypes in which an operator's float32 attributes are precise enough, and for which runtimes have most kernels.
SINGLE = frozenset({int(TensorProto.FLOAT), int(TensorProto.FLOAT16), int(TensorProto.BFLOAT16)})
#: Bits and whether there is a sign.
INTEGERS = {
    int(TensorProto.INT8): (8, True),
    int(TensorProto.INT16): (16, True),
    int(TensorProto.INT32): (32, True),
    int(TensorProto.INT64): (64, True),
    int(TensorProto.UINT8): (8, False),
    int(TensorProto.UINT16): (16, False),
    int(TensorProto.UINT32): (32, False),
    int(TensorProto.UINT64): (64, False),
}

#: Constants up to this many elements are read, and may be made, without counting.
SMALL = 1024
_READABLE = 1 << 16

#: Where the last bit of an operand can decide about the whole result.
_STEPS = frozenset("Floor Ceil Round Mod Sign Equal Less LessOrEqual Greater GreaterOrEqual Range".split())
#: The same, for operands after the first.
_STEPS_BESIDE = frozenset({"Resize", "Upsample"})
#: What carries exact numbers on: arithmetic, bounds, and moving data about.
_PLAIN = frozenset(
    "Add Sub Mul Div Neg Abs Min Max Sum Clip Relu Where Identity Cast CastLike "
    "Reshape Flatten Transpose Squeeze Unsqueeze Expand Tile Concat Slice Gather Split".split()
)
_PATIENCE = 64


def within(inner: Shape | None, outer: Shape | None) -> bool:
    """Whether broadcasting a shape with `outer` certainly gives `outer`."""
    if inner is None:
        return False
    if not inner:
        return True
    if outer is None or len(inner) > len(outer):
        return False
    return all(d == 1 or same_dims(d, o) is True for d, o in zip(inner[::-1], outer[::-1]))


def small(shape: Shape | None) -> bool:
    """Whether a tensor of this shape may be added to the model as a constant."""
    return is_static(shape) and math.prod(shape) <= SMALL


def filled(c: Any, number: float | bool) -> bool:
    """Whether every element of a constant is this number. Very large and empty ones count as not."""
    if not 0 < c.size <= _READABLE:
        return False
    array = np.asarray(c)
    return bool(array.flat[0] == number and (array == number).all())


def foldable(*constants: Any) -> bool:
    """Whether computing with these constants elementwise gives one that takes no more room than those that nobody needs any
    more then, or is small. Told from shapes; nothing is read."""
    given = [c for c in constants if c is not None]
    try:
        size = math.prod(np.broadcast_shapes(*(c.shape for c in given)))
    except ValueError:
        return False
    return size <= SMALL or size <= sum(c.size for c in given if c.uses == 1)


def wrapping(f: np.ufunc, *constants: Any) -> np.ndarray:
    """Compute in the constants' own dtype; integers wrap around as they do in ONNX."""
    with np.errstate(all="ignore"):
        return np.asarray(f(*(np.asarray(c) for c in constants)))


def reciprocal(dtype: int, c: Any) -> np.ndarray | str:
    """1 / c in double, or why it should not take the place of a division by c."""
    if dtype not in FLOATS:
        return "not floats"
    if not foldable(c):
        return "the constant is large and used elsewhere"
    with np.errstate(all="ignore"):
        k = 1 / np.asarray(c, np.float64)
    return k if normal(k, dtype) else "the reciprocal is zero, infinite or too small for its dtype"


def normal(k: np.ndarray, dtype: int) -> bool:
    """Whether all of these are normal numbers of a float dtype."""
    p = FLOATS[dtype]
    size = np.abs(k)
    return bool(((size >= p.smallest) & (size <= p.largest)).all())


def rounds(k: np.ndarray, dtype: int) -> bool:
    """Whether some number may not be exact in a float dtype; what was computed in double may always be rounded there."""
    digits = FLOATS[dtype].digits
    mantissa = np.ldexp(np.frexp(k)[0], digits)
    return digits >= 53 or bool((mantissa != np.rint(mantissa)).any())


def chosen(alternatives: Alternatives) -> Any:
    """The call of an `any_of` that was matched."""
    return next(c for c in alternatives.choices if c.value is not None)


def decides(term: Any) -> bool:
    """Whether plain arithmetic leads from a result to a step: a rounding, a comparison, a cast to integers.

    `floor(i / 49)` is exact as long as the division is: 49 * (1 / 49) is less than 1 in float32. Rules whose right side
    rounds where the left may be exact ask this first. A result that leads too far counts as deciding.
    """
    stack: list[Value] = [term.value]
    seen: set[int] = set()
    while stack:
        v = stack.pop()
        if v.exits and v.graph.parent is not None:
            return True
        for node in v.uses:
            if node.op in _STEPS or (node.op in _STEPS_BESIDE and v in node.inputs[1:]):
                return True
            if node.op not in _PLAIN or id(node) in seen:
                continue
            seen.add(id(node))
            outputs = [o for o in node.outputs if o is not None]
            if len(seen) > _PATIENCE or any(o.dtype not in FLOATS for o in outputs):
                return True
            stack += outputs
    return False
