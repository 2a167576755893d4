"""float16 and bfloat16: what is converted, what stays and why, and what may not change about a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from onnx import ModelProto, TensorProto, numpy_helper

import graphopt
from graphopt.compare import interface_differences
from graphopt.errors import ArgumentError, OpsetError
from graphopt.precision import Precision
from graphopt.precision.halves import convert
from graphopt.precision.samples import Samples, peaks
from graphopt.testing import models
from tests.ir import invariants
from tests.ir.building import ops, run, with_constants

F16, BF16 = TensorProto.FLOAT16, TensorProto.BFLOAT16
W = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


def converted(model: ModelProto, dtype: int = F16, **options: Any) -> tuple[ModelProto, dict[str, int]]:
    """The model in another dtype, no rule applied; valid, the given one as it was."""
    before = model.SerializeToString(deterministic=True)
    m = graphopt.load(model)
    stayed = convert(m, dtype, **options)
    invariants.check(m)
    onnx.checker.check_model(m.proto, full_check=True)
    assert model.SerializeToString(deterministic=True) == before
    return m.proto, dict(stayed)


def dtypes(model: ModelProto) -> dict[str, int]:
    """The dtype of every value of the main graph."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    found = {v.name: v.type.tensor_type.elem_type for v in (*inferred.input, *inferred.output, *inferred.value_info)}
    return found | {t.name: t.data_type for t in inferred.initializer}


def computed_in(model: ModelProto, op: str) -> list[int]:
    """The dtypes of the first outputs of all nodes of an operator."""
    known = dtypes(model)
    return [known[n.output[0]] for n in model.graph.node if n.op_type == op]


# ------------------------------------------------------------------------------------------------------- what is converted
@pytest.mark.parametrize("dtype", [F16, BF16])
def test_weights_and_inner_values(dtype: int) -> None:
    m = with_constants(
        "g (float[2, 4] x) => (float[2, 3] y) { a = MatMul(x, w) b = Add(a, c) y = Relu(b) }", w=W, c=W[0]
    )
    out, stayed = converted(m, dtype)
    assert not stayed
    assert ops(out) == ["Cast", "MatMul", "Add", "Relu", "Cast"]
    assert [t.data_type for t in out.graph.initializer] == [dtype, dtype]
    assert not interface_differences(m, out)
    assert dtypes(out)["a"] == dtype  # under its own name
    x = np.float32([[1, 2, 3, 4], [0, -1, 0.5, 2]])
    np.testing.assert_allclose(run(out, x=x)[0], run(m, x=x)[0], rtol=0.02 if dtype == BF16 else 2e-3, atol=0.02)


def test_one_cast_for_all_readers() -> None:
    m = with_constants(
        "g (float[4] x) => (float[4] y) { a = Relu(x) b = CumSum(a, zero) c = CumSum(a, zero) d = Add(b, c) y = Sub(d, x) }",
        zero=np.int64(0),
    )
    out, stayed = converted(m)
    assert stayed == {"positions and sizes need the digits": 2}
    casts = [n.input[0] for n in out.graph.node if n.op_type == "Cast"]
    assert len(casts) == len(set(casts))


def test_interface_on_request() -> None:
    m = with_constants(
        "g (float[2, 4] x, int64[1] k) => (float[2, 3] y, float[2, 3] z, float[2, 3] s) "
        "{ y = MatMul(x, w) z = CumSum(y, k0) s = Identity(y) }",
        w=W, k0=np.int64(0),
    )  # fmt: skip
    out, _ = converted(m, interface=True)
    types = {v.name: v.type.tensor_type.elem_type for v in (*out.graph.input, *out.graph.output)}
    assert types == {"x": F16, "k": TensorProto.INT64, "y": F16, "z": F16, "s": F16}
    x = np.ones((2, 4), np.float16)
    got = run(out, x=x, k=np.int64([0]))
    assert [a.dtype for a in got] == [np.float16] * 3
    np.testing.assert_allclose(got[1], np.cumsum(got[0], 0), rtol=1e-2, atol=1e-2)


