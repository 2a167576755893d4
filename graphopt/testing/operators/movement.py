"""Operators that move data about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.ir import input_of
from graphopt.testing.building.builder import Invalid
from graphopt.testing.operators.blocks import cut_into_blocks, image_of_blocks
from graphopt.testing.operators.elementwise import FLOATING
from graphopt.testing.operators.pairs import put_together, to_be_repeated
from graphopt.testing.operators.places import indices_among
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


def _unfolded(s: Site) -> dict[int, Shape]:
    """What is wanted with one of its dims written as two."""
    wanted = s.wanted
    if not wanted:
        return {}
    recent = [k for k in s.recent("unfolded") if math.prod(k) == math.prod(wanted)]
    if s.pairs:
        recent = [(*wanted[:-1], wanted[-1] // 2, 2)]
    elif not recent:
        axis = min(1, len(wanted) - 1) if s.choices.integer(0, 1) else s.choices.integer(0, len(wanted) - 1)
        d = wanted[axis]
        inner = s.choices.one([k for k in range(1, d + 1) if d % k == 0] or [1])
        recent = [(*wanted[:axis], d // inner, inner, *wanted[axis + 1 :])]
        s.note("unfolded", recent[0])
    return {0: recent[0]}


def _narrowed(s: Site) -> dict[int, Shape]:
    """What is wanted with one of its dims 1."""
    wanted = s.wanted
    if not wanted:
        return {}
    axis = s.choices.integer(0, len(wanted) - 1) if s.choices.chance(3) else len(wanted) // 2
    return {0: (*wanted[:axis], 1, *wanted[axis + 1 :])}


def _squeezed(s: Site) -> dict[int, Shape]:
    """What is wanted without a dim of 1."""
    wanted = s.wanted
    ones = [i for i, d in enumerate(wanted or ()) if d == 1]
    if not wanted or not ones:
        return {}
    axis = s.choices.one(ones)
    return {0: (*wanted[:axis], *wanted[axis + 1 :])}


@operands("Reshape", plan=_unfolded)
def reshape(s: Site) -> None:
    if s.wanted is not None and len(s.wanted) > 1 and s.shape(0) is None:
        pairs, (low, high) = list(enumerate(pairwise(s.wanted))), s.ranks(0)
        if low <= len(s.wanted) - 1 <= high:  # two of the dims that are wanted lie in one
            of_one = [k for k, pair in pairs if 1 in pair]
            k = s.choices.one(of_one if of_one and not s.choices.chance(4) else [k for k, _ in pairs])
            s.operand(0, (*s.wanted[:k], s.wanted[k] * s.wanted[k + 1], *s.wanted[k + 2 :]))
    if s.blocks and s.shape(0) is None:
        s.operand(0, image_of_blocks(s))
    x = first_of(s)
    zeros = (
        s.parameter("allowzero", lambda: int(s.choices.chance(2 if 0 in x else 3)), 0)
        if "allowzero" in s.schema.attributes
        else 0
    )

    def target_shape() -> list[int]:
        size = math.prod(x)
        low, high = s.output_ranks()
        if s.wanted is not None and math.prod(s.wanted) == size and not s.choices.chance(12):
            return list(s.wanted)
        if s.blocks and len(x) in (4, 6) and not s.choices.chance(6):
            return cut_into_blocks(s, x)
        if s.pairs and x and not s.choices.chance(6):
            return put_together(s, x, not zeros)
        back = [
            d for k in s.recent("folded") if x and math.prod(d := [*k[:-1], x[-1]]) == size and low <= len(d) <= high
        ]
        if back and not s.choices.chance(3):  # what was made a matrix is made what it was
            return s.choices.one(back)
        if low == high == 2 and len(x) > 2 and not s.choices.chance(3):
            s.note("folded", x)
            return [math.prod(x[:-1]), x[-1]]
        around = [list(a.shape) for a in s.builder.arrays.values() if isinstance(a, np.ndarray) and a.size == size]
        swapped = [[*d[:-2], d[-1], d[-2]] for d in around if len(d) > 1]
        shapes = [list(a.shape) for a in s.builder.arrays.values() if isinstance(a, np.ndarray) and a.ndim > 2]
        shapes_alike = [d for k in shapes if x and math.prod(d := [*k[:-1], x[-1]]) == size]  # other rows, own columns
        folded = [[math.prod(x[: 1 - r]), *x[1 - r :]] for r in range(2, len(x) + 2)]  # leading dims made one
        columns = [[size], [size, 1]] if "Flatten" in s.operators else []  # what that makes of a matrix
        same = [list(x), list(x)]
        usual = [t for t in [*same, *folded, *shapes_alike, *swapped, *swapped, *columns] if low <= len(t) <= high]
        targets = [_grouped(s, x), list(x), _factors(s, size), [size], *around[-3:]]
        targets += [list(x)[::-1]] * (size == 0)
        if size == 1:
            targets.append([])
        if not size:  # other dims of as many elements
            usual = [[d and 1 for d in x], [d and s.choices.integer(2, 4) for d in x], list(x[::-1])]
        fitting = [t for t in targets if low <= len(t) <= high] or [_factors(s, size, low)]
        target = list(s.choices.one(usual if usual and not s.choices.chance(3) else fitting))
        return target if math.prod(target) == size else [-1] if size else list(x)

    def options() -> list[int]:
        size, target = math.prod(x), target_shape()
        if math.prod(target) != size:
            return target
        dims = s.inputs[0].shape or x
        named = [not isinstance(d, int) for d in dims]
        written = [
            0 if not zeros and k < len(x) and d == x[k] and s.choices.chance(2 if named[k] else 4) else d
            for k, d in enumerate(target)
        ]
        told = [k for k, d in enumerate(written) if (d or not size) and math.prod(target[:k] + target[k + 1 :])]
        if told and s.choices.integer(0, 1):  # one may be left to be inferred
            written[s.choices.one(told)] = -1
        return written

    s.parameter("shape", options)


def _grouped(s: Site, x: Shape) -> list[int]:
    """Neighbouring dims multiplied together, and a 1 put in now and then."""
    out: list[int] = []
    for d in x:
        if out and s.choices.integer(0, 1):
            out[-1] *= d
        else:
            out.append(d)
    if s.choices.chance(3):
        out.insert(s.choices.integer(0, len(out)), 1)
    return out


def _factors(s: Site, size: int, rank: int = 0) -> list[int]:
    """Dims whose product is a size, `rank` of them or as many as there come."""
    if not size:
        return [0, s.choices.integer(1, 3)]
    out: list[int] = []
    if rank:
        for _ in range(rank - 1):
            out.append(s.choices.one([k for k in range(size, 0, -1) if size % k == 0][-4:]))
            size //= out[-1]
        return [*out, size]
    while size > 1 and len(out) < 3:
        d = s.choices.one([k for k in range(size, 1, -1) if size % k == 0][-4:])
        out.append(d)
        size //= d
    return [*out, size] if size > 1 or not out else out


@operands("Flatten")
def flatten(s: Site) -> None:
    x = first_of(s, 0)
    rank = len(x)
    column = [rank] * 3 if "Reshape" in s.operators else []
    s.parameter("axis", lambda: s.choices.one([min(1, rank), max(rank - 1, 0), *range(rank + 1), *column]), 1)
    if rank > 2:
        s.note("folded", x)


@operands("Squeeze")
def squeeze(s: Site) -> None:
    if s.shape(0) is None and s.mentions("axes"):
        dims = list(s.new_shape(0))
        if dims:
            for _ in range(s.choices.integer(1, 3)):
                dims[s.choices.integer(0, len(dims) - 1)] = 1
        s.operand(0, dims)
    x = first_of(s)
    ones = [i for i, d in enumerate(x) if d == 1]

    def options() -> list[int] | None:
        recent = [*s.recent("axes"), *([a] for a in s.recent("axis"))]
        recent = [a for a in recent if a and all(-len(x) <= i < len(x) and x[i] == 1 for i in a)]
        if recent and s.choices.chance(2):
            axes = {a % len(x) for a in s.choices.one(recent)}
            if s.choices.chance(3):  # and others, or not all of them
                axes.symmetric_difference_update(s.choices.some(ones))
            return _anyhow(s, sorted(axes) or ones, len(x))
        if not ones:
            raise Invalid("nothing to squeeze")
        return _anyhow(s, s.choices.some(ones, 1), len(x))

    s.parameter("axes", options)


@operands("Unsqueeze", plan=_squeezed)
def unsqueeze(s: Site) -> None:
    marks = s.dtype(0) == TensorProto.INT64 and "OneHot" in s.operators
    if marks and not s.given(0):
        indices_among(s, 0)
    without = (s.planned or _squeezed(s)).get(0)
    if without is not None and not s.given(0) and s.ranks(0)[0] <= len(without) <= s.ranks(0)[1]:
        s.operand(0, without)
    x = first_of(s, 0, max(3, s.ranks(0)[0]))

    def options() -> list[int]:
        if s.pairs and not s.choices.chance(12):
            return s.choices.one([[-1], [len(x)]])
        if s.blocks and len(x) == 4 and not s.choices.chance(6):
            return [3, 5]
        fitting = [k for k in range(len(x) + 1) if (*x[:k], 1, *x[k:]) == s.wanted]
        if fitting and not s.choices.chance(6):
            middle = (len(x) + 1) // 2
            put = middle if middle in fitting and s.choices.integer(0, 1) else s.choices.one(fitting)
            return _anyhow(s, [put], len(x) + 1)
        if marks and not s.choices.chance(4):
            return _anyhow(s, [len(x)], len(x) + 1)
        recent = [*s.recent("axes"), *([a] for a in s.recent("axis"))]
        recent = [a for a in recent if a and all(-len(x) - len(a) <= i < len(x) + len(a) for i in a)]
        if recent and s.choices.chance(2):
            axes = s.choices.one(recent)
            return _anyhow(s, axes, len(x) + len(axes))
        rank = len(x) + s.choices.one([1, 1, 2, 2])
        chosen: list[int] = []
        for _ in range(rank - len(x)):
            chosen.append(s.choices.one([i for i in range(rank) if i not in chosen]))
        return _anyhow(s, sorted(chosen), rank)

    s.parameter("axes", options)


def _anyhow(s: Site, axes: Sequence[int], rank: int) -> list[int]:
    """Axes as they may be written: counted from the end, from the front, or this and that."""
    if s.schema.since_version < 11 or not s.choices.chance(2):
        return list(axes)
    return [a % rank - s.choices.one([rank, rank, 0]) for a in axes]


@operands("Expand", plan=_narrowed)
def expand(s: Site) -> None:
    if s.pairs and s.shape(0) is None and not s.choices.chance(8):
        s.operand(0, to_be_repeated(s))
    if s.wanted is not None and not s.given(0) and s.shape(0) is None:
        low, high = s.ranks(0)
        if low <= len(s.wanted) <= high:
            s.operand(0, _narrowed(s).get(0, s.wanted))
    x = first_of(s)

    def options() -> list[int]:
        wanted = s.wanted
        fits = wanted is not None and len(x) == len(wanted) and all(d in (1, w) for d, w in zip(x, wanted, strict=True))
        if wanted is not None and fits and not s.choices.chance(6):
            return list(wanted)
        if s.pairs and x and not s.choices.chance(6):
            return [*(d if s.choices.chance(6) else 1 for d in x[:-1]), 2]
        if s.blocks and len(x) == 6 and not s.choices.chance(6):
            return [1, 1, 1, s.choices.integer(1, 3), 1, 2]
        target = [s.dim() if d == 1 and s.choices.integer(0, 1) else d for d in x]
        if s.choices.chance(3):
            target.insert(0, s.choices.integer(1, 3))
        return [1 if s.choices.chance(4) else d for d in target]

    s.parameter("shape", options)


@operands("Tile", carries=(0,))
def tile(s: Site) -> None:
    if s.pairs and s.shape(0) is None and not s.choices.chance(8):
        s.operand(0, to_be_repeated(s))
    x = first_of(s, 1)
    usual = [1] * (len(x) - 1) + [2] if s.pairs else [1, 1, 1, 2, 1, s.choices.integer(1, 3)]
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
    axis = s.axis(len(base), default=1 if s.schema.since_version < 4 else None, usual=even[-1] if even else None)
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
    for i in range(s.count):
        s.operand(i, (*base[:axis], s.dim() if (there or i) and not alike else base[axis], *base[axis + 1 :]))
    shapes = [s.shape(i) for i in range(s.count)]
    s.note("sizes", [d[axis] for d in shapes if d is not None and len(d) == len(base)])


@operands("Split", carries=(0,))
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
        axis = s.axis(len(x), default=0)
        i = input_of(s.schema, "split")
        equal = i is not None and not s.wants(i)
        s.operand(
            0, (*x[:axis], n * s.choices.integer(1, 2) + (0 if equal else s.choices.one([0, 0, 1])), *x[axis + 1 :])
        )
        x = s.shape(0)
        assert x is not None
    else:
        axis = s.axis(len(x), default=0)
    d = x[axis]
    by_number = "num_outputs" in s.schema.attributes
    even = d % n == 0 or (by_number and -(-d // n) * (n - 1) < d)  # the last part may be smaller

    def sizes() -> list[int] | None:
        if even and s.choices.chance(3):
            return None
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
