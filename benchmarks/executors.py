"""Executors side by side on every model of a folder: how fast, how far from ONNX Runtime, and how much memory.

    python -m benchmarks.executors --models FOLDER
    python -m benchmarks.executors --models FOLDER --only bert-2l.ts,magika --executors reference,onnxruntime
    python -m benchmarks.executors --models FOLDER --memory

FOLDER as for benchmarks.models. Each model has a process of its own, pinned to one core, one thread an executor. Times are
medians of interleaved runs (A B C A B C ...), as ratios to ONNX Runtime with all its optimisations; each session as a
user gets it, graph optimisation on. "difference" is the largest error relative to max(1, largest value) against ONNX
Runtime with its optimisations off, of the first inputs; executors run there without optimisation too. --memory measures the
reference executor alone: the peak of what it allocates in a run, over the largest set of tensors that are live at once
(what a step reads and writes, and what later steps will read). Ends with geometric means.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.models import Entry, entries, make_input

EXECUTORS = ("reference", "jax", "onnxruntime", "openvino", "onnx.reference")
BASE = "onnxruntime"


class Runs:
    """One model in a process of its own."""

    def __init__(self, entry: Entry) -> None:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
        self._entry = entry
        self._path = entry["path"]
        self._feeds = {spec["name"]: make_input(spec, 0) for spec in entry["inputs"]}
        self._sessions: dict[str, Callable[[], Any]] = {}

    def load(self, executor: str) -> float:
        """Make a session and run it once; seconds."""
        started = time.perf_counter()
        call = _session(executor, self._path, optimized=True)
        call(self._feeds)
        self._sessions[executor] = lambda: call(self._feeds)
        return time.perf_counter() - started

    def times(self, seconds: float) -> dict[str, float]:
        """Median seconds of each loaded executor, interleaved."""
        taken: dict[str, list[float]] = {name: [] for name in self._sessions}
        until = time.perf_counter() + seconds
        while time.perf_counter() < until or min(map(len, taken.values())) < 1:
            for name, run in self._sessions.items():
                if sum(taken[name]) > seconds:
                    continue  # a slow one does not hold up the others; one that takes longer than all of this runs once
                started = time.perf_counter()
                run()
                taken[name].append(time.perf_counter() - started)
        return {name: statistics.median(values) for name, values in taken.items()}

    def differences(self, executors: list[str]) -> dict[str, float]:
        """Distance of each from ONNX Runtime, nothing optimised."""
        want = _session(BASE, self._path, optimized=False)(self._feeds)
        return {n: harness.distance(want, _session(n, self._path, optimized=False)(self._feeds)) for n in executors}

    def memory(self) -> tuple[int, int]:
        """Bytes: the peak of a run of the reference executor, and the largest set of live tensors."""
        import gc
        import tracemalloc

        from graphopt.exec.backends.numpy import REFERENCE
        from graphopt.exec.planning import plan
        from graphopt.ir import load

        steps = plan(load(self._path))
        defaults = self._defaults()
        inputs = [self._feeds.get(name, default) for name, default in defaults.items()]
        live = _largest_live_set(steps, inputs)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        steps.run(REFERENCE, inputs)
        peak = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        return peak, live

    def _defaults(self) -> dict[str, Any]:
        from graphopt.ir import load

        graph = load(self._path).graph
        return {v.name: graph.initializers[v].numpy() if v in graph.initializers else None for v in graph.inputs}


def _session(executor: str, path: str, optimized: bool) -> Callable[[Mapping[str, Any]], list[Any]]:
    if executor == "onnx.reference":
        import onnx
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(onnx.load(path))
        return lambda feeds: list(evaluator.run(None, dict(feeds)))
    if executor == "onnxruntime":
        import onnxruntime as ort

        options = ort.SessionOptions()
        level = "ORT_ENABLE_ALL" if optimized else "ORT_DISABLE_ALL"
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda feeds: list(session.run(None, dict(feeds)))
    if executor == "openvino" or not optimized:
        from graphopt.exec.executors import create

        made = create(executor, path)
        return lambda feeds: list(made.run(feeds).values())
    import graphopt.exec

    own = graphopt.exec.InferenceSession(path, providers=[executor])
    return lambda feeds: own.run(None, feeds)


def _largest_live_set(steps: Any, inputs: list[Any]) -> int:
    """Bytes of the tensors that are needed at once, at the step where these are most; inputs are the caller's."""
    from graphopt.exec.backends.numpy import REFERENCE
    from graphopt.exec.plan import run_step

    slots = steps.slots(inputs)
    outside = {id(_owner(a)) for a in (*steps.constants.values(), *inputs) if hasattr(a, "nbytes")}
    most = 0
    for step in steps.steps:
        run_step(step, REFERENCE, slots, free=False)
        owners = {id(owner): owner for value in slots for owner in _owners(value)}
        most = max(most, sum(o.nbytes for key, o in owners.items() if key not in outside))
        for slot in step.frees:
            slots[slot] = None
    return most


