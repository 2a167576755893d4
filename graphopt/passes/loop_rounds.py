"""How often a Loop goes round, where that is known before it runs: its condition is computed here, round by round."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from graphopt.exec.evaluate import CannotEvaluate, evaluate
from graphopt.ir import Graph, Model, Node, Value
from graphopt.passes.purity import is_deterministic, is_pure

#: Elements of what is carried from one condition to the next.
_MOST_ELEMENTS = 16


def counting_nodes(model: Model, body: Graph) -> dict[Node, None]:
    """What a body computes its condition from, in order: of the number of the round, constants, and values that are carried and
    computed in the same way. Empty where that takes something else, or nothing."""
    found: dict[Node, None] = {}
    waiting = body.outputs[:1]
    seen: set[Value] = set(waiting)

    def wait(v: Value | None) -> None:
        if v is not None and v not in seen:
            seen.add(v)
            waiting.append(v)

    while waiting:
        v = waiting.pop()
        if v.const is not None or v.graph is not body:
            if v.const is None or v.const.size > _MOST_ELEMENTS:
                return {}
        elif v.node is not None:
            if not is_pure(model, v.node) or not is_deterministic(model, v.node):
                return {}
            found[v.node] = None
            for i in v.node.inputs:
                wait(i)
        elif (k := body.inputs.index(v) if v in body.inputs else 0) > 1:
            wait(body.outputs[k - 1])
    return dict.fromkeys(n for n in body if n in found)


def rounds_of(model: Model, node: Node, body: Graph, known: Mapping[Node, None], most: int) -> int | None:
    """How often a Loop goes round; None where that is not known, or more than `most`.

    Args:
        known: the nodes that its condition is computed from.
    """
    limit, condition = (*node.inputs, None, None)[:2]
    first = None if condition is None else condition.const
    if condition is not None and first is None:
        return None
    goes_on = first is None or bool(first.item())
    if not goes_on:
        return 0
    if limit is not None and limit.const is None:
        return None
    end = most + 2 if limit is None or limit.const is None else max(int(limit.const.item()), 0)
    if _always(body):
        return None if limit is None else end
    state: dict[Value, np.ndarray] = {}
    for given, v in zip(body.inputs[2:], node.inputs[2:], strict=True):
        if v is not None and v.const is not None and v.const.size <= _MOST_ELEMENTS:
            state[given] = v.const.numpy()
    for k in range(min(end, most + 1)):
        if not goes_on:
            return k
        if k + 1 == end:
            return end
        state |= {body.inputs[0]: np.array(k, np.int64), body.inputs[1]: np.array(True)}
        results = _once(model, body, known, state)
        if results is None:
            return None
        state, goes_on = results
    return 0 if not end else None


def _always(body: Graph) -> bool:
    """Whether a body passes the condition on, which was true, or gives a constant that is."""
    v: Value | None = body.outputs[0]
    while v is not None and v.node is not None and v.node.op == "Identity":
        v = v.node.inputs[0]
    return v is body.inputs[1] or (v is not None and v.const is not None and bool(v.const.item()))


def _once(
    model: Model, body: Graph, known: Mapping[Node, None], state: Mapping[Value, np.ndarray]
) -> tuple[dict[Value, np.ndarray], bool] | None:
    """What is carried on, as far as that is known, and whether there is another round; None where that cannot be told."""
    arrays = dict(state)

    def array(v: Value) -> np.ndarray | None:
        return v.const.numpy() if v.const is not None else arrays.get(v)

    for n in known:
        inputs = [None if v is None else array(v) for v in n.inputs]
        if any(a is None and v is not None for a, v in zip(inputs, n.inputs, strict=True)):
            return None
        try:
            results = evaluate(model, n, inputs)
        except CannotEvaluate:
            return None
        if any(r.size > _MOST_ELEMENTS for r in results):
            return None
        arrays |= {v: r for v, r in zip(n.outputs, results, strict=True) if v is not None}
    goes_on = array(body.outputs[0])
    if goes_on is None or goes_on.size != 1:
        return None
    carried = zip(body.inputs[2:], body.outputs[1:], strict=False)
    return {given: a for given, v in carried if (a := array(v)) is not None}, bool(goes_on.item())
