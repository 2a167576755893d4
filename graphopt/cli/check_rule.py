"""`graphopt check-rule`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from graphopt.cli import options
from graphopt.cli.output import DIFFERENT, OK, err, out
from graphopt.errors import ArgumentError

Target = Annotated[
    str | None,
    typer.Argument(
        metavar="[TARGET]",
        help="A Python file or module with rules; FILE::NAME for one of them. Without it, the package's own rules.",
        show_default=False,
    ),
]
ProfileName = Annotated[str, typer.Option("--profile", metavar="quick|nightly", help="How much to try.")]
Save = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Save the smallest model that shows a mistake there, with its inputs.",
        show_default=False,
    ),
]
Proofs = Annotated[bool, typer.Option("--prove", help="Look for a proof too, on small shapes and over the reals.")]


def check_rule(
    target: Target = None,
    on: options.On = None,
    profile: ProfileName = "quick",
    prove: Proofs = False,
    save: Save = None,
) -> int:
    """Test rules from their own declarations: exit code 0 if all are right, 1 if one is wrong or fires too seldom.

    Models that hold a rule's left side are drawn and rewritten, and both sides run on every executor. A mistake is shown on
    the smallest model that was found.
    """
    from graphopt.testing.checking import EXECUTORS, RuleFailure
    from graphopt.testing.checking import check_rule as check
    from graphopt.testing.loading import OWN, rules_in
    from graphopt.testing.profiles import PROFILES

    if profile not in PROFILES:
        raise ArgumentError(f"--profile: '{profile}' is none; there are {', '.join(PROFILES)}")
    if save is not None and not save.is_dir():
        raise ArgumentError(f"--save: '{save}' is no folder; make it first")
    rules = rules_in(target or OWN)
    screen, wrong, started = out(), 0, time.perf_counter()
    for rule in rules:
        try:
            with err().working(f"checking {rule.name}"):
                found = check(rule, PROFILES[profile], options.names(on))
        except RuleFailure as failure:
            wrong += 1
            screen.line(str(failure), "red")
            if save is not None and failure.instance is not None:
                screen.line(f"saved as {_saved(failure, save)}")
            screen.line()
            continue
        screen.line(f"{found}{_proved(rule) if prove else ''}")
        for (executor, why), n in found.left_out.most_common(3) if len(rules) == 1 else ():
            screen.line(f"  {n} not compared on {executor}: {why}", "dim")
        missing = [n for n in (options.names(on) or EXECUTORS) if not found.compared[n]]
        if missing and len(rules) == 1:
            screen.line(f"  nothing was compared on {', '.join(missing)}", "yellow")
    seconds = time.perf_counter() - started
    screen.line(f"{len(rules) - wrong} of {len(rules)} rules are right, as far as was tried, in {seconds:.0f} s")
    return DIFFERENT if wrong else OK


def _proved(rule: object) -> str:
    from graphopt.rewrite import Rule
    from graphopt.testing.proof import prove

    assert isinstance(rule, Rule)
    proof = prove(rule)
    return f"; {proof}"


def _saved(failure: object, folder: Path) -> Path:
    """Write the model of a failure and its inputs."""
    import numpy as np

    from graphopt.ir import load
    from graphopt.testing.checking import RuleFailure

    assert isinstance(failure, RuleFailure) and failure.instance is not None
    path = folder / f"{failure.rule.name}.onnx"
    load(failure.instance.model).save(path)
    np.savez(path.with_suffix(".npz"), **failure.instance.feeds)
    return path
