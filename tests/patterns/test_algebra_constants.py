"""Rules of patterns/simplifying/algebra.py: constants one after the other, divisions."""

from __future__ import annotations

import pytest

from tests.patterns.elementwise_cases import check_unknown_dtype, flat, g
from tests.patterns.rule_cases import Case, check_fires, check_refuses

HALF_IN_FLOAT16 = "float16 c = {14336}"
BIG = f"float[2048] c = {{{','.join(['1.5'] * 2048)}}}"
CROSSED = f"float[40,1] c = {{{','.join(['1'] * 40)}}}, float[40] d = {{{','.join(['1'] * 40)}}}"

FIRES = {
    "add_constants": [
        g("a = Add(x, c) y = Add(a, d)", c=1.5, d=-0.3, nodes=1),
        g(
            "a = Add(x, c) y = Add(d, a)",
            constants="float[4] c = {1,2,3,4}, float[3,4] d = {1,2,3,4,5,6,7,8,9,1,2,3}",
            nodes=1,
        ),
        g("a = Add(x, c) y = Sub(a, d)", constants="float[3,1] c = {1,2,3}, float d = {0.1}", nodes=1),
        g("a = Sub(x, c) y = Add(a, d)", c=0.7, d=0.1, nodes=1),
        g("a = Sub(x, c) y = Sub(a, d)", c=0.7, d=0.1, nodes=1),
        g("a = Sub(c, x) y = Add(a, d)", c=0.7, d=0.1, nodes=1),
        g("a = Sub(c, x) y = Sub(a, d)", c=0.7, d=0.1, nodes=1),
        g(
            "a = Add(x, c) y = Add(a, d)",
            constants="float[1] c = {2}, float[4] d = {0,-inf,inf,nan}",
            nodes=1,
            special=True,
        ),
        g("a = Add(x, c) y = Add(a, d)", c=-1e9, d=5, nodes=1),
        g("a = Add(x, c) y = Add(a, d)", c=15.5, d=-15.5, nodes=1),
        g("a = Add(x, c) y = Add(a, d)", c=100, d=-50, nodes=1),
        g("a = Sub(x, c) b = Sub(a, d) y = Add(b, d)", "uint8[N]", "uint8 c = {200}, uint8 d = {100}", nodes=1),
        g("a = Add(x, c) y = Add(a, d)", "int64[N]", "int64 c = {9223372036854775807}, int64 d = {3}", nodes=1),
        g("a = Add(x, c) y = Add(a, c)", "float16[N]", HALF_IN_FLOAT16, nodes=1),
        g(
            "a = Add(x, c) y = Add(a, d)",
            "float[1]",
            "float[3,1] c = {1,2,3}, float[1] d = {1}",
            y="float[3,1]",
            nodes=1,
        ),
    ],
    "subtract_from_constant": [
        g("a = Add(x, c) y = Sub(d, a)", c=0.7, d=0.1, nodes=1),
        g("a = Sub(x, c) y = Sub(d, a)", c=0.7, d=0.1, nodes=1),
        g("a = Sub(c, x) y = Sub(d, a)", c=0.7, d=0.1, nodes=1),
        g("a = Sub(c, x) y = Sub(d, a)", "int32[N]", "int32 c = {7}, int32 d = {-9}", nodes=1),
    ],
    "multiply_constants": [
        g("a = Mul(x, c) y = Mul(a, d)", c=1.5, d=-0.3, nodes=1),
        g("a = Mul(c, x) y = Mul(d, a)", constants="float[3,1] c = {1.5,2,-3}, float d = {-0.3}", nodes=1),
        g("a = Mul(x, c) y = Div(a, d)", c=1.5, d=-0.3, nodes=1),
        g("a = Div(x, c) y = Mul(a, d)", c=1.5, d=-0.3, nodes=1),
        g("a = Div(x, c) y = Div(a, d)", c=1.5, d=-0.3, nodes=1),
        g("a = Div(c, x) y = Mul(a, d)", c=1.5, d=-0.3, low=1, special=True, nodes=1),
        g("a = Div(c, x) y = Div(a, d)", c=1.5, d=-0.3, low=1, special=True, nodes=1),
        g("a = Mul(x, c) y = Mul(a, d)", "int64[N]", "int64 c = {7}, int64 d = {-3}", nodes=1),
        g("a = Mul(x, c) y = Mul(a, c)", "float16[N]", HALF_IN_FLOAT16, nodes=1),
        # exact quotients may be rounded later on
        g("a = Mul(x, c) b = Div(a, d) y = Floor(b)", c=6, d=4, nodes=2),
    ],
    "divide_constant": [
        g("a = Mul(x, c) y = Div(d, a)", c=1.5, d=-0.3, low=1, special=True, nodes=1),
        g("a = Div(x, c) y = Div(d, a)", c=1.5, d=-0.3, low=1, special=True, nodes=1),
        g("a = Div(c, x) y = Div(d, a)", c=1.5, d=-0.3, low=1, special=True, nodes=1),
    ],
    "common_factor": [
        g("a = Mul(x, c) b = Mul(d, x) y = Add(a, b)", c=1.5, d=0.3, special=True, nodes=1),
        g(
            "a = Mul(x, c) b = Mul(x, d) y = Add(a, b)",
            constants="float[4] c = {1,-2,3,4}, float[3,4] d = {1,-2,3,4,5,-6,7,8,9,-1,2,3}",
            nodes=1,
        ),
        g("a = Mul(x, c) b = Mul(x, d) s = Add(a, b) y = Round(s)", c=1.5, d=0.5, nodes=2),
    ],
    "divide_by_power_of_two": [
        g("y = Div(x, c)", constants="float[4] c = {4,-0.5,1,1024}", nodes=1),
        g("a = Div(x, c) y = Floor(a)", c=8, nodes=2),
        g("y = Div(x, c)", "float16[N]", "float16 c = {18432}", nodes=1),
        g("y = Div(x, c)", "double[N]", "double c = {-32}", nodes=1),
    ],
    "divide_by_constant": [
        g("y = Div(x, c)", constants="float[4] c = {3,-7,0.1,1}", special=True, nodes=1),
        g("y = Div(x, c)", "float[4]", "float[4] c = {3,-7,0.1,1}", opset=7, nodes=1),
        g("y = Div(x, c)", "float16[N]", "float16 c = {16896}", special=True, nodes=1),
        g("a = Div(x, c) y = Softmax(a)", c=5.65, nodes=2),
        g("a = Div(x, c) b = Exp(a) y = Floor(b)", c=5.65, nodes=3, low=0.1, high=0.5),
        g(
            "a = Div(x, c) y = Resize(a, roi, scales)",
            "float[1,1,4,4]",
            "float c = {255}, float[0] roi = {}, float[4] scales = {1,1,2,2}",
            y="float[1,1,8,8]",
            nodes=2,
        ),
    ],
    "multiply_by_reciprocal": [
        g("r = Reciprocal(z) y = Mul(x, r)", more="float[4] z", special=True, nodes=1),
        g(
            "s = Sqrt(z) r = Div(c, s) y = Mul(r, x)",
            constants="float[1] c = {1}",
            more="float[3,1] z",
            low=0.5,
            nodes=2,
        ),
    ],
    "divide_by_reciprocal": [
        g("r = Reciprocal(z) y = Div(x, r)", more="float[4] z", low=0.5, nodes=1),
        g("r = Div(c, z) y = Div(x, r)", more="float[4] z", c=1, low=0.5, nodes=1),
    ],
    "reciprocal_of_reciprocal": [g("r = Reciprocal(x) y = Reciprocal(r)", special=True, nodes=1)],
    "reciprocal_of_quotient": [
        g("q = Div(x, z) y = Reciprocal(q)", more="float[4] z", special=True, low=0.5, nodes=1),
        g("q = Div(x, z) y = Div(c, q)", more="float[4] z", c=1, special=True, low=0.5, nodes=1),
    ],
}

