"""If, Loop and Scan in random models: bodies that read what is around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.errors import ModelError, RunError, UnsupportedError
from graphopt.exec.backends.numpy import REFERENCE
from graphopt.exec.planning import plan
from graphopt.ir import Graph, Node, Value
from graphopt.testing.building.builder import Invalid
from graphopt.testing.operators.elementwise import FLOATING
from graphopt.testing.random_models.pool import ModelBuilder, moderate

#: Puts a few nodes into the graph that is being built.
Fill = Callable[[ModelBuilder], None]
#: Dtypes that bodies give at every opset.
_CARRIED = (FLOATING - {TensorProto.BFLOAT16}) | {TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL}


def branch(b: ModelBuilder, fill: Fill) -> list[Value]:
    """An If whose condition is an input, a constant or computed; its branches give values of the same dtype and rank."""
    condition = _condition(b)
    bodies: list[Graph] = []
    given: list[list[Any]] = []
    try:
        with b.scope("then") as then:
            bodies.append(then)
            fill(b)
            results = _results(b, b.choices.integer(1, 2), _new_in(b, then))
            given.append([b.arrays[v] for v in results])
            b.end_body(then, results)
        wanted = [(v.dtype, a.shape) for v, a in zip(results, given[0], strict=True)]
        b.close(then)
        with b.scope("otherwise") as otherwise:
            bodies.append(otherwise)
            fill(b)
            results = [b.source(dtype, shape) for dtype, shape in wanted]
            given.append([b.arrays[v] for v in results])
            b.end_body(otherwise, results)
        node = Node("If", [condition], attributes={"then_branch": then, "else_branch": otherwise})
        node.subgraphs = bodies
        made = b.add(node, len(wanted), "y")
    except Invalid:
        for body in bodies:
            b.abandon(body)
        raise
    b.close(otherwise)
    for v, a in zip(made, given[0 if bool(b.arrays[condition]) else 1], strict=True):
        b.settle(v, a)
    return made


def _condition(b: ModelBuilder) -> Value:
    there = b.fitting(TensorProto.BOOL, ())
    if there and b.choices.integer(0, 1):
        return b.choices.one(there)
    value = np.array(bool(b.choices.integer(0, 1)))
    return b.input(value, "condition") if b.choices.integer(0, 2) else b.constant(value, "condition")


def _new_in(b: ModelBuilder, body: Graph) -> list[Value]:
    return [v for v in b.values() if v.graph is body and v.node is not None]


def _results(b: ModelBuilder, count: int, fresh: list[Value]) -> list[Value]:
    """What a body gives: the last things that it made, or else something from around it."""
    fresh = [v for v in fresh if v.dtype in _CARRIED]
    out = fresh[:count]
    there = [v for v in b.values() if v.dtype in _CARRIED and v not in out]
    while len(out) < count and there:
        out.append(there.pop(0))
    if not out:
        raise Invalid("a body without a result")
    return out


def loop(b: ModelBuilder, fill: Fill) -> list[Value]:
    """A Loop of a few turns that carries one or two values and stacks what a turn gives."""
    carried = _some(b, b.choices.integer(1, 2))
    trips = b.choices.weighted(((3, 2), (3, 3), (1, 1), (1, 0)))
    number = np.array(trips, np.int64)
    count = b.input(number, "trips") if b.choices.chance(3) else b.constant(number, "trips")
    going = b.constant(np.array(True), "going") if b.choices.integer(0, 1) else None
    states = [("state", v.dtype, b.arrays[v], v.shape) for v in carried]
    turn = ("turn", int(TensorProto.INT64), np.array(0, np.int64), ())
    on = ("on", int(TensorProto.BOOL), np.array(True), ())
    with b.scope("body", [turn, on, *states]) as body:
        try:
            fill(b)
            again = b.node("Identity", [body.inputs[1]])[0] if b.choices.integer(0, 1) else _stays_true(b)
            after = [_next(b, v) for v in body.inputs[2:]]
            stacked = [v for v in _new_in(b, body) if v not in after and v.dtype in _CARRIED][: b.choices.integer(0, 1)]
            b.end_body(body, [again, *after, *stacked])
        except Invalid:
            b.abandon(body)
            raise
    node = Node("Loop", [count, going, *carried], attributes={"body": body})
    return _put_in(b, node, body, len(after) + len(stacked))


def _stays_true(b: ModelBuilder) -> Value:
    always = b.constant(np.array(True), "always")
    return always if always.node is not None else b.node("Identity", [always])[0]


def scan(b: ModelBuilder, fill: Fill) -> list[Value]:
    """A Scan over slices of one tensor, with one state."""
    if b.model.opsets[""] < 9:
        raise Invalid("Scan had a batch axis before opset 9")
    able = [v for v in b.values() if v.dtype in _CARRIED and b.arrays[v].ndim and 0 < b.arrays[v].shape[0] < 7]
    if not able:
        raise Invalid("nothing to scan")
    over = b.choices.one(able[:10])
    state = _some(b, 1)[0]
    whole = b.arrays[over]
    axis = b.choices.integer(0, whole.ndim - 1) if b.choices.chance(4) else 0
    if not whole.shape[axis]:
        raise Invalid("nothing to scan")
    backwards = b.choices.chance(4)
    first = np.take(whole, -1 if backwards else 0, axis)
    dims = None if over.shape is None else over.shape[:axis] + over.shape[axis + 1 :]
    with b.scope(
        "body", [("state", state.dtype, b.arrays[state], state.shape), ("part", over.dtype, np.asarray(first), dims)]
    ) as body:
        try:
            fill(b)
            after = _next(b, body.inputs[0])
            stacked = [v for v in _new_in(b, body) if v is not after and v.dtype in _CARRIED][:1]
            b.end_body(body, [after, *stacked])
        except Invalid:
            b.abandon(body)
            raise
    attributes: dict[str, Any] = {"body": body, "num_scan_inputs": 1}
    if backwards:
        attributes["scan_input_directions"] = [1]
    if axis:
        attributes["scan_input_axes"] = [axis]
    return _put_in(b, Node("Scan", [state, over], attributes=attributes), body, 1 + len(stacked))


def _some(b: ModelBuilder, count: int) -> list[Value]:
    """Values that are there, to be carried from turn to turn."""
    able = [v for v in b.values() if v.dtype in _CARRIED][:10]
    if not able:
        raise Invalid("nothing to carry")
    return [b.choices.one(able) for _ in range(count)]


def _next(b: ModelBuilder, state: Value) -> Value:
    """What a body makes of a value that is carried: something new that looks the same."""
    fits = [v for v in b.fitting(state.dtype, b.arrays[state].shape) if v.node is not None and v.graph is b.graph]
    return b.choices.one(fits[:4]) if fits else b.node("Identity", [state])[0]


def _put_in(b: ModelBuilder, node: Node, body: Graph, outputs: int) -> list[Value]:
    """Put in a node with one body, and run all that is there: its later turns had not been seen."""
    node.subgraphs = [body]
    try:
        made = b.add(node, outputs, "y")
    except Invalid:
        b.abandon(body)
        raise
    try:
        with np.errstate(all="ignore"):
            feeds = [b.feeds[v.name] for v in b.model.graph.inputs]
            found = plan(b.model, made).run(REFERENCE, feeds)
        if not b.wild and not all(map(moderate, found)):
            raise Invalid(f"{node.op_type} gives large numbers")
    except (RunError, UnsupportedError, ModelError, Invalid) as e:
        b.abandon(body)
        b.graph.remove(node)
        raise Invalid(f"{node.op_type}: {e}") from e
    b.close(body)
    for v, a in zip(made, found, strict=True):
        b.settle(v, np.asarray(a))
    return made
