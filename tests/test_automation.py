"""`graphopt tidy`, the pre-commit hooks that call it, and the GitHub Action: its shell steps run here as they would there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

import graphopt
from graphopt.cli import main
from graphopt.verification import Verification
from tests.conftest import ROOT
from tests.test_cli import external, one_node, turned_twice

ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
HOOKS = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
QUICK = ("--on", "reference")


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path]:
    return turned_twice(tmp_path / "loose.onnx"), one_node(tmp_path / "tidy.onnx")


# ---------------------------------------------------------------------------------------------------------------- tidy
def test_tidy_changes_what_saves_nodes_and_then_nothing(
    models: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    loose, tidy = models
    before = tidy.read_bytes()
    assert main(["tidy", str(loose), str(tidy), *QUICK]) == 1
    out = capsys.readouterr().out
    assert f"{loose}: changed, 3 -> 2 nodes" in out and f"{tidy}: tidy, 1 nodes" in out
    assert len(onnx.load(loose).graph.node) == 2 and tidy.read_bytes() == before
    after = loose.read_bytes()
    assert main(["tidy", str(loose), str(tidy), *QUICK]) == 0
    assert loose.read_bytes() == after
    assert sorted(p.name for p in loose.parent.iterdir()) == ["loose.onnx", "tidy.onnx"]


def test_check_writes_nothing(models: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    before = [m.read_bytes() for m in models]
    assert main(["tidy", "--check", *map(str, models), *QUICK]) == 1
    assert "would change, 3 -> 2 nodes" in capsys.readouterr().out
    assert [m.read_bytes() for m in models] == before


@pytest.mark.parametrize(
    ("verdict", "status", "code"), [("different", "different", 1), ("inconclusive", "inconclusive", 0)]
)
def test_a_model_not_shown_to_be_equal_stays(
    models: tuple[Path, Path], verdict: Any, status: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(graphopt, "verify", lambda *a, **k: Verification(verdict))
    before = models[0].read_bytes()
    assert main(["tidy", str(models[0])]) == code
    assert status in capsys.readouterr().out and models[0].read_bytes() == before


@pytest.mark.parametrize(
    ("data", "other", "left"),
    [
        ("m.onnx_data", None, False),
        ("m.onnx.data", None, False),  # what is written anew has this name: it is this model's alone
        ("weights.bin", None, True),  # whose it is the name does not say
        ("m.onnx_data", "m.onnx_data", True),
        ("m.onnx_data", "no model", True),
    ],
)
def test_data_that_nobody_reads_any_more(
    data: str, other: str | None, left: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.onnx"
    (tmp_path / data).write_bytes(np.ones(512, np.float32).tobytes())
    external(path, data)
    loose = onnx.load(path, load_external_data=False)
    loose.graph.node[0].output[0] = "s"
    loose.graph.node.add(op_type="Neg", input=["s"], output=["n"])
    loose.graph.node.add(op_type="Neg", input=["n"], output=["y"])
    path.write_bytes(loose.SerializeToString())
    if other == data:
        external(tmp_path / "other.onnx", data)
    elif other:
        (tmp_path / "other.onnx").write_text(other)
    assert main(["tidy", str(path), "--level", "2", *QUICK]) == 1
    assert ("does not read" in capsys.readouterr().out) == left
    kept = {data} if left else set()
    written = {"m.onnx.data"} | kept | ({"other.onnx"} if other else set())
    assert {p.name for p in tmp_path.iterdir()} == {"m.onnx"} | written
    assert graphopt.load(path).node_count() == 1


def test_tidy_of_what_is_no_model(
    tmp_path: Path, models: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.onnx").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert main(["tidy", str(tmp_path / "bad.onnx")]) == 2
    assert "git lfs pull" in capsys.readouterr().err
    assert main(["tidy", "-"]) == 2
    assert "in place" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------------------------- hooks
@pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS)
def test_a_hook_is_what_pre_commit_takes(hook: dict[str, Any]) -> None:
    assert {"id", "name", "entry", "language", "files"} <= hook.keys()
    assert hook["language"] == "python" and hook["types"] == ["file"]
    assert re.search(hook["files"], "models/a.onnx") and not re.search(hook["files"], "a.onnx.data")


def test_hooks_run(models: tuple[Path, Path]) -> None:
    def run(hook: str) -> int:
        program, *arguments = HOOKS[hook]["entry"].split()
        assert program == "graphopt"
        return main([*arguments, *QUICK, *map(str, models)])  # arguments, then files, as pre-commit does it

    assert [run("graphopt-check"), run("graphopt"), run("graphopt-check"), run("graphopt")] == [1, 1, 0, 0]


# -------------------------------------------------------------------------------------------------------------- action
def step(name: str) -> dict[str, Any]:
    return next(s for s in ACTION["runs"]["steps"] if s.get("id") == name)


def run_step(name: str, folder: Path, **inputs: str) -> tuple[int, dict[str, str], str, str]:
    """Exit code, outputs, summary and standard error of a step, run as the runner runs it."""
    values = {k: str(v.get("default", "")) for k, v in ACTION["inputs"].items()} | inputs
    known = {f"inputs.{k}": v for k, v in values.items()} | {"github.action_path": str(ROOT)}
    files = {"GITHUB_OUTPUT": folder / "outputs", "GITHUB_STEP_SUMMARY": folder / "summary"}
    for file in files.values():
        file.write_text("")
    told = {k: re.sub(r"\$\{\{ (.*?) \}\}", lambda m: known[m[1]], v) for k, v in step(name)["env"].items()}
    bin_folder = folder / "bin"
    bin_folder.mkdir(exist_ok=True)
    if not (bin_folder / "python").exists():
        (bin_folder / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        (bin_folder / "python").chmod(0o755)
    environment = {
        **os.environ, **told, **{k: str(v) for k, v in files.items()}, "PYTHONPATH": str(ROOT),
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
    }  # fmt: skip
    script = folder / "step.sh"
    script.write_text(step(name)["run"])
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]  # what `shell: bash` means
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    outputs = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())
    return done.returncode, outputs, files["GITHUB_STEP_SUMMARY"].read_text(), done.stderr


def test_the_action_optimizes_and_verifies(tmp_path: Path) -> None:
    turned_twice(tmp_path / "a model.onnx")
    code, outputs, summary, err = run_step(
        "optimize", tmp_path, model="a model.onnx", output="fast.onnx", level="2", arguments="--input-shape\nbatch=1\n"
    )
    assert code == 0, err
    assert {k: outputs[k] for k in ("output", "nodes-before", "nodes-after", "verdict")} == {
        "output": "fast.onnx", "nodes-before": "3", "nodes-after": "2", "verdict": "equal",
    }  # fmt: skip
    assert json.loads(Path(outputs["report"]).read_text())["output"] == "fast.onnx"
    assert len(onnx.load(tmp_path / "fast.onnx").graph.node) == 2
    assert onnx.load(tmp_path / "fast.onnx").graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    assert summary.startswith("### graphopt: a model.onnx\n") and "verification: equal" in summary
    assert set(outputs) == set(ACTION["outputs"])


def test_the_action_fails_with_a_reason(tmp_path: Path) -> None:
    code, outputs, summary, err = run_step("optimize", tmp_path, model="none.onnx")
    assert (code, outputs) == (2, {})
    assert "'none.onnx': no such file" in err and "no such file" in summary


def test_what_is_given_to_the_action_is_never_run(tmp_path: Path) -> None:
    code, _, _, _ = run_step("optimize", tmp_path, model='$(touch harm).onnx"; touch harm; "', arguments="`touch harm`")
    assert code == 2 and not (tmp_path / "harm").exists()
    for s in ACTION["runs"]["steps"]:
        assert "${{" not in s.get("run", ""), "a value inside a script would be run"


def test_the_action_is_whole() -> None:
    assert ACTION["runs"]["using"] == "composite" and all(
        s.get("shell") == "bash" for s in ACTION["runs"]["steps"] if "run" in s
    )
    used = set(re.findall(r"\$\{\{ inputs\.([\w-]+) \}\}", json.dumps(ACTION))) | {"python"}
    assert used == set(ACTION["inputs"])
    assert ACTION["inputs"]["model"]["required"] is True
    script = step("install")["run"]
    assert '"${PACKAGE:-${ACTION}[ort]}"' in script and "ort" in (ROOT / "pyproject.toml").read_text()
