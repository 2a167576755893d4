"""The fuzzer finds planted mistakes, shrinks them, goes on where it stopped, and runs findings again."""

from __future__ import annotations

import importlib.util
import unittest
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import strategies as st
from onnx import ModelProto

from graphopt.errors import ArgumentError, MissingDependencyError, ModelError
from graphopt.testing import peers
from graphopt.testing.fuzzing.campaign import drawn, fuzz
from graphopt.testing.fuzzing.corpus import Corpus, read_example, tally
from graphopt.testing.fuzzing.examining import Examiner, Finding, Outcome, RemoteExaminer, named
from graphopt.testing.random_models.graphs import Example
from graphopt.testing.seeds import Seeded
from tests.testing import planted_optimizers as planted

PLANTED = "tests.testing.planted_optimizers"


@pytest.mark.parametrize(
    ("optimizer", "kind"),
    [
        (planted.swapped_operands, "values"),
        (planted.lost_node, "invalid"),
        (planted.no_such_attribute, "invalid"),
        (planted.raises, "crash"),
        (planted.renamed_output, "interface"),
        (planted.folded_default, "interface"),
    ],
)
def test_planted_mistakes_are_found_and_shrunk(
    optimizer: Callable[[ModelProto], ModelProto], kind: str, tmp_path: Path
) -> None:
    examine = Examiner(optimizer, on=["reference"])

    def finds(seed: int) -> bool:
        example = drawn(seed, 12)
        finding = examine(example).finding if example is not None else None
        return finding is not None and finding.kind == kind

    first = next((seed for seed in range(100) if finds(seed)), None)
    assert first is not None
    # more time than it takes on a quiet machine
    found = fuzz(optimizer, on=["reference"], seed=first, seeds=1, corpus=tmp_path, shrink_seconds=15)
    groups = [g for g in found.found.values() if g.kind == kind]
    smallest = min((read_example(tmp_path / g.file) for g in groups), key=lambda e: tally(e.model))
    assert tally(smallest.model) <= 5
    finding = Examiner(optimizer, on=["reference"])(smallest).finding
    assert finding is not None and finding.kind == kind
    text = (tmp_path / groups[0].file).with_suffix(".txt").read_text()
    assert "graphopt fuzz --replay" in text.splitlines()[-1] and groups[0].file in text


def test_what_does_not_fail_again_is_not_shrunk() -> None:
    tried: list[int] = []
    try:
        Seeded(st.integers()).shrink(3, tried.append, ValueError)
    except unittest.SkipTest as e:  # which would leave this test out
        pytest.fail(str(e))
    assert tried


def test_nothing_is_found_where_nothing_is_wrong(tmp_path: Path) -> None:
    found = fuzz(planted.harmless, seeds=30, corpus=tmp_path)
    assert found.run.findings == {} and found.run.done == 30 and found.run.compared["reference"] > 30
    assert [p.name for p in tmp_path.iterdir()] == ["corpus.json"]


def test_one_mistake_does_not_fill_the_corpus(tmp_path: Path) -> None:
    found = fuzz(planted.raises, on=["reference"], seeds=60, corpus=tmp_path, shrink_seconds=1)
    assert found.run.findings["crash"] > 3
    assert len(list(tmp_path.glob("*.onnx"))) == len(found.run.groups) == 1


def test_a_second_call_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    first = fuzz(seeds=6, on=["reference"], corpus=tmp_path, seed=5)
    second = fuzz(seeds=10, on=["reference"], corpus=tmp_path, seed=5)
    assert (first.seeds, second.seeds) == (range(5, 11), range(11, 15))
    assert fuzz(seeds=10, on=["reference"], corpus=tmp_path, seed=5).seeds == range(15, 15)
    other = fuzz(seeds=2, on=["reference"], corpus=tmp_path, seed=5, level=1)
    assert other.seeds == range(5, 7) and len(Corpus(tmp_path).runs) == 2


