"""The rule catalogue says what the rules do."""

from __future__ import annotations

import json
import re
from collections import Counter
from xml.etree import ElementTree

import pytest
from onnx import checker

from benchmarks import rule_hits
from docs.generate import catalogue
from docs.generate.examples import Example, example_of
from graphopt.patterns import all_rules
from graphopt.rewrite import op, rule

SHOWN = ("gelu", "batch_norm_of_convolution", "split_concat_of_2", "where_same", "multiply_integers_by_zero")


@pytest.fixture(scope="module")
def examples() -> dict[str, Example]:
    drawn = {name: example_of(all_rules()[name]) for name in SHOWN}
    found = {name: example for name, example in drawn.items() if example is not None}
    assert found.keys() == drawn.keys()
    return found


def test_examples_are_real(examples: dict[str, Example]) -> None:
    for name, example in examples.items():
        checker.check_model(example.before, full_check=True)
        checker.check_model(example.after, full_check=True)
        assert example.before.graph.output == example.after.graph.output, name
    assert [n.op_type for n in examples["gelu"].after.graph.node] == ["Gelu"]


def test_examples_are_the_same_everywhere(examples: dict[str, Example]) -> None:
    again = example_of(all_rules()["gelu"])
    assert again == examples["gelu"]


def test_a_rule_that_never_fires_has_none() -> None:
    @rule
    def never(x):
        yield op.Abs(op.Abs(x))
        if x.rank != 77:
            return "no tensor has so many dims"
        yield op.Abs(x)

    assert example_of(never) is None


def test_pictures_hold_every_node(examples: dict[str, Example]) -> None:
    for name, example in examples.items():
        picture = ElementTree.fromstring(example.drawing(name))
        drawn = Counter(t.text for t in picture.iter("{http://www.w3.org/2000/svg}text"))
        nodes = Counter(
            n.op_type for m in (example.before, example.after) for n in m.graph.node if n.op_type != "Constant"
        )
        assert nodes <= drawn, name


def test_opsets(examples: dict[str, Example]) -> None:
    rules = all_rules()
    assert catalogue.opsets(rules["gelu"], examples["gelu"]) == "20 and later"
    assert catalogue.opsets(rules["where_same"], examples["where_same"]) == "9 and later"
    assert catalogue.opsets(rules["batch_norm_of_convolution"], examples["batch_norm_of_convolution"]) == "7 and later"


def test_pages_show_every_rule(examples: dict[str, Example]) -> None:
    every = dict.fromkeys(all_rules(), examples["gelu"])
    names = []
    for (phase, family), rules in catalogue.families().items():
        text = catalogue.page(phase, family, rules, every)
        assert all(r.equation in text and catalogue.place(r) in text for r in rules)
        names += re.findall(r"<!-- drawing (\w+) -->", text)
    assert names == [r.name for rules in catalogue.families().values() for r in rules]
    assert sorted(names) == sorted(all_rules())


def test_the_record_of_hits_is_of_these_rules() -> None:
    record = catalogue.hits()
    assert record["models"] > 100
    unknown = set(record["rules"]) - set(all_rules())
    assert not unknown, "run python -m benchmarks.rule_hits --models FOLDER --write"
    for row in record["rules"].values():
        assert row and set(row) <= set(rule_hits.WAYS)
        assert all(0 < models <= record["models"] and models <= n for n, models in row.values())


def test_hits_are_counted_by_rule_and_model() -> None:
    found = {"level 2": [{"a": 2, "folding": 1}, {"a": 1, "b": 0}], "onnxruntime": [{"b": 3}, {}]}
    table = rule_hits.totals(found, ["a", "b", "c"])
    assert table == {"a": {"level 2": [3, 2]}, "b": {"onnxruntime": [3, 1]}}
    assert json.loads(rule_hits.text(table, 2)) == {"models": 2, "rules": table}
