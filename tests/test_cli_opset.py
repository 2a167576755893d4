"""`graphopt optimize --opset`."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

import graphopt
from graphopt.cli import main


@pytest.fixture
def model(tmp_path: Path) -> Path:
    text = "g (float[2,1,3] x) => (float[2,3] y) { [n] y = Squeeze <axes = [1]> (x) }"
    onnx.save(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 11]> {text}'), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_opset(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = model.with_name("o.onnx")
    assert main(["optimize", str(model), "-l", "0", "--opset", "23", "-o", str(out), "--verify"]) == 0
    assert "opset 11 -> 23: 1 nodes written otherwise (1 Squeeze)" in capsys.readouterr().out.replace("\n", " ")
    assert graphopt.load(out).opsets == {"": 23}
    assert main(["optimize", str(out), "--opset", "7", "-o", str(model.with_name("b.onnx")), "--report", "json"]) == 0
    assert any("23 -> 7" in line for line in json.loads(capsys.readouterr().out)["warnings"])


def test_other_commands(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(model), "--opset", "23"]) == 0
    assert main(["bisect", str(model), "--opset", "23", "--on", "reference"]) == 0
    assert "changes the outputs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--opset", "99"], "opset must be a number from 7 to"),
        (["--opset", "new"], "--opset 'new': write a number, as 23"),
        (["--opset", "com.microsoft=1"], "the domains with versions to choose from"),
        (["--opset", "13", "--opset", "14"], "--opset: a number is given twice"),
    ],
)
def test_senseless_opsets(arguments: list[str], message: str, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["optimize", str(model), "-o", str(model.with_name("o.onnx")), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not model.with_name("o.onnx").exists()
