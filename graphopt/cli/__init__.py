"""The command line. `main` is the program; each command lives in a module of its own and returns its exit code.

Only typer is imported here: models, rules and tables are what the commands import when they run, so that `--help` and
`--version` answer at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from graphopt import __version__
from graphopt.cli import (
    bisect,
    check_rule,
    demo,
    diff,
    explain,
    fuzz,
    inspect,
    optimize,
    report,
    rules,
    tidy,
    train,
    verify,
)
from graphopt.cli.output import INTERNAL, INTERRUPTED, PIPE_CLOSED, USAGE, as_typed
from graphopt.errors import GraphoptError, RuleError

EXIT_CODES = """\b
Exit codes:
   0  done; models are equal
   1  models differ, or the candidate does not run
   2  a wrong option, or a file that cannot be read or written
   3  inconclusive: no comparison could have told a difference
  70  a bug in graphopt; --debug shows where
"""

#: The variable by which shells ask for completions.
COMPLETION = "_GRAPHOPT_COMPLETE"

app = typer.Typer(
    add_completion=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback(invoke_without_command=True, epilog=EXIT_CODES)
def graphopt(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Print tracebacks of errors; taken after a command too.")
    ] = False,
) -> int:
    """Optimize ONNX models with rules that are equations."""
    if version:
        print(f"graphopt {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
    return 0


for command, summary in (
    (optimize.optimize, "Optimize a model and tell what was done."),
    (verify.verify, "Run two models on the same inputs, compare the outputs."),
    (diff.diff, "Compare the structure of two models."),
    (bisect.bisect, "Find the rewrite that changes the outputs."),
    (tidy.tidy, "Optimize models in place, verified; for hooks."),
    (fuzz.fuzz, "Look for mistakes with random models."),
    (inspect.inspect, "Show what a model holds."),
    (report.report, "Show a model before and after as a page."),
    (explain.explain, "Tell every step of an optimization, and why."),
    (rules.rules, "List all rules as equations."),
    (check_rule.check_rule, "Test rules from their own declarations."),
    (train.train, "Train a model's weights on data."),
    (demo.demo, "A small model before and after; needs no file."),
):
    app.command(short_help=summary)(command)

#: What typer raises for a bad command line: click's class, or that of the copy of click inside newer versions.
_UsageError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def main(arguments: Sequence[str] | None = None) -> int:
    """The program.

    Args:
        arguments: what stands after the program's name; None: those that Python was started with.

    Returns:
        The exit code.
    """
    args = list(sys.argv[1:] if arguments is None else arguments)
    end = args.index("--") if "--" in args else len(args)
    debug = "--debug" in args[:end]
    args = [a for a in args[:end] if a != "--debug"] + args[end:]
    _prepare_streams()
    if COMPLETION in os.environ:
        return _complete()
    try:
        with warnings.catch_warnings():
            if not debug and not sys.warnoptions:
                warnings.simplefilter("ignore")
            code = _run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        code = PIPE_CLOSED
    except Exception as e:
        code, text = _told(e)
        with contextlib.suppress(OSError):
            if debug:
                traceback.print_exc()
            print("graphopt:", " ".join(text.split()), file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()
    return code


def _complete() -> int:
    """Answer a shell that asks how a line may go on, or for the script with which it asks (docs/cli.md)."""
    try:
        app(prog_name="graphopt", complete_var=COMPLETION)
    except SystemExit as e:
        return e.code if isinstance(e.code, int) else 0
    return 0


def _run(args: list[str]) -> int:
    """Parse and execute without the error handling that typer's own `main` brings."""
    program = typer.main.get_command(app)
    try:
        with program.make_context("graphopt", args) as context:
            return program.invoke(context) or 0
    except typer.Exit as e:
        return e.exit_code


def _told(e: Exception) -> tuple[int, str]:
    """Exit code and message of an error."""
    if isinstance(e, _UsageError):
        context = getattr(e, "ctx", None)
        text = str(e.format_message()).rstrip(".")
        return USAGE, f"error: {text}" + (f"; see {context.command_path} --help" if context else "")
    if isinstance(e, GraphoptError) and not isinstance(e, RuleError):  # the rules are the package's own here
        return USAGE, f"error: {as_typed(str(e))}"
    if isinstance(e, OSError):
        where = f"'{e.filename}': " if e.filename else ""
        return USAGE, f"error: {where}{e.strerror or e}"
    return INTERNAL, f"internal error: {type(e).__name__}: {e}; run with --debug to see where, and report it"


def _prepare_streams() -> None:
    """Names of nodes may hold characters that the terminal's encoding lacks, and a stream may be closed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - until the process ends
        with contextlib.suppress(AttributeError, ValueError):  # not every stream in their place is a TextIOWrapper
            getattr(sys, name).reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Nobody reads stdout any more: let Python's last flush go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
