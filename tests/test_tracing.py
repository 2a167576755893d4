"""Walking through an optimisation: steps, phases, and the model after each step."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import graphopt
from graphopt.demo import demo_model
from graphopt.errors import ArgumentError
from graphopt.ir import Model
from graphopt.report import Summary
from graphopt.rewrite import op, rule
from graphopt.tracing import Trace


@pytest.fixture(scope="module")
def trace() -> Trace:
    return graphopt.trace(demo_model())


def test_steps_are_those_of_the_report_counted_from_one(trace: Trace) -> None:
    assert [s.number for s in trace] == list(range(1, len(trace) + 1))
    assert [s.step for s in trace] == trace.report.steps and all(s.of == len(trace) for s in trace)
    assert trace[1] == trace.report.step(1) and trace[-1].number == len(trace)
    assert [s.number for s in trace[2:4]] == [2, 3] and [s.number for s in trace[:2]] == [1]
    assert [s.number for s in trace[-2:]] == [len(trace) - 1, len(trace)]
    assert [s.number for s in trace[5:2:-1]] == [5, 4, 3]
    assert list(reversed(trace)) == list(trace)[::-1] and trace[54] in trace


def test_the_model_after_all_steps_is_there_already(trace: Trace) -> None:
    assert trace.after(len(trace)) is trace.model is trace[-1].model


@pytest.mark.parametrize("number", [0, 55, -1, None, 1.5])
def test_steps_that_do_not_exist(trace: Trace, number: Any) -> None:
    with pytest.raises(ArgumentError, match="does not exist"):
        trace.report.step(number)


def test_a_report_without_steps() -> None:
    report = graphopt.optimize(demo_model(), 0).report
    assert report is not None and not report.phases()
    with pytest.raises(ArgumentError, match="there are none"):
        report.step(1)


@pytest.mark.parametrize("level", [1, 2])
def test_phases_cover_all_steps_and_count_nodes(level: int) -> None:
    trace = graphopt.trace(demo_model(), level)
    phases = trace.phases()
    assert [p.first for p in phases] == [1, *(p.last + 1 for p in phases[:-1])] and phases[-1].last == len(trace)
    assert [p.nodes_before for p in phases] == [trace.report.nodes_before, *(p.nodes_after for p in phases[:-1])]
    assert phases[-1].nodes_after == trace.report.nodes_after
    changes = Summary.of(trace.model).operators
    changes.subtract(Summary.of(graphopt.load(demo_model())).operators)
    total: Counter[str] = Counter()
    for p in phases:
        total.update(p.operators)
    assert {k: n for k, n in total.items() if n} == {k: n for k, n in changes.items() if n}
    names = [p.name for p in phases]
    assert names == (["cleaning up", "exact"] if level == 1 else ["cleaning up", "raising", "simplifying"])
    assert all(s.phase == p.name for p in phases for s in trace[p.first : p.last + 1])


def test_the_model_after_a_step(trace: Trace) -> None:
    for number in (1, 17, 40, len(trace)):
        step = trace[number]
        assert step.model.node_count() == step.nodes
        assert step.model.report is not None and step.model.report.steps[-1].rule == step.name
    assert trace.after(0).node_count() == trace.report.nodes_before
    assert trace[40].model is trace[40].model  # the last one made is remembered
    with pytest.raises(ArgumentError, match="does not exist"):
        trace.after(len(trace) + 1)
    with pytest.raises(ArgumentError, match="keeps no models"):
        _ = trace.report.step(3).model


def test_the_ledger_keeps_what_nodes_read(trace: Trace) -> None:
    """What goes away was in the model before the step, with these inputs; what comes is in the model after it."""
    for number in (6, 20, 44):
        step, before = trace[number], nodes_of(trace.after(number - 1))
        for r in step.before:
            assert before[r.output] == (r.op, r.inputs)
        after = nodes_of(step.model)
        for r in step.after:
            assert after[r.output] == (r.op, r.inputs)


def nodes_of(model: Model) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {n.output.name: (n.op, tuple("" if v is None else v.name for v in n.inputs)) for n in model.graph}


def test_rules_of_ones_own_are_known_by_their_equations() -> None:
    @rule
    def own(x):
        """Mine."""
        yield x * op.Sigmoid(x)
        yield x * op.HardSigmoid(x)

    trace = graphopt.trace(demo_model(), rules=[own])
    step = next(s for s in trace if s.name == "own")
    assert step.rule is own and step.why == "Mine." and "HardSigmoid" in str(step)
    assert step.model.node_count() == step.nodes


@pytest.mark.parametrize("option", ["steps", "tune", "precision", "verify"])
def test_what_makes_no_sense_here(option: str) -> None:
    with pytest.raises(ArgumentError, match=f"'{option}' makes no sense"):
        graphopt.trace(demo_model(), **{option: 1})


def test_text(trace: Trace) -> None:
    assert str(trace).splitlines()[0] == "54 steps, 187 -> 97 nodes"
    assert "batch_norm_of_convolution" in trace._repr_html_() and "-13 BatchNormalization" in trace._repr_html_()
    step = trace[40]
    assert repr(step) == f"<step 40 of 54: {step.name} at '{step.step.location}'>"
