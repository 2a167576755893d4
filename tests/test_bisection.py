"""Every wrong rewrite planted here is named, with the first step at which it shows and a model that is as small as it can be."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from onnx import ModelProto, helper, numpy_helper, parser

import graphopt
from graphopt import bisect, load, optimize, verify
from graphopt import bisection as bisecting
from graphopt.bisection import Bisection
from graphopt.demo import demo_model
from graphopt.errors import ArgumentError, GraphoptError, ModelError, RewriteLoopError, SaveError
from graphopt.exec.executors import create, installed, registry
from graphopt.ir import Model
from graphopt.passes import common_subexpressions, constant_folding
from graphopt.rewrite import Const, Ledger, LimitReached, Perm, Rule, Step, op, rule
from graphopt.verification import Verification, VerificationError
from tests.property_graphs import models

REFERENCE = "reference"


def f32(value: Any) -> np.ndarray:
    return np.array(value, np.float32)


def model(text: str, opset: int = 17, **weights: Any) -> ModelProto:
    """A model from `(inputs) => (outputs) { nodes }`; weights become initializers."""
    domains = ', "local": 1' if "local." in text else ""
    proto = parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}{domains}]> g {text}')
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items())
    return proto


def ops(m: Model | ModelProto) -> list[str]:
    return [n.op_type for n in (m.proto if isinstance(m, Model) else m).graph.node]


# ------------------------------------------------------------------------------------------------------- rules that lie
@rule
def swish_is_hard_swish(x):
    """A wrong value: close, but not equal."""
    yield x * op.Sigmoid(x)
    yield op.HardSwish(x)


@rule
def difference_is_turned(x, y):
    """A wrong order of operands."""
    yield op.Sub(x, op.Tanh(y))
    yield op.Sub(op.Tanh(y), x)


@rule
def root_of_a_square(x):
    """Right where x is not negative."""
    yield op.Sqrt(x * x)
    yield x


@rule
def permutations_the_wrong_way(x, p: Perm, q: Perm):
    """Right where they commute."""
    yield op.Transpose(op.Transpose(x, perm=p), perm=q)
    yield op.Transpose(x, perm=[q[i] for i in p])


@rule
def relu_is_nothing(x):
    yield op.Relu(x)
    yield x


@rule
def sigmoid_of_seven_rows(x):
    """A Reshape that no number of elements but 7 and its multiples allows."""
    yield op.Sigmoid(x)
    yield op.HardSigmoid(op.Reshape(x, np.array([7, -1])))


@rule(always=True)
def absolute_is_negative(x):
    """Applies although the inner node stays."""
    yield op.Abs(op.Sin(x))
    yield op.Neg(op.Sin(x))


# Other rewrites before and after: pairs of Neg go, Identity goes, equal nodes are merged.
TEXTS = {
    "a wrong value": (
        swish_is_hard_swish,
        (
            "(float[n,3] x, float[n,3] z) => (float[n,3] y) { a = Relu(x) b = Neg(a) c = Neg(b) s = Sigmoid(c) t = Mul(s, c) "
            "u = Sub(t, z) v = Identity(u) w = Tanh(v) i = Identity(w) y = Exp(i) }"
        ),
        ["Sigmoid", "Mul"],
    ),
    "a wrong order of operands": (
        difference_is_turned,
        "(float[n,3] x, float[n,3] z) => (float[n,3] y) { b = Neg(x) c = Neg(b) d = Exp(c) t = Tanh(z) u = Sub(d, t) i = Identity(u) y = Sin(i) }",
        ["Tanh", "Sub"],
    ),
    "the second application": (
        root_of_a_square,
        "(float[n,3] x) => (float[n,3] y) { r = Relu(x) r2 = Mul(r, r) s = Sqrt(r2) d = Sub(s, k) d2 = Mul(d, d) e = Sqrt(d2) f = Exp(e) y = Neg(f) }",
        ["Mul", "Sqrt"],
    ),
    "the application to its own result": (
        permutations_the_wrong_way,
        (
            "(float[a,b,c] x) => (float[e,f,g] y) { r = Transpose<perm = [1, 2, 0]>(x) s = Transpose<perm = [1, 2, 0]>(r) "
            "t = Transpose<perm = [1, 0, 2]>(s) y = Tanh(t) }"
        ),
        ["Transpose", "Transpose"],
    ),
    "in a branch": (
        difference_is_turned,
        (
            "(bool c, float[n,3] x, float[n,3] z) => (float[n,3] y) { a = Neg(x) b = Neg(a) w = Mul(z, k) r = If (c) <"
            "then_branch = t () => (float[n,3] u) { t1 = Tanh(w) t2 = Sub(b, t1) u = Exp(t2) }, "
            "else_branch = e () => (float[n,3] v) { v = Add(b, w) }> i = Identity(r) y = Sin(i) }"
        ),
        ["If"],
    ),
    "in a loop": (
        difference_is_turned,
        (
            "(float[3] x) => (float[3] y) { a = Neg(x) b = Neg(a) l = Loop (three, yes, b) <body = body (int64 i, bool go, float[3] s) => "
            "(bool on, float[3] u) { on = Identity(go) t = Tanh(x) u = Sub(s, t) }> y = Sin(l) }"
        ),
        ["Loop"],
    ),
    "an output of the model": (
        relu_is_nothing,
        "(float[n,3] x) => (float[n,3] y) { a = Exp(x) b = Neg(a) c = Neg(b) d = Sub(c, k) y = Relu(d) }",
        ["Relu"],
    ),
    "a value that many read": (
        relu_is_nothing,
        "(float[n,3] x) => (float[n,3] y, float[n,3] r, float[n,3] z) { a = Exp(x) r = Relu(x) b = Sin(r) c = Mul(b, k) y = Add(a, c) z = Neg(r) }",
        ["Relu"],
    ),
    "a Reshape that cannot be": (
        sigmoid_of_seven_rows,
        "(float[n,3] x) => (float[n,3] y) { a = Neg(x) b = Neg(a) s = Sigmoid(b) i = Tanh(s) p = Neg(i) q = Neg(p) y = Exp(q) }",
        ["Sigmoid"],
    ),
    "an inner value that others read": (
        absolute_is_negative,
        "(float[n,3] x) => (float[n,3] y) { b = Exp(x) s = Sin(b) t = Abs(s) u = Mul(s, t) y = Tanh(u) }",
        ["Sin", "Abs"],
    ),
}
CONSTANTS = {"k": f32([1, 2, 3]), "three": np.array(3), "yes": np.array(True)}


def planted(name: str) -> tuple[Rule, ModelProto, list[str]]:
    wrong, text, cut = TEXTS[name]
    return wrong, model(text, **{k: v for k, v in CONSTANTS.items() if f"{k}," in text or f" {k})" in text}), cut


def assert_explained(found: Bisection, m: Any, wrong: Rule, folder: Path, **options: Any) -> list[Path]:
    """The rewrite that is named is the first after which the outputs differ; what is saved shows it, by that rule alone."""
    assert found and found.step is not None and found.verification is not None
    assert (found.step.rule, found.step.where) == (wrong.name, wrong.where)
    assert Path(__file__).name in wrong.where
    whole = optimize(m, **options)
    assert whole.report is not None
    steps = whole.report.ledger.steps
    assert found.steps == len(steps) and steps[found.at - 1].rule == wrong.name
    assert verify(m, optimize(m, steps=found.at - 1, **options), on=REFERENCE)
    after = verify(m, optimize(m, steps=found.at, **options), on=REFERENCE)
    assert after.verdict == found.verification.verdict in ("different", "failed")
    paths = found.save(folder / "small.onnx")
    assert [p.name for p in paths] == ["small.onnx", "small.after.onnx"]
    for path in paths:
        onnx.checker.check_model(path)
    assert verify(*paths, on=REFERENCE).verdict in ("different", "failed")
    alone = optimize(paths[0], rules=[wrong], only=[wrong.name])
    assert verify(paths[0], alone, on=REFERENCE).verdict in ("different", "failed")
    return paths


@pytest.mark.parametrize("name", TEXTS)
def test_a_wrong_rule_is_named(name: str, tmp_path: Path) -> None:
    wrong, m, cut = planted(name)
    assert optimize(m, verify=True).report is not None, "nothing else is wrong"
    found = bisect(m, on=REFERENCE, rules=[wrong])
    paths = assert_explained(found, m, wrong, tmp_path, rules=[wrong])
    text = str(found)
    assert text.startswith(
        f"rewrite {found.at} of {found.steps} changes the outputs: {wrong.name} ({wrong.where}) at '"
    )
    assert found.cut and ops(onnx.load(paths[0])) == cut
    assert text.endswith(f"shown by the nodes around it: {len(cut)} node{'s' * (len(cut) > 1)}")


@pytest.mark.parametrize(("name", "at"), [("the second application", 2), ("the application to its own result", 2)])
def test_only_the_second_application_is_wrong(name: str, at: int) -> None:
    wrong, m, _ = planted(name)
    found = bisect(m, on=REFERENCE, rules=[wrong], only=[wrong.name])
    assert (found.at, found.steps) == (at, 2)


def test_the_value_is_called_what_the_model_calls_it() -> None:
    for name, value in (("an output of the model", "y"), ("a value that many read", "r"), ("in a branch", "t2")):
        wrong, m, _ = planted(name)
        found = bisect(m, on=REFERENCE, rules=[wrong])
        assert found.step is not None and found.step.location == value


@pytest.mark.parametrize("executors", [["onnxruntime"], ["onnx.reference", "reference"], None])
def test_whoever_compares(executors: list[str] | None) -> None:
    if executors == ["onnxruntime"]:
        pytest.importorskip("onnxruntime")
    wrong, m, _ = planted("a wrong value")
    found = bisect(m, on=executors, rules=[wrong])
    assert found.step is not None and found.step.rule == wrong.name
    assert found.verification is not None
    wanted = executors or [n for n in ("reference", "onnxruntime") if n in installed()]
    assert {row.executor for row in found.verification.rows} == set(wanted)


@rule(exact=True)
def one_relu(x):
    yield op.Relu(op.Relu(x))
    yield op.Relu(x)


def chain(length: int, wrong_at: int) -> ModelProto:
    """So many places to rewrite, one after another, one of them a trap."""
    nodes, last = [], "x"
    for i in range(1, length + 1):
        kinds = ("Tanh", "Tanh") if i == wrong_at else ("Relu", "Relu")
        for k, kind in enumerate((*kinds, "Sin")):
            nodes.append(helper.make_node(kind, [last], [f"v{i}_{k}"]))
            last = f"v{i}_{k}"
    nodes.append(helper.make_node("Exp", [last], ["y"]))
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 40]) for name in "xy"]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@rule
def one_tanh(x):
    yield op.Tanh(op.Tanh(x))
    yield op.Tanh(x)


@pytest.mark.parametrize(("length", "wrong_at"), [(n, k) for n in (1, 2, 3, 4, 5, 8) for k in range(1, n + 1)])
def test_every_place(length: int, wrong_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step is exact wherever it stands, and takes no more comparisons than halving does."""
    calls = []

    def counted(*args: Any, **options: Any) -> Verification:
        calls.append(args)
        return verify(*args, **options)

    monkeypatch.setattr(bisecting, "verify", counted)
    chosen = {"rules": [one_relu, one_tanh], "only": ["one_relu", "one_tanh"]}
    found = bisect(chain(length, wrong_at), on=REFERENCE, **chosen)
    assert (found.at, found.steps) == (wrong_at, length)
    assert found.step is not None and found.step.rule == "one_tanh"
    assert found.before is not None and found.after is not None
    assert (ops(found.before), ops(found.after)) == (["Tanh", "Tanh"], ["Tanh"])
    assert len(calls) <= 1 + math.ceil(math.log2(length)) + (wrong_at == 1) + 1


