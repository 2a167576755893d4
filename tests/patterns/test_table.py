"""Rules of patterns/simplifying/table.py."""

from __future__ import annotations

from typing import Any

import pytest

from tests.patterns.building import cases, floats
from tests.patterns.rule_cases import Case, check_fires, check_refuses

TABLE, FIVE = floats("w", 4, 3), floats("w", 5, 3)


def marks(
    equal: str = "e = Equal(u, p)",
    ids: str = "int64[N,2] i",
    column: str = "u = Unsqueeze(i, last)",
    constants: str = f"{TABLE}, int64[4] p = {{0,1,2,3}}",
    to: int = 1,
    out: str = "float[A,B,C]",
    **o: Any,
) -> Case:
    """Marks among four places, times a table."""
    text = f"g ({ids}) => ({out} y) <{constants}, int64[1] last = {{-1}}, int64[3] tall = {{0,2,1}}> {{ {column} {equal} m = Cast<to={to}>(e) y = MatMul(m, w) }}"
    return Case(text, **o)


def rows(body: str, constants: str, ids: str = "int64[N,2] i", out: str = "float[A,B,C]", **o: Any) -> Case:
    return Case(f"g ({ids}) => ({out} y) <{constants}> {{ {body} }}", **o)


FIRES = {
    "product_of_one_hot": [
        marks(nodes=2),
        marks("e = Equal(p, u)", nodes=2),
        marks(column="u = Reshape(i, tall)", nodes=2),
        marks(ids="int32[N,2] i", constants=f"{TABLE}, int32[1,1,4] p = {{0,1,2,3}}", nodes=2),
        marks("r = Range(a, b, c) e = Equal(u, r)", constants=f"{TABLE}, int64 a = {{0}}, int64 b = {{4}}, int64 c = {{1}}"),
    ],
    "gather_plus_shift": [
        rows("r = Gather(w, i) y = Add(r, c)", f"{FIVE}, {floats('c', 3)}", nodes=1),
        rows("r = Gather(w, i) y = Add(c, r)", f"{FIVE}, {floats('c', 1, 1, 3)}", nodes=1),
        rows("r = Gather<axis=-2>(w, i) y = Add(c, r)", f"{FIVE}, float c = {{0.5}}", nodes=1),
    ],
}  # fmt: skip
REFUSES = {
    "product_of_one_hot": [
        marks(constants=f"{TABLE}, int64[4] p = {{0,1,3,2}}", reason="in a row"),
        marks(constants=f"{TABLE}, int64[4] p = {{1,2,3,4}}", reason="in a row"),
        marks(constants=f"{floats('w', 1, 3)}, int64[1,1] p = {{1}}", reason="in a row"),
        marks(ids="float[N,2] i", constants=f"{TABLE}, float[4] p = {{0,1,2,3}}", reason="in a row"),
        marks(constants="float[4,1] w = {1,2,inf,3}, int64[4] p = {0,1,2,3}", reason="infinities"),
        marks(
            to=7, out="int64[A,B,C]", constants="int64[4,1] w = {1,2,4,3}, int64[4] p = {0,1,2,3}", reason="no rows of floats"
        ),
        marks("e = Equal(u, q)", "int64[2,2] i", constants=f"{TABLE}, int64[2,1,4] q = {{0,1,2,3,0,1,2,3}}", reason="in a row"),
        marks(column="u = Reshape(i, row)", ids="int64[2,2] i",
              constants=f"{TABLE}, int64[4] p = {{0,1,2,3}}, int64[3] row = {{4,1,1}}", reason="of their own"),
    ],
    "gather_plus_shift": [
        rows("r = Gather(w, i) y = Add(r, c)", f"{TABLE}, {floats('c', 2, 3)}", reason="shift per column"),
        rows("r = Gather<axis=1>(w, i) y = Add(r, c)", f"{floats('w', 3, 4)}, {floats('c', 2)}", reason="columns are picked"),
        rows("r = Gather(w, i) y = Add(r, c)", "float[2,1] w = {1,2}, float[1] c = {inf}", reason="one finite shift"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), cases(FIRES))
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), cases(REFUSES))
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)
