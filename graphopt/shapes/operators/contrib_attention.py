"""Attention of ONNX Runtime (domain com.microsoft): fused projections, heads, and caches of keys and values."""

from __future__ import annotations

from onnx import TensorProto

from graphopt.ir import Dim, Shape
from graphopt.shapes.dims import add, exact_div, mul
from graphopt.shapes.operators.contrib import DOMAIN
from graphopt.shapes.registry import infers
from graphopt.shapes.site import Site
from graphopt.shapes.types import TypeInfo


@infers("RotaryEmbedding", domain=DOMAIN, since=0)
def rotary_embedding(node: Site) -> TypeInfo:
    """The type of the input."""
    return TypeInfo(node.dtype(0), node.shape(0))


@infers("Attention", domain=DOMAIN, since=0)
def attention(node: Site) -> list[TypeInfo]:
    """[batch, sequence, input] -> [batch, sequence, values], and keys and values with those of the past."""
    return _self_attention(node, node.dtype(0), past=4)


@infers("QAttention", domain=DOMAIN, since=0)
def quantized_attention(node: Site) -> list[TypeInfo]:
    """The same on quantized input, in floats."""
    return _self_attention(node, node.dtype(3) or node.dtype(2), past=8)


def _self_attention(node: Site, dtype: int, past: int) -> list[TypeInfo]:
    x, weight, bias = node.shape(0), node.shape(1), node.shape(2)
    if x is not None and len(x) != 3:
        raise ValueError(f"{node.op_type} takes 3 dims, not {len(x)}")
    batch, length, _ = x if x is not None else (None,) * 3
    heads = int(node.attribute("num_heads"))
    if sizes := node.attribute("qkv_hidden_sizes"):
        hidden, values = int(sizes[0]), int(sizes[2])
    else:
        all_three = weight[-1] if weight else bias[-1] if bias else None
        hidden = values = exact_div(all_three, 3)
    before = node.shape(past)
    present: Shape | None = None
    if before is not None and len(before) == 5:
        shared = node.attribute("past_present_share_buffer", 0)
        present = (2, batch, heads, before[3] if shared else add(before[3], length), before[4])
    elif not node.has(past):
        present = (2, batch, heads, length, exact_div(hidden, heads))
    return [
        TypeInfo(dtype, node.or_fresh((batch, length, values))),
        TypeInfo(dtype, None if present is None else node.or_fresh(present)),
    ]


@infers("MultiHeadAttention", domain=DOMAIN, since=0)
def multi_head_attention(node: Site) -> list[TypeInfo]:
    """[batch, queries, hidden] -> [batch, queries, values]; keys and values may lie packed, or by heads."""
    query, key, value = node.shape(0), node.shape(1), node.shape(2)
    if query is None:
        return [TypeInfo(node.dtype(0), node.unknown_dims(3))]
    heads = int(node.attribute("num_heads"))
    batch, length = query[:2]
    many: Dim = None  # keys
    values: Dim = None
    if len(query) == 5:  # [batch, sequence, heads, 3, size]
        many, values = length, mul(query[2], query[4])
    elif node.has(1) and not node.has(2):  # [batch, keys, heads, 2, size]
        values = query[2]
        many = key[1] if key is not None and len(key) == 5 else None
    elif key is not None and len(key) in (3, 4):
        many = key[1] if len(key) == 3 else key[2]
    if value is not None and len(value) in (3, 4):
        values = value[2] if len(value) == 3 else mul(value[1], value[3])
    past, buffered = node.shape(6), node.has(8)
    total = many
    if node.has(6):
        total = None if buffered or past is None or len(past) != 4 else add(past[2], many)
    size = exact_div(query[2], heads) if len(query) == 3 else query[-1]
    keys = node.or_fresh((batch, heads, total, size))
    stored = (*keys[:3], *node.or_fresh((exact_div(values, heads),)))
    return [
        TypeInfo(node.dtype(0), node.or_fresh((batch, length, values))),
        TypeInfo(node.dtype(0), keys),
        TypeInfo(node.dtype(0), stored),
    ]


@infers("GroupQueryAttention", domain=DOMAIN, since=0)
def group_query_attention(node: Site) -> list[TypeInfo]:
    """[batch, sequence, hidden] -> the same; how long the cache is depends on a number that is computed."""
    query = node.shape(0)
    if query is None or len(query) != 3:
        return [TypeInfo(node.dtype(0), node.unknown_dims(3))]
    heads, groups = int(node.attribute("num_heads")), int(node.attribute("kv_num_heads"))
    hidden = query[2]
    if not node.has(1):  # queries, keys and values side by side
        hidden = mul(exact_div(hidden, heads + 2 * groups), heads)
    length = node.fresh()
    caches = []
    for i in (3, 4):
        past = node.shape(i)
        size = past[3] if past is not None and len(past) == 4 else None
        plain = node.attribute("k_quant_type" if i == 3 else "v_quant_type", "NONE") == "NONE"
        if not node.has(i) and plain:
            size = exact_div(hidden, heads)
        dtype = node.dtype(i) if node.has(i) else node.dtype(0) if plain else TensorProto.UNDEFINED
        caches.append(TypeInfo(dtype, node.or_fresh((query[0], groups, length, size))))
    return [TypeInfo(node.dtype(0), node.or_fresh((query[0], query[1], hidden))), *caches]
