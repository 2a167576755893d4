"""Rules of patterns/raising/blocks.py."""

from __future__ import annotations

from typing import Any

import pytest

import graphopt
from tests.patterns.building import floats
from tests.patterns.raising_cases import of
from tests.patterns.rule_cases import Case, build, check_fires, check_refuses, compare, inputs, run_ort

END = 2**63 - 1


def moved(perm: list[int], x: str, y: str, cut: list[int], put: list[int], **options: Any) -> Case:
    """Reshape, Transpose, Reshape: cut into six dims and put together as four."""
    body = f"a = Reshape(x, c) b = Transpose<perm={perm}>(a) y = Reshape(b, p)"
    return Case(
        f"g ({x} x) => ({y} y) <int64[6] c = {{{str(cut)[1:-1]}}}, int64[{len(put)}] p = {{{str(put)[1:-1]}}}> {{ {body} }}",
        **options,
    )


CRD, DCR, SPACE, UNSHUFFLE = [0, 1, 4, 2, 5, 3], [0, 3, 4, 1, 5, 2], [0, 3, 5, 1, 2, 4], [0, 1, 3, 5, 2, 4]
SLICES = (
    f"int64[1] o = {{0}}, int64[1] i = {{1}}, int64[1] two = {{2}}, int64[1] three = {{3}}, int64[1] end = {{{END}}}"
)


def quarters(rows: str, columns: str, axis: int, order: str = "cdef", y: str = "y") -> str:
    """x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2], as torch's exporters write it, put together."""
    parts = [
        f"a = Slice(x, o, end, {rows}, two) b = Slice(x, i, end, {rows}, two)",
        f"c = Slice(a, o, end, {columns}, two) d = Slice(b, o, end, {columns}, two)",
        f"e = Slice(a, i, end, {columns}, two) f = Slice(b, i, end, {columns}, two)",
        f"{y} = Concat<axis={axis}>({', '.join(order)})",
    ]
    return " ".join(parts)


def swin(x: str, y: str, axis: int = -1, order: str = "cdef", **options: Any) -> Case:
    return Case(f"g ({x} x) => ({y} y) <{SLICES}> {{ {quarters('i', 'two', axis, order)} }}", **options)


def focus(x: str, w: str, y: str, order: str = "cdef", conv: str = "", axis: int = 1, **options: Any) -> Case:
    body = quarters("two", "three", axis, order, "s") + f" y = Conv{conv and f'<{conv}>'}(s, w)"
    return Case(f"g ({x} x) => ({y} y) <{SLICES}, {w}> {{ {body} }}", **options)


W = floats("w", 5, 12, 3, 3)

FIRES = [
    *of(
        "depth_to_space",
        moved(CRD, "float[2,12,3,5]", "float[2,3,6,10]", [2, 3, 2, 2, 3, 5], [2, 3, 6, 10], nodes=1),
        moved(CRD, "float[N,18,3,5]", "float[N,2,9,15]", [-1, 2, 3, 3, 3, 5], [-1, 2, 9, 15], nodes=1),
        moved(DCR, "float[N,12,3,5]", "float[N,3,6,10]", [-1, 2, 2, 3, 3, 5], [0, 3, 6, -1], nodes=1),
        moved(DCR, "double[N,12,3,5]", "double[N,3,6,10]", [-1, 2, 2, 3, 3, 5], [0, 3, 6, -1], nodes=1),
        moved(CRD, "float[2,4,3,5]", "float[2,1,6,10]", [0, 1, 2, 2, 3, 5], [0, 1, 6, 10], nodes=1, opset=11),
    ),
    *of(
        "space_to_depth",
        moved(SPACE, "float[N,3,4,6]", "float[N,12,2,3]", [0, 3, 2, 2, 3, 2], [0, 12, 2, 3], nodes=1),
        moved(UNSHUFFLE, "float[N,1,4,6]", "float[N,4,2,3]", [0, 1, 2, 2, 3, 2], [0, 4, 2, 3], nodes=1),
    ),
    *of(
        "patches_of_slices",
        swin("float[N,4,6,5]", "float[N,2,3,20]", nodes=3),
        swin("int32[1,4,6,1]", "int32[1,2,3,4]", 3, nodes=3),
    ),
    *of(
        "convolution_of_slices",
        focus("float[N,3,8,6]", W, "float[N,5,4,3]", conv="pads=[1,1,1,1]", nodes=2),
        focus("float[1,3,8,6]", W, "float[1,5,1,1]", conv="strides=[2,2]", nodes=2),
    ),
]

