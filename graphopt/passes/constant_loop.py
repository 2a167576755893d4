"""Writes out a Loop that runs a small, constant number of times."""

from __future__ import annotations

import time
from collections.abc import Collection

import numpy as np

from graphopt.ir import Graph, Model, Node, Value
from graphopt.passes.body_writer import BodyWriter, can_be_copied
from graphopt.passes.hoisting import write_instead
from graphopt.passes.loop_rounds import counting_nodes, rounds_of
from graphopt.rewrite import Rewriter

#: Nodes that may come of a Loop with fewer. In ONNX Runtime a Loop costs as much as 8 nodes, and 3 more each time around.
_MOST = 16


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
    writer = _Rounds(rewriter.model, node, body)
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
    return not can_be_copied(model, body)


def _is_too_much(body: Graph, rounds: int, known: Collection[Node]) -> bool:
    """Whether writing out would take too many nodes. Those that count the rounds are constants afterwards."""
    collected = len(body.outputs) - len(body.inputs) + 1
    if collected and not rounds:  # nobody knows the shape of what was never there
        return True
    size = sum(n.op not in ("Constant", "Identity") for n in body)
    each = sum(n.op not in ("Constant", "Identity") and n not in known for n in body)
    made = rounds * (each + collected) + (collected if rounds > 1 else 0)
    return made > max(size + 1, _MOST)


class _Rounds(BodyWriter):
    """The nodes of the body for each round."""

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
        self.stands_for = dict(zip(self.body.inputs[2:], state, strict=True))
        for given, known in zip(self.body.inputs[:2], (np.array(k, np.int64), np.array(True)), strict=True):
            if given.used:
                self.stands_for[given] = self.constant(given.name, known)
        for n in self.body:
            self.copy(n, self.operands(n), n.attributes)
        return [self.stands_for.get(v, v) for v in self.body.outputs]

    def _collect(self, values: list[Value]) -> Value:
        """Values put together along a new first axis."""
        rows = [self.unsqueezed(v, [0]) for v in values]
        return rows[0] if len(rows) == 1 else self.single("Concat", list(rows), {"axis": 0})
