"""Squeeze without axes: whether a dim of unknown size is 1 decides the rank of everything below.

Where one answer makes a node below impossible, the model can only run with the other.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from graphopt.ir import Model, Node, Shape, Value
from graphopt.shapes.dims import less
from graphopt.shapes.facts import facts_of
from graphopt.shapes.walk import Walk

#: Nodes that are decided, dims in doubt for each, and nodes below that are looked at for each answer.
_MOST_NODES = 16
_MOST_DIMS = 3
_FARTHEST = 256


def decide_ranks(model: Model, guess: bool = False) -> bool:
    """Find the rank of what Squeeze gives from what reads it; whether one was found.

    Args:
        guess: where nothing decides, suppose that no dim of unknown size is 1.
    """
    found = False
    undecided = [n for n in model.graph if n.op == "Squeeze" and n.outputs and _in_doubt(n)]
    for node in undecided[:_MOST_NODES]:
        v, x = node.output, node.inputs[0]
        if v.shape is not None or x is None or x.shape is None:
            continue
        answers = _answers(x.shape)
        possible = [s for s in answers if _holds(model, v, s)]
        if guess and len(possible) > 1:
            possible = [max(possible, key=len)]
        if len(possible) == 1:
            v.shape = possible[0]
            Walk(model, facts_of(model)).below([v])
            found = True
    return found


def _in_doubt(node: Node) -> bool:
    x = node.inputs[0] if node.inputs else None
    if x is None or x.shape is None or node.outputs[0] is None or node.output.shape is not None:
        return False
    return "axes" not in node.attributes and not any(node.inputs[1:])


def _answers(x: Shape) -> set[Shape]:
    """The shapes that may be left of one."""
    doubtful = [i for i, d in enumerate(x) if not isinstance(d, int) and not less(1, d)]
    if len(doubtful) > _MOST_DIMS:
        return set()
    return {
        tuple([d for i, d in enumerate(x) if d != 1 and i not in {k for k, one in zip(doubtful, ones) if one}])
        for ones in product((False, True), repeat=len(doubtful))
    }


def _holds(model: Model, v: Value, shape: Shape) -> bool:
    """Whether every node below can take what follows from a value having this shape. Leaves everything as it was."""
    facts = facts_of(model)
    trial = facts.copy()
    trial.scope = trial.made
    walk = Walk(model, trial)
    before: dict[Value, tuple[Any, ...]] = {}

    def keep(w: Value) -> None:
        before.setdefault(w, (w.dtype, w.shape, w.type, w.known))

    keep(v)
    v.shape = shape
    waiting = {u: None for u in v.uses if u.graph is model.graph}
    visited = 0
    try:
        while waiting and visited < _FARTHEST:
            node = min(waiting, key=lambda n: n.position)
            del waiting[node]
            visited += 1
            if node.subgraphs:  # to try something in a body would leave traces there
                continue
            for w in node.outputs:
                if w is not None:
                    keep(w)
            if walk.node(node, strict=True):
                waiting.update({u: None for u in node.users() if u.graph is model.graph})
        return len(trial.conflicts) == len(facts.conflicts)
    except ValueError:
        return False
    finally:
        for w, known in before.items():
            w.dtype, w.shape, w.type, w.known = known
