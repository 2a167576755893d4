"""Rules of patterns/simplifying/convolution_merging.py."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

import graphopt
from graphopt.patterns import all_rules
from tests.patterns.building import cases, floats, graph, listed, norm
from tests.patterns.rule_cases import Case, apply, build, check_fires, check_refuses, compare, inputs, run_ort

#: Three channels to three, by windows of 3 and of 1.
WIDE, POINT = floats("w", 3, 3, 3, 3), floats("v", 3, 3, 1, 1)
WIDE_B, POINT_B = f"{WIDE}, {floats('b', 3)}", f"{POINT}, {floats('c', 3, seed=1)}"
SUM = "y = Add(p, q)"
SAME = "[N,3,5,5]"
#: Four channels in two groups.
GROUPS = floats("w", 4, 2, 3, 3)


def g(body: str, constants: str | Sequence[str], x: str = SAME, y: str = SAME, **o: object) -> Case:
    return graph(body, constants, x, y, **o)


def both(first: str, second: str, constants: Sequence[str], y: str = SAME, **o: object) -> Case:
    """Two convolutions with these attributes, added."""
    o = {"nodes": 1, "x": SAME, **o}
    return g(f"p = Conv<{first}>(x, w) q = Conv<{second}>(x, v) {SUM}", constants, y=y, **o)


def own(attrs: str, constants: str = WIDE, other: str = "x", x: str = SAME, more: str = "", **o: object) -> Case:
    """A convolution to which something of its input is added."""
    return g(f"{more} p = Conv<{attrs}>(x, w) y = Add({other}, p)", constants, x, x, **o)


def joined(
    ends: str,
    constants: Sequence[str],
    first: str = "",
    second: str = "",
    axis: int = 1,
    y: str = "[N,8,5,5]",
    **o: object,
) -> Case:
    """Two convolutions, put together."""
    o = {"nodes": 1, **o}
    return g(f"p = Conv{first}(x, w, b) q = Conv{second}(x, v) {ends}".replace("@", str(axis)), constants, y=y, **o)


PADDED, BARE = "pads=[1,1,1,1]", "pads=[0,0,0,0]"
SIDE_BY_SIDE = (floats("w", 3, 3, 1, 1), floats("b", 3), floats("v", 5, 3, 1, 1))
TOGETHER = "y = Concat<axis=@>(p, q)"

FIRES = {
    "convolution_plus_convolution": [
        g(f"p = Conv<{PADDED}>(x, w, b) q = Conv(x, v, c) {SUM}", (WIDE_B, POINT_B), nodes=1),
        g(f"p = Conv<{PADDED}>(x, w) q = Conv(x, v, c) {SUM}", (WIDE, POINT_B), nodes=1),
        g(f"q = Conv<{PADDED}>(x, w, b) p = Conv(x, v) {SUM}", (WIDE_B, POINT), nodes=1),
        both(PADDED, BARE, (WIDE, POINT)),
        both(PADDED, PADDED, (WIDE, floats("v", 3, 3, 3, 3, seed=1))),
        both("strides=[2,1], pads=[1,1,1,1]", "strides=[2,1]", (WIDE, POINT), "[N,3,3,5]"),
        both('auto_pad="SAME_UPPER"', BARE, (WIDE, POINT)),
        both('auto_pad="SAME_LOWER"', PADDED, (WIDE, floats("v", 3, 3, 3, 3, seed=1))),
        both('auto_pad="VALID"', 'auto_pad="NOTSET"', (WIDE, floats("v", 3, 3, 3, 3, seed=1)), "[N,3,3,3]"),
        both('auto_pad="SAME_UPPER", strides=[2,2]', 'auto_pad="SAME_UPPER", strides=[2,2]',
             (WIDE, floats("v", 3, 3, 3, 3, seed=1)), "[N,3,3,3]"),
        both("pads=[2,0,0,2]", BARE, (WIDE, POINT)),
        # a window of 2 in steps of 2 sees the corners of one of 3
        both(PADDED, "dilations=[2,2], pads=[1,1,1,1]", (WIDE, floats("v", 3, 3, 2, 2))),
        # the same dilation, and a row within
        both("dilations=[2,2], pads=[2,2,2,2]", "dilations=[1,2], pads=[0,2,0,2]", (WIDE, floats("v", 3, 3, 1, 3))),
        both(f"group=2, {PADDED}", "group=2", (GROUPS, floats("v", 4, 2, 1, 1)), "[N,4,5,5]", x="[N,4,5,5]"),
        g(f"p = Conv<pads=[1,1]>(x, w) q = Conv(x, v) {SUM}", (floats("w", 3, 3, 3), floats("v", 3, 3, 1)), "[N,3,L]",
          "[N,3,L]", nodes=1),
    ],
    "convolution_plus_input": [
        own(PADDED, nodes=1),
        own('auto_pad="SAME_LOWER"', nodes=1),
        own("dilations=[2,2], pads=[2,2,2,2]", nodes=1),
        own("kernel_shape=[1,1]", floats("w", 3, 3, 1, 1), nodes=1),
        own("pads=[2,0,0,2]", nodes=1),
        own("pads=[0,0,1,1]", floats("w", 3, 3, 2, 2), nodes=1),
        own(f"group=2, {PADDED}", GROUPS, x="[N,4,5,5]", nodes=1),
        own(f"group=4, {PADDED}", floats("w", 4, 1, 3, 3), x="[N,4,5,5]", nodes=1),
        g(f"p = Conv<{PADDED}>(x, w, b) y = Add(p, x)", WIDE_B, nodes=1),
    ],
    "convolution_plus_scaled_input": [
        own(PADDED, f"{WIDE}, {listed('k', (1, 3, 1, 1), [0.5, -2.0, 3.0])}", "z", more="z = Mul(x, k)", nodes=1),
        own(PADDED, f"{WIDE}, float k = {{0.5}}", "z", more="z = Mul(k, x)", nodes=1),
        own(f"group=2, {PADDED}", f"{GROUPS}, {floats('k', 4, 1, 1)}", "z", "[N,4,5,5]", "z = Mul(x, k)", nodes=1),
    ],
    "convolution_plus_batch_norm": [
        own(PADDED, f"{WIDE}, {norm(3)}", "z", more="z = BatchNormalization(x, s, o, m, v)", nodes=1),
        g(f"z = BatchNormalization<epsilon=0.1>(x, s, o, m, v) p = Conv<{PADDED}>(x, w, b) y = Add(z, p)",
          (WIDE_B, norm(3)), nodes=1),
        own(f"group=2, {PADDED}", f"{GROUPS}, {norm(4)}", "z", "[N,4,5,5]", "z = BatchNormalization(x, s, o, m, v)", nodes=1),
    ],
    "concat_of_convolutions": [
        joined(TOGETHER, SIDE_BY_SIDE),
        joined("y = Concat<axis=-3>(p, q)", SIDE_BY_SIDE),
        joined(TOGETHER, (WIDE_B, floats("v", 5, 3, 3, 3)), f"<{PADDED}>", '<auto_pad="SAME_UPPER">'),
        joined("y = Concat<axis=1>(p, q, x)", SIDE_BY_SIDE, y="[N,11,5,5]", nodes=2),
        joined("r = Conv(x, u) y = Concat<axis=1>(p, q, r)", (*SIDE_BY_SIDE, floats("u", 2, 3, 1, 1)), y="[N,10,5,5]"),
    ],
    "concat_of_rectified_convolutions": [
        joined("r = Relu(p) s = Relu(q) y = Concat<axis=1>(r, s)", SIDE_BY_SIDE, nodes=2),
    ],
    "concat_of_gated_convolutions": [
        joined("r = Sigmoid(p) s = Sigmoid(q) t = Mul(p, r) u = Mul(s, q) y = Concat<axis=1>(t, u)", SIDE_BY_SIDE, nodes=3),
    ],
}  # fmt: skip

HALF = listed("w", (2, 2, 1, 1), [1e-3, 0.0, 0.0, 1e-3], "float16")
BIG = floats("w", 40, 40, 3, 3)
REFUSES = {
    "convolution_plus_convolution": [
        both("pads=[0,1,0,1]", "pads=[1,0,1,0]", (floats("w", 3, 3, 1, 3), floats("v", 3, 3, 3, 1)), reason="fit into"),
        # both give 5 x 5, and see other elements
        both("pads=[0,0,2,2]", "pads=[2,2,0,0]", (floats("w", 3, 3, 3, 3), floats("v", 3, 3, 3, 3)), reason="fit into"),
        both("dilations=[2,2], pads=[2,2,2,2]", PADDED, (WIDE, floats("v", 3, 3, 3, 3, seed=1)), reason="fit into"),
        both("strides=[2,2]", "strides=[3,3]", (WIDE, floats("v", 3, 3, 3, 3)), "[N,3,2,2]", x="[N,3,6,6]", reason="fit into"),
        both('auto_pad="SAME_UPPER", strides=[2,2]', "strides=[2,2]", (WIDE, POINT), "[N,3,3,3]", reason="fit into"),
        both('auto_pad="SAME_UPPER", strides=[2,2]', 'auto_pad="SAME_LOWER", strides=[2,2]',
             (WIDE, floats("v", 3, 3, 3, 3)), "[N,3,3,3]", reason="fit into"),
        both(PADDED, BARE, (WIDE, floats("v", 1, 3, 1, 1)), reason="other channels"),
        both(f"group=2, {PADDED}", "group=4", (GROUPS, floats("v", 4, 1, 1, 1)), "[N,4,5,5]", x="[N,4,5,5]",
             reason="other channels or groups"),
        g(f"p = Conv<{PADDED}>(x, w) q = Conv(z, v) {SUM}", (WIDE, POINT), more="float[N,3,5,5] z"),
        g(f"p = Conv<{PADDED}>(x, w) q = Conv(x, v) {SUM}", (WIDE, POINT), also="float[N,3,5,5] p, float[N,3,5,5] q",
          reason="used elsewhere"),
        g(f"p = Conv<{PADDED}>(x, w) q = Conv<{PADDED}>(x, w) {SUM}", BIG, "[N,40,5,5]", "[N,40,5,5]", reason="a copy would"),
    ],
    "convolution_plus_input": [
        own("dilations=[2,2], pads=[1,1,3,3]", reason="no weight meets"),
        own("strides=[1,1]", floats("w", 3, 3, 1, 1), "z", more="z = Neg(x)"),
        g("p = Conv<strides=[5,5]>(x, w) y = Add(p, x)", floats("w", 3, 3, 1, 1), reason="no weight meets"),
        g("p = Conv(x, w) y = Add(p, x)", floats("w", 6, 1, 1, 1), "[N,1,5,5]", "[N,6,5,5]", reason="as many channels"),
        g("p = Conv(x, w) y = Add(p, x)", floats("w", 3, 3, 3, 3), "[1,3,3,3]", "[1,3,3,3]", reason="no weight meets"),
        g("p = Conv(x, w) y = Add(p, x)", "float[0,0,1,1] w = {}", "[1,0,3,3]", "[1,0,3,3]", reason="no weights"),
    ],
    "convolution_plus_scaled_input": [
        own(PADDED, f"{WIDE}, {floats('k', 5)}", "z", more="z = Mul(x, k)", reason="per channel"),
        own("strides=[5,5]", f"{floats('w', 3, 3, 1, 1)}, float k = {{2}}", "z", more="z = Mul(x, k)", reason="no weight"),
        own(PADDED, f"{WIDE}, float k = {{inf}}", "z", more="z = Mul(x, k)", reason="too large"),
        g("z = Mul(x, k) p = Conv(x, w) y = Add(p, z)", f"{HALF}, {listed('k', (), [-9.7e-4], 'float16')}", "[1,2,3,3]",
          "[1,2,3,3]", dtype="float16", reason="too small"),
    ],
    "convolution_plus_batch_norm": [
        own(PADDED, f"{WIDE}, {norm(3, (-1.0, 1.0, 1.0))}", "z", more="z = BatchNormalization(x, s, o, m, v)",
            reason="finite factor"),
        own("strides=[5,5]", f"{floats('w', 3, 3, 1, 1)}, {norm(3)}", "z", more="z = BatchNormalization(x, s, o, m, v)",
            reason="no weight meets"),
    ],
    "concat_of_convolutions": [
        joined(TOGETHER, (floats("w", 3, 3, 1, 1), floats("b", 3), floats("v", 3, 3, 1, 1, seed=1)), axis=0, y="[M,3,5,5]",
               reason="not channels"),
        joined(TOGETHER, (WIDE_B, floats("v", 5, 3, 1, 1)), f"<{PADDED}>", reason="other windows"),
        joined(TOGETHER, (WIDE_B, floats("v", 5, 3, 3, 3)), f"<{PADDED}>", "<dilations=[2,2], pads=[2,2,2,2]>",
               reason="other windows"),
        joined(TOGETHER, (floats("w", 3, 1, 1, 1), floats("b", 3), floats("v", 6, 1, 1, 1)), "<group=3>", "<group=3>",
               y="[N,9,5,5]", reason="groups"),
        g("p = Conv(x, w) q = Conv(z, v) y = Concat<axis=1>(p, q)", (POINT.replace("v", "w"), POINT), y="[N,6,5,5]",
          more="float[N,3,5,5] z"),
    ],
    "concat_of_rectified_convolutions": [
        joined("r = Relu(p) y = Concat<axis=1>(r, q)", SIDE_BY_SIDE),
        joined("r = Relu(p) s = Relu(q) y = Concat<axis=1>(r, s)", SIDE_BY_SIDE, also="float[N,3,5,5] r, float[N,5,5,5] s",
               reason="used elsewhere"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), cases(FIRES))
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), cases(REFUSES))
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


@pytest.mark.parametrize("group", [1, 2])
def test_a_block_of_three_branches_is_one_convolution(group: int) -> None:
    """RepVGG (https://arxiv.org/abs/2101.03697) as it is trained: 3 x 3, 1 x 1 and the input itself, all normalised, twice."""
    n = 4
    weights = [(f"w{i}", (n, n // group, 3, 3)) for i in "ab"] + [(f"v{i}", (n, n // group, 1, 1)) for i in "ab"]
    norms = ", ".join(norm(n).replace("float[4] ", f"float[4] {i}{j}") for i in "ab" for j in range(3))
    blocks = " ".join(
        f"{i}p = Conv<group={group}, pads=[1,1,1,1]>({x}, w{i}) {i}q = Conv<group={group}>({x}, v{i}) "
        + " ".join(
            f"{i}n{j} = BatchNormalization({y}, {', '.join(f'{i}{j}{c}' for c in 'somv')})"
            for j, y in enumerate((f"{i}p", f"{i}q", x))
        )
        + f" {i}s = Add({i}n0, {i}n1) {i}t = Add({i}s, {i}n2) {z} = Relu({i}t)"
        for i, x, z in (("a", "x", "m"), ("b", "m", "y"))
    )
    case = g(blocks, (*(floats(k, *d) for k, d in weights), norms), "[N,4,6,6]", "[N,4,6,6]")
    model = build(case)
    fast = graphopt.optimize(model)
    assert [node.op for node in fast.nodes()] == ["Conv", "Relu"] * 2
    for seed in range(2):
        feeds = inputs(model, seed, case)
        compare(run_ort(model, feeds), run_ort(fast.proto, feeds), False, 1e-5)


def test_all_that_stands_beside_each_other_is_merged() -> None:
    """Three of four parts of a Concat are one convolution; the fourth, of other windows, stays."""
    constants = ", ".join(floats(n, 2, 3, 1, 1, seed=i) for i, n in enumerate("uvw")) + ", " + floats("t", 2, 3, 3, 3)
    body = f"p = Conv(x, u) q = Conv(x, v) r = Conv(x, w) s = Conv<{PADDED}>(x, t) y = Concat<axis=1>(p, q, r, s)"
    result, _ = apply(build(g(body, constants, y="[N,8,5,5]")), all_rules()["concat_of_convolutions"])
    assert sorted(n.op for n in result.nodes()) == ["Concat", "Conv", "Conv"]
    shapes = [v.const.dims for v in result.graph.initializers if v.const is not None]
    assert sorted(shapes) == [(2, 3, 3, 3), (6, 3, 1, 1)]
    assert all(np.isfinite(v.const.numpy()).all() for v in result.graph.initializers if v.const is not None)
