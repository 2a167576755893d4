"""Functions: operators of one's own that a rule writes, with the body that the model carries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper

import graphopt
from graphopt import function, optimize
from graphopt.errors import RuleError
from graphopt.exec import InferenceSession
from graphopt.exec.kernels import kernel, registry
from graphopt.ir import Model
from graphopt.rewrite import Const, Float, Floats, Int, Ints, Maybe, Rule, Str, Tensor, any_of, domain, op, rule
from graphopt.shapes import TypeInfo
from graphopt.testing import check_rule
from tests.conftest import ROOT
from tests.ir.building import ops, parse, reasons, rewrite


@function("com.example")
def BiasGelu(x, b):
    """GELU of a sum."""
    return op.Gelu(x + b)


@rule
def bias_gelu(x, b):
    yield op.Gelu(x + b)
    yield BiasGelu(x, b)


@function("com.example", version=3)
def ScaledSoftmax(x, y, *, scale: Float, axis: Int = -1):
    s = op.Softmax(x * scale * 0.1, axis=axis)
    return s + y, op.ReduceSum(s, axes=[0])


@rule
def scaled_softmax(x, y, c: Const, n: Int):
    s = op.Softmax(x * c * 0.1, axis=n)
    yield s + y, op.ReduceSum(s, axes=[0])
    if c.size != 1 or c.rank or x.dtype != TensorProto.FLOAT:
        return "not one float32 number"
    yield ScaledSoftmax(x, y, scale=c.item(), axis=n)


GELUS = (
    "g (float[N,4] x, float[4] b, float[4] c) => (float[N,4] y) { s = Add(x, b) g = Gelu(s) t = Add(g, c) y = Gelu(t) }"
)


@pytest.fixture(autouse=True)
def own_tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is gone after it."""
    registry.operators()
    graphopt.shapes.registry.shape_function_for("Relu", 17)
    monkeypatch.setattr(registry, "_kernels", {op: list(v) for op, v in registry._kernels.items()})
    table = graphopt.shapes.registry._shape_functions
    monkeypatch.setattr(graphopt.shapes.registry, "_shape_functions", {op: list(v) for op, v in table.items()})
    yield
    monkeypatch.undo()
    registry.kernel_for.cache_clear()
    graphopt.shapes.registry.shape_function_for.cache_clear()


def of_opset(m: Model | ModelProto, name: str = "com.example") -> int | None:
    return next((o.version for o in m.opset_import if o.domain == name), None)


def feeds(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.uniform(-2, 2, s).astype(np.float32) for s in shapes]


def run_everywhere(m: ModelProto, **values: np.ndarray) -> list[list[Any]]:
    """On our kernels and on ONNX Runtime, which knows nothing of the function but its body."""
    theirs = onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"])
    return [InferenceSession(m.SerializeToString()).run(None, values), theirs.run(None, values)]


# -------------------------------------------------------------------------------------------------------- in the model
def test_the_body_goes_into_the_model_once() -> None:
    before = parse(GELUS, opset=20, ir=7)
    after = optimize(before, rules=[bias_gelu]).proto
    onnx.checker.check_model(after, full_check=True)
    assert ops(after) == ["BiasGelu", "BiasGelu"]
    assert [(f.domain, f.name) for f in after.functions] == [("com.example", "BiasGelu")]
    assert [n.op_type for n in after.functions[0].node] == ["Add", "Gelu"]
    assert after.functions[0].doc_string == "GELU of a sum."
    assert of_opset(after) == 1 and after.ir_version == 8, "the first with functions"
    x, b, c = feeds((3, 4), (4,), (4,))
    want = onnxruntime.InferenceSession(before.SerializeToString()).run(None, {"x": x, "b": b, "c": c})[0]
    for got in run_everywhere(after, x=x, b=b, c=c):
        np.testing.assert_allclose(got[0], want, atol=1e-6)


