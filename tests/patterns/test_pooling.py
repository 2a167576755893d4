"""Rules of patterns/simplifying/pooling.py."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.patterns.building import cases, check_fires_on_ort, check_unknown_rank, floats, graph, listed
from tests.patterns.rule_cases import Case, check_fires, check_refuses

K = listed("k", (2, 1, 1), [0.5, -2.0])
PAD = "int64[8] p = {0,0,1,0,0,0,1,1}"
EVEN = "int64[8] p = {0,0,1,1,0,0,1,1}"
LAST = "int64[2] p = {1,0}, int64[1] d = {-1}"


def g(body: str, constants: str | Sequence[str] = "", x: str = "[N,2,5,6]", y: str = "[N,2,5,6]", **o: object) -> Case:
    return graph(body, constants, x, y, **o)


def positive(
    relu: str,
    constants: str = "",
    pad: str = "Pad(r, p)",
    kernel: str = "[2,2]",
    p: str = "0,0,1,1,0,0,1,1",
    x: str = "[3,2,5,6]",
    y: str = "[3,2,6,7]",
    **o: object,
) -> Case:
    """A maximum of what is padded and, perhaps, positive."""
    given = () if "pads" in pad else (f"int64[8] p = {{{p}}}",)
    body = f"{relu} a = {pad} y = MaxPool<kernel_shape={kernel}>(a)"
    return g(body, (*given, constants), x, y, **{"nodes": 2, **o})


BEHIND = "int64[8] p = {0,0,0,0,0,0,1,1}"
TWO_BEHIND = "int64[8] p = {0,0,0,0,0,0,2,2}"
ONE_BEHIND = "int64[2] p = {0,1}, int64[1] d = {-1}"
EVEN_X = "[N,2,4,6]"

ONE = "<kernel_shape=[1,1]>"
STEPS = "<kernel_shape=[2,2], strides=[2,2]>"
TWO = "<kernel_shape=[2,2]>"
#: Pools that are linear, with the shape that they make of [N,2,5,6].
AVERAGES = [
    ("AveragePool<kernel_shape=[2,3], strides=[2,1]>", "[N,2,2,4]"),
    ("AveragePool<kernel_shape=[2,3], pads=[1,0,0,1]>", "[N,2,5,5]"),
    ('AveragePool<kernel_shape=[2,3], auto_pad="SAME_UPPER">', "[N,2,5,6]"),
    ("GlobalAveragePool", "[N,2,1,1]"),
]
MOVED = {"average_of_product": "a = Mul(k, x)", "average_of_sum": "a = Add(x, k)"}

FIRES = {
    "average_pool_of_one": [
        g(f"a = AveragePool{ONE}(x) y = Relu(a)", nodes=1),
        g(
            "a = AveragePool<kernel_shape=[1], strides=[1], pads=[0,0]>(x) y = Relu(a)",
            "",
            "[N,2,L]",
            "[N,2,L]",
            nodes=1,
        ),
        g('a = AveragePool<kernel_shape=[1,1], auto_pad="SAME_UPPER", count_include_pad=1>(x) y = Relu(a)', nodes=1),
        g("a = AveragePool<kernel_shape=[1,1], ceil_mode=1>(x) y = Relu(a)", opset=10, nodes=1),
    ],
    "max_pool_of_one": [
        g(f"a = MaxPool{ONE}(x) y = Relu(a)", nodes=1),
        g("a = MaxPool<kernel_shape=[1,1], dilations=[2,2], storage_order=1>(x) y = Relu(a)", nodes=1),
    ],
    "global_average_of_one": [
        g("a = GlobalAveragePool(x) y = Relu(a)", "", "[N,2,1,1]", "[N,2,1,1]", nodes=1),
        g("a = GlobalAveragePool(x) b = GlobalAveragePool(a) y = Relu(b)", y="[N,2,1,1]", nodes=2),
    ],
    "global_maximum_of_one": [
        g("a = GlobalMaxPool(x) b = GlobalMaxPool(a) y = Relu(b)", y="[N,2,1,1]", nodes=2),
    ],
    "average_pool_of_everything": [
        g("y = AveragePool<kernel_shape=[5,6]>(x)", y="[N,2,1,1]", nodes=1),
        g(
            "y = AveragePool<kernel_shape=[5,6], strides=[2,2], ceil_mode=1, count_include_pad=1>(x)",
            y="[N,2,1,1]",
            nodes=1,
        ),
    ],
    "mean_over_positions": [
        g("y = ReduceMean<axes=[2,3]>(x)", y="[N,2,1,1]", nodes=1),
        g("y = ReduceMean<axes=[-1,-2], keepdims=1>(x)", y="[N,2,1,1]", nodes=1),
        g("y = ReduceMean(x, a)", "int64[2] a = {3,-2}", y="[N,2,1,1]", opset=18, nodes=1),
        g("y = ReduceMean<axes=[2,3,4]>(x)", "", "[N,2,A,B,C]", "[N,2,1,1,1]", nodes=1),
    ],
    "average_pool_of_pad": [
        g(f"a = Pad(x, p) y = AveragePool{TWO}(a)", PAD, y="[N,2,6,6]", nodes=1),
        g(
            "a = Pad(x, p, z) y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(a)",
            (PAD, "float z = {0}"),
            y="[N,2,7,7]",
            nodes=1,
        ),
        g(f"a = Pad(x, p, , d) y = AveragePool{TWO}(a)", LAST, y="[N,2,4,6]", opset=18, nodes=1),
        g('a = Pad(x, p) y = AveragePool<auto_pad="VALID", kernel_shape=[2,2]>(a)', PAD, y="[N,2,6,6]", nodes=1),
        g(f"a = Pad<pads=[0,0,1,0,0,0,1,1]>(x) y = AveragePool{TWO}(a)", y="[N,2,6,6]", opset=7, nodes=1),
    ],
    "max_pool_of_pad": [
        g(f"a = Pad(x, p, z) y = MaxPool{TWO}(a)", (EVEN, "float z = {-inf}"), y="[N,2,6,7]", nodes=1),
        g("a = Pad(x, p, z) y = MaxPool<kernel_shape=[3,3]>(a)", (EVEN, "float z = {-inf}"), y="[N,2,5,6]", nodes=1),
    ],
    "max_pool_of_unread_pad": [
        g(f"a = Pad(x, p, z) y = MaxPool{STEPS}(a)", (BEHIND, "float z = {7}"), EVEN_X, "[N,2,2,3]", nodes=1),
        g(f"a = Pad(x, p) y = MaxPool{STEPS}(a)", (PAD,), EVEN_X, "[N,2,3,3]", nodes=2),
        g(f'a = Pad<mode="reflect">(x, p) y = MaxPool{STEPS}(a)', (BEHIND,), EVEN_X, "[N,2,2,3]", nodes=1),
        g(f"a = Pad<pads=[0,0,0,0,0,0,1,1]>(x) y = MaxPool{STEPS}(a)", (), EVEN_X, "[N,2,2,3]", opset=7, nodes=1),
        g(f"a = Pad(x, p, , d) y = MaxPool{STEPS}(a)", ONE_BEHIND, EVEN_X, "[N,2,2,3]", opset=18, nodes=1),
        g("a = Pad(x, p) y = MaxPool<kernel_shape=[1,2], strides=[4,4]>(a)", TWO_BEHIND, "[N,2,1,4]", "[N,2,1,2]"),
        g(
            "a = Pad(x, p) y = MaxPool<kernel_shape=[1,2], strides=[4,4]>(a)",
            TWO_BEHIND,
            "[N,2,2,2]",
            "[N,2,1,1]",
            nodes=1,
        ),
        g(
            "a = Pad(x, p) y = MaxPool<kernel_shape=[2,2], dilations=[3,3], strides=[2,2]>(a)",
            BEHIND,
            EVEN_X,
            "[N,2,1,2]",
            nodes=1,
        ),
    ],
    "max_pool_of_zero_pad": [
        positive("r = Relu(x)"),
        positive("r = Sigmoid(x)", "float z = {0}", pad="Pad(r, p, z)"),
        positive("r = Clip(x, l, h)", "float l = {0}, float h = {6}"),
        positive("r = Clip(x, l)", "float l = {0.5}"),
        positive("r = Clip<min=0.0>(x)", opset=10, pad="Pad<pads=[0,0,1,1,0,0,1,1]>(r)"),
        positive("r = Relu(x)", kernel="[2,2], strides=[2,2]", y="[3,2,3,4]"),
        positive("r = Relu(x)", kernel="[2,2], dilations=[1,1]"),
    ],
    **{
        rule: [
            *[g(f"{before} y = {pool}(a)", K, y=y, nodes=2) for pool, y in AVERAGES],
            g(f"{before} y = GlobalAveragePool(a)", "float[1] k = {0.3}", y="[N,2,1,1]", nodes=2),
            g(f"{before} y = GlobalAveragePool(a)", (floats("k", 1, 2, 1)), "[N,2,L]", "[N,2,1]", nodes=2),
        ]
        for rule, before in MOVED.items()
    },
}
FIRES["average_of_product"] += [
    g(
        "a = Mul(k, x) y = AveragePool<kernel_shape=[2,3], pads=[1,0,0,1], count_include_pad=1>(a)",
        K,
        y="[N,2,5,5]",
        nodes=2,
    ),
]

REFUSES = {
    **{
        rule: [
            g(f"a = {pool}{attrs}(x) y = Relu(a)", y=y, reason="more than one")
            for attrs, y in [
                ("<kernel_shape=[2,1]>", "[N,2,4,6]"),
                ("<kernel_shape=[1,1], strides=[1,2]>", "[N,2,5,3]"),
            ]
        ]
        for rule, pool in [("average_pool_of_one", "AveragePool"), ("max_pool_of_one", "MaxPool")]
    },
    "global_average_of_one": [
        g("a = GlobalAveragePool(x) y = Relu(a)", y="[N,2,1,1]", reason="more than one"),
        g("a = GlobalAveragePool(x) y = Relu(a)", "", "[N,2,1,L]", "[N,2,1,1]", reason="more than one"),
        g("a = GlobalAveragePool(x) y = Relu(a)", "", "[N,2,5,1]", "[N,2,1,1]", reason="more than one"),
    ],
    "global_maximum_of_one": [
        g("a = GlobalMaxPool(x) y = Relu(a)", "", "[N,2,1,L]", "[N,2,1,1]", reason="more than one"),
        g("a = GlobalMaxPool(x) y = Relu(a)", "", "[N,2,5,1]", "[N,2,1,1]", reason="more than one"),
    ],
    "average_pool_of_everything": [
        g("y = AveragePool<kernel_shape=[5,5]>(x)", y="[N,2,1,2]", reason="one window"),
        g("y = AveragePool<kernel_shape=[5,6]>(x)", "", "[N,2,5,L]", "[N,2,1,M]", reason="one window"),
        g("y = AveragePool<kernel_shape=[5,6], pads=[1,0,0,0]>(x)", y="[N,2,2,1]", reason="padding"),
        g('y = AveragePool<kernel_shape=[5,6], auto_pad="SAME_UPPER">(x)', y="[N,2,5,6]", reason="padding"),
    ],
    "mean_over_positions": [
        g("y = ReduceMean<axes=[2]>(x)", y="[N,2,1,6]", reason="not all positions"),
        g("y = ReduceMean<axes=[1,2,3]>(x)", y="[N,1,1,1]", reason="not all positions"),
        g("y = ReduceMean<axes=[1,2]>(x)", y="[N,1,1,6]", reason="not all positions"),
        g("y = ReduceMean<axes=[-1]>(x)", "", "[N,2,6]", "[N,2,1]", reason="not an image"),
        g("y = ReduceMean<axes=[2,3], keepdims=0>(x)", y="[N,2]"),
        g("y = ReduceMean(x)", y="[1,1,1,1]"),
        g("y = ReduceMean<axes=[2,3]>(x)", y="[N,2,1,1]", dtype="int32", reason="not a float"),
        g("y = ReduceMean(x, a)", more="int64[2] a", y="[N,2,1,1]", opset=18),
    ],
    "average_pool_of_pad": [
        g(
            f"a = Pad{mode}(x, p, z) y = AveragePool<{attrs}>(a)",
            f"int64[8] p = {{{p}}}, float z = {{{z}}}",
            y=y,
            reason=why,
        )
        for mode, p, z, attrs, y, why in [
            ("", "0,0,1,0,0,0,1,1", "1", "kernel_shape=[2,2]", "[N,2,6,6]", "not padded with zeros"),
            ('<mode="reflect">', "0,0,1,0,0,0,1,1", "0", "kernel_shape=[2,2]", "[N,2,6,6]", None),
            ("", "0,0,1,0,0,0,1,1", "0", "kernel_shape=[2,2], pads=[1,0,0,0]", "[N,2,7,6]", "does not count"),
            ("", "0,0,1,0,0,0,1,1", "0", "kernel_shape=[2,2], ceil_mode=1", "[N,2,6,6]", "ceil_mode"),
            ("", "0,0,2,0,0,0,1,1", "0", "kernel_shape=[2,2]", "[N,2,7,6]", "lie in the padding"),
            ("", "0,0,1,0,0,0,1,2", "0", "kernel_shape=[2,2]", "[N,2,6,7]", "lie in the padding"),
            ("", "0,1,1,0,0,0,1,1", "0", "kernel_shape=[2,2]", "[N,3,6,6]", "batch or channels"),
            ("", "0,0,1,0,0,0,-1,1", "0", "kernel_shape=[2,2]", "[N,2,4,6]", "cuts off"),
            ("", "0,0,1,0,0,0,1,1", "0", 'kernel_shape=[2,2], auto_pad="SAME_UPPER"', "[N,2,7,7]", "auto_pad"),
        ]
    ],
    "max_pool_of_pad": [
        g(
            f"a = Pad{mode}(x, p, z) y = MaxPool<{attrs}>(a)",
            f"int64[8] p = {{{p}}}, float z = {{{z}}}",
            y=y,
            reason=why,
        )
        for mode, p, z, attrs, y, why in [
            ("", "0,0,1,0,0,0,1,1", "0", "kernel_shape=[2,2]", "[N,2,6,6]", "negative infinity"),
            ("", "0,0,1,0,0,0,1,1", "-3.4e38", "kernel_shape=[2,2]", "[N,2,6,6]", "negative infinity"),
            ("", "0,0,1,0,0,0,1,1", "inf", "kernel_shape=[2,2]", "[N,2,6,6]", "negative infinity"),
            ("", "0,0,1,0,0,0,1,1", "-inf", "kernel_shape=[2,2], ceil_mode=1", "[N,2,6,6]", "ceil_mode"),
            ("", "0,0,2,0,0,0,1,1", "-inf", "kernel_shape=[2,2]", "[N,2,7,6]", "lie in the padding"),
            ("", "0,1,1,0,0,0,1,1", "-inf", "kernel_shape=[2,2]", "[N,3,6,6]", "batch or channels"),
        ]
    ],
    "max_pool_of_unread_pad": [
        g(f"a = Pad(x, p) y = MaxPool{pool}(a)", (BEHIND,), x, y, reason=reason)
        for pool, x, y, reason in [
            (TWO, EVEN_X, "[N,2,4,6]", "reach everything"),
            (STEPS, "[N,2,5,7]", "[N,2,3,4]", "reach everything"),
            (STEPS, "[N,2,H,W]", "[N,2,A,B]", "not known"),
            ("<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>", EVEN_X, "[N,2,3,4]", "over the border"),
            ("<kernel_shape=[2,2], strides=[2,2], pads=[0,0,1,1]>", EVEN_X, "[N,2,3,4]", "over the border"),
            ('<kernel_shape=[2,2], strides=[2,2], auto_pad="SAME_UPPER">', EVEN_X, "[N,2,3,4]", "over the border"),
        ]
    ],
    "max_pool_of_zero_pad": [
        positive("r = Relu(x)", "float z = {1}", pad="Pad(r, p, z)", nodes=None, reason="zeros"),
        positive("r = Abs(x)", nodes=None),
        positive("r = Tanh(x)", nodes=None),
        positive("r = Clip(x, l)", "float l = {-0.1}", nodes=None, reason="negative"),
        positive("r = Clip(x, l)", "float l = {nan}", nodes=None, reason="negative"),
        positive("r = Clip(x, l, h)", "float l = {1}, float h = {-1}", nodes=None, reason="negative"),
        positive("r = Clip(x, , h)", "float h = {1}", nodes=None),
        positive("r = Relu(x)", x="[3,2,5,L]", y="[3,2,6,M]", nodes=None, reason="padding alone"),
        positive("r = Relu(x)", x="[3,2,0,6]", y="[3,2,1,7]", nodes=None, reason="is empty"),
        positive("r = Relu(x)", kernel="[2,2], dilations=[2,1]", y="[3,2,5,7]", nodes=None, reason="padding alone"),
        positive("r = Relu(x)", p="0,0,2,1,0,0,1,1", y="[3,2,7,7]", nodes=None, reason="lie in the padding"),
        positive("r = Relu(x)", kernel="[2,2], ceil_mode=1", nodes=None, reason="ceil_mode"),
    ],
    **{
        rule: [
            *[
                g(f"{before} y = GlobalAveragePool(a)", k, x, y, reason="per channel")
                for k, x, y in [
                    (floats("k", 6), "[N,2,5,6]", "[N,2,1,1]"),
                    (floats("k", 5, 1), "[N,2,5,6]", "[N,2,1,1]"),
                    (floats("k", 2, 1, 1), "[N,1,5,6]", "[N,2,1,1]"),
                    (floats("k", 2, 1, 1), "[N,C,5,6]", "[N,2,1,1]"),
                    (floats("k", 1, 1, 1, 1, 1), "[N,2,5,6]", "[1,N,1,1,1]"),
                    (floats("k", 3, 1, 1, 1), "[1,2,5,6]", "[3,2,1,1]"),
                    ("float k = {inf}", "[N,2,5,6]", "[N,2,1,1]"),
                ]
            ],
            g(f"{before} y = GlobalAveragePool(a)", K, y="[N,2,1,1]", also="float[N,2,5,6] a", reason="saved"),
            g(f"{before} y = GlobalMaxPool(a)", K, y="[N,2,1,1]"),
        ]
        for rule, before in MOVED.items()
    },
}
REFUSES["average_pool_of_one"] += [
    g("a = AveragePool<kernel_shape=[1,1], pads=[0,1,0,0]>(x) y = Relu(a)", y="[N,2,5,7]", reason="more than one")
]
REFUSES["max_pool_of_one"] += [
    g("a, i = MaxPool<kernel_shape=[1,1]>(x) y = Relu(a)", also="int64[N,2,5,6] i", reason="saved"),
]
FIRES["average_of_sum"] += [
    g("a = Add(k, x) y = AveragePool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>(a)", K, y="[N,2,3,3]", nodes=2),
]
REFUSES["average_of_sum"] += [
    g(
        "a = Add(k, x) y = AveragePool<kernel_shape=[2,2], pads=[1,0,0,1], count_include_pad=1>(a)",
        K,
        y="[N,2,5,6]",
        reason="padding is not shifted",
    ),
    g(
        "a = Add(k, x) y = AveragePool<kernel_shape=[2,2], pads=[1,1,1,1], dilations=[2,2]>(a)",
        K,
        "[N,2,1,1]",
        "[N,2,1,1]",
        opset=19,
        reason="padding is not shifted",
    ),
]


@pytest.mark.parametrize(("rule", "case"), cases(FIRES))
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), cases(REFUSES))
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


ASYMMETRIC = {
    "max_pool_of_pad": [
        g(f"a = Pad(x, p, z) y = MaxPool{TWO}(a)", (PAD, "float z = {-inf}"), y="[N,2,6,6]", nodes=1),
        g(
            "a = Pad(x, p, z) y = MaxPool<kernel_shape=[3,3], pads=[1,1,0,0]>(a)",
            (PAD, "float z = {-inf}"),
            y="[N,2,6,6]",
        ),
        g(f"a = Pad(x, p, z, d) y = MaxPool{TWO}(a)", (LAST, "float z = {-inf}"), y="[N,2,4,6]", opset=18, nodes=1),
    ],
    "max_pool_of_zero_pad": [
        positive("r = Relu(x)", p="0,0,1,0,0,0,1,1", y="[3,2,6,6]"),
        positive("r = Relu(x)", p="0,0,0,0,0,0,2,1", kernel="[3,2]", x="[3,2,1,1]", y="[3,2,1,1]"),
        positive("r = Relu(x)", p="0,0,2,0,0,0,0,1", kernel="[3,2]", x="[3,2,1,1]", y="[3,2,1,1]"),
    ],
}


@pytest.mark.parametrize(("rule", "case"), cases(ASYMMETRIC))
def test_fires_where_the_reference_is_wrong(rule: str, case: Case) -> None:
    """onnx 1.23's reference makes wrong shapes of asymmetric pads of MaxPool."""
    check_fires_on_ort(rule, case)


@pytest.mark.parametrize(
    ("rule", "body"),
    [
        ("global_average_of_one", "y = GlobalAveragePool(x)"),
        ("global_maximum_of_one", "y = GlobalMaxPool(x)"),
        ("average_pool_of_everything", "y = AveragePool<kernel_shape=[5,6]>(x)"),
        ("mean_over_positions", "y = ReduceMean<axes=[2,3]>(x)"),
        ("average_of_product", "a = Mul(x, k) y = GlobalAveragePool(a)"),
        ("average_of_sum", "a = Add(x, k) y = GlobalAveragePool(a)"),
    ],
)
def test_unknown_rank(rule: str, body: str) -> None:
    check_unknown_rank(rule, g(body, K, y="[A,B,C,D]"), fires=False)