def test_the_first_of_two_wrong_rules() -> None:
    """What is told is how the model differs after the first; at the end it does not even run."""
    text = "(float[n,3] x) => (float[n,3] y) { a = Sin(x) b = Relu(a) c = Exp(b) s = Sigmoid(c) t = Tanh(s) y = Identity(t) }"
    found = bisect(model(text), on=REFERENCE, rules=[relu_is_nothing, sigmoid_of_seven_rows])
    assert found.step is not None and found.step.rule == "relu_is_nothing"
    assert found.verification is not None and found.verification.verdict == "different"
    assert (
        verify(model(text), optimize(model(text), rules=[relu_is_nothing, sigmoid_of_seven_rows])).verdict == "failed"
    )


def test_in_a_function(tmp_path: Path) -> None:
    m = model("(float[n,3] x) => (float[n,3] y) { a = Exp(x) b = local.f(a) c = Sin(b) d = local.g(c) y = Sin(d) }")
    for name, kinds in (("f", ("Sin", "Relu")), ("g", ("Sigmoid", "Exp"))):
        body = [helper.make_node(kinds[0], ["v"], ["p"]), helper.make_node(kinds[1], ["p"], ["w"])]
        m.functions.append(helper.make_function("local", name, ["v"], ["w"], body, [helper.make_opsetid("", 17)]))
    found = bisect(m, on=REFERENCE, rules=[relu_is_nothing])
    paths = assert_explained(found, m, relu_is_nothing, tmp_path, rules=[relu_is_nothing])
    small = onnx.load(paths[0])
    assert (ops(small), [f.name for f in small.functions]) == (["f"], ["f"])


