"""Rules of patterns/simplifying/transpose.py."""

from __future__ import annotations

import pytest

from tests.patterns.rule_cases import Case, check_fires, check_refuses

FIRES = [
    ("transpose_transpose", Case("g (float[2,3,4] x) => (float[N,M,K] y) { a = Transpose<perm=[1,2,0]>(x) y = Transpose(a) }", nodes=1)),
    ("transpose_nothing", Case("g (float[2,3] x) => (float[2,3] y) { a = Transpose<perm=[0,1]>(x) y = Relu(a) }", nodes=1)),
]
REFUSES = [
    ("transpose_nothing", Case("g (float[2,3] x) => (float[3,2] y) { y = Transpose(x) }", reason="order changes")),
    ("transpose_transpose", Case("g (float[2,3] x) => (float[2,3] y, float[3,2] a) { a = Transpose(x) b = Transpose(a) y = Relu(b) }", reason="nothing would be saved")),
]


@pytest.mark.parametrize(("rule", "case"), FIRES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(FIRES)])
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), REFUSES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(REFUSES)])
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)
