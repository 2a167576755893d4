"""Rules of patterns/simplifying/logic.py."""

from __future__ import annotations

import pytest

from graphopt.patterns import all_rules
from tests.patterns.elementwise_cases import flat, g
from tests.patterns.rule_cases import Case, apply, build, check_fires, check_refuses

BOOLS = "bool[3,4]"
YES, NO = "bool c = {1}", "bool c = {0}"
INTS = {"x": "int64[N]", "y": "bool[N]", "more": "int64[N] z"}
FLOATS = {"x": "float[N]", "y": "bool[N]", "more": "float[N] z"}

FIRES = {
    "identity_nothing": [
        g("a = Identity(x) y = Not(a)", BOOLS, nodes=1),
        g("a = Not(x) y = Identity(a)", BOOLS, nodes=1),
    ],
    "dropout_nothing": [
        g("a = Dropout(x) y = Relu(a)", "float[N]", nodes=1),
        g("a = Dropout(x, r) y = Relu(a)", "float[N]", "float r = {0.7}", nodes=1),
        # a ratio that the graph computes
        g(
            "s = Size(x) f = Cast<to=1>(s) r = Reciprocal(f) a = Dropout(x, r, t) y = Relu(a)",
            "float[N]", "bool t = {0}", nodes=1,
        ),
        g("a = Dropout<seed=7>(x, , t) y = Relu(a)", "float[N]", "bool t = {0}", nodes=1),
        g("a = Dropout<ratio=0.7>(x) y = Relu(a)", "float[N]", opset=10, nodes=1),
        g("a, m = Dropout(x) y = Relu(a)", "float[N]", opset=7, nodes=1),
    ],
    "not_not": [g("a = Not(x) b = Not(a) y = And(b, x)", BOOLS, nodes=1)],
    "not_less": [
        g("a = Less(x, z) y = Not(a)", **INTS, nodes=1),
        g("a = Greater(x, z) y = Not(a)", **INTS, nodes=1),
    ],
    "not_less_or_equal": [
        g("a = LessOrEqual(x, z) y = Not(a)", **INTS, nodes=1),
        g("a = GreaterOrEqual(x, z) y = Not(a)", **INTS, nodes=1),
    ],
    "and_true": [
        g("a = And(x, c) y = Not(a)", BOOLS, YES, nodes=1),
        g("a = And(c, x) y = Not(a)", "bool[N,2]", "bool[1,2] c = {1,1}", nodes=1),
        g("a = Or(x, c) y = Not(a)", BOOLS, NO, nodes=1),
        g("a = Xor(c, x) y = Not(a)", BOOLS, NO, nodes=1),
    ],
    "and_false": [
        g("a = And(x, c) y = Not(a)", BOOLS, NO, nodes=1),
        g("a = Or(c, x) y = Not(a)", "bool[4]", "bool[3,1] c = {1,1,1}", y="bool[3,4]", nodes=1),
    ],
    "xor_true": [g("y = Xor(x, c)", BOOLS, "bool[1] c = {1}", nodes=1)],
    "and_same": [
        g("a = And(x, x) y = Not(a)", BOOLS, nodes=1),
        g("a = Or(x, x) y = Not(a)", BOOLS, nodes=1),
    ],
    "equal_true": [
        g("a = Equal(x, c) y = Not(a)", BOOLS, YES, nodes=1),
        g("y = Equal(c, x)", BOOLS, "bool[4] c = {0,0,0,0}", nodes=1),
    ],
    "where_decided": [
        g("a = Where(c, x, z) y = Relu(a)", "float[N,4]", YES, more="float[4] z", special=True, nodes=1),
        g("a = Where(c, z, x) y = Relu(a)", "float[N,4]", "bool[1,4] c = {0,0,0,0}", more="float[N,4] z", nodes=1),
    ],
    "where_decided_for_all": [
        g(
            "s = Shape(x) e = Expand(c, s) a = Where(e, z, x) y = Relu(a)",
            "float[N,4]", "bool[1,4] c = {1,1,1,1}", more="float[4] z", nodes=3,
        ),
        g("s = Shape(x) e = Expand(c, s) y = Where(e, x, z)", "float[N,4]", "bool c = {0}", more="float[4] z", nodes=2),
    ],
    "where_same": [
        g("a = Where(c, x, x) y = Relu(a)", "float[N,4]", more="bool[4] c", special=True, nodes=1),
        g("a = Where(c, x, x) y = Relu(a)", "float[N,4]", more="bool[N,1] c", nodes=1),
    ],
    "where_not": [g("n = Not(x) y = Where(n, u, v)", BOOLS, y="float[3,4]", more="float[4] u, float[3,1] v", nodes=1)],
}  # fmt: skip

