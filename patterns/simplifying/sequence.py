"""Sequences: what is put into one and taken out again."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.patterns._shapes import made_split, refuses_text
from graphopt.rewrite import Axis, Const, Int, Maybe, op, rule
from graphopt.rewrite.terms import Constant

#: Parts of a Split.
_MOST = 64


@rule(exact=True, always=True)
def sequence_at_of_construct(*xs, index: Const):
    """An element of a sequence that was put together is what was put there."""
    yield op.SequenceAt(op.SequenceConstruct(*xs), index)
    i = index.item()
    if i not in range(-len(xs), len(xs)):
        return "no such element"
    yield xs[i]


@rule(exact=True, always=True)
def sequence_at_of_split(x, split: Maybe[Const], axis: Axis, keepdims: Int, index: Const):
    """An element of a tensor that was split into a sequence is a part of the tensor."""
    sequence = op.SplitToSequence(x, split, axis=axis, keepdims=keepdims)
    y = op.SequenceAt(sequence, index)
    yield y
    sizes, i = _sizes(x, split, axis), index.item()
    if sizes is None or i not in range(-len(sizes), len(sizes)):
        return "the sizes of the parts are not known, or no such element"
    k = i % len(sizes)
    if split is None and not keepdims:
        if why := refuses_text(x):
            return why
        yield op.Gather(x, np.array(k), axis=axis)
    elif (part := made_split(x.value, axis, sizes, k, y.value)) is not None:
        yield part
    elif len(sizes) == 1:
        yield x
    elif sequence.uses == 1 and all(n.op != "Split" for n in x.value.uses):
        start = sum(sizes[:k])
        yield op.Slice(x, starts=[start], ends=[start + sizes[k]], axes=[axis])
    else:
        yield op.Split(x, split=sizes, axis=axis, outputs=len(sizes))[k]


def _sizes(x: Any, split: Constant | None, axis: int) -> list[int] | None:
    """How large the parts of SplitToSequence are."""
    size = x.shape[axis] if x.shape is not None else None
    if split is not None and split.ndim == 1:
        sizes = [int(n) for n in split.array] if split.size <= _MOST else []
        return sizes if sizes and min(sizes) >= 0 and size in (sum(sizes), None) else None
    if not isinstance(size, int) or size < 1:
        return None
    step = 1 if split is None else int(split.item() or 0)
    if step < 1 or size > step * _MOST:
        return None
    return [min(step, size - start) for start in range(0, size, step)]
