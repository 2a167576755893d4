"""Rules of patterns/simplifying/linear_sums.py."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.patterns.building import cases, floats, graph, listed
from tests.patterns.rule_cases import Case, check_fires, check_refuses

A, B = floats("a", 4, 6), floats("b", 4, 6, seed=1)
LOW = (floats("w", 4, 6), floats("a", 4, 2), floats("b", 2, 6))
TINY = (listed("a", (2, 2), [1e-3] * 4, "float16"), listed("b", (2, 2), [-9.8e-4] * 4, "float16"))
TWO = "p = MatMul(x, a) q = MatMul(x, b) y = Add(p, q)"
CORRECTED = "p = MatMul(x, w) q = MatMul(x, a) r = MatMul(q, b) y = Add(r, p)"


def g(body: str, constants: str | Sequence[str], x: str = "[N,5,4]", y: str = "[N,5,6]", **o: object) -> Case:
    return graph(body, constants, x, y, **o)


def gemms(
    first: str, second: str, constants: Sequence[str], attrs: str = "", attrs2: str | None = None, **o: object
) -> Case:
    body = f"p = Gemm{attrs}({first}) q = Gemm{attrs if attrs2 is None else attrs2}({second}) y = Add(p, q)"
    return g(body, constants, **{"x": "[N,4]", "y": "[N,6]", **o})


PLAIN = (A, B, floats("c", 6), floats("d", 1, 6))
TURNED = (floats("a", 6, 4), floats("b", 6, 4, seed=1), floats("c", 6), "float d = {2}")

FIRES = {
    "product_plus_product": [
        g(TWO, (A, B), nodes=1),
        g(TWO, (A, B), "[4]", "[6]", nodes=1),
        g(TWO, TINY, "[3,2]", "[3,2]", dtype="float16", nodes=1),  # such sums are exact
        g("p = MatMul(x, a) q = MatMul(x, b) y = Add(q, p)", (A, B), "[N,4]", "[N,6]", nodes=1),
    ],
    "product_plus_low_rank": [
        g(CORRECTED, LOW, nodes=1),
        g(CORRECTED, LOW, "[4]", "[6]", nodes=1),
    ],
    "sum_times_weights": [
        g("p = MatMul(x, a) q = MatMul(z, a) y = Add(p, q)", A, more="float[N,5,4] z", nodes=2),
        g("p = MatMul(x, v) q = MatMul(z, v) y = Add(p, q)", "", more="float[N,5,4] z, float[N,4,6] v", nodes=2),
    ],
    "gemm_plus_gemm": [
        gemms("x, a", "x, b", PLAIN, nodes=1),
        gemms("x, a, c", "x, b", PLAIN, nodes=1),
        gemms("x, a, d", "x, b, c", PLAIN, nodes=1),
        gemms("x, a, d", "x, b, c", TURNED, "<transB=1>", nodes=1),
        gemms("x, a", "x, b, c", TURNED, "<transA=1, transB=1>", x="[4,N]", nodes=1),
        gemms("x, a, c", "x, b, d", PLAIN, "<alpha=0.5, beta=2.0>", nodes=1),
        gemms("x, a, c", "x, b, e", (A, floats("b", 4, 1), floats("c", 6), floats("e", 1)), nodes=1),
        gemms("x, a, e", "x, b, c", (*PLAIN, floats("e", 3, 1)), x="[3,4]", y="[3,6]", nodes=1),
        gemms("x, a", "x, b", TINY, x="[3,2]", y="[3,2]", dtype="float16", nodes=1),
    ],
}
REFUSES = {
    "product_plus_product": [
        g(TWO, (A, floats("b", 4, 1))),
        g("p = MatMul(x, a) q = MatMul(z, b) y = Add(p, q)", (A, B), more="float[N,5,4] z"),
        g(TWO, (A, B), also="float[N,5,6] p, float[N,5,6] q", reason="used elsewhere"),
        g(TWO, ("float[4,0] a = {}", "float[4,0] b = {}"), y="[N,5,0]", reason="no weights"),
    ],
    "product_plus_low_rank": [
        g(CORRECTED, LOW, also="float[N,5,6] p, float[N,5,6] r", reason="used elsewhere"),
        g(CORRECTED, (TINY[0].replace(" a", " w"), listed("a", (2, 1), [1.0, 1.0], "float16"),
                      listed("b", (1, 2), [-9.8e-4] * 2, "float16")), "[3,2]", "[3,2]", dtype="float16", reason="too small"),
    ],
    "sum_times_weights": [
        g("p = MatMul(x, a) q = MatMul(z, a) y = Add(p, q)", A, more="float[N,1,4] z", reason="broadcast"),
        g("p = MatMul(x, a) q = MatMul(z, a) y = Add(p, q)", A, more="float[M,5,4] z", y="[L,5,6]", reason="broadcast"),
        g("p = MatMul(x, a) q = MatMul(z, a) y = Add(p, q)", floats("a", 2, 2, dtype="float16"), "[3,2]", "[3,2]",
          more="float16[3,2] z", dtype="float16", reason="range"),
    ],
    "gemm_plus_gemm": [
        gemms("x, a", "x, b", (floats("a", 4, 4), floats("b", 4, 4, seed=1)), "<transB=1>", "", y="[N,4]", reason="transposed"),
        gemms("x, a", "x, b", PLAIN, "<alpha=0.5>", "", reason="scaled"),
        gemms("x, a, c", "x, b, d", PLAIN, "<beta=0.5>", "", reason="scaled"),
        gemms("x, a", "x, b", (listed("a", (2, 2), [6e4] * 4, "float16"), listed("b", (2, 2), [5e4] * 4, "float16")), x="[3,2]",
              y="[3,2]", dtype="float16", reason="overflows"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), cases(FIRES))
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), cases(REFUSES))
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)
