"""Signals and their frequencies; losses."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from graphopt.testing.building.builder import Invalid
from graphopt.testing.operators.registry import operands
from graphopt.testing.operators.site import Site

_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE})


@operands("DFT", ranks={0: (2, 4)}, dtypes={0: _FLOATS})
def dft(s: Site) -> None:
    known = s.shape(0)
    parts = s.choices.one([1, 2]) if known is None else known[-1] if known else 0
    x = known or (s.choices.integer(1, 3), *(s.choices.integer(2, 6) for _ in range(s.choices.integer(1, 2))), parts)
    if len(x) < 2 or parts not in (1, 2):
        raise Invalid(f"DFT of {x}")
    s.operand(0, x)
    inverse = s.integer("inverse", [0, 1], 0)
    if parts == 1 and not inverse:  # half of it is all that numbers without an imaginary part have
        s.integer("onesided", [0, 1], 0)
    axis = s.choices.integer(1, len(x) - 2) if len(x) > 2 else 0
    if s.schema.input_index("axis") is None:
        if len(x) == 2 or s.choices.integer(0, 1):
            s.attributes["axis"] = axis
        axis = s.attributes.get("axis", 1)
    elif s.wants(2):
        s.operand(2, (), array=np.array(axis - s.choices.one([0, len(x)])))
    s.operand(1, (), array=np.array(max(x[axis] + s.choices.integer(-1, 2), 1)))


@operands("STFT", ranks={0: (3, 3), 2: (1, 1)}, dtypes={0: _FLOATS})
def stft(s: Site) -> None:
    length = s.choices.integer(4, 12)
    frame = s.choices.integer(2, 4)
    s.operand(0, (s.choices.integer(1, 2), length, 1))
    s.operand(1, (), array=np.array(s.choices.integer(1, 3)))
    if not s.wants(2):
        s.insist(3)
    s.operand(2, (frame,), "fraction")
    s.operand(3, (), array=np.array(frame))
    s.integer("onesided", [1, 0])
    s.attributes.setdefault("onesided", 1)  # always written: onnx's inference takes it for 0 where it is left out


@operands("HannWindow", "HammingWindow", "BlackmanWindow", ranks={0: (0, 0)})
def window(s: Site) -> None:
    s.operand(0, (), array=np.array(s.choices.integer(2, 9)))
    s.integer("periodic", [1, 0], 1)
    s.integer("output_datatype", [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16], TensorProto.FLOAT)


@operands("MelWeightMatrix", ranks=dict.fromkeys(range(5), (0, 0)), dtypes={3: _FLOATS})
def mel_weights(s: Site) -> None:
    rate = s.choices.one([8000, 16000])
    for i, number in enumerate((s.choices.integer(1, 6), s.choices.one([16, 8, 32]), rate)):
        s.operand(i, (), array=np.array(number))
    s.operand(3, (), array=np.array(s.choices.one([0.0, 100.0])))
    s.operand(4, (), array=np.array(rate / 2 - s.choices.one([0.0, 500.0])))
    s.integer("output_datatype", [TensorProto.FLOAT, TensorProto.DOUBLE], TensorProto.FLOAT)


# ------------------------------------------------------------------------------------------------------------- losses
@operands("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss", ranks={0: (2, 4), 1: (1, 3), 2: (1, 1)})
def loss(s: Site) -> None:
    more = s.choices.integer(0, 2)
    sizes = tuple(s.choices.integer(1, n) for n in (3, 4, 3, 3)[: 2 + more])
    x = s.shape(0) or sizes
    s.operand(0, x)
    if len(x) < 2 or 0 in x:
        raise Invalid(f"{s.op_type} of {x}")
    classes = s.random().integers(0, x[1], (x[0], *x[2:]))
    if s.choices.chance(3):
        ignored = s.parameter("ignore_index", lambda: s.choices.one([-1, 0]))
        if ignored is not None:
            classes.flat[1::3] = ignored  # not the first: a mean of nothing is undefined
            classes.flat[0] = x[1] - 1
            if ignored == x[1] - 1:
                raise Invalid("every class is ignored")
    s.operand(1, classes.shape, array=classes)
    s.operand(2, (x[1],), "positive")
    s.text("reduction", ["mean", "sum", "none"], "mean")


@operands("Det", ranks={0: (2, 4)})
def determinant(s: Site) -> None:
    n = s.choices.integer(1, 3)
    s.operand(0, (*s.choices.one([(), (2,), (1, 3)]), n, n))
