"""Operators that give a tensor other dims: Reshape and its kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from onnx import TensorProto

from graphopt.testing.operators.blocks import cut_into_blocks, image_of_blocks
from graphopt.testing.operators.movement import first_of
from graphopt.testing.operators.pairs import put_together, to_be_repeated
from graphopt.testing.operators.places import indices_among
from graphopt.testing.operators.registry import operands
from graphopt.testing.operators.site import Shape, Site


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
    if s.channels and s.shape(0) is None and s.ranks(0)[1] > 2 and not s.choices.chance(4):
        s.operand(0, s.new_shape(0, 3, 5))
    if s.marks and s.dtype(0) == TensorProto.INT64 and not s.given(0):
        indices_among(s, 0)
    x = first_of(s)
    between = s.inputs[0].node is not None and s.inputs[0].node.op != "Reshape"
    before = [k for k in s.recent("reshaped") if between and math.prod(k) == math.prod(x)]
    s.note("reshaped", x)
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
        if s.marks and not s.choices.chance(4):
            return [*x, 1]
        if "Conv" in s.beside and len(x) == 3 and low > 2 and not s.choices.chance(4):  # places become an image
            batch = s.choices.chance(6)  # of which the image has nothing
            kept = [1, x[1]] if batch else x[:2]
            return [*kept, *_factors(s, x[2] * (x[0] if batch else 1), s.choices.integer(1, max(high - 2, 1)))]
        if s.rows and len(x) in (3, 4) and not s.choices.chance(6):
            return _rows_of_image(s, x)
        if s.pairs and x and not s.choices.chance(6):
            return put_together(s, x, not zeros)
        there = [k for k in before if low <= len(k) <= high]
        if there and not s.choices.chance(3):  # what was reshaped for something in between is made what it was
            return list(there[-1])
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
        usual += [[]] * (size == 1 and not low)
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


def _rows_of_image(s: Site, x: Shape) -> list[int]:
    """Rows as the pixels of an image, channels last; or an image, channels first, as one row for each channel."""
    if len(x) == 4:
        rows = [a.shape for a in s.builder.arrays.values() if isinstance(a, np.ndarray) and a.ndim == 3]
        back = [[b, c, m] for b, m, c in rows if b * m * c == math.prod(x)]
        return s.choices.one(back) if back and s.choices.chance(3) else [*x[:2], x[2] * x[3]]
    height = s.choices.one([k for k in range(1, x[1] + 1) if x[1] % k == 0] or [1])
    if s.choices.chance(6):  # others than the channels are last
        return [x[0], height, x[2], x[1] // height]
    return [x[0], height, x[1] // height, x[2]]


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
            if s.choices.chance(2):  # and others, or not all of them
                axes.symmetric_difference_update(s.choices.some(ones))
            return _anyhow(s, sorted(axes) or ones, len(x))
        if not ones:
            return []
        return _anyhow(s, s.choices.some(ones, 1), len(x))

    s.parameter("axes", options)


@operands("Unsqueeze", plan=_squeezed)
def unsqueeze(s: Site) -> None:
    marks = s.dtype(0) == TensorProto.INT64 and s.marks
    if marks and not s.given(0):
        indices_among(s, 0)
    without = (s.planned or _squeezed(s)).get(0)
    if without is not None and not s.given(0) and s.ranks(0)[0] <= len(without) <= s.ranks(0)[1]:
        s.operand(0, without)
    x = first_of(s, 0, max(3, s.ranks(0)[0]))

    def options() -> list[int]:
        if s.pairs and not s.choices.chance(12):
            return _anyhow(s, [len(x)], len(x) + 1)
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
    if s.schema.since_version < 11:
        return [a % rank for a in axes]
    if not s.choices.chance(2):
        return list(axes)
    from_end = [rank] if s.builder.vague else [rank, rank, 0]  # where nobody knows the rank, these are not counted
    return [a % rank - s.choices.one(from_end) for a in axes]


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
            return [1, 1, 1, s.choices.weighted(((3, 2), (2, 1), (2, 3), (1, 0))), 1, 2 - 2 * s.choices.chance(8)]
        target = [s.dim() if d == 1 and s.choices.integer(0, 1) else d for d in x]
        if s.choices.chance(3):
            target.insert(0, s.choices.integer(1, 3))
        return [1 if s.choices.chance(4) else d for d in target]

    s.parameter("shape", options)
