"""Rules of patterns/raising/reduction.py."""

from __future__ import annotations

import pytest

from tests.patterns.raising_cases import c, of, one
from tests.patterns.rule_cases import Case, check_fires, check_refuses

X = "float[2,3,4,5]"
PLAIN = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd")
OTHERS = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare")


def two(first: str, second: str, y: str, x: str = X, op: str = "ReduceMax", **options) -> Case:
    """One reduction after another, with these attributes."""
    return one(f"a = {op}<{first}>(x) y = {op}<{second}>(a)", x=x, y=y, **options)


# A tensor p of unknown rank that is x.
LOST = "s = Shape(x) z = Size(x) u = Unsqueeze(z, o) h = Slice(s, o, u) p = Reshape(x, h) "
ZERO = "int64[1] o = 0; "
AXES = "int64[1] i = 1; int64[1] j = 2; int64[1] k = -1"

FIRES = [
    *of(
        "reduce_of_reduce",
        *(
            one(f"a = {p}(x, i) y = {p}(a, j)", AXES, opset=18, x=X, y="float[2,1,1,5]", low=0.5, high=1.5)
            for p in PLAIN
        ),
        one(
            "a = ReduceMean<keepdims=0>(x, i) y = ReduceMean<keepdims=0>(a, j)",
            AXES,
            opset=18,
            x="float[2,N,4,M]",
            y="float[2,4]",
        ),
        two("axes=[-3], keepdims=0", "axes=[0,-1], keepdims=0", "float[4]"),
        two("axes=[0,2], keepdims=0", "axes=[1], keepdims=0", "float[3]"),
        two("axes=[0]", "axes=[0,1]", "float[1,1,4,5]"),
        two("axes=[-1]", "axes=[3,1], keepdims=0", "float[2,4]"),
        two("axes=[1]", "keepdims=1", "float[1,1,1,1]"),
        two("axes=[1]", "keepdims=0", "float"),
        two("axes=[1], keepdims=0", "keepdims=0", "float"),
        two("keepdims=1", "axes=[2]", "float[1,1,1,1]"),
        one("a = ReduceSum(x, i) y = ReduceSum(a, j)", AXES, x="int32[2,3,4]", y="int32[2,1,1]"),
        c(
            LOST + "a = ReduceMax<axes=[0]>(p) y = ReduceMax<axes=[1]>(a)",
            ZERO,
            x="float[N,3,4]",
            y="float[1,1,A]",
            nodes=6,
        ),
    ),
    *of(
        "reduce_single",
        *(one(f"a = {p}<axes=[1]>(x) y = Neg(a)", x="float[2,1,N]", opset=12) for p in PLAIN),
        one("y = ReduceMean<axes=[1,-1], keepdims=0>(x)", x="float[2,1,N,1]", y="float[2,N]"),
        one("y = ReduceMean<keepdims=0>(x, i)", AXES, opset=18, x="int64[2,1]", y="int64[2]"),
        one("y = ReduceSum<keepdims=0>(x)", x="float[1,1]", y="float"),
        one("a = ReduceSum(x) y = Neg(a)", x="float"),
    ),
    *of(
        "reduce_nothing",
        *(one(f"a = {p}<noop_with_empty_axes=1>(x) y = Neg(a)", opset=18) for p in PLAIN),
        one("a = ReduceSum<noop_with_empty_axes=1, keepdims=0>(x, i) y = Neg(a)", "int64[0] i = ", opset=13),
    ),
    *of(
        "reduce_with_axes",
        *(
            one(f"y = {p}<noop_with_empty_axes=1>(x, i)", AXES, opset=18, y="float[2,1]")
            for p in PLAIN + OTHERS
            if p != "ReduceLogSum"
        ),
        one("y = ReduceSum<noop_with_empty_axes=1, keepdims=0>(x, i)", AXES, opset=13, y="float[2]"),
    ),
    *of(
        "reduce_unsqueeze",
        one("a = ReduceMax<axes=[1], keepdims=0>(x) y = Unsqueeze(a, i)", AXES, y="float[2,1]"),
        *(
            one(f"a = {p}<keepdims=0>(x, i) y = Unsqueeze(a, k)", AXES, opset=18, y="float[2,1]")
            for p in PLAIN + OTHERS
            if p != "ReduceLogSum"
        ),
        one(
            "a = ReduceMean<axes=[-1,1], keepdims=0>(x) y = Unsqueeze<axes=[1,3]>(a)", x=X, y="float[2,1,4,1]", opset=11
        ),
        one("a = ReduceMax<keepdims=0>(x) y = Unsqueeze(a, i)", "int64[2] i = 1, 0", y="float[1,1]"),
        c(
            LOST + "a = ReduceMax<axes=[0,2], keepdims=0>(p) y = Unsqueeze(a, i)",
            ZERO + "int64[2] i = 2, 0",
            x="float[N,3,4]",
            y="float[1,B,1]",
            nodes=6,
        ),
    ),
    *of(
        "reduce_squeeze",
        *(
            one(f"a = {p}(x, i) y = Squeeze(a, k)", AXES, opset=18, y="float[2]")
            for p in PLAIN + OTHERS
            if p != "ReduceLogSum"
        ),
        one("a = ReduceMean<axes=[-1,1]>(x) y = Squeeze<axes=[1,3]>(a)", x=X, y="float[2,4]", opset=11),
        one("a = ReduceMax(x) y = Squeeze(a, i)", "int64[2] i = 0, -1", y="float"),
        c(
            LOST + "a = ReduceMax<axes=[-1,-2]>(p) y = Squeeze(a, i)",
            ZERO + "int64[2] i = -2, -1",
            x="float[N,3,4]",
            y="float[A]",
            nodes=6,
        ),
    ),
    *of(
        "arg_unsqueeze",
        one("a = ArgMax<axis=1, keepdims=0>(x) y = Unsqueeze(a, k)", AXES, y="int64[2,1]"),
        one("a = ArgMin<keepdims=0, select_last_index=1>(x) y = Unsqueeze(a, k)", "int64[1] k = 0", y="int64[1,3]"),
        one("a = ArgMin<axis=-2, keepdims=0>(x) y = Unsqueeze<axes=[0]>(a)", y="int64[1,3]", opset=11),
    ),
    *of(
        "arg_squeeze",
        one("a = ArgMax<axis=-1>(x) y = Squeeze(a, i)", AXES, y="int64[2]"),
        one("a = ArgMin(x) y = Squeeze(a, k)", "int64[1] k = 0", y="int64[3]"),
    ),
    *of(
        "mean_of_sum",
        one("a = ReduceSum(x, i) y = Div(a, n)", AXES + "; n = 3", y="float[2,1]"),
        one(
            "a = ReduceSum<keepdims=0>(x, i) y = Mul(n, a)",
            "int64[2] i = -1, 1; n = 0.06666667",
            x="float[B,3,7,5]",
            y="float[B,7]",
        ),
        one("a = ReduceSum<keepdims=0>(x) y = Mul(a, n)", "n = 0.16666667", y="float"),
        one(
            "a = ReduceSum<axes=[0]>(x) y = Div(a, n)", "float16[1] n = 2", x="float16[2,3]", y="float16[1,3]", opset=11
        ),
    ),
]

