"""Every model of a folder, optimised and judged: nodes, seconds, interface, validity, and how far the outputs moved.

    python -m benchmarks.models --models FOLDER
    python -m benchmarks.models --models FOLDER/manifest.json --only bert-2l.ts,magika --levels 2
    python -m benchmarks.models --models FOLDER --optimizer onnxsim --levels 0 --reference-seconds 0

FOLDER holds .onnx files, or a manifest.json: a list of {"id", "path", "inputs": [{"name", "dtype", "shape", "gen",
...}]}, where "gen" is one of normal (mean, std), uniform (low, high), ints (low, high: exclusive), ones, zeros, fixed
(value) and arange; "inputs_alt" may hold a second set of sizes. Without "inputs", values are made up from the model's
declared interface.

Each model has a process of its own, with a time limit. Outputs are compared under ONNX Runtime with its optimisations
off on both sides, on several seeds and both sets of sizes; "difference" is the largest error relative to max(1,
largest value). "bits" is level 1's promise, the same bits on the reference kernels, judged where that executor runs the
model within its time limit; "layout" means that it holds once all values are laid out alike in memory, which is what
NumPy's rounding depends on. "weak" marks models whose outputs hardly depend on the inputs, so that agreement proves
little. Ends with a summary; exit code 1 where a model failed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import harness

if TYPE_CHECKING:
    import numpy as np
    import onnx

Entry = dict[str, Any]
QUANTIZED = ("QuantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "QLinearConv", "QLinearMatMul")
LEFT_OUT = "left out"


# -------------------------------------------------------------------------------------------------------------- entries
def entries(where: Path, only: Sequence[str] = ()) -> list[Entry]:
    """The models of a manifest, a folder or a single file; `only` keeps ids. KeyError for one that is not there."""
    manifest = where / "manifest.json" if where.is_dir() else where
    if manifest.suffix == ".json" and manifest.exists():
        found = [entry for entry in json.loads(manifest.read_text()) if entry.get("status", "ok") == "ok"]
        found = [entry | {"path": str((manifest.parent / entry["path"]).resolve())} for entry in found]
    else:
        files = sorted(where.rglob("*.onnx")) if where.is_dir() else [where]
        base = where if where.is_dir() else where.parent
        found = [
            {"id": file.relative_to(base).with_suffix("").as_posix(), "path": str(file.resolve())} for file in files
        ]
    if missing := set(only) - {entry["id"] for entry in found}:
        raise KeyError(f"not in {where}: {', '.join(sorted(missing))}")
    return [entry for entry in found if not only or entry["id"] in only]


def make_input(spec: dict[str, Any], seed: int) -> np.ndarray:
    """One input, a function of its specification and the seed alone."""
    import numpy as np

    draw = np.random.default_rng([seed, zlib.crc32(spec["name"].encode())])
    shape = tuple(spec["shape"])
    makers: dict[str, Callable[[], Any]] = {
        "normal": lambda: draw.normal(spec.get("mean", 0.0), spec.get("std", 1.0), shape),
        "uniform": lambda: draw.uniform(spec.get("low", 0.0), spec.get("high", 1.0), shape),
        "ints": lambda: draw.integers(spec["low"], spec["high"], shape),
        "ones": lambda: np.ones(shape),
        "zeros": lambda: np.zeros(shape),
        "fixed": lambda: np.broadcast_to(spec["value"], shape),
        "arange": lambda: np.broadcast_to(np.arange(shape[-1]), shape),
    }
    return np.asarray(makers[spec.get("gen", "normal")]()).astype(_dtype(spec["dtype"])).reshape(shape)


def _dtype(name: str) -> np.dtype:
    import ml_dtypes
    import numpy as np

    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


# ----------------------------------------------------------------------------------------------------------- the worker
class Bench:
    """What runs in a worker: one model, its optimised versions as files beside it in a scratch folder."""

    def __init__(self, entry: Entry, optimizer: str, scratch: str, seeds: int) -> None:
        import logging
        import warnings

        warnings.filterwarnings("ignore")
        logging.disable(logging.WARNING)
        self._entry = entry
        self._optimizer = optimizer
        self._source = Path(entry["path"])
        self._scratch = Path(scratch)
        self._seeds = seeds
        self._feeds: list[dict[str, Any]] | None = None
        self._expected: list[list[Any]] = []

    def target(self, level: int) -> Path:
        """Where the optimised model lies."""
        return self._scratch / f"level{level}" / "model.onnx"

    def optimize(self, level: int, rounds: int) -> dict[str, Any]:
        """Optimise from file to file; the optimiser has seen another model before, so imports do not count."""
        from benchmarks import graphs

        optimizer, target = harness.optimizer(self._optimizer, level), self.target(level)
        target.parent.mkdir(exist_ok=True)
        optimizer.model(graphs.chain(8))
        seconds = []
        for _ in range(rounds):
            for old in target.parent.iterdir():
                old.unlink()
            started = time.perf_counter()
            optimizer.file(self._source, target)
            seconds.append(time.perf_counter() - started)
        return {"seconds": statistics.median(seconds)}

    def inspect(self, level: int) -> dict[str, Any]:
        """Everything about the optimised model that needs no executor."""
        before, after = _graph(self._source), _graph(self.target(level))
        checked = _check(self.target(level))
        return {
            "nodes_before": harness.count_nodes(before),
            "nodes_after": harness.count_nodes(after),
            "interface": harness.interface_change(before, after),
            "checker": checked if checked and not _check(self._source) else None,
            "coarse": _coarse(before),
        }

    def prepare(self) -> dict[str, Any]:
        """Run the untouched model; says how far its outputs lie apart from one seed to the next."""
        session = _session(self._source)
        if self._feeds is None:
            self._feeds = self._make_feeds(session)
        self._expected = [session.run(None, feeds) for feeds in self._feeds]
        alike = (
            i for i in range(len(self._expected)) if i % self._seeds
        )  # those that share their sizes with the one before
        moved = (harness.distance(self._expected[i - 1], self._expected[i]) for i in alike)
        return {"seeds": self._seeds, "spread": max(moved, default=0.0)}

    def differ(self, level: int) -> float:
        """The largest difference of outputs, over all inputs."""
        assert self._feeds is not None
        session = _session(self.target(level))
        runs = zip(self._feeds, self._expected, strict=True)
        return max(harness.distance(want, session.run(None, feeds)) for feeds, want in runs)

    def reference(self) -> None:
        """Run the untouched model on the reference kernels."""
        if self._feeds is None:  # a new worker, after the last one was killed
            self.prepare()
        self._bits = self._on_reference(self._source)

    def bits(self, level: int) -> tuple[str, str | None]:
        """Run the optimised model there too: "same", "layout" (see harness.on_reference) or "differ", and where they do."""
        if harness.bit_mismatch(self._bits, self._on_reference(self.target(level))) is None:
            return "same", None
        want, got = (self._on_reference(path, row_major=True) for path in (self._source, self.target(level)))
        reason = harness.bit_mismatch(want, got)
        return ("differ", reason) if reason else ("layout", None)

    def _on_reference(self, path: Path, row_major: bool = False) -> list[Any]:
        assert self._feeds is not None
        return harness.on_reference(path, self._feeds[0], row_major)

    def _make_feeds(self, session: Any) -> list[dict[str, Any]]:
        sets = [self._entry[key] for key in ("inputs", "inputs_alt") if self._entry.get(key)]
        if sets:
            return [
                {spec["name"]: make_input(spec, seed) for spec in specs}
                for specs in sets
                for seed in range(self._seeds)
            ]
        return _sampled_feeds(_graph(self._source), session, self._seeds)


def _sampled_feeds(model: onnx.ModelProto, session: Any, seeds: int) -> list[dict[str, Any]]:
    """Inputs that the model runs with, made up from what it declares."""
    from graphopt import sampling

    def refuses(feeds: dict[str, Any]) -> str:
        try:
            session.run(None, feeds)
        except Exception as error:
            return harness.describe(error)
        return ""

    found = sampling.search(sampling.inputs_of(model)[0], refuses)
    if not found.plans:
        raise ValueError(f"no inputs found that the model runs with: {found.refusal}")
    return [sampling.draw(found.inputs, plan, seed) for plan in found.plans for seed in range(seeds)]


def _graph(path: Path) -> onnx.ModelProto:
    import onnx

    return onnx.load(path, load_external_data=False)


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _check(path: Path) -> str | None:
    import onnx

    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:
        return harness.describe(error)
    return None


def _coarse(model: onnx.ModelProto) -> bool:
    """Whether the model computes in 16 or 8 bits anywhere, so that another order of rounding shows."""
    import onnx

    halves = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
    typed = {t.data_type for t in model.graph.initializer}
    typed |= {v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)}
    casts = {a.i for n in model.graph.node if n.op_type == "Cast" for a in n.attribute if a.name == "to"}
    return bool(halves & (typed | casts)) or any(n.op_type in QUANTIZED for n in model.graph.node)


# ------------------------------------------------------------------------------------------------------------- verdicts
@dataclass
class Verdict:
    """What became of one model at one level; `failed` says what is wrong, by kind."""

    model: str
    level: int
    nodes_before: int = 0
    nodes_after: int = 0
    seconds: float | None = None
    difference: float | None = None
    tolerance: float = 0.0
    bits: str = ""
    weak: bool = False
    failed: dict[str, str] = field(default_factory=dict)


def judge(entry: Entry, options: argparse.Namespace) -> list[Verdict]:
    """One model at every level."""
    verdicts = [Verdict(entry["id"], level) for level in options.levels]
    with tempfile.TemporaryDirectory() as scratch:
        worker = harness.Worker(
            Bench, entry, options.optimizer, scratch, options.seeds, preload=["benchmarks.preloaded"]
        )
        try:
            made = [verdict for verdict in verdicts if _optimized(worker, verdict, options)]
            _compared(worker, made, options)
            if options.reference_seconds:
                _compared_by_bits(worker, [verdict for verdict in made if verdict.level == 1], options)
        finally:
            worker.close()
    return verdicts


def _optimized(worker: harness.Worker, verdict: Verdict, options: argparse.Namespace) -> bool:
    """Optimise and inspect; whether there is a model to run."""
    try:
        verdict.seconds = worker.ask("optimize", verdict.level, options.rounds, timeout=options.limit)["seconds"]
        seen = worker.ask("inspect", verdict.level, timeout=options.limit)
    except harness.WorkerError as error:
        verdict.failed["optimizer"] = str(error)
        return False
    verdict.nodes_before, verdict.nodes_after = seen["nodes_before"], seen["nodes_after"]
    verdict.tolerance = options.coarse_tolerance if seen["coarse"] else options.tolerance
    verdict.failed |= {kind: seen[kind] for kind in ("interface", "checker") if seen[kind]}
    return True


def _compared(worker: harness.Worker, verdicts: Sequence[Verdict], options: argparse.Namespace) -> None:
    """Compare outputs under ONNX Runtime; a model that does not run as it is cannot be judged."""
    seen: dict[str, Any] = {}
    for verdict in verdicts:
        try:
            seen = seen or worker.ask("prepare", timeout=options.limit)
        except harness.WorkerError as error:
            verdict.bits = f"not judged: {error}"
            continue
        verdict.weak = seen["seeds"] > 1 and seen["spread"] < 1e-3
        try:
            verdict.difference = worker.ask("differ", verdict.level, timeout=options.limit)
        except harness.WorkerError as error:
            verdict.failed["run"] = str(error)
            if error.kind != "error":
                seen = {}  # the next worker starts anew
            continue
        if not verdict.difference <= verdict.tolerance:
            verdict.failed["values"] = f"outputs differ by {verdict.difference:.3g}, allowed {verdict.tolerance:g}"


def _compared_by_bits(worker: harness.Worker, verdicts: Sequence[Verdict], options: argparse.Namespace) -> None:
    for verdict in verdicts:
        if verdict.difference is None:
            continue
        try:
            worker.ask("reference", timeout=options.reference_seconds)
        except harness.WorkerError as error:
            verdict.bits = f"{LEFT_OUT}: {error}"
            continue
        try:
            verdict.bits, reason = worker.ask("bits", verdict.level, timeout=5 * options.reference_seconds)
        except harness.WorkerError as error:
            verdict.bits, reason = "differ", str(error)
        if reason:
            verdict.failed["bits"] = reason


# -------------------------------------------------------------------------------------------------------------- command
def _names(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="a folder, a manifest or one .onnx file")
    parser.add_argument("--only", type=_names, default=[], help="only these ids")
    parser.add_argument("--without", type=_names, default=[], help="all but these ids")
    parser.add_argument("--optimizer", default="graphopt", help=harness.OPTIMIZER_HELP)
    parser.add_argument(
        "--levels", type=lambda text: [int(word) for word in _names(text)], default=[1, 2], help="default: 1,2"
    )
    parser.add_argument("--seeds", type=int, default=2, help="inputs for each set of sizes (default: 2)")
    parser.add_argument("--rounds", type=int, default=1, help="optimisations to take the median time of (default: 1)")
    parser.add_argument(
        "--limit", type=float, default=120, help="seconds that one step on one model may take (default: 120)"
    )
    parser.add_argument(
        "--reference-seconds",
        type=float,
        default=20,
        help="seconds of the reference kernels a model, for level 1 (default: 20; 0: never)",
    )
    parser.add_argument("--tolerance", type=float, default=1e-4, help="difference allowed (default: 1e-4)")
    parser.add_argument(
        "--coarse-tolerance", type=float, default=1e-2, help="with 16 or 8 bits in the model (default: 1e-2)"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, help="models at a time; more than one disturbs the times (default: 1)"
    )
    parser.add_argument("--json", help="write every verdict to this file")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = _parser().parse_args(arguments)
    todo = [entry for entry in entries(options.models, options.only) if entry["id"] not in options.without]
    started, lock, done = time.perf_counter(), threading.Lock(), 0

    def one(entry: Entry) -> list[Verdict]:
        nonlocal done
        verdicts = judge(entry, options)
        with lock:
            done += 1
            harness.progress(f"{done}/{len(todo)} {entry['id']}")
        return verdicts

    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = [verdict for found in pool.map(one, todo) for verdict in found]
    harness.progress("")
    headers = ("model", "level", "nodes", "after", "seconds", "difference", "bits", "")
    rows = [
        (
            v.model,
            v.level,
            v.nodes_before,
            v.nodes_after,
            v.seconds,
            v.difference,
            v.bits.partition(":")[0] or "-",
            _remark(v),
        )
        for v in verdicts
    ]
    harness.print_table(headers, rows)
    for verdict in verdicts:
        for kind, reason in verdict.failed.items():
            print(f"FAILED {verdict.model} level {verdict.level} [{kind}] {reason}")
    unjudged = [v for v in verdicts if ":" in v.bits]
    for verdict in unjudged:
        print(f"{verdict.model} level {verdict.level}: bits {verdict.bits}"[:150])
    failures = 0
    for level in options.levels:
        mine = [verdict for verdict in verdicts if verdict.level == level]
        ratio = harness.geometric_mean(v.nodes_after / v.nodes_before for v in mine if v.nodes_after and v.nodes_before)
        seconds = [v.seconds for v in mine if v.seconds is not None]
        failed = sum(bool(v.failed) for v in mine)
        failures += failed
        print(
            f"{options.optimizer} level {level}: {len(mine)} models, {failed} failed, "
            f"nodes {ratio:.3f} of the original and {harness.geometric_mean(seconds):.3f} s (geometric means), "
            f"{sum(seconds):.1f} s in all"
            + (f"; same bits in {sum(v.bits in ('same', 'layout') for v in mine)}" if level == 1 else "")
        )
    print(f"{time.perf_counter() - started:.0f} s")
    harness.write_json(options.json, [asdict(verdict) for verdict in verdicts])
    return 1 if failures else 0


def _remark(verdict: Verdict) -> str:
    return "FAILED" if verdict.failed else "weak" if verdict.weak else ""


if __name__ == "__main__":
    raise SystemExit(main())
