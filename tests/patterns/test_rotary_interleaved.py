"""Rules of patterns/raising/rotary_interleaved.py, and of patterns/simplifying/strided.py, which prepares for them."""

from __future__ import annotations

from typing import Any

import pytest

import graphopt
from tests.patterns.raising_cases import of
from tests.patterns.rule_cases import Case, build, check_fires, check_refuses, compare, inputs, run_ort

END = 2**63 - 1
CONSTANTS = (
    f"int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] three = {{3}}, int64[1] end = {{{END}}}, "
    "int64[1] last = {-1}, int64 first = {0}, int64 next = {1}, int64[5] pairs = {0, 0, 0, 4, 2}, int64[4] back = {0, 0, 0, 8}, "
    "int64[5] twice = {1, 1, 1, 1, 2}, int64[4] flat = {0, 0, 0, -1}"
)


def g(body: str, given: str, y: str, constants: str = "", **options: Any) -> Case:
    known = ", ".join(c for c in (CONSTANTS, constants) if c)
    return Case(f"g ({given}) => ({y} y) <{known}> {{ {body} }}", **{"opset": 23, **options})


def joined(first: str, second: str, name: str) -> str:
    """torch.stack((first, second), -1).flatten(-2)."""
    return f"l = Unsqueeze({first}, last) r = Unsqueeze({second}, last) p = Concat<axis=-1>(l, r) {name} = Reshape(p, back) "


def pairs(name: str) -> str:
    """Angles of five positions and four pairs, each twice."""
    return f"float[5,8] {name} = {{{', '.join(str(k // 2 / 32) for k in range(40))}}}"


SLICES = "a = Slice(x, zero, end, three, two) b = Slice(x, one, end, three, two) "
GATHERS = "v = Reshape(x, pairs) a = Gather<axis=-1>(v, first) b = Gather<axis=-1>(v, next) "
SPLIT = "v = Reshape(x, pairs) a1, b1 = Split<axis=-1, num_outputs=2>(v) a = Squeeze(a1, last) b = Squeeze(b1, last) "
TURNED = "h = Mul(a, c) i = Mul(b, s) m = Sub(h, i) j = Mul(a, s) k = Mul(b, c) n = Add(j, k) " + joined("m", "n", "y")
SWAPPED = "n = Neg(b) " + joined("n", "a", "t")
TWICE = (
    "c1 = Unsqueeze(c, last) s1 = Unsqueeze(s, last) c2 = Expand(c1, twice) s2 = Expand(s1, twice) "
    "d = Reshape(c2, flat) e = Reshape(s2, flat) "
)
SUM = "f = Mul(x, d) i = Mul(t, e) y = Add(f, i)"
X, GIVEN = "float[2,3,5,8]", "float[2,3,5,8] x, float[2,1,5,4] c, float[2,1,5,4] s"
ROTATED = SLICES + TURNED