REFUSES = [
    *of(
        "reduce_of_reduce",
        c(
            "a = ReduceMean(x, i) y = ReduceMean(a, j)",
            AXES,
            opset=18,
            x="int32[2,3,4]",
            y="int32[2,1,1]",
            reason="rounded",
        ),
        two("axes=[1], keepdims=0", "axes=[1]", "float[2,1,5]", reason="drops dims and the second keeps"),
        two("axes=[1]", "axes=[2], keepdims=0", "float[2,1,5]", reason="keeps dims that the second does not drop"),
        two("keepdims=1", "axes=[2], keepdims=0", "float[1,1,1]", reason="keeps dims that the second does not drop"),
        c("a = ReduceMax<axes=[1]>(x) y = ReduceMin<axes=[2]>(a)", x=X, y="float[2,1,1,5]"),
        c(
            LOST + "a = ReduceMax<axes=[0]>(p) y = ReduceMax<axes=[-1]>(a)",
            ZERO,
            x="float[N,3,4]",
            y="float[1,A,B]",
            reason="rank is not known",
        ),
        c(
            LOST + "a = ReduceMax<axes=[0], keepdims=0>(p) y = ReduceMax<axes=[0], keepdims=0>(a)",
            ZERO,
            x="float[N,3,4]",
            y="float[B]",
            reason="rank is not known",
        ),
        c(
            LOST + "a = ReduceMax<axes=[0]>(p) y = ReduceMax<keepdims=0>(a)",
            ZERO,
            x="float[N,3,4]",
            y="float",
            reason="rank is not known",
        ),
        c("a = ReduceMax<noop_with_empty_axes=1>(x) y = ReduceMax(a)", opset=18, x="float[2,3]", y="float[1,1]"),
        Case(
            "g (float[2,3,4] x) => (float[2,1,1] y, float[2,1,4] a) { a = ReduceMax<axes=[1]>(x) "
            "y = ReduceMax<axes=[2]>(a) }",
            reason="nothing would be saved",
        ),
    ),
    *of(
        "reduce_single",
        c("y = ReduceSum(x, i)", AXES, x="float[2,3]", y="float[2,1]", reason="not 1"),
        c("y = ReduceSum(x, i)", AXES, x="float[2,N]", y="float[2,1]", reason="not 1"),
        c("y = ReduceSum(x)", x="float[1,2]", y="float[1,1]", reason="not 1"),
        c(LOST + "y = ReduceSum(p, o)", ZERO, x="float[N,3,4]", y="float[1,3,4]", reason="rank is not known"),
        c("y = ReduceSum(x, i)", x="float[2,1]", y="float[A,B]", more=", int64[1] i"),
        *(c(f"y = {p}(x, i)", AXES, opset=18, x="float[2,1]") for p in OTHERS),
    ),
    *of(
        "reduce_nothing",
        c("y = ReduceSum(x)", y="float[1,1]"),
        c("y = ReduceSum<noop_with_empty_axes=1>(x, i)", AXES, y="float[2,1]", reason="there are axes"),
        c("y = ReduceSum<noop_with_empty_axes=1>(x, i)", y="float[A,B]", more=", int64[K] i"),
        *(c(f"y = {p}<noop_with_empty_axes=1>(x)", opset=18) for p in OTHERS),
    ),
    *of(
        "reduce_with_axes",
        c("y = ReduceSum<noop_with_empty_axes=1>(x, i)", "int64[0] i = ", reason="there are no axes"),
        c("y = ReduceSum<noop_with_empty_axes=1>(x)"),
    ),
    *of(
        "reduce_unsqueeze",
        c(
            "a = ReduceMax<axes=[1], keepdims=0>(x) y = Unsqueeze(a, k)",
            "int64[1] k = 0",
            y="float[1,2]",
            reason="not the same axes",
        ),
        c(
            "a = ReduceMax<axes=[1], keepdims=0>(x) y = Unsqueeze(a, k)",
            "int64[2] k = 1, 2",
            y="float[2,1,1]",
            reason="not the same axes",
        ),
        c("a = ReduceMax<axes=[1]>(x) y = Unsqueeze(a, k)", "int64[1] k = 1", y="float[2,1,1]"),
        c(
            "a = ReduceMax<keepdims=0>(x) y = Unsqueeze(a, k)",
            "int64[1] k = 0",
            y="float[1]",
            reason="not the same axes",
        ),
        c(
            LOST + "a = ReduceMax<axes=[-1], keepdims=0>(p) y = Unsqueeze(a, i)",
            ZERO + "int64[1] i = 2",
            x="float[N,3,4]",
            y="float[A,B,1]",
            reason="rank is not known",
        ),
        c(
            LOST + "a = ReduceMax<keepdims=0>(p) y = Unsqueeze(a, i)",
            ZERO + "int64[2] i = -2, -1",
            x="float[N,3,4]",
            y="float[1,1]",
            reason="rank is not known",
        ),
        Case(
            "g (float[2,3] x) => (float[2,1] y, float[2] a) <int64[1] i = {1}> "
            "{ a = ReduceMax<axes=[1], keepdims=0>(x) y = Unsqueeze(a, i) }",
            reason="nothing would be saved",
        ),
    ),
    *of(
        "reduce_squeeze",
        c(
            "a = ReduceMax<axes=[1]>(x) y = Squeeze(a, j)",
            AXES,
            x="float[1,3,1]",
            y="float[1,1]",
            reason="not the same axes",
        ),
        c("a = ReduceMax<axes=[1]>(x) y = Squeeze(a)", x="float[1,3]", y="float"),
        c(
            "a = ReduceMax<axes=[1,2]>(x) y = Squeeze(a, i)",
            AXES,
            x="float[2,3,4]",
            y="float[2,1]",
            reason="not the same axes",
        ),
        c("a = ReduceMax<axes=[1], keepdims=0>(x) y = Squeeze(a, i)", AXES, x="float[2,3,1]", y="float[2]"),
    ),
    *of(
        "arg_unsqueeze",
        c(
            "a = ArgMax<axis=1, keepdims=0>(x) y = Unsqueeze(a, k)",
            "int64[1] k = 0",
            y="int64[1,2]",
            reason="not the same axis",
        ),
        c("a = ArgMax<axis=1>(x) y = Unsqueeze(a, k)", "int64[1] k = 1", y="int64[2,1,1]"),
    ),
    *of(
        "arg_squeeze",
        c(
            "a = ArgMax<axis=1>(x) y = Squeeze(a, k)",
            "int64[1] k = 0",
            x="float[1,3]",
            y="int64[1]",
            reason="not the same axis",
        ),
        c("a = ArgMax<axis=0, keepdims=0>(x) y = Squeeze(a, k)", "int64[1] k = 0", x="float[2,1]", y="int64"),
    ),
    *of(
        "mean_of_sum",
        c("a = ReduceSum(x, i) y = Div(a, n)", AXES + "; n = 2", y="float[2,1]", reason="not the number of terms"),
        c("a = ReduceSum(x, i) y = Mul(a, n)", AXES + "; n = 3", y="float[2,1]", reason="not the number of terms"),
        c(
            "a = ReduceSum(x, i) y = Div(a, n)",
            AXES + "; float[2,1] n = 3, 3",
            y="float[2,1]",
            reason="not the number of terms",
        ),
        c(
            "a = ReduceSum<keepdims=0>(x, i) y = Div(a, n)",
            AXES + "; float[1,1] n = 3",
            y="float[1,2]",
            reason="not the number of terms",
        ),
        c("a = ReduceSum(x, i) y = Div(n, a)", AXES + "; n = 3", y="float[2,1]"),
        c("a = ReduceSum(x, i) y = Div(a, n)", AXES + "; n = 3", x="float[2,N]", y="float[2,1]", reason="is not known"),
        c("a = ReduceSum(x, i) y = Div(a, n)", AXES + "; n = 3", x="int32[2,3]", y="int32[2,1]", reason="not a float"),
        c("a = ReduceSum(x, i) b = Div(a, n) y = Floor(b)", AXES + "; n = 3", y="float[2,1]", reason="a step follows"),
        c(
            "a = ReduceSum(x, i) y = Div(a, n)",
            "int64[2] i = 0, 1; n = 2",
            x="float[2,N]",
            y="float[1,1]",
            reason="is not known",
        ),
        c(
            LOST + "a = ReduceSum(p, o) y = Div(a, n)",
            ZERO + "n = 3",
            x="float[N,3,4]",
            y="float[1,3,4]",
            reason="is not known",
        ),
        c("a = ReduceMax(x, i) y = Div(a, n)", AXES + "; n = 3", opset=18, y="float[2,1]"),
    ),
]


@pytest.mark.parametrize(("rule", "case"), FIRES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(FIRES)])
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), REFUSES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(REFUSES)])
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)
