"""Training sessions: what they learn, what they write back, what they refuse."""

from __future__ import annotations

import itertools
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

import graphopt
from graphopt.errors import ArgumentError, RunError, SaveError
from tests.exec.training.models import cnn, data, mlp, with_dropout

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

from graphopt.exec.training import Batches, TrainingSession, stepping  # noqa: E402 - without jax it cannot be imported

DATA = data()


def session(**options: Any) -> TrainingSession:
    given = {
        "model": mlp(),
        "loss": "cross_entropy",
        "optimizer": "adam",
        "learning_rate": 0.02,
        "devices": 1,
        **options,
    }
    return TrainingSession(**given)


def same(a: TrainingSession, b: TrainingSession) -> bool:
    return all((a.weights[n] == b.weights[n]).all() for n in a.weights)


def half_read() -> Iterator[dict[str, np.ndarray]]:
    """Two good batches, then a failure from outside."""
    yield from itertools.islice(Batches(DATA, 8)(0), 2)
    raise KeyboardInterrupt


# ------------------------------------------------------------------------------------------------------- what is learnt
def test_the_loss_falls_and_the_weights_go_back(tmp_path: Path) -> None:
    source = mlp()
    before = source.SerializeToString()
    s = session(model=source)
    history = s.fit(Batches(DATA, 16), epochs=20)
    assert source.SerializeToString() == before
    assert history.epochs[0]["loss"] > 0.9
    assert history.epochs[-1]["loss"] < 0.35
    assert len(history.losses) == s.steps == 80
    for m in (s.trained_model, s.model):
        onnx.checker.check_model(m.proto, full_check=True)
        ort = pytest.importorskip("onnxruntime")
        outputs = ort.InferenceSession(m.SerializeToString()).run(None, {"x": DATA["x"]})
        np.testing.assert_allclose(outputs[0], s.run(None, {"x": DATA["x"]})[0], atol=1e-4)
    assert s.model.node_count() < s.trained_model.node_count() == 5
    assert graphopt.ir.load(s.model).proto.graph.input == source.graph.input


def test_batch_normalization_and_dropout_learn_and_go() -> None:
    rng = np.random.default_rng(0)
    batch = {"x": rng.normal(3, 2, size=(16, 2, 6, 6)).astype(np.float32), "label": rng.integers(0, 3, 16)}
    s = session(model=with_dropout(cnn(), "r", 0.2))
    before = s.statistics
    for _ in range(30):
        last = float(s.step(batch))
    assert last < s.history.losses[0]
    assert all((s.statistics[n] != before[n]).all() for n in before)
    assert {n.op for n in s.model.nodes()} == {"Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"}
    ort = pytest.importorskip("onnxruntime")
    outputs = ort.InferenceSession(s.model.SerializeToString()).run(None, {"x": batch["x"]})
    np.testing.assert_allclose(outputs[0], s.run(None, {"x": batch["x"]})[0], atol=1e-4)


def test_a_frozen_batch_normalization_keeps_its_statistics() -> None:
    rng = np.random.default_rng(0)
    s = session(model=cnn(), trainable=["w", "b"])
    kept = {v.name: t.numpy() for v, t in s.trained_model.graph.initializers.items() if v.name not in ("w", "b")}
    s.step({"x": rng.normal(size=(8, 2, 6, 6)).astype(np.float32), "label": rng.integers(0, 3, 8)})
    assert not s.statistics
    after = {v.name: t.numpy() for v, t in s.trained_model.graph.initializers.items()}
    assert all((after[n] == a).all() for n, a in kept.items())


def test_the_same_seed_gives_the_same_weights() -> None:
    def trained(seed: int) -> TrainingSession:
        s = session(model=with_dropout(mlp(), "r", 0.3), seed=seed)
        s.fit(Batches(DATA, 16), steps=6, epochs=2)
        return s

    first, second, other = trained(0), trained(0), trained(1)
    assert same(first, second)
    assert not same(first, other)


def test_sgd_is_what_its_formula_says() -> None:
    s = session(loss="mse", optimizer="sgd", learning_rate=0.1, target="t", optimizer_options={"momentum": 0.5})
    batch = {"x": DATA["x"], "t": np.zeros((64, 3), np.float32)}
    velocity = np.zeros(3)
    for _ in range(3):
        y, before = s.run(None, {"x": DATA["x"]})[0], s.weights["b2"]
        s.step(batch)
        velocity = 0.5 * velocity + (2 * y / y.size).sum(0)
        np.testing.assert_allclose(s.weights["b2"], before - 0.1 * velocity, rtol=1e-4)


