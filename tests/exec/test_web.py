"""ONNX Runtime Web under Node.js as an executor."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import parser

import graphopt
from graphopt.demo import demo_model
from graphopt.errors import MissingDependencyError, UnsupportedError
from graphopt.exec.executors import create, messages, node, web
from graphopt.exec.executors.registry import installed

needs_web = pytest.mark.skipif(web.missing() is not None, reason=f"ONNX Runtime Web is left out: {web.missing()}")


def model(text: str, opset: int = 17) -> bytes:
    return bytes(parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]>\n{text}').SerializeToString())


@needs_web
def test_the_demo() -> None:
    fast = graphopt.optimize(demo_model(), target="web")
    assert graphopt.verify(demo_model(), fast, on=["reference", "web"]).ok


@needs_web
@pytest.mark.parametrize("name", sorted(messages.TYPES))
def test_tensors_come_back_as_they_went_in(name: str) -> None:
    written = {"float32": "float", "float64": "double"}.get(name, name)
    x = np.array([[0, 1, 2], [3, 1, 0]]).astype(messages.TYPES[name])
    y = create("web", model(f"g ({written}[2,3] x) => ({written}[2,3] y) {{ y = Identity(x) }}")).run({"x": x})["y"]
    assert y.dtype == x.dtype
    assert np.array_equal(x, y)


@needs_web
def test_text() -> None:
    x = np.array(["a", "é", ""], object)
    y = create("web", model("g (string[3] x) => (string[3] y) { y = Identity(x) }")).run({"x": x})["y"]
    assert y.tolist() == x.tolist()


@needs_web
def test_what_it_cannot_do_is_said() -> None:
    with pytest.raises(UnsupportedError, match="Acos"):
        create("web", model("g (double[2] x) => (double[2] y) { y = Acos(x) }"))
    with pytest.raises(RuntimeError, match="protobuf"):
        create("web", b"nothing")
    with pytest.raises(UnsupportedError, match="external data"):
        create("web", b"", folder=".")
    relu = create("web", model("g (float[2] x) => (float[2] y) { y = Relu(x) }"))
    with pytest.raises(RuntimeError, match="x"):
        relu.run({})
    with pytest.raises(UnsupportedError, match="list"):
        relu.run({"x": [1.0, 2.0]})


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node.shutil, "which", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"Node\.js"):
        create("web", b"")
    assert "web" not in installed()
    monkeypatch.setattr(node.shutil, "which", lambda name: "node")
    monkeypatch.setenv(node.FOLDER, "/nowhere")
    with pytest.raises(MissingDependencyError, match="npm install --prefix /nowhere onnxruntime-web"):
        create("web", b"")
