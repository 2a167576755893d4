"""`graphopt explain`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphopt.cli import completion, options
from graphopt.cli.output import Screen, did_you_mean, err, out, place, short
from graphopt.cli.streams import source, title
from graphopt.errors import ArgumentError

if TYPE_CHECKING:
    from graphopt.cli.drawing import Drawing
    from graphopt.ir import Model
    from graphopt.report import Report
    from graphopt.rewrite import Rule, Step

#: Steps that are drawn at most: for each, the model is optimized twice more.
_DRAWN = 10

RuleName = Annotated[
    str | None,
    typer.Option(
        "--rule", metavar="NAME", help="Only the steps of this rule or pass.", autocompletion=completion.rules
    ),
]
NodeName = Annotated[
    str | None, typer.Option("--node", metavar="NAME", help="Only the steps that took or brought this node or value.")
]
Limit = Annotated[
    int, typer.Option(metavar="N", help="Show so many steps, refusals, or nodes of a tree; 0: all.", min=0)
]
StepNumber = Annotated[
    int | None, typer.Option("--step", metavar="K", help="Only the step of this number.", min=1, show_default=False)
]
Tree = Annotated[
    bool,
    typer.Option(
        "--tree",
        help="Draw the graph before and after, as trees; with --step, --node or --rule what lies around each of those steps.",
    ),
]
Depth = Annotated[int, typer.Option(metavar="N", help="How far around a rewrite or node --tree draws.", min=0)]
WhyNot = Annotated[bool, typer.Option("--why-not", help="Also the rules that nearly applied, and why they did not.")]


def explain(
    model: options.ModelPath,
    level: options.Level = None,
    target: options.Target = "onnx",
    rule: RuleName = None,
    node: NodeName = None,
    step: StepNumber = None,
    why_not: WhyNot = False,
    tree: Tree = False,
    depth: Depth = 1,
    limit: Limit = 50,
    without: options.Without = None,
    only: options.Only = None,
    input_shape: options.InputShapes = None,
    freeze_inputs: options.FreezeInputs = False,
    opset: options.Opset = None,
    json: options.Json = False,
) -> int:
    """Optimize MODEL, and tell every step: which rule, what it took, what it brought, and why that is right. Writes no file."""
    arguments = options.optimization(target, without, only, input_shape, freeze_inputs, opset)
    read, name = source(model), title(model)

    import graphopt
    from graphopt.passes import PASSES
    from graphopt.patterns import all_rules

    rules, screen = all_rules(), out()
    if rule is not None and rule not in rules and rule not in PASSES:
        hint = did_you_mean(rule, [*rules, *PASSES]) or "'graphopt rules' lists them all"
        raise ArgumentError(f"--rule: no rule or pass is named '{rule}'; {hint}")

    def optimized(steps: int | None = None) -> Model:
        with err().working(f"optimizing {name}"):
            return graphopt.optimize(read, level, steps=steps, **arguments)

    result = optimized()
    report = result.report
    assert report is not None
    if step is not None and step > len(report.steps):
        raise ArgumentError(f"--step {step}: there are {_steps(len(report.steps))}")
    chosen = report.steps if node is None else report.explain(node)
    if node is not None and not chosen:
        _check_name(read, name, node)
    ids = {id(s) for s in chosen}
    steps = [
        (i, s) for i, s in enumerate(report.steps, 1) if id(s) in ids and rule in (None, s.rule) and step in (None, i)
    ]
    drawings = _drawings(optimized, result, steps, node, rule, step, depth, limit) if tree else []
    if json:
        screen.json(_data(report, steps, rule, [d.to_dict() for d in drawings] if tree else None))
        return 0
    what = "".join([f" of {rule}" if rule else "", f" touching '{node}'" if node else ""])
    screen.line(
        f"{_steps(len(steps))}{what}; {report.nodes_before:,} -> {report.nodes_after:,} nodes at level {report.level}",
        "bold",
    )
    for drawing in drawings:
        screen.line()
        drawing.show(screen, limit)
    told: set[str] = set()
    for i, s in steps[: limit or None] if not tree else ():
        screen.line()
        _show_step(screen, i, s, rules.get(s.rule), PASSES, told)
    if limit and len(steps) > limit and not tree:
        screen.line(f"\n{_steps(len(steps) - limit, 'more ')}; --limit 0 shows all")
    if why_not:
        screen.line()
        _show_refusals(screen, report, rule, limit)
    return 0


def _data(report: Report, steps: list[tuple[int, Step]], rule: str | None, trees: Any) -> dict[str, Any]:
    return {
        "level": report.level,
        "nodes": {"before": report.nodes_before, "after": report.nodes_after},
        "steps": [{"number": i, **s.to_dict()} for i, s in steps],
        "refusals": [
            {"rule": r, "reason": why, "count": n, "first": at}
            for r, why, n, at in report.refusals()
            if rule in (None, r)
        ],
        "trees": trees,
    }


def _drawings(
    optimized: Callable[[int | None], Model],
    result: Model,
    steps: list[tuple[int, Step]],
    node: str | None,
    rule: str | None,
    step: int | None,
    depth: int,
    limit: int,
) -> list[Drawing]:
    """The whole graph before and after; or what lies around the chosen steps, or around a node that none of them touches."""
    from graphopt.cli.drawing import around_a_node, around_a_step, whole

    if node is None and rule is None and step is None:
        return [whole(optimized(0), result)]
    if node is not None and not steps:
        return around_a_node(optimized(0), result, node, depth)
    return [around_a_step(optimized(i - 1), optimized(i), i, s, depth) for i, s in steps[: min(limit, _DRAWN) or None]]


def _check_name(read: str | bytes, model: str, name: str) -> None:
    """An error if the model has no node or value of this name."""
    from graphopt.ir import load

    known: set[str] = set()
    for graph in load(read).graphs():
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