def test_gradients_are_what_a_step_follows() -> None:
    s = session(optimizer="sgd", learning_rate=0.5, model=with_dropout(mlp(), "r", 0.5))
    before, found = s.weights, s.gradients(DATA)
    assert all((s.weights[n] == w).all() for n, w in before.items())
    s.step(DATA)
    for name, w in before.items():
        np.testing.assert_allclose(s.weights[name], w - 0.5 * found[name], atol=1e-6)


def test_accumulated_batches_are_one_large_one() -> None:
    whole, parts = session(optimizer="sgd"), session(optimizer="sgd", accumulate=4)
    whole.step(DATA)
    before = parts.weights
    for i in range(4):
        assert all((parts.weights[n] == before[n]).all() for n in before)
        parts.step({n: a[i * 16 : (i + 1) * 16] for n, a in DATA.items()})
    for name, w in whole.weights.items():
        np.testing.assert_allclose(parts.weights[name], w, atol=1e-6)


def test_clipped_gradients_are_no_longer_than_asked() -> None:
    s = session(optimizer=optax.sgd(1.0), clip_norm=0.01)
    before = s.weights
    s.step(DATA)
    length = np.sqrt(sum(np.square(s.weights[n] - w).sum() for n, w in before.items()))
    assert length == pytest.approx(0.01, rel=1e-3)


def test_schedules_of_optax() -> None:
    s = session(optimizer="sgd", learning_rate=optax.piecewise_constant_schedule(0.1, {1: 0.0}))
    before = s.weights
    s.step(DATA)
    moved = s.weights
    s.step(DATA)
    assert (moved["w1"] != before["w1"]).any() and (s.weights["w1"] == moved["w1"]).all()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision(precision: str) -> None:
    full, mixed = session(), session(precision=precision)
    for batch in Batches(DATA, 16)(0):
        exact, rounded = float(full.step(batch)), float(mixed.step(batch))
        assert exact == pytest.approx(rounded, rel=0.02)
    assert (full.history.losses != mixed.history.losses).all()
    assert all(w.dtype == np.float32 for w in mixed.weights.values())
    assert {v.name: v.dtype for v in mixed.model.graph.inputs} == {"x": onnx.TensorProto.FLOAT}


def test_float16_scales_losses_and_leaves_out_steps_that_overflow() -> None:
    s = session(precision="fp16", loss=lambda outputs, batch: (outputs["y"] ** 2).sum() * 100.0)
    before = s.weights
    s.step({"x": DATA["x"]})
    assert all((s.weights[n] == before[n]).all() for n in before)
    for _ in range(20):
        s.step({"x": DATA["x"]})
    assert any((s.weights[n] != before[n]).any() for n in before)


def test_float16_scales_losses_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepping, "GROWS_AFTER", 2)
    s = session(precision="fp16")
    scales = []
    for _ in range(4):
        s.step(DATA)
        scales.append(float(s._state["scale"]) / stepping.FIRST_SCALE)
    assert scales == [1, 2, 2, 4]


def test_a_loss_as_a_file(tmp_path: Path) -> None:
    m = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> loss (float[n, 3] y, int64[n] label) => (float l) '
        "{ l = SoftmaxCrossEntropyLoss(y, label) }"
    )
    onnx.save(m, tmp_path / "loss.onnx")
    named, filed = session(), session(loss=str(tmp_path / "loss.onnx"))
    assert float(named.step(DATA)) == pytest.approx(float(filed.step(DATA)), rel=1e-6)
    m.graph.input[0].name, m.graph.node[0].input[0] = "other", "other"
    with pytest.raises(ArgumentError, match=r"reads none of the model's outputs \(y\): its inputs are other, label"):
        session(loss=m)


# ------------------------------------------------------------------------------------------------------------ the loop
def test_interrupted_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    def fresh() -> TrainingSession:
        return session(model=with_dropout(mlp(), "r", 0.2), accumulate=2)

    whole = fresh()
    whole.fit(Batches(DATA, 8), epochs=3)
    file = tmp_path / "state.safetensors"
    first = fresh()
    first.fit(Batches(DATA, 8), epochs=3, steps=13, checkpoint=file)
    second = fresh()
    second.fit(Batches(DATA, 8), epochs=3, checkpoint=file, resume=True)
    assert second.steps == whole.steps == 24
    assert same(whole, second)
    assert (whole.history.losses == second.history.losses).all()
    assert [e["loss"] for e in whole.history.epochs] == [e["loss"] for e in second.history.epochs]
    second.fit(Batches(DATA, 8), epochs=3, checkpoint=file, resume=True)
    assert second.steps == 24


