"""What notebooks show of models, rules, reports, steps, verifications and tunings: HTML without styles or scripts of its own.

`html_of` is called by the `_repr_html_` of what is shown. Colours are the notebook's; those added here read on light
and dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from graphopt._words import size_text
from graphopt.view import can_draw
from graphopt.view.families import colour_of, family_of

if TYPE_CHECKING:
    from graphopt.bisection import Bisection
    from graphopt.ir import Graph, Model
    from graphopt.report import Report
    from graphopt.rewrite import Rule
    from graphopt.steps import NumberedStep
    from graphopt.testing.checking import RuleCheck
    from graphopt.testing.proof import Proof
    from graphopt.tracing import Trace
    from graphopt.tuning.result import Tuning
    from graphopt.verification import Verification

_GOOD, _BAD, _UNSURE = "#2c8a45", "#c8383a", "#b07d12"
_VERDICTS = {"equal": _GOOD, "different": _BAD, "failed": _BAD, "interface differs": _BAD}
_LONG = 400  # an equation that is folded away
_ROWS, _MOST_ROWS = 12, 500  # of a table: shown at once, and at all
_WITHOUT = "drawings need igraph: pip install 'graphopt[view]'"


def html_of(thing: Any) -> str:
    """What a notebook shows of a thing that has a `_repr_html_`."""
    return next(_KINDS[c.__name__] for c in type(thing).__mro__ if c.__name__ in _KINDS)(thing)


# ------------------------------------------------------------------------------------------------------ models and rules
def model_html(model: Model) -> str:
    """A model in numbers, its interface, and a drawing."""
    from graphopt.compare import type_text
    from graphopt.report import Summary

    summary = Summary.of(model)
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in sorted(model.opsets.items()))
    size = size_text(summary.constant_bytes)
    head = _line(_strong(f"model {model.graph.name}"), f": {summary.nodes:,} nodes, {size} of constants, {opsets}")
    graph = model.graph
    inputs = [graph.input_infos[v] for v in graph.inputs if v not in graph.initializers]
    interface = [
        _line(f"{what}: ", _code(", ".join(f"{i.name}: {type_text(i.type)}" for i in infos) or "none"))
        for what, infos in (("inputs", inputs), ("outputs", graph.output_infos))
    ]
    most = _line(", ".join(f"{n} {op}" for op, n in summary.operators.most_common(8)))
    return _html(head, *interface, most, _details("graph", _drawing(model), opened=True))


def graph_html(graph: Graph) -> str:
    """A graph, drawn."""
    nodes = sum(n.op != "Constant" for n in graph)
    return _html(_line(_strong(f"graph {graph.name}"), f": {nodes:,} nodes"), _drawing(graph))


def rule_html(rule: Rule) -> str:
    """A rule: what it says, its equation, both sides drawn, where it is written."""
    claim = "the same bits" if rule.exact else "the same up to rounding"
    return _html(
        _line(_strong(f"rule {rule.name}"), f", {claim}"),
        *([_line(" ".join(rule.doc.split()))] if rule.doc else []),
        _equation(rule),
        _drawing(rule),
        _line(_small(_place(rule.where))),
    )


# --------------------------------------------------------------------------------------------- reports, steps and traces
def report_html(report: Report) -> str:
    """What an optimisation did: operators before and after, rules that were applied, phases, refusals."""
    before, after = (size_text(s.constant_bytes) for s in (report.before, report.after))
    constants = before if before == after else f"{before} → {after}"
    nodes = f"{report.nodes_before:,} → {report.nodes_after:,} nodes"
    head = _line(_strong(f"level {report.level}: {nodes}"), f", {constants} of constants, {report.seconds:.2f} s")
    most = max((max(b, a) for _, b, a in report.operators()), default=1)
    operators = [[op, b, a, _bars(op, b, a, most)] for op, b, a in report.operators()]
    rules = [[name, n, saved] for name, n, saved, _ in report.by_rule()]
    phases = [[p.name, len(p), f"{p.nodes_before:,} → {p.nodes_after:,}"] for p in report.phases()]
    refusals = [list(row) for row in report.refusals()]
    more = [*(report.precision.lines() if report.precision else ())]
    return _html(
        head,
        _beside(
            _table(("operator", "before", "after", ""), operators), _table(("rule or pass", "applied", "nodes saved"), rules)
        ),
        _details("phases", _table(("phase", "steps", "nodes"), phases)) if phases else _line("nothing was done"),
        *([_details("what nearly applied, and why it did not", _table(("rule", "why not", "times", "first at"), refusals))]
          if refusals else []),
        *(_line(_coloured("note: ", _UNSURE), warning) for warning in report.warnings),
        *([_pre("\n".join(more))] if more else []),
        *(_tuning(report.tuning) if report.tuning is not None else []),
    )  # fmt: skip


def step_html(step: NumberedStep) -> str:
    """A step: which rule, why, the nodes before and after."""
    entry = step.step
    head = _line(_strong(f"step {step.number} of {step.of}: {entry.rule}"), f" at {entry.location}, {step.phase}")
    equation = [_equation(step.rule)] if step.rule is not None else []
    texts = [_line(text) for text in (step.why, entry.note) if text]
    foot = _line(_small(f"{step.nodes:,} nodes left" + (f"; {_place(entry.where)}" if entry.where else "")))
    return _html(head, *texts, *equation, _drawing(step), foot)


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
    return _html(
        _line(_strong(f"{len(trace)} steps, {nodes}")),
        _table(("phase", "steps", "nodes", "operators", "rules and passes"), rows),
        _details("all steps", _table(("step", "phase", "rule or pass", "at", "nodes left"), steps)),
    )


def _changes(operators: Any) -> str:
    rows = sorted(operators.items(), key=lambda row: (row[1], row[0]))
    shown = [f"{n:+d} {op}" for op, n in (rows if len(rows) <= 8 else [*rows[:5], *rows[-3:]])]
    return ", ".join(shown) + (" …" if len(rows) > 8 else "")


def _counted(rules: Any) -> str:
    rows = rules.most_common()
    return ", ".join(f"{n} {name}" for name, n in rows[:5]) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")


# ----------------------------------------------------------------------------------------------------------- judgements
def verification_html(result: Verification) -> str:
    """The verdict, and what it rests on."""
    rows = [
        [executor, output, _coloured(status, _VERDICTS.get(status, _UNSURE)), int(runs), *rest]
        for executor, output, status, runs, *rest in result.summary()
    ]
    remarks = [f"sizes: {result.sizes()}"] if result.sizes() else []
    return _html(
        _line(_strong(_coloured(f"verdict: {result.verdict}", _VERDICTS.get(result.verdict, _UNSURE)))),
        *map(_line, result.problems),
        *([_table(("executor", "output", "status", "runs", "difference", "tolerance", ""), rows)] if rows else []),
        *(_line(_small(remark)) for remark in (*remarks, *result.notes)),
    )


def bisection_html(found: Bisection) -> str:
    """The rewrite at fault, and the smallest model that shows it, before and after."""
    if found.step is None:
        return _html(_line(_strong(_coloured(str(found), _GOOD))))
    first, *rest = str(found).splitlines()
    parts = [_line(_strong(_coloured(first, _BAD))), *(_line(text.strip()) for text in rest)]
    for title, model in (("before", found.before), ("after", found.after)):
        if model is not None:
            parts.append(_details(title, _drawing(model), opened=found.cut))
    if found.verification is not None:
        parts.append(ET.fromstring(verification_html(found.verification)))
    return _html(*parts)


def check_html(check: RuleCheck) -> str:
    """What a rule's own property test did."""
    rows = [["refused", reason, n] for reason, n in check.refused.most_common()]
    rows += [["invalid", reason, n] for reason, n in check.invalid.most_common()]
    rows += [["left out", f"{executor}: {reason}", n] for (executor, reason), n in check.left_out.most_common()]
    passed = _strong(_coloured("✓ ", _GOOD), f"rule {check.rule}")
    return _html(
        _line(passed, f": {str(check).partition(': ')[2]}"),
        *([_details("models on which it did not fire", _table(("", "why", "models"), rows))] if rows else []),
    )


