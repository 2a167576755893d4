"""Rules of patterns/raising/normalization.py."""

from __future__ import annotations

import pytest

from tests.patterns.raising_cases import c, of, one
from tests.patterns.rule_cases import Case, check_fires, check_refuses

EPS = "e = 0.0001; "
X = "float[2,3,4]"
IMAGE = "float[2,3,4,5]"
SCALE, BIAS = "float[4] g = 1.5, -2, 0.5, 3; ", "float[4] b = 0.1, 0.2, -3, 4; "
CHANNELS, SHIFT = "float[3,1,1] g = 1.5, -2, 0.5; ", "float[1,3,1,1] b = 0.1, 0.2, -3; "
# The mean and the difference, the variance plus epsilon; with axes as attribute, as input, and over an image.
CENTRE = "m = ReduceMean<axes=[-1]>(x) d = Sub(x, m) "
VARIANCE = CENTRE + "s = Mul(d, d) v = ReduceMean<axes=[-1]>(s) w = Add(v, e) "
CENTRE_18 = "m = ReduceMean(x, i) d = Sub(x, m) "
VARIANCE_18 = CENTRE_18 + "s = Pow(d, two) v = ReduceMean(s, i) w = Add(e, v) "
LAST = "int64[1] i = -1; two = 2; "
OVER_IMAGE = (
    "m = ReduceMean<axes=[2,3]>(x) d = Sub(x, m) s = Mul(d, d) v = ReduceMean<axes=[3,2]>(s) w = Add(v, e) r = Sqrt(w) "
)
TWICE = VARIANCE.replace("d = Sub(x, m)", "f = Sub(x, m) d = Sub(x, m)") + "r = Sqrt(w) "
MOMENTS = CENTRE + "s = Mul(x, x) q = ReduceMean<axes=[-1]>(s) mm = Mul(m, m) t = Sub(q, mm) "
SQUARES = "s = Mul(x, x) v = ReduceMean(s, i) w = Add(v, e) "
LINE = VARIANCE + "r = Sqrt(w) n = Reciprocal(r) k = Mul(n, g) p = Mul(x, k) q = Mul(m, k) z = Sub(b, q) "
ONES = "float[4] s = 1, 1, 1, 1; "
ONES_OF = f"float[3,4] s = {', '.join(['1'] * 12)}"
SHAPE = {"reason": "normalized shape"}

# A tensor p of unknown rank that is x.
LOST = "z = Size(x) u = Unsqueeze(z, o) f = Shape(x) h = Slice(f, o, u) p = Reshape(x, h) "
NOWHERE = {"x": "float[N,4]", "y": "float[A,4]", "reason": "rank is not known"}
SQRT = "r = Sqrt(w) y = Div(d, r)"
SCALED = "r = Sqrt(w) n = Reciprocal(r) k = Mul(n, g) y = Mul(d, k)"
LAYER, INSTANCE = "n = LayerNormalization(x, s) ", "n = InstanceNormalization(x, s, t) "
RMS = "n = RMSNormalization(x, s) y = Mul(g, n)"
THREE_FOUR = "float[3,4] s = 1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7, 6; "
PLAIN = "float[3] s = 1, 1, 1; float[3] t = 0, 0, 0"
AFFINE = "float[3] s = 1, 2, 3; float[3] t = 3, 2, 1"
OTHER = {"reason": "varies over other axes"}
UNKNOWN = {"reason": "sizes are not known"}
EPSILON = {"reason": "not a single number"}
ROUNDED = {"reason": "would be rounded"}
NARROW = {"reason": "16-bit float"}
CASTS = "f = Cast<to=1>(x) n = LayerNormalization(f, s) y = Cast<to=10>(n)"
RISING = "float[4] s = 1, 2, 3, 4"
RESHAPED = "r = Reshape(x, f) n = InstanceNormalization(r, s, t) p = Shape(x) y = Reshape(n, p)"

