"""Rules of patterns/simplifying/bounds.py."""

from __future__ import annotations

import math
from itertools import product

import pytest

from graphopt.patterns.simplifying.bounds import _both
from tests.patterns.elementwise_cases import check_unknown_dtype, flat, g
from tests.patterns.rule_cases import Case, check_fires, check_refuses

FIRES = {
    "clip_clip": [
        g("m = Clip(x, a, b) y = Clip(m, c, d)", a=-2, b=2, c=-1, d=3, nodes=1),
        g("m = Clip(x, a) y = Clip(m, , d)", a=-2, d=1, nodes=1),
        g("m = Clip(x, , d) y = Clip(m, a)", a=-2, d=1, nodes=1),
        # intervals that do not meet, either way round, and an upside-down one
        g("m = Clip(x, a, b) y = Clip(m, c, d)", a=-2, b=-1, c=1, d=2, nodes=1),
        g("m = Clip(x, a, b) y = Clip(m, c, d)", a=1, b=2, c=-2, d=-1, nodes=1),
        g("m = Clip(x, a, b) y = Clip(m, c, d)", a=2, b=1, c=0, d=3, nodes=1),
        g("m = Clip(x, a, b) y = Clip(m, c, d)", a=-1, b=1, c=2, d=0.5, nodes=1),
        g("m = Clip<min=-2.0, max=2.0>(x) y = Clip<min=-1.0>(m)", opset=9, nodes=1, special=True),
        g("m = Clip(x, a) y = Clip(m, , b)", "int32[N]", "int32 a = {-2}, int32 b = {2}", nodes=1),
        g("m = Clip(x, a) y = Clip(m, , b)", "float16[N]", "float16 a = {14336}, float16 b = {15360}", nodes=1),
        g("m = Clip(x, a) y = Clip(m, , b)", "double[N]", "double a = {-0.3}, double b = {0.1}", nodes=1),
    ],
    "relu_of_clip": [
        g("m = Clip(x, a, b) y = Relu(m)", a=-1, b=-0.5, nodes=1),
        g("m = Clip(x, a, b) y = Relu(m)", a=-1, b=2, nodes=1),
        g("m = Clip(x, a, b) y = Relu(m)", a=1, b=2, nodes=1),
        g("m = Clip(x, , b) y = Relu(m)", b=2, nodes=1),
        g("m = Clip(x, a) y = Relu(m)", a=-1, nodes=1),
        g("m = Clip<min=-1.0, max=6.0>(x) y = Relu(m)", opset=10, nodes=1),
        Case(
            "g (float[N] x) => (float[N] y, float[N] z) <float a = {0}, float b = {2}> "
            "{ m = Clip(x, a, b) r = Relu(m) y = Neg(r) z = Exp(m) }",
            nodes=3,
        ),
        # both of two with a constant of the same name
        Case(
            "g (float[N] x) => (float[N] y) <float a = {-1}, float b = {2}, float c = {1}> "
            "{ m = Clip(x, a, b) r = Relu(m) n = Clip(x, a, c) s = Relu(n) y = Add(r, s) }",
            nodes=3,
        ),
    ],
    "clip_of_relu": [
        g("m = Relu(x) y = Clip(m, a, b)", a=0, b=6, nodes=1),
        g("m = Relu(x) y = Clip(m, a, b)", a=-1, b=-0.5, nodes=1),
        g("m = Relu(x) y = Clip(m, , b)", b=2, nodes=1),
        g("m = Relu(x) y = Clip(m, a)", a=-2, nodes=1),
        g("m = Relu(x) y = Clip<max=6.0>(m)", opset=6 + 1, nodes=1),
    ],
    "min_max_to_clip": [
        g("m = Max(x, a) y = Min(b, m)", a=-1, b=2, nodes=1, special=True),
        g("m = Min(b, x) y = Max(m, a)", a=-1, b=2, nodes=1),
        g("m = Max(x, a) y = Min(b, m)", a=2, b=-1, nodes=1),
        g("m = Min(b, x) y = Max(m, a)", a=2, b=-1, nodes=1),
        g("m = Max(x, a) y = Min(b, m)", constants="float[1] a = {-1}, float[1,1] b = {1}", nodes=1),
        g("m = Max(x, a) y = Min(b, m)", "int64[N]", "int64 a = {-1}, int64 b = {1}", nodes=1),
        g("m = Max(x, a) y = Min(b, m)", a=-0.7, b=2.3, nodes=1, opset=9),
        g("m = Max(x, a) y = Min(b, m)", "double[N]", "double a = {0.1}, double b = {3}", nodes=1),
    ],
    "min_relu_to_clip": [
        g("m = Relu(x) y = Min(m, b)", b=2, nodes=1),
        g("m = Relu(x) y = Min(b, m)", b=-1, nodes=1),
        g("m = Min(x, b) y = Relu(m)", b=2, nodes=1),
        g("m = Min(b, x) y = Relu(m)", b=-1, nodes=1),
    ],
    "max_max": [
        g("m = Max(x, a) y = Max(b, m)", constants="float[4] a = {1,-1,0,2}, float b = {0.5}", nodes=1, special=True),
        g("m = Min(a, x) y = Min(m, b)", constants="float[4] a = {1,-1,0,nan}, float b = {0.5}", nodes=1, special=True),
        g("m = Max(x, a) y = Max(m, b)", "int64[N]", "int64 a = {-1}, int64 b = {1}", nodes=1),
    ],
    "max_of_same": [
        g("m = Max(x, x) y = Relu(m)", nodes=1),
        g("m = Min(x, x) y = Abs(m)", "int32[N]", nodes=1),
    ],
    "max_of_infinity": [
        g("m = Max(x, a) y = Abs(m)", constants="float a = {-inf}", nodes=1),
        g("m = Min(a, x) y = Abs(m)", constants="float[4] a = {inf, inf, inf, inf}", nodes=1),
    ],
    "relu_of_nonnegative": [
        g("m = Relu(x) y = Relu(m)", nodes=1),
        g("m = Relu(x) y = Relu(m)", "int32[N]", nodes=1),
        g("m = Sigmoid(x) y = Relu(m)", nodes=1),
        g("m = HardSigmoid<alpha=0.3>(x) y = Relu(m)", nodes=1),
        g("m = Softmax<axis=0>(x) y = Relu(m)", nodes=1),
        g("m = Softmax(x) y = Relu(m)", opset=11, nodes=1),
        g("m = Exp(x) y = Relu(m)", nodes=1),
        g("m = Softplus(x) y = Relu(m)", nodes=1),
        g("m = Abs(x) y = Relu(m)", nodes=1),
    ],
    "clip_of_fraction": [
        g("m = Sigmoid(x) y = Clip(m, a, b)", a=0, b=1, nodes=1),
        g("m = HardSigmoid(x) y = Clip(m, a)", a=-1, nodes=1),
        g("m = Softmax(x) y = Clip(m, , b)", b=2, nodes=1),
        g("m = Sigmoid(x) y = Clip<min=0.0, max=1.0>(m)", opset=9, nodes=1),
    ],
    "clip_to_everything": [
        g("m = Clip(x, a, b) y = Relu(m)", constants="float a = {-inf}, float b = {inf}", nodes=1),
        g("m = Clip(x, a, b) y = Identity(m)", "uint8[N]", "uint8 a = {0}, uint8 b = {255}", nodes=1),
        g("m = Clip(x, a, b) y = Identity(m)", "int8[N]", "int8 a = {-128}, int8 b = {127}", nodes=1),
        g("m = Clip(x, a) y = Identity(m)", "uint8[N]", "uint8 a = {0}", nodes=1),
        g("m = Clip(x) y = Abs(m)", "int64[N]", nodes=1),
    ],
    "leaky_relu_without_leak": [g("m = LeakyRelu<alpha=1.0>(x) y = Relu(m)", nodes=1)],
    "clip_to_relu": [
        g("y = Clip(x, a)", a=0, nodes=1),
        g("y = Clip(x, a, b)", constants="float a = {0}, float b = {inf}", nodes=1, special=True),
    ],
    "max_zero_to_relu": [
        g("y = Max(x, a)", a=0, nodes=1, special=True),
        g("y = Max(a, x)", "float16[N]", "float16[1] a = {0}", nodes=1),
    ],
}  # fmt: skip

