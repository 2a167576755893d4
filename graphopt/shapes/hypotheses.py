"""What decides the rank of everything below: Squeeze without axes, where a dim of unknown size may be 1, and an If whose
branches give different ranks.

Where one answer makes a node below impossible, the model can only run with the other.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from graphopt.ir import Graph, Model, Node, Shape, Value
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
        possible = [s for s in answers if _holds(model, {v: s})]
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


def decide_branches(model: Model) -> bool:
    """Find the branch that an If must take from what reads its outputs; whether one was found."""
    facts = facts_of(model)
    undecided = [n for g in model.graph.subgraphs() for n in g if n.op == "If" and _differs(n)]
    found = False
    for node in undecided[:_MOST_NODES]:
        answers = [{v: s for v, s in zip(node.outputs, b, strict=False) if v is not None} for b in _branches(node)]
        possible = [k for k, shapes in enumerate(answers) if _holds(model, shapes)]
        if len(possible) == 1:
            facts.decided[node] = possible[0]
            for v, shape in answers[possible[0]].items():
                v.shape = shape
            Walk(model, facts).below(answers[possible[0]])
            found = True
    return found


def _branches(node: Node) -> list[list[Shape | None]]:
    """The shapes that each branch of an If gives."""
    bodies = [node.attributes.get(name) for name in ("then_branch", "else_branch")]
    return [[v.shape for v in b.outputs] for b in bodies if isinstance(b, Graph)]


def _differs(node: Node) -> bool:
    """Whether it is open which branch an If takes, and they give tensors of different known ranks."""
    branches = _branches(node)
    condition = node.inputs[0] if node.inputs else None
    if len(branches) != 2 or condition is None or condition.const is not None or condition.known is not None:
        return False
    return any(
        v is not None and v.shape is None and p is not None and q is not None and len(p) != len(q)
        for v, p, q in zip(node.outputs, *branches, strict=False)
    )


def _holds(model: Model, shapes: dict[Value, Shape | None]) -> bool:
    """Whether every node below can take what follows from values having these shapes. Leaves everything as it was."""
    facts = facts_of(model)
    trial = facts.copy()
    trial.scope = trial.made
    walk = Walk(model, trial)
    before: dict[Value, tuple[Any, ...]] = {}
    graph = next(iter(shapes)).graph

    def keep(w: Value) -> None:
        before.setdefault(w, (w.dtype, w.shape, w.type, w.known))

    waiting: dict[Node, None] = {}
    for v, shape in shapes.items():
        keep(v)
        v.shape = shape
        waiting.update({o: None for u in v.uses if (o := _owner(u, graph)) is not None})
    visited = 0
    try:
        while waiting and visited < _FARTHEST:
            node = min(waiting, key=lambda n: n.position)
            del waiting[node]
            visited += 1
            if node.subgraphs and node.op != "If":  # loops have inputs of their own
                continue
            if not any(w is not None and w.used for w in node.outputs):  # a runtime may leave it out
                continue
            met = len(trial.conflicts)
            for w in (*node.outputs, *(w for sub in node.subgraphs for n in sub.walk() for w in n.outputs)):
                if w is not None:
                    keep(w)
            news = walk.node(node, strict=True)
            if node.subgraphs:  # what is wrong in a branch is wrong only where that runs
                del trial.conflicts[met:]
            if news:
                users = [u for w in node.outputs if w is not None for u in w.uses]
                waiting.update({o: None for u in users if (o := _owner(u, graph)) is not None})
        return len(trial.conflicts) == len(facts.conflicts)
    except ValueError:
        return False
    finally:
        for w, known in before.items():
            w.dtype, w.shape, w.type, w.known = known


def _owner(node: Node, graph: Graph) -> Node | None:
    """The node of a graph that is this one, or has it in a body."""
    n: Node | None = node
    while n is not None and n.graph is not graph:
        n = n.graph.owner if n.graph is not None else None
    return n
