"""Normalizations and softmax."""

from __future__ import annotations

from onnx import TensorProto

from graphopt.testing.building.builder import Invalid
from graphopt.testing.operators.registry import operands
from graphopt.testing.operators.site import Site


@operands("Softmax", "LogSoftmax", "Hardmax", carries=(0,))
def softmax(s: Site) -> None:
    early = s.asks("there are not two axes behind it") and not s.choices.chance(4)
    nothing = early and s.shape(0) is None and s.choices.chance(12)
    s.operand(0, (2, 3, s.choices.integer(5, 6), 0) if nothing else s.new_shape(0, 3 if early else 1, empty=False))
    x = s.shape(0)
    if not x or (0 in x and not nothing):
        raise Invalid(f"{s.op_type} of {x}")
    suits = None if s.recent("axes") else len(x) - 1  # those of what stands beside it, or the last
    if early and not nothing:
        suits = s.choices.integer(0, len(x) - 3)
    suits = 1 if nothing else suits
    s.axis(len(x), default=-1 if s.schema.since_version >= 13 else 1, suits=suits)


def channels(s: Site, low: int = 2) -> tuple[int, ...]:
    x = s.shape(0) or s.new_shape(0, low, 5, empty=False)
    s.operand(0, x)
    x = s.shape(0) or x
    if len(x) < low or 0 in x:
        raise Invalid(f"{s.op_type} of {x}")
    return x


@operands("BatchNormalization", ranks={0: (2, 5), **dict.fromkeys(range(1, 5), (1, 1))}, carries=(0,))
def batch_normalization(s: Site) -> None:
    s.at_most(1)  # others are of training
    if s.schema.since_version < 14:
        s.besides(5)
    x = s.shape(0) or channels(s)
    if len(x) < 2:
        raise Invalid(f"{s.op_type} of {x}")
    s.operand(0, x)
    c = (s.shape(0) or x)[1]
    spread = "plain" if s.choices.chance(24) else "positive"
    for i, style in enumerate(("plain", "plain", "plain", spread), 1):
        s.operand(i, (c,), style)
    s.number("epsilon", 1e-5, 0.25, 1e-5)


@operands("InstanceNormalization", ranks={0: (3, 5), 1: (1, 1), 2: (1, 1)}, carries=(0,))
def instance_normalization(s: Site) -> None:
    c = channels(s, 3)[1]
    s.operand(1, (c,))
    s.operand(2, (c,))
    s.number("epsilon", 1e-5, 0.25, 1e-5)


@operands("LayerNormalization", "RMSNormalization", ranks={0: (1, 5)}, carries=(0,))
def layer_normalization(s: Site) -> None:
    x = channels(s, 3 if s.channels and s.shape(0) is None and not s.choices.chance(4) else 1)
    axis = s.axis(len(x), default=-1)

    def shape() -> tuple[int, ...]:  # it broadcasts over x, which few runtimes have kernels for
        return s.choices.weighted(((6, x[axis:]), (2, x[-1:]), (2, (1,) * len(x[axis:])), (1, x[max(axis - 1, 0) :])))

    first = shape()
    s.operand(1, first)
    if s.op_type == "LayerNormalization":
        s.operand(2, s.choices.weighted(((4, first), (3, shape()), (1, x[max(axis - 1, 0) :]))))
    s.number("epsilon", 1e-5, 0.25, 1e-5)


@operands("GroupNormalization", ranks={0: (3, 5)}, carries=(0,))
def group_normalization(s: Site) -> None:
    c = channels(s, 3)[1]
    groups = s.parameter("num_groups", lambda: s.choices.one([g for g in range(1, c + 1) if c % g == 0]))
    n = c if s.schema.since_version >= 21 else groups
    s.operand(1, (n,))
    s.operand(2, (n,))
    s.number("epsilon", 1e-5, 0.25, 1e-5)


@operands("LRN", ranks={0: (4, 4)}, carries=(0,))
def lrn(s: Site) -> None:
    channels(s, 4)
    s.parameter("size", lambda: s.choices.one([3, 1, 5]))
    s.number("alpha", 0.25, 2.0, 1e-4)
    s.number("beta", 0.25, 1.0, 0.75)
    s.number("bias", 0.5, 2.0, 1.0)


@operands("LpNormalization", carries=(0,))
def lp_normalization(s: Site) -> None:
    x = channels(s, 1)
    s.axis(len(x), default=-1)
    s.parameter("p", lambda: s.choices.one([2, 1]), 2)


@operands("MeanVarianceNormalization", ranks={0: (4, 4)}, carries=(0,), dtypes={0: frozenset({TensorProto.FLOAT})})
def mean_variance(s: Site) -> None:
    # what does not vary is divided by next to nothing
    s.operand(0, tuple(max(d, 2) for d in s.new_shape(0, 4, empty=False)), "distinct")
    x = channels(s, 4)
    # the function in onnx takes float only, and its checker wants to see the axes
    s.attributes["axes"] = s.axes(len(x), default=[0, 2, 3], signed=False)
