"""Small models to train."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, helper, numpy_helper, parser

MLP = """<ir_version: 8, opset_import: ["" : 17]>
mlp (float[n, 4] x) => (float[n, 3] y) <float[4, 8] w1, float[8] b1, float[8, 3] w2, float[3] b2> {
    h = MatMul(x, w1)
    a = Add(h, b1)
    r = Tanh(a)
    z = MatMul(r, w2)
    y = Add(z, b2)
}"""
MLP_WEIGHTS = {"w1": (4, 8), "b1": (8,), "w2": (8, 3), "b2": (3,)}

CNN = """<ir_version: 8, opset_import: ["" : 17]>
cnn (float[n, 2, 6, 6] x) => (float[n, 3] y)
<float[4, 2, 3, 3] k, float[4] scale, float[4] shift, float[4] mean, float[4] var, float[4, 3] w, float[3] b> {
    c = Conv <pads = [1, 1, 1, 1]> (x, k)
    s = BatchNormalization <momentum = 0.9> (c, scale, shift, mean, var)
    r = Relu(s)
    p = GlobalAveragePool(r)
    f = Flatten(p)
    y = Gemm(f, w, b)
}"""
CNN_WEIGHTS = {"k": (4, 2, 3, 3), "scale": (4,), "shift": (4,), "mean": (4,), "var": (4,), "w": (4, 3), "b": (3,)}


def model(text: str, shapes: dict[str, tuple[int, ...]], seed: int = 0, dtype: type = np.float32) -> ModelProto:
    """A model from its text, with random initializers; those called 'var' are positive."""
    m = parser.parse_model(text if dtype is np.float32 else text.replace("float[", "double["))
    rng = np.random.default_rng(seed)
    del m.graph.initializer[:]
    for name, shape in shapes.items():
        values = rng.uniform(0.5, 1.5, shape) if name == "var" else rng.normal(size=shape) * 0.5
        m.graph.initializer.append(numpy_helper.from_array(values.astype(dtype), name))
    return m


def mlp(**more: Any) -> ModelProto:
    return model(MLP, MLP_WEIGHTS, **more)


def cnn(**more: Any) -> ModelProto:
    return model(CNN, CNN_WEIGHTS, **more)


def with_dropout(m: ModelProto, before: str, ratio: float) -> ModelProto:
    """Put a Dropout, as inference has it, behind a value."""
    i = next(i for i, n in enumerate(m.graph.node) if before in n.output)
    m.graph.node[i].output[0] = f"{before}_whole"
    m.graph.initializer.append(numpy_helper.from_array(np.array(ratio, np.float32), "ratio"))
    m.graph.node.insert(i + 1, helper.make_node("Dropout", [f"{before}_whole", "ratio"], [before]))
    return m


def data(rows: int = 64, seed: int = 1) -> dict[str, np.ndarray]:
    """Points and the class that a linear rule gives them."""
    x = np.random.default_rng(seed).normal(size=(rows, 4)).astype(np.float32)
    return {"x": x, "label": x[:, :3].argmax(1)}
