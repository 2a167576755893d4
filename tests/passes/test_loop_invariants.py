"""What is the same in each round of a Loop or Scan is taken out of it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphopt import optimize
from graphopt.ir import Graph, Model
from tests.ir import invariants
from tests.ir.building import ops, parse, run, same_bits
from tests.patterns.rule_cases import run_ort

X = np.float32([-1, 0.5])
Z = np.float32([3, -0.25])


def simplify(text: str, only: str | None = "loop_invariants", opset: int = 17) -> Model:
    """Optimise with this pass alone; the outputs stay the same, however often the body runs."""
    model = parse(text, opset=opset, check=False)
    m = optimize(model, level=1, **({"only": only} if only else {}))
    invariants.check(m)
    assert m.report is not None
    assert m.report.nodes_before - m.report.nodes_after == sum(step.saved for step in m.report.steps), "the ledger"
    onnx.checker.check_model(m.proto, full_check=True)
    for rounds in (0, 1, 3):
        given = {"x": X, "z": Z, "n": np.array(rounds), "go": np.array(True), "rows": np.stack([X] * rounds or [X])}
        feeds = {i.name: given[i.name] for i in model.graph.input}
        assert same_bits(run(m, **feeds), run(model, **feeds))
        assert same_bits(run_ort(m.proto, feeds), run_ort(model, feeds))
    return m


def loop(
    nodes: str,
    more: str = "",
    given: str = "n, go, x",
    outs: str = "y",
    gives: str = "float[N] w",
    ys: str = "float[N] y",
) -> str:
    """A Loop that carries v, and what `more` adds."""
    return f"""g (float[N] x, float[N] z, int64 n, bool go) => ({ys}) <float two = {{2}}, int64 always = {{3}}, bool yes = {{1}}> {{
        {outs} = Loop ({given}) <body = b (int64 i, bool c, float[N] v{more}) => (bool d, {gives}) {{ d = Identity(c) {nodes} }}> }}"""


def body(m: Model) -> Graph:
    """The only one."""
    (g,) = [g for n in m.graph for g in n.subgraphs]
    return g


def test_what_reads_nothing_inside_comes_first() -> None:
    m = simplify(loop("a = Sin(z) b = Mul(a, two) w = Add(v, b)"))
    assert ops(m) == ["Sin", "Mul", "Loop"]
    assert [n.op for n in body(m)] == ["Identity", "Add"]
    (step,) = m.report.steps
    assert [n.op for n in step.after] == ["Sin", "Mul"]


def test_constants_of_the_body() -> None:
    m = simplify(loop("k = Constant<value = float {3.0}>() a = Mul(z, k) w = Add(v, a)"))
    assert [op for op in ops(m) if op != "Constant"] == ["Mul", "Loop"]


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param("a = Sin(v) w = Add(v, a)", id="changes"),
        pytest.param("f = Cast<to=1>(i) a = Mul(z, f) w = Add(v, a)", id="number of the round"),
        pytest.param("a = RandomUniformLike(z) b = Sub(a, a) w = Add(v, b)", id="random"),
        pytest.param("w = Sin(z)", id="given out"),
        pytest.param("a = Div(z, z) w = Add(v, a)", id="may fail, for integers"),
    ],
)
def test_stays(nodes: str) -> None:
    assert ops(simplify(loop(nodes))) == ["Loop"]


def test_where_the_body_certainly_runs() -> None:
    """Whatever fails, failed there too."""
    m = simplify(loop("a = Div(z, z) w = Add(v, a)", given="always, yes, x"))
    assert ops(m) == ["Div", "Loop"]
    m = simplify(loop("a = Div(z, z) w = Add(v, a)", given="always, go, x"))
    assert ops(m) == ["Loop"]


def test_what_may_not_broadcast_stays() -> None:
    """Two vectors of which nobody knows that they are as long as each other."""
    text = loop("a = Add(z, x) b = ReduceSum<keepdims=0>(a) w = Add(v, b)").replace("float[N] z", "float[M] z")
    model = parse(text, check=False)
    m = optimize(model, level=1, only="loop_invariants")
    assert ops(m) == ["Loop"]


def test_what_is_carried_on_unchanged() -> None:
    more, gives, ys = ", float[N] u", "float[N] w, float[N] u1", "float[N] y, float[N] t"
    text = loop("u1 = Identity(u) w = Mul(v, u)", more, "n, go, x, z", "y, t", gives, ys)
    m = simplify(text)
    (node,) = [n for n in m.graph if n.op == "Loop"]
    assert len(node.inputs) == 3
    assert len(node.outputs) == 1
    assert [n.op for n in body(m)] == ["Identity", "Mul"]
    both = loop("u1 = Identity(u) w = Identity(v)", more, "n, go, x, z", "y, t", gives, ys)
    m = simplify(both)  # a Loop gives something, or is none
    assert len(m.graph.outputs) == 2


def test_what_is_carried_elsewhere() -> None:
    """A value that changes places is not the same in each round; one that is handed on and given out twice is."""
    more, gives, ys = ", float[N] u", "float[N] w, float[N] u1", "float[N] y, float[N] t"
    m = simplify(loop("u1 = Identity(v) w = Sin(u)", more, "n, go, x, z", "y, t", gives, ys))
    assert len(body(m).inputs) == 4
    m = simplify(loop("u1 = Identity(u) w = Identity(u)", more, "n, go, x, z", "y, t", gives, ys))
    assert len(body(m).inputs) == 3


def test_a_loop_before_opset_11_carries_something() -> None:
    text = loop("w = Identity(v) q = Identity(v)", gives="float[N] w, float[N] q", outs="y, qs", ys="float[M,N] qs")
    m = simplify(text, opset=9)
    assert len(body(m).inputs) == 3
    assert len(body(simplify(text, opset=11)).inputs) == 2


def test_collected_values_stay() -> None:
    more, gives, ys = ", float[N] u", "float[N] w, float[N] u1, float[N] s", "float[N] y, float[N] t, float[K,N] q"
    m = simplify(loop("u1 = Identity(u) w = Mul(v, u) s = Neg(w)", more, "n, go, x, z", "y, t, q", gives, ys))
    assert len(body(m).outputs) == 3


def test_scan() -> None:
    text = """g (float[N] x, float[N] z, float[R,N] rows) => (float[N] last, float[N] y, float[R,N] s) {
        last, y, s = Scan (z, x, rows) <num_scan_inputs = 1, body = b (float[N] k, float[N] v, float[N] r) => (float[N] k1, float[N] w, float[N] o) {
            k1 = Identity(k) e = Abs(x) a = Add(k, r) w = Add(a, v) o = Mul(w, e) }> }"""
    m = simplify(text)
    assert ops(m) == ["Identity", "Abs", "Scan"]
    assert len(body(m).inputs) == 2


def test_inside_another_body() -> None:
    inner = """w = Loop (n, go, v) <body = a (int64 j, bool e, float[N] p) => (bool f, float[N] q) {
        f = Identity(e) s = Sin(z) t = Cos(v) u = Add(s, t) q = Mul(p, u) }>"""
    m = simplify(loop(inner))
    assert ops(m) == ["Sin", "Loop"]
    assert [n.op for n in body(m)] == ["Identity", "Cos", "Add", "Loop"]