def proof_html(proof: Proof) -> str:
    """How far a rule is proved."""
    colour = _GOOD if proof.proved else _BAD if proof.rung == "refuted" else _UNSURE
    parts = [_line(_strong(f"rule {proof.rule}: ", _coloured(proof.rung, colour))), _line(proof.claim)]
    return _html(*parts, *([_pre(proof.counterexample)] if proof.counterexample else []))


def tuning_html(tuning: Tuning) -> str:
    """What tuning chose, and how sure that is."""
    return _html(*_tuning(tuning))


def _tuning(tuning: Tuning) -> list[ET.Element]:
    first, *rest = tuning.lines()
    candidates = [[str(m.choice), f"{m.ratio.median:.3f}", _interval(m.ratio)] for m in tuning.candidates]
    head = ("candidate", "time", "over the analytic choice's, with its interval; the mark is 1")
    return [
        _line(_strong(first)),
        *(_line(text.strip()) for text in rest),
        *([_table(head, candidates)] if candidates else []),
    ]


def _interval(ratio: Any, low: float = 0.4, high: float = 1.6) -> ET.Element:
    """A ratio's interval as a bar on a scale."""

    def at(x: float) -> float:
        return 200 * (min(max(x, low), high) - low) / (high - low)

    colour = _GOOD if ratio.faster else _BAD if ratio.slower else _UNSURE
    svg = ET.Element("svg", {"width": "200", "height": "14", "role": "img"})
    ET.SubElement(svg, "title").text = str(ratio)
    mark = {"x": f"{at(1):.1f}", "y": "0", "width": "1", "height": "14", "fill": "#868b93"}
    ET.SubElement(svg, "rect", mark)
    left, right = at(ratio.low), at(ratio.high)
    bar = {"x": f"{left:.1f}", "y": "5", "width": f"{max(right - left, 1):.1f}", "height": "4", "fill": colour}
    ET.SubElement(svg, "rect", bar)
    ET.SubElement(svg, "circle", {"cx": f"{at(ratio.median):.1f}", "cy": "7", "r": "4", "fill": colour})
    return svg


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


