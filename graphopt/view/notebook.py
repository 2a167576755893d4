"""What notebooks show of models, rules, reports, steps, verifications and tunings: HTML without styles or scripts of its own.

`html_of` is called by the `_repr_html_` of what is shown. Colours are the notebook's; those added here read on light
and dark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from graphopt._words import size_text
from graphopt.view import NEEDS_IGRAPH, can_draw
from graphopt.view.colours import BAD, FILLS, GOOD, GREY, UNSURE
from graphopt.view.elements import beside, code, coloured, details, element, html, line, pre, small, strong, table
from graphopt.view.families import family_of
from graphopt.view.rules import place_of

if TYPE_CHECKING:
    from graphopt.bisection import Bisection
    from graphopt.ir import Graph, Model
    from graphopt.report import Report
    from graphopt.rewrite import Rule
    from graphopt.steps import NumberedStep
    from graphopt.testing.checking import RuleCheck
    from graphopt.testing.proof import Proof
    from graphopt.tracing import Trace
    from graphopt.tuning.ratio import Ratio
    from graphopt.tuning.result import Tuning
    from graphopt.verification import Verification

_VERDICTS = {"equal": GOOD, "different": BAD, "failed": BAD, "interface differs": BAD}
_LONG = 400  # an equation that is folded away
_LOW, _HIGH = 0.4, 1.6  # ratios at the ends of a scale


def html_of(thing: Any) -> str:
    """What a notebook shows of a thing that has a `_repr_html_`."""
    return next(_KINDS[c.__name__] for c in type(thing).__mro__ if c.__name__ in _KINDS)(thing)


# ------------------------------------------------------------------------------------------------------ models and rules
def model_html(model: Model) -> str:
    """A model in numbers, its interface, and a drawing."""
    from graphopt.ir.text import type_text
    from graphopt.report import Summary

    summary = Summary.of(model)
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in sorted(model.opsets.items()))
    size = size_text(summary.constant_bytes)
    head = line(strong(f"model {model.graph.name}"), f": {summary.nodes:,} nodes, {size} of constants, {opsets}")
    graph = model.graph
    inputs = [graph.input_infos[v] for v in graph.inputs if v not in graph.initializers]
    interface = [
        line(f"{what}: ", code(", ".join(f"{i.name}: {type_text(i.type)}" for i in infos) or "none"))
        for what, infos in (("inputs", inputs), ("outputs", graph.output_infos))
    ]
    most = line(", ".join(f"{n} {op}" for op, n in summary.operators.most_common(8)))
    return html(head, *interface, most, details("graph", _drawing(model), opened=True))


def graph_html(graph: Graph) -> str:
    """A graph, drawn."""
    nodes = sum(n.op != "Constant" for n in graph)
    return html(line(strong(f"graph {graph.name}"), f": {nodes:,} nodes"), _drawing(graph))


def rule_html(rule: Rule) -> str:
    """A rule: what it says, its equation, both sides drawn, where it is written."""
    claim = "the same bits" if rule.exact else "the same up to rounding"
    return html(
        line(strong(f"rule {rule.name}"), f", {claim}"),
        *([line(" ".join(rule.doc.split()))] if rule.doc else []),
        _equation(rule),
        _drawing(rule),
        line(small(place_of(rule))),
    )


# --------------------------------------------------------------------------------------------- reports, steps and traces
def report_html(report: Report) -> str:
    """What an optimisation did: operators before and after, rules that were applied, phases, refusals."""
    before, after = (size_text(s.constant_bytes) for s in (report.before, report.after))
    constants = before if before == after else f"{before} → {after}"
    nodes = f"{report.nodes_before:,} → {report.nodes_after:,} nodes"
    head = line(strong(f"level {report.level}: {nodes}"), f", {constants} of constants, {report.seconds:.2f} s")
    most = max((max(b, a) for _, b, a in report.operators()), default=1)
    operators = [[op, b, a, _bars(op, b, a, most)] for op, b, a in report.operators()]
    rules = [[name, n, saved] for name, n, saved, _ in report.by_rule()]
    phases = [[p.name, len(p), f"{p.nodes_before:,} → {p.nodes_after:,}"] for p in report.phases()]
    refusals = [list(row) for row in report.refusals()]
    return html(
        head,
        beside(
            table(("operator", "before", "after", ""), operators), table(("rule or pass", "applied", "nodes saved"), rules)
        ),
        details("phases", table(("phase", "steps", "nodes"), phases)) if phases else line("nothing was done"),
        *([details("what nearly applied, and why it did not", table(("rule", "why not", "times", "first at"), refusals))]
          if refusals else []),
        *(line(coloured("note: ", UNSURE), warning) for warning in report.warnings),
        *([pre("\n".join(report.precision.lines()))] if report.precision is not None else []),
        *(_tuning(report.tuning) if report.tuning is not None else []),
    )  # fmt: skip


def step_html(step: NumberedStep) -> str:
    """A step: which rule, why, the nodes before and after."""
    entry = step.step
    head = line(strong(f"step {step.number} of {step.of}: {entry.rule}"), f" at {entry.location}, {step.phase}")
    equation = [_equation(step.rule)] if step.rule is not None else []
    texts = [line(text) for text in (step.why, entry.note) if text]
    place = "" if step.rule is None else f"; {place_of(step.rule)}"
    return html(head, *texts, *equation, _drawing(step), line(small(f"{step.nodes:,} nodes left{place}")))


def trace_html(trace: Trace) -> str:
    """The phases of an optimisation, and its steps in a list."""
    rows = [
        [
            p.name,
            f"{p.first} to {p.last}",
            f"{p.nodes_before:,} → {p.nodes_after:,}",
            _changes(p.operators),
            _counted(p.rules),
        ]
        for p in trace.phases()
    ]
    steps = [[s.number, s.phase, s.name, s.step.location, s.nodes] for s in trace]
    nodes = f"{trace.report.nodes_before:,} → {trace.report.nodes_after:,} nodes"
    return html(
        line(strong(f"{len(trace)} steps, {nodes}")),
        table(("phase", "steps", "nodes", "operators", "rules and passes"), rows),
        details("all steps", table(("step", "phase", "rule or pass", "at", "nodes left"), steps)),
    )


def _changes(operators: Counter[str]) -> str:
    rows = sorted(operators.items(), key=lambda row: (row[1], row[0]))
    shown = [f"{n:+d} {op}" for op, n in (rows if len(rows) <= 8 else [*rows[:5], *rows[-3:]])]
    return ", ".join(shown) + (" …" if len(rows) > 8 else "")


def _counted(rules: Counter[str]) -> str:
    rows = rules.most_common()
    return ", ".join(f"{n} {name}" for name, n in rows[:5]) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")


# ----------------------------------------------------------------------------------------------------------- judgements
def verification_html(result: Verification) -> str:
    """The verdict, and what it rests on."""
    rows = [
        [executor, output, coloured(status, _VERDICTS.get(status, UNSURE)), int(runs), *rest]
        for executor, output, status, runs, *rest in result.summary()
    ]
    remarks = [f"sizes: {result.sizes()}"] if result.sizes() else []
    return html(
        line(strong(coloured(f"verdict: {result.verdict}", _VERDICTS.get(result.verdict, UNSURE)))),
        *map(line, result.problems),
        *([table(("executor", "output", "status", "runs", "difference", "tolerance", ""), rows)] if rows else []),
        *(line(small(remark)) for remark in (*remarks, *result.notes)),
    )


def bisection_html(found: Bisection) -> str:
    """The rewrite at fault, and the smallest model that shows it, before and after."""
    if found.step is None:
        return html(line(strong(coloured(str(found), GOOD))))
    first, *rest = str(found).splitlines()
    parts = [line(strong(coloured(first, BAD))), *(line(text.strip()) for text in rest)]
    for title, model in (("before", found.before), ("after", found.after)):
        if model is not None:
            parts.append(details(title, _drawing(model), opened=found.cut))
    if found.verification is not None:
        parts.append(ET.fromstring(verification_html(found.verification)))
    return html(*parts)


def check_html(check: RuleCheck) -> str:
    """What a rule's own property test did."""
    rows = [["refused", reason, n] for reason, n in check.refused.most_common()]
    rows += [["invalid", reason, n] for reason, n in check.invalid.most_common()]
    rows += [["left out", f"{executor}: {reason}", n] for (executor, reason), n in check.left_out.most_common()]
    passed = strong(coloured("✓ ", GOOD), f"rule {check.rule}")
    return html(
        line(passed, f": {str(check).partition(': ')[2]}"),
        *([details("models on which it did not fire", table(("", "why", "models"), rows))] if rows else []),
    )


