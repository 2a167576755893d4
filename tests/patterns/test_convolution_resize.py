"""Rules of patterns/simplifying/convolution_resize.py."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from graphopt.patterns import all_rules
from tests.patterns.building import cases, floats, graph
from tests.patterns.rule_cases import Case, apply, build, check_fires, check_refuses

W, B = floats("w", 3, 4, 1, 1), floats("b", 3)
TWICE = "float[4] s = {1,1,2,2}"
NEAREST = 'Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">(x, , s)'
LINEAR = 'Resize<mode="linear", coordinate_transformation_mode="half_pixel">(x, , s)'


def g(
    body: str, constants: str | Sequence[str] = (W, B, TWICE), x: str = "[N,4,3,5]", y: str = "[A,B,C,D]", **o: object
) -> Case:
    return graph(body, constants, x, y, **o)


def parts(body: str, constants: str | Sequence[str], z: str = "float[N,4,6,10] z", **o: object) -> Case:
    """An image x that is doubled, and another of the size that it has then."""
    return g(f"r = {LINEAR} {body}", constants, more=z, **o)


W8, W5 = floats("w", 3, 8, 1, 1), floats("w", 3, 5, 1, 1)
ONE = "float[N,1,6,10] z"
FIRES = {
    "convolution_of_resize": [
        g(f"r = {NEAREST} y = Conv(r, w, b)", nodes=2),
        g(f"r = {LINEAR} y = Conv(r, w)", (W, TWICE), nodes=2),
        g(f"r = {LINEAR.replace(', ,', ', e,')} y = Conv(r, w)", (W, TWICE, "float[0] e = {}"), opset=11, nodes=2),
        g('r = Resize<mode="linear">(x, , , s) y = Conv(r, w)', (floats("w", 4, 4, 1, 1), "int64[4] s = {2,4,6,7}"), "[2,4,3,5]"),
        g('r = Resize<mode="linear", axes=[2,3]>(x, , , s) y = Conv(r, w, b)', (W, B, "int64[2] s = {6,7}"), opset=18),
        g('r = Resize<mode="linear", coordinate_transformation_mode="align_corners">(x, , s) y = Conv(r, w, b)', nodes=2),
        g(
            'r = Resize<mode="linear">(x, , s) y = Conv(r, w, b)',
            (floats("w", 3, 4, 1), B, "float[3] s = {1,1,3}"),
            "[N,4,5]",
            "[A,B,C]",
        ),
    ],
    "convolution_of_concat": [
        parts("c = Concat<axis=1>(r, z) y = Conv(c, w, b)", (W5, B, TWICE), ONE, nodes=4),
        parts("c = Concat<axis=1>(z, r) y = Conv(c, w)", (W5, TWICE), ONE, nodes=4),
        parts(f"q = {NEAREST} c = Concat<axis=1>(z, r, z, q) y = Conv(c, w, b)", (floats("w", 3, 10, 1, 1), B, TWICE), ONE, nodes=8),
        parts(
            f"q = {NEAREST} c = Concat<axis=1>(r, q) y = Conv(c, w, b)", (W8, B, TWICE), nodes=5
        ),
    ],
}  # fmt: skip
REFUSES = {
    "convolution_of_resize": [
        g(f"r = {LINEAR} y = Conv(r, w)", (floats("w", 3, 4, 3, 3), TWICE), reason="pointwise"),
        g(f"r = {LINEAR} y = Conv<strides=[2,2]>(r, w)", (W, TWICE), reason="pointwise"),
        g(f"r = {LINEAR} y = Conv<pads=[1,1,1,1]>(r, w)", (W, TWICE), reason="pointwise"),
        g(f"r = {LINEAR} y = Conv<group=2>(r, w)", (floats("w", 4, 2, 1, 1), TWICE), reason="pointwise"),
        g('r = Resize<mode="cubic">(x, , s) y = Conv(r, w)', (W, TWICE), reason="not an average"),
        g(
            'r = Resize<mode="linear", coordinate_transformation_mode="tf_crop_and_resize">(x, q, s) y = Conv(r, w)',
            (W, TWICE, "float[8] q = {0,0,0,0,1,1,1,1}"),
            reason="not an average",
        ),
        g(f"r = {LINEAR} y = Conv(r, w)", (W, "float[4] s = {1,1,0.5,0.5}"), reason="larger"),
        g(f"r = {LINEAR} y = Conv(r, w)", (W, TWICE), "[N,4,H,5]", reason="larger"),
        g(f"r = {LINEAR} y = Conv(r, w)", (W, "float[4] s = {1,2,2,2}"), "[N,2,3,5]", reason="larger"),
        g(f"r = {LINEAR} y = Conv(r, w)", (floats("w", 5, 4, 1, 1), TWICE), reason="more channels"),
        g('r = Resize<mode="linear">(x, , , s) y = Conv(r, w)', (W, "int64[4] s = {2,4,6,7}"), "[2,4,3,5]", reason="is said with"),
        g(f"r = {LINEAR} y = Conv(r, w) e = Relu(r)", (W, TWICE), also="float[E,F,G,H] e", reason="used elsewhere"),
    ],
    "convolution_of_concat": [
        parts("c = Concat<axis=1>(r, z) y = Conv(c, w)", (floats("w", 3, 8, 3, 3), TWICE), reason="pointwise"),
        parts("c = Concat<axis=1>(z, z) y = Conv(c, w)", (W8, TWICE), reason="not enough was made larger"),
        parts("c = Concat<axis=1>(r, z) y = Conv(c, w)", (floats("w", 5, 8, 1, 1), TWICE), reason="more channels"),
        parts("c = Concat<axis=1>(r, z) y = Conv(c, w)", (W8, TWICE), reason="half of the products"),
        parts("c = Concat<axis=1>(r, z) y = Conv(c, w)", (floats("w", 3, 5, 1, 1), TWICE), "float[N,K,6,10] z", reason="not known"),
        parts(
            "c = Concat<axis=1>(r, z) y = Conv(c, w) e = Relu(r)", (W8, TWICE), also="float[E,F,G,H] e", reason="not enough was made"
        ),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), cases(FIRES))
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), cases(REFUSES))
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


def test_a_head_over_several_sizes() -> None:
    """Each part is convolved at its own size."""
    body = f"r = {LINEAR} c = Concat<axis=1>(r, z) y = Conv(c, w, b)"
    names = ["convolution_of_concat", "convolution_of_resize"]
    case = g(body, (W5, B, TWICE), more=ONE)
    result, _ = apply(build(case), *(all_rules()[n] for n in names))
    convolved = [n.inputs[0].shape for n in result.nodes() if n.op == "Conv"]
    assert sorted(tuple(shape[2:]) for shape in convolved) == [(3, 5), (6, 10)]
