"""What docs/notebooks.md tells users to write works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib
import pytest
from matplotlib import pyplot

from tests.conftest import ROOT

matplotlib.use("Agg")
TEXT = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")


def test_every_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(block, names)
    pyplot.close("all")
    assert (tmp_path / "fast.svg").stat().st_size > 1000


def test_links() -> None:
    for link in re.findall(r"\]\((\.\./[^)]+)\)", TEXT):
        assert (ROOT / "docs" / link).is_file(), link
