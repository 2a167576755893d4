"""`graphopt optimize`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphopt._words import size_text
from graphopt.cli import completion, options
from graphopt.cli.output import DIFFERENT, OK, code_of, err, out, show_report, show_verification
from graphopt.cli.streams import (
    check_data,
    check_target,
    data_files,
    is_stream,
    output_beside,
    save,
    size_of,
    source,
    title,
    told,
)
from graphopt.errors import ArgumentError

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.verification import Verification


class ReportFormat(str, Enum):
    text = "text"
    json = "json"
    none = "none"


Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Where to write, '-' for standard output. Default: beside MODEL, as <name>.opt.onnx; to standard output if MODEL "
        "is standard input.",
        show_default=False,
    ),
]
External = Annotated[
    bool | None,
    typer.Option(
        "--external-data/--no-external-data",
        help="Put weights into FILE.data, or into FILE itself. Default: as in MODEL; outside if one file cannot hold them.",
        show_default=False,
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="NAME",
        help="fp16, bf16, int8-dynamic or int4-weights: convert the model, and report how far its outputs move by that.",
        show_default=False,
        autocompletion=completion.precisions,
    ),
]
Provenance = Annotated[
    bool,
    typer.Option(
        "--provenance", help="Note in each new node which rules made it, and from which nodes; Netron shows it."
    ),
]
Verify = Annotated[
    bool, typer.Option("--verify", help="Compare with MODEL first; nothing is written if the outputs differ.")
]
Format = Annotated[
    ReportFormat, typer.Option("--report", help="What to print on stdout; with json all else goes to stderr.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only (and JSON, if asked for).")]


def optimize(
    model: options.ModelPath,
    output: Output = None,
    level: options.Level = None,
    target: options.Target = "onnx",
    without: options.Without = None,
    only: options.Only = None,
    input_shape: options.InputShapes = None,
    freeze_inputs: options.FreezeInputs = False,
    opset: options.Opset = None,
    precision: Precision = None,
    layout: options.Layout = None,
    io_layout: options.IoLayout = None,
    external_data: External = None,
    verify: Verify = False,
    tune: options.Tune = None,
    tune_cache: options.TuneCache = None,
    tune_threads: options.TuneThreads = 1,
    provenance: Provenance = False,
    report: Format = ReportFormat.text,
    json: options.Json = False,
    quiet: Quiet = False,
) -> int:
    """Optimize MODEL and write the result; MODEL itself is never written to."""
    file = output or (model if is_stream(model) else output_beside(model, "opt.onnx"))
    as_json = json or report is ReportFormat.json
    if is_stream(file) and as_json:
        raise ArgumentError("standard output takes the model or the JSON, not both; write the model to a file with -o")
    if is_stream(file) and external_data:
        raise ArgumentError("--external-data needs a file, which the data can lie beside; name one with -o")
    check_target(model, file)
    arguments = options.optimization(target, without, only, input_shape, freeze_inputs, opset)
    arguments |= {"layout": layout, "io_layout": options.io_layout(io_layout)}
    tuning: dict[str, Any] = {}
    if tune is not None:
        tuning = {"tune": tune, "tune_cache": tune_cache, "tune_threads": tune_threads}
    elif tune_cache is not None:
        raise ArgumentError("--tune-cache keeps what --tune SECONDS learns; give both, or neither")
    screen = err(quiet) if as_json else told(file, quiet)
    read = source(model)

    import graphopt

    with err(quiet).working(f"{'tuning' if tuning else 'optimizing'} {title(model)}"):
        result = graphopt.optimize(
            read,
            level,
            verify=verify and precision is not None,
            precision=precision,
            provenance=provenance,
            **arguments,
            **tuning,
        )
    assert result.report is not None
    check_data(result, file)
    verification = _verified(read, result, arguments, quiet) if verify else None
    code = OK if verification is None else code_of(verification)
    sizes: dict[str, int | None] = {
        "before": size_of(model, read) + sum(p.stat().st_size for p in data_files(result)),
        "after": None,
    }
    written = file if code != DIFFERENT else None
    if written is not None:
        with err(quiet).working(f"writing {file}"):
            sizes["after"] = save(result, file, external_data)
    if as_json:
        data = result.report.to_dict()
        data["input"], data["output"] = str(model), None if written is None else str(written)
        data["file_bytes"] = sizes
        if verification is not None:
            data["verification"] = verification.to_dict()
        out().json(data)
    if report is not ReportFormat.none:
        show_report(screen, result.report)
        screen.line(f"files      {' -> '.join(size_text(n) for n in sizes.values() if n is not None)}")
    if verification is not None:
        screen.line()
        show_verification(screen, verification)
        screen.line()
    if written is None:
        err().line(f"graphopt: the optimized model is not equal to '{title(model)}': nothing was written")
    else:
        screen.line(f"written    {'to standard output' if is_stream(written) else written}", "bold")
    return code


def _verified(read: str | bytes, result: Model, arguments: dict[str, Any], quiet: bool) -> Verification:
    """Compare with the model as it was; with its interface changed alone, where that was asked for."""
    import graphopt

    original: Any = read
    interface = {name: arguments[name] for name in ("input_shapes", "freeze_inputs", "io_layout")}
    if any(interface.values()):
        original = graphopt.optimize(original, 0, **interface)
    with err(quiet).working("comparing the outputs"):
        return graphopt.verify(original, result)
