"""Rotary position embeddings that exporters spell out in halves of a tensor that change places.

Cosines and sines come in two equal halves, since exporters repeat the angles before they compute with them. First that
repetition moves behind the computation; then what is rotated by such halves is rotated by one of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.patterns.raising._constants import scalar
from graphopt.rewrite import Const, Dim, Int, Ints, Tensor, any_of, op, rule
from graphopt.shapes import same_dims

#: For which the operator has kernels.
_DTYPES = (TensorProto.FLOAT, TensorProto.FLOAT16)
_SWAP = [0, 2, 1, 3]


# ------------------------------------------------------------------------------------------------------------ repetition
@rule(always=True)
def cos_of_repeated(x, n: Int):
    """The cosine of a tensor that is there twice is computed once."""
    yield op.Cos(op.Concat(x, x, axis=n))
    y = op.Cos(x)
    yield op.Concat(y, y, axis=n)


@rule(always=True)
def sin_of_repeated(x, n: Int):
    """The sine of a tensor that is there twice is computed once."""
    yield op.Sin(op.Concat(x, x, axis=n))
    y = op.Sin(x)
    yield op.Concat(y, y, axis=n)


@rule(always=True)
def factor_of_repeated(x, c: Const, n: Int):
    """A factor of a tensor that is there twice is multiplied to it once."""
    yield op.Concat(x, x, axis=n) * c
    if scalar(c, x) is None:
        return "not a single number"
    y = x * c
    yield op.Concat(y, y, axis=n)


# -------------------------------------------------------------------------------------------------------------- rotation
@rule
def rotary_embedding(
    x: "B H S D", c: "_ S F", s: "_ S F", n: Int, o: Int, i: Ints, j: Ints,
    a: Ints, b: Ints, e: Ints, f: Ints, g: Ints, h: Ints, D: Dim, F: Dim,
):  # fmt: skip
    """x times cosines plus x with its halves exchanged times sines is a rotary embedding."""
    turned = op.Concat(-op.Slice(x, starts=a, ends=b, axes=e, steps=[1]), op.Slice(x, starts=f, ends=g, axes=h, steps=[1]), axis=o)
    cos, sin = op.Unsqueeze(op.Concat(c, c, axis=n), axes=i), op.Unsqueeze(op.Concat(s, s, axis=n), axes=j)
    yield x * cos + turned * sin
    if x.dtype not in _DTYPES:
        return "not a float of 32 or 16 bits"
    if i != [1] or j != [1] or n not in (-1, 2) or o not in (-1, 3):
        return "not along the last axis"
    if not isinstance(D, int) or D != 2 * F:
        return "the cosines are not two halves"
    if e not in ([3], [-1]) or h not in ([3], [-1]) or (a, f) not in (([F], [0]), ([-F], [0])) or b[0] < D or g not in ([F], [-F]):
        return "not the halves of the last axis"
    if same_dims(c.shape[0], x.shape[0]) and same_dims(s.shape[0], x.shape[0]):
        yield op.RotaryEmbedding(x, c, s)
    elif isinstance(x.shape[0], int):
        batch = np.array([x.shape[0], 1, 1])
        yield op.RotaryEmbedding(x, op.Expand(c, batch), op.Expand(s, batch))
    else:
        batch = op.Concat(op.Shape(x, start=0, end=1), np.array([1, 1]), axis=0)
        yield op.RotaryEmbedding(x, op.Expand(c, batch), op.Expand(s, batch))


@rule
def rotary_embedding_packed(x: "B S H D", c, s, H: Dim, D: Dim):
    """A rotation takes heads out of the last axis by itself; then they need not be in front."""
    yield op.RotaryEmbedding(op.Transpose(x, perm=_SWAP), c, s)
    if not (isinstance(H, int) and isinstance(D, int) and H > 0 and D > 0):
        return "the number of heads or their size is not known"
    y = op.RotaryEmbedding(op.Reshape(x, [0, 0, H * D]), c, s, num_heads=H)
    yield op.Transpose(op.Reshape(y, [0, 0, H, D]), perm=_SWAP)
