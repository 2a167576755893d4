"""`graphopt rules`."""

from __future__ import annotations

import inspect
import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphopt.cli import completion, options
from graphopt.cli.output import Screen, did_you_mean, out, place
from graphopt.errors import ArgumentError

if TYPE_CHECKING:
    from graphopt.rewrite import Rule

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]", help="One rule or pass, with its source.", show_default=False, autocompletion=completion.rules
    ),
]
Family = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Only the rules of this family, which is the file that holds them.",
        autocompletion=completion.families,
    ),
]
Phase = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Only the rules of this phase: raising, simplifying, lowering, or that of a target.",
        autocompletion=completion.phases,
    ),
]


def rules(name: Name = None, family: Family = None, phase: Phase = None, json: options.Json = False) -> int:
    """List every rule as an equation, and the passes; one line each, separated by tabs, where no terminal reads it."""
    from graphopt.passes import PASSES
    from graphopt.patterns import PHASES, TARGET_PHASES, rules_of

    phases = (*PHASES, *TARGET_PHASES)
    found = [(p, r) for p in phases for r in rules_of(p)]
    families = sorted({r.family for _, r in found})
    if phase is not None and phase not in phases:
        raise ArgumentError(f"--phase: no phase is named '{phase}'; the phases are {', '.join(phases)}")
    if family is not None and family not in families:
        raise ArgumentError(f"--family: no family is named '{family}'; the families are {', '.join(families)}")
    passes = dict(PASSES) if family is None and phase is None else {}
    if name is not None and name not in passes and name not in {r.name for _, r in found}:
        hint = did_you_mean(name, [*PASSES, *(r.name for _, r in found)]) or "'graphopt rules' lists them all"
        raise ArgumentError(f"no rule or pass is named '{name}'; {hint}")

    chosen = [(p, r) for p, r in found if name in (None, r.name) and family in (None, r.family) and phase in (None, p)]
    passes = {n: text for n, text in passes.items() if name in (None, n)}
    if name is not None and not chosen and not passes:
        raise ArgumentError(f"'{name}' is of another family or phase")
    screen = out()
    if json:
        screen.json(
            {"rules": [_data(p, r) for p, r in chosen], "passes": [{"name": n, "doc": d} for n, d in passes.items()]}
        )
    elif name is not None:
        _show_one(screen, chosen, passes)
    elif screen.terminal:
        _show_terminal(screen, chosen, passes)
    else:
        _show_lines(screen, chosen, passes)
    return 0


def _data(phase: str, rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "phase": phase,
        "family": rule.family,
        "exact": rule.exact,
        "proof": _proof(rule),
        "equation": rule.equation,
        "doc": rule.doc,
        "where": rule.where,
    }


def _proof(rule: Rule) -> str:
    """The rung of the proof ladder that is recorded for a rule."""
    from graphopt.patterns import proofs

    return proofs().get(rule.name, {}).get("rung", "tested")


def _claim(rule: Rule) -> str:
    return "exact" if rule.exact else "rounded"


def _proved(rule: Rule) -> str:
    from graphopt.patterns import proofs

    found = proofs().get(rule.name)
    if found is None or found["rung"] == "tested":
        return "tested from its own declaration"
    return f"proved on small models, over the reals: {found['rung']} ({found['note']})"


def _show_one(screen: Screen, chosen: list[tuple[str, Rule]], passes: dict[str, str]) -> None:
    for name, text in passes.items():
        screen.line(f"{name}: a pass", "bold")
        screen.line(text)
    for phase, rule in chosen:
        screen.line(f"{rule.name}: {_claim(rule)}, {phase}, family {rule.family}", "bold")
        screen.line(rule.equation, "cyan")
        screen.line(place(rule.where), "dim")
        screen.line(_proved(rule), "dim")
        screen.line()
        screen.code(textwrap.dedent(inspect.getsource(rule.fn)).rstrip())


def _show_terminal(screen: Screen, chosen: list[tuple[str, Rule]], passes: dict[str, str]) -> None:
    """Rules under the file that holds them, a few lines each."""
    last = ("", "")
    for phase, rule in chosen:
        if last != (phase, rule.family):
            last = (phase, rule.family)
            screen.line(f"{phase} / {rule.family}  {place(rule.where).rpartition(':')[0]}", "bold")
        where = rule.where.rpartition(":")[2]
        screen.block(f"{rule.name}  {_claim(rule)}, {_proof(rule)}, line {where}", 2, "cyan")
        screen.block(rule.equation, 4)
        screen.block(rule.doc, 4, "dim")
    if passes:
        screen.line("passes", "bold")
    for name, text in passes.items():
        screen.block(name, 2, "cyan")
        screen.block(text, 4, "dim")
    counts = f"{len(chosen)} rules, {sum(r.exact for _, r in chosen)} of them exact"
    screen.line(f"{counts}; 'graphopt rules NAME' shows one with its source")


def _show_lines(screen: Screen, chosen: list[tuple[str, Rule]], passes: dict[str, str]) -> None:
    """A line each for grep and cut, separated by tabs: name, claim, phase, family, equation, doc, where, proof."""
    for phase, r in chosen:
        screen.line(
            "\t".join(
                (r.name, _claim(r), phase, r.family, r.equation, " ".join(r.doc.split()), place(r.where), _proof(r))
            )
        )
    for name, text in passes.items():
        screen.line("\t".join((name, "exact", "pass", "", "", text, "", "")))
