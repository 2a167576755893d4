"""Rules of patterns/simplifying/linear_gemm.py."""

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


def g(body: str, constants: str | Sequence[str], x: str = "[A,N,4]", y: str = "[A,N,3]", **o: object) -> Case:
    return graph(body, constants, x, y, **o)


def matrix(body: str, constants: str | Sequence[str], **o: object) -> Case:
    return graph(body, constants, **{"x": "[N,4]", "y": "[N,3]", **o})


NORM = "y = BatchNormalization(a, s, o, m, v)"
GEMM = {"gemm_times_factor": "y = Mul(k, a)", "gemm_over_divisor": "y = Div(a, k)"}
GEMM_SHIFT = ("y = Add(k, a)", "y = Sub(a, k)")

FIRES = {
    **{
        rule: [
            matrix(f"a = Gemm(x, w, b) {body}", (W, B, K), nodes=1),
            matrix(
                f"a = Gemm<alpha=0.5, beta=2.0>(x, w, b) {body}", (W, floats("b", 1, 3), floats("k", 1, 3)), nodes=1
            ),
            matrix(f"a = Gemm<transA=1, transB=1>(x, w) {body}", (T, K), x="[4,N]", nodes=1),
            matrix(f"a = Gemm<transB=1>(x, w, b) {body}", (T, "float b = {1}", "float k = {0.3}"), nodes=1),
            matrix(f"a = Gemm(x, w, b) {body}", (W, "float[1] b = {1}", "float[1,1] k = {0.3}"), nodes=1),
        ]
        for rule, body in GEMM.items()
    },
    "gemm_plus_shift": [
        case
        for body in GEMM_SHIFT
        for case in [
            matrix(f"a = Gemm(x, w, b) {body}", (W, B, K), nodes=1),
            matrix(
                f"a = Gemm<alpha=0.5, beta=2.0>(x, w, b) {body}", (W, floats("b", 1, 3), floats("k", 1, 3)), nodes=1
            ),
            matrix(f"a = Gemm<transA=1, transB=1, beta=3.0>(x, w) {body}", (T, K), x="[4,N]", nodes=1),
            matrix(f"a = Gemm<transB=1>(x, w, b) {body}", (T, "float b = {1}", "float k = {0.3}"), nodes=1),
            matrix(f"a = Gemm(x, z, b) {body}", (B, "float[1,1] k = {0.3}"), more="float[4,3] z", nodes=1),
        ]
    ],
    "gemm_plus_tensor": [
        matrix("a = Gemm(x, w) y = Add(a, z)", W, more="float[3] z", nodes=1),
        matrix("a = Gemm(x, w) y = Add(z, a)", W, more="float[N,3] z", nodes=1),
        matrix("a = Gemm<beta=0.5>(x, w) y = Add(z, a)", W, more="float[N,1] z", nodes=1),
        matrix("a = Gemm(x, w) y = Add(z, a)", W, more="float z", nodes=1),
    ],
    "batch_norm_of_gemm": [
        matrix(f"a = Gemm(x, w, b) {NORM}", (W, B, norm(3)), nodes=1),
        matrix(f"a = Gemm<transB=1, alpha=0.5, beta=2.0>(x, w, b) {NORM}", (T, B, norm(3)), nodes=1),
        matrix(f"a = Gemm<transA=1>(x, w) {NORM}", (W, norm(3)), x="[4,N]", nodes=1),
    ],
    "gemm_of_factor": [
        matrix("a = Mul(x, k) y = Gemm(a, w, b)", (W, B, K4), nodes=1),
        matrix("a = Mul(k, x) y = Gemm<transB=1, beta=2.0>(a, w, z)", (T, K4), more="float[N,3] z", nodes=1),
        matrix("a = Mul(k, x) y = Gemm<transA=1>(a, w)", (W, floats("k", 4, 1)), x="[4,N]", nodes=1),
        matrix("a = Mul(k, x) y = Gemm<transA=1>(a, w)", (W, "float k = {0.3}"), x="[4,N]", nodes=1),
    ],
    "gemm_of_sum": [
        matrix("a = Add(x, c) y = Gemm(a, w, b)", (W, B, C4), nodes=1),
        matrix("a = Add(c, x) y = Gemm<transB=1, alpha=0.5, beta=2.0>(a, w, b)", (T, B, C4), nodes=1),
        matrix("a = Add(c, x) y = Gemm<transA=1>(a, w)", (W, floats("c", 4, 1)), x="[4,N]", nodes=1),
    ],
    "gemm_factors": [
        matrix("y = Gemm<alpha=0.5, beta=2.0>(x, w, b)", (W, B), nodes=1),
        matrix("y = Gemm<alpha=0.5, transB=1>(x, w)", T, nodes=1),
        matrix("y = Gemm<beta=0.5>(x, w, b)", (W, floats("b", 1, 1)), nodes=1),
    ],
    "gemm_between_reshapes": [
        g("a = Reshape(x, s) c = Gemm(a, w, b) y = Reshape(c, t)", (W, B, *reshapes), "[2,5,4]", "[2,5,3]", nodes=2)
        for reshapes in [
            ("int64[2] s = {-1,4}, int64[3] t = {2,5,3}",),
            ("int64[2] s = {10,4}, int64[3] t = {2,-1,3}",),
        ]
    ],
}
FIRES["gemm_between_reshapes"] += [
    g(
        "a = Reshape<allowzero=1>(x, s) c = Gemm<transB=1>(a, w) y = Reshape(c, t)",
        (T, "int64[2] s = {-1,4}, int64[3] t = {2,5,3}"),
        "[2,5,4]",
        "[2,5,3]",
        nodes=1,
    ),
    g(
        "a = Reshape(x, s) c = Gemm(a, w, b) y = Reshape(c, t) d = Relu(a)",
        (W, floats("b", 1, 3), "int64[2] s = {-1,4}, int64[3] t = {2,5,3}"),
        "[2,5,4]",
        "[2,5,3]",
        also="float[10,4] d",
        nodes=4,
    ),
    *(
        g("a = Reshape(x, s) c = Gemm(a, w, b) y = Reshape(c, t)", (W, B, reshapes), x, y, nodes=2)
        for reshapes, x, y in [
            ("int64[2] s = {-1,4}, int64[3] t = {2,-1,3}", "[2,N,4]", "[2,M,3]"),
            ("int64[2] s = {-1,4}, int64[3] t = {-1,5,3}", "[N,5,4]", "[M,5,3]"),
        ]
    ),
]

