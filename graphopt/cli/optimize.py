"""`graphopt optimize`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphopt.cli import options
from graphopt.cli.output import DIFFERENT, OK, as_data, code_of, err, out, show_report, show_verification, size_text
from graphopt.errors import ArgumentError, ModelError, SaveError

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
        help="Where to write. Default: beside MODEL, as <name>.opt.onnx.",
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
    report: Format = ReportFormat.text,
    quiet: Quiet = False,
) -> int:
    """Optimize MODEL and write the result; MODEL itself is never written to."""
    file = output if output is not None else model.with_name(f"{model.stem}.opt.onnx")
    check_target(model, file)
    arguments = options.optimization(target, without, only, input_shape, freeze_inputs, opset)
    arguments |= {"layout": layout, "io_layout": options.io_layout(io_layout)}
    tuning: dict[str, Any] = {}
    if tune is not None:
        tuning = {"tune": tune, "tune_cache": tune_cache, "tune_threads": tune_threads}
    elif tune_cache is not None:
        raise ArgumentError("--tune-cache keeps what --tune SECONDS learns; give both, or neither")
    screen = err(quiet) if report is ReportFormat.json else out(quiet)

    import graphopt

    with err(quiet).working(f"{'tuning' if tuning else 'optimizing'} {model}"):
        result = graphopt.optimize(
            str(model), level, verify=verify and precision is not None, precision=precision, **arguments, **tuning
        )
    assert result.report is not None
    check_data(result, file)
    verification = _verified(model, result, arguments, quiet) if verify else None
    code = OK if verification is None else code_of(verification)
    sizes: dict[str, int | None] = {
        "before": sum(p.stat().st_size for p in (model, *_data_files(result))),
        "after": None,
    }
    written = file if code != DIFFERENT else None
    if written is not None:
        with err(quiet).working(f"writing {file}"):
            sizes["after"] = _save(result, file, external_data)
    if report is ReportFormat.json:
        data = result.report.to_dict()
        data["input"], data["output"] = str(model), None if written is None else str(written)
        data["file_bytes"] = sizes
        if verification is not None:
            data["verification"] = as_data(verification)
        out().json(data)
    if report is not ReportFormat.none:
        show_report(screen, result.report)
        screen.line(f"files      {' -> '.join(size_text(n) for n in sizes.values() if n is not None)}")
    if verification is not None:
        screen.line()
        show_verification(screen, verification)
        screen.line()
    if written is None:
        err().line(f"graphopt: the optimized model is not equal to '{model}': nothing was written")
    else:
        screen.line(f"written    {written}", "bold")
    return code


def check_target(model: Path, target: Path) -> None:
    """Find out before the work is done whether a file can be written.

    Raises:
        ModelError: the model is a folder.
        SaveError: the file cannot be written.
        ArgumentError: it is the model itself.
    """
    if model.is_dir():
        raise ModelError(f"'{model}' is a folder; name the .onnx file in it")
    if target.is_dir():
        raise SaveError(f"'{target}' is a folder; name a file in it")
    if target.exists() and not target.is_file():
        raise SaveError(f"'{target}' is not a regular file")
    if target.parent.is_file():
        raise SaveError(f"'{target.parent}' is a file, not a folder")
    if not target.parent.is_dir():
        raise SaveError(f"folder '{target.parent}' does not exist; create it first")
    if not os.access(target.parent, os.W_OK):
        raise SaveError(f"folder '{target.parent}' is not writable")
    if target.exists() and model.exists() and target.samefile(model):
        raise ArgumentError(f"'{target}' is the model that is read; write the result to another file")


def check_data(model: Model, target: Path) -> None:
    """What is written must not take the place of weights that the model reads.

    Raises:
        ArgumentError: it would.
    """
    for file in _data_files(model):
        for written in (target, target.with_name(f"{target.name}.data")):
            if written.exists() and written.samefile(file):
                raise ArgumentError(
                    f"'{written}' would be overwritten, and the model reads its weights from it; choose another name"
                )


def _data_files(model: Model) -> set[Path]:
    """Files of external data that the model came with."""

    def tensors() -> Iterator[Any]:
        for graph in model.graphs():
            yield from graph.initializers.values()
            yield from (v.const for node in graph for v in node.outputs if v is not None and v.const is not None)

    here = {t.external_range()[0] for t in tensors() if t.is_external}
    base = Path(model.base_dir or ".")
    for t in model.source.graph.initializer:  # also those that were folded away
        here.update(base / e.value for e in t.external_data if e.key == "location")
    return {path.resolve() for path in here if path.is_file()}


def _save(model: Model, target: Path, external_data: bool | None) -> int:
    """Write the model; the bytes of all files written."""
    data = target.with_name(f"{target.name}.data")
    before = data.stat() if data.exists() else None
    model.save(target, external_data=external_data)
    fresh = data.exists() and (before is None or data.stat()[1:] != before[1:])  # another inode: it was replaced
    return target.stat().st_size + (data.stat().st_size if fresh else 0)


def _verified(path: Path, result: Model, arguments: dict[str, Any], quiet: bool) -> Verification:
    """Compare with the model as it was; with its interface changed alone, where that was asked for."""
    import graphopt

    original: Any = str(path)
    interface = {name: arguments[name] for name in ("input_shapes", "freeze_inputs", "io_layout")}
    if any(interface.values()):
        original = graphopt.optimize(original, 0, **interface)
    with err(quiet).working("comparing the outputs"):
        return graphopt.verify(original, result)
