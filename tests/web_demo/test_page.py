"""The page of `graphopt web-demo` in a real browser: what it shows, and what it says when something is wrong."""

from __future__ import annotations

import dataclasses
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import parser

from graphopt.compare import compare
from graphopt.demo import demo_model
from graphopt.exec.executors import create, node, web
from graphopt.web_demo import Demo, write_demo

NOT_THERE = node.missing([web.PACKAGE], "ONNX Runtime Web", program=False)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(NOT_THERE is not None, reason=f"ONNX Runtime Web is left out: {NOT_THERE}"),
]
ENDED = "html[data-state=done], html[data-state=failed]"


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, demo: Demo, scheme: str = "light", wait: bool = True) -> Iterator[Any]:
    """The page, and afterwards nothing that it complained about; a request to any other place is a complaint."""
    complaints: list[str] = []
    with demo.server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page(viewport={"width": 1100, "height": 800}, color_scheme=scheme)
        page.on("pageerror", lambda e: complaints.append(str(e)))
        page.on("console", lambda m: "404" in m.text or complaints.append(m.text))
        page.on("request", lambda r: r.url.startswith((server.url, "data:", "blob:")) or complaints.append(r.url))
        page.goto(f"{server.url}?seconds=0.3")
        if wait:
            page.wait_for_selector(ENDED, state="attached", timeout=60_000)
        yield page
        page.close()
        server.shutdown()
    assert not complaints


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return write_demo(demo_model(), tmp_path_factory.mktemp("web") / "demo", title="a <b>demo</b>")


def cells(page: Any, table: str) -> list[list[str]]:
    found: list[list[str]] = page.locator(f"#{table} tbody tr").evaluate_all(
        "rows => rows.map(r => [...r.cells].map(c => c.textContent))"
    )
    return found


@pytest.fixture(scope="module")
def shown(browser: Any, demo: Demo) -> Iterator[Any]:
    """The page of a demo that has run."""
    with opened(browser, demo) as page:
        yield page


def test_it_runs_both_and_shows_the_figures(shown: Any, demo: Demo) -> None:
    assert shown.locator("html").get_attribute("data-state") == "done"
    assert shown.locator("#title").text_content() == "a <b>demo</b>"
    assert shown.locator("#same").text_content() == "yes"
    nodes = f"{demo.report.nodes_before} → {demo.report.nodes_after}"
    assert shown.locator("#nodes").text_content() == nodes
    operators = {op: (int(a), int(b)) for op, a, b, _ in cells(shown, "operators")}
    assert operators["BatchNormalization"][0] > 0 and operators["BatchNormalization"][1] == 0
    assert sum(b for _, b in operators.values()) == demo.report.nodes_after
    latency = cells(shown, "latency")
    assert [row[0] for row in latency] == ["original", "optimized"]
    assert all(row[1].split()[1] in ("µs", "ms", "s") and int(row[3].replace(",", "")) >= 3 for row in latency)
    assert shown.locator("#chart circle").count() >= 6


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(scheme: str, shown: Any) -> None:
    shown.emulate_media(color_scheme=scheme)
    colours = (shown.evaluate(f"() => getComputedStyle(document.body).{p}") for p in ("backgroundColor", "color"))
    paper, ink = (sum(map(int, c[4:-1].split(","))) for c in colours)
    assert (paper < ink) is (scheme == "dark") and abs(paper - ink) > 450


def test_the_keyboard_is_enough(shown: Any) -> None:
    for _ in range(10):
        shown.keyboard.press("Tab")
        if shown.evaluate("document.activeElement.id") == "again":
            break
    before = shown.locator("#status").text_content()
    shown.evaluate("document.getElementById('status').textContent = ''")
    shown.keyboard.press("Enter")
    shown.wait_for_selector("html[data-state=running]", state="attached")
    shown.wait_for_selector(ENDED, state="attached")
    assert "pairs of runs" in before and "pairs of runs" in shown.locator("#status").text_content()


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Demo, dict[str, Any]]:
    """A demo whose second model is another one than the first, and its inputs."""
    rng = np.random.default_rng(0)
    text = """<ir_version: 8, opset_import: ["": 17]>
        g (float[1,3,20,30] x, uint8[16,24,3] u, int64[4] i) => (float[1,3,20,30] y, int64[4] j, float[3] z, uint8[16,24,3] v) {
            y = Mul(x, x) j = Abs(i) z = Constant<value_floats = [1.0, 2.0, 3.0]>() v = Identity(u) }"""
    feeds = {
        "x": np.linspace(5, -5, 1800, dtype=np.float32).reshape(1, 3, 20, 30),
        "u": rng.integers(0, 256, (16, 24, 3), dtype=np.uint8),
        "i": np.array([-1, 2, 0, -7]),
    }
    demo = write_demo(parser.parse_model(text), tmp_path_factory.mktemp("web") / "demo", inputs=feeds, level=0)
    other = parser.parse_model(text.replace("2.0", "2.5").replace("Mul(x, x)", "Sin(x)").replace("Abs", "Neg"))
    (demo.folder / "models" / "optimized.onnx").write_bytes(other.SerializeToString())
    return demo, feeds


