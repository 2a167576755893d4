"""What is computed and never read is not computed: channels, columns and rows that are cut off behind products with weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.patterns._parts import Part, part_of
from graphopt.patterns._shapes import from_the_front, size_of, slices_of
from graphopt.rewrite import Axis, Const, Ints, Maybe, op, rule

#: Places of an axis are listed up to so many.
_LARGEST = 1 << 16
_NOTHING = "no product in front, such as Conv or MatMul, is computed for the rest alone"


@rule
def slice_of_product(y, starts: Ints, ends: Ints, axes: Maybe[Ints], steps: Maybe[Ints]):
    """A slice of what weights make is what a slice of the weights makes."""
    part = op.Slice(y, starts=starts, ends=ends, axes=axes, steps=steps)
    yield part
    cut = slices_of(starts, ends, axes, steps, y.rank)
    if cut is None or len(cut) != 1:
        return "not along one axis"
    ((axis, bounds),) = cut.items()
    size, front = size_of(y, axis), from_the_front(bounds, size_of(y, axis))
    if not isinstance(size, int) or front is None or not 0 < size <= _LARGEST:
        return "the size of the axis is not known, or it is reversed"
    places = tuple(range(size)[slice(*front)])
    if not 0 < len(places) < size:
        return "all or nothing"
    found = part_of(y.value, Part(axis, places), part.value.node, 1)
    if found is None:
        return _NOTHING
    yield found


@rule
def gather_of_product(y, indices: Const, axis: Axis):
    """Elements along an axis of what weights make are what these of the weights make."""
    part = op.Gather(y, indices, axis=axis)
    yield part
    size = size_of(y, axis)
    if indices.ndim > 1 or not 0 < indices.size <= _LARGEST:
        return "not a list of places"
    places = tuple(np.asarray(indices).reshape(-1).tolist())
    if isinstance(size, int):
        places = tuple(i % size for i in places if size)
    if len(set(places)) != indices.size or (len(places) == size if isinstance(size, int) else min(places) < 0):
        return "everything, or some of it twice, or from the end of a dim of unknown size"
    found: Any = part_of(y.value, Part(axis, places, indices.ndim == 0), part.value.node, 1)
    if found is None and indices.ndim == 0:
        found = part_of(y.value, Part(axis, places), part.value.node, 0)
        found = None if found is None else op.Squeeze(found, axes=[axis])
    if found is None:
        return _NOTHING
    yield found
