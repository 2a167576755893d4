"""`diff`: what distinguishes two models in structure. Names of nodes and values mean nothing, nor does the order of the nodes.

Nodes are aligned in four steps, each of which costs about as much as reading the models:

1. those that are alone in what they compute (operator, attributes, constants, and all that leads there) or in how they are used;
2. their neighbours, along the edges, that are alike in this;
3. what is alike but there more than once, in order;
4. neighbours again, by what they are without their surroundings: with the same constants, with constants of the same dtypes and
   dims, and by the operator alone; before the last, nodes whose larger constants are found nowhere else.

A node without a partner was added or removed. Partners may differ in attributes, constants, inputs, or in what their bodies hold.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from graphopt._gc import paused_gc
from graphopt._words import listed
from graphopt.difference.alignment import Alignment
from graphopt.difference.hunks import hunks_of
from graphopt.ir import Model, Node, load

#: Operators of a hunk that are named in a line.
_NAMED = 8


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """A node of one of the models: its operator, its name or first output, and the graph that holds it ('' is the main one)."""

    op: str
    name: str
    graph: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A node that both models have, and what about it differs, a sentence each."""

    before: NodeEntry
    after: NodeEntry
    what: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hunk:
    """Nodes next to each other that are gone, and those that are in their place."""

    removed: tuple[NodeEntry, ...]
    added: tuple[NodeEntry, ...]

    def __str__(self) -> str:
        return f"{_operators(self.removed)}  ->  {_operators(self.added)}"


@dataclass(frozen=True, slots=True)
class Diff:
    """The answer of `diff`. True where there is a difference.

    Attributes:
        nodes: how many nodes the models have, Constants apart.
        same: how many have a partner that is like them in all.
        hunks: what was removed and added.
        changed: partners that differ.
        interface: differences of inputs, outputs, opsets and functions, a sentence each.
    """

    nodes: tuple[int, int]
    same: int
    hunks: tuple[Hunk, ...] = ()
    changed: tuple[Change, ...] = ()
    interface: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.hunks or self.changed or self.interface)

    @property
    def removed(self) -> list[NodeEntry]:
        """Nodes of the first model that the second lacks."""
        return [n for h in self.hunks for n in h.removed]

    @property
    def added(self) -> list[NodeEntry]:
        """Nodes of the second model that the first lacks."""
        return [n for h in self.hunks for n in h.added]

    def operators(self) -> list[tuple[str, int, int, int]]:
        """(operator, removed, added, changed), most differences first."""
        removed, added = Counter(n.op for n in self.removed), Counter(n.op for n in self.added)
        changed = Counter(c.before.op for c in self.changed)
        rows = [(op, removed[op], added[op], changed[op]) for op in {*removed, *added, *changed}]
        return sorted(rows, key=lambda r: (-sum(r[1:]), r[0]))

    def kinds(self) -> list[tuple[str, int, Hunk]]:
        """(operators before and after, how often, the first of them), in order of the first."""
        found: dict[str, list[Any]] = {}
        for h in self.hunks:
            found.setdefault(str(h), [0, h])[0] += 1
        return [(text, n, first) for text, (n, first) in found.items()]

    def summary(self) -> str:
        """One line."""
        if not self:
            return f"the same structure: {self.nodes[0]:,} nodes"
        counts = f"{len(self.removed):,} removed, {len(self.added):,} added, {len(self.changed):,} changed"
        return f"{self.nodes[0]:,} -> {self.nodes[1]:,} nodes: {counts}, {self.same:,} the same"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""

        def entry(n: NodeEntry) -> dict[str, str]:
            return {"op": n.op, "name": n.name, "graph": n.graph}

        return {
            "same": not self,
            "nodes": {"before": self.nodes[0], "after": self.nodes[1], "same": self.same},
            "interface": list(self.interface),
            "hunks": [{"removed": [*map(entry, h.removed)], "added": [*map(entry, h.added)]} for h in self.hunks],
            "changed": [
                {"before": entry(c.before), "after": entry(c.after), "what": list(c.what)} for c in self.changed
            ],
        }

    def to_json(self, indent: int | None = 1) -> str:
        """All of it as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)

    def __str__(self) -> str:
        lines = [self.summary(), *(f"  {text}" for text in self.interface)]
        lines += [f"  {n:5d} x {text}" for text, n, _ in self.kinds()]
        for c in self.changed:
            lines.append(f"  {c.before.op} '{c.before.name}': {'; '.join(c.what)}")
        return "\n".join(lines)


def diff(a: Any, b: Any) -> Diff:
    """Compare the structure of two models: operators, attributes, constants, how they are connected.

    Names of nodes, values, graphs and symbolic dims are ignored, and so are the order of the nodes, documentation, metadata, and
    whether a constant is an initializer or a Constant node. Inputs and outputs are compared in their order. Nothing is run:
    models that compute the same in other ways differ (`graphopt.verify` asks whether they compute the same).

    Args:
        a: a path, bytes, `onnx.ModelProto`, `graphopt.Model`: whatever `graphopt.load` takes.
        b: likewise.

    Returns:
        What was removed, added and changed from a to b. False where nothing was.

    Raises:
        ModelError: one of them cannot be read or is not valid.
        ArgumentError: one of them is no model.

    Example:
        >>> fast = graphopt.optimize("model.onnx")
        >>> print(graphopt.diff("model.onnx", fast))
    """
    with paused_gc():
        first, second = load(a), load(b)
        alignment = Alignment(first, second)
        gone_and_new = hunks_of(alignment)
        differing = list(alignment.changes())
        interface = (*_opsets(first, second), *alignment.interface())

    def entry(node: Node) -> NodeEntry:
        graph = node.graph
        while graph is not None and graph not in alignment.places:  # the body of a node that has no partner itself
            graph = graph.parent
        return NodeEntry(node.op, node.label, alignment.places[graph] if graph is not None else "")

    hunks = tuple(Hunk(tuple(map(entry, gone)), tuple(map(entry, new))) for gone, new in gone_and_new)
    changed = tuple(Change(entry(x), entry(y), tuple(what)) for x, y, what in differing)
    counts = len(alignment.a.exact), len(alignment.b.exact)
    removed = sum(len(gone) for gone, _ in gone_and_new)
    return Diff(counts, counts[0] - removed - len(changed), hunks, changed, interface)


def _opsets(a: Model, b: Model) -> list[str]:
    """Versions of operator sets that nodes are of, where they differ."""
    used = {n.domain for m in (a, b) for n in m.nodes()}
    versions = [(d or "ai.onnx", a.opsets.get(d), b.opsets.get(d)) for d in sorted(used)]
    return [
        f"opset {d}: {'none' if x is None else x} -> {'none' if y is None else y}" for d, x, y in versions if x != y
    ]


def _operators(nodes: tuple[NodeEntry, ...]) -> str:
    """Operators in a line."""
    return listed([n.op for n in nodes], _NAMED, " ") or "nothing"
