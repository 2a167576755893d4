"""Reductions, and what looks along an axis."""

from __future__ import annotations

import numpy as np

from graphopt.testing.building.builder import Invalid
from graphopt.testing.operators.elementwise import FLOATING
from graphopt.testing.operators.registry import operands
from graphopt.testing.operators.site import Site

_SUMS = "ReduceSum ReduceMean ReduceL1 ReduceL2 ReduceSumSquare ReduceProd".split()
_PICKS = "ReduceMax ReduceMin".split()


@operands("ReduceLogSumExp", dtypes={0: FLOATING})
@operands(*_SUMS, *_PICKS)
def reduction(s: Site) -> None:
    of_nothing = s.op_type in ("ReduceSum", "ReduceProd") or (s.op_type == "ReduceMean" and s.large)
    s.operand(0, s.new_shape(0, empty=of_nothing))
    _reduced(s)


@operands("ReduceLogSum", dtypes={0: FLOATING})
def log_of_sum(s: Site) -> None:
    s.operand(0, s.new_shape(0, empty=False), "positive")
    _reduced(s)


def _reduced(s: Site) -> None:
    x = s.shape(0)
    if x is None:
        raise Invalid("a reduction of a sequence")
    s.integer("keepdims", [1, 0], 1)
    noop = s.integer("noop_with_empty_axes", [0, 0, 1], 0) if "noop_with_empty_axes" in s.schema.attributes else 0
    if len(x) > 1 and s.asks("not over the last axis but one") and not s.choices.chance(4):
        s.parameter("axes", lambda: [s.choices.one([-2, len(x) - 2] if s.schema.since_version > 10 else [len(x) - 2])])
    elif s.needs("axes") or (x and not s.choices.chance(5)) or not (noop or s.choices.chance(2)):
        s.axes(len(x), least=0 if s.choices.chance(12) else min(1, len(x)))


@operands("ArgMax", "ArgMin")
def arg(s: Site) -> None:
    s.operand(0, s.new_shape(0, 1, empty=False))
    x = s.shape(0)
    if not x:
        raise Invalid("an axis of a scalar")
    s.axis(len(x), default=0)
    s.integer("keepdims", [1, 0], 1)
    if "select_last_index" in s.schema.attributes:
        s.integer("select_last_index", [0, 1], 0)


@operands("CumSum", "CumProd", carries=(0,))
def cumulative(s: Site) -> None:
    s.operand(0, s.new_shape(0, 1))
    x = s.shape(0)
    if not x:
        raise Invalid("an axis of a scalar")
    s.operand(1, (), array=np.array(s.choices.integer(-len(x), len(x) - 1), np.int64))
    s.integer("exclusive", [0, 1], 0)
    s.integer("reverse", [0, 1], 0)


@operands("TopK", carries=(0,))
def top_k(s: Site) -> None:
    s.operand(0, s.new_shape(0, 1))
    x = s.shape(0)
    if not x:
        raise Invalid("an axis of a scalar")
    axis = s.axis(len(x), default=-1)
    s.parameter("k", lambda: s.choices.integer(0 if not x[axis] or s.choices.chance(8) else 1, x[axis]))
    if "largest" in s.schema.attributes:
        s.integer("largest", [1, 0], 1)
