"""ONNX Runtime Web: how far its outputs lie from ONNX Runtime's, the time to the first result, latency before and after.

    python -m benchmarks.web --models FOLDER
    python -m benchmarks.web --models FOLDER --only magika,lstm-lm.ts --devices node,chromium,webgpu --seconds 5

FOLDER as for benchmarks.models, with inputs. Every model as it is and optimised with target="web", both with the runtime's
own optimizations on top, as users get it, unless --plain is given. "apart" is the largest error relative to max(1, largest
value): of the original and of the optimised model on the web, against the original in ONNX Runtime on the CPU. "first" are
seconds from making an executor (a process of its own) to its first outputs; the bar in Node.js is 5 s. Latencies are
medians of runs by turns, timed where the model runs; the ratio is the median over pairs of runs beside each other, with
their middle half. Exit code 1 where a difference is above --tolerance or a first result in Node.js comes after 5 s.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import graphopt
from benchmarks import harness
from benchmarks.models import Entry, entries, make_input
from graphopt.exec.executors import create
from graphopt.exec.executors.web import OnnxRuntimeWeb

#: Small to middle ones, of all kinds.
MODELS = (
    "magika", "silero-vad", "mobilenetv2.ts", "yolov8n-like.ts", "ppocr4-rec", "lstm-lm.ts", "bert-2l.ts", "segformer-b0.ts",
    "t5-enc-2l.ts", "skl-random-forest",
)  # fmt: skip
FIRST_RESULT = 5.0  # seconds
HEADERS = (
    "model",
    "device",
    "apart",
    "optimised",
    "first s",
    "first s",
    "ms",
    "ms",
    "times as fast",
    "middle half",
    "pairs",
)


def measure(entry: Entry, device: str, seconds: float, optimize: bool) -> dict[str, Any]:
    """One model on one device: what the table shows, or 'error'."""
    feeds = {spec["name"]: make_input(spec, 0) for spec in entry["inputs"]}
    want = list(create("onnxruntime", entry["path"]).run(feeds).values())
    row: dict[str, Any] = {"model": entry["id"], "device": device}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        graphopt.optimize(entry["path"], target="web").save(file)
        opened: list[OnnxRuntimeWeb] = []
        try:
            for name, path in (("original", entry["path"]), ("optimised", file)):
                started = time.perf_counter()
                executor = OnnxRuntimeWeb(path, device=device, optimize=optimize)
                opened.append(executor)
                got = list(executor.run(feeds).values())
                row |= {f"{name} first": time.perf_counter() - started, f"{name} apart": harness.distance(want, got)}
            row |= _latencies(*opened, feeds, seconds)
        except Exception as e:
            row["error"] = f"{type(e).__name__}: {str(e)[:150]}"
        finally:
            for executor in opened:
                executor.close()
    return row


def _latencies(a: OnnxRuntimeWeb, b: OnnxRuntimeWeb, feeds: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Milliseconds of a run of both, by turns, each first every other time."""
    times: dict[int, list[float]] = {0: [], 1: []}
    both = (a, b)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times[0]) < 3:
        for k in (0, 1) if len(times[0]) % 2 else (1, 0):
            both[k].run(feeds)
            times[k].append(both[k].milliseconds)
    low, middle, high = np.quantile(np.divide(times[0], times[1]), [0.25, 0.5, 0.75])
    medians = {"original ms": statistics.median(times[0]), "optimised ms": statistics.median(times[1])}
    return medians | {"ratio": float(middle), "low": float(low), "high": float(high), "pairs": len(times[0])}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--only", default=",".join(MODELS), metavar="IDS", help="with commas between")
    parser.add_argument("--devices", default="node", help="node, chromium, webgpu; with commas between")
    parser.add_argument("--seconds", type=float, default=3.0, help="of latencies, for each model")
    parser.add_argument("--plain", action="store_true", help="without the runtime's own optimizations")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="largest difference that is no failure")
    parser.add_argument("--json", metavar="FILE", help="write the results there too")
    options = parser.parse_args()
    results = []
    for entry in entries(options.models, options.only.split(",")):
        if entry["id"] not in options.only.split(","):
            continue
        for device in options.devices.split(","):
            harness.progress(f"{entry['id']} on {device}")
            results.append(measure(entry, device, options.seconds, not options.plain))
    harness.print_table(HEADERS, [_row(r) for r in results])
    ratios = [r["ratio"] for r in results if "ratio" in r]
    if ratios:
        print(f"\ngeometric mean of times as fast: {harness.geometric_mean(ratios):.2f}")
    harness.write_json(options.json, results)
    return int(any(_failed(r, options.tolerance) for r in results))


def _row(r: dict[str, Any]) -> list[str]:
    if "error" in r:
        return [r["model"], r["device"], r["error"], *[""] * (len(HEADERS) - 3)]
    sides = ("original", "optimised")
    return [
        r["model"], r["device"], *(f"{r[f'{s} apart']:.1e}" for s in sides), *(f"{r[f'{s} first']:.2f}" for s in sides),
        *(f"{r[f'{s} ms']:.3g}" for s in sides), f"{r['ratio']:.2f}", f"{r['low']:.2f} - {r['high']:.2f}", str(r["pairs"]),
    ]  # fmt: skip


def _failed(r: dict[str, Any], tolerance: float) -> bool:
    if "error" in r:
        return True
    late = r["device"] == "node" and max(r["original first"], r["optimised first"]) > FIRST_RESULT
    return late or max(r["original apart"], r["optimised apart"]) > tolerance


if __name__ == "__main__":
    sys.exit(main())
