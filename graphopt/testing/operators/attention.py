"""Attention, and what models put around it: rotations of positions, gates, linear attention, convolutions with a state."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from graphopt.testing.building.builder import Invalid
from graphopt.testing.operators.masks import causal_mask
from graphopt.testing.operators.registry import operands
from graphopt.testing.operators.site import Shape, Site

_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16})
_MOVING = frozenset({"Transpose", "Reshape", "Concat", "Gather"})
_MASKS = frozenset({TensorProto.BOOL, *_FLOATS})


def _attended(s: Site) -> dict[int, Shape]:
    """Queries, keys, values, a mask, and a past, of 3 or 4 dims as it suits those who read them."""
    few = [1, 1, 1, 1, 2] if "Reshape" in s.beside else [1, 1, 2]  # one head needs no axis
    batch, size = s.choices.integer(1, 2), s.choices.one([2, 4])
    heads = s.choices.one([1, 2, 4, 4] if "Expand" in s.beside else few)
    queries, keys, groups = s.choices.integer(1, 3), s.choices.integer(1, 4), s.choices.one(few)
    past = s.choices.integer(1, 2) if s.wants(4) else 0
    if past and not s.choices.chance(3):
        keys = queries
    low, high = max(s.ranks(i)[0] for i in range(3)), min(s.ranks(i)[1] for i in range(3))
    moved = not s.beside.isdisjoint(_MOVING)  # of which real models write those with an axis for heads
    packed = low < 4 and (high < 4 or s.choices.chance(12 if moved else 3))
    if packed:
        shapes: list[Shape] = [(batch, queries, heads * groups * size), *[(batch, keys, heads * size)] * 2]
        s.attributes["q_num_heads"], s.attributes["kv_num_heads"] = heads * groups, heads
    else:
        shapes = [(batch, heads * groups, queries, size), *[(batch, heads, keys, size)] * 2]
    total = keys + past
    mask = s.choices.one([(queries, total), (1, 1, queries, total), (batch, heads * groups, queries, total)])
    if s.beside and s.choices.chance(6):  # the same for all queries, of which kernels want to have one for each
        mask = (*mask[:-2], 1, total)
    return {**dict(enumerate([*shapes, mask])), 4: (batch, heads, past, size), 5: (batch, heads, past, size)}


@operands(
    "Attention",
    ranks={**dict.fromkeys(range(3), (3, 4)), 3: (2, 4), 4: (4, 4), 5: (4, 4)},
    dtypes={0: _FLOATS, 2: _FLOATS, 3: _MASKS},
    plan=_attended,
)
def attention(s: Site) -> None:
    shapes = s.planned or _attended(s)
    past = s.wants(4)
    s.insist(5, past)
    if s.schema.max_inputs > 6:
        s.insist(6, False)  # lengths are for caches that are written outside
    s.at_most(3 if past else 1)
    for i in (0, 1, 2, 4, 5):
        s.operand(i, shapes[i])
    if s.wants(3):
        shown = s.random().integers(0, 3, shapes[3]) > 0
        shown[..., 0] = True  # where nothing is seen, runtimes differ
        added = s.random().integers(-4, 5, shapes[3]) / 4
        if s.asks("is_causal") and not s.choices.chance(4):
            before = shapes[4][-2] if past else 0
            if s.choices.integer(0, 3) and s.dtype(3) in _MASKS and shapes[3][-2] == shapes[0][-2]:
                s.take(3, causal_mask(s, shapes[3], before, s.dtype(3)))
            shown, added = np.tri(shapes[3][-2], shapes[3][-1], before) > 0, np.zeros(shapes[3])
        hidden = np.where(shown, added, -np.inf)
        s.operand(3, shapes[3], array=shown if s.dtype(3) == TensorProto.BOOL else hidden)
    elif not past or s.schema.since_version >= 24:  # before, ONNX Runtime puts the first query at the first key of all
        s.integer("is_causal", [0, 1], 0)
    s.parameter("scale", lambda: s.choices.one([0.5, 0.25, 1.0]))
    s.parameter("softcap", lambda: s.choices.one([0.0, 0.0, 2.0]), 0.0)


def _turned(s: Site) -> dict[int, Shape]:
    """What is turned, of 3 or 4 dims as it suits those who read it."""
    batch, heads, length = s.choices.integer(1, 2), s.choices.integer(1, 3), s.choices.integer(1, 4)
    size = s.choices.one([4, 8])
    low, high = s.ranks(0)
    if low > 3 and s.choices.chance(12):
        heads, size = s.choices.one([(0, size), (heads, 0)])
    if low < 4 and (high < 4 or not s.choices.integer(0, 1)):
        s.attributes["num_heads"] = heads
        return {0: (batch, length, heads * size)}
    return {0: (batch, heads, length, size)}


@operands("RotaryEmbedding", ranks={0: (3, 4), 1: (2, 3), 2: (2, 3), 3: (2, 2)}, carries=(0,), plan=_turned)
def rotary_embedding(s: Site) -> None:
    s.operand(0, (s.planned or _turned(s))[0])
    x = s.shape(0) or ()
    if len(x) not in (3, 4):
        raise Invalid(f"heads in {x}")
    batch, length, size = x[0], x[-2], x[-1] // (s.attributes["num_heads"] if len(x) == 3 else 1)
    if size % 2:
        raise Invalid("heads of an odd size")
    turned = s.parameter("rotary_embedding_dim", lambda: size // 2, 0) or size
    positions = length + 2
    shape = (positions, turned // 2) if s.wants(3) else (batch, length, turned // 2)
    s.operand(1, shape, "fraction")
    s.operand(2, shape, "fraction")
    s.operand(3, (batch, length), array=s.random().integers(0, positions, (batch, length)))
    s.integer("interleaved", [0, 1], 0)


@operands("SwiGLU", carries=(0, 1))
def swiglu(s: Site) -> None:
    shape = s.shape(0) or s.shape(1) or s.new_shape(0)
    s.operand(0, shape)
    s.operand(1, shape)
    s.number("alpha", 0.25, 2.0, 1.0)


@operands("LinearAttention", ranks=dict.fromkeys(range(6), (3, 4)))
def linear_attention(s: Site) -> None:
    batch, heads, length, groups = (s.choices.integer(1, 2) for _ in range(4))
    size, wide = s.choices.one([2, 4]), s.choices.one([2, 3])
    rule = s.text("update_rule", ["gated_delta", "linear", "gated", "delta"], "gated_delta")
    s.insist(4, "gated" in rule)
    s.insist(5, "delta" in rule)
    s.operand(0, (batch, length, heads * groups * size), "fraction")
    s.operand(1, (batch, length, heads * size), "fraction")
    s.operand(2, (batch, length, heads * wide), "fraction")
    s.operand(3, (batch, heads, size, wide), "fraction")
    decay = -s.random().integers(1, 5, (batch, length, heads * s.choices.one([1, size]))) / 4  # logarithms
    s.operand(4, decay.shape, array=decay)
    s.operand(5, (batch, length, s.choices.one([1, heads])), "fraction")
    s.attributes["q_num_heads"], s.attributes["kv_num_heads"] = heads * groups, heads
    s.parameter("scale", lambda: s.choices.one([0.5, 1.0]), 0.0)


@operands("CausalConvWithState", ranks={0: (3, 3), 1: (3, 3), 2: (1, 1), 3: (3, 3)})
def causal_conv(s: Site) -> None:
    batch, channels, length, k = (s.choices.integer(1, n) for n in (2, 3, 4, 3))
    s.operand(0, (batch, channels, length))
    s.operand(1, (channels, 1, k))
    s.operand(2, (channels,))
    s.operand(3, (batch, channels, k - 1))
    s.text("activation", ["none", "silu", "swish"], "none")
