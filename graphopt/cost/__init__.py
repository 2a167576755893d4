"""What nodes and models cost on a machine, from the dims alone: to choose between forms, and to say where the time goes.

A node takes a little whatever it does, and then as long as its arithmetic or its bytes need, whichever is more. What a
runtime fuses on its own is not known here, so a sum over a model says too much; ratios between forms are what it is for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graphopt.cost.machine import KINDS, ONNXRUNTIME_CPU, Machine
from graphopt.cost.sizes import BATCH, LENGTH, PIXELS, Numbers, elements_of, usual_sizes
from graphopt.cost.work import Operands, Work, work_of
from graphopt.ir import Graph, Model, Node
from graphopt.ir.tensor import byte_size

__all__ = [
    "BATCH", "KINDS", "LENGTH", "ONNXRUNTIME_CPU", "PIXELS", "Cost", "Machine", "ModelCost", "Numbers", "OperatorCost",
    "Work", "cost_of", "cost_of_model", "cost_of_nodes", "elements_of", "usual_sizes", "weigher",
]  # fmt: skip

#: How often the body of a loop counts that nobody knows the number of turns of.
_TURNS = 8
#: These read no more of their first input than they write.
_PARTIAL = frozenset({"Gather", "GatherND", "GatherElements", "Slice", "Shape", "Size"})


@dataclass(frozen=True, slots=True)
class Cost:
    """What one node takes.

    Attributes:
        work: its kind and amount.
        moved: bytes read and written.
        seconds: on the machine that was asked for.
    """

    work: Work
    moved: float
    seconds: float


@dataclass(frozen=True, slots=True)
class OperatorCost:
    """All nodes of one operator."""

    operator: str
    nodes: int
    flops: float
    moved: float
    seconds: float
    share: float


@dataclass(frozen=True, slots=True)
class ModelCost:
    """A model.

    Attributes:
        seconds: of a run.
        sizes: what symbolic dims of the interface counted as.
        operators: the most expensive first.
    """

    seconds: float
    sizes: Mapping[str, int]
    operators: tuple[OperatorCost, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        rows = [
            {"operator": o.operator, "nodes": o.nodes, "flops": o.flops, "bytes": o.moved, "seconds": o.seconds, "share": o.share}
            for o in self.operators
        ]  # fmt: skip
        return {"seconds": self.seconds, "sizes": dict(self.sizes), "operators": rows}


_FREE = Cost(Work("view", 0.0), 0.0, 0.0)


def cost_of(node: Node, machine: Machine = ONNXRUNTIME_CPU, numbers: Numbers | None = None) -> Cost:
    """What a node takes, subgraphs apart; its values must have been inferred. Constants cost nothing."""
    if node.op == "Constant":
        return _FREE
    numbers = numbers or Numbers()
    inputs = [numbers.of(v) for v in node.inputs]
    outputs = [numbers.of(v) for v in node.outputs if v is not None]
    work = work_of(Operands(node, inputs, outputs))
    moved = 0.0
    if work.kind != "view":
        moved = sum(
            byte_size(v.dtype, d) for v, d in zip((v for v in node.outputs if v is not None), outputs) if v.dtype
        )
        for i, (v, dims) in enumerate(zip(node.inputs, inputs, strict=True)):
            if v is not None and v.dtype and not (i == 0 and node.op_type in _PARTIAL):
                moved += byte_size(v.dtype, dims)
    return Cost(work, moved, machine.seconds(work.kind, work.amount, moved))


def cost_of_nodes(nodes: Iterable[Node], machine: Machine = ONNXRUNTIME_CPU, numbers: Numbers | None = None) -> float:
    """Seconds of some nodes together."""
    numbers = numbers or Numbers()
    return sum(cost_of(n, machine, numbers).seconds for n in nodes)


def weigher(model: Model, machine: Machine) -> Callable[[Node], float]:
    """What nodes of a model cost, for choosing between forms: sizes are remembered from one to the next."""
    numbers = Numbers(usual_sizes(model))
    return lambda node: cost_of(node, machine, numbers).seconds


def cost_of_model(
    model: Model, machine: Machine = ONNXRUNTIME_CPU, sizes: Mapping[str, int] | None = None
) -> ModelCost:
    """What a run of a model takes, by operator.

    Args:
        sizes: of symbolic dims of the inputs, by name; what it leaves out counts as `usual_sizes` has it. Of an If the
            more expensive branch counts, of a loop the body several times.
    """
    from graphopt.shapes import inferred

    rows: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0, 0.0])
    with inferred(model):
        known = usual_sizes(model) | dict(sizes or {})
        _add(model, model.graph, 1, machine, Numbers(known), rows)
    total = sum(row[3] for row in rows.values())
    table = sorted(rows.items(), key=lambda item: -item[1][3])
    return ModelCost(
        total,
        known,
        tuple(OperatorCost(op, int(n), f, b, s, s / total if total else 0.0) for op, (n, f, b, s) in table),
    )


def _add(
    model: Model, graph: Graph, times: int, machine: Machine, numbers: Numbers, rows: dict[str, list[float]]
) -> None:
    """Add the nodes of a graph, and of what they hold or call, to the rows by operator."""
    for node in graph:
        if node.op == "Constant":
            continue
        c = cost_of(node, machine, numbers)
        row = rows[node.op]
        row[0] += 1
        row[1] += times * c.work.flops
        row[2] += times * c.moved
        row[3] += times * c.seconds
        function = model.functions.get((node.domain, node.op_type, node.overload))
        inner = [function.graph] if function is not None else node.subgraphs
        if node.op == "If" and len(inner) == 2:
            inner = [max(inner, key=lambda g: cost_of_nodes(g, machine, numbers))]
        turns = _TURNS if node.op in ("Loop", "Scan") else 1
        for g in inner:
            _add(model, g, times * turns, machine, numbers, rows)
