"""Gradients of whole models, against central differences in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import parser

import graphopt
from graphopt.errors import ArgumentError, RunError, UnsupportedError
from graphopt.testing import check_gradients
from graphopt.testing.gradients import with_weights_as_inputs
from tests.exec.training.models import CNN_WEIGHTS, cnn, mlp, model, with_dropout

jax = pytest.importorskip("jax")

from graphopt.exec.training import TrainingSession  # noqa: E402 - without jax it cannot be imported
from graphopt.exec.training.differentiation import Differentiable  # noqa: E402

NORMALISED = """<ir_version: 10, opset_import: ["" : 20]>
g (float[n, 5, 4] x) => (float[n, 5, 4] y) <float[4, 4] q, float[4, 4] k, float[4, 4] v, float[4] scale, float[4] shift> {
    l = LayerNormalization(x, scale, shift)
    a = MatMul(l, q)
    b = MatMul(l, k)
    c = MatMul(l, v)
    t = Transpose <perm = [0, 2, 1]> (b)
    s = MatMul(a, t)
    p = Softmax <axis = -1> (s)
    o = MatMul(p, c)
    g1 = Gelu(o)
    y = Add(x, g1)
}"""
ATTENTION_WEIGHTS = {"q": (4, 4), "k": (4, 4), "v": (4, 4), "scale": (4,), "shift": (4,)}


def check(f: Differentiable, x: np.ndarray, training: bool = False, key: Any = None) -> None:
    """The gradient of a random functional of the outputs agrees with central differences, for some of the weights."""
    rng = np.random.default_rng(3)
    first = next(iter(f(f.weights, {"x": x}, training=training, key=key)[0].values()))
    factor = rng.normal(size=first.shape)

    def value(weights: Any) -> Any:
        outputs, _ = f(weights, {"x": x}, training=training, key=key)
        return (next(iter(outputs.values())) * factor).sum()

    value = jax.jit(value)
    gradients = jax.grad(value)(f.weights)
    for name, w in f.weights.items():
        for at in rng.choice(w.size, min(w.size, 4), replace=False):
            step = np.zeros(w.size)
            step[at] = 1e-5
            step = step.reshape(w.shape)
            up, down = (value({**f.weights, name: w + s}) for s in (step, -step))
            numeric, found = float(up - down) / 2e-5, float(gradients[name].reshape(-1)[at])
            assert found == pytest.approx(numeric, rel=1e-5, abs=1e-7), (name, at)


@pytest.mark.parametrize("training", [False, True])
def test_a_convolution_with_batch_normalization(training: bool) -> None:
    f = Differentiable(cnn(dtype=np.float64), ["k", "scale", "shift", "w", "b"])
    check(f, np.random.default_rng(0).normal(size=(3, 2, 6, 6)), training)


def test_attention_and_layer_normalization() -> None:
    m = model(NORMALISED, ATTENTION_WEIGHTS, dtype=np.float64)
    check(Differentiable(m, list(ATTENTION_WEIGHTS)), np.random.default_rng(0).normal(size=(2, 5, 4)))


def test_dropout_with_a_key() -> None:
    f = Differentiable(with_dropout(mlp(dtype=np.float64), "r", 0.3), ["w1", "w2"])
    check(f, np.random.default_rng(0).normal(size=(5, 4)), True, jax.random.key(1))


def test_dropout_drops_its_share_and_only_in_training() -> None:
    m = model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n] x) => (float[n] y) <float[1] w> { a = Mul(x, w) y = Identity(a) }',
        {"w": (1,)},
    )
    f = Differentiable(with_dropout(m, "a", 0.25), ["w"])
    x = np.ones(20000, np.float32)
    weights = {"w": np.ones(1, np.float32)}

    def run(**more: Any) -> np.ndarray:
        return np.asarray(f(weights, {"x": x}, **more)[0]["y"])

    dropped = run(training=True, key=jax.random.key(0))
    assert abs((dropped == 0).mean() - 0.25) < 0.02
    assert set(np.unique(dropped)) == {np.float32(0), np.float32(1 / 0.75)}
    assert (run(training=True, key=jax.random.key(0)) == dropped).all()
    assert (run(training=True, key=jax.random.key(1)) != dropped).any()
    assert (run() == 1).all()
    with pytest.raises(ArgumentError, match=r"key=jax\.random\.key"):
        run(training=True)


def test_batch_normalization_learns_statistics_as_pytorch_does() -> None:
    """y by the batch's own statistics; the running variance mixes in the unbiased one."""
    text = """<ir_version: 8, opset_import: ["" : 9]>
        g (float[n, 4, 5] x) => (float[n, 4, 5] y) <float[4] scale, float[4] shift, float[4] mean, float[4] var> {
        y = BatchNormalization <momentum = 0.8, epsilon = 0.001> (x, scale, shift, mean, var) }"""
    f = Differentiable(model(text, {n: CNN_WEIGHTS[n] for n in ("scale", "shift", "mean", "var")}), ["scale", "shift"])
    x = np.random.default_rng(0).normal(2, 3, size=(6, 4, 5)).astype(np.float32)
    outputs, after = f(f.weights, {"x": x}, training=True)
    mean, var = x.mean((0, 2)), x.var((0, 2))

    def channels(a: np.ndarray) -> np.ndarray:
        return a[:, None]

    y = (x - channels(mean)) / np.sqrt(channels(var) + 1e-3) * channels(f.weights["scale"]) + channels(
        f.weights["shift"]
    )
    np.testing.assert_allclose(outputs["y"], y, atol=1e-5)
    np.testing.assert_allclose(after["mean"], 0.8 * f.statistics["mean"] + 0.2 * mean, rtol=1e-5)
    np.testing.assert_allclose(after["var"], 0.8 * f.statistics["var"] + 0.2 * var * 30 / 29, rtol=1e-5)
    kept = f(f.weights, {"x": x})[1]
    assert all((kept[n] == f.statistics[n]).all() for n in kept)


