"""Every model of the zoo through `benchmarks.models`: all levels leave what it is and computes alone (3: for ONNX Runtime).

The 2.4 GB model stays out unless GRAPHOPT_FULL=1.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.zoo, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
BIG = set() if os.environ.get("GRAPHOPT_FULL") else {"big-mlp-2.4gb"}
LEVELS = (1, 2, 3)
Verdicts = dict[tuple[str, int], dict[str, Any]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a model: those of the manifest, or one that says why there are none."""
    if "model_id" in metafunc.fixturenames:
        folder = Path(os.environ.get("GRAPHOPT_ZOO") or "~/.cache/graphopt-zoo").expanduser()
        manifest = folder / "manifest.json"
        entries = json.loads(manifest.read_text()) if manifest.is_file() else []
        ids = [entry["id"] for entry in entries if entry["status"] == "ok" and entry["id"] not in BIG]
        metafunc.parametrize("model_id", ids or ["ppocr4-det"])


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest, zoo_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    """The verdicts on all models that this session asks for, from one run of the command, two models at a time."""
    ids = {"ppocr4-det"}
    for item in request.session.items:
        if item.path == Path(__file__) and (chosen := getattr(item, "callspec", None)):
            ids.add(chosen.params["model_id"])
    report = tmp_path_factory.mktemp("zoo") / "report.json"
    command = [
        sys.executable,
        "-m",
        "benchmarks.models",
        "--models",
        str(zoo_dir),
        "--only",
        ",".join(ids),
        "--jobs",
        "2",
    ]
    command += ["--levels", ",".join(map(str, LEVELS)), "--reference-seconds", "15", "--seeds", "1"]
    command += ["--json", str(report)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert report.is_file(), done.stdout + done.stderr
    return {(verdict["model"], verdict["level"]): verdict for verdict in json.loads(report.read_text())}


@pytest.mark.parametrize("level", LEVELS)
def test_a_model_stays_what_it_is(model_id: str, level: int, verdicts: Verdicts) -> None:
    """Interface, validity, outputs (1e-4; 1e-2 in 16 or 8 bits), and at level 1 every bit on onnx.reference."""
    verdict = verdicts[model_id, level]
    assert not verdict["failed"], "\n".join(f"{kind}: {reason}" for kind, reason in verdict["failed"].items())
    assert verdict["difference"] is not None, verdict["bits"]
    assert verdict["nodes_after"] <= verdict["nodes_before"] or level == 3, "what runs fastest may be more nodes"


def test_level_2_shrinks_the_text_detector(verdicts: Verdicts) -> None:
    """ppocr4-det: 330 nodes that are not Constants, of which 204 are enough."""
    verdict = verdicts["ppocr4-det", 2]
    assert verdict["nodes_after"] <= 204
    assert verdict["difference"] <= 1e-5
