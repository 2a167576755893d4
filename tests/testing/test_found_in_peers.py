"""Models that `graphopt fuzz --optimizer` found other optimizers to get wrong, shrunk: graphopt has to get them right.

found_in_peers/index.json says for each which optimizer it was, what became wrong, and on how many of the seeds.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from graphopt.testing.fuzzing.corpus import read_example
from graphopt.testing.fuzzing.examining import Examiner

FOLDER = Path(__file__).parent / "found_in_peers"
INDEX = json.loads((FOLDER / "index.json").read_text())


def test_every_model_is_listed() -> None:
    assert sorted(p.name for p in FOLDER.glob("*.onnx")) == sorted(entry["file"] for entry in INDEX)


@pytest.mark.parametrize("entry", INDEX, ids=lambda entry: Path(entry["file"]).stem)
def test_graphopt_is_right(entry: dict[str, str]) -> None:
    example = read_example(FOLDER / entry["file"])
    for level in (0, 1, 2):
        outcome = Examiner("", level)(example)
        assert outcome.finding is None, f"level {level}: {outcome.finding}"
        assert outcome.compared["reference"]