def proof_html(proof: Proof) -> str:
    """How far a rule is proved."""
    colour = GOOD if proof.proved else BAD if proof.rung == "refuted" else UNSURE
    parts = [line(strong(f"rule {proof.rule}: ", coloured(proof.rung, colour))), line(proof.claim)]
    return html(*parts, *([pre(proof.counterexample)] if proof.counterexample else []))


def tuning_html(tuning: Tuning) -> str:
    """What tuning chose, and how sure that is."""
    return html(*_tuning(tuning))


def _tuning(tuning: Tuning) -> list[ET.Element]:
    first, *rest = tuning.lines()
    candidates = [[str(m.choice), f"{m.ratio.median:.3f}", _interval(m.ratio)] for m in tuning.candidates]
    head = ("candidate", "time", "over the analytic choice's, with its interval; the mark is 1")
    return [
        line(strong(first)),
        *(line(text.strip()) for text in rest),
        *([table(head, candidates)] if candidates else []),
    ]


def _interval(ratio: Ratio) -> ET.Element:
    """A ratio's interval as a bar on a scale."""

    def at(x: float) -> float:
        return 200 * (min(max(x, _LOW), _HIGH) - _LOW) / (_HIGH - _LOW)

    colour = GOOD if ratio.faster else BAD if ratio.slower else UNSURE
    svg = ET.Element("svg", {"width": "200", "height": "14", "role": "img"})
    ET.SubElement(svg, "title").text = str(ratio)
    mark = {"x": f"{at(1):.1f}", "y": "0", "width": "1", "height": "14", "fill": GREY}
    ET.SubElement(svg, "rect", mark)
    left, right = at(ratio.low), at(ratio.high)
    bar = {"x": f"{left:.1f}", "y": "5", "width": f"{max(right - left, 1):.1f}", "height": "4", "fill": colour}
    ET.SubElement(svg, "rect", bar)
    ET.SubElement(svg, "circle", {"cx": f"{at(ratio.median):.1f}", "cy": "7", "r": "4", "fill": colour})
    return svg