REFUSES = {
    "clip_clip": [
        g(
            "m = Clip(x, a, b) y = Clip(m, c, d)",
            constants="float a = {-2}, float b = {inf}, float c = {-1}, float d = {3}", reason="infinite",
        ),
        g("m = Clip(x, a, b) y = Clip(m, a, b)", constants="float a = {nan}, float b = {1}", reason="NaN"),
        g(
            "m = Clip(x, a) y = Clip(m, , b)", "int64[N]",
            "int64 a = {1}, int64 b = {9007199254740993}", reason="64-bit",
        ),
        g("m = Clip(x, z) y = Clip(m, , b)", b=1, more="float z"),
        Case(
            "g (float[3] x) => (float[3] y, float[3] m) <float a = {0}, float b = {2}, float c = {1}> "
            "{ m = Clip(x, a, b) y = Clip(m, c, b) }",
            reason="nothing would be saved",
        ),
    ],
    "relu_of_clip": [
        g("m = Clip(x, a, b) y = Relu(m)", constants="float a = {-inf}, float b = {1}", reason="infinite"),
    ],
    "clip_of_relu": [g("m = Relu(x) y = Clip(m, a)", constants="float a = {nan}", reason="NaN")],
    "min_max_to_clip": [
        g("m = Max(x, a) y = Min(b, m)", constants="float a = {0}, float[4] b = {1,1,1,1}", reason="no single number"),
        g("m = Max(x, a) y = Min(b, m)", constants="float[4] a = {0,0,0,0}, float b = {1}", reason="no single number"),
        g(
            "m = Max(x, a) y = Min(b, m)", "float[4]", "float[1,1] a = {0}, float b = {1}", "float[1,4]",
            reason="broadcast x up",
        ),
        g("m = Max(x, a) y = Min(b, m)", constants="float a = {nan}, float b = {1}", reason="NaN"),
        g("m = Max(x, a) y = Min(b, m)", constants="float a = {0}, float b = {inf}", reason="infinite"),
        g("m = Max(x, a, z) y = Min(b, m)", a=0, b=1, more="float z"),
        g("m = Max(x, z) y = Min(z, m)", more="float z"),
    ],
    "min_relu_to_clip": [
        g("m = Relu(x) y = Min(m, b)", constants="float[4] b = {1,1,1,2}", reason="no single number"),
        g("m = Relu(x) y = Min(m, b)", "float[1]", "float[1,1] b = {1}", "float[1,1]", reason="broadcast x up"),
        g("m = Relu(x) y = Min(m, b)", constants="float b = {inf}", reason="infinite"),
        g("m = Relu(x) y = Max(m, b)", constants="float b = {1}"),
    ],
    "max_max": [
        g("m = Max(x, a) y = Min(b, m)", a=0, b=1),
        g(
            "m = Max(x, a) y = Max(m, b)", "float[1,1]",
            f"float[40,1] a = {{{','.join(['1'] * 40)}}}, float[40] b = {{{','.join(['1'] * 40)}}}", "float[40,40]",
            reason="larger",
        ),
    ],
    "max_of_same": [g("y = Max(x, z)", more="float[4] z")],
    "max_of_infinity": [g("y = Max(x, a)", constants="float a = {inf}"), g("y = Min(x, a)", constants="float a = {-inf}")],
    "relu_of_nonnegative": [
        g("m = Abs(x) y = Relu(m)", "int32[N]", reason="negative"),
        g("m = Tanh(x) y = Relu(m)"),
        g("m = Elu(x) y = Relu(m)"),
    ],
    "clip_of_fraction": [
        g("m = Sigmoid(x) y = Clip(m, a, b)", a=0.1, b=1, reason="inside"),
        g("m = Sigmoid(x) y = Clip(m, a, b)", a=0, b=0.9, reason="inside"),
        g("m = Sigmoid(x) y = Clip(m, a, b)", constants="float a = {nan}, float b = {1}", reason="inside"),
        g("m = Tanh(x) y = Clip(m, a, b)", a=-1, b=1),
    ],
    "clip_to_everything": [
        g("y = Clip(x, a)", constants="float a = {-inf}", reason="not infinite"),
        g("y = Clip(x, a, b)", constants="float a = {0}, float b = {inf}", reason="not infinite"),
        g("y = Clip(x, a, b)", "uint8[N]", "uint8 a = {0}, uint8 b = {254}", reason="inside"),
        g("y = Clip(x, a, b)", "int8[N]", "int8 a = {-127}, int8 b = {127}", reason="inside"),
        g("y = Clip(x, , b)", "int64[N]", "int64 b = {9223372036854775807}", reason="64-bit"),
        g("y = Clip(x)", reason="not infinite"),
        g("y = Clip(x)", "double[N]", opset=10, reason="not infinite"),
        g(
            "y = Clip(x, a, b)", constants="float a = {-3.4028234663852886e38}, float b = {3.4028234663852886e38}",
            reason="not infinite",
        ),
        g("y = Clip(x, a, b)", "uint8[N]", "uint8 a = {1}, uint8 b = {255}", reason="inside"),
        g("y = Clip(x, a, b)", "int8[N]", "int8 a = {-128}, int8 b = {126}", reason="inside"),
        g("y = Clip(x, a)", "int64[N]", "int64 a = {-9223372036854775808}", reason="64-bit"),
    ],
    "leaky_relu_without_leak": [g("y = LeakyRelu(x)")],
    "clip_to_relu": [
        g("y = Clip(x, a, b)", a=0, b=6, reason="upper bound"),
        g("y = Clip(x, a)", "int32[N]", "int32 a = {0}", reason="integers"),
        g("y = Clip<min=0.0>(x)", opset=10, reason="upper bound"),
        g("y = Clip(x, a)", a=0.1),
    ],
    "max_zero_to_relu": [
        g("y = Max(x, a)", "int64[N]", "int64 a = {0}", reason="not floats"),
        g("y = Max(x, a)", "float[3]", "float[1,1] a = {0}", "float[1,3]"),
        g("y = Max(x, a)", "float[1]", "float[3] a = {0,0,0}", "float[3]"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), flat(FIRES))
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), flat(REFUSES))
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