def _owners(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [owner for v in value for owner in _owners(v)]
    return [_owner(value)] if hasattr(value, "nbytes") and hasattr(value, "base") else []


def _owner(array: Any) -> Any:
    while getattr(getattr(array, "base", None), "nbytes", None) is not None:
        array = array.base
    return array


def measure(entry: Entry, executors: list[str], seconds: float, patience: float) -> dict[str, Any]:
    """Everything about one model; `failed` by executor."""
    worker = harness.Worker(Runs, entry)
    result: dict[str, Any] = {"model": entry["id"], "seconds": {}, "load": {}, "difference": {}, "failed": {}}
    loaded: list[str] = []
    for executor in sorted(executors, key=lambda e: e == "onnx.reference"):
        try:
            result["load"][executor] = worker.ask("load", executor, timeout=patience)
            loaded.append(executor)
        except harness.WorkerError as error:
            result["failed"][executor] = str(error)
            if error.kind != "error":  # a new process: the others are loaded again
                for again in loaded:
                    worker.ask("load", again, timeout=patience)
    try:
        result["seconds"] = worker.ask("times", seconds, timeout=20 * patience)
    except harness.WorkerError as error:
        result["failed"]["times"] = str(error)
    for executor in loaded:
        if executor not in (BASE, "onnx.reference"):
            try:
                result["difference"] |= worker.ask("differences", [executor], timeout=4 * patience)
            except harness.WorkerError as error:
                result["failed"][f"{executor} against {BASE}"] = str(error)
    worker.close()
    return result


def measure_memory(entry: Entry, patience: float) -> dict[str, Any]:
    """Peak and live bytes of one model."""
    worker = harness.Worker(Runs, entry)
    try:
        peak, live = worker.ask("memory", timeout=patience)
        return {"model": entry["id"], "peak": peak, "live": live, "ratio": peak / max(live, 1)}
    except harness.WorkerError as error:
        return {"model": entry["id"], "failed": str(error)}
    finally:
        worker.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="a folder, a manifest.json or a file")
    parser.add_argument("--only", default="", help="ids of models, with commas between")
    parser.add_argument("--executors", default=",".join(EXECUTORS), help=f"of {','.join(EXECUTORS)}")
    parser.add_argument("--seconds", type=float, default=2.0, help="of timing, for each model")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds for an executor to load and run once")
    parser.add_argument("--memory", action="store_true", help="measure the memory of the reference executor instead")
    parser.add_argument("--json", help="write everything to this file")
    options = parser.parse_args()
    executors = options.executors.split(",")
    if unknown := set(executors) - set(EXECUTORS):
        parser.error(f"--executors: no executor is called {', '.join(sorted(unknown))}")
    chosen = entries(options.models, [n for n in options.only.split(",") if n])
    results = []
    for entry in chosen:
        harness.progress(entry["id"])
        results.append(
            measure_memory(entry, 600.0)
            if options.memory
            else measure(entry, executors, options.seconds, options.patience)
        )
    harness.write_json(options.json, results)
    (_show_memory if options.memory else _show)(results, executors)
    return int(any("failed" in r and r["failed"] for r in results))


def _show_memory(results: list[dict[str, Any]], executors: list[str]) -> None:
    fine = [r for r in results if "ratio" in r]
    mb = 2**20
    harness.print_table(
        ["model", "peak MiB", "live MiB", "peak / live"],
        [[r["model"], r["peak"] / mb, r["live"] / mb, r["ratio"]] for r in sorted(fine, key=lambda r: r["ratio"])],
    )
    print(f"largest: {max((r['ratio'] for r in fine), default=float('nan')):.2f}, of {len(fine)} models")
    for r in results:
        if "failed" in r:
            print(f"failed: {r['model']}: {r['failed']}")


def _show(results: list[dict[str, Any]], executors: list[str]) -> None:
    others = [e for e in executors if e != BASE]
    rows = []
    for r in results:
        base = r["seconds"].get(BASE)
        ratios = [r["seconds"].get(e, float("nan")) / base if base else float("nan") for e in others]
        differences = [r["difference"].get(e, float("nan")) for e in others if e in ("reference", "jax", "openvino")]
        rows.append([r["model"], (base or float("nan")) * 1e3, *ratios, *(f"{d:.0e}" for d in differences)])
    compared = [f"diff {e}" for e in others if e in ("reference", "jax", "openvino")]
    harness.print_table(["model", f"{BASE} ms", *(f"{e} / it" for e in others), *compared], rows)
    for e in others:
        both = [r for r in results if e in r["seconds"] and BASE in r["seconds"]]
        mean = harness.geometric_mean(r["seconds"][e] / r["seconds"][BASE] for r in both)
        print(f"{e}: {mean:.2f} of {BASE}'s time, geometric mean of {len(both)} models")
    both = [r["seconds"] for r in results if {"reference", "onnx.reference"} <= r["seconds"].keys()]
    if both:
        mean = harness.geometric_mean(s["onnx.reference"] / s["reference"] for s in both)
        print(f"reference is {mean:.1f} times as fast as onnx.reference, geometric mean of {len(both)} models")
    for r in results:
        for what, why in r["failed"].items():
            print(f"failed: {r['model']}: {what}: {why}")


if __name__ == "__main__":
    sys.exit(main())
