"""What a model is apart from its weights, so that what was learnt about one is found again for another training of it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from graphopt.ir import Graph, Model, Node, Value
from graphopt.ir.tensor import Tensor
from graphopt.shapes.text import show

#: Integers decide about shapes, and single numbers about rules, so these count where there are no more of them.
_INTEGERS, _OTHERS = 64, 1


def structure_of(model: Model) -> str:
    """A hash of operators, attributes, connections, dtypes and dims: of everything but names and weights."""
    hashed = hashlib.sha256()
    walk = _Walk(hashed)
    walk.add("opsets", sorted(model.opsets.items()))
    walk.graph(model.graph)
    for key, f in sorted(model.functions.items()):
        walk.add("function", key)
        walk.graph(f.graph)
    return hashed.hexdigest()


def key_of(parts: dict[str, Any]) -> str:
    """A hash of plain data."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class _Walk:
    """Hashes graphs; values are numbered as they come."""

    def __init__(self, hashed: Any) -> None:
        self.hashed = hashed
        self.numbers: dict[Value, int] = {}

    def add(self, *what: Any) -> None:
        self.hashed.update(repr(what).encode())

    def graph(self, graph: Graph) -> None:
        for v in graph.inputs:
            shape = None if v.shape is None else [d if isinstance(d, int) else show(d) for d in v.shape]
            self.add("input", self.number(v), v.dtype, shape, v in graph.initializers)
        for v, t in graph.initializers.items():
            self.add("initializer", self.number(v))
            self.tensor(t)
        for node in graph:
            self.node(node)
        self.add("outputs", [self.number(v) for v in graph.outputs])

    def node(self, node: Node) -> None:
        self.add(node.op, node.overload, [None if v is None else self.number(v) for v in node.inputs])
        for name, value in sorted(node.attributes.items()):
            self.add("attribute", name)
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, Tensor):
                    self.tensor(one)
                elif isinstance(one, Graph):
                    self.graph(one)
                else:
                    self.add(one if isinstance(one, (int, float, str, bytes)) else str(one))
        self.add("gives", [None if v is None else self.number(v) for v in node.outputs])

    def tensor(self, t: Tensor) -> None:
        self.add(t.dtype, tuple(t.dims))
        if t.size <= _INTEGERS:
            array = np.asarray(t.numpy())
            if t.size <= _OTHERS or array.dtype.kind in "iub":
                self.add(array.tolist())

    def number(self, v: Value) -> int:
        return self.numbers.setdefault(v, len(self.numbers))
