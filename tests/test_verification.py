"""The tester tested: every bug planted here must be found, and nothing that proves nothing may pass."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

import graphopt
from graphopt.compare import nodes_of
from graphopt.errors import ArgumentError, MissingDependencyError, ModelError
from graphopt.exec.executors import create, installed, registry
from graphopt.verification import Verification, VerificationError, verify

#: All that take every model; OpenVINO is not made for that.
EXECUTORS = [n for n in installed() if n not in ("openvino", "web", "tfjs")]
needs_ort = pytest.mark.skipif("onnxruntime" not in installed(), reason="onnxruntime is not installed")


def f32(value: Any) -> np.ndarray:
    return np.array(value, np.float32)


def i64(value: Any) -> np.ndarray:
    return np.array(value, np.int64)


def model(text: str, opset: int = 17, ir: int = 8, **weights: Any) -> onnx.ModelProto:
    """A model from `(inputs) => (outputs) { nodes }`; weights become initializers."""
    domains = ', "com.microsoft": 1, "custom": 1' if "." in text.split("=>")[1] else ""
    proto = parser.parse_model(f'<ir_version: {ir}, opset_import: ["": {opset}{domains}]> g {text}')
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items())
    return proto


def unary(expression: str, dims: str = "[n, 3]", dtype: str = "float") -> onnx.ModelProto:
    return model(f"({dtype}{dims} x) => ({dtype}{dims} y) {{ y = {expression} }}")


def scaled(factor: float, dims: str = "[n, 3]") -> onnx.ModelProto:
    nodes = "{ r = Relu(x)  y = Mul(r, k) }"
    return model(f"(float{dims} x) => (float{dims} y) {nodes}", k=np.float32(factor))


def statuses(result: Verification) -> set[str]:
    return {row.status for row in result.rows}


# --------------------------------------------------------------------------------------------------------- planted bugs
@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("Relu(x)", "Neg(x)"),
        ("Relu(x)", "LeakyRelu<alpha = 0.001>(x)"),
        ("Relu(x)", "Identity(x)"),
        ("Softmax<axis = 1>(x)", "Softmax<axis = 0>(x)"),
        ("Softmax(x)", "Sigmoid(x)"),
        ("Erf(x)", "Tanh(x)"),
        ("Sqrt(x)", "Abs(x)"),
        ("Log(x)", "Sqrt(x)"),
        ("Floor(x)", "Ceil(x)"),
    ],
)
def test_wrong_operator(executor: str, right: str, wrong: str) -> None:
    assert verify(unary(right), unary(wrong), on=executor).verdict == "different"
    assert verify(unary(right), unary(right), on=executor)


@pytest.mark.parametrize("dims", ["[]", "[2, 3]", "[n, 3]", "[n, m]", "[?, ?]", ""])
def test_wrong_factor(dims: str) -> None:
    result = verify(scaled(1.0, dims), scaled(1.9, dims))
    assert result.verdict == "different"
    assert max(row.difference for row in result.rows) > 0.1
    assert verify(scaled(1.0, dims), scaled(1.0, dims))


def test_rounding_is_no_difference() -> None:
    assert verify(scaled(1.0), scaled(1.000001)).ok
    assert verify(scaled(1.0), scaled(1.001)).verdict == "different"
    assert verify(scaled(1.0), scaled(1.001), rtol=0.01).ok
    assert not verify(scaled(1.0), scaled(1.000001), rtol=1e-9).ok


def test_wrong_broadcast_axis() -> None:
    """k scales channels, and a bug has it scale columns, of which there are as many."""
    text = "(float[n, 3, h, 3] x) => (float[n, 3, h, 3] y) {{ s = Reshape(k, shape)  y = Mul(x, s) }}"
    k = f32([1, 2, 3])
    right, wrong = (model(text.format(), k=k, shape=i64(shape)) for shape in ([3, 1, 1], [3]))
    assert verify(right, wrong).verdict == "different"


def test_axes_of_open_size_get_different_sizes() -> None:
    """Shapes [n, m] and [m, n] look alike where both sizes are 2."""
    text = "(float[n, m] x) => (float[a, b] y) {{ y = {}(x) }}"
    result = verify(model(text.format("Transpose")), model(text.format("Identity")))
    assert result.verdict == "different"
    assert "shape" in str(result)


@pytest.mark.parametrize("factor", [1e-3, 1e-6, 1e-12])
def test_small_outputs_do_not_pass_unseen(factor: float) -> None:
    assert not verify(scaled(factor), scaled(1.9 * factor))
    assert verify(scaled(factor), scaled(factor))


def test_small_signal_on_a_large_offset() -> None:
    text = "(float[n, 3] x) => (float[n, 3] y) { r = Mul(x, k)  y = Add(r, c) }"
    right, wrong = (model(text, k=np.float32(k), c=np.float32(1e4)) for k in (0.1, -0.1))
    result = verify(right, wrong)
    assert result.verdict == "inconclusive"
    assert statuses(result) == {"too small to tell"}


def test_nan_against_zero() -> None:
    text = "(float[n, 3] x) => (float[n, 3] y) {{ z = Mul(x, zero)  d = {}(z, z)  y = Add(x, d) }}"
    right, wrong = (model(text.format(op), zero=np.float32(0)) for op in ("Div", "Mul"))
    result = verify(right, wrong)
    assert result.verdict == "different"
    assert "NaNs on one side only" in str(result)


def test_infinities() -> None:
    text = "(float[n, 3] x) => (float[n, 3] y) { y = Div(x, zero) }"
    right, wrong = (model(text, zero=np.float32(zero)) for zero in (0.0, -0.0))
    assert verify(right, right).ok
    assert "infinities of the other sign" in str(verify(right, wrong))


def test_integers_are_compared_exactly() -> None:
    text = "(float[n, 3] x) => (int64[n, 3] y) {{ m = Mul(x, big)  r = {}(m)  y = Cast<to = 7>(r) }}"
    right, wrong = (model(text.format(op), big=np.float32(1e5)) for op in ("Floor", "Ceil"))
    result = verify(right, wrong)
    assert result.verdict == "different"
    assert "elements differ" in str(result)
    assert max(row.absolute for row in result.rows) == 1


def test_one_wrong_output_of_two() -> None:
    text = "(float[n] x) => (float[n] y, float[n] z) {{ y = Relu(x)  z = {}(x) }}"
    result = verify(model(text.format("Sin")), model(text.format("Cos")))
    assert result.verdict == "different"
    assert {row.output for row in result.rows if row.status == "different"} == {"z"}


# ------------------------------------------------------------------------------------------------------------ interface
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("(float[n, 3] a) => (float[n, 3] y) { y = Relu(a) }", "inputs: lost 'x'; gained 'a'"),
        ("(float[n, 3] x) => (float[n, 3] z) { z = Relu(x) }", "outputs: lost 'y'; gained 'z'"),
        ("(double[n, 3] x) => (float[n, 3] y) { y = Cast<to = 1>(x) }", "input 'x': float64[n, 3], was float32[n, 3]"),
        ("(float[n, 3] x) => (double[n, 3] y) { y = Cast<to = 11>(x) }", "output 'y': float64[n, 3], was float32"),
        ("(float[2, 3] x) => (float[n, 3] y) { y = Relu(x) }", "input 'x': float32[2, 3], was float32[n, 3]"),
        ("(float[n, 3] x) => (float[batch, 3] y) { y = Relu(x) }", "output 'y': float32[batch, 3], was float32[n, 3]"),
        ("(float[n, 3] x) => (float[] y) { y = Relu(x) }", "output 'y': float32, was float32[n, 3]"),
        ("(float[n, 3] x, float[n] b) => (float[n, 3] y) { y = Relu(x) }", "inputs: gained 'b'"),
        ("(float[n, 3] x) => (float[n, 3] y, float[n, 3] z) { y = Relu(x) z = Neg(x) }", "outputs: gained 'z'"),
    ],
)
def test_interface(text: str, problem: str) -> None:
    result = verify(unary("Relu(x)"), model(text))
    assert result.verdict == "interface differs"
    assert not result
    assert problem in str(result)


def test_order_of_outputs() -> None:
    right = model("(float[n] x) => (float[n] y, float[n] z) { y = Relu(x)  z = Neg(x) }")
    wrong = model("(float[n] x) => (float[n] z, float[n] y) { y = Relu(x)  z = Neg(x) }")
    assert "outputs: in another order" in verify(right, wrong).problems


# ------------------------------------------------------------------------------------------------- what proves nothing
def test_constant_output() -> None:
    constant = unary("Sub(x, x)")
    result = verify(constant, constant)
    assert result.verdict == "inconclusive"
    assert statuses(result) == {"constant output: proves nothing"}
    assert not result


def test_constant_output_that_changes_is_different() -> None:
    assert verify(unary("Sub(x, x)"), unary("Div(x, x)")).verdict == "different"


def test_constant_output_beside_another() -> None:
    text = "(float[n] x) => (float[n] y, float[n] z) { y = Relu(x)  z = Sub(x, x) }"
    result = verify(model(text), model(text))
    assert result.ok
    assert {r.status for r in result.rows if r.output == "z"} == {"constant output: proves nothing"}


def test_rounding_is_no_movement() -> None:
    """1 + x / 1e8: what moves is the last bit."""
    text = "(float[n] x) => (float[n] y) { s = Mul(x, k)  y = Add(s, one) }"
    one = model(text, k=f32(1e-8), one=f32(1))
    assert verify(one, one).verdict == "inconclusive"


def test_saturated_outputs_are_noted() -> None:
    text = "(float[n, 3] x) => (float[n, 3] y) { s = Sign(x)  y = Relu(s) }"
    result = verify(model(text), model(text))
    assert result.ok
    assert "'y' takes two values only" in str(result)


def test_no_inputs() -> None:
    text = "() => (float[2] y) { y = Relu(c) }"
    right, wrong = (model(text, c=f32(c)) for c in ([1, 2], [1, 3]))
    assert verify(right, right).ok
    assert verify(right, wrong).verdict == "different"


def test_shapes_are_no_constants() -> None:
    text = "(float[n, m] x) => (int64[2] y) { y = Shape(x) }"
    assert verify(model(text), model(text)).ok


def test_random_outputs() -> None:
    text = (
        "(float[n, 50] x) => (float[n, 50] y, float[n, {}] z) {{ y = Relu(x)  r = RandomNormalLike(x)  z = {}(r, x) }}"
    )
    result = verify(model(text.format("50", "Add")), model(text.format("50", "Mul")))
    assert result.ok
    assert {r.status for r in result.rows if r.output == "z"} == {"not deterministic"}
    only = model("(float[n, 50] x) => (float[n, 50] y) { y = RandomNormalLike(x) }")
    assert verify(only, only).verdict == "inconclusive"


def test_random_output_of_another_shape() -> None:
    text = "(float[n, 9] x) => (float[n, k] y) {{ r = RandomNormalLike(x)  y = {}(r, r) }}"
    right = model(text.format("Add"))
    wrong = model("(float[n, 9] x) => (float[n, k] y) { r = RandomNormalLike(x)  y = Concat<axis = 1>(r, r) }")
    assert verify(right, right).verdict == "inconclusive"
    assert verify(right, wrong).verdict == "different"


# ------------------------------------------------------------------------------------------------------ finding inputs
def test_integer_indices() -> None:
    text = "(int64[n] i) => (float[n, 4] y) { y = Gather(w, i) }"
    w = np.arange(8, dtype=np.float32).reshape(2, 4)
    assert verify(model(text, w=w), model(text, w=w)).ok
    assert verify(model(text, w=w), model(text, w=w[::-1].copy())).verdict == "different"


def test_sizes_that_must_fit() -> None:
    """A cache: the mask is as long as what is cached and what is new together, and must be found out to be."""
    text = """(float[b, new, 4] x, float[b, past, 4] cache, float[b, total, 1] mask) => (float[b, total, 4] y)
        { k = Concat<axis = 1>(cache, x)  y = Mul(k, mask) }"""
    result = verify(model(text), model(text))
    assert result.ok
    sizes = [row.sizes for row in result.rows]
    assert all(s["total"] in (s["new"] + s["past"], 1) for s in sizes)
    assert len({s["b"] for s in sizes}) == 2


def test_size_that_a_network_asks_for() -> None:
    text = "(float[n, t] x) => (float[n, 4] y) { y = MatMul(x, w) }"
    result = verify(model(text, w=np.ones((96, 4), np.float32)), model(text, w=np.ones((96, 4), np.float32)))
    assert result.ok
    assert {row.sizes["t"] for row in result.rows} == {96}
    assert len({row.sizes["n"] for row in result.rows}) == 2


def test_no_inputs_will_do() -> None:
    text = "(float[n, t] x) => (float[n, 4] y) { y = MatMul(x, w) }"
    stubborn = model(text, w=np.ones((1237, 4), np.float32))
    result = verify(stubborn, stubborn)
    assert result.verdict == "inconclusive"
    assert "not comparable" in str(result)
    given = np.random.default_rng(0).standard_normal((3, 1237)).astype(np.float32)
    assert verify(stubborn, stubborn, inputs={"x": given}).ok


@pytest.mark.parametrize("dtype", ["float", "double", "float16", "int8", "uint8", "int32", "int64"])
def test_dtypes(dtype: str) -> None:
    assert verify(unary("Abs(x)", dtype=dtype), unary("Abs(x)", dtype=dtype)).ok
    if dtype != "uint8":
        assert verify(unary("Abs(x)", dtype=dtype), unary("Identity(x)", dtype=dtype)).verdict == "different"


def test_booleans() -> None:
    assert verify(unary("Not(x)", dtype="bool"), unary("Identity(x)", dtype="bool")).verdict == "different"


def test_strings() -> None:
    text = "(string[n] x, string[n] y) => (string[n] z) {{ z = StringConcat({}) }}"
    right, wrong = (model(text.format(order), opset=20, ir=9) for order in ("x, y", "y, x"))
    assert verify(right, right, on="reference").ok
    assert verify(right, wrong, on="reference").verdict == "different"


def test_bfloat16() -> None:
    text = "(bfloat16[n, 3] x) => (bfloat16[n, 3] y) {{ f = Cast<to = 1>(x)  g = {}(f)  y = Cast<to = 16>(g) }}"
    right, wrong = (model(text.format(op)) for op in ("Relu", "Neg"))
    assert verify(right, right).ok
    assert verify(right, wrong).verdict == "different"


def test_tolerance_follows_the_precision_inside() -> None:
    text = "(float[n, 3] x) => (float[n, 3] y) {{ h = Cast<to = {}>(x)  s = Mul(h, k)  y = Cast<to = 1>(s) }}"
    for code, dtype, tolerance in ((10, np.float16, 1e-2), (11, np.float64, 1e-4)):
        one = model(text.format(code), k=dtype(2))
        assert {row.tolerance for row in verify(one, one).rows} == {tolerance}
    double = unary("Relu(x)", dtype="double")
    assert {row.tolerance for row in verify(double, double).rows} == {1e-8}


def sequence_model(op: str) -> onnx.ModelProto:
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, [None])
    x = helper.make_value_info("x", helper.make_sequence_type_proto(tensor))
    y = helper.make_value_info("y", tensor)
    nodes = [
        helper.make_node("ConcatFromSequence", ["x"], ["c"], axis=0),
        helper.make_node(op, ["c"], ["y"]),
    ]
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=opset, ir_version=8)


def test_sequences() -> None:
    assert verify(sequence_model("Relu"), sequence_model("Relu")).ok
    assert verify(sequence_model("Relu"), sequence_model("Neg")).verdict == "different"


def test_both_sides_of_a_branch() -> None:
    """The input's value 16000 takes a branch that no small number would."""
    text = """(float[n] x, int64 rate) => (float[n] y) {{
        same = Identity(rate)
        high = Equal(same, limit)
        y = If (high) <
            then_branch = a () => (float[n] t) {{ t = {}(x) }},
            else_branch = b () => (float[n] e) {{ e = {}(x) }}
        > }}"""
    right = model(text.format("Relu", "Neg"), limit=np.int64(16000))
    for wrong in (("Neg", "Neg"), ("Relu", "Relu")):
        assert verify(right, model(text.format(*wrong), limit=np.int64(16000))).verdict == "different"
    assert "the model branches" in str(verify(right, right))


