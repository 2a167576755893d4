"""Makes less of an If whose condition is not known: what both branches compute is computed in front of it, outputs on which
both agree, or that nobody reads, go, and a choice between small values is a Where."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from onnx import TensorProto

from graphopt.ir import Graph, Model, Node, Value
from graphopt.passes.common_subexpressions import attributes_key, operand_key
from graphopt.passes.constant_if import move_in_front
from graphopt.passes.hoisting import constant_like, copies_in_front, source_of, stand_in
from graphopt.passes.purity import is_deterministic, is_pure
from graphopt.rewrite import NodeRecord, Rewriter, Step
from graphopt.rewrite.rewriter import record
from graphopt.shapes import facts_of, infer_node, is_static

#: Elements of a value that is cheap to choose.
_SMALL = 1024
#: Nodes of both branches together that are run in any case, where an If would run those of one.
_FEW = 4
#: Operators that cannot fail where the dims of what they read are known, and cost next to nothing on small values.
_SAFE = frozenset("Abs Add Ceil Exp Floor Identity Max Min Mul Neg Relu Sigmoid Sqrt Sub Tanh".split())
#: For which ONNX Runtime has a kernel of Where.
_CHOOSABLE = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT32, TensorProto.INT64})
_HAS_WHERE = 9


def simplify_if(node: Node, rewriter: Rewriter) -> bool:
    """A handler for the driver: one thing that makes less of an If, if there is any."""
    if node.op != "If" or node.graph is None or not node.inputs or node.inputs[0] is None:
        return False
    branches = [node.attributes.get(name) for name in ("then_branch", "else_branch")]
    if any(not isinstance(b, Graph) or len(b.outputs) != len(node.outputs) for b in branches):
        return False
    then, other = (b for b in branches if isinstance(b, Graph))
    if any(b.source is not None and b.source.sparse_initializer for b in (then, other)):
        return False
    change = _Change(node, rewriter, node.graph, (then, other))
    return change.swap() or change.hoist() or change.agree() or change.choose()


@dataclass(slots=True)
class _Change:
    """One step that makes less of an If."""

    node: Node
    rewriter: Rewriter
    parent: Graph
    branches: tuple[Graph, Graph]
    started: float = field(default_factory=time.perf_counter)

    @property
    def model(self) -> Model:
        return self.rewriter.model

    # --------------------------------------------------------------------------------------------------------- steps
    def swap(self) -> bool:
        """Not of a condition is the condition with the branches the other way round."""
        condition = self.node.inputs[0]
        negation = condition.node if condition is not None else None
        if negation is None or negation.op != "Not" or negation.inputs[0] is None:
            return False
        self.node.set_input(0, negation.inputs[0])
        then, other = self.branches
        self.node.set_attribute("then_branch", other)
        self.node.set_attribute("else_branch", then)
        self.node.subgraphs[:] = [g for g in self.node.attributes.values() if isinstance(g, Graph)]
        decided = facts_of(self.model).decided
        if self.node in decided:
            decided[self.node] = 1 - decided[self.node]
        gone: list[NodeRecord] = [record(self.node)]
        self.rewriter.erase_if_dead(negation, gone)
        return self._done(gone, [self.node], "without Not")

    def hoist(self) -> bool:
        """What both branches compute of the same values is computed once, in front."""
        numbers: dict[Hashable, int] = {}
        known = [_numbered(self.model, b, numbers) for b in self.branches]
        both = set(known[0].values()) & set(known[1].values())
        if not both or not self._pays(known, both):
            return False
        firsts = {k: n for n, k in reversed(known[0].items()) if k in both}
        new = copies_in_front(self.node, firsts, known[0], self.rewriter)
        if new is None:
            return False
        gone: list[NodeRecord] = []
        for numbered in known:
            for n, k in reversed(numbered.items()):
                if k in both:
                    stand_in(n, new[k], self.rewriter)
                    self.rewriter.erase_if_dead(n, gone, {n})
        return self._done(gone, new.values(), "in front of the branches")

    def agree(self) -> bool:
        """An output for which both branches give the same value is that value, and one that nobody reads is none."""
        node, gone, found = self.node, [record(self.node)], False
        for v, *given in list(zip(node.outputs, *(b.outputs for b in self.branches), strict=True)):
            if v is not None and v.used and v.type is None and (same := self._same(*map(source_of, given))) is not None:
                self.rewriter.replace(v, same, node)
                found = True
        unused = [i for i, v in enumerate(node.outputs) if v is None or not v.used]
        if len(unused) == len(node.outputs):
            return found and self._erased(gone)
        for i in reversed(unused):
            self._drop(i, gone)
        return bool(unused) and self._done(gone, [node], "the same in both branches, or not read")

    def choose(self) -> bool:
        """A choice between small values that cost next to nothing is a Where."""
        node, parent, condition = self.node, self.parent, self.node.inputs[0]
        assert condition is not None
        pairs = list(zip(*(b.outputs for b in self.branches), strict=True))
        inner = [n for b in self.branches for n in b if n.op != "Constant"]
        free = sum(n.op == "Identity" for n in inner)
        if parent.opsets.get("", 0) < _HAS_WHERE or condition.shape not in ((), (1,)) or not all(map(_is_safe, inner)):
            return False
        if len(inner) - free > _FEW or len(pairs) > 1 + free or not all(_are_choosable(condition, *p) for p in pairs):
            return False
        gone = [record(node), *map(record, inner)]
        moved, constants = [], []
        for b in self.branches:
            nodes, values = move_in_front(b, node, self.rewriter)
            moved += nodes
            constants += values
        choices = []
        for v, (p, q) in zip(node.outputs, pairs, strict=True):
            choice = Node("Where", [condition, p, q], name=self.model.fresh_name(f"{node.name or 'If'}_Where"))
            choice.graph = parent
            result = choice.new_output(self.model.fresh_name(f"{choice.name}_output"))
            infer_node(self.model, choice)
            self.rewriter.insert(choice, node)
            choices.append(choice)
            if v is not None and v.used:
                self.rewriter.replace(v, result, node)
        for b in self.branches:
            for v in b.outputs:
                v.exits -= 1
            b.outputs, b.output_infos = [], []
        self.rewriter.erase_if_dead(node, None, {node})
        for n in (*choices, *reversed(moved)):
            self.rewriter.erase_if_dead(n)
        for v in constants:
            self.rewriter.drop_if_unused(v)
        return self._done(gone, [n for n in (*moved, *choices) if n.graph is not None], "both values are small")

    # ------------------------------------------------------------------------------------------------------- helpers
    def _pays(self, known: Sequence[Mapping[Node, int]], both: Collection[int]) -> bool:
        """Whether fewer nodes are left: what a branch gives out has to stay, as a copy, unless the other gives the same."""
        saved = sum(k in both for numbered in known for k in numbered.values()) - len(both)
        for outputs in zip(*(b.outputs for b in self.branches), strict=True):
            made = [
                (numbered.get(v.node), v.index) if v.node is not None else None for v, numbered in zip(outputs, known)
            ]
            hoisted = [m for m in made if m is not None and m[0] in both]
            saved -= len(hoisted) if made[0] != made[1] else 0
        return saved > 0

    def _same(self, a: Value, b: Value) -> Value | None:
        """What both of these are, outside of the branches; None where they differ."""
        for v, w in ((a, b), (b, a)):
            alike = v is w or (v.const is not None and w.const is not None and operand_key(v) == operand_key(w))
            if alike and v.graph not in self.branches:
                return v
        if a.const is None or b.const is None or operand_key(a) != operand_key(b):
            return None
        v = constant_like(a, self.parent)
        self.rewriter.add_constant(v, self.node)
        return v

    def _drop(self, i: int, gone: list[NodeRecord]) -> None:
        """Give output i no longer."""
        for b in self.branches:
            v = b.outputs.pop(i)
            v.exits -= 1
            if b.output_infos:
                b.output_infos.pop(i)
            b.touch()
            if v.node is not None:
                self.rewriter.erase_if_dead(v.node, gone)
            elif not v.used and v in b.initializers:
                b.remove_initializer(v)
        self.node.outputs.pop(i)
        for k, o in enumerate(self.node.outputs):
            if o is not None:
                o.index = k
        self.node.touch()

    def _erased(self, gone: list[NodeRecord]) -> bool:
        """Take the If out, which gives nothing any more that anybody reads."""
        gone.clear()
        self.rewriter.erase_if_dead(self.node, gone)
        return self._done(gone, (), "the same in both branches")

    def _done(self, gone: Iterable[NodeRecord], new: Iterable[Node], note: str) -> bool:
        if self.node.graph is not None:
            self.rewriter.look_again(self.node)
        after = (*(record(n) for n in new), *self.rewriter.take_copies())
        seconds = time.perf_counter() - self.started
        self.rewriter.ledger.record(Step("if_branches", "", self.parent.name, tuple(gone), after, seconds * 1e6, note))
        return True


def _numbered(model: Model, branch: Graph, numbers: dict[Hashable, int]) -> dict[Node, int]:
    """The nodes of a branch that depend on nothing inside but constants; those that compute the same have the same number."""
    found: dict[Node, int] = {}

    def operand(v: Value | None) -> Hashable:
        v = None if v is None else source_of(v)
        if v is None or v.graph is not branch or v.const is not None:
            return "outside", None if v is None else operand_key(v)
        return ("inside", found[v.node], v.index) if v.node in found else None

    for n in branch:
        if n.op in ("Constant", "Identity") or any(v is not None and v.type is not None for v in n.outputs):
            continue
        if not is_pure(model, n) or not is_deterministic(model, n) or (attributes := attributes_key(n)) is None:
            continue
        operands = [operand(v) for v in n.inputs]
        if None not in operands:
            key = (n.op, n.overload, tuple(v is None for v in n.outputs), attributes, *operands)
            found[n] = numbers.setdefault(key, len(numbers))
    return found


def _is_safe(node: Node) -> bool:
    """Whether a node may run that would not have run: it cannot fail, and costs next to nothing."""
    return node.op in _SAFE and all(v is not None and _is_small(v) for v in (*node.inputs, *node.outputs))


def _is_small(v: Value) -> bool:
    return v.type is None and is_static(v.shape) and math.prod(v.shape) <= _SMALL


def _are_choosable(condition: Value, p: Value, q: Value) -> bool:
    """Whether a Where of these gives one of them."""
    alike = p.dtype == q.dtype and p.shape == q.shape and p.dtype in _CHOOSABLE
    return alike and _is_small(p) and len(condition.shape or ()) <= len(p.shape or ())
