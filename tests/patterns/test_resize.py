"""Rules of patterns/raising/resize.py, patterns/simplifying/resize.py and patterns/lowering/resize.py."""

from __future__ import annotations

from typing import Any

import pytest

import graphopt
from tests.patterns.raising_cases import of
from tests.patterns.rule_cases import Case, build, check_fires, check_refuses, compare, inputs, run_ort

REPEAT = 'mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric"'
LINEAR = 'mode="linear"'
AREA = "a = Slice(s, zero, two, zero) b = Slice(s, two, four, zero) "
DOUBLE = AREA + "d = Mul(b, k) c = Concat<axis=0>(a, d) "
FLOATS = AREA + "f = Cast<to=1>(b) g = Mul(f, k) h = Floor(g) d = Cast<to=7>(h) c = Concat<axis=0>(a, d) "
TWICE, FLOAT_TWICE = "int64[1] k = {2}", "float k = {2}"
HALF = "float[4] half = {1, 1, 0.5, 0.5}"
SIZES = "int64[6] cut = {0, 0, 0, 1, 6, 1}, int64[6] m = {1, 1, 1, 2, 1, 3}, int64[4] put = {0, 3, 8, 18}, int64[2] u = {3, 5}"


def nearest(
    repeat: str,
    apart: str = "a = Reshape(x, cut)",
    x: str = "float[2,3,4,6]",
    y: str = "float[2,3,8,18]",
    sizes: str = SIZES,
    **options: Any,
) -> Case:
    """x, rows and columns with a dim of their own, repeated and put together."""
    return Case(
        f"g ({x} x) => ({y} y) <{sizes}> {{ {apart} b = {repeat}(a, m) y = Reshape(b, put) }}",
        **{"opset": 18, **options},
    )


def resize(
    arguments: str,
    attributes: str = "",
    constants: str = "",
    x: str = "float[2,3,4,6]",
    y: str = "float[2,3,4,6]",
    **options: Any,
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
    )


def computed(
    body: str, constants: str = "", x: str = "float[N,3,H,6]", y: str = "float[N,3,A,B]", **options: Any
) -> Case:
    """x, resized to the sizes c."""
    known = ", ".join(k for k in ("int64[1] zero = {0}, int64[1] two = {2}, int64[1] four = {4}", constants) if k)
    return Case(f"g ({x} x) => ({y} y) <{known}> {{ s = Shape(x) {body} }}", **{"opset": 17, **options})


def twice(
    first: str,
    second: str,
    attributes: str = REPEAT,
    then: str = "",
    x: str = "float[2,3,4,6]",
    y: str = "float[2,3,8,12]",
    **options: Any,
) -> Case:
    """x, resized by two scales one after the other."""
    known = f"float[4] a = {{{first}}}, float[4] b = {{{second}}}"
    body = f"r = Resize<{attributes}>(x, , a) y = Resize<{then or attributes}>(r, , b)"
    return Case(f"g ({x} x) => ({y} y) <{known}> {{ {body} }}", **{"opset": 17, **options})


