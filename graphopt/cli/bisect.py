"""`graphopt bisect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphopt.cli import options
from graphopt.cli.output import DIFFERENT, INCONCLUSIVE, OK, err, out, place, show_verification
from graphopt.cli.streams import check_data, check_target, is_stream, output_beside, save, source, title, told
from graphopt.errors import ArgumentError

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Where to write the smallest failing model, '-' for standard output. Default: beside MODEL, as "
        "<name>.bisect.onnx.",
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
    json: options.Json = False,
) -> int:
    """Optimize MODEL with fewer and fewer rewrites: exit code 0 if none changes the outputs, 1 if one does, 3 if inconclusive."""
    from graphopt.bisection import Bisection, files
    from graphopt.bisection import bisect as search
    from graphopt.ir import load
    from graphopt.verification import VerificationError

    file = output or output_beside(model, "bisect.onnx")
    if is_stream(file) and json:
        raise ArgumentError("standard output takes the model or the JSON, not both; write the model to a file with -o")
    paths = (file,) if is_stream(file) else files(file)
    for path in paths:
        check_target(model, path)
    read = source(model)
    for path in paths:
        check_data(load(read), path)
    arguments = {**options.selection(target, without, only), "opset": options.opset(opset)}
    screen = told(file)
    try:
        with err().working(f"looking for the rewrite that changes what {title(model)} computes"):
            found = search(read, level, on=options.names(on), rtol=options.finite(rtol), **arguments)
    except VerificationError as e:
        if json:
            out().json({**Bisection(None).to_dict(), "verification": e.result.to_dict(), "output": None})
        else:
            show_verification(screen, e.result, all_executors=not on)
        err().line("graphopt: nothing to bisect: no comparison could have told a difference")
        return INCONCLUSIVE
    if found and is_stream(file):
        assert found.before is not None
        save(found.before, file)
    elif found:
        found.save(file)
    if json:
        out().json({**found.to_dict(), "output": [str(p) for p in paths] if found else None})
        return DIFFERENT if found else OK
    text = str(found)
    if found.step is not None and found.step.where:
        text = text.replace(found.step.where, place(found.step.where))
    for line in text.splitlines():
        screen.block(line.lstrip(), len(line) - len(line.lstrip()))
    assert found.verification is not None
    show_verification(screen, found.verification, all_executors=not on)
    if not found:
        return OK
    beside = "to standard output" if is_stream(file) else f"{file}, and with the rewrite applied {paths[-1].name}"
    screen.line(f"written    {beside}", "bold")
    return DIFFERENT