def test_a_model_that_was_optimised_has_the_function_already() -> None:
    once = optimize(parse(GELUS, opset=20), rules=[bias_gelu]).proto
    once.graph.node[-1].output[0] = "z"
    once.graph.node.extend([helper.make_node("Add", ["z", "b"], ["w"]), helper.make_node("Gelu", ["w"], ["y"])])
    twice = optimize(once, rules=[bias_gelu]).proto
    assert ops(twice) == ["BiasGelu"] * 3 and len(twice.functions) == 1


def test_attributes_defaults_and_several_outputs() -> None:
    text = "g (float[2,3] x, float[2,3] y) => (float[2,3] a, float[1,3] r) <float c = {3.0}, float t = {0.1}, int64[1] z = {0}> "
    text += "{ p = Mul(x, c) q = Mul(p, t) s = Softmax<axis=0>(q) a = Add(s, y) r = ReduceSum(s, z) }"
    before = parse(text, opset=18)
    after = optimize(before, rules=[scaled_softmax]).proto
    onnx.checker.check_model(after, full_check=True)
    assert ops(after) == ["ScaledSoftmax"] and of_opset(after) == 3 and after.ir_version == 9, "defaults need it"
    assert {a.name: helper.get_attribute_value(a) for a in after.graph.node[0].attribute} == {"scale": 3.0, "axis": 0}
    f = after.functions[0]
    assert list(f.attribute) == ["scale"] and [a.name for a in f.attribute_proto] == ["axis"]
    assert [a.ref_attr_name for n in f.node for a in n.attribute if a.ref_attr_name] == ["scale", "axis"]
    x, y = feeds((2, 3), (2, 3))
    want = onnxruntime.InferenceSession(before.SerializeToString()).run(None, {"x": x, "y": y})
    for got in run_everywhere(after, x=x, y=y):
        np.testing.assert_allclose(got[0], want[0], atol=1e-6)
        np.testing.assert_allclose(got[1], want[1], atol=1e-6)


@pytest.mark.parametrize("r", [bias_gelu, scaled_softmax])
def test_the_rule_is_its_own_test(r: Rule) -> None:
    check = check_rule(r, on=["reference", "onnxruntime"])
    assert check.compared["reference"] and check.compared["onnxruntime"]


def test_numbers_take_the_dtype_of_the_call() -> None:
    @function("com.example")
    def Third(x):
        return x * (1 / 3) + 1

    @rule
    def third(x):
        yield op.Neg(op.Neg(x))
        yield Third(x)

    for dtype in ("double", "float16"):
        after, _ = rewrite(parse(f"g ({dtype}[2] x) => ({dtype}[2] y) {{ a = Neg(x) y = Neg(a) }}", opset=18), third)
        x = np.array([1, 2], "float64" if dtype == "double" else dtype)
        for got in run_everywhere(after.proto, x=x):
            assert got[0].dtype == x.dtype
            np.testing.assert_allclose(got[0], x / 3 + 1, rtol=1e-15 if dtype == "double" else 1e-3)


def test_shapes_are_inferred_through_the_body() -> None:
    after, _ = rewrite(parse(GELUS, opset=20), bias_gelu)
    assert [n.output.shape for n in after.graph] == [("N", 4), ("N", 4)]
    assert all(n.output.dtype == TensorProto.FLOAT for n in after.graph)


def test_functions_that_nobody_calls_are_removed() -> None:
    @rule
    def back(x, b):
        yield BiasGelu(x, b)
        yield op.Gelu(x + b)

    fused = optimize(parse(GELUS, opset=20), rules=[bias_gelu]).proto
    again = optimize(fused, rules=[back]).proto
    assert ops(again) == ["Add", "Gelu", "Add", "Gelu"] and not again.functions


