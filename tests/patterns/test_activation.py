"""Rules of patterns/raising/activation.py."""

from __future__ import annotations

import pytest

from tests.patterns.raising_cases import c, of, one
from tests.patterns.rule_cases import Case, check_fires, check_refuses

# Clip's bounds are attributes up to opset 10.
CLIP6 = "q = Clip<min=0.0, max=6.0>(p)"
HARD = "z = 0; o = 1; t = 3; s = 6; k = 0.2; h = 0.5; i = 5; r = 0.16666667"
LINE = "p = Mul(x, k) q = Add(p, h) y = Clip(q, z, o)"
SWISH = "p = Add(x, t) q = Clip(p, z, s) w = Mul(x, q) y = Div(w, s)"
WIDE = {"low": -9, "high": 9}
GELU = "h = 0.5; o = 1; two = 2; r = 1.4142135; q = 0.70710677"
ERF = "a = Div(x, r) e = Erf(a) f = Add(e, o) "
TANH = "h = 0.5; o = 1; two = 2; k = 0.044715; s = 0.7978846; three = 3"
TWICE = TANH.replace("0.7978846", "1.5957692")
CUBIC = (
    "a = Pow(x, three) b = Mul(a, k) d = Add(x, b) e = Mul(d, s) f = Tanh(e) g = Add(f, o) i = Mul(x, h) y = Mul(i, g)"
)
FACTOR = "a = Mul(x, x) b = Mul(a, k) d = Add(b, o) "
TURN = "g = Tanh(f) i = Add(o, g) "
OUTER = " f = Mul(s, e) " + TURN
COND = "a = 0.1; z = 0; o = 1"
MAX = "m = ReduceMax<axes=[-1]>(x) d = Sub(x, m) "
SUM = "e = Exp(x) s = ReduceSum(e, a) "
NUMBERS = {"reason": "not single numbers"}
SINGLE = {"reason": "single precision"}
SLOPE = {"reason": "single number"}
BOUND = {"reason": "does not become 1"}
LAST = {"reason": "last axis"}

