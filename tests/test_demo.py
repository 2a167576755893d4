"""The sample is valid, runs, and is a good target: whatever is changed in it shows in its outputs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from graphopt.demo import demo_model
from graphopt.exec.executors import create, installed
from graphopt.verification import verify

IMAGE = np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32)
MODEL = demo_model()
WEIGHTS = [t.name for t in MODEL.graph.initializer]


def test_is_always_the_same_valid_small_model() -> None:
    assert demo_model().SerializeToString(deterministic=True) == MODEL.SerializeToString(deterministic=True)
    onnx.checker.check_model(MODEL, full_check=True)
    assert len(MODEL.SerializeToString()) < 500_000
    assert 200 < len(MODEL.graph.node) < 300


def test_docstring_counts_right() -> None:
    assert f"{len(MODEL.graph.node)} nodes" in (demo_model.__doc__ or "")


def test_has_something_for_every_rule() -> None:
    ops = Counter(node.op_type for node in MODEL.graph.node)
    for op in (
        "BatchNormalization", "Cast", "Clip", "Constant", "Dropout", "Erf", "Gather", "Identity", "Pow", "ReduceMean",
        "Reshape", "Resize", "Shape", "Slice", "Softmax", "Split", "Unsqueeze",
    ):  # fmt: skip
        assert ops[op]


@pytest.mark.parametrize("executor", installed())
def test_outputs_are_well_conditioned(executor: str) -> None:
    run = create(executor, MODEL.SerializeToString()).run
    here, nearby, other = run({"image": IMAGE}), run({"image": IMAGE * np.float32(1 + 1e-6)}), run({"image": -IMAGE})
    assert here["boxes"].shape == (2, 320, 4)
    assert here["scores"].shape == (2, 320, 5)
    for name, value in here.items():
        assert np.isfinite(value).all()
        assert 0.01 < np.abs(value).mean() < 2
        assert np.abs(value - nearby[name]).max() < 1e-4
        assert np.abs(value - other[name]).max() > 0.05


def test_executors_agree() -> None:
    results = [create(name, MODEL.SerializeToString()).run({"image": IMAGE}) for name in installed()]
    for result in results[1:]:
        for name, value in result.items():
            assert np.abs(value - results[0][name]).max() < 1e-4


def test_equals_itself() -> None:
    assert verify(MODEL, MODEL, seeds=2)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_every_weight_matters(weight: str) -> None:
    """Each channel of every weight: a rewrite that takes one for another is found out."""
    wrong = onnx.ModelProto()
    wrong.CopyFrom(MODEL)
    tensor = next(t for t in wrong.graph.initializer if t.name == weight)
    value = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(np.roll(value, 1, axis=0), weight))
    assert verify(MODEL, wrong, on=installed()[0], seeds=2).verdict == "different"
