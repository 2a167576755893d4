"""Rules of patterns/onnxruntime_cpu, but for those that have files of their own: of convolutions and Einsum."""

from __future__ import annotations

from typing import Any

import pytest

from graphopt.patterns import rules_of
from tests.patterns.building import floats
from tests.patterns.raising_cases import of
from tests.patterns.rule_cases import Case, check_fires, check_refuses


def unary(node: str, x: str = "float[N,64,9]", constants: str = "", **options: Any) -> Case:
    return Case(f"g ({x} x) => ({x} y) <{constants}> {{ y = {node} }}", **options)


def normalized(body: str, x: str = "float[N,S,8]", **options: Any) -> Case:
    text = f"g ({x} x, {x} k) => ({x} y) <{floats('s', 8)}, {floats('b', 8)}> {{ {body} }}"
    return Case(text, **options)


def reduced(node: str, y: str, axes: str, x: str = "float[N,40,100]", **options: Any) -> Case:
    return Case(f"g ({x} x) => ({y} y) <int64[1] a = {{{axes}}}> {{ y = {node} }}", opset=18, **options)


SLOPES = "float[64,1] s = {" + ", ".join(str(k / 100) for k in range(1, 65)) + "}"

# onnx.reference computes LRN for as many channels only as there are images, and fails where these are more.
FIRES = [
    *of(
        "mish_in_exponentials",
        unary("Mish(x)", opset=18, nodes=7),
        unary("Mish(x)", "float[2,300]", opset=22, nodes=7, low=-100.0, high=100.0),
    ),
    *of(
        "prelu_as_maximum",
        unary("PRelu(x, s)", constants=SLOPES, nodes=2),
        unary("PRelu(x, s)", "float[300]", "float[1] s = {0.25}", nodes=2, opset=9),
    ),
    *of(
        "sum_before_normalization",
        normalized("a = Add(x, k) y = LayerNormalization(a, s, b)", nodes=2),
        normalized("a = Add(x, s) y = LayerNormalization<axis = 2, epsilon = 0.1>(a, s)", opset=23, nodes=2),
    ),
    *of(
        "local_response_in_a_convolution",
        unary("LRN<size = 5, alpha = 0.3, beta = 0.75>(x)", "float[7,7,9,9]", nodes=6),
        unary("LRN<size = 3, alpha = 0.3, beta = 0.5, bias = 2.0>(x)", "float[3,3,9,H]", nodes=4),
        unary("LRN<size = 1, alpha = 0.3, beta = 1.0>(x)", "float[3,3,9,9]", nodes=3),
    ),
    *of(
        "softmax_before_one_axis",
        unary("Softmax<axis = 1>(x)", "float[N,16,4,21]", nodes=3),
        unary("LogSoftmax<axis = -3>(x)", "float[2,16,4,21]", nodes=3),
    ),
    *of(
        "sum_of_squares",
        reduced("ReduceL2(x, a)", "float[N,40,1]", "-1", nodes=3),
        reduced("ReduceSumSquare<keepdims = 0>(x, a)", "float[N,40]", "2", nodes=2),
    ),
    *of(
        "mean_of_rows",
        reduced("ReduceMean(x, a)", "float[N,1,100]", "1", nodes=1),
        reduced("ReduceSum<keepdims = 0>(x, a)", "float[N,100]", "-2", nodes=2),
    ),
]

REFUSES = [
    *of(
        "mish_in_exponentials",
        unary("Mish(x)", "float[2,3]", opset=18, reason="few elements"),
        unary("Mish(x)", "double[N,300]", opset=18, reason="float32 only"),
    ),
    *of(
        "prelu_as_maximum",
        unary("PRelu(x, s)", constants="float[1] s = {1.5}", reason="between 0 and 1"),
        unary("PRelu(x, s)", constants="float[1] s = {0}", reason="between 0 and 1"),
    ),
    *of("sum_before_normalization", normalized("a = Sub(x, k) y = LayerNormalization(a, s, b)")),
    *of(
        "local_response_in_a_convolution",
        unary("LRN<size = 5, beta = 0.6>(x)", "float[N,7,9,9]", reason="roots"),
        unary("LRN<size = 5, bias = 0.0>(x)", "float[N,7,9,9]", reason="roots"),
        unary("LRN<size = 5>(x)", "float[N,C,9,9]", reason="channels are not known"),
    ),
    *of(
        "softmax_before_one_axis",
        unary("Softmax<axis = 2>(x)", "float[N,16,4,21]", reason="not two axes"),
        unary("Softmax<axis = 1>(x)", "float[N,16,4,W]", reason="not known"),
    ),
    *of("sum_of_squares", reduced("ReduceL2(x, a)", "float[N,1,100]", "1", reason="not over the last axis")),
    *of(
        "mean_of_rows",
        reduced("ReduceMean(x, a)", "float[N,40,1]", "2", reason="last axis but one"),
        reduced("ReduceMean(x, a)", "float[N,1,100]", "1", "float[N,S,100]", reason="how many rows"),
    ),
]


@pytest.mark.parametrize(("name", "case"), FIRES)
def test_fires(name: str, case: Case) -> None:
    check_fires(name, case)


@pytest.mark.parametrize(("name", "case"), REFUSES)
def test_refuses(name: str, case: Case) -> None:
    check_refuses(name, case)


def test_every_rule_is_tried() -> None:
    names = {r.name for r in rules_of("onnxruntime_cpu") if r.family not in ("convolution", "einsum")}
    assert names == {name for name, _ in FIRES} == {name for name, _ in REFUSES}
