"""Removes what nothing reads."""

from __future__ import annotations

import time

from graphopt.ir import Graph, Model
from graphopt.passes.purity import is_pure
from graphopt.rewrite import Ledger, NodeRecord, Step
from graphopt.rewrite.rewriter import record


def remove_dead_code(model: Model, ledger: Ledger) -> int:
    """Remove nodes, initializers and functions that nothing reads; how many nodes.

    Inputs and outputs stay, used or not; so do nodes of unknown operators, which may have effects.
    """
    started = time.perf_counter()
    gone: list[NodeRecord] = []
    for graph in reversed(list(model.graphs())):  # from the inside out: a branch may hold the last reader
        _clean(model, graph, gone)
    called = _called(model)
    functions = [key for key in model.functions if key not in called]
    if functions:
        for key in functions:
            del model.functions[key]
        model.graph.touch()
    if gone or functions:
        note = f"functions {', '.join(name for _, name, _ in functions)}" if functions else ""
        ledger.record(
            Step("dead_code", "", model.graph.name, tuple(gone), (), (time.perf_counter() - started) * 1e6, note)
        )
    return len(gone)


def _called(model: Model) -> set[tuple[str, str, str]]:
    """The functions that the main graph calls, directly or through others."""
    called: set[tuple[str, str, str]] = set()
    graphs = [model.graph] if model.functions else []
    while graphs:
        keys = {(n.domain, n.op_type, n.overload) for n in graphs.pop().walk()}
        new = [key for key in model.functions if key in keys and key not in called]
        called.update(new)
        graphs += [model.functions[key].graph for key in new]
    return called


def _clean(model: Model, graph: Graph, gone: list[NodeRecord]) -> None:
    node = graph.last
    while node is not None:
        before = node.prev
        if not any(v is not None and v.used for v in node.outputs) and is_pure(model, node):
            gone.append(record(node))
            gone += [record(inner) for sub in node.subgraphs for inner in sub.walk()]
            graph.remove(node)
        node = before
    remove_unread_initializers(graph)


def remove_unread_initializers(graph: Graph) -> None:
    """Remove the initializers of a graph that nothing reads, but for those that are inputs."""
    inputs = set(graph.inputs)
    for v in [v for v in graph.initializers if not v.used and v not in inputs]:
        graph.remove_initializer(v)
