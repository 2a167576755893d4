"""Scaled dot-product attention that exporters spell out in products and a softmax.

The bare form softmax(q kᵀ + mask) v becomes an operator with a scale of 1. What stands around it moves in afterwards:
factors of q and k, repetitions of k and v for groups of heads, a past in front of them, and the transpositions that
bring the heads to the front. So each of these is written once, whatever the others look like.

A query that is hidden from all keys gives zeros, as the operator's definition has it; spelled out without a guard it
would give NaN where the mask is minus infinity. Double and bfloat16 stay: ONNX Runtime has no kernel for them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphopt.patterns._elementwise import within
from graphopt.patterns._shapes import others_know_last
from graphopt.patterns.raising._constants import SHARED, refuses, scalar
from graphopt.patterns.raising._masks import covering, selecting
from graphopt.rewrite import Attrs, Axis, Const, Dim, Filled, Int, Ints, Maybe, Perm, Tensor, any_of, op, rule
from graphopt.shapes import same_dims, same_shape

#: Scores as low as this hide a key, whatever the other scores are.
_HIDDEN = -1e8
#: Ranks of queries with heads, and without an axis for them.
_RANKS = (3, 4)
#: The axes of heads and of positions change places.
_SWAP = [0, 2, 1, 3]


# -------------------------------------------------------------------------------------------------------------- helpers
def _unfit(q: Tensor, k: Tensor, v: Tensor, axis: int) -> str | None:
    """Why softmax(q kᵀ) v over an axis is not what the operator computes.

    A product broadcasts leading dims, the operator does not; nor has it a kernel for what is empty.
    """
    if q.rank not in _RANKS or axis not in (-1, q.rank - 1):
        return "not over the last of three or four axes"
    shapes = [x.shape or () for x in (q, k, v)]
    leading = [s[:-2] for s in shapes]
    if any(0 in s for s in shapes) or not (same_shape(*leading[:2]) and same_shape(*leading[1:])):
        return "empty, or broadcasts over batch or heads"
    if q.rank == 3 and not isinstance(v.shape[-1], int):
        return "others would take the size of the values for 0"
    return None


def _attention(q: Tensor, k: Tensor, v: Any, mask: Any, **attrs: float) -> Call:
    """The operator, of keys that lie as in a product; one head where there is no axis for heads."""
    one = 1 if q.rank == 3 else None
    v = _of_known_size(v) if one else v
    k = op.Transpose(k, perm=[*range(q.rank - 2), q.rank - 1, q.rank - 2])
    return op.Attention(q, k, v, mask, **attrs, q_num_heads=one, kv_num_heads=one)


def _of_known_size(v: Tensor) -> Any:
    """Values of a size that others know, too: they would take it for 0."""
    return v if others_know_last(v.value) else op.Reshape(v, [0, 0, v.shape[-1]])


def _packed(*tensors: Tensor) -> list[Call] | None:
    """[batch, length, ..., heads, size] with all that is behind the length in one axis; None where that is not known."""
    if not all(isinstance(n, int) and n > 0 for x in tensors for n in x.shape[2:]):
        return None
    return [op.Reshape(x, [0, 0, math.prod(x.shape[2:])]) for x in tensors]


def _heads(q: Tensor, k: Tensor) -> dict[str, int]:
    """How many heads there are in [batch, length, heads, size]."""
    return {"q_num_heads": q.shape[2], "kv_num_heads": k.shape[2]}


def _scale(q: Tensor, attrs: dict[str, Any]) -> float | None:
    """The scale of an operator, as its attribute or as it is left out; None where the size of heads is not known."""
    if attrs.get("scale") is not None:
        return float(attrs["scale"])
    size = q.shape[-1] if q.rank else None
    if isinstance(size, int) and size > 0:
        return float((size / (attrs["q_num_heads"] if q.rank == 3 else 1)) ** -0.5)
    return None


def _times(q: Tensor, attrs: dict[str, Any], *factors: float | None) -> dict[str, Any] | None:
    """Attributes with a scale that has taken these factors in; None where one is missing, or the scale is not above 0."""
    scale = _scale(q, attrs)
    if scale is None or None in factors:
        return None
    scale *= math.prod(f for f in factors if f is not None)
    if not 0 < scale < math.inf or np.float32(scale) == 0:
        return None
    usual = _scale(q, {**attrs, "scale": None})
    return {**attrs, "scale": None if usual is not None and math.isclose(scale, usual, rel_tol=1e-6) else scale}


def _factor(x: Tensor, c: Const | None, d: Const | None) -> float | None:
    """One of a factor and a divisor, as a factor."""
    n = scalar(c if c is not None else d, x)
    return n if c is not None or not n else 1 / n


def _cap(c: Const, q: Tensor) -> float | None:
    """A bound of scores that may as well be a factor of queries and keys."""
    bound = scalar(c, q)
    return bound if bound is not None and 1e-3 < bound < 1e4 else None


# ----------------------------------------------------------------------------------------------------- what prepares it
@rule
def product_scaled(q, k, c: Const, d: Const):
    """A factor behind a product of two tensors that are computed belongs to the first."""
    y = q @ k
    yield any_of(y * c, y / d)
    if reason := refuses(q, op.Attention):
        return reason
    if q.is_const or k.is_const or q.rank not in _RANKS or k.rank != q.rank:
        return "not what scores are made of"
    factor = _factor(q, c, d)
    if not factor:
        return "not a single number"
    yield (q * factor) @ k


@rule(keeps_gradients=False)
def softmax_of_selected(q, k, hidden, low: Const, axis: Int):
    """Scores that are replaced by one that is very low are hidden from softmax; so they are where it is added.

    A row that hides all its scores has other gradients afterwards: Where passes none to them, a sum does.
    """
    s = q @ k
    first = op.Where(hidden, low, s)
    yield op.Softmax(any_of(first, op.Where(hidden, s, low)), axis=axis)
    if reason := refuses(q, op.Attention):
        return reason
    if low.size != 1 or not within(low.shape, s.shape):
        return "not one number, or adds dims to the scores"
    if not low.item() <= _HIDDEN:  # in 16 bits minus infinity; what else there is would be rounded with the scores
        return "not low enough to hide a score"
    mask = selecting(hidden, first.value is not None, low.item(), q.dtype)
    yield op.Softmax(s + mask, axis=axis)


# ------------------------------------------------------------------------------------------------------- the bare form
@rule
def attention(q, k, v, m, axis: Int):
    """softmax(q kᵀ + mask) v is attention; rows of NaN that are replaced by 0 are those that see no key."""
    scores = q @ k
    p = op.Softmax(any_of(scores, scores + m), axis=axis)
    guarded = op.Where(op.IsNaN(p), 0.0, p)
    yield any_of(p, guarded) @ v
    if reason := refuses(q, op.Attention) or _unfit(q, k, v, axis):
        return reason
    if isinstance(mask := covering(m, q, scores, guarded.value is not None), str):
        return mask
    yield _attention(q, k, v, mask, scale=1.0)


@rule
def attention_softcap(q, k, v, m, c: Const, axis: Int):
    """Scores that a hyperbolic tangent keeps within bounds before the softmax."""
    scores = op.Tanh(q @ k) * c
    yield op.Softmax(any_of(scores, scores + m), axis=axis) @ v
    if reason := refuses(q, op.Attention) or _unfit(q, k, v, axis):
        return reason
    if (cap := _cap(c, q)) is None:
        return "the bound is not a single number"
    if isinstance(mask := covering(m, q, scores), str):
        return mask
    yield _attention(q, k, v, mask, scale=cap, softcap=cap)


# --------------------------------------------------------------------------------------------------- scale, mask, groups
@rule
def attention_scaled_query(q, k, v, m: Maybe[Tensor], c: Const, d: Const, attrs: Attrs):
    """A factor of the queries belongs to the scale."""
    yield op.Attention(any_of(q * c, q / d), k, v, m, **attrs)
    if q.dtype not in SHARED:
        return "not a float of 32 or 16 bits"
    scaled = _times(q, attrs, _factor(q, c, d))
    if scaled is None:
        return "not a single number above 0, or the scale is not known"
    yield op.Attention(q, k, v, m, **scaled)


@rule
def attention_scaled_key(q, k, v, m: Maybe[Tensor], c: Const, p: Perm, attrs: Attrs):
    """A factor of the keys belongs to the scale."""
    yield op.Attention(q, any_of(k * c, op.Transpose(k * c, perm=p)), v, m, **attrs)
    if q.dtype not in SHARED:
        return "not a float of 32 or 16 bits"
    scaled = _times(q, attrs, scalar(c, k))
    if scaled is None:
        return "not a single number above 0, or the scale is not known"
    yield op.Attention(q, k if p is None else op.Transpose(k, perm=p), v, m, **scaled)


@rule(always=True)
def attention_boolean_mask(q, k, v, b, low: Filled[-math.inf], shape, attrs: Attrs):
    """A mask of 0 and minus infinity is one of booleans."""
    shown = op.Where(b, 0.0, low)
    m = any_of(shown, op.Where(b, low, 0.0))
    yield op.Attention(q, k, v, any_of(m, op.Expand(m, shape)), **attrs)
    if low.onnx_dtype != q.dtype:
        return "not of the dtype of scores"
    if not within(low.shape, b.shape):
        return "adds dims"
    seen = b if shown.value is not None else op.Not(b)
    yield op.Attention(q, k, v, seen if shape is None else op.Expand(seen, shape), **attrs)


@rule(always=True)
def attention_seen_all(q, k, v, b: Filled[1], low: Const, shape, attrs: Attrs):
    """A mask that hides nothing is none."""
    yield op.Attention(q, k, v, op.Where(any_of(op.Expand(b, shape), b), 0.0, low), **attrs)
    if low.onnx_dtype != q.dtype:
        return "not of the dtype of scores"
    yield op.Attention(q, k, v, **attrs)


@rule
def attention_groups(q, k, v, m: Maybe[Tensor], a: Ints, r, s, t, u, y: Maybe[Int], z: Maybe[Int], attrs: Attrs):
    """Keys and values that are repeated for the heads of a group need not be: the operator counts their heads."""
    keys = op.Reshape(op.Expand(op.Unsqueeze(k, axes=a), r), s, allowzero=y)
    values = op.Reshape(op.Expand(op.Unsqueeze(v, axes=a), t), u, allowzero=z)
    yield op.Attention(q, keys, values, m, **attrs)
    if a != [2] or not (k.rank == 4 and v.rank == 4):
        return "not repeated behind the axis of heads"
    if _regrouped(k, keys) is None or _regrouped(k, keys) != _regrouped(v, values):
        return "not repeated for a known number of heads, or otherwise reshaped too"
    yield op.Attention(q, k, v, m, **attrs)


def _regrouped(x: Tensor, repeated: Any) -> int | None:
    """By how much [batch, heads, length, size] has more heads, None where that is not known or something else differs."""
    if repeated.rank != 4 or not isinstance(x.shape[1], int) or not isinstance(repeated.shape[1], int):
        return None
    if not x.shape[1] or repeated.shape[1] % x.shape[1] or not same_shape(x.shape[2:], repeated.shape[2:]):
        return None
    return repeated.shape[1] // x.shape[1] if same_dims(x.shape[0], repeated.shape[0]) else None


# ------------------------------------------------------------------------------------------------------ past and packing
@rule
def attention_past(q, k, v, m: Maybe[Tensor], past_k, past_v, axis: Axis, attrs: Attrs):
    """Keys and values behind those of a past: the operator puts them together."""
    keys, values = op.Concat(past_k, k, axis=axis), op.Concat(past_v, v, axis=axis)
    yield op.Attention(q, keys, values, m, **attrs), keys, values
    if axis != 2:
        return "not along the axis of positions"
    if k.rank != 4 or k.shape[2] == 0 or v.rank != 4 or not same_shape(k.shape[:-1], v.shape[:-1]):
        return "no keys, or not known to be as many as there are values"
    if attrs["is_causal"]:
        return "the first query would see more keys"
    yield op.Attention(q, k, v, m, past_k, past_v, **attrs, outputs=3)


@rule
def attention_packed(q: "B S H D", k: "B T K D", v: "B T K E", m: Maybe[Tensor], H: Dim, E: Dim, attrs: Attrs):
    """Attention takes heads out of the last axis, and puts them back there, by itself."""
    x = [op.Transpose(a, perm=_SWAP) for a in (q, k, v)]
    yield op.Transpose(op.Attention(*x, m, **attrs), perm=_SWAP)
    if (packed := _packed(q, k, v)) is None:
        return "the number of heads or their size is not known"
    yield op.Reshape(op.Attention(*packed, m, **{**attrs, **_heads(q, k)}), [0, 0, H, E])


@rule
def attention_packed_past(
    q: "B S H D", k: "B T K D", v: "B T K E", m: Maybe[Tensor], past_k, past_v, H: Dim, E: Dim, attrs: Attrs
):
    """The same with a past, in which heads stay apart."""
    x = [op.Transpose(a, perm=_SWAP) for a in (q, k, v)]
    y, keys, values = op.Attention(*x, m, past_k, past_v, **attrs, outputs=3)
    yield op.Transpose(y, perm=_SWAP), keys, values
    if (packed := _packed(q, k, v)) is None:
        return "the number of heads or their size is not known"
    y, keys, values = op.Attention(*packed, m, past_k, past_v, **{**attrs, **_heads(q, k)}, outputs=3)
    yield op.Reshape(y, [0, 0, H, E]), keys, values


@rule
def attention_one_head(
    q: "_ _ _",
    k: "_ _ _",
    v: "_ _ E",
    m: Maybe[Tensor],
    r,
    s,
    t,
    x: Maybe[Int],
    y: Maybe[Int],
    z: Maybe[Int],
    E: Dim,
    attrs: Attrs,
):
    """One head needs no axis."""
    head = op.Reshape(q, r, allowzero=x), op.Reshape(k, s, allowzero=y), op.Reshape(v, t, allowzero=z)
    yield op.Attention(*head, m, **attrs)
    if not all(map(_is_one, (q, k, v), head)):
        return "not one head, or otherwise reshaped too"
    if not isinstance(E, int):
        return "others would take the size of the values for 0"
    one = {"q_num_heads": 1, "kv_num_heads": 1}
    yield op.Unsqueeze(op.Attention(q, k, _of_known_size(v), m, **{**attrs, **one}), axes=[1])


def _is_one(x: Tensor, head: Any) -> bool:
    """Whether [batch, 1, length, size] are those of [batch, length, size]."""
    return head.rank == 4 and head.shape[1] == 1 and bool(same_shape((*head.shape[:1], *head.shape[2:]), x.shape))


@rule
def attention_stacked(
    x: "B S T H D", m: Maybe[Tensor], i: Const[""], j: Const[""], n: Const[""], T: Dim, H: Dim, D: Dim, attrs: Attrs
):
    """Queries, keys and values that stand side by side in one tensor are taken out of it before their heads are."""
    y = op.Transpose(x, perm=[2, 0, 3, 1, 4])
    yield op.Transpose(op.Attention(*(op.Gather(y, a, axis=0) for a in (i, j, n)), m, **attrs), perm=_SWAP)
    if T != 3:
        return "not three"
    if (packed := _packed(x)) is None:
        return "the number of heads or their size is not known"
    parts = op.Split(*packed, axis=2, outputs=3)
    x = [parts[int(a.item()) % 3] for a in (i, j, n)]
    heads = dict.fromkeys(("q_num_heads", "kv_num_heads"), H)
    yield op.Reshape(op.Attention(*x, m, **{**attrs, **heads}), [0, 0, H, D])
