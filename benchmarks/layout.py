"""Channels last inside the JAX executor against channels first, model by model.

    python -m benchmarks.layout --models FOLDER
    python -m benchmarks.layout --models FOLDER --only resnet50.ts,yolov8n-like.ts --seconds 20

FOLDER as for benchmarks.models. Each model has a process of its own, pinned to one core, one thread. Both sessions run in
turns (A B A B ...), and the table has the medians, their ratio and that of the pairs' quartiles. Transposes are counted in the
optimised model: how many move elements, and how many of these lie at an input or output. "difference" is the largest error
relative to max(1, largest value) between the two. Without --only: all models with convolutions.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.models import Entry, entries, make_input


class Sides:
    """One model in a process of its own, once with each layout."""

    def __init__(self, entry: Entry) -> None:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
        self._entry = entry
        self._feeds = {spec["name"]: make_input(spec, 0) for spec in entry["inputs"]}
        self._sessions: list[Any] = []

    def load(self) -> dict[str, Any]:
        """Optimise for both and run each once; what the models look like."""
        import graphopt
        from graphopt.exec import InferenceSession

        first = graphopt.optimize(self._entry["path"])
        last = graphopt.optimize(self._entry["path"], layout="NHWC")
        path, layouts = self._entry["path"], ("NCHW", "NHWC")
        self._sessions = [InferenceSession(path, providers=[("jax", {"layout": layout})]) for layout in layouts]
        one, other = (s.run(None, self._feeds) for s in self._sessions)
        forms = sum(n.domain == "graphopt.channels_last" for n in last.graph)
        left = sum(n.op in ("Conv", "ConvTranspose") for n in last.graph)
        before, _ = transposes(first)
        return {
            "forms": forms, "left": left, "before": before, "after": transposes(last),
            "difference": harness.distance(one, other),
        }  # fmt: skip

    def times(self, seconds: float) -> list[list[float]]:
        """Seconds of each run, in pairs."""
        pairs = []
        until = time.perf_counter() + seconds
        while time.perf_counter() < until or len(pairs) < 3:
            pair = []
            for session in self._sessions:
                started = time.perf_counter()
                session.run(None, self._feeds)
                pair.append(time.perf_counter() - started)
            pairs.append(pair)
        return pairs


def transposes(model: Any) -> tuple[int, int]:
    """How many Transposes a model has that move elements, and how many of these lie at an input or output."""
    from graphopt.passes.layout.permutations import moves_nothing
    from graphopt.passes.layout.regions import perm_of

    found = [n for n in model.graph if n.op == "Transpose" and not moves_nothing(n.inputs[0].shape, perm_of(n) or ())]
    outside = [n for n in found if n.inputs[0] in model.graph.inputs or n.output.exits]
    return len(found), len(outside)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="a folder, a manifest.json or a file")
    parser.add_argument("--only", default="", help="ids of models, with commas between")
    parser.add_argument("--seconds", type=float, default=10.0, help="of timing, for each model")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds for a model to load and run once")
    parser.add_argument("--json", help="write everything to this file")
    options = parser.parse_args()
    results = []
    for entry in entries(options.models, [n for n in options.only.split(",") if n]):
        if not options.only and not any("Conv" in op for op in entry.get("ops_top8", {"Conv": 1})):
            continue
        harness.progress(entry["id"])
        results.append(_measured(entry, options.seconds, options.patience))
    harness.write_json(options.json, results)
    _show(results)
    return int(any("failed" in r for r in results))


def _measured(entry: Entry, seconds: float, patience: float) -> dict[str, Any]:
    worker = harness.Worker(Sides, entry)
    result: dict[str, Any] = {"model": entry["id"]}
    try:
        result |= worker.ask("load", timeout=patience)
        result["pairs"] = worker.ask("times", seconds, timeout=patience + 4 * seconds)
    except harness.WorkerError as error:
        result["failed"] = str(error)
    worker.close()
    return result


def _show(results: list[dict[str, Any]]) -> None:
    rows = []
    for r in results:
        if "failed" in r:
            continue
        first, last = (statistics.median(side) for side in zip(*r["pairs"], strict=True))
        ratios = sorted(a / b for a, b in r["pairs"])
        low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
        r["faster"] = first / last
        inside = f"{r['after'][0] - r['after'][1]} + {r['after'][1]}"
        rows.append(
            [r["model"], first * 1e3, last * 1e3, first / last, f"{low:.2f} to {high:.2f}", r["forms"], r["left"],
             r["before"], inside, f"{r['difference']:.0e}"]
        )  # fmt: skip
    harness.print_table(
        ["model", "NCHW ms", "NHWC ms", "times as fast", "quartiles", "forms", "convolutions left", "transposes before",
         "after: inside + interface", "difference"],
        rows,
    )  # fmt: skip
    fine = [r["faster"] for r in results if "faster" in r]
    if fine:
        print(f"{harness.geometric_mean(fine):.2f} times as fast, geometric mean of {len(fine)} models")
    for r in results:
        if "failed" in r:
            print(f"failed: {r['model']}: {r['failed']}")


if __name__ == "__main__":
    sys.exit(main())
