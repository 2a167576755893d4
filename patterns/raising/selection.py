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
