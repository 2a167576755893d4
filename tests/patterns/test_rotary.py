"""Rules of patterns/raising/rotary.py."""

from __future__ import annotations

from typing import Any

import pytest

import graphopt
from tests.patterns.raising_cases import of
from tests.patterns.rule_cases import Case, build, check_fires, check_refuses, compare, inputs, run_ort


def g(body: str, given: str, y: str, constants: str = "", **options: Any) -> Case:
    known = f"<{constants}>" if constants else ""
    return Case(f"g ({given}) => ({y} y) {known} {{ {body} }}", **{"opset": 23, **options})


HALVES = "a, b = Split<axis=3>(x, h) n = Neg(b) t = Concat<axis=-1>(n, a) "
ROTATED = HALVES + "d = Concat<axis=3>(c, c) e = Concat<axis=3>(s, s) f = Mul(x, d) i = Mul(t, e) y = Add(f, i)"
GIVEN = "float[2,3,5,8] x, float[2,1,5,4] c, float[2,1,5,4] s"
SIZES = "int64[2] h = {4, 4}"
X = "float[2,3,5,8]"
PART = "a, b = Split<axis=3>(x, h) r = RotaryEmbedding(a, c, s) y = Concat<axis=3>(r, b)"
ANGLES = ", float[2,5,2] c, float[2,5,2] s"
TWICE = {"given": "float[2,3] x", "y": "float[2,6]"}

FIRES = [
    *of("cos_of_repeated", g("c = Concat<axis=1>(x, x) y = Cos(c)", **TWICE)),
    *of("sin_of_repeated", g("c = Concat<axis=-1>(x, x) y = Sin(c)", **TWICE)),
    *of("factor_of_repeated", g("c = Concat<axis=-1>(x, x) y = Mul(k, c)", **TWICE, constants="float k = {1.5}")),
    *of(
        "unsqueeze_of_repeated",
        g("c = Concat<axis=1>(x, x) y = Unsqueeze(c, a)", "float[2,3] x", "float[2,1,6]", "int64[1] a = {1}"),
        g("c = Concat<axis=0>(x, x) y = Unsqueeze(c, a)", "float[2,3] x", "float[4,3,1]", "int64[1] a = {-1}"),
    ),
    *of(
        "rotary_embedding",
        g(ROTATED, GIVEN, X, SIZES, nodes=3),
        g(ROTATED, GIVEN.replace("[2,1", "[1,1"), X, SIZES, nodes=5),
        g(ROTATED, GIVEN.replace("[2", "[B"), X.replace("2", "B"), SIZES, nodes=3),
        g(ROTATED, GIVEN.replace("[2,3", "[B,3").replace("[2,1", "[1,1"), "float[B,3,5,8]", SIZES, nodes=7),
    ),
    *of(
        "rotary_embedding_part",
        g(PART, X + " x" + ANGLES, X, "int64[2] h = {4, 4}", nodes=1),
        g(PART, X + " x" + ANGLES, X, "int64[2] h = {4, 4}", nodes=1, opset=24),
    ),
    *of(
        "rotary_embedding_packed",
        g(
            "t = Transpose<perm=[0,2,1,3]>(x) y = RotaryEmbedding(t, c, s)",
            "float[B,S,3,8] x, float[B,S,4] c, float[B,S,4] s",
            "float[B,3,S,8]",
            nodes=4,
        ),
    ),
]

REFUSES = [
    *of("cos_of_repeated", g("c = Concat<axis=1>(x, x) y = Cos(c)", **TWICE, opset=22, reason="not before opset 23")),
    *of("factor_of_repeated", g("c = Concat<axis=1>(x, x) y = Mul(k, c)", **TWICE, constants="float[2,1] k = {1, 2}")),
    *of(
        "rotary_embedding",
        g(ROTATED, GIVEN, X, SIZES, opset=22, reason="does not exist"),
        g(ROTATED, GIVEN.replace("float", "double"), X.replace("float", "double"), SIZES, reason="32 or 16 bits"),
        g(ROTATED.replace("Neg(b)", "Neg(a)").replace("(n, a)", "(n, b)"), GIVEN, X, SIZES),
        g(
            ROTATED.replace("axis=3", "axis=2").replace("axis=-1", "axis=2"),
            "float[2,3,8,5] x, float[2,1,4,5] c, float[2,1,4,5] s",
            "float[2,3,8,5]",
            SIZES,
        ),
        g(ROTATED, GIVEN, X, "int64[2] h = {3, 5}", reason="not two halves"),
        g(
            ROTATED,
            GIVEN.replace("[2,3", "[B,3").replace("[2,1", "[A,1"),
            "float[C,3,5,8]",
            SIZES,
            reason="another batch",
        ),
    ),
    *of(
        "rotary_embedding_part",
        g(
            PART.replace("axis=3", "axis=2"),
            "float[2,3,5,4] x, float[2,2,2] c, float[2,2,2] s",
            "float[2,3,5,4]",
            "int64[2] h = {2, 3}",
            reason="not along the last axis",
        ),
        g(
            PART,
            "float[2,3,5,0] x, float[2,5,0] c, float[2,5,0] s",
            "float[2,3,5,0]",
            "int64[2] h = {0, 0}",
            reason="not along the last axis",
        ),
    ),
    *of(
        "rotary_embedding_packed",
        g(
            "t = Transpose<perm=[0,2,1,3]>(x) y = RotaryEmbedding(t, c, s)",
            "float[B,S,0,8] x, float[B,S,4] c, float[B,S,4] s",
            "float[B,0,S,8]",
            reason="the number of heads",
        ),
    ),
]


@pytest.mark.parametrize(("rule", "case"), FIRES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(FIRES)])
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), REFUSES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(REFUSES)])
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


def test_as_torch_writes_it() -> None:
    """Angles that are repeated, halves that are sliced out, one batch entry of cosines for all."""
    body = (
        "r = Concat<axis=2>(w, w) p = Cos(r) q = Sin(r) d = Unsqueeze(p, one) e = Unsqueeze(q, one) "
        "a = Slice(x, zero, four, three, one) b = Slice(x, four, end, three, one) n = Neg(b) t = Concat<axis=-1>(n, a) "
        "f = Mul(x, d) i = Mul(t, e) y = Add(f, i)"
    )
    constants = "int64[1] zero = {0}, int64[1] one = {1}, int64[1] three = {3}, int64[1] four = {4}, int64[1] end = {9223372036854775807}"
    original = build(g(body, "float[B,3,S,8] x, float[1,S,4] w", "float[B,3,S,8]", constants))
    fast = graphopt.optimize(original)
    assert sum(n.op == "RotaryEmbedding" for n in fast.nodes()) == 1
    assert fast.node_count() <= 7
    feeds = inputs(original, 0, Case(""))
    compare(run_ort(original, feeds), run_ort(fast.proto, feeds), exact=False, tolerance=1e-5)
