"""`graphopt tidy`: for hooks, which hand over all files that changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from graphopt.cli import options
from graphopt.cli.output import DIFFERENT, OK, err, out
from graphopt.cli.streams import check_target, data_files, is_stream
from graphopt.errors import ArgumentError, GraphoptError

Models = Annotated[list[Path], typer.Argument(metavar="MODEL...", help="ONNX files.", show_default=False)]
Check = Annotated[bool, typer.Option("--check", help="Write nothing, only tell which models would change.")]

#: How often a model is optimized anew, so that the next call finds nothing more to do.
_ROUNDS = 4
#: What happened to a model, and how a terminal shows it.
_STYLES = {
    "tidy": "green",
    "changed": "yellow",
    "would change": "yellow",
    "different": "bold red",
    "inconclusive": "yellow",
}


def tidy(
    models: Models,
    check: Check = False,
    level: options.Level = None,
    target: options.Target = "onnx",
    without: options.Without = None,
    only: options.Only = None,
    on: options.On = None,
    rtol: options.Rtol = None,
    json: options.Json = False,
) -> int:
    """Optimize models in place where that saves nodes: exit code 0 if none had to change, 1 if one had.

    A model takes the place of the original only if it was shown to compute the same; one of which nothing can be compared is left
    as it is.
    """
    for path in models:
        if is_stream(path):
            raise ArgumentError("tidy changes files in place; 'graphopt optimize -' takes standard input")
        check_target(path, path.with_name(f"{path.name}.tmp"))
    arguments = options.selection(target, without, only)
    judged = {"on": options.names(on), "rtol": options.finite(rtol)}
    screen = out(quiet=json)
    rows = []
    for path in models:
        with err().working(f"optimizing {path}"):
            row = _tidied(path, level, arguments, judged, write=not check)
        rows.append(row)
        before, after = row["nodes"]["before"], row["nodes"]["after"]
        counts = f"{before:,} nodes" if before == after else f"{before:,} -> {after:,} nodes"
        screen.line(f"{path}: {row['status']}, {counts}", _STYLES[row["status"]])
        for file in row["left"]:
            screen.line(f"{path}: does not read {file} any more; delete it if nothing else does", "yellow")
    if json:
        out().json({"models": rows})
    return OK if all(row["status"] in ("tidy", "inconclusive") for row in rows) else DIFFERENT


def _tidied(path: Path, level: int | None, arguments: Any, judged: Any, write: bool) -> dict[str, Any]:
    """Optimize one model until no node is saved any more; what became of it, as plain data."""
    import graphopt

    model = graphopt.optimize(str(path), level, **arguments)
    assert model.report is not None
    before = nodes = model.report.nodes_before
    after = model.report.nodes_after
    for _ in range(_ROUNDS):
        if after >= nodes:
            break
        nodes = after
        model = graphopt.optimize(model, level, **arguments)
        assert model.report is not None
        after = model.report.nodes_after
    status, left = "tidy", list[str]()
    if after < before:
        verdict = graphopt.verify(str(path), model, **judged).verdict
        status = {"equal": "changed" if write else "would change", "inconclusive": "inconclusive"}.get(
            verdict, "different"
        )
        if status == "changed":
            read = data_files(graphopt.load(path))
            model.save(path)
            left = _put_away(path, read - data_files(graphopt.load(path)))
    nodes_told = {"before": before, "after": min(before, after)}
    return {"file": str(path), "nodes": nodes_told, "status": status, "left": left}


def _put_away(path: Path, data: set[Path]) -> list[str]:
    """Delete files of external data that were this model's alone: they have its name, and no model beside it reads them. Those
    that are left are returned."""
    import graphopt

    own = {file for file in data if file.parent == path.parent.resolve() and file.name.startswith(path.stem)}
    for other in path.parent.glob("*.onnx") if own else ():
        if other.resolve() != path.resolve():
            try:
                own -= data_files(graphopt.load(other))
            except (GraphoptError, OSError):  # who knows what it reads
                own.clear()
    for file in own:
        file.unlink()
    return sorted(map(str, data - own))
