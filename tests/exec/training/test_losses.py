"""Losses by name against their formulas, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import parser

from graphopt.errors import ArgumentError

jax = pytest.importorskip("jax")

from graphopt.exec.training.losses import LOSSES, named_loss, onnx_loss, scalar  # noqa: E402 - without jax it cannot be imported

RNG = np.random.default_rng(0)
Y, T = RNG.normal(size=(5, 3)), RNG.uniform(size=(5, 3))
LABELS = np.array([0, 2, 1, 1, 0])
P = np.exp(Y) / np.exp(Y).sum(1, keepdims=True)
S = 1 / (1 + np.exp(-Y))
D = np.abs(Y - T)
CASES: dict[str, tuple[Any, Any, float]] = {
    "cross_entropy": (Y, LABELS, -np.log(P[np.arange(5), LABELS]).mean()),
    "nll": (np.log(P), LABELS, -np.log(P[np.arange(5), LABELS]).mean()),
    "mse": (Y, T, (D**2).mean()),
    "l1": (Y, T, D.mean()),
    "huber": (3 * Y, T, np.where(abs(3 * Y - T) < 1, (3 * Y - T) ** 2 / 2, abs(3 * Y - T) - 0.5).mean()),
    "bce": (S, T, -(T * np.log(S) + (1 - T) * np.log(1 - S)).mean()),
    "bce_with_logits": (Y, T, -(T * np.log(S) + (1 - T) * np.log(1 - S)).mean()),
}


@pytest.mark.parametrize("name", LOSSES)
def test_formulas(name: str) -> None:
    y, target, expected = CASES[name]
    assert float(named_loss(name, "y", "t")({"y": jax.numpy.asarray(y)}, {"t": target})) == pytest.approx(
        expected, rel=1e-9
    )


def test_losses_of_large_scores_are_finite() -> None:
    y = np.array([[1000.0, -1000.0]])
    assert float(named_loss("bce_with_logits", "y", "t")({"y": y}, {"t": np.array([[1.0, 0.0]])})) == 0
    assert float(named_loss("cross_entropy", "y", "t")({"y": y}, {"t": np.array([1])})) == 2000
    gradient = jax.grad(lambda y: named_loss("bce", "y", "t")({"y": y}, {"t": np.ones(2)}))(np.array([0.0, 1.0]))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["mse", "l1", "huber", "bce", "bce_with_logits"])
def test_shapes_that_would_broadcast_are_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match=rf"'{name}' compares arrays of one shape.*\[5, 3\].*\[5\]"):
        named_loss(name, "y", "t")({"y": Y}, {"t": np.zeros(5)})


@pytest.mark.parametrize("name", ["cross_entropy", "nll"])
def test_labels_that_do_not_fit_are_refused(name: str) -> None:
    for labels in (LABELS[:4], LABELS.astype(np.float32), LABELS[:, None]):
        with pytest.raises(ArgumentError, match=rf"'{name}' takes scores \[batch, classes, ...\] and integer labels"):
            named_loss(name, "y", "t")({"y": Y}, {"t": labels})


def test_a_loss_as_a_model() -> None:
    m = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> loss (float[n, 3] y, int64[n] label) => (float l) '
        "{ l = SoftmaxCrossEntropyLoss(y, label) }"
    )
    loss, names = onnx_loss(m)
    assert names == ("y", "label")
    assert float(loss({"y": Y}, {"label": LABELS, "x": Y})) == pytest.approx(CASES["cross_entropy"][2])
    m.graph.output.add().CopyFrom(m.graph.input[0])
    m.graph.output[1].name = "z"
    m.graph.node.add(op_type="Neg", input=["y"], output=["z"])
    with pytest.raises(ArgumentError, match="must have one output, a scalar; it has l, z"):
        onnx_loss(m)


def test_what_is_no_scalar() -> None:
    assert scalar(jax.numpy.ones((1, 1)), "it").shape == ()
    with pytest.raises(ArgumentError, match=r"must be one float, not float64\[5, 3\]; let it give the mean"):
        scalar(Y, "it")
    with pytest.raises(ArgumentError, match="must be one float, not int64"):
        scalar(np.int64(3), "it")


@pytest.mark.parametrize("labels", [[0, 2, 4], [-1, -5, 1], [3, 3, 3]])
def test_cross_entropy_has_the_gradient_of_its_formula(labels: list[int]) -> None:
    scores = np.random.default_rng(0).standard_normal((3, 5)) * 4
    scores[0, 1] = -np.inf  # a class that is ruled out
    target = np.array(labels)
    loss = named_loss("cross_entropy", "y", "t", "cpu")

    def of_formula(y: Any) -> Any:
        return -jax.numpy.mean(jax.nn.log_softmax(y, -1)[np.arange(3), target])

    want, found = (
        jax.value_and_grad(f)(scores) for f in (of_formula, lambda y: loss({"y": y}, {"t": jax.numpy.asarray(target)}))
    )
    np.testing.assert_allclose(found[0], want[0], rtol=1e-12)
    np.testing.assert_allclose(found[1], want[1], rtol=1e-9, atol=1e-15)
    assert found[1][0, 1] == 0


@pytest.mark.parametrize("label", [5, -6])
def test_a_label_without_a_class_is_no_number(label: int) -> None:
    loss = named_loss("cross_entropy", "y", "t", "cpu")
    assert np.isnan(loss({"y": jax.numpy.zeros((2, 5))}, {"t": jax.numpy.array([0, label])}))