def test_functions_that_a_body_calls_come_along() -> None:
    @function("com.example")
    def Twice(x, b):
        return BiasGelu(BiasGelu(x, b), b)

    @rule
    def twice(x, b):
        yield op.Gelu(op.Gelu(x + b) + b)
        yield Twice(x, b)

    text = "g (float[N,4] x, float[4] b) => (float[N,4] y) { s = Add(x, b) g = Gelu(s) t = Add(g, b) y = Gelu(t) }"
    after, _ = rewrite(parse(text, opset=20), twice)
    onnx.checker.check_model(after.proto, full_check=True)
    assert sorted(f.name for f in after.proto.functions) == ["BiasGelu", "Twice"]
    x, b = feeds((3, 4), (4,))
    ours, theirs = run_everywhere(after.proto, x=x, b=b)
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-6)


def test_a_rule_fires_in_the_functions_of_a_model_but_not_in_its_own() -> None:
    text = GELUS.replace("y = Gelu(t)", "y = local.Own(t)")
    model = parse(
        f'{text}\n<domain: "local", opset_import: ["": 20]>\nOwn (x) => (y) {{ a = Add(x, x) y = Gelu(a) }}',
        opset=20, imports=', "local": 1',
    )  # fmt: skip
    after = optimize(model, rules=[bias_gelu]).proto
    onnx.checker.check_model(after, full_check=True)
    bodies = {f.name: [n.op_type for n in f.node] for f in after.functions}
    assert bodies == {"Own": ["BiasGelu"], "BiasGelu": ["Add", "Gelu"]}
    x, b, c = feeds((3, 4), (4,), (4,))
    ours, theirs = run_everywhere(after, x=x, b=b, c=c)
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-6)


# ------------------------------------------------------------------------------------------------------------- declined
def test_another_function_of_the_name_is_left_alone() -> None:
    model = parse(
        f'{GELUS}\n<domain: "com.example", opset_import: ["": 20]>\nBiasGelu (x, b) => (y) {{ y = Sub(x, b) }}',
        opset=20, imports=', "com.example": 1',
    )  # fmt: skip
    after, ledger = rewrite(model, bias_gelu)
    assert ops(after) == ["Add", "Gelu", "Add", "Gelu"]
    assert "the model has another function com.example::BiasGelu" in reasons(ledger)


def test_another_function_of_the_name_does_not_match() -> None:
    @rule
    def back(x, b):
        yield BiasGelu(x, b)
        yield op.Gelu(x + b)

    model = parse(
        "g (float[4] x, float[4] b) => (float[4] y) { y = com.example.BiasGelu(x, b) }\n"
        '<domain: "com.example", opset_import: ["": 20]>\nBiasGelu (x, b) => (y) { y = Sub(x, b) }',
        opset=20, imports=', "com.example": 1',
    )  # fmt: skip
    assert ops(rewrite(model, back)[0]) == ["BiasGelu"]


def test_a_body_that_the_opset_cannot_say() -> None:
    @rule
    def gelu_sum(x, b):
        yield op.Relu(x + b)
        yield BiasGelu(x, b)

    model = parse("g (float[4] x, float[4] b) => (float[4] y) { s = Add(x, b) y = Relu(s) }", opset=17)
    after, ledger = rewrite(model, gelu_sum)
    assert not after.functions and of_opset(after.proto) is None, "a refused rewrite leaves no trace"
    assert reasons(ledger) == ["Gelu does not exist at opset 17"]


def test_an_operator_without_a_body_is_written_as_it_is() -> None:
    @rule
    def opaque(x, b):
        yield op.Gelu(x + b)
        yield domain("com.example").BiasGelu(x, b)

    after, _ = rewrite(parse(GELUS, opset=20), opaque)
    assert ops(after) == ["BiasGelu", "BiasGelu"] and not after.functions
    with pytest.raises(Exception, match="BiasGelu"):
        InferenceSession(after.proto.SerializeToString()).run(None, {})


# ------------------------------------------------------------------------------------------------ kernels and shapes
def test_a_kernel_goes_before_the_body() -> None:
    calls = []

    @kernel("BiasGelu", domain="com.example")
    def fast(xp: Any, x: Any, b: Any) -> Any:
        calls.append(x.shape)
        y = x + b
        return 0.5 * y * (1 + xp.erf(y / 2**0.5))

    after = optimize(parse(GELUS, opset=20), rules=[bias_gelu]).proto
    x, b, c = feeds((3, 4), (4,), (4,))
    ours, theirs = run_everywhere(after, x=x, b=b, c=c)
    assert calls == [(3, 4), (3, 4)]
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-6)