# ------------------------------------------------------------------------------------------------------ optional inputs
OPTIONAL = "(float[n, 3] x, float[3] k) => (float[n, 3] y) {{ y = {} }}"


def test_inputs_with_a_default_are_fed_too() -> None:
    """A candidate that freezes k computes the same for everybody who leaves k out."""
    k = f32([1, 2, 3])
    right = model(OPTIONAL.format("Mul(x, k)"), k=k)
    frozen = model(OPTIONAL.format("Mul(x, c)"), k=k, c=k)
    assert verify(right, right).ok
    result = verify(right, frozen)
    assert result.verdict == "different"
    assert {row.detail for row in result.rows if row.status == "different"} == {"fed k"}
    assert verify(right, model("(float[n, 3] x) => (float[n, 3] y) { y = Mul(x, k) }", k=k)).problems == (
        "optional inputs: lost 'k'",
    )


@needs_ort
def test_defaults_of_ir_version_3_are_no_inputs() -> None:
    k = f32([1, 2, 3])
    right = model(OPTIONAL.format("Mul(x, k)"), opset=7, ir=3, k=k)
    modern = model("(float[n, 3] x) => (float[n, 3] y) { y = Mul(x, k) }", opset=7, k=k)
    assert verify(right, right).ok
    assert verify(right, modern).ok


