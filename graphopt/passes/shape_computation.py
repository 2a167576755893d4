"""Computes the shapes that a graph needs in the shortest way: from the dims of tensors that have them.

What reads a shape tensor whose elements are known needs those elements; how they came about does not matter. All of them
are written anew, from inputs where the dims are theirs, each dim and each vector once, and kept where that takes fewer
nodes than what was there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.ir import Dim, Graph, Model, Node, Shape, Tensor, Value, op_schema
from graphopt.rewrite import NodeRecord, Rewriter, Step
from graphopt.rewrite.rewriter import record
from graphopt.shapes import facts_of, infer_node, operation_of

#: From this opset on, Shape gives some dims in a row by itself.
_SHAPE_OF_PART = 15
_AXES_ARE_INPUT = 13
#: Operators that no runtime computes together with what gives their input.
_NEVER_FUSED = frozenset({"Concat", "Gather", "Reshape", "Shape", "Slice", "Split", "Squeeze", "Unsqueeze"})
#: Tensors that are remembered for each dim.
_CANDIDATES = 4


def simplify_shape_computation(model: Model, rewriter: Rewriter) -> int:
    """Write the shape arithmetic of each graph anew where that saves nodes; how many it saved."""
    left_alone = facts_of(model).unrunnable
    return sum(_simplify(model, g, rewriter) for g in list(model.graph.subgraphs()) if g not in left_alone)


def _simplify(model: Model, graph: Graph, rewriter: Rewriter) -> int:
    started = time.perf_counter()
    arithmetic = {
        n for n in graph if n.outputs and getattr(n.outputs[0], "known", None) is not None and _is_arithmetic(n)
    }
    arithmetic -= facts_of(model).left_alone
    wanted = {v for n in arithmetic for v in n.outputs if v is not None and _is_wanted(v, arithmetic)}
    if not wanted:
        return 0
    fixed = {v for v in wanted if v.exits > 1 or v.dtype != TensorProto.INT64 or (v.rank or 0) > 1}
    kept = _producers(fixed, arithmetic)
    plan = _Plan(model, graph)
    found: dict[Value, Value] = {}
    for node in graph:
        for v in node.outputs:
            if v is None:
                continue
            if v in wanted and v not in fixed:
                new = plan.write(v)
                if new is None:
                    fixed.add(v)
                else:
                    found[v] = new
            elif node in kept:
                plan.offer(v)
            if node not in arithmetic:
                plan.see(v)
    gone = arithmetic - _producers(fixed, arithmetic)
    if len(plan.nodes) >= len(gone):
        return 0
    for node, anchor in plan.nodes:
        for i in node.inputs:
            if i is not None and i.const is not None and i in plan.constants:
                plan.constants.remove(i)
                rewriter.add_constant(i, anchor)
        rewriter.insert(node, anchor)
    removed: list[NodeRecord] = []
    for old, new in found.items():
        assert old.node is not None
        if new.const is not None and new in plan.constants:
            plan.constants.remove(new)
            rewriter.add_constant(new, old.node)
        rewriter.replace(old, new, old.node)
    for old in found:
        if old.node is not None and old.node.graph is not None:
            rewriter.erase_if_dead(old.node, removed)
    after = (*(record(n) for n, _ in plan.nodes if n.graph is not None), *rewriter.take_copies())
    rewriter.ledger.record(
        Step("shape_computation", "", graph.name, tuple(removed), after, (time.perf_counter() - started) * 1e6)
    )
    return len(gone) - len(plan.nodes)


def _is_arithmetic(node: Node) -> bool:
    """Whether all elements of a node's outputs are known, in terms of dims."""
    return bool(node.outputs) and all(
        v is not None and v.const is None and v.known is not None and not any(e is None for e in v.known.reshape(-1))
        for v in node.outputs
    )


def _is_wanted(v: Value, arithmetic: set[Node]) -> bool:
    return v.exits > 0 or any(u not in arithmetic for u in v.uses)


def _producers(values: set[Value], among: set[Node]) -> set[Node]:
    """The nodes among these that the values depend on."""
    found: set[Node] = set()
    stack = [v.node for v in values]
    while stack:
        n = stack.pop()
        if n is None or n in found or n not in among:
            continue
        found.add(n)
        stack += [v.node for v in n.inputs if v is not None]
    return found


def _spare(v: Value) -> bool:
    """Whether one more reader of a tensor keeps no runtime from computing it together with the one that reads it."""
    if v.node is None or len(v.uses) + v.exits > 1:
        return True
    return all(u.op in _NEVER_FUSED for u in v.uses)


class _Impossible(Exception):
    """An element cannot be computed from the dims that there are."""


