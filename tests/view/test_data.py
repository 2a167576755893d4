"""Models as plain data."""

from __future__ import annotations

import onnx

import graphopt
from graphopt.view.data import model_data, scope_of

TEXT = """<ir_version: 8, opset_import: ["": 18]>
g (float[B, 4] x, bool c) => (float[B, 4] y)
  <float[4] w = {1, 2, 3, 4}>
{
    two = Constant <value: tensor = float {2}> ()
    a = Mul(x, w)
    b = Mul(a, two)
    y = If (c) <
        then_branch = t () => (float[B, 4] p) { p = Relu(b) },
        else_branch = e () => (float[B, 4] q) { r = Neg(b) q = Exp(r) }
    >
}"""


def test_everything_is_numbered_and_connected() -> None:
    data = model_data(graphopt.load(onnx.parser.parse_model(TEXT)))
    assert [n.op for n in data.nodes] == ["Mul", "Mul", "If", "Relu", "Neg", "Exp"]  # a Constant is no node
    assert [(g.title, g.owner, g.nodes) for g in data.graphs] == [
        ("main graph", -1, [0, 1, 2]), ("then_branch", 2, [3]), ("else_branch", 2, [4, 5])
    ]  # fmt: skip
    by_name = {v.name: v for v in data.values}
    assert by_name["b"].type == "float32[B, 4]" and by_name["b"].node == 1
    assert by_name["two"].constant == "2.0" and by_name["w"].constant == "[1.0, 2.0, 3.0, 4.0]"
    captured = data.nodes[1].outputs[0]
    assert data.readers()[captured] == [3, 4]
    assert data.places["Exp", "q"] == 5
    assert all(v < len(data.values) for n in data.nodes for v in (*n.inputs, *n.outputs))


def test_scopes_come_from_both_of_torchs_exporters() -> None:
    assert scope_of("/model/layer.0/MatMul", {}) == ("model", "layer.0")
    namespace = ": m.Wrapper/model: m.Bert/model.layer.0: m.Layer/linear: aten.linear.default"
    assert scope_of("node_linear", {"namespace": namespace}) == ("model", "layer", "0")
    assert scope_of("node_3", {}) == ()
