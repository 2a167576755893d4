"""Rules of patterns/raising/ordering.py."""

from __future__ import annotations

import pytest

import graphopt
from tests.patterns.raising_cases import c, of, one
from tests.patterns.rule_cases import Case, build, check_fires, check_refuses

ONE, TWO = "int64[1] k = 1", "int64[1] k = 2"
PLACES = {"x": "float[4,5]", "y": "int64[4,1]"}
WANTED = Case(
    "g (float[4,5] x) => (float[4,1] v, int64[4,1] i) <int64[1] k = {1}> { v, i = TopK(x, k) }",
    reason="nothing would be saved",
)

FIRES = [
    *of(
        "top_1_values",
        one("y, i = TopK(x, k)", ONE, x="float[4,5]", y="float[4,1]"),
        one("y, i = TopK<axis=0, largest=0>(x, k)", ONE, x="int32[4,N]", y="int32[1,N]"),
        one("y, i = TopK<axis=-2>(x, k)", ONE, x="double[4,5]", y="double[1,5]", opset=11),
    ),
    *of(
        "top_1_indices",
        one("v, y = TopK(x, k)", ONE, **PLACES),
        one("v, y = TopK<largest=0>(x, k)", ONE, x="int32[4,5]", y="int64[4,1]"),
        one("v, y = TopK<sorted=0, axis=0>(x, k)", ONE, x="float[4,N]", y="int64[1,N]", opset=11),
    ),
    *of("top_k_of_negative", one("n = Neg(x) v, y = TopK<largest=0>(n, k)", TWO, x="float[4,5]", y="int64[4,2]")),
    *of(
        "arg_of_negative",
        one("n = Neg(x) y = ArgMax<axis=1>(n)", **PLACES),
        one("n = Neg(x) y = ArgMin<axis=1, keepdims=0>(n)", x="float[4,5]", y="int64[4]", opset=11),
    ),
    *of(
        "maximum_of_top_k",
        one("v, i = TopK(x, k) y = ReduceMax<axes=[1]>(v)", TWO, x="float[4,5]", y="float[4,1]"),
        one("v, i = TopK<axis=0>(x, k) y = ReduceMax<axes=[-2], keepdims=0>(v)", TWO, x="float[4,N]", y="float[N]"),
    ),
    *of(
        "gathered_top_k",
        one("v, i = TopK(x, k) y = GatherElements<axis=1>(x, i)", TWO, x="float[4,5]", y="float[4,2]"),
        Case(
            "g (float[4,5] x) => (float[4,2] y, int64[4,2] i) <int64[1] k = {2}> "
            "{ v, i = TopK(x, k) y = GatherElements<axis=1>(x, i) }",
            nodes=1,
        ),
    ),
]

REFUSES = [
    *of(
        "top_1_values",
        WANTED,
        c("y, i = TopK(x, k)", TWO, x="float[4,5]", y="float[4,2]", reason="more than one"),
    ),
    *of(
        "top_1_indices",
        WANTED,
        c("v, y = TopK(x, k)", ONE, x="int64[4,5]", y="int64[4,1]", reason="no kernel"),
        Case(
            "g (float[4,5] x) => (float[4,1] y, int64[4,1] i) <int64[1] k = {1}> { v, i = TopK(x, k) y = Neg(v) }",
            reason="nothing would be saved",
        ),
    ),
    *of(
        "top_k_of_negative",
        c("n = Neg(x) v, y = TopK<largest=0>(n, k)", TWO, x="int32[4,5]", y="int64[4,2]", reason="its own negative"),
        c("n = Neg(x) y, i = TopK<largest=0>(n, k)", TWO, x="float[4,5]", y="float[4,2]"),
    ),
    *of(
        "arg_of_negative",
        c("n = Neg(x) y = ArgMax<axis=1>(n)", x="int32[4,5]", y="int64[4,1]", reason="its own negative"),
        c("n = Neg(x) y = ArgMax<axis=1, select_last_index=1>(n)", **PLACES),
    ),
    *of(
        "maximum_of_top_k",
        c(
            "v, i = TopK<axis=0>(x, k) y = ReduceMax<axes=[1]>(v)",
            TWO,
            x="float[4,5]",
            y="float[2,1]",
            reason="of others",
        ),
        c("v, i = TopK<largest=0>(x, k) y = ReduceMax<axes=[1]>(v)", TWO, x="float[4,5]", y="float[4,1]"),
    ),
    *of(
        "gathered_top_k",
        c(
            "v, i = TopK(x, k) y = GatherElements<axis=0>(x, i)",
            TWO,
            x="float[4,5]",
            y="float[4,2]",
            reason="other axes",
        ),
    ),
]


@pytest.mark.parametrize(("rule", "case"), FIRES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(FIRES)])
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), REFUSES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(REFUSES)])
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


def test_dims_are_known_where_k_is_the_smaller_of_two() -> None:
    """As detectors bound the number of their candidates."""
    text = (
        "g (float[N,8,4] x) => (float[N,A,4] y) <int64 one = {1}, int64 most = {1000}, int64[1] zero = {0}> { s = Shape(x) "
        "n = Gather(s, one) m = Min(n, most) k = Unsqueeze(m, zero) v, i = TopK<axis=1>(x, k) y = Neg(v) }"
    )
    fast = graphopt.optimize(build(Case(text)))
    assert [n.op for n in fast.nodes()] == ["TopK", "Neg"]