# ------------------------------------------------------------------------------------------------------- given inputs
def test_given_inputs() -> None:
    one = {"x": f32([[1, 2, 3]])}
    negative = {"x": [[-1.0, -2.0, -3.0]]}  # lists become what the model declares
    assert verify(unary("Relu(x)"), unary("Abs(x)"), inputs=one).ok
    assert verify(unary("Relu(x)"), unary("Abs(x)"), inputs=[one, negative]).verdict == "different"


def test_given_inputs_that_the_output_does_not_depend_on() -> None:
    assert verify(unary("Sub(x, x)"), unary("Sub(x, x)"), inputs={"x": f32([[1, 2, 3]])}).verdict == ("inconclusive")


def test_given_inputs_by_the_wrong_name() -> None:
    with pytest.raises(ArgumentError, match="no input 'z'; it has x"):
        verify(unary("Relu(x)"), unary("Relu(x)"), inputs={"z": 1})
    with pytest.raises(ArgumentError, match="no value for 'x'"):
        verify(unary("Relu(x)"), unary("Relu(x)"), inputs={})


# ------------------------------------------------------------------------------------------------------------- failures
@needs_ort
def test_candidate_that_does_not_load() -> None:
    result = verify(unary("Relu(x)"), unary("custom.Unknown(x)"))
    assert result.verdict == "failed"
    assert "does not load" in str(result)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_candidate_that_does_not_run(executor: str) -> None:
    fails = model("(float[n, 3] x) => (float[n, 3] y) { s = Reshape(x, shape)  y = Relu(s) }", shape=i64([7, 3]))
    assert verify(unary("Relu(x)"), fails, on=executor).verdict == "failed"


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x08\x08"])
def test_candidate_that_is_no_model(data: bytes) -> None:
    assert verify(unary("Relu(x)"), data).verdict == "failed"
    with pytest.raises(ModelError):
        verify(data, unary("Relu(x)"))


