"""Rules of patterns/raising/selection.py."""

from __future__ import annotations

from typing import Any

import pytest

from graphopt.patterns import rules_of
from tests.patterns.rule_cases import Case, check_fires, check_refuses


def _marks(
    equal: str = "e = Equal(u, places)", to: int = 7, places: str = "0,1,2,3", axis: str = "-1", **o: Any
) -> Case:
    """Which of four largest elements was chosen."""
    n = places.count(",") + 1
    dtype = {7: "int64", 1: "float", 6: "int32"}[to]
    text = f"""g (float[N,4] x) => ({dtype}[A,B,C] y)
        <int64[1] two = {{2}}, int64[{n}] places = {{{places}}}, int64[1] axis = {{{axis}}}> {{
        v, i = TopK(x, two) u = Unsqueeze(i, axis) {equal} y = Cast<to={to}>(e) }}"""
    return Case(text, **o)


FIRES = [
    _marks(nodes=2),
    _marks("e = Equal(places, u)", to=1, nodes=2),
    _marks(axis="2", places="0,1", nodes=2),
    Case("""g (float[N,4] x) => (int64[A,B,C] y) <int64 zero = {0}, int64 one = {1}, int64 four = {4}, int64[1] axis = {2}> {
        i = ArgMax<axis=1>(x) r = Range(zero, four, one) u = Unsqueeze(i, axis) e = Equal(u, r) y = Cast<to=7>(e) }"""),
]
REFUSES = [
    _marks(places="0,1,2,4", reason="not compared with"),
    _marks(places="1,2,3,4", reason="not compared with"),
    _marks(axis="1", places="0,1", reason="of their own"),
    _marks(to=6, reason="no kernel"),
    Case("""g (int64[N] i) => (int64[A,B] y) <int64[4] places = {0,1,2,3}, int64[1] axis = {1}> {
        u = Unsqueeze(i, axis) e = Equal(u, places) y = Cast<to=7>(e) }""", reason="may count from the end"),
    Case("""g (int64[N,1] u) => (int64[A,B] y) <int64[4] places = {0,1,2,3}> {
        e = Equal(u, places) y = Cast<to=7>(e) }"""),
    Case("""g (float[2,2,4] x) => (int64[A,B,C] y) <int64[2] p = {0,1}, int64[2] tall = {2,1}, int64[1] axis = {2}> {
        i = ArgMax<axis=2, keepdims=0>(x) u = Unsqueeze(i, axis) r = Reshape(p, tall) e = Equal(u, r) y = Cast<to=7>(e) }""",
        reason="in a row"),
    Case("""g (float[2,2,4] x) => (int64[A,B,C] y) <int64[2] p = {0,1}, int64[2] wide = {2,2}, int64[1] axis = {1}> {
        i = ArgMax<axis=2, keepdims=0>(x) u = Unsqueeze(i, axis) r = Expand(p, wide) e = Equal(u, r) y = Cast<to=7>(e) }""",
        reason="of their own"),
    Case("""g (float[M,4] x, float[K] z) => (int64[A,B] y) <int64 zero = {0}, int64 one = {1}, int64[1] axis = {1}> {
        i = ArgMax<axis=1, keepdims=0>(x) u = Unsqueeze(i, axis) s = Shape(z) n = Squeeze(s) r = Range(zero, n, one)
        e = Equal(u, r) y = Cast<to=7>(e) }""", reason="of unknown number"),
    Case("""g (float[M,4] x) => (int64[A,B] y) <int64 zero = {0}, int64 one = {1}, int64[1] axis = {1}> {
        i = ArgMax<axis=1, keepdims=0>(x) u = Unsqueeze(i, axis) r = Range(zero, zero, one)
        e = Equal(u, r) y = Cast<to=7>(e) }""", reason="no places"),
]  # fmt: skip


@pytest.mark.parametrize("case", FIRES)
def test_fires(case: Case) -> None:
    check_fires("one_hot", case)


@pytest.mark.parametrize("case", REFUSES)
def test_refuses(case: Case) -> None:
    check_refuses("one_hot", case)


def test_every_rule_is_tried() -> None:
    assert {r.name for r in rules_of("raising") if r.family == "selection"} == {"one_hot", "where_of_masks"}


MASKS = "n = Not(m) a = Cast<to=6>(m) b = Cast<to=6>(n) c = Mul(a, x) d = Mul(z, b)"
CHOICE = "g (bool[N,1] m, int32[N,3] x, int32[3] z) => (int32[N,3] y)"


@pytest.mark.parametrize(
    "text",
    [
        f"{CHOICE} {{ {MASKS} y = Add(c, d) }}",
        f"{CHOICE} {{ {MASKS} y = Add(d, c) }}",
        f"{CHOICE.replace('int32', 'int64')} {{ {MASKS.replace('to=6', 'to=7')} y = Add(d, c) }}",
    ],
)
def test_where_of_masks(text: str) -> None:
    check_fires("where_of_masks", Case(text, nodes=1))


def test_no_where_of_floats() -> None:
    """0 times infinity is no number."""
    text = f"{CHOICE.replace('int32', 'float')} {{ {MASKS.replace('to=6', 'to=1')} y = Add(c, d) }}"
    check_refuses("where_of_masks", Case(text, reason="not integers"))
