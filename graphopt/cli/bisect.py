"""`graphopt bisect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphopt.cli import options
from graphopt.cli.output import DIFFERENT, OK, err, out, show_verification
from graphopt.errors import ModelError

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Where to write the smallest failing model. Default: beside MODEL, as <name>.bisect.onnx.",
        show_default=False,
    ),
]


def bisect(
    model: options.ModelPath,
    output: Output = None,
    level: options.Level = 2,
    on: options.On = None,
    rtol: options.Rtol = None,
    without: options.Without = None,
    only: options.Only = None,
) -> int:
    """Optimize MODEL with fewer and fewer rewrites: exit code 0 if none changes the outputs, 1 if one does."""
    if model.is_dir():
        raise ModelError(f"'{model}' is a folder; name the .onnx file in it")
    from graphopt.bisection import bisect as search

    chosen = {"without": options.names(without) or (), "only": options.names(only)}
    with err().working(f"looking for the rewrite that changes what {model} computes"):
        found = search(str(model), level, on=options.names(on), rtol=options.finite(rtol), **chosen)
    screen = out()
    for line in str(found).splitlines():
        screen.block(line, len(line) - len(line.lstrip()))
    if not found:
        return OK
    assert found.verification is not None
    show_verification(screen, found.verification, all_executors=False)
    paths = found.save(output if output is not None else model.with_name(f"{model.stem}.bisect.onnx"))
    screen.line(f"written    {paths[0]}, and with the rewrite applied {paths[1].name}", "bold")
    return DIFFERENT
