"""Recurrent networks: https://onnx.ai/onnx/operators/onnx__LSTM.html, GRU, RNN.

They differ in the step alone. Inside, features come before the batch, a state is (directions, hidden, batch): so weights
multiply from the left as they are stored, and gates are contiguous blocks. Both directions of a bidirectional network
run at once; for the second one time is turned around before and after.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.recurrent_activations import Activation, activations_of
from graphopt.exec.kernels.registry import Array, kernel

#: From what states are multiplied with, states and the projected input to the next states, of which the first is the output.
Step = Callable[[Sequence[Array], tuple[Array, ...], Array], tuple[Array, ...]]
#: A network for some directions: it is given its functions, and weights with the directions in front; a step, and what that
#: multiplies states with (see `Backend.recur`).
Cell = Callable[..., tuple[Step, Sequence[Array]]]

#: Which of the directions go from the end to the start. The misspelt one is the default of GRU in version 1.
_BACKWARDS = {"forward": (False,), "foward": (False,), "reverse": (True,), "bidirectional": (False, True)}


# -------------------------------------------------------------------------------------------------------------- the loop
def _run(
    xp: Backend,
    cell: Cell,
    x: Array,
    w: Array,
    bias: Array | None,
    r: Array,
    more: tuple[Array | None, ...],
    lengths: Array | None,
    states: tuple[Array | None, ...],
    activations: Sequence[tuple[Activation, ...]],
    direction: str,
    layout: int,
) -> tuple[Array, ...]:
    """Run a network through time.

    Args:
        cell: see `Cell`.
        x: the sequence.
        w: what the inputs are multiplied with. These weights and `r` need not be arrays: with `len`, `shape`, slices
            along the directions, `swapaxes` and `@` they can be quantised ones.
        bias: what is added to that.
        r: what the states are multiplied with.
        more: other weights of the cell.
        lengths: of the sequences, where they differ.
        states: the initial ones, zeros where None.
        activations: of each direction.
        direction: as the attribute.
        layout: as the attribute; 1 has the batch in front.

    Returns:
        All outputs, and the last states.
    """
    if direction not in _BACKWARDS:
        raise ValueError(f"unknown direction {direction!r}; known: forward, reverse, bidirectional")
    backwards = _BACKWARDS[direction]
    if len(w) != len(backwards):
        raise ValueError(f"direction {direction!r}, but weights for {len(w)}")
    if layout:
        x = xp.swapaxes(x, 0, 1)
        states = tuple(None if s is None else xp.swapaxes(s, 0, 1) for s in states)

    def run(part: slice) -> tuple[Array, ...]:
        """Some directions, which have the same functions."""
        own_bias, *own = (None if a is None else a[part] for a in (bias, *more))
        initial = [None if s is None else s[part] for s in states]
        step, weights = cell(activations[part][0], r[part], *own)
        return _at_once(xp, step, weights, x, w[part], own_bias, r.shape[-1], lengths, initial, backwards[part])

    if len(set(activations)) == 1:
        y, *last = run(slice(None))
    else:
        ys, *lasts = zip(run(slice(0, 1)), run(slice(1, 2)), strict=True)
        y, last = xp.concatenate(ys, axis=1), [xp.concatenate(parts, axis=0) for parts in lasts]
    if layout:
        return xp.moveaxis(y, 2, 0), *(xp.swapaxes(s, 0, 1) for s in last)
    return y, *last


def _at_once(
    xp: Backend,
    step: Step,
    weights: Sequence[Array],
    x: Array,
    w: Array,
    bias: Array | None,
    hidden: int,
    lengths: Array | None,
    states: Sequence[Array | None],
    backwards: Sequence[bool],
) -> tuple[Array, ...]:
    """Run directions together. See `_run`."""
    turns, batch, size = x.shape
    directions = len(backwards)
    if directions == 1:
        xs = (xp.flip(x, 0) if backwards[0] else x)[None]
    else:
        xs = xp.stack([xp.flip(x, 0) if back else x for back in backwards])
    projected = xs.reshape(directions, turns * batch, size) @ w.swapaxes(1, 2)
    if bias is not None:
        projected += bias[:, None]
    projected = xp.transpose(projected.reshape(directions, turns, batch, projected.shape[2]), (1, 0, 3, 2))

    empty = xp.zeros((directions, hidden, batch), x.dtype)
    initial = tuple(empty if s is None else xp.swapaxes(s, 1, 2) for s in states)
    if isinstance(lengths, np.ndarray) and (lengths >= turns).all():
        lengths = None
    if lengths is None:

        def whole(weights: Sequence[Array], state: tuple[Array, ...], x: Array) -> tuple[tuple[Array, ...], Array]:
            state = step(weights, state, x)
            return state, state[0]

        last, ys = xp.recur(whole, weights, initial, projected)
    else:
        times = np.stack([np.arange(turns)[:: -1 if back else 1] for back in backwards], axis=1)

        def masked(
            weights: Sequence[Array], state: tuple[Array, ...], x: tuple[Array, Array]
        ) -> tuple[tuple[Array, ...], Array]:
            following, alive = step(weights, state, x[0]), x[1]
            kept = tuple(xp.where(alive, new, old) for new, old in zip(following, state, strict=True))
            return kept, xp.where(alive, following[0], 0)

        last, ys = xp.recur(masked, weights, initial, (projected, times[:, :, None, None] < lengths))
        last = tuple(xp.where(lengths > 0, s, 0) for s in last)
    if not turns:
        ys = xp.zeros((0, directions, hidden, batch), x.dtype)
    if directions == 1:
        y = xp.flip(ys, 0) if backwards[0] else ys
    else:
        y = xp.stack([xp.flip(ys[:, i], 0) if back else ys[:, i] for i, back in enumerate(backwards)], axis=1)
    return xp.swapaxes(y, 2, 3), *(xp.swapaxes(s, 1, 2) for s in last)


def _halves(b: Array) -> tuple[Array, Array]:
    """The biases of inputs and of states."""
    half = b.shape[1] // 2
    return b[:, :half], b[:, half:]


# ------------------------------------------------------------------------------------------------------------- operators
@kernel("RNN", wide=True)
def rnn(
    xp: Backend,
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    *,
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    output_sequence: int = 0,
) -> tuple[Array, ...]:
    """Ht = f(W Xt + R Ht-1 + b)."""

    def cell(functions: tuple[Activation, ...], r: Array) -> tuple[Step, Sequence[Array]]:
        f = functions[0].bind(xp, x, clip)

        def step(weights: Sequence[Array], state: tuple[Array, ...], x: Array) -> tuple[Array, ...]:
            z = weights[0] @ state[0]
            z += x
            return (f(z),)

        return step, (r,)

    functions = activations_of(activations, ("Tanh",), activation_alpha, activation_beta, len(w))
    bias = None if b is None else operator.add(*_halves(b))
    return _run(xp, cell, x, w, bias, r, (), sequence_lens, (initial_h,), functions, direction, layout)


@kernel("GRU", wide=True)
def gru(
    xp: Backend,
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    *,
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
    output_sequence: int = 0,
) -> tuple[Array, ...]:
    """Gates are update, reset and hidden: Ht = (1 - zt) ht + zt Ht-1; the reset is put on states, or on what R makes of them."""
    n = r.shape[-1]

    def cell(functions: tuple[Activation, ...], r: Array, rb: Array | None) -> tuple[Step, Sequence[Array]]:
        f, g = (function.bind(xp, x, clip) for function in functions)
        ends, halves = xp.cutter((2 * n, n), 1), xp.cutter((n, n), 1)
        if rb is not None:
            rb = rb[:, :, None]

        def mixed(h: Array, update: Array, candidate: Array) -> tuple[Array, ...]:
            y = h - candidate
            y *= update
            y += candidate
            return (y,)

        def before(weights: Sequence[Array], state: tuple[Array, ...], x: Array) -> tuple[Array, ...]:
            (h,) = state
            of_gates, of_candidate = ends(x)
            z = weights[0] @ h
            z += of_gates
            update, reset = halves(f(z))
            z = weights[1] @ (reset * h)
            z += of_candidate
            return mixed(h, update, g(z))

        def after(weights: Sequence[Array], state: tuple[Array, ...], x: Array) -> tuple[Array, ...]:
            (h,) = state
            of_gates, of_candidate = ends(x)
            z, linear = ends(weights[0] @ h)
            update, reset = halves(f(z + of_gates))
            if rb is not None:
                linear += rb
            linear *= reset
            linear += of_candidate
            return mixed(h, update, g(linear))

        return (after, (r,)) if linear_before_reset else (before, (r[:, : 2 * n], r[:, 2 * n :]))

    functions = activations_of(activations, ("Sigmoid", "Tanh"), activation_alpha, activation_beta, len(w))
    bias = linear = None
    if b is not None and linear_before_reset:
        of_inputs, of_states = _halves(b)
        gates = of_inputs[:, : 2 * n] + of_states[:, : 2 * n]
        bias, linear = xp.concatenate([gates, of_inputs[:, 2 * n :]], axis=1), of_states[:, 2 * n :]
    elif b is not None:
        bias = operator.add(*_halves(b))
    return _run(xp, cell, x, w, bias, r, (linear,), sequence_lens, (initial_h,), functions, direction, layout)


@kernel("LSTM", wide=True)
def lstm(
    xp: Backend,
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    initial_c: Array | None = None,
    p: Array | None = None,
    *,
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
    output_sequence: int = 0,
) -> tuple[Array, ...]:
    """Gates are input, output, forget and cell; all but the last may peep at Ct: Ct = ft Ct-1 + it ct, Ht = ot h(Ct)."""
    n = r.shape[-1]

    one = xp.number(1, x)

    def cell(functions: tuple[Activation, ...], r: Array, p: Array | None) -> tuple[Step, Sequence[Array]]:
        f, g, _ = (function.bind(xp, x, clip) for function in functions)
        h = functions[2].bind(xp, x)
        ends, thirds, quarters = xp.cutter((3 * n, n), 1), xp.cutter((n,) * 3, 1), xp.cutter((n,) * 4, 1)
        if p is not None:
            p_input, p_output, p_forget = thirds(p[:, :, None])

        def step(weights: Sequence[Array], state: tuple[Array, ...], x: Array) -> tuple[Array, ...]:
            c = state[1]
            z = weights[0] @ state[0]
            z += x
            if p is None:
                gates, candidate = ends(z)
                enter, leave, keep = thirds(f(gates))
            else:
                enter, leave, keep, candidate = quarters(z)
                enter, keep = f(enter + p_input * c), f(keep + p_forget * c)
            if input_forget:
                keep = one - enter
            c = keep * c
            c += enter * g(candidate)
            if p is not None:
                leave = f(leave + p_output * c)
            return leave * h(c), c

        return step, (r,)

    functions = activations_of(activations, ("Sigmoid", "Tanh", "Tanh"), activation_alpha, activation_beta, len(w))
    bias = None if b is None else operator.add(*_halves(b))
    return _run(xp, cell, x, w, bias, r, (p,), sequence_lens, (initial_h, initial_c), functions, direction, layout)
