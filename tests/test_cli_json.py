"""`--json` of every command has the shape that docs/cli.md tells."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from graphopt import cli
from graphopt.cli import main
from graphopt.exec.executors import node, web
from tests.conftest import ROOT
from tests.test_cli import turned_twice

TEXT = (ROOT / "docs" / "cli.md").read_text()
SECTIONS = {part.partition("\n")[0]: part for part in TEXT.partition("\n## JSON\n")[2].split("\n### ")[1:]}
SHAPES = {
    heading: json.loads(found[1])
    for heading, part in SECTIONS.items()
    if (found := re.search(r"```json\n(.*?)```", part, re.DOTALL))
}
RULE = """
from graphopt.rewrite import op, rule


@rule(exact=True)
def {name}(x):
    yield -(-x)
    yield {right}
"""


def differences(told: Any, got: Any, at: str = "") -> list[str]:
    """Where data does not have the shape that is told."""
    if told is None or got is None:
        return []
    if isinstance(told, dict):
        if not isinstance(got, dict):
            return [f"{at}: {got!r} is no object"]
        if len(told) == 1 and (any_key := next(iter(told))).isupper():
            return [d for k, v in got.items() for d in differences(told[any_key], v, f"{at}.{k}")]
        wrong = [f"{at}: {k} is {'missing' if k in told else 'not told'}" for k in told.keys() ^ got.keys()]
        return wrong + [d for k in told.keys() & got.keys() for d in differences(told[k], got[k], f"{at}.{k}")]
    if isinstance(told, list):
        if not isinstance(got, list):
            return [f"{at}: {got!r} is no list"]
        kinds = told or [None]
        same = len({type(t) for t in kinds}) == 1
        return [d for i, v in enumerate(got) if same for d in differences(kinds[0], v, f"{at}[{i}]")]
    numbers = (int, float)
    alike = isinstance(got, numbers) if isinstance(told, numbers) else type(told) is type(got)
    return [] if alike else [f"{at}: {got!r} is not like {told!r}"]


def test_differences_are_found() -> None:
    told = {"a": [{"b": 1}], "c": {"NAME": "x"}, "d": None}
    assert not differences(told, {"a": [{"b": 2.5}, {"b": 3}], "c": {"y": "z"}, "d": 7})
    assert len(differences(told, {"a": [{"b": "2"}, {}], "c": {"y": 1}})) == 4


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    turned_twice(tmp_path / "model.onnx")
    (tmp_path / "right.py").write_text(RULE.format(name="right", right="x"))
    (tmp_path / "wrong.py").write_text(RULE.format(name="wrong", right="-x"))
    assert main(["optimize", "model.onnx", "-o", "fast.onnx", "-q"]) == 0
    return tmp_path


NOT_THERE = node.missing([web.PACKAGE], "ONNX Runtime Web", program=False)
NEEDS_WEB = pytest.mark.skipif(NOT_THERE is not None, reason=f"ONNX Runtime Web is left out: {NOT_THERE}")
CASES: list[Any] = [
    ("optimize", "optimize model.onnx", 0),
    ("verify", "verify model.onnx fast.onnx --on reference", 0),
    ("diff", "diff model.onnx fast.onnx", 1),
    ("diff", "diff fast.onnx fast.onnx", 0),
    ("bisect", "bisect model.onnx --on reference", 0),
    ("inspect", "inspect model.onnx", 0),
    ("inspect --cost", "inspect model.onnx --cost", 0),
    ("inspect --shapes", "inspect model.onnx --shapes", 0),
    ("report", "report model.onnx fast.onnx", 0),
    pytest.param("web-demo", "web-demo model.onnx -o folder", 0, marks=NEEDS_WEB),
    ("explain", "explain model.onnx", 0),
    ("explain", "explain model.onnx --tree", 0),
    ("explain", "explain model.onnx --tree --step 1", 0),
    ("rules", "rules --family transpose", 0),
    ("rules", "rules dead_code", 0),
    ("check-rule", "check-rule right.py --on reference", 0),
    ("check-rule", "check-rule wrong.py --on reference --save .", 1),
    ("fuzz", "fuzz --seeds 1 --on reference", 0),
    ("tidy", "tidy model.onnx --check --on reference", 1),
]


@pytest.mark.parametrize(("heading", "line", "code"), CASES)
def test_json(heading: str, line: str, code: int, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main([*line.split(), "--json"]) == code
    assert not differences(SHAPES[heading], json.loads(capsys.readouterr().out))


def test_a_demo(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    verification = data.pop("verification")
    told = {k: v for k, v in SHAPES["optimize"].items() if k not in ("input", "output", "file_bytes")}
    assert not differences(told, data) and not differences(SHAPES["verify"], verification)


def test_every_command_has_it() -> None:
    commands = {c.callback.__name__.replace("_", "-") for c in cli.app.registered_commands if c.callback is not None}
    assert commands == {tuple(getattr(c, "values", c))[1].split()[0] for c in CASES} | {"demo"}
