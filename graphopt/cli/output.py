"""What all commands write with: tables and colours on a terminal, plain lines of any length elsewhere; exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TextIO

from graphopt._words import size_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.tree import Tree

    from graphopt.report import Report
    from graphopt.verification import Verification

OK = 0
DIFFERENT = 1
USAGE = 2
INCONCLUSIVE = 3
INTERNAL = 70
INTERRUPTED = 130
PIPE_CLOSED = 141  # what a shell reports of a program that SIGPIPE ended

_SHOWN = 10  # rows of a summary
_ENDLESS = 1 << 16  # columns, where lines are not to be wrapped


class Screen:
    """One of the two standard streams.

    Args:
        file: the stream.
        quiet: write nothing at all.
    """

    def __init__(self, file: TextIO, quiet: bool = False) -> None:
        self.file = file
        self.quiet = quiet
        self.terminal = file.isatty() or bool(os.environ.get("FORCE_COLOR"))

    @cached_property
    def _console(self) -> Console:
        from rich.console import Console

        class Plain(Console):
            def on_broken_pipe(self) -> None:
                raise BrokenPipeError

        return Plain(file=self.file, markup=False, emoji=False, highlight=False)

    def line(self, text: str = "", style: str = "") -> None:
        """A line; on a terminal it is wrapped between words."""
        if self.quiet:
            return
        if self.terminal:
            self._console.print(text, style=style or None)
        else:
            print(text, file=self.file)

    def block(self, text: str, indent: int, style: str = "") -> None:
        """Lines with so many spaces in front of each, those that a terminal wraps too."""
        if self.quiet:
            return
        if self.terminal:
            from rich.padding import Padding

            self._console.print(Padding(text, (0, 0, 0, indent)), style=style or None)
        else:
            for line in text.splitlines():
                print(" " * indent + line, file=self.file)

    def table(
        self, head: Sequence[str], rows: Iterable[Sequence[Any]], styles: Mapping[str, str] | None = None
    ) -> None:
        """A table; columns of numbers are flush right. `styles` maps a regular expression to how a terminal shows it."""
        cells = [list(row) for row in rows]
        if self.quiet or not cells:
            return
        right = [all(isinstance(row[i], int) for row in cells) for i in range(len(head))]
        texts = [[f"{c:,}" if isinstance(c, int) else str(c) for c in row] for row in cells]
        if self.terminal:
            self._rich_table(head, texts, right, styles or {})
            return
        lines = [list(head), *texts]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        for line in lines:
            padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True))
            print("  ".join(padded).rstrip(), file=self.file)

    def _rich_table(
        self, head: Sequence[str], rows: list[list[str]], right: list[bool], styles: Mapping[str, str]
    ) -> None:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for title, is_right in zip(head, right, strict=True):
            table.add_column(title, justify="right" if is_right else "left", no_wrap=is_right, overflow="fold")
        for row in rows:
            shown = [Text(c) for c in row]
            for pattern, style in styles.items():
                for text in shown:
                    text.highlight_regex(pattern, style)
            table.add_row(*shown)
        self._console.print(table)

    def code(self, text: str) -> None:
        """Python source."""
        if self.quiet:
            return
        if self.terminal:
            from rich.syntax import Syntax

            self._console.print(Syntax(text, "python", background_color="default", word_wrap=True))
        else:
            print(text, file=self.file)

    def tree(self, tree: Tree) -> None:
        """A tree; in a pipe every line is as long as it needs to be."""
        if self.quiet:
            return
        if self.terminal:
            self._console.print(tree)
            return
        from rich.console import Console

        console = Console(file=self.file, width=_ENDLESS, color_system=None, markup=False, emoji=False, highlight=False)
        with console.capture() as captured:
            console.print(tree, no_wrap=True, overflow="ignore", crop=False)
        for line in captured.get().splitlines():
            print(line.rstrip(), file=self.file)

    def json(self, data: Any) -> None:
        """Data for programs, quiet or not; numbers that JSON does not have are null."""
        print(json.dumps(_finite(data), indent=1), file=self.file)

    @contextlib.contextmanager
    def working(self, what: str) -> Iterator[Callable[[str], None]]:
        """Something that moves on a terminal while the body runs, which may say how far it is."""
        if self.quiet or not self.file.isatty():
            yield lambda text: None
            return
        with self._console.status(what) as status:
            yield status.update


def out(quiet: bool = False) -> Screen:
    """Standard output."""
    return Screen(sys.stdout, quiet)


def err(quiet: bool = False) -> Screen:
    """Standard error."""
    return Screen(sys.stderr, quiet)


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if abs(data) < float("inf") else None
    if isinstance(data, Mapping):
        return {k: _finite(v) for k, v in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(v) for v in data]
    return data


# ------------------------------------------------------------------------------------------------- words for things
def place(where: str) -> str:
    """file:line, relative where the file lies below the current folder."""
    path, _, line = where.rpartition(":")
    with contextlib.suppress(ValueError):  # another drive
        short = os.path.relpath(path)
        if not short.startswith(os.pardir):
            path = short
    return f"{path}:{line}"


def as_typed(message: str) -> str:
    """A message of the library, with options where it speaks of Python arguments."""
    for argument, option in _SPELLINGS.items():
        message = re.sub(argument, option, message)
    return message


_SPELLINGS = {
    "^(the bytes given|what was given)(?= )": "standard input",
    "^(without|only):": r"--\1:",
    "^input_shapes:": "--input-shape:",
    "external_data=True": "--external-data",
    "^inputs:": "--inputs:",
    "force=True": "--force",
    "^tune(?= must| goes| measures)": "--tune",
    "^tune_threads(?= must)": "--tune-threads",
    "^tune_cache:": "--tune-cache:",
    "target='(\\w+)'": r"--target \1",
}


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """The end of a message about an unknown name."""
    import difflib

    close = difflib.get_close_matches(name, list(valid), 3)
    return f"did you mean {' or '.join(close)}?" if close else ""


# ---------------------------------------------------------------------------------------------- what several commands show
def show_report(screen: Screen, report: Report) -> None:
    """What an optimisation did, in two tables and a few lines."""
    operators = [*report.operators(), ("all, Constants apart", report.nodes_before, report.nodes_after)]
    if len(operators) == 1 and not report.steps:
        screen.line(f"nothing to do: {report.nodes_before:,} nodes, and no rule applies at level {report.level}")
    else:
        screen.table(("operator", "before", "after"), operators, {"^all, Constants apart$": "bold"})
        screen.line()
        fired = report.by_rule()
        screen.table(("rule or pass", "applied", "nodes saved"), [row[:3] for row in fired[:_SHOWN]])
        if len(fired) > _SHOWN:
            screen.line(f"and {len(fired) - _SHOWN} more; 'graphopt explain' tells every step")
        screen.line()
    before, after = (size_text(s.constant_bytes) for s in (report.before, report.after))
    screen.line(f"constants  {before if before == after else f'{before} -> {after}'}")
    screen.line(f"time       {report.seconds:.2f} s")
    if report.tuning is not None:
        for line in report.tuning.lines():
            screen.line(line)
    for warning in report.warnings:
        screen.line(f"note: {warning}", "yellow")
    if report.precision is not None:
        screen.line()
        for line in report.precision.lines():
            screen.line(line)


_VERDICTS = {
    r"^(different|failed|interface differs)": "bold red",
    r"^(constant output|too small|not deterministic)": "yellow",
    r"^equal$": "green",
}


def show_verification(screen: Screen, result: Verification, all_executors: bool = True) -> None:
    """The verdict and what it rests on."""
    from graphopt.exec.executors import DEFAULTS, installed

    colour = "bold green" if result.ok else "bold yellow" if result.verdict == "inconclusive" else "bold red"
    executors = list(dict.fromkeys(row.executor for row in result.rows))
    on = f" on {' and '.join(executors)}" if executors else ""
    screen.line(f"verification: {result.verdict}{on}", colour)
    for problem in result.problems:
        screen.block(problem, 2)
    lines = result.summary()
    head = ("executor", "output", "status", "runs", "difference", "tolerance")
    screen.table(head, [line[:-1] for line in lines], _VERDICTS)
    for executor, output, _, *_, detail in lines:
        if detail:
            screen.block(f"{output} on {executor}: {detail}", 2)
    if result.sizes():
        screen.block(f"sizes: {result.sizes()}", 2)
    for note in result.notes:
        screen.block(note, 2)
    missing = [name for name in DEFAULTS if name not in installed()]
    if all_executors and missing:
        screen.block(f"left out: {', '.join(missing)}: not installed; pip install 'graphopt[ort]'", 2)


def code_of(result: Verification) -> int:
    """The exit code of a verdict."""
    return {"equal": OK, "inconclusive": INCONCLUSIVE}.get(result.verdict, DIFFERENT)
