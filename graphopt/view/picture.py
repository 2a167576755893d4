"""A picture before it is laid out: boxes, edges, and what has to be said beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: Drawings of more boxes than this say little.
MOST = 90
_NAME = 22  # characters of a value's name that are shown

#: node: an operator; value: what flows in or out; fold: several nodes as one box.
Kind = Literal["node", "value", "fold"]
#: gone: a step took it away; new: a step brought it.
Mark = Literal["", "gone", "new"]


@dataclass(frozen=True, slots=True)
class Box:
    """Something with a frame.

    Attributes:
        title: the operator, or the value's name.
        family: of the operator, see `families`; it chooses the colour, except for values, which have none.
        line: smaller text below the title.
        hint: what is shown where the pointer rests.
    """

    title: str
    kind: Kind = "node"
    family: str = "other"
    line: str = ""
    hint: str = ""
    mark: Mark = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """From one box to another, by their places in the list. `label`: the shape of what flows."""

    source: int
    target: int
    label: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes in topological order: an edge leads from an earlier to a later one.

    Attributes:
        caption: what it shows, above it.
        note: what it leaves out, below it.
    """

    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    caption: str = ""
    note: str = ""


def value_box(name: str, line: str = "", hint: str = "") -> Box:
    """A value. Of a long name the end is shown, which tells more than its beginning."""
    return Box(name if len(name) <= _NAME else f"…{name[1 - _NAME :]}", "value", line=line, hint=hint or name)
