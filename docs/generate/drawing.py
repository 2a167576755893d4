"""A small ONNX graph as SVG: what it reads above, what it gives below. Colours are the page's, so it follows light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

import igraph
import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

LETTER = 6.6  # width of one, at the size that the style sheet gives them
WIDEST = 34  # letters in a line of a box
ROW, MARGIN = 74, 10


@dataclass(slots=True)
class Box:
    """A node, constant, input or output of a graph, and where it is drawn.

    Attributes:
        title: first line.
        detail: second line, may be empty.
        kind: class in the style sheet: "node", "new" (a node that the other graph lacks), "constant", "input", "output".
        reads: the boxes that it reads, in order.
        hint: what a pointer that rests on it is told.
    """

    title: str
    detail: str
    kind: str
    reads: list[Box] = field(default_factory=list)
    hint: str = ""
    row: int = 0
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        return LETTER * max(len(self.title), 0.85 * len(self.detail), 3) + 16

    @property
    def height(self) -> float:
        return 38 if self.detail else 24


def pair(before: ModelProto, after: ModelProto, label: str) -> str:
    """Two graphs side by side with an arrow between.

    Args:
        label: what the picture shows, for those who do not see it.
    """
    there = {s for n in before.graph.node for s in _signatures(n)}
    left, right = _boxes(before.graph, None), _boxes(after.graph, there)
    left_width, left_height = _place(left)
    right_width, right_height = _place(right)
    height, gap = max(left_height, right_height), 56
    parts = [_drawn(left, 0, (height - left_height) / 2)]
    middle = left_width + gap / 2
    parts.append(
        f'<path class="becomes" d="M{middle - 16:.0f} {height / 2:.0f}h26m-8 -7l8 7l-8 7"/>'
        if right
        else f'<text class="becomes" x="{middle:.0f}" y="{height / 2:.0f}">∅</text>'
    )
    parts.append(_drawn(right, left_width + gap, (height - right_height) / 2))
    width = left_width + gap + right_width
    return (
        f'<svg class="graphs" role="img" aria-label="{escape(label)}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}">{"".join(parts)}</svg>'
    )


# ---------------------------------------------------------------------------------------------------------------- boxes
def _boxes(graph: GraphProto, there: set[tuple[object, ...]] | None) -> list[Box]:
    """The boxes of a graph, those that are read first. Weights and numbers have one for each reader: lines stay short."""
    types = {v.name: _type(v) for v in (*graph.input, *graph.value_info)}
    constants = {t.name: t for t in graph.initializer}
    made: dict[str, Box] = {}
    found: list[Box] = []
    for v in graph.input:
        if v.name not in constants:
            made[v.name] = Box(v.name, types[v.name], "input")
            found.append(made[v.name])
    for n in graph.node:
        if n.op_type == "Constant" and n.attribute[0].name == "value":
            constants[n.output[0]] = n.attribute[0].t
            continue
        reads: list[Box] = []
        for name in filter(None, n.input):
            if name in constants:
                reads.append(_constant(constants[name]))
                found.append(reads[-1])
            else:
                reads.append(made[name])
        kind = "node" if there is None or not there.isdisjoint(_signatures(n)) else "new"
        attributes = [f"{a.name}={_value(a)}" for a in n.attribute]
        box = Box(
            n.op_type,
            _shortened(attributes),
            kind,
            reads,
            "\n".join([f"{n.domain or 'ai.onnx'}.{n.op_type}", *attributes]),
        )
        found.append(box)
        made.update(dict.fromkeys(filter(None, n.output), box))
    for v in graph.output:
        of = made.get(v.name) or _constant(constants[v.name])
        if v.name not in made:
            found.append(of)
        found.append(Box(v.name, _type(v), "output", [of]))
    read = {id(r) for b in found for r in b.reads}
    return [b for b in found if b.kind != "input" or id(b) in read]


def _signatures(n: NodeProto) -> tuple[tuple[object, ...], tuple[object, ...]]:
    """What makes a node the same before and after: what it does, and what it reads or what it gives."""
    what = n.op_type, n.domain, tuple(a.SerializeToString() for a in n.attribute)
    return (*what, "reads", *n.input), (*what, "gives", *n.output)


def _constant(t: TensorProto) -> Box:
    array = numpy_helper.to_array(t)
    dtype = helper.tensor_dtype_to_string(t.data_type).rpartition(".")[2].lower()
    flat = [_number(v) for v in array.ravel()[:5].tolist()]
    if array.size == 1:
        return Box(flat[0], "", "constant", hint=f"{_dims(dtype, array.shape)} = {flat[0]}")
    values = ", ".join(flat) + (", …" if array.size > 5 else "")
    shown = f"[{values}]" if array.ndim == 1 and array.size <= 5 and len(values) < 24 else _dims(dtype, array.shape)
    return Box(shown, "", "constant", hint=f"{_dims(dtype, array.shape)} = {values}")


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _type(v: ValueInfoProto) -> str:
    t = v.type.tensor_type
    if not t.elem_type:
        return "sequence" if v.type.HasField("sequence_type") else ""
    dtype = helper.tensor_dtype_to_string(t.elem_type).rpartition(".")[2].lower()
    if not t.HasField("shape"):
        return dtype
    return _dims(dtype, [d.dim_param or (d.dim_value if d.HasField("dim_value") else "?") for d in t.shape.dim])


def _dims(dtype: str, dims: Iterable[object]) -> str:
    return f"{dtype}[{', '.join(map(str, dims))}]"


def _value(a: AttributeProto) -> str:
    value = helper.get_attribute_value(a)
    if isinstance(value, bytes):
        return repr(value.decode(errors="replace"))
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, (TensorProto, GraphProto)):
        return "…"
    return str(np.asarray(value).tolist()).replace(" ", "")


def _shortened(attributes: list[str]) -> str:
    text = " ".join(attributes)
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


# --------------------------------------------------------------------------------------------------------------- places
def _place(boxes: list[Box]) -> tuple[float, float]:
    """Give every box its place; the width and height of all of them."""
    if not boxes:
        return 60, 60
    number = {id(b): i for i, b in enumerate(boxes)}
    for b in boxes:
        b.row = max((r.row + 1 for r in b.reads), default=0)
    readers: Mapping[int, list[Box]] = {
        i: [b for b in boxes if any(r is boxes[i] for r in b.reads)] for i in range(len(boxes))
    }
    for i in reversed(range(len(boxes))):  # inputs and constants come down to who reads them first
        if not boxes[i].reads and readers[i]:
            boxes[i].row = min(b.row for b in readers[i]) - 1
    edges = [(number[id(r)], i) for i, b in enumerate(boxes) for r in b.reads]
    layout = igraph.Graph(len(boxes), edges, directed=True).layout_sugiyama(layers=[b.row for b in boxes])
    order = [layout[i][0] for i in range(len(boxes))]
    rows: dict[int, list[int]] = {}
    for i in sorted(range(len(boxes)), key=lambda i: (boxes[i].row, order[i], i)):
        rows.setdefault(boxes[i].row, []).append(i)
    _spread(boxes, rows, order)
    left = min(b.x - b.width / 2 for b in boxes) - MARGIN
    for b in boxes:
        b.x -= left
        b.y = MARGIN + 19 + b.row * ROW
    width = max(b.x + b.width / 2 for b in boxes) + MARGIN
    return width, max(b.y for b in boxes) + 19 + MARGIN


def _spread(boxes: list[Box], rows: Mapping[int, list[int]], order: list[float]) -> None:
    """The order in each row is the layout's; widths differ, so the places follow from the boxes: as near as can be to the middle
    of what they read and what reads them."""
    for i, b in enumerate(boxes):
        b.x = order[i] * 110
    for _ in range(8):
        for row in rows.values():
            for i in row:
                near = [r.x for r in boxes[i].reads] + [b.x for b in boxes if any(r is boxes[i] for r in b.reads)]
                boxes[i].x = sum(near) / len(near) if near else boxes[i].x
            total = sum(boxes[i].x for i in row)
            for left, right in pairwise(row):
                least = (boxes[left].width + boxes[right].width) / 2 + 14
                boxes[right].x = max(boxes[right].x, boxes[left].x + least)
            back = (sum(boxes[i].x for i in row) - total) / len(row)
            for i in row:
                boxes[i].x -= back


# -------------------------------------------------------------------------------------------------------------- drawing
def _drawn(boxes: list[Box], x: float, y: float) -> str:
    lines = [_line(r, b, k, len(b.reads)) for b in boxes for k, r in enumerate(b.reads)]
    return f'<g transform="translate({x:.0f} {y:.0f})">{"".join([*lines, *map(_box, boxes)])}</g>'


def _line(above: Box, below: Box, position: int, count: int) -> str:
    reach = min(below.width - 20, 18 * (count - 1))
    x = below.x + (reach * (position / (count - 1) - 0.5) if count > 1 else 0)
    top, bottom = above.y + above.height / 2, below.y - below.height / 2
    bend = (bottom - top) / 2
    return (
        f'<path class="line" d="M{above.x:.0f} {top:.0f}C{above.x:.0f} {top + bend:.0f} {x:.0f} {bottom - bend:.0f} '
        f'{x:.0f} {bottom:.0f}"/>'
    )


def _box(b: Box) -> str:
    first = b.y - 4 if b.detail else b.y + 4
    return (
        f'<g class="{b.kind}"><title>{escape(b.hint or f"{b.title} {b.detail}")}</title>'
        f'<rect x="{b.x - b.width / 2:.0f}" y="{b.y - b.height / 2:.0f}" width="{b.width:.0f}" height="{b.height:.0f}" '
        f'rx="5"/><text x="{b.x:.0f}" y="{first:.0f}">{escape(b.title)}</text>'
        + (f'<text class="detail" x="{b.x:.0f}" y="{b.y + 12:.0f}">{escape(b.detail)}</text>' if b.detail else "")
        + "</g>"
    )
