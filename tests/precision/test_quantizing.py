"""8-bit and 4-bit weights: what the tools make of a model, what of it is undone, and what they may not touch."""

from __future__ import annotations

import builtins
import logging
import sys
from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest

import graphopt
from graphopt.compare import interface_differences
from graphopt.errors import MissingDependencyError, OpsetError
from graphopt.ir import Model
from graphopt.precision import Precision
from graphopt.precision.quantizing import QuantizationError
from tests.ir.building import ops, with_constants

pytest.importorskip("onnxruntime", minversion="1.22")
RNG = np.random.default_rng(0)
W, V = (RNG.standard_normal(shape).astype(np.float32) for shape in ((64, 48), (48, 32)))
B = RNG.standard_normal(48).astype(np.float32)
NET = "g (float[N, 64] x) => (float[N, 32] y) { a = MatMul(x, w) b = Add(a, c) r = Relu(b) y = MatMul(r, v) }"
KINDS = ["int8-dynamic", "int4-weights"]


def net(**options: Any) -> onnx.ModelProto:
    return with_constants(NET, w=W, v=V, c=B, **options)


def lowered(model: Any, kind: str, level: int = 2, **options: Any) -> Model:
    """The model in another precision; its interface and what was passed in as they were."""
    before = model.SerializeToString(deterministic=True)
    out = graphopt.optimize(model, level, precision=Precision(kind, **options))
    assert model.SerializeToString(deterministic=True) == before
    assert not interface_differences(model, out.proto)
    onnx.checker.check_model(out.proto, full_check=True)
    return out


def worst(model: Model) -> float:
    assert model.report is not None and model.report.precision is not None
    assert model.report.precision.errors, model.report.precision.notes
    return max(e.rms for e in model.report.precision.errors)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_products(kind: str, level: int) -> None:
    out = lowered(net(), kind, level)
    found = Counter(ops(out))
    assert found["MatMulInteger" if kind == "int8-dynamic" else "MatMulNBits"] == 2
    assert not found["MatMul"] and not found["Gemm"]
    assert worst(out) < (0.02 if kind == "int8-dynamic" else 0.2)
    assert out.report is not None and out.report.precision is not None
    before, after = out.report.precision.bytes
    assert after < before * 0.35


def test_block_size_and_symmetry() -> None:
    sizes = {}
    for block, symmetric in ((32, False), (32, True), (16, False)):
        out = lowered(net(), "int4-weights", block_size=block, symmetric=symmetric, accuracy=4)
        nodes = [n for n in out.proto.graph.node if n.op_type == "MatMulNBits"]
        assert [len(n.input) for n in nodes] == [3 if symmetric else 4] * 2
        attributes = {a.name: a.i for a in nodes[0].attribute}
        assert attributes["block_size"] == block and attributes["bits"] == 4 and attributes["accuracy_level"] == 4
        sizes[block, symmetric] = worst(out)
    assert sizes[16, False] < sizes[32, False] < sizes[32, True]


def test_gemm_is_a_product_too() -> None:
    text = "g (float[N, 64] x) => (float[N, 48] y) { y = Gemm<transB = 1>(x, w, c) }"
    for kind in KINDS:
        out = lowered(with_constants(text, w=np.ascontiguousarray(W.T), c=B), kind)
        assert "Gemm" not in ops(out)
        assert worst(out) < 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_gemm_kept_on_request(kind: str) -> None:
    text = "g (float[N, 64] x) => (float[N, 32] y) { a = Gemm(x, w, c) y = MatMul(a, v) }"
    found = Counter(ops(lowered(with_constants(text, w=W, c=B, v=V), kind, keep=["Gemm"])))
    assert found["Gemm"] == 1
    assert found["MatMulInteger"] + found["MatMulNBits"] == 1


def test_operators_by_name() -> None:
    text = "g (float[N, 64] x) => (float[N, 32] y) { a = Gemm(x, w, c) y = MatMul(a, v) }"
    model = with_constants(text, w=W, c=B, v=V)
    for operator in ("Gemm", "MatMul"):
        found = Counter(ops(lowered(model, "int8-dynamic", 0, operators=(operator,))))
        assert (found["MatMulInteger"], found["MatMul"]) == (1, 1)