#: Rows, more dims or more columns, in the constant or in the bias; and what is not finite.
GEMM_NOT_PER_COLUMN = [
    {"constants": (W, B, floats("k", 5, 1)), "x": "[5,4]", "y": "[5,3]"},
    {"constants": (W, B, floats("k", 1, 1, 3)), "y": "[1,N,3]"},
    {"constants": (floats("w", 4, 1), "float b = {1}", K)},
    {"constants": (W, floats("b", 5, 1), K), "x": "[5,4]", "y": "[5,3]"},
    {"constants": (W, floats("b", 5, 3), K), "x": "[5,4]", "y": "[5,3]"},
    {"constants": (W, B, "float k = {inf}")},
]

REFUSES = {
    **{
        rule: [
            *[matrix(f"a = Gemm(x, w, b) {body}", **o, reason="per column") for o in GEMM_NOT_PER_COLUMN],
            matrix(f"a = Gemm(x, w, b) {body}", (W, B, K), also="float[N,3] a", reason="saved"),
            matrix(f"a = Gemm(x, w, z) {body}", (W, K), more="float[N,3] z"),
        ]
        for rule, body in GEMM.items()
    },
    "gemm_plus_shift": [
        *[
            matrix(f"a = Gemm(x, w, b) {body}", **o, reason="per column")
            for o in GEMM_NOT_PER_COLUMN
            for body in GEMM_SHIFT
        ],
        matrix("a = Gemm(x, w, b) y = Add(a, k)", (W, B, K), also="float[N,3] a", reason="saved"),
        matrix("a = Gemm(x, w, b) y = Sub(k, a)", (W, B, K)),
        matrix("a = Gemm(x, z, b) y = Add(a, k)", ("float b = {1}", K), more="float[4,D] z", reason="not known"),
    ],
    "gemm_plus_tensor": [
        matrix("a = Gemm(x, w) y = Add(a, z)", W, more="float[M,3] z", y="[K,3]", reason="broadcast"),
        matrix("a = Gemm(x, w) y = Add(a, z)", W, more="float[1,N,3] z", y="[1,N,3]", reason="broadcast"),
        matrix("a = Gemm(x, w) y = Add(a, z)", floats("w", 4, 1), more="float[3] z", reason="broadcast"),
        matrix("a = Gemm(x, w) y = Add(a, z)", W, more="float[D] z", reason="broadcast"),
        matrix("a = Gemm(x, w, b) y = Add(a, z)", (W, B), more="float[3] z"),
        matrix("a = Gemm(x, w) y = Add(a, z)", W, more="float[3] z", also="float[N,3] a", reason="saved"),
    ],
    "batch_norm_of_gemm": [
        matrix(f"a = Gemm(x, w, b) {NORM}", (W, B, norm(3, (1, -1, 1))), reason="per column"),
        matrix(f"a = Gemm(x, w, b) {NORM}", (W, floats("b", 5, 1), norm(3)), x="[5,4]", y="[5,3]", reason="per column"),
        matrix(
            "a = Gemm(x, w, b) y, c, d, e, f = BatchNormalization(a, s, o, m, v)",
            (W, B, norm(3)),
            opset=9,
            reason="trains",
        ),
    ],
    "gemm_of_factor": [
        matrix("a = Mul(x, k) y = Gemm(a, w)", (W, floats("k", 5, 1)), x="[5,4]", y="[5,3]", reason="per input"),
        matrix("a = Mul(x, k) y = Gemm<transA=1>(a, w)", (W, K4), x="[4,4]", y="[4,3]", reason="per input"),
        matrix("a = Mul(x, k) y = Gemm(a, w)", (W, K4), x="[N,1]", reason="per input"),
        matrix("a = Mul(x, k) y = Gemm(a, w)", (W, floats("k", 1, 4)), x="[4]", y="[1,3]", reason="per input"),
        matrix("a = Mul(x, k) y = Gemm(a, w)", (W, K4), also="float[N,4] a", reason="saved"),
    ],
    "gemm_of_sum": [
        matrix("a = Add(x, c) y = Gemm(a, w)", (W, floats("c", 5, 1)), x="[5,4]", y="[5,3]", reason="per input"),
        matrix("a = Add(x, c) y = Gemm<transA=1>(a, w)", (W, C4), x="[4,4]", y="[4,3]", reason="per input"),
        matrix("a = Add(x, c) y = Gemm(a, w)", (W, C4), x="[N,1]", reason="per input"),
        matrix(
            "a = Add(x, c) y = Gemm(a, w, b)", (W, C4, floats("b", 5, 1)), x="[5,4]", y="[5,3]", reason="per column"
        ),
        matrix("a = Add(x, c) y = Gemm(a, w)", (W, "float c = {1e4}"), reason="so large"),
    ],
    "gemm_factors": [
        matrix("y = Gemm(x, w, b)", (W, B), reason="there are none"),
        matrix("y = Gemm<alpha=0.0>(x, w, b)", (W, B), reason="zero"),
        matrix("y = Gemm<beta=0.0>(x, w, b)", (W, B), reason="zero"),
        matrix("y = Gemm<alpha=3e-5>(x, w)", HALF_W, reason="too small", **HALF),
        matrix("y = Gemm<alpha=0.5>(x, w, z)", W, more="float[N,3] z"),
    ],
    "gemm_between_reshapes": [
        g(
            f"a = Reshape(x, s) c = Gemm{attrs}(a, w, b) y = Reshape(c, t) {more}",
            (w, b, f"int64[2] s = {{{s}}}, int64[{t.count(',') + 1}] t = {{{t}}}"),
            x,
            y,
            also=also,
            reason=why,
        )
        for attrs, w, b, s, t, x, y, more, also, why in [
            ("", W, B, "-1,4", "2,5,3", "[2,10,2]", "[2,5,3]", "", "", "rows"),
            ("", W, B, "-1,4", "5,2,3", "[2,5,4]", "[5,2,3]", "", "", "shape"),
            ("", W, B, "-1,4", "2,15", "[2,5,4]", "[2,15]", "", "", "shape"),
            ("", W, B, "-1,4", "0,3", "[2,5,4]", "[10,3]", "", "", "shape"),
            ("", W, B, "-1,4", "-1,2,3", "[2,N,4]", "[M,2,3]", "", "", "shape"),
            ("", W, B, "-1,4", "2,-1,3", "[M,N,4]", "[2,K,3]", "", "", "shape"),
            ("<alpha=0.5>", W, B, "-1,4", "2,5,3", "[2,5,4]", "[2,5,3]", "", "", "more than"),
            ("<beta=0.5>", W, B, "-1,4", "2,5,3", "[2,5,4]", "[2,5,3]", "", "", "more than"),
            ("<transA=1>", floats("w", 10, 3), B, "-1,4", "2,2,3", "[2,5,4]", "[2,2,3]", "", "", "more than"),
            ("", W, floats("b", 10, 3), "-1,4", "2,5,3", "[2,5,4]", "[2,5,3]", "", "", "bias"),
            ("", W, floats("b", 10, 1), "-1,4", "2,5,3", "[2,5,4]", "[2,5,3]", "", "", "bias"),
            ("", W, floats("b", 2, 3), "-1,4", "1,2,3", "[1,2,4]", "[1,2,3]", "", "", "bias"),
            ("", W, B, "-1,4", "2,5,3", "[2,5,4]", "[2,5,3]", "d = Relu(c)", "float[10,3] d", "elsewhere"),
        ]
    ],
}


