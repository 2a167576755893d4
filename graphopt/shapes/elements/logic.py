"""Comparisons of elements, truth values, and choices between elements."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from graphopt.ir import Dim
from graphopt.shapes import dims
from graphopt.shapes.elements.arrays import (
    Array,
    Inputs,
    array_of,
    map_known,
    static_sizes,
)
from graphopt.shapes.registry import computes
from graphopt.shapes.site import Site
from graphopt.shapes.types import TypeInfo

_COMPARISONS: dict[str, Callable[[Dim, Dim], bool | None]] = {
    "Equal": dims.same_dims,
    "Less": dims.less,
    "LessOrEqual": dims.less_equal,
    "Greater": lambda a, b: dims.less(b, a),
    "GreaterOrEqual": lambda a, b: dims.less_equal(b, a),
}


@computes(*_COMPARISONS)
def comparison(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Whether two elements compare; None where nobody can tell."""
    if inputs[0] is None or inputs[1] is None:
        return None
    compare = _COMPARISONS[node.op_type]

    def answer(a: Dim, b: Dim) -> Dim:
        found = compare(a, b)
        return None if found is None else int(found)

    return map_known(answer, inputs[0], inputs[1])


@computes("And", "Or", "Xor")
def logic(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Truth tables, with the answers that one operand alone decides."""
    op = node.op_type
    decides = {"And": 0, "Or": 1}.get(op)

    def combine(a: Dim, b: Dim) -> Dim:
        if decides is not None and decides in (a, b):
            return decides
        if a is None or b is None:
            return None
        return int(a != b) if op == "Xor" else 1 - (decides or 0)

    if inputs[0] is None or inputs[1] is None:
        return None
    return np.asarray(np.frompyfunc(combine, 2, 1)(inputs[0], inputs[1]), object)


@computes("Not")
def not_(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """The other truth value."""
    return None if inputs[0] is None else map_known(lambda e: 1 - e if isinstance(e, int) else None, inputs[0])


@computes("Where")
def where(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """One or the other; where the condition is not known, what both have in common."""
    condition, x, y = inputs
    if x is None or y is None:
        return None
    if condition is None:
        sizes = static_sizes(node.shape(0))
        if sizes is None:
            return None
        condition = array_of([None] * math.prod(sizes), sizes)

    def choose(c: Dim, a: Dim, b: Dim) -> Dim:
        if c is None:
            return a if dims.same_dims(a, b) else None
        return a if c else b

    with np.errstate(invalid="ignore"):  # NaN among the elements
        return np.asarray(np.frompyfunc(choose, 3, 1)(condition, x, y), object)
