"""Short forms for the cases of rules about elementwise operators."""

from __future__ import annotations

from typing import Any

import pytest
from onnx import parser

from graphopt.patterns import all_rules
from tests.patterns.rule_cases import Case, apply


def g(body: str, x: str = "float[3,4]", constants: str = "", y: str = "", more: str = "", **options: Any) -> Case:
    """A graph of x (and more inputs) to y, by default of the same type; a to d are scalars."""
    scalars = [f"float {n} = {{{options.pop(n)}}}" for n in "abcd" if n in options]
    constants = constants or ", ".join(scalars) or "float unused = {1}"
    return Case(f"g ({x} x{more and ', ' + more}) => ({y or x} y) <{constants}> {{ {body} }}", **options)


def flat(table: dict[str, list[Case]]) -> list[Any]:
    """Parameters of a test from cases by rule."""
    return [pytest.param(rule, case, id=f"{rule}-{i}") for rule, cases in table.items() for i, case in enumerate(cases)]


def check_unknown_dtype(rule: str, body: str) -> None:
    """A rule leaves `u` alone, which an operator of another domain computes, so that nothing is known about it."""
    head = '<ir_version: 8, opset_import: ["": 17, "other": 1]>'
    constants = "float zero = {0}, float one = {1}, float two = {2}"
    text = f"{head} g (float x) => (float y) <{constants}> {{ u = other.Op(x) {body} }}"
    _, ledger = apply(parser.parse_model(text), all_rules()[rule])
    assert not ledger.steps
    assert {r for r, _ in ledger.declined} == {rule}
