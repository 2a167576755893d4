"""Masks that exporters put together from positions: a tensor read element by element, and conditions that always hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.ir import Dim, Shape, Value
from graphopt.patterns._elementwise import SMALL
from graphopt.patterns._positions import Positions, positions
from graphopt.patterns._shapes import Entry, dim, dim_key, entries, leaf, made_by, no_minus
from graphopt.rewrite import Const, any_of, op, rule
from graphopt.rewrite.terms import Constant
from graphopt.shapes import broadcast, same_dims, same_shape


# ----------------------------------------------------------------------------------------------------------- reading
@rule(exact=True)
def gather_nd_of_positions(x, indices):
    """To gather each element from its own place is to take the tensor as it is, with dims of 1 in between."""
    y = op.GatherND(x, indices, batch_dims=0)
    yield y
    stack = made_by(indices, "Concat", y.value)
    if stack is None or x.shape is None or indices.rank is None or len(stack.inputs) != x.rank:
        return "not one index for each dim"
    if stack.attributes.get("axis") not in (-1, indices.rank - 1):
        return "the indices are not put side by side"
    if any(v is None or v.shape is None or v.shape[-1] != 1 for v in stack.inputs):
        return "several indices come from one tensor"
    taken = _placed(x, [positions(v) for v in stack.inputs if v is not None], y.shape)
    if isinstance(taken, str):
        return taken
    yield taken


@rule(exact=True)
def gather_of_flat_positions(column, indices):
    """To gather each element of a flattened matrix from its own place is to take the matrix as it is."""
    y = op.Gather(column, indices, axis=0)
    yield y
    flat = made_by(column, "Flatten", y.value) or made_by(column, "Reshape", y.value)
    x = leaf(flat.inputs[0]) if flat is not None else column
    if (
        x.shape is None
        or len(x.shape) != 2
        or flat is None
        or column.shape is None
        or any(d != 1 for d in column.shape[1:])
    ):
        return "not a matrix made a column"
    steps = _row_and_column(indices.value, x.value)
    if steps is None:
        return "not a column added to a row times the length of rows"
    found = [_seen_from(v, indices.rank) for v in steps]
    if any(p is not None and not same_dims(_length(p), d) for p, d in zip(found, x.shape, strict=True)):
        return "not all rows and columns"
    taken = _placed(x, found, y.shape)
    if isinstance(taken, str):
        return taken
    yield taken


def _row_and_column(v: Value, x: Value) -> tuple[Value, Value] | None:
    """Row and column of which `row * width + column` is made."""
    if v.node is None or v.node.op != "Add":
        return None
    for column, product in (v.node.inputs, v.node.inputs[::-1]):
        if column is None or product is None or product.node is None or product.node.op != "Mul":
            continue
        for row, width in (product.node.inputs, product.node.inputs[::-1]):
            held = entries(width) if width is not None else None
            if row is not None and held is not None and len(held) == 1 and _same_size(held[0], x, 1):
                return row, column
    return None


def _same_size(e: Entry, v: Value, axis: int) -> bool:
    """Whether a number is the size of an axis."""
    assert v.shape is not None
    return e.key == dim_key(v, axis) or same_dims(dim(e), v.shape[axis]) is True


def _seen_from(v: Value, rank: int) -> Positions | None:
    """The positions that a tensor holds, along an axis of what broadcasts to this rank."""
    found = positions(v)
    return None if found is None else Positions(found.axis + rank - (v.rank or 0), found.counted)


def _placed(x: Any, found: list[Positions | None], result: Shape | None) -> Any:
    """x with its axes where these positions have them, dims of 1 in between; why not, where that is something else."""
    known = [p for p in found if p is not None]
    if len(known) < len(found):
        return "an index is not the place along an axis"
    axes = [p.axis for p in known]
    if axes != sorted(set(axes)) or result is None or any(d != 1 for a, d in enumerate(result) if a not in axes):
        return "the axes are repeated, or come in another order"
    shape = x.shape
    for k, p in enumerate(known):
        if not same_dims(_length(p), shape[k]):
            x = op.Slice(x, [0], op.Shape(leaf(p.counted)), [k])
    others = [a for a in range(len(result)) if a not in axes]
    return op.Unsqueeze(x, axes=others) if others else x


def _length(p: Positions) -> Dim:
    return p.counted.shape[0] if p.counted.shape else None


# ------------------------------------------------------------------------------------------------- what always holds
@rule(always=True)
def where_of_certain(p, low: Const, m, x, y):
    """That a number which cannot be negative is at least 0 decides nothing beside another condition."""
    result = op.Where(op.And(any_of(op.GreaterOrEqual(p, low), op.LessOrEqual(low, p)), m), x, y)
    yield result
    if not no_minus(p.value) or not _never_above_zero(low):
        return "not known to be at least 0 always"
    if not same_shape(_joined(m.shape, x.shape, y.shape), result.shape):
        return "the condition broadcasts the result up"
    yield op.Where(m, x, y)


@rule(always=True)
def add_of_where_of_certain(z, p, low: Const, m, x, y):
    """The same where what is chosen is added to something that has all dims already."""
    total = z + op.Where(op.And(any_of(op.GreaterOrEqual(p, low), op.LessOrEqual(low, p)), m), x, y)
    yield total
    if not no_minus(p.value) or not _never_above_zero(low):
        return "not known to be at least 0 always"
    if not same_shape(_joined(z.shape, m.shape, x.shape, y.shape), total.shape):
        return "the condition broadcasts the result up"
    yield z + op.Where(m, x, y)


def _never_above_zero(low: Constant) -> bool:
    return 0 < low.size <= SMALL and bool((np.asarray(low) <= 0).all())


def _joined(*shapes: Shape | None) -> Shape | None:
    """What shapes broadcast to, None where that is not known."""
    joined: Shape | None = ()
    try:
        for s in shapes:
            joined = broadcast(joined, s)
    except ValueError:
        return None
    return joined
