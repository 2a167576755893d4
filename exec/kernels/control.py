"""Branches and loops.

What a body gives in no turn at all is stacked like this: the dims that the model declares for the body's output, or 0
where it declares none, as ONNX Runtime has it. A body that knows what is declared says so in two attributes, `inputs` and
`outputs`: a pair of dtype and dims (None where unknown) for each. Of another body one turn is run to see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import axis_of, ints
from graphopt.exec.kernels.registry import Array, Body, Host, kernel

#: From so many turns on it pays to compile the body of a loop once, instead of tracing it for every turn.
_MANY_TURNS = 8


class TracedConditionError(TypeError):
    """Which way a branch or loop goes depends on a value that is not known while tracing: it has to run on the host."""


def _holds(condition: Any) -> bool:
    try:
        return bool(np.asarray(condition).item())
    except TypeError as e:
        raise TracedConditionError("the condition is not known while tracing") from e


# --------------------------------------------------------------------------------------------------------------- branches
@kernel("If")
def if_(xp: Backend, condition: Host, *, then_branch: Body, else_branch: Body) -> tuple[Any, ...]:
    return tuple((then_branch if _holds(condition) else else_branch)())


# ------------------------------------------------------------------------------------------------------------------ loops
@kernel("Loop")
def loop(xp: Backend, trips: Host = None, condition: Host = None, *carried: Any, body: Body) -> tuple[Any, ...]:
    """The body, turn by turn, with its own outputs as inputs, as often as `trips` says and while the condition holds.

    Without an input for the condition the specification ignores what the body gives for it; ONNX Runtime and the
    standard's own evaluator do not, and neither does this.
    """
    limit = None if trips is None else ints(trips)[0]
    number = np.zeros(_declared_shape(body, 0), np.int64)
    flag = np.full(_declared_shape(body, 1), True) if condition is None else condition
    state = list(carried)
    count = len(state) + 1
    rows: list[Any] = []
    tail: Any = ()
    turn = 0
    while (limit is None or turn < limit) and _holds(flag):
        if turn == 1 and xp.traces and limit is not None and limit > _MANY_TURNS:
            done = _loop_as_scan(xp, limit, flag, state, body)
            if done is not None:
                state, tail = done
                break
        given = body(number + turn, flag, *state)
        flag = given[0]
        state = given[1:count]
        rows.append(given[count:])
        turn += 1
    if not rows:
        return (*state, *_of_no_turns(body, [number, np.full(number.shape, True), *state], count))
    stacked = [_stack(xp, column) for column in zip(*rows)]
    if tail:
        stacked = [xp.concatenate([a, b]) for a, b in zip(stacked, tail)]
    return (*state, *stacked)


def _loop_as_scan(xp: Backend, limit: int, flag: Any, state: Sequence[Any], body: Body) -> Any:
    """Turns 1 to the last of a loop that ends by its count alone, compiled once; None where that cannot be."""
    if not isinstance(flag, (np.ndarray, np.generic)) or not all(
        xp.holds(v) and not isinstance(v, list) for v in state
    ):
        return None  # what is carried on the host may decide about shapes
    count = len(state) + 1

    def step(state: Any, turn: Any) -> tuple[Any, Any]:
        given = body(turn, flag, *state)
        if not _holds(given[0]):
            raise ValueError("the loop ends early")
        return tuple(given[1:count]), tuple(given[count:])

    turns = np.arange(1, limit).reshape((-1, *_declared_shape(body, 0)))
    try:
        return xp.scan(step, tuple(state), turns)
    except Exception:  # of whatever kind: turn by turn it shows whether it is the model's fault
        return None


def _stack(xp: Backend, column: Sequence[Any]) -> Any:
    """Arrays along a new axis in front; on the host if all lie there."""
    return (np if all(isinstance(v, (np.ndarray, np.generic)) for v in column) else xp).stack(column)


# ------------------------------------------------------------------------------------------------------------------ scans
@kernel("Scan", since=9)
def scan(
    xp: Backend,
    *inputs: Array,
    body: Body,
    num_scan_inputs: int,
    scan_input_axes: Sequence[int] | None = None,
    scan_input_directions: Sequence[int] | None = None,
    scan_output_axes: Sequence[int] | None = None,
    scan_output_directions: Sequence[int] | None = None,
) -> tuple[Array, ...]:
    """The body for each slice of the scanned inputs, with the states that it gave before; what else it gives is stacked."""
    count = len(inputs) - num_scan_inputs
    scanned = []
    for i, x in enumerate(inputs[count:]):
        x = xp.moveaxis(x, axis_of(scan_input_axes[i], x.ndim), 0) if scan_input_axes and scan_input_axes[i] else x
        scanned.append(x[::-1] if scan_input_directions and scan_input_directions[i] else x)
    states, stacked = _scanned(xp, body, inputs[:count], scanned)
    for i, y in enumerate(stacked):
        y = y[::-1] if scan_output_directions and scan_output_directions[i] else y
        stacked[i] = xp.moveaxis(y, 0, scan_output_axes[i]) if scan_output_axes and scan_output_axes[i] else y
    return (*states, *stacked)


@kernel("Scan", since=8)
def scan_of_batch(
    xp: Backend,
    lengths: Host = None,
    *inputs: Array,
    body: Body,
    num_scan_inputs: int,
    directions: Sequence[int] | None = None,
) -> tuple[Array, ...]:
    """Opset 8: every input has a batch axis in front, each entry is a scan of its own and may have a length of its own."""
    count = len(inputs) - num_scan_inputs
    batch, most = inputs[count].shape[:2]
    runs = []
    for b, length in enumerate([most] * batch if lengths is None else ints(lengths)):
        scanned = [x[b, :length] for x in inputs[count:]]
        for i, direction in enumerate(directions or ()):
            scanned[i] = scanned[i][::-1] if direction else scanned[i]
        states, stacked = _scanned(xp, body, [x[b, ...] for x in inputs[:count]], scanned)
        runs.append((*states, *[xp.pad(y, [(0, most - length), *[(0, 0)] * (y.ndim - 1)]) for y in stacked]))
    return tuple([xp.stack(column) for column in zip(*runs)])


def _scanned(
    xp: Backend, body: Body, states: Sequence[Array], xs: Sequence[Array]
) -> tuple[Sequence[Array], list[Array]]:
    """The last states, and what the body gave for each entry of the leading axes of xs, stacked."""
    count = len(states)
    turns = len(xs[0])
    if any(len(x) != turns for x in xs):
        raise ValueError(f"the scanned inputs have {[len(x) for x in xs]} slices")

    def step(state: Any, x: Any) -> tuple[Any, Any]:
        given = body(*state, *x)
        return tuple(given[:count]), tuple(given[count:])

    if not turns:
        return states, _of_no_turns(body, [*states, *[xp.zeros(x.shape[1:], x.dtype) for x in xs]], count)
    last, stacked = _turn_by_turn(xp, step, tuple(states), tuple(xs))
    return last, list(stacked)


def _turn_by_turn(xp: Backend, step: Callable[[Any, Any], tuple[Any, Any]], states: Any, xs: Any) -> tuple[Any, Any]:
    """`Backend.scan`; where a body cannot be traced, or its states change their shapes, without compiling it."""
    try:
        return xp.scan(step, states, xs)
    except Exception:
        if not xp.traces:
            raise
        return Backend.scan(xp, step, states, xs)


# --------------------------------------------------------------------------------------------------------- without a turn
def _declared_shape(body: Body, position: int) -> tuple[int, ...]:
    """The shape of a body's number of the turn or condition: some exporters declare one dim, which runtimes heed."""
    declared = getattr(body, "inputs", None)
    dims = declared[position][1] if declared else None
    return (1,) * len(dims or ())


def _of_no_turns(body: Body, inputs: Sequence[Any], first: int) -> list[Any]:
    """What the outputs of a body, from the first one to be stacked on, are when it never runs."""
    declared = getattr(body, "outputs", ())[first:]
    if declared and all(dtype is not None and dims is not None for dtype, dims in declared):
        return [np.zeros((0, *[d if isinstance(d, int) else 0 for d in dims]), dtype) for dtype, dims in declared]
    try:
        given = body(*inputs)[first:]
    except Exception as e:
        raise ValueError(f"there is no turn, and what the body would give cannot be told: {e}") from e
    return [np.zeros((0, *y.shape), y.dtype) for y in given]
