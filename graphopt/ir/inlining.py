"""A function's body in the place of a node that calls it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnx import FunctionProto

from graphopt.errors import ModelError
from graphopt.ir.attributes import bind, decode
from graphopt.ir.graph import Graph
from graphopt.ir.load import constant_field, read_function
from graphopt.ir.node import Node, Value


def inline(node: Node, function: FunctionProto, attributes: Mapping[str, Any]) -> list[Node]:
    """Put the nodes of a function where a node is that stands for it; its outputs keep their names.

    Args:
        node: it leaves the graph.
        function: read anew, so that the nodes are the caller's own.
        attributes: those of the call, defaults among them.

    Returns:
        The new nodes in order, at the opsets that the function imports, whatever those of the graph are.
    """
    graph = node.graph
    assert graph is not None
    model = graph.model
    read = [(v, name) for v, name in zip(node.outputs, function.output, strict=False) if v is not None]
    source = FunctionProto()
    source.CopyFrom(function)
    del source.output[:]
    source.output.extend([name for _, name in read])  # some give no others where nobody asks for them
    body = read_function(model, source).graph
    defaults = {a.name: decode(a, iter(()), "") for a in function.attribute_proto}
    _bind(body, {**defaults, **attributes})
    for sub in list(body.subgraphs())[1:]:
        sub.opsets = graph.opsets
    for n in body.walk():
        n.name = model.fresh_name(f"{node.name or node.op_type}_{n.name or n.op_type}")
    for g in body.subgraphs():
        for v in (*(g.inputs if g is not body else ()), *g.initializers, *(o for n in g for o in n.outputs)):
            if v is not None:
                v.rename(model.fresh_name(f"{node.name or node.op_type}_{v.name}"))
    given = [*node.inputs, *[None] * (len(body.inputs) - len(node.inputs))]
    outputs, body.outputs = body.outputs, []
    for v in outputs:
        v.exits -= 1
    results: list[Value | None] = list(outputs)
    for formal, actual in zip(body.inputs, given, strict=False):
        _replace(formal, actual)
        results = [actual if v is formal else v for v in results]
    nodes = graph.adopt(body, node)
    for n in nodes:
        n.touch()
    for (old, _), new in zip(read, results, strict=True):
        if new is None:
            raise ModelError(f"function '{function.name}' gives an input that is left out")
        if new.node in nodes and new.exits == 0 and results.count(new) == 1:
            _take_over(old, new)
        else:
            copy = Node("Identity", [new], name=model.fresh_name(f"{old.name}_Identity"))
            graph.insert_before(node, copy)
            copy.outputs.append(old)
            old.node, old.index = copy, 0
            nodes.append(copy)
    node.outputs = [v for v in node.outputs if v is not None and v.node is node]
    graph.remove(node)
    return nodes


def _bind(graph: Graph, attributes: Mapping[str, Any]) -> None:
    """Give nodes the attributes that they take from the call."""
    for n in graph.walk():
        bound = bind(n.attributes, attributes)
        for name in list(n.attributes):
            if name not in bound:
                n.remove_attribute(name)
            elif bound[name] is not n.attributes[name]:
                n.set_attribute(name, bound[name])
        if n.op == "Constant" and n.output.const is None:
            for name, value in n.attributes.items():
                if (tensor := constant_field(name, value)) is not None:
                    n.remove_attribute(name)
                    n.set_attribute("value", tensor)
                    v = n.output
                    v.const, v.dtype, v.shape = tensor, tensor.dtype, tensor.dims


def _replace(formal: Value, actual: Value | None) -> None:
    """Let what reads an input of a function read what the call gives for it."""
    for user in list(formal.uses):
        for i, v in enumerate(user.inputs):
            if v is formal:
                user.set_input(i, actual)


def _take_over(old: Value, new: Value) -> None:
    """Let the producer of `new` produce `old` instead, which everybody reads."""
    producer = new.node
    assert producer is not None
    new.replace_uses(old)
    producer.outputs[new.index] = old
    old.node, old.index = producer, new.index
    old.const, old.known = new.const, None
    producer.touch()
