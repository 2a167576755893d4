"""What the judge takes for rounding, and what it does not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from graphopt.testing.judging import ELSEWISE, Judge, roundings


def _parsed(text: str, opset: int = 17) -> ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')


@pytest.mark.parametrize(
    ("reference", "elsewhere", "rewritten", "said"),
    [
        (1.0, 1.0, 1.0, ""),
        (1.0, 1.00003, 1.0, ""),  # as if folded by the reference kernels
        (1.0, 1.00003, 1.00006, ""),  # off by as much, the other way
        (1.0, 1.00003, 1.00012, "wrong"),
        (1.0, 1.0, 1.00003, "wrong"),
        (1.0, 1.5, 1.0, ELSEWISE),
    ],
)
def test_what_lies_between_two_executors(
    reference: float, elsewhere: float, rewritten: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = _parsed("g (float[1] x) => (float[1] y) { y = Identity (x) }")
    candidate = _parsed("g (float[1] x) => (float[1] y) { a = Identity (x) y = Identity (a) }")
    gives = {"reference": (reference, reference), "onnxruntime": (elsewhere, rewritten)}
    monkeypatch.setattr(
        Judge, "_run", lambda self, name, model, feeds: {"y": np.float32([gives[name][len(model.graph.node) - 1]])}
    )
    judge = Judge(list(gives))
    found = judge.differences(original, candidate, {"x": np.ones(1, np.float32)})
    assert [d.executor for d in found] == ["onnxruntime"] * (said == "wrong")
    assert list(judge.left_out) == [("onnxruntime", ELSEWISE)] * (said == ELSEWISE)


@pytest.mark.parametrize(("shift", "wrong"), [(0.0, False), (2e-5, True)])
def test_a_normalization_as_factor_and_shift(shift: float, wrong: bool) -> None:
    """Of one element nothing is left but the bias, beside terms that are far larger."""
    text = (
        "g (float[1,1,1] x, float[1] k) => (float[1,1,1] y) <float[1] b = {%r}> { y = InstanceNormalization (x, k, b) }"
    )
    feeds = {"x": np.full((1, 1, 1), 0.25, np.float32), "k": np.ones(1, np.float32)}
    original = _parsed(text % 1.0)
    assert 5e-6 < roundings(original, feeds)["y"] < 1e-3
    found = Judge(["reference"]).differences(original, _parsed(text % (1.0 + 50 * shift)), feeds)
    assert bool(found) is wrong


def test_products_too_small_for_their_dtype() -> None:
    """In float16 (1e-4)² is no number of three digits; divided by as much, the loss is seen."""
    text = "g (float16[2] x) => (float16[2] y) <float16[1] s = {%d}> { p = Mul (x, s) y = Div (p, s) }"
    bits = int(np.float16(1e-4).view(np.uint16))
    feeds = {"x": np.float16([1e-4, 2e-4])}
    assert roundings(_parsed(text % bits), feeds)["y"] > 0.02
    feeds = {"x": np.float16([1, 2])}
    assert roundings(_parsed(text % bits), feeds)["y"] < 0.02


@pytest.mark.parametrize(
    ("x", "w", "body"),
    [
        ("float[1,2]", "float[2,2] w = {1, 1e-4, 1, 1e-4}", "p = MatMul (x, w)"),
        ("float[1,2,1]", "float[2,2,1] w = {1, 1, 1e-4, 1e-4}", "p = Conv (x, w)"),
    ],
    ids=["columns", "channels"],
)
def test_small_weights_beside_large_ones(x: str, w: str, body: str) -> None:
    """What rounding does to one column of a product has nothing to do with the weights of another."""
    text = f"g ({x} x) => (float y) <{w}, int64 i = {{1}}> {{ {body} g = Gather<axis = 1> (p, i) y = ReduceSum<keepdims = 0> (g) }}"
    feeds = {"x": np.full([int(d) for d in x[6:-1].split(",")], 0.75, np.float32)}
    assert roundings(_parsed(text.replace("1e-4", "0.0001")), feeds)["y"] < 1e-5
