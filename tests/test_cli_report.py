"""`graphopt report`."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

import graphopt
from graphopt.cli import main
from graphopt.demo import demo_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(demo_model(), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_one_file_is_optimised(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(model)]) == 0
    page = model.with_name("m.report.html")
    assert str(page) in capsys.readouterr().out.replace("\n", "")
    assert "batch_norm_of_convolution" in page.read_text(encoding="utf-8")
    assert sorted(p.name for p in model.parent.iterdir()) == ["m.onnx", "m.report.html"]


def test_two_files_are_compared(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, page = model.with_name("o.onnx"), model.with_name("p.html")
    graphopt.optimize(str(model)).save(out)
    assert main(["report", str(model), str(out), "-o", str(page), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["nodes"]["after"] < data["nodes"]["before"] and data["output"] == str(page)
    assert data["operators"]["BatchNormalization"] == {"before": 13, "after": 0}
    text = page.read_text(encoding="utf-8")
    assert "two models compared" in text and "m.onnx → o.onnx" in text and "files" in text


def test_json_tells_what_was_done(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(model), "--level", "1", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["level"] == 1 and data["rules"] and data["input"] == [str(model)]


def test_measured_times(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    assert main(["report", str(model), "--measure", "1", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["measured"]["before"] > 0 and data["measured"]["after"] > 0
    assert "measured time" in model.with_name("m.report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.onnx"], "no such file"),
        (["m.onnx", "nothing.onnx"], "no such file"),
        (["m.onnx", "m.onnx", "--level", "1"], "two files are compared as they are"),
        (["m.onnx", "m.onnx", "--only", "cast_nothing"], "two files are compared as they are"),
        (["m.onnx", "-o", "m.onnx"], "is the model that is read"),
        (["m.onnx", "-o", "nowhere/p.html"], "does not exist; create it first"),
        (["m.onnx", "--measure", "0"], "number of seconds above 0"),
        (["m.onnx", "--measure", "1", "--input-shape", "batch=1"], "--measure runs both on the same inputs"),
    ],
)
def test_senseless_calls(
    arguments: list[str], message: str, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(model.parent)
    assert main(["report", *arguments]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert [p.name for p in model.parent.iterdir()] == ["m.onnx"]
