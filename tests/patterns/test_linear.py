"""Rules of patterns/simplifying/linear.py."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.patterns.building import cases, check_unknown_rank, floats, graph, listed, norm, small_norm
from tests.patterns.rule_cases import Case, check_fires, check_refuses

W = floats("w", 4, 3)
T = floats("w", 3, 4)
B = floats("b", 3)
K = listed("k", (3,), [0.5, -2.0, 3.0])
K4 = listed("k", (4,), [0.5, -2.0, 3.0, 0.25])
C4 = listed("c", (4,), [0.5, -0.2, 0.3, 0.25])
HALF = {"x": "[2,4]", "y": "[2,3]", "dtype": "float16"}
HALF_W = floats("w", 4, 3, low=-2, high=2, dtype="float16")
WIDE = floats("w", 4, 6)
WIDE_B = floats("b", 6)
R = "int64[4] r = {0,0,3,2}"
OUT = "[A,3,N,2]"


def g(body: str, constants: str | Sequence[str], x: str = "[A,N,4]", y: str = "[A,N,3]", **o: object) -> Case:
    return graph(body, constants, x, y, **o)


def matrix(body: str, constants: str | Sequence[str], **o: object) -> Case:
    return graph(body, constants, **{"x": "[N,4]", "y": "[N,3]", **o})


NORM = "y = BatchNormalization(a, s, o, m, v)"
BEFORE = {"product_of_factor": "a = Mul(k, x)", "product_of_quotient": "a = Div(x, k)"}
AFTER = {"product_times_factor": "y = Mul(k, a)", "product_over_divisor": "y = Div(a, k)"}
HEADS = "t = Reshape(z, r) h = Transpose<perm=[0,2,1,3]>(t)"

FIRES = {
    **{
        rule: [
            g(f"a = MatMul(x, w) {body}", (W, K), nodes=1),
            g(f"z = MatMul(x, w) a = Add(z, b) {body}", (W, B, K), nodes=2),
            g(f"z = MatMul(x, w) a = Add(b, z) {body}", (W, "float b = {2}", K), nodes=2),
            g(f"a = MatMul(x, w) {body}", (W, "float k = {0.3}"), nodes=1),
            g(f"a = MatMul(x, w) {body}", (W, "float[1] k = {0.3}"), nodes=1),
            g(f"a = MatMul(x, w) {body}", (W, "float[1,1,1] k = {0.3}"), nodes=1),
            g(f"a = MatMul(x, w) {body}", (W, floats("k", 1, 1, 3)), nodes=1),
            g(f"a = MatMul(x, w) {body}", (W, K), "[4]", "[3]", nodes=1),
            g(f"a = MatMul(x, w) {body}", (HALF_W, listed("k", (), [0.7], "float16")), nodes=1, **HALF),
        ]
        for rule, body in AFTER.items()
    },
    "product_of_factors": [
        g(
            "a = Mul(x, k) b = Mul(f, z) y = MatMul(a, b)",
            "float k = {0.3}, float[1,1] f = {-2}",
            more="float[4,3] z",
            nodes=2,
        ),
        g("a = Mul(k, x) b = Mul(z, k) y = MatMul(a, b)", "float k = {0.35}", more="float[A,4,3] z", nodes=2),
    ],
    "moved_product_times_factor": [
        g(f"z = MatMul(x, w) {HEADS} y = Mul(h, k)", (WIDE, R, "float k = {0.125}"), y=OUT, nodes=3),
        g(f"z = MatMul(x, w) {HEADS} y = Div(h, k)", (WIDE, R, "float[1] k = {8}"), y=OUT, nodes=3),
        g(
            f"p = MatMul(x, w) z = Add(b, p) {HEADS} y = Mul(k, h)",
            (WIDE, WIDE_B, R, "float k = {0.3}"),
            y=OUT,
            nodes=4,
        ),
        g(f"p = MatMul(x, w) z = Add(p, b) {HEADS} y = Div(h, k)", (WIDE, WIDE_B, R, "float k = {-3}"), y=OUT, nodes=4),
    ],
    "left_product_times_factor": [
        g("a = MatMul(w, x) y = Mul(a, k)", (T, "float k = {0.3}"), "[A,4,N]", "[A,3,N]", nodes=1),
        g("a = MatMul(w, x) y = Mul(k, a)", (T, "float[1] k = {0.3}"), "[4]", "[3]", nodes=1),
        g("a = MatMul(w, x) y = Mul(k, a)", (T, "float[1,1] k = {0.3}"), "[4,N]", "[3,N]", nodes=1),
    ],
    **{
        rule: [
            g(f"{body} y = MatMul(a, w)", (W, K4), nodes=1),
            g(f"{body} y = MatMul(a, w)", (W, "float k = {0.3}"), nodes=1),
            g(f"{body} y = MatMul(a, w)", (W, "float[1,1] k = {0.3}"), nodes=1),
            g(f"{body} y = MatMul(a, w)", (W, floats("k", 1, 4)), nodes=1),
            g(f"{body} y = MatMul(a, w)", (W, K4), "[4]", "[3]", nodes=1),
            g(f"{body} y = MatMul(a, w)", (HALF_W, listed("k", (), [0.7], "float16")), nodes=1, **HALF),
        ]
        for rule, body in BEFORE.items()
    },
    "product_of_sum_plus_shift": [
        g("z = Add(x, c) a = MatMul(z, w) y = Add(a, b)", (W, B, C4), nodes=2),
        g("z = Add(c, x) a = MatMul(z, w) y = Add(b, a)", (W, "float b = {2}, float[1,1] c = {0.5}"), nodes=2),
    ],
    "product_of_product": [
        g("a = MatMul(x, w) y = MatMul(a, v)", (floats("w", 4, 8), floats("v", 8, 3)), nodes=1),
        g(
            "z = MatMul(x, w) a = Add(b, z) y = MatMul(a, v)",
            (floats("w", 4, 8), floats("b", 8), floats("v", 8, 3)),
            nodes=2,
        ),
        g("a = MatMul(x, w) y = MatMul(a, v)", (floats("w", 4, 8), floats("v", 8, 3)), "[4]", "[3]", nodes=1),
    ],
    "batch_norm_of_product": [
        matrix(f"a = MatMul(x, w) {NORM}", (W, norm(3)), nodes=2),
        matrix(f"z = MatMul(x, w) a = Add(b, z) {NORM}", (W, B, norm(3)), nodes=2),
    ],
}

#: Rows, more dims or more columns; and what is not finite.
NOT_PER_COLUMN = [
    {"constants": (W, floats("k", 5, 1)), "x": "[A,5,4]", "y": "[A,5,3]"},
    {"constants": (W, floats("k", 5, 3)), "x": "[A,5,4]", "y": "[A,5,3]"},
    {"constants": (W, floats("k", 1, 1, 1)), "x": "[N,4]", "y": "[1,N,3]"},
    {"constants": (W, floats("k", 1, 3)), "x": "[4]", "y": "[1,3]"},
    {"constants": (floats("w", 4, 1), K)},
    {"constants": (W, "float k = {inf}")},
    {"constants": (W, listed("k", (3,), [1.0, float("nan"), 2.0]))},
]

REFUSES = {
    **{
        rule: [
            *[g(f"a = MatMul(x, w) {body}", **o, reason="per column") for o in NOT_PER_COLUMN],
            g(
                f"z = MatMul(x, w) a = Add(z, b) {body}",
                (W, floats("b", 5, 1), K),
                "[A,5,4]",
                "[A,5,3]",
                reason="per column",
            ),
            g(f"a = MatMul(x, w) {body}", (W, K), also="float[A,N,3] a", reason="nothing would be saved"),
            g(f"z = MatMul(x, w) a = Add(z, b) {body}", (W, B, K), also="float[A,N,3] z", reason="would be saved"),
            g(f"a = MatMul(x, z) {body}", K, more="float[4,3] z"),
            graph(
                f"a = MatMul(x, w) {body}",
                "int32[2,2] w = {1,2,3,4}, int32 k = {2}",
                "[N,2]",
                "[N,2]",
                dtype="int32",
                reason="float",
            ),
        ]
        for rule, body in AFTER.items()
    },
    "moved_product_times_factor": [
        g(f"z = MatMul(x, w) {HEADS} y = Mul(h, k)", (WIDE, R, floats("k", 2)), y=OUT, reason="one finite factor"),
        g(f"z = MatMul(x, w) {HEADS} y = Div(h, k)", (WIDE, R, "float k = {0}"), y=OUT, reason="one finite factor"),
        g(f"z = MatMul(x, w) {HEADS} y = Mul(h, k)", (WIDE, R, "float k = {inf}"), y=OUT, reason="one finite factor"),
        g(
            f"z = MatMul(x, w) {HEADS} y = Mul(h, k)",
            (WIDE, R, floats("k", 1, 1, 1, 1, 1)),
            y="[1,A,3,N,2]",
            reason="one finite",
        ),
        g(
            f"z = MatMul(x, w) {HEADS} y = Mul(h, k)",
            (WIDE, R, "float k = {2}"),
            y=OUT,
            also="float[A,3,N,2] h",
            reason="would be saved",
        ),
        g(
            f"p = MatMul(x, w) z = Add(p, b) {HEADS} y = Mul(h, k)",
            (WIDE, R, "float k = {2}", floats("b", 5, 1)),
            "[A,5,4]",
            "[A,3,5,2]",
            reason="shift",
        ),
    ],
    "left_product_times_factor": [
        g("a = MatMul(w, x) y = Mul(a, k)", (T, floats("k", 3, 1)), "[A,4,N]", "[A,3,N]", reason="one finite factor"),
        g(
            "a = MatMul(w, x) y = Mul(a, k)",
            (T, "float[1,1,1] k = {2}"),
            "[4,N]",
            "[1,3,N]",
            reason="one finite factor",
        ),
        g("a = MatMul(w, x) y = Mul(a, k)", (T, "float k = {nan}"), "[4,N]", "[3,N]", reason="one finite factor"),
        g(
            "a = MatMul(w, x) y = Mul(a, k)",
            (T, "float k = {2}"),
            "[4,N]",
            "[3,N]",
            also="float[3,N] a",
            reason="would be saved",
        ),
    ],
    **{
        rule: [
            *[
                g(f"{body} y = MatMul(a, w)", **o, reason="per input")
                for o in [
                    {"constants": (W, floats("k", 5, 1)), "x": "[A,5,4]", "y": "[A,5,3]"},
                    {"constants": (W, floats("k", 1, 1, 4)), "x": "[N,4]", "y": "[1,N,3]"},
                    {"constants": (W, K4), "x": "[A,N,1]"},
                    {"constants": (W, K4), "x": "[A,N,D]"},
                    {"constants": (W, floats("k", 5, 4)), "x": "[4]", "y": "[5,3]"},
                    {"constants": (W, "float k = {inf}")},
                ]
            ],
            g(f"{body} y = MatMul(a, w)", (W, K4), also="float[A,N,4] a", reason="would be saved"),
        ]
        for rule, body in BEFORE.items()
    },
    "product_of_sum_plus_shift": [
        g("z = Add(x, c) a = MatMul(z, w) y = Add(a, b)", **o, reason=why)
        for o, why in [
            ({"constants": (W, B, floats("c", 5, 1)), "x": "[A,5,4]", "y": "[A,5,3]"}, "per input"),
            ({"constants": (W, B, C4), "x": "[A,N,1]"}, "per input"),
            ({"constants": (W, floats("b", 5, 1), C4), "x": "[A,5,4]", "y": "[A,5,3]"}, "per column"),
            ({"constants": (W, B, "float c = {1e4}")}, "so large"),
            ({"constants": (W, B, C4), "also": "float[A,N,3] a"}, "saved"),
        ]
    ],
    "product_of_product": [
        g(
            "a = MatMul(x, w) y = MatMul(a, v)",
            (floats("w", 4, 2), floats("v", 2, 4)),
            y="[A,N,4]",
            reason="multiply more",
        ),
        g(
            "a = MatMul(x, w) y = MatMul(a, v)",
            (floats("w", 2, 1), floats("v", 1, 2)),
            "[N,2]",
            "[N,2]",
            reason="multiply more",
        ),
        g(
            "a = MatMul(x, w) y = MatMul(a, v)",
            (floats("w", 4, 8), floats("v", 8, 3)),
            also="float[A,N,8] a",
            reason="would be saved",
        ),
        g(
            "z = MatMul(x, w) a = Add(z, b) y = MatMul(a, v)",
            (floats("w", 4, 8), floats("v", 8, 3), floats("b", 5, 1)),
            "[A,5,4]",
            "[A,5,3]",
            reason="per column",
        ),
    ],
    "batch_norm_of_product": [
        g(f"a = MatMul(x, w) {NORM}", (W, norm(3)), "[A,3,4]", "[A,3,3]", reason="not the columns"),
        matrix(f"a = MatMul(x, w) {NORM}", (W, norm(3, (1, -1, 1))), reason="per column"),
        matrix(
            f"z = MatMul(x, w) a = Add(z, b) {NORM}",
            (W, floats("b", 5, 1), norm(3)),
            x="[5,4]",
            y="[5,3]",
            reason="per column",
        ),
        matrix(
            "a = MatMul(x, w) y, c, d, e, f = BatchNormalization(a, s, o, m, v)", (W, norm(3)), opset=9, reason="trains"
        ),
    ],
}


FIRES["moved_product_times_factor"].append(
    g(f"z = MatMul(x, w) {HEADS} y = Mul(h, k)", (WIDE, R, "float[1,1,1,1] k = {0.125}"), y=OUT, nodes=3)
)
FIRES["product_of_product"].append(
    g("a = MatMul(x, w) y = MatMul(a, v)", (floats("w", 4, 2), floats("v", 2, 3)), nodes=1)
)
ZERO = listed("k", (3,), [1.0, 0.0, 2.0])
REFUSES["product_over_divisor"].append(g("a = MatMul(x, w) y = Div(a, k)", (W, ZERO), reason="per column"))
ZERO4 = listed("k", (4,), [1.0, 0.0, 2.0, 3.0])
REFUSES["product_of_quotient"].append(g("a = Div(x, k) y = MatMul(a, w)", (W, ZERO4), reason="per input"))
ROOT = "u = Mul(x, x) v = ReduceMean<axes=[-1]>(u) r = Sqrt(v)"
for n in ("n = Div(x, r)", "i = Reciprocal(r) n = Mul(x, i)", "i = Div(one, r) n = Mul(x, i)"):
    REFUSES["product_of_factor"].append(
        g(f"{ROOT} {n} a = Mul(n, k) y = MatMul(a, w)", (W, K4, "float one = {1}"), reason="factor of a norm")
    )
    REFUSES["product_of_sum_plus_shift"].append(
        g(
            f"{ROOT} {n} t = Mul(n, k) z = Add(t, c) a = MatMul(z, w) y = Add(a, b)",
            (W, K4, C4, B, "float one = {1}"),
            reason="shift of a normalisation",
        )
    )
GELU = "u = Mul(x, i) v = Erf(u) r = Add(v, o) n = Mul(x, r) a = Mul(n, k) y = MatMul(a, w)"
GELU_CONSTANTS = (W, "float i = {0.70710678}, float o = {1}")
REFUSES["product_of_factor"] += [
    g(body, (*GELU_CONSTANTS, "float k = {0.5}"), reason="activation") for body in (GELU, GELU.replace("Erf", "Tanh"))
]
FIRES["product_of_factor"] += [
    g(GELU, (*GELU_CONSTANTS, "float k = {0.25}"), nodes=5),
    g("q = Relu(x) n = Mul(q, q) a = Mul(n, k) y = MatMul(a, w)", (W, K4), nodes=3),
    g("q = Relu(x) n = Mul(q, q) a = Mul(n, k) y = MatMul(a, w)", (W, "float k = {0.5}"), nodes=3),
    g(f"{ROOT} n = Div(x, r) a = Mul(n, k) y = MatMul(a, w)", (W, "float k = {3}"), nodes=5, low=0.1),
    g("q = Abs(x) r = Sqrt(q) n = Add(x, r) a = Mul(n, k) y = MatMul(a, w)", (W, K4), nodes=4),
    g("n = Mul(x, d) a = Mul(n, k) y = MatMul(a, w)", (W, K4, "float d = {3}"), nodes=1),
]
FIRES["product_of_sum_plus_shift"].append(
    g(
        f"{ROOT} n = Div(x, r) z = Add(n, c) a = MatMul(z, w) y = Add(a, b)",
        (W, B, "float c = {3}"),
        nodes=6,
        low=0.1,
    )
)
REFUSES["left_product_times_factor"].append(
    g("a = MatMul(w, x) y = Mul(a, k)", (T, floats("k", 2)), "[4,2]", "[3,2]", reason="one finite factor")
)
REFUSES["product_of_factor"].append(g("a = Mul(x, k) y = MatMul(a, w)", (W, K4), x="", y="[3]", reason="per input"))
INT = "int32[2,2] w = {1,2,3,4}, int32 c = {2}, int32 b = {2}"
REFUSES["product_of_sum_plus_shift"] += [
    graph("z = Add(x, c) a = MatMul(z, w) y = Add(a, b)", INT, "[N,2]", "[N,2]", dtype="int32", reason="not floats"),
]

#: What makes new weights: not out of large ones that stay, not out of none, and not too small ones.
MAKES = {
    "product_times_factor": "a = MatMul(x, w) y = Mul(a, k)",
    "product_over_divisor": "a = MatMul(x, w) y = Div(a, d)",
    "left_product_times_factor": "a = MatMul(w, x) y = Mul(a, k)",
    "product_of_factor": "a = Mul(x, k) y = MatMul(a, w)",
    "product_of_quotient": "a = Div(x, d) y = MatMul(a, w)",
    "product_of_product": "a = MatMul(x, w) y = MatMul(a, q)",
    "batch_norm_of_product": f"a = MatMul(x, w) {NORM}",
    "moved_product_times_factor": "z = MatMul(x, w) t = Reshape(z, r) h = Transpose(t) y = Mul(h, k)",
}
SHAPES = {
    "left_product_times_factor": ("[72,N]", "[72,N]"),
    "product_of_product": ("[N,72]", "[N,1]"),
    "moved_product_times_factor": ("[N,72]", "[1,72,N]"),
}
LARGE = (floats("w", 72, 72), floats("q", 72, 1), norm(72, [1.0] * 72), "float k = {2}, float d = {2}")
NONE = ("float[72,0] w = {}", norm(0), "float k = {2}, float d = {2}, int64[3] r = {0,0,1}")
TINY = listed("w", (4, 8), [1e-3] * 32, "float16"), listed("q", (8, 3), [1e-3, 1.0, 1.0] * 8, "float16")
for rule, body in MAKES.items():
    x, y = SHAPES.get(rule, ("[N,72]", "[N,72]"))
    again = "j = MatMul(w, u)" if rule.startswith("left") else "j = MatMul(u, w)"
    constants = (*LARGE, "int64[3] r = {0,72,1}")
    REFUSES[rule].append(
        g(f"{body} u = Abs(x) {again}", constants, x, y, also="float[A,B] j", reason="a copy would cost")
    )
    if rule == "product_of_product":
        REFUSES[rule].append(g(body, TINY, "[2,4]", "[2,3]", dtype="float16", reason="too small"))
        continue
    constants = ("float[0,72] w = {}", *NONE[1:]) if rule.startswith("left") else NONE
    REFUSES[rule].append(g(body, constants, x, y.replace("72", "0"), reason="no weights"))
    for k, d in [([3e-5], [6e4]), ([1.0, 1.0, 3e-5], [1.0, 1.0, 6e4]), ([1.0, 3e-5, 1.0, 1.0], [1.0, 6e4, 1.0, 1.0])]:
        rows = rule in ("product_of_factor", "product_of_quotient")
        if len(k) == (3 if rows else 4) or (len(k) > 1 and rule in SHAPES) or ("norm" in rule and len(k) > 1):
            continue
        weights = floats("w", *((3, 4) if rule.startswith("left") else (4, 3)), dtype="float16")
        constants = (weights, listed("k", (len(k),), k, "float16"), listed("d", (len(d),), d, "float16"), small_norm(3))
        x, y = ("[4,2]", "[3,2]") if rule.startswith("left") else ("[2,4]", "[1,3,2]" if rule in SHAPES else "[2,3]")
        REFUSES[rule].append(g(body, (*constants, "int64[3] r = {0,0,1}"), x, y, dtype="float16", reason="too small"))


@pytest.mark.parametrize(("rule", "case"), cases(FIRES))
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), cases(REFUSES))
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


@pytest.mark.parametrize(
    ("rule", "body", "k", "fires"),
    [
        ("product_times_factor", "a = MatMul(x, w) y = Mul(a, k)", floats("k", 3), True),
        ("product_times_factor", "a = MatMul(x, w) y = Mul(a, k)", "float k = {2}", True),
        ("product_times_factor", "a = MatMul(x, w) y = Mul(a, k)", floats("k", 1, 1), False),
        ("product_of_factor", "a = Mul(x, k) y = MatMul(a, w)", "float k = {2}", False),
        ("batch_norm_of_product", f"a = MatMul(x, w) {NORM}", norm(3), False),
    ],
)
def test_unknown_rank(rule: str, body: str, k: str, fires: bool) -> None:
    check_unknown_rank(rule, g(body, (W, k), y="[A,B,C]" if "norm" not in rule else "[A,B]"), fires)