@needs_ort
def test_original_that_does_not_load() -> None:
    result = verify(unary("custom.Unknown(x)"), unary("Relu(x)"))
    assert result.verdict == "inconclusive"
    assert "not comparable: onnxruntime" in str(result)


@needs_ort
def test_operators_that_only_one_executor_has() -> None:
    """A target's own operators are no failure on an executor that cannot know them."""
    contrib = model("(float[n, 3] x) => (float[n, 3] y) { y = com.microsoft.Gelu(x) }")
    exact = model("(float[n, 3] x) => (float[n, 3] y) { y = Gelu(x) }", opset=20, ir=9)
    result = verify(exact, contrib, on=["onnxruntime", "onnx.reference"])
    assert result.ok
    assert "not comparable: onnx.reference" in str(result)
    assert verify(exact, contrib, on="onnx.reference").verdict == "inconclusive"


def test_bad_arguments(tmp_path: Path) -> None:
    relu = unary("Relu(x)")
    with pytest.raises(ArgumentError, match=r"'nobody'; known: reference, jax, onnxruntime"):
        verify(relu, relu, on="nobody")
    with pytest.raises(ArgumentError, match="no such file"):
        verify(tmp_path / "none.onnx", relu)
    with pytest.raises(ArgumentError, match="int is no model"):
        verify(relu, 3)
    with pytest.raises(ArgumentError, match="seeds must be 2 or more"):
        verify(relu, relu, seeds=1)


