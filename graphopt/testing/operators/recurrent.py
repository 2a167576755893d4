"""Recurrent networks."""

from __future__ import annotations

import numpy as np

from graphopt.testing.building.builder import Invalid
from graphopt.testing.operators.registry import operands
from graphopt.testing.operators.site import Shape, Site
from graphopt.testing.values import np_dtype

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
#: For each operator, the functions of one direction: the usual ones, and others.
_FUNCTIONS = {
    "RNN": (["Tanh"], ["Relu"], ["Sigmoid"]),
    "GRU": (["Sigmoid", "Tanh"], ["Sigmoid", "Relu"], ["Tanh", "Tanh"]),
    "LSTM": (["Sigmoid", "Tanh", "Tanh"], ["Sigmoid", "Relu", "Tanh"], ["Tanh", "Sigmoid", "Softsign"]),
}


@operands(
    "RNN", "GRU", "LSTM", ranks={0: (3, 3), 1: (3, 3), 2: (3, 3), 3: (2, 2), 4: (1, 1), 5: (3, 3), 6: (3, 3), 7: (2, 2)}
)
def recurrent(s: Site) -> None:
    weights, states = s.shape(1), s.shape(5)  # those of a step before this one
    x: Shape = s.shape(0) or (
        s.choices.integer(1, 4),
        states[1] if states is not None and len(states) == 3 else s.choices.integer(1, 3),
        weights[2] if weights is not None and len(weights) == 3 else s.choices.integer(1, 4),
    )
    s.operand(0, x)
    if len(x) != 3:
        raise Invalid(f"{s.op_type} of {x}")
    # batch first is a layout that ONNX Runtime has no kernels for
    batch_first = s.integer("layout", [0, 0, 0, 1], 0) if "layout" in s.schema.attributes else 0
    steps, batch = x[:2][::-1] if batch_first else x[:2]
    known = s.shape(2)
    hidden = known[2] if known is not None else s.choices.integer(1, 4)
    direction = s.text("direction", ["forward", "reverse", "bidirectional"], "forward")
    n = 2 if direction == "bidirectional" else 1
    gates = _GATES[s.op_type]
    s.operand(1, (n, gates * hidden, x[2]))
    s.operand(2, (n, gates * hidden, hidden))
    s.operand(3, (n, 2 * gates * hidden))
    s.operand(4, (batch,), array=np.array([s.choices.integer(1, max(steps, 1)) for _ in range(batch)], np.int32))
    state = (batch, n, hidden) if batch_first else (n, batch, hidden)
    s.operand(5, state, array=_zeros(s, 5, state))
    if s.parameter("hidden_size", lambda: hidden) is None:
        s.attributes["hidden_size"] = hidden  # ONNX Runtime does not look at the weights' shape
    if s.choices.chance(3):
        s.parameter("activations", lambda: s.choices.one(_FUNCTIONS[s.op_type]) * n)
    if s.choices.chance(6):
        s.parameter("clip", lambda: s.choices.one([0.5, 1.0, 3.0]))
    if s.op_type == "GRU":
        s.integer("linear_before_reset", [0, 1], 0)
    if s.op_type == "LSTM":
        s.operand(6, state, array=_zeros(s, 6, state))
        s.operand(7, (n, 3 * hidden))
        s.integer("input_forget", [0, 0, 0, 1], 0)


def _zeros(s: Site, i: int, shape: Shape) -> np.ndarray | None:
    """Zeros as initial states often are, or None where they are to be any numbers."""
    return np.zeros(shape, np_dtype(s.dtype(i))) if s.wants(i) and s.choices.chance(3) else None