def test_branches_and_loops() -> None:
    """Bodies are converted; what goes into and out of them stays, and so does what both branches give."""
    m = with_constants(
        """g (float[2, 4] x, bool c) => (float[2, 3] y) {
            a = Relu(x)
            z = If (c) <then_branch = t () => (float[2, 3] p) { p = MatMul(a, w) },
                        else_branch = e () => (float[2, 3] q) { n = MatMul(a, w) q = Neg(n) }>
            y = Tanh(z)
        }""",
        w=W,
    )
    out, stayed = converted(m)
    assert stayed == {"what goes into and out of its graphs stays": 1}
    bodies = [a.g for n in out.graph.node if n.op_type == "If" for a in n.attribute]
    assert [[n.op_type for n in b.node] for b in bodies] == [["MatMul", "Cast"], ["MatMul", "Neg", "Cast"]]
    assert [t.data_type for t in out.graph.initializer] == [F16]
    x = np.float32([[1, 2, 3, 4], [0, -1, 0.5, 2]])
    for c in (True, False):
        np.testing.assert_allclose(run(out, x=x, c=np.array(c))[0], run(m, x=x, c=np.array(c))[0], atol=2e-3)


def test_loop_keeps_what_it_carries() -> None:
    m = with_constants(
        """g (float[3] x) => (float[3] y) {
            y = Loop (n, yes, x) <body = b (int64 i, bool k, float[3] s) => (bool k2, float[3] t) { k2 = Identity(k) h = Mul(s, half) t = Add(h, x) }>
        }""",
        n=np.int64(3), yes=np.array(True), half=np.float32(0.5),
    )  # fmt: skip
    out, _ = converted(m)
    body = next(a.g for n in out.graph.node if n.op_type == "Loop" for a in n.attribute)
    assert [v.type.tensor_type.elem_type for v in body.input][2] == TensorProto.FLOAT
    x = np.float32([1, 2, 3])
    np.testing.assert_allclose(run(out, x=x)[0], run(m, x=x)[0], rtol=2e-3)


