"""`graphopt.optimize(tune=)`: arguments, the cache, the report, the command line; once on the real runtime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser

import graphopt
from graphopt.cli import main
from graphopt.errors import ArgumentError, MissingDependencyError
from graphopt.pipeline import VerificationError
from graphopt.tuning import Tuning, tune
from tests.tuning.fakes import Clock, Stand

#: Three nodes of which one does nothing, and a product that gets its bias.
TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N,4] x) => (float[N,3] y) <float[4,3] w = {1,2,3,4,5,6,7,8,9,10,11,12}, float[3] b = {1,2,3}>
{ i = Identity(x) a = MatMul(i, w) y = Add(a, b) }"""
ARGUMENTS: dict[str, Any] = {
    "target": "onnxruntime", "without": (), "only": None, "rules": (), "freeze_inputs": False, "input_shapes": None,
    "opset": None, "fold_allowance": 1 << 20,
}  # fmt: skip
SECONDS = {1: 0.008, 2: 0.009, 3: 0.010}


@pytest.fixture
def proto() -> onnx.ModelProto:
    return parser.parse_model(TEXT)


def tuned(proto: Any, cache: Path | None = None, seconds: Any = SECONDS, level: int = 2, **changed: Any) -> Any:
    """The model, and how often the fake runtime ran something."""
    clock = Clock()
    stand = Stand(clock, seconds, 0.02)
    m = tune(proto, 30.0, level, ARGUMENTS | changed, cache=cache, stand=stand, clock=clock)
    return m, stand.runs


def test_the_report_tells_what_was_measured(proto: onnx.ModelProto) -> None:
    m, runs = tuned(proto)
    assert m.report is not None and runs > 10
    found = m.report.tuning
    assert str(found.choice) == "level 2" and found.to_input.median == pytest.approx(0.8, abs=0.03)
    data = json.loads(m.report.to_json())["tuning"]
    assert data["choice"]["level"] == 2 and data["to_input"]["confidence"] >= 0.93
    assert "tuned on fake 1.0, 1 thread" in str(m.report) and "time over the untouched model's: " in str(m.report)
    assert Tuning.from_dict(data).to_dict() == data | {"cached": True}


def test_a_cache_hit_costs_no_measuring(proto: onnx.ModelProto, tmp_path: Path) -> None:
    cache = tmp_path / "tuned.json"
    first, runs = tuned(proto, cache)
    again, none = tuned(proto, cache)
    assert runs and not none
    assert again.report.tuning.cached and not first.report.tuning.cached
    assert again.report.tuning.to_input == first.report.tuning.to_input
    assert again.SerializeToString() == first.SerializeToString()
    record = next(iter(json.loads(cache.read_text())["entries"].values()))
    assert record["parts"]["processor"] == "a processor" and record["parts"]["threads"] == 1


def test_other_weights_find_the_same_record(proto: onnx.ModelProto, tmp_path: Path) -> None:
    tuned(proto, tmp_path / "tuned.json")
    other = parser.parse_model(TEXT.replace("{1,2,3,4,5", "{5,4,3,2,1"))
    assert tuned(other, tmp_path / "tuned.json")[1] == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"opset": 18},
        {"without": ("identity",)},
        {"input_shapes": {"N": 2}},
        {"fold_allowance": 1},
        {"only": ["linear"]},
    ],
    ids=str,
)
def test_other_arguments_do_not(proto: onnx.ModelProto, tmp_path: Path, changed: dict[str, Any]) -> None:
    tuned(proto, tmp_path / "tuned.json")
    names = {"identity": "identity"}
    if "without" in changed:
        changed = {"without": tuple(n for n in ("linear",) if n not in names)}
    assert tuned(proto, tmp_path / "tuned.json", **changed)[1] > 0


def test_a_record_that_is_none(proto: onnx.ModelProto, tmp_path: Path) -> None:
    cache = tmp_path / "tuned.json"
    tuned(proto, cache)
    data = json.loads(cache.read_text())
    for record in data["entries"].values():
        del record["choice"]
    cache.write_text(json.dumps(data))
    with pytest.raises(ArgumentError, match=r"tuned\.json': entry \w+ is no record of a tuning: KeyError\('choice'\)"):
        tuned(proto, cache)


def test_what_is_returned_where_the_untouched_model_is_faster(proto: onnx.ModelProto) -> None:
    m, _ = tuned(proto, seconds={1: 0.02, 2: 0.02, 3: 0.01})
    assert [n.op for n in m.graph] == ["Identity", "MatMul", "Add"] and str(m.report.tuning.choice) == "untouched"


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True, "60"])
def test_time_limits_that_are_none(proto: onnx.ModelProto, seconds: Any) -> None:
    with pytest.raises(ArgumentError, match="tune must be a number of seconds above 0, not"):
        graphopt.optimize(proto, target="onnxruntime", tune=seconds)


