"""Random models are valid, run, and hold what they promise: all operators, what rules look for, bodies, dynamic dims."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings

import graphopt
from graphopt.exec.executors import create
from graphopt.patterns import all_rules
from graphopt.testing.fuzzing.campaign import drawn
from graphopt.testing.fuzzing.corpus import nodes_of
from graphopt.testing.fuzzing.reducing import reduced
from graphopt.testing.random_models.graphs import Example, _operators, models

_SEEDS = 250


@settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(models())
def test_models_are_valid_and_run(example: Example) -> None:
    onnx.checker.check_model(example.model, full_check=True)
    assert {i.name for i in example.model.graph.input} == set(example.feeds)
    results = create("reference", example.model.SerializeToString()).run(example.feeds)
    assert list(results) == [o.name for o in example.model.graph.output]
    if example.finite:
        floats = [a for a in results.values() if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
        assert all(np.isfinite(a).all() for a in floats)


@pytest.fixture(scope="module")
def many() -> list[Example]:
    found = [e for e in map(drawn, range(_SEEDS)) if e is not None]
    assert len(found) > 0.98 * _SEEDS
    return found


def test_a_seed_gives_the_same_model_each_time() -> None:
    for seed in (1, 2, 77):
        first, again = drawn(seed), drawn(seed)
        assert first is not None and again is not None
        assert first.model.SerializeToString(deterministic=True) == again.model.SerializeToString(deterministic=True)
        assert all(np.array_equal(first.feeds[n], again.feeds[n]) for n in first.feeds)
    assert drawn(1).model != drawn(2).model


def test_nearly_all_operators_are_drawn(many: list[Example]) -> None:
    table = {op for v in range(7, 24) for op in _operators(v)}
    seen = {n.op_type for e in many for n in nodes_of(e.model.graph) if not n.domain}
    assert len(seen & table) > 0.5 * len(table), sorted(table - seen)


def test_most_models_are_finite_and_of_moderate_size(many: list[Example]) -> None:
    assert sum(e.finite for e in many) > 0.9 * len(many)
    sizes = [sum(1 for _ in nodes_of(e.model.graph)) for e in many]
    assert 5 < np.mean(sizes) < 30


def test_what_a_model_may_have(many: list[Example]) -> None:
    has: Counter[str] = Counter()
    for e in many:
        g = e.model.graph
        constants = {t.name for t in g.initializer}
        read = {name for n in nodes_of(g) for name in n.input}
        has.update(n.op_type for n in g.node if n.op_type in ("If", "Loop", "Scan"))
        has["several outputs"] += len(g.output) > 1
        has["defaults"] += any(i.name in constants for i in g.input)
        has["unused inputs"] += any(i.name not in read for i in g.input)
        has["dynamic dims"] += any(d.dim_param for i in g.input for d in i.type.tensor_type.shape.dim)
        has[f"opset {e.model.opset_import[0].version}"] += 1
    assert all(
        has[what] >= 10
        for what in ("If", "Loop", "Scan", "several outputs", "defaults", "unused inputs", "dynamic dims")
    )
    assert sum(k.startswith("opset") for k in has) > 10


def test_rules_fire_on_what_is_drawn(many: list[Example]) -> None:
    fired: set[str] = set()
    for e in many:
        report = graphopt.optimize(e.model).report
        assert report is not None
        fired.update(s.rule for s in report.ledger.steps)
    assert len(fired & set(all_rules())) > 0.2 * len(all_rules())


def test_a_model_is_cut_down_to_what_is_wrong() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[N] x, float[2] unused) => (float[N] y, float[N] z)
        { a = Abs (x) b = Neg (a) c = Sqrt (a) y = Relu (b) z = Add (c, b) }"""
    )
    example = Example(model, {"x": np.float32([1, -2]), "unused": np.zeros(2, np.float32)}, True)
    small = reduced(example, lambda e: any(n.op_type == "Sqrt" for n in e.model.graph.node))
    assert [n.op_type for n in small.model.graph.node] == ["Sqrt", "Add"]
    assert set(small.feeds) == {"a", "b"} and np.array_equal(small.feeds["b"], [-1, -2])
    onnx.checker.check_model(small.model, full_check=True)
