"""How a part of a result is computed without the rest: which parts of what leads to it are needed, operator by operator.

A region is grown from the result upwards, over nodes that nothing outside it reads. Constants in it are cut; where it ends at a
value that is computed, a part of that is taken. It ends where most products are made smaller and fewest parts are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import numpy as np

from graphopt.ir import Node, Value
from graphopt.ir.attributes import Reference
from graphopt.patterns._shapes import leaf
from graphopt.patterns._windows import SMALL_WEIGHTS
from graphopt.rewrite import op
from graphopt.rewrite.terms import Call, Term
from graphopt.shapes import same_dims

#: Nodes of a region.
_LARGEST = 64
#: What is worth it: products, of which fewer rows or columns are computed.
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_UNARY = (
    "Abs Cast Ceil Clip Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity LeakyRelu Log Mish Neg Reciprocal Relu Round Selu "
    "Sigmoid Softplus Softsign Sqrt Swish Tanh"
).split()
_BINARY = "Add Div Max Min Mul PRelu Pow Sub Sum".split()
_POOLS = "AveragePool GlobalAveragePool GlobalMaxPool LpPool MaxPool".split()


@dataclass(frozen=True, slots=True)
class Part:
    """Some places along one axis of a tensor.

    Attributes:
        axis: counted from the front.
        places: their indices, in the order in which they are wanted.
        single: there is but one, and the axis goes.
    """

    axis: int
    places: tuple[int, ...]
    single: bool = False

    def along(self, axis: int) -> Part:
        return Part(axis, self.places, self.single)

    def of(self, array: np.ndarray) -> np.ndarray:
        return np.take(array, self.places[0] if self.single else self.places, self.axis)

    def taken(self, v: Value) -> Term:
        """The part of a tensor that is computed anyway."""
        first, step = self.places[0], (self.places[1] - self.places[0] if len(self.places) > 1 else 1)
        if self.single:
            return op.Gather(leaf(v), np.array(first), axis=self.axis)
        last = self.places[-1] + 1
        if first < 0 or step < 1 or self.places != tuple(range(first, last, step)):
            return op.Gather(leaf(v), np.array(self.places), axis=self.axis)
        return op.Slice(leaf(v), starts=[first], ends=[last], axes=[self.axis], steps=None if step == 1 else [step])


@dataclass(frozen=True, slots=True)
class Step:
    """What a part of a node's result needs of its inputs: parts of these, all of the others; and other attributes."""

    needs: Mapping[int, Part]
    attributes: Mapping[str, Any]


def part_of(y: Value, part: Part, readers: Collection[Node], most: int) -> Term | None:
    """Some places of a value that only these nodes read, computed without the others; None where no product would be smaller,
    as where these are all of them, or none.

    Args:
        most: how many parts of computed values may be taken where the region ends.
    """
    size = y.shape[part.axis] if y.shape is not None else None
    if not part.places or (isinstance(size, int) and len(part.places) >= size):
        return None
    needed, whole = {y: part}, set[Value]()
    inside: dict[Node, Step] = {}
    heap = [(-y.node.position, 0, y)] if y.node is not None else []
    best, best_gain, products = 0, (0, 0), 0
    while heap and len(inside) < _LARGEST:
        v = heappop(heap)[2]
        node = v.node
        if node is None or v in whole or not _only_read_by(v, inside, readers):
            continue
        step = _step(node, v, needed[v])
        if step is None or any(_other(node.inputs[i], p, needed) for i, p in step.needs.items()):
            continue
        inside[node] = step
        products += node.op in _PRODUCTS
        for i, u in enumerate(node.inputs):
            if u is None or u.const is not None:
                continue
            if i not in step.needs:
                whole.add(u)
            elif u not in needed:
                needed[u] = step.needs[i]
                if u.node is not None and u.graph is y.graph:
                    heappush(heap, (-u.node.position, len(needed), u))
        taken = len(needed) - len(inside)
        if products and taken <= most and (products, -taken) > best_gain:
            best, best_gain = len(inside), (products, -taken)
    return _Region(dict(list(inside.items())[:best])).term(y, part) if best else None


def _only_read_by(v: Value, inside: Mapping[Node, Step], readers: Collection[Node]) -> bool:
    return not v.exits and all(n in inside or n in readers for n in v.uses)


def _other(v: Value | None, part: Part, needed: Mapping[Value, Part]) -> bool:
    """Whether a value that is computed is needed in another part too; or is a large constant that stays."""
    if v is None:
        return False
    if v.const is not None:
        return v.const.size > SMALL_WEIGHTS and len(v.uses) + v.exits > 1
    return needed.get(v, part) != part


class _Region:
    """Nodes that are written anew, each once."""

    def __init__(self, inside: Mapping[Node, Step]) -> None:
        self.inside = inside
        self.terms: dict[Value, Term] = {}

    def term(self, v: Value, part: Part) -> Term:
        if v not in self.terms:
            step = self.inside.get(v.node) if v.node is not None else None
            self.terms[v] = part.taken(v) if step is None or v.node is None else self._call(v.node, step)
        return self.terms[v]

    def _call(self, node: Node, step: Step) -> Term:
        args: list[Any] = []
        for i, v in enumerate(node.inputs):
            part = step.needs.get(i)
            if v is None or part is None:
                args.append(None if v is None else leaf(v))
            elif v.const is not None:
                args.append(part.of(v.const.view()))
            else:
                args.append(self.term(v, part))
        return Call(node.op_type, tuple(args), {**node.attributes, **step.attributes}, node.domain)


