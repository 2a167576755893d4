"""One step of training as one compiled program: loss, gradients, clipping, and the optimizer's update.

    state = initial(...)
    state, (loss, failed) = step(state, batch)

Nothing of the state leaves the device. A step whose loss or gradients are not finite changes nothing, and neither does any
step after it, so that what went wrong can be looked at: `state["failed"]` is its number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from graphopt.exec.training.differentiation import Differentiable
from graphopt.exec.training.losses import Loss, scalar

import jax  # isort: skip - the back end above says what to install where it is missing
import jax.numpy as jnp

#: Loss scaling, for float16: the first factor, and after how many good steps it is doubled.
FIRST_SCALE, GROWS_AFTER = 2.0**15, 1000

#: Weights, statistics and the optimizer's state by name, and a few numbers.
State = dict[str, Any]


def initial_state(f: Differentiable, optimizer: Any) -> State:
    """The state before the first step; arrays of its own, which steps may write over."""
    weights = {name: jnp.array(w) for name, w in f.weights.items()}
    return {
        "weights": weights,
        "statistics": {name: jnp.array(s) for name, s in f.statistics.items()},
        "optimizer": optimizer.init(weights),
        "step": jnp.zeros((), jnp.int32),
        "failed": jnp.full((), -1, jnp.int32),
        "scale": jnp.full((), FIRST_SCALE, jnp.float32),
        "good": jnp.zeros((), jnp.int32),
    }


def key_of(seed: int, step: Any) -> Any:
    """The key for what is random in one step."""
    return jax.random.fold_in(jax.random.key(seed), step)


def objective(f: Differentiable, loss: Loss, what: str, seed: int) -> Callable[..., tuple[Any, dict[str, Any]]]:
    """The loss of a batch in training mode, and the running statistics afterwards; of weights, statistics, batch, step."""
    names = [a.name for a in f.signature.inputs]

    def value(weights: Any, statistics: Any, batch: Mapping[str, Any], step: Any) -> tuple[Any, dict[str, Any]]:
        inputs = {name: batch[name] for name in names}
        key = key_of(seed, step) if f.random else None
        outputs, after = f(weights, inputs, statistics=statistics, training=True, key=key)
        return scalar(loss(outputs, batch), what), after

    return value


def gradients_of(f: Differentiable, loss: Loss, what: str, seed: int) -> Callable[..., Any]:
    """Derivatives of `objective` with respect to the weights, compiled."""
    value = objective(f, loss, what, seed)
    return jax.jit(lambda *given: jax.grad(value, has_aux=True)(*given)[0])


def training_step(
    f: Differentiable, loss: Loss, what: str, optimizer: Any, seed: int, scaled: bool, sharding: Any = None
) -> Callable[[State, Mapping[str, Any]], tuple[State, tuple[Any, Any]]]:
    """The compiled step: state and batch to the state after it (the one before is used up), the loss, and `failed`.

    Args:
        f: the model.
        loss: of its outputs and the batch.
        what: how errors call the loss.
        optimizer: an optax transformation.
        seed: of what is random.
        scaled: gradients are computed of a multiple of the loss, so that float16 can hold them; a step where that overflows
            is left out, and the factor halved.
        sharding: of the state, where it lies on several devices.
    """
    value = objective(f, loss, what, seed)

    def step(state: State, batch: Mapping[str, Any]) -> tuple[State, tuple[Any, Any]]:
        weights, number = state["weights"], state["step"]
        factor = state["scale"] if scaled else None

        def multiple(w: Any) -> tuple[Any, Any]:
            loss, after = value(w, state["statistics"], batch, number)
            return (loss if factor is None else loss.astype(jnp.float32) * factor), (loss, after)

        gradients, (loss, statistics) = jax.grad(multiple, has_aux=True)(weights)
        if factor is not None:
            gradients = jax.tree.map(lambda g: g / factor.astype(g.dtype), gradients)
        finite = _all_finite(gradients)
        fine = jnp.isfinite(loss) & (finite | (scaled & (state["scale"] > 1)))
        failed = jnp.where((state["failed"] < 0) & ~fine, number, state["failed"])
        go = finite & (failed < 0)

        def learnt(kept: State) -> State:
            updates, optimizing = optimizer.update(gradients, kept["optimizer"], kept["weights"])
            moved = jax.tree.map(lambda w, u: (w + u).astype(w.dtype), kept["weights"], updates)
            return {"weights": moved, "optimizer": optimizing, "statistics": statistics}

        # a branch, since choosing number by number would copy all of the state first
        kept = {name: state[name] for name in ("weights", "optimizer", "statistics")}
        following = jax.lax.cond(go, learnt, lambda kept: kept, kept)
        good = jnp.where(finite, state["good"] + 1, 0)
        grown = good >= GROWS_AFTER
        return {
            **following,
            "step": jnp.where(failed < 0, number + 1, number),
            "failed": failed,
            "good": jnp.where(grown, 0, good) if scaled else state["good"],
            "scale": jnp.where(finite, state["scale"] * jnp.where(grown, 2, 1), state["scale"] / 2).astype(np.float32)
            if scaled
            else state["scale"],
        }, (loss, failed)

    return jax.jit(step, donate_argnums=0, out_shardings=sharding)


def _all_finite(arrays: Any) -> Any:
    """Whether no element of a tree of floats is infinite or NaN: only those make 0 something else.

    A sum, since XLA for the CPU writes the truth of each element down and has slow code for putting such together.
    """
    return sum(jnp.sum(a * 0).astype(jnp.float32) for a in jax.tree.leaves(arrays)) == 0


def evaluation(f: Differentiable, loss: Loss | None, what: str) -> Callable[..., tuple[Any, dict[str, Any]]]:
    """Loss and outputs of a batch in inference mode, compiled; of weights, statistics and the batch."""
    names = [a.name for a in f.signature.inputs]

    def value(weights: Any, statistics: Any, batch: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        outputs, _ = f(weights, {name: batch[name] for name in names}, statistics=statistics)
        return (None if loss is None else scalar(loss(outputs, batch), what)), outputs

    return jax.jit(value)