def test_functions_of_the_model_stay() -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[3] x) => (float[3] y) { a = Relu(x) b = local.Twice(a) y = Neg(b) }
        <domain: "local", opset_import: ["": 17]> Twice (p) => (q) { two = Constant <value = float {2}> () q = Mul(p, two) }"""
    m = onnx.parser.parse_model(text)
    out, stayed = converted(m)
    assert stayed == {"a function of the model": 1}
    np.testing.assert_allclose(run(out, x=np.float32([1, -2, 3]))[0], [-2, 0, -6])


def test_inputs_with_a_default_stay_overridable() -> None:
    m = with_constants("g (float[2, 4] x, float[4, 3] w) => (float[2, 3] y) { y = MatMul(x, w) }", w=W)
    out, _ = converted(m)
    assert not interface_differences(m, out)
    x = np.ones((2, 4), np.float32)
    np.testing.assert_allclose(run(out, x=x, w=2 * W)[0], x @ (2 * W), atol=5e-3)


def test_types_in_the_file_are_corrected() -> None:
    m = with_constants("g (float[2, 4] x) => (float[2, 3] y) { a = MatMul(x, w) y = Relu(a) }", w=W)
    m = onnx.shape_inference.infer_shapes(m)
    assert [v.name for v in m.graph.value_info] == ["a"]
    out, _ = converted(m)
    assert {v.name: v.type.tensor_type.elem_type for v in out.graph.value_info} == {"a": F16}


# -------------------------------------------------------------------------------------------------------------- what stays
SQUARES = "squares pass float16's largest number before they are averaged"
POSITIONS = "positions and sizes need the digits"
TINY = "a constant is below float16's smallest number"
LARGE = "a constant passes float16's largest number"
#: What stays in float16: the body, its constants, the operators that stay with their reason.
STAYS: dict[str, tuple[str, dict[str, Any], str, set[str]]] = {
    "tiny scalar": ("a = Add(x, e) y = Relu(a)", {"e": np.float32(1e-7)}, TINY, {"Add"}),
    "large factor": ("a = Mul(x, e) y = Relu(a)", {"e": np.float32(1e6)}, LARGE, {"Mul"}),
    "large but no mask": ("a = Add(x, e) y = Relu(a)", {"e": np.float32(7e4)}, LARGE, {"Add"}),
    "large weight": ("a = Mul(x, e) y = Relu(a)", {"e": np.float32([1, 2, 3e9, 4])}, LARGE, {"Mul"}),
    "counted": ("a = Relu(x) f = Floor(a) y = Neg(f)", {}, POSITIONS, {"Floor"}),
    "angles": ("a = Relu(x) f = Sin(a) y = Neg(f)", {}, POSITIONS, {"Sin"}),
    "mean of squares": (
        "a = Relu(x) s = Mul(a, a) m = ReduceMean<axes = [1]>(s) r = Sqrt(m) y = Div(a, r)",
        {}, SQUARES, {"Mul", "ReduceMean", "Sqrt", "Div"},
    ),
    "mean of powers": (
        "a = Relu(x) s = Pow(a, two) m = ReduceMean<axes = [1]>(s) y = Mul(a, m)",
        {"two": np.float32(2)}, SQUARES, {"Pow", "ReduceMean"},
    ),
    "norm": ("a = Relu(x) y = ReduceL2<axes = [1]>(a)", {}, "sums of many terms pass float16's largest number", {"ReduceL2"}),
}  # fmt: skip


@pytest.mark.parametrize("case", STAYS)
def test_what_stays_in_float16(case: str) -> None:
    body, constants, reason, names = STAYS[case]
    m = with_constants(f"g (float[2, 4] x) => (float[A, B] y) {{ {body} }}", **constants)
    out, stayed = converted(m)
    assert stayed == {reason: len(names)}
    kinds = dtypes(out)
    for n in out.graph.node:
        if n.op_type != "Cast":
            made = kinds[n.output[0]]
            assert (made == TensorProto.FLOAT) == (n.op_type in names), n.op_type


@pytest.mark.parametrize("case", ["tiny scalar", "large factor", "mean of squares", "norm"])
def test_bfloat16_has_the_range(case: str) -> None:
    body, constants, _, _ = STAYS[case]
    _, stayed = converted(with_constants(f"g (float[2, 4] x) => (float[A, B] y) {{ {body} }}", **constants), BF16)
    assert not stayed


def test_positions_stay() -> None:
    """Angles of rotary embeddings: a position times a frequency, up to its cosine, whatever the product is written as."""
    m = with_constants(
        """g (int64[1, N] ids, float[1, N, 4] q) => (float[1, N, 4] y) {
            p = Cast<to = 1>(ids) u = Unsqueeze(p, last) a = MatMul(u, freq) c = Cos(a) s = Mul(c, scale) y = Mul(q, s)
        }""",
        last=np.int64([2]), freq=np.float32([[1, 0.1, 0.01, 0.001]]), scale=np.float32(1.5),
    )  # fmt: skip
    out, stayed = converted(m)
    assert stayed == {POSITIONS: 5}
    ids, q = np.int64([[3000, 3001]]), np.ones((1, 2, 4), np.float32)
    np.testing.assert_allclose(run(out, ids=ids, q=q)[0], run(m, ids=ids, q=q)[0], atol=2e-3)


@pytest.mark.parametrize("lowest", [-1e9, -3.4028234663852886e38])
def test_masks_hide_in_float16(lowest: float) -> None:
    """What is added where nothing may be seen is out of float16's range; where all is hidden, no NaN may come of it."""
    m = with_constants(
        """g (int64[2, 3] mask, float[2, 3] x) => (float[2, 3] y) {
            f = Cast<to = 1>(mask) i = Sub(one, f) h = Mul(i, low) s = Add(x, h) y = Softmax<axis = -1>(s)
        }""",
        one=np.float32(1), low=np.float32(lowest),
    )  # fmt: skip
    out, stayed = converted(m)
    assert not stayed
    mask, x = np.int64([[1, 0, 1], [0, 0, 0]]), np.float32([[1, 2, 3], [1, 1, 1]])
    np.testing.assert_allclose(run(out, mask=mask, x=x)[0][0], run(m, mask=mask, x=x)[0][0], atol=2e-3)
    assert np.isfinite(run(out, mask=mask, x=x)[0]).all()


def test_bounds_and_infinities() -> None:
    m = with_constants(
        "g (float[3] x) => (float[3] y, float[3] z) { y = Clip(x, low, high) z = Add(x, inf) }",
        low=np.float32(0), high=np.float32(3.4e38), inf=np.float32([-np.inf, 0, np.inf]),
    )  # fmt: skip
    out, stayed = converted(m)
    assert not stayed
    y, z = run(out, x=np.float32([-1, 5, 60000]))
    np.testing.assert_array_equal(y, [0, 5, 60000])
    np.testing.assert_array_equal(z, [-np.inf, 5, np.inf])