def test_levels_and_selections() -> None:
    wrong, m, _ = planted("a wrong value")
    assert not bisect(m, 1, on=REFERENCE, rules=[wrong]), "it claims no exactness"
    assert not bisect(m, 0, on=REFERENCE, rules=[wrong])
    assert not bisect(m, on=REFERENCE, rules=[wrong], without=[wrong.name])
    only = bisect(m, on=REFERENCE, rules=[wrong], only=[wrong.name])
    assert (only.at, only.steps) == (1, 1)


# -------------------------------------------------------------------------------------------------------- passes that lie
def test_a_wrong_constant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = constant_folding.evaluate

    def off_by_one(*args: Any) -> list[Any]:
        return [a + 1 for a in right(*args)]

    monkeypatch.setattr(constant_folding, "evaluate", off_by_one)
    m = model(
        "(float[n,3] x) => (float[n,3] y) { b = Neg(x) c = Neg(b) e = Exp(k) d = Mul(c, e) y = Tanh(d) }",
        k=f32([1, 2, 3]),
    )
    found = bisect(m, on=REFERENCE)
    assert found.step is not None and found.before is not None
    assert (found.step.rule, found.step.where) == ("constant_folding", "")
    assert ": constant_folding at 'e'" in str(found)
    assert ops(found.before) == ["Exp"]
    paths = found.save(tmp_path / "m.onnx")
    assert not verify(paths[0], optimize(paths[0], only="constant_folding"), on=REFERENCE)


