"""Casts that do nothing, and casts one after the other."""

from __future__ import annotations

from onnx import TensorProto

from graphopt.patterns._elementwise import FLOATS, INTEGERS
from graphopt.rewrite import Attrs, Int, op, rule

_BOOL = TensorProto.BOOL


@rule(exact=True)
def cast_nothing(x, t: Int, attrs: Attrs):
    """A cast to the dtype that is there already does nothing."""
    yield op.Cast(x, to=t, **attrs)
    if x.dtype != t:
        return "the dtype changes, or is not known"
    yield x


@rule(exact=True)
def cast_cast(x, a: Int, b: Int):
    """Of two casts the second is enough, where the first loses nothing that it would not lose."""
    yield op.Cast(op.Cast(x, to=a), to=b)
    if not _second_is_enough(x.dtype, a, b):
        return "the first cast may change values"
    yield x if x.dtype == b else op.Cast(x, to=b)


@rule(exact=True)
def cast_like(x, like, attrs: Attrs):
    """A cast to the dtype of another tensor needs no tensor where that dtype is known."""
    yield op.CastLike(x, like, **attrs)
    if not like.dtype:
        return "dtype not known"
    yield x if x.dtype == like.dtype else op.Cast(x, to=like.dtype, **attrs)


def _second_is_enough(s: int, a: int, b: int) -> bool:
    """Whether casting from `s` to `a` and then to `b` gives what casting to `b` gives, for every number.

    Numbers to integers that cannot hold them are cut to their low bits, if they were integers; if they were floats, that is
    undefined, and nothing that could be otherwise may become undefined or change. To strings and to floats of 8 and fewer
    bits nothing is claimed.
    """
    if not all(t in INTEGERS or t in FLOATS or t == _BOOL for t in (s, a, b)):
        return False
    if s in INTEGERS and a in INTEGERS and b in INTEGERS and INTEGERS[b][0] <= INTEGERS[a][0]:
        return True  # the low bits of the low bits
    if not _keeps(s, a):
        return False
    if b == _BOOL or _keeps(s, b):
        return True
    if s in FLOATS:
        return b in FLOATS  # rounded once, from the same number
    return b in (TensorProto.FLOAT, TensorProto.DOUBLE)  # the same; smaller floats may be reached by way of float32


def _keeps(s: int, a: int) -> bool:
    """Whether dtype `a` holds every number of dtype `s`."""
    if s in (a, _BOOL):
        return True
    if a == _BOOL:
        return False
    if s in INTEGERS:
        bits, signed = INTEGERS[s]
        if a in INTEGERS:
            return signed <= INTEGERS[a][1] and bits - signed <= INTEGERS[a][0] - INTEGERS[a][1]
        return bits - signed <= FLOATS[a].digits
    return a in FLOATS and FLOATS[s].digits <= FLOATS[a].digits and FLOATS[s].largest <= FLOATS[a].largest