def test_a_target_without_a_runtime(proto: onnx.ModelProto) -> None:
    with pytest.raises(ArgumentError, match="target 'onnx' names none that runs here; pass target='onnxruntime'"):
        graphopt.optimize(proto, tune=1)


def test_no_runtime_is_installed(proto: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match="onnxruntime is not installed"):
        graphopt.optimize(proto, target="onnxruntime", tune=1)


@pytest.mark.parametrize("changed", [{"level": 0}, {"steps": 3}], ids=str)
def test_what_tune_does_not_go_with(proto: onnx.ModelProto, changed: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="tune goes with a level above 0, and not with steps"):
        graphopt.optimize(proto, target="onnxruntime", tune=1, **changed)


def test_threads(proto: onnx.ModelProto) -> None:
    with pytest.raises(ArgumentError, match="tune_threads must be a number of threads, 1 or more, not 0"):
        graphopt.optimize(proto, target="onnxruntime", tune=1, tune_threads=0)


# ------------------------------------------------------------------------------------------- on ONNX Runtime, if it is there
def test_from_end_to_end(proto: onnx.ModelProto, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    x = np.ones((5, 4), np.float32)
    cache = tmp_path / "tuned.json"
    m = graphopt.optimize(proto, target="onnxruntime", tune=2, tune_inputs={"x": x}, tune_cache=cache, verify=True)
    assert m.report is not None
    found = m.report.tuning
    assert found.runtime.startswith("onnxruntime ") and found.sizes == {"x": [5, 4]} and found.seconds < 12
    assert graphopt.verify(proto, m).ok
    again = graphopt.optimize(proto, target="onnxruntime", tune=2, tune_inputs={"x": x}, tune_cache=cache)
    assert again.report is not None and again.report.tuning.cached and again.report.tuning.choice == found.choice


def test_inputs_are_found_where_none_are_given(proto: onnx.ModelProto) -> None:
    pytest.importorskip("onnxruntime")
    m = graphopt.optimize(proto, target="onnxruntime", tune=1)
    assert m.report is not None and m.report.tuning.sizes == {"x": [1, 4]}


def test_inputs_that_do_not_fit(proto: onnx.ModelProto) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(ArgumentError, match="tune_inputs: the model does not take them"):
        graphopt.optimize(proto, target="onnxruntime", tune=1, tune_inputs={"z": np.ones(1)})


def test_verification_is_of_the_tuned_model(proto: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    wrong = parser.parse_model(TEXT.replace("MatMul(i, w) y = Add(a, b)", "MatMul(i, w) y = Sub(a, b)"))
    monkeypatch.setattr("graphopt.tuning.tune", lambda *a, **k: graphopt.optimize(wrong))
    with pytest.raises(VerificationError):
        graphopt.optimize(proto, target="onnxruntime", tune=1, verify=True)


def test_the_command_line(proto: onnx.ModelProto, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    path, cache = tmp_path / "m.onnx", tmp_path / "tuned.json"
    onnx.save(proto, path)
    options = ["-t", "onnxruntime", "--tune", "1", "--tune-cache", str(cache)]
    assert main(["optimize", str(path), *options]) == 0
    assert "tuned on onnxruntime" in capsys.readouterr().out
    assert main(["optimize", str(path), *options, "--report", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["tuning"]["cached"]
    assert main(["optimize", str(path), "--tune-cache", str(cache)]) == 2
    assert "--tune-cache keeps what --tune SECONDS learns" in capsys.readouterr().err
    assert main(["optimize", str(path), "--tune", "1"]) == 2
    assert "pass --target onnxruntime" in capsys.readouterr().err
    cache.write_text("{")
    assert main(["optimize", str(path), *options]) == 2
    assert "--tune-cache: " in capsys.readouterr().err and cache.read_text() == "{"


def test_costs_on_the_command_line(proto: onnx.ModelProto, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    assert main(["inspect", str(path), "--cost", "--input-shape", "N=8", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert {o["operator"]: o["flops"] for o in data["operators"]}["MatMul"] == 2 * 8 * 4 * 3
    assert main(["inspect", str(path), "--cost"]) == 0
    assert "estimated to take" in capsys.readouterr().out
    assert main(["inspect", str(path), "--cost", "--shapes"]) == 2