ZERO = listed("k", (3,), [1.0, 0.0, 2.0])
REFUSES["gemm_over_divisor"].append(matrix("a = Gemm(x, w, b) y = Div(a, k)", (W, B, ZERO), reason="per column"))
INT = "int32[2,2] w = {1,2,3,4}, int32[2] b = {2,3}, int32 k = {2}"
OF_INTS = {"x": "[N,2]", "y": "[N,2]", "dtype": "int32", "reason": "not"}
REFUSES["gemm_plus_shift"].append(matrix("a = Gemm(x, w, b) y = Add(a, k)", INT, **OF_INTS))
REFUSES["gemm_of_sum"] += [
    matrix("a = Add(x, k) y = Gemm(a, w, b)", INT, **OF_INTS),
]
REFUSES["gemm_between_reshapes"].append(
    matrix(
        "a = Reshape(x, s) c = Gemm(a, w, b) y = Reshape(c, t)",
        (W, B, "int64[2] s = {-1,4}, int64[2] t = {-1,3}"),
        x="[10,4]",
        y="[10,3]",
        reason="rows",
    )
)

ROOT = "u = Mul(x, x) v = ReduceMean<axes=[-1]>(u) r = Sqrt(v) n = Div(x, r)"
REFUSES["gemm_of_factor"].append(matrix(f"{ROOT} a = Mul(n, k) y = Gemm(a, w)", (W, K4), reason="factor of a norm"))
REFUSES["gemm_of_sum"].append(matrix(f"{ROOT} a = Add(n, c) y = Gemm(a, w)", (W, C4), reason="shift of a norm"))
FIRES["gemm_of_factor"].append(matrix(f"{ROOT} a = Mul(n, k) y = Gemm(a, w)", (W, "float k = {2}"), nodes=5, low=0.1))
FIRES["gemm_of_sum"].append(matrix(f"{ROOT} a = Add(n, c) y = Gemm(a, w)", (W, "float c = {2}"), nodes=5, low=0.1))

