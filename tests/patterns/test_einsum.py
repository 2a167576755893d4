"""Rules of patterns/onnxruntime_cpu/einsum.py."""

from __future__ import annotations

from typing import Any

import pytest

from tests.patterns.building import cases
from tests.patterns.rule_cases import Case, check_fires, check_refuses


def e(equation: str, *shapes: str, out: str, dtype: str = "float", **o: Any) -> Case:
    names = ["x", "z", "u", "v"][: len(shapes)]
    given = ", ".join(f"{dtype}[{s}] {n}" for s, n in zip(shapes, names, strict=True))
    return Case(
        f'g ({given}) => ({dtype}[{out}] y) {{ y = Einsum<equation="{equation}">({", ".join(names)}) }}',
        **o,
    )


FIRES = {
    "einsum_of_one": [
        e("bsd->bd", "N,3,4", out="N,4", nodes=1),
        e("ij->ji", "N,3", out="3,N", nodes=1),
        e("ij->ij", "N,3", out="N,3", nodes=1),  # a copy, for the output
        e("abc->ca", "2,N,4", out="4,2", nodes=2),
        e("ij->j", "2,3", out="3", dtype="int64", nodes=1),
    ],
    "einsum_of_two": [
        e("btd,de->bte", "N,T,4", "4,3", out="N,T,3", nodes=1),
        e("b t d, d e -> b t e", "N,T,4", "4,3", out="N,T,3", nodes=1),
        e("nd,edf->enf", "N,4", "2,4,3", out="2,N,3", nodes=1),
        e("bsd,hde->bhse", "N,S,4", "2,4,3", out="N,2,S,3", nodes=2),
        e("bhse,bte->bhst", "N,2,S,4", "N,T,4", out="N,2,S,T", nodes=3),
        e("bsd,bse->bde", "N,5,3", "N,5,4", out="N,3,4", nodes=2),
        e("ij,ki->kj", "2,N", "M,2", out="M,N", nodes=1),
        e("ij,jk->ki", "N,4", "4,M", out="M,N", nodes=3),
        e("bqhd,bkhd->bhqk", "N,Q,2,4", "N,K,2,4", out="N,2,Q,K", nodes=3),
        e("bhqk,bkhd->bqhd", "N,2,Q,5", "N,5,2,4", out="N,Q,2,4", nodes=3),
        e("ij,jk->ik", "N,4", "4,M", out="N,M", dtype="double", nodes=1),
        e("ij,jk->ik", "2,3", "3,2", out="2,2", dtype="int64", nodes=1),
    ],
    "einsum_of_three": [
        e("bhst,bte,ef->bhsf", "N,2,S,5", "N,5,4", "4,3", out="N,2,S,3", nodes=2),
        e("ij,jk,kl->il", "N,4", "4,3", "3,2", out="N,2", nodes=2),
        e("ij,jk,kl->il", "2,3", "3,2", "2,2", out="2,2", dtype="int64", nodes=2),
    ],
}
REFUSES = {
    "einsum_of_one": [
        e("bii->bi", "N,3,3", out="N,3", reason="diagonal"),
        e("ij", "2,3", out="2,3", reason="spelled out"),
        e("...j->...", "2,3", out="2", reason="spelled out"),
    ],
    "einsum_of_two": [
        e("ij,ij->ij", "2,3", "2,3", out="2,3", reason="not one dim"),
        e("ij,ij->i", "2,3", "2,3", out="2", reason="no rows"),
        e("ij,j->i", "2,3", "3", out="2", reason="no rows"),
        e("ij,kl->il", "2,3", "4,2", out="2,2", reason="not one dim"),
        e("ijk,jkl->il", "2,3,4", "3,4,2", out="2,2", reason="not one dim"),
        e("ijm,jk->ik", "2,3,4", "3,2", out="2,2", reason="not one dim"),
        e("ij,jk->ik", "N,A", "B,M", out="N,M", reason="to be the same"),
        e("ii,ij->ij", "3,3", "3,2", out="3,2", reason="diagonal"),
    ],
    "einsum_of_three": [
        e("ij,ij,jk->ik", "2,3", "2,3", "3,4", out="2,4", reason="not one dim"),
        e("ij,jk,kk->ik", "2,3", "3,2", "2,2", out="2,2", reason="diagonal"),
    ],
}


@pytest.mark.parametrize(("rule", "case"), cases(FIRES))
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), cases(REFUSES))
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)
