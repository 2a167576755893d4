"""What picks and marks elements, spelled out."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from graphopt.patterns._positions import positions
from graphopt.patterns._shapes import no_minus
from graphopt.rewrite import Int, Ints, op, rule
from graphopt.shapes import same_shape

#: Dtypes in which runtimes have a kernel for marks by integers.
_MARKS = (TensorProto.INT64, TensorProto.FLOAT)
#: Of which a product with 0 or 1 is 0 or the number itself, whatever it is.
_INTEGERS = frozenset((TensorProto.INT64, TensorProto.INT32))


@rule(exact=True, since=9)
def where_of_masks(m, x, y, t: Int, u: Int):
    """Integers times a mask, and others times the mask's contrary, added: one or the other where the mask says so."""
    yield x * op.Cast(m, to=t) + y * op.Cast(op.Not(m), to=u)
    if x.dtype not in _INTEGERS:
        return "not integers"
    yield op.Where(m, x, y)


@rule(exact=True)
def one_hot(x, axes: Ints, places, t: Int):
    """To compare each index with all places is to mark it among them."""
    wide = op.Unsqueeze(x, axes=axes)
    marks = op.Cast(op.Equal(wide, places), to=t)
    yield marks
    if x.shape is None or not same_shape(wide.shape, (*x.shape, 1)):
        return "the indices do not get a last dim of their own"
    found = positions(places.value)
    if found is None or places.rank - found.axis != 1:
        return "not compared with places in a row"
    depth = places.shape[-1]
    if not isinstance(depth, int) or not depth or not same_shape(marks.shape, (*x.shape, depth)):
        return "no places, of unknown number, or others for other indices"
    if t not in _MARKS or not no_minus(x.value):
        return "no kernel for these marks, or an index may count from the end"
    yield op.OneHot(x, np.array(depth, np.int64), np.array([0, 1], helper.tensor_dtype_to_np_dtype(t)))
