"""`graphopt explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphopt._words import listed
from graphopt.cli import completion, options
from graphopt.cli.output import Screen, did_you_mean, err, out, place
from graphopt.cli.streams import source, title
from graphopt.errors import ArgumentError

if TYPE_CHECKING:
    from graphopt.cli.drawing import Drawing
    from graphopt.report import Report
    from graphopt.rewrite import Rule, Step

#: Steps that are drawn unless --limit 0 asks for all: for each, the model is optimized anew.
_DRAWN = 10
#: Nodes of a step that are named.
_NAMED = 6

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

    from graphopt.passes import PASSES
    from graphopt.patterns import all_rules
    from graphopt.tracing import trace

    rules, screen = all_rules(), out()
    if rule is not None and rule not in rules and rule not in PASSES:
        hint = did_you_mean(rule, [*rules, *PASSES]) or "'graphopt rules' lists them all"
        raise ArgumentError(f"--rule: no rule or pass is named '{rule}'; {hint}")

    with err().working(f"optimizing {name}"):
        walk = trace(read, level, **arguments)
    report = walk.report
    if step is not None and step > len(report.steps):
        raise ArgumentError(f"--step {step}: there are {_steps(len(report.steps))}")
    chosen = report.steps if node is None else report.explain(node)
    if node is not None and not chosen:
        _check_name(read, name, node)
    ids = {id(s) for s in chosen}
    steps = [
        (i, s) for i, s in enumerate(report.steps, 1) if id(s) in ids and rule in (None, s.rule) and step in (None, i)
    ]
    whole_graph = tree and node is None and rule is None and step is None
    most = min(limit, _DRAWN) if tree else limit
    shown = steps[: most or None]
    drawings: list[Drawing] = []
    if tree:
        from graphopt.cli import drawing as draw

        with err().working(f"optimizing {name} up to each step"):
            if whole_graph:
                drawings = [draw.whole(walk.after(0), walk.model)]
            elif node is not None and not chosen:
                drawings = [draw.around_a_node(walk.after(0), walk.model, node, depth)]
            else:
                drawings = [draw.around_a_step(walk.after(i - 1), walk.after(i), i, s, depth) for i, s in shown]
    if json:
        screen.json(_data(report, steps, rule, [d.to_dict() for d in drawings] if tree else None))
        return 0
    what = (f" of {rule}" if rule else "") + (f" touching '{node}'" if node else "")
    screen.line(
        f"{_steps(len(steps))}{what}; {report.nodes_before:,} -> {report.nodes_after:,} nodes at level {report.level}",
        "bold",
    )
    for drawing in drawings:
        screen.line()
        drawing.show(screen, limit)
    told: set[str] = set()
    for i, s in shown if not tree else ():
        screen.line()
        _show_step(screen, i, s, rules.get(s.rule), PASSES, told)
    if len(steps) > len(shown) and not whole_graph:
        screen.line(f"\n{_steps(len(steps) - len(shown), 'more ')}; --limit 0 shows all")
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
    return listed([f"{r.op} '{r.label}'" for r in records], _NAMED) or "nothing"


def _show_refusals(screen: Screen, report: Report, rule: str | None, limit: int) -> None:
    refusals = [row for row in report.refusals() if rule in (None, row[0])]
    if not refusals:
        screen.line("no rule came near without being applied")
        return
    screen.line("what nearly applied, in the whole model", "bold")
    screen.table(("rule", "why not", "times", "first at"), refusals[: limit or None])
    if limit and len(refusals) > limit:
        screen.line(f"{len(refusals) - limit} more; --limit 0 shows all")