def test_the_same_seeds_give_the_same_findings() -> None:
    runs = [fuzz(planted.raises, on=["reference"], seeds=15, shrink_seconds=0).run for _ in range(2)]
    assert runs[0].findings == runs[1].findings != {}


@pytest.mark.parametrize(("function", "kind", "limit"), [("dies", "death", 30.0), ("hangs", "hang", 4.0)])
def test_an_optimizer_that_dies_or_hangs_is_a_finding(function: str, kind: str, limit: float) -> None:
    examine = RemoteExaminer(f"{PLANTED}:{function}", 2, ["reference"], limit=limit)
    op = {"dies": "Add", "hangs": "Mul"}[function]
    bad, good = _model(f"y = {op} (x, x)"), _model("y = Abs (x)")
    try:
        assert examine(good).finding is None
        finding = examine(bad).finding
        assert finding is not None and finding.kind == kind
        assert examine(good).finding is None  # it was started again
    finally:
        examine.close()


def _model(nodes: str, inputs: str = "float[2] x", outputs: str = "float[2] y", opset: int = 17) -> Example:
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]> g ({inputs}) => ({outputs}) {{ {nodes} }}'
    )
    return Example(model, {"x": np.float32([1.5, -2])}, True)


def test_an_executor_that_dies_of_the_original_is_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    examine, dead = RemoteExaminer("", 2, ["reference"]), Outcome(Finding("death", "the process ended with code -11"))
    monkeypatch.setattr(examine, "_asked", lambda example, alone: dead)
    outcome = examine(_model("y = Relu (x)"))
    assert outcome.finding is None and outcome.left_out == {"an executor does not survive the original (death)": 1}
    monkeypatch.setattr(examine, "_asked", lambda example, alone: Outcome() if alone else dead)
    assert examine(_model("y = Relu (x)")) is dead


def test_another_interface_does_not_hide_other_values() -> None:
    example = _model("y = Sub (x, w)", "float[2] x, float[2] w, float[2] unused")
    example.feeds.update(w=np.float32([1, 1]), unused=np.zeros(2, np.float32))

    def lost(model: ModelProto) -> ModelProto:
        del model.graph.input[2]
        return model

    finding = Examiner(lost, on=["reference"])(example).finding
    assert finding is not None and finding.kind == "interface"
    finding = Examiner(lambda m: lost(planted.swapped_operands(m)), on=["reference"])(example).finding
    assert finding is not None and finding.kind == "values"


def test_level_1_wants_every_bit() -> None:
    example = _model("a = Mul (x, x) b = Mul (a, x) y = Mul (b, x)")
    example.feeds["x"] = np.float32([1.1, 1.3])

    def regrouped(model: ModelProto) -> ModelProto:
        model.graph.node[1].input[:] = ["x", "x"]
        model.graph.node[2].input[:] = ["a", "b"]
        return model

    assert Examiner(regrouped, 2, ["reference"])(example).finding is None
    finding = Examiner(regrouped, 1, ["reference"])(example).finding
    assert finding is not None and "bits" in finding.detail


def test_inputs_of_every_dtype_are_written_and_read(tmp_path: Path) -> None:
    corpus, seen = Corpus(tmp_path), set()
    for example in filter(None, map(drawn, range(60))):
        back = read_example(tmp_path / corpus.add("one", example, "story", []))
        assert back.finite == example.finite
        for name, array in example.feeds.items():
            seen.add(array.dtype.name)
            assert back.feeds[name].dtype == array.dtype and np.array_equal(back.feeds[name], array)
    assert {"float32", "int64", "bool"} < seen


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        read_example(tmp_path / "none.onnx")
    (tmp_path / "corpus.json").write_text("{}")
    with pytest.raises(ArgumentError, match="no record of a campaign"):
        Corpus(tmp_path)
    for text in ("nonsense", "graphopt:nothing", "no.such.module:f"):
        with pytest.raises(ArgumentError, match="--optimizer"):
            named(text)


