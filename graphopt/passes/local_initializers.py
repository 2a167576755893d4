"""Moves initializers into the bodies that read them.

What a body of If, Loop or Scan reads from around it is handed in each time that it runs: 1 to 5 % of a small loop under ONNX
Runtime, for two weights.
"""

from __future__ import annotations

import time

from graphopt._words import listed
from graphopt.ir import Graph, Model, Value
from graphopt.rewrite import Ledger, Step


def move_initializers_inwards(model: Model, ledger: Ledger) -> int:
    """Let a constant that one body alone reads, or what lies in it, be an initializer of that body; how many moved.

    Initializers that callers may override stay, as all do before IR version 4, and what has to be found by name. A body that
    hides a value by one of the same name reads no such value, so nothing moves beside its namesake.
    """
    moved = 0
    for graph in list(model.graphs()):
        started = time.perf_counter()
        chosen = [(v, home) for v in graph.initializers if (home := _home(graph, v)) is not graph]
        for v, home in chosen:
            home.initializers[v] = graph.initializers.pop(v)
            v.graph = home
            home.touch()
        if chosen:
            moved += len(chosen)
            note = f"inwards: {listed([v.name for v, _ in chosen], 5)}"
            ledger.record(
                Step("local_initializers", "", graph.name, (), (), (time.perf_counter() - started) * 1e6, note)
            )
    return moved


def _home(graph: Graph, v: Value) -> Graph:
    """The innermost graph that all that reads an initializer lies in."""
    if v.const is None or v.exits or v.name in graph.pinned:
        return graph
    inwards: list[Graph] | None = None
    for reader in v.uses:
        way = _way(graph, reader.graph)
        inwards = way if inwards is None else [a for a, b in zip(inwards, way, strict=False) if a is b]
        if not inwards:
            break
    return inwards[-1] if inwards else graph


def _way(outer: Graph, inner: Graph | None) -> list[Graph]:
    """The graphs on the way from one to another that lies in it, the first left out."""
    way: list[Graph] = []
    while inner is not outer:
        assert inner is not None
        way.append(inner)
        inner = inner.parent
    return way[::-1]
