"""Rules of patterns/simplifying/sequence.py."""

from __future__ import annotations

import pytest

from graphopt.patterns import rules_of
from tests.patterns.rule_cases import Case, check_fires, check_refuses


def _parts(size: str, attributes: str = "axis=1", x: str = "float[N,6]", two: bool = True) -> str:
    second = "b = SequenceAt(s, k1) v = Neg(b)" if two else "v = Neg(x)"
    return f"""g ({x} x) => (float[A,B] y, float[C,D] v) <{size} n = {{NUMBERS}}, int64 k0 = {{0}}, int64 k1 = {{-1}}> {{
        s = SplitToSequence<{attributes}>(x, n) a = SequenceAt(s, k0) y = Relu(a) {second} }}"""


FIRES = [
    ("sequence_at_of_construct", Case("""g (float[N,6] x, float[2] z) => (float[A,B] y) <int64 k = {-2}> {
        s = SequenceConstruct(x, z) a = SequenceAt(s, k) y = Relu(a) }""", nodes=1)),
    ("sequence_at_of_split", Case(_parts("int64").replace("NUMBERS", "3"), nodes=3)),
    ("sequence_at_of_split", Case(_parts("int64").replace("NUMBERS", "4"), nodes=3)),
    ("sequence_at_of_split", Case(_parts("int64[3]").replace("NUMBERS", "1, 2, 3"), nodes=3)),
    ("sequence_at_of_split", Case(_parts("int64", two=False).replace("NUMBERS", "2"), nodes=3)),
    ("sequence_at_of_split", Case(_parts("int64", two=False).replace("NUMBERS", "9"), nodes=2)),
    ("sequence_at_of_split", Case("""g (float[N,3] x) => (float[A] y) <int64 k = {1}> {
        s = SplitToSequence<axis=-1, keepdims=0>(x) a = SequenceAt(s, k) y = Relu(a) }""", nodes=2)),
    ("sequence_at_of_split", Case("""g (float[N,3] x) => (float[A,B] y) <int64 k = {1}> {
        s = SplitToSequence<axis=-1>(x) a = SequenceAt(s, k) y = Relu(a) }""", nodes=2)),
]  # fmt: skip

REFUSES = [
    ("sequence_at_of_construct", Case("""g (float[N,6] x, float[2] z, int64 k) => (float[A,B] y) {
        s = SequenceConstruct(x, z) a = SequenceAt(s, k) y = Relu(a) }""")),
    ("sequence_at_of_split", Case(_parts("int64", x="float[N,M]").replace("NUMBERS", "3"), reason="not known")),
    ("sequence_at_of_split", Case("""g (float[N,3] x) => (float[A,B] y) <int64 k = {3}> {
        s = SplitToSequence<axis=-1>(x) a = SequenceAt(s, k) y = Relu(a) }""", reason="no such element")),
    ("sequence_at_of_split", Case("""g (string[2,3,2] x) => (string[A,B] y) <int64 k = {1}> {
        s = SplitToSequence<axis=1, keepdims=0>(x) y = SequenceAt(s, k) }""", reason="text")),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), FIRES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(FIRES)])
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), REFUSES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(REFUSES)])
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


def test_every_rule_is_tried() -> None:
    assert {r.name for r in rules_of("simplifying") if r.family == "sequence"} == {r for r, _ in FIRES}
