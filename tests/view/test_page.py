"""The page, without a browser."""

from __future__ import annotations

import base64
import builtins
import gzip
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import onnx
import pytest

import graphopt
from graphopt.demo import demo_model
from graphopt.errors import ArgumentError, MissingDependencyError
from graphopt.report import Report
from graphopt.rewrite import op, rule
from graphopt.view.page import page


@rule
def cosine_of_absolute(x):  # type: ignore[no-untyped-def]
    """The cosine is even."""
    yield op.Cos(op.Abs(x))
    yield op.Cos(x)


class Reader(HTMLParser):
    """Elements with their attributes, and what stands in them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.words: list[str] = []
        self.open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open = dict(attrs).get("id") or ""

    def handle_data(self, data: str) -> None:
        self.texts[self.open] = self.texts.get(self.open, "") + data
        self.words += [data.strip()]

    def unpacked(self, name: str) -> str:
        return gzip.decompress(base64.b64decode(self.texts[name])).decode()

    @property
    def data(self) -> Any:
        return json.loads(self.unpacked("data"))


def report_of(model: Any, **arguments: Any) -> Report:
    report = graphopt.optimize(model, **arguments).report
    assert report is not None
    return report


@pytest.fixture(scope="module")
def demo() -> tuple[Report, Reader]:
    report = report_of(demo_model())
    return report, Reader(report.to_html("demo"))


def test_it_needs_nothing_from_outside(demo: tuple[Report, Reader]) -> None:
    for tag, attributes in demo[1].elements:
        assert tag not in ("link", "img", "iframe", "object"), tag
        assert not {"src", "href", "srcset"} & attributes.keys(), (tag, attributes)
    (policy,) = [a["content"] for t, a in demo[1].elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None and policy.startswith("default-src 'none'") and "http" not in policy
    assert "elk" in demo[1].unpacked("worker")[-4000:]


def test_the_data_are_those_of_the_report(demo: tuple[Report, Reader]) -> None:
    report, reader = demo
    data = reader.data
    assert len(data["sides"]["before"]["nodes"]) == report.nodes_before
    assert len(data["sides"]["after"]["nodes"]) == report.nodes_after
    assert len(data["changes"]) == len(report.steps)
    assert [data["rules"][c[0]] for c in data["changes"]] == [s.rule for s in report.steps]
    assert f"{report.nodes_before} " in " ".join(reader.words) and str(report.nodes_after) in " ".join(reader.words)


def test_rules_are_shown_with_equation_source_and_line(demo: tuple[Report, Reader]) -> None:
    from graphopt.patterns import all_rules

    words = " ".join(demo[1].words)
    fired = [all_rules()[name] for name, *_ in demo[0].by_rule() if name in all_rules()]
    assert fired
    for r in fired:
        assert r.equation in words
        assert f"def {r.name}(" in words
    assert re.search(r"graphopt/patterns/\w+/\w+\.py:\d+", words)
    assert str(Path(graphopt.__file__).parent.parent) not in words  # no folder of this machine


def test_refusals_and_operators_are_listed(demo: tuple[Report, Reader]) -> None:
    report, reader = demo
    words = " ".join(reader.words)
    for name, why, _, at in report.refusals():
        assert name in words and " ".join(why.split()) in " ".join(words.split()) and at in words
    for name in report.before.operators:
        assert name in words


def test_a_rule_of_ones_own_has_its_equation() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> g (float[4] x) => (float[4] y) { a = Abs(x) y = Cos(a) }'
    )
    words = " ".join(Reader(report_of(model, rules=[cosine_of_absolute]).to_html()).words)
    assert cosine_of_absolute.equation in words and "The cosine is even." in words and "test_page.py:" in words


def test_names_cannot_break_out() -> None:
    bad = '</script><script>alert("x")</script><!--'
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> g (float[4] x) => (float[4] y) { a = Abs(x) b = Abs(a) y = Cos(b) }'
    )
    model.graph.name = bad
    for node in model.graph.node:
        node.name = node.name + bad
        node.input[:] = [v if v == "x" else v + bad for v in node.input]
        node.output[:] = [v if v == "y" else v + bad for v in node.output]
    text = report_of(model).to_html()
    assert bad not in text and "alert(&" in text.replace("&#34;", "&").replace("&quot;", "&")
    assert any(bad in n[1] for n in Reader(text).data["sides"]["before"]["nodes"])


def test_measured_times_and_files() -> None:
    words = " ".join(Reader(report_of(demo_model()).to_html(measured=(0.002, 0.001), file_bytes=(2048, 1024))).words)
    assert "measured time" in words and "2 ms" in words and "-50.0 %" in words and "2.0 KiB" in words


def test_two_models_alone() -> None:
    before = graphopt.load(demo_model())
    reader = Reader(page(before, graphopt.optimize(demo_model()), None))
    assert "two models compared" in " ".join(reader.words)
    data = reader.data
    assert not data["rules"] and data["changes"] and all(c[0] == -1 for c in data["changes"])


def test_what_was_optimised_is_read_again_though_it_was_changed() -> None:
    model = demo_model()
    report = report_of(model)
    assert report.origin is not None
    assert [n.op for n in report.origin.reread().graph] == [n.op for n in graphopt.load(demo_model()).graph]


def test_errors_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    report = report_of(demo_model())
    with pytest.raises(ArgumentError, match="not known"):
        Report(2, report.before, report.after, report.ledger, 0.0).to_html()
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "jinja2":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "jinja2", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match=re.escape("pip install 'graphopt[report]'")):
        report.to_html()
