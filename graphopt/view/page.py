"""A report as one HTML file: both models side by side, what was done, and what was not. It needs no network to be read."""

from __future__ import annotations

import base64
import gzip
import inspect
import json
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module, resources
from typing import TYPE_CHECKING, Any

from graphopt._words import size_text
from graphopt.cost import ONNXRUNTIME_CPU, Machine, ModelCost, cost_of_model
from graphopt.errors import MissingDependencyError
from graphopt.ir import Model
from graphopt.passes import PASSES
from graphopt.patterns import proofs
from graphopt.report import Summary
from graphopt.rewrite import Rule
from graphopt.shapes import inferred
from graphopt.view.blocks import fold
from graphopt.view.data import ModelData, model_data
from graphopt.view.lineage import Lineage, from_models, from_steps
from graphopt.view.rules import place_of

if TYPE_CHECKING:
    from graphopt.report import Report

_SCRIPTS = ("model.js", "layout.js", "pane.js", "panels.js", "main.js")


@dataclass(frozen=True, slots=True)
class Figure:
    """A number before and after, as texts. `less`: by which part it fell, None where that says nothing."""

    name: str
    before: str
    after: str
    less: float | None
    note: str = ""


def page(
    before: Model,
    after: Model,
    report: Report | None = None,
    *,
    title: str = "",
    machine: Machine = ONNXRUNTIME_CPU,
    file_bytes: tuple[int, int] | None = None,
    measured: tuple[float, float] | None = None,
    measured_on: str = "",
) -> str:
    """The page.

    Args:
        before, after: the models; their weights are not read.
        report: of the optimisation that led from one to the other; None: the two are compared.
        title: what is optimised; '': the name of the graph.
        machine: what costs are estimated for.
        file_bytes: of both models' files.
        measured: seconds of a run of each; None: those that tuning measured, if it did.
        measured_on: where they were measured.

    Raises:
        MissingDependencyError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as e:
        raise MissingDependencyError("a report as HTML needs jinja2: pip install 'graphopt[report]'") from e

    with inferred(before), inferred(after):
        sides = {"before": model_data(before, machine), "after": model_data(after, machine)}
        costs = [cost_of_model(m, machine) for m in (before, after)]
    counts = [Summary.of(m) for m in (before, after)]
    lineage = (
        from_models(sides["before"], sides["after"])
        if report is None
        else from_steps(sides["before"], sides["after"], report.steps)
    )
    if measured is None and report is not None:
        measured, measured_on = _tuned(report)
    rules = [] if report is None else _rules(report)
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(_asset),
    )  # fmt: skip
    return environment.get_template("report.html.j2").render(
        title=title or before.graph.name or "model",
        version=_version(),
        level=None if report is None else report.level,
        seconds=None if report is None else report.seconds,
        figures=_figures(counts, costs, file_bytes, measured, measured_on),
        operators=_operators(*(c.operators for c in counts)),
        rules=rules,
        refusals=None if report is None else _refusals(report),
        warnings=[] if report is None else _warnings(report),
        data=_packed(_data(sides, lineage, rules, before.graph.name)),
        worker=_packed_text(_asset("elk-worker.min.js")),
        scripts=_SCRIPTS,
    )


def _version() -> str:
    """The package's own. It is asked for by name: an import would close a circle through what the package exports."""
    return str(import_module("graphopt").__version__)


def _asset(name: str) -> str:
    return resources.files("graphopt.view").joinpath("assets", name).read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------------------------------- the graphs
def _data(
    sides: Mapping[str, ModelData], lineage: Lineage, rules: Sequence[Mapping[str, Any]], main: str
) -> dict[str, Any]:
    """What the page draws; lists instead of mappings where there are thousands. `main`: the name of the main graph."""
    numbers = {r["name"]: i for i, r in enumerate(rules)}
    changes = [
        [
            numbers.get(c.rule, -1),
            c.note,
            c.graph if c.graph != main else "",
            c.removed,
            c.added,
            c.before,
            c.after,
        ]
        for c in lineage.changes
    ]
    return {
        "sides": {name: _side(data) for name, data in sides.items()},
        "kept": sorted(lineage.kept.items()),
        "changes": changes,
        "rules": [r["name"] for r in rules],
    }


