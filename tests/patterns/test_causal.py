"""Rules of patterns/raising/causal.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import graphopt
from graphopt.patterns import rules_of
from tests.patterns.rule_cases import Case, build, check_fires, check_refuses, compare, inputs, run_ort, run_reference

QKV = "float[B,2,S,4] q, float[B,2,S,4] k, float[B,2,S,6] v"
CROSS = "float[B,2,S,4] q, float[B,2,T,4] k, float[B,2,T,6] v"
NUMBERS = "int64 zero = {0}, int64 one = {1}, int64[1] r = {1}, int64[1] c = {0}, int64[1] both = {2}"
MASKS = "float z = {0}, float low = {-inf}, float far = {-3e38}, float[1,1] u = {1}, float w = {1}"
#: The length of the queries, their places, and those of the keys.
PLACES = (
    "e = Shape<start=2, end=3>(q) n = Squeeze(e) i = Range(zero, n, one) ri = Unsqueeze(i, r) ci = Unsqueeze(i, c) "
    "ee = Concat<axis=0>(e, e) "
)
LE = PLACES + "m = LessOrEqual(ci, ri) "
END = "y = Attention(q, k, v, m)"
PAST = "float[B,2,S,4] q, float[B,2,S,4] k, float[B,2,S,6] v, float[B,2,P,4] a, float[B,2,P,6] b"
FIXED = PAST.replace("S", "4").replace("P", "3")
#: Places behind a past, and those of all keys.
BEHIND = (
    "e = Shape<start=2, end=3>(q) n = Squeeze(e) f = Shape<start=2, end=3>(a) p = Squeeze(f) t = Add(n, p) "
    "i = Range(zero, n, one) x = Add(i, p) ri = Unsqueeze(x, r) j = Range(zero, t, one) ci = Unsqueeze(j, c) "
)
END_PAST = "y, g, h = Attention(q, k, v, m, a, b)"
TRI = {n: ", ".join("0" if i >= j else "-inf" for i in range(n) for j in range(n)) for n in (4,)}


def mask(body: str, given: str = QKV, y: str = "float[B,2,S,6] y", constants: str = "", **options: object) -> Case:
    more = f", {constants}" if constants else ""
    return Case(f"g ({given}) => ({y}) <{NUMBERS}, {MASKS}{more}> {{ {body} }}", opset=23, **options)


def behind(body: str, given: str = PAST, **options: object) -> Case:
    return mask(body, given, "float[B,2,S,6] y, float[B,2,G,4] g, float[B,2,G,6] h", **options)


TABLE = f"bool[1,1,16,16] table = {{{', '.join(str(int(i >= j)) for i in range(16) for j in range(16))}}}"
CUT = PLACES + "m = Slice(table, from, to, axes) " + END
CUT_NUMBERS = TABLE + ", int64[2] from = {0, 0}, int64[2] axes = {2, 3}"

FIRES = [
    ("attention_causal", case)
    for case in (
        mask(END, QKV.replace("S", "4"), "float[B,2,4,6] y", f"float[4,4] m = {{{TRI[4]}}}", nodes=1),
        mask(END, QKV.replace("S", "4"), "float[B,2,4,6] y", f"float[1,4,4] m = {{{TRI[4].replace('-inf', '-1e9')}}}", nodes=1),
        mask(LE + END, nodes=1),
        mask(PLACES + "m = GreaterOrEqual(ri, ci) " + END, nodes=1),
        mask(PLACES + "l = Less(ri, ci) m = Not(l) " + END, nodes=1),
        mask(PLACES + "l = Greater(ci, ri) m = Where(l, low, z) " + END, nodes=1),
        mask(PLACES + "l = Add(ri, one) m = Less(ci, l) " + END, nodes=1),
        mask(LE.replace("m =", "l =") + "m = Where(l, z, far) " + END, nodes=1),
        mask(LE.replace("m =", "l =") + "f = Cast<to=1>(l) h = Sub(w, f) m = Mul(h, far) " + END, nodes=1),
        mask(  # what torch writes for is_causal=True
            PLACES + "o = Expand(w, ee) t = Trilu<upper=0>(o) l = Equal(t, z) m = Where(l, low, z) " + END, nodes=1),
        mask(PLACES + "o = ConstantOfShape(ee) f = Add(o, low) m = Trilu(f, one) " + END, nodes=1),  # full(-inf).triu(1)
        mask(PLACES + "o = Expand(far, ee) f = Trilu(o, one) s = Unsqueeze(f, c) m = Unsqueeze(s, c) " + END, nodes=1),
        mask(CUT.replace("to,", "ee,"), constants=CUT_NUMBERS, nodes=1),
        mask(LE.replace("m =", "l =") + "m = And(l, pad) " + END, QKV + ", bool[B,1,1,S] pad"),
        mask(LE.replace("m =", "l =") + "m = And(pad, l) " + END, QKV + ", bool[B,1,S,S] pad", nodes=1),
        mask(LE.replace("m =", "l =") + "o = And(pad, l) m = And(o, two) " + END, QKV + ", bool[B,1,S,S] pad, bool[S] two", nodes=2),
        mask(LE.replace("m =", "l =") + "x = Where(l, z, low) m = Add(x, pad) " + END, QKV + ", float[B,1,S,S] pad", nodes=1),
        mask(LE.replace("m =", "l =") + "m = Where(l, pad, low) " + END, QKV + ", float[B,2,S,S] pad", nodes=1),
        mask(  # packed, with another number of queries than keys
            END.replace("Attention", "Attention<q_num_heads=2, kv_num_heads=2>"), "float[B,4,8] q, float[B,5,8] k, float[B,5,8] v",
            "float[B,4,8] y", f"bool[4,5] m = {{{', '.join(str(int(i >= j)) for i in range(4) for j in range(5))}}}", nodes=1),
        mask(  # the same mask for two of them
            LE.replace("m =", "l =") + "m = And(l, pad) " + END + " x = Attention(k, q, v, m)", QKV + ", bool[B,1,S,S] pad",
            "float[B,2,S,6] y, float[B,2,S,6] x", nodes=2),
    )
] + [
    ("attention_causal_past", case)
    for case in (
        behind(BEHIND + "m = LessOrEqual(ci, ri) " + END_PAST, nodes=1),
        behind(BEHIND + "l = Greater(ci, ri) m = Where(l, far, z) " + END_PAST, nodes=1),
        behind(BEHIND + "l = LessOrEqual(ci, ri) m = And(l, pad) " + END_PAST, FIXED + ", bool[B,1,4,7] pad"),
        behind(BEHIND.replace("x = Add(i, p)", "pt = Add(p, n) x = Range(p, pt, one)") + "m = LessOrEqual(ci, ri) " + END_PAST, nodes=1),
        behind(  # rows of a table behind a past
            BEHIND + "s = Unsqueeze(p, c) tt = Unsqueeze(t, c) from = Concat<axis=0>(s, c) to = Concat<axis=0>(tt, tt) "
            "m = Slice(table, from, to, axes) " + END_PAST, FIXED, constants=TABLE + ", int64[2] axes = {2, 3}", nodes=1),
    )
]  # fmt: skip

REFUSES = [
    ("attention_causal", case)
    for case in (
        mask(END, QKV.replace("S", "4"), "float[B,2,4,6] y", f"float[4,4] m = {{{TRI[4].replace('-inf', '-9', 1)}}}",
             reason="not known to be a causal mask"),
        mask(END, QKV.replace("S", "4"), "float[B,2,4,6] y", "float[4,1] m = {0, 0, 0, 0}", reason="not known"),
        mask(PLACES + "m = Less(ci, ri) " + END, reason="diagonal"),  # a query does not see itself
        mask(PLACES + "m = GreaterOrEqual(ci, ri) " + END, reason="not known to be a causal mask"),
        mask(PLACES + "l = Add(ri, one) m = LessOrEqual(ci, l) " + END, reason="diagonal"),
        mask(PLACES + "l = Greater(ci, ri) m = Where(l, k1, z) " + END, constants="float k1 = {-9}", reason="not known"),
        mask(PLACES + "l = Equal(ci, ri) m = Not(l) " + END, reason="not known"),
        mask(LE + END, CROSS + ", int64[1] any", reason="for each query and a column for each key"),  # may broadcast
        mask(CUT.replace("to,", "ee,"), constants=CUT_NUMBERS.replace("from = {0, 0}", "from = {1, 0}"), reason="diagonal"),
        mask(CUT, QKV + ", int64[2] to", constants=CUT_NUMBERS, reason="for each query and a column for each key"),
        mask(  # a query that sees no key has the average of all, also of later ones
            LE.replace("m =", "l =") + "o = And(l, pad) m = Where(o, z, far) " + END, QKV + ", bool[B,1,S,S] pad", reason="not known"),
        mask(LE.replace("m =", "l =") + "x = Where(l, z, far) m = Add(x, pad) " + END, QKV + ", float[B,1,S,S] pad", reason="not known"),
        mask(LE.replace("m =", "l =") + "m = Or(l, pad) " + END, QKV + ", bool[B,1,S,S] pad", reason="not known"),
        mask(LE.replace("m =", "l =") + "m = And(l, pad) " + END, QKV + ", bool[B,1,S,1] pad", reason="what remains"),
        mask(LE.replace("m =", "l =") + "m = And(l, pad) " + END, QKV + ", bool[B,1,S,S] pad", "float[B,2,S,6] y, bool[B,1,S,S] m",
             reason="read elsewhere"),
    )
] + [
    ("attention_causal_past", case)
    for case in (
        behind(BEHIND.replace("x = Add(i, p)", "x = Identity(i)") + "m = LessOrEqual(ci, ri) " + END_PAST, reason="diagonal"),
        behind(BEHIND + "m = LessOrEqual(ci, ri) " + END_PAST, PAST.replace("S,4] k", "T,4] k").replace("S,6] v", "T,6] v"),
               reason="a single query"),
    )
]  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), FIRES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(FIRES)])
def test_fires(rule: str, case: Case) -> None:
    """What computes the mask goes too."""
    check_fires(rule, replace(case, nodes=None))
    fast = graphopt.optimize(build(case), only=["causal", "dead_code"])
    assert case.nodes in (None, fast.node_count())
    assert any(n.attributes.get("is_causal") for n in fast.nodes())


@pytest.mark.parametrize(("rule", "case"), REFUSES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(REFUSES)])
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


def test_every_rule_is_tried() -> None:
    assert {r.name for r in rules_of("raising") if r.family == "causal"} == {r for r, _ in FIRES}


@pytest.mark.parametrize("dtype", ["float", "float16"])
def test_torch_is_causal(dtype: str) -> None:
    """Attention as torch's exporter spells it with is_causal=True is one node, and a mask of padding stays beside it."""
    number = 10 if dtype == "float16" else 1
    text = f"""g ({dtype}[B,2,S,4] q, {dtype}[B,2,S,4] k, {dtype}[B,2,S,6] v) => ({dtype}[B,2,S,6] y) {{
        e = Shape<start=2, end=3>(q) ee = Concat<axis=0>(e, e)
        w = Constant<value_float=1.0>() w1 = Cast<to={number}>(w) z = Constant<value_float=0.0>() z1 = Cast<to={number}>(z)
        i = Constant<value_float=-inf>() low = Cast<to={number}>(i)
        o = Expand(w1, ee) t = Trilu<upper=0>(o) l = Equal(t, z1) m = Where(l, low, z1)
        kt = Transpose<perm=[0,1,3,2]>(k) s = MatMul(q, kt) sm = Add(s, m) p = Softmax<axis=-1>(sm) y = MatMul(p, v) }}"""
    original = build(Case(text.replace("value_float=-inf", "value = float {-inf}"), opset=23))
    fast = graphopt.optimize(original)
    assert [n.op for n in fast.nodes()] == ["Attention"]
    assert next(iter(fast.nodes())).attributes["is_causal"] == 1
    feeds = inputs(original, 0, Case(""))
    tolerance = 1e-5 if dtype == "float" else 5e-3
    compare(run_ort(original, feeds), run_ort(fast.proto, feeds), exact=False, tolerance=tolerance)


