"""What all tests share: Hypothesis settings, and the models and suites that lie outside the repository.

A test marked `zoo` runs on real models, one marked `suite` on the ONNX backend suite as files. `.ci/run` makes both.
One marked `browser` opens a page in Chromium through playwright.
Where these are not there, the tests are skipped, and the summary says so in one line. In a test marked `contradicts`,
inference may contradict itself, which fails any other one. What such a test takes:

    zoo_dir     the folder of the models, with manifest.json
    zoo         the module that reads it: zoo.models(zoo_dir), zoo.make_inputs(entry, seed), zoo.difference(want, got)
    suite_dir   the folder of the suite, with cases/index.json
    shared_dir  the folder of the programs that made them
    chromium    the browser's program

`no_new_kernels`, for tests that register some, and `compiled_quickly`, for those that are about what a program computes under JAX,
not about how XLA optimises it. Those of `tests/conformance` and of `tests/properties` do without it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

from graphopt.exec.kernels import registry
from graphopt.shapes import Facts

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
ZOO = Path(os.environ.get("GRAPHOPT_ZOO") or "~/.cache/graphopt-zoo").expanduser()
SUITE = Path(os.environ.get("GRAPHOPT_SUITE") or "~/.cache/graphopt-suite").expanduser()

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "chromium")
PLAYWRIGHT = importlib.util.find_spec("playwright")

#: What a test of each marker reads.
NEEDS = {
    "zoo": (ZOO / "manifest.json", SHARED / "zoo" / "zoo.py"),
    "suite": (SUITE / "cases" / "index.json", SHARED / "suite" / "run_suite.py"),
    "browser": (Path(CHROMIUM), Path((PLAYWRIGHT and PLAYWRIGHT.origin) or "playwright")),
}

# Examples that take long on a busy machine are no failures; in CI they are the same at every run, elsewhere new ones are tried.
settings.register_profile("graphopt", deadline=None, print_blob=True, derandomize=bool(os.environ.get("CI")))
settings.load_profile("graphopt")


@pytest.fixture(autouse=True)
def contradictions_are_errors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes a rule decline in production means that a rule or a shape function is wrong."""

    def fail(self: Facts, message: str) -> None:
        raise AssertionError(f"inference contradicts itself: {message}")

    if request.node.get_closest_marker("contradicts") is None:
        monkeypatch.setattr(Facts, "conflict", fail)


@pytest.fixture
def no_new_kernels() -> Iterator[None]:
    """What a test registers is gone after it."""
    registry.operators()  # all families are there
    before = {op: list(versions) for op, versions in registry._kernels.items()}
    yield
    registry._kernels.clear()
    registry._kernels.update(before)
    registry.kernel_for.cache_clear()


@pytest.fixture(scope="module")
def compiled_quickly() -> Iterator[None]:
    """JAX compiles without the optimisations that take XLA the most time, here and in what a test starts."""

    def put(on: bool) -> None:
        if (jax := sys.modules.get("jax")) is not None:  # otherwise the environment is read when it is imported
            jax.config.update("jax_disable_most_optimizations", on)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        put(True)
        yield
    put(False)


def missing(marker: str) -> list[Path]:
    """The files that tests of this marker read and that are not there."""
    return [path for path in NEEDS[marker] if not path.is_file()]


def reason(marker: str) -> str:
    """Why tests of this marker are skipped."""
    return f"no {missing(marker)[0]}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for marker in NEEDS:
        if missing(marker):
            for item in items:
                if item.get_closest_marker(marker):
                    item.add_marker(pytest.mark.skip(reason=reason(marker)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = Counter(r.longrepr[2] for r in terminalreporter.getreports("skipped") if isinstance(r.longrepr, tuple))
    counts = {m: n for m in NEEDS if missing(m) and (n := skipped[f"Skipped: {reason(m)}"])}
    if counts:
        what = " and ".join(f"{n} {marker}" for marker, n in counts.items())
        needed = ", ".join(str(path) for marker in counts for path in missing(marker))
        how = "to make models and suite, run .ci/run with the folder shared beside this checkout" * (
            counts.keys() != {"browser"}
        )
        text = f"left out: {what} tests, for lack of {needed}"
        terminalreporter.write_line("; ".join(filter(None, (text, how))), yellow=True)


def present(marker: str, path: Path) -> Path:
    """The path; fails in a test that forgot its marker, where a file is missing."""
    if absent := missing(marker):
        pytest.fail(f"no {absent[0]}; mark this test '{marker}', so that it is skipped then", pytrace=False)
    return path


@pytest.fixture(scope="session")
def zoo_dir() -> Path:
    return present("zoo", ZOO)


@pytest.fixture(scope="session")
def suite_dir() -> Path:
    return present("suite", SUITE)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    if not SHARED.is_dir():
        pytest.fail(f"no {SHARED}; mark this test 'zoo' or 'suite', so that it is skipped then", pytrace=False)
    return SHARED


@pytest.fixture(scope="session")
def zoo(zoo_dir: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("zoo", SHARED / "zoo" / "zoo.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def chromium() -> Path:
    return present("browser", Path(CHROMIUM))
