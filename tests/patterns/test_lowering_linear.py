"""Rules of patterns/lowering/linear.py."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.patterns.building import cases, floats, graph
from tests.patterns.rule_cases import Case, check_fires, check_refuses

W = floats("w", 4, 3)
T = floats("w", 3, 4)
B = floats("b", 3)


def g(body: str, constants: str | Sequence[str] = W, x: str = "[N,4]", y: str = "[N,3]", **o: object) -> Case:
    return graph(body, constants, x, y, **o)


FIRES = {
    "product_plus_bias": [
        g("a = MatMul(x, w) y = Add(a, b)", (W, B), nodes=1),
        g("a = MatMul(x, w) y = Add(b, a)", (W, "float b = {2}"), nodes=1),
        g("a = MatMul(x, w) y = Add(b, a)", (W, floats("b", 1, 3)), opset=9, nodes=1),
        g("a = MatMul(x, w) y = Add(a, z)", more="float[N,3] z", nodes=1),
        g("a = MatMul(x, w) y = Add(a, z)", more="float[N,1] z", nodes=1),
        g("a = MatMul(x, w) y = Add(a, z)", "", more="float[4,3] w, float[1,1] z", nodes=1),
        g("a = MatMul(x, w) y = Add(a, b)", (floats("w", 4, 1), "float[1] b = {2}"), y="[N,1]", nodes=1),
    ],
    "product_of_transposed": [
        g("a = Transpose(x) y = MatMul(a, w)", x="[4,N]", nodes=1),
        g("a = Transpose<perm=[1,0]>(x) y = MatMul(a, w)", x="[4,N]", nodes=1),
        g("a = Transpose(z) y = MatMul(x, a)", "", more="float[3,4] z", nodes=1),
        g("a = Transpose(x) y = MatMul(a, z)", "", x="[4,N]", more="float[4,M] z", y="[N,M]", nodes=1),
    ],
    "two_products": [
        g(
            "a = MatMul(x, w) p = Add(a, b) c = MatMul(x, v) q = Add(d, c) s = ReduceMax<axes=[2]>(p) y = Add(s, q)",
            (W, B, floats("v", 4, 2), floats("d", 2)),
            x="[2,N,4]",
            y="[2,N,2]",
            nodes=5,
        ),
    ],
    "third_product": [
        g(
            "a = MatMul(x, w) p = Add(a, b) u, v = Split<axis=-1>(p, s) c = MatMul(x, k) q = Add(c, d) "
            "m = Mul(u, v) y = Sub(m, q)",
            (floats("w", 4, 6), floats("b", 6), "int64[2] s = {3, 3}", floats("k", 4, 3), floats("d", 3)),
            x="[2,N,4]",
            y="[2,N,3]",
            nodes=5,
        ),
    ],
    "gemm_of_transposed": [
        g("a = Transpose(x) y = Gemm(a, w, b)", (W, B), x="[4,N]", nodes=1),
        g("a = Transpose(x) y = Gemm<transA=1, alpha=0.5>(a, w)", x="[N,4]", nodes=1),
        g("a = Transpose(z) y = Gemm<transA=1, beta=2.0>(x, a, b)", B, x="[4,N]", more="float[3,4] z", nodes=1),
        g("a = Transpose(z) y = Gemm<transB=1>(x, a)", "", more="float[4,3] z", nodes=1),
    ],
}

REFUSES = {
    "third_product": [
        g(
            "a = MatMul(x, w) p = Add(a, b) u, v = Split<axis=1>(p, s) c = MatMul(x, k) q = Add(c, d) "
            "m = Mul(u, v) y = ReduceSum(m)",
            (floats("w", 4, 6), floats("b", 6), "int64[2] s = {2, 2}", floats("k", 4, 3), floats("d", 3)),
            x="[2,4,4]",
            y="[1,1,1]",
            also="float[2,4,3] q",
            reason="not columns",
        ),
    ],
    "two_products": [
        g(
            "a = MatMul(x, w) p = Add(a, b) c = MatMul(x, v) q = Add(d, c) y = Mul(p, q)",
            (W, B, floats("v", 4, 3), floats("d", 3)),
        ),
        g(
            "a = MatMul(x, w) p = Add(a, b) c = MatMul(x, w) q = Add(d, c) y = Mul(p, q)",
            (W, B, floats("d", 3)),
            x="[2,N,4]",
            y="[2,N,3]",
            reason="elsewhere",
        ),
        g(
            "a = MatMul(x, w) p = Add(a, b) c = MatMul(x, v) q = Add(d, c) y = Mul(p, q)",
            (W, B, floats("v", 4, 3), floats("d", 3)),
            x="[200000,1,4]",
            y="[200000,1,3]",
            reason="copying",
        ),
    ],
    "product_plus_bias": [
        g("a = MatMul(x, w) y = Add(a, b)", (W, B), x="[A,N,4]", y="[A,N,3]"),
        g("a = MatMul(x, w) y = Add(a, b)", (W, B), x="[4]", y="[3]"),
        g("a = MatMul(x, w) y = Add(a, z)", more="float[1,N,3] z", y="[1,N,3]", reason="broadcast"),
        g("a = MatMul(x, w) y = Add(a, z)", more="float[M,3] z", y="[K,3]", reason="broadcast"),
        g("a = MatMul(x, w) y = Add(a, z)", more="float[D] z", reason="broadcast"),
        g("a = MatMul(x, w) y = Add(a, b)", (floats("w", 4, 1), B), reason="broadcast"),
        g("a = MatMul(x, w) y = Add(a, b)", (W, floats("b", 5, 3)), x="[1,4]", y="[5,3]", reason="broadcast"),
        g("a = MatMul(x, w) y = Add(a, b)", (W, B), also="float[N,3] a", reason="nothing would be saved"),
        g(
            "a = MatMul(x, w) y = Add(a, b)",
            "int32[4,1] w = {1,2,3,4}, int32 b = {1}",
            y="[N,1]",
            dtype="int32",
            reason="floats",
        ),
    ],
    "product_of_transposed": [
        g("a = Transpose<perm=[0,1]>(x) y = MatMul(a, w)", reason="not transposed"),
        g("a = Transpose(x) y = MatMul(a, w)", x="[4,N,A]", y="[A,N,3]"),
        g("a = Transpose(z) y = MatMul(x, a)", "", x="[4]", y="[3]", more="float[3,4] z"),
        g("a = Transpose(x) y = MatMul(a, w)", x="[4,N]", also="float[N,4] a", reason="nothing would be saved"),
        g("a = Transpose(x) y = MatMul(a, w)", x="[4,N]", opset=10, reason="needs its input C"),
        g(
            "a = Transpose(x) y = MatMul(a, w)",
            "int32[4,1] w = {1,2,3,4}",
            "[4,N]",
            "[N,1]",
            dtype="int32",
            reason="floats",
        ),
    ],
    "gemm_of_transposed": [
        g("a = Transpose<perm=[0,1]>(x) y = Gemm(a, w, b)", (W, B), reason="not transposed"),
        g(
            "a = Transpose(x) y = Gemm(a, w, b)",
            (W, B),
            x="[4,N]",
            also="float[N,4] a",
            reason="nothing would be saved",
        ),
    ],
}


@pytest.mark.parametrize(("rule", "case"), cases(FIRES))
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), cases(REFUSES))
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)
