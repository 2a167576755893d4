"""From a model to its plan: every node finds its kernel, functions are written out, subgraphs become plans of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import TypeProto

from graphopt.errors import ModelError, UnsupportedError
from graphopt.exec.kernels import kernel_for
from graphopt.exec.kernels.common import dense
from graphopt.exec.kernels.dtypes import np_dtype
from graphopt.exec.plan import EMPTY, GRADIENT, Declared, Plan, Step, Subplan, describe
from graphopt.ir import Graph, Model, Node, Tensor, Value
from graphopt.ir.attributes import bind, decode
from graphopt.ir.schema import op_schema


def plan(model: Model, outputs: Sequence[Value] | None = None) -> Plan:
    """Plan a model.

    Args:
        model: as loaded; its weights are read, never copied.
        outputs: values of the main graph to compute instead of the model's outputs.

    Raises:
        UnsupportedError: operators, or attributes of theirs, without a kernel; all are named.
        ModelError: weights that cannot be read, attributes that make no sense.
    """
    builder = _Builder(model)
    graph = model.graph
    scope: dict[Value, int] = {}
    inputs = list(graph.inputs)
    slots = tuple(builder.new(scope, v) for v in inputs)
    builder.add_graph(graph, scope, {})
    result = builder.finish(slots, tuple(scope[v] for v in outputs or graph.outputs))
    if builder.missing:
        raise UnsupportedError("; ".join(builder.missing))
    return result


def plan_node(model: Model, node: Node) -> Plan:
    """Plan one node: its inputs are the plan's (each position one), its outputs likewise.

    Raises:
        UnsupportedError: it, or a node of its subgraphs, has no kernel.
    """
    builder = _Builder(model)
    scope: dict[Value, int] = {}
    slots = []
    for v in node.inputs:
        if v is None:
            builder.size += 1
            slots.append(builder.size - 1)
        else:
            slots.append(builder.new(scope, v))
    builder.add_node(node, scope, {})
    if builder.missing:
        raise UnsupportedError("; ".join(builder.missing))
    return builder.finish(tuple(slots), tuple(scope[v] for v in node.outputs if v is not None))


class _Builder:
    """Collects the steps of one plan."""

    def __init__(self, model: Model, missing: dict[str, None] | None = None) -> None:
        self.model = model
        self.size = 1
        self.constants: dict[int, np.ndarray] = {}
        self.steps: list[Step] = []
        self.missing: dict[str, None] = {} if missing is None else missing

    def new(self, scope: dict[Value, int], value: Value) -> int:
        slot = scope[value] = self.size
        self.size += 1
        return slot

    def slot(self, scope: dict[Value, int], value: Value) -> int:
        """Where a value is; a constant that lies outside of what is planned comes in with it."""
        if value not in scope and value.const is not None:
            self.constants[self.new(scope, value)] = value.const.numpy()
        if value not in scope:
            raise UnsupportedError(f"'{value.name}' is read by a subgraph that a function takes as an attribute")
        return scope[value]

    def add_graph(self, graph: Graph, scope: dict[Value, int], bound: Mapping[str, Any]) -> None:
        """Append the steps of a graph. `bound` are the attributes of the call where it is a function's."""
        for value, tensor in graph.initializers.items():
            if value not in scope:  # one that is an input too was given a slot
                self.constants[self.new(scope, value)] = tensor.numpy()
        for value, array in _sparse_initializers(graph):
            self.constants[self.new(scope, value)] = array
        for node in graph:
            self.add_node(node, scope, bound)

    def add_node(self, node: Node, scope: dict[Value, int], bound: Mapping[str, Any]) -> None:
        assert node.graph is not None
        if node.op == "Constant" and node.output.const is not None:
            self.constants[self.new(scope, node.output)] = node.output.const.numpy()
            return
        inputs = tuple(EMPTY if v is None else self.slot(scope, v) for v in node.inputs)
        attributes = bind(node.attributes, bound)
        function = self.model.functions.get((node.domain, node.op_type, node.overload))
        kernel = kernel_for(node.op, node.graph.opsets.get(node.domain, 1))
        # a file's function is not what we call by that name, unless it is ours, or the user's, who registered a kernel for it
        if function is not None and (kernel is None or (kernel.builtin and not node.domain.startswith("graphopt"))):
            inner = dict(zip(function.graph.inputs, (*inputs, *[EMPTY] * len(function.graph.inputs))))
            defaults = {a.name: _default(a) for a in function.source.attribute_proto}
            self.add_graph(function.graph, inner, {**defaults, **attributes})
            for value, source in zip(node.outputs, function.graph.outputs):
                if value is not None:
                    scope[value] = inner[source]
            return
        if kernel is None:
            self.missing[f"no kernel for {node.op} at opset {node.graph.opsets.get(node.domain)}"] = None
            for v in node.outputs:
                if v is not None:
                    self.new(scope, v)
            return
        bodies = {}
        if node.op == GRADIENT:
            bodies["function"] = self.differentiated(node, scope, attributes)
        for name, value in list(attributes.items()):
            if isinstance(value, Graph):
                bodies[name] = self.subplan(attributes.pop(name), scope, bound)
        if kernel.attributes is not None:
            for name in [n for n in attributes if n not in kernel.attributes]:
                self._unknown_attribute(node, name, attributes)
        outputs = tuple(EMPTY if v is None else self.new(scope, v) for v in node.outputs)
        name = node.label
        attributes = _decoded(attributes)
        if kernel.prepare is not None:
            try:
                attributes = kernel.prepare(**attributes)
            except (LookupError, TypeError, ValueError) as e:
                raise ModelError(f"node '{name}' ({node.op}): {describe(e)}") from e
        if kernel.takes_outputs:
            attributes["outputs"] = len(node.outputs)
        self.steps.append(Step(kernel, node.op, name, inputs, outputs, attributes, bodies))

    def _unknown_attribute(self, node: Node, name: str, attributes: dict[str, Any]) -> None:
        """Drop an attribute that the operator does not have either (old exporters leave such); others are missing here."""
        assert node.graph is not None
        schema = op_schema(node.op_type, node.graph.opsets.get(node.domain, 1), node.domain)
        if schema is None or name in schema.attributes:
            self.missing[f"the kernel of {node.op} does not take attribute '{name}'"] = None
        del attributes[name]

    def subplan(self, graph: Graph, scope: Mapping[Value, int], bound: Mapping[str, Any]) -> Subplan:
        inner = _Builder(self.model, self.missing)
        names: dict[Value, int] = {}
        slots = [inner.new(names, v) for v in graph.inputs]
        captured = dict.fromkeys(v for v in _captured(graph) if v in scope)
        slots += [inner.new(names, v) for v in captured]
        inner.add_graph(graph, names, bound)
        inside = inner.finish(tuple(slots), tuple(names[v] for v in graph.outputs))
        inputs = tuple(_declared(graph.input_infos[v].type) for v in graph.inputs)
        outputs = tuple(_declared(info.type) for info in graph.output_infos)
        return Subplan(inside, tuple(scope[v] for v in captured), inputs, outputs)

    def differentiated(self, node: Node, scope: Mapping[Value, int], attributes: dict[str, Any]) -> Subplan:
        """What a Gradient node differentiates: the steps of its graph that lead from its inputs to `y`."""
        graph = node.graph
        assert graph is not None
        named = {v.name: v for n in graph for v in (*n.inputs, *n.outputs) if v is not None}
        starts = [named[name] for name in (*attributes["xs"], *attributes.get("zs", ()))]
        needed, todo = set(starts), [named[attributes["y"]]]
        nodes: set[Node] = set()
        while todo:
            v = todo.pop()
            if v not in needed:
                needed.add(v)
                if v.node is not None:
                    nodes.add(v.node)
                    todo += [i for i in v.node.inputs if i is not None]
        inner = _Builder(self.model, self.missing)
        names: dict[Value, int] = {}
        slots = [inner.new(names, v) for v in starts]
        captured = [v for v in needed if v.node is None and v not in names and v.const is None]
        slots += [inner.new(names, v) for v in captured]
        for n in graph:
            if n in nodes:
                inner.add_node(n, names, {})
        plan = inner.finish(tuple(slots), (names[named[attributes["y"]]],))
        return Subplan(plan, tuple(scope[v] for v in captured))

    def finish(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Plan:
        """Note after which step each slot is free."""
        kept = {EMPTY, *outputs, *self.constants}
        seen = set(kept)
        for step in reversed(self.steps):
            touched = [s for s in (*step.reads(), *step.outputs) if s not in seen]
            step.frees = tuple(dict.fromkeys(touched))
            seen.update(touched)
        return Plan(inputs, outputs, self.constants, self.steps, self.size)


def _declared(t: TypeProto) -> Declared:
    tensor = t.tensor_type
    dims = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
    return np_dtype(tensor.elem_type) if tensor.elem_type else None, dims if tensor.HasField("shape") else None


def _captured(graph: Graph) -> Iterator[Value]:
    """Values that a graph or one below it reads, its own among them."""
    for g in graph.subgraphs():
        yield from g.outputs
        for node in g:
            for v in node.inputs:
                if v is not None:
                    yield v


def _sparse_initializers(graph: Graph) -> Iterator[tuple[Value, np.ndarray]]:
    """Those that are read, as dense arrays."""
    messages = {s.values.name: s for s in getattr(graph.source, "sparse_initializer", ())}
    if messages:
        read = {v.name: v for v in _captured(graph) if v.node is None and v.graph is graph and v.const is None}
        for name in messages.keys() & read.keys():
            yield read[name], dense(messages[name])


def _decoded(attributes: dict[str, Any]) -> dict[str, Any]:
    def to_array(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.numpy()
        tensors = isinstance(value, list) and bool(value) and isinstance(value[0], Tensor)
        return [v.numpy() for v in value] if tensors else value

    return {name: to_array(value) for name, value in attributes.items()}


def _default(a: Any) -> Any:
    return decode(a, iter(()), "")
