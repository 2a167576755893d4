"""The opset of every model of a folder changed, by graphopt and by ONNX's own converter: what fails, what differs, how long.

    python -m benchmarks.opsets --models FOLDER
    python -m benchmarks.opsets --models FOLDER/manifest.json --opset 13 --only bert-2l.ts

From file to file, each model and converter in a process of its own. A model is judged by the ONNX checker and by its
outputs under ONNX Runtime (optimisations off), as in `benchmarks.models`; "invalid" counts only where the original is
valid.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness, models

CONVERTERS = ("graphopt", "onnx")


class Bench(models.Bench):
    """What runs in a worker."""

    def convert(self, opset: int, converter: str) -> float:
        """Convert from file to file; seconds. The converter has seen another model before."""
        target = self.target(0)
        target.parent.mkdir(exist_ok=True)
        for file in target.parent.iterdir():
            file.unlink()
        started = time.perf_counter()
        if converter == "graphopt":
            import graphopt

            graphopt.optimize(self._source, 0, opset=opset).save(target)
        else:
            import onnx
            from onnx import version_converter

            onnx.save(version_converter.convert_version(onnx.load(self._source), opset), target)
        return time.perf_counter() - started


def judge(entry: models.Entry, opset: int, converter: str, options: argparse.Namespace) -> tuple[str, str, float]:
    """One model by one converter: what became of it, why, and seconds."""
    with tempfile.TemporaryDirectory() as scratch:
        worker = harness.Worker(Bench, entry, "graphopt", scratch, 1)
        try:
            try:
                worker.ask("convert", opset, converter, timeout=options.limit)  # for what is imported and read once
                seconds = worker.ask("convert", opset, converter, timeout=options.limit)
            except harness.WorkerError as error:
                return "fails", str(error), 0.0
            try:
                seen: dict[str, Any] = worker.ask("inspect", 0, timeout=options.limit)
                worker.ask("prepare", timeout=options.limit)
            except harness.WorkerError as error:
                return "not judged", str(error), seconds
            if seen["checker"]:
                return "invalid", seen["checker"], seconds
            try:
                difference = worker.ask("differ", 0, timeout=options.limit)
            except harness.WorkerError as error:
                return "does not run", str(error), seconds
            wrong = not difference <= (1e-2 if seen["coarse"] else 1e-4)
            return "differs" if wrong else "same", f"by {difference:.3g}" if wrong else "", seconds
        finally:
            worker.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="a folder, a manifest or one .onnx file")
    parser.add_argument("--only", type=models._names, default=[], help="only these ids")
    parser.add_argument("--without", type=models._names, default=[], help="all but these ids")
    parser.add_argument("--opset", type=int, default=23, help="default: 23")
    parser.add_argument("--limit", type=float, default=120, help="seconds that one step may take (default: 120)")
    parser.add_argument("--json", help="write every verdict to this file")
    options = parser.parse_args(arguments)
    todo = [e for e in models.entries(options.models, options.only) if e["id"] not in options.without]
    verdicts = []
    for converter in CONVERTERS:
        for i, entry in enumerate(todo):
            harness.progress(f"{converter} {i + 1}/{len(todo)} {entry['id']}")
            what, why, seconds = judge(entry, options.opset, converter, options)
            verdicts.append(
                {"converter": converter, "model": entry["id"], "what": what, "why": why, "seconds": seconds}
            )
    harness.progress("")
    for v in verdicts:
        if v["what"] != "same":
            print(f"{v['converter']} {v['model']}: {v['what']} {str(v['why'])[:150]}")
    both = [n for n in {v["model"] for v in verdicts} if all(v["seconds"] for v in verdicts if v["model"] == n)]
    for converter in CONVERTERS:
        mine = [v for v in verdicts if v["converter"] == converter]
        counts = Counter(str(v["what"]) for v in mine)
        mean = harness.geometric_mean(float(str(v["seconds"])) for v in mine if v["model"] in both)
        print(f"{converter}, opset {options.opset}: {dict(counts)}, {mean:.3f} s (geometric mean of {len(both)})")
    harness.write_json(options.json, verdicts)
    return 1 if any(v["what"] not in ("same", "fails") for v in verdicts if v["converter"] == "graphopt") else 0


if __name__ == "__main__":
    raise SystemExit(main())
