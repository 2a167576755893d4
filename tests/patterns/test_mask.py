"""Rules of patterns/raising/mask.py."""

from __future__ import annotations

import pytest

from graphopt.patterns import rules_of
from tests.patterns.rule_cases import Case, check_fires, check_refuses

#: 0, 1, 2... along the rows and columns of x, as vectors.
_PLACES = """s0 = Shape<end=1>(x) s1 = Shape<start=1>(x) b = Squeeze(s0) t = Squeeze(s1)
    i = Range(zero, b, one) j = Range(zero, t, one)"""
_NUMBERS = (
    "int64 zero = {0}, int64 one = {1}, int64[1] last = {-1}, int64[3] rows = {1,2,3}, int64[3] columns = {0,1,2}"
)


def _stacked(parts: str, x: str = "bool[N,M]", places: str = _PLACES, more: str = "", y: str = "bool[A,B,C,D]") -> Case:
    text = f"""g ({x} x{more}) => ({y} y) <{_NUMBERS}> {{ {places}
        r = Unsqueeze(i, rows) c = Unsqueeze(j, columns) both = Add(r, c) all = Shape(both)
        p = Expand(r, all) q = Expand(c, all) u = Unsqueeze(p, last) v = Unsqueeze(q, last)
        {parts} y = GatherND(x, w) }}"""
    return Case(text)


def _flat(index: str, x: str = "float[N,M]", flat: str = "f = Flatten<axis=2>(x)", width: str = "s1") -> Case:
    text = f"""g ({x} x) => (float[A,B,C,D,E] y) <{_NUMBERS}, int64[2] tall = {{-1,1}}, int64 three = {{3}}> {{ {_PLACES}
        r = Unsqueeze(i, rows) c = Unsqueeze(j, columns) {flat} h = Mul(r, {width}) {index} y = Gather(f, w) }}"""
    return Case(text)


_VISIBLE = """g (float[N,H,Q,Q] z, bool[N,1,1,Q] m) => (float[A,B,C,D] y)
    <int64 zero = {0}, int64 one = {1}, int64[3] axes = {0,1,3}, float[1] on = {0}, float off = {-9}, int64 low = {LOW}> {
    s = Shape<start=3>(m) n = Squeeze(s) i = Range(zero, n, one) r = Unsqueeze(i, axes) """


def _visible(body: str, low: int = 0) -> Case:
    return Case(_VISIBLE.replace("LOW", str(low)) + body + "}")


FIRES = [
    ("gather_nd_of_positions", _stacked("w = Concat<axis=-1>(u, v)")),
    ("gather_nd_of_positions", _stacked("w = Concat<axis=4>(u, v)", x="bool[3,M]")),
    ("gather_nd_of_positions", _stacked(  # of the columns only as many as another tensor has
        "w = Concat<axis=-1>(u, v)", places=_PLACES.replace("Shape<start=1>(x)", "Shape(other)"), more=", float[2] other")),
    ("gather_nd_of_positions", Case("""g (float[4] x) => (float[A] y) <int64 zero = {0}, int64 n = {4}, int64 one = {1}, int64[1] last = {-1}> {
        i = Range(zero, n, one) u = Unsqueeze(i, last) w = Concat<axis=1>(u) q = GatherND(x, w) y = Relu(q) }""")),
    ("gather_of_flat_positions", _flat("w = Add(h, c)")),
    ("gather_of_flat_positions", _flat("w = Add(c, h)", flat="f = Reshape(x, tall)")),
    ("gather_of_flat_positions", _flat("w = Add(c, h)", x="float[N,3]", width="three")),
    ("where_of_certain", Case("""g (bool[3,Q] m, float[3,Q] a) => (float[A,B] y)
        <int64 zero = {0}, int64 one = {1}, float off = {-9}> {
        s = Shape<start=1>(m) n = Squeeze(s) i = Range(zero, n, one)
        c = GreaterOrEqual(i, zero) b = And(c, m) y = Where(b, a, off) }""")),
    ("where_of_certain", Case("""g (bool[3,Q] m, float[3,Q] a) => (float[A,B] y) <int64 low = {-3}, float off = {-9}> {
        s = Shape<start=1>(m) c = LessOrEqual(low, s) b = And(m, c) y = Where(b, off, a) }""")),
    ("add_of_where_of_certain", _visible("c = GreaterOrEqual(r, zero) b = And(c, m) q = Where(b, on, off) y = Add(z, q)")),
    ("add_of_where_of_certain", _visible("c = LessOrEqual(low, r) b = And(m, c) q = Where(b, on, off) y = Add(q, z)", -1)),
]  # fmt: skip