def _side(data: ModelData) -> dict[str, Any]:
    nodes = [
        [n.op, n.name, dict(n.attributes), n.inputs, n.outputs, "/".join(n.scope), n.flops, n.seconds, dict(n.metadata)]
        for n in data.nodes
    ]
    return {
        "nodes": nodes,
        "values": [[v.name, v.type, v.constant, v.node] for v in data.values],
        "graphs": [[g.title, g.owner, g.inputs, g.outputs] for g in data.graphs],
        "trees": [[c if isinstance(c, int) else c.to_data() for c in children] for children in fold(data)],
    }


def _packed(data: Any) -> str:
    return _packed_text(json.dumps(data, separators=(",", ":")))


def _packed_text(text: str) -> str:
    """Compressed, in letters that mean nothing in HTML: what names in a model hold can end no script."""
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


# ----------------------------------------------------------------------------------------------------------- the tables
def _figures(
    counts: Sequence[Summary],
    costs: Sequence[ModelCost],
    file_bytes: tuple[int, int] | None,
    measured: tuple[float, float] | None,
    measured_on: str,
) -> list[Figure]:
    sizes = ", ".join(f"{name} = {n}" for name, n in costs[0].sizes.items() if not name.startswith("?"))
    rows = [
        _figure("nodes", [c.nodes for c in counts], lambda n: f"{n:,.0f}"),
        _figure("constants", [c.constant_bytes for c in counts], size_text),
        _figure(
            "flops", [sum(o.flops for o in c.operators) for c in costs], _flops_text, "of products and convolutions"
        ),
        _figure("estimated time", [c.seconds for c in costs], _time_text, f"one thread{f', {sizes}' if sizes else ''}"),
    ]
    if file_bytes is not None:
        rows.insert(2, _figure("files", file_bytes, size_text))
    if measured is not None:
        rows.append(_figure("measured time", measured, _time_text, measured_on))
    return rows


def _figure(name: str, pair: Sequence[float], text: Callable[[float], str], note: str = "") -> Figure:
    b, a = pair
    return Figure(name, text(b), text(a), 1 - a / b if b and abs(1 - a / b) >= 0.0005 else None, note)


def _time_text(seconds: float) -> str:
    """'12.3 ms', with three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def _flops_text(n: float) -> str:
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n:.3g}"


def _operators(before: Counter[str], after: Counter[str]) -> list[tuple[str, int, int]]:
    """(operator, nodes before, nodes after), most frequent first."""
    rows = [(op, before[op], after[op]) for op in {*before, *after}]
    return sorted(rows, key=lambda r: (-max(r[1:]), r[0]))


def _rules(report: Report) -> list[dict[str, Any]]:
    """Every rule or pass that did something, most nodes saved first."""
    proved = proofs()
    rows = []
    for name, applications, saved, microseconds in report.by_rule():
        row = {"name": name, "times": applications, "saved": saved, "time": _time_text(microseconds * 1e-6)}
        row |= {"equation": "", "where": "", "doc": PASSES.get(name, ""), "source": "", "claim": "pass", "proof": ""}
        rule = report.rule(name)
        if rule is not None:
            rung = proved.get(name, {"rung": "tested", "note": ""})
            row |= {
                "equation": rule.equation,
                "where": place_of(rule),
                "doc": " ".join(rule.doc.split()),
                "source": _source(rule),
                "claim": "exact" if rule.exact else "up to rounding",
                "proof": "" if rung["rung"] == "tested" else f"proved on small models: {rung['rung']}",
            }
        rows.append(row)
    return rows


def _source(rule: Rule) -> str:
    try:
        return textwrap.dedent(inspect.getsource(rule.fn)).rstrip()
    except (OSError, TypeError):  # typed at a prompt
        return ""


def _refusals(report: Report) -> list[dict[str, Any]]:
    rows = []
    for name, why, n, at in report.refusals():
        rule = report.rule(name)
        rows.append(
            {"rule": name, "why": why, "times": n, "at": at, "equation": rule.equation if rule is not None else ""}
        )
    return rows


def _warnings(report: Report) -> list[str]:
    lines = list(report.warnings)
    for part in (report.precision, report.tuning):
        lines += [] if part is None else [line.strip() for line in part.lines()]
    return lines


def _tuned(report: Report) -> tuple[tuple[float, float] | None, str]:
    """What tuning measured of the model before and after."""
    t = report.tuning
    if t is None or t.to_input is None or not t.seconds_per_run:
        return None, ""
    return (t.seconds_per_run / t.to_input.median, t.seconds_per_run), f"{t.runtime}, {t.threads} thread(s)"
