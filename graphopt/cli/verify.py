"""`graphopt verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphopt.cli import options
from graphopt.cli.output import code_of, err, out, show_verification
from graphopt.cli.streams import title, two_sources
from graphopt.errors import ModelError

Original = Annotated[Path, typer.Argument(metavar="A", help="The original.", show_default=False)]
Candidate = Annotated[
    Path, typer.Argument(metavar="B", help="The model that should compute the same.", show_default=False)
]
Seeds = Annotated[int, typer.Option(metavar="N", help="Draws of random inputs for each set of sizes.", min=2)]


def verify(
    original: Original,
    candidate: Candidate,
    on: options.On = None,
    seeds: Seeds = 3,
    rtol: options.Rtol = None,
    json: options.Json = False,
) -> int:
    """Run A and B on the same inputs and compare the outputs: exit code 0 if equal, 1 if not, 3 if inconclusive."""
    for path in (original, candidate):
        if path.is_dir():
            raise ModelError(f"'{path}' is a folder; name the .onnx file in it")
    a, b = two_sources(original, candidate)
    from graphopt.verification import verify as compare

    with err().working(f"comparing {title(candidate)} with {title(original)}"):
        result = compare(a, b, on=options.names(on), seeds=seeds, rtol=options.finite(rtol))
    if result.verdict == "inconclusive" and not result.rows:  # nothing ran: perhaps A is no valid model
        from graphopt.ir import load

        load(a)
    if json:
        out().json(result.to_dict())
    else:
        show_verification(out(), result, all_executors=not on)
    return code_of(result)
