"""Matrices that hold one number up to a diagonal and another one above it, as causal masks are computed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphopt.exec.evaluate import CannotEvaluate, evaluate
from graphopt.ir import Dim, Node, Tensor, Value
from graphopt.patterns._positions import Positions, counting
from graphopt.patterns._shapes import dim, entries
from graphopt.shapes import less, same_dims, same_shape
from graphopt.shapes.dims import add, sub

#: Constants with more elements are not looked at.
_READABLE = 1 << 22
_DEEPEST = 12
#: What keeps the last two axes where their dims stay the same.
_MOVING = frozenset("Expand Identity Reshape Squeeze Unsqueeze".split())
#: Operators that work on each element by itself.
_ELEMENTWISE = frozenset(
    "Add And Cast Div Equal Greater GreaterOrEqual Less LessOrEqual Max Min Mul Neg Not Or Sub Where Xor".split()
)
#: Comparisons of columns with rows: what is added to the diagonal, and what they say up to it.
_COMPARISONS = {"LessOrEqual": (0, True), "Less": (-1, True), "Greater": (0, False), "GreaterOrEqual": (-1, False)}
_MIRRORED = {"LessOrEqual": "GreaterOrEqual", "GreaterOrEqual": "LessOrEqual", "Less": "Greater", "Greater": "Less"}


@dataclass(frozen=True, slots=True)
class Triangular:
    """What a tensor holds in each of its matrices.

    Attributes:
        numbers: the one where column <= row + diagonal, and the one behind.
        diagonal: None where both numbers are the same, wherever that be.
    """

    numbers: np.ndarray
    diagonal: Dim


def triangular(v: Value, depth: int = _DEEPEST) -> Triangular | None:
    """What a tensor holds, if it is one number or two that a diagonal keeps apart; None where that cannot be told."""
    if v.const is not None:
        return _written_out(v.const)
    node = v.node
    if node is None or node.domain or not node.inputs or not depth:
        return None
    if node.op == "ConstantOfShape":
        value = node.attributes.get("value")
        number = value.numpy().reshape(-1) if isinstance(value, Tensor) else np.zeros(1, np.float32)
        return Triangular(np.repeat(number, 2), None)
    if node.op in _COMPARISONS and (found := _compared(node, v)) is not None:
        return found
    if node.op in _ELEMENTWISE:
        return _elementwise(node, v, depth)
    first = node.inputs[0]
    inner = None if first is None else triangular(first, depth - 1)
    if inner is None or first is None:
        return None
    if node.op in _MOVING:
        return inner if inner.diagonal is None or _same_matrices(first, v) else None
    if node.op == "Slice":
        return _sliced(node, first, inner)
    if node.op == "Trilu" and inner.diagonal is None:
        return _cut(node, inner.numbers)
    return None


def _same_matrices(x: Value, y: Value) -> bool:
    """Whether the last two dims are the same."""
    both = (x.shape or ())[-2:], (y.shape or ())[-2:]
    return len(both[0]) == 2 and same_shape(*both) is True


def _number(v: Value | None) -> Dim:
    found = entries(v) if v is not None else None
    return dim(found[0]) if found is not None and len(found) == 1 else None


def _written_out(t: Tensor) -> Triangular | None:
    """Of a constant."""
    if not 0 < t.size <= _READABLE:
        return None
    if t.size == 1:
        return Triangular(np.repeat(t.numpy().reshape(-1), 2), None)
    if len(t.dims) < 2 or any(d != 1 for d in t.dims[:-2]) or min(t.dims[-2:]) < 2:
        return None
    a = t.numpy().reshape(t.dims[-2:])
    numbers = a[0, [0, -1]]
    diagonal = int((a[0] == numbers[0]).sum()) - 1
    if numbers[0] == numbers[1]:
        return Triangular(numbers, None) if bool((a == numbers[0]).all()) else None
    rows, columns = a.shape
    below = np.tri(rows, columns, diagonal, bool)
    return Triangular(numbers, diagonal) if np.array_equal(a, np.where(below, *numbers)) else None


def _cut(node: Node, numbers: np.ndarray) -> Triangular | None:
    """What Trilu leaves of one number."""
    k = _number(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] is not None else 0
    if k is None:
        return None
    zero = np.zeros_like(numbers[:1])
    if node.attributes.get("upper", 1):
        return Triangular(np.concatenate([zero, numbers[:1]]), sub(k, 1))
    return Triangular(np.concatenate([numbers[:1], zero]), k)


def _sliced(node: Node, x: Value, inner: Triangular) -> Triangular | None:
    """The same with as many rows and columns left out in front; none where some in between are left out."""
    if inner.diagonal is None:
        return inner
    starts, ends, axes, steps = [None if v is None else entries(v) for v in [*node.inputs[1:], None, None][:4]]
    given = [v is not None for v in [*node.inputs[3:], None, None][:2]]
    rank = x.rank
    if rank is None or starts is None or ends is None or (given[0] and axes is None) or (given[1] and steps is None):
        return None
    if steps is not None and any(e.key != 1 for e in steps):
        return None
    shift: list[Dim] = [0, 0]  # of rows and of columns
    places = [e.key for e in axes] if axes is not None else list(range(len(starts)))
    for start, axis in zip(starts, places, strict=True):
        if not isinstance(axis, int) or less(dim(start), 0) is not False:
            return None
        if (k := axis % rank - (rank - 2)) >= 0:
            shift[k] = dim(start)
    return _checked(inner.numbers, sub(add(inner.diagonal, shift[0]), shift[1]))


def _checked(numbers: np.ndarray, diagonal: Dim) -> Triangular | None:
    """None where nobody knows which diagonal it is: in a `Triangular`, that stands for something else."""
    return None if diagonal is None else Triangular(numbers, diagonal)


def _compared(node: Node, v: Value) -> Triangular | None:
    """Of the number of a column that is compared with that of a row."""
    a, b = node.inputs
    if a is None or b is None or v.rank is None or v.rank < 2:
        return None
    found = [(counting(x), x) for x in (a, b)]
    sides: dict[int, Positions] = {p.axis - (x.rank or 0): p for p, x in found if p is not None}
    if sides.keys() != {-1, -2}:
        return None
    rows, columns = sides[-2], sides[-1]
    if not same_shape((rows.counted.shape or ())[-1:] + (columns.counted.shape or ())[-1:], (v.shape or ())[-2:]):
        return None  # one of them broadcasts
    op = node.op if found[0][0] is columns else _MIRRORED[node.op]
    more, said = _COMPARISONS[op]
    return _checked(np.array([said, not said]), add(sub(rows.start, columns.start), more))


def _elementwise(node: Node, v: Value, depth: int) -> Triangular | None:
    """What an operator makes of the two numbers."""
    parts = [None if x is None else triangular(x, depth - 1) for x in node.inputs]
    known = [p for p in parts if p is not None]
    if len(known) < len(parts):
        return None
    split = [(p.diagonal, x) for p, x in zip(known, node.inputs, strict=True) if p.diagonal is not None]
    diagonal = split[0][0] if split else None
    if not all(same_dims(d, diagonal) and x is not None and _same_matrices(x, v) for d, x in split):
        return None
    try:
        (numbers,) = evaluate(v.graph.model, node, [p.numbers for p in known])
    except CannotEvaluate:
        return None
    return Triangular(numbers, diagonal)