FIRES = [
    *of(
        "normalization",
        one(VARIANCE + SQRT, EPS, x=X),
        one(VARIANCE_18 + SQRT, EPS + LAST, x=X, opset=18),
        one(VARIANCE + "r = Sqrt(w) n = Reciprocal(r) y = Mul(n, d)", EPS, x="float[N,T,4]"),
        one(VARIANCE + "r = Sqrt(w) n = Div(o, r) y = Mul(d, n)", EPS + "o = 1", x=X),
        one(VARIANCE + "n = Pow(w, o) y = Mul(d, n)", EPS + "o = -0.5", x=X),
        one(VARIANCE + "n = Pow(w, o) y = Div(d, n)", EPS + "o = 0.5", x=X),
        one(TWICE + "y = Div(f, r)", EPS, x=X),
        one(TWICE.replace("f = Sub(x, m)", "mm = ReduceMean<axes=[2]>(x) f = Sub(x, mm)") + "y = Div(f, r)", EPS, x=X),
        one(VARIANCE + SQRT, "float[1,1] e = 0.001", x="float[2,7]"),
        one(VARIANCE + SQRT, "e = 0.001", x="float[5]"),
        one(VARIANCE + SQRT, EPS, x="float16[2,3,4]"),
        one(OVER_IMAGE.replace("[2,3]", "[1,2,3]").replace("[3,2]", "[-2,-1,-3]") + "y = Div(d, r)", EPS, x=IMAGE),
        one(OVER_IMAGE + "y = Div(d, r)", EPS, x=IMAGE),
        one(OVER_IMAGE + "y = Div(d, r)", EPS, x="float[N,3,H,W]", opset=11),
        one(VARIANCE + SQRT, EPS, x="float[N,3,L]", opset=13),
        one(OVER_IMAGE + "y = Div(d, r)", EPS, x="float[2,C,4,5]"),
    ),
    *of(
        "normalization_scaled",
        one(VARIANCE + SCALED, EPS + SCALE, x=X),
        one(
            VARIANCE_18 + "r = Sqrt(w) n = Reciprocal(r) k = Mul(g, n) y = Mul(k, d)", EPS + SCALE + LAST, x=X, opset=18
        ),
        one(VARIANCE + "r = Sqrt(w) n = Div(d, r) y = Mul(n, g)", EPS + SCALE, x=X),
        one(MOMENTS + "w = Add(t, e) " + SCALED, EPS + SCALE, x=X),
        one(MOMENTS + "u = Max(o, t) w = Add(u, e) " + SCALED, EPS + SCALE + "o = 0", x=X),
        one(OVER_IMAGE + "n = Reciprocal(r) k = Mul(n, g) y = Mul(d, k)", EPS + CHANNELS, x=IMAGE),
        one(
            OVER_IMAGE + "n = Reciprocal(r) k = Mul(n, g) y = Mul(d, k)", EPS + "float[1,5] g = 1, 2, 3, 4, 5", x=IMAGE
        ),
    ),
    *of(
        "normalization_as_line",
        one(LINE + "y = Add(p, z)", EPS + SCALE + BIAS, x=X),
        one(LINE.replace("Reciprocal(r)", "Div(o, r)") + "y = Add(z, p)", EPS + SCALE + BIAS + "o = 1", x=X),
        one(LINE + "y = Add(p, z)", EPS + "g = 2; float[1] b = 3", x=X),
    ),
    *of(
        "rms_normalization",
        one(SQUARES + "r = Sqrt(w) y = Div(x, r)", EPS + LAST, x=X, opset=23),
        one(
            SQUARES.replace("Mul(x, x)", "Pow(x, two)") + "r = Sqrt(w) n = Reciprocal(r) y = Mul(x, n)",
            EPS + LAST,
            x="float[N,T,4]",
            opset=23,
        ),
        one(SQUARES + "r = Sqrt(w) n = Div(o, r) y = Mul(n, x)", EPS + LAST + "o = 1", x="float16[2,3,4]", opset=23),
        one(SQUARES + "n = Pow(w, o) y = Mul(n, x)", EPS + LAST + "o = -0.5", x=X, opset=23),
        one(SQUARES + "n = Pow(w, o) y = Div(x, n)", EPS + "int64[2] i = 2, 1; o = 0.5", x=X, opset=23),
    ),
    *of(
        "rms_normalization_scale",
        one("n = RMSNormalization<epsilon=0.01>(x, s) y = Mul(g, n)", SCALE + ONES, x=X, opset=23),
        one("n = RMSNormalization<axis=1>(x, s) y = Mul(n, g)", THREE_FOUR + "float[1,3,1] g = 1, 2, 3", x=X, opset=23),
    ),
    *of(
        "layer_normalization_scale",
        one(LAYER + "y = Mul(g, n)", SCALE + ONES, x=X),
        one(
            "n = LayerNormalization<epsilon=0.1>(x, g, b) y = Mul(n, k)",
            SCALE + BIAS + "float[1,1,4] k = 1, 2, 3, 4",
            x="float[N,T,4]",
        ),
        one(
            "n = LayerNormalization<axis=-2>(x, s, b) y = Mul(n, k)",
            THREE_FOUR + "float[4] b = 1, 2, 3, 4; float[1,3,1] k = 1, 2, 3",
            x=X,
        ),
        one(LAYER + "y = Mul(n, k)", "float16[4] s = 0.1, 0.2, 3, 4; k = 0.3", x="float16[2,3,4]"),
    ),
    *of(
        "rms_normalization_takes_scale",
        one("n = RMSNormalization(x, s) y = Mul(n, g)", ONES, x=X, more=", float[4] g", opset=23),
        one(
            "n = RMSNormalization<axis=1>(x, s) y = Mul(g, n)",
            ONES_OF,
            x="float[N,3,4]",
            more=", float[3,4] g",
            opset=23,
        ),
    ),
    *of(
        "layer_normalization_takes_scale",
        one(LAYER + "y = Mul(g, n)", ONES, x=X, more=", float[4] g"),
        one("n = LayerNormalization<axis=-2>(x, s) y = Mul(n, g)", ONES_OF, x="float[N,3,4]", more=", float[3,4] g"),
    ),
    *of(
        "layer_normalization_takes_bias",
        one(LAYER + "y = Add(g, n)", SCALE.replace("g", "s"), x=X, more=", float[4] g"),
        one("n = LayerNormalization(x, s) y = Add(n, g)", "", x=X, more=", float[4] s, float[4] g"),
    ),
    *of(
        "layer_normalization_by_channel",
        one("n = LayerNormalization<epsilon=0.1>(x, s) y = Mul(n, k)", ONES + "float[3,1] k = 1, 2, 3", x=X),
    ),
    *of(
        "layer_normalization_bias",
        one("n = LayerNormalization<epsilon=0.1>(x, g) y = Add(b, n)", SCALE + BIAS, x=X),
        one("n = LayerNormalization<axis=1>(x, s, b) y = Add(n, k)", BIAS + THREE_FOUR + "float[3,1] k = 1, 2, 3", x=X),
        Case(
            "g (float[2,4] x, float[4] s) => (float[2,4] y) <float[1] k = {3}> "
            "{ n = LayerNormalization(x, s) y = Add(n, k) }",
            nodes=1,
        ),
    ),
    *of(
        "instance_normalization_scale",
        one("n = InstanceNormalization<epsilon=0.1>(x, s, t) y = Mul(n, g)", CHANNELS + AFFINE, x=IMAGE),
        one(INSTANCE + "y = Mul(g, n)", "g = 3; " + AFFINE, x="float[N,3,L]", opset=9),
    ),
    *of(
        "instance_normalization_by_position",
        one(
            "n = InstanceNormalization<epsilon=0.1>(x, s, t) y = Mul(n, g)",
            "float[4,1] g = 1, 2, 3, 4; " + PLAIN,
            x=IMAGE,
        ),
    ),
    *of(
        "instance_normalization_bias",
        one("n = InstanceNormalization<epsilon=0.1>(x, s, t) y = Add(b, n)", SHIFT + AFFINE, x=IMAGE),
    ),
    *of(
        "layer_normalization_casts",
        one(
            "f = Cast<to=1>(x) n = LayerNormalization<epsilon=0.1>(f, s, t) y = Cast<to=10>(n)",
            "float[4] s = 1, 2, 3, 4; float[4] t = 4, 5, 6, 7",
            x="float16[N,3,4]",
        ),
        one("f = Cast<to=1>(x) n = LayerNormalization<axis=1>(f, s) y = Cast<to=10>(n)", RISING, x="float16[3,4]"),
    ),
    *of(
        "rms_normalization_casts",
        one(
            "f = Cast<to=1>(x) n = RMSNormalization<epsilon=0.1>(f, s) y = Cast<to=10>(n)",
            RISING,
            x="float16[2,4]",
            opset=23,
        ),
    ),
    *of(
        "normalization",
        one(MOMENTS + "w = Add(t, e) " + SQRT, EPS, x=X),
        one(MOMENTS + "p = Relu(t) w = Add(p, e) r = Sqrt(w) n = Reciprocal(r) y = Mul(d, n)", EPS, x="float[N,T,4]"),
    ),
    *of(
        "normalization_scaled",
        one(MOMENTS + "p = Max(t, z) w = Add(p, e) r = Sqrt(w) k = Div(g, r) y = Mul(d, k)", EPS + SCALE + "z = 0", x=X),
    ),
    *of(
        "normalization_as_line",
        one(LINE.replace("z = Sub(b, q) ", "z = Sub(p, q) ") + "y = Add(z, b)", EPS + SCALE + BIAS, x=X),
    ),
    *of(
        "rms_normalization_scaled",
        one(SQUARES + "r = Sqrt(w) n = Reciprocal(r) k = Mul(n, g) y = Mul(x, k)", LAST + EPS + SCALE, x=X, opset=23),
        one(SQUARES + "r = Sqrt(w) k = Div(g, r) y = Mul(k, x)", LAST + EPS + SCALE, x="float[N,T,4]", opset=23),
    ),
    *of(
        "instance_normalization_of_reshaped",
        one(RESHAPED, "int64[4] f = 1, 6, 4, 5; float[6] s = 2, 2, 2, 2, 2, 2; float[6] t = 1, 1, 1, 1, 1, 1", x=IMAGE),
        one(RESHAPED, "int64[3] f = 0, 3, -1; " + AFFINE, x="float[N,3,H,5]"),
        one("r = Reshape(x, f) n = LayerNormalization(r, s) p = Shape(x) y = Reshape(n, p)", f"int64[3] f = 0, 3, -1; float[20] s = {', '.join(['1'] * 20)}", x=IMAGE),
    ),
]  # fmt: skip

