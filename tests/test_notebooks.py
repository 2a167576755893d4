"""The notebooks as text, and the command that runs them. `.ci/run` runs the notebooks themselves, and the last tests here."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import pytest

from notebooks.__main__ import HERE, main, notebooks, run, title

NAMES = [p.stem for p in notebooks(HERE)]


@pytest.mark.parametrize("name", NAMES)
def test_text(name: str) -> None:
    """It has a kernel, a title, prose before code, and cells that are Python; those that use the network have no place here."""
    text = (HERE / f"{name}.py").read_text(encoding="utf-8")
    header, first, *cells = text.split("\n# %%")
    assert "format_name: percent" in header and "name: python3" in header
    assert first.startswith(" [markdown]\n# # ") and title(HERE / f"{name}.py") in first
    code = [c for c in cells if not c.startswith(" [markdown]")]
    assert code and len(cells) - len(code) >= 5
    for cell in code:
        ast.parse(cell)
    assert not [w for w in ("urllib", "requests", "http://", "pip install -q", "/home/") if w in text]


def test_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert [n[:2] for n in NAMES] == [f"{i:02d}" for i in range(1, len(NAMES) + 1)] and len(NAMES) == 8
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == NAMES
    assert [p.stem for p in notebooks(HERE, ["bisect", "01"])] == ["01_first_optimisation", "06_bisect"]
    with pytest.raises(SystemExit, match="no notebook is named like nothing; there are 01_first_optimisation"):
        notebooks(HERE, ["nothing"])


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jupytext", None)
    with pytest.raises(SystemExit, match=r"graphopt\[notebooks\]"):
        run(HERE / f"{NAMES[0]}.py")


GOOD = """# %% [markdown]
# # Good

# %%
import graphopt
from graphopt.demo import demo_model

graphopt.optimize(demo_model(), 1)
"""
BAD = "# %% [markdown]\n# # Bad\n\n# %%\nassert 1 + 1 == 3\n\n# %%\nprint('not reached')\n"


@pytest.mark.slow
def test_a_cell_that_fails_fails_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("jupytext", "nbclient", "ipykernel"):
        pytest.importorskip(package, reason="pip install 'graphopt[notebooks]'; .ci/run does, and runs this then")
    (tmp_path / "1_good.py").write_text(GOOD)
    (tmp_path / "2_bad.py").write_text(BAD)
    assert main(["-o", str(tmp_path / "out")], tmp_path) == 1
    told = capsys.readouterr()
    assert [line.split()[-1] for line in told.out.splitlines()] == ["ok", "failed"]
    assert "assert 1 + 1 == 3" in told.err and "AssertionError" in told.err
    good, bad = (json.loads((tmp_path / "out" / f"{n}.ipynb").read_text()) for n in ("1_good", "2_bad"))
    shown = good["cells"][1]["outputs"][0]["data"]
    assert {"text/html", "image/svg+xml", "text/plain"} <= set(shown) and "detector" in "".join(shown["text/html"])
    assert not bad["cells"][2]["outputs"]  # nothing runs after the failure
