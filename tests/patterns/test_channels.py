"""Rules of patterns/simplifying/channels.py: what is cut off behind products is not computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

import graphopt
from graphopt.patterns import all_rules
from tests.patterns.building import cases, check_fires_on_ort, floats, graph, listed, norm
from tests.patterns.rule_cases import Case, apply, build, check_fires, check_refuses, compare, inputs, run_ort

W = f"{floats('w', 6, 2, 3, 3)}, {floats('b', 6)}"
POINT = floats("w", 6, 2, 1, 1)
GROUPS = f"{floats('w', 6, 2, 3, 3)}, {floats('b', 6)}"
DEPTHWISE = f"{floats('d', 6, 1, 3, 3)}, {floats('e', 6)}"
MATRIX = f"{floats('w', 4, 6)}, {floats('b', 6)}"


def bounds(start: int, end: int, axis: int = 1, step: int = 1) -> str:
    return ", ".join(
        f"int64[1] {n} = {{{v}}}" for n, v in zip(("f", "t", "i", "j"), (start, end, axis, step), strict=True)
    )


def part(body: str, constants: Sequence[str] | str, y: str, where: str = "", x: str = "[N,2,5,5]", **o: object) -> Case:
    """A Slice of p."""
    given = (constants,) if isinstance(constants, str) else constants
    return graph(f"{body} y = Slice(p, f, t, i, j)", (*given, where or bounds(1, 4)), x, y, **{"nodes": 1, **o})


def picked(
    body: str,
    constants: Sequence[str] | str,
    y: str,
    places: str = "{4,-6,2}",
    axis: int = 1,
    x: str = "[N,2,5,5]",
    **o: object,
) -> Case:
    """A Gather from p."""
    given = (constants,) if isinstance(constants, str) else constants
    kind = f"int64[{places.count(',') + 1}]" if "{" in places else "int64"
    index = places if "{" in places else f"{{{places}}}"
    return graph(f"{body} y = Gather<axis={axis}>(p, k)", (*given, f"{kind} k = {index}"), x, y, **{"nodes": 1, **o})


def split(body: str, read: tuple[int, int], constants: str, nodes: int = 3) -> Case:
    """A Split of p into 1, 2 and 3 channels, of which these are read."""
    (one, other), names = read, dict(zip((1, 2, 3), "stu", strict=True))
    return graph(
        f"{body} s, t, u = Split<axis=1>(p, n) y = Relu({names[one]}) k = Neg({names[other]})",
        (constants, "int64[3] n = {1,2,3}"),
        "[N,2,5,5]",
        f"[N,{one},3,3]",
        also=f"float[N,{other},3,3] k",
        nodes=nodes + 1,
    )


def gaps(name: str, outputs: int, inputs: int, tail: Sequence[int] = (), first: bool = False) -> str:
    """Weights of which every second input meets zeros; `first`: inputs are the first axis."""
    weights = np.random.default_rng(1).standard_normal((outputs, inputs, *tail)).round(3)
    weights[:, ::2] = 0
    weights = np.swapaxes(weights, 0, 1) if first else weights
    return listed(name, weights.shape, weights.reshape(-1).tolist())


def unused(body: str, constants: str, nodes: int) -> Case:
    """A second convolution that does without three of six channels."""
    return graph(
        f"{body} y = Identity(p)", (constants, gaps("v", 2, 6, (2, 2))), "[N,2,5,5]", "[N,2,2,2]", nodes=nodes + 1
    )


ROWS, COLUMNS = gaps("v", 2, 6, first=True), gaps("v", 2, 6)
ZEROS = listed("z", (2, 2, 3, 3), [0.0] * 36)
CONV = "p = Conv(x, w, b)"
IMAGE = "[N,3,3,3]"
FIRES = {
    "slice_of_product": [
        part(CONV, W, IMAGE),
        part("p = Conv(x, w)", POINT, "[N,2,5,5]", bounds(-6, -4, -3)),
        part(CONV, W, "[N,2,3,3]", bounds(1, 9, 1, 3)),
        part(CONV, W, IMAGE, bounds(-3, 0, 1, -1)),
        part(CONV, W, "[N,2,3,3]", bounds(1, -9, 1, -1)),
        part("c = Conv(x, w, b) s = Sigmoid(c) p = Mul(c, s)", W, IMAGE, nodes=3),
        part("c = Conv(x, w, b) p = Relu(c)", W, IMAGE, nodes=2),
        part("c = Conv(x, w, b) p = PRelu(c, a)", (W, floats("a", 6, 1, 1)), IMAGE, nodes=2),
        part("c = Conv(x, w, b) d = Mul(c, a) p = Add(g, d)", (W, floats("a", 6, 1, 1), floats("g", 1)), IMAGE, nodes=3),
        part("c = Conv(x, w, b) p = BatchNormalization(c, s, o, m, v)", (W, norm(6)), IMAGE, nodes=2),
        part("c = Conv(x, w, b) p = MaxPool<kernel_shape=[3,3]>(c)", W, "[N,3,1,1]", nodes=2),
        part("c = Conv(x, w, b) p = GlobalAveragePool(c)", W, "[N,3,1,1]", nodes=2),
        part("c = Conv(x, w, b) p = Clip(c, l, h)", (W, "float l = {0}, float h = {0.5}"), IMAGE, nodes=2),
        part("c = Conv(x, v) d = Conv<pads=[1,1,1,1]>(x, w, b) p = Add(c, d)", (W, floats("v", 6, 2, 1, 1)), "[N,3,5,5]",
             nodes=3),
        # one side of the sum is there anyway: a part of it is taken
        part("c = Conv(x, w, b) p = Add(c, z)", W, IMAGE, more="float[N,6,3,3] z", nodes=3),
        part("c = Conv(x, w, b) p = Add(c, z)", W, IMAGE, more="float[N,1,3,3] z", nodes=2),
        # the second of three in each of two groups; a group of two; single channels; channels of channels
        part("p = Conv<group=2>(x, w, b)", GROUPS, "[N,2,3,3]", bounds(1, 6, 1, 3), "[N,4,5,5]"),
        part("p = Conv<group=2>(x, w, b)", GROUPS, IMAGE, bounds(3, 6), "[N,4,5,5]", nodes=2),
        part("p = Conv<group=6>(x, d, e)", DEPTHWISE, "[N,2,3,3]", bounds(1, 6, 1, 3), "[N,6,5,5]", nodes=2),
        part("c = Conv(x, w) h = Relu(c) p = Conv<group=6>(h, d, e)", (POINT, DEPTHWISE), IMAGE, nodes=3),
        part("p = ConvTranspose(x, w, b)", (floats("w", 2, 6, 2, 2), floats("b", 6)), "[N,3,6,6]"),
        part("c = Conv(x, w, b) p = Transpose<perm=[0,2,3,1]>(c)", W, "[N,3,3,3]", bounds(1, 4, -1), nodes=2),
        part("p = MatMul(x, w)", MATRIX, "[N,5,3]", bounds(1, 4, 2), "[N,5,4]"),
        part("c = MatMul(x, w) p = Add(c, b)", MATRIX, "[N,5,3]", bounds(1, 4, -1), "[N,5,4]", nodes=2),
        part("c = MatMul(x, w) d = Add(c, b) p = Gelu(d)", MATRIX, "[N,3]", bounds(1, 4), "[N,4]", nodes=3, opset=20),
        *[
            part(f"p = Gemm<alpha=0.5, beta=2.0, transB={t}>(x, w, b)", (floats("w", *((6, 4) if t else (4, 6))), b), "[5,3]",
                 bounds(1, 4), "[5,4]")
            for t, b in ((0, floats("b", 6)), (1, floats("b", 6)), (0, floats("b", 5, 6)), (1, floats("b", 1, 6)),
                         (0, floats("b", 5, 1)), (0, "float b = {2}"), (0, floats("b", 1)))
        ],
        part("p = Gemm<transA=1>(x, w)", MATRIX, "[5,3]", bounds(1, 4), "[4,5]"),
        # rows: a part of x is multiplied
        part("p = MatMul(x, w)", MATRIX, "[N,3,6]", bounds(1, 4, 1), "[N,5,4]", nodes=2),
        part("p = Gemm(x, w, b)", (floats("w", 4, 6), floats("b", 5, 6)), "[3,6]", bounds(1, 4, 0), "[5,4]", nodes=2),
        part("p = Gemm<transA=1>(x, w, b)", MATRIX, "[3,6]", bounds(1, 4, 0), "[4,5]", nodes=2),
        part("c = MatMul(x, w) p = LayerNormalization(c, s, b)", (MATRIX, floats("s", 6)), "[N,3,6]", bounds(1, 4, 1), "[N,5,4]",
             nodes=3),
        part("c = MatMul(x, w) d = Add(c, a) p = Relu(d)", (MATRIX, floats("a", 5, 1)), "[N,3,6]", bounds(1, 4, 1), "[N,5,4]",
             nodes=4),
    ],
    "gather_of_product": [
        picked(CONV, W, IMAGE),
        picked("c = Conv(x, w, b) p = Relu(c)", W, "[N,1,3,3]", "{-1}", nodes=2),
        picked(CONV, W, IMAGE, "{1,-5,2}"),
        picked("p = Conv<group=6>(x, d, e)", DEPTHWISE, "[N,3,3,3]", "{3,1,3}", x="[N,6,5,5]", nodes=2),
        picked("p = Conv<group=2>(x, w, b)", GROUPS, "[N,2,3,3]", "{1,5}", x="[N,4,5,5]"),
        picked("p = Conv<group=2>(x, w, b)", GROUPS, "[N,3,3,3]", "{3,4,5}", x="[N,4,5,5]", nodes=2),
        picked("p = Conv<group=6>(x, d, e)", DEPTHWISE, "[N,3,3,3]", "{3,1,5}", x="[N,6,5,5]", nodes=2),
        picked("c = Conv(x, w) p = Conv<group=6>(c, d, e)", (POINT, DEPTHWISE), IMAGE, "{3,1,5}", nodes=2),
        # an element whose axis goes
        picked(CONV, W, "[N,3,3]", "2", nodes=2),
        picked("p = MatMul(x, w)", MATRIX, "[N,5]", "-1", 2, "[N,5,4]", nodes=2),
        picked("p = MatMul(x, w)", MATRIX, "[N,6]", "0", 1, "[N,M,4]", nodes=2),
        picked("c = MatMul(x, w) p = Add(c, b)", MATRIX, "[N,6]", "-1", 1, "[N,M,4]", nodes=3),
        picked("p = MatMul(x, w)", MATRIX, "[M,6]", "0", 0, "[N,M,4]", nodes=2),
        picked("c = MatMul(x, w) p = Add(c, b)", MATRIX, "[N,6]", "0", 1, "[N,M,4]", nodes=3),
        picked("c = MatMul(x, w) p = Add(c, a)", (MATRIX, floats("a", 1, 5, 6)), "[N,6]", "3", 1, "[N,5,4]", nodes=3),
        picked("c = MatMul(x, w) p = Add(c, a)", (MATRIX, floats("a", 1, 1, 6)), "[N,6]", "3", 1, "[N,5,4]", nodes=3),
        picked("c = MatMul(x, w) d = LayerNormalization<axis=2>(c, s, b) e = MatMul(d, v) h = Add(e, d) p = Erf(h)",
               (MATRIX, floats("s", 6), floats("v", 6, 6)), "[N,6]", "0", 1, "[N,M,4]", nodes=6),
        picked("c = MatMul(x, w) p = Transpose<perm=[2,0,1]>(c)", MATRIX, "[6,N]", "0", 2, "[N,M,4]", nodes=3),
    ],
    "only_part_of_2": [
        graph("p, q = Split<axis=1>(x, n) y = Relu(q)", "int64[2] n = {2,3}", "[N,5]", "[N,3]", nodes=2),
        graph("p, q = Split(x) y = Relu(p)", "", "[4,N]", "[2,N]", opset=11, nodes=2),
    ],
    "only_part_of_3": [graph("p, q, r = Split<axis=-1>(x, n) y = Relu(q)", "int64[3] n = {2,1,2}", "[N,5]", "[N,1]", nodes=2)],
    "only_part_of_4": [
        graph("p, q, r, s = Split<axis=1, num_outputs=4>(x) y = Relu(s)", "", "[N,7]", "[N,1]", opset=18, nodes=2)
    ],
    "split_without_first": [split("p = Conv(x, w, b)", (2, 3), W)],
    "split_without_second": [split("c = Conv(x, w, b) p = Relu(c)", (1, 3), W, 4)],
    "split_without_third": [split("p = Conv(x, w, b)", (1, 2), W)],
    "convolution_of_unused_channels": [
        unused("c = Conv(x, w, b) p = Conv(c, v)", W, 2),
        unused("c = Conv(x, w, b) d = Relu(c) p = Conv(d, v)", W, 3),
    ],
    "product_of_unused_columns": [
        graph("c = MatMul(x, w) d = Add(c, b) e = Tanh(d) y = MatMul(e, v)", (MATRIX, ROWS), "[N,5,4]", "[N,5,2]", nodes=4),
    ],
    "gemm_of_unused_columns": [
        graph("c = Gemm(x, w, b) d = Relu(c) y = Gemm<alpha=2.0>(d, v, e)", (MATRIX, ROWS, floats("e", 2)), "[N,4]", "[N,2]",
              nodes=3),
        graph("c = Gemm(x, w, b) d = Relu(c) y = Gemm<transB=1>(d, v)", (MATRIX, COLUMNS), "[N,4]", "[N,2]", nodes=3),
    ],
    "convolution_of_added_channels": [
        graph("p = Pad(x, n) y = Conv(p, w)", (floats("w", 3, 5, 2, 2), "int64[8] n = {0,1,0,0,0,2,0,0}"), "[N,2,5,5]",
              "[N,3,4,4]", nodes=1),
        graph("p = Pad(x, n) y = Conv(p, w, b)", (floats("w", 3, 4, 2, 2), floats("b", 3), "int64[8] n = {0,0,1,0,0,2,0,2}"),
              "[N,2,5,5]", "[N,3,5,6]", nodes=2),
        graph('p = Pad<mode="constant">(x, n, z, a) y = Conv(p, w)',
              (floats("w", 3, 4, 2, 2), "int64[2] n = {2,0}, float z = {0}, int64[1] a = {-3}"), "[N,2,5,5]", "[N,3,4,4]",
              opset=18, nodes=1),
    ],
    "convolution_of_concat_with_zeros": [
        graph("p = Concat<axis=1>(x, z) y = Conv(p, w)", (floats("w", 3, 4, 2, 2), ZEROS), "[2,2,3,3]", "[2,3,2,2]", nodes=1),
        graph("p = Concat<axis=-3>(z, x) y = Conv(p, w)", (floats("w", 3, 4, 2, 2), ZEROS), "[2,2,3,3]", "[2,3,2,2]", nodes=1),
    ],
}  # fmt: skip

LARGE = floats("w", 80, 64, 1, 1)
REFUSES = {
    "slice_of_product": [
        part("p = Conv(x, w, b) q = Relu(p)", W, IMAGE, also="float[N,6,3,3] q", reason="no product"),
        part("c = Conv(x, w, b) p = Relu(c)", W, IMAGE, also="float[N,6,3,3] c", reason="no product"),
        part("p = Conv(x, z)", "", IMAGE, more="float[6,2,3,3] z", reason="no product"),
        part("p = Conv(x, w, z)", POINT, "[N,3,5,5]", more="float[6] z", reason="no product"),
        part("p = Conv(x, w) q = Conv(x, w) r = Relu(q)", LARGE, "[N,3,5,5]", x="[N,64,5,5]", also="float[N,80,5,5] r",
             reason="no product"),
        part("p = Conv<group=2>(x, w, b)", GROUPS, "[N,2,3,3]", bounds(1, 3), "[N,4,5,5]", reason="no product"),
        part("c = Conv(x, w, b) p = Softmax<axis=1>(c)", W, IMAGE, reason="no product"),
        part("c = MatMul(x, w) p = LayerNormalization(c, s, b)", (MATRIX, floats("s", 6)), "[N,5,3]", bounds(1, 4, 2), "[N,5,4]",
             reason="no product"),
        part("c = Add(x, z) p = Relu(c)", "", "[N,1,5,5]", more="float[N,2,5,5] z", reason="no product"),
        # two parts would be taken for the one
        part("c = Conv(x, w, b) d = Add(z, u) p = Add(c, d)", W, IMAGE, nodes=None, more="float[N,6,3,3] z, float[N,6,3,3] u",
             also="float[N,6,3,3] c", reason="no product"),
        # all or nothing
        part(CONV, W, "[N,6,3,3]", bounds(0, 6), reason="no product"),
        part(CONV, W, "[N,0,3,3]", bounds(4, 4), reason="no product"),
        part("p = MatMul(x, w)", MATRIX, "[N,L,6]", bounds(1, 4, 1), "[N,M,4]", reason="how many"),
        graph("p = Conv(x, w, b) y = Slice(p, f, t)", (W, "int64[4] f = {0,1,0,0}, int64[4] t = {9,4,2,9}"), "[N,2,5,5]",
              "[N,3,2,3]", reason="one axis"),
    ],
    "gather_of_product": [
        picked(CONV, W, "[N,6,3,3]", "{5,4,3,2,1,1}", reason="no product"),
        graph("p = Conv(x, w, b) y = Gather<axis=1>(p, k)", (W, "int64[0] k = {}"), "[N,2,5,5]", "[N,0,3,3]", reason="no product"),
        picked("p = MatMul(x, w)", MATRIX, "[6]", "0", 0, "[N,4]", reason="no product"),
        picked("p = Gemm(x, w, b)", MATRIX, "[6]", "0", 0, "[N,4]", reason="no product"),
        picked("p = MatMul(x, z)", "", "[N,6]", "0", 1, "[N,5,4]", more="float[N,4,6] z", reason="no product"),
        graph("p = Conv(x, w, b) y = Gather<axis=1>(p, k)", (W, "int64[1,2] k = {1,2}"), "[N,2,5,5]", "[N,1,2,3,3]",
              reason="not a list"),
    ],
    "only_part_of_2": [
        graph("p, q = Split<axis=1>(x, n) y = Relu(q)", "int64[2] n = {2,3}", "[N,5]", "[N,3]", also="float[N,2] p", reason="read"),
        graph("p, q = Split(x) y = Relu(q)", "", "[N,5]", "[M,5]", opset=11, reason="not known"),
    ],
    "split_without_first": [
        graph("p = Conv(x, w, b) s, y, u = Split<axis=1>(p, n)", (W, "int64[3] n = {1,2,3}"), "[N,2,5,5]", "[N,2,3,3]",
              also="float[N,1,3,3] s, float[N,3,3,3] u", reason="all parts are read"),
        graph("s, y, u = Split<axis=1>(x, n)", "int64[3] n = {1,2,3}", "[N,6]", "[N,2]", also="float[N,3] u", reason="no product"),
        graph("p = Conv(x, w, b) s, y, u = Split<axis=1>(p, n)", (W, "int64[3] n = {0,3,3}"), "[N,2,5,5]", "[N,3,3,3]",
              also="float[N,3,3,3] u", reason="no product"),
    ],
    "convolution_of_unused_channels": [
        graph("c = Relu(x) y = Conv(c, v)", gaps("v", 2, 6, (2, 2)), "[N,6,5,5]", "[N,2,4,4]", reason="no weights of zero"),
        graph("c = Conv(x, w, b) y = Conv(c, v)", (W, floats("v", 2, 6, 1, 1)), "[N,2,5,5]", "[N,2,3,3]", reason="of zero"),
        graph("c = Conv(x, w, b) y = Conv(c, v)", (W, listed("v", (1, 6, 1, 1), [0.0] * 6)), "[N,2,5,5]", "[N,1,3,3]",
              reason="of zero"),
        graph("c = Conv(x, w, b) y = Conv<group=2>(c, v)", (W, listed("v", (2, 3, 1, 1), [0.0, 0, 1, 1, 0, 1])), "[N,2,5,5]",
              "[N,2,3,3]", reason="groups"),
        graph("c = Conv(x, w, b) y = Conv(c, v)", (W, listed("v", (2, 6, 1, 1), [0.0] * 6 + [1.0] * 6)), "[N,2,5,5]",
              "[N,2,3,3]", reason="of zero"),
    ],
    "product_of_unused_columns": [
        graph("c = MatMul(x, w) y = MatMul(c, v)", (MATRIX, ROWS), "[N,4]", "[N,2]", also="float[N,6] c", reason="of zero"),
    ],
    "convolution_of_added_channels": [
        graph("p = Pad(x, n, z) y = Conv(p, w)", (floats("w", 3, 4, 2, 2), "int64[8] n = {0,2,0,0,0,0,0,0}, float z = {1}"),
              "[N,2,5,5]", "[N,3,4,4]", reason="not zeros"),
        graph("p = Pad(x, n) y = Conv(p, w)", (floats("w", 3, 2, 2, 2), "int64[8] n = {0,0,1,0,0,0,0,0}"), "[N,2,5,5]",
              "[N,3,5,4]", reason="no channels"),
        graph("p = Pad(x, n) y = Conv(p, w)", (floats("w", 3, 2, 2, 2), "int64[8] n = {0,-1,0,0,0,1,0,0}"), "[N,2,5,5]",
              "[N,3,4,4]", reason="cut off"),
        graph("p = Pad(x, n) y = Conv<group=2>(p, w)", (floats("w", 4, 2, 2, 2), "int64[8] n = {0,1,0,0,0,1,0,0}"), "[N,2,5,5]",
              "[N,4,4,4]", reason="groups"),
    ],
    "convolution_of_concat_with_zeros": [
        graph("p = Concat<axis=2>(x, z) y = Conv(p, w)", (floats("w", 3, 2, 2, 2), ZEROS), "[2,2,3,3]", "[2,3,5,2]",
              reason="not channels"),
        graph("p = Concat<axis=1>(x, z) y = Conv(p, w)", (floats("w", 3, 4, 2, 2), ZEROS.replace("0.0}", "1.0}")), "[2,2,3,3]",
              "[2,3,2,2]"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), cases(FIRES))
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), cases(REFUSES))
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


DECONV = f"{floats('w', 4, 3, 2, 2)}, {floats('b', 6)}"


def test_fires_where_the_reference_is_wrong() -> None:
    """onnx 1.23's reference cannot do transposed convolutions in groups: ONNX Runtime alone."""
    body = "p = ConvTranspose<group=2>(x, w, b)"
    check_fires_on_ort("slice_of_product", part(body, DECONV, "[N,3,6,6]", bounds(3, 6), "[N,4,5,5]", nodes=2))
    case = part(body, DECONV, "[N,2,6,6]", bounds(1, 6, 1, 3), "[N,4,5,5]", reason="no product")
    check_refuses("slice_of_product", case)


