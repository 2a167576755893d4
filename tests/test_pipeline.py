"""`graphopt.optimize`: arguments, levels, and what holds of every result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

import graphopt
from graphopt import load, optimize
from graphopt.errors import ArgumentError, GraphoptError, ModelError
from graphopt.ir import Model
from graphopt.passes import PASSES
from graphopt.patterns import PHASES, all_rules, rules_of
from graphopt.rewrite import Const, domain, op, rule
from tests.ir import invariants
from tests.ir.building import everything, ops, parse, run, same_bits, with_constants
from tests.property_graphs import models

ROOT = Path(__file__).resolve().parent.parent


def sample() -> ModelProto:
    """Something for every pass, and for a rule."""
    return with_constants(
        """g (float[batch, 3] x) => (float[batch, 3] y, int64[2] s) {
            a = Add(x, k) b = Add(x, k2) c = Mul(a, b) unused = Relu(c)
            f = Neg(k) d = Add(c, f)
            i = Identity(d) t = Transpose(i) u = Transpose(t) s = Shape(u)
            z = If (yes) <then_branch = tt () => (float[batch, 3] p) { p = Relu(u) }, else_branch = ee () => (float[batch, 3] q) { q = Abs(u) }>
            y = Identity(z)
        }""",
        k=np.float32([1, 2, 3]),
        k2=np.float32([1, 2, 3]),
        yes=np.array(True),
    )


def text(model: ModelProto | Model) -> bytes:
    return (model.proto if isinstance(model, Model) else model).SerializeToString(deterministic=True)


# ------------------------------------------------------------------------ arguments
@pytest.mark.parametrize("level", [-1, 4, 17, "1", True, False, 1.5, [1], {}])
def test_levels_that_do_not_exist(level: Any) -> None:
    with pytest.raises(ArgumentError, match="level") as e:
        optimize(sample(), level=level)
    assert "1 (exact" in str(e.value)
    assert isinstance(e.value, ValueError)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("argument", ["only", "without"])
def test_names_that_do_not_exist(argument: str) -> None:
    with pytest.raises(
        ArgumentError, match=rf"{argument}: .*'transpose_transpos'.*did you mean transpose_transpose"
    ) as e:
        optimize(sample(), **{argument: "transpose_transpos"})
    assert "\n" not in str(e.value)
    with pytest.raises(ArgumentError, match="graphopt rules"):
        optimize(sample(), **{argument: ["qqqqqq"]})
    with pytest.raises(ArgumentError, match="dead_code"):
        optimize(sample(), **{argument: ["dead_cod"]})
    with pytest.raises(ArgumentError):
        optimize(sample(), **{argument: [3]})
    with pytest.raises(ArgumentError):
        optimize(sample(), **{argument: ""})


def test_names_of_all_kinds() -> None:
    assert {r.family for r in all_rules().values()} >= {"transpose"}
    for names in (
        "dead_code",
        "dead_code,constant_if",
        "dead_code, transpose",
        ["transpose_transpose"],
        {"transpose"},
        (),
        [],
        frozenset(PASSES),
    ):
        optimize(sample(), only=names)
        optimize(sample(), without=names)


@pytest.mark.parametrize("allowance", [-1, 1.5, "1", None])
def test_budgets_that_make_no_sense(allowance: Any) -> None:
    with pytest.raises(ArgumentError, match="fold_allowance"):
        optimize(sample(), fold_allowance=allowance)


@pytest.mark.parametrize("shapes", [{"q": 1}, {"x": (1,)}, {"x": (1, 4)}, {"batch": -1}, {"x": "1,3"}])
def test_input_shapes_that_make_no_sense(shapes: Any) -> None:
    with pytest.raises(ArgumentError, match="input_shapes"):
        optimize(sample(), input_shapes=shapes)


def test_models_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match=r"bad\.onnx"):
        optimize(tmp_path / "bad.onnx")
    with pytest.raises(ModelError, match=r"absent\.onnx"):
        optimize(tmp_path / "absent.onnx")
    with pytest.raises(ArgumentError):
        optimize(None)
    assert issubclass(ArgumentError, GraphoptError)


# ------------------------------------------------------------------------ selection
def rules_used(m: Model) -> set[str]:
    assert m.report is not None
    return {s.rule for s in m.report.steps}


def test_only() -> None:
    assert rules_used(optimize(sample(), only="dead_code")) == {"dead_code"}
    assert rules_used(optimize(sample(), only=["constant_if"])) == {"constant_if"}
    assert rules_used(optimize(sample(), only="transpose_transpose")) == {"transpose_transpose"}
    assert rules_used(optimize(sample(), only="transpose")) <= {
        r.name for r in all_rules().values() if r.family == "transpose"
    }
    assert rules_used(optimize(sample(), only=())) == set()
    assert "Relu" in ops(optimize(sample(), only="constant_if"))


def test_without() -> None:
    everything_used = rules_used(optimize(sample()))
    assert {
        "dead_code",
        "constant_if",
        "constant_folding",
        "duplicate_initializers",
        "common_subexpressions",
    } <= everything_used
    for name in everything_used:
        assert name not in rules_used(optimize(sample(), without=name))
    names = {r.name for r in all_rules().values() if r.family == "transpose"}
    assert not names & rules_used(optimize(sample(), without="transpose"))
    assert rules_used(optimize(sample(), without=everything_used, only=everything_used)) == set()


def test_every_rule_has_a_name_of_its_own() -> None:
    names = [r.name for phase in PHASES for r in rules_of(phase)]
    assert len(names) == len(set(names))
    assert not set(names) & set(PASSES)
    assert not {r.family for r in all_rules().values()} & set(PASSES)
    assert all(r.builtin and r.doc for r in all_rules().values())


# --------------------------------------------------------------------------- levels
def test_level_0_changes_nothing(tmp_path: Path) -> None:
    for model in (everything(), sample()):
        m = optimize(model, level=0)
        assert text(m) == text(model)
        assert m.report is not None and m.report.steps == []
        m.save(tmp_path / "m.onnx")
        assert text(onnx.load(tmp_path / "m.onnx")) == text(model)


def test_level_0_may_pin_inputs() -> None:
    m = optimize(sample(), level=0, input_shapes={"batch": 2})
    assert m.proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2
    assert m.proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value == 2


@pytest.mark.parametrize("level", [1, 2])
def test_levels(level: int) -> None:
    model = sample()
    m = optimize(model, level=level)
    invariants.check(m)
    onnx.checker.check_model(m.proto, full_check=True)
    assert len(ops(m)) < len(ops(model)) / 2
    for n in (1, 4):
        x = np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32)
        got, want = run(m, x=x), run(model, x=x)
        if level == 1:
            assert same_bits(got, want)
        else:
            np.testing.assert_allclose(got[0], want[0], rtol=1e-5)
            assert same_bits(got[1], want[1])


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_interface_stays(level: int) -> None:
    for model in (sample(), everything()):
        m = optimize(model, level=level)
        assert list(m.proto.graph.input) == list(model.graph.input)
        assert list(m.proto.graph.output) == list(model.graph.output)
        assert m.proto.metadata_props == model.metadata_props
        assert m.proto.graph.name == model.graph.name
        assert {o.domain: o.version for o in model.opset_import}.items() <= {
            o.domain: o.version for o in m.proto.opset_import
        }.items()


@pytest.mark.parametrize("level", [0, 1, 2])
def test_what_is_passed_in_is_never_changed(level: int, tmp_path: Path) -> None:
    model = sample()
    before = model.SerializeToString(deterministic=True)
    options: list[dict[str, Any]] = [
        {},
        {"freeze_inputs": True},
        {"input_shapes": {"batch": 3}},
        {"input_shapes": {"x": (2, 3)}},
    ]
    for option in options:
        optimize(model, level=level, **option)
        assert model.SerializeToString(deterministic=True) == before
    loaded = load(model)
    optimize(loaded, level=level, input_shapes={"batch": 3})
    assert text(loaded) == before
    assert loaded.report is None
    invariants.check(loaded)
    (tmp_path / "m.onnx").write_bytes(before)
    optimize(tmp_path / "m.onnx", level=level)
    assert (tmp_path / "m.onnx").read_bytes() == before


@pytest.mark.parametrize("level", [1, 2])
def test_a_second_time_there_is_nothing_to_do(level: int) -> None:
    once = optimize(sample(), level=level)
    twice = optimize(once, level=level)
    assert text(twice) == text(once)
    assert rules_used(twice) == set()


@pytest.mark.parametrize("level", [1, 2])
def test_everything_survives(level: int) -> None:
    """A model with every feature of the format: opaque operators, functions, sparse tensors, training."""
    model = everything()
    m = optimize(model, level=level)
    invariants.check(m)
    onnx.checker.check_model(m.proto)
    before = next(n for n in model.graph.node if n.name == "opaque")
    after = next(n for n in m.proto.graph.node if n.name == "opaque")
    assert [a.name for a in after.attribute] == [a.name for a in before.attribute]
    assert list(m.proto.training_info) == list(model.training_info)
    assert list(m.proto.graph.sparse_initializer) == list(model.graph.sparse_initializer)
    assert {f.name for f in m.proto.functions} == {"double"}


def test_the_same_bytes_every_time() -> None:
    results = {text(optimize(sample(), level=2)) for _ in range(3)}
    assert len(results) == 1


def test_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    """Nothing depends on the order of sets of strings."""
    (tmp_path / "m.onnx").write_bytes(sample().SerializeToString())
    code = "import sys, hashlib, graphopt; m = graphopt.optimize(sys.argv[1]); print(hashlib.sha256(m.SerializeToString()).hexdigest())"
    seen = set()
    for seed in ("0", "1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        out = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "m.onnx")], env=env, capture_output=True, text=True, check=True
        )
        seen.add(out.stdout)
    assert len(seen) == 1


def test_the_collector_is_left_as_it_was() -> None:
    import gc

    for enabled in (True, False):
        (gc.enable if enabled else gc.disable)()
        try:
            optimize(sample())
            assert gc.isenabled() is enabled
            with pytest.raises(ModelError):
                optimize(b"nonsense")
            assert gc.isenabled() is enabled
        finally:
            gc.enable()


# ------------------------------------------------------------------- specialisation
def test_pinned_dims_let_shapes_fold() -> None:
    model = sample()
    assert "Shape" in ops(optimize(model, level=1)) or "Shape" in [
        n.op_type for n in optimize(model, level=1).proto.graph.node
    ]
    m = optimize(model, level=1, input_shapes={"batch": 2})
    invariants.check(m)
    assert "Shape" not in ops(m)
    x = np.ones((2, 3), np.float32)
    assert same_bits(run(m, x=x), run(model, x=x))
    onnx.checker.check_model(m.proto, full_check=True)


def test_frozen_inputs() -> None:
    model = parse("g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { a = Neg(w) y = Add(x, a) }")
    m = optimize(model, freeze_inputs=True)
    invariants.check(m)
    assert ops(m) in (["Add"], ["Sub"])
    assert [i.name for i in m.proto.graph.input] == ["x"]
    assert m.report is not None and "1 inputs with an initializer" in m.report.warnings[0]
    m = optimize(model)
    assert ops(m) != ["Add"] or "w" in m.proto.graph.node[0].input
    assert m.report is not None and "freeze_inputs" in m.report.warnings[0]


# ------------------------------------------------------------------------ own rules
def test_own_rules() -> None:
    @rule
    def hard(x):
        yield op.Sin(x)
        yield op.Cos(x)

    @rule(exact=True)
    def exact(x):
        yield op.Cos(x)
        yield op.Tan(x)

    model = parse("g (float[2] x) => (float[2] y) { y = Sin(x) }")
    assert ops(optimize(model, rules=[hard])) == ["Cos"]
    assert ops(optimize(model, rules=[hard, exact])) == ["Tan"]
    assert ops(optimize(model, level=1, rules=[hard])) == ["Sin"]
    cosine = parse("g (float[2] x) => (float[2] y) { y = Cos(x) }")
    assert ops(optimize(cosine, level=1, rules=[exact])) == ["Tan"]
    assert ops(optimize(model, level=0, rules=[hard])) == ["Sin"]


def test_own_rules_can_be_left_out() -> None:
    @rule
    def hard(x):
        yield op.Sin(x)
        yield op.Cos(x)

    model = parse("g (float[2] x) => (float[2] y) { y = Sin(x) }")
    assert ops(optimize(model, rules=[hard], without="hard")) == ["Sin"]
    assert ops(optimize(model, rules=[hard], only="dead_code")) == ["Sin"]
    assert ops(optimize(model, rules=[hard], only="hard")) == ["Cos"]


def test_own_rules_for_own_operators() -> None:
    mine = domain("my")

    @rule
    def lower(x, w: Const):
        yield mine.ScaledRelu(x, w)
        yield op.Relu(x) * w

    model = with_constants(
        "g (float[2] x) => (float[2] y) { y = my.ScaledRelu(x, k) }", imports=', "my": 1', k=np.float32([1, 2])
    )
    m = optimize(model, rules=[lower])
    assert ops(m) == ["Relu", "Mul"]
    invariants.check(m)


# --------------------------------------------------------------------------- report
def test_report() -> None:
    model = sample()
    m = optimize(model, level=2)
    r = m.report
    assert r is not None
    assert (r.level, r.nodes_before, r.nodes_after) == (2, load(model).node_count(), m.node_count())
    assert r.after.constant_bytes <= r.before.constant_bytes
    assert r.seconds > 0
    assert sum(saved for _, _, saved, _ in r.by_rule()) == r.nodes_before - r.nodes_after
    data = json.loads(r.to_json())
    assert data == json.loads(json.dumps(r.to_dict()))
    assert data["nodes"] == {"before": r.nodes_before, "after": r.nodes_after}
    assert {s["rule"] for s in data["steps"]} == rules_used(m)
    assert set(data) >= {
        "level",
        "nodes",
        "constant_bytes",
        "operators",
        "seconds",
        "rules",
        "steps",
        "refusals",
        "warnings",
    }
    assert str(r).startswith(f"level 2: {r.nodes_before} -> {r.nodes_after} nodes")
    for operator, before, after in r.operators():
        assert before != after
        assert ops(m).count(operator) == after


def test_explain() -> None:
    m = optimize(sample(), level=1)
    assert m.report is not None
    assert [s.rule for s in m.report.explain("unused")] == ["dead_code"]
    assert m.report.explain("no such name") == []


def test_refusals_are_in_the_report() -> None:
    model = with_constants(
        "g (float[2] x) => (float[2] y) { r = Gather(k, i) y = Add(x, r) }", k=np.float32([1, 2]), i=np.array(7)
    )
    m = optimize(model, level=1)
    assert m.report is not None
    found = [f for f in m.report.refusals() if f[0] == "constant_folding"]
    assert found and found[0][2] >= 1 and found[0][3] == "r"
    assert json.loads(m.report.to_json())["refusals"]


# ------------------------------------------------------------------------- the rest
def test_names_that_the_package_exports() -> None:
    for name in graphopt.__all__:
        assert getattr(graphopt, name) is not None
    assert set(graphopt.__all__) <= set(dir(graphopt))
    with pytest.raises(AttributeError, match="no attribute"):
        _ = graphopt.nonsense


def test_verify() -> None:
    model = parse("g (float[4] x) => (float[4] y) { a = Relu(x) b = Identity(a) y = Sin(b) }")
    m = optimize(model, verify=True)
    assert ops(m) == ["Relu", "Sin"]

    @rule
    def wrong(x):
        yield op.Sin(x)
        yield op.Cos(x)

    with pytest.raises(GraphoptError, match="not equal"):
        optimize(model, rules=[wrong], verify=True)
    with pytest.raises(ArgumentError, match="verify"):
        optimize(parse("g (float[N] x) => (float[N] y) { y = Relu(x) }"), verify=True, input_shapes={"N": 2})


@pytest.mark.parametrize("opset", [6, 7, 9, 11, 13, 17, 18, 21, onnx.defs.onnx_opset_version()])
def test_every_opset(opset: int) -> None:
    model = parse(
        "g (float[2, 2] x) => (float[2, 2] y) { a = Relu(x) b = Identity(a) c = Transpose(b) d = Transpose(c) y = Neg(d) }",
        opset=opset,
        ir=8 if opset < 22 else 13,
    )
    m = optimize(model, level=2)
    invariants.check(m)
    assert ops(m) == ["Relu", "Neg"]
    assert m.proto.opset_import == model.opset_import


def test_an_opset_that_is_too_new() -> None:
    """Operators that nobody knows at this version stay as they are."""
    model = parse("g (float[2, 2] x) => (float[2, 2] y) { a = Identity(x) y = Relu(a) }")
    model.opset_import[0].version = 1000
    m = optimize(model, level=2)
    invariants.check(m)
    assert [o.name for o in m.proto.graph.output] == ["y"]


def test_models_of_no_nodes_at_all() -> None:
    model = parse("g (float[2] x) => (float[2] x) {}", check=False)
    assert text(optimize(model)) == text(model)
    empty = ModelProto(ir_version=8)
    empty.graph.SetInParent()
    assert len(optimize(empty).graph) == 0


def test_large_weights_in_functions_and_branches() -> None:
    model = parse(
        """g (bool c, float[512, 4] x) => (float[512, 4] y) {
            y = If (c) <then_branch = t () => (float[512, 4] u) { u = Add(x, w) }, else_branch = e () => (float[512, 4] v) { v = Relu(x) }>
        }""",
        check=False,
    )
    branch = next(a.g for a in model.graph.node[0].attribute if a.name == "then_branch")
    branch.initializer.append(numpy_helper.from_array(np.ones((512, 4), np.float32), "w"))
    m = optimize(model)
    invariants.check(m)
    onnx.checker.check_model(m.proto)


def test_dtypes_stay() -> None:
    for name in ("float16", "bfloat16", "double", "int32", "uint8", "int64"):
        number = getattr(TensorProto, name.upper())
        model = parse(
            f"g ({name}[2] x) => ({name}[2] y) {{ a = Identity(x) b = Cast<to={number}>(a) y = Max(b, x) }}",
            opset=20,
            ir=9,
        )
        m = optimize(model)
        invariants.check(m)
        onnx.checker.check_model(m.proto, full_check=True)


def test_a_function_that_is_called_twice() -> None:
    body = [
        helper.make_node("Identity", ["v"], ["p"]),
        *(helper.make_node("Transpose", [a], [b], perm=[1, 0]) for a, b in ("pq", "qw")),
    ]
    model = parse(
        "g (float[2, 3] x) => (float[2, 3] y) { a = local.f(x) y = local.f(a) }", imports=', "local": 1', check=False
    )
    model.functions.append(helper.make_function("local", "f", ["v"], ["w"], body, [helper.make_opsetid("", 17)]))
    m = optimize(model)
    invariants.check(m)
    onnx.checker.check_model(m.proto)
    x = np.ones((2, 3), np.float32)
    assert same_bits(run(m, x=x), [x])
    assert len(m.proto.functions[0].node) == 1


# ------------------------------------------------------------------------ any graph
def check_any(model: ModelProto, feeds: dict[str, np.ndarray], level: int) -> Model:
    before = model.SerializeToString(deterministic=True)
    m = optimize(model, level=level)
    assert model.SerializeToString(deterministic=True) == before
    invariants.check(m)
    onnx.checker.check_model(m.proto, full_check=True)
    assert list(m.proto.graph.input) == list(model.graph.input)
    assert list(m.proto.graph.output) == list(model.graph.output)
    want, got = run(model, **feeds), run(m, **feeds)
    if level == 1:
        assert same_bits(got, want)
    for a, b in zip(got, want, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        if np.isfinite(b).all():
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * max(1.0, float(np.abs(b).max(initial=0))))
    assert text(optimize(model, level=level)) == text(m)
    again = load(m)
    invariants.check(again)
    assert text(again) == text(m)
    return m


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(models())
def test_any_graph_level_1(drawn: tuple[ModelProto, dict[str, np.ndarray]]) -> None:
    check_any(*drawn, level=1)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(models())
def test_any_graph_level_2(drawn: tuple[ModelProto, dict[str, np.ndarray]]) -> None:
    check_any(*drawn, level=2)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(models(), st.sampled_from([1, 2]))
def test_any_graph_pinned(drawn: tuple[ModelProto, dict[str, np.ndarray]], level: int) -> None:
    """Specialised for the shapes that are fed."""
    model, feeds = drawn
    m = optimize(model, level=level, input_shapes={k: v.shape for k, v in feeds.items()})
    invariants.check(m)
    onnx.checker.check_model(m.proto, full_check=True)
    assert not {n.op_type for n in m.proto.graph.node} & {"Shape", "Size"}
    for a, b in zip(run(m, **feeds), run(model, **feeds), strict=True):
        if np.isfinite(b).all():
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * max(1.0, float(np.abs(b).max(initial=0))))


def test_a_branch_that_cannot_run_is_left_alone() -> None:
    """With these sizes the second branch is for other models: what a session does not see in it now it may not see later."""
    proto = parse(
        """g (float[N, M] x, bool c) => (float[A, B] y) {
            y = If (c) <
                then_branch = t () => (t_out) { t_a = Identity(x) t_b = Identity(t_a) t_out = MatMul(t_b, w) },
                else_branch = e () => (e_out) { e_a = Identity(x) e_b = Identity(e_a) e_out = MatMul(e_b, v) }
            >
        }""",
        check=False,
    )
    for name, rows in (("w", 8), ("v", 4)):
        proto.graph.initializer.append(numpy_helper.from_array(np.ones((rows, 3), np.float32), name))
    free, pinned = optimize(proto), optimize(proto, input_shapes={"x": (2, 8)})
    assert [len(g) for g in free.graph.subgraphs()] == [1, 1, 1]
    assert sorted(len(g) for g in pinned.graph.subgraphs()) == [1, 1, 3]


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("batch", ["N", "2"])
def test_an_output_that_is_declared_otherwise_keeps_its_producer(batch: str, level: int) -> None:
    """What a checker cannot see in the model that came in it may not see in the one that goes out, or it refuses that."""
    proto = parse(
        f"g (float[{batch}, 12] x) => (float[1, K] y) <int64[2] c = {{3, 4}}, int64[1] zero = {{0}}> "
        "{ s = Shape<end=1>(x) all = Concat<axis=0>(s, c) k = Shape(all) n = ReduceMax(k) t = Slice(all, zero, n) y = Reshape(x, t) }"
    )
    onnx.checker.check_model(proto, full_check=True)
    m = optimize(proto, level=level)
    onnx.checker.check_model(m.proto, full_check=True)
    x = np.float32(np.arange(24)).reshape(2, 12)
    assert same_bits(run(m.proto, x=x), run(proto, x=x))
