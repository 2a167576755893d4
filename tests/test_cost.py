"""What nodes and models cost: work, bytes, sizes of symbolic dims; and the choices that rest on it."""

from __future__ import annotations

from typing import Any

import pytest
from onnx import parser

import graphopt
from graphopt.cost import BATCH, LENGTH, PIXELS, Machine, Numbers, cost_of, cost_of_model, usual_sizes
from graphopt.cost.sizes import elements_of
from graphopt.ir import Model, load
from graphopt.rewrite import op, rule
from graphopt.shapes import infer_model

#: A machine on which one operation, and one byte, takes a second.
UNIT = Machine(
    node=0.0, bandwidth=1e30, memory=1e30, cache=1e9,
    speed=dict.fromkeys(("product", "convolution", "depthwise", "recurrence", "element", "function", "reduction", "move"), 1.0),
)  # fmt: skip
BYTES = Machine(node=0.0, bandwidth=1.0, memory=1.0, cache=1e9, speed=dict.fromkeys(UNIT.speed, 1e30))


def model(text: str) -> Model:
    m = load(parser.parse_model(f'<ir_version: 9, opset_import: ["" : 18]> {text}'))
    infer_model(m)
    return m


def seconds(text: str, machine: Machine) -> float:
    """Of the last node of the graph."""
    return cost_of(list(model(text).graph)[-1], machine, Numbers()).seconds


@pytest.mark.parametrize(
    ("text", "operations"),
    [
        ("g (float[5,4] x, float[4,3] w) => (float[5,3] y) { y = MatMul(x, w) }", 2 * 5 * 4 * 3),
        ("g (float[4,5] x, float[4,3] w) => (float[5,3] y) { y = Gemm<transA=1>(x, w) }", 2 * 5 * 4 * 3),
        (
            "g (float[1,6,8,8] x, float[4,6,3,3] w) => (float[1,4,6,6] y) { y = Conv(x, w) }",
            2 * 4 * 36 * 6 * 9,
        ),
        (
            "g (float[1,6,8,8] x, float[6,1,3,3] w) => (float[1,6,6,6] y) { y = Conv<group=6>(x, w) }",
            2 * 6 * 36 * 9,
        ),
        ("g (float[5,4] x) => (float[5,4] y) { y = Exp(x) }", 20),
        ("g (float[5,4] x) => (float[4,5] y) { y = Transpose(x) }", 20),
        ("g (float[5,4] x) => (float[5,1] y) { y = ReduceMax<keepdims=1>(x) }", 20),
        ("g (float[5,4] x) => (float[20] y) { y = Flatten(x) }", 0),
        (
            "g (float[7,1,5] x, float[1,12,5] w, float[1,12,3] r) => (float[7,1,1,3] y) { y = LSTM<hidden_size=3>(x, w, r) }",
            2 * 7 * (60 + 36),
        ),
    ],
)
def test_operations(text: str, operations: float) -> None:
    assert seconds(text, UNIT) == operations


def test_bytes() -> None:
    assert seconds("g (float[5,4] x, float[4] b) => (float[5,4] y) { y = Add(x, b) }", BYTES) == 4 * (20 + 4 + 20)
    few = "g (float[500,4] x, int64[3] i) => (float[3,4] y) { y = Gather(x, i) }"
    assert seconds(few, BYTES) == 8 * 3 + 4 * 12  # what it does not read of the table is not counted


def test_symbolic_dims_count_as_usual_sizes() -> None:
    m = model("g (float[N,3,H,W] x, int64[B,S] i) => (float[N,3,H,W] y, int64[B,S] j) { y = Exp(x) j = Neg(i) }")
    assert usual_sizes(m) == {"N": BATCH, "H": PIXELS, "W": PIXELS, "B": BATCH, "S": LENGTH}
    hinted = cost_of_model(m, UNIT, {"N": 2, "H": 10, "W": 10, "S": 5})
    assert hinted.seconds == 2 * 3 * 100 + 5
    assert [o.operator for o in hinted.operators] == ["Exp", "Neg"]
    assert sum(o.share for o in hinted.operators) == pytest.approx(1)


def test_dims_that_are_expressions() -> None:
    m = model("g (float[N,4] x, float[M,4] z) => (float[K,4] y) { a = Concat<axis=0>(x, z) y = Exp(a) }")
    assert cost_of_model(m, UNIT, {"N": 3, "M": 5}).seconds == 2 * 8 * 4


@pytest.mark.parametrize(("dims", "n"), [((2, 3), 6), (("B", 8), 8), (("B", "S", 8), LENGTH * 8), (("S",), LENGTH)])
def test_elements_of_a_tensor(dims: Any, n: int) -> None:
    assert elements_of(dims) == n


def test_of_an_if_the_more_expensive_branch_counts_and_of_a_loop_the_body_several_times() -> None:
    branches = """g (bool c, float[4] x) => (float[4] y) { y = If(c) <
      then_branch = t () => (float[4] a) { a = Exp(x) }, else_branch = e () => (float[4] b) { u = Exp(x) b = Exp(u) }> }"""
    assert cost_of_model(model(branches), UNIT).seconds >= 8


@rule
def two_forms(x):
    """Not a rule of the package: the form with fewer nodes costs more."""
    yield op.Neg(op.Abs(x))
    yield op.Erf(x)
    yield op.Relu(op.Relu(x))


def test_the_cheaper_of_two_forms_is_written() -> None:
    from graphopt.cost import ONNXRUNTIME_CPU, weigher
    from graphopt.rewrite import Driver, Ledger, Rewriter, RuleSet

    text = "g (float[100,1000] x) => (float[100,1000] y) { a = Abs(x) y = Neg(a) }"
    ops = []
    for weigh in (False, True):
        m = model(text)
        weight = weigher(m, ONNXRUNTIME_CPU) if weigh else None
        Driver(Rewriter(m, Ledger(), weigh=weight), RuleSet([two_forms])).run()
        ops.append([n.op for n in m.graph])
    assert ops == [["Erf"], ["Relu", "Relu"]]


def test_without_cost_the_form_with_fewest_nodes_is_taken() -> None:
    m = parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18]> g (float[100,1000] x) => (float[100,1000] y) { a = Abs(x) y = Neg(a) }'
    )
    pytest.importorskip("onnxruntime")
    by_cost = graphopt.optimize(m, 3, target="onnxruntime", rules=[two_forms])
    by_nodes = graphopt.optimize(m, 3, target="onnxruntime", rules=[two_forms], without="cost")
    assert [n.op for n in by_cost.graph] == ["Relu"]  # two of them are one
    assert [n.op for n in by_nodes.graph] == ["Erf"]
