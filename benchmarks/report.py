"""How long reports take to be made, and to open in a headless Chromium: `python -m benchmarks.report --models FOLDER`.

A page is open when both models are laid out and drawn. Seconds are of the clock; those of the processor, of all of the browser's
processes together, say what they would be on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import graphopt
from benchmarks import models
from benchmarks.graphs import chain, random_dag

MODELS = ("swin-1121.ts", "bert-base.raw")
NODES = 3600


def cases(folder: Path) -> Iterator[tuple[str, Any]]:
    """Names and models: two networks, and two graphs of `NODES` nodes, one of which repeats nothing."""
    for entry in models.entries(folder, MODELS):
        yield entry["id"], entry["path"]
    yield f"chain of {NODES}", chain(NODES)
    yield f"random graph of {NODES}", random_dag(NODES)


def processor_seconds(root: int) -> float:
    """What a process and those below it have used so far, as Linux tells it; 0 elsewhere."""
    total, ticks = 0.0, os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        pid = int(stat.parent.name)
        parents[pid], used[pid] = int(fields[1]), (int(fields[11]) + int(fields[12])) / ticks
    for pid in used:
        p: int | None = pid
        while p and p != root:
            p = parents.get(p)
        total += used[pid] if p == root else 0.0
    return total


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each case; the exit code is 1 if a page did not open."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder or manifest.json")
    parser.add_argument("--shots", type=Path, help="folder for screenshots, light and dark")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    args = parser.parse_args(arguments)
    if args.chromium is None:
        parser.error("no chromium is installed; name one with --chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        parser.error("playwright is not installed: pip install playwright")
    failed = False
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=args.chromium, args=["--no-sandbox"])
        print(f"{'report':24s} {'nodes':>6s} {'made in':>8s} {'size':>9s} {'opens in':>9s} {'processor':>9s}")
        for name, model in cases(args.models):
            report = graphopt.optimize(model).report
            assert report is not None
            began = time.perf_counter()
            html = report.to_html(name)
            made = time.perf_counter() - began
            file = Path(folder) / "report.html"
            file.write_text(html, encoding="utf-8")
            for scheme in ("light", "dark"):
                page = browser.new_page(viewport={"width": 1600, "height": 950}, color_scheme=scheme)
                before = processor_seconds(os.getpid()) - sum(os.times()[:2])
                began = time.perf_counter()
                page.goto(file.as_uri())
                page.wait_for_selector("html[data-ready], html[data-failed]", state="attached", timeout=60_000)
                opened = time.perf_counter() - began
                used = processor_seconds(os.getpid()) - sum(os.times()[:2]) - before
                failed |= page.locator("html[data-failed]").count() > 0
                size = f"{len(html) / 1024:.0f} KiB"
                print(
                    f"{name:24s} {report.nodes_before:6d} {made:6.2f} s {size:>9s} {opened:7.2f} s {used:7.2f} s  {scheme}"
                )
                if args.shots:
                    page.screenshot(path=args.shots / f"{name}.{scheme}.png")
                page.close()
        browser.close()
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
