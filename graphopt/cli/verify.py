"""`graphopt verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphopt.cli import options
from graphopt.cli.output import as_data, code_of, err, out, show_verification
from graphopt.errors import ArgumentError, ModelError

Original = Annotated[Path, typer.Argument(metavar="A", help="The original.", show_default=False)]
Candidate = Annotated[
    Path, typer.Argument(metavar="B", help="The model that should compute the same.", show_default=False)
]
On = Annotated[
    list[str] | None,
    typer.Option(
        "--on", metavar="NAME", help="Who runs them: onnxruntime, reference. Default: all that are installed."
    ),
]
Seeds = Annotated[int, typer.Option(metavar="N", help="Draws of random inputs for each set of sizes.", min=2)]
Rtol = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="Largest difference that counts as equal. Default: by the precision of A.",
        min=0.0,
        show_default=False,
    ),
]


def verify(
    original: Original,
    candidate: Candidate,
    on: On = None,
    seeds: Seeds = 3,
    rtol: Rtol = None,
    json: options.Json = False,
) -> int:
    """Run A and B on the same inputs and compare the outputs: exit code 0 if equal, 1 if not, 3 if inconclusive."""
    for path in (original, candidate):
        if path.is_dir():
            raise ModelError(f"'{path}' is a folder; name the .onnx file in it")
    if rtol is not None and not rtol < float("inf"):
        raise ArgumentError(f"--rtol must be a number, not {rtol}")
    from graphopt.verification import verify as compare

    with err().working(f"comparing {candidate} with {original}"):
        result = compare(str(original), str(candidate), on=options.names(on), seeds=seeds, rtol=rtol)
    if result.verdict == "inconclusive" and not result.rows:  # nothing ran: perhaps A is no valid model
        from graphopt.ir import load

        load(original)
    if json:
        out().json(as_data(result))
    else:
        show_verification(out(), result, all_executors=not on)
    return code_of(result)
