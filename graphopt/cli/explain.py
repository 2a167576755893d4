"""`graphopt explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphopt.cli import options
from graphopt.cli.output import Screen, did_you_mean, err, out, place, short
from graphopt.errors import ArgumentError

if TYPE_CHECKING:
    from graphopt.report import Report
    from graphopt.rewrite import Rule, Step

RuleName = Annotated[str | None, typer.Option("--rule", metavar="NAME", help="Only the steps of this rule or pass.")]
NodeName = Annotated[
    str | None, typer.Option("--node", metavar="NAME", help="Only the steps that took or brought this node or value.")
]
Limit = Annotated[int, typer.Option(metavar="N", help="Show so many steps (and refusals); 0: all.", min=0)]
WhyNot = Annotated[bool, typer.Option("--why-not", help="Also the rules that nearly applied, and why they did not.")]


def explain(
    model: options.ModelPath,
    level: options.Level = None,
    target: options.Target = "onnx",
    rule: RuleName = None,
    node: NodeName = None,
    why_not: WhyNot = False,
    limit: Limit = 50,
    without: options.Without = None,
    only: options.Only = None,
    input_shape: options.InputShapes = None,
    freeze_inputs: options.FreezeInputs = False,
    opset: options.Opset = None,
) -> int:
    """Optimize MODEL, and tell every step: which rule, what it took, what it brought, and why that is right. Writes no file."""
    arguments = options.optimization(target, without, only, input_shape, freeze_inputs, opset)

    import graphopt
    from graphopt.passes import PASSES
    from graphopt.patterns import all_rules

    rules, screen = all_rules(), out()
    if rule is not None and rule not in rules and rule not in PASSES:
        hint = did_you_mean(rule, [*rules, *PASSES]) or "'graphopt rules' lists them all"
        raise ArgumentError(f"--rule: no rule or pass is named '{rule}'; {hint}")
    with err().working(f"optimizing {model}"):
        report = graphopt.optimize(str(model), level, **arguments).report
    assert report is not None
    chosen = report.steps if node is None else report.explain(node)
    if node is not None and not chosen:
        _check_name(model, node)
    ids = {id(s) for s in chosen}
    steps = [(i, s) for i, s in enumerate(report.steps, 1) if id(s) in ids and rule in (None, s.rule)]

    what = "".join([f" of {rule}" if rule else "", f" touching '{node}'" if node else ""])
    screen.line(
        f"{_steps(len(steps))}{what}; {report.nodes_before:,} -> {report.nodes_after:,} nodes at level {report.level}",
        "bold",
    )
    told: set[str] = set()
    for i, step in steps[: limit or None]:
        screen.line()
        _show_step(screen, i, step, rules.get(step.rule), PASSES, told)
    if limit and len(steps) > limit:
        screen.line(f"\n{_steps(len(steps) - limit, 'more ')}; --limit 0 shows all")
    if why_not:
        screen.line()
        _show_refusals(screen, report, rule, limit)
    return 0


def _check_name(model: Any, name: str) -> None:
    """An error if the model has no node or value of this name."""
    from graphopt.ir import load

    known: set[str] = set()
    for graph in load(model).graphs():
        known.update(v.name for v in (*graph.inputs, *graph.initializers))
        for node in graph:
            known.add(node.name)
            known.update(v.name for v in node.outputs if v is not None)
    if name not in known:
        hint = did_you_mean(name, known)
        raise ArgumentError(f"--node: '{model}' has no node or value named '{name}'" + (f"; {hint}" if hint else ""))


def _show_step(
    screen: Screen, number: int, step: Step, rule: Rule | None, passes: dict[str, str], told: set[str]
) -> None:
    screen.line(
        f"{number}. {step.rule} at '{step.location}'" + (f" in graph '{step.graph}'" if step.graph else ""), "bold cyan"
    )
    screen.block(f"{_nodes(step.before)}  ->  {_nodes(step.after)}", 4)
    if step.note:
        screen.block(step.note, 4)
    if step.rule in told:
        return
    told.add(step.rule)
    if rule is not None:
        screen.block(f"why: {' '.join(rule.doc.split())}", 4)
        screen.block(rule.equation, 9)
        screen.block(place(rule.where), 9, "dim")
    elif step.rule in passes:
        screen.block(f"why: {passes[step.rule]}", 4)


def _steps(n: int, more: str = "") -> str:
    return f"{n} {more}step{'s' * (n != 1)}"


def _nodes(records: Any) -> str:
    return short([f"{r.op} '{r.name or r.output}'" for r in records]) or "nothing"


def _show_refusals(screen: Screen, report: Report, rule: str | None, limit: int) -> None:
    refusals = [row for row in report.refusals() if rule in (None, row[0])]
    if not refusals:
        screen.line("no rule came near without being applied")
        return
    screen.line("what nearly applied, in the whole model", "bold")
    screen.table(("rule", "why not", "times", "first at"), refusals[: limit or None])
    if limit and len(refusals) > limit:
        screen.line(f"{len(refusals) - limit} more; --limit 0 shows all")