class _Plan:
    """Nodes that compute shape tensors, made beside the graph.

    Attributes:
        nodes: each with the node in front of which it goes.
        constants: constants that they read, which are not in the graph yet.
    """

    def __init__(self, model: Model, graph: Graph) -> None:
        self.model = model
        self.graph = graph
        self.opset = graph.opsets.get("", 0)
        self.nodes: list[tuple[Node, Node]] = []
        self.constants: list[Value] = []
        self._made: dict[Any, Value] = {}
        self._places: dict[Dim, list[tuple[Value, int]]] = {}
        self._whole: dict[Shape, Value] = {}
        self._anchor: Node
        for v in model.graph.inputs if graph is model.graph else (*model.graph.inputs, *graph.inputs):
            self.see(v)

    def see(self, v: Value) -> None:
        """Note the dims of a tensor, which later nodes may ask for."""
        if v.shape is None or v.type is not None:
            return
        for axis, d in enumerate(v.shape):
            if not isinstance(d, int) and d is not None:
                places = self._places.setdefault(d, [])
                if len(places) < _CANDIDATES:
                    places.append((v, axis))
        if v.shape not in self._whole and _spare(v):
            self._whole[v.shape] = v

    def offer(self, v: Value) -> None:
        """A shape tensor that stays in any case."""
        if v.dtype == TensorProto.INT64 and v.known is not None and v.known.ndim <= 1:
            key = tuple(v.known.reshape(-1))
            self._made.setdefault(("vector", key) if v.known.ndim else ("scalar", key[0]), v)

    def write(self, v: Value) -> Value | None:
        """A value with the elements of v, made of nodes that can stand in front of its producer; None where there is none."""
        assert v.node is not None and v.known is not None
        self._anchor = v.node
        nodes, constants, made = len(self.nodes), len(self.constants), len(self._made)
        try:
            elements = tuple(v.known.reshape(-1))
            return self._vector(elements) if v.known.ndim else self._scalar(elements[0])
        except _Impossible:
            del self.nodes[nodes:]
            del self.constants[constants:]
            for key in list(self._made)[made:]:
                del self._made[key]
            return None

    # ----------------------------------------------------------------------------------------------------- recipes
    def _vector(self, elements: tuple[Dim, ...]) -> Value:
        key = ("vector", elements)
        if key not in self._made:
            self._made[key] = self._new_vector(elements)
        return self._made[key]

    def _new_vector(self, elements: tuple[Dim, ...]) -> Value:
        if all(isinstance(e, int) for e in elements):
            return self._constant(np.array(elements, np.int64))
        if (whole := self._whole.get(elements)) is not None:
            return self._shape(whole)
        pieces: list[Value] = []
        i = 0
        while i < len(elements):
            n = next((k for k, e in enumerate(elements[i:]) if not isinstance(e, int)), len(elements) - i)
            if n:
                pieces.append(self._vector(elements[i : i + n]))
            else:
                n, piece = self._dims(elements[i:])
                pieces.append(piece)
            i += n
        return pieces[0] if len(pieces) == 1 else self._node("Concat", pieces, axis=0)

    def _dims(self, elements: tuple[Dim, ...]) -> tuple[int, Value]:
        """As many of the first elements as are dims of a tensor in a row, or the first one computed; how many they are."""
        best = 0
        where: tuple[Value, int] | None = None
        for v, axis in self._places.get(elements[0], ()):
            shape = v.shape or ()
            n = 1
            while n < len(elements) and axis + n < len(shape) and shape[axis + n] == elements[n]:
                n += 1
            if n > best:
                best, where = n, (v, axis)
        if where is None:
            key = ("vector", elements[:1])
            if key not in self._made:
                self._made[key] = self._computed(elements[0])
            return 1, self._made[key]
        key = ("vector", elements[:best])
        if key not in self._made:
            self._made[key] = self._part(*where, best)
        return best, self._made[key]

    def _part(self, v: Value, axis: int, n: int) -> Value:
        """Some dims of a tensor in a row."""
        if axis == 0 and n == len(v.shape or ()):
            return self._shape(v)
        if self.opset >= _SHAPE_OF_PART:
            return self._node("Shape", [v], start=axis, end=axis + n)
        return self._node("Gather", [self._shape(v), self._constant(np.arange(axis, axis + n))], axis=0)

    def _shape(self, v: Value) -> Value:
        key = ("shape", v)
        if key not in self._made:
            self._made[key] = self._node("Shape", [v])
        return self._made[key]

    def _scalar(self, e: Dim) -> Value:
        key = ("scalar", e)
        if key not in self._made:
            if self.opset < _SHAPE_OF_PART and (place := next(iter(self._places.get(e, ())), None)) is not None:
                self._made[key] = self._node(
                    "Gather", [self._shape(place[0]), self._constant(np.array(place[1]))], axis=0
                )
            elif self.opset >= _AXES_ARE_INPUT:
                self._made[key] = self._node("Squeeze", [self._vector((e,)), self._constant(np.array([0]))])
            else:
                self._made[key] = self._node("Squeeze", [self._vector((e,))], axes=[0])
        return self._made[key]

    def _computed(self, e: Dim) -> Value:
        """A vector of one element that is an expression."""
        parts = operation_of(e)
        if parts is None:
            raise _Impossible
        op, operands = parts
        schema = op_schema(op, self.opset)
        if schema is None or TensorProto.INT64 not in schema.inputs[0].types:
            raise _Impossible
        value = self._vector((operands[0],))
        for other in operands[1:]:
            value = self._node(op, [value, self._vector((other,))])
        return value

    # ------------------------------------------------------------------------------------------------------- making
    def _constant(self, array: np.ndarray) -> Value:
        key = ("constant", array.shape, array.tobytes())
        if key not in self._made:
            v = Value(self.model.fresh_name("dims"), self.graph)
            array = array.astype(np.int64)
            array.setflags(write=False)
            v.const = Tensor(array=array)
            v.dtype, v.shape = v.const.dtype, v.const.dims
            self.constants.append(v)
            self._made[key] = v
        return self._made[key]

    def _node(self, op_type: str, inputs: Sequence[Value], **attributes: Any) -> Value:
        name = self.model.fresh_name(f"dims_{op_type}")
        node = Node(op_type, list(inputs), name=name, attributes=attributes)
        node.graph = self.graph
        v = node.new_output(self.model.fresh_name(f"{name}_output"))
        infer_node(self.model, node)
        self.nodes.append((node, self._anchor))
        return v
