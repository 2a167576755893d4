"""Attention in which a query sees the keys up to its own place: masks that say so, written out or computed.

The operator counts a past in front of the keys: query i sees key j where j <= i + the length of the past. What else a mask
says may stay beside that, where it hides keys for certain: a number that is only very low leaves a query without any
other key the average of all values, also of those behind its place.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.ir import Dim, Shape, Value
from graphopt.patterns._shapes import leaf
from graphopt.patterns._triangular import triangular
from graphopt.patterns.raising._masks import for_all_queries, spans
from graphopt.rewrite import Attrs, Tensor, op, rule
from graphopt.shapes import broadcast, same_dims
from graphopt.shapes.dims import add

#: Scores as low as this hide a key, whatever the other scores are.
_HIDDEN = {int(TensorProto.FLOAT): -1e8, int(TensorProto.FLOAT16): -5e4}
_DEEPEST = 8
#: Since this opset a mask may end before the keys do, and hides the rest.
_SHORTER = 24


@rule(always=True)
def attention_causal(q, k, v, m, attrs: Attrs):
    """A mask that shows each query the keys up to its own place is what makes attention causal."""
    yield op.Attention(q, k, v, m, **attrs)
    if isinstance(found := _remaining(m, q, k, attrs, None), str):
        return found
    yield op.Attention(q, k, v, *found, **{**attrs, "is_causal": 1})


@rule(always=True)
def attention_causal_past(q, k, v, m, past_k, past_v, attrs: Attrs):
    """The same behind a past, of which a query sees everything."""
    y, keys, values = op.Attention(q, k, v, m, past_k, past_v, **attrs, outputs=3)
    yield y, keys, values
    if isinstance(found := _remaining(m, q, k, attrs, past_k), str):
        return found
    yield op.Attention(q, k, v, *(found or [None]), past_k, past_v, **{**attrs, "is_causal": 1}, outputs=3)


# -------------------------------------------------------------------------------------------------------------- helpers
def _remaining(m: Tensor, q: Tensor, k: Tensor, attrs: dict[str, Any], past: Tensor | None) -> list[Any] | str:
    """What a mask says beyond being causal, as a list of one mask or none; why that cannot be told."""
    found = _taken_apart(m.value, _DEEPEST)
    if found is None:
        return "not known to be a causal mask"
    diagonal, rest = found
    if None in (q.rank, k.rank, m.rank) or m.rank < 2 or (past is not None and past.rank != 4):
        return "shapes are not known"
    before = 0 if past is None else past.shape[2]
    if not same_dims(diagonal, before):
        return "the diagonal is not that of the operator"
    if past is not None and not same_dims(q.shape[-2], k.shape[-2]):
        return "ONNX Runtime (1.32) shows a single query behind a past all keys, also those behind its own"
    if not _fits(m, q.shape[-2], add(k.shape[-2], before), past is not None):
        return "not known to have a row for each query and a column for each key"
    if not rest:
        return []
    if not _is_masks_alone(m.value):
        return "the mask is read elsewhere, too"
    rows, columns = (1, 1, *(_joined_shape(rest) or ()))[-2:]
    if not same_dims(columns, m.shape[-1]) or not (rows == 1 or same_dims(rows, m.shape[-2])):
        return "what remains has no column for each key"
    joined = functools.reduce(op.And if m.dtype == TensorProto.BOOL else op.Add, map(leaf, rest))
    return [joined if same_dims(rows, m.shape[-2]) else for_all_queries(joined, q)]


def _joined_shape(values: Sequence[Value]) -> Shape | None:
    """What the shapes of these broadcast to, None where that is not known."""
    joined: Shape | None = ()
    for v in values:
        joined = broadcast(joined, v.shape)
    return joined


def _fits(m: Tensor, queries: Dim, keys: Dim, past: bool) -> bool:
    """Whether a mask has a row for each query and a column for each key that one sees, so that nothing broadcasts."""
    rows, columns = m.shape[-2:]
    if isinstance(rows, int) and isinstance(columns, int) and 2 <= rows <= columns and not past:
        return True  # with more than one it does not broadcast, and what lies behind the last column is hidden
    if not spans(rows, queries) or not spans(columns, keys):
        return False
    square = same_dims(rows, columns) and same_dims(queries, keys)
    return bool(square or same_dims(columns, keys) or m.value.graph.opsets.get("", 0) < _SHORTER)


def _is_masks_alone(m: Value) -> bool:
    """Whether nobody but attention reads a mask: it goes when all of them have become causal."""
    return not m.exits and all(u.op == "Attention" and u.inputs[3:4] == [m] and u.inputs.count(m) == 1 for u in m.uses)


def _taken_apart(m: Value, depth: int, certain: bool = False) -> tuple[Dim, list[Value]] | None:
    """The diagonal up to which a mask shows keys, and the masks beside; None where it is no such mask.

    Args:
        certain: what lies behind the diagonal has to be minus infinity.
    """
    if (found := triangular(m)) is not None:
        low = -math.inf if certain else _HIDDEN.get(m.dtype, -math.inf)
        shown, hidden = found.numbers.tolist()
        causal = shown > hidden if m.dtype == TensorProto.BOOL else shown == 0 and hidden <= low
        return (found.diagonal, []) if causal and found.diagonal is not None else None
    node = m.node
    if node is None or node.domain or not depth:
        return None
    if node.op == "Where":
        return _selected(*node.inputs)
    if node.op not in ("And", "Add"):
        return None
    for x, other in (node.inputs, node.inputs[::-1]):
        if x is None or other is None:
            continue
        if (part := _taken_apart(x, depth - 1, certain=True)) is not None:
            return part[0], [*part[1], other]
    return None


def _selected(condition: Value | None, x: Value | None, y: Value | None) -> tuple[Dim, list[Value]] | None:
    """Of a mask that is minus infinity where a condition says so."""
    found = None if condition is None else triangular(condition)
    if found is None or found.diagonal is None or x is None or y is None:
        return None
    shown, hidden = (x, y) if found.numbers[0] else (y, x)
    low = triangular(hidden)
    return (found.diagonal, [shown]) if low is not None and (low.numbers == -np.inf).all() else None
