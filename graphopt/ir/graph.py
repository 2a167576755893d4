"""The graph: values and nodes with use-def links both ways, safe to change while it is walked.

A node that nobody touched keeps the message that it was read from and is saved as that message.
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import NodeProto, TypeProto, ValueInfoProto

from graphopt.ir.attributes import decode
from graphopt.ir.tensor import Tensor

if TYPE_CHECKING:
    from graphopt.ir.model import Model

Dim = Any
"""A dimension: an int, a name (the same name is the same number), a SymPy expression over names, None where it is unknown."""
Shape = tuple[Dim, ...]

#: Distance between the positions of neighbours in a freshly numbered graph; room for insertions.
_GAP = 1 << 20


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

    def users(self) -> Iterator[Node]:
        """The nodes that read any output, each once per output."""
        for v in self.outputs:
            if v is not None:
                yield from v.uses

    def __repr__(self) -> str:
        outs = ", ".join(v.name if v else "" for v in self.outputs)
        ins = ", ".join(v.name if v else "" for v in self.inputs)
        return f"{outs} = {self.op}({ins})"


class Graph:
    """Inputs, initializers, nodes in topological order, outputs. A subgraph's `owner` is the node that holds it.

    Attributes:
        inputs: an initializer that is also an input is in both; such a value has no `const`.
        initializers: values with the tensors that they start with.
        opsets: version by domain ('' is ONNX's own), shared with the model or function that holds the graph.
        touched: something in it, or in a subgraph, differs from what was read.
        value_infos: types of inner values to save instead of those that were read.
    """

    def __init__(
        self, model: Model, name: str = "", owner: Node | None = None, opsets: dict[str, int] | None = None
    ) -> None:
        self.model = model
        self.name = name
        self.owner = owner
        self.opsets: dict[str, int] = model.opsets if opsets is None else opsets
        self.base_dir = model.base_dir
        self.inputs: list[Value] = []
        self.outputs: list[Value] = []
        self.initializers: dict[Value, Tensor] = {}
        self.input_infos: dict[Value, ValueInfoProto] = {}
        self.output_infos: list[ValueInfoProto] = []
        self.first: Node | None = None
        self.last: Node | None = None
        self.size = 0
        self.holders: dict[Node, None] = {}  # the nodes that have subgraphs
        self.pinned: frozenset[str] = frozenset()  # what quantization annotations and training refer to by name
        self.touched = False
        self.value_infos: list[ValueInfoProto] | None = None
        self.source: Any = None  # the GraphProto or FunctionProto read from, for all that is kept as it is

    # ------------------------------------------------------------------ reading
    def __iter__(self) -> Iterator[Node]:
        """Nodes in order. Nodes may be inserted and removed meanwhile; one inserted before the current is not visited."""
        node = self.first
        while node is not None:
            if node.graph is self:
                yield node
            node = node.next

    def __len__(self) -> int:
        return self.size

    def walk(self) -> Iterator[Node]:
        """Nodes of this graph and, after each, those of its subgraphs."""
        for node in self:
            yield node
            for sub in node.subgraphs:
                yield from sub.walk()

    def subgraphs(self) -> Iterator[Graph]:
        """This graph and all below it."""
        yield self
        for node in list(self.holders):
            for sub in node.subgraphs:
                yield from sub.subgraphs()

    @property
    def parent(self) -> Graph | None:
        return None if self.owner is None else self.owner.graph

    def encloses(self, other: Graph) -> bool:
        """Whether `other` is this graph or lies inside it."""
        g: Graph | None = other
        while g is not None:
            if g is self:
                return True
            g = g.parent
        return False

    # ----------------------------------------------------------------- changing
    def touch(self) -> None:
        if not self.touched:
            self.touched = True
            if self.owner is not None:
                self.owner.touch()

    def append(self, node: Node) -> None:
        """Put a node at the end."""
        self._link(node, self.last, None)
        node.position = _GAP if node.prev is None else node.prev.position + _GAP
        self.touch()

    def insert_before(self, anchor: Node, node: Node) -> None:
        """Put a node in front of another; its inputs must be there already."""
        assert anchor.graph is self
        self._link(node, anchor.prev, anchor)
        self._place_before(anchor, node)
        self.touch()

    def _place_before(self, anchor: Node, node: Node) -> None:
        """Give a node, just linked in front of another, a position between its neighbours'."""
        low = node.prev.position if node.prev is not None else anchor.position - 2 * _GAP
        node.position = (low + anchor.position) // 2
        if node.position == low:
            for i, n in enumerate(self):
                n.position = i * _GAP

    def adopt(self, other: Graph, anchor: Node) -> list[Node]:
        """Move all nodes and initializers of a subgraph in front of a node of this graph. Names must be free here.

        The subgraph is left empty; its outputs still list the values. Returns the nodes in order.
        """
        nodes = list(other)
        for v, t in other.initializers.items():
            v.graph = self
            self.initializers[v] = t
        for n in nodes:
            self._splice(n, anchor.prev, anchor)
            self._place_before(anchor, n)
        other.initializers = {}
        other.first = other.last = None
        other.size = 0
        other.holders = {}
        self.touch()
        return nodes

    def _link(self, node: Node, prev: Node | None, after: Node | None) -> None:
        self._splice(node, prev, after)
        for v in node.inputs:
            if v is not None:
                v.uses[node] = v.uses.get(node, 0) + 1

    def _splice(self, node: Node, prev: Node | None, after: Node | None) -> None:
        node.graph = self
        node.prev, node.next = prev, after
        if prev is None:
            self.first = node
        else:
            prev.next = node
        if after is None:
            self.last = node
        else:
            after.prev = node
        self.size += 1
        if node.subgraphs:
            self.holders[node] = None
        for v in node.outputs:
            if v is not None:
                v.graph = self

    def remove(self, node: Node) -> None:
        """Take a node out. Nobody may read its outputs any more. What only its subgraphs read is released too."""
        assert node.graph is self and not any(v is not None and v.used for v in node.outputs), node
        prev, after = node.prev, node.next
        if prev is None:
            self.first = after
        else:
            prev.next = after
        if after is None:
            self.last = prev
        else:
            after.prev = prev
        self.size -= 1
        self.holders.pop(node, None)
        for sub in [g for top in node.subgraphs for g in top.subgraphs()]:
            for v in sub.outputs:
                v.exits -= 1
            for inner in list(sub):
                _drop_inputs(inner)
                inner.graph = None
        _drop_inputs(node)
        node.graph = None
        self.touch()

    def set_output(self, i: int, value: Value) -> None:
        """Let output i of the graph be `value`. Its name must be the output's where the graph is the model's own."""
        self.outputs[i].exits -= 1
        self.outputs[i] = value
        value.exits += 1
        self.touch()

    def add_initializer(self, name: str, tensor: Tensor) -> Value:
        """A new constant of this graph."""
        v = Value(name, self)
        v.const = tensor
        v.dtype, v.shape = tensor.dtype, tensor.dims
        self.initializers[v] = tensor
        self.touch()
        return v

    def remove_initializer(self, value: Value) -> None:
        """Take out a constant that nothing reads, unless it is pinned."""
        if value.name in self.pinned:
            return
        del self.initializers[value]
        self.touch()

    def sort(self) -> Node | None:
        """Bring the nodes into topological order, stable where they are already (Kahn, 1962).

        Returns a node on a cycle where there is one; the graph is then as it was.
        """
        nodes = list(self)
        missing: dict[Node, int] = {}
        readers: dict[Node, list[Node]] = {}
        for node in nodes:
            producers = {v.node for v in self._reads(node) if v.node is not None and v.node.graph is self}
            missing[node] = len(producers)
            for p in producers:
                readers.setdefault(p, []).append(node)
        ready = [(n.position, i) for i, n in enumerate(nodes) if not missing[n]]
        heapq.heapify(ready)
        index = {n: i for i, n in enumerate(nodes)}
        order: list[Node] = []
        while ready:
            node = nodes[heapq.heappop(ready)[1]]
            order.append(node)
            for reader in readers.get(node, ()):
                missing[reader] -= 1
                if not missing[reader]:
                    heapq.heappush(ready, (reader.position, index[reader]))
        if len(order) < len(nodes):
            node = next(n for n in nodes if missing[n])
            walked: set[Node] = set()
            while node not in walked:  # up from producer to producer, until one comes round again
                walked.add(node)
                node = next(
                    v.node for v in self._reads(node) if v.node is not None and v.node.graph is self and missing[v.node]
                )
            return node
        for i, node in enumerate(order):
            node.prev = order[i - 1] if i else None
            node.next = order[i + 1] if i + 1 < len(order) else None
            node.position = i * _GAP
        self.first, self.last = (order[0], order[-1]) if order else (None, None)
        return None

    @staticmethod
    def _reads(node: Node) -> Iterable[Value]:
        """What a node reads, its subgraphs included."""
        for v in node.inputs:
            if v is not None:
                yield v
        for top in node.subgraphs:
            for sub in top.subgraphs():
                for inner in sub:
                    yield from (v for v in inner.inputs if v is not None)
                yield from sub.outputs


def op_key(op_type: str, domain: str) -> str:
    """How a node's operator is spelt in tables: the bare type for ONNX's own domain."""
    return sys.intern(f"{domain}::{op_type}" if domain else op_type)


def _drop_use(value: Value, node: Node) -> None:
    count = value.uses[node] - 1
    if count:
        value.uses[node] = count
    else:
        del value.uses[node]


def _drop_inputs(node: Node) -> None:
    for v in node.inputs:
        if v is not None and node in v.uses:
            del v.uses[node]