#: What makes new weights: not out of large ones that stay, not out of none, and not too small ones.
MAKES = {
    "gemm_times_factor": "a = Gemm(x, w) y = Mul(a, k)",
    "gemm_over_divisor": "a = Gemm(x, w) y = Div(a, d)",
    "gemm_of_factor": "a = Mul(x, k) y = Gemm(a, w)",
    "batch_norm_of_gemm": f"a = Gemm(x, w) {NORM}",
    "gemm_factors": "y = Gemm<alpha=3e-5>(x, w)",
}
LARGE = (floats("w", 72, 72), norm(72, [1.0] * 72), "float k = {2}, float d = {2}")
NONE = ("float[72,0] w = {}", norm(0), "float k = {2}, float d = {2}")
for rule, body in MAKES.items():
    again = f"{body} u = Abs(x) j = MatMul(u, w)"
    REFUSES[rule].append(matrix(again, LARGE, x="[N,72]", y="[N,72]", also="float[N,72] j", reason="a copy would cost"))
    REFUSES[rule].append(matrix(body, NONE, x="[N,72]", y="[N,0]", reason="no weights"))
    last = 4 if rule == "gemm_of_factor" else 3
    for k, d in [([3e-5], [6e4]), ([1.0] * (last - 1) + [3e-5], [1.0] * (last - 1) + [6e4])]:
        constants = (HALF_W, listed("k", (len(k),), k, "float16"), listed("d", (len(d),), d, "float16"), small_norm(3))
        REFUSES[rule].append(matrix(body, constants, reason="too small", **HALF))

