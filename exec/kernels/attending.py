"""What all forms of scaled dot-product attention have in common: y = softmax(scale · q kᵀ + bias) v.

Scores are the one thing here that grows with the square of the length, so on arrays that are at hand (not traced) they
are made block by block: some batch entries, else some heads of one, else some rows of these. Keys that a causal mask or
a window hides from all rows of a block are not computed with.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.dtypes import is_narrow
from graphopt.exec.kernels.registry import Array, Body

#: Numbers that a block computes with at once: they fit into the second-level cache.
_BLOCK = 1 << 17
#: Rows of a block, at least: matrix products with fewer are slow.
_ROWS = 16
_ALL = slice(None)
#: What is added to scores, and which of them count; [batch, groups, shared, length, keys] or 1s there.
Bias = tuple[Array | None, Array | None]

#: What `attend` gives beside the result, as the attribute qk_matmul_output_mode numbers it.
RAW, CAPPED, BIASED, PROBABILITIES = range(4)


@dataclass(slots=True)
class Scoring:
    """How scores come about, and what becomes of them.

    Attributes:
        scale: of the products; None: 1/√size.
        softcap: c in c·tanh(score / c); 0: none.
        masks: arrays that broadcast to [batch, heads, length, keys]. Booleans say which keys a query sees, others are
            added to the scores.
        left, right: query i sees the keys from i + offset - left to i + offset + right; None: no bound.
        offset: number of keys in front of those of the first query; an array has one for each batch entry.
        lengths: array with the number of keys of each batch entry; padding follows them.
        sink: array with a score for each head, of a key without a value.
        precision: dtype that the softmax is computed in; None: that of the products.
        score_mod, prob_mod: called with scores and probabilities [batch, heads, length, keys], give others.
    """

    scale: float | None = None
    softcap: float = 0.0
    masks: Sequence[Array] = ()
    left: int | None = None
    right: int | None = None
    offset: Any = 0
    lengths: Array | None = None
    sink: Array | None = None
    precision: Any = None
    score_mod: Body | None = None
    prob_mod: Body | None = None


def split_heads(x: Array, heads: int) -> Array:
    """[batch, length, heads·size] as [batch, heads, length, size]; what has four axes is that already.

    Raises:
        ValueError: the last axis does not divide into so many heads.
    """
    if x.ndim == 4:
        return x
    if x.ndim != 3 or heads < 1 or x.shape[2] % heads:
        raise ValueError(f"a tensor of shape {list(x.shape)} does not divide into {heads} heads")
    return x.reshape(*x.shape[:2], heads, x.shape[2] // heads).transpose(0, 2, 1, 3)


def merge_heads(x: Array) -> Array:
    """[batch, heads, length, size] as [batch, length, heads·size]."""
    batch, heads, length, size = x.shape
    return x.transpose(0, 2, 1, 3).reshape(batch, length, heads * size)


def attend(
    xp: Backend, q: Array, k: Array, v: Array, scoring: Scoring, packed: bool = False, wanted: int | None = None
) -> tuple[Array, Array | None]:
    """Attention of queries [batch, heads, length, size] to [batch, fewer heads, keys, size].

    Each head of keys and values serves as many heads of queries in a row. A query that sees no key gives zeros. Floats
    of 16 bits and less are computed with as float32.

    Args:
        packed: give the result as [batch, length, heads·size].
        wanted: RAW, ... PROBABILITIES: what to give of the scores.

    Returns:
        The result, and the scores or None; both in the dtype of the queries.

    Raises:
        ValueError: shapes do not fit together.
    """
    if k.shape[0] != len(q) or v.shape[0] != len(q) or k.shape[1:3] != v.shape[1:3] or k.shape[3] != q.shape[3]:
        shapes = ", ".join(str(list(x.shape)) for x in (q, k, v))
        raise ValueError(f"query, key and value of shapes {shapes} do not fit together")
    if not k.shape[1] or q.shape[1] % k.shape[1]:
        raise ValueError(f"{q.shape[1]} heads do not share {k.shape[1]} of keys and values")
    at = _Attention(xp, q, k, v, scoring)
    whole = xp.traces or wanted is not None or scoring.score_mod is not None or scoring.prob_mod is not None
    blocks = [(slice(0, at.length), slice(0, at.keys), _ALL, _ALL)] if whole else list(at.blocks())
    if len(blocks) == 1:
        rows, keys, *_ = blocks[0]
        y, scores = at.block(rows, keys, _ALL, _ALL, at.bias(rows, keys), wanted)
        y = xp.cast(y.reshape(*q.shape[:3], v.shape[3]), q.dtype)
        return merge_heads(y) if packed else y, None if scores is None else xp.cast(scores, q.dtype)
    (batch, heads, length, _), size = q.shape, v.shape[3]
    order = (0, 2, 3, 1, 4) if packed else (0, 1, 2, 3, 4)
    y = np.empty((batch, length, at.groups, at.shared, size) if packed else (*at.q.shape[:4], size), q.dtype)
    bias: Bias = (None, None)
    biased = None
    for rows, keys, entries, parts in blocks:
        if rows is not biased:
            bias, biased = at.bias(rows, keys), rows
        y.transpose(order)[entries, parts, :, rows], _ = at.block(rows, keys, entries, parts, bias)
    return y.reshape((batch, length, heads * size) if packed else (batch, heads, length, size)), None


class _Attention:
    """Operands with heads in groups, one for each head of keys; scores are [batch, groups, shared, length, keys]."""

    def __init__(self, xp: Backend, q: Array, k: Array, v: Array, scoring: Scoring) -> None:
        batch, heads, self.length, size = q.shape
        self.groups, self.keys = k.shape[1:3]
        self.shared = heads // self.groups
        self.xp, self.scoring = xp, scoring
        self.q = q.reshape(batch, self.groups, self.shared, self.length, size)
        self.k, self.v = k, v
        self.dtype = np.dtype(np.float32) if is_narrow(q.dtype) else q.dtype
        self.masks = [m.reshape((1,) * (4 - m.ndim) + m.shape) for m in scoring.masks]
        bounds = (scoring.left, scoring.right, scoring.lengths, scoring.score_mod)
        self.masked = bool(self.masks) or any(b is not None for b in bounds)

    def blocks(self) -> Iterator[tuple[slice, slice, slice, slice]]:
        """Rows, keys that these see, batch entries and groups; for the same rows one after the other."""
        batch = len(self.q)
        size = self.q.shape[4] + self.v.shape[3]
        rows = max(_ROWS, _BLOCK // max(1, self.shared * self.keys))
        cells = max(1, self.keys * max(self.shared * min(rows, self.length), size if self.k.dtype != self.dtype else 0))
        parts = min(self.groups, max(1, _BLOCK // cells))
        entries = max(1, _BLOCK // (cells * parts)) if parts == self.groups else 1
        for r in _cut(self.length, rows):
            keys = self.seen(r)
            for e in _cut(batch, entries):
                for p in _cut(self.groups, parts):
                    yield r, keys, e, p

    def seen(self, rows: slice) -> slice:
        """The keys that some of the rows may see, as far as that is known at once."""
        s = self.scoring
        first, last = 0, self.keys
        if isinstance(s.offset, int):
            first = 0 if s.left is None else max(0, rows.start + s.offset - s.left)
            last = last if s.right is None else min(last, rows.stop + s.offset + s.right)
        if isinstance(s.lengths, np.ndarray) and s.lengths.size:
            last = min(last, int(s.lengths.max()))
        return slice(min(first, max(last, 0)), max(last, 0))

    def bias(self, rows: slice, keys: slice) -> Bias:
        """The masks of some scores; but for exact numbers all goes into what is added, with -∞."""
        xp, s = self.xp, self.scoring
        added, seen = [], []
        for m in self.masks:
            m = m[:, :, _if_several(m, 2, rows), _if_several(m, 3, keys)]
            seen.append(m) if m.dtype == bool else added.append(xp.cast(m, self.dtype))
        key = np.arange(keys.start, keys.stop)
        if s.left is not None or s.right is not None:
            query = np.arange(rows.start, rows.stop)[:, None]
            query = query + (s.offset if isinstance(s.offset, int) else s.offset.reshape(-1, 1, 1, 1))
            seen += [] if s.left is None else [key >= query - s.left]
            seen += [] if s.right is None else [key <= query + s.right]
        if s.lengths is not None:
            seen.append(key < s.lengths.reshape(-1, 1, 1, 1))
        bias = functools.reduce(operator.add, added) if added else None
        allowed = functools.reduce(operator.and_, seen) if seen else None
        if allowed is not None and not xp.exact:
            zero = self.dtype.type(0) if bias is None else bias
            bias, allowed = xp.where(allowed, zero, self.dtype.type(-np.inf)), None
        return self.grouped(bias), self.grouped(allowed)

    def grouped(self, x: Array | None) -> Array | None:
        """What broadcasts to [batch, heads, length, keys], with groups."""
        if x is None:
            return None
        x = x.reshape((1,) * (4 - x.ndim) + x.shape)
        return x.reshape(len(x), *((1, 1) if x.shape[1] == 1 else (self.groups, self.shared)), *x.shape[2:])

    def block(
        self, rows: slice, keys: slice, entries: slice, parts: slice, bias: Bias, wanted: int | None = None
    ) -> tuple[Array, Array | None]:
        """Attention of some queries, [batch, groups, shared, length, size]; scores, [batch, heads, length, keys]."""
        xp, s = self.xp, self.scoring
        given = self.q.dtype if xp.multiplies_narrow else self.dtype
        q = xp.cast(self.q[entries, parts, :, rows], given)
        k = xp.cast(self.k[entries, parts, keys], given)
        v = xp.cast(self.v[entries, parts, keys], given)
        batch, groups, shared, length, size = q.shape
        stacked, apart = (batch, groups, shared * length), (batch, groups, shared, length, k.shape[2])
        heads = (batch, groups * shared, *apart[3:])
        kept = None
        if not k.shape[2]:
            return xp.zeros((*apart[:4], v.shape[3]), self.dtype), xp.zeros(heads, self.dtype)
        scale = s.scale if s.scale is not None else size**-0.5
        if given == self.dtype:
            q = q * (xp.number(scale, q) if s.scale is not None else 1 / xp.sqrt(xp.number(size, q)))
        scores = xp.matmul(q.reshape(*stacked, size), k.swapaxes(2, 3), self.dtype).reshape(apart)
        if given != self.dtype:
            scores *= xp.number(scale, scores)
        if wanted == RAW:
            kept = xp.array(scores)
        if s.softcap:
            cap = xp.number(s.softcap, scores)
            scores /= cap
            scores = xp.into(xp.tanh, scores)
            scores *= cap
        if wanted == CAPPED:
            kept = xp.array(scores)
        added, allowed = (x if x is None else x[_if_several(x, 0, entries), _if_several(x, 1, parts)] for x in bias)
        if added is not None:
            scores += added
        if wanted == BIASED:
            kept = xp.array(scores)
        inner = self.dtype if s.precision is None else s.precision
        scores = xp.cast(scores, inner)
        if s.score_mod is not None:
            scores = xp.array(s.score_mod(scores.reshape(heads))[0]).reshape(apart)
        e, total = self.exponentials(xp.cast(scores, np.float32) if is_narrow(inner) else scores, allowed, parts)
        if inner == self.dtype and wanted != PROBABILITIES and s.prob_mod is None:
            y = xp.matmul(xp.cast(e, given).reshape(*stacked, apart[4]), v, self.dtype)
            y /= total.reshape(*stacked, 1)
        else:
            e /= total
            e = xp.cast(e, inner)
            if wanted == PROBABILITIES:
                kept = e
            if s.prob_mod is not None:
                e = s.prob_mod(e.reshape(heads))[0]
            y = xp.matmul(xp.cast(e, given).reshape(*stacked, apart[4]), v, self.dtype)
        return y.reshape(*apart[:4], v.shape[3]), None if kept is None else kept.reshape(heads)

    def exponentials(self, scores: Array, allowed: Array | None, parts: slice) -> tuple[Array, Array]:
        """Numerators and denominators of the softmax. The scores are written over."""
        xp, sink = self.xp, self.scoring.sink
        if sink is not None:
            sink = xp.cast(sink, scores.dtype).reshape(1, self.groups, self.shared, 1, 1)[:, parts]
        if not xp.exact:
            top = xp.max(scores, axis=-1, keepdims=True)
            if sink is not None:
                top = xp.maximum(top, sink)
                sink = sink - top
            elif self.masked:
                top = xp.where(top == -np.inf, xp.number(0, top), top)
            scores -= top
        e = xp.into(xp.exp, scores)
        if allowed is not None:
            e = xp.where(allowed, e, 0)
        total = xp.matmul(e, xp.ones((e.shape[-1], 1), e.dtype))  # faster than a sum of rows
        if sink is not None:
            total += xp.exp(sink)
        elif self.masked and not xp.exact:
            total = xp.where(total == 0, xp.number(1, total), total)
        elif allowed is not None:
            total = xp.where(allowed.any(axis=-1, keepdims=True), total, 1)
        return e, total


def _if_several(x: Array, axis: int, part: slice) -> slice:
    """A part of an axis, unless that has the one element that broadcasts."""
    return part if x.shape[axis] > 1 else _ALL


def _cut(n: int, size: int) -> list[slice]:
    """0...n in pieces of about the same size, which is at most `size`."""
    pieces = -(-n // size)
    size = -(-n // max(pieces, 1))
    return [slice(i, min(i + size, n)) for i in range(0, n, max(size, 1))]