def test_channels_last_changes_nothing() -> None:
    """Outputs, statistics and gradients in training mode, with BatchNormalization in its own form."""
    x = np.random.default_rng(0).normal(1, 2, size=(3, 2, 6, 6))
    names = ["k", "scale", "shift", "w", "b"]
    plain, last = (Differentiable(cnn(dtype=np.float64), names, layout=layout) for layout in (None, "NHWC"))
    assert not any("channels_last" in step.op for step in plain.training_form.plan.steps)
    ops = [step.op for step in last.training_form.plan.steps]
    at = ops.index("graphopt.channels_last::Conv2d")
    assert ops[at + 1 : at + 3] == ["graphopt.channels_last::BatchNormalizationTraining2d", "Relu"]
    (y, after), (y_last, after_last) = (f(f.weights, {"x": x}, training=True) for f in (plain, last))
    np.testing.assert_allclose(y_last["y"], y["y"], rtol=1e-12)
    assert after_last.keys() == after.keys() == {"mean", "var"}
    for name, value in after.items():
        assert np.abs(value - plain.statistics[name]).max() > 0.01
        np.testing.assert_allclose(after_last[name], value, rtol=1e-12)
    check(last, x, training=True)


def test_convolutions_with_channels_last_compute_in_16_bits_too() -> None:
    """The layout comes after the precision, which would leave its forms in float32."""
    f = Differentiable(cnn(), ["k", "scale", "shift", "w", "b"], precision="bf16", layout="NHWC")
    ops = [step.op for step in f.training_form.plan.steps]
    at = ops.index("graphopt.channels_last::Conv2d")
    assert ops[at + 1 : at + 3] == ["Cast", "graphopt.channels_last::BatchNormalizationTraining2d"]


def test_a_rule_that_does_not_keep_gradients_is_left_out() -> None:
    """The second row of scores is hidden as a whole: Where passes no gradient to it, a sum with a low number does."""
    text = """<ir_version: 10, opset_import: ["" : 23]>
    g (float[1, 2, 3, 4] x, bool[1, 1, 3, 1] hidden) => (float[1, 2, 3, 3] p) <float[4, 4] q, float[1, 2, 4, 3] k> {
        a = MatMul(x, q)
        s = MatMul(a, k)
        low = Constant <value_float = -1e9> ()
        t = Where(hidden, low, s)
        p = Softmax <axis = -1> (t)
    }"""
    proto = model(text, {"q": (4, 4), "k": (1, 2, 4, 3)})
    rng = np.random.default_rng(0)
    batch = {
        "x": rng.normal(size=(1, 2, 3, 4)).astype(np.float32),
        "hidden": np.array([False, True, False]).reshape(1, 1, 3, 1),
    }
    factor = rng.normal(size=(1, 2, 3, 3)).astype(np.float32)

    def of(f: Differentiable) -> dict[str, np.ndarray]:
        value = jax.grad(lambda w: (f(w, batch, training=True)[0]["p"] * factor).sum())(f.weights)
        return {name: np.asarray(g) for name, g in value.items()}

    want = of(Differentiable(proto, ["q", "k"], level=0))
    got = of(Differentiable(proto, ["q", "k"]))
    for name in want:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-5, atol=1e-6)
    open_to_all, weights = with_weights_as_inputs(proto)
    fused = graphopt.optimize(open_to_all, level=2)
    assert [step.rule for step in fused.report.ledger.steps] == ["softmax_of_selected"]
    with pytest.raises(AssertionError, match="with respect to 'q' it differs"):
        check_gradients(open_to_all, fused, {**batch, **weights})
    used = TrainingSession(proto, lambda outputs, batch: (outputs["p"] * factor).sum(), "sgd")
    assert "softmax_of_selected" in {step.rule for step in used.model.report.ledger.steps}  # no gradients to keep there


