"""`draw`: a model, a graph, a rule or a step as a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphopt.errors import ArgumentError
from graphopt.ir import Graph, Model, load
from graphopt.ir.save import write_whole
from graphopt.rewrite import Rule
from graphopt.shapes import inferred
from graphopt.steps import NumberedStep
from graphopt.view.graphs import picture_of
from graphopt.view.picture import MOST, Picture
from graphopt.view.records import picture_of_records
from graphopt.view.rules import pictures_of_rule
from graphopt.view.svg import render


@dataclass(frozen=True)
class Drawing:
    """Something drawn; notebooks show it. `svg` is the whole document."""

    svg: str

    def save(self, path: str | Path) -> None:
        """Write it to an .svg file, whole or not at all.

        Raises:
            SaveError: the folder is missing or not writable.
        """
        write_whole(Path(path), self.svg.encode())

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<graphopt drawing, {len(self.svg)} characters of SVG>"


def draw(thing: Any, *, around: str | None = None, reach: int = 3, most: int = MOST) -> Drawing:
    """Draw something.

    Args:
        thing: a model (whatever `graphopt.load` takes), a `graphopt.ir.Graph`, a rule, or a step of `report.step` or
            `graphopt.trace`.
        around: of a model or graph only what lies near the node or value of this name.
        reach: how many edges away that is.
        most: so many boxes; with more nodes, chains are folded, and what is too much even then is cut off, with a note.

    Returns:
        The drawing.

    Raises:
        ArgumentError: there is nothing to draw, or nothing of that name.
        ModelError: `thing` is a file or message that holds no valid model.
        MissingDependencyError: igraph is not installed.
    """
    if most < 1 or reach < 0:
        raise ArgumentError(f"most must be 1 or more and reach 0 or more, not {most} and {reach}")
    pictures: Sequence[Picture]
    between = ["→"]
    if isinstance(thing, NumberedStep):
        pictures = [
            picture_of_records(thing.before, "gone", "before", most),
            picture_of_records(thing.after, "new", "after", most),
        ]
    elif isinstance(thing, Rule):
        pictures = pictures_of_rule(thing)
        between += ["or"] * (len(pictures) - 2)
    elif isinstance(thing, Graph):
        pictures = [picture_of(thing, around=around, reach=reach, most=most)]
    else:
        pictures = [picture_of_model(thing, around=around, reach=reach, most=most)]
    return Drawing(render(pictures, between))


def picture_of_model(model: Any, *, around: str | None = None, reach: int = 3, most: int = MOST) -> Picture:
    """The main graph of a model with its shapes; see `picture_of`. A `Model` is not copied: weights may be large."""
    found = model if isinstance(model, Model) else load(model)
    with inferred(found):
        return picture_of(found.graph, around=around, reach=reach, most=most)
