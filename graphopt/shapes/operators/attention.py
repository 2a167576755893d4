"""Attention, and what goes with it in transformers."""

from __future__ import annotations

from typing import NamedTuple

from onnx import TensorProto

from graphopt.ir import Dim, Graph, Shape
from graphopt.shapes.dims import add, exact_div, mul
from graphopt.shapes.registry import infers
from graphopt.shapes.site import Site
from graphopt.shapes.types import TypeInfo


@infers("RotaryEmbedding")
def rotary_embedding(node: Site) -> TypeInfo:
    """The input, turned."""
    return node.like(0)


class _Heads(NamedTuple):
    """[batch, heads, length, size]"""

    batch: Dim = None
    heads: Dim = None
    length: Dim = None
    size: Dim = None


def _heads(node: Site, i: int, attribute: str, ranks: tuple[int, ...] = (3, 4)) -> _Heads:
    """The dims of input i; where its heads are packed, [batch, length, heads·size], the attribute says how many."""
    x = node.shape(i)
    if x is None:
        return _Heads()
    if len(x) not in ranks:
        raise ValueError(f"{node.op_type}: input {i} has {len(x)} dims")
    if len(x) == 4:
        return _Heads(*x)
    heads = int(node.attribute(attribute, 0))
    if heads <= 0 or (isinstance(x[2], int) and x[2] % heads):
        raise ValueError(f"{node.op_type}: {x[2]} is not divisible by '{attribute}', {heads}")
    return _Heads(x[0], heads, x[1], exact_div(x[2], heads))


def _equated(node: Site, *dims: Dim) -> Dim:
    """The best of dims that are equal; None where none is known."""
    best: Dim = None
    for d in dims:
        best = node.equate(best, d)
    return best


# ------------------------------------------------------------------------------------------------------ all with all keys
class _Attended(NamedTuple):
    """What attention gives: result, keys, values (with those of the past in front), and scores."""

    result: Shape
    keys: Shape
    values: Shape
    scores: Shape


def _attend(node: Site, rank: int | None) -> _Attended:
    """[batch, heads, length, size] with [batch, fewer heads, keys, size] and as many values of another size."""
    ranks = (3, 4) if rank is None else (rank,)
    q = _heads(node, 0, "q_num_heads", ranks)
    k, v = (_heads(node, i, "kv_num_heads", ranks) for i in (1, 2))
    past_k = _heads(node, 4, "", (4,))
    past_v = _heads(node, 5, "", (4,))
    batch = _equated(node, q.batch, k.batch, v.batch, past_k.batch, past_v.batch)
    heads = _equated(node, k.heads, v.heads, past_k.heads, past_v.heads)
    size = _equated(node, q.size, k.size, past_k.size)
    v_size = _equated(node, v.size, past_v.size)
    length = _equated(node, k.length, v.length)
    if node.has(4) or node.has(5):
        length = add(_equated(node, past_k.length, past_v.length), length)
    if isinstance(q.heads, int) and isinstance(heads, int) and heads and q.heads % heads:
        raise ValueError(f"{node.op_type}: {q.heads} heads do not share {heads} of keys")
    batch, heads, length = node.or_fresh((batch, heads, length))
    return _Attended(
        node.or_fresh((batch, q.length, mul(q.heads, v_size)) if rank == 3 else (batch, q.heads, q.length, v_size)),
        node.or_fresh((batch, heads, length, size)),
        node.or_fresh((batch, heads, length, v_size)),
        node.or_fresh((batch, q.heads, q.length, length)),
    )


@infers("Attention")
def attention(node: Site) -> list[TypeInfo]:
    """The values as the scores weigh them; keys and values with those of the past; and the scores."""
    rank = next((node.rank(i) for i in range(3) if node.rank(i) is not None), None)
    found = _attend(node, rank)
    q, k, v = (node.dtype(i) for i in range(3))
    return [
        TypeInfo(q or k, None if rank is None else found.result),
        TypeInfo(k or q, found.keys),
        TypeInfo(v, found.values),
        TypeInfo(q or k, found.scores),
    ]


@infers("FlexAttention", domain="ai.onnx.preview")
def flex_attention(node: Site) -> TypeInfo:
    """The same without a past; graphs may change the scores, and once more after they are normalized."""
    found = _attend(node, 4)
    dtype = node.dtype(0) or node.dtype(1)
    usual = TensorProto.DOUBLE if dtype == TensorProto.DOUBLE else TensorProto.FLOAT
    scores = TypeInfo(int(node.attribute("softmax_precision", usual)), found.scores)
    for name in ("score_mod", "prob_mod"):
        graph = node.attribute(name)
        if isinstance(graph, Graph):
            node.body(graph, [scores])
    return TypeInfo(dtype, found.result)


# ----------------------------------------------------------------------------------------------------------- recurrent
@infers("LinearAttention")
def linear_attention(node: Site) -> list[TypeInfo]:
    """The result, packed as the query is, and a state of [batch, heads, size of keys, size of values]."""
    q = _heads(node, 0, "q_num_heads", (3,))
    k, v = (_heads(node, i, "kv_num_heads", (3,)) for i in (1, 2))
    state = _heads(node, 3, "", (4,))
    batch = _equated(node, q.batch, k.batch, v.batch, state.batch)
    length = _equated(node, q.length, k.length, v.length)
    size, v_size = _equated(node, q.size, k.size, state.length), _equated(node, v.size, state.size)
    heads = node.equate(int(node.attribute("kv_num_heads")), state.heads)
    packed = mul(int(node.attribute("q_num_heads")), v_size)
    batch = node.fresh() if batch is None else batch
    return [
        TypeInfo(node.dtype(0), node.or_fresh((batch, length, packed))),
        TypeInfo(node.dtype(3) if node.has(3) else node.dtype(0), node.or_fresh((batch, heads, size, v_size))),
    ]