# ------------------------------------------------------------------------------------------------------- operators
def _step(node: Node, v: Value, part: Part) -> Step | None:
    """What a part of a node's result needs; None where that cannot be told, or is everything."""
    through = _THROUGH.get(node.op)
    others = any(o is not None and (o.used or o.exits) for o in node.outputs[1:])
    if through is None or others or v.shape is None or any(isinstance(a, Reference) for a in node.attributes.values()):
        return None
    return through(node, v, part)


def _constant(v: Value | None, rank: int | None = None) -> bool:
    return v is not None and v.const is not None and rank in (None, len(v.const.dims))


def _unary(node: Node, v: Value, part: Part) -> Step | None:
    return Step({0: part}, {})


def _binary(node: Node, v: Value, part: Part) -> Step | None:
    assert v.shape is not None
    needs: dict[int, Part] = {}
    for i, u in enumerate(node.inputs):
        if u is None or u.shape is None:
            return None
        axis = part.axis - len(v.shape) + len(u.shape)
        if axis < 0:
            continue
        if same_dims(u.shape[axis], v.shape[part.axis]):
            needs[i] = part.along(axis)
        elif u.shape[axis] != 1:
            return None
        elif part.single:  # its dim of 1 must go too
            if u.const is None:
                return None
            needs[i] = Part(axis, (0,), True)
    return Step(needs, {})


def _pool(node: Node, v: Value, part: Part) -> Step | None:
    return Step({0: part}, {}) if part.axis < 2 and not part.single else None


def _batch_norm(node: Node, v: Value, part: Part) -> Step | None:
    if part.axis != 1 or part.single or not all(_constant(u, 1) for u in node.inputs[1:]):
        return None
    return Step({0: part, **{i: part.along(0) for i in range(1, 5)}}, {})


def _layer_norm(node: Node, v: Value, part: Part) -> Step | None:
    assert v.shape is not None
    first = node.attributes.get("axis", -1) % len(v.shape)
    if part.axis >= first or any(
        u is not None and (u.rank is None or u.rank > len(v.shape) - first) for u in node.inputs[1:]
    ):
        return None
    return Step({0: part}, {"axis": first - len(v.shape)})


def _transpose(node: Node, v: Value, part: Part) -> Step | None:
    assert v.shape is not None
    perm = node.attributes.get("perm") or list(range(len(v.shape)))[::-1]
    axis = perm[part.axis]
    if part.single:
        return Step({0: part.along(axis)}, {"perm": [a - (a > axis) for a in perm if a != axis]})
    return Step({0: part.along(axis)}, {})


def _matmul(node: Node, v: Value, part: Part) -> Step | None:
    x, w = node.inputs
    rank = len(v.shape or ())
    if x is None or w is None or w.rank != 2 or x.rank != rank:
        return None
    if part.axis == rank - 1:
        return Step({1: part.along(1)}, {}) if _constant(w) and not part.single else None
    return Step({0: part}, {}) if rank > 2 or not part.single else None


def _gemm(node: Node, v: Value, part: Part) -> Step | None:
    w = node.inputs[1]
    b = node.inputs[2] if len(node.inputs) > 2 else None
    if part.single or (b is not None and (b.const is None or b.shape is None)):
        return None
    operand = part.axis  # rows are those of the first matrix, columns those of the second
    if operand and not _constant(w):
        return None
    transposed = node.attributes.get("transB" if operand else "transA", 0)
    needs = {operand: part.along(operand ^ transposed)}
    if b is not None and b.shape is not None and len(b.shape) > 1 - part.axis:
        axis = part.axis - 2 + len(b.shape)
        if b.shape[axis] != 1:
            needs[2] = part.along(axis)
    return Step(needs, {})


def _convolution(node: Node, v: Value, part: Part) -> Step | None:
    w, *b = node.inputs[1:]
    if (
        part.axis != 1
        or part.single
        or w is None
        or w.const is None
        or not all(_constant(u) for u in b if u is not None)
    ):
        return None
    first, second = w.const.dims[:2]
    group, transposed = node.attributes.get("group", 1), node.op == "ConvTranspose"
    inputs, outputs = (first // group, second) if transposed else (second, first // group)
    needs = {2: part.along(0)} if b and b[0] is not None else {}
    if group == 1:
        return Step({1: part.along(int(transposed)), **needs}, {})
    groups = np.array(part.places) // outputs
    of_each = len(groups) // group
    if not transposed and np.array_equal(groups, np.repeat(np.arange(group), of_each)):
        return Step({1: part.along(0), **needs}, {})
    chosen = groups[::outputs]
    if not np.array_equal(part.places, (chosen[:, None] * outputs + np.arange(outputs)).reshape(-1)):
        return None
    channels = tuple((chosen[:, None] * inputs + np.arange(inputs)).reshape(-1).tolist())
    weights = Part(0, channels if transposed else part.places)
    return Step({0: Part(1, channels), 1: weights, **needs}, {"group": len(chosen)})


_THROUGH: dict[str, Callable[[Node, Value, Part], Step | None]] = {
    **dict.fromkeys(_UNARY, _unary),
    **dict.fromkeys(_BINARY, _binary),
    **dict.fromkeys(_POOLS, _pool),
    "BatchNormalization": _batch_norm,
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "Gemm": _gemm,
    "LayerNormalization": _layer_norm,
    "MatMul": _matmul,
    "Transpose": _transpose,
}
