"""What picks and marks elements, spelled out."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from graphopt.patterns._positions import positions
from graphopt.patterns._shapes import axes_of, leaf, made_by, no_minus
from graphopt.rewrite import Int, op, rule
from graphopt.rewrite.matching import params

#: Dtypes in which runtimes have a kernel for marks by integers.
_MARKS = (TensorProto.INT64, TensorProto.FLOAT)


@rule(exact=True)
def one_hot(wide, places, t: Int):
    """To compare each index with all places is to mark it among them."""
    marks = op.Cast(op.Equal(wide, places), to=t)
    yield marks
    unsqueeze = made_by(wide, "Unsqueeze", marks.value)
    named = params(unsqueeze, 1, ("axes",), False) if unsqueeze is not None else None
    if unsqueeze is None or named is None or not places.rank or wide.rank is None or wide.rank < places.rank:
        return "not indices with a dim of their own"
    found, depth = positions(places.value), places.shape[-1]
    if found is None or found.axis != places.rank - 1 or not isinstance(depth, int):
        return "not compared with so many places in a row"
    if axes_of(named[0] or (), wide.rank) != [wide.rank - 1] or any(d != 1 for d in places.shape[:-1]):
        return "the places do not get a last dim of their own"
    x = leaf(unsqueeze.inputs[0])
    if t not in _MARKS or not no_minus(x.value):
        return "no kernel for these marks, or an index may count from the end"
    yield op.OneHot(x, np.array(depth), np.array([0, 1], helper.tensor_dtype_to_np_dtype(t)), axis=-1)
