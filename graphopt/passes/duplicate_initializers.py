"""Merges constants that are equal in every bit."""

from __future__ import annotations

import time
from collections.abc import Hashable

import numpy as np

from graphopt.ir import Graph, Model, Tensor, Value
from graphopt.rewrite import Ledger, NodeRecord, Step

#: Of larger constants only a few bytes are compared, until two of them look alike.
_SMALL = 256
#: What rules write anew is small: shapes, axes, sizes.
WRITTEN_ANEW = 256


def merge_duplicate_initializers(model: Model, ledger: Ledger, largest: int | None = None) -> int:
    """Let equal constants of a graph, initializers and Constant nodes alike, be one; how many went away.

    Strings and graph outputs are left alone. Weights are read only where two have the same dtype and shape.

    `largest`: only those of at most so many bytes.
    """
    merged = 0
    model.resolve_shadowing()
    for graph in list(model.graphs()):
        started = time.perf_counter()
        gone = _merge(graph, largest)
        merged += len(gone)
        if gone:
            note = f"{len(gone)} constants"
            ledger.record(
                Step(
                    "duplicate_initializers",
                    "",
                    graph.name,
                    tuple(gone),
                    (),
                    (time.perf_counter() - started) * 1e6,
                    note,
                )
            )
    return merged


def _merge(graph: Graph, largest: int | None) -> list[NodeRecord]:
    groups: dict[tuple[int, tuple[int, ...]], list[Value]] = {}
    for v in graph.initializers:
        if v.const is not None and not v.exits and v.const.dtype != 8:
            groups.setdefault((v.const.dtype, v.const.dims), []).append(v)
    for node in graph:
        if node.op == "Constant" and (v := node.output).const is not None and not v.exits and v.const.dtype != 8:
            groups.setdefault((v.const.dtype, v.const.dims), []).append(v)
    gone: list[NodeRecord] = []
    for values in groups.values():
        if len(values) < 2 or (
            largest is not None and values[0].const is not None and values[0].const.nbytes > largest
        ):
            continue
        seen: dict[Hashable, list[Value]] = {}
        for v in values:
            assert v.const is not None
            array = v.const.view()
            known = seen.setdefault(_digest(array), [])
            twin = next(
                (k for k in known if k.const is not None and (array.nbytes <= _SMALL or _same(k.const, array))), None
            )
            if twin is None or not _precedes(twin, v):
                known.append(v)
                continue
            v.replace_uses(twin)
            if v.node is None:
                graph.remove_initializer(v)
                gone.append(NodeRecord("Constant", v.name, v.name))
            else:
                gone.append(NodeRecord("Constant", v.node.name, v.name))
                graph.remove(v.node)
    return gone


def _precedes(first: Value, second: Value) -> bool:
    """Whether everything that reads the second can read the first: initializers are there from the start."""
    return first.node is None or (second.node is not None and first.node.position < second.node.position)


def _digest(array: np.ndarray) -> Hashable:
    flat = array.reshape(-1)
    if array.nbytes <= _SMALL:
        return flat.tobytes()
    step = max(1, flat.size // 16)
    return flat[::step].tobytes()


def _same(tensor: Tensor, array: np.ndarray) -> bool:
    other = tensor.view()
    return bool(np.array_equal(other.reshape(-1).view(np.uint8), array.reshape(-1).view(np.uint8)))
