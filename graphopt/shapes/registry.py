"""The table from operator and version to the function that tells the types of its outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.errors import ArgumentError
from graphopt.ir.node import op_key
from graphopt.shapes.types import TypeInfo

if TYPE_CHECKING:
    from graphopt.shapes.site import Site


#: Tells the types of a node's outputs, a single one or one for each; fewer than the node has leave the rest unknown.
ShapeFunction = Callable[["Site"], "TypeInfo | Sequence[TypeInfo]"]
#: Computes the elements of a node's only output from those of its inputs (arrays of dims, None where an input is not
#: known), given the output's type; None where they are not known.
ValueFunction = Callable[["Site", "list[np.ndarray | None]", TypeInfo], Any]

_shape_functions: dict[str, list[tuple[int, ShapeFunction]]] = {}
_value_functions: dict[str, ValueFunction] = {}
_given: set[str] = set()  # operators that users have described


def infers(*op_types: str, domain: str = "", since: int = 1) -> Callable[[ShapeFunction], ShapeFunction]:
    """Register the shape function of operators, from this version of their operator set on."""

    def register(function: ShapeFunction) -> ShapeFunction:
        for op_type in op_types:
            versions = _shape_functions.setdefault(op_key(op_type, domain), [])
            versions[:] = sorted([*(v for v in versions if v[0] != since), (since, function)], key=lambda v: v[0])
        shape_function_for.cache_clear()
        return function

    return register


def computes(*op_types: str, domain: str = "") -> Callable[[ValueFunction], ValueFunction]:
    """Register the function that computes with the elements of shape tensors."""

    def register(function: ValueFunction) -> ValueFunction:
        _value_functions.update(dict.fromkeys((op_key(op_type, domain) for op_type in op_types), function))
        return function

    return register


def shape_function(name: str, since: int = 1) -> Callable[[ShapeFunction], ShapeFunction]:
    """Tell the types of an operator's outputs, as a decorator.

        @graphopt.shape_function("my.domain::Rotate")
        def rotate(node):
            return node.like(0)

    It goes before the body that a model may have for the operator. The function gets a `Site` and returns a `TypeInfo`, or a
    list of them, one for each output. It may raise ValueError where the inputs cannot be, and need not tell what it does not
    know.

    Args:
        name: domain and operator with '::' between.
        since: the first version of the domain's operator set that it holds for.

    Raises:
        ArgumentError: the name has no domain; the operators of ONNX itself are not for others to describe.
    """
    domain, separator, op_type = name.rpartition("::")
    if not separator or not domain or not op_type or domain == "ai.onnx":
        raise ArgumentError(f"shape_function: '{name}' must be an operator with its domain, as in 'my.domain::Rotate'")
    _given.add(op_key(op_type, domain))
    return infers(op_type, domain=domain, since=since)


@cache
def shape_function_for(op: str, version: int) -> ShapeFunction | None:
    """The function in force for an operator at a version of its operator set, None where there is none."""
    _operators()
    found = None
    for since, function in _shape_functions.get(op, ()):
        if since <= version:
            found = function
    return found


def is_described(op: str, version: int) -> bool:
    """Whether a user has told the types of an operator's outputs at a version of its operator set."""
    return op in _given and shape_function_for(op, version) is not None


def value_function_for(op: str) -> ValueFunction | None:
    _operators()
    return _value_functions.get(op)


def operators_on_elements() -> list[str]:
    """The operators whose outputs' elements may be known."""
    _operators()
    return list(_value_functions)


@cache
def _operators() -> None:
    """Import the functions of all operators, which registers them."""
    from graphopt.shapes import elements, operators  # noqa: F401 - their decorators register them
