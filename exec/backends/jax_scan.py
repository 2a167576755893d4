"""Recurrence under JAX, with a gradient that suits matrices: JAX's own goes back through the loop, adds to a gradient as large
as the matrix in each turn, multiplies there with a transposed view, for which XLA has slow code on the CPU, and keeps a dozen
arrays of each turn.

Here a turn keeps states and products, and the rest is computed again on the way back; that multiplies with a transposed copy,
and the gradient of the matrix is one product after the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp


class _Held:
    """A matrix as a step sees it."""

    def __init__(self, multiply: Callable[[Any], Any]) -> None:
        self._multiply = multiply

    def __matmul__(self, h: Any) -> Any:
        return self._multiply(h)


@jax.custom_vjp
def _known(product: Any, turned: Any, h: Any) -> Any:
    """A product with `h` that is known; `turned`, its matrix transposed, leads the gradient on to `h`."""
    return product


_known.defvjp(lambda product, turned, h: (product, turned), lambda turned, dz: (dz, None, turned @ dz))


def recur(step: Callable[..., Any], weights: Sequence[Any], state: Any, xs: Any) -> tuple[Any, Any]:
    """See `Backend.recur`."""
    weights, (state, xs) = list(map(jnp.asarray, weights)), jax.tree.map(jnp.asarray, (state, xs))
    if not jax.tree.leaves(xs)[0].shape[0]:
        return jax.lax.scan(partial(step, weights), state, xs)

    def turn(weights: Any, state: Any, x: Any) -> tuple[Any, Any, Any]:
        """One step; what comes out besides are its products."""
        products: list[Any] = [None] * len(weights)

        def held(i: int) -> _Held:
            def multiply(h: Any) -> Any:
                products[i] = weights[i] @ h
                return products[i]

            return _Held(multiply)

        following, y = step([held(i) for i in range(len(weights))], state, x)
        return following, y, products

    def again(products: Any, turned: Any, state: Any, x: Any) -> tuple[Any, Any, Any]:
        """The same when the products are known; what comes out besides is what was multiplied."""
        seen: list[Any] = [None] * len(products)

        def held(i: int) -> _Held:
            def multiply(h: Any) -> Any:
                seen[i] = h
                return _known(products[i], turned[i], h)

            return _Held(multiply)

        following, y = step([held(i) for i in range(len(products))], state, x)
        return following, y, seen

    x = jax.tree.map(lambda a: jnp.zeros(a.shape[1:], a.dtype), xs)
    products = jax.eval_shape(turn, weights, state, x)[2]
    products = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), products)
    turn, captured = jax.closure_convert(turn, weights, state, x)
    again, repeated = jax.closure_convert(again, products, _turned(weights), state, x)

    @jax.custom_vjp
    def run(weights: Any, state: Any, xs: Any, captured: Any, repeated: Any) -> tuple[Any, Any]:
        return jax.lax.scan(lambda s, x: turn(weights, s, x, *captured)[:2], state, xs)

    def forwards(weights: Any, state: Any, xs: Any, captured: Any, repeated: Any) -> tuple[Any, Any]:
        def body(s: Any, x: Any) -> tuple[Any, Any]:
            following, y, products = turn(weights, s, x, *captured)
            return following, (y, following, products)

        last, (ys, states, products) = _scan(body, state, xs)
        return (last, ys), (weights, state, xs, repeated, states, products)

    def backwards(kept: Any, d: Any) -> tuple[Any, ...]:
        weights, state, xs, repeated, states, products = kept
        before = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest[:-1]]), state, states)
        turned = _turned(weights)
        _, join = _floats(xs)

        def body(carried: Any, given: Any) -> tuple[Any, Any]:
            d_following, d_repeated = carried
            dy, s, known, x = given
            own, join_own = _floats(x)

            def differentiated(known: Any, s: Any, own: Any, repeated: Any) -> tuple[Any, Any]:
                following, y, seen = again(known, turned, s, join_own(own), *repeated)
                return (following, y), seen

            _, back, seen = jax.vjp(differentiated, known, s, own, repeated, has_aux=True)
            d_known, d_s, d_own, d_more = back((d_following, dy))
            return (d_s, jax.tree.map(jnp.add, d_repeated, d_more)), (d_known, d_own, seen)

        nothing = jax.tree.map(jnp.zeros_like, repeated)
        (d_state, d_repeated), (d_products, d_floats, seen) = _scan(
            body, (d[0], nothing), (d[1], before, products, xs), reverse=True
        )
        d_weights = [_outer(dz, h) for dz, h in zip(d_products, seen, strict=True)]
        return d_weights, d_state, join(d_floats, None), None, d_repeated

    run.defvjp(forwards, backwards)
    return run(weights, state, xs, captured, repeated)


def _scan(body: Callable[..., Any], state: Any, xs: Any, reverse: bool = False) -> tuple[Any, Any]:
    """`jax.lax.scan`, but what a turn gives several times is kept once."""
    tree: Any = None
    places: list[int] = []

    def once(state: Any, x: Any) -> tuple[Any, Any]:
        nonlocal tree, places
        following, given = body(state, x)
        leaves, tree = jax.tree.flatten(given)
        numbers: dict[int, int] = {}
        places = [numbers.setdefault(id(leaf), len(numbers)) for leaf in leaves]
        return following, [leaves[places.index(i)] for i in range(len(numbers))]

    last, kept = jax.lax.scan(once, state, xs, reverse=reverse)
    return last, jax.tree.unflatten(tree, [kept[i] for i in places])


def _floats(tree: Any) -> tuple[list[Any], Callable[..., Any]]:
    """The leaves of a tree that can be differentiated; and what puts such beside the others, or beside something else."""
    leaves, structure = jax.tree.flatten(tree)
    which = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.inexact)]

    def join(floats: Sequence[Any], *others: Any) -> Any:
        whole = [*others] * len(leaves) if others else list(leaves)
        for i, leaf in zip(which, floats, strict=True):
            whole[i] = leaf
        return jax.tree.unflatten(structure, whole)

    return [leaves[i] for i in which], join


def _outer(dz: Any, h: Any) -> Any:
    """The sum over turns and batch of [turns, directions, rows, batch] and [turns, directions, hidden, batch]."""
    a, b = (jnp.transpose(v, (1, 0, 3, 2)).reshape(v.shape[1], -1, v.shape[2]) for v in (dz, h))
    return jnp.swapaxes(a, 1, 2) @ b


def _turned(weights: Sequence[Any]) -> list[Any]:
    return [jnp.swapaxes(w, -1, -2) for w in weights]
