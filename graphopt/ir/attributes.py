"""Attributes between messages and Python values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, SparseTensorProto, TypeProto

from graphopt.ir.tensor import Tensor


@dataclass(frozen=True, slots=True)
class Reference:
    """An attribute of a function's body that takes its value from the call (`ref_attr_name`)."""

    name: str
    type: int


def decode(a: AttributeProto, graphs: Iterator[Any], base_dir: str) -> Any:
    """The Python value of an attribute. `graphs` yields the node's subgraphs in the order of their messages."""
    if a.ref_attr_name:
        return Reference(a.ref_attr_name, a.type)
    kind = a.type or _guess(a)
    if kind == AttributeProto.INT:
        return a.i
    if kind == AttributeProto.INTS:
        return list(a.ints)
    if kind == AttributeProto.FLOAT:
        return a.f
    if kind == AttributeProto.FLOATS:
        return list(a.floats)
    if kind == AttributeProto.STRING:
        return _text(a.s)
    if kind == AttributeProto.STRINGS:
        return [_text(s) for s in a.strings]
    if kind == AttributeProto.TENSOR:
        return Tensor(a.t, base_dir=base_dir)
    if kind == AttributeProto.TENSORS:
        return [Tensor(t, base_dir=base_dir) for t in a.tensors]
    if kind == AttributeProto.GRAPH:
        return next(graphs)
    if kind == AttributeProto.GRAPHS:
        return [next(graphs) for _ in a.graphs]
    if kind == AttributeProto.SPARSE_TENSOR:
        return a.sparse_tensor
    if kind == AttributeProto.SPARSE_TENSORS:
        return list(a.sparse_tensors)
    if kind == AttributeProto.TYPE_PROTO:
        return a.tp
    return list(a.type_protos)


def bind(attributes: Mapping[str, Any], bound: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a node in the body of a function, with those of the call in place of references."""
    out = {}
    for name, value in attributes.items():
        if isinstance(value, Reference):
            if value.name in bound:
                out[name] = bound[value.name]
        else:
            out[name] = value
    return out


def encode(a: AttributeProto, name: str, value: Any) -> AttributeProto:
    """Fill the message `a` for anything but a subgraph. The kind follows the Python type: 1 is INT, 1.0 is FLOAT."""
    a.name = name
    value = _plain(value)
    first = value[0] if isinstance(value, (list, tuple)) and value else value
    many = isinstance(value, (list, tuple))
    if isinstance(first, Reference):
        a.ref_attr_name = first.name
        a.type = cast(AttributeProto.AttributeType, first.type)
    elif isinstance(first, Tensor):
        a.type = AttributeProto.TENSORS if many else AttributeProto.TENSOR
        for t in value if many else [value]:
            message = t.proto("" if t._proto is None else t._proto.name)
            (a.tensors.add() if many else a.t).CopyFrom(message)
    elif isinstance(first, (SparseTensorProto, TypeProto)):
        sparse = isinstance(first, SparseTensorProto)
        a.type = (
            (AttributeProto.SPARSE_TENSORS if many else AttributeProto.SPARSE_TENSOR)
            if sparse
            else (AttributeProto.TYPE_PROTOS if many else AttributeProto.TYPE_PROTO)
        )
        if many:
            (a.sparse_tensors if sparse else a.type_protos).extend(value)
        else:
            (a.sparse_tensor if sparse else a.tp).CopyFrom(value)
    elif isinstance(first, (str, bytes)):
        strings = [s.encode() if isinstance(s, str) else s for s in (value if many else [value])]
        a.type = AttributeProto.STRINGS if many else AttributeProto.STRING
        if many:
            a.strings.extend(strings)
        else:
            a.s = strings[0]
    elif isinstance(first, float) or (many and any(isinstance(v, float) for v in value)):
        a.type = AttributeProto.FLOATS if many else AttributeProto.FLOAT
        if many:
            a.floats.extend(value)
        else:
            a.f = value
    else:
        a.type = AttributeProto.INTS if many else AttributeProto.INT
        if many:
            a.ints.extend(value)
        else:
            a.i = int(value)
    return a


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays as Python has them."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [v.item() if isinstance(v, np.generic) else v for v in value]
    return value


def find_subgraph_messages(node: NodeProto) -> list[GraphProto]:
    """The subgraphs in a node's attributes, in the order in which `decode` asks for them."""
    return [g for a in node.attribute for g in graph_messages(a)]


def graph_messages(a: AttributeProto) -> list[GraphProto]:
    """The graphs that an attribute holds."""
    if a.ref_attr_name:
        return []
    if a.type == AttributeProto.GRAPH or (not a.type and a.HasField("g")):
        return [a.g]
    return list(a.graphs) if a.type in (AttributeProto.GRAPHS, AttributeProto.UNDEFINED) else []


def _text(s: bytes) -> str | bytes:
    try:
        return s.decode()
    except UnicodeDecodeError:
        return s


def _guess(a: AttributeProto) -> int:
    """The kind of an attribute that names none, as IR versions 1 and 2 allowed."""
    for field, kind in _FIELDS:
        if a.HasField(field) if field in ("f", "i", "s", "t", "g") else len(getattr(a, field)):
            return kind
    return AttributeProto.INTS


_FIELDS = (
    ("f", AttributeProto.FLOAT),
    ("i", AttributeProto.INT),
    ("s", AttributeProto.STRING),
    ("t", AttributeProto.TENSOR),
    ("g", AttributeProto.GRAPH),
    ("floats", AttributeProto.FLOATS),
    ("ints", AttributeProto.INTS),
    ("strings", AttributeProto.STRINGS),
    ("tensors", AttributeProto.TENSORS),
    ("graphs", AttributeProto.GRAPHS),
)
