"""Writes a Scan whose rounds do not depend on each other as one computation on all slices at once.

What is left of a Scan when nothing is carried from round to round is a loop over elementwise operators and reductions, as
converters of scikit-learn write the distances of each row to all others. With the scanned axis in front, these do the same
to all rounds.
"""

from __future__ import annotations

import time
from math import prod

import numpy as np

from graphopt.ir import Graph, Model, Node, Value
from graphopt.passes.body_writer import BodyWriter, can_be_copied
from graphopt.passes.hoisting import source_of, write_instead
from graphopt.rewrite import Rewriter
from graphopt.rewrite.matching import params

#: Elements that a value may have for all rounds together, dims of unknown size apart: all of them are there at a time.
_LARGEST = 1 << 14
_AXES_ARE_INPUT = 13
_ELEMENTWISE = frozenset(
    (
        "Abs Add And Cast Ceil Div Equal Erf Exp Floor Greater GreaterOrEqual Identity Less LessOrEqual Log Max Min Mul Neg"
        " Not Or Pow Reciprocal Relu Round Sigmoid Sign Sqrt Sub Sum Tanh Where Xor"
    ).split()
)
_REDUCE = frozenset(f"Reduce{name}" for name in "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare".split())


class _Declined(Exception):
    """The Scan is none of these."""


def batch_scan(node: Node, rewriter: Rewriter) -> bool:
    """A handler for the driver: a Scan that carries nothing from round to round becomes the nodes of its body, once."""
    body = node.attributes.get("body") if node.op == "Scan" and node.graph is not None else None
    if not isinstance(body, Graph) or body.opsets.get("", 0) < 9:
        return False
    started = time.perf_counter()
    try:
        writer = _AllRounds(rewriter.model, node, body)
        results = writer.write()
    except (_Declined, ValueError):
        return False
    write_instead(node, body, writer.nodes, writer.constants, results, rewriter, "batched_scan", started)
    return True


class _AllRounds(BodyWriter):
    """The nodes of the body for all rounds together.

    Attributes:
        batched: values of the body that have one more dim in the graph, the first, for the rounds.
        states: so many inputs are carried.
    """

    def __init__(self, model: Model, node: Node, body: Graph) -> None:
        super().__init__(model, node, body)
        self.batched: set[Value] = set()
        scanned = node.attributes.get("num_scan_inputs")
        self.states = len(body.inputs) - scanned if isinstance(scanned, int) else -1
        others = [
            node.attributes.get(f"scan_{side}_{what}")
            for side in ("input", "output")
            for what in ("axes", "directions")
        ]
        if self.states < 0 or any(isinstance(o, list) and any(o) for o in others):
            raise _Declined
        if len(node.inputs) != len(body.inputs) or len(node.outputs) != len(body.outputs) or None in node.inputs:
            raise _Declined
        if not can_be_copied(model, body):
            raise _Declined

    def write(self) -> list[Value]:
        """Write everything; what stands for each output of the Scan."""
        for inner, outer in zip(self.body.inputs, self.node.inputs, strict=True):
            assert outer is not None
            self.stands_for[inner] = outer
        for inner in self.body.inputs[self.states :]:
            self.batched.add(inner)
            self._check(self.stands_for[inner])
        if len({(self.stands_for[v].shape or (None,))[0] for v in self.body.inputs[self.states :]}) != 1:
            raise _Declined  # of other lengths: an error, which a length of 1 would not be here
        for out, into in zip(self.body.outputs[: self.states], self.body.inputs, strict=False):
            if out is None or source_of(out) is not into:
                raise _Declined
        for n in self.body:
            self._write(n)
        if not self.batched.issuperset(self.body.outputs[self.states :]):
            raise _Declined
        return [self.stands_for[v] for v in self.body.outputs]

    def _check(self, v: Value) -> None:
        """A value for all rounds together is of known rank and not too large."""
        if not v.shape or not isinstance(v.shape[0], int) or prod(d for d in v.shape if isinstance(d, int)) > _LARGEST:
            raise _Declined

    def _write(self, n: Node) -> None:
        """A node of the body, for all rounds at once where it is another one in each."""
        together = any(v in self.batched for v in n.inputs)
        inputs, attributes = self.operands(n), dict(n.attributes)
        if together and n.op in _ELEMENTWISE:
            inputs = self._aligned(n)
        elif together and n.op in _REDUCE:
            inputs, attributes = self._reduced(n, inputs)
        elif together or any(isinstance(a, Graph) for a in attributes.values()):
            raise _Declined
        self.copy(n, inputs, attributes)
        for v in n.outputs if together else ():
            if v is not None:
                self.batched.add(v)
                self._check(self.stands_for[v])

    def _aligned(self, n: Node) -> list[Value | None]:
        """Operands that broadcast as those of one round do, and along the rounds."""
        ranks = {v: self._rank(v) for v in n.inputs if v is not None}
        most = max(ranks.values())
        inputs: list[Value | None] = []
        for v in n.inputs:
            new = None if v is None else self.stands_for.get(v, v)
            if v is not None and new is not None and v in self.batched and ranks[v] < most:
                new = self.unsqueezed(new, list(range(1, 1 + most - ranks[v])))
            inputs.append(new)
        return inputs

    def _rank(self, v: Value) -> int:
        """The rank of a value in one round."""
        shape = self.stands_for.get(v, v).shape
        if shape is None:
            raise _Declined
        return len(shape) - (v in self.batched)

    def _reduced(self, n: Node, inputs: list[Value | None]) -> tuple[list[Value | None], dict[str, object]]:
        """Operands and attributes of a reduction over the same dims, of which there is one more in front."""
        named = params(n, 1, ("axes",), True)
        x = n.inputs[0]
        if named is None or x is None or x not in self.batched or n.attributes.get("noop_with_empty_axes"):
            raise _Declined
        rank = self._rank(x)
        given = named[0] if named[0] else range(rank)
        if not isinstance(given, (list, range)) or not rank:
            raise _Declined
        axes = [a + 1 if a >= 0 else a for a in given]
        if "axes" in n.attributes or (len(n.inputs) < 2 and not self._axes_are_input(n)):
            return inputs[:1], {**n.attributes, "axes": axes}
        return [inputs[0], self.constant("axes", np.array(axes, np.int64))], dict(n.attributes)

    def _axes_are_input(self, n: Node) -> bool:
        return self.body.opsets.get("", 0) >= (_AXES_ARE_INPUT if n.op == "ReduceSum" else 18)
