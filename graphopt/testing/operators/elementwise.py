"""Elementwise operators: any shape, or shapes that broadcast together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto

from graphopt.testing.building.builder import Invalid
from graphopt.testing.operators.pairs import for_all_heads
from graphopt.testing.operators.places import all_places, never_negative
from graphopt.testing.operators.registry import operands
from graphopt.testing.operators.site import Shape, Site
from graphopt.testing.values import np_dtype

_NUMBERS = frozenset(TensorProto.DataType.values()) - {TensorProto.STRING}
_UNARY = (
    "Abs Neg Relu Sigmoid Tanh Identity Exp Floor Ceil Round Sign Not Erf Sin Cos Softplus Softsign HardSwish Mish "
    "Atan Asinh Sinh Cosh Tan IsNaN IsInf BitwiseNot"
).split()
_POSITIVE = "Log Sqrt Reciprocal Acosh".split()
_FRACTION = "Asin Acos Atanh".split()


@operands(*_UNARY, carries=(0,))
def unary(s: Site) -> None:
    s.operand(0, s.new_shape(0))


@operands(*_POSITIVE, carries=(0,))
def positive(s: Site) -> None:
    s.operand(0, s.new_shape(0), "positive")


@operands(*_FRACTION, carries=(0,))
def fraction(s: Site) -> None:
    s.operand(0, s.new_shape(0), "fraction")


@operands("Elu", "LeakyRelu", "Celu", "ThresholdedRelu", carries=(0,))
def with_alpha(s: Site) -> None:
    s.operand(0, s.new_shape(0))
    s.number("alpha", 0.25, 2.25, s.schema.attributes["alpha"].default)


@operands("Selu", carries=(0,))
def selu(s: Site) -> None:
    s.operand(0, s.new_shape(0))
    for name in ("alpha", "gamma"):
        s.number(name, 0.25, 2.25, s.schema.attributes[name].default)


@operands("HardSigmoid", carries=(0,))
def hard_sigmoid(s: Site) -> None:
    s.operand(0, s.new_shape(0))
    s.number("alpha", 0.0, 1.0, 0.2)
    s.number("beta", 0.0, 1.0, 0.5)


@operands("Swish", carries=(0,))
def swish(s: Site) -> None:
    s.operand(0, s.new_shape(0))
    s.number("alpha", 0.25, 2.25, 1.0)


@operands("Shrink", carries=(0,))
def shrink(s: Site) -> None:
    s.operand(0, s.new_shape(0))
    s.number("lambd", 0.0, 1.0, 0.5)
    s.number("bias", 0.0, 1.0, 0.0)


@operands("Gelu", carries=(0,))
def gelu(s: Site) -> None:
    s.operand(0, s.new_shape(0))
    s.text("approximate", ["none", "tanh"], "none")


@operands("Cast", carries=(0,))
def cast(s: Site) -> None:
    s.operand(0, s.new_shape(0))
    s.integer("to", _CASTS)


_CASTS = [
    TensorProto.FLOAT,
    TensorProto.INT64,
    TensorProto.INT32,
    TensorProto.DOUBLE,
    TensorProto.FLOAT16,
    TensorProto.BOOL,
]


@operands("CastLike", carries=(0,), dtypes={0: _NUMBERS, 1: _NUMBERS})  # numbers are written in more than one way
def cast_like(s: Site) -> None:
    s.operand(0, s.new_shape(0))
    s.operand(1, s.new_shape(1))
    if s.dtype(1) == TensorProto.FLOAT8E4M3FN and "saturate" in s.schema.attributes:
        s.parameter("saturate", lambda: s.choices.integer(0, 1))


@operands("Clip", carries=(0,))
def clip(s: Site) -> None:
    s.operand(0, s.new_shape(0))
    dtype = s.dtype(0)
    if "min" in s.schema.attributes:
        s.number("min", -2.0, 1.0)
        s.number("max", 0.0, 6.0)
        return
    numbers = [n for n in s.numbers() if n == n and abs(n) < 1e30]

    def bound(low: int, high: int, least: bool) -> float | int:
        whole = dtype not in FLOATING
        if not whole and s.choices.chance(10):
            return -math.inf if least else math.inf
        # the ends of the dtype's range, and what lies close to them, where floats are not exact
        if whole and s.choices.chance(2 if dtype == TensorProto.INT64 else 4):
            info: Any = ml_dtypes.iinfo(np_dtype(dtype))
            end = int(info.min if least else info.max)
            odd = [(2**53 + 1) * (-1 if least else 1)] if info.bits == 64 and info.min else []
            return s.choices.one([end, end + (1 if least else -1), end // 2, *odd * 3])
        tried = [n for n in numbers if low <= n <= high and (not whole or n == int(n))]
        k = s.choices.one(tried) if tried and s.choices.chance(2) else s.choices.integer(low * 2, high * 2) / 2
        if dtype in UNSIGNED:
            k = abs(k)
        return int(k) if whole else float(k)

    s.parameter("min", lambda: bound(-2, 2, True), None, dtype)
    s.parameter("max", lambda: bound(-2, 5, False), None, dtype)


FLOATING = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16})
UNSIGNED = frozenset({TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64})


@operands("Dropout", carries=(0,))
def dropout(s: Site) -> None:
    s.operand(0, s.new_shape(0))
    if "ratio" in s.schema.attributes:
        s.at_most(1)  # nobody says what the mask is where nothing is dropped
        s.number("ratio", 0.0, 0.75, 0.5)
        if "is_test" in s.schema.attributes:
            s.parameter("is_test", lambda: 1, 0)
        return
    s.operand(1, (), "fraction")
    if s.wants(2):
        trains = s.asks("is_test") and s.mentions("seed") and s.choices.chance(4)  # it is random then
        if trains:
            s.attributes["seed"] = 1
        s.operand(2, (), array=np.array(trains))


# ------------------------------------------------------------------------------------------------------ broadcasting
@operands(
    *"Add Sub Mul And Or Xor Equal Less Greater LessOrEqual GreaterOrEqual BitwiseAnd BitwiseOr BitwiseXor".split(),
    carries=(0, 1),
)
def binary(s: Site) -> None:
    if s.dtype(0) == TensorProto.INT64 and "Range" in s.operators:
        if s.op_type == "Equal" and (wide := s.shape(0)) and not s.choices.chance(8):
            all_places(s, 1, wide)
        elif s.op_type in ("GreaterOrEqual", "LessOrEqual") and not s.given(0) and not s.given(1):
            never_negative(s, 0 if s.op_type == "GreaterOrEqual" else 1)
    if s.op_type == "Add" and {"MatMul", "Softmax"} <= s.beside and s.dtype(0) in FLOATING and s.given(0) != s.given(1):
        mask(s, 1 if s.given(0) else 0)
    broadcasting(s, [0, 1])


def rare(s: Site, full: Shape) -> None:
    """A condition that is nearly always the same, so that few queries see no key; it has all dims, or what it chooses from."""
    shape = narrower(s, full) if s.choices.chance(4) else full
    s.take(0, s.builder.input((s.random().random(shape) < 0.15) != bool(s.choices.integer(0, 1)), "b"))
    for i in (1, 2):
        if shape != full and s.shape(i) is None:
            s.operand(i, full)


def mask(s: Site, i: int) -> None:
    """What is added to scores: it hides some of them, for all queries or each its own, by one large number or another."""
    full = s.shape(1 - i)
    if not full or s.choices.chance(4):
        return
    shape = narrower(s, full, 1, len(full))
    if not s.choices.chance(6):
        shape = (*shape[:-1], full[-1])
    dtype = np_dtype(s.dtype(0))
    zero, low = (np.array(n, dtype) for n in (0, s.choices.one([-math.inf, float(ml_dtypes.finfo(dtype).min), -6e4])))
    hidden = s.random().integers(0, 3, shape) == 0
    added = (s.random().integers(-4, 5, shape) / 4).astype(dtype)
    b = s.builder
    if s.tame:
        s.take(i, b.constant(added))
    elif s.choices.integer(0, 1):
        made = np.where(hidden, low, added)
        s.take(i, b.constant(made) if s.choices.integer(0, 1) else b.input(made))
    else:
        sides = [low, zero] if s.choices.integer(0, 1) else [zero, low]
        seen = b.input(hidden if sides[0] is low else ~hidden, "b")
        s.take(i, b.node("Where", [seen, *map(b.constant, sides)])[0])


@operands("Div", "Mod", carries=(0, 1))
def division(s: Site) -> None:
    if s.op_type == "Mod":
        floats = s.dtype(0) in FLOATING
        fmod = s.parameter("fmod", lambda: 1 if floats else s.choices.one([0, 1]), 0)
        if floats and not fmod and s.schema.since_version < 28:
            s.attributes["fmod"] = 1
    broadcasting(s, [0, 1], {1: "positive"})


@operands("Pow", carries=(0, 1))
def power(s: Site) -> None:
    broadcasting(s, [0, 1], {0: "positive", 1: "positive"})


@operands("BitShift", carries=(0, 1))
def bit_shift(s: Site) -> None:
    s.text("direction", ["LEFT", "RIGHT"])
    broadcasting(s, [0, 1])


@operands("PRelu", carries=(0,))
def prelu(s: Site) -> None:
    x = s.shape(0) or s.new_shape(0)
    s.operand(0, x)
    s.operand(1, narrower(s, x), "fraction" if s.large and not s.choices.chance(3) else "plain")


@operands("Where", carries=(0, 1, 2))
def where(s: Site) -> None:
    if "Attention" in s.beside and s.wanted and not s.given(0) and s.choices.integer(0, 1):
        rare(s, s.wanted)
    broadcasting(s, [0, 1, 2])


@operands("Max", "Min", "Sum", "Mean", carries=(0, 1, 2, 3))
def variadic(s: Site) -> None:
    broadcasting(s, range(s.count))


def broadcasting(s: Site, places: Sequence[int], styles: dict[int, str] | None = None) -> None:
    """Operands that broadcast together, one of them often with the shape of the result."""
    places = [i for i in places if s.wants(i) or s.given(i)]
    known = [shape for i in places if (shape := s.shape(i)) is not None]
    if known:
        full = _broadcast(known)
        widest = None
    else:
        least = [s.ranks(i)[0] for i in places]
        others = [i for i in places if not s.single(i)]
        free = others if others and not s.choices.chance(8) else places
        widest = places[least.index(max(least))] if any(least) else s.choices.one(free)
        if s.wanted is not None and s.planned == {} and places[0] == 0 and 0 in free and not s.choices.chance(4):
            widest = 0
        full = s.new_shape(widest)
        s.operand(widest, full, (styles or {}).get(widest, "plain"))
        full = s.shape(widest) or ()
    same = _old_broadcasting(s)
    for i in places:
        if not s.given(i):
            shape = s.known_shape(i)
            if shape is None:
                shape = full if same else _fitting(s, i, full)
            s.operand(i, shape, (styles or {}).get(i, "plain"))


def _fitting(s: Site, i: int, full: Shape) -> Shape:
    """A shape that broadcasts with another one, of a rank that suits those who read it."""
    low, high = s.ranks(i)
    if s.pairs and low <= len(full) <= high and not s.choices.chance(6):
        return for_all_heads(s, full)
    if s.single(i) and not s.choices.chance(8):
        more = min(max(low, len(full)), high)
        return (1,) * s.choices.weighted(((6, low), (2, more), (1, min(more + 1, high))))
    if low == high == len(full) and s.batches and not s.choices.chance(3):
        return full
    if len(full) < min(high, s.output_ranks()[1]) and full and s.choices.chance(12):  # the result gets another dim
        return (s.choices.one([1, 1, 2]), *narrower(s, full, len(full)))
    if low > len(full):  # the result gets more dims
        return (*(s.dim() for _ in range(low - len(full))), *narrower(s, full, len(full)))
    if 1 in full and s.choices.chance(2 if s.whole else 4 if s.builder.vague else 12):  # dims of the result grow
        full = tuple((16 if s.whole and k == 1 else s.dim()) if d == 1 else d for k, d in enumerate(full))
    return narrower(s, full, low, high)


def narrower(s: Site, full: Shape, low: int = 0, high: int = 99) -> Shape:
    """A shape that broadcasts to another one: the same, one element, the last dims, one dim with all others 1..."""
    if high < low:
        raise Invalid("no rank suits all who read an operand")
    rank = len(full)
    by_channel = 20 if s.channels else 4
    kind = s.choices.weighted(((4, "same"), (5, "one"), (2, "last"), (by_channel, "channel"), (2, "ones")))
    if kind == "same" and low <= rank <= high:
        return full
    ranks = range(min(low, rank), min(rank, high) + 1)
    if kind == "one":
        return (1,) * s.choices.one(ranks)
    if kind == "channel" and rank >= 2:  # [C, 1, 1] beside [N, C, H, W]
        r = s.choices.one([k for k in (rank - 1, rank) if k in ranks] or [ranks[-1]])
        kept = s.choices.one([*[1] * (rank if s.channels else 1), *range(rank)])
        return tuple(full[j] if j == kept else 1 for j in range(rank - r, rank))
    r = s.choices.one(ranks)
    tail = full[rank - r :]
    return tail if kind == "last" else tuple(d if s.choices.integer(0, 1) else 1 for d in tail)


def _broadcast(shapes: Sequence[Shape]) -> Shape:
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(next((d for d in dims if d != 1), 1) for dims in zip(*padded, strict=True))


def _old_broadcasting(s: Site) -> bool:
    """Whether this version broadcasts only where an attribute says so, which nothing here writes."""
    return "broadcast" in s.schema.attributes or (
        s.schema.since_version < 8 and s.op_type in ("Max", "Min", "Sum", "Mean")
    )
