"""Initializers that one body alone reads lie in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import graphopt
from graphopt import load
from graphopt.exec.executors import create, installed
from graphopt.ir import Graph, Model
from graphopt.passes import move_initializers_inwards
from graphopt.rewrite import Ledger
from tests.ir import invariants
from tests.ir.building import parse

#: One weight for each place: both branches, one of them, the body of the loop alone, what lies around too, an output.
LOOP = """g (float[2] x, int64 n, bool c) => (float[2] y, float[2] w_out) <
    float[2] w_both = {1, 2}, float[2] w_then = {3, 4}, float[2] w_body = {5, 6}, float[2] w_around = {7, 8},
    float[2] w_out = {9, 10}, float[2] w_given = {0.5, 0.5}> {
    s = Add (x, w_around)
    y = Loop (n, c, s) <body = b (int64 i, bool k, float[2] a) => (bool k2, float[2] o) {
        k2 = Identity (k)
        p = Mul (a, w_body)
        q = Add (p, w_around)
        t = If (k) <then_branch = t () => (float[2] u) { h = Add (q, w_then) u = Mul (h, w_both) },
                    else_branch = e () => (float[2] v) { j = Mul (q, w_both) v = Add (j, w_given) }>
        o = Add (t, w_out)
    }>
}"""
FEEDS = {"x": np.float32([1, -1]), "n": np.array(3), "c": np.array(True)}


def moved(model: ModelProto | Path) -> tuple[Model, int, Ledger]:
    m, ledger = load(model), Ledger()
    count = move_initializers_inwards(m, ledger)
    invariants.check(m)
    assert move_initializers_inwards(m, Ledger()) == 0
    return m, count, ledger


def places(m: Model) -> dict[str, list[str]]:
    def entries(g: Graph) -> list[str]:
        return sorted(v.name for v in g.initializers)

    return {g.name: entries(g) for g in m.graphs() if g.initializers}


def test_each_goes_as_far_in_as_all_that_read_it() -> None:
    model = parse(LOOP)
    given = helper.make_tensor_value_info("w_given", TensorProto.FLOAT, [2])
    model.graph.input.append(given)
    m, count, ledger = moved(model)
    assert count == 3
    assert places(m) == {"g": ["w_around", "w_given", "w_out"], "b": ["w_body", "w_both"], "t": ["w_then"]}
    assert [(s.rule, s.note) for s in ledger.steps] == [("local_initializers", "inwards: w_both, w_then, w_body")]
    onnx.checker.check_model(m.proto, full_check=True)
    graphopt.verify(model, m).raise_if_different()


def test_what_is_found_by_name_stays() -> None:
    model = parse(LOOP)
    model.graph.quantization_annotation.add(tensor_name="y").quant_parameter_tensor_names.add(
        key="SCALE_TENSOR", value="w_then"
    )
    m, count, _ = moved(model)
    assert count == 3 and "w_then" in places(m)["g"]


def test_a_name_that_a_body_has_too() -> None:
    """The branch that hides the outer value keeps its own."""
    model = parse("""g (float[2] x, bool c) => (float[2] y) <float[2] w = {1, 2}> {
        y = If (c) <then_branch = t () => (float[2] u) { u = Add (x, w) },
                    else_branch = e () => (float[2] v) <float[2] w = {3, 4}> { v = Add (x, w) }>
    }""")
    m, count, _ = moved(model)
    assert count == 1 and set(places(m)) == {"t", "e"}
    for c, w in ((True, [1, 2]), (False, [3, 4])):
        got = create("reference", m.proto.SerializeToString()).run({"x": np.float32([1, 2]), "c": np.array(c)})
        np.testing.assert_array_equal(got["y"], np.float32([1, 2]) + np.float32(w))


def test_where_initializers_are_inputs_they_stay() -> None:
    model = parse(LOOP)
    model.ir_version = 3
    model.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in model.graph.initializer
    )
    assert moved(model)[1] == 0


def test_external_data_is_found_from_a_body(tmp_path: Path) -> None:
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 17]>' + LOOP.replace("float[2]", "float[300]"))
    rng = np.random.default_rng(0)
    for t in model.graph.initializer:
        t.CopyFrom(numpy_helper.from_array(rng.normal(size=300).astype(np.float32), t.name))
    whole = model.SerializeToString()
    onnx.save(model, tmp_path / "in.onnx", save_as_external_data=True, size_threshold=0, location="in.data")
    m, count, _ = moved(tmp_path / "in.onnx")
    assert count == 4
    m.save(tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx.data").stat().st_size >= 6 * 1200
    feeds = {**FEEDS, "x": rng.normal(size=300).astype(np.float32)}
    wanted = create("reference", whole).run(feeds)
    for name in ("reference", "onnxruntime"):
        if name in installed():
            got = create(name, tmp_path / "out.onnx").run(feeds)
            np.testing.assert_allclose(got["y"], wanted["y"], rtol=1e-5)


@pytest.mark.skipif("onnxruntime" not in installed(), reason="onnxruntime is not installed")
def test_targets_ask_for_it() -> None:
    model = parse(LOOP)
    m = graphopt.optimize(model, target="onnxruntime")
    assert {"w_body", "w_both"} <= set(places(m)["b"])
    assert m.report is not None and m.report.steps[-1].rule == "local_initializers"
    graphopt.verify(model, m).raise_if_different()
    for kept in (
        graphopt.optimize(model, level=3),
        graphopt.optimize(model, level=2, target="onnxruntime"),
        graphopt.optimize(model, target="onnxruntime", without="local_initializers"),
        graphopt.optimize(model, target="onnxruntime", steps=len(m.report.steps) - 1),
    ):
        assert set(places(kept)) == {"g"}
