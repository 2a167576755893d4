"""Rules of patterns/simplifying/algebra.py: neutral elements, signs, powers."""

from __future__ import annotations

import pytest

from tests.patterns.elementwise_cases import check_unknown_dtype, flat, g
from tests.patterns.rule_cases import Case, check_fires, check_refuses

HALF_IN_FLOAT16 = "float16 c = {14336}"
BIG = f"float[2048] c = {{{','.join(['1.5'] * 2048)}}}"

FIRES = {
    "multiply_by_one": [
        g("a = Mul(x, c) y = Relu(a)", c=1, nodes=1),
        g("a = Mul(c, x) y = Relu(a)", constants="float[4] c = {1,1,1,1}", nodes=1),
        g("a = Mul(x, c) y = Relu(a)", "float[N,3,4]", "float[1,3,1] c = {1,1,1}", nodes=1),
        g("a = Mul(x, c) y = Abs(a)", "int32[N]", "int32[1] c = {1}", nodes=1),
        g("a = Mul(x, c) y = Relu(a)", "float16[3]", "float16 c = {15360}", nodes=1),
        g("y = Mul(x, c)", c=1, nodes=1),
    ],
    "divide_by_one": [
        g("a = Div(x, c) y = Relu(a)", constants="float[1,1] c = {1}", nodes=1),
        g("a = Div(x, c) y = Abs(a)", "int64[N,2]", "int64[2] c = {1,1}", nodes=1),
    ],
    "add_neutral_zero": [
        g("a = Add(x, c) y = Relu(a)", c=-0.0, nodes=1),
        g("a = Sub(x, c) y = Relu(a)", constants="float[4] c = {0,0,0,0}", nodes=1),
        g("a = Add(c, x) y = Abs(a)", "int64[N]", "int64 c = {0}", nodes=1),
        g("a = Sub(x, c) y = Abs(a)", "int64[N]", "int64 c = {0}", nodes=1),
    ],
    "add_zero": [
        g("a = Add(c, x) y = Relu(a)", c=0, nodes=1, special=True),
        g("a = Sub(x, c) y = Relu(a)", constants="float[3,1] c = {0,-0.0,0}", nodes=1, special=True),
    ],
    "multiply_integers_by_zero": [
        g("a = Mul(x, c) y = Abs(a)", "int64[2,3]", "int64 c = {0}", nodes=1),
        g("a = Mul(c, x) y = Identity(a)", "uint8[2,3]", "uint8[1,1] c = {0}", nodes=1),
    ],
    "power_one": [
        g("a = Pow(x, c) y = Relu(a)", c=1, nodes=1),
        g("a = Pow(x, c) y = Relu(a)", constants="int64[1] c = {1}", nodes=1),
        g("a = Pow(x, c) y = Abs(a)", "int64[3]", c=1, nodes=1),
    ],
    "single_operand": [
        g("a = Sum(x) y = Relu(a)", nodes=1),
        g("a = Mean(x) y = Relu(a)", nodes=1),
        g("a = Max(x) y = Relu(a)", nodes=1),
        g("a = Min(x) y = Abs(a)", "int64[N]", nodes=1),
    ],
    "sum_of_two": [
        g("y = Sum(x, z)", more="float[4] z", nodes=1),
        g("y = Sum(x, z)", more="float[3,4] z", opset=7, nodes=1),
    ],
    "negate_twice": [
        g("a = Neg(x) b = Neg(a) y = Relu(b)", nodes=1),
        g("a = Neg(x) b = Neg(a) y = Abs(b)", "int32[N]", nodes=1),
    ],
    "subtract_negation": [
        g("n = Neg(z) y = Sub(x, n)", more="float[4] z", nodes=1),
        g("n = Neg(z) y = Sub(x, n)", "int64[N]", more="int64[N] z", nodes=1),
    ],
    "add_negation": [
        g("n = Neg(z) y = Add(x, n)", more="float[4] z", nodes=1),
        g("n = Neg(z) y = Add(n, x)", more="float[3,1] z", nodes=1),
    ],
    "multiply_negations": [
        g("n = Neg(z) m = Neg(x) y = Mul(n, m)", more="float[3,1] z", nodes=1),
        g("m = Neg(x) y = Mul(m, m)", nodes=1),
    ],
    "divide_negations": [g("n = Neg(z) m = Neg(x) y = Div(m, n)", more="float[3,1] z", nodes=1)],
    "negate_into_factor": [
        g("n = Neg(x) y = Mul(n, c)", constants="float[4] c = {1,-2,0,inf}", nodes=1),
        g("n = Mul(c, x) y = Neg(n)", constants="float[4] c = {1,-2,-0.0,nan}", nodes=1),
        g("n = Mul(c, x) y = Neg(n)", "int32[N]", "int32 c = {7}", nodes=1),
        g("n = Neg(x) y = Mul(n, c)", "float16[N]", HALF_IN_FLOAT16, nodes=1),
    ],
    "negate_difference": [
        g("d = Sub(x, z) y = Neg(d)", more="float[4] z", nodes=1, special=True),
        g("d = Sub(x, z) y = Neg(d)", "int8[N]", more="int8[N] z", nodes=1),
    ],
    "absolute_of_absolute": [
        g("a = Abs(x) y = Abs(a)", nodes=1),
        g("a = Neg(x) y = Abs(a)", nodes=1),
        g("a = Neg(x) y = Abs(a)", "int16[N]", nodes=1),
    ],
    "absolute_of_positive": [
        g("a = Exp(x) y = Abs(a)", nodes=1),
        g("a = Sigmoid(x) y = Abs(a)", nodes=1),
        g("a = Softmax<axis=0>(x) y = Abs(a)", nodes=1),
        g("a = Mul(x, x) y = Abs(a)", nodes=1),
    ],
    "square_of_absolute": [g("a = Abs(x) y = Mul(a, a)", nodes=1)],
    "round_twice": [
        g("a = Floor(x) y = Ceil(a)", nodes=1),
        g("a = Ceil(x) b = Round(a) y = Floor(b)", nodes=1),
        g("a = Round(x) y = Round(a)", nodes=1),
    ],
    "power_two": [
        g("y = Pow(x, c)", c=2, special=True, nodes=1),
        g("y = Pow(x, c)", "float16[N]", "float[1] c = {2}", nodes=1),
        g("y = Pow(x, c)", c=2, opset=7, nodes=1),
    ],
    "power_half": [
        g("y = Pow(x, c)", c=0.5, low=0.0, nodes=1),
        g("y = Pow(x, c)", "double[N]", "double c = {0.5}", low=0.0, nodes=1),
    ],
    "power_minus_one": [
        g("y = Pow(x, c)", c=-1, special=True, low=0.5, nodes=1),
        g("y = Pow(x, c)", constants="int64 c = {-1}", special=True, low=0.5, nodes=1),
    ],
}

