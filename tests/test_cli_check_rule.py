"""`graphopt check-rule`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from graphopt.cli import main

RULES = """
from graphopt.rewrite import op, rule


@rule(exact=True)
def right(x):
    yield -(-x)
    yield x


@rule(exact=True)
def wrong(x, y):
    yield -(x - y)
    yield x - y
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.py"
    path.write_text(RULES)
    return path


def test_right_and_wrong(rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-rule", str(rules), "--on", "reference"]) == 1
    text = capsys.readouterr().out
    assert "right: fired on" in text and "rule 'wrong'" in text and "1 of 2 rules are right" in text


def test_one_of_them_and_a_proof(rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-rule", f"{rules}::right", "--on", "reference", "--prove"]) == 0
    assert "structural" in capsys.readouterr().out


def test_the_model_is_saved(rules: Path, tmp_path: Path) -> None:
    assert main(["check-rule", f"{rules}::wrong", "--on", "reference", "--save", str(tmp_path)]) == 1
    model = onnx.load(tmp_path / "wrong.onnx")
    onnx.checker.check_model(model, full_check=True)
    with np.load(tmp_path / "wrong.npz") as feeds:
        assert set(feeds) == {i.name for i in model.graph.input}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none.py"], "no such file"),
        (["no.such.module"], "cannot be imported"),
        (["json"], "holds no rule"),
        (["graphopt.patterns::nothing"], "no rule 'nothing'"),
        (["--profile", "weekly"], "'weekly' is none"),
        (["--save", "/no/such/folder"], "is no folder"),
        (["graphopt.patterns::gelu", "--on", "abacus"], "no executor is called 'abacus'"),
    ],
)
def test_wrong_arguments(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-rule", *arguments]) == 2
    assert told in capsys.readouterr().err