def test_statistics_that_share_an_initializer_are_separated() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[n, 4] x) => (float[n, 4] y) <float[4] zero, float[4] var> {
        a = BatchNormalization(x, var, zero, zero, var)
        y = BatchNormalization(a, var, zero, zero, var) }"""
    f = Differentiable(model(text, {"zero": (4,), "var": (4,)}), ["zero", "var"])
    assert len(f.statistics) == 4
    assert not f.statistics.keys() & {"zero", "var"}


def test_nothing_is_folded_into_weights() -> None:
    f = Differentiable(cnn(), ["k", "w"])
    x = np.random.default_rng(0).normal(size=(2, 2, 6, 6)).astype(np.float32)
    before = f(f.weights, {"x": x})[0]["y"]
    twice = f({**f.weights, "k": f.weights["k"] * 2}, {"x": x})[0]["y"]
    assert np.abs(np.asarray(before) - np.asarray(twice)).max() > 1e-3


def test_what_runs_on_the_host_is_refused() -> None:
    m = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[3] x) => (int64[1, k] i, float[3] y) <float[3] w = {1, 2, 3}> {
        y = Mul(x, w) [seek] i = NonZero(y) }"""
    )
    with pytest.raises(UnsupportedError, match=r"NonZero.*training cannot pass through it"):
        Differentiable(m, ["w"]).training_form  # noqa: B018
    f = Differentiable(m, ["w"], outputs=["y"])
    assert np.asarray(f(f.weights, {"x": np.ones(3, np.float32)}, training=True)[0]["y"]).tolist() == [1, 2, 3]


def test_random_operators_are_refused() -> None:
    """Their numbers would be drawn once, when the program is compiled."""
    m = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[3] x) => (float[3] y) <float[3] w = {1, 2, 3}> {
        z = Mul(x, w) [noise] r = RandomNormalLike(z) y = Add(z, r) }"""
    )
    with pytest.raises(UnsupportedError, match=r"'noise' \(RandomNormalLike\) runs on the host"):
        Differentiable(m, ["w"]).training_form  # noqa: B018


def test_a_branch_on_a_value_is_refused() -> None:
    m = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[3] x) => (float[3] y) <float[3] w = {1, 2, 3}> {
        z = Mul(x, w) s = ReduceSum <keepdims = 0> (z) zero = Constant <value_float = 0.0> () c = Greater(s, zero)
        y = If (c) <then_branch = a () => (float[3] p) { p = Neg(z) }, else_branch = b () => (float[3] q) { q = Exp(z) }> }"""
    )
    f = Differentiable(m, ["w"], level=0)  # the optimiser makes a Where of it
    with pytest.raises(UnsupportedError, match="If"):
        jax.grad(lambda w: f(w, {"x": np.ones(3, np.float32)})[0]["y"].sum())(f.weights)


def test_names_that_are_no_weights() -> None:
    with pytest.raises(ArgumentError, match="'nothing' is no initializer"):
        Differentiable(mlp(), ["nothing"])
    with pytest.raises(ArgumentError, match="'mean' is a running statistic"):
        Differentiable(cnn(), ["mean"])
    f = Differentiable(mlp(), ["w1"])
    with pytest.raises(ArgumentError, match="no value is given for input 'x'"):
        f(f.weights, {})
    with pytest.raises(RunError, match="Gemm"):
        f(f.weights, {"x": np.ones((2, 5), np.float32)})


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("size", [3, 40])
def test_entries_that_are_taken_one_by_one(size: int, level: int) -> None:
    model = parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[2,{size}] x) => (float[2] y) <float[2,{size}] w = {{{", ".join(["0"] * 2 * size)}}}, int64 i = {{0}}, int64 j = {{-1}}, int64 k = {{2}}> {{
            m = Add(x, w)
            a = Gather<axis = 1>(m, i)
            b = Gather<axis = -1>(m, j)
            c = Gather<axis = 1>(m, k)
            bb = Mul(b, b)
            ab = Mul(a, bb)
            abc = Mul(ab, c)
            y = Add(abc, a)
        }}""")
    f = Differentiable(model, ["w"], level=level)
    x = np.random.default_rng(0).standard_normal((2, size)).astype(np.float32)
    found = jax.grad(lambda w: f(w, {"x": x}, training=True)[0]["y"].sum())(f.weights)["w"]
    want = np.zeros_like(x)
    a, b, c = x[:, 0].copy(), x[:, -1].copy(), x[:, 2].copy()
    want[:, 0] += b * b * c + 1
    want[:, -1] += 2 * a * b * c
    want[:, 2] += a * b * b
    np.testing.assert_allclose(found, want, rtol=1e-5)
    assert sum(step.op == "Gather" for step in f.training_form.plan.steps) < 3


def test_entries_that_are_not_there_are_what_gather_gives() -> None:
    from graphopt.exec.backends.jax import JAX
    from graphopt.exec.kernels.indexing import gather
    from graphopt.exec.training.entries import _entries

    x, indices = JAX.asarray(np.arange(6, dtype=np.float32).reshape(3, 2)), [np.array(i) for i in (0, 2, -1, 5)]
    for got, i in zip(_entries(JAX, x, *indices, axis=0), indices, strict=True):
        np.testing.assert_array_equal(got, gather(JAX, x, i, axis=0))
