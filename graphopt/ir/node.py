"""Values and nodes, with use-def links both ways.

A node that nobody touched keeps the message that it was read from and is saved as that message.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import NodeProto, TypeProto

from graphopt.ir.attributes import decode
from graphopt.ir.tensor import Tensor

if TYPE_CHECKING:
    from graphopt.ir.graph import Graph

Dim = Any
"""A dimension: an int, a name (the same name is the same number), an expression over names, None where it is unknown."""
Shape = tuple[Dim, ...]


class Value:
    """One tensor (or sequence, optional, map) that flows along an edge.

    Attributes:
        name: unique among the values that are visible together.
        node: its producer, None for graph inputs, initializers and loop variables.
        index: which output of the producer it is.
        graph: the graph that it belongs to.
        uses: the nodes that read it, each with the number of its inputs that do; nodes of subgraphs included.
        exits: how many outputs of its graph it is.
        dtype: `onnx.TensorProto.DataType`; 0 where unknown or not a dense tensor.
        shape: its dims, None where the rank is unknown.
        type: the type message where it is not a dense tensor.
        const: its value where that can never change: a Constant's output, an initializer that no caller overrides.
        known: its elements as far as inference follows them, an array of dims (None: an element that is not known).
    """

    __slots__ = ("const", "dtype", "exits", "graph", "index", "known", "name", "node", "shape", "type", "uses")

    def __init__(self, name: str, graph: Graph, node: Node | None = None, index: int = 0) -> None:
        self.name = name
        self.node = node
        self.index = index
        self.graph = graph
        self.uses: dict[Node, int] = {}
        self.exits = 0
        self.dtype = 0
        self.shape: Shape | None = None
        self.type: TypeProto | None = None
        self.const: Tensor | None = None
        self.known: np.ndarray | None = None

    @property
    def used(self) -> bool:
        return bool(self.uses) or self.exits > 0

    @property
    def rank(self) -> int | None:
        return None if self.shape is None else len(self.shape)

    def rename(self, name: str) -> None:
        """Take another name; the caller sees to it that the name is free."""
        if name == self.name:
            return
        self.name = name
        if self.node is not None:
            self.node.touch()
        for user in self.uses:
            user.touch()
        self.graph.touch()

    def replace_uses(self, new: Value) -> None:
        """Let every user, and every graph output that this value is, read `new` instead."""
        if new is self:
            return
        for user in list(self.uses):
            for i, v in enumerate(user.inputs):
                if v is self:
                    user.set_input(i, new)
        if self.exits:
            outputs = self.graph.outputs
            for i, v in enumerate(outputs):
                if v is self:
                    self.graph.set_output(i, new)

    def __repr__(self) -> str:
        return f"Value({self.name!r})"


class Node:
    """One operator application.

    Attributes:
        op: operator type, with its domain in front unless that is ONNX's own: 'Conv', 'com.microsoft::Gelu'.
        inputs: None where an optional input is left out.
        outputs: None where an optional output is left out.
        graph: the graph that holds it, None once it has been removed.
        position: grows along the graph; compare two nodes of one graph by it.
    """

    __slots__ = (
        "_attributes", "_proto", "domain", "graph", "inputs", "name", "next", "op", "op_type", "outputs",
        "overload", "position", "prev", "stale", "subgraphs",
    )  # fmt: skip

    def __init__(
        self,
        op_type: str,
        inputs: list[Value | None],
        *,
        domain: str = "",
        name: str = "",
        overload: str = "",
        attributes: dict[str, Any] | None = None,
        proto: NodeProto | None = None,
    ) -> None:
        self.op_type = op_type
        self.domain = domain
        self.overload = overload
        self.op = op_key(op_type, domain)
        self.name = name
        self.inputs = inputs
        self.outputs: list[Value | None] = []
        self._attributes = {} if attributes is None and proto is None else attributes
        self._proto = proto
        self.stale = proto is None
        self.subgraphs: list[Graph] = []
        self.graph: Graph | None = None
        self.prev: Node | None = None
        self.next: Node | None = None
        self.position = 0

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes by name as Python values: int, float, str, Tensor, Graph, lists of these, or messages. Do not write."""
        if self._attributes is None:
            proto = self._proto
            assert proto is not None and self.graph is not None
            if proto.attribute:
                graphs = iter(self.subgraphs)
                self._attributes = {a.name: decode(a, graphs, self.graph.base_dir) for a in proto.attribute}
            else:
                self._attributes = {}
        return self._attributes

    @property
    def proto(self) -> NodeProto | None:
        """The message that the node was read from, less the attributes that were set anew."""
        return self._proto

    @property
    def output(self) -> Value:
        """The first output."""
        v = self.outputs[0]
        assert v is not None
        return v

    @property
    def label(self) -> str:
        """What messages call it: its name, else that of the first output that it has; '' where it has neither."""
        return self.name or next((v.name for v in self.outputs if v is not None), "")

    def set_attribute(self, name: str, value: Any) -> None:
        self._attributes = {**self.attributes, name: value}
        self._forget_attribute(name)

    def remove_attribute(self, name: str) -> None:
        self._attributes = {n: v for n, v in self.attributes.items() if n != name}
        self._forget_attribute(name)

    def _forget_attribute(self, name: str) -> None:
        source = self._proto
        if source is not None and any(a.name == name for a in source.attribute):
            self._proto = NodeProto()
            self._proto.CopyFrom(source)
            del self._proto.attribute[:]
            self._proto.attribute.extend([a for a in source.attribute if a.name != name])
        self.touch()

    def set_input(self, i: int, value: Value | None) -> None:
        """Read `value` at input i; uses on both sides are kept right."""
        old = self.inputs[i]
        if old is value:
            return
        if old is not None:
            _drop_use(old, self)
        self.inputs[i] = value
        if value is not None:
            value.uses[self] = value.uses.get(self, 0) + 1
        self.touch()

    def put_input(self, i: int, value: Value | None) -> None:
        """Read `value` at input i, which may lie behind the last; nothing is listed behind the last that is there."""
        self.inputs += [None] * (i + 1 - len(self.inputs))
        self.set_input(i, value)
        while self.inputs and self.inputs[-1] is None:
            self.inputs.pop()
        self.touch()

    def become(self, op_type: str) -> None:
        """Be another operator of the same domain."""
        self.op_type = op_type
        self.op = op_key(op_type, self.domain)
        self.touch()

    def touch(self) -> None:
        """Note that the message which the node came from no longer tells the truth."""
        if not self.stale:
            self.stale = True
            if self.graph is not None:
                self.graph.touch()

    def new_output(self, name: str) -> Value:
        """Append an output with this name."""
        assert self.graph is not None
        v = Value(name, self.graph, self, len(self.outputs))
        self.outputs.append(v)
        return v

    def inherit(self, other: Node) -> None:
        """Take over the metadata and doc string of the node that this new one stands for."""
        source = other._proto
        if self._proto is None and source is not None and (source.metadata_props or source.doc_string):
            self._proto = NodeProto(doc_string=source.doc_string, metadata_props=source.metadata_props)

    def set_metadata(self, entries: Mapping[str, str]) -> None:
        """Set entries of `metadata_props`, the others stay; one without text goes."""
        message = NodeProto()
        if self._proto is not None:
            message.CopyFrom(self._proto)
        kept = [p for p in message.metadata_props if p.key not in entries]
        message.ClearField("metadata_props")
        message.metadata_props.extend(kept)
        for key, value in entries.items():
            if value:
                message.metadata_props.add(key=key, value=value)
        self._proto = message
        self.touch()

    def bodies(self) -> Iterator[tuple[str, Graph]]:
        """The subgraphs, each with the attribute that holds it, by name."""
        graphs = {id(g) for g in self.subgraphs}
        for name, value in sorted(self.attributes.items()) if graphs else ():
            for body in value if isinstance(value, list) else [value]:
                if id(body) in graphs:
                    yield name, body

    def users(self) -> Iterator[Node]:
        """The nodes that read any output, each once per output."""
        for v in self.outputs:
            if v is not None:
                yield from v.uses

    def __repr__(self) -> str:
        outs = ", ".join(v.name if v else "" for v in self.outputs)
        ins = ", ".join(v.name if v else "" for v in self.inputs)
        return f"{outs} = {self.op}({ins})"


def op_key(op_type: str, domain: str) -> str:
    """How a node's operator is spelt in tables: the bare type for ONNX's own domain."""
    return sys.intern(f"{domain}::{op_type}" if domain else op_type)


def _drop_use(value: Value, node: Node) -> None:
    count = value.uses[node] - 1
    if count:
        value.uses[node] = count
    else:
        del value.uses[node]
