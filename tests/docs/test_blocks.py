"""Every code block of the README and of docs/ does what it shows."""

from __future__ import annotations

import re
from collections import Counter
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

#: Blocks that the pages mark as not run here, by page: each is one too many, so a new one is put down on purpose.
LEFT_OUT = {
    "docs/cli.md": 1, "docs/exec.md": 1, "docs/howto/paddlepaddle.md": 1, "docs/howto/pytorch.md": 2, "docs/howto/scikit-learn.md": 1,
    "docs/howto/tensorflow.md": 1, "docs/howto/web.md": 4, "docs/security.md": 1, "docs/testing.md": 2,
}  # fmt: skip
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


@pytest.mark.usefixtures("compiled_quickly")
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_page(page: Path, sample: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(sample)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("FORCE_COLOR", "GRAPHOPT_PROVIDERS"):
        monkeypatch.delenv(name, raising=False)
    run_page(page)


def run_page(page: Path) -> None:
    stage = Stage(page, ROOT)
    for block in blocks_of(page):
        stage.run(block)


def test_blocks_that_are_not_run_are_few_and_say_why() -> None:
    blocks = [b for page in PAGES for b in blocks_of(page)]
    left_out = [b for b in blocks if b.left_out]
    counts = Counter(b.page.relative_to(ROOT).as_posix() for b in left_out)
    assert dict(counts) == LEFT_OUT
    assert all(re.fullmatch(r"Not run here: \S.+", b.title) for b in left_out)
    tried = [b for b in blocks if not b.left_out and b.language in ("python", "sh")]
    assert len(tried) > 5 * len(left_out)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("```python\n1 / 0\n```", "ZeroDivisionError"),
        ("```python\nx = 1\n# raises KeyError\n```", "nothing raised KeyError"),
        ("```sh\ngraphopt optimize no.onnx\n```", "ends with 2"),
        ("```sh\nrm -r /\n```", "no test knows what to do with"),
        ("```sh\npip install graphopt[nonsense]\n```", "no extra"),
        ("```sh\npython -m benchmarks.nonsense\n```", "there is no benchmarks.nonsense"),
        ('```python\nprint(1)\n```\n\n```text title="Output"\n2\n```', "the page says"),
        ('```python title="Not run here: for a test"\nx = = 1\n```', "invalid syntax"),
        ("```cobol\n```", "no test knows what to do with a block of 'cobol'"),
        ("```\nx\n```", "no test knows what to do with a block of ''"),
    ],
)
def test_a_wrong_block_is_found(text: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(Exception, match=".*") as found:
        run_page(page)
    assert why in f"{type(found.value).__name__}: {found.value}"