def test_differences_and_pictures(browser: Any, apart: tuple[Demo, dict[str, Any]]) -> None:
    """The page computes what graphopt.compare does, and draws what looks like an image."""
    demo, feeds = apart
    want, got = (
        create("reference", demo.folder / "models" / f"{n}.onnx").run(feeds) for n in ("original", "optimized")
    )
    with opened(browser, demo) as page:
        assert page.locator("#same").text_content() == "no"
        table = {row[0]: row[1:] for row in cells(page, "outputs")}
        for name in ("y", "z"):
            c = compare(want[name], got[name], np.inf)
            assert float(table[name][1]) == pytest.approx(c.absolute, rel=0.05)
            assert float(table[name][2]) == pytest.approx(c.difference, rel=0.05)
        assert table["j"][1] == "1 of 4 unequal"
        assert [row[3] for row in table.values()] == ["✗ differs"] * 3 + ["✓ same"]

        drawn = page.locator("#inputs canvas")
        assert drawn.evaluate_all("all => all.map(c => [c.width, c.height])") == [[30, 20], [24, 16]]
        pixels = """(c) => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"""
        first, second = (np.array(drawn.nth(k).evaluate(pixels)).reshape(-1, 4) for k in range(2))
        assert np.array_equal(first[0, :3] > 127, [True, True, False])  # from 5 in red to -5 in blue
        assert first[0, 0] == 255 and first[-1, 2] == 0 and (first[:, 3] == 255).all()
        assert np.abs(second[:, :3] - feeds["u"].reshape(-1, 3)).max() <= 2  # between its least and its most
        assert page.locator("#inputs figure").nth(2).locator("code").text_content() == "-1, 2, 0, -7"


def broken(demo: Demo, folder: Path, name: str, data: bytes | None) -> Demo:
    """A copy of which a file is another, or not there."""
    shutil.copytree(demo.folder, folder)
    (folder / name).unlink() if data is None else (folder / name).write_bytes(data)
    return dataclasses.replace(demo, folder=folder)


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("inputs.bin", None, "inputs.bin is not there (404"),
        ("models/original.onnx", b"nonsense", "The original model does not load: "),
        ("demo.json", None, "demo.json is not there (404"),
    ],
)
def test_errors_are_shown(name: str, data: bytes | None, why: str, browser: Any, demo: Demo, tmp_path: Path) -> None:
    with opened(browser, broken(demo, tmp_path / "broken", name, data)) as page:
        assert page.locator("html").get_attribute("data-state") == "failed"
        assert page.locator("#problem").is_visible()
        assert why in page.locator("#problem").text_content()


def test_without_webgpu_it_says_so_and_webassembly_is_left(browser: Any, tmp_path: Path) -> None:
    with opened(browser, write_demo(demo_model(), tmp_path / "demo", provider="webgpu")) as page:
        assert "no WebGPU adapter; choose WebAssembly" in page.locator("#problem").text_content()
        page.select_option("#provider", "wasm")
        page.wait_for_selector("html[data-state=done]", state="attached", timeout=60_000)
        assert not page.locator("#problem").is_visible()
        assert page.locator("#same").text_content() == "yes"


def test_from_the_disk_it_says_what_to_do(browser: Any, demo: Demo) -> None:
    page = browser.new_page()
    page.goto((demo.folder / "index.html").as_uri())
    page.wait_for_timeout(1200)
    assert page.evaluate("getComputedStyle(document.getElementById('closed')).visibility") == "visible"
    assert "python -m http.server" in page.locator("#closed").text_content()
    assert not page.locator("#page").is_visible()
    page.close()
