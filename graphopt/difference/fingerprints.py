"""What nodes are, without names: numbers that two nodes, of one model or of two, share where they are alike.

`up` tells what a node computes: its operator, attributes, constants, and all that leads to it. `down` tells how it is used: the
same, and all that it leads to. Numbers are given out by an `Interner`, so that equal ones mean equal, not probably equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from typing import Any

import numpy as np

from graphopt.ir import Graph, Model, Node, Tensor, Value

#: Elements that are hashed at once, where weights lie in mapped files.
_CHUNK = 1 << 24


class Interner:
    """Numbers for things, the same for equal ones; shared by the two models that are compared."""

    def __init__(self) -> None:
        self.numbers: dict[Hashable, int] = {}

    def __call__(self, *what: Hashable) -> int:
        return self.numbers.setdefault(what, len(self.numbers))


class Fingerprints:
    """The numbers of one model.

    Attributes:
        exact: of each node, what it is by itself: operator, attributes, constants.
        loose: the same with dtypes and dims for constants, so that another training of a model is found to be alike.
    """

    def __init__(self, model: Model, intern: Interner) -> None:
        self.model = model
        self.intern = intern
        self.exact: dict[Node, int] = {}
        self.loose: dict[Node, int] = {}
        self._constants: dict[Tensor, int] = {}
        for node in model.nodes():
            if not _is_told_elsewhere(node):
                what = (node.op, node.overload, len(node.outputs), tuple(self.attributes(node).items()))
                self.exact[node] = intern(what, tuple(self.constant_input(v) for v in node.inputs))
                types = tuple(v and v.const and (v.const.dtype, tuple(v.const.dims)) for v in node.inputs)
                self.loose[node] = intern(node.op, node.overload, len(node.outputs), types)

    # ------------------------------------------------------------------------------------------------- by themselves
    def attributes(self, node: Node) -> dict[str, Hashable]:
        """Attributes by name, in order, less bodies and those that have their default; constants are numbers."""
        schema = self.model.schema(node)
        found: dict[str, Hashable] = {}
        for name, value in sorted(node.attributes.items()):
            if any(isinstance(v, Graph) for v in (value if isinstance(value, list) else [value])):
                continue
            a = schema.attributes.get(name) if schema is not None else None
            if a is None or a.default is None or value != a.default:
                found[name] = self._plain(value)
        return found

    def _plain(self, value: Any) -> Hashable:
        if isinstance(value, list):
            return tuple(self._plain(v) for v in value)
        if isinstance(value, Tensor):
            return self.constant(value)
        if isinstance(value, (int, float, str, bytes)):
            return type(value).__name__, repr(value)  # 1 is not 1.0, and NaN is NaN
        return value.SerializeToString(deterministic=True) if hasattr(value, "SerializeToString") else value

    def constant_input(self, v: Value | None) -> int | None:
        """The number of a constant, -1 for what is computed, None for what is left out."""
        if v is None:
            return None
        return -1 if v.const is None else self.constant(v.const)

    def constant(self, t: Tensor) -> int:
        """The number of a constant: dtype, dims and every bit of its elements."""
        if t not in self._constants:
            array = np.asarray(t.view())
            if array.dtype.kind in "OUS":
                content: Hashable = repr(array.reshape(-1).tolist())
            else:
                digest = hashlib.blake2b(digest_size=20)
                flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
                for i in range(0, flat.size, _CHUNK):
                    digest.update(flat[i : i + _CHUNK].data)
                content = digest.digest()
            self._constants[t] = self.intern("constant", t.dtype, tuple(t.dims), content)
        return self._constants[t]

    def sparse(self, v: Value) -> int:
        """The number of a value that is neither computed nor an input nor a dense constant: a sparse initializer."""
        for s in getattr(v.graph.source, "sparse_initializer", ()):
            if s.values.name == v.name:
                copy = type(s).FromString(s.SerializeToString())
                copy.values.ClearField("name")
                return self.intern("sparse", copy.SerializeToString(deterministic=True))
        return self.intern("unknown", v.name)

    # ------------------------------------------------------------------------------------------------ in their places
    def up(self, of: dict[Node, int]) -> dict[Node, int]:
        """A number of each node for what it computes; `of`: what nodes are by themselves."""
        nodes: dict[Node, int] = {}
        values: dict[Value, int] = {}

        def value(v: Value | None) -> int | None:
            if v is None or v.const is not None:
                return None  # told by `of`
            if v not in values:  # sparse, as the others come before their readers
                values[v] = self.sparse(v)
            return values[v]

        def walk(graph: Graph) -> tuple[int | None, ...]:
            for i, v in enumerate(graph.inputs):
                values[v] = self.intern("input", i, _depth(graph))
            for node in graph:
                if _is_told_elsewhere(node):
                    continue
                held = tuple((name, walk(body)) for name, body in node.bodies())
                nodes[node] = self.intern("up", of.get(node), tuple(value(v) for v in node.inputs), held)
                for i, out in enumerate(node.outputs):
                    if out is not None:
                        values[out] = self.intern("output", nodes[node], i)
            return tuple(self._result(v, values) for v in graph.outputs)

        for graph in (self.model.graph, *(f.graph for f in self.model.functions.values())):
            walk(graph)
        return nodes

    def _result(self, v: Value, values: dict[Value, int]) -> int:
        return self.constant(v.const) if v.const is not None else values.get(v, -1)

    def down(self, of: dict[Node, int]) -> dict[Node, int]:
        """A number of each node for how it is used."""
        nodes: dict[Node, int] = {}

        def walk(graph: Graph) -> None:
            exits: dict[Value, list[int]] = {}
            for i, result in enumerate(graph.outputs):
                exits.setdefault(result, []).append(i)
            for node in reversed([n for n in graph if n in of]):
                for _, body in node.bodies():
                    walk(body)
                uses = []
                for v in node.outputs:
                    if v is not None:
                        readers = [
                            (nodes[u], i) for u in v.uses if u in nodes for i, r in enumerate(u.inputs) if r is v
                        ]
                        uses.append((tuple(sorted(readers)), tuple(exits.get(v, ()))))
                nodes[node] = self.intern("down", of[node], tuple(uses))

        for graph in (self.model.graph, *(f.graph for f in self.model.functions.values())):
            walk(graph)
        return nodes


def _is_told_elsewhere(node: Node) -> bool:
    """Whether a node is a constant, which is told with the nodes that read it; sparse ones and those of calls are nodes."""
    return node.op == "Constant" and node.output.const is not None


def _depth(graph: Graph) -> int:
    depth = 0
    while graph.parent is not None:
        graph, depth = graph.parent, depth + 1
    return depth