def test_a_wrong_kernel_is_found() -> None:
    @kernel("BiasGelu", domain="com.example")
    def wrong(xp: Any, x: Any, b: Any) -> Any:
        return x + b

    with pytest.raises(AssertionError, match="of reference"):
        check_rule(bias_gelu, on=["reference", "onnxruntime"])


def test_a_shape_function_goes_before_the_body() -> None:
    asked = []

    @graphopt.shape_function("com.example::BiasGelu")
    def shape(node: Any) -> TypeInfo:
        asked.append(node)
        return node.like(0)

    after, _ = rewrite(parse(GELUS, opset=20), bias_gelu)
    assert asked and [n.output.shape for n in after.graph] == [("N", 4), ("N", 4)]


def test_what_the_docs_say(monkeypatch: pytest.MonkeyPatch) -> None:
    section = (ROOT / "docs" / "rules.md").read_text().partition("## Operators of your own")[2].partition("\n## ")[0]
    use, describe = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    model = parse(GELUS, opset=20)
    monkeypatch.setattr(graphopt, "optimize", lambda path, rules: optimize(model, rules=rules))
    names: dict[str, Any] = {"__name__": "example"}
    exec(use, names)
    assert ops(names["fast"]) == ["BiasGelu", "BiasGelu"]
    exec(describe, names)
    check_rule(names["bias_gelu"], on=["reference", "onnxruntime"])


# ------------------------------------------------------------------------------------------------------- what is wrong
def test_what_a_function_cannot_be() -> None:
    with pytest.raises(RuleError, match="a domain of your own"):
        function("ai.onnx.ml")
    with pytest.raises(RuleError, match="a domain of your own"):
        function("")

    def optional(x: Maybe[Tensor]):
        return op.Relu(x)

    def constant(c: Const):
        return op.Relu(c)

    def branches(x):
        return op.Relu(any_of(x, -x))

    def nothing(x):
        return x

    def fails(x):
        return x.shape

    for body, message in (
        (optional, "input that is always there"),
        (constant, "annotate it"),
        (branches, "has no place in a body"),
        (nothing, "operators applied to something"),
        (fails, "AttributeError"),
    ):
        with pytest.raises(RuleError, match=message):
            function("com.example")(body)


def test_arguments_that_do_not_fit() -> None:
    with pytest.raises(RuleError, match="com.example::BiasGelu"):
        BiasGelu(1)
    with pytest.raises(RuleError, match="unexpected keyword"):
        BiasGelu(1, 2, alpha=3)


def test_every_kind_of_attribute() -> None:
    @function("com.example")
    def All(x, *, i: Int = 1, n: Ints = (0,), f: Float = 0.5, m: Floats = (1.0, 2.0), s: Str = "linear"):
        y = op.Resize(x, None, [1.0, 2.0], mode=s)
        return op.ReduceSum(op.Concat(x, y, axis=i), axes=n) * f + op.ReduceSum(op.Constant(value_floats=m), axes=[0])

    @rule
    def every(x):
        yield op.Neg(op.Neg(x))
        yield All(x, s="nearest", n=[0])

    proto, _ = All.proto({"": 18})
    assert {a.name for a in proto.attribute_proto} == {"i", "n", "f", "m", "s"}
    model = parse("g (float[1,4] x) => (float[1,12] y) { a = Neg(x) y = Neg(a) }", opset=18, check=False)
    from graphopt.rewrite import Driver, Ledger, Rewriter, RuleSet

    m = graphopt.load(model)
    Driver(Rewriter(m, Ledger()), RuleSet([every])).run()
    (x,) = feeds((1, 4))
    ours, theirs = run_everywhere(m.proto, x=x)
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-6)
    np.testing.assert_allclose(ours[0][0, :4], x[0] * 0.5 + 3, atol=1e-6)
