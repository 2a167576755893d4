"""The driver: a sweep over the nodes, and a worklist of what each rewrite may have made possible.

Cost is linear in nodes and rewrites: a node is looked at when the sweep comes by and again when something near it
changed; a table by operator, and by the operators of its producers, keeps it from rules that cannot match.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from graphopt.errors import RewriteLoopError, RuleError
from graphopt.ir import Graph, Node
from graphopt.rewrite.compile import Compiled, Match, variants_of
from graphopt.rewrite.emit import instantiate
from graphopt.rewrite.ledger import NodeRecord, Step
from graphopt.rewrite.outline import CONST
from graphopt.rewrite.replacement import Declined, Replacement
from graphopt.rewrite.rewriter import Rewriter, record
from graphopt.rewrite.rule import Rule
from graphopt.shapes import facts_of

#: Rewrites of one value that save no node before a rule set counts as looping.
_PATIENCE = 64
#: Sweeps over a graph before the driver stops looking for more.
_MAX_SWEEPS = 16
#: Nodes that may be moved to the front for the sake of one rewrite.
_MOVABLE = 4096


class RuleSet:
    """Rules by the operator that their pattern starts from.

    Attributes:
        name: of the phase in which they run.
        bits: a bit for every operator whose presence among the producers of a node some pattern needs.
        known: patterns by root operator, each with the bits that it needs.
        applicable: patterns by root operator and bits of the producers, filled by the driver as it meets them.
    """

    def __init__(self, rules: Iterable[Rule], name: str = "rules") -> None:
        self.rules = tuple(rules)
        self.name = name
        self.bits: dict[str, int] = {CONST: 1}
        self._by_op = _by_operator(self.rules)
        self.known: dict[str, list[tuple[int, Compiled]]] = {}
        self.applicable: dict[tuple[str, int], tuple[Compiled, ...]] = {}

    def entries(self, op: str) -> list[tuple[int, Compiled]]:
        """Patterns that start from this operator, each with the bits of the producers that it needs."""
        found = self.known.get(op)
        if found is None:
            compiled = [c for r in self._by_op.get(op, ()) for c in variants_of(r) if c.op == op]
            found = self.known[op] = [(self._mask(c.needs), c) for c in compiled]
        return found

    def _mask(self, ops: Iterable[str]) -> int:
        mask, bits = 0, self.bits
        for op in ops:
            if op not in bits:
                bits[op] = 1 << len(bits)
            mask |= bits[op]
        return mask


@lru_cache(maxsize=16)
def _by_operator(rules: tuple[Rule, ...]) -> dict[str, list[Rule]]:
    """The rules by the operators that their patterns start from."""
    table: dict[str, list[Rule]] = {}
    for r in rules:
        for op in dict.fromkeys(v.op for v in r.variants):
            table.setdefault(op, []).append(r)
    return table


#: Looks at a node and may change the graph through the rewriter; True where it did.
Handler = Callable[[Node, Rewriter], bool]


@dataclass(frozen=True, slots=True)
class Handlers:
    """What is not an equation but works node by node: handlers by operator, and for nodes whose inputs are all constants."""

    by_op: dict[str, list[Handler]] = field(default_factory=dict)
    constant: list[Handler] = field(default_factory=list)


class Driver:
    """Applies rules and handlers to a model until nothing changes."""

    def __init__(self, rewriter: Rewriter, rules: RuleSet, handlers: Handlers | None = None) -> None:
        self.rewriter = rewriter
        self.model = rewriter.model
        self.ledger = rewriter.ledger
        self.rules = rules
        self.handlers = handlers or Handlers()
        self.applied = 0
        self._fruitless: dict[str, list[str]] = {}
        self._limit = 1000 + 8 * sum(map(len, self.model.graphs()))
        self._broken: set[Rule] = set()
        self._facts = facts_of(self.model)

    def run(self) -> int:
        """Rewrite every graph of the model; the number of changes.

        Raises:
            RewriteLoopError: rules keep undoing each other's work or rewriting their own.
            RuleError: a rule from outside the package is wrong.
        """
        for graph in [self.model.graph, *(f.graph for f in self.model.functions.values())]:
            self._sweep(graph)
        return self._look_below()

    def resume(self) -> int:
        """The same, but only near what changed since."""
        pending = self.rewriter.pending
        for node in sorted((n for n in pending if n.graph is not None), key=lambda n: n.position):
            if node in pending:  # not looked at meanwhile
                del pending[node]
                self._visit_around(node)
        return self._look_below()

    def _look_below(self) -> int:
        for _ in range(_MAX_SWEEPS):
            again = self.rewriter.below_changes()
            if not again:
                break
            for node in again:
                self._visit_around(node)
        return self.applied

    def _sweep(self, graph: Graph) -> None:
        for node in graph:
            for sub in node.subgraphs:
                self._sweep(sub)
            self._visit_around(node)

    def _visit_around(self, node: Node) -> None:
        """Visit a node and, where that changed something, what is near it."""
        if node.graph is not None and self._visit(node):
            pending = self.rewriter.pending
            while pending:
                n = pending.popitem()[0]
                if n.graph is not None:
                    self._visit(n)

    def _visit(self, node: Node) -> bool:
        """Try handlers and rules on a node; whether one of them changed the graph."""
        if node.graph in self._facts.unrunnable or node in self._facts.left_alone:
            return False  # a simpler form would show to a session or a checker what it refuses the model for
        op = node.op
        rules, handlers = self.rules, self.handlers
        if op not in rules.known:
            rules.entries(op)  # gives the producers that matter here their bits
        mask, computed = 0, not node.inputs
        bits = rules.bits
        for v in node.inputs:
            if v is not None:
                if v.const is not None:
                    mask |= 1
                else:
                    computed = True
                    if v.node is not None:
                        mask |= bits.get(v.node.op, 0)
        if not computed and self._handle(handlers.constant, node):
            return True
        if op in handlers.by_op and self._handle(handlers.by_op[op], node):
            return True
        candidates = rules.applicable.get((op, mask))
        if candidates is None:
            candidates = rules.applicable[op, mask] = tuple(c for need, c in rules.entries(op) if need & mask == need)
        if not candidates:
            return False
        tried = self.rewriter.tried
        for compiled in candidates:
            if node in tried and compiled in tried[node]:
                continue
            for match in compiled.match(node):
                if self._apply(compiled, match, node):
                    tried.pop(node, None)
                    return True
            tried.setdefault(node, set()).add(compiled)
        return False

    def _handle(self, handlers: Sequence[Handler], node: Node) -> bool:
        for h in handlers:
            if h(node, self.rewriter):
                self.applied += 1
                return True
        return False

    def _apply(self, compiled: Compiled, match: Match, node: Node) -> bool:
        """One transaction: build and check the whole replacement, then put it in; or leave the graph as it is."""
        started = time.perf_counter()
        rule, graph = compiled.rule, node.graph
        assert graph is not None
        if rule in self._broken:
            return False
        try:
            rewriter = self.rewriter
            replacement = instantiate(self.model, compiled, match, graph, rewriter.refuses, rewriter.weigh)
            for old, new in zip(replacement.roots, replacement.results, strict=True):
                if old.node is not None and not self.rewriter.can_replace(old, new, old.node):
                    raise Declined("an output of the graph must have a producer")
            dead = self._dying(replacement, match)
            self._check_profit(rule, replacement, match, dead)
            anchor = self._anchor(replacement, graph, dead)
        except Declined as d:
            self.ledger.decline(
                rule.name, str(d), node.outputs[0].name if node.outputs and node.outputs[0] is not None else ""
            )
            return False
        except RuleError as e:
            if not rule.builtin:
                raise
            self._broken.add(rule)
            self.ledger.warnings.append(f"{e}; the rule was left out, please report it")
            return False
        self._commit(rule, replacement, match, graph, anchor, started)
        return True

    def _anchor(self, r: Replacement, graph: Graph, dead: Collection[Node]) -> Node:
        """The node in front of which the new nodes go. What they read, and comes later, is moved there as well."""
        roots = [v.node for v in r.roots]
        first = roots[0]
        assert first is not None
        if all(n is first for n in roots):
            if any(v is not None and v.node is first for n in r.nodes for v in n.inputs):
                raise Declined("the replacement reads what it replaces")
            return first
        read = [v.node for n in r.nodes for v in n.inputs if v is not None] + [v.node for v in r.results]
        ready = [n for n in read if n is not None and n.graph is graph and n not in r.nodes]
        producers = [n for n in roots if n is not None]
        users = [
            n.position
            for v in r.roots
            for u in v.uses
            if (n := _in_graph(u, graph)) is not None and n not in producers and n not in dead
        ]
        anchor = max(
            (n for n in producers if n.position <= min(users, default=n.position)), default=None, key=_position
        )
        late = None if anchor is None else _later(ready, anchor, producers)
        if anchor is not None and late is not None:
            for n in late:
                graph.move_before(anchor, n)
                self.rewriter.pending[n] = None  # a sweep that is under way comes by no more
            return anchor
        raise Declined(
            "the outputs are used in between, no place in the graph is behind all inputs and before all users"
        )

    @staticmethod
    def _dying(r: Replacement, match: Match) -> set[Node]:
        """The matched nodes that nobody will read."""
        roots, inner, kept = _involved(r, match)
        dead: set[Node] = set()
        for n in sorted(roots | inner, key=_position, reverse=True):
            gone = (v is None or v in r.roots or (not v.exits and all(u in dead for u in v.uses)) for v in n.outputs)
            if (n in roots or n not in kept) and all(gone):
                dead.add(n)
        return dead

    @staticmethod
    def _check_profit(rule: Rule, r: Replacement, match: Match, dead: set[Node]) -> None:
        """Inner values that are used elsewhere stay; then the rewrite must still save a node."""
        roots, inner, kept = _involved(r, match)
        if (inner - dead - kept or len(roots - dead)) and not rule.always and len(dead) <= len(r.nodes):
            raise Declined("an inner value is used elsewhere, so nothing would be saved")

    def _commit(self, rule: Rule, r: Replacement, match: Match, graph: Graph, anchor: Node, started: float) -> None:
        rewriter = self.rewriter
        for name, version in r.domains.items():
            graph.opsets.setdefault(name, version)
        for f in r.functions:
            self.model.add_function(f, r.domains.get(f.key[0], 1))
        used = {v for n in r.nodes for v in n.inputs} | set(r.results)
        for v in r.constants:
            if v in used:
                rewriter.add_constant(v, anchor)
        origin = r.roots[0].node
        for n in r.nodes:
            if origin is not None:
                n.inherit(origin)
            rewriter.insert(n, anchor)
        roots = [v.node for v in r.roots]
        new = set(r.nodes)
        pairs = list(zip(r.roots, r.results, strict=True))
        names = [(old.name, old, result) for old, result in pairs if result.node in new]
        for old, result in pairs:
            assert old.node is not None
            rewriter.replace(old, result, old.node, anchor)
        gone: list[NodeRecord] = []
        matched = {n for n in (*match[1], *match[2]) if n is not None}
        for root in roots:
            assert root is not None
            rewriter.erase_if_dead(root, gone, matched)
        for v in r.constants:
            rewriter.drop_if_unused(v)
        for name, old, result in names:
            if result.name != name and old.name == name and (old.node is None or old.node.graph is None):
                result.rename(name)
        for n in reversed(r.nodes):  # what stands for an output that nobody reads
            rewriter.erase_if_dead(n, matched={n})
        after = (*(record(n) for n in r.nodes if n.graph is not None), *rewriter.take_copies())
        step = Step(rule.name, rule.where, graph.name, tuple(gone), after, (time.perf_counter() - started) * 1e6)
        self.ledger.record(step)
        self.applied += 1
        if step.saved <= 0:
            self._watch(rule, names[0][0] if names else step.location)

    def _watch(self, rule: Rule, location: str) -> None:
        """Steps that save nothing may not go on for ever at one place, nor all over the graph."""
        history = self._fruitless.setdefault(location, [])
        history.append(rule.name)
        total = self._fruitless.setdefault("", [])
        total.append(rule.name)
        if len(history) > _PATIENCE or len(total) > self._limit:
            names = sorted(set((history if len(history) > _PATIENCE else total)[-_PATIENCE:]))
            who = (
                f"rule '{names[0]}' rewrites its own result"
                if len(names) == 1
                else f"rules {', '.join(names)} undo each other"
            )
            raise RewriteLoopError(
                f"{who} without end, at '{location}'; leave one out (without=...) or give it a guard that fails on its own result"
            )


def _position(node: Node) -> int:
    return node.position


def _involved(r: Replacement, match: Match) -> tuple[set[Node], set[Node], set[Node | None]]:
    """The nodes that give what is replaced, the other matched ones, and those that the replacement reads."""
    roots = {v.node for v in r.roots if v.node is not None}
    inner = {n for n in (*match[1], *match[2]) if n is not None and n not in roots}
    return roots, inner, {v.node for n in r.nodes for v in n.inputs if v is not None} | {v.node for v in r.results}


def _later(nodes: Iterable[Node], anchor: Node, producers: Collection[Node]) -> list[Node] | None:
    """What comes after `anchor` of nodes and of what they are computed from, in order; None where it is much, or cannot move."""
    found: set[Node] = set()
    stack = list(nodes)
    while stack:
        n = stack.pop()
        if n.position < anchor.position or n in found:
            continue
        if n in producers or n.subgraphs or len(found) == _MOVABLE:
            return None
        found.add(n)
        stack += [v.node for v in n.inputs if v is not None and v.node is not None and v.node.graph is n.graph]
    return sorted(found, key=_position)


def _in_graph(node: Node, graph: Graph) -> Node | None:
    """The node of `graph` that is, or holds in a subgraph, this one."""
    n: Node | None = node
    while n is not None and n.graph is not graph:
        n = n.graph.owner if n.graph is not None else None
    return n
