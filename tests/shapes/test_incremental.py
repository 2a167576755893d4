"""Inference while a graph is rewritten: what lies below a change is inferred again, nothing else, and in the end as much is known
as if the model were new."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

import graphopt
from graphopt import load
from graphopt.ir import Dim, Model, Node, Shape, Tensor, Value
from graphopt.rewrite import Ledger, Rewriter
from graphopt.shapes import (
    Facts,
    contradiction,
    dims,
    facts_of,
    infer_model,
    infer_node,
    known_elements,
    refresh,
    settle,
    take_over,
)
from graphopt.shapes.walk import Walk
from tests.ir import invariants
from tests.ir.building import parse, with_constants
from tests.property_graphs import models
from tests.shapes.test_elements import chains, run_all, show

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def inferred(text: str | ModelProto, **arrays: Any) -> Model:
    proto = text if isinstance(text, ModelProto) else with_constants(text, imports=', "my": 1', **arrays)
    m = load(proto)
    infer_model(m)
    return m


def value(m: Model, name: str) -> Value:
    (v,) = [
        v
        for g in m.graph.subgraphs()
        for v in (*g.inputs, *g.initializers, *(o for n in g for o in n.outputs))
        if v is not None and v.name == name
    ][:1]
    return v


def new_node(m: Model, op: str, inputs: list[Value | None], outputs: int = 1, **attributes: Any) -> Node:
    """A node that is in no graph yet."""
    node = Node(op, list(inputs), attributes=attributes)
    node.graph = m.graph
    for _ in range(outputs):
        node.new_output(m.fresh_name("new"))
    return node


@pytest.fixture
def visited(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first outputs of the nodes that inference looks at, in order."""
    seen: list[str] = []
    infer = Walk.node

    def counting(self: Walk, node: Node, strict: bool = False) -> bool:
        seen.append(node.output.name)
        return infer(self, node, strict)

    monkeypatch.setattr(Walk, "node", counting)
    return seen


# -------------------------------------------------------------------------------------------------------------- one node
def test_one_node() -> None:
    m = inferred("g (float[N, 3] x) => (float[A, B] y) { y = Relu(x) }")
    node = new_node(m, "Transpose", [value(m, "y")], perm=[1, 0])
    infer_node(m, node)
    assert (node.output.dtype, node.output.shape) == (FLOAT, (3, "N"))
    shape = new_node(m, "Shape", [node.output])
    infer_node(m, shape)
    known = known_elements(shape.output)
    assert known is not None and known.tolist() == [3, "N"]
    two = new_node(m, "Split", [value(m, "x")], 2, axis=1)
    with pytest.raises(ValueError, match="Split"):
        infer_node(m, two)


@pytest.mark.parametrize(
    ("op", "inputs", "attributes"),
    [
        ("Transpose", ["x"], {"perm": [0, 0]}), ("Concat", ["x", "z"], {"axis": 1}), ("MatMul", ["x", "x"], {}), ("Add", ["x", "z"], {}),
        ("Concat", ["x", "z"], {"axis": 7}), ("Flatten", ["x"], {"axis": 3}), ("Transpose", ["x"], {"perm": "text"}),
    ],
)  # fmt: skip
def test_a_node_that_cannot_be(op: str, inputs: list[str], attributes: dict[str, Any]) -> None:
    m = inferred("g (float[2, 3] x, float[4, 5] z) => (float[A, B] y) { y = Relu(x) }")
    facts = facts_of(m)
    node = new_node(m, op, [value(m, i) for i in inputs], **attributes)
    with pytest.raises(ValueError, match="."):
        infer_node(m, node)
    assert not facts.refused and not facts.conflicts and not facts.learnt


def test_a_node_that_may_never_be_put_in_teaches_nothing() -> None:
    m = inferred("g (float[?, 3] x, float[4, 3] z) => (float[A, B] y) { y = Relu(x) }")
    facts = facts_of(m)
    before = value(m, "x").shape
    node = new_node(m, "Concat", [value(m, "x"), value(m, "z")], axis=1)
    infer_node(m, node)
    assert node.output.shape == (4, 6)
    assert facts.scope is None
    assert not settle(m)
    assert value(m, "x").shape == before
    assert facts.canonical_shape(before) == before