#: Opsets in which a bias is not broadcast by itself, and neither is a sum.
FLAT = floats("b", 1, 3), floats("k", 1, 3)
for rule, body in {
    **{rule: f"a = Gemm<broadcast=1>(x, w, b) {body}" for rule, body in GEMM.items()},
    "gemm_plus_shift": "a = Gemm<broadcast=1>(x, w, b) y = Add(a, k)",
    "batch_norm_of_gemm": "a = Gemm<broadcast=1>(x, w, b) y = BatchNormalization<is_test=1>(a, s, o, m, v)",
    "gemm_of_sum": "a = Add(x, c) y = Gemm<broadcast=1>(a, w, b)",
    "gemm_between_reshapes": "a = Reshape(x, q) z = Gemm<broadcast=1>(a, w, b) y = Reshape(z, r)",
}.items():
    shapes = ("[1,1,4]", "[1,1,3]") if "reshapes" in rule else ("[1,4]", "[1,3]")
    constants = (W, *FLAT, floats("c", 1, 4), norm(3), "int64[2] q = {1,4}, int64[3] r = {1,1,3}")
    REFUSES[rule].append(matrix(body, constants, x=shapes[0], y=shapes[1], opset=6, reason=" "))


@pytest.mark.parametrize(("rule", "case"), cases(FIRES))
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), cases(REFUSES))
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


def test_unknown_rank() -> None:
    body = "a = Reshape(x, s) c = Gemm(a, w) y = Reshape(c, t)"
    case = g(body, (W, "int64[2] s = {-1,4}, int64[3] t = {2,5,3}"), "[2,5,4]", "[2,5,3]")
    check_unknown_rank("gemm_between_reshapes", case, fires=False)
