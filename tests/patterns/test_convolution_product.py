"""Rules of patterns/simplifying/convolution_product.py."""

from __future__ import annotations

import pytest

from tests.patterns.building import cases, floats, graph
from tests.patterns.rule_cases import Case, check_fires, check_refuses

W, C = floats("w", 2, 8), floats("c", 8)
V, B = floats("v", 3, 8, 1, 1), floats("b", 3)
SIZE = "int64[4] s = {0,8,2,3}"
ROWS = "a = MatMul(x, w) d = Add(a, c) t = Transpose<perm=[0,2,1]>(d) i = Reshape(t, s)"


def rows(body: str = f"{ROWS} y = Conv(i, v, b)", *constants: str, x: str = "[N,6,2]", **o: object) -> Case:
    return graph(body, constants or (W, C, V, B, SIZE), x, "[A,B,C,D]", **o)


def moved(body: str, *constants: str, x: str = "[N,3,4,L]", **o: object) -> Case:
    return graph(body, constants or (floats("w", 1, 4, 1, 1), floats("b", 1)), x, "[A,B,C,D]", **o)


SWAP = "t = Transpose<perm=[0,2,1,3]>(x)"
FIRES = {
    "convolution_of_product_rows": [
        rows(nodes=4),
        rows(f"{ROWS} y = Conv(i, v)", W, C, V, SIZE, nodes=4),
        rows(
            "a = MatMul(x, w) t = Transpose<perm=[0,2,1]>(a) i = Reshape(t, s) y = Conv(i, v, b)",
            W,
            V,
            B,
            SIZE,
            nodes=4,
        ),
        rows("a = MatMul(x, w) t = Transpose<perm=[0,2,1]>(a) i = Reshape(t, s) y = Conv(i, v)", W, V, SIZE, nodes=3),
        rows(f"{ROWS} y = Conv(i, v, b)", W, C, floats("v", 8, 8, 1, 1), floats("b", 8), SIZE, nodes=4),
        rows(f"{ROWS} y = Conv(i, v, b)", W, "float c = {0.5}", V, B, SIZE, nodes=4),
    ],
    "convolution_of_moved_channels": [
        moved(f"{SWAP} y = Conv(t, w)", floats("w", 1, 4, 1, 1), nodes=2),
        moved(f"{SWAP} y = Conv(t, w, b)", nodes=3),
        moved(f"{SWAP} m = Softmax<axis=1>(t) y = Conv(m, w)", floats("w", 1, 4, 1, 1), nodes=3),
        moved(f"{SWAP} m = Softmax<axis=-3>(t) y = Conv(m, w, b)", nodes=4),
    ],
}
REFUSES = {
    "convolution_of_product_rows": [
        rows(ROWS.replace("0,2,1", "0,1,2") + " y = Conv(i, v, b)", W, C, V, B, SIZE, x="[N,8,2]", reason="become channels"),
        rows(f"{ROWS} y = Conv(i, v)", W, C, floats("v", 3, 8, 2, 2), SIZE, reason="pointwise"),
        rows(f"{ROWS} y = Conv<strides=[2,1]>(i, v)", W, C, V, SIZE, reason="pointwise"),
        rows(f"{ROWS} y = Conv(i, v)", W, C, floats("v", 3, 4, 1, 1), "int64[4] s = {0,4,4,3}", reason="be the columns"),
        rows(f"{ROWS} y = Conv(i, v)", W, C, V, "int64[4] s = {-1,8,3,3}", x="[N,6,2]", reason="batch"),
        rows(f"{ROWS} y = Conv(i, v)", floats("w", 8, 2), floats("c", 2), floats("v", 8, 2, 1, 1), "int64[4] s = {0,2,2,3}",
             x="[N,6,8]", reason="multiply more"),
        rows(f"{ROWS} y = Conv(i, v)", W, floats("c", 6, 8), V, SIZE, reason="one finite shift"),
    ],
    "convolution_of_moved_channels": [
        moved("t = Transpose<perm=[0,2,3,1]>(x) y = Conv(t, w)", x="[N,3,4,5]", reason="one dim behind"),
        moved(f"{SWAP} m = Softmax<axis=2>(t) y = Conv(m, w)", reason="over others"),
        moved(f"{SWAP} y = Conv(t, w)", floats("w", 2, 4, 1, 1), reason="more than one output"),
        moved(f"{SWAP} y = Conv(t, w)", floats("w", 1, 4, 1, 2), reason="not pointwise"),
        moved(f"{SWAP} m = Softmax<axis=1>(t) y = Conv(m, w)", opset=12, reason="opset 13"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), cases(FIRES))
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), cases(REFUSES))
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)
