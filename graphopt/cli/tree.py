"""Graphs as trees for a terminal: a node a line, from inputs to outputs; what joins a line hangs below the node where it does.

A line follows the longest way to an output. A node that reads more than one computed value has the lines of the others below it,
each from the place where it leaves what is shown already. So chains stay flat, however long, and every node is shown once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.tree import Tree

    from graphopt.ir import Graph, Node, Value

#: How much longer a node makes a line than one that computes shapes, so that lines follow the data.
_DATA = 1000


@dataclass(slots=True)
class Line:
    """Nodes in order, each with what joins there.

    Attributes:
        title: what the line is: an output, the number of the input that it leads to, or the name of a body.
        origin: the value with which it begins, '' where it begins with a node that reads no computed value.
        items: the nodes, each with its own lines.
    """

    title: str
    origin: str = ""
    items: list[tuple[Node, list[Line]]] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        """All nodes, as they are shown."""
        for node, lines in self.items:
            yield node
            for line in lines:
                yield from line.walk()

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        nodes = [{**node_data(n), "lines": [line.to_dict() for line in lines]} for n, lines in self.items]
        return {"title": self.title, "origin": self.origin, "nodes": nodes}


def lines_of(graph: Graph, within: Collection[Node] | None = None) -> list[Line]:
    """A graph, or the part of it that these nodes are, as lines: one for each value that leaves it.

    Constants are told with the nodes that read them. The lines together hold every node once.
    """
    from onnx import TensorProto

    depth: dict[Node, int] = {}  # of the nodes that are shown: how long the longest way to each is
    for n in graph:
        if n.op != "Constant" and (within is None or n in within):
            length = 1 if n.outputs and n.output.dtype == TensorProto.INT64 else _DATA
            depth[n] = length + max((depth[p] for p in _producers(n, depth)), default=0)
    ends = [v.node for v in graph.outputs if v.node is not None and v.node in depth]
    ends += [n for n in depth if not any(u in depth for u in n.users())]
    ends += reversed(depth)  # of what is left, as where users lie in bodies
    claimed: set[Node] = set()
    return [_line(end, _outputs(end), depth, claimed) for end in ends if end not in claimed]


def _outputs(node: Node) -> str:
    return ", ".join(v.name for v in node.outputs if v is not None)


def _line(end: Node, title: str, depth: Mapping[Node, int], claimed: set[Node]) -> Line:
    """The line that ends with a node, which becomes claimed with all that it holds."""
    first = Line(title)
    todo = [(end, first)]
    while todo:
        last, line = todo.pop()
        if last in claimed:  # another line has led here meanwhile
            line.origin = last.output.name
            continue
        chain: list[Node] = []
        node: Node | None = last
        while node is not None:
            claimed.add(node)
            chain.append(node)
            node = max((p for p in _producers(node, depth) if p not in claimed), key=depth.__getitem__, default=None)
        line.origin = next((v.name for v in chain[-1].inputs if v is not None and v.const is None), "")
        below: list[tuple[Node, Line]] = []
        for n in reversed(chain):
            joining: list[Line] = []
            line.items.append((n, joining))
            for p in dict.fromkeys(_producers(n, depth)):
                if p not in claimed:
                    place = f"input {n.inputs.index(p.output)}" if p.output in n.inputs else "captured"
                    joining.append(Line(place))
                    below.append((p, joining[-1]))
            for name, body in n.bodies():
                joining += [Line(f"{name}: {part.title}", part.origin, part.items) for part in lines_of(body)]
        todo += reversed(below)
    return first


def _producers(node: Node, shown: Collection[Node]) -> list[Node]:
    """The nodes that one reads from, in its bodies too."""
    from graphopt.ir import Graph

    return [v.node for v in Graph._reads(node) if v.node is not None and v.node in shown]


def around(start: Iterable[Node], reach: int) -> dict[Node, int]:
    """Nodes of one graph up to so many edges away from some, each with its distance."""
    found = dict.fromkeys(start, 0)
    layer = list(found)
    for distance in range(1, reach + 1):
        near = [v.node for n in layer for v in n.inputs if v is not None] + [u for n in layer for u in n.users()]
        layer = []
        for n in near:
            if n is not None and n not in found and n.op != "Constant" and n.graph is next(iter(found)).graph:
                found[n] = distance
                layer.append(n)
    return found


# ------------------------------------------------------------------------------------------------------ nodes in words
def node_data(node: Node) -> dict[str, Any]:
    """A node as plain data."""
    from graphopt.ir.text import value_text
    from graphopt.shapes.text import show_type

    held = {name for name, _ in node.bodies()}
    return {
        "op": node.op,
        "name": node.name,
        "inputs": [_operand(v) for v in node.inputs],
        "attributes": {k: value_text(v) for k, v in node.attributes.items() if k not in held},
        "outputs": [{"name": v.name, "type": show_type(v)} if v is not None else None for v in node.outputs],
    }


def _operand(v: Value | None) -> str:
    from graphopt.ir.text import value_text

    if v is None:
        return ""
    return v.name if v.const is None else value_text(v.const)


# ----------------------------------------------------------------------------------------------------------- drawing
def draw(title: str, lines: list[Line], marked: Mapping[Node, str], limit: int) -> tuple[Tree, int]:
    """Lines as a tree of rich's; and how many nodes were left out.

    Args:
        title: of the whole.
        lines: what to draw.
        marked: how to show some nodes; all others are dim if there are any.
        limit: draw so many nodes; 0: all.
    """
    from rich.text import Text
    from rich.tree import Tree

    root = Tree(Text(title, "bold"))
    left, drawn = limit or -1, 0
    todo: list[tuple[Any, Any]] = [(root, line) for line in reversed(lines)]
    while todo and left:
        parent, what = todo.pop()
        if isinstance(what, Line):
            place = parent.add(_title(what), guide_style="dim")
            todo += [(place, item) for item in reversed(what.items)]
            continue
        node, joining = what
        place = parent.add(_label(node, marked), guide_style="dim")
        todo += [(place, line) for line in reversed(joining)]
        left, drawn = left - 1, drawn + 1
    return root, sum(1 for line in lines for _ in line.walk()) - drawn


def _title(line: Line) -> Any:
    from rich.text import Text

    origin = f" from {line.origin}" if line.origin else ""
    return Text(f"{line.title}{origin}", "dim italic")


def _label(node: Node, marked: Mapping[Node, str]) -> Any:
    from rich.text import Text

    from graphopt.shapes.text import show_type

    data = node_data(node)
    style = marked.get(node, "dim" if marked else "")
    label = Text(data["op"], f"bold {style}".strip())
    label.append(f" '{node.label}'" if node.outputs else "", style or "cyan")
    computed = [v.name for v in node.inputs if v is not None and v.const is None]
    read = [_operand(v) for v in node.inputs if v is not None and (v.const is not None or len(computed) > 1)]
    details = [f"({', '.join(read)})"] if read else []
    details = [*details, *(f"{k}={v}" for k, v in data["attributes"].items())]
    if details:
        label.append(f" {' '.join(details)}", style or "dim")
    if type_ := show_type(node.output) if node.outputs and node.outputs[0] is not None else "":
        label.append(f" -> {type_}", style or "green")
    return label
