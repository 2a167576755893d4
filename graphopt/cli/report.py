"""`graphopt report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphopt._words import size_text
from graphopt.cli import options
from graphopt.cli.output import err, out
from graphopt.cli.streams import check_target, is_stream, output_beside, size_of, source, title, told, two_sources
from graphopt.errors import ArgumentError

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.report import Summary

Original = Annotated[
    Path, typer.Argument(metavar="IN", help="The ONNX file, '-' for standard input.", show_default=False)
]
Result = Annotated[
    Path | None,
    typer.Argument(metavar="[OUT]", help="What became of it: the two files are compared.", show_default=False),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Where to write, '-' for standard output. Default: beside IN, as <name>.report.html.",
        show_default=False,
    ),
]
Measure = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS", help="Run both for so long, on the target's runtime or ONNX Runtime.", show_default=False
    ),
]
Threads = Annotated[int, typer.Option(metavar="N", help="Threads of a session while measuring.", min=1)]
Open = Annotated[bool, typer.Option("--open", help="Show the page in a browser.")]


def report(
    model: Original,
    result: Result = None,
    output: Output = None,
    level: options.Level = None,
    target: options.Target = "onnx",
    without: options.Without = None,
    only: options.Only = None,
    input_shape: options.InputShapes = None,
    freeze_inputs: options.FreezeInputs = False,
    opset: options.Opset = None,
    measure: Measure = None,
    threads: Threads = 1,
    show: Open = False,
    json: options.Json = False,
) -> int:
    """Write a page that shows IN and OUT side by side; one HTML file, which needs no network. Without OUT, IN is optimized (the
    result is not kept), and the page shows every rewrite with its rule, and what did not apply."""
    arguments = options.optimization(target, without, only, input_shape, freeze_inputs, opset)
    if result is not None and (level is not None or any(v for k, v in arguments.items() if k != "target")):
        raise ArgumentError("two files are compared as they are: options of the optimization go with IN alone")
    file = output or output_beside(model, "report.html")
    if is_stream(file) and (json or show):
        raise ArgumentError("standard output takes the page alone; with --json or --open, write it to a file with -o")
    for path in filter(None, (model, result)):
        check_target(path, file)
    a, b = (source(model), None) if result is None else two_sources(model, result)

    import graphopt
    from graphopt.ir import load
    from graphopt.ir.save import write_whole
    from graphopt.report import Summary
    from graphopt.targets import target_of
    from graphopt.view.page import page

    machine = target_of(target).machine
    with err().working(f"{'reading' if result else 'optimizing'} {title(model)}"):
        before = load(a)
        after = graphopt.optimize(a, level, **arguments) if b is None else load(b)
    further: dict[str, Any] = {}
    if result is not None and b is not None:
        further["file_bytes"] = size_of(model, a), size_of(result, b)
    if measure is not None:
        further |= _measured(before, after, measure, target, threads, bool(input_shape))
    names = [title(Path(p.name)) for p in (model, result) if p is not None]
    with err().working(f"writing {file}"):
        data = page(before, after, after.report, title=" → ".join(names), machine=machine, **further).encode()
        if is_stream(file):
            sys.stdout.buffer.write(data)
        else:
            write_whole(file, data)
    summaries = [Summary.of(m) for m in (before, after)]
    if json:
        found: dict[str, Any] = {"input": [str(p) for p in (model, result) if p is not None], "output": str(file)}
        found |= after.report.to_dict() if after.report is not None else _compared(*summaries)
        if measure is not None:
            found["measured"] = dict(zip(("before", "after"), further["measured"]))
        out().json(found)
    else:
        screen = told(file)
        screen.line(f"{summaries[0].nodes:,} -> {summaries[1].nodes:,} nodes")
        screen.line(f"written    {'to standard output' if is_stream(file) else file}  {size_text(len(data))}", "bold")
    if show:
        import webbrowser

        webbrowser.open(file.absolute().as_uri())
    return 0


def _measured(
    before: Model, after: Model, seconds: float, target: str, threads: int, other_shapes: bool
) -> dict[str, Any]:
    """Seconds of a run of each, as `page` takes them."""
    from graphopt.tuning.pair import time_both

    if other_shapes:
        raise ArgumentError("--measure runs both on the same inputs, and --input-shape lets only one of them take them")
    with err().working("measuring"):
        pair = time_both(before, after, seconds, target=target, threads=threads)
    return {"measured": (pair.before, pair.after), "measured_on": pair.where}


def _compared(before: Summary, after: Summary) -> dict[str, Any]:
    """Two models in numbers, as plain data."""
    names = sorted({*before.operators, *after.operators})
    return {
        "nodes": {"before": before.nodes, "after": after.nodes},
        "constant_bytes": {"before": before.constant_bytes, "after": after.constant_bytes},
        "operators": {n: {"before": before.operators[n], "after": after.operators[n]} for n in names},
    }