REFUSES = {
    "identity_nothing": [g("y = Identity(x)", BOOLS)],
    "dropout_nothing": [
        g("a = Dropout(x, , t) y = Relu(a)", "float[N]", "bool t = {1}", reason="training_mode"),
        g("a = Dropout(x, , z) y = Relu(a)", "float[N]", more="bool z"),
        g("a = Dropout<ratio=0.5>(x) y = Relu(a)", "float[N]", opset=6, reason="is_test"),
        Case("g (float[N] x) => (float[N] y, bool[N] m) { y, m = Dropout(x) }", reason="nothing would be saved"),
    ],
    "not_not": [Case("g (bool[N] x, bool[N] z) => (bool[N] y) { a = Not(x) b = And(a, z) y = Not(b) }")],
    "not_less": [
        g("a = Less(x, z) y = Not(a)", **FLOATS, reason="not integers"),
        g("a = Greater(x, z) y = Not(a)", **FLOATS, reason="not integers"),
        g("a = Less(x, z) y = Not(a)", **INTS, opset=11, reason="does not exist"),
        g("a = Equal(x, z) y = Not(a)", **INTS),
    ],
    "not_less_or_equal": [
        g("a = LessOrEqual(x, z) y = Not(a)", **FLOATS, reason="not integers"),
        Case(
            "g (int64[N] x, int64[N] z) => (bool[N] y, bool[N] a) { a = LessOrEqual(x, z) y = Not(a) }",
            reason="nothing would be saved",
        ),
    ],
    "and_true": [
        g("y = And(x, c)", BOOLS, NO, reason="not the neutral element"),
        g("y = Or(x, c)", BOOLS, YES, reason="not the neutral element"),
        g("y = Xor(x, c)", BOOLS, YES, reason="not the neutral element"),
        g("y = And(x, c)", BOOLS, "bool[4] c = {1,1,0,1}", reason="not the neutral element"),
        g("y = And(x, c)", "bool[1,4]", "bool[3,1] c = {1,1,1}", y="bool[3,4]", reason="broadcast x up"),
        g("y = And(x, c)", "bool[N]", "bool[3] c = {1,1,1}", y="bool[M]", reason="broadcast x up"),
    ],
    "and_false": [
        g("y = And(x, c)", BOOLS, YES, reason="does not decide alone"),
        g("y = Or(x, c)", BOOLS, "bool[4] c = {1,1,1,0}", reason="does not decide alone"),
        g("y = And(x, c)", "bool[N]", NO, reason="not known"),
        g("y = And(x, c)", "bool[2000]", NO, reason="large"),
    ],
    "xor_true": [
        g("y = Xor(x, c)", BOOLS, NO),
        g("y = Xor(x, c)", "bool[3]", "bool[1,1] c = {1}", y="bool[1,3]"),
    ],
    "and_same": [
        g("y = And(x, z)", BOOLS, more="bool[4] z"),
        g("y = Xor(x, x)", BOOLS),
    ],
    "equal_true": [
        g("y = Equal(x, c)", BOOLS, "bool[4] c = {1,1,0,1}", reason="neither"),
        g("y = Equal(x, c)", "int64[N]", "int64 c = {1}", y="bool[N]", reason="not truth values"),
        g("y = Equal(x, c)", "bool[1,4]", "bool[3,1] c = {1,1,1}", y="bool[3,4]", reason="broadcast x up"),
    ],
    "where_decided_for_all": [
        g(
            "s = Shape(x) e = Expand(c, s) y = Where(e, x, z)",
            "float[N,4]", "bool[4] c = {0,1,1,1}", more="float[4] z", reason="neither",
        ),
        g(
            "s = Shape(z) e = Expand(c, s) y = Where(e, x, z)",
            "float[N,4]", YES, y="float[N,4]", more="float[1] z", reason="may broadcast it up",
        ),
        g(
            "e = Expand(c, s) y = Where(e, z, x)",
            "float[N,4]", YES, y="float[N,4]", more="float[4] z, int64[2] s", reason="may broadcast it up",
        ),
    ],
    "where_decided": [
        g("y = Where(c, x, z)", "float[4]", "bool[4] c = {1,1,0,1}", more="float[4] z", reason="neither"),
        g("y = Where(c, x, z)", "float[4]", YES, y="float[3,4]", more="float[3,4] z", reason="broadcast it up"),
        g(
            "y = Where(c, x, z)",
            "float[4]", "bool[3,1] c = {1,1,1}", y="float[3,4]", more="float[4] z", reason="broadcast it up",
        ),
        g("y = Where(c, x, z)", "float[N]", YES, y="float[K]", more="float[M] z", reason="broadcast it up"),
    ],
    "where_same": [
        g("y = Where(c, x, x)", "float[4]", y="float[3,4]", more="bool[3,1] c", reason="broadcast x up"),
        g("y = Where(c, x, x)", "float[N]", y="float[K]", more="bool[M] c", reason="broadcast x up"),
        g("y = Where(c, x, z)", "float[4]", more="float[4] z, bool[4] c"),
    ],
    "where_not": [g("n = Not(x) y = Where(x, u, v)", BOOLS, y="float[3,4]", more="float[4] u, float[3,1] v")],
}  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), flat(FIRES))
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), flat(REFUSES))
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


@pytest.mark.parametrize("opset", [1, 6])
def test_dropout_of_old_opsets(opset: int) -> None:
    """is_test said whether it drops; no executor runs these any more."""
    case = g("a = Dropout<is_test=1, ratio=0.7>(x) y = Relu(a)", "float[N]", opset=opset)
    result, ledger = apply(build(case), all_rules()["dropout_nothing"])
    assert [s.rule for s in ledger.steps] == ["dropout_nothing"]
    assert [n.op_type for n in result.proto.graph.node] == ["Relu"]
