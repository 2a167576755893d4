"""What became of which node."""

from __future__ import annotations

import onnx
import pytest

import graphopt
from graphopt.demo import demo_model
from graphopt.rewrite import NodeRecord, Step
from graphopt.view.data import ModelData, model_data
from graphopt.view.lineage import from_models, from_steps

CHAIN = """<ir_version: 8, opset_import: ["": 18]>
g (float[2, 3] x) => (float[2, 3] y) {
    a = Transpose <perm = [1, 0]> (x)
    b = Transpose <perm = [1, 0]> (a)
    c = Relu(b)
    d = Relu(c)
    y = Exp(d)
}"""


def both(model: onnx.ModelProto) -> tuple[ModelData, ModelData, graphopt.Report]:
    optimized = graphopt.optimize(model)
    assert optimized.report is not None and optimized.report.origin is not None
    return model_data(optimized.report.origin.reread()), model_data(optimized), optimized.report


def test_a_node_is_followed_over_several_steps() -> None:
    before, after, report = both(demo_model())
    lineage = from_steps(before, after, report.steps)
    attention = [n for n, node in enumerate(after.nodes) if node.op == "LayerNormalization"]
    assert len(attention) == 2
    for n in attention:
        origins = {before.nodes[b].op for c in lineage.changes if n in c.after for b in c.before}
        assert {"ReduceMean", "Sub", "Sqrt", "Div"} <= origins


def test_every_difference_is_explained() -> None:
    before, after, report = both(demo_model())
    lineage = from_steps(before, after, report.steps)
    gone = set(range(len(before.nodes))) - set(lineage.kept.values())
    came = set(range(len(after.nodes))) - set(lineage.kept)
    assert gone <= {n for c in lineage.changes for n in c.before}
    assert came <= {n for c in lineage.changes for n in c.after}
    assert all(after.nodes[a].op == before.nodes[b].op for a, b in lineage.kept.items())


def test_two_files_are_matched_as_the_ledger_has_it() -> None:
    before, after, report = both(demo_model())
    known, guessed = from_steps(before, after, report.steps), from_models(before, after)
    assert known.kept.items() <= guessed.kept.items()
    pieces = [n for c in guessed.changes for n in c.before]
    assert sorted(pieces) == sorted(set(range(len(before.nodes))) - set(guessed.kept.values()))


@pytest.mark.parametrize("rename", [False, True])
def test_names_need_not_agree(rename: bool) -> None:
    proto = onnx.parser.parse_model(CHAIN)
    result = graphopt.optimize(proto).proto
    if rename:
        for node in result.graph.node:
            node.name = ""
            node.input[:] = [v if v in "xy" else f"other_{v}" for v in node.input]
            node.output[:] = [v if v in "xy" else f"other_{v}" for v in node.output]
    before, after = (model_data(graphopt.load(m)) for m in (proto, result))
    lineage = from_models(before, after)
    assert [after.nodes[n].op for n in range(len(after.nodes))] == ["Relu", "Exp"]
    assert set(lineage.kept) == {0, 1}
    assert sorted(op for c in lineage.changes for op, _ in c.removed) == ["Relu", "Transpose", "Transpose"]


def data_of(body: str) -> ModelData:
    text = f'<ir_version: 8, opset_import: ["": 18]> g (float[4] x) => (float[4] y) {{ {body} }}'
    return model_data(graphopt.load(onnx.parser.parse_model(text)))


def test_what_came_and_went_leads_from_the_first_model_to_the_last() -> None:
    def step(before: str, after: str) -> Step:
        return Step("rule", "", "g", (NodeRecord(before, "", "y", ("x",)),), (NodeRecord(after, "", "y", ("x",)),), 1.0)

    lineage = from_steps(data_of("y = Abs(x)"), data_of("y = Sin(x)"), [step("Abs", "Exp"), step("Exp", "Sin")])
    assert [(c.before, c.after) for c in lineage.changes] == [([0], [0]), ([0], [0])] and not lineage.kept


def test_what_differs_is_one_piece_where_it_is_connected() -> None:
    (change,) = from_models(data_of("a = Abs(x) y = Relu(a)"), data_of("b = Sin(x) y = Exp(b)")).changes
    assert (change.before, change.after) == ([0, 1], [0, 1])
    assert [op for op, _ in change.removed] == ["Abs", "Relu"] and [op for op, _ in change.added] == ["Sin", "Exp"]


def test_nodes_of_other_names_are_matched_by_what_they_compute() -> None:
    before, after = data_of("a = Abs(x) b = Exp(a) y = Relu(b)"), data_of("c = Abs(x) d = Exp(c) y = Neg(d)")
    assert from_models(before, after).kept == {0: 0, 1: 1}


def test_equal_models_have_no_changes() -> None:
    data = model_data(graphopt.load(demo_model()))
    lineage = from_models(data, data)
    assert lineage.kept == {n: n for n in range(len(data.nodes))} and not lineage.changes
