"""Recurrent networks: what they are given and would take for granted, and sequences in pieces.

Not exact: zeros times weights that are no numbers are no numbers, and products of longer sequences round elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.ir import Node, Value
from graphopt.patterns._recurrent import is_zero
from graphopt.patterns._shapes import leaf
from graphopt.rewrite import Attrs, Const, Maybe, Rule, Tensor, op, rule
from graphopt.rewrite.matching import params
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
def _goes_on_with(node: Node) -> Node | None:
    """The operator with the same weights that starts where this one's sequence begins, where both can be one."""
    inputs = _operands(node)
    before = inputs[5].node if inputs[5] is not None else None
    if before is None or before.op != node.op or before.graph is not node.graph:
        return None
    theirs = _operands(before)
    states = before.outputs[1:]
    if (
        inputs[1:5] != theirs[1:5]
        or inputs[5 : 5 + len(states)] != states
        or (node.op == "LSTM" and (len(states) < 2 or inputs[7] is not theirs[7]))
        or any(v is None or v.exits or len(v.uses) > 1 for v in states[1:])
    ):
        return None
    if node.attributes != before.attributes and params(node, 8, (), True) != params(before, 8, (), True):
        return None
    x, z = theirs[0], inputs[0]
    if x is None or x.shape is None or z is None or z.shape is None or not _steps(before) or not _steps(node):
        return None
    return before if same_dims(x.shape[1], z.shape[1]) else None


def _operands(node: Node) -> list[Value | None]:
    return [*node.inputs, *[None] * (8 - len(node.inputs))]


def _steps(node: Node) -> int:
    """How long an operator's sequence is, 0 where that is not known."""
    x = node.inputs[0]
    n = x.shape[0] if x is not None and x.rank == 3 and x.shape else None
    return n if isinstance(n, int) else 0


def _sequence(outputs: Sequence[Any], attributes: dict[str, Any]) -> list[Node] | str:
    """The operators that go on with each other's sequence, up to the last one with these outputs; why they stay apart."""
    if attributes["direction"] != "forward" or attributes.get("layout"):
        return "not forward, or batch first"
    node = next(y.value.node for y in outputs if y.value is not None)
    state = outputs[1].value
    if state is not None and any(_goes_on_with(u) is node for u in state.uses if u.inputs[5:6] == [state]):
        return "the end of the sequence comes first"
    nodes = [node]
    while (before := _goes_on_with(nodes[-1])) is not None:
        nodes.append(before)
    return (
        nodes[::-1] if len(nodes) > 1 else "not the same operator, or the cell in between is read, or an unknown length"
    )


def _as_one(nodes: list[Node], attributes: dict[str, Any]) -> tuple[Any, ...]:
    """One operator for all: what stands for the outputs of the last, and for those of the others that are read."""
    _, *weights = [None if v is None else leaf(v) for v in _operands(nodes[0])]
    x = op.Concat(*(leaf(n.inputs[0]) for n in nodes), axis=0)
    outputs = 3 if nodes[0].op == "LSTM" else 2
    y, *last = getattr(op, nodes[0].op)(x, *weights[: 3 + outputs], outputs=outputs, **attributes)
    states = op.Squeeze(y, axes=[1])
    others: dict[Any, Any] = {}
    end = 0
    for n in nodes:
        start, end = end, end + _steps(n)
        every, state = n.outputs[0], n.outputs[1] if len(n.outputs) > 1 else None
        if n is nodes[-1]:
            break
        if every is not None and every.used:
            others[leaf(every)] = op.Unsqueeze(op.Slice(states, starts=[start], ends=[end], axes=[0]), axes=[1])
        if state is not None and (state.exits or len(state.uses) > 1):
            others[leaf(state)] = op.Gather(states, np.array([end - 1]), axis=0)
    if others:
        last[0] = op.Gather(states, np.array([end - 1]), axis=0)
    later = op.Unsqueeze(op.Slice(states, starts=[start], ends=[end], axes=[0]), axes=[1])
    return later, *last, others


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
    yield second
    nodes = _sequence(list(second), other)
    if isinstance(nodes, str):
        return nodes
    yield _as_one(nodes, other)


def _then(name: str) -> Rule:
    operator = getattr(op, name)

    def body(x: "_ _ _", z: "_ _ _", w: Const, r: Const, b: Maybe[Const], h: Maybe[Tensor], one: Attrs, other: Attrs):
        first = operator(x, w, r, b, None, h, **one, outputs=2)
        second = operator(z, w, r, b, None, first[1], **other, outputs=2)
        yield second
        nodes = _sequence(list(second), other)
        if isinstance(nodes, str):
            return nodes
        yield _as_one(nodes, other)

    body.__name__ = body.__qualname__ = f"{name.lower()}_then_{name.lower()}"
    body.__doc__ = (
        f"A {name} that starts from the last state of another with the same weights goes on with its sequence."
    )
    return rule(body)


gru_then_gru = _then("GRU")
