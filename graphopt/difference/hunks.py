"""Nodes without a partner, put together where they belong together: neighbours, and what stands in their place."""

from __future__ import annotations

from collections.abc import Iterator

from graphopt.difference.alignment import Alignment
from graphopt.ir import Node, Value


def hunks_of(alignment: Alignment) -> list[tuple[list[Node], list[Node]]]:
    """Removed and added nodes, in the order of the first model; those of a body that went with its node are among them."""
    gone = {n for n in alignment.a.exact if n not in alignment.partner}
    new = {n for n in alignment.b.exact if n not in alignment.back}
    groups = _Groups()
    for nodes in (gone, new):
        for n in nodes:
            groups.find(n)
            for read in _read(n):
                if read.node in nodes:
                    groups.join(n, read.node)
            if n.graph is not None and n.graph.owner in nodes:
                groups.join(n, n.graph.owner)
    for ga, gb in alignment.graphs:
        pairs: list[tuple[Value | None, Value | None]] = list(zip(ga.outputs, gb.outputs))
        for x in ga:
            if x in alignment.partner:
                pairs += zip(x.inputs, alignment.partner[x].inputs)
        for v, w in pairs:
            if v is not None and w is not None and v.node in gone and w.node in new:
                groups.join(v.node, w.node)
    order = {n: i for i, n in enumerate(alignment.a.exact)}
    order_b = {n: i for i, n in enumerate(alignment.b.exact)}
    found: dict[Node, tuple[list[Node], list[Node]]] = {}
    for side, in_order in enumerate((sorted(gone, key=order.__getitem__), sorted(new, key=order_b.__getitem__))):
        for n in in_order:
            found.setdefault(groups.find(n), ([], []))[side].append(n)

    def place(hunk: tuple[list[Node], list[Node]]) -> tuple[int, int]:
        removed, added = hunk
        if removed:
            return order[removed[0]], 0
        before = [order[alignment.back[v.node]] for n in added for v in _read(n) if v.node in alignment.back]
        return min(before, default=-1), 1

    return sorted(found.values(), key=place)


def _read(node: Node) -> Iterator[Value]:
    return (v for v in node.inputs if v is not None and v.node is not None)


class _Groups:
    """Disjoint sets (Tarjan, 1975)."""

    def __init__(self) -> None:
        self.parent: dict[Node, Node] = {}

    def find(self, n: Node) -> Node:
        parent = self.parent
        parent.setdefault(n, n)
        while parent[n] is not n:
            parent[n] = parent[parent[n]]
            n = parent[n]
        return n

    def join(self, a: Node | None, b: Node | None) -> None:
        assert a is not None and b is not None
        self.parent[self.find(a)] = self.find(b)
