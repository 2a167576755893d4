"""Puts the branch of an If in its place where the condition is known."""

from __future__ import annotations

import time

from graphopt.ir import Graph, Model, Node, Value
from graphopt.rewrite import NodeRecord, Rewriter, Step
from graphopt.rewrite.rewriter import record
from graphopt.shapes import facts_of


def inline_constant_if(node: Node, rewriter: Rewriter) -> bool:
    """A handler for the driver: an If with a constant condition, or one that can only come out one way, becomes the nodes of
    the branch that would run."""
    if node.op != "If" or not node.inputs or node.inputs[0] is None or node.graph is None:
        return False
    started = time.perf_counter()
    taken = _taken(node, node.inputs[0], rewriter.model)
    if taken is None:
        return False
    branch = node.attributes.get("then_branch" if taken else "else_branch")
    if not isinstance(branch, Graph) or len(branch.outputs) != len(node.outputs):
        return False
    if branch.source is not None and branch.source.sparse_initializer:
        return False
    if len(set(branch.outputs)) < len(branch.outputs) and any(v.type is not None for v in branch.outputs):
        return False  # one sequence given out twice would need an Identity, which old opsets have for tensors only
    parent = node.graph
    moved, constants = move_in_front(branch, node, rewriter)
    outputs, branch.outputs = branch.outputs, []
    for v in outputs:
        v.exits -= 1
    for old, new in zip(node.outputs, outputs, strict=True):
        if old is not None and old.used:
            rewriter.replace(old, new, node)
    gone: list[NodeRecord] = []
    rewriter.erase_if_dead(node, gone, {node})
    for n in reversed(moved):
        rewriter.erase_if_dead(n, gone)
    for v in constants:
        rewriter.drop_if_unused(v)
    kept = [record(n) for n in moved if n.graph is not None]
    before, after = (*gone, *kept), (*kept, *rewriter.take_copies())
    rewriter.ledger.record(Step("constant_if", "", parent.name, before, after, (time.perf_counter() - started) * 1e6))
    return True


def _taken(node: Node, condition: Value, model: Model) -> bool | None:
    """Whether an If takes its first branch; None where that is not known. Inside a branch its condition has come out already."""
    if condition.const is not None:
        return bool(condition.const.item())
    decided = facts_of(model).decided.get(node)
    if decided is not None:
        return decided == 0
    graph, (wanted, negated) = node.graph, _without_not(condition)
    while graph is not None and (owner := graph.owner) is not None:
        given = owner.inputs[0] if owner.op == "If" else None
        if given is not None:
            known, turned = _without_not(given)
            if known is wanted:
                return (graph is owner.attributes.get("then_branch")) != (negated != turned)
        graph = owner.graph
    return None


def _without_not(v: Value) -> tuple[Value, bool]:
    """What a condition is, or is the opposite of."""
    negated = False
    while v.node is not None and v.node.op in ("Not", "Identity") and v.node.inputs[0] is not None:
        negated ^= v.node.op == "Not"
        v = v.node.inputs[0]
    return v, negated


def move_in_front(branch: Graph, node: Node, rewriter: Rewriter) -> tuple[list[Node], list[Value]]:
    """Put the nodes and constants of a branch in front of the node that holds it; its outputs still list the values."""
    parent = node.graph
    assert parent is not None
    _free_names(rewriter.model, branch)
    constants, branch.initializers = list(branch.initializers), {}
    for v in constants:
        v.graph = parent
        rewriter.add_constant(v, node)
    moved = parent.adopt(branch, node)
    for n in moved:
        rewriter.look_again(n)
    return moved, constants


def _free_names(model: Model, branch: Graph) -> None:
    """Branches may use each other's names; in the parent graph they must be new."""
    for v in branch.initializers:
        v.rename(model.fresh_name(v.name))
    for n in branch:
        for o in n.outputs:
            if o is not None:
                o.rename(model.fresh_name(o.name))