def turned(
    scales: str, attributes: str = REPEAT, q: str = "0,2,3,1", y: str = "float[2,6,8,3]", **options: Any
) -> Case:
    """Channels to the front, resized, and back."""
    body = f"t = Transpose<perm=[0,3,1,2]>(x) r = Resize<{attributes}>(t, , a) y = Transpose<perm=[{q}]>(r)"
    return Case(f"g (float[2,3,4,3] x) => ({y} y) <float[4] a = {{{scales}}}> {{ {body} }}", **{"opset": 17, **options})


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
        resize(", , more", 'mode="linear", axes=[2,3], keep_aspect_ratio_policy="not_larger"', "int64[2] more = {4, 7}", nodes=1),
        resize("roi, none, same", "", "float[0] none = {}", nodes=1, opset=12),
    ),
    *of(
        "resize_by_scales",
        computed(DOUBLE + f"y = Resize<{REPEAT}>(x, , , c)", TWICE, nodes=1),
        computed(FLOATS + f"y = Resize<{LINEAR}>(x, , , c)", FLOAT_TWICE, nodes=1),
        computed(FLOATS + f"y = Resize<{REPEAT}>(x, none, none, c)", FLOAT_TWICE + ", float[0] none = {}", opset=11, nodes=1),
        resize(", , more", LINEAR, "int64[4] more = {2, 3, 8, 9}", y="float[2,3,8,9]", nodes=1),
        resize(", , more", LINEAR, "int64[4] more = {2, 3, 2, 6}", y="float[2,3,2,6]", nodes=1),
        resize(", , more", "axes=[2,3]", "int64[2] more = {8, 6}", y="float[2,3,8,6]", nodes=1),
        resize("roi, , more", "axes=[3,2,1,0]", "int64[4] more = {12, 4, 3, 2}", y="float[2,3,4,12]", nodes=1),
    ),
    *of(
        "resize_some_axes",
        computed("b = Slice(s, zero, two, zero) c = Concat<axis=0>(b, k) y = Resize(x, , , c)", "int64[2] k = {7, 9}", x="float[N,3,4,6]", y="float[N,3,7,9]", opset=18, nodes=1),
        computed("b = Slice(s, zero, two, zero) c = Concat<axis=0>(k, b) y = Resize<axes=[3,2,0,1]>(x, , , c)", "int64[2] k = {9, 7}", x="float[N,3,4,6]", y="float[N,3,7,9]", opset=18, nodes=1),
    ),
    *of(
        "nearest_whole",
        resize(", more", "", "float[4] more = {1, 1, 3, 2}", y="float[2,3,12,12]", nodes=1),
        resize(", more", 'coordinate_transformation_mode="asymmetric"', "float[4] more = {1, 1, 2, 2}", y="float[2,3,8,12]", nodes=1),
        resize(", more", 'coordinate_transformation_mode="pytorch_half_pixel", nearest_mode="round_prefer_ceil"', "float[4] more = {1, 1, 5, 1}", y="float[2,3,20,6]", nodes=1),
    ),
    *of(
        "resize_resize",
        twice("1, 1, 2, 1", "1, 1, 1, 2", nodes=1),
        twice("1, 1, 2, 1", "1, 1, 1, 2", LINEAR, nodes=1),
        twice("1, 1, 1, 1.5", "1, 1, 0.5, 1", 'mode="cubic"', y="float[2,3,2,9]", nodes=1),
        twice("1, 1, 2, 2", "1, 1, 2, 3", y="float[2,3,16,36]", nodes=1),
    ),
    *of(
        "transpose_resize_transpose",
        turned("1, 1, 2, 2", q="0,2,3,1", y="float[2,6,8,3]", nodes=1),
        turned("1, 1, 2, 1.5", LINEAR, y="float[2,6,6,3]", nodes=1),
        turned("1, 1, 2, 2", q="0,3,2,1", y="float[2,8,6,3]", nodes=2),
    ),
    *of(
        "half_as_average",
        resize(", half", LINEAR, HALF, y="float[2,3,2,3]", nodes=1),
        resize(", half", LINEAR + ', coordinate_transformation_mode="pytorch_half_pixel"', HALF, x="float[N,3,5,7]", y="float[N,3,2,3]", nodes=1),
        resize(", half", LINEAR + ", axes=[3]", "float[1] half = {0.5}", y="float[2,3,4,3]", nodes=1),
    ),
]  # fmt: skip

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
        resize(", , more", 'keep_aspect_ratio_policy="not_smaller"', "int64[4] more = {1, 3, 4, 3}", x="float[2,3,4,H]", reason="the size"),
        resize(", , same", "", x="float[2,3,H,6]", reason="the size"),
    ),
    *of(
        "resize_by_scales",
        computed(DOUBLE.replace("Mul", "Div") + "y = Resize(x, , , c)", TWICE, reason="a multiple"),
        computed(DOUBLE + 'y = Resize<keep_aspect_ratio_policy="not_larger">(x, , , c)', TWICE, opset=18, reason="ratio"),
        resize(", , more", LINEAR, "int64[4] more = {2, 3, 4, 7}", y="float[2,3,4,7]", reason="a multiple"),
        resize("roi, , more", LINEAR + ', coordinate_transformation_mode="tf_crop_and_resize"', "int64[4] more = {2, 3, 8, 6}", y="float[2,3,8,6]", reason="region"),
    ),
    *of(
        "resize_some_axes",
        resize(", , more", "", "int64[4] more = {2, 3, 7, 9}", y="float[2,3,7,9]", reason="constant"),
        computed(DOUBLE + "y = Resize(x, , , c)", TWICE, opset=18, reason="not known"),
        computed("b = Slice(s, zero, two, zero) c = Concat<axis=0>(b, k) y = Resize(x, , , c)", "int64[2] k = {7, 9}", x="float[N,3,4,6]", y="float[N,3,7,9]", reason="not before"),
    ),
    *of(
        "nearest_whole",
        resize(", more", REPEAT, "float[4] more = {1, 1, 2, 2}", y="float[2,3,8,12]", reason="this one already"),
        resize(", more", 'nearest_mode="floor"', "float[4] more = {1, 1, 2, 2}", y="float[2,3,8,12]", reason="too often"),
        resize(", more", 'coordinate_transformation_mode="asymmetric"', "float[4] more = {1, 1, 3, 2}", y="float[2,3,12,12]", reason="too often"),
        resize(", more", "", "float[4] more = {1, 1, 1.5, 2}", y="float[2,3,6,12]", reason="whole number"),
        resize("roi, more", 'coordinate_transformation_mode="tf_half_pixel_for_nn"', "float[4] more = {1, 1, 2, 2}", y="float[2,3,8,12]", opset=12, reason="too often"),
        resize(", more", LINEAR, "float[4] more = {1, 1, 2, 2}", y="float[2,3,8,12]"),
        resize(", more", 'coordinate_transformation_mode="align_corners"', "float[4] more = {1, 1, 2, 2}", y="float[2,3,8,12]", reason="too often"),
    ),
    *of(
        "resize_resize",
        twice("1, 1, 2, 1", "1, 1, 1, 2", LINEAR, x="int32[2,3,4,6]", y="int32[2,3,8,12]", reason="floats"),
        twice("2, 1, 1, 1", "1, 2, 1, 1", LINEAR, y="float[4,6,4,6]", reason="two axes"),
        twice("1, 1, 2, 1", "1, 1, 2, 2", LINEAR, y="float[2,3,16,12]", reason="twice"),
        twice("1, 1, 2, 1", "1, 1, 1, 2", LINEAR, REPEAT, reason="two ways"),
        twice("1, 1, 2, 1", "1, 1, 2, 2", 'mode="nearest"', y="float[2,3,16,12]", reason="twice"),
    ),
    *of(
        "transpose_resize_transpose",
        turned("1, 1, 2, 2", 'mode="cubic"', reason="two axes"),
        turned("1, 2, 2, 2", LINEAR, y="float[2,6,8,6]", reason="two axes"),
    ),
    *of(
        "half_as_average",
        resize(", half", LINEAR + ', coordinate_transformation_mode="asymmetric"', HALF, y="float[2,3,2,3]", reason="elsewhere"),
        resize(", half", LINEAR + ", antialias=1", HALF, y="float[2,3,2,3]", reason="more elements"),
        resize(", half", LINEAR, HALF, x="float[2,3,H,6]", y="float[2,3,A,3]", reason="middle"),
        resize(", half", LINEAR, HALF.replace("0.5}", "2}"), y="float[2,3,2,12]", reason="half as many"),
        resize(", half", LINEAR, HALF, x="int32[2,3,4,6]", y="int32[2,3,2,3]", reason="takes no int32"),
        resize(", half", LINEAR + ", axes=[3,2,1,0]", HALF, x="float[4,4,2,3]", y="float[2,2,2,3]", reason="half as many"),
        resize(", half", LINEAR, HALF, x="float[2,3,3,6]", y="float[2,3,1,3]", reason="middle"),
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
