"""Inference: a walk over the graph at the start, single nodes while it is rewritten, and what lies below a change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from onnx import TypeProto, ValueInfoProto

from graphopt.ir import Dim, Graph, Model, Node, Value
from graphopt.shapes import text
from graphopt.shapes.dims import ANONYMOUS, FRESH, complexity, is_anonymous, names_in, same_dims, same_shape
from graphopt.shapes.facts import Facts, facts_of, merged
from graphopt.shapes.hypotheses import decide_branches, decide_ranks
from graphopt.shapes.site import WHOLE, known_elements
from graphopt.shapes.types import TypeInfo, type_info, without
from graphopt.shapes.walk import Walk

#: Walks over a model while new equalities are learnt.
_MAX_WALKS = 4


def infer_model(model: Model, guess_ranks: bool = False) -> Facts:
    """Set `dtype`, `shape`, `type` and `known` of every value that something can be said about, subgraphs included.

    Never raises: what cannot be inferred stays unknown, with the reason in the facts. What the file claims about inner
    values is not believed. Weights are not touched, so any size of model will do.

    Args:
        guess_ranks: suppose that Squeeze without axes keeps dims of unknown size. What follows from that may be wrong.

    Returns:
        What was learnt about the model's dims; it stays with the model, for `infer_node`, `refresh` and `settle`.
    """
    facts = model.facts = Facts()
    _name_inputs(model, facts)
    claimed = _forget_claims(model)
    _walk_and_settle(model, facts, learnt=True)
    _read_outputs(model, facts)
    decide_ranks(model, guess_ranks)
    decide_branches(model)
    _walk_and_settle(model, facts, learnt=facts.learnt)
    facts.unrunnable = frozenset(g for n in facts.refused for g in _bodies_around(n))
    misdeclared = (v for v, info in _outputs(model) if same_shape(v.shape, type_info(info.type).shape) is False)
    facts.left_alone = _shape_producers(misdeclared)
    for v, t in claimed.items():
        if v.type is None and not v.dtype:
            v.type = t
    return facts


@contextmanager
def inferred(model: Model) -> Iterator[None]:
    """For a look at a model with its shapes: inferred within the block, where that was not done; afterwards it is as it was."""
    if model.facts is not None:
        yield
        return
    values = {
        v: (v.dtype, v.shape, v.type, v.known)
        for g in model.graphs()
        for v in (*g.inputs, *g.initializers, *(o for node in g for o in node.outputs))
        if v is not None
    }
    try:
        infer_model(model)
        yield
    finally:
        model.facts = None
        for v, known in values.items():
            v.dtype, v.shape, v.type, v.known = known


def infer_node(model: Model, node: Node) -> None:
    """Set the types of the outputs of a node that is not in a graph yet.

    Raises ValueError where the operator cannot take these inputs.
    """
    facts = facts_of(model)
    walk = Walk(model, facts)
    before, facts.scope = facts.scope, facts.made  # nothing is learnt from a node that may never be put in
    try:
        walk.node(node, strict=True)
    finally:
        facts.scope = before


def refresh(model: Model, changed: Iterable[Value]) -> list[Node]:
    """Infer again what reads these values, and what lies below as far as something new is found.

    Returns the nodes about whose outputs more is known now.
    """
    return Walk(model, facts_of(model)).below(changed)


def contradiction(old: Value, new: Value) -> str | None:
    """Why a value cannot be what another one is; None where nothing speaks against it."""
    if same_shape(old.shape, new.shape) is False:
        return f"the replacement has shape {text.show_shape(new.shape)}, the original {text.show_shape(old.shape)}"
    if old.dtype not in WHOLE:
        return None  # floats may have been rounded
    p, q = known_elements(old), known_elements(new)
    if p is None or q is None or p.shape != q.shape:
        return None
    if any(same_dims(a, b) is False for a, b in zip(p.reshape(-1), q.reshape(-1), strict=True)):
        return f"the replacement is {text.show_shape(q.reshape(-1))}, the original {text.show_shape(p.reshape(-1))}"
    return None


def take_over(model: Model, old: Value, new: Value) -> list[Node]:
    """Let a value that replaces another one know what was known of that, and infer again what reads it.

    Returns the nodes about whose outputs more is known now.
    """
    facts = facts_of(model)
    if not new.dtype and new.type is None:
        new.dtype, new.type = old.dtype, old.type
    more = False
    if new.shape != old.shape:
        if new.shape is None or old.shape is None:
            more = old.shape is None
            new.shape = old.shape if new.shape is None else new.shape
        elif (what := contradiction(old, new)) is not None:
            facts.conflict(f"'{new.name}' for '{old.name}': {what}")
        else:
            more = _tell_more(new.shape, old.shape)
            if new.const is None:
                new.shape = merged(old.shape, new.shape)
    known = known_elements(new)
    if old.known is not None and known is None and new.const is None and new.shape == old.known.shape:
        new.known = old.known
    elif known is not None and not more:
        more = old.known is None or _tell_more(known.reshape(-1), old.known.reshape(-1))
    return refresh(model, [new]) if more else []


def _tell_more(new: Iterable[Dim], old: Iterable[Dim]) -> bool:
    return any(complexity(q) < complexity(p) for p, q in zip(old, new, strict=False))


def settle(model: Model) -> bool:
    """Apply equalities that were learnt since the last time to the whole model; whether there were any."""
    facts = facts_of(model)
    if not facts.learnt:
        return False
    _walk_and_settle(model, facts, learnt=True)
    return True


def _walk_and_settle(model: Model, facts: Facts, learnt: bool) -> None:
    for _ in range(_MAX_WALKS):
        if not learnt:
            break
        _rewrite_dims(model, facts)
        facts.learnt = False
        Walk(model, facts).graph(model.graph)
        learnt = facts.learnt
    if facts.learnt:
        _rewrite_dims(model, facts)
        facts.learnt = False


def _rewrite_dims(model: Model, facts: Facts) -> None:
    """Bring the dims of all values into the terms that tell most."""
    if not facts.knows_anything:
        return
    for graph in model.graph.subgraphs():
        for v in (*graph.inputs, *(v for n in graph for v in n.outputs)):
            if v is None:
                continue
            v.shape = facts.canonical_shape(v.shape)
            if v.known is not None and v.const is None:
                v.known = facts.canonical_elements(v.known)


# ---------------------------------------------------------------------------------------------------------- interface
def _name_inputs(model: Model, facts: Facts) -> None:
    """Give dims of inputs that have no name one, and read those that are expressions over the names of others."""
    inputs = model.graph.inputs
    plain = {d for v in inputs for d in v.shape or () if isinstance(d, str)}
    unnamed: dict[str, str] = {}
    for v in inputs:
        if v.type is not None:  # its elements may differ in what has a name
            v.type = without(TypeInfo(0, None, v.type), lambda d: not isinstance(d, int)).type
        if v.shape is None or all(isinstance(d, int) for d in v.shape):
            continue
        dims: list[Any] = []
        for d in v.shape:
            if d is None or d in ANONYMOUS:
                d = facts.fresh()
            elif isinstance(d, str) and d.startswith(FRESH):
                d = unnamed[d] if d in unnamed else unnamed.setdefault(d, facts.fresh())
            elif isinstance(d, str) and not d.isidentifier():
                d = _expression(d, plain - {d})
            dims.append(d)
        v.shape = tuple(dims)


def _bodies_around(node: Node) -> Iterator[Graph]:
    graph = node.graph
    while graph is not None and graph.owner is not None:
        yield graph
        graph = graph.parent


def _shape_producers(values: Iterable[Value]) -> frozenset[Node]:
    """The producers of values, and of the whole numbers that these read."""
    found: set[Node] = set()
    stack = [v.node for v in values]
    while stack:
        node = stack.pop()
        if node is not None and node not in found:
            found.add(node)
            stack += [v.node for v in node.inputs if v is not None and v.dtype in WHOLE]
    return frozenset(found)


def _outputs(model: Model) -> Iterable[tuple[Value, ValueInfoProto]]:
    return zip(model.graph.outputs, model.graph.output_infos, strict=True)


def _forget_claims(model: Model) -> dict[Value, TypeProto]:
    """Drop the types of sequences and optionals that a file declares for what nodes compute; what they were."""
    claimed = {}
    for graph in model.graph.subgraphs():
        for v in graph.outputs:
            if v.type is not None and v.node is not None:
                claimed[v], v.type = v.type, None
    return claimed


def _expression(name: str, known: set[Any]) -> Any:
    """What a name like '2*batch' stands for where 'batch' is a dim itself; else the name."""
    try:
        parsed = text.parse(name)
    except ValueError:
        return name
    return parsed if not isinstance(parsed, (int, str)) and names_in(parsed) <= known else name


def _read_outputs(model: Model, facts: Facts) -> None:
    """Give what nothing is known of the name that an output declares for it, each name to one dim."""
    taken = {n for v in model.graph.inputs for d in v.shape or () for n in names_in(d)} | ANONYMOUS
    for v, info in _outputs(model):
        declared = type_info(info.type)
        if v.shape is None or declared.shape is None or len(v.shape) != len(declared.shape):
            continue
        for d, said in zip(v.shape, declared.shape, strict=True):
            unknown = isinstance(d, str) and is_anonymous(d) and facts.canonical(d) == d
            if unknown and isinstance(said, str) and said not in taken and not said.startswith(FRESH):
                taken.add(said)
                facts.equate(d, said)
