"""What compiled patterns call while they match."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from graphopt.ir import IRRELEVANT_ATTRIBUTES, Dim, Graph, Node, Reference, Tensor, Value, input_of, op_schema
from graphopt.shapes import same_dims

#: Relative distance within which an inexact rule takes a constant for a number that the dtype cannot hold exactly.
_CLOSE = {"float64": 1e-6, "float32": 1e-6, "float16": 2e-3, "bfloat16": 8e-3}


def producer(v: Value | None, op: str, index: int, graph: Graph) -> Node | None:
    """The node that a value is an output of, where it is one of this operator, in this graph, and the value that output."""
    if v is None or v.index != index:
        return None
    n = v.node
    return n if n is not None and n.op == op and n.graph is graph else None


def operands(node: Node, count: int, bare: bool, whole: bool) -> list[Value | None] | None:
    """The first inputs of a node, None for those that are left out.

    Args:
        bare: give None where the node says more than these.
        whole: give None where one is left out.
    """
    inputs = node.inputs
    if bare and (len(inputs) > count or node.attributes) and not plain(node, count):
        return None
    if len(inputs) != count:
        inputs = inputs[:count] + [None] * (count - len(inputs))
    return None if whole and None in inputs else inputs


def orders(node: Node, bare: bool, whole: bool) -> tuple[tuple[Value | None, Value | None], ...]:
    """Both orders of two operands, none where there are more or fewer; `bare` and `whole` as above."""
    inputs = node.inputs
    if len(inputs) != 2 or (bare and node.attributes and not plain(node, 2)):
        return ()
    a, b = inputs
    return () if whole and (a is None or b is None) else ((a, b), (b, a))


def plain(node: Node, positional: int) -> bool:
    """Whether nothing about the node goes beyond its first inputs: other inputs are left out, attributes are defaults."""
    return params(node, positional, (), False) is not None


def params(node: Node, positional: int, names: Sequence[str], rest: bool) -> list[Any] | None:
    """Parameters by name, wherever this opset keeps them: in attributes or in constant inputs; defaults filled in.

    Args:
        positional: so many inputs are matched elsewhere; further ones must be asked for by name or be left out.
        rest: add a dict of all other attributes (defaults included) at the end, instead of asking that they are defaults.

    Returns None where a parameter is computed by the graph, or something is set that nobody asked for.
    """
    graph = node.graph
    assert graph is not None
    version = graph.opsets.get(node.domain)
    schema = op_schema(node.op_type, version, node.domain) if version is not None else None
    attributes, inputs = node.attributes, node.inputs
    out: list[Any] = []
    claimed: set[int] = set()
    for name in names:
        if name in attributes:
            value = attributes[name]
            if isinstance(value, Reference):
                return None
            out.append(value)
            continue
        if schema is None or name in schema.attributes:
            out.append(schema.attributes[name].default if schema is not None else None)
            continue
        i = input_of(schema, name)
        v = inputs[i] if i is not None and i < len(inputs) else None
        if v is None:
            out.append(None)
            continue
        if v.const is None:
            return None
        assert i is not None
        claimed.add(i)
        out.append(_plain_value(v.const))
    for i in range(positional, len(inputs)):
        if inputs[i] is not None and i not in claimed:
            return None
    others: dict[str, Any] = {}
    for name, value in attributes.items():
        if name in names:
            continue
        if isinstance(value, Reference):
            return None
        if rest:
            others[name] = value
        elif (node.op_type, name) not in IRRELEVANT_ATTRIBUTES and not _is_default(schema, name, value):
            return None
    if rest:
        if schema is not None:
            for name, a in schema.attributes.items():
                if a.default is not None and name not in names:
                    others.setdefault(name, a.default)
        out.append(others)
    return out


def attributes(node: Node, positional: int, names: Sequence[str], kinds: Sequence[str], rest: bool) -> list[Any] | None:
    """What `params` says, each as its kind has it; None where one is of another kind, or left out (kinds with '?' may be)."""
    found = params(node, positional, names, rest)
    if found is None:
        return None
    for i, kind in enumerate(kinds):
        if kind:
            value = found[i]
            convert, holds = _KINDS[kind.rstrip("?")]
            found[i] = converted = value if convert is None else convert(value, node)
            if not holds(converted) and (value is not None or kind[-1] != "?"):
                return None
    return found


def _is_default(schema: Any, name: str, value: Any) -> bool:
    default = schema.attributes[name].default if schema is not None and name in schema.attributes else None
    if default is None or (isinstance(default, float) and isinstance(value, float)):
        return default is not None and bool(np.float32(default) == np.float32(value))
    return bool(default == value)


def _plain_value(t: Tensor) -> Any:
    array = t.numpy()
    value = array.tolist()
    return value[0] if array.shape == (1,) and array.dtype.kind == "f" else value


def is_ints(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(i, int) for i in value)


def as_int(value: Any) -> int | None:
    """An int, or the only int of a list (K of TopK is a tensor of one)."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def as_float(value: Any) -> float | None:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def axis_of(value: Any, node: Node) -> int | None:
    """A non-negative axis of the node's first input."""
    first = node.inputs[0] if node.inputs else None
    axis = as_int(value)
    if axis is None or axis >= 0:
        return axis
    return axis + len(first.shape) if first is not None and first.shape is not None else None


