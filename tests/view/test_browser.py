"""The page in a real browser: it draws both models without a network, and can be used from the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import graphopt
from benchmarks.graphs import random_dag
from graphopt.demo import demo_model

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports as files."""
    found = {}
    for name, model in (("demo", demo_model()), ("large", random_dag(3600))):
        report = graphopt.optimize(model).report
        assert report is not None
        found[name] = tmp_path_factory.mktemp(name) / "report.html"
        found[name].write_text(report.to_html(name), encoding="utf-8")
    return found


class Opened:
    """A page that has been drawn, and what it complained about; any request is a complaint."""

    def __init__(self, browser: Any, file: Path, scheme: str = "light", script: str = "") -> None:
        self.page = browser.new_page(viewport={"width": 1500, "height": 900}, color_scheme=scheme)
        self.complaints: list[str] = []
        self.page.on("console", lambda m: self.complaints.append(m.text))
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))
        self.page.on("request", lambda r: r.url.startswith(("file:", "blob:")) or self.complaints.append(r.url))
        if script:
            self.page.add_init_script(script)
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-ready], html[data-failed]", state="attached", timeout=60_000)


@pytest.fixture(scope="module")
def demo(browser: Any, pages: dict[str, Path]) -> Opened:
    return Opened(browser, pages["demo"])


@pytest.fixture
def opened(demo: Opened) -> Iterator[Any]:
    """The small report, folded as it was at first and with nothing chosen."""
    demo.page.keyboard.press("Escape")
    demo.page.keyboard.press("r")
    demo.page.wait_for_selector("figure:not(.busy)", state="attached")
    yield demo.page
    assert not demo.complaints


def boxes(page: Any, side: str) -> int:
    found: int = page.locator(f"#{side} .box").count()
    return found


CASES = {
    "light": ("demo", "light", ""),
    "dark": ("demo", "dark", ""),
    "large": ("large", "light", ""),
    "no worker": ("demo", "light", "delete window.Worker"),
}


@pytest.mark.parametrize("case", CASES)
def test_both_models_are_drawn(case: str, browser: Any, pages: dict[str, Path], demo: Opened) -> None:
    name, scheme, script = CASES[case]
    drawn = demo if case == "light" else Opened(browser, pages[name], scheme, script)
    page = drawn.page
    assert page.locator("html[data-failed]").count() == 0
    for side in ("before", "after"):
        assert 8 < boxes(page, side) < 80
        assert page.locator(f"#{side} .edge").count() > 8
        assert page.locator(f"#{side} .shape", has_text="float32[").count() > 0
        sizes = page.locator(f"#{side} .box > rect").evaluate_all(
            "rects => rects.map(r => r.getBoundingClientRect().width)"
        )
        assert min(sizes) > 0
    colours = (page.evaluate(f"() => getComputedStyle(document.body).{p}") for p in ("backgroundColor", "color"))
    paper, ink = (sum(map(int, c[4:-1].split(","))) for c in colours)
    assert (paper < ink) is (scheme == "dark") and abs(paper - ink) > 450
    assert not drawn.complaints


def test_a_change_is_shown_on_both_sides(opened: Any) -> None:
    opened.keyboard.press("n")
    opened.wait_for_selector("#details:not([hidden]) h2")
    rule = opened.locator(
        "#changes > details", has=opened.locator("summary code", has_text="batch_norm_of_convolution")
    )
    opened.click("#tab-changes")
    rule.locator("summary").first.click()
    rule.locator(".steps button").first.click()
    opened.wait_for_selector("#before .lit .op >> text=BatchNormalization")
    opened.wait_for_selector("#after .lit .op >> text=Conv")
    assert opened.locator("#before .lit .op").count() >= 2
    assert rule.locator(".equation").first.text_content().startswith("BatchNormalization(")


def test_the_keyboard_is_enough(opened: Any) -> None:
    opened.keyboard.press("/")
    opened.keyboard.type("batchnormalization")  # 13, and the Convs that have names like theirs
    opened.wait_for_selector(".found button")
    assert "26 found" in opened.text_content("#details h2")
    opened.keyboard.press("ArrowDown")
    opened.keyboard.press("Enter")
    opened.wait_for_selector("#before .current .op >> text=BatchNormalization")
    opened.keyboard.press("Escape")
    assert opened.locator(".current, .lit").count() == 0
    opened.focus("#before svg")
    opened.keyboard.press("ArrowDown")
    opened.wait_for_selector("#before .current")
    first = opened.locator("#before .current").get_attribute("data-key")
    opened.keyboard.press("ArrowDown")
    opened.wait_for_selector(f"#before .current:not([data-key='{first}'])")


def test_blocks_unfold_and_fold_again(opened: Any) -> None:
    before = boxes(opened, "before")
    key = opened.locator("#before .box.folded").first.get_attribute("data-key")
    opened.locator(f"#before .box[data-key='{key}']").dblclick()
    opened.wait_for_selector(f"#before .holder[data-key='{key}']")
    assert boxes(opened, "before") > before
    opened.keyboard.press("r")
    opened.wait_for_selector(f"#before .box[data-key='{key}']")
    assert boxes(opened, "before") == before


def test_the_graphs_move_together(opened: Any) -> None:
    def place(side: str) -> str:
        text: str = opened.locator(f"#{side} .view").get_attribute("transform")
        return text

    at = place("after")
    opened.locator("#before svg").hover()
    opened.mouse.wheel(0, 300)
    opened.wait_for_selector(f"#after .view:not([transform='{at}'])", state="attached")
    scale = place("before").partition("scale")[2]
    assert place("after").partition("scale")[2] == scale
    at = place("after")
    opened.uncheck("#sync")
    moved = place("before")
    opened.locator("#before svg").hover()
    opened.mouse.wheel(0, 200)
    opened.wait_for_selector(f"#before .view:not([transform='{moved}'])", state="attached")
    assert place("after") == at