# ------------------------------------------------------------------------------------------- executors, and their noise
ALL = ["reference", "jax", "onnxruntime", "openvino", "web", "tfjs", "onnx.reference"]


def executors_of(result: Verification) -> list[str]:
    return list(dict.fromkeys(row.executor for row in result.rows))


def test_on_all_executors() -> None:
    on = [name for name in ALL if name in installed()]
    right, wrong = (verify(scaled(1.0), scaled(factor), on=on) for factor in (1.0, 1.01))
    assert right.ok and right.notes == ()
    assert executors_of(right) == executors_of(wrong) == on
    assert {line[0] for line in wrong.summary() if line[2] == "different"} == set(on)
    assert len(right.rows) == len(on) * 6, "two sizes, three seeds"


def test_default_executors(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [name for name in ("reference", "onnxruntime") if name in installed()]
    for on in (None, []):
        assert executors_of(verify(scaled(1.0), scaled(1.0), on=on)) == wanted
    hide(monkeypatch, "onnxruntime")
    assert executors_of(verify(scaled(1.0), scaled(1.0))) == ["reference"]


def hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """As if a package were not installed."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == package else find_spec(name, *a))
    monkeypatch.setitem(sys.modules, package, None)


@pytest.mark.parametrize("name", ["onnxruntime:CPUExecutionProvider", "jax:cpu", "openvino:CPU"])
def test_a_provider_or_device_after_the_name(name: str) -> None:
    pytest.importorskip(name.partition(":")[0])
    result = verify(unary("Relu(x)"), unary("Relu(x)"), on=["reference", name])
    assert result.ok and executors_of(result) == ["reference", name]
    assert verify(unary("Relu(x)"), unary("Neg(x)"), on=name).verdict == "different"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("onnxruntime:FastProvider", "no 'FastProvider'; it has: .*CPUExecutionProvider"),
        ("jax:abacus", "no device 'abacus:0'; there are: "),
        ("reference:cuda", "reference has no devices to choose from"),
        ("nobody:cpu", "'nobody:cpu'; known: reference"),
    ],
)
def test_a_device_that_is_not_there(name: str, message: str) -> None:
    """No other executor's word will do for the one that was asked for."""
    if name.startswith(("onnxruntime", "jax")):
        pytest.importorskip(name.partition(":")[0])
    with pytest.raises(ArgumentError, match=message):
        verify(unary("Relu(x)"), unary("Relu(x)"), on=["reference", name])


@pytest.mark.parametrize(
    ("name", "extra"), [("jax", "jax"), ("jax:cuda", "jax"), ("onnxruntime", "ort"), ("openvino", "openvino")]
)
def test_a_package_that_is_missing(name: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, name.partition(":")[0])
    with pytest.raises(MissingDependencyError, match=rf"pip install graphopt\[{extra}\]"):
        verify(unary("Relu(x)"), unary("Relu(x)"), on=["reference", name])


class Skewed:
    """The reference kernels, with outputs that are off by some factor."""

    def __init__(self, model: Any, factor: float = 1.001, folder: Any = None) -> None:
        self.factor = factor
        self.inner = create("reference", model, **({} if folder is None else {"folder": folder}))

    def run(self, feeds: Any) -> dict[str, Any]:
        return {name: self.skew(name, value) for name, value in self.inner.run(feeds).items()}

    def skew(self, name: str, value: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return (value * self.factor).astype(value.dtype) if value.dtype.kind == "f" else value


def wide(factor: float) -> onnx.ModelProto:
    """With values above 1 in all outputs, so that relative differences are what the factor says."""
    return scaled(factor, "[n, 50]")


def add(monkeypatch: pytest.MonkeyPatch, **factories: Callable[..., Any]) -> None:
    """Make executors known by these names, as a package would."""
    entries = {name: SimpleNamespace(load=lambda f=factory: f) for name, factory in factories.items()}
    monkeypatch.setattr(registry, "_added", lambda: entries)


@pytest.mark.parametrize(
    "on", [["reference", "noisy"], ["noisy", "reference"], ["noisy", "onnx.reference", "reference"]]
)
def test_noise_is_allowed_for(on: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, noisy=Skewed)
    assert verify(wide(1.0), wide(1.0), on=on)
    result = verify(wide(1.0), wide(1.0005), on=on)
    assert result.ok and result.notes == ()
    assert executors_of(result) == on
    for row in result.rows:
        assert row.tolerance == row.noise == pytest.approx(1e-3, rel=0.01)
        assert row.difference == pytest.approx(5e-4, rel=0.1)
    assert verify(wide(1.0), wide(1.0005), on="reference").verdict == "different"
    assert verify(wide(1.0), wide(1.0005), on="noisy").verdict == "different", "alone it shows no noise"


@pytest.mark.parametrize("factor", [1.0015, 1.1, -1.0])
def test_a_wrong_candidate_in_noise(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, noisy=Skewed)
    result = verify(wide(1.0), wide(factor), on=["reference", "noisy"])
    assert result.verdict == "different"
    assert {row.status for row in result.rows} == {"different"}


def test_a_rewrite_is_not_blamed_for_a_runtimes_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two ways to compute the same the executor gets one right to the last bit, the other not."""

    class Moody(Skewed):
        def __init__(self, model: Any, folder: Any = None) -> None:
            nodes = onnx.load_from_string(model).graph.node
            super().__init__(model, 1.001 if len(nodes) > 1 else 1.0, folder)

    add(monkeypatch, moody=Moody)
    long = model("(float[n, 3] x) => (float[n, 3] y) { s = Sigmoid(x)  y = Mul(x, s) }", opset=24, ir=10)
    short = model("(float[n, 3] x) => (float[n, 3] y) { y = Swish(x) }", opset=24, ir=10)
    assert verify(long, short, on=["reference", "moody"])
    assert verify(long, short, on="moody").verdict == "different"
    assert verify(short, long, on=["reference", "moody"]).verdict == "different", "there is no noise on the original"


@pytest.mark.parametrize(("skew", "allowed"), [(0.01, True), (0.045, True), (0.06, False), (0.5, False)])
def test_much_noise_is_no_measure(skew: float, allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, noisy=partial(Skewed, factor=1 + skew))
    on = ["onnx.reference", "reference", "noisy"]
    result = verify(wide(1.0), wide(1 + skew / 2), on=on)
    assert result.ok == allowed
    too_much = f"onnx.reference and noisy disagree on 'y' of the original by {skew:.1e}: too much to allow for"
    assert result.notes == (() if allowed else (too_much,))
    assert {row.noise > 0 for row in result.rows} == {allowed}
    assert verify(wide(1.0), wide(1.0), on=on), "each agrees with itself"


@pytest.mark.parametrize("rtol", [1e-4, 0.1])
def test_what_counts_as_equal_is_the_users_to_say(rtol: float, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, noisy=partial(Skewed, factor=1.2))
    result = verify(wide(1.0), wide(1.0005), on=["reference", "noisy"], rtol=rtol)
    assert result.ok == (rtol > 5e-4)
    assert {(row.noise, row.tolerance) for row in result.rows} == {(0.0, rtol)}
    assert result.notes == ()


def test_noise_of_one_output_says_nothing_about_another(monkeypatch: pytest.MonkeyPatch) -> None:
    class First(Skewed):
        def skew(self, name: str, value: np.ndarray) -> np.ndarray:
            return super().skew(name, value) if name == "y" else value

    add(monkeypatch, first=First)
    text = "(float[n, 50] x) => (float[n, 50] y, float[n, 50] z) {{ a = Relu(x)  y = Mul(a, {})  z = Mul(a, {}) }}"
    constants = {"one": np.float32(1), "near": np.float32(1.0005)}
    right, first, second = (
        model(text.format(*k), **constants) for k in (("one", "one"), ("near", "one"), ("one", "near"))
    )
    on = ["reference", "first"]
    assert verify(right, first, on=on)
    result = verify(right, second, on=on)
    assert {(row.output, row.status) for row in result.rows} == {("y", "equal"), ("z", "different")}


def test_no_noise_in_whole_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    class OneMore(Skewed):
        def skew(self, name: str, value: np.ndarray) -> np.ndarray:
            return value + 1

    add(monkeypatch, more=OneMore)
    text = "(float[n, 3] x) => (int64[n, 3] y) {{ m = Mul(x, big)  r = {}(m)  y = Cast<to = 7>(r) }}"
    right, wrong = (model(text.format(op), big=np.float32(1e3)) for op in ("Floor", "Ceil"))
    assert verify(right, right, on=["reference", "more"])
    result = verify(right, wrong, on=["reference", "more"])
    assert result.verdict == "different"
    assert {row.noise for row in result.rows} == {0.0}


def test_no_noise_in_random_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, noisy=Skewed)
    text = (
        "(float[n, 50] x) => (float[n, 50] y, float[n, 50] z) { y = Relu(x)  r = RandomNormalLike(x)  z = Add(r, x) }"
    )
    result = verify(model(text), model(text), on=["reference", "noisy"])
    assert result.ok and result.notes == ()
    assert {row.noise for row in result.rows if row.output == "z"} == {0.0}


def test_nan_on_one_executor_alone_is_no_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, nan=partial(Skewed, factor=np.nan))
    result = verify(wide(1.0), wide(1.0005), on=["reference", "nan"])
    assert result.verdict == "different"
    assert "reference and nan disagree on 'y' of the original by inf: too much to allow for" in result.notes
    assert {row.noise for row in result.rows} == {0.0}


def test_other_inputs_are_no_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each executor takes inputs of its own, and where a user gives several of one shape."""

    class Picky(Skewed):
        def run(self, feeds: Any) -> dict[str, Any]:
            if feeds["x"].min() < 0:
                raise ValueError("negative")
            return self.inner.run(feeds)

    add(monkeypatch, picky=Picky)
    text = "(int64[n, 3] x) => (float[n, 3] y) { f = Cast<to = 1>(x)  s = Mul(f, small)  y = Add(s, one) }"
    small = model(text, small=np.float32(1e-3), one=np.float32(1))
    result = verify(small, small, on=["reference", "picky"])
    assert result.ok and executors_of(result) == ["reference", "picky"]
    assert {row.noise for row in result.rows} == {0.0}
    some = [{"x": f32([[first, *range(49)]])} for first in (5, 6)]
    result = verify(wide(1.0), wide(1.005), inputs=some, on=["reference", "onnx.reference"])
    assert result.verdict == "different" and result.notes == ()
    assert {row.noise for row in result.rows} == {0.0}


def test_noise_on_given_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, noisy=Skewed)
    some = [{"x": f32([range(50)])}, {"x": f32([range(-9, 41)])}]
    assert verify(wide(1.0), wide(1.0005), inputs=some, on=["reference", "noisy"])
    assert not verify(wide(1.0), wide(1.002), inputs=some, on=["reference", "noisy"])


def test_noise_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, noisy=Skewed)
    rows = json.loads(verify(wide(1.0), wide(1.0), on=["reference", "noisy"]).to_json())["rows"]
    assert [row["executor"] for row in rows] == ["reference"] * 6 + ["noisy"] * 6
    assert {round(row["noise"], 5) for row in rows} == {1e-3}
    add(monkeypatch, noisy=partial(Skewed, factor=np.inf))
    whole = json.loads(verify(wide(1.0), wide(-1.0), on=["reference", "noisy"]).to_json())
    assert {row["difference"] for row in whole["rows"] if row["executor"] == "noisy"} == {None}
    assert "by inf: too much to allow for" in whole["notes"][0]