FIRES = [
    *of(
        "gather_of_groups",
        g("v = Reshape(x, pairs) y = Gather<axis=-1>(v, next)", f"{X} x", "float[2,3,5,4]", nodes=1),
        g("v = Reshape(x, pairs) y = Gather<axis=4>(v, next)", "float[B,3,S,8] x", "float[B,3,S,4]", nodes=1),
        g(
            "v = Reshape(x, o) y = Gather<axis=1>(v, k)",
            "float[6] x",
            "float[2]",
            "int64[2] o = {2, 3}, int64 k = {-1}",
        ),
    ),
    *of(
        "neighbour_by_slice",
        g("v = Reshape(x, pairs) y = Gather<axis=-1>(v, one)", f"{X} x", "float[2,3,5,4,1]", nodes=2),
    ),
    *of(
        "pairs_by_expand",
        g("t = Tile(x, twice) y = Reshape(t, flat)", "float[2,1,S,4,1] x", "float[2,1,S,8]"),
        g("t = Concat<axis=-1>(x, x) y = Reshape(t, back)", "float16[2,1,5,4,1] x", "float16[2,1,5,8]"),
    ),
    *of(
        "cos_of_repeated_pairs",
        g("t = Expand(x, twice) u = Reshape(t, flat) y = Cos(u)", "float[2,1,S,4,1] x", "float[2,1,S,8]"),
    ),
    *of(
        "sin_of_repeated_pairs",
        g("t = Expand(x, twice) u = Reshape(t, flat) y = Sin(u)", "float[2,1,S,4,1] x", "float[2,1,S,8]"),
    ),
    *of(
        "rotary_interleaved",
        g(ROTATED, GIVEN, X, nodes=3),
        g(ROTATED, GIVEN.replace("[2,1", "[1,1"), X, nodes=5),
        g(ROTATED, GIVEN.replace("[2", "[B").replace(",5,", ",S,"), "float[B,3,S,8]", nodes=3),
        g(ROTATED, GIVEN.replace("[2,3", "[B,3").replace("[2,1,", "["), "float[B,3,5,8]", nodes=9),
        g(ROTATED, "float[2,5,3,8] x, float[2,5,1,4] c, float[2,5,1,4] s", "float[2,5,3,8]", nodes=5),
        g(ROTATED, "float[2,5,3,8] x, float[5,1,4] c, float[5,1,4] s", "float[2,5,3,8]", nodes=7),
        g(ROTATED, GIVEN.replace("float", "float16"), X.replace("float", "float16"), nodes=3, opset=24),
    ),
    *of(
        "rotary_interleaved_repeated",
        g(SLICES + SWAPPED + TWICE + SUM, GIVEN, X, nodes=5),
        g(SLICES + SWAPPED + TWICE + SUM, GIVEN.replace("[2", "[B").replace(",5,", ",S,"), "float[B,3,S,8]", nodes=5),
    ),
    *of(
        "rotary_interleaved_constant",
        g(
            SLICES + SWAPPED + SUM,
            f"{X} x",
            X,
            f"{pairs('d')}, {pairs('e')}",
            nodes=3,
        ),
    ),
]

REFUSES = [
    *of(
        "gather_of_groups",
        g("v = Reshape(x, pairs) y = Gather<axis=3>(v, next)", f"{X} x", "float[2,3,5,2]", reason="last axis"),
        g("v = Reshape(x, pairs) y = Gather<axis=4>(v, one)", f"{X} x", "float[2,3,5,4,1]", reason="last axis"),
        g(
            "v = Reshape(x, o) y = Gather<axis=2>(v, k)",
            "float[2,6] x",
            "float[3,2]",
            "int64[3] o = {3, 2, 2}, int64 k = {1}",
            reason="sizes",
        ),
        g(
            "v = Reshape(x, o) y = Gather<axis=2>(v, k)",
            "float[A,B] x",
            "float[3,2]",
            "int64[3] o = {3, 2, 2}, int64 k = {1}",
            reason="sizes",
        ),
        g(
            "v = Reshape(x, o) y = Gather<axis=3>(v, k)",
            "float[2,3,8] x",
            "float[3,2,4]",
            "int64[4] o = {3, 2, 4, 2}, int64 k = {1}",
            reason="other axes",
        ),
    ),
    *of(
        "rotary_interleaved",
        g(ROTATED, GIVEN, X, opset=22, reason="not before"),
        g(ROTATED, GIVEN.replace("float", "double"), X.replace("float", "double"), reason="32 or 16 bits"),
        g(ROTATED.replace("Sub(h, i)", "Sub(i, h)"), GIVEN, X),
        g(ROTATED.replace("Sub(h, i)", "Add(h, i)"), GIVEN, X),
        g(ROTATED, GIVEN.replace("[2,1", "[2,3"), X, reason="for all heads"),
        g(ROTATED, GIVEN.replace("5,4]", "5,1]"), X, reason="for all heads"),
        g(ROTATED, GIVEN.replace("[2,1", "[Q,1"), X, reason="for all heads"),
        g(ROTATED.replace("last)", "three)").replace("axis=-1>(l", "axis=-1>(l"), GIVEN, X, reason="not put together"),
    ),
    *of(
        "rotary_interleaved_repeated",
        # halves of angles that were repeated behind each other
        g(SLICES + SWAPPED + "d = Concat<axis=-1>(c, c) e = Concat<axis=-1>(s, s) " + SUM, GIVEN, X),
        g(SLICES + "n = Neg(a) " + joined("n", "b", "t") + TWICE + SUM, GIVEN, X),
        g(SLICES + "n = Neg(b) " + joined("a", "n", "t") + TWICE + SUM, GIVEN, X),
    ),
    *of(
        "rotary_interleaved_constant",
        g(
            SLICES + SWAPPED + SUM,
            f"{X} x",
            X,
            "float[8] d = {1, 1, 2, 2, 3, 3, 4, 4}, float[8] e = {1, 1, 2, 2, 3, 3, 4, 4}",
            reason="for all heads",
        ),
        g(
            SLICES + SWAPPED + SUM,
            f"{X} x",
            X,
            "float[8] d = {1, 2, 2, 2, 3, 3, 4, 4}, float[8] e = {1, 1, 2, 2, 3, 3, 4, 4}",
            reason="not equal",
        ),
    ),
]


