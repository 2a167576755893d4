"""Computes what depends on constants alone through nodes that are larger than what they lead to.

Weights that are cut up and put together in another order grow at every cut and are as large as before in the end. Folding
node by node gives up at the first; here a whole region of nodes is weighed by what goes in and what comes out.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable

import numpy as np

from graphopt.ir import Node, Tensor, Value
from graphopt.passes.constant_folding import ConstantFolding, computed, put_constants, static_bytes
from graphopt.rewrite import Rewriter

#: Nodes in a region, and bytes of all values in it.
_MOST_NODES = 256
_MOST_BYTES = 1 << 28


def fold_regions(folding: ConstantFolding, rewriter: Rewriter) -> int:
    """Fold regions around the nodes that folding has postponed, as far as its allowance goes; how many."""
    starts = [n for n in folding.postponed if n.graph is not None]
    folding.postponed.clear()
    return sum(_fold(region, folding, rewriter) for region in _regions(starts, folding, rewriter))


def _regions(starts: Iterable[Node], folding: ConstantFolding, rewriter: Rewriter) -> list[list[Node]]:
    """Nodes below these that depend on constants alone, in order; those that share a value or a constant together."""
    inside: dict[Node, None] = {}
    waiting = [(n.position, k, n) for k, n in enumerate(starts)]
    heapq.heapify(waiting)
    count = len(waiting)
    while waiting:
        n = heapq.heappop(waiting)[2]
        if n in inside or not folding.belongs_to_region(n, rewriter.model):
            continue
        if any(v is not None and v.const is None and v.node not in inside for v in n.inputs):
            continue
        inside[n] = None
        for u in n.users():
            if u.graph is n.graph:
                count += 1
                heapq.heappush(waiting, (u.position, count, u))
    found: list[list[Node]] = []
    left = set(inside)
    for n in inside:
        if n not in left:
            continue
        left.discard(n)
        region, stack = [], [n]
        while stack:
            m = stack.pop()
            region.append(m)
            for v in (*m.inputs, *m.outputs):
                if v is None:
                    continue
                for near in (v.node, *v.uses):
                    if near in left and near is not None and near.graph is m.graph:
                        left.discard(near)
                        stack.append(near)
        if len(region) <= _MOST_NODES:
            found.append(sorted(region, key=lambda m: m.position))
    return found


def _fold(region: list[Node], folding: ConstantFolding, rewriter: Rewriter) -> bool:
    started = time.perf_counter()
    nodes = set(region)
    read = {v: v.const for n in region for v in n.inputs if v is not None and v.const is not None}
    freed = sum(t.nbytes for v, t in read.items() if not v.exits and nodes.issuperset(v.uses))
    if sum(t.nbytes for t in read.values()) + sum(static_bytes(v) for n in region for v in n.outputs) > _MOST_BYTES:
        return False
    given = {n: [v for v in n.outputs if v is not None and _leaves(v, nodes)] for n in region}
    if folding.grows(sum(static_bytes(v) for values in given.values() for v in values) - freed):
        return False
    arrays: dict[Value, np.ndarray] = {v: t.numpy() for v, t in read.items()}
    for n in region:
        results = computed(rewriter.model, n, [None if v is None else arrays[v] for v in n.inputs])
        if isinstance(results, str):
            return False
        arrays.update(zip((v for v in n.outputs if v is not None), results, strict=True))
    growth = sum(Tensor(array=arrays[v]).nbytes for values in given.values() for v in values) - freed
    if folding.grows(growth):
        return False
    folding.grown += growth
    for n in reversed(region):
        if given[n]:
            put_constants(n, {v: arrays[v] for v in given[n]}, rewriter, started)
    return True


def _leaves(v: Value, nodes: set[Node]) -> bool:
    """Whether somebody outside of a region reads a value."""
    return v.exits > 0 or not nodes.issuperset(v.uses)