def test_an_epoch_of_unknown_length_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    def epoch(number: int) -> Iterator[dict[str, np.ndarray]]:
        yield from Batches(DATA, 8)(number)  # has no length

    file = tmp_path / "state"
    whole, first, second, third = (session() for _ in range(4))
    whole.fit(epoch, epochs=2)
    first.fit(epoch, epochs=2, steps=5, checkpoint=file)
    assert not first.history.epochs
    second.fit(epoch, epochs=2, checkpoint=file, resume=True)
    assert second.steps == whole.steps == 16 and same(whole, second)
    third.fit(epoch, epochs=2, steps=8)  # just as many as an epoch has
    assert len(third.history.epochs) == 1


def test_an_interrupt_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "state.safetensors"
    s = session()
    with pytest.raises(KeyboardInterrupt):
        s.fit(lambda epoch: half_read(), checkpoint=file, checkpoint_every=1)
    other = session()
    other.load_checkpoint(file)
    assert other.steps >= 1
    assert not list(tmp_path.glob(".*"))


def test_evaluation_and_early_stop() -> None:
    s = session(learning_rate=0.5)
    scores = iter([3.0, 2.0, 2.5, 2.6, 1.0])
    seen: list[dict[str, np.ndarray]] = []

    def evaluate(running: TrainingSession) -> dict[str, float]:
        seen.append(running.weights)
        return {"loss": next(scores), "accuracy": 0.5}

    history = s.fit(Batches(DATA, 32), epochs=5, evaluate=evaluate, early_stop=2)
    assert len(history.epochs) == 4
    assert history.epochs[1] == {**history.epochs[1], "evaluation": 2.0, "evaluation_accuracy": 0.5}
    assert history.stopped == "no better than 2 for 2 epochs"
    assert all((s.weights[n] == seen[1][n]).all() for n in s.weights)


def test_the_best_weights_outlive_an_interruption(tmp_path: Path) -> None:
    file = tmp_path / "state"
    first, second = session(), session()
    first.fit([DATA], epochs=2, evaluate=lambda s: float(s.steps), early_stop=2, checkpoint=file)
    second.fit([DATA], epochs=9, evaluate=lambda s: float(s.steps), early_stop=2, checkpoint=file, resume=True)
    assert second.steps == 3 and second.history.stopped
    once = session()
    once.step(DATA)
    assert same(once, second)


def test_a_model_in_training_form_is_written_for_inference() -> None:
    m = with_dropout(cnn(), "r", 0.2)
    norm = next(n for n in m.graph.node if n.op_type == "BatchNormalization")
    norm.attribute.add().CopyFrom(onnx.helper.make_attribute("training_mode", 1))
    norm.output.extend(["next_mean", "next_var"])
    m.graph.initializer.append(numpy_helper.from_array(np.array(True), "on"))
    next(n for n in m.graph.node if n.op_type == "Dropout").input.append("on")
    rng = np.random.default_rng(0)
    batch = {"x": rng.normal(size=(8, 2, 6, 6)).astype(np.float32), "label": rng.integers(0, 3, 8)}
    plain, explicit = session(model=with_dropout(cnn(), "r", 0.2)), session(model=m)
    assert float(plain.step(batch)) == float(explicit.step(batch))
    assert all((explicit.statistics[n] == s).all() for n, s in plain.statistics.items())
    assert [n.op for n in explicit.model.nodes()] == [n.op for n in plain.model.nodes()]


def test_evaluation_is_in_inference_mode_and_weighs_batches() -> None:
    s = session(model=with_dropout(mlp(), "r", 0.5))
    whole = s.evaluate([DATA])
    assert whole == s.evaluate([DATA])
    parts = [{n: a[:10] for n, a in DATA.items()}, {n: a[10:] for n, a in DATA.items()}]
    assert s.evaluate(parts) == pytest.approx(whole, rel=1e-6)


def test_batches_are_the_same_for_a_seed_and_cover_all_rows() -> None:
    batches = Batches({"i": np.arange(10)}, 4, seed=3)
    first = [b["i"].tolist() for b in batches(1)]
    assert first == [b["i"].tolist() for b in batches(1)] != [b["i"].tolist() for b in batches(2)]
    assert sorted(itertools.chain.from_iterable(first)) == list(range(10))
    assert [len(b) for b in first] == [4, 4, 2]
    assert len(Batches({"i": np.arange(10)}, 4, drop_last=True)) == 2
    for arrays, size in (
        ({}, 1),
        ({"a": np.ones(2), "b": np.ones(3)}, 1),
        ({"a": np.ones(2)}, 0),
        ({"a": np.float32(1)}, 1),
    ):
        with pytest.raises(ArgumentError):
            Batches(arrays, size)


