"""Masks of attention: as kernels take them, and what they hide."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from graphopt.ir import Dim, Shape, Value
from graphopt.rewrite import Tensor, op
from graphopt.rewrite.terms import Leaf
from graphopt.shapes import operation_of, same_dims

#: Masks with more elements are not looked at.
_READABLE = 1 << 22
_DEEPEST = 8
#: What hides a key and leaves a query with nothing but hidden keys the average of all values. ONNX Runtime gives such a
#: query zeros where its mask holds the lowest number of the dtype, to which the definition gives no meaning of its own.
HIDING = {int(TensorProto.FLOAT): -3e38, int(TensorProto.FLOAT16): -6e4}
#: Operators that move elements of their first input about.
_MOVING = frozenset("Expand Gather Identity Reshape Slice Squeeze Tile Transpose Unsqueeze".split())


def covering(m: Tensor | None, q: Tensor, scores: Tensor, guarded: bool = False) -> Any:
    """A mask as kernels take it: above the lowest number, for all queries and all keys; why that cannot be had; None for none.

    Args:
        guarded: a query that is hidden from all keys is to give zeros.
    """
    if m is None:
        return None
    rank = m.rank
    if not rank or not _broadcasts(m.shape, scores.shape) or not spans(m.shape[-1], scores.shape[-1]):
        return "the mask does not fit"
    lifted = _lifted(m.value)
    if lifted is None:
        if guarded:
            return "what the mask holds is not known"
        lifted = op.Max(m, _number(HIDING[q.dtype], q.dtype))
    if rank == 1 or not spans(m.shape[-2], scores.shape[-2]):
        lifted = for_all_queries(lifted, q)
    return op.Unsqueeze(lifted, axes=[1]) if rank == 3 and scores.rank == 3 else lifted


def spans(d: Dim, n: Dim) -> bool:
    """Whether a dim is n wherever the model runs: cut off at 2 or more it would neither fit nor broadcast."""
    kind, parts = operation_of(d) or ("", ())
    cut = kind == "Min" and len(parts) == 2 and any(isinstance(p, int) and p > 1 for p in parts)
    return same_dims(d, n) is True or (cut and any(same_dims(p, n) for p in parts))


def _broadcasts(inner: Shape, outer: Shape) -> bool:
    """Whether broadcasting a shape with `outer` gives `outer` wherever the model runs."""
    return len(inner) <= len(outer) and all(d == 1 or spans(d, n) for d, n in zip(inner[::-1], outer[::-1]))


def for_all_queries(m: Any, q: Tensor) -> Any:
    """A mask that is the same for all queries, once for each of them, as kernels want it."""
    n = q.shape[-2]
    return op.Expand(m, np.array([n, 1]) if isinstance(n, int) else op.Concat(_length(q), np.array([1]), axis=0))


def _length(q: Tensor) -> Any:
    """The last but one dim as a vector of one element, read in front of what may move into the operator."""
    v, axis = q.value, q.rank - 2
    while (node := v.node) is not None and node.graph is v.graph:
        if node.op == "Transpose" and (perm := node.attributes.get("perm")) is not None:
            axis = perm[axis]
        elif node.op not in ("Mul", "Div") or node.inputs[1].const is None or node.inputs[0].rank != v.rank:
            break
        v = node.inputs[0]
    return op.Shape(Leaf(v), start=axis, end=axis + 1)


# ------------------------------------------------------------------------------------------------ above the lowest number
def _lifted(v: Value) -> Any:
    """The same mask without the lowest number of its dtype; None where nobody can tell what it holds."""
    if not _may_hold_lowest(v, _DEEPEST):
        return Leaf(v)
    if v.const is not None:
        if v.const.size > _READABLE:
            return None
        a = v.const.numpy()
        return np.where(a == _lowest(v.dtype), _number(HIDING[v.dtype], v.dtype), a)
    node = v.node
    if node is None or node.op not in ("Where", "Expand"):
        return None
    first, *rest = node.inputs
    if node.op == "Expand":
        inner = None if first is None else _lifted(first)
        return None if inner is None or rest[0] is None else op.Expand(inner, Leaf(rest[0]))
    sides = [None if i is None else _lifted(i) for i in rest]
    return None if first is None or any(s is None for s in sides) else op.Where(Leaf(first), *sides)


def _may_hold_lowest(v: Value, depth: int) -> bool:
    """Whether some element may be the lowest number of the dtype, or that cannot be told."""
    if v.const is not None:
        return v.const.size > _READABLE or bool((v.const.numpy() == _lowest(v.dtype)).any())
    node = v.node
    if node is None or not depth or v.dtype not in HIDING:
        return True
    if node.op == "Where":
        read = node.inputs[1:]
    elif node.op in _MOVING:
        read = node.inputs[:1]
    elif node.op in ("Add", "Concat"):
        read = node.inputs
    else:
        return True
    return any(i is None or _may_hold_lowest(i, depth - 1) for i in read)


def _lowest(dtype: int) -> float:
    return float(np.finfo(helper.tensor_dtype_to_np_dtype(dtype)).min) if dtype in HIDING else -math.inf


def _number(value: float, dtype: int) -> np.ndarray:
    return np.array(value, helper.tensor_dtype_to_np_dtype(dtype))


def selecting(b: Tensor, hides: bool, low: float, dtype: int) -> Any:
    """0 for keys that are seen, and what hides the others. `hides`: a condition says which keys these are."""
    zero, hidden = _number(0, dtype), _number(-math.inf if low == -math.inf else HIDING[dtype], dtype)
    return op.Where(b, hidden, zero) if hides else op.Where(b, zero, hidden)
