"""`graphopt diff`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graphopt.cli import options
from graphopt.cli.output import DIFFERENT, OK, Screen, err, out
from graphopt.cli.streams import title, two_sources

if TYPE_CHECKING:
    from graphopt.difference import Diff, NodeEntry

First = Annotated[Path, typer.Argument(metavar="A", help="A model, '-' for standard input.", show_default=False)]
Second = Annotated[
    Path, typer.Argument(metavar="B", help="The model to compare it with, likewise.", show_default=False)
]
Limit = Annotated[int, typer.Option(metavar="N", help="Show so many differences of a kind; 0: all.", min=0)]


def diff(a: First, b: Second, limit: Limit = 50, json: options.Json = False) -> int:
    """Compare the structure of A and B, names ignored: exit code 0 if it is the same, 1 if not. Nothing is run."""
    import graphopt

    first, second = two_sources(a, b)
    with err().working(f"comparing {title(b)} with {title(a)}"):
        found = graphopt.diff(first, second)
    if json:
        out().json(found.to_dict())
    else:
        _show(out(), found, limit)
    return DIFFERENT if found else OK


def _show(screen: Screen, found: Diff, limit: int) -> None:
    screen.line(found.summary(), "bold" if found else "bold green")
    for text in found.interface:
        screen.block(text, 2, "yellow")
    if rows := found.operators():
        screen.line()
        screen.table(("operator", "removed", "added", "changed"), rows)
    kinds = found.kinds()
    for text, count, hunk in kinds[: limit or None]:
        screen.line()
        screen.line(f"{text}{f'  ({count} times; the first:)' if count > 1 else ''}", "bold")
        for sign, nodes, style in (("-", hunk.removed, "red"), ("+", hunk.added, "green")):
            for n in nodes[: limit or None]:
                screen.block(f"{sign} {_node(n)}", 2, style)
            if limit and len(nodes) > limit:
                screen.block(f"{sign} {len(nodes) - limit} more; --limit 0 shows all", 2, style)
    if found.changed:
        screen.line()
    for c in found.changed[: limit or None]:
        renamed = "" if c.before.name == c.after.name else f", now '{c.after.name}'"
        screen.block(f"~ {_node(c.before)}{renamed}: {'; '.join(c.what)}", 2, "yellow")
    more = sum(max(len(differences) - limit, 0) for differences in (kinds, found.changed))
    if limit and more:
        screen.line(f"{more:,} more; --limit 0 shows all")


def _node(n: NodeEntry) -> str:
    return f"{n.op} '{n.name}'" + (f" in {n.graph}" if n.graph else "")
