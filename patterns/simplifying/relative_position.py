"""Biases by relative position, as T5 has them: a row of a table for each distance, which many elementwise operators turn
into the number of a bucket first. The table by distance needs none of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from graphopt.exec.evaluate import CannotEvaluate, evaluate
from graphopt.ir import Node, Value
from graphopt.patterns._positions import counting
from graphopt.patterns._shapes import leaf
from graphopt.patterns._triangular import triangular
from graphopt.rewrite import Const, op, rule
from graphopt.shapes import same_shape

#: Distances up to which buckets are looked at one by one, and a bound of all distances: sizes of tensors are smaller.
_NEAR, _FAR = 1024, 1 << 31
#: Elements of a table that may be made.
_LARGEST = 1 << 17
#: Operators that grow, or fall, with each operand: an interval goes through them by its ends.
_MONOTONE = frozenset(
    "Add Cast Ceil Div Equal Floor Greater GreaterOrEqual Identity Less LessOrEqual Log Max Min Mul Neg Not Sqrt Sub".split()
)
_ELEMENTWISE = _MONOTONE | {"Abs", "Where"}
#: Dtypes that hold all integers in question.
_WIDE = (TensorProto.INT64, TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.BOOL)
_EXACT = 1 << 52
_MOST_NODES = 32
_FEWEST = 3


@rule(always=True, since=13)
def gather_by_distance(table: Const, indices):
    """What depends on the distance of two positions alone is looked up by it."""
    y = op.Gather(table, indices, axis=0)
    yield y
    chain = _chain_of(indices.value)
    if chain is None:
        return "not computed from the distances of positions"
    found = _buckets(chain, table.shape[0])
    if isinstance(found, str):
        return found
    low, buckets = found
    if len(buckets) * (table.size // table.shape[0]) > max(_LARGEST, table.size):
        return "the table would be too large"
    rows = np.roll(np.asarray(table)[buckets], low, axis=0)  # those of negative distances are at the end
    distances = op.Clip(leaf(chain.start), np.array(low), np.array(low + len(buckets) - 1))
    yield op.Gather(rows, distances)


@dataclass(frozen=True, slots=True)
class _Chain:
    """The nodes, in order, that compute indices from distances."""

    nodes: list[Node]
    start: Value
    end: Value


def _chain_of(end: Value) -> _Chain | None:
    """How indices are computed from the distances of positions; None where something else is read, or elsewhere too."""
    found: dict[Node, None] = {}
    starts: dict[Value, None] = {}
    waiting = [end]
    while waiting:
        v = waiting.pop()
        node = v.node
        if _filled_with(v) is not None:
            continue
        if node is None or node.domain or node.op not in _ELEMENTWISE or v.shape is None or len(found) > _MOST_NODES:
            return None
        if _is_distance(v, node):
            starts[v] = None
        elif node not in found:
            found[node] = None
            waiting += [i for i in node.inputs if i is not None]
    nodes = sorted(found, key=lambda n: n.position)
    if (
        len(starts) != 1
        or not same_shape(next(iter(starts)).shape, end.shape)
        or len(nodes) < _FEWEST
        or end.exits
        or any(n.graph is not nodes[-1].graph for n in nodes)
    ):
        return None
    inner = {n.output for n in nodes[:-1]}
    if nodes[-1].output is not end or any(v.exits or not set(found).issuperset(v.uses) for v in inner):
        return None
    return _Chain(nodes, next(iter(starts)), end)


def _is_distance(v: Value, node: Node) -> bool:
    """Whether a tensor holds differences of positions along two axes."""
    if node.op != "Sub" or v.dtype != TensorProto.INT64:
        return False
    a, b = node.inputs
    found = [(counting(x), x) for x in (a, b) if x is not None and x.const is None]
    axes = {p.axis - (x.rank or 0) for p, x in found if p is not None}
    return len(found) == 2 and len(axes) == 2


def _buckets(chain: _Chain, count: int) -> tuple[int, np.ndarray] | str:
    """The lowest distance of its own, and from there on the row of each distance, up to the highest of its own."""
    distances = np.arange(-_NEAR, _NEAR + 1)
    near = _computed(chain, distances)
    if near is None or near.dtype != np.int64 or near.shape != distances.shape:
        return "the buckets cannot be computed"
    ends = [_far(chain, *bounds) for bounds in ((-_FAR, -_NEAR), (_NEAR, _FAR))]
    if None in ends or ends != [near[0], near[-1]]:
        return "not one bucket for all that is far"
    if not ((near >= -count) & (near < count)).all():
        return "some of the buckets are not there"
    changes = np.flatnonzero(np.diff(near))
    if not changes.size:
        return "one bucket for all"
    low, high = min(int(distances[changes[0]]), 0), max(int(distances[changes[-1] + 1]), 0)
    return low, near[low + _NEAR : high + _NEAR + 1]


def _computed(chain: _Chain, distances: np.ndarray) -> np.ndarray | None:
    """The buckets of some distances; None where nobody knows."""
    arrays: dict[Value, np.ndarray] = {chain.start: distances}
    try:
        for n in chain.nodes:
            (arrays[n.output],) = evaluate(chain.end.graph.model, n, [_array(v, arrays) for v in n.inputs])
    except CannotEvaluate:
        return None
    return arrays[chain.end]


def _array(v: Value | None, arrays: dict[Value, np.ndarray]) -> np.ndarray | None:
    return None if v is None else arrays[v] if v in arrays else _filled_with(v)


def _filled_with(v: Value) -> np.ndarray | None:
    """The number that a tensor holds everywhere; None where there are several, or that is not known."""
    if v.const is None and (v.node is None or v.node.op not in ("ConstantOfShape", "Expand")):
        return None
    found = triangular(v)
    return np.asarray(found.numbers[0]) if found is not None and found.diagonal is None else None


def _far(chain: _Chain, low: int, high: int) -> int | None:
    """The bucket of all distances from one to another, which are of one sign; None where there may be several.

    Each value is known by its least and its greatest; operators that grow or fall with an operand take both to theirs.
    """
    bounds: dict[Value, np.ndarray] = {chain.start: np.array([low, high])}
    model = chain.end.graph.model
    for n in chain.nodes:
        inputs = [None if (a := _array(v, bounds)) is None else np.broadcast_to(a, (2,)) for v in n.inputs]
        given = [a for a in inputs if a is not None]
        if n.op == "Where" and given[0] is not None:
            if given[0][0] != given[0][1]:
                return None
            bounds[n.output] = given[1] if given[0][0] else given[2]
            continue
        if not _goes_by_its_ends(n, given):
            return None
        try:
            (ends,) = evaluate(model, n, inputs)
        except CannotEvaluate:
            return None
        if not (np.abs(ends.astype(np.float64)) <= _EXACT).all():
            return None
        bounds[n.output] = np.sort(ends)
    least, most = bounds[chain.end].tolist()
    return int(least) if least == most else None


def _goes_by_its_ends(n: Node, given: list[np.ndarray]) -> bool:
    """Whether an operator grows or falls all along these intervals, and no integer wraps around."""
    varying = [a for a in given if a[0] != a[1]]
    if not varying:
        return True
    if n.op in ("Abs", "Cast") and given[0][0] <= 0 <= given[0][1] and given[0].dtype != bool:
        return False
    if n.op == "Cast" and n.output.dtype not in _WIDE:
        return False
    if n.op == "Mul" and math.prod(int(np.abs(a).max()) for a in given if a.dtype.kind == "i") > _EXACT:
        return False
    if n.op == "Equal" or (n.op == "Div" and given[1][0] != given[1][1]):
        return False
    return len(varying) == 1 or n.op in ("Add", "Max", "Min")
