"""Graphs as pictures; what is too large is folded, then cut, and the note says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from onnx import TensorProto

from graphopt.errors import ArgumentError
from graphopt.ir import Graph, Node, Tensor, Value
from graphopt.ir.text import value_text
from graphopt.shapes.text import show, show_type
from graphopt.view.families import family_of
from graphopt.view.picture import MOST, Box, Edge, Picture, value_box

_FOLDED_NAMES = 3


def picture_of(
    graph: Graph,
    *,
    around: str | None = None,
    reach: int = 3,
    most: int = MOST,
) -> Picture:
    """A graph as boxes; Constants and weights are written into the boxes that read them.

    Args:
        graph: the graph, without its subgraphs, which count as a part of the node that holds them.
        around: the name of a node or value; only what lies near it is drawn.
        reach: how many edges away that is, up and down.
        most: with more boxes than that, chains are folded into one box each; what is too much even then is cut off.

    Raises:
        ArgumentError: there is no node or value named `around`.
    """
    nodes = [n for n in graph if n.op != "Constant"]
    total, notes = len(nodes), []
    if around is not None:
        nodes = _near(graph, nodes, around, reach)
        notes.append(f"{len(nodes)} of {total} nodes, those up to {reach} edges from '{around}'")
    groups = [[n] for n in nodes]
    if len(groups) > most:
        groups = _folded(nodes)
        notes.append(f"{len(nodes)} nodes, chains folded")
    if len(groups) > most:
        kept = sum(map(len, groups[:most]))
        notes.append(f"the first {kept} of {len(nodes)} are drawn; draw(model, around=...) shows others")
        groups = groups[:most]
    return _Drawn(graph, groups).picture("; ".join(notes))


class _Drawn:
    """Puts boxes for groups of nodes, and for what flows in and out, in order, and edges between them."""

    def __init__(self, graph: Graph, groups: Sequence[Sequence[Node]]) -> None:
        self.boxes: list[Box] = []
        self.edges: dict[tuple[int, int], str] = {}
        self.made: dict[Value, int] = {}
        self.labelled: set[Value] = set()
        held = {n for group in groups for n in group}
        fed = set(graph.inputs) - set(graph.initializers)
        for v in graph.inputs:
            if v in fed and (not v.uses or any(_reader(graph, user) in held for user in v.uses)):
                self.made[v] = self._add(_value_box(v))
                self.labelled.add(v)  # its box says it already
        for group in groups:
            at = self._add(_box(group[0]) if len(group) == 1 else _fold(group))
            for node in group:
                for v in dict.fromkeys(Graph._reads(node)):
                    if v.const is None and self.made.get(v, at) != at:
                        self._link(v, at)
                self.made.update({v: at for v in node.outputs if v is not None})
        for v in dict.fromkeys(graph.outputs):
            if v in self.made:
                self.labelled.add(v)
                self._link(v, self._add(_value_box(v)))

    def picture(self, note: str) -> Picture:
        return Picture(tuple(self.boxes), tuple(Edge(a, b, label) for (a, b), label in self.edges.items()), note=note)

    def _add(self, box: Box) -> int:
        self.boxes.append(box)
        return len(self.boxes) - 1

    def _link(self, v: Value, target: int) -> None:
        label = "" if v in self.labelled else _dims(v)
        self.labelled.add(v)
        key = (self.made[v], target)
        self.edges[key] = self.edges.get(key) or label


def _reader(graph: Graph, user: Node) -> Node | None:
    """The node of this graph that is, or holds, a user."""
    node: Node | None = user
    while node is not None and node.graph is not graph:
        node = None if node.graph is None else node.graph.owner
    return node


def _near(graph: Graph, nodes: list[Node], name: str, reach: int) -> list[Node]:
    found = {n for n in nodes if n.name == name or any(v is not None and v.name == name for v in n.outputs)}
    found |= {n for n in nodes if any(v is not None and v.name == name and v.node is None for v in n.inputs)}
    if not found:
        raise ArgumentError(f"around: the graph '{graph.name}' has no node or value named '{name}'")
    inside = set(nodes)
    border = set(found)
    for _ in range(reach):
        above = {v.node for n in border for v in Graph._reads(n) if v.node is not None}
        below = {u for n in border for user in n.users() if (u := _reader(graph, user)) is not None}
        border = ((above | below) & inside) - found
        found |= border
    return [n for n in nodes if n in found]


def _folded(nodes: list[Node]) -> list[list[Node]]:
    """Nodes that follow one another, and that nothing else reads in between, as groups."""
    place = {n: i for i, n in enumerate(nodes)}
    groups: list[list[Node]] = []
    of: dict[Node, int] = {}
    for n in nodes:
        sources = {v.node for v in Graph._reads(n) if v.const is None and v.node in place}
        fed = any(v.const is None and v.node is None for v in Graph._reads(n))
        above = sources.pop() if len(sources) == 1 and not fed else None
        alone = above is not None and sum(len(v.uses) + v.exits for v in above.outputs if v is not None) == 1
        if above is not None and alone:
            of[n] = of[above]
            groups[of[n]].append(n)
        else:
            of[n] = len(groups)
            groups.append([n])
    return sorted(groups, key=lambda group: place[group[-1]])


def _box(node: Node) -> Box:
    constants = [_constant(v.const) for v in node.inputs if v is not None and v.const is not None]
    inner = sum(sum(1 for _ in sub.walk()) for sub in node.subgraphs)
    line = f"{inner} nodes inside" if inner else ", ".join(filter(None, constants))
    attributes = [f"{k} = {value_text(a)}" for k, a in node.attributes.items() if not isinstance(a, (Graph, Tensor))]
    made = [f"-> {v.name}: {show_type(v)}" for v in node.outputs if v is not None]
    hint = "\n".join([f"{node.op} '{node.name}'" if node.name else node.op, *attributes, *made])
    return Box(node.op_type, "node", family_of(node.op), line, hint)


def _fold(group: Sequence[Node]) -> Box:
    names = [f"{n}× {op}" if n > 1 else op for op, n in _runs(n.op_type for n in group)]
    title = " · ".join(names[:_FOLDED_NAMES]) + ("…" if len(names) > _FOLDED_NAMES else "")
    hint = "\n".join(f"{n.op} '{n.name}'" for n in group)
    return Box(title, "fold", family_of(_heaviest(group)), f"{len(group)} nodes", hint)


def _heaviest(group: Sequence[Node]) -> str:
    """The operator after which a folded chain is coloured: one that multiplies, if there is one."""
    heavy = ("product", "attention", "recurrent", "normalization")
    return next((n.op for family in heavy for n in group if family_of(n.op) == family), group[0].op)


def _runs(names: Iterable[str]) -> list[tuple[str, int]]:
    return [(name, len(list(same))) for name, same in groupby(names)]


def _value_box(v: Value) -> Box:
    return value_box(v.name, _dims(v), f"{v.name}: {show_type(v)}")


def _constant(t: Tensor) -> str:
    """A small constant as it is, the dims of a large one."""
    if t.size == 1 and t.dtype != TensorProto.STRING:
        return f"{t.item():.6g}" if isinstance(t.item(), float) else str(t.item())
    if len(t.dims) == 1 and t.size <= 4 and t.dtype == TensorProto.INT64:
        return f"[{', '.join(map(str, t.numpy().tolist()))}]"
    return "×".join(map(str, t.dims))


def _dims(v: Value) -> str:
    """The shape on an edge; nothing for a scalar, or where the rank is unknown."""
    return "×".join(_dim(d) for d in v.shape or ())


def _dim(d: object) -> str:
    text = show(d)
    return text if len(text) <= 14 else "…"