DATA_PARALLEL = """
import numpy as np, jax, sys
sys.path.insert(0, {root!r})
from graphopt.exec.training import Batches, TrainingSession
from tests.exec.training.models import cnn
assert len(jax.devices()) == 2
rng = np.random.default_rng(0)
data = {{"x": rng.normal(size=(32, 2, 6, 6)).astype(np.float32), "label": rng.integers(0, 3, 32)}}
results = []
for devices in (1, None):
    s = TrainingSession(cnn(), "cross_entropy", "sgd", learning_rate=0.1, devices=devices)
    s.fit(Batches(data, 8))
    results.append({{**s.weights, **s.statistics}})
    if devices is None:
        assert len(s._state["weights"]["k"].sharding.device_set) == 2
        try:
            s.step({{n: a[:7] for n, a in data.items()}})
        except Exception as e:
            print(e)
for name, w in results[0].items():
    np.testing.assert_allclose(results[1][name], w, atol=1e-6)
print("same")
"""


def test_two_devices_learn_what_one_does() -> None:
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", DATA_PARALLEL.format(root=root)],
        env={**__import__("os").environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "a batch of 7 rows does not divide among 2 devices" in done.stdout
    assert done.stdout.endswith("same\n")


# ------------------------------------------------------------------------------------------------------- what is refused
def test_a_loss_that_is_not_finite_stops_and_says_where() -> None:
    m = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[n, 4] x) => (float[n, 4] y) <float[4] w = {1, 1, 1, 1}> {
        a = Mul(x, w) [logarithm] b = Log(a) y = Exp(b) }"""
    )
    s = session(model=m, loss="mse", target="t")
    good, bad = np.ones((2, 4), np.float32), -np.ones((2, 4), np.float32)
    s.step({"x": good, "t": good * 2})
    before = s.weights
    with pytest.raises(
        RunError, match=r"stopped at step 1: .*node 'logarithm' \(Log\) holds NaN, and its inputs are finite"
    ):
        s.fit([{"x": bad, "t": good}] * 3)
    assert (s.weights["w"] == before["w"]).all() and s.steps == 1
    assert int(s._state["step"]) == 1  # what was random in it can be drawn again
    with pytest.raises(RunError, match="stopped at step 1"):
        s.step({"x": good, "t": good})
    with pytest.raises(RunError, match="batch entry 'x' holds infinities"):
        session().fit([{"x": np.full((2, 4), np.inf, np.float32), "label": np.zeros(2, np.int64)}])
    with pytest.raises(RunError, match="labels beyond the classes"):
        session().fit([{"x": np.ones((2, 4), np.float32), "label": np.array([0, 7])}])
    root = session(model=m, loss=lambda o, b: jax.numpy.sqrt(abs(o["y"] - o["y"]).sum()))
    with pytest.raises(RunError, match="the loss is finite, and its gradient with respect to 'w' holds NaN"):
        root.fit([{"x": good}])


def test_batches_that_do_not_fit() -> None:
    s = session()
    label = np.zeros(2, np.int64)
    for batch, message in (
        ({"label": label}, "no value is given for input 'x'"),
        ({"x": np.ones((2, 4)), "label": label}, "input 'x' must be float32"),
        ({"x": np.ones((2, 5), np.float32), "label": label}, r"must have shape \[n, 4\], not \[2, 5\]"),
        ({"x": np.ones((2, 4), np.float32)}, "say which by target=: it has none"),
        ({"x": np.ones((2, 4), np.float32), "a": label, "b": label}, "say which by target=: a, b"),
        ({"x": np.ones((2, 4), np.float32), "label": np.array(["a", "b"])}, "no array of numbers"),
        ([1], "must be a dict of arrays"),
    ):
        with pytest.raises(ArgumentError, match=message):
            s.step(batch)  # type: ignore[arg-type]
    s.step(DATA)
    with pytest.raises(ArgumentError, match="the batch lacks 'label'"):
        s.step({"x": DATA["x"], "other": DATA["label"]})
    with pytest.raises(ArgumentError, match="batch 2: no value is given"):
        s.fit([DATA, {"label": label}])


def test_losses_that_are_no_scalar() -> None:
    with pytest.raises(ArgumentError, match=r"must be one float, not float32\[64\]; let the function give the mean"):
        session(loss=lambda outputs, batch: outputs["y"].sum(1)).step({"x": DATA["x"]})
    with pytest.raises(ArgumentError, match="no loss is called 'crossentropy', nor a file; there are cross_entropy"):
        session(loss="crossentropy")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adan"}, "no optimizer is called 'adan'; did you mean adam?"),
        ({"optimizer": 3}, "not a int"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"optimizer_options": {"speed": 3}}, "optimizer 'adam': .*speed"),
        ({"clip_norm": 0}, "clip_norm"),
        ({"accumulate": 0}, "accumulate"),
        ({"precision": "fp8"}, "precision 'fp8' is none of fp16, bf16"),
        ({"devices": 99}, "devices must be a number from 1"),
        ({"providers": ["reference"]}, "training runs on JAX"),
        ({"output": "z"}, "no output 'z'; its outputs: y"),
        ({"loss": lambda o, b: 0, "target": "label"}, "for losses by name"),
    ],
)
def test_arguments_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        session(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batches": iter([DATA]), "epochs": 2}, "an iterator ends with its first epoch"),
        ({"batches": DATA}, r"Batches\(arrays, size\) makes them"),
        ({"batches": []}, "no batch in epoch 1"),
        ({"resume": True}, "need a file"),
        ({"evaluate": lambda s: {"accuracy": 1.0}}, "no 'loss'"),
    ],
)
def test_loops_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        session().fit(**{"batches": [DATA], **options})


def test_checkpoints_of_others_are_refused(tmp_path: Path) -> None:
    s = session()
    file = tmp_path / "a.safetensors"
    s.save_checkpoint(file)
    with pytest.raises(ArgumentError, match="there is no checkpoint"):
        s.load_checkpoint(tmp_path / "b")
    with pytest.raises(ArgumentError, match=r"of another session: the (checkpoint lacks|session has no) .*optimizer"):
        session(optimizer="sgd").load_checkpoint(file)
    with pytest.raises(ArgumentError, match=r"of another session: the session has no .*'b1'"):
        session(trainable=["w*"]).load_checkpoint(file)
    smaller = mlp()
    smaller.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.zeros((1, 8), np.float32), "b1"))
    with pytest.raises(ArgumentError, match=r"'b1'\] is float32\[8\] there, and float32\[1, 8\] here"):
        session(model=smaller).load_checkpoint(file)
    with pytest.raises(ArgumentError, match="has seed 0"):
        session(seed=5).load_checkpoint(file)
    (tmp_path / "c").write_bytes(b"nothing")
    with pytest.raises(ArgumentError, match="no checkpoint that can be read"):
        s.load_checkpoint(tmp_path / "c")
    with pytest.raises(SaveError, match="cannot write checkpoint"):
        s.save_checkpoint(tmp_path / "missing" / "a")


def test_weights_that_callers_may_override_stay_so() -> None:
    m = mlp()
    m.graph.input.add().CopyFrom(onnx.helper.make_tensor_value_info("b2", onnx.TensorProto.FLOAT, [3]))
    s = session(model=m)
    s.step(DATA)
    trained = s.trained_model.proto
    assert [i.name for i in trained.graph.input] == ["x", "b2"]
    stored = {i.name: numpy_helper.to_array(i) for i in trained.graph.initializer}
    assert (stored["b2"] == s.weights["b2"]).all()


@pytest.mark.parametrize(("value", "fine"), [(np.nan, False), (np.inf, False), (-np.inf, False), (3e38, True)])
def test_what_is_not_finite_is_found(value: float, fine: bool) -> None:
    arrays = {"a": np.full((3, 700), 3e38, np.float32), "b": np.zeros((0, 2), np.float32), "c": np.ones(5, np.float16)}
    arrays["a"][2, 333] = value
    assert bool(jax.jit(stepping._all_finite)(arrays)) == fine


def test_on_the_cpu_memory_stays_and_channels_are_last(monkeypatch: pytest.MonkeyPatch) -> None:
    if jax.default_backend() != "cpu":
        pytest.skip("JAX trains on another device here")
    from graphopt.exec.training import session

    told: list[bool] = []
    monkeypatch.setattr(session, "keep_freed", lambda: told.append(True))
    trained = TrainingSession(cnn(), "cross_entropy", "sgd")
    assert told == [True]
    assert any("channels_last" in step.op for step in trained._f.training_form.plan.steps)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_large_blocks_stay_with_the_process() -> None:
    code = """
import resource
import numpy as np
from graphopt.exec.backends.memory import keep_freed

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(12_000_000)  # 92 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = [faults() for _ in range(3)][-1]
assert keep_freed()
print(first, [faults() for _ in range(3)][-1])
"""
    before, after = map(int, subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert after < before / 4