FIRES = [
    *of(
        "hard_sigmoid",
        one(LINE, HARD),
        one("p = Div(x, s) q = Add(h, p) y = Clip(q, z, o)", HARD, **WIDE),
        one("p = Add(x, t) q = Div(p, s) y = Clip(q, z, o)", HARD, **WIDE),
        one("p = Add(x, t) q = Mul(p, r) y = Clip(q, z, o)", HARD, **WIDE),
        one("p = Add(x, h) y = Clip(p, z, o)", HARD),
        one("p = Mul(x, k) y = Clip(p, z, o)", HARD, **WIDE),
        one("p = Mul(x, k) q = Add(p, h) y = Clip<min=0.0, max=1.0>(q)", HARD, opset=10),
        one(LINE, HARD, x="float16[N,3]"),
        one(LINE, "float[1,1] k = 0.3; float[1] h = 0.5; z = 0; o = 1"),
        one(LINE, "k = -0.3; h = 0.25; z = 0; o = 1"),
    ),
    *of(
        "hard_sigmoid_scaled",
        one("p = Add(x, t) q = Clip(p, z, s) y = Div(q, s)", HARD, **WIDE),
        one("p = Add(x, t) q = Clip(p, z, s) y = Mul(r, q)", HARD, **WIDE),
        one("p = Mul(x, k) w = Add(p, t) q = Clip(w, z, i) y = Div(q, i)", HARD, **WIDE),
        one("p = Div(x, s) w = Add(p, t) q = Clip(w, z, i) y = Mul(q, k)", HARD, **WIDE),
        one("w = Add(x, t) p = Mul(w, k) q = Clip(p, z, i) y = Mul(q, k)", HARD, **WIDE),
        one("w = Add(x, t) p = Div(w, s) q = Clip(p, z, i) y = Mul(q, k)", HARD, **WIDE),
        one(f"p = Add(x, t) {CLIP6} y = Mul(q, r)", HARD, opset=9, **WIDE),
    ),
    *of(
        "hard_swish_spelled_out",
        c(SWISH, HARD, nodes=2),
        c("p = Add(t, x) q = Clip(p, z, s) w = Mul(q, x) y = Mul(r, w)", HARD, nodes=2),
        c("p = Add(x, t) q = Clip(p, z, s) w = Mul(x, r) y = Mul(w, q)", HARD, nodes=2),
        c("p = Add(x, t) q = Clip(p, z, s) w = Div(x, s) y = Mul(w, q)", HARD, nodes=2),
        c(SWISH, HARD, opset=12, nodes=2, **WIDE),
        c(f"p = Add(x, t) {CLIP6} w = Mul(x, q) y = Mul(w, r)", HARD, opset=10, nodes=2, **WIDE),
        c("p = Add(x, o) q = Clip(p, z, i) w = Mul(x, q) y = Div(w, i)", HARD, nodes=2, **WIDE),
        c("p = Add(x, o) q = Clip(p, z, s) w = Mul(x, q) y = Div(w, s)", HARD, nodes=2, **WIDE),
        c("p = Add(x, t) q = Clip(p, z, i) w = Mul(x, q) y = Div(w, i)", HARD, nodes=2, **WIDE),
        c(SWISH, HARD, x="float16[2,3]", nodes=2),
        c(SWISH, "float[1] t = 3; z = 0; s = 6", x="float[N,C,H,W]", nodes=2),
    ),
    *of(
        "hard_swish",
        one("p = HardSigmoid<alpha=0.16666667, beta=0.5>(x) y = Mul(p, x)", **WIDE),
        one("p = HardSigmoid<alpha=0.1666, beta=0.5>(x) y = Mul(x, p)", x="float16[2,3]"),
    ),
    *of(
        "gelu",
        one(ERF + "m = Mul(x, f) y = Mul(m, h)", GELU, opset=20),
        one("a = Mul(q, x) e = Erf(a) f = Add(o, e) m = Mul(x, h) y = Mul(m, f)", GELU, opset=20),
        one("a = Mul(x, q) e = Erf(a) f = Add(e, o) m = Mul(h, f) y = Mul(m, x)", GELU, opset=20, x="float[N,M]"),
        one(ERF + "m = Mul(f, x) y = Div(m, two)", GELU, opset=20),
        one(ERF + "m = Div(x, two) y = Mul(m, f)", GELU, opset=20),
        one(ERF + "m = Div(f, two) y = Mul(m, x)", GELU, opset=20),
        one("a = Div(x, r) e = Erf(a) f = Mul(e, h) m = Add(f, h) y = Mul(m, x)", GELU, opset=20),
        one(ERF + "m = Mul(x, f) y = Mul(m, h)", GELU, opset=20, x="float16[2,3]"),
        one(
            ERF + "m = Mul(x, f) y = Mul(m, h)", "float[1] h = 0.5; float[1,1] o = 1; float[1] r = 1.41421354", opset=20
        ),
    ),
    *of(
        "gelu_tanh",
        one(CUBIC, TANH, opset=20),
        one(
            "a = Mul(k, x) b = Mul(x, a) d = Mul(x, b) e = Add(x, d)" + OUTER + "j = Mul(h, i) y = Mul(x, j)",
            TANH,
            opset=20,
        ),
        one(
            "a = Mul(x, x) b = Mul(a, x) d = Mul(b, k) e = Add(d, x)" + OUTER + "j = Mul(x, i) y = Div(j, two)",
            TANH,
            opset=20,
        ),
        one(FACTOR + "e = Mul(x, s) f = Mul(d, e) " + TURN + "j = Div(x, two) y = Mul(j, i)", TANH, opset=20),
        one(FACTOR + "e = Mul(d, s) f = Mul(x, e) " + TURN + "j = Mul(h, x) y = Mul(j, i)", TANH, opset=20),
        one(
            FACTOR.replace("Mul(x, x)", "Pow(x, two)") + "e = Mul(d, x)" + OUTER + "j = Mul(h, x) y = Mul(j, i)",
            TANH,
            opset=20,
        ),
        one(CUBIC.replace("three", "n"), TANH + "; int64 n = 3", opset=20, x="float16[N,3]"),
    ),
    *of("mish", one("a = Softplus(x) b = Tanh(a) y = Mul(b, x)", opset=18)),
    *of(
        "leaky_relu_of_max",
        one("m = Mul(x, a) y = Max(x, m)", COND),
        one("m = Mul(a, x) y = Max(m, x)", "float16[1] a = 0.99", x="float16[2,3]"),
        one("m = Mul(a, x) y = Max(m, x)", COND, x="float[N,M]", opset=8),
    ),
    *of(
        "sigmoid",
        one("n = Neg(x) e = Exp(n) p = Add(e, o) y = Div(o, p)", COND, low=-200, high=200),
        one("n = Neg(x) e = Exp(n) p = Add(o, e) y = Reciprocal(p)", COND, x="float16[N,2]"),
        one("n = Mul(x, m) e = Exp(n) p = Add(o, e) y = Reciprocal(p)", "m = -1; o = 1", x="double[2,3]"),
    ),
    *of(
        "sigmoid_quotient",
        c("n = Neg(x) e = Exp(n) p = Add(e, o) y = Div(x, p)", COND, nodes=2),
        c("n = Neg(x) e = Exp(n) p = Add(o, e) q = Sin(x) y = Div(q, p)", COND, x="float[N,3]", nodes=3),
        c(
            "n = Mul(x, m) e = Exp(n) p = Add(o, e) y = Div(q, p)",
            "m = -1; o = 1; float[3,1,1] q = 1, 2, 3",
            y="float[3,2,3]",
            nodes=2,
        ),
    ),
    *of(
        "softmax",
        one(MAX + "e = Exp(d) s = ReduceSum(e, a) y = Div(e, s)", "int64[1] a = -1"),
        one(
            "m = ReduceMax(x, a) d = Sub(x, m) e = Exp(d) s = ReduceSum<keepdims=1>(e, b) y = Div(e, s)",
            "int64[1] a = -1; int64[1] b = 1",
            opset=18,
            x="float[N,M]",
        ),
        one(
            "m = ReduceMax<axes=[2], keepdims=1>(x) d = Sub(x, m) e = Exp(d) s = ReduceSum<axes=[2]>(e) y = Div(e, s)",
            opset=9,
            x="float[2,3,4]",
        ),
        one(
            "m = ReduceMax<axes=[-1], keepdims=1>(x) d = Sub(x, m) e = Exp(d) s = ReduceSum<axes=[-1]>(e) "
            "y = Div(e, s)",
            opset=12,
            x="float[2,3,4]",
        ),
        one(SUM + "r = Reciprocal(s) y = Mul(r, e)", "int64[1] a = -1", x="double[2,3]"),
        one("m = ReduceMax<axes=[1]>(x) d = Sub(x, m) e = Exp(d) s = ReduceSum(e, a) y = Div(e, s)", "int64[1] a = -1"),
    ),
    *of(
        "softmax_of_rows",
        one("f = Flatten<axis=2>(x) p = Softmax<axis=-1>(f) s = Shape(x) y = Reshape(p, s)", x="float[2,N,4]"),
        one("f = Flatten<axis=-1>(x) p = Softmax(f) y = Reshape(p, s)", "int64[3] s = 2, -1, 4", x="float[2,3,4]"),
    ),
    *of(
        "log_softmax",
        one("s = Softmax<axis=0>(x) y = Log(s)"),
        one("s = Softmax(x) y = Log(s)", opset=11, x="float[2,3,4]"),
    ),
    *of(
        "log_softmax_spelled_out",
        one(MAX + "e = Exp(d) s = ReduceSum(e, a) l = Log(s) y = Sub(d, l)", "int64[1] a = 1"),
        one(SUM + "l = Log(s) y = Sub(x, l)", "int64[1] a = -1", x="float[N,M]"),
        one("l = ReduceLogSumExp<axes=[2]>(x) y = Sub(x, l)", x="float[2,3,4]"),
    ),
    *of(
        "gelu_of_complement",
        one("n = Neg(x) a = Mul(n, q) e = Erf(a) f = Sub(o, e) m = Mul(x, h) y = Mul(m, f)", GELU, opset=20),
        one("a = Mul(x, k) e = Erf(a) f = Sub(o, e) m = Mul(x, f) y = Div(m, two)", GELU + "; k = -0.70710677", opset=20),
        one("a = Mul(x, k) e = Erf(a) f = Mul(e, h) g = Sub(h, f) y = Mul(x, g)", GELU + "; k = -0.70710677", opset=20),
    ),
    *of(
        "gelu_tanh_of_sigmoid",
        one("a = Pow(x, three) b = Mul(a, k) d = Add(x, b) e = Mul(d, s) f = Sigmoid(e) y = Mul(x, f)", TWICE, opset=20),
        one(FACTOR + "e = Mul(x, s) f = Mul(d, e) g = Sigmoid(f) y = Mul(g, x)", TWICE, opset=20),
    ),
    *of("sigmoid_of_exponential", one("e = Exp(x) p = Add(e, o) y = Div(e, p)", COND)),
    *of(
        "sigmoid_of_tanh",
        one("a = Mul(x, h) t = Tanh(a) p = Add(t, o) y = Mul(p, h)", "h = 0.5; o = 1"),
        one("a = Div(x, two) t = Tanh(a) p = Mul(t, h) y = Add(p, h)", "h = 0.5; two = 2", x="float[N,3]"),
    ),
    *of("tanh_of_exponentials", one("n = Neg(x) a = Exp(x) b = Exp(n) p = Sub(a, b) q = Add(a, b) y = Div(p, q)")),
    *of(
        "softmax_of_reshaped",
        one("r = Reshape(x, f) p = Softmax<axis=1>(r) s = Shape(x) y = Reshape(p, s)", "int64[2] f = -1, 4", x="float[N,3,4]"),
        one("r = Reshape(x, f) p = Softmax(r) y = Reshape(p, s)", "int64[2] f = 6, 4; int64[3] s = 2, 3, 4", x="float[2,3,4]"),
    ),
    *of(
        "softmax_of_difference",
        one("m = ReduceMax<axes=[-1]>(x) d = Sub(x, m) y = Softmax(d)"),
        one("m = ReduceMax<axes=[1]>(x) d = Sub(x, m) y = Softmax<axis=1>(d)", x="float[N,3,4]"),
        one("m = ReduceMax<axes=[2]>(x) d = Sub(x, m) y = Softmax<axis=2>(d)", x="float[N,3,4]", opset=11),
    ),
    *of("softmax_of_logarithm", one("l = LogSoftmax<axis=0>(x) y = Exp(l)")),
]  # fmt: skip

