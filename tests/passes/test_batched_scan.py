"""A Scan that carries nothing from round to round computes all rounds at once."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphopt import optimize
from graphopt.ir import Model
from tests.ir import invariants
from tests.ir.building import ops, parse, run

ROWS = np.float32([[1, -2, 3, 0.5], [0, 0.25, -1, 2], [4, 1, 1, -3]])
X = np.float32([[0.5, 1, -1, 2], [3, 0, 1, 1]])
#: The distances of each row of x to a row of c.
DISTANCE = "d = Identity(a) t = Sub(a, r) s = ReduceSumSquare<axes=[1], keepdims=0>(t)"


def scan(
    nodes: str = DISTANCE,
    attributes: str = "num_scan_inputs=1",
    given: str = "x, c",
    inputs: str = "float[N,4] a, float[4] r",
    outputs: str = "float[N,4] d, float[N] s",
    result: str = "float[3,N] y",
    opset: int = 17,
) -> onnx.ModelProto:
    """A Scan over the rows of c."""
    return parse(
        f"""g (float[N,4] x, float[3,4] c) => ({result}) {{
            last, z = Scan<{attributes}, body = b ({inputs}) => ({outputs}) {{ {nodes} }}>({given}) y = Neg(z)
        }}""",
        opset=opset,
        check=False,
    )


def batch(model: onnx.ModelProto, level: int = 2) -> Model:
    """Optimise with this pass alone; the outputs stay the same."""
    m = optimize(model, level=level, only="batched_scan")
    invariants.check(m)
    onnx.checker.check_model(m.proto, full_check=True)
    for n in (1, 2):
        feeds = {"x": X[:n], "c": ROWS}
        for got, want in zip(run(m, **feeds), run(model, **feeds), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-6)
    return m


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_distances(opset: int) -> None:
    m = batch(scan(opset=opset))
    assert ops(m) == ["Unsqueeze", "Sub", "ReduceSumSquare", "Neg"]
    (step,) = m.report.steps
    assert step.rule == "batched_scan"


def test_constants_of_the_body() -> None:
    """Axes are an input there from opset 18 on."""
    text = """g (float[N,4] x, float[3,4] c) => (float[3,N] y) {
        last, z = Scan<num_scan_inputs=1, body = b (float[N,4] a, float[4] r) => (float[N,4] d, float[N] s)
            <int64[1] k = {1}> { d = Identity(a) t = Sub(a, r) s = ReduceSumSquare<keepdims=0>(t, k) }>(x, c) y = Neg(z)
    }"""
    assert ops(batch(parse(text, opset=18, check=False))) == ["Unsqueeze", "Sub", "ReduceSumSquare", "Neg"]


@pytest.mark.parametrize(
    "nodes",
    [
        "d = Identity(a) t = Sub(r, a) s = ReduceMax<axes=[-1], keepdims=0>(t)",
        "d = Identity(a) t = Mul(r, r) u = Mul(a, t) s = ReduceSum<keepdims=0>(u, k)",
        "d = Identity(a) e = Exp(a) t = Mul(e, r) s = ReduceSum<keepdims=0>(t, k)",
        "d = Identity(a) e = Abs(a) t = Add(e, r) s = ReduceMean<axes=[1], keepdims=0>(t)",
    ],
)
def test_other_bodies(nodes: str) -> None:
    left = ops(batch(scan("k = Constant<value = int64[1] {1}>() " + nodes)))
    assert "Scan" not in left and left[-2].startswith("Reduce")


@pytest.mark.parametrize(
    "model",
    [
        scan("d = Abs(a) t = Sub(a, r) s = ReduceSumSquare<axes=[1], keepdims=0>(t)"),  # carried
        scan("d = Identity(a) t = Sub(a, r) u = Softmax(t) s = ReduceSumSquare<axes=[1], keepdims=0>(u)"),
        scan("d = Identity(a) t = Sub(a, a) s = ReduceSumSquare<axes=[1], keepdims=0>(t)"),  # the same in each round
        scan(attributes="num_scan_inputs=1, scan_input_directions=[1]"),
        scan(attributes="num_scan_inputs=1, scan_output_directions=[1]"),
        scan(attributes="num_scan_inputs=1, scan_output_axes=[1]", result="float[N,3] y"),
    ],
)
def test_what_stays(model: onnx.ModelProto) -> None:
    assert ops(batch(model)) == ["Scan", "Neg"]


def test_rounds_of_unknown_number() -> None:
    model = scan()
    model.graph.input[1].type.tensor_type.shape.dim[0].dim_param = "M"
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "M"
    assert ops(batch(model)) == ["Scan", "Neg"]


def test_too_many_rounds() -> None:
    model = scan()
    model.graph.input[1].type.tensor_type.shape.dim[0].dim_value = 1 << 14
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1 << 14
    assert ops(optimize(model, only="batched_scan")) == ["Scan", "Neg"]


def test_other_lengths() -> None:
    """That of 1 would be broadcast, where Scan fails."""
    text = """g (float[3,4] x, float[1,4] c) => (float[3,4] y) {
        z = Scan<num_scan_inputs=2, body = b (float[4] p, float[4] q) => (float[4] r) { r = Add(p, q) }>(x, c) y = Neg(z)
    }"""
    assert ops(optimize(parse(text, check=False), only="batched_scan")) == ["Scan", "Neg"]


def test_two_scanned_inputs() -> None:
    text = """g (float[3,4] x, float[3,4] c) => (float[3,4] y) {
        z = Scan<num_scan_inputs=2, body = b (float[4] p, float[4] q) => (float[4] r) { r = Mul(p, q) }>(x, c) y = Neg(z)
    }"""
    m = optimize(parse(text, check=False), only="batched_scan")
    assert ops(m) == ["Mul", "Neg"]
    np.testing.assert_allclose(run(m, x=ROWS, c=ROWS)[0], -ROWS * ROWS)


def test_not_on_level_1() -> None:
    assert ops(batch(scan(), level=1)) == ["Scan", "Neg"]