def test_epsilon() -> None:
    """LayerNormalization computes in float32 whatever comes in; an operator that does not keeps its epsilon."""
    text = "g (float[2, 4, 5] x) => (float[2, 4, 5] y) {{ y = {0} }}"
    s = {"s": np.ones(4, np.float32), "t": np.ones(5, np.float32)}
    norm = with_constants(text.format("LayerNormalization<epsilon = 1e-12>(x, t)"), **s)
    assert not converted(norm)[1]
    other = with_constants(text.format("InstanceNormalization<epsilon = 1e-12>(x, s, s)"), **s)
    assert converted(other)[1] == {"its epsilon is below float16's smallest number": 1}


def test_transpositions_that_runtimes_crash_on() -> None:
    pytest.importorskip("onnxruntime")
    import subprocess
    import sys

    m = with_constants(
        "g (float[2, 3, 4] x) => (float[A, B, C] y) { a = Relu(x) t = Transpose<perm = [1, 0, 2]>(a) y = MatMul(t, w) }",
        w=W,
    )
    out, stayed = converted(m)
    assert stayed == {"ONNX Runtime crashes on it on CPUs": 1}
    for level in (0, 2):
        out = graphopt.optimize(m, level, precision=Precision("fp16", measure=False)).proto
        program = "import sys, onnxruntime as o; o.InferenceSession(sys.stdin.buffer.read(), providers=['CPUExecutionProvider'])"
        subprocess.run([sys.executable, "-c", program], input=out.SerializeToString(), check=True)


def test_resize_keeps_its_scales() -> None:
    m = with_constants(
        "g (float[1, 1, 2, 2] x) => (float[1, 1, 4, 4] y) { a = Relu(x) r = Resize(a, , s) y = Neg(r) }",
        s=np.float32([1, 1, 2, 2]),
    )
    out, stayed = converted(m)
    assert not stayed
    assert [t.data_type for t in out.graph.initializer] == [TensorProto.FLOAT]
    assert computed_in(out, "Resize") == [F16]


@pytest.mark.parametrize("keep", [["Relu"], ["here"]])
def test_kept_on_request(keep: list[str]) -> None:
    m = with_constants("g (float[2, 4] x) => (float[2, 3] y) { a = MatMul(x, w) b = Relu(a) y = Neg(b) }", w=W)
    m.graph.node[1].name = "here"
    out, stayed = converted(m, keep=keep)
    assert stayed == {"kept on request": 1}
    assert computed_in(out, "Relu") == [TensorProto.FLOAT]


def test_quantized_stays_quantized() -> None:
    m = with_constants(
        """g (float[2, 4] x) => (float[2, 3] y) {
            q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) w = DequantizeLinear(wq, s) a = MatMul(d, w) y = Relu(a)
        }""",
        s=np.float32(0.1), z=np.int8(0), wq=np.arange(12, dtype=np.int8).reshape(4, 3),
    )  # fmt: skip
    out, stayed = converted(m)
    assert stayed == {"quantized already: scales stay exact": 3}
    assert {t.name for t in out.graph.initializer} == {"s", "z", "wq"}
    assert computed_in(out, "MatMul") == [F16]


# ------------------------------------------------------------------------------------------------------- graphopt.optimize
def test_optimize() -> None:
    m = with_constants(
        "g (float[2, 4] x) => (float[2, 3] y) { a = Identity(x) b = MatMul(a, w) c = Cast<to = 1>(b) y = Relu(c) }", w=W
    )
    fast = graphopt.optimize(m, precision="fp16")
    assert ops(fast) == ["Cast", "MatMul", "Relu", "Cast"]
    assert fast.report is not None and fast.report.precision is not None
    report = fast.report.precision
    assert report.kind == "fp16" and report.runs >= 1
    assert report.bytes == (48, 24)
    assert report.nodes == ({"float": 2}, {"float16": 3, "float": 1})
    (error,) = report.errors
    assert error.output == "y" and 0 < error.relative < 2e-3 and error.cosine > 0.999
    assert "precision fp16" in str(fast.report)
    assert fast.report.to_dict()["precision"]["errors"][0]["output"] == "y"