def test_a_node_whose_inputs_nobody_knows() -> None:
    m = inferred("g (float[2] x) => (float[A] y) { a = my.Thing(x) y = Relu(x) }")
    node = new_node(m, "Neg", [value(m, "a")])
    infer_node(m, node)
    assert (node.output.dtype, node.output.shape) == (0, None)
    stranger = new_node(m, "Thing", [value(m, "x")])
    infer_node(m, stranger)
    assert stranger.output.shape is None


# ---------------------------------------------------------------------------------------------------- below a change
CHAIN = """g (float[N, 3] x) => (float[A, B] y, float[C, D] z) {
    a = my.Thing(x) b = Relu(a) c = Neg(b) y = Abs(c) d = Sin(x) e = Cos(d) z = Tanh(e)
}"""


def test_what_lies_below_is_inferred_again_and_nothing_else(visited: list[str]) -> None:
    m = inferred(CHAIN)
    visited.clear()
    a = value(m, "a")
    a.dtype, a.shape = FLOAT, ("N", 7)
    found = refresh(m, [a])
    assert visited == ["b", "c", "y"]
    assert [n.output.name for n in found] == ["b", "c", "y"]
    assert value(m, "y").shape == ("N", 7)


def test_nothing_new_stops_it(visited: list[str]) -> None:
    m = inferred(CHAIN)
    visited.clear()
    assert refresh(m, [value(m, "x")]) == []
    assert sorted(visited) == ["a", "d"], "what reads it, and nothing below"
    visited.clear()
    assert refresh(m, []) == []
    assert refresh(m, [value(m, "z")]) == []
    assert visited == []


def test_news_travel_as_far_as_they_are_news(visited: list[str]) -> None:
    """A rank alone is news for Shape; nobody reads more than its length below."""
    m = inferred(
        """g (float[2, 3] x) => (float[A] y, int64[?] z) {
            a = my.Thing(x) s = Shape(a) t = Shape(s) u = Mul(t, t) z = Neg(u) y = Relu(a)
        }"""
    )
    visited.clear()
    a = value(m, "a")
    a.dtype, a.shape = FLOAT, (dims.add("N", 1), "M")
    refresh(m, [a])
    assert visited.count("s") == 1
    assert set(visited) == {"s", "y", "t", "u", "z"}
    known = known_elements(value(m, "z"))
    assert known is not None and known.tolist() == [-4]
    visited.clear()
    a.shape = (5, "M")
    refresh(m, [a])
    assert set(visited) == {"s", "y", "t"}, "that there are two dims is no news"


def test_each_is_inferred_once_where_paths_meet(visited: list[str]) -> None:
    m = inferred(
        "g (float[2] x) => (float[A] y) { a = my.Thing(x) b = Relu(a) c = Neg(a) d = Add(b, c) e = Mul(d, a) y = Sub(e, b) }"
    )
    visited.clear()
    a = value(m, "a")
    a.dtype, a.shape = FLOAT, (2,)
    refresh(m, [a])
    assert sorted(visited) == ["b", "c", "d", "e", "y"]


def test_bodies_below_a_change(visited: list[str]) -> None:
    """A branch that reads it is inferred with the node that holds it, and what lies below that."""
    m = inferred(
        """g (bool p, float[2] x) => (float[A] y, float[B] z) {
            a = my.Thing(x)
            c = If (p) <then_branch = t () => (float[C] t_out) { t_out = Relu(a) }, else_branch = e () => (float[D] e_out) { e_out = Neg(a) }>
            y = Abs(c) z = Exp(x)
        }"""
    )
    visited.clear()
    a = value(m, "a")
    a.dtype, a.shape = FLOAT, (2,)
    refresh(m, [a])
    assert set(visited) <= {"t_out", "e_out", "c", "y"}
    assert value(m, "t_out").shape == value(m, "e_out").shape == value(m, "c").shape == value(m, "y").shape == (2,)


def test_nodes_that_were_removed_are_not_looked_at(visited: list[str]) -> None:
    m = inferred("g (float[2] x) => (float[A] y) { a = my.Thing(x) b = Relu(a) y = Neg(x) }")
    node = value(m, "b").node
    assert node is not None
    a = value(m, "a")
    m.graph.remove(node)
    a.uses[node] = 1  # as in the middle of a rewrite
    visited.clear()
    a.dtype, a.shape = FLOAT, (2,)
    refresh(m, [a])
    assert visited == []