def test_weights_are_cut() -> None:
    """Of 6 channels 3 are computed, of the depthwise convolution as well as of the one in front."""
    case = part("c = Conv(x, w) h = Relu(c) p = Conv<group=6>(h, d, e)", (POINT, DEPTHWISE), IMAGE)
    result, _ = apply(build(case), all_rules()["slice_of_product"])
    dims = sorted(v.const.dims for v in result.graph.initializers if v.const is not None)
    assert dims == [(3,), (3, 1, 3, 3), (3, 2, 1, 1)]
    assert [n.attributes["group"] for n in result.nodes() if n.attributes.get("group")] == [3]


def test_only_the_first_token_goes_through_the_last_layer() -> None:
    """What a classifier reads of a sequence is one place: the last feed-forward layer is computed for that alone."""
    layer = (
        "a = LayerNormalization(x, s, b) c = MatMul(a, w) d = Add(c, e) f = Gelu(d) h = MatMul(f, v) k = Add(h, a) "
        "m = LayerNormalization(k, s, b) n = Gather<axis=1>(m, z) y = Gemm(n, u)"
    )
    sizes = {"s": (8,), "b": (8,), "w": (8, 32), "e": (32,), "v": (32, 8), "u": (8, 2)}
    constants = [*(floats(n, *d) for n, d in sizes.items()), "int64 z = {0}"]
    case = graph(layer, constants, "[N,M,8]", "[N,2]", opset=20)
    model = build(case)
    fast = graphopt.optimize(model)
    assert all(n.output.rank == 2 for n in fast.nodes() if n.op in ("MatMul", "Gemm"))
    assert fast.node_count() == 7
    feeds = inputs(model, 0, case)
    compare(run_ort(model, feeds), run_ort(fast.proto, feeds), False, 1e-5)
