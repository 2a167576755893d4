"""HTML as elements: text that is put into one is escaped, so names in a model are only ever text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree import ElementTree as ET

_ROWS, _MOST_ROWS = 12, 500  # of a table: shown at once, and at all

#: Text, or an element.
Content = Any


def element(tag: str, *content: Content, **attributes: str) -> ET.Element:
    """An element with what stands in it, in order."""
    made = ET.Element(tag, attributes)
    last: ET.Element | None = None
    for part in content:
        if isinstance(part, ET.Element):
            made.append(part)
            last = part
        elif last is None:
            made.text = (made.text or "") + printable(part)
        else:
            last.tail = (last.tail or "") + printable(part)
    return made


def printable(text: Any) -> str:
    """Without what XML cannot hold; names in models may be any bytes."""
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in str(text))


def html(*parts: ET.Element) -> str:
    """Parts, one below the other, as text."""
    return ET.tostring(element("div", *parts), encoding="unicode", short_empty_elements=False)


def line(*content: Content) -> ET.Element:
    """A line of its own."""
    return element("div", *content)


def strong(*content: Content) -> ET.Element:
    """Bold."""
    return element("b", *content)


def small(text: str) -> ET.Element:
    """In small letters."""
    return element("small", text)


def code(text: str) -> ET.Element:
    """In the letters of code."""
    return element("code", text)


def pre(text: str) -> ET.Element:
    """Lines as they stand."""
    return element("pre", text)


def coloured(text: str, colour: str) -> ET.Element:
    """In a colour that reads on light and dark."""
    return element("span", text, style=f"color: {colour}")


def details(title: str, *content: ET.Element, opened: bool = False) -> ET.Element:
    """What is folded away below a title."""
    opening = {"open": "open"} if opened else {}
    return element("details", element("summary", title), *content, **opening)


def beside(*content: ET.Element) -> ET.Element:
    """Side by side, where there is room."""
    return element("div", *content, style="display: flex; flex-wrap: wrap; gap: 2em; align-items: flex-start")


def table(head: Sequence[str], rows: Sequence[Sequence[Content]]) -> ET.Element:
    """A table; rows beyond the first dozen are folded away."""
    shown = _rows_table(head, rows[:_ROWS])
    if len(rows) <= _ROWS:
        return shown
    rest = _rows_table(head, rows[_ROWS:_MOST_ROWS])
    cut = [line(f"and {len(rows) - _MOST_ROWS} that are not shown")] if len(rows) > _MOST_ROWS else []
    return element("div", shown, details(f"{len(rows) - _ROWS} more", rest, *cut))


def _rows_table(head: Sequence[str], rows: Iterable[Sequence[Content]]) -> ET.Element:
    def cell(content: Content) -> ET.Element:
        number = isinstance(content, (int, float)) and not (isinstance(content, float) and math.isnan(content))
        side = "right" if number else "left"
        return element("td", f"{content:,}" if number else content, style=f"text-align: {side}")

    top = element("thead", element("tr", *(element("th", name, style="text-align: left") for name in head)))
    return element("table", top, element("tbody", *(element("tr", *map(cell, row)) for row in rows)))
