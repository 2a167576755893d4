"""Rules of patterns/onnxruntime_cpu/convolution.py."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.patterns.building import cases, floats, graph
from tests.patterns.rule_cases import Case, check_fires, check_refuses

W, B = floats("w", 32, 2, 1, 1), floats("b", 32)
HALVES = "float[A,B,C,D] z"


def split(body: str, constants: str | Sequence[str] = (W, B), x: str = "[N,2,H,L]", **o: object) -> Case:
    """A convolution, and its two parts."""
    return graph(body, constants, x, "[E,F,G,H]", also=HALVES, **o)


def shift(body: str, *constants: str, x: str = "[N,16,H,L]", **o: object) -> Case:
    given = constants or (floats("c", 16, 1, 1), floats("w", 2, 16, 3, 3))
    return graph(body, given, x, "[E,F,G,D]", tolerance=1e-4, **o)


FIRES = {
    "split_convolution_in_2": [
        split("a = Conv(x, w, b) y, z = Split<axis=1>(a)", nodes=2),
        split("a = Conv(x, w) y, z = Split<axis=1>(a)", W, nodes=2),
        split("a = Conv(x, w, b) r = Relu(a) y, z = Split<axis=-3>(r)", nodes=4),
        split("a = Conv(x, w, b) s = Sigmoid(a) r = Mul(s, a) y, z = Split<axis=1>(r)", nodes=6),
        split("a = Conv(x, w, b) r = LeakyRelu<alpha=0.2>(a) y, z = Split<axis=1>(r)", nodes=4),
        split("a = Conv(x, w) y, z = Split<axis=1>(a, s)", (floats("w", 48, 2, 3, 3), "int64[2] s = {32,16}"), nodes=2),
    ],
    "shift_between_convolutions": [
        shift("h = HardSwish(x) a = Add(h, c) y = Conv<pads=[1,1,1,1]>(a, w)", nodes=3),
        shift("s = HardSigmoid(x) h = Mul(s, x) a = Add(c, h) y = Conv(a, w)", nodes=4),
        shift("h = HardSwish(x) a = Add(h, c) y = Conv(a, w)", "float c = {0.5}", floats("w", 2, 16, 3, 3), nodes=3),
        shift("h = HardSwish(x) a = Add(h, c) y = Conv<group=16>(a, w)", "float c = {0.5}", floats("w", 16, 1, 3, 3)),
    ],
}
REFUSES = {
    "split_convolution_in_2": [
        split("a = Conv(x, w) y, z = Split<axis=1>(a)", floats("w", 24, 2, 1, 1), reason="whole blocks"),
        split("a = Conv(x, w) y, z = Split<axis=2>(a)", W, "[N,2,4,L]", reason="not channels"),
        split("a = Conv<group=2>(x, w) y, z = Split<axis=1>(a)", floats("w", 32, 1, 1, 1), reason="groups"),
        split("a = Conv(x, w) y, z = Split<axis=1>(a)", W, "[1,2,4,4]", reason="few elements"),
        split("a = Conv(x, w) y, z = Split<axis=1>(a, s)", (W, "int64[2] s = {32,0}"), reason="whole blocks"),
    ],
    "shift_between_convolutions": [
        shift("h = HardSwish(x) a = Add(h, c) y = Conv(a, w)", floats("c", 1, 16, 1, 5), floats("w", 2, 16, 3, 3), x="[N,16,H,5]",
              reason="one shift"),
        shift("h = HardSwish(x) a = Add(h, c) y = Conv(a, w)", "float c = {1}", floats("w", 2, 6, 3, 3), x="[N,6,H,L]",
              reason="whole blocks"),
        shift("h = HardSwish(x) a = Add(h, c) y = Conv<pads=[2,1,1,1]>(a, w)", reason="without rows"),
        shift("h = HardSwish(x) a = Add(h, c) y = Conv(a, w)", x="[1,16,4,4]", reason="few elements"),
        shift("h = HardSwish(x) a = Add(h, c) y = Conv(a, w)", x="[N,1,H,L]", reason="broadcast"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), cases(FIRES))
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), cases(REFUSES))
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)
