"""Rules of patterns/raising/resize.py and patterns/simplifying/resize.py."""

from __future__ import annotations

import pytest

import graphopt
from tests.patterns.raising_cases import of
from tests.patterns.rule_cases import Case, build, check_fires, check_refuses, compare, inputs, run_ort

SIZES = "int64[6] cut = {0, 0, 0, 1, 6, 1}, int64[6] m = {1, 1, 1, 2, 1, 3}, int64[4] put = {0, 3, 8, 18}, int64[2] u = {3, 5}"


def nearest(
    repeat: str,
    apart: str = "a = Reshape(x, cut)",
    x: str = "float[2,3,4,6]",
    y: str = "float[2,3,8,18]",
    sizes: str = SIZES,
    **options: object,
) -> Case:
    """x, rows and columns with a dim of their own, repeated and put together."""
    return Case(
        f"g ({x} x) => ({y} y) <{sizes}> {{ {apart} b = {repeat}(a, m) y = Reshape(b, put) }}",
        **{"opset": 18, **options},
    )  # type: ignore[arg-type]


def resize(
    arguments: str,
    attributes: str = "",
    constants: str = "",
    x: str = "float[2,3,4,6]",
    y: str = "float[2,3,4,6]",
    **options: object,
) -> Case:
    known = ", ".join(
        c
        for c in (
            "float[4] ones = {1, 1, 1, 1}, int64[4] same = {2, 3, 4, 6}, float[8] roi = {0, 0, 0, 0, 1, 1, 1, 1}",
            constants,
        )
        if c
    )
    written = f"<{attributes}>" if attributes else ""
    return Case(
        f"g ({x} x) => ({y} y) <{known}> {{ y = Resize{written}(x, {arguments}) }}",
        **{"opset": 19, **options},
    )  # type: ignore[arg-type]


FIRES = [
    *of(
        "nearest_by_repetition",
        nearest("Tile", nodes=1),
        nearest("Expand", nodes=1, opset=13),
        nearest("Expand", "a = Unsqueeze(x, u)", nodes=1),
        nearest("Tile", "a = Unsqueeze(x, u)", x="float[N,3,4,6]", y="float[N,3,8,18]", nodes=1),
        nearest("Tile", sizes=SIZES.replace("1, 3}", "1, 1}").replace("8, 18", "8, 6"), y="float[2,3,8,6]", nodes=1),
    ),
    *of(
        "resize_nothing",
        resize(", ones", nodes=1),
        resize("roi, ones", 'mode="linear"', nodes=1),
        resize(", , same", 'mode="cubic"', nodes=1),
        resize(", , same", 'mode="linear", coordinate_transformation_mode="align_corners"', nodes=1),
        resize(", , same", 'mode="linear", antialias=1', nodes=1),
        resize(", , two", "axes=[2,3]", "int64[2] two = {4, 6}", nodes=1),
        resize("roi, none, same", "", "float[0] none = {}", nodes=1, opset=12),
    ),
]

REFUSES = [
    *of(
        "nearest_by_repetition",
        nearest("Tile", opset=10, reason="not before"),
        nearest("Tile", x="double[2,3,4,6]", y="double[2,3,8,18]", reason="single precision"),
        nearest("Tile", sizes=SIZES.replace("m = {1, 1", "m = {1, 2").replace("0, 3, 8", "0, 6, 8"), y="float[2,6,8,18]", reason="more than"),
        nearest("Tile", sizes=SIZES.replace("cut = {0, 0, 0, 1, 6, 1}", "cut = {0, 0, 1, 4, 1, 6}").replace("0, 3, 8, 18", "0, 3, 8, 18"), reason="by themselves"),
        nearest("Tile", sizes=SIZES.replace("0, 3, 8, 18", "0, 3, 18, 8"), y="float[2,3,18,8]", reason="more than"),
    ),
    *of(
        "resize_nothing",
        resize(", , larger", "", "int64[4] larger = {2, 3, 8, 6}", y="float[2,3,8,6]", reason="the size"),
        resize(", more", "", "float[4] more = {1, 1, 1.1, 1}", reason="scaled"),
        resize("roi, ones", 'mode="linear", coordinate_transformation_mode="tf_crop_and_resize"', reason="moved"),
        resize("roi, ones", 'coordinate_transformation_mode="tf_half_pixel_for_nn"', opset=12, reason="moved"),
        resize(", , same", 'keep_aspect_ratio_policy="not_larger"', reason="ratio"),
        resize(", , same", "", x="float[2,3,H,6]", reason="the size"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), FIRES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(FIRES)])
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), REFUSES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(REFUSES)])
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


def test_interpolated_to_the_size_of_another() -> None:
    """As segmentation models do it with each of their stages, whose first has that size."""
    text = (
        "g (float[N,3,4,6] x, float[N,5,4,6] o) => (float[N,3,4,6] y) <int64[1] zero = {0}, int64[1] two = {2}, int64[1] four = {4}> "
        "{ s = Shape(x) a = Slice(s, zero, two, zero) t = Shape(o) b = Slice(t, two, four, zero) c = Concat<axis=0>(a, b) "
        'r = Resize<mode="linear">(x, , , c) y = Relu(r) }'
    )
    original = build(Case(text))
    fast = graphopt.optimize(original)
    assert [n.op for n in fast.nodes()] == ["Relu"]
    feeds = inputs(original, 0, Case(""))
    compare(run_ort(original, feeds), run_ort(fast.proto, feeds), exact=True, tolerance=0)
