"""What rules about recurrent networks ask of their states, weights and biases."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto

from graphopt.ir import Tensor, Value
from graphopt.patterns._elementwise import filled
from graphopt.patterns._shapes import parts_of
from graphopt.rewrite import Const
from graphopt.rewrite.terms import Constant
from graphopt.shapes import same_shape

#: Operators that give nothing but elements of their first input.
_MOVING = frozenset("Cast Expand Flatten Gather Identity Reshape Slice Split Squeeze Tile Transpose Unsqueeze".split())
_FARTHEST = 8
#: Constants of at most so many elements are compared.
_SMALL = 1 << 16


def is_zero(v: Value | None) -> bool:
    """Whether all elements are zeros that somebody spread out, moved, or wrote down."""
    for _ in range(_FARTHEST):
        if v is None or v.const is not None:
            break
        node = v.node
        if node is None or node.domain:
            return False
        if node.op == "ConstantOfShape":
            value = node.attributes.get("value")
            return value is None or (isinstance(value, Tensor) and value.item() == 0)
        if node.op not in _MOVING:
            return False
        v = node.inputs[0]
    return v is not None and v.const is not None and v.dtype != TensorProto.STRING and filled(Constant(v), 0)


def _row(c: Const, n: int) -> np.ndarray | None:
    """A constant beside a product of n columns as one number each, None where it varies over rows."""
    if c.rank > 2 or c.size not in (1, n, n * (c.shape[0] if c.rank == 2 else 1)) or not c.size:
        return None
    rows = np.reshape(c, (-1, c.shape[-1] if c.rank else 1))
    return np.broadcast_to(rows[0], (n,)) if (rows == rows[0]).all() else None


def bias_of(x: Any, n: int, *parts: Const | None) -> np.ndarray | str | None:
    """Biases of n columns as one, None where there is none; what is wrong where one varies over rows, or may have more of
    them than `x`, whose product it is added to."""
    if any(p is not None and p.rank == 2 and p.shape[0] not in (1, x.shape[0]) for p in parts):
        return "a bias of other rows"
    found = [_row(p, n) for p in parts if p is not None]
    biases = [r for r in found if r is not None]
    if len(biases) < len(found):
        return "a bias that is none per column"
    return sum(biases[1:], biases[0]) if biases else None


def columns(w: Const, transposed: int | None) -> int:
    """How many columns a product with these weights has."""
    return int(w.shape[0 if transposed else 1])


class Step(NamedTuple):
    """What comes into a step, the state and the cell before it (None: there is none, or it is zeros) and after it.

    Attributes:
        is_read: whether anybody reads the state but the step that follows.
    """

    x: Value
    h: Value | None
    c: Value | None
    state: Value
    cell: Value | None
    is_read: bool = True


def steps_until(last: Step) -> list[Step]:
    """A step and those before it, in order: each gives its state (and cell) to the next, and is made of the same nodes."""
    steps = [last]
    while (before := _before(steps[-1])) is not None:
        steps.append(before)
    return steps[::-1]


def _before(step: Step) -> Step | None:
    """The step that gives its state to this one, where both are made of the same nodes and nobody else reads in between.

    The products of a state of zeros may have been folded to what they add.
    """
    if step.h is None or (step.c is None) is not (step.cell is None):
        return None
    found: dict[Value, Value | None] = {v: None for v in step[:3] if v is not None}
    if not _is_like(step.state, step.h, found, step.h):
        return None
    x, h, c, state, cell = before = [None if v is None else found.get(v) for v in step[:5]]
    if x is None or state is not step.h or cell is not step.c or (c is None) is not (cell is None):
        return None
    if not all(same_shape(a.shape, b.shape) for a, b in zip(step[:5], before, strict=True) if a and b):
        return None
    inner = {v: twin for v, twin in found.items() if v not in step[:3] and twin is not None}
    if h is not None and not is_zero(h) and any(twin.const is not None for twin in inner.values()):
        return None
    ours, theirs = {v.node for v in inner}, {twin.node for twin in inner.values()}
    if cell is not None and (cell.exits or not all(u in theirs or u in ours for u in cell.uses)):
        return None  # an operator shows no cell but the last
    hidden = (twin for twin in inner.values() if twin.const is None and twin is not state and twin is not cell)
    if any(twin.exits or not all(u in theirs for u in twin.uses) for twin in hidden):
        return None
    is_read = state.exits > 0 or not all(u in ours for u in state.uses)
    return Step(x, h, c, state, cell, is_read)


def _is_like(v: Value, other: Value, found: dict[Value, Value | None], h: Value) -> bool:
    """Whether two values are computed by the same operators from constants that are equal and from what `found` has.

    Args:
        found: by value what it corresponds to; None where that is not known yet, and may be anything. Filled.
        h: what may be zeros on the other side.
    """
    if v in found and found[v] is None:
        found[v] = other
        return True
    if v in found:
        return found[v] is other
    if v.const is not None:
        return other is v or _is_same(v.const, other.const)
    found[v] = other
    node, twin = v.node, other.node
    if node is not None and other.const is not None:
        row, dims = _of_zeros(v, h, other, found), other.const.dims
        if row is None or row.size not in (1, dims[-1]):
            return False
        return np.array_equal(np.broadcast_to(row, dims), other.const.numpy())
    return (
        node is not None
        and twin is not None
        and v.index == other.index
        and node.graph is twin.graph
        and node.op == twin.op
        and not node.subgraphs
        and len(node.inputs) == len(twin.inputs)
        and len(node.outputs) == len(twin.outputs)
        and node.attributes == twin.attributes
        and all(
            (a is None and b is None) or (a is not None and b is not None and _is_like(a, b, found, h))
            for a, b in zip(node.inputs, twin.inputs, strict=True)
        )
    )


def _of_zeros(v: Value, h: Value, folded: Value, found: dict[Value, Value | None]) -> np.ndarray | None:
    """Each row of a product, or of a part of it, where the state `h` in it is zeros: its bias. `found` notes what is read."""
    node = v.node
    if node is None or folded.const is None or not folded.const.dims:
        return None
    found[v] = folded
    if node.op in ("Gemm", "MatMul") and node.inputs[0] is h and not {*node.attributes} - {"transB"}:
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        if bias is None:
            return np.zeros(1, np.float32)
        return bias.const.numpy() if bias.const is not None and len(bias.const.dims) == 1 else None
    if node.op == "Add" and any(a is not None and a.const is not None for a in node.inputs):
        bias, product = sorted(node.inputs, key=lambda a: a is None or a.const is None)
        row = None if product is None else _of_zeros(product, h, folded, found)
        own = None if bias is None or bias.const is None or len(bias.const.dims) != 1 else bias.const.numpy()
        return None if row is None or own is None else row + own
    if node.op != "Split" or (sizes := parts_of(node)) is None or (whole := node.inputs[0]) is None:
        return None
    row = _of_zeros(whole, h, folded, found)
    start = sum(sizes[1][: v.index])
    last = v.rank is not None and sizes[0] == v.rank - 1
    return row if not last or row is None or row.size == 1 else row[start : start + sizes[1][v.index]]


def _is_same(one: Tensor, other: Tensor | None) -> bool:
    """Whether two small constants are equal; large ones that are so are one value."""
    if other is None or one.dtype != other.dtype or one.dims != other.dims or one.size > _SMALL:
        return False
    return bool(np.array_equal(one.numpy(), other.numpy()))