# ----------------------------------------------------------------------------------------------------------- take over
def test_what_was_known_is_kept() -> None:
    m = inferred("g (float[N, 3] x) => (float[A, B] y) { a = Relu(x) y = Neg(a) }")
    old, new = value(m, "a"), Value("b", m.graph)
    assert take_over(m, old, new) == []
    assert (new.dtype, new.shape) == (FLOAT, ("N", 3))


@pytest.mark.parametrize(
    ("old", "new", "together"),
    [
        (("?1", 3), ("N", 3), ("N", 3)),
        (("N", 3), ("?1", 3), ("N", 3)),
        (("N", "?2"), ("?3", 4), ("N", 4)),
        ((dims.add("N", 1), 3), ("M", 3), ("M", 3)),
        ((2, 3), ("?1", "?2"), (2, 3)),
        (None, (2, 3), (2, 3)),
        ((2, 3), None, (2, 3)),
    ],
)
def test_the_better_of_both(old: Shape | None, new: Shape | None, together: Shape, visited: list[str]) -> None:
    m = inferred("g (float[2] x) => (float[A] y) { a = my.Thing(x) b = my.Thing(x) c = Relu(b) y = Neg(x) }")
    a, b = value(m, "a"), value(m, "b")
    a.dtype = b.dtype = FLOAT
    a.shape, b.shape = old, new
    visited.clear()
    found = take_over(m, a, b)
    assert b.shape == together
    learnt = b.shape != old
    assert [n.output.name for n in found] == (["c"] if learnt else [])
    assert visited == (["c"] if learnt else []), (
        "what reads it is inferred again where the new one tells more than the old"
    )


def test_elements_are_kept() -> None:
    m = inferred("g (float[N, 3] x) => (int64[A] y) { s = Shape(x) y = Neg(s) }")
    s, new = value(m, "s"), Value("t", m.graph)
    take_over(m, s, new)
    assert new.known is not None and new.known.tolist() == ["N", 3]


def test_a_constant_tells_its_elements(visited: list[str]) -> None:
    m = inferred(
        "g (float[6] x, int64[2] s) => (float[A, B] y, float[C] z) { r = Neg(s) y = Reshape(x, r) z = Relu(x) }"
    )
    rewriter = Rewriter(m, Ledger())
    r = value(m, "r")
    assert r.node is not None
    assert value(m, "y").rank == 2
    c = Value("c", m.graph)
    c.const = Tensor(array=np.array([2, 3]))
    c.dtype, c.shape = c.const.dtype, c.const.dims
    rewriter.add_constant(c, r.node)
    visited.clear()
    rewriter.replace(r, c, r.node)
    assert visited == ["y"]
    assert value(m, "y").shape == (2, 3)


def test_a_replacement_that_tells_more(visited: list[str]) -> None:
    m = inferred(CHAIN)
    rewriter = Rewriter(m, Ledger())
    old = value(m, "a")
    assert old.node is not None
    node = new_node(m, "Transpose", [value(m, "x")], perm=[1, 0])
    infer_node(m, node)
    rewriter.insert(node, old.node)
    visited.clear()
    rewriter.replace(old, node.output, old.node)
    assert visited == ["b", "c", "y"]
    assert value(m, "y").shape == (3, "N")
    assert [n.output.name for n in rewriter.pending][:1]
    invariants.check(m)


def test_a_replacement_that_tells_no_more(visited: list[str]) -> None:
    m = inferred(CHAIN)
    rewriter = Rewriter(m, Ledger())
    old = value(m, "b")
    assert old.node is not None
    node = new_node(m, "Identity", [value(m, "a")])
    infer_node(m, node)
    rewriter.insert(node, old.node)
    visited.clear()
    rewriter.replace(old, node.output, old.node)
    assert visited == []


@pytest.mark.contradicts
@pytest.mark.parametrize("shape", [(2, 4), (2,), (dims.add("N", 9), 0)])
def test_contradictions_are_noted(shape: Shape) -> None:
    m = inferred("g (float[2, 3] x) => (float[A, B] y) { a = Relu(x) y = Neg(a) }")
    old, new = value(m, "a"), Value("b", m.graph)
    new.dtype, new.shape = FLOAT, shape
    assert contradiction(old, new) is not None
    assert take_over(m, old, new) == []
    (message,) = facts_of(m).conflicts
    assert "'a'" in message and "'b'" in message
    assert value(m, "y").shape == (2, 3), "what was known stays"


