"""Ranks that nobody says: what Squeeze without axes gives, and an If whose branches give different ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

import graphopt
from graphopt import load
from graphopt.ir import Model
from graphopt.shapes import infer_model
from tests.ir import invariants
from tests.ir.building import parse, run, same_bits, with_constants


def squeezed(x: str, rest: str, more: str = "", opset: int = 17, **kwargs: Any) -> tuple[Model, dict[str, Any]]:
    """A model that squeezes x and goes on, with the shapes of all its values."""
    proto = parse(f"g (float[{x}] x{more}) => (y) {{ s = Squeeze(x) {rest} }}", opset, check=False)
    m = load(proto)
    infer_model(m, **kwargs)
    invariants.check(m)
    return m, {v.name: v.shape for g in m.graph.subgraphs() for n in g for v in n.outputs if v is not None}


@pytest.mark.parametrize(
    ("x", "rest", "shape", "result"),
    [
        ("N, 1, 5", "y = Transpose<perm=[1, 0]>(s)", ("N", 5), (5, "N")),
        ("N, 1, 5", "y = Concat<axis=1>(s, s)", ("N", 5), ("N", 10)),
        ("1, N, 1", "y = Concat<axis=0>(s, s)", ("N",), None),
        ("N, 1, 5", "a = Relu(s) b = Neg(a) y = Transpose<perm=[1, 0]>(b)", ("N", 5), (5, "N")),
        ("N, 1, 5", "y = Transpose<perm=[0]>(s)", (5,), (5,)),
        ("N, M, 5", "y = Transpose<perm=[2, 0, 1]>(s)", ("N", "M", 5), (5, "N", "M")),
        ("N, 1, 3, 8, 8", "y = MaxPool<kernel_shape=[2, 2]>(s)", ("N", 3, 8, 8), ("N", 3, 7, 7)),
    ],
)
def test_what_reads_it_decides(x: str, rest: str, shape: Any, result: Any) -> None:
    m, found = squeezed(x, rest)
    assert found["s"] == shape
    if result is not None:
        assert found["y"] == result
    assert m.facts is not None
    assert not m.facts.conflicts


@pytest.mark.parametrize(
    ("x", "rest"),
    [
        ("N, 1, 5", "y = Relu(s)"),
        ("N, 1, 5", "y = Softmax<axis=-1>(s)"),
        ("N, 1, 5", "a = Shape(s) y = Cast<to=1>(a)"),
        ("N, 5", "y = MatMul(s, w)"),
        ("N, M, 5", "y = Concat<axis=1>(s, s)"),
        ("N, M", "y = Relu(s)"),
        ("?, 1", "y = Neg(s)"),
        ("A, B, C, D", "y = Transpose<perm=[1, 0, 2, 3]>(s)"),
    ],
)
def test_both_answers_work(x: str, rest: str) -> None:
    """Nothing is known then, not even by what was tried."""
    m, found = squeezed(x, rest, ", float[5, 4] w")
    assert found["s"] is None
    assert m.facts is not None
    reasons = {v.name: reason for v, reason in m.facts.reasons.items()}
    assert "1 is not known" in reasons["s"]
    assert not m.facts.conflicts and not m.facts.refused
    assert all(d not in ("N", "M", 5) for d in found["y"] or ())


@pytest.mark.parametrize(
    ("x", "shape"), [("2, 1, 5", (2, 5)), ("1, 1", ()), ("0, 1", (0,)), ("3", (3,)), ("1, 7, 1, 1", (7,))]
)
def test_numbers_leave_no_doubt(x: str, shape: Any) -> None:
    assert squeezed(x, "y = Relu(s)")[1]["y"] == shape


def test_axes_leave_no_doubt() -> None:
    found = squeezed("N, 1, 5", "t = Squeeze<axes=[1]>(x) y = Add(s, t)", opset=11)[1]
    assert found["t"] == ("N", 5)
    assert found["s"] is None
    assert found["y"] is None


def test_no_answer_works() -> None:
    """A model that cannot run either way: nothing is made up."""
    m, found = squeezed("N, 1, 5", "y = Transpose<perm=[0, 1, 2, 3]>(s)")
    assert found["s"] is None


def test_the_second_depends_on_the_first() -> None:
    found = squeezed(
        "N, 1, 5",
        "t = Transpose<perm=[1, 0]>(s) u = Unsqueeze(t, k) v = Squeeze(u) y = Transpose<perm=[1, 0]>(v)",
        ", int64[1] k",
    )[1]
    assert found["t"] == (5, "N")
    assert found["v"] is None, "where the new axis is depends on an input"


def test_guesses() -> None:
    assert squeezed("N, 1, 5", "y = Relu(s)", guess_ranks=True)[1]["y"] == ("N", 5)
    assert squeezed("N, 1, 5", "y = Transpose<perm=[0]>(s)", guess_ranks=True)[1]["y"] == (5,), (
        "what is certain goes first"
    )
    proto = parse("g (float[N, 1, 5] x) => (y) { y = Squeeze(x) }", check=False)
    assert graphopt.infer_shapes(proto, guess_ranks=True).graph.outputs[0].shape == ("N", 5)
    assert graphopt.infer_shapes(proto).graph.outputs[0].shape is None


LOOP = """g (float[N, 1, M] x, int64 n, bool go) => (y, z) {
    s = Squeeze(x)
    y, z = Loop (n, go, s) <body = b (int64 i, bool cond, float v) => (bool cond_out, float v_out, int64 rank) {
        cond_out = Identity(cond) r = Relu(v) d = Shape(r) rank = Size(d) v_out = Neg(r)
    }>
}"""


def test_what_was_tried_leaves_no_traces_in_bodies() -> None:
    m = load(parse(LOOP, check=False))
    infer_model(m)
    found = {v.name: v.shape for g in m.graph.subgraphs() for n in g for v in n.outputs if v is not None}
    assert found["s"] is None
    assert found["r"] is None
    assert found["d"] in (None, ("?1",))


@pytest.mark.parametrize("shape", [(2, 1, 3), (1, 1, 1)])
def test_bodies_compute_the_same_whatever_was_tried(shape: tuple[int, ...]) -> None:
    proto: ModelProto = parse(LOOP, check=False)
    feeds = {"x": np.float32(np.arange(np.prod(shape))).reshape(shape), "n": np.array(2), "go": np.array(True)}
    assert same_bits(run(graphopt.optimize(proto), **feeds), run(proto, **feeds))


# ----------------------------------------------------------------------------------------------- branches of other ranks
_SQUEEZED = """s = Shape(x) n = Gather(s, last) one = Equal(n, v1)
    y = If(one) <then_branch = t () => (float[A,B] p) { p = Squeeze(x, last) },
                 else_branch = e () => (float[A,B,C] q) { q = Identity(x) }> """


def _branches(below: str, outputs: str = "float[P,Q] z", more: str = "") -> Any:
    text = f"g (float[N,4,T] x{more}) => ({outputs}) {{ {_SQUEEZED} {below} }}"
    constants = {"last": np.array([-1]), "v1": np.array([1]), "w": np.ones((4, 2), np.float32), "two": np.array(2)}
    return with_constants(text, **constants)


def test_the_branch_that_an_if_must_take() -> None:
    """Gemm takes a matrix, and only one branch gives one."""
    proto = _branches("z = Gemm(y, w)")
    m = graphopt.optimize(proto, level=1)
    assert [n.op for n in m.nodes() if n.op not in ("Constant",)] == ["Squeeze", "Gemm"]
    x = np.random.default_rng(0).normal(size=(3, 4, 1)).astype(np.float32)
    assert same_bits(run(m, x=x), run(proto, x=x))


def test_a_condition_that_follows_from_the_rank() -> None:
    """Another If asks for the rank, and what it does with three dims is nothing that Gemm could take."""
    proto = _branches("""d = Shape(y) r = Size(d) flat = Equal(r, two)
        m = If(flat) <then_branch = t2 () => (float[A,B] p2) { p2 = Identity(y) },
                      else_branch = e2 () => (float[A,B,C] q2) { q2 = Identity(y) }> z = Gemm(m, w)""")
    m = graphopt.optimize(proto, level=1)
    assert "If" not in [n.op for n in m.nodes()]
    x = np.random.default_rng(0).normal(size=(3, 4, 1)).astype(np.float32)
    assert same_bits(run(m, x=x), run(proto, x=x))


@pytest.mark.parametrize(
    "below",
    [
        "z = Relu(y)",  # takes any rank
        "unused = Gemm(y, w) z = Relu(x)",  # a runtime may leave it out
        "z = If(c) <then_branch = t2 () => (float[A,B] p2) { p2 = Gemm(y, w) }, else_branch = e2 () => (float[A,B,C] q2) { q2 = Relu(x) }>",
    ],
)  # fmt: skip
def test_where_either_branch_may_be_taken(below: str) -> None:
    proto = _branches(below, outputs="float z", more=", bool c")
    m = load(proto)
    assert not infer_model(m).decided
