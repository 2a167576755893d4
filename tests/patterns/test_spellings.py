"""Operators as exporters write them become these operators again: whole optimizations, not single rules."""

from __future__ import annotations

from typing import Any

import pytest

import graphopt
from tests.patterns.raising_cases import c
from tests.patterns.rule_cases import Case, build, compare, inputs, run_ort

HARD = "z = 0; o = 1; t = 3; s = 6; r = 0.16666667"
SIXTH = "a = Add(x, t) "
ELU = "z = 0; o = 1; a = 0.5; two = 2"
LAST = "int64[1] i = -1; "
SCALE, BIAS = "float[4] g = 1.5, -2, 0.5, 3; ", "float[4] b = 0.1, 0.2, -3, 4; "
EPS = "e = 0.001; "
MOMENTS = (
    "m = ReduceMean<axes=[-1]>(x) d = Sub(x, m) s = Mul(x, x) q = ReduceMean<axes=[-1]>(s) p = Mul(m, m) v = Sub(q, p) "
)
SHAPE = "int64[1] n0 = 0; int64[1] n2 = 2; int64[1] n4 = 4; "
AREA = "s = Shape(x) a = Slice(s, n0, n2, n0) b = Slice(s, n2, n4, n0) "
IMAGE = {"x": "float[N,3,H,W]", "y": "float[N,3,A,B]"}

SPELLINGS: dict[str, list[Case]] = {
    "HardSigmoid": [
        c(SIXTH + "b = Relu(a) d = Min(b, s) y = Div(d, s)", HARD),
        c(SIXTH + "b = Max(a, z) d = Min(s, b) y = Mul(d, r)", HARD),
        c(SIXTH + "b = Min(a, s) d = Max(b, z) y = Mul(d, r)", HARD),
        c(SIXTH + "b = Relu(a) d = Clip(b, z, s) y = Mul(d, r)", HARD),
        c("a = Mul(x, r) b = Add(a, o) d = Relu(b) y = Min(d, o)", HARD),
    ],
    "HardSwish": [
        c(SIXTH + "b = Relu(a) d = Min(b, s) f = Mul(x, d) y = Div(f, s)", HARD),
        c(SIXTH + "b = Max(a, z) d = Min(b, s) f = Mul(x, d) y = Mul(f, r)", HARD),
        c(SIXTH + "b = Clip(a, z, s) d = Mul(x, r) y = Mul(d, b)", HARD),
    ],
    "LeakyRelu": [
        c("p = Max(x, z) n = Min(x, z) m = Mul(n, a) y = Add(p, m)", ELU),
        c("b = Less(x, z) n = Not(b) m = Mul(a, x) y = Where(n, x, m)", ELU),
    ],
    "Elu": [
        c("p = Max(x, z) e = Exp(x) s = Sub(e, o) m = Mul(s, a) n = Min(m, z) y = Add(p, n)", ELU),
        c("b = Greater(x, z) n = Where(b, z, x) e = Exp(n) s = Sub(e, o) m = Mul(a, s) y = Where(b, x, m)", ELU),
    ],
    "Celu": [
        c("p = Max(x, z) d = Div(x, two) e = Exp(d) s = Sub(e, o) m = Mul(two, s) n = Min(m, z) y = Add(p, n)", ELU),
    ],
    "Relu": [
        c("b = Greater(x, z) y = Where(b, x, z)", ELU),
        c("b = Greater(x, z) m = Cast<to=1>(b) y = Mul(x, m)", ELU),
        c("y = PRelu(x, z)", "float[1] z = 0"),
    ],
    "Softmax": [
        c("a = ReduceMax<axes=[-1]>(x) m = Max(a, w) d = Sub(x, m) e = Exp(d) s = ReduceSum(e, i) y = Div(e, s)", LAST + "w = -inf"),
        c("m = ReduceMax<axes=[-1]>(x) d = Sub(x, m) y = Softmax(d)"),
        c("l = ReduceLogSumExp<axes=[-1]>(x) d = Sub(x, l) y = Exp(d)"),
        c("r = Reshape(x, f) p = Softmax(r) s = Shape(x) y = Reshape(p, s)", "int64[2] f = -1, 4", x="float[A,B,4]"),
    ],
    "LogSoftmax": [
        c("m = ReduceMax<axes=[-1]>(x) d = Sub(x, m) e = Exp(d) s = ReduceSum(e, i) l = Log(s) n = Add(l, m) y = Sub(x, n)", LAST),
    ],
    "LayerNormalization": [
        c(MOMENTS + "w = Relu(v) u = Add(w, e) r = Sqrt(u) n = Reciprocal(r) k = Mul(n, g) f = Mul(d, k) y = Add(f, b)", EPS + SCALE + BIAS, x="float[N,4]"),
        c(MOMENTS + "u = Add(v, e) r = Sqrt(u) f = Div(d, r) h = Mul(f, g) y = Add(h, b)", EPS + SCALE + BIAS, x="float[N,T,4]"),
    ],
    "Resize": [
        c(AREA + "f = Cast<to=1>(b) h = Mul(f, k) i = Floor(h) j = Cast<to=7>(i) l = Concat<axis=0>(a, j) y = Resize(x, , , l)", SHAPE + "k = 2", **IMAGE),
        c(AREA + 'd = Mul(b, k) l = Concat<axis=0>(a, d) y = Resize<mode="linear">(x, , , l)', SHAPE + "int64[1] k = 3", **IMAGE),
        c("s = Shape(x) f = Cast<to=1>(s) h = Mul(f, k) i = Floor(h) j = Cast<to=7>(i) y = Resize(x, , , j)", "float[4] k = 1, 1, 2, 2", **IMAGE),
    ],
    "ReduceMax": [
        c("v, i = TopK(x, k) y = Squeeze(v, n)", "int64[1] k = 1; int64[1] n = -1", x="float[N,4]", y="float[N]"),
    ],
    "ArgMax": [
        c("v, i = TopK(x, k) y = Squeeze(i, n)", "int64[1] k = 1; int64[1] n = -1", x="float[N,4]", y="int64[N]"),
        c("v, i = TopK(x, k) y = Gather<axis=-1>(i, n)", "int64[1] k = 1; int64 n = 0", x="float[N,4]", y="int64[N]"),
    ],
}  # fmt: skip
CASES: list[Any] = [
    pytest.param(op, case, id=f"{op}-{i}") for op, cases in SPELLINGS.items() for i, case in enumerate(cases)
]


@pytest.mark.parametrize(("operator", "case"), CASES)
def test_one_operator_is_left(operator: str, case: Case) -> None:
    original = build(case)
    fast = graphopt.optimize(original)
    assert [n.op for n in fast.nodes() if n.op != "Constant"] == [operator]
    for seed in range(2):
        feeds = inputs(original, seed, case)
        compare(run_ort(original, feeds), run_ort(fast.proto, feeds), exact=False, tolerance=case.tolerance)
