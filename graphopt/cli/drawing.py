"""What `graphopt explain --tree` draws: a graph, or a part of it, before and after a rewrite."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from graphopt.cli.output import Screen
from graphopt.cli.tree import Line, around, draw, lines_of
from graphopt.ir import Graph, Model, Node
from graphopt.rewrite import NodeRecord, Step
from graphopt.shapes import infer_model

_GONE, _NEW = "red", "green"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two trees: its lines, the nodes that make the difference, and how these are shown."""

    lines: list[Line]
    marked: Collection[Node]
    style: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """Two trees of one thing.

    Attributes:
        title: what is drawn.
        step: number of the rewrite between them, None where it is not one alone.
    """

    title: str
    step: int | None
    before: Side
    after: Side

    def show(self, screen: Screen, limit: int) -> None:
        """Draw both, of each as many nodes as `limit` allows (0: all)."""
        screen.line(self.title, "bold cyan")
        for title, side in (("before", self.before), ("after", self.after)):
            tree, more = draw(title, side.lines, dict.fromkeys(side.marked, side.style), limit)
            screen.tree(tree)
            if more:
                screen.line(f"and {more:,} more nodes; --limit 0 shows all", "dim")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON: both trees whole."""
        sides = {"before": self.before, "after": self.after}
        return {
            "title": self.title,
            "step": self.step,
            **{
                name: {
                    "lines": [line.to_dict() for line in side.lines],
                    "changed": [n.label for n in side.marked],
                }
                for name, side in sides.items()
            },
        }


def whole(before: Model, after: Model) -> Drawing:
    """The main graph of a model as it was, and as it became."""
    infer_model(before)
    return Drawing("the graph", None, Side(lines_of(before.graph), (), ""), Side(lines_of(after.graph), (), ""))


def around_a_step(before: Model, after: Model, number: int, step: Step, reach: int) -> Drawing:
    """The nodes that a rewrite took and those that it brought, with what lies so many edges around them.

    A rewrite that brings nothing is shown by the nodes that its own were between.
    """
    infer_model(before)
    gone, new = _found(before, step.before), _found(after, step.after)
    return Drawing(
        f"{number}. {step.rule} at '{step.location}'",
        number,
        _part(gone, gone, reach, _GONE) if gone else _part(_same(before, around(new, 1)), (), 0, _GONE),
        _part(new, new, reach, _NEW) if new else _part(_same(after, around(gone, 1)), (), 0, _NEW),
    )


def around_a_node(before: Model, after: Model, name: str, reach: int) -> Drawing:
    """The neighbourhood of a node, or of the producer and users of a value, that no rewrite touched."""
    infer_model(before)
    sides = []
    for model in (before, after):
        found = [n for n in model.nodes() if n.name == name or any(v is not None and v.name == name for v in n.outputs)]
        found = found or [
            u for g in model.graphs() for v in (*g.inputs, *g.initializers) if v.name == name for u in v.uses
        ]
        sides.append(_part(found, found, reach, "bold"))
    return Drawing(f"around '{name}', which no step touched", None, *sides)


def _part(start: Collection[Node], marked: Collection[Node], reach: int, style: str) -> Side:
    """Nodes with what lies around them, graph by graph."""
    lines: list[Line] = []
    graphs: dict[Graph, list[Node]] = {}
    for n in start:
        if n.graph is not None:
            graphs.setdefault(n.graph, []).append(n)
    for graph, nodes in graphs.items():
        lines += lines_of(graph, around(nodes, reach))
    return Side(lines, marked, style)


def _found(model: Model, records: Collection[NodeRecord]) -> list[Node]:
    """The nodes that the ledger speaks of; Constants are no nodes of a tree."""
    wanted = {(r.op, r.name, r.output) for r in records if r.op != "Constant"}
    return [n for n in model.nodes() if (n.op, n.name, _output(n)) in wanted]


def _output(node: Node) -> str:
    first = node.outputs[0] if node.outputs else None
    return "" if first is None else first.name


def _same(model: Model, nodes: Collection[Node]) -> list[Node]:
    """The nodes of another model that have the names of these, or give a value of the same name."""
    names = set(_names(nodes))
    return [n for n in model.nodes() if n.op != "Constant" and names.intersection(_names([n]))]


def _names(nodes: Collection[Node]) -> Iterator[tuple[str, str]]:
    for n in nodes:
        if n.name:
            yield "node", n.name
        for v in n.outputs:
            if v is not None:
                yield "value", v.name
