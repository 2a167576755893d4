"""Any choice of what is laid out otherwise gives a model that computes the same, whether it pays or not."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import graphopt
from graphopt.ir import Graph, Model
from graphopt.passes.layout.permutations import to_first, to_last
from graphopt.passes.layout.regions import Regions, Spread, perm_of
from graphopt.passes.layout.writing import Writer
from graphopt.rewrite import Ledger, Rewriter
from graphopt.shapes import facts_of, infer_model
from graphopt.testing import assert_equivalent, models
from graphopt.testing.random_models.graphs import Example
from tests.ir import invariants


def scatter(m: Model, graph: Graph, rng: random.Random) -> int:
    """Lay out values and nodes at random; how many nodes are written otherwise."""
    facts = facts_of(m)
    if graph in facts.unrunnable:
        return 0
    spread = Spread(m, graph, facts.left_alone)
    values = [v for n in graph for v in (*n.inputs, *n.outputs) if v is not None and v.shape is not None]
    rng.shuffle(values)
    for v in values:
        rank = len(v.shape or ())
        if rank > 1:
            any_order = tuple(rng.sample(range(rank), rank))
            spread.lay(v, rng.choice([to_last(rank), to_first(rank), any_order]) if rank > 2 else (1, 0))
            spread.run()
    chosen = {n: f for n, f in spread.forms.items() if rng.random() < 0.8}
    turned = {}
    for n in graph:
        if n.op == "Transpose" and n not in spread.left_alone and perm_of(n) is not None:
            sides = n.inputs[0] in spread.perms and rng.random() < 0.5, n.output in spread.perms and rng.random() < 0.5
            if any(sides):
                turned[n] = sides
    Writer(Rewriter(m, Ledger()), graph, Regions(spread.perms, chosen, turned), "laid").write("")
    return len(chosen) + len(turned)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(models(), st.integers(0, 1 << 30))
def test_any_choice(example: Example, seed: int) -> None:
    m = graphopt.load(example.model)
    infer_model(m)
    m.resolve_shadowing()
    rng = random.Random(seed)
    for graph in list(m.graph.subgraphs()):
        scatter(m, graph, rng)
    invariants.check(m)
    assert_equivalent(example.model, m, example.feeds, on=["reference"])
