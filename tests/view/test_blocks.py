"""Folding."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import pairwise

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphopt
from benchmarks.graphs import chain, random_dag
from graphopt.demo import demo_model
from graphopt.view.blocks import MOST, Block, Child, fold
from graphopt.view.data import ModelData, model_data
from tests.view.test_data import TEXT


def folded(model: onnx.ModelProto) -> tuple[ModelData, list[Child]]:
    data = model_data(graphopt.load(model))
    return data, fold(data)[0]


def straight(operators: Iterable[str]) -> onnx.ModelProto:
    names = ["x"]
    lines = []
    for op in operators:
        lines.append(f"v{len(names)} = {op}({names[-1]})")
        names.append(f"v{len(names)}")
    body = " ".join(lines)
    text = f'<ir_version: 8, opset_import: ["": 18]> g (float[4] x) => (float[4] {names[-1]}) {{ {body} }}'
    return onnx.parser.parse_model(text)


def blocks(children: Iterable[Child]) -> Iterable[Block]:
    for c in children:
        if isinstance(c, Block):
            yield c
            yield from blocks(c.children)


def leaves(children: Iterable[Child]) -> list[int]:
    return [n for c in children for n in (c.nodes() if isinstance(c, Block) else (c,))]


LAYER = ["Abs", "Exp", "Neg", "Sin", "Tanh", "Relu", "Cos"]


def test_repeated_layers_are_a_stack_of_equal_blocks() -> None:
    data, top = folded(straight(["Sqrt", "Log", *LAYER * 12, "Floor", "Ceil"]))
    (stack,) = [b for b in blocks(top) if b.kind == "stack"]
    assert len(stack.children) == 12
    inside = [[data.nodes[n].op for n in b.nodes()] for b in stack.children if isinstance(b, Block)]
    assert all(ops == LAYER for ops in inside)
    assert [data.nodes[c].op for c in top if isinstance(c, int)] == ["Sqrt", "Log", "Floor", "Ceil"]


def test_blocks_begin_where_one_value_crosses() -> None:
    """The period could begin anywhere in y + f(y); only in front of the branch does one value cross."""
    lines, last = [], "x"
    for i in range(8):
        lines.append(f"a{i} = Exp({last}) b{i} = Sin(a{i}) c{i} = Tanh(b{i}) d{i} = Add(c{i}, {last})")
        last = f"d{i}"
    text = f'<ir_version: 8, opset_import: ["": 18]> g (float[4] x) => (float[4] z) {{ y = Tanh(x) {" ".join(lines)} z = Exp({last}) }}'
    data, top = folded(onnx.parser.parse_model(text.replace("Exp(x)", "Exp(y)").replace(", x)", ", y)")))
    (stack,) = [b for b in blocks(top) if b.kind == "stack"]
    assert [[data.nodes[n].op for n in b.nodes()] for b in stack.children if isinstance(b, Block)] == [
        ["Exp", "Sin", "Tanh", "Add"]
    ] * 8


def test_of_equally_narrow_places_the_one_in_the_middle_is_cut() -> None:
    choose = random.Random(0)
    _, top = folded(straight(choose.choice(["Abs", "Exp", "Neg", "Sin", "Tanh", "Relu", "Cos"]) for _ in range(48)))
    assert [(b.kind, len(list(b.nodes()))) for b in top if isinstance(b, Block)] == [("region", 24), ("region", 24)]


@pytest.mark.parametrize("model", [chain(3600), random_dag(1500), demo_model()], ids=["chain", "random", "demo"])
def test_few_boxes_on_every_level(model: onnx.ModelProto) -> None:
    data, top = folded(model)
    assert leaves(top) == list(range(len(data.nodes)))
    assert len(top) <= MOST + 2 and all(len(b.children) <= MOST + 2 for b in blocks(top))


def test_bodies_lie_beside_their_node() -> None:
    _, top = folded(onnx.parser.parse_model(TEXT))
    (body,) = [b for b in blocks(top) if b.node >= 0]
    assert body.node == 2 and body.children[0] == 2
    assert [(b.title, list(b.nodes())) for b in body.children[1:] if isinstance(b, Block)] == [
        ("then_branch", [3]), ("else_branch", [4, 5])
    ]  # fmt: skip


@given(st.lists(st.sampled_from(["Abs", "Exp", "Neg"]), min_size=1, max_size=120))
def test_no_node_is_lost_and_the_order_stays(operators: list[str]) -> None:
    data, top = folded(straight(operators))
    found = leaves(top)
    assert found == list(range(len(operators)))
    assert all(a < b for a, b in pairwise(found))
    for b in blocks(top):
        if b.kind == "stack" and all(isinstance(c, Block) and c.kind == "block" for c in b.children):
            texts = {tuple(data.nodes[n].op for n in c.nodes()) for c in b.children if isinstance(c, Block)}
            assert len(texts) == 1