# ------------------------------------------------------------------------------------------------------------- elements
Content = Any  # text, or an element


def _element(tag: str, *content: Content, **attributes: str) -> ET.Element:
    element = ET.Element(tag, {k.rstrip("_"): v for k, v in attributes.items()})
    last: ET.Element | None = None
    for part in content:
        if isinstance(part, ET.Element):
            element.append(part)
            last = part
        elif last is None:
            element.text = (element.text or "") + _plain(part)
        else:
            last.tail = (last.tail or "") + _plain(part)
    return element


def _plain(text: Any) -> str:
    """Without what XML cannot hold; names in models may be any bytes."""
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in str(text))


def _html(*parts: ET.Element) -> str:
    return ET.tostring(_element("div", *parts), encoding="unicode", short_empty_elements=False)


def _equation(rule: Rule) -> ET.Element:
    """The equation, one that has many alternatives folded away."""
    text = rule.equation
    return _line(_code(text)) if len(text) <= _LONG else _details("equation", _code(text))


def _place(where: str) -> str:
    """file:line, without the folders that tell nothing."""
    return "/".join(where.replace("\\", "/").split("/")[-3:])


def _line(*content: Content) -> ET.Element:
    return _element("div", *content)


def _strong(*content: Content) -> ET.Element:
    return _element("b", *content)


def _small(text: str) -> ET.Element:
    return _element("small", text)


def _code(text: str) -> ET.Element:
    return _element("code", text)


def _pre(text: str) -> ET.Element:
    return _element("pre", text)


def _coloured(text: str, colour: str) -> ET.Element:
    return _element("span", text, style=f"color: {colour}")


def _details(title: str, *content: ET.Element, opened: bool = False) -> ET.Element:
    element = _element("details", _element("summary", title), *content)
    if opened:
        element.set("open", "open")
    return element


def _beside(*content: ET.Element) -> ET.Element:
    return _element("div", *content, style="display: flex; flex-wrap: wrap; gap: 2em; align-items: flex-start")


def _table(head: Sequence[str], rows: Sequence[Sequence[Content]]) -> ET.Element:
    """A table; rows beyond the first dozen are folded away."""
    shown = _rows_table(head, rows[:_ROWS])
    if len(rows) <= _ROWS:
        return shown
    rest = _rows_table(head, rows[_ROWS:_MOST_ROWS])
    cut = [_line(f"and {len(rows) - _MOST_ROWS} that are not shown")] if len(rows) > _MOST_ROWS else []
    return _element("div", shown, _details(f"{len(rows) - _ROWS} more", rest, *cut))


def _rows_table(head: Sequence[str], rows: Iterable[Sequence[Content]]) -> ET.Element:
    def cell(content: Content) -> ET.Element:
        number = isinstance(content, (int, float)) and not (isinstance(content, float) and math.isnan(content))
        side = "right" if number else "left"
        return _element("td", f"{content:,}" if number else content, style=f"text-align: {side}")

    top = _element("thead", _element("tr", *(_element("th", name, style="text-align: left") for name in head)))
    return _element("table", top, _element("tbody", *(_element("tr", *map(cell, row)) for row in rows)))


def _bars(op: str, before: int, after: int, most: int) -> ET.Element:
    """Two bars, one above the other: before and after."""
    svg = ET.Element("svg", {"width": "120", "height": "14", "role": "img"})
    ET.SubElement(svg, "title").text = f"{before} before, {after} after"
    fills = (("#868b9388", before, "1"), (colour_of(family_of(op)), after, "8"))
    for fill, n, y in fills:
        ET.SubElement(svg, "rect", {"y": y, "width": f"{120 * n / most:.1f}", "height": "5", "fill": fill})
    return svg


def _drawing(thing: Any) -> ET.Element:
    """A drawing in a frame that scrolls."""
    if not can_draw():
        return _line(_small(_WITHOUT))
    from graphopt.view.drawing import draw

    svg = ET.fromstring(draw(thing).svg)
    for element in svg.iter():  # a document of its own no more
        element.tag = element.tag.rpartition("}")[2]
    return _element("div", svg, style="overflow: auto; max-height: 560px")