def test_both() -> None:
    """Two intervals in a row, on every way in which they can lie."""
    ends = (None, -2.0, -1.0, 0.0, 1.0, 2.0)

    def clip(v: float, low: float | None, high: float | None) -> float:
        return min(max(v, -math.inf if low is None else low), math.inf if high is None else high)

    for a, b, c, d in product(ends, repeat=4):
        low, high = _both((a, b), (c, d))
        assert low != -math.inf
        assert high != math.inf
        assert (-math.inf if low is None else low) <= (math.inf if high is None else high)
        for v in (-math.inf, -3.0, -2.0, -1.5, -0.5, 0.0, 0.5, 1.5, 2.0, 3.0, math.inf):
            assert clip(v, low, high) == clip(clip(v, a, b), c, d)


@pytest.mark.parametrize(
    ("rule", "body"),
    [
        ("max_max", "m = Max(u, zero) y = Max(m, one)"),
        ("clip_clip", "m = Clip(u, zero) y = Clip(m, , one)"),
        ("relu_of_clip", "m = Clip(u, zero) y = Relu(m)"),
        ("clip_to_relu", "y = Clip(u, zero)"),
        ("max_zero_to_relu", "y = Max(u, zero)"),
    ],
)
def test_unknown_dtype(rule: str, body: str) -> None:
    check_unknown_dtype(rule, body)
