"""Operators that move data about."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.ir import input_of
from graphopt.testing.building.builder import Invalid
from graphopt.testing.building.recipes import WITH_WEIGHTS
from graphopt.testing.operators.elementwise import FLOATING
from graphopt.testing.operators.pairs import to_be_repeated
from graphopt.testing.operators.registry import operands
from graphopt.testing.operators.site import Shape, Site
from graphopt.testing.values import np_dtype


def first_of(s: Site, low: int = 0, high: int = 4) -> Shape:
    """The shape of the first operand, which is made where it is not there."""
    s.operand(0, s.new_shape(0, low, high))
    shape = s.shape(0)
    if shape is None or len(shape) < low:
        raise Invalid(f"{s.op_type} of {shape}")
    return shape


def of_channels(s: Site, x: Shape) -> int:
    """An axis that weights make, from the front or from the end: channels or columns, where there are several."""
    axis = s.choices.one([k for k in (1, len(x) - 1) if x[k] > 1] or [1])
    return axis - len(x) if s.choices.chance(3) else axis


def _turned(s: Site) -> dict[int, Shape]:
    """What is wanted before the dims change places."""
    wanted = s.wanted
    if not wanted:
        return {}
    perm = s.decided("perm")
    perm = s.perm(len(wanted)) if perm is None else perm
    return {0: tuple(wanted[i] for i in np.argsort(perm))} if len(perm) == len(wanted) else {}


@operands("Transpose", carries=(0,), plan=_turned)
def transpose(s: Site) -> None:
    perm = s.decided("perm")
    wanted = s.wanted
    if perm is not None:
        if wanted is not None and len(wanted) == len(perm):
            s.operand(0, [wanted[i] for i in np.argsort(perm)])
        else:
            s.operand(0, s.new_shape(0, len(perm), len(perm)))
    elif wanted is not None and s.shape(0) is None and s.mentions("perm"):
        perm = s.perm(len(wanted))
        s.operand(0, [wanted[i] for i in np.argsort(perm)])
        return
    rank = len(first_of(s, 1))
    orders = [p for p in s.recent("order") if len(p) == rank]
    if orders and not s.choices.chance(6):
        s.parameter("perm", lambda: orders[-1])
    else:
        s.perm(rank)


@operands("Tile", carries=(0,))
def tile(s: Site) -> None:
    if s.pairs and s.shape(0) is None and not s.choices.chance(8):
        s.operand(0, to_be_repeated(s))
    x = first_of(s, 1)
    usual = [1] * (len(x) - 1) + [2] if s.pairs else [1, 1, 1, 2, 1, s.choices.integer(0 if s.blocks else 1, 3)]
    as_usual = (s.pairs or s.blocks) and len(usual) == len(x) and not s.choices.chance(6)
    s.parameter(
        "repeats",
        lambda: usual if as_usual else [s.choices.weighted(((3, 1), (1, 2), (1, 3))) for _ in x],
    )


@operands("Concat", carries=(0, 1, 2, 3))
def concat(s: Site) -> None:
    there = [i for i in range(s.count) if s.shape(i) is not None]
    low, high = s.ranks(0)
    suits = not there and s.wanted is not None and low <= len(s.wanted) <= high
    if s.pairs and not there and s.shape(0) is None:
        s.operand(0, to_be_repeated(s))
        there = [0]
    base = s.wanted if suits and not there else s.shape(there[0]) if there else s.new_shape(0, 1)
    assert base is not None
    if not base:
        raise Invalid("Concat of scalars")
    if s.pairs and not s.choices.chance(6):
        s.note("axis", len(base) - 1)
    if s.blocks and not s.choices.chance(6):
        s.note("axis", len(base) - 1 if "Transpose" in s.operators else 1)
    even = [k for k, d in enumerate(base) if d and d % s.count == 0] if suits and s.repeated() else []
    axis = s.axis(len(base), default=1 if s.schema.since_version < 4 else None, suits=even[-1] if even else None)
    if s.pieces(axis):
        return
    alike = s.choices.chance(3)
    if suits:  # the parts of what is wanted
        before = [c for c in s.recent("cuts") if len(c) == s.count - 1 and c[-1] <= base[axis]]
        if even:
            cuts = [base[axis] // s.count * (k + 1) for k in range(s.count - 1)]
            if s.choices.chance(4):  # which broadcasts
                base = tuple(1 if k != axis and s.choices.integer(0, 1) else d for k, d in enumerate(base))
        elif before and not s.choices.chance(4):  # as another one is put together
            cuts = before[-1]
        else:
            cuts = sorted(s.choices.integer(0, base[axis]) for _ in range(s.count - 1))
            s.note("cuts", cuts)
        for i, (start, end) in enumerate(pairwise([0, *cuts, base[axis]])):
            s.operand(i, (*base[:axis], end - start, *base[axis + 1 :]))
    if s.larger and axis == 1 and not s.choices.chance(4):  # most of it is one part
        most = s.choices.integer(0, s.count - 1)
        for i in range(s.count):
            few = 0 if s.choices.chance(24) else s.choices.integer(1, 2)
            s.operand(i, (base[0], 9 if i == most else few, *base[2:]))
    for i in range(s.count):
        s.operand(i, (*base[:axis], s.dim() if (there or i) and not alike else base[axis], *base[axis + 1 :]))
    shapes = [s.shape(i) for i in range(s.count)]
    s.note("sizes", [d[axis] for d in shapes if d is not None and len(d) == len(base)])


def _of_parts(s: Site) -> dict[int, Shape]:
    """What is split into parts of a wanted shape is as long as all of them, mostly along the last axis; into many, of one."""
    part = s.wanted
    if part is None and s.outputs > 3 and s.shape(0) is None:
        part = (s.dim(), s.dim())
    if not part or s.choices.chance(8):
        return {}
    s.note("axis", len(part) - 1)
    s.note("sizes", [part[-1]] * s.outputs)
    return {0: (*part[:-1], s.outputs * part[-1])}


@operands("Split", carries=(0,), plan=_of_parts)
def split(s: Site) -> None:
    x = s.shape(0)
    n = s.outputs
    low, high = s.ranks(0)
    if x is None and s.wanted is not None and low <= len(s.wanted) <= high:  # what is wanted, and more behind it
        axis = s.axis(len(s.wanted), default=0)
        more = s.wanted[axis] if s.choices.integer(0, 1) else s.choices.integer(1, 3)
        s.note("sizes", [s.wanted[axis], *[more] * (n - 1)])
        s.operand(0, (*s.wanted[:axis], s.wanted[axis] + more * (n - 1), *s.wanted[axis + 1 :]))
        x = s.shape(0)
        assert x is not None
    elif x is None:
        x = s.new_shape(0, 1)
        products = len(x) > 1 and s.operators >= WITH_WEIGHTS
        axis = s.axis(len(x), default=0, suits=of_channels(s, x) % len(x) if products else None)
        i = input_of(s.schema, "split")
        equal = i is not None and not s.wants(i)
        d = n * s.choices.integer(1, 2) + (0 if equal else s.choices.one([0, 0, 1]))
        if equal and "Squeeze" in s.beside and "num_outputs" in s.schema.attributes and s.choices.chance(4):
            d = 2 * n - 1  # all of two elements but the last one
        s.operand(0, (*x[:axis], d, *x[axis + 1 :]))
        x = s.shape(0)
        assert x is not None
    else:
        axis = s.axis(len(x), default=0, suits=1 if s.whole and len(x) > 1 else None)
    d = x[axis]
    by_number = "num_outputs" in s.schema.attributes
    even = d % n == 0 or (by_number and -(-d // n) * (n - 1) < d)  # the last part may be smaller

    def sizes() -> list[int] | None:
        if even and s.choices.chance(3):
            return None
        if s.whole and d % 16 == 0 and not s.choices.chance(4):
            cuts = sorted(16 * s.choices.integer(0, d // 16) for _ in range(n - 1))
            return [b - a for a, b in pairwise([0, *cuts, d])]
        recent = [list(r) for r in s.recent("sizes") if len(r) == n and sum(r) == d]
        if recent and not s.choices.chance(4):
            return s.choices.one(recent)
        cuts = sorted(s.choices.integer(0, d) for _ in range(n - 1))
        return [b - a for a, b in pairwise([0, *cuts, d])]

    if s.parameter("split", sizes) is None and by_number and s.parameter("num_outputs", lambda: n) is None:
        s.attributes["num_outputs"] = n


@operands("Pad", carries=(0,))
def pad(s: Site) -> None:
    x = first_of(s, 1, 5)
    mode = s.text("mode", ["constant", "edge", "reflect"], "constant")
    if mode != "constant" and 0 in x:
        raise Invalid("nothing to reflect")
    axes = s.axes(len(x)) if s.schema.input_index("axes") is not None and not s.choices.chance(2) else None
    if axes is None and 3 in s.inputs:
        axes = s.array(3).tolist()
    count = len(x) if axes is None else len(axes)
    dims = [x[a] for a in (range(len(x)) if axes is None else axes)]
    spatial = s.choices.chance(2)  # as convolutions like it: images only
    nothing = s.choices.chance(6)
    ring = spatial and mode == "constant" and s.choices.chance(3)

    def width(k: int, d: int) -> int:
        if nothing or (spatial and axes is None and k < 2):
            return 0
        if ring:
            return 1
        most = 2 if mode == "constant" else min(2, d - 1)
        least = -1 if mode == "constant" and d > 2 and s.choices.chance(8) else 0
        return s.choices.integer(least, max(most, 0))

    s.parameter("pads", lambda: [width(k, dims[k]) for _ in range(2) for k in range(count)])
    if mode == "constant":
        asked = -math.inf in s.numbers()
        number: Any = s.choices.weighted(((6 if asked else 12, 0.0), (2, 1.5), (16 if asked else 2, -math.inf)))
        if s.dtype(0) not in FLOATING:
            number = "pad" if s.dtype(0) == TensorProto.STRING else int(max(number, 0))
        if "value" in s.schema.attributes:
            s.parameter("value", lambda: number, 0.0)
        elif s.wants(2):
            s.operand(2, (), array=np.asarray(number).astype(np_dtype(s.dtype(2))))
        else:
            s.parameter("value", lambda: number, None, s.dtype(0))


@operands("Shape")
def shape(s: Site) -> None:
    x = first_of(s)
    if "start" in s.schema.attributes:
        start = s.parameter("start", lambda: s.choices.integer(-len(x), max(len(x) - 1, 0)), 0)
        if s.decided("end") is not None or s.choices.chance(2) or not s.mentions("end") or s.op_type == "Shape":
            one = [start + 1] * (start != -1)
            s.parameter("end", lambda: s.choices.one([*one, s.choices.integer(-len(x), len(x))]))


@operands("Size", "NonZero")
def size(s: Site) -> None:
    s.operand(0, s.new_shape(0, 1 if s.op_type == "NonZero" else 0))  # runtimes differ about where a scalar is not zero


@operands("ConstantOfShape")
def constant_of_shape(s: Site) -> None:
    if not s.given(0):
        rank = s.choices.integer(0, 3)
        s.operand(0, (rank,), array=np.array([s.dim() for _ in range(rank)], np.int64))


@operands("DepthToSpace", "SpaceToDepth", ranks={0: (4, 4)}, carries=(0,))
def blocks(s: Site) -> None:
    b = s.choices.one([2, 1, 3])
    if s.op_type == "DepthToSpace":
        x = (s.choices.integer(1, 2), b * b * s.choices.integer(1, 2), s.choices.integer(1, 3), s.choices.integer(1, 3))
        if "mode" in s.schema.attributes:
            s.text("mode", ["DCR", "CRD"], "DCR")
    else:
        x = (s.choices.integer(1, 2), s.choices.integer(1, 3), b * s.choices.integer(1, 2), b * s.choices.integer(1, 2))
    s.operand(0, x)
    s.parameter("blocksize", lambda: b)


@operands("Trilu", carries=(0,))
def trilu(s: Site) -> None:
    s.operand(0, s.new_shape(0, 2))
    s.parameter("upper", lambda: s.choices.one([1, 0]), 1)
    if s.wants(1):
        s.operand(1, (), array=np.array(s.choices.integer(-2, 2), np.int64))