def test_a_slice_of_a_table() -> None:
    """GPT-2 cuts its table of causal masks to the length that there is."""
    rows = ", ".join(str(int(i >= j)) for i in range(8) for j in range(8))
    text = f"""g (float[B,2,S,4] q, float[B,2,S,4] k, float[B,2,S,6] v) => (float[B,2,S,6] y)
        <bool[1,1,8,8] table = {{{rows}}}, int64[2] zero = {{0, 0}}, int64[2] axes = {{2, 3}}, float low = {{-3.4028234663852886e+38}}> {{
        e = Shape<start=2, end=3>(q) ee = Concat<axis=0>(e, e) b = Slice(table, zero, ee, axes)
        kt = Transpose<perm=[0,1,3,2]>(k) s = MatMul(q, kt) sm = Where(b, s, low) p = Softmax<axis=-1>(sm) y = MatMul(p, v) }}"""
    original = build(Case(text, opset=23))
    fast = graphopt.optimize(original)
    assert [n.op for n in fast.nodes()] == ["Attention"]
    feeds = inputs(original, 0, Case(""))
    compare(run_ort(original, feeds), run_ort(fast.proto, feeds), exact=False, tolerance=1e-5)


@pytest.mark.parametrize(("seen", "length"), [(0, 1), (0, 3), (2, 1), (2, 3)])
def test_queries_that_see_no_key(seen: int, length: int) -> None:
    """What padding hides behind a past stays hidden, and a query without any key gives zeros, whatever the sizes."""
    given = PAST.replace("S", str(length)).replace("P", str(seen))
    case = behind(
        BEHIND + "l = LessOrEqual(ci, ri) m = And(l, pad) " + END_PAST,
        f"{given}, bool[B,1,{length},{seen + length}] pad",
    )
    original = build(case)
    fast = graphopt.optimize(original, only="causal")
    assert any(n.attributes.get("is_causal") for n in fast.nodes())
    draw = np.random.default_rng(seen)
    sizes = {
        "q": (2, 2, length, 4),
        "k": (2, 2, length, 4),
        "v": (2, 2, length, 6),
        "a": (2, 2, seen, 4),
        "b": (2, 2, seen, 6),
    }
    feeds = {n: draw.normal(size=s).astype(np.float32) for n, s in sizes.items()}
    feeds["pad"] = draw.random((2, 1, length, seen + length)) < 0.5
    feeds["pad"][0, 0, 0] = False
    for run in (run_ort, run_reference):
        got = run(fast.proto, feeds)
        compare(run(original, feeds), got, exact=False, tolerance=1e-5)
        assert not got[0][0, :, 0].any()
