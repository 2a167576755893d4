"""Models that are quantized already pass all levels with what is quantized in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto

import graphopt
from tests.ir.building import ops, with_constants

ort = pytest.importorskip("onnxruntime")
RNG = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32) * 0.2


#: Float models that are quantized statically: (text, constants).
NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "convolutions": (
        """g (float[1, 3, 12, 12] x) => (float[1, 5] y) {
            a = Conv<pads = [1, 1, 1, 1]>(x, w, b) r = Relu(a) c = Conv<pads = [1, 1, 1, 1]>(r, v) s = Add(c, r)
            p = GlobalAveragePool(s) f = Flatten(p) y = Gemm<transB = 1>(f, u, t)
        }""",
        {"w": weights(8, 3, 3, 3), "b": weights(8), "v": weights(8, 8, 3, 3), "u": weights(5, 8), "t": weights(5)},
    ),
    "attention": (
        """g (float[1, 6, 16] x) => (float[1, 6, 16] y) {
            q = MatMul(x, wq) k = MatMul(x, wk) v = MatMul(x, wv) kt = Transpose<perm = [0, 2, 1]>(k)
            s = MatMul(q, kt) d = Div(s, four) p = Softmax<axis = -1>(d) a = MatMul(p, v) o = MatMul(a, wo) y = Add(o, x)
        }""",
        {"wq": weights(16, 16), "wk": weights(16, 16), "wv": weights(16, 16), "wo": weights(16, 16), "four": np.float32(4)},
    ),
    "shared biases": (
        """g (float[2, 16] x) => (float[2, 16] y) {
            a = MatMul(x, w) b = Add(a, z) c = MatMul(b, v) d = Add(c, z2) e = Add(d, z) y = MatMul(e, w)
        }""",
        {"w": weights(16, 16), "v": weights(16, 16), "z": np.zeros(16, np.float32), "z2": np.zeros(16, np.float32)},
    ),
}  # fmt: skip


def quantized(name: str, folder: Path, **options: Any) -> Path:
    """One of the models, quantized statically into QDQ form."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    text, constants = NETS[name]
    model = with_constants(text, **constants)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.feeds: Iterator[Any] = iter([{"x": RNG.standard_normal(shape).astype(np.float32)} for _ in range(4)])

        def get_next(self) -> Any:
            return next(self.feeds, None)

    onnx.save(model, folder / "float.onnx")
    form = quantization.QuantFormat.QDQ
    quantization.quantize_static(folder / "float.onnx", folder / "qdq.onnx", Reader(), quant_format=form, **options)
    return folder / "qdq.onnx"


def kernels(path: Path) -> Counter[str]:
    """The quantized kernels of the model that ONNX Runtime makes of one."""
    target = path.with_suffix(".ort.onnx")
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 4
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return Counter(n.op_type for n in onnx.load(target).graph.node if n.op_type.startswith(("QLinear", "QGemm")))


def float_weights(model: ModelProto) -> set[str]:
    return {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) > 1}


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("form", ["u8", "u8 by channel", "s8"])
@pytest.mark.parametrize("name", NETS)
def test_static_quantization(name: str, form: str, level: int, tmp_path: Path) -> None:
    kind = pytest.importorskip("onnxruntime.quantization").QuantType
    activations = kind.QInt8 if form == "s8" else kind.QUInt8
    path = quantized(name, tmp_path, activation_type=activations, weight_type=kind.QInt8, per_channel="channel" in form)
    fast = graphopt.optimize(path, level)
    fast.save(tmp_path / "fast.onnx")
    before, after = kernels(path), kernels(tmp_path / "fast.onnx")
    assert sum(before.values()) >= 3
    assert not before - after, f"{before - after} were lost"
    assert not float_weights(fast.proto)


@pytest.mark.parametrize("level", [1, 2])
def test_what_the_rules_leave(level: int) -> None:
    """A weight stays in bytes, a pair around an operator stays there, and two readers keep a pair each."""
    model = with_constants(
        """g (float[2, 4] x) => (float[2, 3] y, float[2, 3] z) {
            q = QuantizeLinear(x, s, zero) d = DequantizeLinear(q, s, zero) e = DequantizeLinear(q, s, zero)
            w1 = DequantizeLinear(w, s) w2 = DequantizeLinear(w, s)
            a = MatMul(d, w1) aq = QuantizeLinear(a, s, zero) y = DequantizeLinear(aq, s, zero)
            b = MatMul(e, w2) bq = QuantizeLinear(b, t, zero) z = DequantizeLinear(bq, t, zero)
        }""",
        s=np.float32(0.1), t=np.float32(0.2), zero=np.int8(0), w=np.arange(12, dtype=np.int8).reshape(4, 3),
    )  # fmt: skip
    fast = graphopt.optimize(model, level)
    found = Counter(ops(fast))
    assert found["DequantizeLinear"] == 6 and found["QuantizeLinear"] == 3
    assert not float_weights(fast.proto)


@pytest.mark.zoo
@pytest.mark.parametrize("name", ["mobilenetv2-qdq-u8", "bert-2l-dynint8", "tashkeel-bilstm-int8"])
def test_zoo(name: str, zoo: ModuleType, zoo_dir: Path, tmp_path: Path) -> None:
    (entry,) = zoo.models(zoo_dir, [name])
    before = kernels_of_any(entry["path"], tmp_path / "before.onnx")
    for level in (1, 2):
        graphopt.optimize(entry["path"], level).save(tmp_path / "fast.onnx")
        after = kernels_of_any(tmp_path / "fast.onnx", tmp_path / "after.onnx")
        assert not before - after, f"level {level}: {before - after} were lost"


def kernels_of_any(path: Any, target: Path) -> Counter[str]:
    """All quantized kernels, those of dynamic quantization among them; not what converts between the two."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 4
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return Counter(
        n.op_type
        for n in onnx.load(target).graph.node
        if n.op_type.startswith(("QLinear", "QGemm", "MatMulInteger", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"))
    )
