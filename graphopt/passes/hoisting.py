"""Nodes of a body that become nodes in front of the node that holds it, or in its place."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence

from graphopt.ir import Graph, Node, Value
from graphopt.passes.common_subexpressions import operand_key
from graphopt.rewrite import NodeRecord, Rewriter, Step
from graphopt.rewrite.rewriter import record
from graphopt.shapes import infer_node


def copies_in_front(
    holder: Node, chosen: Mapping[int, Node], numbers: Mapping[Node, int], rewriter: Rewriter
) -> dict[int, Node] | None:
    """Put copies of nodes in front of the node whose body they are in; None where one cannot be told its types.

    Args:
        chosen: nodes by their numbers, which read nothing inside but constants and each other.
        numbers: the number of each, and of others that compute the same.
    """
    parent, model = holder.graph, rewriter.model
    assert parent is not None
    new: dict[int, Node] = {}
    constants: dict[Hashable, Value] = {}

    def outside(v: Value | None) -> Value | None:
        v = None if v is None else source_of(v)
        if v is None or v.graph not in holder.subgraphs:
            return v
        if v.const is not None:
            key = operand_key(v)
            if key not in constants:
                constants[key] = constant_like(v, parent)
            return constants[key]
        assert v.node is not None
        return new[numbers[v.node]].outputs[v.index]

    for k, n in sorted(chosen.items(), key=lambda item: item[1].position):
        copy = Node(
            n.op_type,
            [outside(v) for v in n.inputs],
            domain=n.domain,
            overload=n.overload,
            name=model.fresh_name(n.name or n.op_type),
            attributes=dict(n.attributes),
        )
        copy.graph = parent
        copy.inherit(n)
        for v in n.outputs:
            copy.new_output(model.fresh_name(f"{copy.name}_output" if v is None else v.name))
        try:
            infer_node(model, copy)
        except ValueError:  # says so when the model runs
            return None
        new[k] = copy
    for v in constants.values():
        rewriter.add_constant(v, holder)
    for n in new.values():
        rewriter.insert(n, holder)
    return new


def stand_in(old: Node, new: Node, rewriter: Rewriter) -> list[Node]:
    """Let what reads a node in a body read one outside; what the body gives out becomes a copy. Gives these copies.

    What is known of the old values may hold in the body alone, so the new ones are not told.
    """
    copies = []
    for v, w in zip(old.outputs, new.outputs, strict=True):
        if v is None or w is None:
            continue
        users = list(v.uses)
        if v.exits:
            assert old.graph is not None
            copy = Node("Identity", [w], name=rewriter.model.fresh_name(f"{w.name}_Identity"))
            copy.graph = old.graph
            out = copy.new_output(rewriter.model.fresh_name(f"{copy.name}_output"))
            out.dtype, out.shape = v.dtype, v.shape
            old.graph.insert_before(old, copy)
            copies.append(copy)
        for u in users:
            for i, x in enumerate(u.inputs):
                if x is v:
                    u.set_input(i, w)
            rewriter.look_again(u)
        if v.exits:
            v.replace_uses(out)
            rewriter.look_again(copy)
    return copies


def write_instead(
    holder: Node,
    body: Graph,
    nodes: Sequence[Node],
    constants: Sequence[Value],
    results: Sequence[Value],
    rewriter: Rewriter,
    name: str,
    started: float,
) -> None:
    """Put nodes in the place of one whose body they do the work of, as one step of the pass of this name.

    Args:
        constants: that the nodes read, beside those of the body, which go along.
        results: what stands for the outputs.
        started: when the pass began with it.
    """
    parent = holder.graph
    assert parent is not None
    moved = [*body.initializers, *constants]
    body.initializers = {}
    for v in moved:
        v.rename(rewriter.model.fresh_name(v.name))
        v.graph = parent
        rewriter.add_constant(v, holder)
    for n in nodes:
        rewriter.insert(n, holder)
    for old, new in zip(holder.outputs, results, strict=True):
        if old is not None and old.used:
            rewriter.replace(old, new, holder)
    gone: list[NodeRecord] = []
    rewriter.erase_if_dead(holder, gone, {holder})
    for n in reversed(nodes):
        rewriter.erase_if_dead(n)
    for v in moved:
        rewriter.drop_if_unused(v)
    after = (*(record(n) for n in nodes if n.graph is not None), *rewriter.take_copies())
    seconds = time.perf_counter() - started
    rewriter.ledger.record(Step(name, "", parent.name, tuple(gone), after, seconds * 1e6))


def constant_like(v: Value, parent: Graph) -> Value:
    """The same constant for another graph, not put in yet."""
    same = Value(parent.model.fresh_name(v.name), parent)
    same.const = v.const
    same.dtype, same.shape = v.dtype, v.shape
    return same


def source_of(v: Value) -> Value:
    """What a value is a copy of."""
    while v.node is not None and v.node.op == "Identity" and v.node.inputs[0] is not None:
        v = v.node.inputs[0]
    return v
