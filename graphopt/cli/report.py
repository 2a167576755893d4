"""`graphopt report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphopt._words import size_text
from graphopt.cli import options
from graphopt.cli.optimize import check_target
from graphopt.cli.output import err, out
from graphopt.errors import ArgumentError, ModelError

if TYPE_CHECKING:
    from graphopt.ir import Model

Original = Annotated[Path, typer.Argument(metavar="IN", help="The ONNX file.", show_default=False)]
Result = Annotated[
    Path | None,
    typer.Argument(metavar="[OUT]", help="What became of it: the two files are compared.", show_default=False),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Default: beside IN, as <name>.report.html.", show_default=False
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
    file = output if output is not None else model.with_name(f"{model.stem}.report.html")
    for read in filter(None, (model, result)):
        check_target(read, file)
        if read.is_dir():
            raise ModelError(f"'{read}' is a folder; name the .onnx file in it")

    import graphopt
    from graphopt.ir import load
    from graphopt.ir.save import write_whole
    from graphopt.report import Summary
    from graphopt.targets import target_of
    from graphopt.view.html import page

    machine = target_of(target).machine
    with err().working(f"reading {model}" if result else f"optimizing {model}"):
        before = load(model)
        after = graphopt.optimize(str(model), level, **arguments) if result is None else load(result)
    told: dict[str, Any] = {}
    if result is not None:
        told["file_bytes"] = (model.stat().st_size, result.stat().st_size)
    if measure is not None:
        told |= _measured(before, after, measure, target, threads, bool(input_shape))
    title = model.name if result is None else f"{model.name} → {result.name}"
    with err().working(f"writing {file}"):
        text = page(before, after, after.report, title=title, machine=machine, **told)
        write_whole(file, text.encode())
    summaries = [Summary.of(m) for m in (before, after)]
    if json:
        data = after.report.to_dict() if after.report is not None else _compared(*summaries)
        out().json(
            {"input": [str(p) for p in (model, result) if p is not None], "output": str(file)}
            | data
            | ({"measured": dict(zip(("before", "after"), told["measured"]))} if measure is not None else {})
        )
    else:
        out().line(f"{summaries[0].nodes:,} -> {summaries[1].nodes:,} nodes")
        out().line(f"written    {file}  {size_text(len(text.encode()))}", "bold")
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


def _compared(before: Any, after: Any) -> dict[str, Any]:
    names = sorted({*before.operators, *after.operators})
    return {
        "nodes": {"before": before.nodes, "after": after.nodes},
        "constant_bytes": {"before": before.constant_bytes, "after": after.constant_bytes},
        "operators": {n: {"before": before.operators[n], "after": after.operators[n]} for n in names},
    }
