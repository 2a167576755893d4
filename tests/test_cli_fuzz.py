"""`graphopt fuzz`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from graphopt.cli import main
from graphopt.testing.fuzzing.campaign import fuzz
from tests.testing import planted_optimizers as planted

RAISES = "tests.testing.planted_optimizers:raises"


def test_a_clean_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["fuzz", "--on", "reference", "--corpus", str(tmp_path / "corpus")]
    assert main([*arguments, "--seeds", "5"]) == 0
    assert main([*arguments, "--seeds", "8"]) == 0
    text = capsys.readouterr().out
    assert "seeds      0 to 4" in text and "3 of them now, from 5 on" in text
    assert "found      nothing" in text and "outputs compared on reference" in text


def test_models_at_another_opset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["fuzz", "--on", "reference", "--corpus", str(tmp_path), "--seeds", "20", "--opset"]
    assert main([*arguments, "23"]) == 0
    assert "left out" not in capsys.readouterr().out
    assert main([*arguments, "9"]) == 0
    assert "cannot be written at opset 9" in capsys.readouterr().out


def test_minutes_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fuzz", "--minutes", "0.02", "--on", "reference", "--corpus", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["done"] >= 1


def test_findings_are_listed_and_can_be_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = fuzz(RAISES, on=["reference"], seeds=20, corpus=tmp_path, shrink_seconds=1)
    (group,) = found.run.groups.values()
    arguments = ["fuzz", "--optimizer", RAISES, "--on", "reference"]
    assert main([*arguments, "--seeds", "20", "--corpus", str(tmp_path)]) == 1
    text = capsys.readouterr().out
    assert group.file in text and "no Transpose, please" in text
    command = (tmp_path / group.file).with_suffix(".txt").read_text().splitlines()[-1].split()
    assert command[0] == "graphopt" and main(command[1:]) == 1
    assert "crash: RuntimeError: no Transpose, please" in capsys.readouterr().out
    assert main([*command[1:], "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["finding"]["kind"] == "crash"
    assert main(["fuzz", "--on", "reference", "--replay", str(tmp_path / group.file)]) == 0
    assert "nothing is wrong" in capsys.readouterr().out
    assert planted.raises.__name__ in group.file


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--level", "9"], "--level 9 does not exist"),
        (["--opset", "99"], "opset"),
        (["--opset", "18", "--optimizer", RAISES], "leave it out"),
        (["--on", "abacus"], "no executor is called 'abacus'"),
        (["--optimizer", "nonsense", "--seeds", "1"], "write module:function"),
        (["--replay", "none.onnx"], "'none.onnx' does not exist"),
    ],
)
def test_mistakes_are_said(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fuzz", *arguments, "--corpus", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