REFUSES = [
    *of(
        "depth_to_space",
        moved(
            [0, 1, 4, 3, 5, 2],
            "float[2,12,3,5]",
            "float[2,3,6,10]",
            [2, 3, 2, 2, 3, 5],
            [2, 3, 6, 10],
            reason="another order",
        ),
        moved(CRD, "float16[2,12,3,5]", "float16[2,3,6,10]", [2, 3, 2, 2, 3, 5], [2, 3, 6, 10], reason="precision"),
        moved(CRD, "float[2,12,3,5]", "float[2,2,9,10]", [2, 2, 3, 2, 3, 5], [2, 2, 9, 10], reason="not the channels"),
        moved(CRD, "float[2,12,3,5]", "float[2,18,10]", [2, 3, 2, 2, 3, 5], [2, 18, 10], reason="no image"),
        moved(CRD, "float[2,12,6,5]", "float[2,6,6,10]", [2, 6, 2, 2, 3, 5], [2, 6, 6, 10], reason="not the channels"),
        moved(DCR, "float[1,12,H,W]", "float[1,3,A,B]", [1, 2, 2, 3, 3, -1], [1, 3, 6, -1], reason="not the channels"),
    ),
    *of(
        "space_to_depth",
        moved(
            UNSHUFFLE, "float[2,3,4,6]", "float[2,12,2,3]", [0, 3, 2, 2, 3, 2], [0, 12, 2, 3], reason="another order"
        ),
        moved(SPACE, "float16[2,3,4,6]", "float16[2,12,2,3]", [0, 3, 2, 2, 3, 2], [0, 12, 2, 3], reason="precision"),
        moved(SPACE, "float[2,3,4,6]", "float[2,12,2,3]", [0, 3, 2, 2, 2, 3], [0, 12, 2, 3], reason="positions"),
        moved(SPACE, "float[2,3,4,6]", "float[2,12,6]", [0, 3, 2, 2, 3, 2], [0, 12, 6], reason="no image"),
        moved(SPACE, "float[2,3,H,6]", "float[2,12,2,3]", [0, 3, 2, 2, 3, 2], [0, 12, 2, 3], reason="not positions"),
        moved(SPACE, "float[2,3,N,N]", "float[2,C,1,1]", [0, 3, 1, 0, 1, -1], [0, -1, 1, 1], reason="not known"),
    ),
    *of(
        "patches_of_slices",
        swin("float[N,4,6,5]", "float[N,8,3,5]", 1, reason="last axis"),
        swin("float[N,4,6,5]", "float[N,2,3,20]", order="cccc"),
        swin("float[N,H,6,5]", "float[N,2,3,20]", reason="known number"),
        swin("float[N,4,6,5]", "float[N,2,3,20]", order="cedf"),
    ),
    *of(
        "convolution_of_slices",
        focus("float[1,3,8,6]", floats("w", 4, 3, 3, 3), "float[1,4,2,1]", conv="group=4", reason="groups"),
        focus("float16[1,3,8,6]", floats("w", 5, 12, 3, 3, dtype="float16"), "float16[1,5,2,1]", reason="precision"),
        focus("float[1,12,8,6]", W, "float[1,5,14,1]", axis=2, reason="not along the channels"),
    ),
]


@pytest.mark.parametrize(("rule", "case"), FIRES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(FIRES)])
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), REFUSES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(REFUSES)])
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


def test_focus_of_a_detector() -> None:
    """The first layer of YOLOv5 and YOLOX, each part cut out by itself."""
    cuts = " ".join(
        f"r{k} = Slice(x, {'oi'[k % 2]}, end, two, two) p{k} = Slice(r{k}, {'oi'[k // 2]}, end, three, two)"
        for k in range(4)
    )
    text = f"g (float[N,3,8,8] x) => (float[N,5,4,4] y) <{SLICES}, {W}> {{ {cuts} s = Concat<axis=1>(p0, p1, p2, p3) y = Conv<pads=[1,1,1,1]>(s, w) }}"
    original = build(Case(text))
    fast = graphopt.optimize(original)
    assert [n.op for n in fast.nodes()] == ["SpaceToDepth", "Conv"]
    feeds = inputs(original, 0, Case(""))
    compare(run_ort(original, feeds), run_ort(fast.proto, feeds), exact=False, tolerance=1e-5)
