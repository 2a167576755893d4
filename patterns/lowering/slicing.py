"""Slices next to each other as one Split.

Here and not among the simplifications, although it is exact: rules that restore operators know halves of a tensor by Slice.
"""

from __future__ import annotations

from itertools import accumulate, pairwise

from graphopt.ir import Node, Value
from graphopt.patterns._shapes import made_split, parts_of, piece_of
from graphopt.rewrite import Ints, Maybe, op, rule
from graphopt.rewrite.matching import params

#: Readers of a tensor, so that not all of very many look at all others.
_MOST = 64


@rule
def split_of_slices(x, starts: Ints, ends: Ints, axes: Maybe[Ints], steps: Maybe[Ints]):
    """Slices that are all of a tensor together are the parts of one Split."""
    y = op.Slice(x, starts=starts, ends=ends, axes=axes, steps=steps)
    yield y
    cut = piece_of(x.value, starts, ends, axes, steps)
    if len(x.value.uses) > _MOST:
        return "very many read the tensor"
    if cut is None:
        return "not some elements in a row of a dim of known size"
    axis, start, end = cut
    found = sorted({(a, b) for n in x.value.uses for a, b in _beside(n, x.value, axis, y.value)})
    sizes = [b - a for a, b in found]
    if len(found) < 2 or found != list(pairwise(accumulate(sizes, initial=0))):
        return "the slices do not follow each other from the first element on"
    k = found.index((start, end))
    part = made_split(x.value, axis, sizes, k, y.value)
    # where they leave out the last elements, there is no such Split
    yield op.Split(x, split=sizes, axis=axis, outputs=len(sizes))[k] if part is None else part


def _beside(node: Node, x: Value, axis: int, y: Value) -> list[tuple[int, int]]:
    """The parts of x along an axis that a reader of x takes."""
    if y.node is None or node.graph is not y.node.graph or node.inputs[0] is not x:
        return []
    if node.op == "Split":
        parts = parts_of(node)
        return list(pairwise(accumulate(parts[1], initial=0))) if parts is not None and parts[0] == axis else []
    named = params(node, 1, ("starts", "ends", "axes", "steps"), False) if node.op == "Slice" else None
    cut = piece_of(x, *named) if named is not None else None
    return [cut[1:]] if cut is not None and cut[0] == axis else []
