"""Where models and pages come from and go to: files, and `-` for standard input and output, checked before they are written."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt.cli.output import Screen, err, out
from graphopt.errors import ArgumentError, ModelError, SaveError

if TYPE_CHECKING:
    from graphopt.ir import Model


def is_stream(path: Path) -> bool:
    """Whether a standard stream is meant; a file of that name is './-'."""
    return str(path) == "-"


def source(path: Path) -> str | bytes:
    """What `graphopt.load` and all others take: the path of a file, or what standard input holds, which can be read once.

    Raises:
        ModelError: standard input is a terminal, closed or empty.
    """
    if not is_stream(path):
        return str(path)
    if sys.stdin is None or sys.stdin.closed:
        raise ModelError("standard input is closed; pipe a model into it, or name a file")
    if sys.stdin.isatty():
        raise ModelError("standard input is a terminal; pipe a model into it, or name a file")
    data: bytes = sys.stdin.buffer.read()
    if not data:
        raise ModelError("standard input is empty; did the program before the pipe fail?")
    return data


def two_sources(a: Path, b: Path) -> tuple[str | bytes, str | bytes]:
    """The same for two models, of which one may come from standard input.

    Raises:
        ArgumentError: both should.
        ModelError: as `source`.
    """
    if is_stream(a) and is_stream(b):
        raise ArgumentError("standard input holds one model; name a file for the other")
    return source(a), source(b)


def title(path: Path) -> str:
    """How a source is called in sentences."""
    return "standard input" if is_stream(path) else str(path)


def output_beside(model: Path, suffix: str) -> Path:
    """Where the result goes if nobody says: beside the model; for standard input to a file in the current folder."""
    return Path(f"stdin.{suffix}") if is_stream(model) else model.with_name(f"{model.stem}.{suffix}")


def told(target: Path, quiet: bool = False) -> Screen:
    """The stream for what a command has to say: standard output, unless the model goes there."""
    return err(quiet) if is_stream(target) else out(quiet)


def check_target(model: Path, target: Path) -> None:
    """Find out before the work is done whether a file can be written.

    Raises:
        ModelError: the model is a folder.
        SaveError: the file cannot be written.
        ArgumentError: it is the model itself.
    """
    if model.is_dir():
        raise ModelError(f"'{model}' is a folder; name the .onnx file in it")
    if is_stream(target):
        if sys.stdout.isatty():
            raise SaveError("standard output is a terminal; redirect it, or name a file with -o")
        return
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
    if not is_stream(model) and target.exists() and model.exists() and target.samefile(model):
        raise ArgumentError(f"'{target}' is the model that is read; write the result to another file")


def check_data(model: Model, target: Path) -> None:
    """What is written must not take the place of weights that the model reads.

    Raises:
        ArgumentError: it would.
    """
    if is_stream(target):
        return
    for file in data_files(model):
        for written in (target, target.with_name(f"{target.name}.data")):
            if written.exists() and written.samefile(file):
                raise ArgumentError(
                    f"'{written}' would be overwritten, and the model reads its weights from it; choose another name"
                )


def data_files(model: Model) -> set[Path]:
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


def size_of(path: Path, read: str | bytes) -> int:
    """Bytes of a model file, or of what was read in its place."""
    return len(read) if isinstance(read, bytes) else path.stat().st_size


def save(model: Model, target: Path, external_data: bool | None = None) -> int:
    """Write the model; the bytes of all that was written.

    Raises:
        SaveError: it cannot be written; see `Model.save`.
    """
    if is_stream(target):
        from graphopt.ir.save import write

        return write(model, sys.stdout.buffer)
    data = target.with_name(f"{target.name}.data")
    before = data.stat() if data.exists() else None
    model.save(target, external_data=external_data)
    fresh = data.exists() and (before is None or data.stat()[1:] != before[1:])  # another inode: it was replaced
    return target.stat().st_size + (data.stat().st_size if fresh else 0)