@pytest.mark.parametrize(
    "peer", ["onnxsim", "onnxslim", "onnxoptimizer", "onnxscript", "onnxruntime_basic", "onnxruntime_extended"]
)
def test_peers_optimize(peer: str) -> None:
    if importlib.util.find_spec(peer.partition("_")[0]) is None:
        pytest.skip(f"{peer} is not installed")
    example = _model("i = Identity (x) y = Relu (i)")
    on = ["onnxruntime"] if peer.startswith("onnxruntime") else ["reference"]
    assert Examiner(getattr(peers, peer), on=on)(example).finding is None
    assert len(getattr(peers, peer)(example.model).graph.node) == 1


def test_a_model_that_a_peer_cannot_run_at_all_is_no_finding() -> None:
    pytest.importorskip("onnxruntime")
    example = _model("y = Conv (x, x)", "double[1,1,2] x", "double[1,1,N] y")
    example.feeds["x"] = np.ones((1, 1, 2))
    outcome = Examiner(peers.onnxruntime_basic, on=["onnxruntime"])(example)
    assert outcome.finding is None and not outcome.compared


def test_what_could_not_be_compared_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    examine, both = Examiner(planted.swapped_operands), {"reference": 1, "onnxruntime": 1}
    example = _model("y = Sub (x, k)", "float[2] x, float[2] k")
    example.feeds.update(x=np.zeros(2, np.float32), k=np.ones(2, np.float32))
    outcome = Examiner(planted.harmless)(example)
    assert outcome.compared == both and not outcome.left_out
    monkeypatch.setattr("graphopt.testing.fuzzing.examining._credible", lambda *_: False)
    outcome = examine(example)
    assert outcome.finding is not None and outcome.finding.detail.startswith("output 'y' of reference")
    assert outcome.left_out == {"onnxruntime computes the original in another way than the first one": 1}
    example = _model("y = Conv (x, x)", "double[1,1,2] x", "double[1,1,N] y")
    example.feeds["x"] = np.ones((1, 1, 2))
    outcome = Examiner(planted.harmless)(example)
    assert outcome.compared == {"reference": 1} and outcome.left_out == {"onnxruntime does not run the original": 1}


def test_a_peer_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxslim", None)
    with pytest.raises(MissingDependencyError, match="pip install onnxslim"):
        peers.onnxslim(_model("y = Relu (x)").model)


# ------------------------------------------------------------------------------------------- what it found in graphopt
@pytest.mark.parametrize(
    ("inputs", "outputs", "nodes", "feeds"),
    [
        pytest.param(
            "double[2,3] x", "double[2,3] y",
            "k = Constant <value = double {0.3333333333333333}> () e = Elu (x) y = Mul (e, k)",
            {"x": np.arange(6.0).reshape(2, 3) - 3}, id="Selu's factor is a float32, not enough for doubles",
        ),
        pytest.param(
            "int64[2,2] x, int64[2] t", "int64[2,2] y", "g = Gemm <alpha = 1.375> (x, x) y = Add (g, t)",
            {"x": np.array([[4, -1], [4, -2]]), "t": np.array([8, 4])}, id="Gemm of integers cuts off after the sum",
        ),
        pytest.param(
            "uint64[1,1] x, uint64[1] t", "uint64[1,1] y", "g = Gemm <beta = 0.5> (x, x) y = Add (g, t)",
            {"x": np.array([[2**31 + 1]], np.uint64), "t": np.array([3], np.uint64)}, id="no C, no beta",
        ),
        pytest.param(
            "float[2] x", "optional(float[2]) y", "k = Constant <value = float[2] {1, 2}> () y = Optional (k)",
            {"x": np.zeros(2, np.float32)}, id="an optional that holds a constant is no constant",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("level", [1, 2])
def test_what_was_found(inputs: str, outputs: str, nodes: str, feeds: dict[str, np.ndarray], level: int) -> None:
    example = _model(nodes, inputs, outputs, 18)
    assert Examiner("", level)(Example(example.model, feeds, True)).finding is None
