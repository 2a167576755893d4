"""What is written instead of a Loop or a Scan: copies of the nodes of its body, and constants, before they are in the graph."""

from __future__ import annotations

import numpy as np

from graphopt.ir import Graph, Model, Node, Tensor, Value
from graphopt.passes.purity import is_deterministic, is_pure
from graphopt.shapes import infer_node

_AXES_ARE_INPUT = 13


def can_be_copied(model: Model, body: Graph) -> bool:
    """Whether the nodes of a body do the same in the graph around it: it passes tensors only, and none of them by default."""
    if any(v.type is not None for v in (*body.inputs, *body.outputs)):
        return False
    if any(v in body.initializers for v in body.inputs):
        return False
    if body.source is not None and body.source.sparse_initializer:
        return False
    return all(is_pure(model, n) and is_deterministic(model, n) for n in body)


class BodyWriter:
    """The nodes that a Loop or a Scan becomes.

    Attributes:
        nodes: in order.
        constants: what has to be put in beside them.
        stands_for: what a value of the body is in the graph.
    """

    def __init__(self, model: Model, node: Node, body: Graph) -> None:
        self.model = model
        self.node = node
        self.body = body
        self.nodes: list[Node] = []
        self.constants: list[Value] = []
        self.stands_for: dict[Value, Value] = {}

    def operands(self, n: Node) -> list[Value | None]:
        """What a node of the body reads, in the graph."""
        return [None if v is None else self.stands_for.get(v, v) for v in n.inputs]

    def copy(self, n: Node, inputs: list[Value | None], attributes: dict[str, object]) -> None:
        """A node of the body with these operands.

        Raises:
            ValueError: the operator cannot take them.
        """
        made = self._node(n.op_type, inputs, attributes, n.domain)
        made.inherit(n)
        for v in n.outputs:
            if v is None:
                made.outputs.append(None)
            else:
                self.stands_for[v] = self._output(made, v.name)
                self.stands_for[v].const = v.const if n.op == "Constant" else None
        infer_node(self.model, made)

    def single(self, op_type: str, inputs: list[Value | None], attributes: dict[str, object]) -> Value:
        """The output of a new node. Raises ValueError as `copy` does."""
        node = self._node(op_type, inputs, attributes)
        v = self._output(node, op_type)
        infer_node(self.model, node)
        return v

    def unsqueezed(self, v: Value, axes: list[int]) -> Value:
        """A value with more dims of 1."""
        if self.body.opsets.get("", 0) < _AXES_ARE_INPUT:
            return self.single("Unsqueeze", [v], {"axes": axes})
        return self.single("Unsqueeze", [v, self.constant("axes", np.array(axes, np.int64))], {})

    def constant(self, name: str, array: np.ndarray) -> Value:
        """A new constant."""
        assert self.node.graph is not None
        v = Value(self.model.fresh_name(name), self.node.graph)
        v.const = Tensor(array=array)
        v.dtype, v.shape = v.const.dtype, v.const.dims
        self.constants.append(v)
        return v

    def _node(self, op_type: str, inputs: list[Value | None], attributes: dict[str, object], domain: str = "") -> Node:
        name = self.model.fresh_name(f"{self.node.name or self.node.op_type}_{op_type}")
        node = Node(op_type, inputs, domain=domain, name=name, attributes=dict(attributes))
        node.graph = self.node.graph
        self.nodes.append(node)
        return node

    def _output(self, node: Node, name: str) -> Value:
        return node.new_output(self.model.fresh_name(f"{self.node.name or self.node.op_type}_{name}"))
