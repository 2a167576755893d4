"""TensorFlow.js: how far its outputs lie from ONNX Runtime's, the time to the first result, latency before and after.

    python -m benchmarks.tfjs --models FOLDER
    python -m benchmarks.tfjs --models FOLDER --only magika,bert-2l.ts --devices wasm,cpu --seconds 5

FOLDER as for benchmarks.models, with inputs. Every model as it is, and optimised at level 2. "apart" is the largest error
relative to max(1, largest value), against the original in ONNX Runtime on the CPU. "first" are seconds from making an
executor (a process of its own) to its first outputs; the bar is 5 s. Latencies are medians of runs by turns, with what goes
between the programs; the ratio is the median over pairs of runs beside each other, with their middle half. Exit code 1 where
a difference is above --tolerance or a first result on wasm comes after 5 s.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import graphopt
from benchmarks import harness
from benchmarks.models import Entry, entries, make_input
from graphopt.exec.executors import create
from graphopt.exec.executors.tfjs import TensorFlowJs

#: Small to middle ones, of all kinds.
MODELS = (
    "magika", "silero-vad", "mobilenetv2.ts", "yolov8n-like.ts", "nudenet-yolov8n-320", "ppocr4-rec", "lstm-lm.ts", "bert-2l.ts",
    "vit-3l.ts", "segformer-b0.ts", "resnet50.ts",
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


def measure(entry: Entry, device: str, seconds: float) -> dict[str, Any]:
    """One model on one device: what the table shows, or 'error'."""
    feeds = {spec["name"]: make_input(spec, 0) for spec in entry["inputs"]}
    want = list(create("onnxruntime", entry["path"]).run(feeds).values())
    row: dict[str, Any] = {"model": entry["id"], "device": device}
    opened: list[TensorFlowJs] = []
    try:
        better = graphopt.optimize(entry["path"]).proto.SerializeToString()
        for name, model in (("original", entry["path"]), ("optimised", better)):
            started = time.perf_counter()
            executor = TensorFlowJs(model, device=device)
            opened.append(executor)
            got = list(executor.run(feeds).values())
            row |= {f"{name} first": time.perf_counter() - started, f"{name} apart": harness.distance(want, got)}
        times: list[tuple[float, float]] = []
        until = time.perf_counter() + seconds
        while time.perf_counter() < until or len(times) < 3:
            taken = [0.0, 0.0]
            for k in (0, 1) if len(times) % 2 else (1, 0):
                started = time.perf_counter()
                opened[k].run(feeds)
                taken[k] = 1e3 * (time.perf_counter() - started)
            times.append((taken[0], taken[1]))
        low, middle, high = np.quantile([a / b for a, b in times], [0.25, 0.5, 0.75])
        row |= {
            "original ms": statistics.median(a for a, _ in times),
            "optimised ms": statistics.median(b for _, b in times),
        }
        row |= {"ratio": float(middle), "low": float(low), "high": float(high), "pairs": len(times)}
    except Exception as e:
        row["error"] = f"{type(e).__name__}: {str(e)[:150]}"
    finally:
        for executor in opened:
            executor.close()
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--only", default=",".join(MODELS), metavar="IDS", help="with commas between")
    parser.add_argument("--devices", default="wasm", help="wasm, cpu; with commas between")
    parser.add_argument("--seconds", type=float, default=3.0, help="of latencies, for each model")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="largest difference that is no failure")
    parser.add_argument("--json", metavar="FILE", help="write the results there too")
    options = parser.parse_args()
    results = []
    for entry in entries(options.models, options.only.split(",")):
        if entry["id"] not in options.only.split(","):
            continue
        for device in options.devices.split(","):
            harness.progress(f"{entry['id']} on {device}")
            results.append(measure(entry, device, options.seconds))
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
    late = r["device"] == "wasm" and max(r["original first"], r["optimised first"]) > FIRST_RESULT
    return late or max(r["original apart"], r["optimised apart"]) > tolerance


if __name__ == "__main__":
    sys.exit(main())
