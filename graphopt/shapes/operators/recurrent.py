"""Recurrent operators: sequences through hidden states."""

from __future__ import annotations

from graphopt.ir import Dim
from graphopt.shapes.dims import exact_div, mul
from graphopt.shapes.registry import infers
from graphopt.shapes.site import Site
from graphopt.shapes.types import TypeInfo

#: How many gates the weights of each hold.
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
#: The dims of the inputs, one letter each: s sequence, b batch, i input size, h hidden size, d directions; G the hidden
#: size for each gate, B the same twice, P three times the hidden size. The other layout has the batch in front.
_INPUTS = "sbi dGi dGh dB b dbh dbh dP".split()
_BATCH_FIRST = "bsi dGi dGh dB b bdh bdh dP".split()


@infers("RNN", "GRU", "LSTM")
def recurrent(node: Site) -> list[TypeInfo]:
    """All hidden states, the last one, and the last cell."""
    batch_first = bool(node.attribute("layout", 0))
    return states(node, GATES[node.op_type], _BATCH_FIRST if batch_first else _INPUTS, batch_first)


def states(node: Site, gates: int, inputs: list[str], batch_first: bool = False) -> list[TypeInfo]:
    """The outputs of a recurrent operator whose inputs have these dims."""
    size: dict[str, Dim] = {"h": node.attribute("hidden_size")}
    size["d"] = 2 if node.attribute("direction", "forward") == "bidirectional" else 1
    times = {"G": gates, "B": 2 * gates, "P": 3}
    for i, letters in enumerate(inputs):
        shape = node.shape(i)
        if shape is None:
            continue
        if len(shape) != len(letters):
            raise ValueError(f"{node.op_type}: input {i} has {len(shape)} dims, not {len(letters)}")
        # the last dim first: it is the hidden size alone in some inputs that hold multiples of it too
        for letter, d in reversed(list(zip(letters, shape, strict=True))):
            if letter not in times:
                size[letter] = node.equate(size.get(letter), d)
            elif size["h"] is None:
                size["h"] = exact_div(d, times[letter])
            else:
                node.equate(d, mul(times[letter], size["h"]))
    s, b, d, h = node.or_fresh(size.get(letter) for letter in "sbdh")
    dtype = node.dtype(0)
    last = TypeInfo(dtype, (b, d, h) if batch_first else (d, b, h))
    return [TypeInfo(dtype, (b, s, d, h) if batch_first else (s, d, b, h)), last, last]
