"""Masks that exporters put together from positions: a tensor read element by element, and conditions that always hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.ir import Dim, Shape, Value
from graphopt.patterns._elementwise import SMALL
from graphopt.patterns._positions import Positions, positions
from graphopt.patterns._shapes import Entry, dim, dim_key, entries, leaf, made_by, no_minus
from graphopt.rewrite import Const, Int, Maybe, Tensor, any_of, op, rule
from graphopt.rewrite.terms import Constant
from graphopt.shapes import broadcast, same_dims, same_shape


# ----------------------------------------------------------------------------------------------------------- reading
@rule(exact=True)
def gather_nd_of_positions(x, indices):
    """To gather each element from its own place is to take the tensor as it is, with dims of 1 in between."""
    y = op.GatherND(x, indices, batch_dims=0)
    yield y
    parts = _side_by_side(indices, y.value)
    if len(parts) != x.rank:
        return "not one index for each dim"
    taken = _placed(x, [positions(v) for v in parts], y.shape)
    if isinstance(taken, str):
        return taken
    yield taken


@rule(exact=True, always=True)
def gather_of_flat_positions(x: "M N", shape, allowzero: Maybe[Int], axis: Maybe[Int], indices):
    """To gather each element of a flattened matrix from its own place is to take the matrix as it is."""
    y = op.Gather(any_of(op.Flatten(x, axis=axis), op.Reshape(x, shape, allowzero=allowzero)), indices, axis=0)
    yield y
    found = _row_and_column(indices.value, x.value)
    if not same_shape(tuple(_length(p) for p in found), x.shape):
        return "not a column added to a row times the length of rows, for all rows and columns"
    taken = _placed(x, found, y.shape)
    if isinstance(taken, str):
        return taken
    yield taken


def _side_by_side(indices: Any, like: Value) -> list[Value]:
    """The tensors of one index each that are put together along a new last axis; none where that is not so."""
    stack = made_by(indices, "Concat", like)
    parts = [v for v in stack.inputs if v is not None and v.shape and v.shape[-1] == 1] if stack is not None else []
    whole = stack is not None and len(parts) == len(stack.inputs)
    return parts if whole and indices.shape and indices.shape[-1] == len(parts) else []


def _row_and_column(v: Value, x: Value) -> list[Positions]:
    """Those of which `row * width + column` is made, seen from there; none where it is not made so."""
    if v.node is None or v.node.op != "Add" or v.rank is None:
        return []
    for column, product in (v.node.inputs, v.node.inputs[::-1]):
        if column is None or product is None or product.node is None or product.node.op != "Mul":
            continue
        for row, width in (product.node.inputs, product.node.inputs[::-1]):
            held = entries(width) if width is not None else None
            if row is not None and held is not None and len(held) == 1 and _same_size(held[0], x, 1):
                return [p for p in (_seen_from(row, v.rank), _seen_from(column, v.rank)) if p is not None]
    return []


def _same_size(e: Entry, v: Value, axis: int) -> bool:
    """Whether a number is the size of an axis."""
    assert v.shape is not None
    return e.key == dim_key(v, axis) or same_dims(dim(e), v.shape[axis]) is True


def _seen_from(v: Value, rank: int) -> Positions | None:
    """The positions that a tensor holds, along an axis of what broadcasts to this rank."""
    found = positions(v)
    return None if found is None else Positions(found.axis + rank - (v.rank or 0), found.counted)


def _placed(x: Any, found: Sequence[Positions | None], result: Shape | None) -> Any:
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
    if not _certain(p, low):
        return "not known to be at least 0 always"
    if not same_shape(_joined([m, x, y]), result.shape):
        return "the condition broadcasts the result up"
    yield op.Where(m, x, y)


@rule(always=True)
def add_of_where_of_certain(z, p, low: Const, m, x, y):
    """The same where what is chosen is added to something that has all dims already."""
    total = z + op.Where(op.And(any_of(op.GreaterOrEqual(p, low), op.LessOrEqual(low, p)), m), x, y)
    yield total
    if not _certain(p, low):
        return "not known to be at least 0 always"
    if not same_shape(_joined([z, m, x, y]), total.shape):
        return "the condition broadcasts the result up"
    yield z + op.Where(m, x, y)


def _certain(p: Tensor, low: Constant) -> bool:
    """Whether no element is below any of these numbers: it is not negative, and they are not positive."""
    return no_minus(p.value) and 0 < low.size <= SMALL and bool((np.asarray(low) <= 0).all())


def _joined(terms: Sequence[Any]) -> Shape | None:
    """What the shapes of these broadcast to, None where that is not known."""
    joined: Shape | None = ()
    try:
        for t in terms:
            joined = broadcast(joined, t.shape)
    except ValueError:
        return None
    return joined
