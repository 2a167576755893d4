"""Operators that a runtime lacks, as the functions that define them: valid, with the same values, or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser

import graphopt
from graphopt.exec.executors import create, installed
from graphopt.passes.opset import convert, keeps_nodes, stands_for, write_out, writing_out
from graphopt.shapes import infer_model
from tests.ir import invariants

pytest_ort = pytest.mark.skipif("onnxruntime" not in installed(), reason="onnxruntime is not installed")


def model(text: str, opset: int) -> onnx.ModelProto:
    return parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]>\n{text}')


#: model, its opset, whether its first node can be written out
CASES: dict[str, tuple[str, int, bool]] = {
    "hard swish": ("g (float[4] x) => (float[4] y) { y = HardSwish (x) }", 14, True),
    "which takes a sixth of a float": ("g (double[4] x) => (double[4] y) { y = HardSwish (x) }", 14, False),
    "a mean in float": (
        "g (double[1,4,2] x, double[4] s) => (double[1,4,2] y) { y = GroupNormalization <num_groups = 2> (x, s, s) }", 21, False,
    ),
    "group normalization": (
        "g (float[1,4,2] x, float[4] s) => (float[1,4,2] y) { y = GroupNormalization <num_groups = 2> (x, s, s) }", 21, True,
    ),
    "a logarithm of whole numbers": ("g (uint64[2,2] x) => (uint64[1,1] y) { y = ReduceLogSum (x) }", 18, False),
    "a logarithm of floats": ("g (float[2,2] x) => (float[1,1] y) { y = ReduceLogSum (x) }", 18, True),
    "a window in float": ("g (int32 n) => (double[M] y) { y = HammingWindow <output_datatype = 11> (n) }", 17, False),
    "defined by words": ("g (float[4] x) => (float[4] y) { y = Exp (x) }", 14, False),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_stands_for_a_node(name: str) -> None:
    text, opset, possible = CASES[name]
    m = graphopt.load(model(text, opset))
    infer_model(m)
    node = next(iter(m.graph))
    schema, before = m.schema(node), m.proto.SerializeToString()
    assert schema is not None
    assert (stands_for(node, schema, opset) is not None) is possible
    assert m.proto.SerializeToString() == before
    done = write_out(m, [node], lambda _: True)
    invariants.check(m)
    assert done == ({node.op: 1} if possible else {})
    if possible:
        assert len(m.graph) > 1
        onnx.checker.check_model(m.proto, full_check=True)
        graphopt.verify(model(text, opset), m).raise_if_different()


def test_a_function_that_gives_another_shape_stands_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = parser.parse_function('<domain: "", opset_import: ["": 14]> HardSwish (x) => (y) { y = Flatten (x) }')
    for module in (convert, writing_out):
        monkeypatch.setattr(module, "body_of", lambda *_: wrong)
    m = graphopt.load(model("g (float[4] x) => (float[4] y) { y = HardSwish (x) }", 14))
    infer_model(m)
    node = next(iter(m.graph))
    schema = m.schema(node)
    assert schema is not None and stands_for(node, schema, 14) is None


#: What ONNX Runtime has no kernel for, or only at some opsets: fed with, and whether it runs by itself.
WITHOUT_KERNEL: dict[str, tuple[str, int, dict[str, Any]]] = {
    "prelu": ("g (int32[2] x) => (int32[2] y) { y = PRelu (x, x) }", 17, {"x": np.int32([3, -4])}),
    "prelu beside gelu": (
        """g (int32[2] x, float[2] h) => (int32[2] y, float[2] z) <float r = {1.4142135}, float one = {1}, float half = {0.5}> {
            y = PRelu (x, x) d = Div (h, r) e = Erf (d) s = Add (e, one) p = Mul (h, s) z = Mul (p, half) }""",
        17, {"x": np.int32([3, -4]), "h": np.float32([1, 2])},
    ),
    "prelu of doubles beside gelu": (
        """g (double[2] x, float[2] h) => (double[2] y, float[2] z) <float r = {1.4142135}, float one = {1}, float half = {0.5}> {
            y = PRelu (x, x) d = Div (h, r) e = Erf (d) s = Add (e, one) p = Mul (h, s) z = Mul (p, half) }""",
        17, {"x": np.array([3.0, -4]), "h": np.float32([1, 2])},
    ),
    "group normalization of doubles": (
        "g (double[1,4,2] x, double[4] s) => (double[1,4,2] y) { y = GroupNormalization <num_groups = 2> (x, s, s) }", 21,
        {"x": np.arange(8.0).reshape(1, 4, 2), "s": np.array([1.5, 2, 3, 4])},
    ),
}  # fmt: skip


@pytest_ort
@pytest.mark.parametrize("name", WITHOUT_KERNEL)
def test_what_runs_before_runs_afterwards(name: str) -> None:
    """The runtime puts functions in by itself, but not those of an older operator at any later opset."""
    text, opset, feeds = WITHOUT_KERNEL[name]
    original = model(text, opset)
    m = graphopt.optimize(original, target="onnxruntime")
    onnx.checker.check_model(m.proto, full_check=True)
    want = create("onnxruntime", original.SerializeToString()).run(feeds)
    got = create("onnxruntime", m.proto.SerializeToString()).run(feeds)
    exact = create("reference", m.proto.SerializeToString()).run(feeds)
    reference = create("reference", original.SerializeToString()).run(feeds)
    for k, v in want.items():
        np.testing.assert_allclose(got[k], v, rtol=1e-6)
        np.testing.assert_allclose(exact[k], reference[k], rtol=1e-12 if v.dtype == np.float64 else 1e-6)


@pytest_ort
def test_functions_in_functions_are_written_out_too() -> None:
    text, opset, _ = WITHOUT_KERNEL["prelu beside gelu"]
    m = graphopt.optimize(model(text, opset), target="onnxruntime", without="cast")
    bare = graphopt.optimize(model(text, opset), target="onnxruntime", only="dead_code")
    for made in (m, bare):
        assert not {"PRelu", "CastLike"} & {n.op for n in made.nodes()}
    assert m.opsets[""] == 23


@pytest_ort
def test_what_is_written_out_may_be_led_back() -> None:
    """Opset 8 writes no input that is left out, and parameters that were attributes once more are no constants any more."""
    text = "g (uint64[5,2] x) => (uint64[1,1] y) { y = ReduceL2 (x) }"
    m = graphopt.optimize(model(text, 8), target="onnxruntime")
    onnx.checker.check_model(m.proto, full_check=True)
    sliced = model(
        "g (float[2,8] x) => (float[2,7] y) { s = Slice <axes = [-1], starts = [1], ends = [8]> (x) y = Mul (s, s) }", 7
    )
    back = graphopt.optimize(sliced, target="onnxruntime")
    assert back.opsets[""] == 7 and not back.graph.initializers
    higher = graphopt.load(graphopt.optimize(sliced, 0, opset=13).proto)
    infer_model(higher)
    assert keeps_nodes(higher, {"": 7})
    graphopt.verify(sliced, back).raise_if_different()