@pytest.mark.parametrize(("rule", "case"), FIRES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(FIRES)])
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), REFUSES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(REFUSES)])
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


ANGLES = (  # repeat_interleave, then cosine and sine, as Cohere's models compute them
    "w1 = Unsqueeze(w, last) w2 = Tile(w1, four) w3 = Reshape(w2, rows) cc = Cos(w3) ss = Sin(w3) "
    "d = Unsqueeze(cc, one) e = Unsqueeze(ss, one) "
)
ROW = "int64[4] four = {1, 1, 1, 2}, int64[3] rows = {0, 0, -1}"


@pytest.mark.parametrize(
    ("body", "given", "constants"),
    [
        pytest.param(SLICES + TURNED, "float[1,1,S,4] c, float[1,1,S,4] s", "", id="slices"),
        pytest.param(GATHERS + TURNED, "float[1,1,S,4] c, float[1,1,S,4] s", "", id="gathers"),
        pytest.param(SPLIT + TURNED, "float[1,1,S,4] c, float[1,1,S,4] s", "", id="split"),
        pytest.param(SLICES + SWAPPED + TWICE + SUM, "float[1,1,S,4] c, float[1,1,S,4] s", "", id="slices-repeated"),
        pytest.param(GATHERS + SWAPPED + TWICE + SUM, "float[1,1,S,4] c, float[1,1,S,4] s", "", id="gathers-repeated"),
        pytest.param(SPLIT + SWAPPED + TWICE + SUM, "float[1,1,S,4] c, float[1,1,S,4] s", "", id="split-repeated"),
        pytest.param(SLICES + SWAPPED + ANGLES + SUM, "float[1,S,4] w", ROW, id="angles-repeated"),
    ],
)
def test_as_exporters_write_it(body: str, given: str, constants: str) -> None:
    """Strided slices (GPT-J), elements of pairs (chat GLM), parts of pairs (rotary-embedding-torch, unbind)."""
    original = build(g(body, f"float[B,3,S,8] x, {given}", "float[B,3,S,8]", constants))
    fast = graphopt.optimize(original)
    assert sum(n.op == "RotaryEmbedding" for n in fast.nodes()) == 1
    assert fast.node_count() <= (10 if "w" in given else 7)
    feeds = inputs(original, 0, Case(""))
    compare(run_ort(original, feeds), run_ort(fast.proto, feeds), exact=False, tolerance=1e-5)
