"""Rules of patterns/simplifying/algebra.py."""

from __future__ import annotations

from typing import Any

import pytest
from graphopt.patterns import all_rules
from onnx import parser

from tests.patterns.rule_cases import Case, apply, check_fires, check_refuses


def g(body: str, x: str = "float[3,4]", constants: str = "", y: str = "", more: str = "", **options: Any) -> Case:
    """A graph of x (and more inputs) to y, by default of the same type; c and d are scalars."""
    scalars = [f"float {n} = {{{options.pop(n)}}}" for n in ("c", "d") if n in options]
    constants = constants or ", ".join(scalars) or "float unused = {1}"
    return Case(f"g ({x} x{more and ', ' + more}) => ({y or x} y) <{constants}> {{ {body} }}", **options)


HALF_IN_FLOAT16 = "float16 c = {14336}"
BIG = f"float[2048] c = {{{','.join(['1.5'] * 2048)}}}"
CROSSED = f"float[40,1] c = {{{','.join(['1'] * 40)}}}, float[40] d = {{{','.join(['1'] * 40)}}}"

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
        g("a = Mul(c, x) y = Neg(a)", "int32[1,3]", "int32[2,1] c = {0,0}", y="int32[2,3]", nodes=1),
    ],
    "power_one": [
        g("a = Pow(x, c) y = Relu(a)", c=1, nodes=1),
        g("a = Pow(x, c) y = Relu(a)", constants="int64[1] c = {1}", nodes=1),
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
    "add_constants": [
        g("a = Add(x, c) y = Add(a, d)", c=1.5, d=-0.3, nodes=1),
        g(
            "a = Add(x, c) y = Add(d, a)",
            constants="float[4] c = {1,2,3,4}, float[3,4] d = {1,2,3,4,5,6,7,8,9,1,2,3}", nodes=1,
        ),
        g("a = Add(x, c) y = Sub(a, d)", constants="float[3,1] c = {1,2,3}, float d = {0.1}", nodes=1),
        g("a = Sub(x, c) y = Add(a, d)", c=0.7, d=0.1, nodes=1),
        g("a = Sub(x, c) y = Sub(a, d)", c=0.7, d=0.1, nodes=1),
        g("a = Sub(c, x) y = Add(a, d)", c=0.7, d=0.1, nodes=1),
        g("a = Sub(c, x) y = Sub(a, d)", c=0.7, d=0.1, nodes=1),
        g(
            "a = Add(x, c) y = Add(a, d)", constants="float[1] c = {2}, float[4] d = {0,-inf,inf,nan}", nodes=1,
            special=True,
        ),
        g("a = Add(x, c) y = Add(a, d)", c=-1e9, d=5, nodes=1),
        g("a = Sub(x, c) b = Sub(a, d) y = Add(b, d)", "uint8[N]", "uint8 c = {200}, uint8 d = {100}", nodes=1),
        g("a = Add(x, c) y = Add(a, d)", "int64[N]", "int64 c = {9223372036854775807}, int64 d = {3}", nodes=1),
        g("a = Add(x, c) y = Add(a, c)", "float16[N]", HALF_IN_FLOAT16, nodes=1),
        g(
            "a = Add(x, c) y = Add(a, d)", "float[1]", "float[3,1] c = {1,2,3}, float[1] d = {1}", y="float[3,1]",
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
            constants="float[4] c = {1,-2,3,4}, float[3,4] d = {1,-2,3,4,5,-6,7,8,9,-1,2,3}", nodes=1,
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
            "a = Div(x, c) y = Resize(a, roi, scales)", "float[1,1,4,4]",
            "float c = {255}, float[0] roi = {}, float[4] scales = {1,1,2,2}", y="float[1,1,8,8]", nodes=2,
        ),
    ],
    "multiply_by_reciprocal": [
        g("r = Reciprocal(z) y = Mul(x, r)", more="float[4] z", special=True, nodes=1),
        g(
            "s = Sqrt(z) r = Div(c, s) y = Mul(r, x)", constants="float[1] c = {1}", more="float[3,1] z", low=0.5,
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
}  # fmt: skip

REFUSES = {
    "multiply_by_one": [
        g("y = Mul(x, c)", constants="float[4] c = {1,1,1,2}", reason="not all ones"),
        g("y = Mul(x, c)", constants="float c = {nan}", reason="not all ones"),
        g("y = Mul(x, c)", "float[1,4]", "float[3,1] c = {1,1,1}", y="float[3,4]", reason="broadcast x up"),
        g("y = Mul(x, c)", "float[3]", "float[1,1] c = {1}", y="float[1,3]", reason="broadcast x up"),
        g("y = Mul(x, c)", "float[N]", "float[3] c = {1,1,1}", y="float[M]", reason="broadcast x up"),
        g("y = Mul(x, c)", "float", "float[1] c = {1}", y="float[1]", reason="broadcast x up"),
    ],
    "divide_by_one": [
        g("y = Div(x, c)", c=-1, reason="not all ones"),
        g("y = Div(c, x)", c=1, low=1),
        g("y = Div(x, c)", "float[3,4]", "float[1,1,1] c = {1}", y="float[1,3,4]", reason="broadcast x up"),
    ],
    "add_neutral_zero": [
        g("y = Add(x, c)", c=0, reason="other sign"),
        g("y = Sub(x, c)", c=-0.0, reason="other sign"),
        g("y = Sub(x, c)", constants="float[4] c = {0,0,-0.0,0}", reason="other sign"),
        g("y = Add(x, c)", "int64[N]", "int64 c = {1}", reason="not all zeros"),
        g("y = Sub(c, x)", "int64[N]", "int64 c = {0}"),
        g("y = Add(x, c)", "int64[N]", "int64[2] c = {0,0}", y="int64[K]", reason="broadcast x up"),
    ],
    "add_zero": [
        g("y = Add(x, c)", constants="float[4] c = {0,0,1,0}", reason="not all zeros"),
        g("y = Add(x, c)", "float[1,4]", "float[3,1] c = {0,0,0}", y="float[3,4]", reason="broadcast x up"),
        g("y = Sub(c, x)", c=0),
    ],
    "multiply_integers_by_zero": [
        g("y = Mul(x, c)", c=0, reason="not integers"),
        g("y = Mul(x, c)", "int64[N]", "int64 c = {0}", reason="not known"),
        g("y = Mul(x, c)", "int64[2000]", "int64 c = {0}", reason="large"),
        g("y = Mul(x, c)", "int64[2]", "int64[2] c = {0,1}", reason="not all zeros"),
    ],
    "power_one": [
        g("y = Pow(x, c)", "int64[3]", c=1, reason="not a float"),
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
    "add_constants": [
        g("a = Add(x, c) y = Add(a, d)", c=12582912, d=-12582912, reason="there to round"),
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
            "b = Abs(x) p = Add(b, d) a = Div(c, p) y = Mul(a, c)", "int64[N]", "int64 c = {9}, int64 d = {2}",
            reason="division of integers",
        ),
        g("a = Mul(x, c) y = Mul(a, d)", c=1e30, d=1e30, reason="infinite or too small"),
        g("a = Mul(x, c) y = Mul(a, c)", c=1e-30, reason="infinite or too small"),
        g("a = Mul(x, c) y = Mul(a, c)", "float16[N]", "float16 c = {5243}", reason="infinite or too small"),
        g("a = Mul(x, c) y = Div(a, d)", c=1, d=0, reason="infinite or too small"),
        g(
            "a = Mul(x, c) y = Mul(a, d)", constants="float c = {2}, float[4] d = {1,2,inf,3}",
            reason="infinite or too small",
        ),
        g(
            "a = Div(x, c) b = Mul(a, d) y = Cast<to=6>(b)", "float[N]", y="int32[N]", c=2.7725887, d=8,
            reason="last bit",
        ),
        g(
            "a = Mul(x, c) b = Div(a, d) t = Reshape(b, s) y = Floor(t)", "float[6]",
            "float c = {2}, float d = {3}, int64[2] s = {2,3}", y="float[2,3]", reason="last bit",
        ),
    ],
    "divide_constant": [
        g(
            "b = Abs(x) p = Add(b, d) a = Mul(p, c) y = Div(d, a)", "int64[N]", "int64 c = {2}, int64 d = {40}",
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
        g("y = Div(x, c)", "int64[N]", "int64 c = {3}", reason="not floats"),
        g("y = Div(x, c)", constants="float[4] c = {3,0,1,1}", reason="infinite or too small"),
        g("y = Div(x, c)", c=1e38, reason="too small"),
        g("a = Div(x, c) y = Floor(a)", c=49, reason="last bit"),
        g("a = Div(x, c) b = Mul(a, d) y = Cast<to=7>(b)", "float[N]", y="int64[N]", c=2.77, d=8, reason="last bit"),
        g("a = Div(x, c) y = Greater(a, z)", "float[N]", y="bool[N]", more="float z", c=3, reason="last bit"),
        g(
            "a = Div(x, c) y = Resize(z, roi, a)", "float[4]", "float c = {3}, float[0] roi = {}",
            y="float[A,B,C,D]", more="float[1,1,4,4] z", reason="last bit",
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
            "p = Abs(z) q = Add(p, c) r = Div(c, q) y = Mul(x, r)", "int64[N]", "int64 c = {1}", more="int64[N] z",
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
            "p = Abs(z) q = Add(p, c) r = Div(c, q) s = Add(r, c) y = Div(x, r)", "int64[N]", "int64 c = {1}",
            more="int64[N] z", reason="not floats",
        ),
    ],
    "reciprocal_of_reciprocal": [g("a = Reciprocal(x) b = Neg(a) y = Reciprocal(b)")],
    "reciprocal_of_quotient": [
        g("q = Mul(x, z) y = Reciprocal(q)", more="float[4] z"),
        g(
            "p = Abs(z) q = Div(x, c) y = Div(c, q)", "int64[N]", "int64 c = {1}", more="int64[N] z",
            reason="not floats",
        ),
    ],
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
}  # fmt: skip


def flat(table: dict[str, list[Case]]) -> list[object]:
    return [pytest.param(rule, case, id=f"{rule}-{i}") for rule, cases in table.items() for i, case in enumerate(cases)]


@pytest.mark.parametrize(("rule", "case"), flat(FIRES))
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), flat(REFUSES))
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


@pytest.mark.parametrize(
    ("rule", "body"),
    [
        ("add_neutral_zero", "y = Sub(u, zero)"),
        ("multiply_integers_by_zero", "y = Mul(u, zero)"),
        ("power_one", "y = Pow(u, one)"),
        ("divide_negations", "a = Neg(u) b = Neg(u) y = Div(a, b)"),
        ("negate_into_factor", "a = Neg(u) y = Mul(a, one)"),
        ("absolute_of_positive", "a = Mul(u, u) y = Abs(a)"),
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
        ("power_two", "y = Pow(u, two)"),
    ],
)
def test_unknown_dtype(rule: str, body: str) -> None:
    """Of what other domains compute, nothing is known."""
    head = '<ir_version: 8, opset_import: ["": 17, "other": 1]>'
    constants = "float zero = {0}, float one = {1}, float two = {2}"
    text = f"{head} g (float x) => (float y) <{constants}> {{ u = other.Op(x) {body} }}"
    _, ledger = apply(parser.parse_model(text), all_rules()[rule])
    assert not ledger.steps
    assert ledger.declined