REFUSES = [
    *of(
        "hard_sigmoid",
        c(LINE, "float[3] k = 1, 2, 3; float[3] h = 1, 2, 3; z = 0; o = 1", **NUMBERS),
        c(LINE, "k = 1; float[2,1] h = 1, 2; z = 0; o = 1", **NUMBERS),
        c("p = Add(x, h) y = Clip(p, z, o)", "float[1,1,1] h = 0.5; z = 0; o = 1", y="float[1,2,3]", **NUMBERS),
        c("p = Mul(x, k) y = Clip(p, z, o)", "float[1] k = 2; z = 0; o = 1", x="float", y="float[1]", **NUMBERS),
        c("p = Add(x, h) q = Div(p, k) y = Clip(q, z, o)", "k = 0; h = 0.5; z = 0; o = 1", **NUMBERS),
        c(LINE, "k = 0.2; h = 0.5; z = 0.1; o = 1"),
        c(LINE, "k = 0.2; h = 0.5; z = 0; o = 1.5"),
        c("p = Mul(x, k) q = Add(p, h) y = Clip(q, z)", "k = 0.2; h = 0.5; z = 0"),
        c(LINE, HARD, x="double[2,3]", **SINGLE),
        c(LINE, "k = 2; h = 1; z = 0; o = 1", x="int32[2,3]", **SINGLE),
    ),
    *of(
        "hard_sigmoid_scaled",
        c("p = Add(x, t) q = Clip(p, z, s) y = Div(q, i)", HARD, **BOUND),
        c("p = Add(x, t) q = Clip(p, z, s) y = Mul(q, k)", HARD, **BOUND),
        c("p = Add(x, t) q = Clip(p, z, s) y = Div(q, z)", HARD, **NUMBERS),
        c("p = Add(x, t) q = Clip(p, z, s) y = Div(q, f)", HARD + "; float[3] f = 6, 6, 6", **NUMBERS),
        c("p = Add(x, t) q = Clip(p, z, s) y = Div(q, s)", HARD, x="double[2,3]", **SINGLE),
        c("p = Add(x, t) q = Clip(p, o, s) y = Div(q, s)", HARD),
    ),
    *of(
        "hard_swish_spelled_out",
        c("p = Add(x, t) q = Clip(p, z, s) w = Mul(x, q) y = Div(w, i)", HARD, **BOUND),
        c("p = Add(x, t) q = Clip(p, z, s) w = Mul(t, q) y = Div(w, s)", HARD),
        c(SWISH, HARD, x="double[2,3]", **SINGLE),
        c(SWISH, "float[2,3] t = 3, 3, 3, 3, 3, 2; z = 0; s = 6", **NUMBERS),
        c(
            "p = Add(x, t) q = Clip(p, z, s) w = Mul(x, q) y = Div(w, f)",
            HARD + "; float[1,1,1] f = 6",
            y="float[1,2,3]",
            **NUMBERS,
        ),
        Case(
            "g (float[2,3] x) "
            "=> (float[2,3] y, float[2,3] w) <float t = {3}, float z = {0}, float s = {6}> "
            "{ p = Add(x, t) q = Clip(p, z, s) w = Mul(x, q) y = Div(w, s) }",
            opset=12,
            reason="nothing would be saved",
        ),
    ),
    *of(
        "hard_swish",
        c("p = HardSigmoid(x) y = Mul(x, p)", reason="not 1/6"),
        c("p = HardSigmoid<alpha=0.16666667, beta=0.4>(x) y = Mul(x, p)", reason="not 1/2"),
        c("p = HardSigmoid<alpha=0.1666, beta=0.5>(x) y = Mul(x, p)", reason="not 1/6"),
        c(
            "p = HardSigmoid<alpha=0.16666667, beta=0.5>(x) y = Mul(x, p)",
            opset=13,
            reason="does not exist at opset 13",
        ),
    ),
    *of(
        "gelu",
        c("a = Div(x, two) e = Erf(a) f = Add(e, o) m = Mul(x, f) y = Mul(m, h)", GELU, opset=20),
        c(ERF + "m = Mul(x, f) y = Mul(m, q)", GELU, opset=20),
        c("a = Div(x, r) e = Erf(a) f = Add(e, two) m = Mul(x, f) y = Mul(m, h)", GELU, opset=20),
        c("a = Div(x, b) e = Erf(a) f = Add(e, o) m = Mul(x, f) y = Mul(m, h)", GELU + "; b = 1.4143", opset=20),
        c(ERF + "m = Mul(x, f) y = Mul(m, h)", GELU, opset=19, reason="does not exist at opset 19"),
        c(ERF + "m = Mul(x, b) y = Mul(m, f)", GELU + "; float[1,1,1] b = 0.5", y="float[1,2,3]", opset=20),
        c("n = Neg(x) a = Div(n, r) e = Erf(a) f = Add(e, o) m = Mul(x, f) y = Mul(m, h)", GELU, opset=20),
    ),
    *of(
        "gelu_tanh",
        c(CUBIC.replace("three", "two"), TANH, opset=20),
        c(CUBIC.replace("Mul(d, s)", "Mul(d, h)"), TANH, opset=20),
        c(CUBIC.replace("Mul(a, k)", "Mul(a, j)"), TANH + "; j = 0.0447", opset=20),
        c(CUBIC.replace("Mul(x, h)", "Mul(x, s)"), TANH, opset=20),
        c(CUBIC.replace("Add(f, o)", "Add(f, two)"), TANH, opset=20),
        c(CUBIC, TANH, opset=17, reason="does not exist at opset 17"),
    ),
    *of(
        "mish",
        c("a = Softplus(x) b = Tanh(a) y = Mul(b, x)", opset=17, reason="does not exist at opset 17"),
        c("a = Softplus(x) b = Tanh(a) y = Mul(b, a)", opset=18),
        c("a = Softplus(x) b = Tanh(a) y = Mul(b, x)", opset=18, x="double[2,3]", **SINGLE),
    ),
    *of(
        "sigmoid",
        c("e = Exp(x) p = Add(e, o) y = Div(o, p)", COND),
        c("n = Neg(x) e = Exp(n) p = Add(e, a) y = Div(o, p)", COND),
        c("n = Neg(x) e = Exp(n) p = Add(e, o) y = Div(a, p)", COND),
        c("n = Neg(x) e = Exp(n) p = Add(e, o) y = Div(b, p)", "o = 1; float[1,1,1] b = 1", y="float[1,2,3]"),
    ),
    *of(
        "sigmoid_quotient",
        c("e = Exp(x) p = Add(e, o) y = Div(x, p)", COND),
        c("n = Neg(x) e = Exp(n) p = Add(e, a) y = Div(x, p)", COND),
        c("n = Neg(x) e = Exp(n) p = Add(e, o) y = Div(p, x)", COND),
    ),
    *of(
        "softmax",
        c(
            "m = ReduceMax<axes=[0]>(x) d = Sub(x, m) e = Exp(d) s = ReduceSum(e, a) y = Div(e, s)",
            "int64[1] a = 0",
            **LAST,
        ),
        c(SUM + "y = Div(e, s)", "int64[1] a = 1", x="float[2,3,4]", **LAST),
        c(SUM + "y = Div(e, s)", "int64[2] a = 0, 1", **LAST),
        c("e = Exp(x) s = ReduceSum<keepdims=0>(e, a) y = Div(e, s)", "int64[1] a = -1", x="float[3,3]"),
        c("e = Exp(x) s = ReduceSum(e) y = Div(e, s)"),
        c(SUM + "y = Div(s, e)", "int64[1] a = -1"),
        c("e = Exp(x) f = Relu(e) s = ReduceSum(f, a) y = Div(e, s)", "int64[1] a = -1"),
        Case(
            "g (float[2,3] x) => (float[2,3] y, float[2,1] s) <int64[1] a = {-1}> { e = Exp(x) "
            "s = ReduceSum(e, a) y = Div(e, s) }",
            reason="nothing would be saved",
        ),
    ),
    *of(
        "softmax_of_rows",
        c("f = Flatten<axis=1>(x) p = Softmax(f) s = Shape(x) y = Reshape(p, s)", x="float[2,3,4]", reason="last axis"),
        c(
            "f = Flatten<axis=2>(x) p = Softmax(f) y = Reshape(p, s)",
            "int64[2] s = 3, 8",
            x="float[2,3,4]",
            y="float[3,8]",
            reason="reshaped too",
        ),
    ),
    *of(
        "log_softmax",
        Case(
            "g (float[2,3] x) => (float[2,3] y, float[2,3] s) { s = Softmax(x) y = Log(s) }",
            reason="nothing would be saved",
        ),
    ),
    *of(
        "log_softmax_spelled_out",
        c(SUM + "l = Log(s) y = Sub(x, l)", "int64[1] a = 0", **LAST),
        c("l = ReduceLogSumExp<axes=[0]>(x) y = Sub(x, l)", **LAST),
        c("l = ReduceLogSumExp<axes=[1], keepdims=0>(x) y = Sub(x, l)", x="float[3,3]"),
        c("l = ReduceLogSumExp<axes=[1]>(x) y = Sub(l, x)"),
    ),
    *of(
        "gelu_of_complement",
        c("a = Mul(x, q) e = Erf(a) f = Sub(o, e) m = Mul(x, h) y = Mul(m, f)", GELU, opset=20),
        c("n = Neg(x) a = Mul(n, q) e = Erf(a) f = Sub(o, e) m = Mul(x, h) y = Mul(m, f)", GELU, opset=19, reason="does not exist"),
    ),
    *of(
        "gelu_tanh_of_sigmoid",
        c("a = Pow(x, three) b = Mul(a, k) d = Add(x, b) e = Mul(d, s) f = Sigmoid(e) y = Mul(x, f)", TANH, opset=20),
    ),
    *of("sigmoid_of_exponential", c("e = Exp(x) p = Add(e, a) y = Div(e, p)", COND)),
    *of("sigmoid_of_tanh", c("t = Tanh(x) p = Add(t, o) y = Mul(p, h)", "h = 0.5; o = 1")),
    *of("tanh_of_exponentials", c("n = Neg(x) a = Exp(x) b = Exp(n) p = Sub(b, a) q = Add(a, b) y = Div(p, q)")),
    *of(
        "softmax_of_reshaped",
        c("r = Reshape(x, f) p = Softmax(r) y = Reshape(p, s)", "int64[2] f = 8, 3; int64[3] s = 2, 3, 4", x="float[2,3,4]", reason="another one"),
        c("r = Reshape(x, f) p = Softmax<axis=0>(r) y = Reshape(p, s)", "int64[2] f = 6, 4; int64[3] s = 2, 3, 4", x="float[2,3,4]", **LAST),
        c("r = Reshape(x, f) p = Softmax(r) y = Reshape(p, s)", "int64[2] f = 6, 4; int64[3] s = 3, 2, 4", x="float[2,3,4]", y="float[3,2,4]", reason="reshaped too"),
    ),
    *of(
        "softmax_of_difference",
        c("m = ReduceMax<axes=[0]>(x) d = Sub(x, m) y = Softmax(d)", reason="other elements"),
        c("m = ReduceMax<axes=[1]>(x) d = Sub(x, m) y = Softmax<axis=1>(d)", x="float[N,3,4]", opset=11, reason="over all axes"),
    ),
    *of("softmax_of_logarithm", Case("g (float[2,3] x) => (float[2,3] y, float[2,3] l) { l = LogSoftmax(x) y = Exp(l) }", reason="nothing would be saved")),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), FIRES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(FIRES)])
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), REFUSES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(REFUSES)])
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)