REFUSES = {
    "multiply_by_one": [
        g("y = Mul(x, c)", constants="float[4] c = {1,1,1,2}"),
        g("y = Mul(x, c)", constants="float c = {nan}"),
        g("y = Mul(x, c)", "float[1,4]", "float[3,1] c = {1,1,1}", y="float[3,4]", reason="broadcast x up"),
        g("y = Mul(x, c)", "float[3]", "float[1,1] c = {1}", y="float[1,3]", reason="broadcast x up"),
        g("y = Mul(x, c)", "float[N]", "float[3] c = {1,1,1}", y="float[M]", reason="broadcast x up"),
        g("y = Mul(x, c)", "float", "float[1] c = {1}", y="float[1]", reason="broadcast x up"),
    ],
    "divide_by_one": [
        g("y = Div(x, c)", c=-1),
        g("y = Div(c, x)", c=1, low=1),
        g("y = Div(x, c)", "float[3,4]", "float[1,1,1] c = {1}", y="float[1,3,4]", reason="broadcast x up"),
    ],
    "add_neutral_zero": [
        g("y = Add(x, c)", c=0, reason="other sign"),
        g("y = Sub(x, c)", c=-0.0, reason="other sign"),
        g("y = Sub(x, c)", constants="float[4] c = {0,0,-0.0,0}", reason="other sign"),
        g("y = Add(x, c)", "int64[N]", "int64 c = {1}"),
        g("y = Sub(c, x)", "int64[N]", "int64 c = {0}"),
        g("y = Add(x, c)", "int64[N]", "int64[2] c = {0,0}", y="int64[K]", reason="broadcast x up"),
    ],
    "add_zero": [
        g("y = Add(x, c)", constants="float[4] c = {0,0,1,0}"),
        g("y = Add(x, c)", "float[1,4]", "float[3,1] c = {0,0,0}", y="float[3,4]", reason="broadcast x up"),
        g("y = Sub(c, x)", c=0),
    ],
    "multiply_integers_by_zero": [
        g("y = Mul(x, c)", c=0, reason="not integers"),
        g("y = Mul(x, c)", "int64[N]", "int64 c = {0}", reason="not known"),
        g("y = Mul(x, c)", "int64[2000]", "int64 c = {0}", reason="large"),
        g("y = Mul(x, c)", "int64[2]", "int64[1,1] c = {0}", y="int64[1,2]"),
        g("y = Mul(x, c)", "int64[2]", "int64 c = {1}"),
    ],
    "power_one": [
        g("y = Pow(x, c)", "float[3]", "float[1,1] c = {1}", y="float[1,3]"),
        g("y = Pow(c, x)", c=1),
    ],
    "single_operand": [g("y = Max(x, z)", more="float[4] z")],
    "sum_of_two": [
        g("y = Sum(x, z, z)", more="float[4] z"),
        g("y = Sum(x)"),
    ],
    "negate_twice": [Case("g (float[3] x) => (float[3] y, float[3] a) { a = Neg(x) b = Abs(a) y = Neg(b) }")],
    "subtract_negation": [
        g("n = Neg(x) y = Sub(n, z)", more="float[4] z"),
        Case(
            "g (float[3] x, float[3] z) => (float[3] y, float[3] n) { n = Neg(z) y = Sub(x, n) }",
            reason="nothing would be saved",
        ),
    ],
    "add_negation": [
        Case(
            "g (float[3] x, float[3] z) => (float[3] y, float[3] n) { n = Neg(z) y = Add(x, n) }",
            reason="nothing would be saved",
        ),
    ],
    "multiply_negations": [g("n = Neg(z) y = Mul(n, x)", more="float[3,1] z")],
    "divide_negations": [g("n = Neg(z) m = Neg(x) y = Div(m, n)", "int32[N]", more="int32[N] z", reason="not floats")],
    "negate_into_factor": [
        g("n = Neg(x) y = Mul(n, z)", more="float[4] z"),
        g("n = Neg(x) a = Mul(n, c) b = ReduceSum<keepdims=0>(c) y = Add(a, b)", "float[2048]", BIG, reason="large"),
    ],
    "negate_difference": [g("d = Add(x, z) y = Neg(d)", more="float[4] z")],
    "absolute_of_absolute": [g("a = Exp(x) y = Abs(a)")],
    "absolute_of_positive": [
        g("a = Mul(x, x) y = Abs(a)", "int32[N]", reason="not a float"),
        g("a = Mul(x, z) y = Abs(a)", more="float[4] z"),
        g("a = Sqrt(x) y = Abs(a)"),
    ],
    "square_of_absolute": [g("a = Abs(x) b = Abs(z) y = Mul(a, b)", more="float[4] z")],
    "round_twice": [g("a = Floor(x) b = Abs(a) y = Ceil(b)")],
    "power_two": [
        g("y = Pow(x, c)", "int64[N]", "int64 c = {2}", reason="not a float"),
        g("y = Pow(x, c)", "float[3]", "float[1,1] c = {2}", y="float[1,3]"),
        g("y = Pow(x, c)", c=3),
    ],
    "power_half": [
        g("y = Pow(x, c)", "int64[N]", c=0.5, reason="not a float"),
        g("y = Pow(x, c)", constants="float[4] c = {0.5,0.5,0.5,1}"),
    ],
    "power_minus_one": [
        g("y = Pow(x, c)", "int64[N]", c=-1, reason="not a float"),
        g("y = Pow(c, x)", c=-1),
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
        ("multiply_integers_by_zero", "y = Mul(u, zero)"),
        ("divide_negations", "a = Neg(u) b = Neg(u) y = Div(a, b)"),
        ("negate_into_factor", "a = Neg(u) y = Mul(a, one)"),
        ("absolute_of_positive", "a = Mul(u, u) y = Abs(a)"),
        ("power_two", "y = Pow(u, two)"),
    ],
)
def test_unknown_dtype(rule: str, body: str) -> None:
    check_unknown_dtype(rule, body)
