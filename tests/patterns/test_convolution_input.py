"""Rules of patterns/simplifying/convolution_input.py."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from graphopt.patterns import all_rules
from tests.patterns.building import cases, check_fires_on_ort, floats, graph, listed, norm, small_norm
from tests.patterns.rule_cases import Case, apply, build, check_fires, check_refuses

W = floats("w", 3, 2, 3, 3)
WB = f"{W}, {floats('b', 3)}"
#: Convolutions of 4 channels to 6: in two groups; transposed; transposed in two groups.
GROUPS = floats("w", 6, 2, 3, 3)
DECONV = f"{floats('w', 4, 6, 2, 2)}, {floats('b', 6)}"
DECONV_GROUPS = f"{floats('w', 4, 3, 2, 2)}, {floats('b', 6)}"
K = listed("k", (1, 2, 1, 1), [0.5, -2.0])
K4 = listed("k", (4, 1, 1), [1.0, -2.0, 3.0, 0.5])
C = listed("c", (2, 1, 1), [0.7, -0.3])
HALF = {"x": "[1,2,5,5]", "y": "[1,3,3,3]", "dtype": "float16"}
WIDE_HALF = floats("w", 3, 2, 3, 3, dtype="float16")


def g(body: str, constants: str | Sequence[str] = WB, x: str = "[N,2,5,5]", y: str = "[N,3,3,3]", **o: object) -> Case:
    return graph(body, constants, x, y, **o)


def deconv(body: str, weights: str = DECONV, group: int = 1) -> Case:
    body = f"{body} y = ConvTranspose<group={group}, strides=[2,2]>(a, w, b)"
    return g(body, (weights, K4), "[N,4,5,5]", "[N,6,10,10]", nodes=1)


#: What a convolution takes in per channel, with padding and without.
SCALES = {"convolution_of_product": "a = Mul(k, x)", "convolution_of_quotient": "a = Div(x, k)"}
SHIFTS = {
    "convolution_of_sum": "a = Add(x, k)",
    "convolution_of_difference": "a = Sub(x, k)",
    "convolution_of_reversed_difference": "a = Sub(k, x)",
}
NORM = "a = BatchNormalization(x, s, o, m, v)"
AFFINE = "t = Mul(x, k) a = Add(t, c)"

FIRES = {
    **{
        rule: [
            g(f"{body} y = Conv(a, w, b)", (WB, K), nodes=1),
            g(f"{body} y = Conv(a, w)", (W, K), nodes=1),
            g(f"{body} y = Conv(a, w, b)", (WB, "float k = {2.5}"), nodes=1),
            g(f"{body} y = Conv(a, w, b)", (WB, "float[1] k = {2.5}"), nodes=1),
            g(f"{body} y = Conv(a, w, b)", (WB, "float[1,1,1,1] k = {2.5}"), nodes=1),
            g(f"{body} y = Conv<strides=[2,1], dilations=[2,1]>(a, w, b)", (WB, K), y="[N,3,1,3]", nodes=1),
            g(f"{body} y = Conv<group=2>(a, w)", (GROUPS, K4), "[N,4,5,5]", "[N,6,3,3]", nodes=1),
            g(f"{body} y = Conv(a, w)", (floats("w", 3, 2, 3), floats("k", 2, 1)), "[N,2,L]", "[N,3,M]", nodes=1),
        ]
        for rule, body in {**SCALES, **SHIFTS}.items()
    },
    "convolution_of_product_and_sum": [
        g(f"{AFFINE} y = Conv<pads=[1,1,1,1]>(a, w, b)", (WB, K, C), y="[N,3,5,5]", nodes=2),
        g(
            f"{AFFINE} y = Conv<pads=[1,0,1,0]>(a, w)",
            (W, "float[1] k = {0.3}, float[1] c = {-1}"),
            y="[N,3,5,3]",
            nodes=2,
        ),
        g(f"{AFFINE} y = Conv<pads=[1,0,1,0]>(a, w)", (W, "float k = {0.3}", C), y="[N,3,5,3]", nodes=2),
        g(f"{AFFINE} y = Conv<pads=[1,0,1,0]>(a, w)", (W, "float c = {0.3}", K), y="[N,3,5,3]", nodes=2),
        g("t = Mul(k, x) a = Add(c, t) y = Conv(a, w)", (W, K, C), nodes=2),
        g(f"{AFFINE} y = Conv(a, w)", (W, "float k = {0.1}, float c = {20}"), nodes=2),
        g(f"{AFFINE} y = Conv(a, w)", (W, "float k = {0.01}, float c = {0.5}"), nodes=2),
        g(f"{AFFINE} y = Conv(a, w)", (W, "float k = {1e-4}, float c = {0.2}"), nodes=2),
        g(f"{AFFINE} y = Conv(a, w)", (W, "float k = {1e-4}, float c = {20}"), nodes=2),
        g(
            f'{AFFINE} y = Conv<group=2, auto_pad="SAME_UPPER">(a, w)',
            (GROUPS, K4, floats("c", 4, 1, 1)),
            "[N,4,5,5]",
            "[N,6,5,5]",
            nodes=2,
        ),
    ],
    "convolution_of_batch_norm": [
        g(f"{NORM} y = Conv(a, w, b)", (WB, norm(2)), nodes=1),
        g(f"{NORM} y = Conv(a, w)", (W, norm(2)), nodes=1),
        g(f'{NORM} y = Conv<auto_pad="VALID", strides=[2,2]>(a, w)', (W, norm(2)), y="[N,3,2,2]", nodes=1),
        g(f'{NORM} y = Conv<auto_pad="SAME_LOWER">(a, w)', (floats("w", 3, 2, 1, 1), norm(2)), y="[N,3,5,5]", nodes=1),
        g(f"{NORM} y = Conv<group=2>(a, w)", (GROUPS, norm(4)), "[N,4,5,5]", "[N,6,3,3]", nodes=1),
    ],
}
for scale, before in SCALES.items():
    FIRES[scale] += [
        g(f"{before} y = Conv<pads=[1,2,3,4]>(a, w, b)", (WB, K), y="[N,3,7,9]", nodes=1),
        g(f'{before} y = Conv<auto_pad="SAME_UPPER">(a, w, b)', (WB, K), y="[N,3,5,5]", nodes=1),
        deconv(before),
        g(f"{before} y = Conv(a, w)", (WIDE_HALF, listed("k", (), [2.0], "float16")), **HALF, nodes=1),
    ]
FIRES["convolution_of_product"] += [
    g("a = Mul(x, k) y = Conv(a, w)", (W, "float[1] k = {0}"), nodes=1),
    g("a = Mul(x, k) y = Conv(a, w)", (W, "float k = {0.001}"), nodes=1),
]
for shift, before in SHIFTS.items():
    FIRES[shift] += [
        g(f'{before} y = Conv<auto_pad="SAME_UPPER">(a, w)', (floats("w", 3, 2, 1, 1), K), y="[N,3,5,5]", nodes=1),
        g(f'{before} y = Conv<auto_pad="VALID">(a, w)', (W, K), nodes=1),
        g(f"{before} y = Conv<pads=[0,0,0,0]>(a, w)", (W, K), nodes=1),
        g(f"{before} y = Conv(a, w)", (WIDE_HALF, listed("k", (), [2.0], "float16")), **HALF, nodes=1),
    ]

#: What lies along another axis, raises the rank, or may make more of x: more channels, batches or positions.
NOT_PER_CHANNEL = [
    g("{} y = Conv(a, w, b)", (WB, floats("k", 5))),
    g("{} y = Conv(a, w, b)", (WB, floats("k", 5, 1))),
    g("{} y = Conv(a, w, b)", (WB, floats("k", 2, 1, 5))),
    g("{} y = Conv(a, w, b)", (WB, floats("k", 2, 1, 1, 1)), "[2,2,5,5]", "[2,3,3,3]"),
    g("{} y = Conv(a, w, b)", (WB, floats("k", 1, 2, 1, 1)), "[N,1,5,5]"),
    g("{} y = Conv(a, w, b)", (WB, floats("k", 1, 2, 1, 1)), "[N,D,5,5]"),
    g("{} y = Conv(a, w, b)", (WB, floats("k", 1, 1, 1, 1)), "[2,5,5]", "[1,3,3,3]"),
    g("{} y = Conv(a, w, b)", (WB, floats("k", 1, 2, 1, 1)), "[5,5]", "[1,3,3,3]"),
    g("{} y = Conv(a, w, b)", (WB, "float k = {inf}")),
    g("{} y = Conv(a, w, b)", (WB, listed("k", (2, 1, 1), [1.0, float("nan")]))),
]


def with_before(case: Case, before: str, reason: str) -> Case:
    return Case(case.text.replace("{} y", f"{before} y"), reason=reason)


REFUSES = {
    **{
        rule: [
            *[with_before(c, before, "per channel") for c in NOT_PER_CHANNEL],
            g(f"{before} y = Conv(a, w, b)", (WB, K), also="float[N,2,5,5] a", reason="nothing would be saved"),
            g(f"{before} y = Conv(a, z)", K, more="float[3,2,3,3] z"),
        ]
        for rule, before in {**SCALES, **SHIFTS}.items()
    },
    "convolution_of_product_and_sum": [
        *[with_before(c, "t = Mul(x, k) a = Add(t, k)", "per channel") for c in NOT_PER_CHANNEL],
        *[
            g(f"{AFFINE} y = Conv(a, w)", (W, k, c), reason=why)
            for k, c, why in [
                (listed("k", (2, 1, 1), [1.0, 0.0]), C, "per channel"),
                (K, listed("c", (5,), [1.0] * 5), "per channel"),
                ("float k = {1e-30}", "float c = {1e30}", "overflows"),
                ("float k = {1e-39}", "float c = {1e-3}", "too small"),
            ]
        ],
        g(f"{AFFINE} y = Conv(a, w)", (W, K, C), also="float[N,2,5,5] t", reason="nothing would be saved"),
        g(f"{AFFINE} y = Conv(a, w)", (W, K, C), also="float[N,2,5,5] a", reason="nothing would be saved"),
        g(f"{AFFINE} y = ConvTranspose(a, w)", (floats("w", 2, 3, 1, 1), K, C), y="[N,3,5,5]"),
        g(
            f"{AFFINE} y = Conv(a, w)",
            (WIDE_HALF, listed("k", (), [2.0], "float16"), listed("c", (), [2.0], "float16")),
            reason="range",
            **HALF,
        ),
    ],
    "convolution_of_batch_norm": [
        g(f"{NORM} y = Conv<pads=[0,0,0,1]>(a, w, b)", (WB, norm(2)), y="[N,3,3,4]", reason="padding"),
        g(f'{NORM} y = Conv<auto_pad="SAME_UPPER">(a, w, b)', (WB, norm(2)), y="[N,3,5,5]", reason="padding"),
        g(
            f'{NORM} y = Conv<auto_pad="SAME_UPPER">(a, w)',
            (floats("w", 3, 2, 3, 1), norm(2)),
            y="[N,3,5,5]",
            reason="padding",
        ),
        g(f"{NORM} y = Conv(a, w, b)", (WB, norm(2, (0.1, -0.1))), reason="not a finite factor"),
        g(f"{NORM} y = Conv(a, w, b)", (WB, norm(2)), also="float[N,2,5,5] a", reason="nothing would be saved"),
        g(
            f"{NORM} y = Conv(a, w)",
            (W, norm(2, (1e-12, 1)).replace("m = {", "m = {9, 9}, float[2] n = {")),
            reason="so large",
        ),
        g("a, c, d = BatchNormalization<training_mode=1>(x, s, o, m, v) y = Conv(a, w)", (W, norm(2))),
        g("a, c, d, e, f = BatchNormalization(x, s, o, m, v) y = Conv(a, w)", (W, norm(2)), opset=9, reason="trains"),
        g(
            f"z = Conv(x, u) {NORM.replace('x', 'z')} y = Conv(a, w)",
            (W, norm(2), floats("u", 2, 2, 1, 1)),
            reason="in front",
        ),
        g(f"{NORM} y = ConvTranspose(a, w)", (floats("w", 2, 3, 1, 1), norm(2)), y="[N,3,5,5]"),
    ],
}
REFUSES["convolution_of_quotient"] += [
    g("a = Div(x, k) y = Conv(a, w)", (W, listed("k", (2, 1, 1), [1.0, 0.0])), reason="divisor"),
    g("a = Div(k, x) y = Conv(a, w)", (W, K)),
]
for scale, value in [("convolution_of_product", 3e-5), ("convolution_of_quotient", 3e4)]:
    case = g(
        f"{SCALES[scale]} y = Conv(a, w)", (WIDE_HALF, listed("k", (), [value], "float16")), reason="small", **HALF
    )
    REFUSES[scale].append(case)
REFUSES["convolution_of_product"].append(
    g(
        "u = Mul(x, i) v = Erf(u) r = Add(v, o) n = Mul(x, r) a = Mul(n, k) y = Conv(a, w)",
        (W, "float i = {0.70710678}, float o = {1}, float k = {0.5}"),
        reason="activation",
    )
)
ONE_SMALL = listed("k", (2, 1, 1), [3e-5, 1.0], "float16")
REFUSES["convolution_of_product"].append(
    g("a = Mul(x, k) y = Conv(a, w)", (WIDE_HALF, ONE_SMALL), reason="small", **HALF)
)
for shift, before in SHIFTS.items():
    REFUSES[shift] += [
        g(f"{before} y = Conv<pads=[0,1,0,0]>(a, w, b)", (WB, K), y="[N,3,3,4]", reason="padding"),
        g(f'{before} y = Conv<auto_pad="SAME_UPPER">(a, w, b)', (WB, K), y="[N,3,5,5]", reason="padding"),
        g(f'{before} y = Conv<auto_pad="SAME_LOWER">(a, w, b)', (WB, K), y="[N,3,5,5]", reason="padding"),
        g(
            f'{before} y = Conv<auto_pad="SAME_LOWER">(a, w)',
            (floats("w", 3, 2, 3, 1), K),
            y="[N,3,5,5]",
            reason="padding",
        ),
        g(f"{before} y = Conv(a, w)", (W, "float k = {1e4}"), reason="so large"),
        g(f"{before} y = Conv(a, w)", (WIDE_HALF, listed("k", (), [8.0], "float16")), reason="so large", **HALF),
        g(f"{before} y = ConvTranspose(a, w)", (floats("w", 2, 3, 2, 2), K), y="[N,3,6,6]"),
        g(
            f"z = Conv(x, u) {before.replace('x', 'z')} y = Conv(a, w)",
            (W, K, floats("u", 2, 2, 1, 1)),
            reason="in front",
        ),
    ]


for rule, before in {**SCALES, **SHIFTS, "convolution_of_batch_norm": NORM}.items():
    given = norm(2) if before is NORM else "float k = {2}"
    REFUSES[rule].append(
        g(f"{before} y = Conv(a, w)", ("float[0,2,3,3] w = {}", given), y="[N,0,3,3]", reason="no weights")
    )
for rule, before in [
    *SCALES.items(),
    ("convolution_of_reversed_difference", "a = Sub(k, x)"),
    ("convolution_of_batch_norm", NORM),
]:
    many = floats("w", 64, 64, 3, 3), norm(64, [1.0] * 64), "float k = {2}"
    body = f"{before} z = Conv(a, w) u = Abs(x) t = Conv(u, w) y = Add(t, z)"
    REFUSES[rule].append(g(body, many, "[N,64,5,5]", "[N,64,3,3]", reason="a copy would cost"))
REFUSES["convolution_of_product_and_sum"] += [
    g(
        f"{AFFINE} z = Conv(a, w) u = Abs(x) q = Conv(u, w) y = Add(q, z)",
        (floats("w", 64, 64, 3, 3), "float k = {2}, float c = {1}"),
        "[N,64,5,5]",
        "[N,64,3,3]",
        reason="a copy would cost",
    ),
    g(f"{AFFINE} y = Conv(a, w)", (W, floats("k", 5), "float c = {1}"), reason="per channel"),
]
REFUSES["convolution_of_batch_norm"] += [
    g(
        f"{NORM} y = Conv(a, w)",
        (WIDE_HALF, small_norm(2)),
        reason="small",
        **HALF,
    ),
]

#: Where the order in front is not a reason to wait: it is read elsewhere too, it is no convolution, its weights are not constant.
IN_FRONT = [
    ("z = Conv(x, u)", {"also": "float[N,2,5,5] z"}),
    ("z = Relu(x)", {}),
    ("z = MatMul(x, r)", {}),
    ("z = Conv(x, q)", {"more": "float[2,2,1,1] q"}),
]
for rule, before in {**SHIFTS, "convolution_of_batch_norm": NORM}.items():
    FIRES[rule] += [
        g(
            f"{front} {before.replace('x', 'z')} y = Conv(a, w)",
            (W, K, norm(2), floats("u", 2, 2, 1, 1), floats("r", 5, 5)),
            nodes=2,
            **more,
        )
        for front, more in IN_FRONT
    ]


@pytest.mark.parametrize(("rule", "case"), cases(FIRES))
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), cases(REFUSES))
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


@pytest.mark.parametrize(("rule", "case"), cases({r: [deconv(b, DECONV_GROUPS, 2)] for r, b in SCALES.items()}))
def test_fires_where_the_reference_is_wrong(rule: str, case: Case) -> None:
    """onnx 1.23's reference cannot do transposed convolutions in groups: ONNX Runtime alone."""
    check_fires_on_ort(rule, case)


