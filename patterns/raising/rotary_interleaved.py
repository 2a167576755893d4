"""Rotary position embeddings that exporters spell out in neighbours that change places.

What is turned is every second element of a head and the one behind it, with heads in front of positions or behind them.
Angles come once for each pair, or twice in a row. What repeats them moves behind cosine and sine first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.ir import Shape
from graphopt.patterns._shapes import matched, ones_besides, target_of
from graphopt.patterns.raising._constants import SHARED
from graphopt.rewrite import Axis, Const, Ints, Tensor, any_of, op, rule
from graphopt.shapes import same_dims, same_shape


# ------------------------------------------------------------------------------------------------------------ repetition
@rule(always=True, since=23)
def pairs_by_expand(x, m: Ints, n: Axis, shape: Ints):
    """However elements are written twice in a row, it is an Expand that is reshaped."""
    tile, concat = op.Tile(x, repeats=m), op.Concat(x, x, axis=n)
    y = op.Reshape(any_of(tile, concat), shape=shape)
    yield y
    if reason := _refuses(x) or _no_repetition(x, matched(tile, concat).shape, y):
        return reason
    yield op.Reshape(op.Expand(x, [2]), shape=shape)


@rule(always=True, since=23)
def neighbour_by_slice(x, shape: Ints, index: Const, axis: Axis):
    """One of two neighbours, with a dim of its own, is a slice, as those without are."""
    pairs = op.Reshape(x, shape=shape)
    yield op.Gather(pairs, index, axis=axis)
    if reason := _refuses(x):
        return reason
    if not x.rank or axis != x.rank or index.shape != (1,):
        return "not one element along a new last axis"
    if not isinstance(x.shape[-1], int) or not same_shape(pairs.shape, (*_halved(x.shape), 2)):
        return "not pairs of a known number"
    part = op.Slice(x, starts=[int(index.item()) % 2], ends=[x.shape[-1]], axes=[axis - 1], steps=[2])
    yield op.Unsqueeze(part, axes=[axis])


@rule(always=True, since=23)
def cos_of_repeated_pairs(x, m: Ints, shape: Ints):
    """The cosine of angles that are there twice in a row is computed once."""
    twice = op.Expand(x, shape=m)
    y = op.Reshape(twice, shape=shape)
    yield op.Cos(y)
    if reason := _refuses(x) or _no_repetition(x, twice.shape, y):
        return reason
    yield op.Reshape(op.Expand(op.Cos(x), shape=m), shape=shape)


@rule(always=True, since=23)
def sin_of_repeated_pairs(x, m: Ints, shape: Ints):
    """The sine of angles that are there twice in a row is computed once."""
    twice = op.Expand(x, shape=m)
    y = op.Reshape(twice, shape=shape)
    yield op.Sin(y)
    if reason := _refuses(x) or _no_repetition(x, twice.shape, y):
        return reason
    yield op.Reshape(op.Expand(op.Sin(x), shape=m), shape=shape)


# -------------------------------------------------------------------------------------------------------------- rotation
@rule(since=23)
def rotary_interleaved(x: "B H S D", c, s, e: Ints, a: Ints, u: Ints, v: Ints, shape: Ints):
    """Pairs of neighbours, each turned by an angle of its own, are a rotary embedding."""
    first = op.Slice(x, starts=[0], ends=e, axes=a, steps=[2])
    second = op.Slice(x, starts=[1], ends=e, axes=a, steps=[2])
    left, right = op.Unsqueeze(first * c - second * s, axes=u), op.Unsqueeze(first * s + second * c, axes=v)
    y = op.Reshape(op.Concat(left, right, axis=-1), shape=shape)
    yield y
    if reason := _refuses(x) or _no_pairs(x, first, second, left, y):
        return reason
    turned = _turned(x, (c, c.shape), (s, s.shape))
    if turned is None:
        return "the angles are not those of each position, for all heads"
    yield turned


@rule(since=23)
def rotary_interleaved_repeated(
    x: "B H S D", c, s, m: Ints, n: Ints, k: Ints, j: Ints, e: Ints, a: Ints, u: Ints, v: Ints, shape: Ints
):
    """The same with cosines and sines that are there twice in a row, and neighbours that change places."""
    first = op.Slice(x, starts=[0], ends=e, axes=a, steps=[2])
    second = op.Slice(x, starts=[1], ends=e, axes=a, steps=[2])
    left, right = op.Unsqueeze(-second, axes=u), op.Unsqueeze(first, axes=v)
    y = op.Reshape(op.Concat(left, right, axis=-1), shape=shape)
    cc, ss = op.Expand(c, shape=m), op.Expand(s, shape=n)
    cosines, sines = op.Reshape(cc, shape=k), op.Reshape(ss, shape=j)
    yield y * sines + x * cosines
    if reason := _refuses(x) or _no_pairs(x, first, second, left, y):
        return reason
    if reason := _no_repetition(c, cc.shape, cosines) or _no_repetition(s, ss.shape, sines):
        return reason
    turned = _turned(x, (c, _halved(cosines.shape)), (s, _halved(sines.shape)))
    if turned is None:
        return "the angles are not those of each position, for all heads"
    yield turned


@rule(since=23)
def rotary_interleaved_constant(x: "B H S D", c: Const, s: Const, e: Ints, a: Ints, u: Ints, v: Ints, shape: Ints):
    """The same with constants in which neighbours are equal."""
    first = op.Slice(x, starts=[0], ends=e, axes=a, steps=[2])
    second = op.Slice(x, starts=[1], ends=e, axes=a, steps=[2])
    left, right = op.Unsqueeze(-second, axes=u), op.Unsqueeze(first, axes=v)
    y = op.Reshape(op.Concat(left, right, axis=-1), shape=shape)
    yield y * s + x * c
    if reason := _refuses(x) or _no_pairs(x, first, second, left, y):
        return reason
    if not all(k.ndim and np.array_equal(k[..., ::2], k[..., 1::2]) for k in (c, s)):
        return "neighbours are not equal"
    turned = _turned(x, *((k[..., ::2], k[..., ::2].shape) for k in (c, s)))
    if turned is None:
        return "the angles are not those of each position, for all heads"
    yield turned


# --------------------------------------------------------------------------------------------------------------- helpers
def _refuses(x: Tensor) -> str | None:
    """Why this tensor cannot be turned; what only prepares for that asks the same."""
    return None if x.dtype in SHARED else "not a float of 32 or 16 bits"


def _halved(shape: Shape) -> Shape:
    """A shape with half as many elements along the last axis, which is of a known size."""
    return (*shape[:-1], shape[-1] // 2)


def _no_repetition(x: Tensor, expanded: Shape | None, y: Tensor) -> str | None:
    """Why y, which is x expanded and reshaped, does not hold each element of x twice in a row along the last axis."""
    if not x.shape or x.shape[-1] != 1 or not same_shape(expanded, (*x.shape[:-1], 2)):
        return "not each element twice in a row"
    if not y.shape or not isinstance(y.shape[-1], int) or y.shape[-1] % 2:
        return "the size of the last axis is not known, or not even"
    once, halves = ([d for d in s if d != 1] for s in (x.shape, _halved(y.shape)))
    return None if same_shape(tuple(once), tuple(halves)) else "not along the last axis"


def _no_pairs(x: Tensor, first: Tensor, second: Tensor, left: Tensor, y: Tensor) -> str | None:
    """Why the slices of x that are put together again as y are not all pairs of neighbours along the last axis."""
    assert x.shape is not None
    if not isinstance(x.shape[-1], int) or not x.shape[-1] or x.shape[-1] % 2:
        return "the size of the heads is not known, or not even"
    halves = _halved(x.shape)
    if not same_shape(first.value.shape, halves) or not same_shape(second.value.shape, halves):
        return "not neighbours along the last axis"
    if not same_shape(left.value.shape, (*halves, 1)) or not same_shape(y.value.shape, x.shape):
        return "not put together along the last axis"
    return None


def _turned(x: Tensor, *angles: tuple[Tensor | np.ndarray, Shape | None]) -> Any:
    """x turned by these cosines and sines, each with the shape in which pairs of x's elements are multiplied by it; None where
    they are not the same for all heads, which lie in front of the positions or behind them."""
    assert x.shape is not None
    flat = [_for_each(x, v, shape, 2, 1) for v, shape in angles]
    if all(f is not None for f in flat):
        return op.RotaryEmbedding(x, *flat, interleaved=1)
    flat = [_for_each(x, v, shape, 1, 2) for v, shape in angles]
    heads, size = x.shape[2:]
    if any(f is None for f in flat) or not isinstance(heads, int) or not isinstance(size, int) or not heads:
        return None
    packed = op.Reshape(x, [0, 0, heads * size])
    return op.Reshape(op.RotaryEmbedding(packed, *flat, interleaved=1, num_heads=heads), [0, 0, heads, size])


def _for_each(x: Tensor, angles: Tensor | np.ndarray, shape: Shape | None, positions: int, heads: int) -> Any:
    """Cosines or sines by entry of the batch, position and pair, as kernels want them; None where they are others."""
    if x.shape is None or shape is None or len(shape) > 4:
        return None
    shape = (*(1,) * (4 - len(shape)), *shape)
    batch, goal = x.shape[0], (shape[0], x.shape[positions], _halved(x.shape)[-1])
    alike = same_dims(shape[0], batch)
    if shape[heads] != 1 or not same_shape((shape[positions], shape[3]), goal[1:]) or not (alike or shape[0] == 1):
        return None
    flat = _as(angles, goal)
    if alike or flat is None:
        return flat
    size = [batch, 1, 1] if isinstance(batch, int) else op.Concat(op.Shape(x, start=0, end=1), [1, 1], axis=0)
    return op.Expand(flat, size)


def _as(x: Tensor | np.ndarray, shape: Any) -> Any:
    """A tensor in a shape with other dims of 1; None where that cannot be written."""
    if isinstance(x, np.ndarray):
        return x.reshape(shape)
    assert x.shape is not None
    if same_shape(x.shape, shape):
        return x
    if gone := ones_besides(x.shape, shape):
        return op.Squeeze(x, axes=gone)
    if put := ones_besides(shape, x.shape):
        return op.Unsqueeze(x, axes=put)
    target = target_of(x.shape, shape)
    return None if target is None else op.Reshape(x, target)
