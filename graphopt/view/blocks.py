"""Folding: thousands of nodes as a tree of blocks, so that a few dozen boxes show all of them.

Nodes are taken in the order of the graph. Where their operators repeat with a period they become a stack of blocks; what does not
repeat is cut where the fewest values cross. A block is an interval of the order, so boxes never depend on each other in a circle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, Union

import numpy as np

from graphopt.view.data import ModelData

#: Fewer nodes than this stay as they are.
SMALL = 14
#: No block has more children.
MOST = 36
#: Nodes of a region, about.
_REGION = 24
#: The part of an interval that a stack has to hold.
_PART = 0.12
#: Comparisons of operators in an interval, at most.
_EFFORT = 40_000_000

Child = Union[int, "Block"]


@dataclass(slots=True)
class Block:
    """Several nodes as one box.

    Attributes:
        kind: a stack holds blocks of the same operators, a region what lies together, a body a subgraph of a node.
        children: numbers of nodes, and blocks, in order.
        node: the node that has the body, -1 otherwise.
    """

    kind: Literal["stack", "block", "region", "body"]
    title: str
    children: list[Child] = field(default_factory=list)
    node: int = -1

    def nodes(self) -> Iterable[int]:
        """The numbers of all nodes inside."""
        for c in self.children:
            if isinstance(c, Block):
                yield from c.nodes()
            else:
                yield c

    def to_data(self) -> dict[str, Any]:
        """Plain data, for JSON; keys are short since there are many."""
        children = [c.to_data() if isinstance(c, Block) else c for c in self.children]
        return {"k": self.kind, "t": self.title, "c": children} | ({"o": self.node} if self.node >= 0 else {})


def fold(data: ModelData) -> list[list[Child]]:
    """The children of each graph without an owner: the main graph, then functions. Subgraphs are bodies beside their nodes."""
    bodies: dict[int, list[int]] = {}
    for number, graph in enumerate(data.graphs):
        if graph.owner >= 0:
            bodies.setdefault(graph.owner, []).append(number)

    def folded(number: int) -> list[Child]:
        return [with_bodies(c) for c in _Folding(data, data.graphs[number].nodes).children()]

    def with_bodies(child: Child) -> Child:
        if isinstance(child, Block):
            child.children = [with_bodies(c) for c in child.children]
            return child
        if child not in bodies:
            return child
        inside: list[Child] = [Block("body", data.graphs[g].title, folded(g)) for g in bodies[child]]
        return Block("body", data.nodes[child].op, [child, *inside], child)

    return [folded(i) for i, graph in enumerate(data.graphs) if graph.owner < 0]


class _Folding:
    """The nodes of one graph, as intervals of their order."""

    def __init__(self, data: ModelData, nodes: Sequence[int]) -> None:
        self.data = data
        self.nodes = nodes
        kinds: dict[str, int] = {}
        self.operators = np.array([kinds.setdefault(data.nodes[n].op, len(kinds)) for n in nodes], np.int32)
        self.widths = _widths(data, nodes)

    def children(self) -> list[Child]:
        return self.interval(0, len(self.nodes))

    def interval(self, low: int, high: int) -> list[Child]:
        """What nodes low to high become."""
        if high - low < SMALL:
            return list(self.nodes[low:high])
        run = self.best_run(low, high)
        if run is None:
            return self.regions(low, high)
        start, period, count = run
        end = start + period * count
        parts: list[Child] = []
        if period == 1:
            parts += self.nodes[start:end]
        else:
            for i in range(start, end, period):
                inside = self.interval(i, i + period)
                parts.append(Block("block", self.title(i, i + period), inside))
        stack = Block("stack", self.title(start, end), _narrow(parts))
        before, after = self.interval(low, start), self.interval(end, high)
        if len(before) + len(after) + 1 > MOST:
            before, after = self.wrapped(low, start, before), self.wrapped(end, high, after)
        return [*before, stack, *after]

    def wrapped(self, low: int, high: int, inside: list[Child]) -> list[Child]:
        return inside if len(inside) < 2 else [Block("region", self.title(low, high), inside)]

    def best_run(self, low: int, high: int) -> tuple[int, int, int] | None:
        """Where the operators repeat: (first node, period, times), the one that folds most nodes away."""
        t = self.operators[low:high]
        n = len(t)
        best, least = None, max(SMALL // 2, _PART * n)
        for period in range(1, min(n // 2, _EFFORT // n) + 1):
            breaks = np.flatnonzero(t[:-period] != t[period:])
            edges = np.concatenate(([-1], breaks, [n - period]))
            lengths = np.diff(edges) - 1
            i = int(lengths.argmax())
            length = int(lengths[i])
            # a run of `length` equal pairs is period + length nodes; those after the first period are folded away
            folded = length - length % period
            if folded > least and (period > 1 or folded >= SMALL):
                best, least = (low + int(edges[i]) + 1, period, period + length), folded
        if best is None:
            return None
        start, period, total = best
        return self.aligned(start, period, total)

    def aligned(self, start: int, period: int, total: int) -> tuple[int, int, int]:
        """The same run with blocks that begin where the fewest values cross; it may lose a block by that."""
        most = total // period
        choices = []
        for offset in range(min(period, total - period * max(1, most - 1) + 1)):
            count = (total - offset) // period
            if count >= 2:
                cuts = self.widths[start + offset : start + offset + period * count + 1 : period]
                choices.append((float(cuts.mean()) + 0.5 * (most - count), offset, count))
        _, offset, count = min(choices)
        return start + offset, period, count

    def regions(self, low: int, high: int) -> list[Child]:
        """An interval that does not repeat, cut into a few regions where it is narrow."""
        n = high - low
        pieces = min(10, round(n / _REGION))
        if pieces < 2:
            return list(self.nodes[low:high])
        cuts, reach = [low], max(1, int(0.4 * n / pieces))
        for i in range(1, pieces):
            middle = low + n * i // pieces
            first, last = max(cuts[-1] + 1, middle - reach), min(high - 1, middle + reach)
            if first <= last:
                near = self.widths[first : last + 1]
                tied = np.flatnonzero(near == near.min()) + first
                cuts.append(int(tied[np.abs(tied - middle).argmin()]))
        cuts.append(high)
        return [Block("region", self.title(a, b), self.interval(a, b)) for a, b in pairwise(cuts)]

    def title(self, low: int, high: int) -> str:
        """The module that most of the nodes came from, else their operators."""
        nodes = [self.data.nodes[n] for n in self.nodes[low:high]]
        scope = _common([n.scope for n in nodes if n.scope])
        if scope:
            return "/".join(scope[-2:])
        counts = Counter(n.op.rpartition("::")[2] for n in nodes).most_common(3)
        return ", ".join(f"{op} × {n}" if n > 1 else op for op, n in counts)


def _narrow(children: list[Child]) -> list[Child]:
    """The same with no more than `MOST` children on a level."""
    while len(children) > MOST:
        size = max(2, min(MOST, round(len(children) ** 0.5)))
        groups = [children[i : i + size] for i in range(0, len(children), size)]
        children = [
            Block("region", f"{i * size + 1} to {i * size + len(g)}", g) if len(g) > 1 else g[0]
            for i, g in enumerate(groups)
        ]
    return children


def _common(scopes: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The longest path that three quarters of the paths begin with."""
    found: tuple[str, ...] = ()
    while True:
        deeper = Counter(s[: len(found) + 1] for s in scopes if len(s) > len(found) and s[: len(found)] == found)
        if not deeper:
            return found
        (longer, times), *_ = deeper.most_common(1)
        if times < 0.75 * len(scopes):
            return found
        found = longer


def _widths(data: ModelData, nodes: Sequence[int]) -> np.ndarray:
    """How many values cross the border in front of each node, and that behind the last."""
    position = {n: i for i, n in enumerate(nodes)}
    last: dict[int, int] = {}
    for i, n in enumerate(nodes):
        for v in data.nodes[n].inputs:
            if v >= 0 and data.values[v].node in position:
                last[v] = i
    change = np.zeros(len(nodes) + 1, np.int64)
    for v, i in last.items():
        change[position[data.values[v].node] + 1] += 1
        change[i + 1] -= 1
    return np.cumsum(change)
