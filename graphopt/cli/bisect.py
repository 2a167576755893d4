"""`graphopt bisect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from graphopt.cli import options
from graphopt.cli.optimize import check_data, check_target
from graphopt.cli.output import DIFFERENT, INCONCLUSIVE, OK, err, out, place, show_verification

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
    level: options.Level = None,
    target: options.Target = "onnx",
    on: options.On = None,
    rtol: options.Rtol = None,
    without: options.Without = None,
    only: options.Only = None,
    opset: options.Opset = None,
) -> int:
    """Optimize MODEL with fewer and fewer rewrites: exit code 0 if none changes the outputs, 1 if one does, 3 if inconclusive."""
    from graphopt.bisection import bisect as search
    from graphopt.bisection import files
    from graphopt.ir import load
    from graphopt.verification import VerificationError

    file = output if output is not None else model.with_name(f"{model.stem}.bisect.onnx")
    for path in files(file):
        check_target(model, path)
        check_data(load(model), path)
    chosen: dict[str, Any] = {
        "without": options.names(without) or (), "only": options.names(only), "opset": options.opset(opset), "target": target,
    }  # fmt: skip
    screen = out()
    try:
        with err().working(f"looking for the rewrite that changes what {model} computes"):
            found = search(str(model), level, on=options.names(on), rtol=options.finite(rtol), **chosen)
    except VerificationError as e:
        show_verification(screen, e.result, all_executors=not on)
        err().line("graphopt: nothing to bisect: no comparison could have told a difference")
        return INCONCLUSIVE
    text = str(found)
    if found.step is not None and found.step.where:
        text = text.replace(found.step.where, place(found.step.where))
    for line in text.splitlines():
        screen.block(line.lstrip(), len(line) - len(line.lstrip()))
    assert found.verification is not None
    show_verification(screen, found.verification, all_executors=not on)
    if not found:
        return OK
    paths = found.save(file)
    screen.line(f"written    {paths[0]}, and with the rewrite applied {paths[1].name}", "bold")
    return DIFFERENT
