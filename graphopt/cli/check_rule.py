"""`graphopt check-rule`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphopt.cli import options
from graphopt.cli.output import DIFFERENT, OK, Screen, err, out
from graphopt.errors import ArgumentError

if TYPE_CHECKING:
    from graphopt.testing.checking import RuleCheck, RuleFailure
    from graphopt.testing.proof import Proof

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
    json: options.Json = False,
) -> int:
    """Test rules from their own declarations: exit code 0 if all are right, 1 if one is wrong or fires too seldom.

    Models that hold a rule's left side are drawn and rewritten, and both sides run on every executor. A mistake is shown on
    the smallest model that was found.
    """
    from graphopt.testing.checking import EXECUTORS, RuleFailure
    from graphopt.testing.checking import check_rule as check
    from graphopt.testing.loading import OWN, rules_in
    from graphopt.testing.profiles import PROFILES
    from graphopt.testing.proof import prove as proof_of

    if profile not in PROFILES:
        raise ArgumentError(f"--profile: '{profile}' is none; there are {', '.join(PROFILES)}")
    if save is not None and not save.is_dir():
        raise ArgumentError(f"--save: '{save}' is no folder; make it first")
    rules = rules_in(target or OWN)
    screen, wrong, started = out(quiet=json), 0, time.perf_counter()
    data: list[dict[str, Any]] = []
    for rule in rules:
        saved: Path | None = None
        proof: Proof | None = None
        try:
            with err().working(f"checking {rule.name}"):
                found = check(rule, PROFILES[profile], options.names(on))
                proof = proof_of(rule) if prove else None
        except RuleFailure as failure:
            wrong += 1
            screen.line(str(failure), "red")
            if save is not None and failure.instance is not None:
                saved = _saved(failure, save)
                screen.line(f"saved as {saved}")
            screen.line()
            data.append({"right": False, "story": str(failure), **failure.check.to_dict()})
        else:
            screen.line(str(found) if proof is None else f"{found}; {proof}")
            if len(rules) == 1:
                _show_left_out(screen, found, options.names(on) or EXECUTORS)
            data.append({"right": True, "story": "", **found.to_dict()})
        data[-1] |= {"saved": saved and str(saved), "proof": None if proof is None else asdict(proof)}
    seconds = time.perf_counter() - started
    screen.line(f"{len(rules) - wrong} of {len(rules)} rules are right, as far as was tried, in {seconds:.0f} s")
    if json:
        out().json({"rules": data, "right": len(rules) - wrong, "wrong": wrong, "seconds": seconds})
    return DIFFERENT if wrong else OK


def _show_left_out(screen: Screen, found: RuleCheck, executors: Sequence[str]) -> None:
    for (executor, why), n in found.left_out.most_common(3):
        screen.line(f"  {n} not compared on {executor}: {why}", "dim")
    if missing := [n for n in executors if not found.compared[n]]:
        screen.line(f"  nothing was compared on {', '.join(missing)}", "yellow")


def _saved(failure: RuleFailure, folder: Path) -> Path:
    """Write the model of a failure and its inputs."""
    import numpy as np

    from graphopt.ir import load

    assert failure.instance is not None
    path = folder / f"{failure.rule.name}.onnx"
    load(failure.instance.model).save(path)
    np.savez(path.with_suffix(".npz"), **failure.instance.feeds)
    return path
