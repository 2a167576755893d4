"""The ONNX backend suite through `benchmarks.suite`: what passes must pass once optimised, at both levels.

The cases ship inside the onnx package. GRAPHOPT_FULL=1 runs all of them; otherwise the light models stay out, which
take as long as all the others together.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FILTER = "" if os.environ.get("GRAPHOPT_FULL") else "^(?!real/)"


def run(report: Path, *arguments: str) -> tuple[int, str, dict[str, Any]]:
    """The command in a process of its own: exit code, what it printed, its report."""
    command = [sys.executable, "-m", "benchmarks.suite", "--json", str(report), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr, json.loads(report.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("const", [False, True], ids=["plain", "const"])
@pytest.mark.parametrize("level", [1, 2])
def test_what_passes_still_passes(level: int, const: bool, tmp_path: Path) -> None:
    flags = ["--exact"] * (level == 1) + ["--const"] * const
    code, printed, report = run(tmp_path / "report.json", "--level", str(level), "--filter", FILTER, *flags)
    assert report["summary"]["cases"] > 1500
    assert code == 0, printed


# ----------------------------------------------------------------------------------------- does the command see anything?
@pytest.mark.parametrize(
    ("bug", "case", "seen_by"),
    [
        ("swap_operands", "node/test_sub_bcast", {"reference", "ort", "ort_noopt"}),
        ("drop_activations", "node/test_relu", {"reference", "ort", "ort_noopt"}),
        ("rename_outputs", "node/test_abs", {"interface"}),
        ("name_dims", "node/test_abs", {"interface"}),
        ("last_bit", "node/test_abs", {"reference"}),
        ("refuse", "node/test_abs", {"optimizer"}),
        ("die", "node/test_abs", {"optimizer"}),
        ("invalid", "node/test_abs", {"checker", "reference", "ort", "ort_noopt"}),
    ],
)
def test_planted_bugs_are_seen(bug: str, case: str, seen_by: set[str], tmp_path: Path) -> None:
    planted = f"tests.conformance.planted:{bug}"
    code, printed, report = run(
        tmp_path / "report.json", "--optimizer", planted, "--exact", "--filter", f"^{case}$", "--jobs", "1"
    )
    assert code == 1, printed
    assert [set(verdict["broken"]) for verdict in report["verdicts"]] == [seen_by]


def test_a_model_that_comes_back_as_it_was_is_not_run(tmp_path: Path) -> None:
    code, printed, report = run(tmp_path / "report.json", "--optimizer", "identity", "--filter", "^node/test_abs$")
    assert code == 0, printed
    assert report["summary"]["unchanged"] == report["summary"]["cases"] == 1
