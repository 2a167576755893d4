"""Merges nodes that compute the same."""

from __future__ import annotations

import time
from collections.abc import Hashable
from typing import Any

from graphopt.ir import Graph, Model, Node, Reference, Tensor, Value
from graphopt.passes.purity import is_deterministic
from graphopt.rewrite import Ledger, Rewriter, Step
from graphopt.rewrite.rewriter import record

#: Bytes of a constant that is compared by what it holds.
_SMALL = 64
_STRING = 8
#: Not merged: runtimes fuse a DequantizeLinear into the operator that reads it, which they do not where others do too.
_APART = frozenset({"Constant", "DequantizeLinear"})
#: Operators of two operands that give the same bits in either order; Max and Min pick one of 0.0 and -0.0 by it.
_COMMUTATIVE = frozenset("Add And BitwiseAnd BitwiseOr BitwiseXor Equal Mul Or Xor".split())


def merge_common_subexpressions(model: Model, ledger: Ledger, rewriter: Rewriter | None = None) -> int:
    """Merge nodes with the same operator, attributes and inputs; how many went away.

    One walk in order sees chains of duplicates too, since users read the first of them by the time they are met.
    Two outputs of a graph are never merged, and random or unknown operators are left alone.

    `rewriter`: is told, so that rules are tried again there.
    """
    model.resolve_shadowing()
    return sum(_merge(model, g, ledger, rewriter) for g in list(model.graphs()))


def _merge(model: Model, graph: Graph, ledger: Ledger, rewriter: Rewriter | None) -> int:
    seen: dict[Hashable, Node | dict[Hashable, Node]] = {}  # by operator and operands, then by attributes
    merged = 0
    deterministic: dict[str, bool] = {}
    for node in graph:
        known = deterministic.get(node.op)
        if node.subgraphs or known is False:
            continue
        if known is None:
            known = deterministic[node.op] = node.op not in _APART and is_deterministic(model, node)
            if not known:
                continue
        read = map(operand_key, node.inputs)
        operands: Hashable = frozenset(read) if node.op in _COMMUTATIVE and len(node.inputs) == 2 else tuple(read)
        key: Hashable = (node.op, len(node.outputs), operands)
        alike = seen.setdefault(key, node)
        if alike is node:
            continue  # nobody else reads the same, so nobody asks for the attributes
        if isinstance(alike, Node):
            seen[key] = alike = {attributes_key(alike): alike}
        attributes = attributes_key(node)
        first = None if attributes is None else alike.setdefault(attributes, node)
        if first is not None and first is not node and _take_over(first, node, ledger, rewriter):
            merged += 1
    return merged


def operand_key(v: Value | None) -> Hashable:
    """What a node reads: a small constant by what it holds, since rules make their own; anything else as what it is."""
    if v is None or (t := v.const) is None or t.nbytes > _SMALL or t.dtype == _STRING:
        return id(v)
    return t.dtype, t.dims, t.numpy().tobytes()


def attributes_key(node: Node) -> Hashable:
    """The attributes as a key, None where one of them cannot be compared cheaply."""
    items = []
    for name, value in node.attributes.items():
        k = _hashable(value)
        if k is None:
            return None
        items.append((name, k))
    return tuple(items if len(items) < 2 else sorted(items, key=lambda item: item[0]))


def _hashable(value: Any) -> Hashable:
    if isinstance(value, (int, str, bytes)):
        return value.__class__, value
    if isinstance(value, float):
        return float, repr(value)  # -0.0 is another number than 0.0, and NaN the same as NaN
    if isinstance(value, list):
        parts = [_hashable(v) for v in value]
        return None if None in parts else tuple(parts)
    if isinstance(value, Tensor):
        if value.nbytes > 1024 or value.dtype == _STRING:
            return None
        return (value.dtype, value.dims, value.numpy().tobytes())
    if isinstance(value, Reference):
        return ("reference", value.name)
    return None


def _take_over(first: Node, second: Node, ledger: Ledger, rewriter: Rewriter | None) -> bool:
    pairs = []
    for a, b in zip(first.outputs, second.outputs, strict=True):
        if b is None or not b.used:
            continue
        if a is None or b.exits:
            return False
        pairs.append((a, b))
    started = time.perf_counter()
    assert first.graph is not None
    name = first.graph.name
    for a, b in pairs:
        b.replace_uses(a)
    gone = record(second)
    read = list(second.inputs)
    first.graph.remove(second)
    if rewriter is not None:
        for a, _ in pairs:
            rewriter.note_merged(a, read)
    note = f"the same as {record(first).output}"
    ledger.record(Step("common_subexpressions", "", name, (gone,), (), (time.perf_counter() - started) * 1e6, note))
    return True
