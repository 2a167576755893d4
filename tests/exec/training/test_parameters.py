"""Which initializers are trained, and why the others are not."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper, parser

from graphopt.errors import ArgumentError
from graphopt.exec.training.parameters import Trainable, choose
from graphopt.ir import load
from tests.exec.training.models import cnn, mlp

MIXED = """<ir_version: 8, opset_import: ["" : 17]>
g (float[2, 4] x) => (float[2, 4] y, int64[2] top) <
    float[4] w = {1, 2, 3, 4}, float[1] slope = {0.1}, float eps = {1e-5}, float[4] unread = {0, 0, 0, 0},
    float[4] only_top = {1, 2, 3, 4}, float two = {2.0}, float low = {0.0}, float[1] scale = {0.5},
    int64[2] shape = {2, 4}, int8[4] stored = {1, 2, 3, 4}, int8 zero = {0}
> {
    a = Mul(x, w)
    b = PRelu(a, slope)
    c = Add(b, eps)
    d = Pow(c, two)
    e = Clip(d, low)
    h = Reshape(e, shape)
    q = DequantizeLinear(stored, scale, zero)
    y = Add(h, q)
    s = Mul(x, only_top)
    top = ArgMax <axis = 1, keepdims = 0> (s)
}"""


def chosen(m: ModelProto, trainable: Trainable | None = None, outputs: list[str] | None = None) -> dict[str, str]:
    found = choose(load(m), trainable, outputs)
    assert len(found.trained) + len(found.not_trained) == len(m.graph.initializer)
    return {p.name: p.why_not for p in (*found.trained, *found.not_trained)}


def test_every_initializer_is_trained_or_says_why_not() -> None:
    m = parser.parse_model(MIXED)
    m.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "unused"))
    why = chosen(m)
    assert [n for n, reason in why.items() if not reason] == ["w", "slope"]
    for name, words in {
        "eps": "single number",
        "two": "setting of Pow",
        "low": "setting of Clip",
        "unread": "nothing reads it",
        "unused": "nothing reads it",
        "only_top": "do not depend on it",
        "scale": "quantised: DequantizeLinear",
        "stored": "int8 has no gradient",
        "shape": "int64 has no gradient",
    }.items():
        assert words in why[name], (name, why[name])


def test_asking_for_more_and_less() -> None:
    m = parser.parse_model(MIXED)
    assert [n for n, w in chosen(m, ["eps", "two"]).items() if not w] == ["eps", "two"]
    assert [n for n, w in chosen(m, "s*").items() if not w] == ["slope"]
    assert [n for n, w in chosen(m, lambda name: name == "w").items() if not w] == ["w"]
    assert "frozen" in chosen(m, ["eps"])["w"]
    with pytest.raises(ArgumentError, match="'scale' cannot be trained: quantised"):
        chosen(m, ["w", "scale"])
    with pytest.raises(ArgumentError, match=r"no initializer is called 'slop'.*slope"):
        chosen(m, ["slop"])


def test_masks_with_infinities_stay() -> None:
    m = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) <float[2] mask, float[2] w = {1, 2}> '
        "{ a = Mul(x, w) y = Add(a, mask) }"
    )
    m.graph.initializer.append(numpy_helper.from_array(np.array([0, -np.inf], np.float32), "mask"))
    assert "as a mask does" in chosen(m)["mask"]


def test_only_what_the_loss_reads_counts() -> None:
    m = mlp()
    m.graph.output.add().CopyFrom(m.graph.output[0])
    m.graph.output[1].name = "r"
    m.graph.output[1].type.tensor_type.shape.dim[1].dim_value = 8
    assert [n for n, w in chosen(m, outputs=["r"]).items() if not w] == ["w1", "b1"]


def test_running_statistics_and_frozen_normalizations() -> None:
    m = cnn()
    assert "running statistic of BatchNormalization" in chosen(m)["mean"]
    assert choose(load(m)).normalized == {"mean"}
    assert choose(load(m), ["w", "b"]).normalized == frozenset()


def test_nothing_to_train() -> None:
    m = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2, 2] x) => (int64[2] y) <float[2] w = {1, 2}, int64[1] s = {0}> '
        "{ a = Mul(x, w) y = ArgMax <axis = 1, keepdims = 0> (a) }"
    )
    with pytest.raises(
        ArgumentError, match=r"no float initializer to train: w: float\[2\], not trained: the outputs.*s: int64"
    ):
        choose(load(m))
    listing = str(choose(load(mlp()), ["b*"]))
    assert listing.startswith("2 initializers with 11 numbers are trained, 2 are not")
    assert "w1: float[4, 8], not trained: frozen" in listing


def test_without_jax_it_is_said_what_to_install() -> None:
    code = "import sys; sys.modules['jax'] = None; import graphopt.exec; graphopt.exec.TrainingSession"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.endswith(
        "graphopt.errors.MissingDependencyError: training needs jax and optax: pip install 'graphopt[train]'\n"
    )
    code = "import sys; sys.modules['jax'] = None; from graphopt.cli import completion as c; print(*c.losses(''), *c.optimizers(''))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "\n"
    )  # a shell asks quietly
