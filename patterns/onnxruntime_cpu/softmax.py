"""Softmax over an axis that is not the last: the kernel brings it to the end and back, fast where one axis is behind it."""

from __future__ import annotations

from math import prod

from graphopt.patterns._elementwise import chosen
from graphopt.patterns._shapes import target_of
from graphopt.patterns.onnxruntime_cpu._sizes import refuses
from graphopt.rewrite import Int, any_of, op, rule
from graphopt.shapes import is_static


@rule
def softmax_before_one_axis(x, axis: Int):
    """The axes behind it become one; 1.2 ns an element instead of 8.3."""
    softmax = any_of(op.Softmax(x, axis=axis), op.LogSoftmax(x, axis=axis))
    yield softmax
    if why := refuses(x, 7.1, 2):
        return why
    if x.shape is None or axis % x.rank >= x.rank - 2:
        return "there are not two axes behind it"
    axis %= x.rank
    if not is_static(x.shape[axis + 1 :]):
        return "the dims behind it are not known"
    joined = (*x.shape[: axis + 1], prod(x.shape[axis + 1 :]))
    there, back = target_of(x.shape, joined), target_of(joined, x.shape)
    if back is None:  # nothing lies behind it, which leads nowhere either
        return "no constant shape leads there and back"
    function = op.Softmax if chosen(softmax).op == "Softmax" else op.LogSoftmax
    yield op.Reshape(function(op.Reshape(x, there), axis=axis), back)
