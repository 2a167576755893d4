"""Recurrent networks: what they are given and would take for granted, and sequences in pieces.

Not exact: zeros times weights that are no numbers are no numbers, and products of longer sequences round elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.ir import Node
from graphopt.patterns._recurrent import is_zero
from graphopt.rewrite import Attrs, Const, Maybe, Rule, Tensor, op, rule
from graphopt.shapes import same_dims


def _state(v: Any) -> Any:
    """An initial state, or nothing where it is zeros: that is what a network starts from by itself."""
    return None if v is not None and is_zero(v.value) else v


def _without_zero_state(name: str, outputs: int, doc: str) -> Rule:
    recurrent = getattr(op, name)

    def body(x, w, r, b: Maybe[Tensor], lengths: Maybe[Tensor], h: Maybe[Tensor], attrs: Attrs):
        yield recurrent(x, w, r, b, lengths, h, outputs=outputs, **attrs)
        if h is None or _state(h) is not None:
            return "the initial state is not known to be zeros, or is left out"
        yield recurrent(x, w, r, b, lengths, outputs=outputs, **attrs)

    body.__name__ = body.__qualname__ = f"{name.lower()}_from_zero"
    body.__doc__ = doc
    return rule(body)


gru_from_zero = _without_zero_state("GRU", 2, "GRU starts from a state of zeros where it is given none.")
rnn_from_zero = _without_zero_state("RNN", 2, "RNN starts from a state of zeros where it is given none.")


@rule
def lstm_from_zero(
    x,
    w,
    r,
    b: Maybe[Tensor],
    lengths: Maybe[Tensor],
    h: Maybe[Tensor],
    c: Maybe[Tensor],
    p: Maybe[Tensor],
    attrs: Attrs,
):
    """LSTM starts from a state and a cell of zeros where it is given none."""
    yield op.LSTM(x, w, r, b, lengths, h, c, p, outputs=3, **attrs)
    state, cell = _state(h), _state(c)
    if state is h and cell is c:
        return "state and cell are not known to be zeros, or are left out"
    yield op.LSTM(x, w, r, b, lengths, state, cell, p, outputs=3, **attrs)


# --------------------------------------------------------------------------------------------------- sequences in pieces
def _joined(first: Any, second: Any, x: Tensor, z: Tensor, one: dict[str, Any], other: dict[str, Any]) -> Any:
    """How many steps each of two operators takes, the second of which starts where the first ends; why they stay apart.

    The shorter of two waits for a neighbour nearer to its length: pieces grow evenly, and none is copied for each step.
    """
    if one != other or one["direction"] != "forward" or one.get("layout"):
        return "not the same operator, or not forward"
    (n, batch, _), (m, other_batch, _) = x.shape, z.shape
    if not isinstance(n, int) or not isinstance(m, int) or not n or not m:
        return "the number of steps is not known"
    if not same_dims(batch, other_batch):
        return "not known to be sequences of one batch"
    following = _following(second)
    later = None if following is None else _steps(following)
    earlier = _steps(first[1].value.node.inputs[5].node) if _continues(first[1].value.node) else None
    if (n > m and later is not None and later < n) or (n < m and earlier is not None and earlier <= m):
        return "a shorter neighbour is joined first"
    goes_on = following is not None
    return (
        n,
        m,
        goes_on or not (_read(first[0]) or first[1].value.exits or len(first[1].value.uses) > 1 or _read(second[0])),
    )


def _read(output: Any) -> bool:
    return output.value is not None and output.value.used


def _following(outputs: Any) -> Node | None:
    """The operator of the same kind and weights that starts from the last state."""
    state = outputs[1].value
    return next((u for u in state.uses if u.op == state.node.op and u.inputs[5:6] == [state] and _continues(u)), None)


def _continues(node: Node) -> bool:
    """Whether an operator starts where another one with the same weights ends."""
    state = node.inputs[5] if len(node.inputs) > 5 else None
    before = None if state is None else state.node
    return before is not None and before.op == node.op and before.inputs[1:3] == node.inputs[1:3]


def _steps(node: Node) -> int:
    x = node.inputs[0]
    n = x.shape[0] if x is not None and x.shape else None
    return n if isinstance(n, int) else 0


def _pieces(y: Any, last: Any, n: int, m: int, whole: bool) -> tuple[Any, Any, Any, Any]:
    """All states of the second part and its last one, and the same of the first."""
    states = op.Squeeze(y, axes=[1])
    parts = [op.Unsqueeze(op.Slice(states, starts=[a], ends=[b], axes=[0]), axes=[1]) for a, b in ((0, n), (n, n + m))]
    ends = [op.Unsqueeze(op.Gather(states, np.array(k), axis=0), axes=[0]) for k in (n - 1, n + m - 1)]
    return parts[1], last if whole else ends[1], parts[0], ends[0]


@rule
def lstm_then_lstm(
    x: "_ _ _",
    z: "_ _ _",
    w: Const,
    r: Const,
    b: Maybe[Const],
    h: Maybe[Tensor],
    c: Maybe[Tensor],
    one: Attrs,
    other: Attrs,
):
    """An LSTM that starts from the last state and cell of another with the same weights goes on with its sequence."""
    first = op.LSTM(x, w, r, b, None, h, c, **one, outputs=3)
    second = op.LSTM(z, w, r, b, None, first[1], first[2], **other, outputs=3)
    yield *second, *first[:2]
    if first[2].value.exits or len(first[2].value.uses) > 1:
        return "the cell in between is read"
    found = _joined(first, second, x, z, one, other)
    if isinstance(found, str):
        return found
    y, last, cell = op.LSTM(op.Concat(x, z, axis=0), w, r, b, None, h, c, **one, outputs=3)
    later, end, earlier, middle = _pieces(y, last, *found)
    yield later, end, cell, earlier, middle


def _then(name: str) -> Rule:
    operator = getattr(op, name)

    def body(x: "_ _ _", z: "_ _ _", w: Const, r: Const, b: Maybe[Const], h: Maybe[Tensor], one: Attrs, other: Attrs):
        first = operator(x, w, r, b, None, h, **one, outputs=2)
        second = operator(z, w, r, b, None, first[1], **other, outputs=2)
        yield *second, *first
        found = _joined(first, second, x, z, one, other)
        if isinstance(found, str):
            return found
        y, last = operator(op.Concat(x, z, axis=0), w, r, b, None, h, **one, outputs=2)
        yield _pieces(y, last, *found)

    body.__name__ = body.__qualname__ = f"{name.lower()}_then_{name.lower()}"
    body.__doc__ = (
        f"A {name} that starts from the last state of another with the same weights goes on with its sequence."
    )
    return rule(body)


gru_then_gru, rnn_then_rnn = _then("GRU"), _then("RNN")
