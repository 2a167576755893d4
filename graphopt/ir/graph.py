"""The graph: nodes in topological order, safe to change while it is walked."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from onnx import ValueInfoProto

from graphopt._display import html_of, svg_of
from graphopt.ir.node import Node, Value
from graphopt.ir.tensor import Tensor

if TYPE_CHECKING:
    from graphopt.ir.model import Model

#: Distance between the positions of neighbours in a freshly numbered graph; room for insertions.
GAP = 1 << 20


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
        node.position = GAP if node.prev is None else node.prev.position + GAP
        self.touch()

    def insert_before(self, anchor: Node, node: Node) -> None:
        """Put a node in front of another; its inputs must be there already."""
        assert anchor.graph is self
        self._link(node, anchor.prev, anchor)
        self._place_before(anchor, node)
        self.touch()

    def move_before(self, anchor: Node, node: Node) -> None:
        """Put a node of this graph further to the front, in front of another; its inputs must be there already."""
        assert anchor.graph is self and node.graph is self and anchor is not node
        self._unlink(node)
        self._splice(node, anchor.prev, anchor)
        self._place_before(anchor, node)
        self.touch()

    def _place_before(self, anchor: Node, node: Node) -> None:
        """Give a node, just linked in front of another, a position between its neighbours'."""
        low = node.prev.position if node.prev is not None else anchor.position - 2 * GAP
        node.position = (low + anchor.position) // 2
        if node.position == low:
            for i, n in enumerate(self):
                n.position = i * GAP

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
        self._unlink(node)
        for sub in [g for top in node.subgraphs for g in top.subgraphs()]:
            for v in sub.outputs:
                v.exits -= 1
            for inner in list(sub):
                _drop_inputs(inner)
                inner.graph = None
        _drop_inputs(node)
        node.graph = None
        self.touch()

    def _unlink(self, node: Node) -> None:
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
            node.position = i * GAP
        self.first, self.last = (order[0], order[-1]) if order else (None, None)
        return None

    # ------------------------------------------------------------------ showing
    def __repr__(self) -> str:
        return f"<graphopt.Graph {self.name!r}: {sum(n.op != 'Constant' for n in self)} nodes>"

    def _repr_html_(self) -> str:
        return html_of(self)

    def _repr_svg_(self) -> str | None:
        return svg_of(self)

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


def _drop_inputs(node: Node) -> None:
    for v in node.inputs:
        if v is not None and node in v.uses:
            del v.uses[node]
