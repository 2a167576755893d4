"""Rules of patterns/simplifying/convolution.py."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from graphopt.patterns import all_rules
from tests.patterns.building import cases, check_fires_on_ort, floats, graph, listed, norm, small_norm
from tests.patterns.rule_cases import Case, apply, build, check_fires, check_refuses

W = floats("w", 3, 2, 3, 3)
WB = f"{W}, {floats('b', 3)}"
HALF = f"{floats('w', 3, 2, 3, 3, low=-2, high=2, dtype='float16')}, {floats('b', 3, dtype='float16')}"
#: Convolutions of 4 channels to 6: in two groups; transposed; transposed in two groups.
GROUPS = f"{floats('w', 6, 2, 3, 3)}, {floats('b', 6)}"
DECONV = f"{floats('w', 4, 6, 2, 2)}, {floats('b', 6)}"
DECONV_GROUPS = f"{floats('w', 4, 3, 2, 2)}, {floats('b', 6)}"
#: One pointwise convolution that adds channels, and one that takes them away.
WIDEN, NARROW = floats("w", 8, 2, 1, 1), floats("w2", 3, 8, 1, 1)
K = listed("k", (1, 3, 1, 1), [0.5, -2.0, 3.0])
K6 = listed("k", (6, 1, 1), [1.0, -2.0, 3.0, 0.5, 0.25, 7.0])
PAD = "int64[8] p = {0,0,1,2,0,0,3,0}"
#: Weights of any rank are Reshape(u, s).
UNKNOWN = "float[54] u, int64[R] s"


def g(body: str, constants: str | Sequence[str] = WB, x: str = "[N,2,5,5]", y: str = "[N,3,3,3]", **o: object) -> Case:
    return graph(body, constants, x, y, **o)


def grouped(body: str, constants: str) -> Case:
    return g(f"a = Conv<group=2>(x, w, b) {body}", (GROUPS, constants), "[N,4,5,5]", "[N,6,3,3]", nodes=1)


def deconv(body: str, constants: str, weights: str = DECONV, group: int = 1) -> Case:
    body = f"a = ConvTranspose<group={group}, strides=[2,2]>(x, w, b) {body}"
    return g(body, (weights, constants), "[N,4,5,5]", "[N,6,10,10]", nodes=1)


def twice(body: str, constants: str = "float k = {2}") -> Case:
    """Large weights that another convolution reads too."""
    weights = floats("w", 32, 32, 3, 3)
    body = f"a = Conv(x, w) {body} d = Conv(x, w) e = Relu(d) y = Add(c, e)"
    return g(body, (weights, constants), "[N,32,5,5]", "[N,32,3,3]", reason="a copy would cost")


def none(body: str, constants: str = "float k = {2}", out: str = "[N,0,3,3]") -> Case:
    """A convolution to no channels."""
    return g(f"a = Conv(x, w) {body}", ("float[0,2,3,3] w = {}", constants), y=out, reason="no weights")


def half(body: str, k: float, reason: str = "too small", also: str = "") -> Case:
    """A convolution in float16, by this number."""
    constants = (HALF, listed("k", (), [k], "float16"), also)
    return g(f"a = Conv(x, w, b) {body}", constants, "[1,2,5,5]", "[1,3,3,3]", dtype="float16", reason=reason)


NORM = "y = BatchNormalization(a, s, o, m, v)"
#: What a convolution takes in per channel.
AFTER = {
    "convolution_times_factor": "y = Mul(a, k)",
    "convolution_over_divisor": "y = Div(a, k)",
    "convolution_plus_shift": "y = Add(k, a)",
    "convolution_minus_shift": "y = Sub(a, k)",
    "shift_minus_convolution": "y = Sub(k, a)",
}

FIRES = {
    **{
        rule: [
            g(f"a = Conv(x, w, b) {body}", (WB, K), nodes=1),
            g(f"a = Conv(x, w) {body}", (W, K), nodes=1),
            g(f"a = Conv(x, w, b) {body}", (WB, "float k = {2.5}"), nodes=1),
            g(f"a = Conv(x, w, b) {body}", (WB, "float[1] k = {2.5}"), nodes=1),
            g(f"a = Conv(x, w, b) {body}", (WB, "float[1,1,1,1] k = {2.5}"), nodes=1),
            g(f"a = Conv(x, w, b) {body}", (WB, floats("k", 3, 1, 1)), "[A,2,C,5]", "[A,E,F,G]", nodes=1),
            g(f"a = Conv(x, w) {body}", (floats("w", 3, 2, 3), floats("k", 3, 1)), "[N,2,L]", "[N,3,M]", nodes=1),
            g(f"a = Conv<pads=[1,1,1,1]>(x, w) {body}", (W, K), y="[N,3,5,5]", nodes=1),
            grouped(body, K6),
            deconv(body, K6),
        ]
        for rule, body in AFTER.items()
    },
    "batch_norm_of_convolution": [
        g(f"a = Conv(x, w, b) {NORM}", (WB, norm(3)), nodes=1),
        g("a = Conv(x, w) y = BatchNormalization<epsilon=0.3, momentum=0.3>(a, s, o, m, v)", (W, norm(3)), nodes=1),
        grouped(NORM, norm(6)),
        deconv(NORM, norm(6)),
        # k is computed in double: epsilon is not lost beside the variance, nor the other way round.
        g(
            "a = Conv(x, w) y = BatchNormalization<epsilon=0.001>(a, s, o, m, v)",
            (W, norm(3, (1e-12, 1e-3, 1e6))),
            tolerance=1e-6,
        ),
    ],
    "pointwise_convolution_of_convolution": [
        g("a = Conv(x, w, b) y = Conv(a, w2, c)", (WIDEN, floats("b", 8), NARROW, floats("c", 3)), y="[N,3,5,5]"),
        g("a = Conv(x, w, b) y = Conv(a, w2)", (WIDEN, floats("b", 8), NARROW), y="[N,3,5,5]", nodes=1),
        g(
            "a = Conv(x, w) y = Conv(a, w2)",
            (floats("w", 2, 2, 1, 1), floats("w2", 8, 2, 1, 1)),
            y="[N,8,5,5]",
            nodes=1,
        ),
        g("a = Conv(x, w) y = Conv(a, w2, c)", (WIDEN, NARROW, floats("c", 3)), y="[N,3,5,5]", nodes=1),
        g('a = Conv(x, w) y = Conv<auto_pad="SAME_UPPER">(a, w2)', (WIDEN, NARROW), y="[N,3,5,5]", nodes=1),
        g(
            "a = Conv<pads=[1,1,1,1], strides=[2,1]>(x, w, b) y = Conv<strides=[1,1]>(a, w2)",
            (floats("w", 8, 2, 3, 3), floats("b", 8), NARROW),
            y="[N,3,3,5]",
            nodes=1,
        ),
    ],
    "convolution_of_pad": [
        g("a = Pad(x, p) y = Conv(a, w, b)", (WB, PAD), y="[N,3,7,5]", nodes=1),
        g("a = Pad(x, p, z) y = Conv<pads=[1,0,2,1]>(a, w)", (W, PAD, "float z = {0}"), y="[N,3,10,6]", nodes=1),
        g("a = Pad(x, p) y = Conv<strides=[2,1]>(a, w)", (W, PAD), y="[N,3,4,5]", nodes=1),
        g(
            'a = Pad<mode="constant">(x, p, , d) y = Conv(a, w)',
            (W, "int64[4] p = {2,1,0,3}, int64[2] d = {-1,2}"),
            y="[N,3,7,5]",
            opset=18,
            nodes=1,
        ),
        g("a = Pad<pads=[0,0,1,2,0,0,3,0]>(x) y = Conv(a, w)", W, y="[N,3,7,5]", opset=10, nodes=1),
        g('a = Pad(x, p) y = Conv<auto_pad="VALID">(a, z)', PAD, y="[N,3,7,5]", more="float[3,2,3,3] z", nodes=1),
    ],
    "convolution_zero_bias": [
        g("y = Conv(x, w, b)", (W, "float[3] b = {0,0,-0.0}"), nodes=1),
        g("y = ConvTranspose(x, w, b)", (floats("w", 2, 3, 2, 2), "float[3] b = {0,0,0}"), y="[N,3,6,6]", nodes=1),
    ],
}
FIRES["convolution_times_factor"] += [
    g("a = Conv(x, w, b) y = Mul(k, a)", (WB, K), nodes=1),
    g("a = Conv(x, w, b) y = Mul(a, k)", (WB, listed("k", (3, 1, 1), [0.0, 1.0, -0.0])), nodes=1),
    g(
        "a = Conv(x, w, b) y = Mul(a, k)",
        (HALF, listed("k", (), [1.5], "float16")),
        "[1,2,5,5]",
        "[1,3,3,3]",
        dtype="float16",
        nodes=1,
    ),
]
FIRES["convolution_times_factor"] += [
    # Large weights that nothing else reads, and small ones that something does.
    g(
        "a = Conv(x, w) y = Mul(a, k)",
        (floats("w", 32, 32, 3, 3), "float k = {2}"),
        "[N,32,3,3]",
        "[N,32,1,1]",
        nodes=1,
    ),
    g("a = Conv(x, w) y = Mul(a, k) z = Conv(x, w)", (W, "float k = {2}"), also="float[N,3,3,3] z", nodes=2),
]
FIRES["convolution_plus_shift"] += [
    g("a = Conv(x, w, b) y = Add(a, k)", (WB, K), nodes=1),
    g("a = Conv(x, z) y = Add(a, k)", K, more="float[3,2,3,3] z", nodes=1),
    g("a = Conv(x, w, b) y = Add(a, k)", (WB, listed("k", (), [6e4])), special=True, nodes=1),
    # z must have as many channels as x.
    g(
        "z = Compress<axis=1>(u, m) a = Conv(x, z) y = Add(a, k)",
        "bool[4] m = {1,0,0,1}, float k = {2}",
        more="float[3,4,3,3] u",
        nodes=2,
    ),
]

#: What broadcasts along the width, the height or the batch, or raises the rank; and what is not finite.
NOT_PER_CHANNEL = [
    {"constants": (WB, floats("k", 3))},
    {"constants": (WB, floats("k", 3, 1))},
    {"constants": (WB, floats("k", 1, 1, 1, 3))},
    {"constants": (WB, floats("k", 3, 3, 1))},
    {"constants": (WB, floats("k", 2, 1, 1, 1)), "x": "[1,2,5,5]", "y": "[2,3,3,3]"},
    {"constants": (WB, floats("k", 1, 1, 1, 1, 1)), "y": "[1,N,3,3,3]"},
    {"constants": (WB, floats("k", 1, 1, 3, 1, 1)), "y": "[1,N,3,3,3]"},
    {"constants": (floats("w", 1, 2, 3, 3), floats("b", 1), floats("k", 3, 1, 1))},
    {"constants": (WB, "float k = {inf}")},
    {"constants": (WB, listed("k", (3, 1, 1), [1.0, float("nan"), 2.0]))},
]
REFUSES = {
    **{
        rule: [
            *[g(f"a = Conv(x, w, b) {body}", **o, reason="per channel") for o in NOT_PER_CHANNEL],
            g(f"a = Conv(x, w, b) {body}", (WB, K), also="float[N,3,3,3] a", reason="nothing would be saved"),
            g(f"a = Conv(x, w, z) {body}", (W, K), more="float[3] z"),
            g(f"a = Conv(x, w, b) {body}", WB, more="float[3,1,1] k"),
        ]
        for rule, body in AFTER.items()
    },
    "batch_norm_of_convolution": [
        g(f"a = Conv(x, w, b) {NORM}", (WB, norm(3)), also="float[N,3,3,3] a", reason="nothing would be saved"),
        g(f"a = Conv(x, w) {NORM}", (W, norm(3, (0.1, -0.5, 0.2))), reason="not a finite factor"),
        g(f"a = Conv(x, w) {NORM}", (W, norm(3, (0.1, -1e-5, 0.2))), reason="not a finite factor"),
        g(f"a = Conv(x, w) {NORM}", (W, norm(3, (0.1, float("nan"), 0.2))), reason="not a finite factor"),
        g("a = Conv(x, w) y, c, d = BatchNormalization<training_mode=1>(a, s, o, m, v)", (W, norm(3))),
        g("a = Conv(x, w) y, c, d, e, f = BatchNormalization(a, s, o, m, v)", (W, norm(3)), opset=9, reason="trains"),
        g("a = Conv(x, w) y = BatchNormalization(a, s, o, z, v)", (W, norm(3)), more="float[3] z"),
        g(
            f"a = Conv(x, w) {NORM}",
            (W, norm(3).replace("o = {", "o = {inf, 1, 1}, float[3] n = {")),
            reason="not a finite",
        ),
        g(
            "a = Conv(x, w) y = BatchNormalization<spatial=0>(a, s, o, m, v)",
            (W, *(floats(n, 3, 3, 3, low=0.5, high=1) for n in "somv")),
            opset=7,
            reason="not a finite factor per channel",
        ),
    ],
    "pointwise_convolution_of_convolution": [
        *[
            g(f"a = Conv{first}(x, w) y = Conv{second}(a, w2)", (floats("w", *w), floats("w2", *w2)), y=y, reason=why)
            for first, second, w, w2, y, why in [
                ("", "", (8, 2, 1, 1), (3, 8, 3, 3), "[N,3,3,3]", "not pointwise"),
                ("", "", (8, 2, 1, 1), (3, 8, 1, 3), "[N,3,5,3]", "not pointwise"),
                ("", "", (8, 2, 1, 1), (3, 8, 3, 1), "[N,3,3,5]", "not pointwise"),
                ("", "<strides=[2,1]>", (8, 2, 1, 1), (3, 8, 1, 1), "[N,3,3,5]", "not pointwise"),
                ("", "<pads=[1,0,0,0]>", (8, 2, 1, 1), (3, 8, 1, 1), "[N,3,6,5]", "not pointwise"),
                ("<group=2>", "", (8, 1, 1, 1), (3, 8, 1, 1), "[N,3,5,5]", "groups"),
                ("", "<group=2>", (8, 2, 1, 1), (4, 4, 1, 1), "[N,4,5,5]", "groups"),
                ("", "", (1, 2, 1, 1), (2, 1, 1, 1), "[N,2,5,5]", "multiply more"),
                ("", "", (1, 2, 3, 3), (8, 1, 1, 1), "[N,8,3,3]", "multiply more"),
            ]
        ],
        g("a = Conv(x, w) y = Conv(a, w2)", (WIDEN, NARROW), y="[N,3,5,5]", also="float[N,8,5,5] a", reason="saved"),
    ],
    "convolution_of_pad": [
        *[
            g(
                f"a = Pad{mode}(x, p, z) y = Conv{conv}(a, w)",
                (floats("w", 3, c, 3, 3), f"int64[8] p = {{{p}}}", f"float z = {{{z}}}"),
                y=y,
                reason=why,
            )
            for mode, p, z, conv, c, y, why in [
                ("", "0,0,1,1,0,0,1,1", "0.5", "", 2, "[N,3,5,5]", "not padded with zeros"),
                ("", "0,0,1,1,0,0,1,1", "nan", "", 2, "[N,3,5,5]", "not padded with zeros"),
                ("", "0,0,1,-1,0,0,1,1", "0", "", 2, "[N,3,5,3]", "cuts off"),
                ("", "0,1,1,1,0,0,1,1", "0", "", 3, "[N,3,5,5]", "batch or channels"),
                ("", "0,0,1,1,0,1,1,1", "0", "", 3, "[N,3,5,5]", "batch or channels"),
                ("", "0,0,1,1,1,0,1,1", "0", "", 2, "[M,3,5,5]", "batch or channels"),
                ('<mode="edge">', "0,0,1,1,0,0,1,1", "0", "", 2, "[N,3,5,5]", None),
                ('<mode="reflect">', "0,0,1,1,0,0,1,1", "0", "", 2, "[N,3,5,5]", None),
                ("", "0,0,1,1,0,0,1,1", "0", '<auto_pad="SAME_UPPER">', 2, "[N,3,7,7]", "auto_pad"),
            ]
        ],
        g("a = Pad(x, p) y = ConvTranspose(a, w)", (floats("w", 2, 3, 1, 1), PAD), y="[N,3,9,7]"),
        g("a = Pad(x, p) y = Conv(a, w)", W, y="[N,3,M,K]", more="int64[8] p"),
        g("a = Pad(x, p) y = Conv(a, w)", (W, PAD), y="[N,3,7,5]", also="float[N,2,9,7] a", reason="saved"),
    ],
    "convolution_zero_bias": [
        g("y = Conv(x, w, b)", (W, "float[3] b = {0,0,1e-30}"), reason="not zero"),
        g("y = Conv(x, w, z)", W, more="float[3] z"),
    ],
}
REFUSES["convolution_over_divisor"] += [
    g("a = Conv(x, w) y = Div(a, k)", (W, listed("k", (3, 1, 1), [1.0, 0.0, 2.0])), reason="divisor"),
    g("a = Conv(x, w) y = Div(k, a)", (W, K)),
]
REFUSES["convolution_plus_shift"] += [
    g("a = Conv(x, z) y = Add(a, k)", floats("k", 3, 1, 1), more="float[C,2,3,3] z", reason="per channel"),
]
REFUSES["convolution_plus_shift"] += [
    g("a = Conv(x, z) y = Add(a, k)", "float k = {2}", more="float[C,2,3,3] z", y="[N,C,3,3]", reason="per channel"),
    g("a = Conv(x, z) y = Add(a, k)", "float k = {2}", "[N,?,5,5]", more="float[3,?,3,3] z", reason="per channel"),
    g(
        "z = Reshape(u, s) a = Conv(x, z) y = Add(a, k)",
        "float k = {2}",
        more=UNKNOWN,
        y="[N,M,D,L]",
        reason="per channel",
    ),
]
REFUSES["convolution_of_pad"] += [
    g("z = Reshape(u, s) a = Pad(x, p) y = Conv(a, z)", PAD, more=UNKNOWN, y="[N,M,D,L]", reason="not known"),
]
REFUSES["convolution_times_factor"] += [
    g("a = Conv(x, z) y = Mul(a, k)", "float k = {2}", more="float[3,2,3,3] z"),
    half("y = Mul(a, k)", 6.5e4, "overflows"),
]
#: What makes new weights: not out of large ones that stay, not out of none, and not too small ones.
REFUSES["convolution_times_factor"] += [twice("c = Mul(a, k)"), none("y = Mul(a, k)"), half("y = Mul(a, k)", 3e-5)]
REFUSES["convolution_over_divisor"] += [twice("c = Div(a, k)"), none("y = Div(a, k)"), half("y = Div(a, k)", 6e4)]
ONE_SMALL = listed("k", (3, 1, 1), [1.0, 3e-5, 1.0], "float16")
REFUSES["convolution_times_factor"].append(
    g("a = Conv(x, w) y = Mul(a, k)", (HALF, ONE_SMALL), "[1,2,5,5]", "[1,3,3,3]", dtype="float16", reason="too small")
)
REFUSES["shift_minus_convolution"] += [twice("c = Sub(k, a)"), none("y = Sub(k, a)")]
REFUSES["batch_norm_of_convolution"] += [
    twice(NORM.replace("y =", "c ="), norm(32, [1.0] * 32)),
    none(NORM, norm(0)),
    half(NORM, 0, also=small_norm(3)),
]
REFUSES["pointwise_convolution_of_convolution"] += [
    twice("c = Conv(a, w2)", floats("w2", 1, 32, 1, 1)),
    none("y = Conv(a, w2)", "float[2,0,1,1] w2 = {}", "[N,2,3,3]"),
    *[
        g(
            "a = Conv(x, w) y = Conv(a, w2)",
            (listed("w", (4, 1, 1, 1), [1e-3] * 4, "float16"), listed("w2", (2, 4, 1, 1), [*first, *last], "float16")),
            "[1,1,5,5]",
            "[1,2,5,5]",
            dtype="float16",
            reason="too small",
        )
        for first, last in [([1e-3] * 4, [1e-3] * 4), ([1.0] * 4, [1e-3] * 4)]
    ],
]


@pytest.mark.parametrize(("rule", "case"), cases(FIRES))
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), cases(REFUSES))
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


ON_ORT = {
    **{rule: [deconv(body, K6, DECONV_GROUPS, 2)] for rule, body in AFTER.items()},
    "batch_norm_of_convolution": [
        deconv(NORM, norm(6), DECONV_GROUPS, 2),
        *[g(f"a = Conv(x, w) {NORM}", (W, norm(3)), opset=v) for v in (7, 9)],
    ],
}


@pytest.mark.parametrize(("rule", "case"), cases(ON_ORT))
def test_fires_where_the_reference_is_wrong(rule: str, case: Case) -> None:
    """onnx 1.23's reference cannot do transposed convolutions in groups, and trains at old opsets: ONNX Runtime alone."""
    check_fires_on_ort(rule, case)


def test_a_convolution_takes_all_that_follows() -> None:
    """Normalisation, factor, shift and divisor end in one convolution, and no constant is left over."""
    body = "a = Conv(x, w) c = BatchNormalization(a, s, o, m, v) d = Mul(c, k) e = Sub(d, k) y = Div(e, k)"
    names = [
        "batch_norm_of_convolution",
        "convolution_times_factor",
        "convolution_minus_shift",
        "convolution_over_divisor",
    ]
    result, ledger = apply(build(g(body, (W, norm(3), K))), *(all_rules()[n] for n in names))
    assert result.node_count() == 1
    assert sorted(s.rule for s in ledger.steps) == sorted(names)
    weights = [v.const.numpy() for v in result.graph.initializers if v.const is not None]
    assert sorted(w.shape for w in weights) == [(3,), (3, 2, 3, 3)]
    assert all(np.isfinite(w).all() for w in weights)
