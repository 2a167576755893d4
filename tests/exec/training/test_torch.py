"""Against PyTorch: gradients and losses of small networks, recorded by `python -m benchmarks.training --record`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("optax")

from graphopt.exec.training import TrainingSession

FOLDER = Path(__file__).parent / "torch"
NETWORKS = ("mlp", "cnn", "lstm", "transformer")
#: As they were recorded, in optax's words.
OPTIMIZERS: dict[str, tuple[str, float, dict[str, float]]] = {
    "sgd": ("sgd", 0.01, {"momentum": 0.9}),
    "adam": ("adam", 3e-4, {}),
    "adamw": ("adamw", 3e-4, {"weight_decay": 0.01}),
}


def recorded(name: str) -> dict[str, dict[str, np.ndarray]]:
    groups: dict[str, dict[str, np.ndarray]] = {"batch": {}, "gradient": {}, "losses": {}, "state": {}}
    with np.load(FOLDER / f"{name}.npz") as arrays:
        for key, value in arrays.items():
            group, _, rest = key.partition("/")
            groups[group][rest] = value
    return groups


def session_of(name: str, optimizer: str) -> TrainingSession:
    named, rate, options = OPTIMIZERS[optimizer]
    return TrainingSession(
        FOLDER / f"{name}.onnx", "cross_entropy", named, learning_rate=rate, optimizer_options=options
    )


def batch(groups: dict[str, Any], i: int) -> dict[str, np.ndarray]:
    return {key: array[i % len(array)] for key, array in groups["batch"].items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_torch(name: str) -> None:
    groups = recorded(name)
    got = session_of(name, "sgd").gradients(batch(groups, 0))
    want = groups["gradient"]
    assert got.keys() == want.keys()
    for weight, gradient in want.items():
        assert np.abs(got[weight] - gradient).max() <= 1e-5 * np.abs(gradient).max(), weight


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_losses_are_those_of_torch(name: str, optimizer: str) -> None:
    groups = recorded(name)
    want = groups["losses"][optimizer]
    session = session_of(name, optimizer)
    got = [float(session.step(batch(groups, i))) for i in range(len(want))]
    np.testing.assert_allclose(got, want, rtol=1e-4)
    assert want[-8:].mean() < want[:8].mean()
    if optimizer == "sgd":
        after = {**session.weights, **session.statistics}
        assert after.keys() == groups["state"].keys() - {n for n in groups["state"] if "num_batches" in n}
        for key, value in after.items():
            np.testing.assert_allclose(value, groups["state"][key], rtol=1e-3, atol=1e-4, err_msg=key)
