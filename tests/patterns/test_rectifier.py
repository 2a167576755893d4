"""Rules of patterns/raising/rectifier.py."""

from __future__ import annotations

import pytest

from tests.patterns.raising_cases import c, of, one
from tests.patterns.rule_cases import Case, check_fires, check_refuses

RELUS = "p = Relu(x) n = Neg(x) r = Relu(n) "
COND = "a = 0.1; z = 0; o = 1"
SLOPES = "float[3] a = 0.1, -0.2, 2; z = 0"
BOUNDS = "h = 0.5; n = -0.5; z = 0"
SOFT = "a = Greater(x, h) d = Sub(x, h) f = Where(a, d, z) b = Less(x, n) e = Add(x, h) g = Where(b, e, z) "
SINGLE = {"reason": "single precision"}
SLOPE = {"reason": "single number"}

FIRES = [
    *of(
        "leaky_relu_of_where",
        one("m = Mul(x, a) b = Greater(x, z) y = Where(b, x, m)", COND),
        one("m = Mul(x, a) b = GreaterOrEqual(x, z) y = Where(b, x, m)", "a = -2; z = 0"),
        one("m = Mul(x, a) b = Less(x, z) y = Where(b, m, x)", "a = 3; float[1] z = 0"),
        one("m = Mul(x, a) b = LessOrEqual(x, z) y = Where(b, m, x)", COND),
    ),
    *of(
        "leaky_relu_of_relus",
        one(RELUS + "m = Mul(r, a) y = Sub(p, m)", COND),
        one(RELUS + "m = Mul(r, a) q = Neg(m) y = Add(q, p)", COND),
        one(RELUS + "q = Neg(r) m = Mul(a, q) y = Add(p, m)", COND),
        one(RELUS + "m = Mul(r, a) y = Add(p, m)", COND),
        one("p = Relu(x) n = Min(x, z) m = Mul(n, a) y = Add(p, m)", COND),
    ),
    *of(
        "leaky_relu_of_prelu",
        one("y = PRelu(x, a)", "float[1] a = 0.25"),
        one("y = PRelu(x, a)", "float[3] a = -2, -2, -2", x="float[N,3]"),
        one("y = PRelu(x, a)", "float16 a = 0.1", x="float16[2,3]"),
    ),
    *of(
        "elu",
        one("e = Exp(x) s = Sub(e, o) b = Greater(x, z) y = Where(b, x, s)", COND),
        one("e = Exp(x) s = Sub(e, o) m = Mul(s, a) b = LessOrEqual(x, z) y = Where(b, m, x)", COND),
        one("p = Relu(x) e = Exp(x) s = Sub(e, o) m = Mul(a, s) n = Min(z, m) y = Add(p, n)", COND),
        one("p = Relu(x) e = Exp(x) s = Sub(e, o) n = Min(s, z) y = Add(p, n)", COND, high=100),
        one("e = Exp(x) s = Sub(e, o) m = Mul(s, z) b = Less(x, z) y = Where(b, m, x)", COND),
    ),
    *of(
        "celu",
        one("d = Div(x, a) e = Elu(d) y = Mul(a, e)", "a = 2"),
        one("d = Mul(x, r) e = Elu(d) y = Mul(a, e)", "a = 4; r = 0.25"),
    ),
    *of(
        "selu",
        one("e = Elu<alpha=1.6732632>(x) y = Mul(e, k)", "k = 1.050701"),
        one("e = Elu(x) y = Mul(k, e)", "float[1,1] k = -2"),
    ),
    *of(
        "relu_of_where",
        one("b = Greater(x, z) y = Where(b, x, z)", COND),
        one("b = LessOrEqual(x, z) y = Where(b, z, x)", COND, x="float16[N,3]"),
    ),
    *of("leaky_relu_without_slope", one("y = LeakyRelu<alpha=0.0>(x)")),
    *of(
        "prelu_of_choice",
        one("m = Mul(x, a) b = Greater(x, z) y = Where(b, x, m)", SLOPES),
        one("m = Mul(a, x) b = LessOrEqual(x, z) y = Where(b, m, x)", SLOPES, x="float[N,3]"),
    ),
    *of(
        "prelu_of_relus",
        one(RELUS + "m = Mul(r, a) y = Sub(p, m)", SLOPES),
        one(RELUS + "m = Mul(a, r) y = Add(m, p)", SLOPES),
        one(RELUS + "q = Neg(r) m = Mul(q, a) y = Add(p, m)", SLOPES),
        one("p = Relu(x) n = Min(x, z) m = Mul(n, a) y = Add(p, m)", SLOPES),
        one("p = Relu(x) n = Clip(x, , z) m = Mul(n, a) y = Add(p, m)", SLOPES, x="float[N,3]"),
        one("p = Relu(x) b = Abs(x) d = Sub(x, b) m = Mul(a, d) n = Mul(m, h) y = Add(p, n)", SLOPES + "; h = 0.5"),
        one("p = Relu(x) b = Abs(x) d = Sub(x, b) m = Mul(d, h) n = Mul(m, a) y = Add(p, n)", SLOPES + "; h = 0.5"),
    ),
    *of(
        "elu_of_negative",
        one("n = Min(x, z) e = Exp(n) s = Sub(e, o) m = Mul(s, a) p = Relu(x) y = Add(p, m)", COND),
        one("n = Clip(x, , z) e = Exp(n) s = Sub(e, o) p = Relu(x) y = Add(p, s)", COND),
        one("q = Neg(x) r = Relu(q) n = Neg(r) e = Exp(n) s = Sub(e, o) p = Relu(x) y = Add(s, p)", COND),
        one("b = Greater(x, z) n = Where(b, z, x) e = Exp(n) s = Sub(e, o) m = Mul(a, s) y = Where(b, x, m)", COND, high=100),
        one("n = Min(x, z) e = Exp(n) s = Sub(e, o) b = Less(x, z) y = Where(b, s, x)", COND, x="float[N,3]"),
    ),
    *of(
        "celu_spelled_out",
        one("d = Div(x, a) e = Exp(d) s = Sub(e, o) m = Mul(a, s) b = Greater(x, z) y = Where(b, x, m)", "a = 2; o = 1; z = 0"),
        one("p = Relu(x) d = Mul(x, r) e = Exp(d) s = Sub(e, o) m = Mul(a, s) n = Min(m, z) y = Add(p, n)", "a = 4; r = 0.25; o = 1; z = 0"),
        one("p = Relu(x) n = Min(x, z) d = Div(n, a) e = Exp(d) s = Sub(e, o) m = Mul(a, s) y = Add(p, m)", "a = 2; o = 1; z = 0"),
        one("d = Div(x, a) e = Exp(d) s = Sub(e, o) m = Mul(a, s) b = Greater(x, z) y = Where(b, x, m)", "a = -2; o = 1; z = 0"),
    ),
    *of(
        "selu_of_choice",
        one("p = Mul(x, k) e = Exp(x) s = Sub(e, o) n = Mul(s, a) b = Greater(x, z) y = Where(b, p, n)", "k = 1.050701; a = 1.7580993; o = 1; z = 0"),
    ),
    *of(
        "thresholded_relu_of_mask",
        one("b = Greater(x, a) m = Cast<to=1>(b) y = Mul(x, m)", COND),
        one("b = Greater(x, z) m = Cast<to=1>(b) y = Mul(m, x)", COND),
        one("b = Less(a, x) m = Cast<to=1>(b) y = Mul(x, m)", COND, x="float[N,3]"),
    ),
    *of("thresholded_relu_at_zero", one("y = ThresholdedRelu<alpha=0.0>(x)")),
    *of("shrink_of_parts", one(SOFT + "y = Add(f, g)", BOUNDS), one(SOFT.replace("f = Where(a, d, z) ", "") + "y = Where(a, d, g)", BOUNDS, x="float[N,3]")),
    *of("shrink_of_magnitude", one("a = Abs(x) b = Greater(a, h) y = Where(b, x, z)", BOUNDS), one("a = Abs(x) b = Greater(a, n) y = Where(b, x, z)", BOUNDS)),
    *of(
        "shrink_of_either",
        one("a = Greater(x, h) b = Less(x, n) d = Or(a, b) y = Where(d, x, z)", BOUNDS),
        one("a = Greater(x, n) b = Less(x, h) d = Or(a, b) y = Where(d, x, z)", BOUNDS),
    ),
]  # fmt: skip

