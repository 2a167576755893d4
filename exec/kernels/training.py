"""Steps of optimizers: https://onnx.ai/onnx/operators/, domain ai.onnx.preview.training.

After the learning rate and the count of updates come all the tensors that are updated, then the gradients of all, then
what the optimizer keeps of each; the results are the tensors, then what is kept.
"""

from __future__ import annotations

from collections.abc import Callable

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.registry import Array, kernel

DOMAIN = "ai.onnx.preview.training"


def _each(step: Callable[..., tuple[Array, ...]], groups: int, tensors: tuple[Array, ...]) -> tuple[Array, ...]:
    """Take a step for each tensor: `step(tensor, gradient, what is kept...)`, and order the results."""
    count, rest = divmod(len(tensors), groups)
    if rest:
        raise ValueError(f"{len(tensors)} tensors cannot be {groups} for each that is updated")
    results = [step(*tensors[i::count]) for i in range(count)]
    return tuple(y for kind in zip(*results) for y in kind)


def _scalars(xp: Backend, rate: Array, count: Array, like: Array) -> tuple[Array, Array]:
    """The learning rate and the count of updates in the dtype of a tensor."""
    return xp.cast(rate, like.dtype).reshape(()), xp.cast(count, like.dtype).reshape(())


@kernel("Adagrad", domain=DOMAIN)
def adagrad(
    xp: Backend,
    rate: Array,
    count: Array,
    *tensors: Array,
    decay_factor: float = 0.0,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
) -> tuple[Array, ...]:
    """Slower along axes that had large gradients."""

    def step(x: Array, g: Array, h: Array) -> tuple[Array, ...]:
        r, t = _scalars(xp, rate, count, x)
        g = g + xp.number(norm_coefficient, x) * x
        h = h + g * g
        r = r / (1 + t * xp.number(decay_factor, x))
        return x - r * g / (xp.sqrt(h) + xp.number(epsilon, x)), h

    return _each(step, 3, tensors)


@kernel("Adam", domain=DOMAIN)
def adam(
    xp: Backend,
    rate: Array,
    count: Array,
    *tensors: Array,
    alpha: float = 0.9,
    beta: float = 0.999,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
) -> tuple[Array, ...]:
    """Along the mean of past gradients, in units of their mean square's root."""

    def step(x: Array, g: Array, v: Array, h: Array) -> tuple[Array, ...]:
        r, t = _scalars(xp, rate, count, x)
        a, b, one = (xp.number(n, x) for n in (alpha, beta, 1))
        g = g + xp.number(norm_coefficient, x) * x
        v = a * v + (one - a) * g
        h = b * h + (one - b) * (g * g)
        # means that started from zero are too small at first; before the first update nothing has been averaged
        first = xp.maximum(t, one)
        r = xp.where(t > 0, r * xp.sqrt(one - b**first) / (one - a**first), r)
        x = x - r * v / (xp.sqrt(h) + xp.number(epsilon, x))
        return (one - xp.number(norm_coefficient_post, x)) * x, v, h

    return _each(step, 4, tensors)


@kernel("Momentum", domain=DOMAIN)
def momentum(
    xp: Backend,
    rate: Array,
    count: Array,
    *tensors: Array,
    alpha: float,
    beta: float,
    mode: str,
    norm_coefficient: float,
) -> tuple[Array, ...]:
    """Along a decaying sum of past gradients; 'nesterov' looks one step ahead."""
    if mode not in ("standard", "nesterov"):
        raise ValueError(f"there is no mode '{mode}'")

    def step(x: Array, g: Array, v: Array) -> tuple[Array, ...]:
        r, t = _scalars(xp, rate, count, x)
        a = xp.number(alpha, x)
        g = g + xp.number(norm_coefficient, x) * x
        v = a * v + xp.where(t > 0, xp.number(beta, x), xp.number(1, x)) * g
        return x - r * (g + a * v if mode == "nesterov" else v), v

    return _each(step, 3, tensors)