def test_an_executor_that_cannot_run_the_original_is_no_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuses(Skewed):
        def __init__(self, model: Any, folder: Any = None) -> None:
            raise RuntimeError("not today")

    add(monkeypatch, refuses=Refuses, noisy=Skewed)
    result = verify(wide(1.0), wide(1.0005), on=["refuses", "reference", "noisy"])
    assert result.ok and executors_of(result) == ["reference", "noisy"]
    assert result.notes == ("not comparable: refuses: the original does not run: not today",)
    assert verify(wide(1.0), wide(1.0), on="refuses").verdict == "inconclusive"


# -------------------------------------------------------------------------------------------------- models in all forms
class Wrapped:
    """As graphopt.Model is: a message made when asked for."""

    def __init__(self, proto: onnx.ModelProto, base_dir: Path | None = None) -> None:
        self.proto = proto
        self.base_dir = str(base_dir or "")


class Bare:
    def __init__(self, proto: onnx.ModelProto) -> None:
        self.proto_ = proto

    def SerializeToString(self) -> bytes:
        return bytes(self.proto_.SerializeToString())


def test_forms_of_a_model(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    relu = unary("Relu(x)")
    onnx.save(relu, path)
    for form in (path, str(path), path.read_bytes(), relu, Wrapped(relu), Bare(relu)):
        assert verify(relu, form).ok
        assert verify(form, unary("Neg(x)")).verdict == "different"


def test_a_model_of_onnx_ir() -> None:
    onnx_ir = pytest.importorskip("onnx_ir")
    relu = onnx_ir.from_proto(unary("Relu(x)"))
    assert verify(relu, relu).ok
    assert verify(relu, unary("Neg(x)")).verdict == "different"
    assert graphopt.optimize(relu, verify=True).node_count() == 1


def external(folder: Path) -> onnx.ModelProto:
    """A model of which the weights lie in a file; it comes back without them."""
    k = np.arange(4096, dtype=np.float32)
    whole = model("(float[n, 4096] x) => (float[n, 4096] y) { y = Mul(x, k) }", k=k)
    onnx.save(whole, folder / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    return onnx.load(folder / "m.onnx", load_external_data=False)


def test_external_data(tmp_path: Path) -> None:
    proto = external(tmp_path)
    assert proto.graph.initializer[0].external_data
    assert verify(tmp_path / "m.onnx", tmp_path / "m.onnx").ok
    result = verify(tmp_path / "m.onnx", Wrapped(proto, tmp_path))
    assert result.ok, result
    wrong = external_negated = onnx.ModelProto()
    external_negated.CopyFrom(proto)
    wrong.graph.node[0].op_type = "Add"
    assert verify(tmp_path / "m.onnx", Wrapped(wrong, tmp_path)).verdict == "different"


def test_message_past_the_limit_of_protobuf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the limit lowered: some weights in the message, some in a file already, all of them found again."""
    proto = external(tmp_path)
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((4096,), np.float32), "b"))
    proto.graph.node.append(helper.make_node("Add", ["m", "b"], ["y"]))
    proto.graph.node[0].output[0] = "m"
    before = proto.SerializeToString()
    small = verify(Wrapped(proto, tmp_path), Wrapped(proto, tmp_path))
    monkeypatch.setattr(importlib.import_module("graphopt.exec.executors.model_file"), "_ONE_MESSAGE", 1000)
    large = verify(Wrapped(proto, tmp_path), Wrapped(proto, tmp_path))
    assert small.ok
    assert large.ok
    assert proto.SerializeToString() == before


# --------------------------------------------------------------------------------------------------------- the result
def test_result_is_a_truth_value_and_text() -> None:
    good, bad = verify(unary("Relu(x)"), unary("Relu(x)")), verify(unary("Relu(x)"), unary("Neg(x)"))
    assert good.raise_if_different() is good
    with pytest.raises(VerificationError, match="different") as caught:
        bad.raise_if_different()
    assert caught.value.result is bad
    with pytest.raises(AssertionError, match="inconclusive"):
        verify(unary("Sub(x, x)"), unary("Sub(x, x)")).raise_if_different()
    assert str(good).startswith("verdict: equal")
    assert "n=2; n=3" in str(good)


@pytest.mark.parametrize("candidate", ["Relu(x)", "Neg(x)", "Log(x)"])
def test_result_as_json(candidate: str) -> None:
    result = verify(unary("Relu(x)"), unary(candidate))
    whole = json.loads(result.to_json())
    assert whole["ok"] == result.ok
    assert len(whole["rows"]) == len(result.rows)
    assert whole["rows"][0]["sizes"] == {"n": 2}


def test_result_in_colour() -> None:
    rich = pytest.importorskip("rich.console")
    console = rich.Console(record=True, width=160, file=open("/dev/null", "w"))
    for candidate in (unary("Neg(x)"), unary("Relu(x)", dims="[[n], 3]" if False else "[m, 3]")):
        console.print(verify(unary("Relu(x)"), candidate))
    text = console.export_text()
    assert "different" in text
    assert "was float32[n, 3]" in text


@needs_ort
@pytest.mark.zoo
def test_bug_in_a_model_that_says_next_to_nothing(zoo: ModuleType, zoo_dir: Path) -> None:
    """A text detector, on noise, finds no text: its outputs stay below the tolerance."""
    path = zoo.models(zoo_dir, ["ppocr4-det"])[0]["path"]
    wrong = onnx.load(path)
    cut_an_activation(wrong)
    assert verify(path, path, on="onnxruntime").ok
    assert not verify(path, wrong, on="onnxruntime").ok


def test_same_seeds_same_answer() -> None:
    a, b = (verify(scaled(1.0), scaled(1.00001), seeds=2) for _ in range(2))
    assert a == b


# ----------------------------------------------------------------------------------------------------------- real models
@pytest.mark.zoo
@pytest.mark.parametrize(
    "name",
    ["cond.raw", "llama-2l-kv.dyn", "magika", "moe-topk.raw", "silero-vad", "skl-knn", "tashkeel-bilstm-int8"],
)
def test_real_models_take_the_inputs_made_up(name: str, zoo: ModuleType, zoo_dir: Path) -> None:
    path = zoo.models(zoo_dir, [name])[0]["path"]
    assert verify(path, path).ok


def scale_a_weight(proto: onnx.ModelProto) -> None:
    w = max(proto.graph.initializer, key=lambda t: len(t.raw_data) if t.data_type == TensorProto.FLOAT else 0)
    w.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(w) * np.float32(1.1), w.name))


def cut_an_activation(proto: onnx.ModelProto) -> None:
    node = next(n for n in nodes_of(proto) if n.op_type in ("Relu", "Sigmoid", "Softmax", "Tanh", "Erf"))
    node.op_type = "Identity"
    del node.attribute[:]


@needs_ort
@pytest.mark.zoo
@pytest.mark.parametrize("bug", [scale_a_weight, cut_an_activation])
@pytest.mark.parametrize(
    "name", ["convbn-net.ts", "attn-erf.ts", "llama-2l-kv.ts", "silero-vad-ifless", "moe-topk.dyn"]
)
def test_bugs_planted_in_real_models(
    name: str, bug: Callable[[onnx.ModelProto], None], zoo: ModuleType, zoo_dir: Path
) -> None:
    path = zoo.models(zoo_dir, [name])[0]["path"]
    wrong = onnx.load(path)
    bug(wrong)
    assert verify(path, wrong, on="onnxruntime").verdict == "different"
