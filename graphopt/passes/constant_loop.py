"""Writes out a Loop that runs a small, constant number of times."""

from __future__ import annotations

import time
from collections.abc import Collection

import numpy as np

from graphopt.ir import Graph, Model, Node, Tensor, Value
from graphopt.passes.hoisting import write_instead
from graphopt.passes.loop_rounds import counting_nodes, rounds_of
from graphopt.passes.purity import is_deterministic, is_pure
from graphopt.rewrite import Rewriter
from graphopt.shapes import infer_node

#: Nodes that may come of a Loop with fewer. In ONNX Runtime a Loop costs as much as 8 nodes, and 3 more each time around.
_MOST = 16
_AXES_ARE_INPUT = 13


def unroll_constant_loop(node: Node, rewriter: Rewriter) -> bool:
    """A handler for the driver: a Loop whose number of rounds is known, and small, becomes the nodes of its body for each
    round, one behind the other. What is collected in each round is put together by a Concat."""
    body = node.attributes.get("body") if node.op == "Loop" and node.graph is not None else None
    if not isinstance(body, Graph) or _refuses(rewriter.model, node, body):
        return False
    known = counting_nodes(rewriter.model, body)
    rounds = rounds_of(rewriter.model, node, body, known, _MOST)
    if rounds is None or _is_too_much(body, rounds, known):
        return False
    started = time.perf_counter()
    writer = _Writer(rewriter.model, node, body)
    try:
        results = writer.write(rounds)
    except ValueError:  # a node that cannot take what it is given says so when the model runs
        return False
    write_instead(node, body, writer.nodes, writer.constants, results, rewriter, "constant_loop", started)
    return True


def _refuses(model: Model, node: Node, body: Graph) -> bool:
    """Whether nodes could not do the same as the Loop."""
    carried = len(body.inputs) - 2
    collected = len(body.outputs) - 1 - carried
    if carried < 0 or collected < 0 or len(node.inputs) != carried + 2 or len(node.outputs) > carried + collected:
        return True
    if None in node.inputs[2:]:
        return True
    if any(v.type is not None for v in (*body.inputs, *body.outputs)) or any(
        v in body.initializers for v in body.inputs
    ):
        return True
    if body.source is not None and body.source.sparse_initializer:
        return True
    return not all(is_pure(model, n) and is_deterministic(model, n) for n in body)


def _is_too_much(body: Graph, rounds: int, known: Collection[Node]) -> bool:
    """Whether writing out would take too many nodes. Those that count the rounds are constants afterwards."""
    collected = len(body.outputs) - len(body.inputs) + 1
    if collected and not rounds:  # nobody knows the shape of what was never there
        return True
    size = sum(n.op not in ("Constant", "Identity") for n in body)
    each = sum(n.op not in ("Constant", "Identity") and n not in known for n in body)
    made = rounds * (each + collected) + (collected if rounds > 1 else 0)
    return made > max(size + 1, _MOST)


class _Writer:
    """The nodes that a Loop becomes, not yet in the graph.

    Attributes:
        nodes: in order.
        constants: what has to be put in beside them.
    """

    def __init__(self, model: Model, node: Node, body: Graph) -> None:
        self.model = model
        self.node = node
        self.body = body
        self.nodes: list[Node] = []
        self.constants: list[Value] = []

    def write(self, rounds: int) -> list[Value]:
        """Write everything; what stands for each output of the Loop.

        Raises:
            ValueError: an operator cannot take its inputs.
        """
        state = [v for v in self.node.inputs[2:] if v is not None]
        rows: list[list[Value]] = []
        for k in range(rounds):
            results = self._round(k, state)
            state = results[1 : 1 + len(state)]
            rows.append(results[1 + len(state) :])
        collected = [self._collect([row[i] for row in rows]) for i in range(len(rows[0]))] if rows else []
        return [*state, *collected][: len(self.node.outputs)]

    def _round(self, k: int, state: list[Value]) -> list[Value]:
        """The body once; what its outputs are then."""
        stands_for: dict[Value, Value] = dict(zip(self.body.inputs[2:], state, strict=True))
        for given, known in zip(self.body.inputs[:2], (np.array(k, np.int64), np.array(True)), strict=True):
            if given.used:
                stands_for[given] = self._constant(given.name, known)
        for n in self.body:
            inputs = [None if v is None else stands_for.get(v, v) for v in n.inputs]
            copy = self._node(n.op_type, inputs, n.attributes, n.domain)
            copy.inherit(n)
            for v in n.outputs:
                if v is None:
                    copy.outputs.append(None)
                else:
                    stands_for[v] = self._output(copy, v.name)
                    stands_for[v].const = v.const if n.op == "Constant" else None
            infer_node(self.model, copy)
        return [stands_for.get(v, v) for v in self.body.outputs]

    def _collect(self, values: list[Value]) -> Value:
        """Values put together along a new first axis."""
        rows = [self._with_axis(v) for v in values]
        return rows[0] if len(rows) == 1 else self._single("Concat", list(rows), {"axis": 0})

    def _with_axis(self, v: Value) -> Value:
        if self.body.opsets.get("", 0) < _AXES_ARE_INPUT:
            return self._single("Unsqueeze", [v], {"axes": [0]})
        return self._single("Unsqueeze", [v, self._constant("axes", np.array([0]))], {})

    def _single(self, op_type: str, inputs: list[Value | None], attributes: dict[str, object]) -> Value:
        """The output of a new node."""
        node = self._node(op_type, inputs, attributes)
        v = self._output(node, op_type)
        infer_node(self.model, node)
        return v

    def _node(self, op_type: str, inputs: list[Value | None], attributes: dict[str, object], domain: str = "") -> Node:
        name = self.model.fresh_name(f"{self.node.name or 'Loop'}_{op_type}")
        node = Node(op_type, inputs, domain=domain, name=name, attributes=dict(attributes))
        node.graph = self.node.graph
        self.nodes.append(node)
        return node

    def _output(self, node: Node, name: str) -> Value:
        return node.new_output(self.model.fresh_name(f"{self.node.name or 'Loop'}_{name}"))

    def _constant(self, name: str, array: np.ndarray) -> Value:
        assert self.node.graph is not None
        v = Value(self.model.fresh_name(name), self.node.graph)
        v.const = Tensor(array=array)
        v.dtype, v.shape = v.const.dtype, v.const.dims
        self.constants.append(v)
        return v