def test_what_overflows_on_sample_inputs_stays() -> None:
    """Nothing in the file tells that a product is large; a run does."""
    m = with_constants(
        "g (float[2, 4] x) => (float[2, 3] y) { a = MatMul(x, w) b = Mul(a, a) c = Relu(b) d = Div(c, b2) y = Neg(d) }",
        w=500 * np.ones((4, 3), np.float32), b2=np.float32(1e4),
    )  # fmt: skip
    x = np.ones((2, 4), np.float32)
    report = graphopt.optimize(m, 0, precision=Precision("fp16", inputs={"x": x})).report
    assert report is not None and report.precision is not None
    assert report.precision.stayed == {"its values were near float16's largest number": 3}  # Mul, Relu, Div
    assert report.precision.errors[0].relative < 1e-3
    lost = graphopt.optimize(m, 0, precision=Precision("fp16", inputs={"x": x}, calibrate=False, on="reference")).report
    assert lost is not None and lost.precision is not None
    assert not lost.precision.errors[0].relative < 1e-3


def test_peaks() -> None:
    m = graphopt.load(
        with_constants(
            "g (float[N] x, int64[N] k) => (float[N] y, int64[N] z) { a = Mul(x, two) y = Neg(a) z = Add(k, k) }",
            two=np.float32(2),
        )
    )
    feeds = [{"x": np.float32([1, -3]), "k": np.int64([1, 2])}, {"x": np.float32([]), "k": np.int64([])}]
    for executor in ("reference", "onnxruntime"):
        found = peaks(m, Samples(executor, [(f, {}) for f in feeds]))
        assert found == {"a": 6, "y": 6, "x": 3}


def test_arguments() -> None:
    m = with_constants("g (float[2, 4] x) => (float[2, 3] y) { y = MatMul(x, w) }", w=W)
    with pytest.raises(ArgumentError, match="did you mean 'fp16'"):
        graphopt.optimize(m, precision="fp61")
    with pytest.raises(ArgumentError, match="verify"):
        graphopt.optimize(m, precision="fp16", verify=True)
    with pytest.raises(ArgumentError, match="no input 'z'"):
        graphopt.optimize(m, precision=Precision("fp16", inputs={"z": 1}))
    with pytest.raises(ArgumentError, match="interface"):
        Precision("int8-dynamic", interface=True)
    with pytest.raises(ArgumentError, match="block_size"):
        Precision("int4-weights", block_size=20)
    old = with_constants("g (float[2, 4] x) => (float[2, 3] y) { y = MatMul(x, w) }", opset=12, w=W)
    with pytest.raises(OpsetError, match="opset=13"):
        graphopt.optimize(old, precision="bf16")
    assert graphopt.optimize(old, precision="bf16", opset=13).opsets[""] == 13


def test_nothing_to_convert() -> None:
    m = with_constants("g (int64[2] x) => (int64[2] y) { y = Add(x, x) }")
    report = graphopt.optimize(m, precision="fp16").report
    assert report is not None and report.precision is not None
    assert any("nothing became smaller" in n for n in report.precision.notes)


def test_external_weights_are_read_where_they_lie(tmp_path: Any) -> None:
    m = with_constants("g (float[2, 400] x) => (float[2, 3] y) { y = MatMul(x, w) }", w=np.ones((400, 3), np.float32))
    onnx.save(m, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    data = (tmp_path / "m.data").read_bytes()
    fast = graphopt.optimize(tmp_path / "m.onnx", precision="fp16")
    fast.save(tmp_path / "half.onnx")
    (w,) = onnx.load(tmp_path / "half.onnx").graph.initializer
    assert w.data_type == F16 and (numpy_helper.to_array(w) == 1).all()
    assert (tmp_path / "m.data").read_bytes() == data


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(models())
def test_random_models(example: Any) -> None:
    """Every model comes out valid, with its interface, and runs."""
    for dtype in (F16, BF16):
        if dtype == BF16 and example.model.opset_import[0].version < 13:
            continue
        m = graphopt.load(example.model)
        convert(m, dtype)
        invariants.check(m)
        assert not interface_differences(example.model, m.proto)
        with np.errstate(all="ignore"):
            got = run(m, **example.feeds)
        assert len(got) == len(example.model.graph.output)
