"""Every code block of the README and of docs/ does what it shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import graphopt
from graphopt.demo import demo_model
from graphopt.exec.kernels import registry as kernels
from graphopt.shapes import registry as shapes
from graphopt.testing.operators import known_operators
from graphopt.testing.operators import registry as operands
from tests.conftest import ROOT
from tests.docs.blocks import Stage, blocks_of

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kernels, shape functions and operands that a page registers are gone after it."""
    kernels.operators(), shapes.operators_on_elements(), known_operators()  # the package's own are there
    tables = (
        (kernels, "_kernels"), (shapes, "_shape_functions"), (shapes, "_given"), (operands, "_TABLE"),
    )  # fmt: skip
    for module, name in tables:
        monkeypatch.setattr(module, name, _copied(getattr(module, name)))
    yield
    monkeypatch.undo()
    kernels.kernel_for.cache_clear()
    shapes.shape_function_for.cache_clear()


def _copied(table: dict[str, object] | set[str]) -> dict[str, object] | set[str]:
    if isinstance(table, set):
        return set(table)
    return {k: list(v) if isinstance(v, list) else v for k, v in table.items()}


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("sample") / "model.onnx"
    graphopt.load(demo_model()).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_page(page: Path, sample: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(sample)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("FORCE_COLOR", "GRAPHOPT_PROVIDERS"):
        monkeypatch.delenv(name, raising=False)
    stage = Stage(page, ROOT)
    for block in blocks_of(page):
        stage.run(block)
