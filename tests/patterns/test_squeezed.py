"""Rules of patterns/simplifying/squeezed.py."""

from __future__ import annotations

import pytest

from tests.patterns.building import cases, floats, graph
from tests.patterns.rule_cases import Case, check_fires, check_refuses

W, B, C, AXIS = floats("w", 3, 2, 1, 3), floats("b", 3), floats("c", 1, 3, 1), "int64[1] a = {2}"


def conv(body: str, *constants: str, y: str = "[A,B,C]", **o: object) -> Case:
    return graph(body, constants, "[N,2,1,L]", y, **o)


def around(name: str, back: str = "a", y: str = "[A,B,C,D]", **o: object) -> Case:
    body = f"s = Squeeze(x, a) r = {name}(s) y = Unsqueeze(r, {back})"
    return graph(body, ("int64[1] a = {2}", "int64[1] e = {1}", "int64[1] n = {-2}"), "[N,2,1,L]", y, **o)


FIRES = {
    "squeezed_convolution_plus_shift": [
        conv("d = Conv(x, w) s = Squeeze(d, a) y = Add(s, c)", W, AXIS, C, nodes=2),
        conv("d = Conv(x, w, b) s = Squeeze(d, a) y = Add(c, s)", W, B, AXIS, floats("c", 3, 1), nodes=2),
        conv("d = Conv(x, w) s = Squeeze(d, a) y = Add(s, c)", W, "int64[1] a = {-2}", "float c = {2}", nodes=2),
        conv("d = Conv(x, w) s = Squeeze<axes=[2]>(d) y = Add(s, c)", W, C, opset=11, nodes=2),
    ],
    "unsqueeze_relu_squeeze": [around("Relu", nodes=1), around("Relu", "n", nodes=1)],
    "unsqueeze_tanh_squeeze": [around("Tanh", nodes=1)],
    "unsqueeze_leakyrelu_squeeze": [around("LeakyRelu<alpha=0.2>", nodes=1)],
}
REFUSES = {
    "squeezed_convolution_plus_shift": [
        conv("d = Conv(x, w) s = Squeeze(d, a) y = Add(s, c)", W, AXIS, floats("c", 1, 1, 4), reason="one shift"),
        conv("d = Conv(x, w) s = Squeeze(d, a) y = Add(s, c)", W, AXIS, floats("c", 2, 1, 3, 1), y="[A,B,C,D]", reason="one shift"),
        conv("d = Conv(x, w) s = Squeeze(d, a) y = Add(s, c)", floats("w", 1, 2, 1, 3), "int64[1] a = {1}", "float c = {1}",
             reason="may go"),
    ],
    "unsqueeze_relu_squeeze": [around("Relu", "e", reason="not known to put in")],
}  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), cases(FIRES))
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), cases(REFUSES))
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)
