"""Images that exporters make larger by repeating positions.

Not exact: some runtimes compute what is nearest as a sum with weights of ones and zeros.
"""

from __future__ import annotations

from onnx import TensorProto

from graphopt.patterns._shapes import matched
from graphopt.rewrite import Ints, any_of, op, rule
from graphopt.shapes import same_shape
from graphopt.shapes.dims import mul


@rule(since=11)
def nearest_by_repetition(x: "N C H W", s, u: Ints, m: Ints, r: Ints, shape):
    """Positions that are repeated, so that each becomes one of equal blocks, are resized to the nearest."""
    reshape, unsqueeze = op.Reshape(x, s), op.Unsqueeze(x, axes=u)
    apart = any_of(reshape, unsqueeze)
    expand, tile = op.Expand(apart, shape=m), op.Tile(apart, repeats=r)
    y = op.Reshape(any_of(expand, tile), shape)
    yield y
    if x.dtype != TensorProto.FLOAT:
        return "not single precision"
    batch, channels, height, width = x.shape
    if not same_shape(matched(reshape, unsqueeze).shape, (batch, channels, height, 1, width, 1)):
        return "rows and columns do not stand by themselves"
    larger = matched(expand, tile).shape
    assert larger is not None
    rows, columns = larger[-3], larger[-1]
    if not rows or not columns:
        return "nothing is left"
    if not same_shape(y.shape, (batch, channels, mul(height, rows), mul(width, columns))):
        return "more than rows and columns are repeated, or the size of the result is not known"
    scales = [1.0, 1.0, float(rows), float(columns)]
    ways = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    yield op.Resize(x, None, scales, **ways)
