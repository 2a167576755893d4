"""A runtime whose models take what a table says, by a clock that they move."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from graphopt.errors import ArgumentError
from graphopt.ir import Model, load
from graphopt.tuning.choice import Choice


class Clock:
    """Seconds that pass when something is done."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def chain(nodes: int, opset: int = 18) -> Model:
    """A model with so many nodes."""
    names = ["x", *(f"v{i}" for i in range(nodes - 1)), "y"] if nodes else ["x", "y"]
    ops = [helper.make_node("Neg", [a], [b]) for a, b in pairwise(names)]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy")
    graph = helper.make_graph(ops, "chain", [x], [y])
    return load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8))


class Stand:
    """Opens models of `chain`; how long one runs is looked up by the number of its nodes.

    Args:
        seconds: of a run.
        noise: by what share runs are longer, at most.
        refuses: models that it does not take.
        wrong: models that compute something else.
    """

    runtime, processor, threads = "fake 1.0", "a processor", 1

    def __init__(
        self, clock: Clock, seconds: Mapping[int, float], noise: float = 0.0,
        refuses: frozenset[int] = frozenset(), wrong: frozenset[int] = frozenset(),
    ) -> None:  # fmt: skip
        self.clock = self.timer = clock
        self.seconds, self.noise, self.refuses, self.wrong = seconds, noise, refuses, wrong
        self.random = random.Random(0)
        self.runs = 0
        self.alive = self.most_alive = 0

    def open(self, model: Model) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
        n = model.node_count()
        if n in self.refuses:
            raise RuntimeError("no such kernel")
        return Session(self, n)

    def find_inputs(self, model: Model, session: Any, seconds: float) -> Mapping[str, Any]:
        return {"x": np.ones(4, np.float32)}


class Session:
    """Runs one model; counts how many are alive together."""

    def __init__(self, stand: Stand, nodes: int) -> None:
        self.stand, self.nodes = stand, nodes
        stand.alive += 1
        stand.most_alive = max(stand.most_alive, stand.alive)

    def __del__(self) -> None:
        self.stand.alive -= 1

    def __call__(self, feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        stand = self.stand
        if "x" not in feeds:
            raise ArgumentError("x is missing")
        stand.runs += 1
        stand.clock.now += stand.seconds[self.nodes] * (1 + stand.noise * stand.random.random())
        return {"y": np.full(4, 2.0 if self.nodes in stand.wrong else 1.0, np.float32)}


def step(rule: str) -> Any:
    """An application of a rule to two nodes, of which one is left."""
    return SimpleNamespace(rule=rule, before=(1, 2), after=(3,))


class Builder:
    """Builds the models of a search: so many nodes for each choice, with a report in which rules fired."""

    def __init__(self, clock: Clock, nodes: Callable[[Choice], int], rules: list[str], takes: float = 0.01) -> None:
        self.clock, self.nodes, self.rules, self.takes = clock, nodes, rules, takes
        self.built: list[Choice] = []

    def __call__(self, choice: Choice) -> Model:
        self.clock.now += self.takes
        self.built.append(choice)
        model = chain(self.nodes(choice), 17 if choice.own_opset or not choice.level else 18)
        model.report = SimpleNamespace(steps=[step(r) for r in self.rules], tuning=None)
        return model