REFUSES = {
    "add_constants": [
        g("a = Add(x, c) y = Add(a, d)", c=12582912, d=-12582912, reason="there to round"),
        g("a = Add(x, c) y = Add(a, d)", c=16, d=-16, reason="there to round"),
        g("a = Add(x, c) y = Add(a, d)", c=50.5, d=-100, reason="there to round"),
        g("a = Add(x, c) y = Add(a, c)", "double[N]", "double c = {1.5e308}", reason="the sum overflows"),
        g("a = Add(x, c) y = Sub(a, c)", "float16[N]", "float16 c = {26112}", reason="there to round"),
        g("a = Add(x, c) y = Add(a, d)", "float[1,1]", CROSSED, y="float[40,40]", reason="larger"),
        g("a = Add(x, c) y = Add(a, d)", c=3e38, d=3e38, reason="overflows"),
        g("a = Add(x, c) y = Mul(a, d)", c=3, d=3),
        Case(
            "g (float[3] x) => (float[3] y, float[3] a) <float c = {1}> { a = Add(x, c) y = Add(a, c) }",
            reason="nothing would be saved",
        ),
    ],
    "subtract_from_constant": [g("a = Sub(x, c) y = Sub(d, a)", c=12582912, d=-12582912, reason="there to round")],
    "multiply_constants": [
        g("a = Div(x, c) y = Mul(a, c)", "int64[N]", "int64 c = {2}", reason="division of integers"),
        g("a = Mul(x, c) y = Div(a, c)", "int64[N]", "int64 c = {2}", reason="division of integers"),
        g("a = Div(x, c) y = Div(a, c)", "int64[N]", "int64 c = {2}", reason="division of integers"),
        g(
            "b = Abs(x) p = Add(b, d) a = Div(c, p) y = Mul(a, c)",
            "int64[N]",
            "int64 c = {9}, int64 d = {2}",
            reason="division of integers",
        ),
        g("a = Mul(x, c) y = Mul(a, d)", c=1e30, d=1e30, reason="infinite or too small"),
        g("a = Mul(x, c) y = Mul(a, d)", "float[1,1]", CROSSED, y="float[40,40]", reason="larger"),
        g("a = Mul(x, c) y = Mul(a, c)", c=1e-30, reason="infinite or too small"),
        g("a = Mul(x, c) y = Mul(a, c)", "float16[N]", "float16 c = {5243}", reason="infinite or too small"),
        g("a = Mul(x, c) y = Div(a, d)", c=1, d=0, reason="infinite or too small"),
        g(
            "a = Mul(x, c) y = Mul(a, d)",
            constants="float c = {2}, float[4] d = {1,2,inf,3}",
            reason="infinite or too small",
        ),
        g(
            "a = Div(x, c) b = Mul(a, d) y = Cast<to=6>(b)",
            "float[N]",
            y="int32[N]",
            c=2.7725887,
            d=8,
            reason="last bit",
        ),
        g(
            "a = Mul(x, c) b = Div(a, d) t = Reshape(b, s) y = Floor(t)",
            "float[6]",
            "float c = {2}, float d = {3}, int64[2] s = {2,3}",
            y="float[2,3]",
            reason="last bit",
        ),
    ],
    "divide_constant": [
        g(
            "b = Abs(x) p = Add(b, d) a = Mul(p, c) y = Div(d, a)",
            "int64[N]",
            "int64 c = {2}, int64 d = {40}",
            reason="not floats",
        ),
        g("a = Mul(x, c) y = Div(d, a)", c=0, d=2, reason="infinite or too small"),
        g("a = Mul(x, c) b = Div(d, a) y = Ceil(b)", c=3, d=2, reason="last bit"),
    ],
    "common_factor": [
        g("a = Mul(x, c) b = Mul(x, d) y = Add(a, b)", c=1.5, d=-0.3, reason="differ in sign"),
        g("a = Mul(x, c) b = Mul(x, d) y = Add(a, b)", c=1.5, d=0, reason="differ in sign"),
        g("a = Mul(x, c) b = Mul(x, c) y = Add(a, b)", "int64[N]", "int64 c = {2}", reason="not floats"),
        g("a = Mul(x, c) b = Mul(z, c) y = Add(a, b)", more="float[4] z", c=2),
        g("a = Mul(x, c) b = Mul(x, d) s = Add(a, b) y = Round(s)", c=0.1, d=0.3, reason="last bit"),
        g("a = Mul(x, c) b = Mul(x, d) y = Add(a, b)", "float[1,1]", CROSSED, y="float[40,40]", reason="larger"),
    ],
    "divide_by_power_of_two": [
        g("y = Div(x, c)", constants="float[4] c = {2,4,3,8}", reason="not a power of two"),
        g("y = Div(x, c)", "int64[N]", "int64 c = {2}", reason="not floats"),
        g("y = Div(x, c)", constants="float c = {inf}", reason="infinite or too small"),
        g("y = Div(x, c)", "float16[N]", "float16 c = {30720}", reason="too small"),
    ],
    "divide_by_constant": [
        Case(
            "g (float[A] x) => (float[A] y) <float k = {1.4142135}> { a = Div(x, k) b = Erf(a) y = Mul(b, x) }",
            reason="know a Gelu",
        ),
        g("y = Div(x, c)", "int64[N]", "int64 c = {3}", reason="not floats"),
        g("y = Div(x, c)", constants="float[4] c = {3,0,1,1}", reason="infinite or too small"),
        g("y = Div(x, c)", c=1e38, reason="too small"),
        g("a = Div(x, c) y = Floor(a)", c=49, reason="last bit"),
        g("a = Div(x, c) b = Mul(a, d) y = Cast<to=7>(b)", "float[N]", y="int64[N]", c=2.77, d=8, reason="last bit"),
        g("a = Div(x, c) y = Greater(a, z)", "float[N]", y="bool[N]", more="float z", c=3, reason="last bit"),
        g(
            "a = Div(x, c) y = Resize(z, roi, a)",
            "float[4]",
            "float c = {3}, float[0] roi = {}",
            y="float[A,B,C,D]",
            more="float[1,1,4,4] z",
            reason="last bit",
        ),
        Case(
            "g (float[3] x, bool b) => (float[3] y) <float c = {49}> "
            "{ q = If(b) <then_branch = t () => (float[3] u) { u = Div(x, c) }, "
            "else_branch = e () => (float[3] v) { v = Identity(x) }> y = Floor(q) }",
            reason="last bit",
        ),
        g("a = Div(x, c) b = ReduceSum<keepdims=0>(c) y = Add(a, b)", "float[2048]", BIG, reason="large"),
    ],
    "multiply_by_reciprocal": [
        g(
            "p = Abs(z) q = Add(p, c) r = Div(c, q) y = Mul(x, r)",
            "int64[N]",
            "int64 c = {1}",
            more="int64[N] z",
            reason="not floats",
        ),
        g("r = Div(c, z) y = Mul(x, r)", "float[3]", "float[1,1] c = {1}", y="float[1,3]", more="float[3] z"),
        Case(
            "g (float[3] x, float[3] z) => (float[3] y, float[3] w) { r = Reciprocal(z) y = Mul(x, r) w = Add(x, r) }",
            reason="nothing would be saved",
        ),
    ],
    "divide_by_reciprocal": [
        g(
            "p = Abs(z) q = Add(p, c) r = Div(c, q) s = Add(r, c) y = Div(x, r)",
            "int64[N]",
            "int64 c = {1}",
            more="int64[N] z",
            reason="not floats",
        ),
    ],
    "reciprocal_of_reciprocal": [g("a = Reciprocal(x) b = Neg(a) y = Reciprocal(b)")],
    "reciprocal_of_quotient": [
        g("q = Mul(x, z) y = Reciprocal(q)", more="float[4] z"),
        g(
            "p = Abs(z) q = Div(x, c) y = Div(c, q)",
            "int64[N]",
            "int64 c = {1}",
            more="int64[N] z",
            reason="not floats",
        ),
    ],
}


@pytest.mark.parametrize(("rule", "case"), flat(FIRES))
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), flat(REFUSES))
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


@pytest.mark.parametrize(
    ("rule", "body"),
    [
        ("add_constants", "a = Add(u, one) y = Add(a, one)"),
        ("subtract_from_constant", "a = Add(u, one) y = Sub(one, a)"),
        ("multiply_constants", "a = Mul(u, one) y = Mul(a, one)"),
        ("divide_constant", "a = Mul(u, one) y = Div(one, a)"),
        ("common_factor", "a = Mul(u, one) b = Mul(u, two) y = Add(a, b)"),
        ("divide_by_power_of_two", "y = Div(u, two)"),
        ("divide_by_constant", "y = Div(u, two)"),
        ("multiply_by_reciprocal", "a = Div(one, u) y = Mul(u, a)"),
        ("divide_by_reciprocal", "a = Div(one, u) y = Div(u, a)"),
        ("reciprocal_of_quotient", "a = Div(u, u) y = Div(one, a)"),
    ],
)
def test_unknown_dtype(rule: str, body: str) -> None:
    check_unknown_dtype(rule, body)
