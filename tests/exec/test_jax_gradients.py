"""Gradients that the JAX back end writes itself, against those that JAX derives from plain code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphopt.exec.kernels import convolution, recurrent
from graphopt.exec.kernels.backend import Backend

jax = pytest.importorskip("jax")

from graphopt.exec.backends.jax import JAX, JaxBackend  # noqa: E402 - without jax it cannot be imported


class Plain(JaxBackend):
    """JAX with loops and convolutions that it differentiates by itself."""

    recur = Backend.recur

    def convolve(self, *given: Any) -> Any:
        return convolution.convolve(self, *given)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape)


def gradients(function: Callable[..., Any], xp: JaxBackend, *arrays: np.ndarray) -> list[np.ndarray]:
    """Of a combination of all outputs in which none cancels out."""

    def combined(*values: Any) -> Any:
        results = function(xp, *values)
        return sum(jax.numpy.sin(y).sum() for y in (results if isinstance(results, tuple) else (results,)))

    found = jax.jit(jax.grad(combined, argnums=tuple(range(len(arrays)))))(*arrays)
    return [np.asarray(g) for g in found]


def assert_same_gradients(function: Callable[..., Any], *arrays: np.ndarray) -> None:
    for ours, plain in zip(gradients(function, JAX, *arrays), gradients(function, Plain(), *arrays), strict=True):
        assert np.abs(plain).max() > 0
        np.testing.assert_allclose(ours, plain, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "how",
    [
        {"pads": [1, 1, 1, 1]},
        {"strides": [2, 2], "pads": [0, 1, 2, 0]},
        {"dilations": [2, 1], "pads": [2, 1, 2, 1]},
        {"strides": [3, 2], "pads": [0, 0, -1, 0]},
    ],
)
def test_grouped_convolutions(how: dict[str, list[int]]) -> None:
    assert_same_gradients(
        lambda xp, x, w: convolution.conv(xp, x, w, group=2, **how), random(2, 4, 9, 8), random(6, 2, 3, 3)
    )


def test_grouped_convolutions_of_one_dim() -> None:
    assert_same_gradients(lambda xp, x, w: convolution.conv(xp, x, w, group=3), random(2, 6, 9), random(6, 2, 4))


@pytest.mark.parametrize(("direction", "lengths"), [("reverse", None), ("bidirectional", [5, 2, 3])])
@pytest.mark.parametrize(
    ("network", "gates", "options"),
    [
        (recurrent.rnn, 1, {}),
        (recurrent.gru, 3, {}),
        (recurrent.gru, 3, {"linear_before_reset": 1}),
        (recurrent.lstm, 4, {}),
        (recurrent.lstm, 4, {"input_forget": 1, "clip": 0.5}),
    ],
)
def test_recurrent_networks(
    network: Any, gates: int, options: dict[str, Any], lengths: list[int] | None, direction: str
) -> None:
    n, hidden = (2 if direction == "bidirectional" else 1), 6
    lens = None if lengths is None else np.array(lengths)

    def run(xp: JaxBackend, x: Any, w: Any, r: Any, b: Any, h: Any) -> Any:
        return network(xp, x, w, r, b, lens, h, direction=direction, hidden_size=hidden, **options)

    arrays = (random(5, 3, 4), random(n, gates * hidden, 4), random(n, gates * hidden, hidden))
    assert_same_gradients(run, *arrays, random(n, 2 * gates * hidden), random(n, 3, hidden))


def test_peepholes_have_gradients() -> None:
    def run(xp: JaxBackend, x: Any, w: Any, r: Any, p: Any) -> Any:
        return recurrent.lstm(xp, x, w, r, None, None, None, None, p, hidden_size=6)

    assert_same_gradients(run, random(5, 3, 4), random(1, 24, 4), random(1, 24, 6), random(1, 18))


def test_a_sequence_without_turns() -> None:
    arrays = (np.zeros((0, 3, 4)), random(1, 24, 4), random(1, 24, 6), random(1, 3, 6))

    def run(xp: JaxBackend, x: Any, w: Any, r: Any, h: Any) -> Any:
        return recurrent.lstm(xp, x, w, r, None, None, h, hidden_size=6)

    *_, of_weights, of_state = gradients(run, JAX, *arrays)
    assert not of_weights.any()
    assert np.isfinite(of_state).all()


@pytest.mark.parametrize("x", [-1000.0, -90.0, 0.0, 90.0, 1000.0])
def test_sigmoids_have_derivatives_everywhere(x: float) -> None:
    from graphopt.exec.kernels.activation import sigmoid, swish

    for function in (sigmoid, swish):
        slope = jax.grad(lambda v, f=function: f(JAX, v))(np.float32(x))
        step = 1e-6 * max(abs(x), 1.0)
        with np.errstate(over="ignore"):
            values = [(v if function is swish else 1.0) / (1 + np.exp(-v)) for v in (x - step, x + step)]
        np.testing.assert_allclose(slope, (values[1] - values[0]) / (2 * step), atol=1e-5)