REFUSES = [
    ("gather_nd_of_positions", Case(_stacked("w = Concat<axis=-1>(v, u)", x="bool[3,3]").text, reason="another order")),
    ("gather_nd_of_positions", Case(_stacked("w = Concat<axis=-1>(u, u)", x="bool[3,3]").text, reason="repeated")),
    ("gather_nd_of_positions", Case(_stacked(  # counts from 1
        "w = Concat<axis=-1>(u, v)", places=_PLACES.replace("i = Range(zero, b, one)", "i = Range(one, b, one)")).text,
        reason="not the place")),
    ("gather_nd_of_positions", Case(_stacked("k = Concat<axis=-1>(u, v) w = Neg(k)").text, reason="one index for each")),
    ("gather_nd_of_positions", Case("""g (float[3,4] x, int64[5,1] j) => (float[A] y) <int64[1,1] i = {1}, int64[2] s = {5,1}> {
        e = Expand(i, s) w = Concat<axis=1>(e, j) y = GatherND(x, w) }""", reason="not the place")),
    ("gather_nd_of_positions", Case("""g (float[3,1] x) => (float[A,B,C] y)  # one behind the other, not side by side
        <int64 zero = {0}, int64 one = {1}, int64 n = {3}, int64[2] last = {1,2}> {
        i = Range(zero, n, one) u = Unsqueeze(i, last) w = Concat<axis=0>(u, u) y = GatherND(x, w) }""",
        reason="one index for each")),
    ("gather_nd_of_positions", Case("""g (float[3,4] x) => (float[A,B] y)  # both indices come from the second tensor
        <int64 zero = {0}, int64 one = {1}, int64 m = {3}, int64 n = {4}, int64[2] rows = {1,2}, int64[2] columns = {0,2},
         int64[3] none = {3,4,0}, int64[3] two = {3,4,2}> {
        i = Range(zero, m, one) r = Unsqueeze(i, rows) u = Expand(r, none)
        j = Range(zero, n, one) c = Unsqueeze(j, columns) v = Expand(c, two)
        w = Concat<axis=2>(u, v) y = GatherND(x, w) }""", reason="one index for each")),
    ("gather_of_flat_positions", Case("""g (float[3,4] x) => (float[A,B] y)  # a column more goes on in the next row
        <int64 zero = {0}, int64 one = {1}, int64 two = {2}, int64 five = {5}, int64 four = {4}, int64[1] last = {1}, int64[1] all = {-1}> {
        i = Range(zero, two, one) r = Unsqueeze(i, last) h = Mul(r, four) j = Range(zero, five, one)
        f = Reshape(x, all) w = Add(h, j) y = Gather(f, w) }""", reason="for all rows and columns")),
    ("gather_of_flat_positions", Case(_flat("w = Add(h, c)", width="s0").text, reason="length of rows")),
    ("gather_of_flat_positions", Case(_flat("w = Add(h, c)", width="three").text, reason="length of rows")),
    ("gather_of_flat_positions", Case(_flat("w = Sub(h, c)").text, reason="length of rows")),
    ("gather_of_flat_positions", _flat("w = Add(h, c)", flat="f = Neg(x)")),
    ("gather_of_flat_positions", Case("""g (float[3,4] x) => (float[A,B,C] y)  # the rows are not those of one element each
        <int64 zero = {0}, int64 one = {1}, int64[1] last = {-1}, int64[2] wide = {6,2}, int64 three = {3}, int64 four = {4}> {
        i = Range(zero, three, one) r = Unsqueeze(i, last) h = Mul(r, four) f = Reshape(x, wide) w = Add(h, zero)
        y = Gather(f, w) }""")),
    ("where_of_certain", Case("""g (bool[3,1] m, float[3,1] a) => (float[A,B] y) <int64 zero = {0}, int64 one = {1}, int64 n = {5}, float off = {-9}> {
        i = Range(zero, n, one) c = GreaterOrEqual(i, zero) b = And(c, m) y = Where(b, a, off) }""", reason="broadcasts")),
    ("where_of_certain", Case("""g (bool[3,Q] m, float[3,Q] a, int64[Q] i) => (float[A,B] y) <int64 zero = {0}, float off = {-9}> {
        c = GreaterOrEqual(i, zero) b = And(c, m) y = Where(b, a, off) }""", reason="not known to be at least 0")),
    ("add_of_where_of_certain", Case(_visible(
        "c = GreaterOrEqual(r, low) b = And(c, m) q = Where(b, on, off) y = Add(z, q)", 1).text, reason="at least 0")),
    ("add_of_where_of_certain", Case(_visible(
        "c = GreaterOrEqual(r, zero) b = And(c, m) q = Where(b, on, off) y = Add(off, q)").text, reason="broadcasts")),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), FIRES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(FIRES)])
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), REFUSES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(REFUSES)])
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


def test_every_rule_is_tried() -> None:
    assert {r.name for r in rules_of("raising") if r.family == "mask"} == {r for r, _ in FIRES}