def test_wrong_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes that differ in an attribute count as the same."""
    monkeypatch.setattr(common_subexpressions, "attributes_key", lambda node: ("all alike",))
    text = "(float[n,3] x) => (float[n,3] y) { a = LeakyRelu<alpha = 0.1>(x) b = LeakyRelu<alpha = 0.9>(x) c = Sin(a) d = Cos(b) y = Mul(c, d) }"
    found = bisect(model(text), on=REFERENCE)
    assert found.step is not None and found.before is not None
    assert found.step.rule == "common_subexpressions"
    assert ops(found.before) == ["LeakyRelu", "LeakyRelu", "Cos"]


# ------------------------------------------------------------------------------------------------- nothing to be found
@pytest.mark.parametrize("name", TEXTS)
def test_nothing_wrong(name: str) -> None:
    _, m, _ = planted(name)
    found = bisect(m, on=REFERENCE)
    assert not found
    assert (found.at, found.step, found.before, found.after) == (0, None, None, None)
    assert found.verification is not None and found.verification.ok
    assert str(found) == f"no rewrite of {found.steps} changes the outputs"
    with pytest.raises(ArgumentError, match="nothing|no failing model"):
        found.save("nothing.onnx")
    assert not Path("nothing.onnx").exists()


@settings(max_examples=25)
@given(models())
def test_the_packages_rules_are_right(made: tuple[ModelProto, dict[str, np.ndarray]]) -> None:
    with contextlib.suppress(VerificationError):  # no comparison could have told a difference
        assert not bisect(made[0], on=REFERENCE)


@pytest.mark.parametrize("text", ["{ a = Sub(x, x) y = Relu(a) }", "{ a = RandomNormalLike(x) b = Neg(a) y = Neg(b) }"])
def test_inconclusive(text: str) -> None:
    with pytest.raises(VerificationError, match="inconclusive") as caught:
        bisect(model(f"(float[n,3] x) => (float[n,3] y) {text}"), on=REFERENCE)
    assert caught.value.result.verdict == "inconclusive" and isinstance(caught.value, GraphoptError)


@pytest.mark.parametrize("total", [0, 3])
def test_what_no_rewrite_did(total: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that differs as soon as it is written again: no rewrite is to blame."""
    monkeypatch.setattr(bisecting, "verify", lambda *args, **options: Verification("different"))
    with pytest.raises(GraphoptError, match="differ before any rewrite, at level 0 already: different"):
        bisect(chain(total, 0), on=REFERENCE, rules=[one_relu], only=["one_relu"])