def test_factor_and_shift_both_go_where_nothing_is_padded() -> None:
    """A shift goes into the bias first, so that the factor meets the convolution."""
    case = g(f"{AFFINE} y = Conv(a, w, b)", (WB, K, C))
    names = ["convolution_of_product", "convolution_of_sum", "convolution_of_product_and_sum"]
    result, ledger = apply(build(case), *(all_rules()[n] for n in names))
    assert [s.rule for s in ledger.steps] == ["convolution_of_sum", "convolution_of_product"]
    assert result.node_count() == 1


@pytest.mark.parametrize("rule", [*SCALES, *SHIFTS])
def test_input_of_unknown_rank(rule: str) -> None:
    """A constant of fewer dims than the convolution has leaves the rank to the input, whatever that is."""
    before = {**SCALES, **SHIFTS}[rule]
    for constant, reason in [
        ("float[1,1,1] k = {2}", None),
        ("float[1,1,1,1] k = {2}", "per channel"),
        (listed("k", (2, 1, 1), [1.0, 2.0]), "per channel"),
    ]:
        case = g(
            f"z = Reshape(x, s) {before.replace('x', 'z')} y = Conv(a, w)",
            (W, constant),
            more="int64[R] s",
            y="[A,3,C,D]",
        )
        if reason is None:  # its channels do not matter either
            case = Case(case.text.replace("[N,2,5,5]", "[N,D,5,5]"))
            _, ledger = apply(build(case), all_rules()[rule])
            assert [s.rule for s in ledger.steps] == [rule]
        else:
            check_refuses(rule, Case(case.text, reason=reason))