def test_products_of_other_floats_stay() -> None:
    """What rounds floats to bytes as the model runs takes float32 only."""
    text = "g (float16[N, 64] x, float[N, 64] z) => (float16[N, 48] y, float[N, 48] q) { y = MatMul(x, h) q = MatMul(z, w) }"
    found = Counter(ops(lowered(with_constants(text, w=W, h=W.astype(np.float16)), "int8-dynamic")))
    assert found["MatMul"] == 1 and found["MatMulInteger"] == 1


def test_weights_in_constant_nodes() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> g (float[2, 2] x) => (float[2, 2] y) {
            w = Constant <value = float[2, 2] {1, 2, 3, 4}> () y = MatMul(x, w) }"""
    )
    assert "MatMulInteger" in ops(lowered(model, "int8-dynamic", 0))
    assert "MatMulNBits" in ops(lowered(model, "int4-weights", 0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep", [["second"], ["MatMul"]])
def test_kept_on_request(kind: str, keep: list[str]) -> None:
    model = net()
    model.graph.node[3].name = "second"
    left = Counter(ops(lowered(model, kind, 0, keep=keep)))["MatMul"]
    assert left == (1 if keep == ["second"] else 2)


def test_convolutions_on_request() -> None:
    text = "g (float[1, 3, 8, 8] x) => (float[1, 4, 6, 6] y) { y = Conv(x, w) }"
    model = with_constants(text, w=RNG.standard_normal((4, 3, 3, 3)).astype(np.float32))
    out = lowered(model, "int8-dynamic")
    assert ops(out) == ["Conv"]
    assert out.report is not None and "'Conv' in Precision" in str(out.report.precision)
    assert "ConvInteger" in ops(lowered(model, "int8-dynamic", operators=("Conv",)))


def test_bodies() -> None:
    text = """g (float[2, 64] x, bool c) => (float[2, 48] y) {
        y = If (c) <then_branch = t () => (float[2, 48] p) { p = MatMul(x, w) },
                    else_branch = e () => (float[2, 48] q) { q = Neg(b) }>
    }"""
    model = with_constants(text, w=W, b=np.zeros((2, 48), np.float32))
    for kind, op in zip(KINDS, ("MatMulInteger", "MatMulNBits"), strict=True):
        out = lowered(model, kind)
        assert any(n.op_type == op for n in out.nodes())


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_model_says_about_itself(kind: str) -> None:
    model = net()
    model.producer_name, model.doc_string = "someone", "something"
    onnx.helper.set_model_props(model, {"key": "value"})
    out = lowered(model, kind).proto
    assert (out.producer_name, out.doc_string) == ("someone", "something")
    assert {p.key: p.value for p in out.metadata_props} == {"key": "value"}
    assert not out.graph.value_info


@pytest.mark.parametrize("kind", KINDS)
def test_the_logging_of_the_program_stays(kind: str) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level, root.manager.disable)
    lowered(net(), kind)
    assert (list(root.handlers), root.level, root.manager.disable) == before


def test_external_weights(tmp_path: Any) -> None:
    onnx.save(net(), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    for kind in KINDS:
        out = graphopt.optimize(tmp_path / "m.onnx", precision=kind)
        assert worst(out) < 0.2
        out.save(tmp_path / "out.onnx")
        onnx.checker.check_model(tmp_path / "out.onnx", full_check=True)
        (tmp_path / "out.onnx").unlink()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_inputs_with_a_default() -> None:
    text = "g (float[2, 64] x, float[64, 48] w) => (float[2, 48] y) { y = MatMul(x, w) }"
    model = with_constants(text, w=W)
    with pytest.raises(QuantizationError, match="freeze_inputs=True"):
        graphopt.optimize(model, precision="int4-weights")
    out = graphopt.optimize(model, precision="int4-weights", freeze_inputs=True)
    assert "MatMulNBits" in ops(out) and worst(out) < 0.2


def test_opset() -> None:
    with pytest.raises(OpsetError, match="opset=11"):
        graphopt.optimize(net(opset=9), precision="int8-dynamic")
    assert worst(graphopt.optimize(net(opset=9), precision="int8-dynamic", opset=13)) < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_tools(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def importing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "onnxruntime":
            raise ImportError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    for name in [n for n in sys.modules if n.startswith("onnxruntime")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(MissingDependencyError, match=r"graphopt\[quantization\]"):
        graphopt.optimize(net(), precision=kind)
