"""`graphopt optimize --layout` and `--io-layout`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import graphopt
from graphopt.cli import main


@pytest.fixture
def model(tmp_path: Path) -> Path:
    text = """<ir_version: 8, opset_import: ["": 18]>
        g (float[1, 2, 6, 6] x) => (float[1, 2, 4, 4] y) { a = Conv(x, w) b = Relu(a) y = Conv(b, v) }"""
    proto = onnx.parser.parse_model(text)
    for name, size in (("w", 3), ("v", 1)):
        array = np.ones((2, 2, size, size), np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.save(proto, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def run(model: Path, *arguments: str) -> int:
    return main(["optimize", str(model), "-o", str(model.with_name("o.onnx")), *arguments])


def test_layout(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--layout", "NHWC", "--verify") == 0
    assert "layout" in capsys.readouterr().out
    ops = [n.op_type for n in graphopt.load(model.with_name("o.onnx")).graph]
    assert ops == ["Transpose", "Conv2d", "Relu", "Conv2d", "Transpose"]


def test_interface(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--layout", "NHWC", "--io-layout", "x=NHWC", "--verify") == 0
    assert "other layouts: x" in capsys.readouterr().out.replace("\n", " ")
    m = graphopt.load(model.with_name("o.onnx"))
    assert [n.op_type for n in m.graph] == ["Conv2d", "Relu", "Conv2d", "Transpose"]
    assert m.graph.inputs[0].shape == (1, 6, 6, 2)
    assert run(model, "--io-layout", "NHWC", "--level", "0") == 0
    assert graphopt.load(model.with_name("o.onnx")).graph.inputs[0].shape == (1, 6, 6, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layout", "CHWN"], "layout 'CHWN' does not exist"),
        (["--io-layout", "q=NHWC"], "no input or output is named 'q'"),
        (["--io-layout", "x=NHWC", "--io-layout", "x=NCHW"], "'x' is given twice"),
        (["--io-layout", "NHWC", "--io-layout", "x=NCHW"], "write an input or output and its layout"),
    ],
)
def test_senseless_layouts(arguments: list[str], message: str, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, *arguments) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert not model.with_name("o.onnx").exists()