# --------------------------------------------------------------------------------------------------------------- parts
def _equation(rule: Rule) -> ET.Element:
    """The equation, one that has many alternatives folded away."""
    text = rule.equation
    return line(code(text)) if len(text) <= _LONG else details("equation", code(text))


def _bars(op: str, before: int, after: int, most: int) -> ET.Element:
    """Two bars, one above the other: before and after."""
    svg = ET.Element("svg", {"width": "120", "height": "14", "role": "img"})
    ET.SubElement(svg, "title").text = f"{before} before, {after} after"
    fills = ((f"{GREY}88", before, "1"), (FILLS[family_of(op)], after, "8"))
    for fill, n, y in fills:
        ET.SubElement(svg, "rect", {"y": y, "width": f"{120 * n / most:.1f}", "height": "5", "fill": fill})
    return svg


def _drawing(thing: Any) -> ET.Element:
    """A drawing in a frame that scrolls."""
    if not can_draw():
        return line(small(NEEDS_IGRAPH))
    from graphopt.view.drawing import draw

    svg = ET.fromstring(draw(thing).svg)
    for part in svg.iter():  # a document of its own no more
        part.tag = part.tag.rpartition("}")[2]
    return element("div", svg, style="overflow: auto; max-height: 560px")


#: By the name of the class, so that showing one kind of thing imports no other.
_KINDS: dict[str, Callable[[Any], str]] = {
    "Model": model_html,
    "Graph": graph_html,
    "Rule": rule_html,
    "Report": report_html,
    "NumberedStep": step_html,
    "Trace": trace_html,
    "Verification": verification_html,
    "Bisection": bisection_html,
    "Tuning": tuning_html,
    "RuleCheck": check_html,
    "Proof": proof_html,
}