def test_rules_without_end() -> None:
    @rule
    def round_and_round(x):
        yield op.Sin(x)
        yield op.Sin(op.Identity(x))

    with pytest.raises(RewriteLoopError, match="round_and_round"):
        bisect(model("(float[n] x) => (float[n] y) { y = Sin(x) }"), on=REFERENCE, rules=[round_and_round])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze_inputs": True}, "'freeze_inputs' makes no sense here"),
        ({"input_shapes": {"n": 3}}, "'input_shapes' makes no sense here"),
        ({"verify": True}, "'verify' makes no sense here"),
        ({"steps": 3}, "'steps' makes no sense here"),
        ({"level": 9}, "level 9 does not exist"),
        ({"only": "no_such_rule"}, "only: no rule, family or pass is named 'no_such_rule'"),
        ({"on": "nobody"}, "no executor is called 'nobody'"),
        ({"seeds": 1}, "seeds must be 2 or more"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        bisect(model("(float[n] x) => (float[n] y) { y = Sin(x) }"), **options)


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        bisect(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="not an ONNX model"):
        bisect(b"nothing")
    with pytest.raises(ArgumentError, match="cannot load a model from int"):
        bisect(3)


# ------------------------------------------------------------------------------------------- executors, and their noise
def test_an_executor_that_is_wrong_about_what_a_rewrite_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only there the models differ; the rule is named all the same, and the small model shows it there."""

    class NoHardSwish:
        def __init__(self, source: Any, folder: Any = None) -> None:
            self.inner, self.wrong = create("reference", source), b"HardSwish" in source

        def run(self, feeds: Any) -> dict[str, Any]:
            return {k: v * (2 if self.wrong else 1) for k, v in self.inner.run(feeds).items()}

    @rule
    def hard_swish(x):
        yield x * op.HardSigmoid(x, alpha=1 / 6, beta=0.5)
        yield op.HardSwish(x)

    monkeypatch.setattr(registry, "_added", lambda: {"odd": SimpleNamespace(load=lambda: NoHardSwish)})
    text = "(float[n,40] x) => (float[n,40] y) { b = Neg(x) c = Neg(b) h = HardSigmoid<alpha = 0.16666667, beta = 0.5>(c) s = Mul(c, h) y = Exp(s) }"
    chosen = {"rules": [hard_swish], "only": ["hard_swish"]}
    assert not bisect(model(text), on=REFERENCE, **chosen)
    found = bisect(model(text), on=["reference", "odd"], **chosen)
    assert found.step is not None and found.step.rule == "hard_swish"
    assert found.before is not None and ops(found.before) == ["HardSigmoid", "Mul"]
    assert found.verification is not None
    assert {row.executor for row in found.verification.rows if row.status == "different"} == {"odd"}


def test_noise_and_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    class Noisy:
        def __init__(self, source: Any, folder: Any = None) -> None:
            self.inner = create("reference", source)

        def run(self, feeds: Any) -> dict[str, Any]:
            return {k: (v * 1.001).astype(v.dtype) for k, v in self.inner.run(feeds).items()}

    @rule
    def nearly(x):
        yield op.Relu(x)
        yield op.LeakyRelu(x, alpha=5e-4)

    @rule
    def far(x):
        yield op.Sin(x)
        yield op.Tanh(x)

    monkeypatch.setattr(registry, "_added", lambda: {"noisy": SimpleNamespace(load=lambda: Noisy)})
    m = model("(float[n,40] x) => (float[n,40] y) { a = Neg(x) b = Neg(a) c = Sin(b) r = Relu(x) y = Add(r, c) }")

    once = {"rules": [nearly], "only": ["nearly"]}
    assert bisect(m, on=REFERENCE, **once)
    assert not bisect(m, on=["reference", "noisy"], **once)
    assert not bisect(m, on=REFERENCE, rtol=1e-2, **once)
    assert bisect(m, on=["reference", "noisy"], rtol=1e-6, **once)
    assert bisect(m, on=["reference", "noisy"], rules=[far], only=["far"])


# ------------------------------------------------------------------------------------------------ models in all forms
def test_forms_of_a_model(tmp_path: Path) -> None:
    wrong, m, cut = planted("a wrong value")
    onnx.save(m, tmp_path / "m.onnx")
    before = m.SerializeToString(deterministic=True)
    forms = [tmp_path / "m.onnx", str(tmp_path / "m.onnx"), m, m.SerializeToString(), load(m)]
    for form in forms:
        found = bisect(form, on=REFERENCE, rules=[wrong])
        assert found.before is not None and ops(found.before) == cut
    assert m.SerializeToString(deterministic=True) == before
    onnx_ir = pytest.importorskip("onnx_ir")
    assert bisect(onnx_ir.from_proto(m), on=REFERENCE, rules=[wrong]).at == found.at


@pytest.mark.parametrize("whole", [False, True])
def test_external_data(whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights lie in a file beside the model; what is saved stands on its own, wherever one runs it."""

    @rule
    def product_is_sum(x, w: Const):
        yield op.Mul(x, w)
        yield op.Add(x, w)

    k = np.linspace(1, 2, 1000, dtype=np.float32)
    text = "(float[n,1000] x) => (float[n,1000] y) { a = Sin(x) b = Mul(a, k) c = Add(b, e) y = Sin(c) }"
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "m.onnx"
    onnx.save(model(text, k=k, e=k), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    before = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    assert onnx.load(path, load_external_data=False).graph.initializer[0].external_data
    if whole:
        monkeypatch.setattr(bisecting, "_cut_out", lambda *args: None)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = bisect(path, on=REFERENCE, rules=[product_is_sum], only=["product_is_sum"])
    paths = assert_explained(found, path, product_is_sum, tmp_path, rules=[product_is_sum], only=["product_is_sum"])
    assert ops(onnx.load(paths[0])) == (["Sin", "Mul", "Add", "Sin"] if whole else ["Mul"])
    np.testing.assert_array_equal(numpy_helper.to_array(onnx.load(paths[0]).graph.initializer[0]), k)
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == before


def test_the_whole_model_where_no_part_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong, m, _ = planted("a wrong value")
    monkeypatch.setattr(bisecting, "_cut_out", lambda *args: None)
    found = bisect(m, on=REFERENCE, rules=[wrong])
    assert_explained(found, m, wrong, tmp_path, rules=[wrong])
    assert found.before is not None and not found.cut
    assert str(found).endswith(f"shown by the whole model: {len(found.before.graph)} nodes")


def test_what_dies_with_a_node_is_cut_off(tmp_path: Path) -> None:
    """The rule asks for a shape that the nodes before tell; they are not needed where it can be declared."""

    @rule
    def one_column_is_none(x, y):
        yield op.Add(x, y)
        if x.shape is None or x.shape[-1] != 1:
            return "not one column"
        yield op.Identity(x)

    m = model(
        "(float[n,3] x, float[n,3] z) => (float[n,1] y) { a = Sin(z) r = ReduceMax<axes = [1]>(x) s = ReduceMin<axes = [1]>(a) t = Add(r, s) y = Exp(t) }"
    )
    chosen = {"rules": [one_column_is_none], "only": ["one_column_is_none"]}
    found = bisect(m, on=REFERENCE, **chosen)
    assert_explained(found, m, one_column_is_none, tmp_path, **chosen)
    assert found.before is not None and ops(found.before) == ["Add"]


# -------------------------------------------------------------------------------------------------------------- files
@pytest.fixture
def found() -> Bisection:
    wrong, m, _ = planted("a wrong value")
    return bisect(m, on=REFERENCE, rules=[wrong])


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("failing", [1, 2])
def test_files_are_written_whole_or_not_at_all(
    failing: int, found: Bisection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, calls = os.replace, iter(range(1, 9))

    def full(*args: Any) -> None:
        if next(calls) == failing:
            raise OSError(28, "No space left on device")
        replace(*args)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(SaveError, match="No space left"):
        found.save(tmp_path / "m.onnx")
    assert names(tmp_path) == []


def test_places_that_cannot_be(found: Bisection, tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="does not exist"):
        found.save(tmp_path / "gone" / "m.onnx")
    with pytest.raises(SaveError, match="is a folder"):
        found.save(tmp_path)
    with pytest.raises(SaveError, match="is a folder"):
        found.save("")
    (tmp_path / "m.after.onnx").mkdir()
    with pytest.raises(SaveError, match=r"m\.after\.onnx' is a folder"):
        found.save(tmp_path / "m.onnx")
    assert names(tmp_path) == ["m.after.onnx"]


@pytest.mark.parametrize(
    ("name", "second"), [("a.onnx", "a.after.onnx"), ("a", "a.after.onnx"), ("a.b.onnx", "a.b.after.onnx")]
)
def test_names_of_files(name: str, second: str, found: Bisection, tmp_path: Path) -> None:
    assert found.save(str(tmp_path / name)) == [tmp_path / name, tmp_path / second]
    assert names(tmp_path) == sorted([name, second])
    assert found.save(tmp_path / name) == [tmp_path / name, tmp_path / second], "an older one is replaced"


# --------------------------------------------------------------------------------------------------- optimize(steps=...)
def bits(m: Model) -> bytes:
    return m.proto.SerializeToString(deterministic=True)


def steps_of(m: Model) -> list[tuple[Any, ...]]:
    assert m.report is not None
    return [(s.rule, s.where, s.graph, s.before, s.after) for s in m.report.ledger.steps]


def assert_every_step_is_a_model(m: ModelProto, **options: Any) -> int:
    """After each number of rewrites a valid model, with as many nodes as the ledger says; the number of rewrites."""
    whole = optimize(m, **options)
    assert whole.report is not None
    ledger, nodes = whole.report.ledger, load(m).node_count()
    assert bits(optimize(m, steps=0, **options)) == bits(load(m)) == bits(optimize(m, 0))
    for n in range(len(ledger.steps) + 1):
        part = optimize(m, steps=n, **options)
        onnx.checker.check_model(part.proto, full_check=True)
        assert steps_of(part) == steps_of(whole)[:n]
        assert part.node_count() == nodes, (n, ledger.steps[n - 1])
        nodes -= ledger.steps[n].saved if n < len(ledger.steps) else 0
    for enough in (len(ledger.steps), len(ledger.steps) + 1, 10**9):
        assert bits(optimize(m, steps=enough, **options)) == bits(whole)
    return len(ledger.steps)


@settings(max_examples=60)
@given(models())
def test_every_step_is_a_model(made: tuple[ModelProto, dict[str, np.ndarray]]) -> None:
    assert_every_step_is_a_model(made[0])
    assert_every_step_is_a_model(made[0], level=1)


def test_the_last_step_leaves_nothing_behind() -> None:
    """What an If that both branches made the same had read."""
    text = """(float[2,3] x, bool c) => (float y) <int64 zero = {0}> {
        s = Shape (x)
        n = Gather (s, zero)
        f = Cast <to = 1> (n)
        y = If (c) <then_branch = a () => (float p) { p = Neg (f) }, else_branch = b () => (float q) { q = Neg (f) }>
    }"""
    assert assert_every_step_is_a_model(model(text, 13)) > 2


def test_every_step_of_real_models() -> None:
    assert assert_every_step_is_a_model(demo_model()) > 20
    assert assert_every_step_is_a_model(planted("in a branch")[1]) >= 2
    assert assert_every_step_is_a_model(planted("in a loop")[1]) >= 1


@pytest.mark.zoo
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["redundant.raw", "shape-junk.raw", "lstm-lm.raw", "silero-vad", "convbn-net.raw", "moe-topk.raw"]
)
def test_every_step_of_models_from_the_zoo(name: str, zoo_dir: Path) -> None:
    assert assert_every_step_is_a_model(onnx.load(zoo_dir / "models" / f"{name}.onnx")) > 5


def test_steps_of_a_dead_branch() -> None:
    """Nodes inside what goes away are counted too."""
    text = """(bool c, float[n] x) => (float[n] y) {
        dead = If (c) <then_branch = t () => (float[n] u) { u1 = Sin(x) u = Exp(u1) }, else_branch = e () => (float[n] v) { v = Cos(x) }>
        live = If (yes) <then_branch = t2 () => (float[n] p) { p = Tanh(x) }, else_branch = e2 () => (float[n] q) { q1 = Cos(x) q = Exp(q1) }>
        y = Neg(live) }"""
    m = model(text, yes=np.array(True))
    assert load(m).node_count() == 9
    assert assert_every_step_is_a_model(m) == 2
    whole = optimize(m)
    assert whole.report is not None
    assert [(s.rule, s.location, s.saved) for s in whole.report.ledger.steps] == [
        ("dead_code", "dead", 4),
        ("constant_if", "live", 3),
    ]


def test_steps_that_copy_to_an_output() -> None:
    """One shape for two outputs: the copy belongs to the step that made it."""
    m = model("(float[n,2] x) => (int64[2] a, int64[2] b) { a = Shape(x) b = Shape(x) }", opset=13)
    assert assert_every_step_is_a_model(m) == 1
    (step,) = steps_of(optimize(m))
    assert [n.op for n in step[-1]] == ["Shape", "Identity"]


@pytest.mark.parametrize("steps", [-1, 1.5, "3", [1]])
def test_steps_that_make_no_sense(steps: Any) -> None:
    with pytest.raises(ArgumentError, match="steps must be a number of rewrites, 0 or more, not "):
        optimize(demo_model(), steps=steps)


def test_the_ledger_has_room_for_so_many() -> None:
    step = Step("r", "", "g", (), (), 0.0)
    open_ended, two = Ledger(), Ledger(limit=2)
    for _ in range(5):
        open_ended.record(step)
    two.record(step)
    with pytest.raises(LimitReached):
        two.record(step)
    assert (len(open_ended.steps), len(two.steps)) == (5, 2)


def test_public_names() -> None:
    assert graphopt.bisect is bisect and "bisect" in graphopt.__all__
