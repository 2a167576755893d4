"""The first call of an optimiser, from file to file, beside ONNX Runtime's offline optimisation.

    python -m benchmarks.first_call --models FOLDER
    python -m benchmarks.first_call --models FOLDER/manifest.json --only bert-2l.ts --optimizers graphopt,onnxsim

Each model and optimiser has a process of its own, in which nothing was optimised before; imports apart. They take turns, and
the smallest of --rounds counts. Seconds of the processor, so that another job on the machine does not count. "ratio" is that
to ONNX Runtime's.
"""

from __future__ import annotations

import argparse
import importlib
import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import harness, models

BESIDE = "onnxruntime"
SECONDS = 300.0


class Once:
    """What runs in a worker: one call."""

    def __init__(self, optimizer: str, level: int) -> None:
        self.optimizer = harness.optimizer(optimizer, level)
        importlib.import_module("onnx" if ":" in optimizer or optimizer == "identity" else optimizer)

    def seconds(self, source: str, folder: str) -> float:
        """Seconds of the processor from file to file."""
        started = time.process_time()
        self.optimizer.file(Path(source), Path(folder, "out.onnx"))
        return time.process_time() - started


def measure(optimizer: str, level: int, source: str) -> float:
    """Seconds of a first call. Raises harness.WorkerError."""
    worker = harness.Worker(Once, optimizer, level)
    with tempfile.TemporaryDirectory() as folder:
        try:
            return float(worker.ask("seconds", source, folder, timeout=SECONDS))
        finally:
            worker.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder, manifest.json or .onnx file")
    parser.add_argument("--only", default="", help="ids, with commas")
    parser.add_argument("--optimizers", default="graphopt", help=harness.OPTIMIZER_HELP)
    parser.add_argument("--level", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args(arguments)

    names = [*options.optimizers.split(","), BESIDE]
    seconds: dict[str, dict[str, float]] = {}
    for entry in models.entries(options.models, [i for i in options.only.split(",") if i]):
        row: dict[str, float] = {}
        for _ in range(options.rounds):
            for name in names:
                try:
                    row[name] = min(row.get(name, math.inf), measure(name, options.level, entry["path"]))
                except harness.WorkerError as error:
                    print(f"{entry['id']}: {name}: {error}", flush=True)
        seconds[entry["id"]] = row
        told = ", ".join(f"{name} {row[name]:.3f} s" for name in names if name in row)
        print(f"{entry['id']:32} {told}", flush=True)
    for name in names:
        ratios = [row[name] / row[BESIDE] for row in seconds.values() if name in row and BESIDE in row]
        taken = [row[name] for row in seconds.values() if name in row]
        if ratios:
            mean = harness.geometric_mean
            print(f"{name}: {mean(taken):.3f} s, ratio {mean(ratios):.2f}, {len(ratios)} models (geometric means)")
    harness.write_json(options.json, seconds)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
