"""Rules of patterns/lowering/slicing.py."""

from __future__ import annotations

from typing import Any

import pytest

from graphopt.patterns import rules_of
from tests.patterns.rule_cases import Case, check_fires, check_refuses


def _slices(*cuts: str, axis: int = 1, x: str = "float[N,6]", **options: Any) -> Case:
    """Slices 'start end step' of x, each read by another operator."""
    readers = ("Relu", "Neg", "Abs")
    body, constants, outputs = "", [f"int64[1] axis = {{{axis}}}"], []
    for k, cut in enumerate(cuts):
        start, end, step = (*cut.split(), "1")[:3]
        constants += [f"int64[1] {n}{k} = {{{v}}}" for n, v in (("s", start), ("e", end), ("t", step))]
        body += f"p{k} = Slice(x, s{k}, e{k}, axis, t{k}) y{k} = {readers[k]}(p{k}) "
        outputs.append(f"float[A{k},B{k}] y{k}")
    return Case(f"g ({x} x) => ({', '.join(outputs)}) <{', '.join(constants)}> {{ {body} }}", **options)


FIRES = [
    _slices("0 3", "3 6", nodes=3),
    _slices("0 2", "2 9223372036854775807", nodes=3),
    _slices("-9 -4", "-4 9", axis=-1, nodes=3),
    _slices("2 3", "0 2", "3 6", nodes=4),
    _slices("0 3", "3 6", axis=0, x="float[6,N]", opset=11, nodes=3),
]
REFUSES = [
    _slices("0 3", "4 6", reason="from the first element on"),
    _slices("0 4", "3 6", reason="from the first element on"),
    _slices("0 3", "3 5", reason="must be equal"),
    _slices("0 3", "3 6", x="float[N,M]", reason="known size"),
    _slices("0 6 2", "1 6 2", reason="known size"),
    _slices("0 6", reason="from the first element on"),
]


@pytest.mark.parametrize("case", FIRES)
def test_fires(case: Case) -> None:
    check_fires("split_of_slices", case)


@pytest.mark.parametrize("case", REFUSES)
def test_refuses(case: Case) -> None:
    check_refuses("split_of_slices", case)


def test_every_rule_is_tried() -> None:
    assert {r.name for r in rules_of("lowering") if r.family == "slicing"} == {"split_of_slices"}
