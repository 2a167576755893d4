"""Squeeze between a convolution and what belongs to it, as exporters write convolutions of one dim by those of two.

What works on each element may as well work before the dim goes; then the next Unsqueeze finds it there again.
"""

from __future__ import annotations

from graphopt.patterns._shapes import axes_of
from graphopt.patterns._windows import along, wide
from graphopt.patterns.simplifying.transpose import EXACT_UNARY, ROUNDING_UNARY
from graphopt.rewrite import Attrs, Const, Ints, Maybe, Rule, op, rule


@rule
def squeezed_convolution_plus_shift(x, w: Const, b: Maybe[Const], a: Attrs, axes: Ints, c: Const):
    """A shift per channel after a convolution, of which a dim was taken away, goes into its bias."""
    conv = op.Conv(x, w, b, **a)
    y = op.Squeeze(conv, axes=axes)
    yield y + c
    gone = axes_of(axes, w.ndim)
    if not gone or min(gone) < 2:
        return "the channels may go"
    s = along(c, 1, w.ndim - len(gone), w.shape[0])
    if s is None:
        return "not one shift per channel"
    yield op.Squeeze(op.Conv(x, w, s if b is None else wide(b) + s, **a), axes=axes)


def _unary(name: str, exact: bool) -> Rule:
    unary = getattr(op, name)

    def body(x, a: Ints, b: Ints, attrs: Attrs):
        yield op.Unsqueeze(unary(op.Squeeze(x, axes=a), **attrs), axes=b)
        gone = axes_of(a, x.rank)
        if gone is None or gone != axes_of(b, x.rank):
            return "not known to put in the dims that were taken away"
        yield unary(x, **attrs)

    body.__name__ = body.__qualname__ = f"unsqueeze_{name.lower()}_squeeze"
    body.__doc__ = f"Dims of 1 that are taken away for {name} and put in again may stay."
    return rule(exact=exact)(body)


# A pattern starts from one operator, so each elementwise operator has its own copy of the rule.
globals().update({r.name: r for r in (_unary(n, n in EXACT_UNARY) for n in EXACT_UNARY + ROUNDING_UNARY)})
