"""`graphopt optimize --precision`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from graphopt.cli import main
from tests.ir.building import with_constants


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    w = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    onnx.save(with_constants("g (float[2, 4] x) => (float[2, 3] y) { a = MatMul(x, w) y = Relu(a) }", w=w), path)
    return path


def test_precision(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = model.with_name("half.onnx")
    assert main(["optimize", str(model), "--precision", "fp16", "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "precision fp16: constants 0.50 of their bytes" in said
    assert "y: largest error" in said
    assert onnx.load(out).graph.initializer[0].data_type == TensorProto.FLOAT16


def test_json(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = model.with_name("half.onnx")
    assert main(["optimize", str(model), "--precision", "bf16", "-o", str(out), "--report", "json"]) == 0
    data = json.loads(capsys.readouterr().out)["precision"]
    assert data["kind"] == "bf16"
    assert data["constant_bytes"] == {"before": {"float": 48}, "after": {"bfloat16": 24}}
    assert data["errors"][0]["output"] == "y"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--precision", "fp8"], "there are|did you mean"), (["--precision", "fp16", "--verify"], "verify=True")],
)
def test_refusals(model: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = model.with_name("half.onnx")
    assert main(["optimize", str(model), "-o", str(out), *arguments]) != 0
    assert any(part in capsys.readouterr().err for part in message.split("|"))
    assert not out.exists()