REFUSES = [
    *of(
        "normalization",
        c(VARIANCE + SQRT, EPS, x="float[2,0]", **UNKNOWN),
        c(VARIANCE.replace("[-1]", "[1]") + SQRT, EPS, x=X, reason="not over the last axes"),
        c(VARIANCE.replace("[-1]", "[0,2]") + SQRT, EPS, x=X, reason="not over the last axes"),
        c(
            VARIANCE.replace("ReduceMean<axes=[-1]>(s)", "ReduceMean<axes=[1,2]>(s)") + SQRT,
            EPS,
            x=X,
            reason="different axes",
        ),
        c(
            TWICE.replace("f = Sub(x, m)", "mm = ReduceMean<axes=[1]>(x) f = Sub(x, mm)") + "y = Div(f, r)",
            EPS,
            x=X,
            reason="different axes",
        ),
        c(VARIANCE.replace("[-1]", "[-1], keepdims=0") + SQRT, EPS, x="float[3,3]"),
        c(VARIANCE + SQRT, "float[3,1] e = 1, 2, 3", x=X, **EPSILON),
        c(VARIANCE + SQRT, "float[1,1,1] e = 1", x="float[2,3]", y="float[1,2,3]", **EPSILON),
        c(VARIANCE + SQRT, EPS, x="double[2,3]", **EPSILON),
        c(VARIANCE + SQRT, EPS, x="float[2,N]", **UNKNOWN),
        c(VARIANCE + SQRT, EPS, x="float[1,65537]", reason="too large"),
        c(OVER_IMAGE + "y = Div(d, r)", EPS, x="float[2,C,H,4]", **UNKNOWN),
        c(VARIANCE + SQRT, EPS, x=X, opset=16, reason="does not exist at opset 16"),
        c(VARIANCE.replace("Mul(d, d)", "Mul(x, x)") + SQRT, EPS, x=X),
        c(VARIANCE.replace("Mul(d, d)", "Mul(d, x)") + SQRT, EPS, x=X),
        c(VARIANCE_18 + SQRT, EPS + "int64[1] i = -1; two = 3", x=X, opset=18),
        c(VARIANCE + "r = Sqrt(w) y = Mul(d, r)", EPS, x=X),
        c(VARIANCE.replace("Sub(x, m)", "Sub(m, x)") + SQRT, EPS, x=X),
        c("i = Relu(x) " + VARIANCE.replace("Sub(x, m)", "Sub(i, m)") + SQRT, EPS, x=X),
        c("h = Shape(x) i = Reshape(x, h) " + VARIANCE.replace("(x", "(i") + SQRT, EPS, x="float[N,M]", **UNKNOWN),
        c(
            "i = Reshape(x, h) " + VARIANCE.replace("(x", "(i") + SQRT,
            EPS,
            x="float[2,3]",
            y="float[A,B]",
            more=", int64[R] h",
            reason="rank is not known",
        ),
    ),
    *of(
        "normalization_scaled",
        c(VARIANCE + SCALED, EPS + "float[3,1] g = 1, 2, 3", x="float[3,4]", **OTHER),
        c(VARIANCE + SCALED, EPS + "float[2,1,1] g = 1, 2", x="float[2,3,4]", **OTHER),
        c(VARIANCE + SCALED, EPS + SCALE, x="float[1,2,1]", y="float[1,2,4]", **OTHER),
        c(VARIANCE + SCALED, EPS + SCALE, x="float[2,N]", y="float[2,M]", **OTHER),
        c(VARIANCE + SCALED, EPS + SCALE.replace("float", "double"), x="double[2,4]", **EPSILON),
        c(
            VARIANCE + "r = Sqrt(w) n = Div(d, r) y = Mul(n, g)",
            "float[2,1] e = 1, 2; " + SCALE,
            x="float[2,4]",
            **EPSILON,
        ),
        c(MOMENTS.replace("Sub(q, mm)", "Sub(mm, q)") + "w = Add(t, e) " + SCALED, EPS + SCALE, x=X),
        c(MOMENTS + "u = Max(e, t) w = Add(u, e) " + SCALED, EPS + SCALE, x=X),
        c(
            MOMENTS.replace("(s)", "(s) l = Neg(q)").replace("[-1]>(s)", "[1]>(s)") + "w = Add(t, e) " + SCALED,
            EPS + SCALE,
            x=X,
            reason="different axes",
        ),
        c(
            OVER_IMAGE.replace("2,3", "1,2,3").replace("3,2", "1,2,3")
            + "n = Reciprocal(r) k = Mul(n, g) y = Mul(d, k)",
            EPS + "float[2,1,1,1] g = 1, 2",
            x=IMAGE,
            **OTHER,
        ),
    ),
    *of(
        "normalization_as_line",
        c(LINE + "y = Add(p, z)", EPS + "float[3,1] g = 1, 2, 3; " + BIAS, x=X, **OTHER),
        c(LINE + "y = Add(p, z)", EPS + SCALE + "float[3,1] b = 1, 2, 3", x=X, **OTHER),
        c(LINE.replace("Mul(m, k)", "Mul(m, n)") + "y = Add(p, z)", EPS + SCALE + BIAS, x=X),
        c(LINE.replace("[-1]", "[1]") + "y = Add(p, z)", EPS + SCALE + BIAS, x=X, reason="not over the last axes"),
        c(LINE + "y = Add(p, z)", EPS + (SCALE + BIAS).replace("float", "double"), x="double[2,4]", **EPSILON),
    ),
    *of(
        "rms_normalization",
        c(SQUARES + "r = Sqrt(w) y = Div(x, r)", EPS + LAST, x=X, opset=22, reason="does not exist at opset 22"),
        c(
            SQUARES + "r = Sqrt(w) y = Div(x, r)",
            EPS + "int64[1] i = 1",
            x=X,
            opset=23,
            reason="not over the last axes",
        ),
        c(SQUARES + "r = Sqrt(w) y = Div(x, r)", EPS + LAST, x="float[2,N]", opset=23, **UNKNOWN),
        c(SQUARES + "r = Sqrt(w) y = Div(x, r)", EPS + LAST, x="float[1,65537]", opset=23, reason="too large"),
        c(SQUARES + "r = Sqrt(w) y = Div(x, r)", "float[3,1] e = 1, 2, 3; " + LAST, x=X, opset=23, **EPSILON),
        c(SQUARES + "r = Sqrt(w) y = Div(x, r)", EPS + LAST, x="double[2,4]", opset=23, **EPSILON),
        c(SQUARES + "r = Sqrt(w) y = Div(s, r)", EPS + LAST, x=X, opset=23),
    ),
    *of(
        "rms_normalization_scale",
        c(LOST + "n = RMSNormalization(p, s) y = Mul(n, k)", "int64[1] o = 0; k = 2; " + ONES, opset=23, **NOWHERE),
        c(RMS, "float16[2] s = 1, 300; g = 300", x="float16[2,2]", opset=23, reason="overflows"),
        c(RMS, ONES + "float[3,1] g = 1, 2, 3", x=X, opset=23, **OTHER),
        c(RMS, ONES + "float[2,1,1,1] g = 1, 2", x="float[2,3,4]", y="float[2,2,3,4]", opset=23, **OTHER),
        c(RMS, "float16[1] s = 300; g = 300", x="float16[2,1]", opset=23, reason="overflows"),
    ),
    *of(
        "rms_normalization_takes_scale",
        c("n = RMSNormalization(x, s) y = Mul(n, g)", ONES, x=X, more=", float[3,1] g", opset=23, **SHAPE),
        c("n = RMSNormalization(x, s) y = Mul(n, g)", SCALE.replace("g", "s"), x=X, more=", float[4] g", opset=23),
        c("n = RMSNormalization(x, s) y = Mul(n, g)", ONES, x=X, more=", float[M] g", opset=23, **SHAPE),
    ),
    *of(
        "layer_normalization_takes_scale",
        c(LAYER + "y = Mul(n, g)", ONES, x=X, more=", float[3,4] g", **SHAPE),
        c(LAYER + "y = Mul(n, g)", ONES, x=X, y="float[2,2,3,4]", more=", float[2,1,1,4] g", **SHAPE),
        c("n = LayerNormalization(x, s, b) y = Mul(n, g)", ONES + BIAS, x=X, more=", float[4] g"),
    ),
    *of(
        "layer_normalization_takes_bias",
        c(LAYER + "y = Add(n, g)", ONES, x=X, more=", float[3,4] g", **SHAPE),
        c("n = LayerNormalization(x, s, b) y = Add(n, g)", ONES + BIAS, x=X, more=", float[4] g"),
    ),
    *of(
        "layer_normalization_scale",
        c(LOST + "n = LayerNormalization(p, s) y = Mul(n, k)", "int64[1] o = 0; k = 2; " + ONES, **NOWHERE),
        c(LAYER + "y = Mul(n, k)", ONES + "float[3,1] k = 1, 2, 3", x="float[2,3,1,4]", y="float[2,3,3,4]", **OTHER),
        c(LAYER + "y = Mul(n, k)", "float[4] s = 1, 1, 1, 2; float[3,1] k = 1, 2, 3", x=X, **OTHER),
        c("n = LayerNormalization(x, s, b) y = Mul(n, k)", ONES + BIAS + "float[3,1] k = 1, 2, 3", x=X, **OTHER),
        c(LAYER + "y = Mul(n, k)", "double[4] s = 1, 1, 1, 1; double[3,1] k = 1, 2, 3", x="double[2,3,4]", **OTHER),
        c(LAYER + "y = Mul(n, k)", ONES + "float[2,1,1] k = 1, 2", x=X, **OTHER),
        c(LAYER + "y = Mul(n, k)", "float[1] s = 1; k = 2", x="float[2,N]", **UNKNOWN),
        c(LAYER + "y = Mul(n, k)", "float16[1] s = 300; k = 300", x="float16[2,1]", reason="overflows"),
        Case(
            "g (float[2,4] x) => (float[2,4] y, float[2,4] n) <float[4] s = {1, 2, 3, 4}, float k = {3}> "
            "{ n = LayerNormalization(x, s) y = Mul(n, k) }",
            reason="nothing would be saved",
        ),
        Case(
            "g (float[2,4] x) => (float[2,4] y, float[2,1] m) <float[4] s = {1, 2, 3, 4}, float k = {3}> "
            "{ n, m = LayerNormalization(x, s) y = Mul(n, k) }",
            reason="nothing would be saved",
        ),
    ),
    *of(
        "layer_normalization_bias",
        c(LOST + "n = LayerNormalization(p, s) y = Add(n, k)", "int64[1] o = 0; k = 2; " + ONES, **NOWHERE),
        c(LAYER + "y = Add(n, k)", ONES + "float[3,1] k = 1, 2, 3", x=X, **OTHER),
        c(LAYER + "y = Add(n, k)", ONES + "float[1,3,4] k = 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2", x=X, **OTHER),
        c(LAYER + "y = Add(n, k)", "float[1] s = 1; k = 1", x="float[2,N]", **UNKNOWN),
    ),
    *of(
        "layer_normalization_by_channel",
        c(LAYER + "y = Mul(n, k)", ONES + "float[2,1,1] k = 1, 2", x=X, reason="channels alone"),
        c(LAYER + "y = Mul(n, k)", ONES + "k = 2", x=X, reason="channels alone"),
        c("n = LayerNormalization<axis=1>(x, s) y = Mul(n, k)", ONES + "float[3,1] k = 1, 2, 3", x=X, reason="go over"),
        c(LAYER + "y = Mul(n, k)", "float[4] s = 1, 1, 1, 2; float[3,1] k = 1, 2, 3", x=X),
    ),
    *of(
        "instance_normalization_by_position",
        c(INSTANCE + "y = Mul(g, n)", "g = 3; " + PLAIN, x=IMAGE, reason="positions alone"),
        c(INSTANCE + "y = Mul(g, n)", "float[2,1,1,1] g = 3, 4; " + PLAIN, x=IMAGE, reason="positions alone"),
        c(
            INSTANCE + "y = Mul(g, n)",
            "float[5] g = 3, 4, 1, 2, 3; float[3] s = 1, 1, 2; float[3] t = 0, 0, 0",
            x=IMAGE,
        ),
    ),
    *of(
        "instance_normalization_scale",
        c(INSTANCE + "y = Mul(g, n)", "g = 3; " + PLAIN, x="float[N,C,H,W]", **OTHER),
        c(INSTANCE + "y = Mul(g, n)", "float[1,1,1,1,1] g = 3; " + PLAIN, x=IMAGE, y="float[1,2,3,4,5]", **OTHER),
        c(INSTANCE + "y = Mul(g, n)", "float[2,1,1,1] g = 3, 4; " + PLAIN, x=IMAGE, **OTHER),
        c(
            INSTANCE + "y = Mul(g, n)",
            "float[5] g = 3, 4, 1, 2, 3; float[3] s = 1, 1, 2; float[3] t = 0, 0, 0",
            x=IMAGE,
            **OTHER,
        ),
        c(
            INSTANCE + "y = Mul(g, n)",
            "float[5] g = 3, 4, 1, 2, 3; float[3] s = 1, 1, 1; float[3] t = 0, 0, 1",
            x=IMAGE,
            **OTHER,
        ),
        c(
            INSTANCE + "y = Mul(g, n)",
            "float[2,1,1,1,1] g = 3, 4; float[3] s = 1, 1, 2; float[3] t = 0, 0, 1",
            x=IMAGE,
            y="float[2,2,3,4,5]",
            **OTHER,
        ),
        c(
            INSTANCE + "y = Mul(g, n)",
            "float[5,1,1] g = 3, 4, 1, 2, 3; float[1] s = 2; float[1] t = 0",
            x="float[2,1,4,5]",
            y="float[2,5,4,5]",
            **OTHER,
        ),
    ),
    *of(
        "instance_normalization_bias",
        c(INSTANCE + "y = Add(g, n)", "float[5] g = 3, 4, 1, 2, 3; " + PLAIN, x=IMAGE, **OTHER),
    ),
    *of(
        "layer_normalization_casts",
        c(CASTS, "float[4] s = 0.1, 2, 3, 4", x="float16[2,4]", **ROUNDED),
        c(
            "f = Cast<to=1>(x) n = LayerNormalization(f, s, t) y = Cast<to=10>(n)",
            "float[4] s = 1, 2, 3, 4; float[4] t = 1, 1, 1, 1e6",
            x="float16[2,4]",
            **ROUNDED,
        ),
        c(CASTS, RISING, x="double[2,4]", y="float16[2,4]", **NARROW),
        c(
            "f = Cast<to=1>(x) n = LayerNormalization(f, s) y = Cast<to=11>(n)",
            RISING,
            x="float16[2,4]",
            y="double[2,4]",
            **NARROW,
        ),
        c(CASTS, RISING, x="int32[2,4]", y="float16[2,4]", **NARROW),
        c(
            "f = Cast<to=1>(x) n = LayerNormalization<stash_type=10>(f, s) y = Cast<to=10>(n)",
            RISING,
            x="float16[2,4]",
            reason="does not compute in float32",
        ),
    ),
    *of(
        "rms_normalization_casts",
        c(
            "f = Cast<to=1>(x) n = RMSNormalization(f, s) y = Cast<to=10>(n)",
            "float[4] s = 0.1, 2, 3, 4",
            x="float16[2,4]",
            opset=23,
            **ROUNDED,
        ),
        c(
            "f = Cast<to=1>(x) n = RMSNormalization(f, s) y = Cast<to=16>(n)",
            RISING,
            x="float16[2,4]",
            y="bfloat16[2,4]",
            opset=23,
            **NARROW,
        ),
    ),
    *of(
        "rms_normalization_scaled",
        c(SQUARES + "r = Sqrt(w) k = Div(g, r) y = Mul(k, x)", LAST + EPS + "float[3,1] g = 1, 2, 3", x=X, opset=23, **OTHER),
        c(SQUARES + "r = Sqrt(w) k = Div(g, r) y = Mul(k, x)", LAST + EPS + SCALE, x=X, opset=22, reason="does not exist"),
    ),
    *of(
        "instance_normalization_of_reshaped",
        c(RESHAPED, "int64[3] f = 2, 1, -1; float[1] s = 2; float[1] t = 1", x=IMAGE, reason="one channel"),
        c(RESHAPED, "int64[3] f = 1, 6, -1; float[6] s = 2, 2, 2, 2, 2, 3; float[6] t = 1, 1, 1, 1, 1, 1", x=IMAGE, reason="other channels"),
        c("r = Reshape(x, f) n = InstanceNormalization(r, s, t) y = Reshape(n, p)", "int64[4] p = 2, 3, 5, 4; int64[3] f = 0, 3, -1; " + AFFINE, x=IMAGE, y="float[2,3,5,4]", reason="reshaped too"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), FIRES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(FIRES)])
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), REFUSES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(REFUSES)])
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)
