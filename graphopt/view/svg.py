"""Pictures as SVG. Nothing but shapes and text with colours that read on light and dark: no styles, no scripts."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from graphopt.ir.text import shortened
from graphopt.view.colours import BAD, FILLS, FRAME, GOOD, GREY
from graphopt.view.elements import printable
from graphopt.view.layered import Placed, Point, place
from graphopt.view.picture import Box, Picture

_TEXT = "#1c1f24"
_MARKS = {"gone": (BAD, "5 3"), "new": (GOOD, ""), "": (f"{FRAME}55", "")}  # the frame's colour and dashes
_MARGIN, _BETWEEN, _CAPTION, _NOTE = 14.0, 56.0, 24.0, 20.0
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
_CHARACTERS = 0.55  # width of a character over the size of the font


def render(pictures: Sequence[Picture], between: Sequence[str] = (), label: str = "") -> str:
    """One or several pictures side by side as an SVG document.

    Args:
        pictures: from left to right.
        between: what stands between each two.
        label: what the drawing shows, for those who do not see it.

    Raises:
        MissingDependencyError: igraph is not installed.
    """
    placed = [place(p) for p in pictures]
    captions = _CAPTION if any(p.caption for p in pictures) else 0.0
    notes = _NOTE if any(p.note for p in pictures) else 0.0
    widths = [max(p.width, _text_width(p.picture.caption, 13), _text_width(p.picture.note, 11), 40.0) for p in placed]
    inner = max((p.height for p in placed), default=0.0)
    width = 2 * _MARGIN + sum(widths) + _BETWEEN * (len(placed) - 1)
    height = 2 * _MARGIN + captions + max(inner, 24.0) + notes
    root = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg", "width": _n(width), "height": _n(height),
            "viewBox": f"0 0 {_n(width)} {_n(height)}", "role": "img", "font-family": _FONT,
        },
    )  # fmt: skip
    captioned = "; ".join(p.caption for p in pictures if p.caption)
    ET.SubElement(root, "title").text = printable(label or captioned or "graph")
    x = _MARGIN
    for i, (one, room) in enumerate(zip(placed, widths)):
        if i:
            _text(root, x + _BETWEEN / 2, _MARGIN + captions + inner / 2, between[i - 1], 20, GREY)
            x += _BETWEEN
        middle = x + room / 2
        if one.picture.caption:
            _text(root, middle, _MARGIN + 8, one.picture.caption, 13, GREY, weight="600")
        if not one.picture.boxes:
            _text(root, middle, _MARGIN + captions + inner / 2, "nothing", 12, GREY)
        top = _MARGIN + captions + (inner - one.height) / 2
        group = ET.SubElement(root, "g", {"transform": f"translate({_n(x + (room - one.width) / 2)} {_n(top)})"})
        _draw(group, one)
        if one.picture.note:
            _text(root, middle, height - _MARGIN - 2, one.picture.note, 11, GREY)
        x += room
    return ET.tostring(root, encoding="unicode")


def _draw(group: ET.Element, placed: Placed) -> None:
    for edge, route in zip(placed.picture.edges, placed.routes):
        ET.SubElement(group, "path", {"d": _curve(route), "fill": "none", "stroke": GREY, "stroke-width": "1.2"})
        x, y = route[-1]
        tip = f"{_n(x)},{_n(y)} {_n(x - 3.5)},{_n(y - 6)} {_n(x + 3.5)},{_n(y - 6)}"
        ET.SubElement(group, "polygon", {"points": tip, "fill": GREY})
        if edge.label:
            (a, b), (c, d) = route[0], route[1]
            _text(group, (a + c) / 2 + 5, (b + d) / 2 - 1, edge.label, 9, GREY, anchor="start")
    for box, centre, size in zip(placed.picture.boxes, placed.centres, placed.sizes):
        _box(group, box, centre, size)


def _box(group: ET.Element, box: Box, centre: Point, size: Point) -> None:
    (x, y), (w, h) = centre, size
    one = ET.SubElement(group, "g")
    if box.hint:
        ET.SubElement(one, "title").text = printable(box.hint)
    stroke, dashes = _MARKS[box.mark]
    frame = {
        "x": _n(x - w / 2), "y": _n(y - h / 2), "width": _n(w), "height": _n(h), "stroke": stroke,
        "stroke-width": "2" if box.mark else "1", "rx": _n(h / 2) if box.kind == "value" else "5",
        "fill": "none" if box.kind == "value" else FILLS[box.family],
    }  # fmt: skip
    if box.kind == "value":
        frame["stroke"] = GREY
    if dashes or box.kind == "fold":
        frame["stroke-dasharray"] = dashes or "2 2"
    ET.SubElement(one, "rect", frame)
    colour = GREY if box.kind == "value" else _TEXT
    above = 6.5 if box.line else 0.0
    _text(one, x, y - above, _fitting(box.title, w - 12, 12), 12, colour, weight="" if box.kind == "value" else "600")
    if box.line:
        _text(one, x, y + 9, _fitting(box.line, w - 12, 9.5), 9.5, colour)


def _text(
    parent: ET.Element, x: float, y: float, text: str, size: float, fill: str, weight: str = "", anchor: str = "middle"
) -> None:
    attributes = {
        "x": _n(x), "y": _n(y), "font-size": _n(size), "fill": fill, "text-anchor": anchor, "dominant-baseline": "central",
    }  # fmt: skip
    if weight:
        attributes["font-weight"] = weight
    ET.SubElement(parent, "text", attributes).text = printable(text)


def _curve(route: Sequence[Point]) -> str:
    (x, y), *rest = route
    parts = [f"M{_n(x)} {_n(y)}"]
    for a, b in rest:
        middle = (y + b) / 2
        parts.append(f"C{_n(x)} {_n(middle)} {_n(a)} {_n(middle)} {_n(a)} {_n(b)}")
        x, y = a, b
    return "".join(parts)


def _fitting(text: str, width: float, size: float) -> str:
    return shortened(text, max(int(width / (size * _CHARACTERS)), 3))


def _text_width(text: str, size: float) -> float:
    return len(text) * size * _CHARACTERS


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
