"""Provenance in the metadata of nodes: who made them, of what; and nothing else changes."""

from __future__ import annotations

import onnx
import pytest
from onnx import parser

import graphopt
from graphopt.demo import demo_model
from graphopt.rewrite.provenance import NODES, RULES, provenance_of

MODEL = """<ir_version: 10, opset_import: ["" : 21]>
    main (float[a, b, c] x) => (float[b, a, c] y) {
        t = Transpose<perm = [0, 2, 1]>(x)
        u = Transpose<perm = [1, 0, 2]>(t)
        v = Transpose<perm = [2, 1, 0]>(u)
        y = Relu(v)
    }
"""


def props(node: onnx.NodeProto) -> dict[str, str]:
    return {p.key: p.value for p in node.metadata_props}


def without_props(model: onnx.ModelProto) -> onnx.ModelProto:
    out = onnx.ModelProto()
    out.CopyFrom(model)
    for node in out.graph.node:
        del node.metadata_props[:]
    return out


def named() -> onnx.ModelProto:
    model = parser.parse_model(MODEL)
    for node in model.graph.node:
        node.name = f"layer/{node.output[0]}"
    return model


def test_rules_and_nodes_are_told() -> None:
    model = named()
    made = graphopt.optimize(model, provenance=True)
    assert made.report is not None
    transpose, relu = made.proto.graph.node
    assert props(transpose)[RULES].split(", ")[-1] == made.report.steps[-1].rule == "transpose_transpose"
    assert set(props(transpose)[NODES].split(", ")) == {"layer/t", "layer/u", "layer/v"}, "through two rewrites"
    assert not props(relu), "a node that was there already"
    onnx.checker.check_model(made.proto, full_check=True)


@pytest.mark.parametrize("make", [named, demo_model])
def test_nothing_else_changes(make: object) -> None:
    model = make()  # type: ignore[operator]
    plain, told = graphopt.optimize(model).proto, graphopt.optimize(model, provenance=True).proto
    assert any(props(n) for n in told.graph.node) and not any(props(n) for n in plain.graph.node)
    assert without_props(told) == plain
    assert told.ir_version == model.ir_version


def test_older_ir_versions_stay_and_a_note_says_so() -> None:
    model = named()
    model.ir_version = 8
    made = graphopt.optimize(model, provenance=True)
    assert made.report is not None and made.proto.ir_version == 8
    assert any("IR version 8" in w and "provenance" in w for w in made.report.warnings)
    onnx.checker.check_model(made.proto, full_check=True)


def test_other_metadata_stays_and_a_second_time_adds() -> None:
    model = named()
    for node in model.graph.node:
        node.metadata_props.add(key="namespace", value="main/layer")
    once = graphopt.optimize(model, provenance=True)
    node = once.proto.graph.node[0]
    assert props(node)["namespace"] == "main/layer" and RULES in props(node)
    again = graphopt.optimize(once.proto, provenance=True).proto.graph.node[0]
    assert props(again) == props(node), "what was not changed says what it said"
    first = next(iter(graphopt.load(once.proto).nodes()))
    assert provenance_of(first) == props(node)[RULES].split(", ")


def test_many_nodes_are_a_number() -> None:
    perm = "".join(f"t{i + 1} = Transpose<perm = [1, 2, 0]>(t{i}) " for i in range(20))
    text = f'<ir_version: 10, opset_import: ["" : 21]> g (float[a, b, c] t0) => (float[d, e, f] y) {{ {perm} y = Relu(t20) }}'
    node = graphopt.optimize(parser.parse_model(text), provenance=True).proto.graph.node[0]
    assert props(node)[NODES].endswith("more") and props(node)[NODES].count(",") == 7
    assert props(node)[RULES] == "transpose_transpose"


def test_inside_bodies() -> None:
    model = parser.parse_model("""<ir_version: 10, opset_import: ["" : 21]>
        g (float[a, b, c] x, bool k) => (float[d, e, f] y) { y = If(k) <
            then_branch = yes () => (float[d, e, f] p) { s = Transpose<perm = [0, 2, 1]>(x) t = Transpose<perm = [1, 0, 2]>(s) p = Relu(t) },
            else_branch = no () => (float[d, e, f] q) { q = Neg(x) }> }""")
    made = graphopt.optimize(model, provenance=True).proto
    inner = [n for a in made.graph.node[-1].attribute for n in a.g.node]
    assert any("transpose_transpose" in props(n).get(RULES, "") for n in (*inner, *made.graph.node))