def perm_of(value: Any, node: Node) -> list[int] | None:
    """A permutation; left out, it reverses the dims."""
    if value is not None:
        return value
    first = node.inputs[0] if node.inputs else None
    return list(range(len(first.shape)))[::-1] if first is not None and first.shape is not None else None


def _is_there(value: Any) -> bool:
    return value is not None


#: By the kind of an attribute: how it is read, and what must hold of it then.
_KINDS: dict[str, tuple[Callable[[Any, Node], Any] | None, Callable[[Any], bool]]] = {
    "any": (None, _is_there),
    "int": (lambda value, node: as_int(value), _is_there),
    "ints": (None, is_ints),
    "float": (lambda value, node: as_float(value), _is_there),
    "floats": (None, lambda value: isinstance(value, list)),
    "str": (None, lambda value: isinstance(value, str)),
    "axis": (axis_of, _is_there),
    "perm": (perm_of, _is_there),
}


def same_attribute(value: Any, literal: Any) -> bool:
    """Whether an attribute has the value that a rule writes; floats as float32 holds them, a list of one as a number."""
    if isinstance(value, list) and len(value) == 1 and isinstance(literal, (int, float)):
        value = value[0]
    if isinstance(literal, float) and isinstance(value, (float, int)):
        return bool(np.float32(literal) == np.float32(value))
    if isinstance(literal, (list, tuple)) and isinstance(value, list):
        return len(literal) == len(value) and all(same_attribute(v, x) for v, x in zip(value, literal, strict=True))
    return bool(value == literal)


def is_number(v: Value | None, number: float | int | bool, operands: Sequence[Value | None], exact: bool) -> bool:
    """Whether a value is a constant with the one given element, and would broadcast like a scalar with these operands.

    To an exact rule 0.0 and -0.0 are two numbers.
    """
    t = v.const if v is not None else None
    if v is None or t is None or (len(t.dims) and any(d != 1 for d in t.dims)):
        return False
    found = t.item()
    if isinstance(found, str) or found is None:
        return False
    if found != number:
        array = t.numpy()
        tolerance = _CLOSE.get(array.dtype.name)
        if exact or tolerance is None or not np.isfinite(number) or not np.isfinite(found):
            return False
        if float(np.asarray(number, array.dtype)) == number or abs(found - number) > tolerance * abs(number):
            return False
    elif exact and not number and isinstance(found, float) and math.copysign(1, found) != math.copysign(1, number):
        return False
    return rank_fits(v, operands)


def is_filled(v: Value | None, number: float) -> bool:
    """Whether a value is a constant, every element of which is this number."""
    return v is not None and v.const is not None and v.const.fill == number


def rank_fits(v: Value, operands: Sequence[Value | None]) -> bool:
    """Whether a constant of one element adds no dims to the result; another such constant cannot tell."""
    assert v.const is not None
    rank = len(v.const.dims)
    return not rank or any(
        o is not None and o.shape is not None and len(o.shape) >= rank and (o.const is None or o.const.size != 1)
        for o in operands
    )


def is_array(v: Value | None, wanted: Any) -> bool:
    """Whether a value is a constant equal to an array, shape included."""
    if v is None or v.const is None:
        return False
    array = np.asarray(wanted)
    return v.const.dims == array.shape and bool(np.array_equal(v.const.numpy(), array))


def bags(node: Node, op: str, size: int, graph: Graph) -> Iterator[tuple[list[Value], list[Node]]]:
    """The ways to read a tree of one associative operator, with `node` on top, as a bag of `size` operands.

    Yields the operands and the nodes between them and `node`.
    """

    def expand(leaves: list[Value], inner: list[Node], start: int) -> Iterator[tuple[list[Value], list[Node]]]:
        if len(leaves) == size:
            yield leaves, inner
            return
        for i in range(start, len(leaves)):
            n = leaves[i].node
            if n is None or n.op != op or n.graph is not graph or len(n.inputs) != 2 or not _bare(n):
                continue
            a, b = n.inputs
            if a is not None and b is not None:
                yield from expand([*leaves[:i], a, b, *leaves[i + 1 :]], [*inner, n], i)

    a, b = node.inputs
    if a is not None and b is not None and _bare(node):
        yield from expand([a, b], [], 0)


def _bare(node: Node) -> bool:
    """Whether a node has no attributes that say something, as those about broadcasting before opset 7."""
    return not node.attributes or plain(node, 2)


def dims_match(wanted: Sequence[tuple[Value | None, tuple[str, ...]]]) -> dict[str, Dim] | None:
    """Unify shape annotations; the dims by letter, None where a rank or a dim differs or cannot be proved equal."""
    letters: dict[str, Dim] = {}
    for v, dims in wanted:
        if v is None:
            continue
        shape = v.shape
        if shape is None:
            return None
        if dims[:1] == ("...",):
            dims = dims[1:]
            if len(shape) < len(dims):
                return None
            shape = shape[len(shape) - len(dims) :]
        if len(shape) != len(dims):
            return None
        for letter, dim in zip(dims, shape, strict=True):
            if letter == "_":
                continue
            if letter.isdigit():
                if dim != int(letter):
                    return None
            elif letter not in letters:
                letters[letter] = dim
            elif not same_dims(letters[letter], dim):
                return None
    return letters
