"""Rotary position embeddings that exporters spell out in halves of a tensor that change places.

Cosines and sines come in two equal halves, since exporters repeat the angles before they compute with them. First that
repetition moves behind the computation; then what is rotated by such halves is rotated by one of them.
"""

from __future__ import annotations

from typing import Any

from graphopt.patterns.raising._constants import refuses, scalar
from graphopt.rewrite import Axis, Const, Dim, Int, Ints, Maybe, Tensor, op, rule
from graphopt.shapes import same_dims

_SWAP = [0, 2, 1, 3]


# ------------------------------------------------------------------------------------------------------------ repetition
# From the opset on that has RotaryEmbedding: without it, the Concat that a Cos and a Sin share would only become two.
@rule(always=True, since=23)
def cos_of_repeated(x, n: Int):
    """The cosine of a tensor that is there twice is computed once."""
    yield op.Cos(op.Concat(x, x, axis=n))
    y = op.Cos(x)
    yield op.Concat(y, y, axis=n)


@rule(always=True, since=23)
def sin_of_repeated(x, n: Int):
    """The sine of a tensor that is there twice is computed once."""
    yield op.Sin(op.Concat(x, x, axis=n))
    y = op.Sin(x)
    yield op.Concat(y, y, axis=n)


@rule(always=True, since=23)
def factor_of_repeated(x, c: Const, n: Int):
    """A factor of a tensor that is there twice is multiplied to it once."""
    yield op.Concat(x, x, axis=n) * c
    if scalar(c, x) is None:
        return "not a single number"
    y = x * c
    yield op.Concat(y, y, axis=n)


@rule(always=True, since=23)
def unsqueeze_of_repeated(x, n: Axis, axes: Ints):
    """A dim of 1 is put into a tensor that is there twice once."""
    yield op.Unsqueeze(op.Concat(x, x, axis=n), axes=axes)
    if x.rank is None or len(axes) != 1:
        return "not one dim, or the rank is not known"
    axis = axes[0] % (x.rank + 1)
    y = op.Unsqueeze(x, axes=[axis])
    yield op.Concat(y, y, axis=n + (axis <= n))


# -------------------------------------------------------------------------------------------------------------- rotation
@rule(always=True)
def rotary_embedding(
    x: "B H S D", c: "A 1 S F", s: "A 1 S F", o: Axis, sizes: Maybe[Ints], parts: Maybe[Int], D: Dim, F: Dim
):
    """x times cosines plus x with its halves exchanged times sines is a rotary embedding."""
    first, second = op.Split(x, axis=o, split=sizes, num_outputs=parts, outputs=2)
    turned = op.Concat(-second, first, axis=o)
    yield x * op.Concat(c, c, axis=o) + turned * op.Concat(s, s, axis=o)
    if reason := refuses(x, op.RotaryEmbedding):
        return reason
    if not _halves(D, F, first.value.shape):
        return "not two halves of each head in the batch"
    if (angles := _for_each(x, c, s)) is None:
        return "angles of another batch"
    yield op.RotaryEmbedding(x, *angles)


def _halves(size: Any, half: Any, part: Any) -> bool:
    """Whether the first part that a tensor is split into is a half of its last axis, of a known size above 0."""
    return isinstance(half, int) and size == 2 * half > 0 and part is not None and part[-1] == half


def _for_each(x: Tensor, *angles: Tensor) -> list[Any] | None:
    """Cosines and sines without an axis for heads, and for each entry of the batch, as kernels want them.

    None where there may be more of them than of those, which are repeated then.
    """
    flat = [op.Squeeze(c, axes=[1]) for c in angles]
    batch = x.shape[0]
    if not all(c.shape[0] == 1 or same_dims(c.shape[0], batch) for c in angles):
        return None
    if all(same_dims(c.shape[0], batch) for c in angles):
        return flat
    shape = [batch, 1, 1] if isinstance(batch, int) else op.Concat(op.Shape(x, start=0, end=1), [1, 1], axis=0)
    return [op.Expand(c, shape) for c in flat]


@rule
def rotary_embedding_part(
    x: "B H S D", c, s, o: Axis, sizes: Maybe[Ints], parts: Maybe[Int], turned: Maybe[Int], interleaved: Int
):
    """A rotation of the first part of each head leaves the rest as it is."""
    first, rest = op.Split(x, axis=o, split=sizes, num_outputs=parts, outputs=2)
    yield op.Concat(op.RotaryEmbedding(first, c, s, interleaved=interleaved, rotary_embedding_dim=turned), rest, axis=o)
    size = turned or first.value.shape[-1]
    if o != 3 or not isinstance(size, int) or not size:
        return "not along the last axis, or the size of the part is not known"
    yield op.RotaryEmbedding(x, c, s, interleaved=interleaved, rotary_embedding_dim=size)


@rule
def rotary_embedding_packed(x: "B S H D", c, s, H: Dim, D: Dim):
    """A rotation takes heads out of the last axis by itself; then they need not be in front."""
    yield op.RotaryEmbedding(op.Transpose(x, perm=_SWAP), c, s)
    if not (isinstance(H, int) and isinstance(D, int) and H):
        return "the number of heads or their size is not known"
    y = op.RotaryEmbedding(op.Reshape(x, [0, 0, H * D]), c, s, num_heads=H)
    yield op.Transpose(op.Reshape(y, [0, 0, H, D]), perm=_SWAP)