def test_contradictions_between_elements() -> None:
    m = inferred("g (float[N, 3] x) => (int64[A] y) { s = Shape(x) t = Neg(s) y = Neg(t) }")
    s, t, y = (value(m, n) for n in "sty")
    assert contradiction(s, t) is not None, "3 is not -3"
    assert contradiction(s, y) is None
    assert contradiction(s, value(m, "x")) is not None or value(m, "x").rank != 1


# -------------------------------------------------------------------------------------------------------------- settle
def test_equalities_that_are_learnt_on_the_way() -> None:
    m = inferred(
        "g (float[?, 3] x, float[?, 3] z) => (float[?, ?] y, float[?, ?] w) { a = my.Thing(x) y = Concat<axis=1>(a, z) w = Neg(z) }"
    )
    assert not settle(m), "everything is settled after infer_model"
    a = value(m, "a")
    a.dtype, a.shape = FLOAT, (4, 5)
    refresh(m, [a])
    assert facts_of(m).learnt
    assert settle(m)
    assert not settle(m)
    assert value(m, "y").shape == (4, 8)
    assert value(m, "z").shape == value(m, "w").shape == (4, 3)


def test_equalities_that_a_branch_would_teach_are_not_learnt_on_the_way() -> None:
    m = inferred(
        """g (bool p, float[2] x, float[?, 3] z) => (float[?, ?] y, float[?, ?] w) {
            a = my.Thing(x)
            y = If (p) <then_branch = t () => (float[?, ?] t_out) { t_out = Concat<axis=1>(a, z) }, else_branch = e () => (float[?, ?] e_out) { e_out = Neg(z) }>
            w = Abs(z)
        }"""
    )
    a, before = value(m, "a"), value(m, "z").shape
    a.dtype, a.shape = FLOAT, (4, 5)
    refresh(m, [a])
    settle(m)
    assert value(m, "z").shape == before == value(m, "w").shape
    assert not facts_of(m).conflicts


def test_elements_that_become_known() -> None:
    m = inferred("g (float[N, 3] x) => (float[?, ?] y) { s = Shape(x) n = Neg(s) a = Abs(n) y = ConstantOfShape(a) }")
    assert value(m, "y").rank == 2
    old, new = value(m, "a"), value(m, "s")
    old.replace_uses(new)
    assert [n.output.name for n in take_over(m, old, new)] == ["y"]
    assert value(m, "y").shape == ("N", 3)


# ------------------------------------------------------------------------------------------------- as if it were new
def consistent(m: Model) -> None:
    """What is known of each value after rewriting fits with what is found when the result is read anew, and is no less."""
    facts = facts_of(m)
    assert not facts.conflicts, facts.conflicts
    fresh = load(m.proto)
    found: Facts = infer_model(fresh)
    assert not found.conflicts, found.conflicts
    assert not set(map(str, found.refused)) - set(map(str, facts.refused)), found.refused
    for g, h in zip(m.graph.subgraphs(), fresh.graph.subgraphs(), strict=True):
        nodes = [n for n in g if n.op != "Constant"]
        others = [n for n in h if n.op != "Constant"]
        for p, q in zip(nodes, others, strict=True):
            for v, w in zip(p.outputs, q.outputs, strict=True):
                if v is None or w is None:
                    continue
                assert v.name == w.name
                compare(v, w)


def compare(v: Value, w: Value) -> None:
    what = f"{v.node}: {v.shape} {v.known}, anew: {w.shape} {w.known}"
    assert v.dtype == w.dtype or not w.dtype, what
    if w.shape is not None:
        assert v.shape is not None, what
        assert len(v.shape) == len(w.shape), what
        for d, e in zip(v.shape, w.shape):
            fits(d, e, what)
    p, q = known_elements(v), known_elements(w)
    if q is not None and (p is not None or not v.exits):  # nobody asks for the elements of a copy for an output
        assert p is not None, what
        assert p.shape == q.shape, what
        for d, e in zip(p.reshape(-1), q.reshape(-1)):
            fits(d, e, what)