REFUSES = [
    *of(
        "leaky_relu_of_max",
        c("m = Mul(x, a) y = Max(x, m)", "a = 1.5", reason="between 0 and 1"),
        c("m = Mul(x, a) y = Max(x, m)", "a = -0.5", reason="between 0 and 1"),
        c("m = Mul(x, a) y = Max(x, m)", "a = 0", reason="between 0 and 1"),
        c("m = Mul(x, a) y = Max(x, m)", "a = 1", reason="between 0 and 1"),
        c("m = Mul(x, a) y = Max(x, m)", "float[3] a = 0.1, 0.2, 0.1", **SLOPE),
        c("m = Mul(x, a) y = Max(x, m)", "float[1,1,1] a = 0.1", y="float[1,2,3]", **SLOPE),
        c("m = Mul(x, a) y = Max(x, m)", COND, x="double[2,3]", **SINGLE),
        c("m = Mul(x, a) y = Max(x, m, z)", COND),
        c("m = Mul(x, a) y = Min(x, m)", COND),
    ),
    *of(
        "leaky_relu_of_where",
        c("m = Mul(x, a) b = Greater(x, z) y = Where(b, m, x)", COND),
        c("m = Mul(x, a) b = Less(x, z) y = Where(b, x, m)", COND),
        c("m = Mul(x, a) b = Greater(x, o) y = Where(b, x, m)", COND),
        c("m = Mul(x, a) b = Greater(x, z) y = Where(b, x, m)", "float[3] a = 1, 2, 3; z = 0", **SLOPE),
        c("m = Mul(x, a) b = Greater(x, z) y = Where(b, x, m)", COND, x="double[2,3]", **SINGLE),
        c("m = Mul(x, a) b = Greater(x, z) y = Where(b, x, m)", "a = 0.5; float[1,1,1] z = 0", y="float[1,2,3]"),
    ),
    *of(
        "leaky_relu_of_relus",
        c(RELUS + "m = Mul(r, a) y = Sub(m, p)", COND),
        c(RELUS + "m = Mul(r, a) y = Sub(p, m)", "float[3] a = 1, 2, 3", **SLOPE),
        c(RELUS + "m = Mul(r, a) y = Sub(p, m)", COND, x="double[2,3]", **SINGLE),
    ),
    *of(
        "leaky_relu_of_prelu",
        c("y = PRelu(x, a)", "float[3] a = 0.1, 0.1, 0.2", reason="differ"),
        c("y = PRelu(x, a)", f"float[65537] a = {', '.join(['0.5'] * 65537)}", x="float[1,65537]", reason="too many"),
        c("y = PRelu(x, a)", "float[0] a =", x="float[2,0]", reason="no slope"),
        c("y = PRelu(x, a)", "a = 0.1", x="double[2,3]", **SINGLE),
        c("y = PRelu(x, a)", "a = 2", x="int32[2,3]", **SINGLE),
    ),
    *of(
        "elu",
        c("e = Exp(x) s = Sub(e, o) b = Less(x, z) y = Where(b, x, s)", COND),
        c("e = Exp(x) s = Sub(e, a) b = Greater(x, z) y = Where(b, x, s)", COND),
        c(
            "e = Exp(x) s = Sub(e, o) m = Mul(s, a) b = Greater(x, z) y = Where(b, x, m)",
            "float[3] a = 1, 2, 3; z = 0; o = 1",
            **SLOPE,
        ),
        c(
            "p = Relu(x) e = Exp(x) s = Sub(e, o) m = Mul(a, s) n = Min(z, m) y = Add(p, n)",
            "a = -1; z = 0; o = 1",
            reason="negative",
        ),
        c("e = Exp(x) s = Sub(e, o) b = Greater(x, z) y = Where(b, x, s)", COND, x="double[2,3]", **SINGLE),
    ),
    *of(
        "celu",
        c("d = Div(x, a) e = Elu(d) y = Mul(e, k)", "a = 2; k = 3"),
        c("d = Mul(x, a) e = Elu(d) y = Mul(e, a)", "a = 2", reason="not divided by the scale"),
        c("d = Div(x, a) e = Elu(d) y = Mul(a, e)", "a = -2", reason="negative"),
        c("d = Div(x, a) e = Elu(d) y = Mul(a, e)", "float[3] a = 1, 2, 3", reason="not a single number"),
        c("d = Div(x, a) e = Elu(d) y = Mul(a, e)", "a = 2", x="double[2,3]", reason="not a single number"),
        c("d = Div(x, a) e = Elu(d) y = Mul(a, e)", "a = 2", opset=11, reason="does not exist"),
    ),
    *of(
        "selu",
        c("e = Elu<alpha=1.6732632>(x) y = Mul(e, k)", "float[3] k = 1, 2, 3", **SLOPE),
        c("e = Elu<alpha=1.6732632>(x) y = Mul(e, k)", "float[1,1,1] k = 2", y="float[1,2,3]", **SLOPE),
    ),
    *of(
        "relu_of_where",
        c("b = Greater(x, z) y = Where(b, z, x)", COND),
        c("b = Greater(x, a) y = Where(b, x, z)", COND),
        c("b = Greater(x, z) y = Where(b, x, z)", COND, x="double[2,3]", **SINGLE),
    ),
    *of("leaky_relu_without_slope", c("y = LeakyRelu<alpha=0.1>(x)")),
    *of(
        "prelu_of_choice",
        c("m = Mul(x, a) b = Greater(x, z) y = Where(b, m, x)", SLOPES),
        c("m = Mul(x, a) b = Greater(x, z) y = Where(b, x, m)", SLOPES.replace("float", "double"), x="double[2,3]", **SINGLE),
        c("m = Mul(x, a) b = Greater(x, z) y = Where(b, x, m)", SLOPES, x="float[1]", y="float[3]", reason="broadcast"),
    ),
    *of(
        "prelu_of_relus",
        c(RELUS + "m = Mul(r, a) y = Sub(m, p)", SLOPES),
        c(RELUS + "m = Mul(r, a) y = Sub(p, m)", SLOPES, x="float[1]", y="float[3]", reason="broadcast"),
        c(RELUS + "m = Mul(r, a) y = Sub(p, m)", SLOPES.replace("float", "double"), x="double[2,3]", **SINGLE),
    ),
    *of(
        "elu_of_negative",
        c("n = Min(x, o) e = Exp(n) s = Sub(e, o) p = Relu(x) y = Add(p, s)", COND),
        c("e = Exp(x) s = Sub(e, o) p = Relu(x) y = Add(p, s)", COND),
        c("n = Min(x, z) e = Exp(n) s = Sub(e, o) m = Mul(s, a) p = Relu(x) y = Add(p, m)", SLOPES + "; o = 1", **SLOPE),
    ),
    *of(
        "celu_spelled_out",
        c("d = Div(x, a) e = Exp(d) s = Sub(e, o) m = Mul(o, s) b = Greater(x, z) y = Where(b, x, m)", "a = 2; o = 1; z = 0", reason="not divided"),
    ),
    *of(
        "selu_of_choice",
        c("p = Mul(x, z) e = Exp(x) s = Sub(e, o) n = Mul(s, a) b = Greater(x, z) y = Where(b, p, n)", COND, reason="is 0"),
        c("p = Mul(x, a) e = Exp(x) s = Sub(e, o) n = Mul(s, a) b = Greater(x, z) y = Where(b, p, n)", SLOPES + "; o = 1", reason="single numbers"),
    ),
    *of(
        "thresholded_relu_of_mask",
        c("b = Less(x, a) m = Cast<to=1>(b) y = Mul(x, m)", COND),
        c("b = Greater(x, a) m = Cast<to=1>(b) y = Mul(x, m)", SLOPES, **SLOPE),
    ),
    *of("thresholded_relu_at_zero", c("y = ThresholdedRelu(x)")),
    *of(
        "shrink_of_parts",
        c(SOFT + "y = Add(f, g)", BOUNDS.replace("-0.5", "-0.6"), reason="its negative"),
        c(SOFT + "y = Add(f, g)", "h = -0.5; n = 0.5; z = 0", reason="its negative"),
        c(SOFT + "y = Sub(f, g)", BOUNDS),
    ),
    *of("shrink_of_magnitude", c("a = Abs(x) b = Less(a, h) y = Where(b, x, z)", BOUNDS)),
    *of(
        "shrink_of_either",
        c("a = Greater(x, h) b = Less(x, h) d = Or(a, b) y = Where(d, x, z)", BOUNDS, reason="its negative"),
        c("a = Greater(x, h) b = Less(x, n) d = And(a, b) y = Where(d, x, z)", BOUNDS),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), FIRES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(FIRES)])
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), REFUSES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(REFUSES)])
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)
