"""Rules of patterns/simplifying/relative_position.py."""

from __future__ import annotations

import numpy as np
import pytest

import graphopt
from graphopt.patterns import rules_of
from tests.patterns.rule_cases import Case, build, check_fires, check_refuses, compare, run_ort, run_reference

TABLE = ", ".join(str(k / 4) for k in range(16))
NUMBERS = (
    "int64 zero = {0}, int64 one = {1}, int64[1] r = {1}, int64[1] c = {0}, int64 three = {3}, int64 four = {4}, int64 two = {2}, "
    f"float k = {{1.5}}, float[8,2] table = {{{TABLE}}}"
)
#: Distances of the columns from the rows of x.
DISTANCES = (
    "s = Shape<start=0, end=1>(x) t = Shape<start=1, end=2>(x) m = Squeeze(s) n = Squeeze(t) i = Range(zero, m, one) "
    "j = Range(zero, n, one) ri = Unsqueeze(i, r) cj = Unsqueeze(j, c) d = Sub(cj, ri) "
)
SIGN = "p = Greater(d, zero) q = Cast<to=7>(p) h = Mul(q, four) a = Abs(d) "
#: The number of a bucket as T5 counts them: the near ones one by one, then ever larger ones.
LOGARITHMIC = (
    "b = Less(a, two) f = Cast<to=1>(a) l = Log(f) e = Mul(l, k) g = Cast<to=7>(e) u = Add(g, one) v = Min(u, three) "
    "w = Where(b, a, v) z = Add(h, w) y = Gather(table, z)"
)


def g(body: str, more: str = "", numbers: str = NUMBERS, y: str = "float[A,B,C] y", **options: object) -> Case:
    return Case(f"g (float[M,N] x{more}) => ({y}) <{numbers}> {{ {body} }}", **options)


FIRES = [
    g(DISTANCES + SIGN + LOGARITHMIC),
    g(DISTANCES.replace("Sub(cj, ri)", "Sub(ri, cj)") + SIGN + LOGARITHMIC),
    g(DISTANCES + SIGN + "w = Min(a, three) z = Add(h, w) y = Gather(table, z)"),
    g(  # from minus the most on, as others count
        DISTANCES + "l = Neg(three) a = Max(d, l) b = Min(a, three) z = Add(b, three) y = Gather(table, z)"),
    g(DISTANCES + "a = Abs(d) b = Min(a, three) z = Neg(b) y = Gather(table, z)"),  # counted from the end of the table
    g(DISTANCES + SIGN + "o = Shape(d) v = Expand(three, o) w = Min(a, v) z = Add(w, h) y = Gather(table, z)"),
]  # fmt: skip

REFUSES = [
    g(DISTANCES + SIGN + "z = Add(h, a) y = Gather(table, z)", reason="not one bucket for all that is far"),
    g(DISTANCES + SIGN + "w = Min(a, k8) z = Add(h, w) y = Gather(table, z)", numbers=NUMBERS + ", int64 k8 = {8}", reason="are not there"),
    g(DISTANCES + "a = Mul(d, zero) w = Abs(a) z = Add(w, one) y = Gather(table, z)", reason="one bucket for all"),
    g(DISTANCES + SIGN + "v = Min(a, extra) z = Add(h, v) y = Gather(table, z)", ", int64 extra", reason="not computed from the distances"),
    g(SIGN + "w = Min(a, three) z = Add(h, w) y = Gather(table, z)", ", int64[M,N] d", reason="not computed from the distances"),
    g(DISTANCES + SIGN + "w = Min(a, three) z = Add(h, w) y = Gather(table, z)", y="float[A,B,C] y, int64[A,B] w", reason="not computed"),
    g(  # the number of rows is not one that broadcasts
        DISTANCES + SIGN + "w = Min(a, wide) z = Add(h, w) y = Gather(table, z)", numbers=NUMBERS + ", int64[1,1,1] wide = {3}",
        y="float[A,B,C,D] y", reason="not computed"),
]  # fmt: skip


@pytest.mark.parametrize("case", FIRES)
def test_fires(case: Case) -> None:
    check_fires("gather_by_distance", case)


@pytest.mark.parametrize("case", REFUSES)
def test_refuses(case: Case) -> None:
    check_refuses("gather_by_distance", case)


def test_every_rule_is_tried() -> None:
    assert {r.name for r in rules_of("simplifying") if r.family == "relative_position"} == {"gather_by_distance"}


@pytest.mark.parametrize("sizes", [(1, 1), (40, 3), (3, 40), (70, 70)])
def test_far_and_near(sizes: tuple[int, int]) -> None:
    """All distances, also those that no longer have a bucket of their own."""
    original = build(FIRES[0])
    fast = graphopt.optimize(original)
    assert "Log" not in {n.op for n in fast.nodes()}
    feeds = {"x": np.zeros(sizes, np.float32)}
    for run in (run_ort, run_reference):
        compare(run(original, feeds), run(fast.proto, feeds), exact=True, tolerance=0)