def fits(d: Dim, e: Dim, what: str) -> None:
    if dims.is_anonymous(e):
        return
    assert not dims.is_anonymous(d), f"anew more is known: {what}"
    assert dims.same_dims(d, e) is not False, f"a contradiction: {what}"


@settings(max_examples=120)
@given(models(), st.sampled_from([1, 2]))
def test_random_graphs(case: tuple[ModelProto, dict[str, np.ndarray]], level: int) -> None:
    proto, _ = case
    m = graphopt.optimize(proto, level=level)
    invariants.check(m)
    consistent(m)


@st.composite
def shapes_at_work(draw: Any) -> ModelProto:
    """Shape tensors that random operators compute, and tensors that are made with them."""
    proto: ModelProto = draw(chains())
    m = load(proto)
    infer_model(m)
    vectors = [
        v
        for n in m.graph
        for v in n.outputs
        if v is not None and v.dtype == INT64 and v.rank == 1 and v.shape and 0 < (v.shape[0] or 0) < 5
    ]
    assume(vectors)
    graph = proto.graph
    graph.initializer.append(numpy_helper.from_array(np.array([-1]), "minus_one"))
    for i in range(draw(st.integers(1, 3))):
        v = draw(st.sampled_from(vectors))
        kind = draw(st.sampled_from(["ConstantOfShape", "Expand", "Reshape", "Tile"]))
        graph.node.append(helper.make_node("Abs", [v.name], [f"sizes{i}"]))
        if kind == "ConstantOfShape":
            graph.node.append(helper.make_node(kind, [f"sizes{i}"], [f"made{i}"]))
        elif kind == "Expand":
            graph.node.append(helper.make_node(kind, ["minus_one", f"sizes{i}"], [f"made{i}"]))
        elif kind == "Reshape":
            graph.node.append(helper.make_node("ConstantOfShape", [f"sizes{i}"], [f"full{i}"]))
            graph.node.append(helper.make_node(kind, [f"full{i}", "minus_one"], [f"made{i}"]))
        else:
            graph.node.append(helper.make_node("Reshape", [f"sizes{i}", "minus_one"], [f"row{i}"]))
            graph.node.append(helper.make_node("Slice", [f"sizes{i}", "minus_one", "minus_one"], [f"none{i}"]))
            graph.node.append(helper.make_node("Concat", [f"row{i}", f"none{i}"], [f"made{i}"], axis=0))
        graph.node.append(helper.make_node("Shape", [f"made{i}"], [f"shape{i}"]))
        graph.node.append(helper.make_node("Neg", [f"shape{i}"], [f"out{i}"]))
    del graph.output[:]
    names = [n.output[0] for n in graph.node if n.output[0].startswith(("out", "made"))]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return proto


@pytest.mark.contradicts  # where the model cannot run
@settings(max_examples=150)
@given(shapes_at_work(), st.sampled_from([1, 2]))
def test_random_shape_tensors(proto: ModelProto, level: int) -> None:
    note(show(proto))
    m = graphopt.optimize(proto, level=level)
    invariants.check(m)
    real = [run_all(proto, *sizes) for sizes in ((2, 3, 1), (1, 1, 1))]
    if any(r is not None for r in real):
        consistent(m)


