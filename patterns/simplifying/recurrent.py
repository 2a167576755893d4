"""Recurrent networks: what they are given and would take for granted.

Not exact: zeros times weights that are no numbers are no numbers.
"""

from __future__ import annotations

from typing import Any

from onnx import TensorProto

from graphopt.ir import Tensor as Weights
from graphopt.ir import Value
from graphopt.patterns._elementwise import filled
from graphopt.rewrite import Attrs, Maybe, Rule, Tensor, op, rule
from graphopt.rewrite.terms import Constant

#: Operators that give nothing but elements of their first input.
_MOVING = frozenset("Cast Expand Flatten Gather Identity Reshape Slice Split Squeeze Tile Transpose Unsqueeze".split())
_FARTHEST = 8


def _state(v: Any) -> Any:
    """An initial state, or nothing where it is zeros: that is what a network starts from by itself."""
    return None if v is not None and _is_zero(v.value) else v


def _is_zero(v: Value | None) -> bool:
    """Whether all elements are zeros that somebody spread out, moved, or wrote down."""
    for _ in range(_FARTHEST):
        if v is None or v.const is not None:
            break
        node = v.node
        if node is None or node.domain:
            return False
        if node.op == "ConstantOfShape":
            value = node.attributes.get("value")
            return value is None or (isinstance(value, Weights) and value.item() == 0)
        if node.op not in _MOVING:
            return False
        v = node.inputs[0]
    return v is not None and v.const is not None and v.dtype != TensorProto.STRING and filled(Constant(v), 0)


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
