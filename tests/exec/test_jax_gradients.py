"""Gradients that the JAX back end writes itself, against those that JAX derives from plain code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphopt.exec.kernels import convolution, indexing, kernel_for, recurrent, softmax
from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.channels_last import DOMAIN

jax = pytest.importorskip("jax")

from graphopt.exec.backends.jax import JAX, JaxBackend  # noqa: E402 - without jax it cannot be imported


class Plain(JaxBackend):
    """JAX with loops and convolutions that it differentiates by itself."""

    recur, cutter = Backend.recur, Backend.cutter

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
@pytest.mark.parametrize("group", [2, 9])  # one by one, and all at once
def test_grouped_convolutions(how: dict[str, list[int]], group: int) -> None:
    assert_same_gradients(
        lambda xp, x, w: convolution.conv(xp, x, w, group=group, **how),
        random(2, 2 * group, 9, 8),
        random(3 * group, 2, 3, 3),
    )


def test_grouped_convolutions_of_one_dim() -> None:
    assert_same_gradients(lambda xp, x, w: convolution.conv(xp, x, w, group=3), random(2, 6, 9), random(6, 2, 4))


@pytest.mark.parametrize(
    ("pool", "how"),
    [
        (op, how)
        for op in ("MaxPool", "AveragePool")
        for how in (
            {"kernel_shape": [2, 2], "strides": [2, 2]},
            {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]},
            {"kernel_shape": [2, 3], "dilations": [2, 1], "strides": [2, 3], "ceil_mode": 1},
            {"kernel_shape": [7, 6]},
        )
    ],
)
def test_poolings_with_channels_last(pool: str, how: dict[str, Any]) -> None:
    """As the standard's operator between two Transposes."""
    x = random(2, 3, 7, 6)
    last = kernel_for(f"{DOMAIN}::{pool}2d", 1).function
    first = kernel_for(pool, 19).function

    def between(xp: JaxBackend, x: Any) -> Any:
        return last(xp, xp.transpose(x, (0, 2, 3, 1)), **how).transpose(0, 3, 1, 2)

    np.testing.assert_allclose(between(JAX, x), first(JAX, x, **how), rtol=1e-12)
    (ours,), (plain,) = gradients(between, JAX, x), gradients(lambda xp, x: first(xp, x, **how), JAX, x)
    assert np.abs(plain).max() > 0
    np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-14)


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


@pytest.mark.parametrize("function", [softmax.softmax, softmax.log_softmax])
def test_softmax_does_not_depend_on_what_it_is_shifted_by(function: Any) -> None:
    x, d = random(3, 5), random(5, 3).T

    def unshifted(x: Any) -> Any:
        y = jax.numpy.exp(x) / jax.numpy.exp(x).sum(-1, keepdims=True)
        return y if function is softmax.softmax else jax.numpy.log(y)

    want = jax.grad(lambda x: (unshifted(x) * d).sum())(x)
    found = jax.grad(lambda x: (function(JAX, x, -1) * d).sum())(x)
    np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("indices", "axis", "moved"),
    [
        ([0, 1, 4, 5, 2, 3], 0, True),
        ([4, 5, 0, 1, 2, 3], 1, True),
        ([5, 4, 3, 2, 1, 0], 0, True),
        ([0, 1, 2, 3, 4, 5], 0, True),
        ([0, 1, 1, 2, 3, 4], 0, False),
        ([4, 5, 2, 3], 0, False),
        ([0, 1, 2, 3, -2, -1], 0, False),
        ([1, 0, 3, 2, 5, 4, 7, 6, 9, 8], 0, False),
    ],
)
def test_blocks_that_are_reordered(indices: list[int], axis: int, moved: bool) -> None:
    rows = np.array(indices)
    n = max(len(rows), 6)
    x, d = random(n, 6), random(6, n).T
    picked = np.take(x, rows, axis)
    d = d[: picked.shape[0], : picked.shape[1]]

    def reordered(x: Any) -> Any:
        return indexing.gather(JAX, x, rows, axis=axis)

    np.testing.assert_array_equal(jax.jit(reordered)(x), picked)
    want = np.zeros_like(x)
    np.add.at(want, (slice(None),) * axis + (rows,), d)
    np.testing.assert_array_equal(jax.grad(lambda x: (reordered(x) * d).sum())(x), want)
    assert ("gather" not in str(jax.make_jaxpr(reordered)(x))) == moved


def test_blocks_in_an_order_that_is_not_its_own_inverse() -> None:
    indices = np.array([2, 3, 6, 7, 8, 0, 1, 4, 5])
    assert indexing._blocks(indices, 9) == ([2, 2, 2, 3], [1, 3, 0, 2])
    x = np.arange(9, dtype=np.float32)
    np.testing.assert_array_equal(indexing.gather(JAX, JAX.asarray(x), indices), x[indices])