EXPORTED = {
    "flatten": """g (float[batch, 3, height, width] x, float[64, 10] w) => (float[?, ?] y) {
        c = Relu(x) s = Shape(c) b = Gather(s, i0) u = Unsqueeze(b, v0) t = Concat<axis=0>(u, vm1) f = Reshape(c, t) g = Reshape(f, t64) y = MatMul(g, w) }""",
    "heads": """g (float[batch, seq, 64] x, float[64, 64] w) => (float[?, ?, ?] y) {
        q = MatMul(x, w) s = Shape(x) b = Gather(s, i0) n = Gather(s, i1) ub = Unsqueeze(b, v0) un = Unsqueeze(n, v0)
        t = Concat<axis=0>(ub, un, v4, v16) r = Reshape(q, t) p = Transpose<perm=[0, 2, 1, 3]>(r) pt = Transpose<perm=[0, 1, 3, 2]>(p) a = MatMul(p, pt)
        m = Softmax<axis=-1>(a) o = MatMul(m, p) ot = Transpose<perm=[0, 2, 1, 3]>(o) t2 = Concat<axis=0>(ub, un, v64) y = Reshape(ot, t2) }""",
    "resize": """g (float[batch, 8, height, width] x) => (float[?, ?, ?, ?] y, float[?, ?, ?, ?] z) {
        s = Shape(x) hw = Slice(s, v2, v4) f = Cast<to=1>(hw) h = Mul(f, half) l = Floor(h) i = Cast<to=7>(l) nc = Slice(s, v0, v2) t = Concat<axis=0>(nc, i)
        y = Resize<mode="nearest">(x, , , t) d = Shape(y) e = Slice(d, v2, v4) z = Expand(one, d) }""",
    "mask": """g (float[batch, seq, 8] x, float[1, 1, 32, 32] m) => (float[?, ?, ?, ?] y) {
        s = Shape(x) n = Gather(s, i1) un = Unsqueeze(n, v0) a = Slice(m, v0, un, v2) b = Slice(a, v0, un, v3) y = Neg(b) }""",
    "expand": """g (float[batch, seq, 8] x) => (float[?, ?, ?] y) {
        s = Shape(x) k = ConstantOfShape<value = int64[1] {1}>(v3) mm = Mul(k, vm1) w = Concat<axis=0>(vm1, vm1, v4) e = Equal(w, mm) r = Where(e, s, w)
        e2 = Equal(r, mm) r2 = Where(e2, k, r) y = ConstantOfShape(r2) }""",
    "past": """g (float[batch, 4, past, 8] k, float[batch, 4, seq, 8] n, float[batch, 4, seq, 8] q) => (float[?, ?, ?, ?] y, float[?, ?, ?, ?] out) {
        out = Concat<axis=2>(k, n) t = Transpose<perm=[0, 1, 3, 2]>(out) a = MatMul(q, t) s = Shape(out) l = Gather(s, i2) p = Shape(k) pl = Gather(p, i2)
        d = Sub(l, pl) ul = Unsqueeze(d, v0) e = Concat<axis=0>(ul, vm1) r = Reshape(a, f4) sh = Shape(r) y = Softmax(a) }""",
}  # fmt: skip
NUMBERS = {
    "i0": np.array(0), "i1": np.array(1), "i2": np.array(2), **{f"v{k}": np.array([k]) for k in (0, 1, 2, 3, 4, 16, 64)}, "vm1": np.array([-1]),
    "half": np.float32(0.5), "one": np.float32([1]), "t64": np.array([-1, 64]), "f4": np.array([0, 0, -1, 4]),
}  # fmt: skip


def exported(name: str, opset: int = 17) -> ModelProto:
    proto = parse(EXPORTED[name], opset, check=False)
    used = {i for n in proto.graph.node for i in n.input}
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in NUMBERS.items() if n in used)
    onnx.checker.check_model(proto)
    return proto


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("name", EXPORTED)
def test_what_exporters_write(name: str, level: int) -> None:
    m = graphopt.optimize(exported(name), level=level)
    invariants.check(m)
    consistent(m)
    assert all(v.shape is not None for n in m.graph for v in n.outputs if v is not None)


@pytest.mark.parametrize("name", EXPORTED)
def test_what_exporters_write_with_fixed_dims(name: str) -> None:
    proto = exported(name)
    sizes = {"batch": 2, "seq": 6, "past": 4, "height": 8, "width": 8}
    declared = {d.dim_param for i in proto.graph.input for d in i.type.tensor_type.shape.dim if d.dim_param}
    m = graphopt.optimize(proto, input_shapes={n: s for n, s in sizes.items() if n in declared})
    invariants.check(m)
    consistent(m)
    for n in m.graph:
        for v in n.outputs:
            assert v is not None and v.shape is not None
            assert all(isinstance(d, int) for d in v.shape), v.node
    assert not {n.op for n in m.graph} & {"Shape", "Gather", "Unsqueeze", "Concat", "Slice"} - {"Concat", "Slice"}


def test_one_thing_at_a_time_or_all_at_once() -> None:
    """Optimising what was optimised finds the same types."""
    for name in EXPORTED:
        once = graphopt.optimize(exported(name))
        twice = graphopt.optimize(once)
        assert [n.op for n in twice.graph] == [n.op for n in once.graph], name
        consistent(twice)
