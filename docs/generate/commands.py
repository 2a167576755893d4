"""The command line's own help, a section for each command."""

from __future__ import annotations

import typer

from graphopt.cli import EXIT_CODES, app


def page() -> str:
    """What `graphopt COMMAND --help` prints, for all of them."""
    program = typer.main.get_command(app)
    context = program.make_context("graphopt", [], resilient_parsing=True)
    names = program.list_commands(context)
    lines = [
        "# Command line",
        "",
        "What `graphopt COMMAND --help` says.",
        "",
        "```text",
        EXIT_CODES.lstrip("\b\n").rstrip(),
        "```",
        "",
    ]
    for name in names:
        command = program.get_command(context, name)
        inner = type(context)(command, parent=context, info_name=name)
        lines += [f"## graphopt {name}", "", "```text", command.get_help(inner).rstrip(), "```", ""]
    return "\n".join(lines)
