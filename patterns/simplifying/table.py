"""Tables: rows that a matrix product or an addition makes of them are picked by their index."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from graphopt.patterns._elementwise import chosen
from graphopt.patterns._positions import positions
from graphopt.patterns._weights import per_column
from graphopt.patterns._windows import finite, refuses_weights, wide
from graphopt.rewrite import Attrs, Axis, Const, Int, Ints, any_of, op, rule
from graphopt.rewrite.terms import Constant
from graphopt.shapes import same_shape

_INDICES = (TensorProto.INT64, TensorProto.INT32)
#: Constants of more elements are not looked at.
_LARGEST = 1 << 16


@rule(since=12)
def product_of_one_hot(x, axes: Ints, shape, r: Attrs, places, t: Int, w: Const["K N"]):
    """What is 1 at one place and 0 at all others, times a table, is the row of that place; zeros, where there is none."""
    column = any_of(op.Unsqueeze(x, axes=axes), op.Reshape(x, shape, **r))
    marks = op.Cast(op.Equal(column, places), to=t)
    yield marks @ w
    n = w.shape[0]
    if x.shape is None or not same_shape(chosen(column).shape, (*x.shape, 1)):
        return "the indices do not get a last dim of their own"
    if not _in_a_row(places):
        return "not compared with places in a row"
    if not same_shape(marks.shape, (*x.shape, n)):
        return "as many places as rows are not known, or others for other indices"
    if np.asarray(w).dtype.kind != "f" or not finite(w):
        return "no rows of floats, or infinities, which times 0 would be NaN"
    # behind the rows stands one of zeros, which is the last for -1 too
    rows = np.concatenate([np.asarray(w), np.zeros((1, w.shape[1]))])
    yield op.Gather(_as(rows, w), op.Clip(x, min=-1, max=n))


def _in_a_row(places: Any) -> bool:
    """Whether a tensor counts 0, 1, 2... along its last dim."""
    if places.is_const and places.shape and places.dtype in _INDICES:
        n = places.shape[-1]
        return n == prod(places.shape) < _LARGEST and np.array_equal(
            np.asarray(places.value.const.numpy()).ravel(), np.arange(n)
        )
    found = positions(places.value)
    return found is not None and places.rank - found.axis == 1


@rule
def gather_plus_shift(table: Const["_ N"], x, axis: Axis, c: Const):
    """A shift per column of rows that were picked goes into the table."""
    rows = op.Gather(table, x, axis=axis)
    yield rows + c
    if axis != 0:
        return "columns are picked"
    if why := refuses_weights(rows, table):
        return why
    shift = per_column(c, rows.rank, table.shape[1])
    if shift is None:
        return "not one finite shift per column"
    yield op.Gather(_as(wide(table) + shift, table), x)


def _as(rows: np.ndarray, table: Constant) -> np.ndarray:
    """In the dtype of a table."""
    return rows.astype(helper.tensor_dtype_to_np_dtype(table.onnx_dtype))
