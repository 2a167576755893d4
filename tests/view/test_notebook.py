"""What notebooks show: HTML that is well-formed, says what is true, and text where nothing can be drawn."""

from __future__ import annotations

import subprocess
import sys
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from onnx import parser

import graphopt
from graphopt.demo import demo_model
from graphopt.ir import Model
from graphopt.patterns import all_rules
from graphopt.rewrite import op, rule
from graphopt.testing.checking import RuleCheck
from graphopt.testing.proof import Proof
from graphopt.tuning.choice import Choice
from graphopt.tuning.ratio import Ratio
from graphopt.tuning.result import Measured, Tuning
from graphopt.verification import Verification
from graphopt.view.colours import BAD, GOOD, UNSURE
from graphopt.view.data import model_data


@pytest.fixture(scope="module")
def fast() -> Any:
    return graphopt.optimize(demo_model())


def text_of(thing: Any) -> str:
    """The text of what a notebook shows, drawings and styles left out; its HTML has to be well-formed."""
    root = ET.fromstring(thing._repr_html_())
    assert not [e.tag for e in root.iter() if e.tag in ("script", "style")]
    for parent in root.iter():
        for child in [c for c in parent if c.tag == "svg"]:
            parent.remove(child)
    return " ".join(" ".join(root.itertext()).split())


def rows_of(thing: Any) -> list[list[str]]:
    return [["".join(td.itertext()) for td in tr.iter("td")] for tr in ET.fromstring(thing._repr_html_()).iter("tr")]


def drawn_titles(element: ET.Element) -> list[str | None]:
    return [text.text for svg in element.iter("svg") for text in svg.iter("text")]


def test_a_model(fast: Any) -> None:
    shown = text_of(graphopt.load(demo_model()))
    assert "187 nodes" in shown and "ai.onnx 17" in shown and "18 Mul" in shown
    assert "image: float32[batch, 3, 64, 64]" in shown and "boxes: float32[batch, 320, 4]" in shown
    assert ET.fromstring(fast._repr_svg_()) is not None and fast.graph._repr_svg_() is not None
    assert "97 nodes" in text_of(fast.graph) and repr(fast.graph) == "<graphopt.Graph 'detector': 97 nodes>"


def test_showing_a_model_does_not_change_it() -> None:
    def known(model: Model) -> list[Any]:
        values = [v for n in model.nodes() for v in n.outputs if v is not None]
        return [(v.name, v.dtype, v.shape, v.type) for v in values]

    model = graphopt.load(demo_model())
    before = known(model)
    assert "batch×16×32×32" in model._repr_html_() and model._repr_svg_() is not None
    assert model_data(model).values[-1].type
    assert model.facts is None and known(model) == before
    assert graphopt.optimize(model).node_count() == 97


def test_a_report_has_every_operator_and_rule_of_its_tables(fast: Any) -> None:
    rows = rows_of(fast.report)
    for operator, before, after in fast.report.operators():
        assert [operator, str(before), str(after), f"{before} before, {after} after"] in rows
    for name, n, saved, _ in fast.report.by_rule():
        assert [name, str(n), str(saved)] in rows
    for phase in fast.report.phases():
        assert [phase.name, str(len(phase)), f"{phase.nodes_before} → {phase.nodes_after}"] in rows
    assert "187 → 97 nodes" in text_of(fast.report)


def test_a_step(fast: Any) -> None:
    step = fast.report.step(40)
    shown = text_of(step)
    assert "step 40 of 54" in shown and step.name in shown and str(step.nodes) in shown and step.step.location in shown
    assert step._repr_svg_() is not None


def test_a_rule() -> None:
    r = all_rules()["gelu"]
    shown = text_of(r)
    assert "rule gelu , the same up to rounding" in shown and "Gelu(x)" in shown and "raising/activation.py" in shown
    assert r._repr_svg_() is not None


def test_a_verification(fast: Any) -> None:
    result = graphopt.verify(demo_model(), fast, on="reference")
    shown = text_of(result)
    assert "verdict: equal" in shown and "boxes" in shown and "batch=2" in shown
    assert "interface differs" in text_of(Verification("interface differs", problems=("inputs: lost 'x'",)))
    for verdict, colour in (("equal", GOOD), ("different", BAD), ("failed", BAD), ("inconclusive", UNSURE)):
        (span,) = ET.fromstring(Verification(verdict)._repr_html_()).iter("span")
        assert span.text == f"verdict: {verdict}" and span.get("style") == f"color: {colour}"


def test_a_bisection() -> None:
    @rule
    def wrong(x):
        yield op.Relu(x)
        yield op.Abs(x)

    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[n, 4] x) => (float[n, 4] y) { a = Exp (x)  b = Sub (a, x)  c = Relu (x)  y = Add (b, c) }
    """)
    found = graphopt.bisect(model, rules=[wrong], on="reference")
    assert "changes the outputs: wrong" in text_of(found)
    drawn = {d.find("summary").text: drawn_titles(d) for d in ET.fromstring(found._repr_html_()).iter("details")}
    assert "Relu" in drawn["before"] and "Abs" in drawn["after"] and "Relu" not in drawn["after"]
    assert "no rewrite of" in text_of(graphopt.bisect(model, on="reference"))


def tuning() -> Tuning:
    choice = Choice(2)
    rows = [Measured(choice, Ratio(0.9, 0.85, 0.95, 0.96, 20)), Measured(choice, Ratio(1.2, 1.1, 3.0, 0.96, 20))]
    return Tuning(choice, choice, None, None, 0.001, rows, "onnxruntime", "a processor", 1, {"x": [1, 3]}, 2.0)


def test_judgements_and_tunings() -> None:
    assert "tuned on onnxruntime" in text_of(tuning()) and "0.900" in text_of(tuning())
    intervals = [r for r in ET.fromstring(tuning()._repr_html_()).iter("rect") if r.get("height") == "4"]
    assert [(r.get("x"), r.get("width"), r.get("fill")) for r in intervals] == [
        ("75.0", "16.7", GOOD), ("116.7", "83.3", BAD)
    ]  # fmt: skip
    check = RuleCheck("r", drawn=10, fired=8, variants={0})
    check.refused["too large"] = 2
    assert "fired on 8 of 10 models" in text_of(check) and "too large" in text_of(check)
    assert "refuted" in text_of(Proof("r", "refuted", counterexample="x = <1>")) and "x = <1>" in text_of(
        Proof("r", "refuted", counterexample="x = <1>")
    )


def test_long_tables_are_folded_and_cut() -> None:
    check = RuleCheck("r")
    check.refused.update(f"reason {i}" for i in range(700))
    assert (
        "688 more" in text_of(check) and "and 200 that are not shown" in text_of(check) and len(rows_of(check)) == 502
    )


def test_plain_text_is_what_print_prints(fast: Any) -> None:
    class Printer:
        shown = ""

        def text(self, s: str) -> None:
            self.shown += s

    for thing in (fast.report, fast.report.step(1), tuning(), Verification("equal"), graphopt.trace(demo_model(), 1)):
        printer = Printer()
        thing._repr_pretty_(printer, False)
        assert printer.shown == str(thing)
    assert repr(fast.report) == "<graphopt.Report: level 2, 187 -> 97 nodes, 54 steps>"


def test_nothing_is_imported_before_something_is_shown() -> None:
    program = (
        "import sys, graphopt; from graphopt.demo import demo_model; m = graphopt.optimize(demo_model());"
        "str(m.report), repr(m), repr(m.report);"
        "print(*(n for n in ('graphopt.view', 'igraph', 'matplotlib', 'graphopt.tracing') if n in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
