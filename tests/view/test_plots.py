"""Plots show the numbers of what they are given."""

from __future__ import annotations

import sys
from typing import Any

import matplotlib
import pytest
from matplotlib import pyplot

import graphopt
from graphopt.demo import demo_model
from graphopt.errors import ArgumentError, MissingDependencyError
from graphopt.tuning.choice import Choice
from graphopt.tuning.result import Tuning
from graphopt.verification import Row, Verification
from graphopt.view import plots
from tests.view.test_notebook import tuning

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def closed() -> Any:
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def trace() -> Any:
    return graphopt.trace(demo_model())


def test_operators(trace: Any) -> None:
    ax = plots.operators(trace.report, most=5)
    names = [t.get_text() for t in ax.get_yticklabels()]
    before, after = (dict(zip(names, [b.get_width() for b in bars], strict=True)) for bars in ax.containers)
    assert len(names) == 5 and before["Shape"] == 14 and after["Shape"] == 0
    assert all(before[n] == trace.report.before.operators[n] for n in names)


def test_nodes(trace: Any) -> None:
    ax = plots.nodes(trace)
    left = list(ax.lines[0].get_ydata())
    assert left == [187, *(s.nodes for s in trace)] and left[-1] == trace.model.node_count()
    assert [t.get_text().strip() for t in ax.texts] == [p.name for p in trace.phases()]
    assert plots.nodes(trace.report, ax, label="again") is ax


def test_tuning() -> None:
    ax = plots.tuning(tuning())
    assert [list(line.get_xdata()) for line in ax.lines[:2]] == [[0.85, 0.95], [0.9]]
    with pytest.raises(ArgumentError, match="nothing was measured"):
        plots.tuning(Tuning(Choice(2), Choice(2), None, None, 0.0, [], "onnxruntime", "", 1, {}, 0.0))


def test_verification() -> None:
    rows = (
        Row("reference", 0, {}, "y", "equal", 1e-6, 1e-6, 1e-4),
        Row("reference", 1, {}, "y", "different", 2e-3, 2e-3, 1e-4),
        Row("reference", 1, {}, "z", "failed"),
    )
    ax = plots.verification(Verification("different", rows))
    assert [t.get_text() for t in ax.get_yticklabels()] == ["y on reference"] and list(ax.lines[0].get_xdata()) == [
        2e-3
    ]
    with pytest.raises(ArgumentError, match="nothing to plot"):
        plots.verification(Verification("failed", rows[2:]))


def test_bars_and_a_missing_matplotlib(trace: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ax = plots.bars({"a": 2.0, "b": 1.0}, what="seconds")
    assert [b.get_width() for b in ax.patches] == [2.0, 1.0] and ax.get_xlabel() == "seconds"
    with pytest.raises(ArgumentError):
        plots.bars({})
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"graphopt\[view\]"):
        plots.nodes(trace)
