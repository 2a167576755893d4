"""Does the measuring itself see what it should? The synthetic models, the comparisons, and `benchmarks.models`."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from benchmarks import graphs, harness, models

ROOT = Path(__file__).parents[2]


# -------------------------------------------------------------------------------------------------------------- graphs
@pytest.mark.parametrize("nodes", [1, 2, 7, 50, 1000])
def test_a_random_graph_is_valid_live_and_always_the_same(nodes: int) -> None:
    model = graphs.random_dag(nodes, seed=5)
    onnx.checker.check_model(model, full_check=True)
    assert len(model.graph.node) == nodes
    assert model.SerializeToString() == graphs.random_dag(nodes, seed=5).SerializeToString()
    assert nodes < 50 or model.SerializeToString() != graphs.random_dag(nodes, seed=6).SerializeToString()
    used = {name for node in model.graph.node for name in node.input} | {value.name for value in model.graph.output}
    assert all(node.output[0] in used for node in model.graph.node)


def test_a_random_graph_computes_something_finite() -> None:
    model = graphs.random_dag(3000, seed=1)
    assert len({node.op_type for node in model.graph.node}) == len(graphs.UNARY) + len(graphs.BINARY)
    evaluator = ReferenceEvaluator(model)
    results: list[list[Any]] = []
    for seed in range(2):
        draw = np.random.default_rng(seed)
        feeds = {value.name: draw.normal(size=(3, 4)).astype(np.float32) for value in model.graph.input}
        results.append(list(evaluator.run(None, feeds)))
    assert all(np.isfinite(value).all() for value in results[0])
    assert harness.distance(results[0], results[1]) > 1e-3


def test_a_chain_is_a_chain() -> None:
    model = graphs.chain(9)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Add", "Relu", "Mul", "Sigmoid"] * 2 + ["Add"]
    assert harness.count_nodes(model) == 9


# --------------------------------------------------------------------------------------------------------- comparisons
ONES = np.ones(3, np.float32)


def f32(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("want", "got"),
    [
        (ONES, np.ones(4, np.float32)),
        (ONES, np.ones(3)),
        (ONES, f32([1, 1, 1.01])),
        (ONES, f32([1, 1, math.nan])),
        (np.array([1, 2]), np.array([1, 3])),
        (np.array(["a"]), np.array(["b"])),
        ([ONES], [ONES, ONES]),
        ([ONES], ONES),
        (None, ONES),
    ],
)
def test_what_differs_is_seen(want: Any, got: Any) -> None:
    assert harness.mismatch([want], [got], 1e-3, 1e-7)
    assert harness.bit_mismatch([want], [got])


def test_what_agrees_up_to_rounding_does_not_agree_in_bits() -> None:
    assert harness.mismatch([ONES], [ONES * np.float32(1 + 1e-6)], 1e-3, 0) is None
    assert harness.bit_mismatch([ONES], [ONES * np.float32(1 + 1e-6)])
    assert harness.bit_mismatch([f32([0.0])], [f32([-0.0])])
    assert harness.bit_mismatch([f32([math.nan])], [-f32([math.nan])]) is None


def test_distance_is_relative_to_the_largest_value() -> None:
    assert harness.distance([f32([0, 100])], [f32([1, 100])]) == pytest.approx(0.01)
    assert harness.distance([f32([0, 0.1])], [f32([0.1, 0.1])]) == pytest.approx(0.1)
    assert harness.distance([f32([1, math.inf])], [f32([1, math.inf])]) == 0
    assert harness.distance([f32([1, math.inf])], [f32([1, 2])]) == math.inf
    assert harness.distance([np.array([1, 2])], [np.array([1, 3])]) == math.inf


# -------------------------------------------------------------------------------------------------- benchmarks.models
def run(folder: Path, *arguments: str) -> tuple[int, str, list[dict[str, Any]]]:
    report = folder / "report.json"
    command = [
        sys.executable,
        "-m",
        "benchmarks.models",
        "--models",
        str(folder),
        "--levels",
        "1",
        "--json",
        str(report),
    ]
    done = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert report.is_file(), done.stdout + done.stderr
    return done.returncode, done.stdout, json.loads(report.read_text())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model whose one subtraction and one Relu matter."""
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[batch, 4] x) => (float[batch, 4] y)
        <float[4] c = {-1, 0.5, -0.5, 1}>
        { a = Sub(x, c)  y = Relu(a) }""")
    onnx.save(model, tmp_path / "small.onnx")
    return tmp_path


def test_the_identity_passes(folder: Path) -> None:
    code, printed, (verdict,) = run(folder, "--optimizer", "identity")
    assert code == 0, printed
    assert (verdict["nodes_before"], verdict["nodes_after"], verdict["difference"], verdict["bits"]) == (
        2,
        2,
        0,
        "same",
    )
    assert not verdict["weak"]


@pytest.mark.parametrize(
    ("bug", "seen_by"),
    [
        ("swap_operands", {"values", "bits"}),
        ("drop_activations", {"values", "bits"}),
        ("rename_outputs", {"interface"}),
        ("name_dims", {"interface"}),
        ("last_bit", {"bits"}),
        ("refuse", {"optimizer"}),
        ("die", {"optimizer"}),
        ("invalid", {"checker", "run"}),
    ],
)
def test_planted_bugs_are_seen(bug: str, seen_by: set[str], folder: Path) -> None:
    code, printed, (verdict,) = run(folder, "--optimizer", f"tests.conformance.planted:{bug}")
    assert code == 1, printed
    assert set(verdict["failed"]) == seen_by, printed


def test_inputs_follow_the_manifest() -> None:
    def made(**spec: Any) -> np.ndarray:
        return models.make_input({"name": "x", "shape": [2, 3], "dtype": "float32", **spec}, seed=0)

    assert made().dtype == np.float32
    assert made(gen="arange", dtype="int64").tolist() == [[0, 1, 2]] * 2
    assert made(gen="fixed", value=[7, 8, 9]).tolist() == [[7, 8, 9]] * 2
    assert made(gen="ints", low=3, high=4, dtype="int32").tolist() == [[3] * 3] * 2
    assert made(gen="ones", dtype="bool").all()
    assert not made(gen="zeros").any()
    uniform = made(gen="uniform", low=5, high=6)
    assert ((uniform >= 5) & (uniform <= 6)).all()
    assert np.array_equal(uniform, made(gen="uniform", low=5, high=6))
