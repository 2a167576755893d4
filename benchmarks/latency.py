"""How much faster models run under ONNX Runtime, with all its own optimizations on, once they are optimised.

    python -m benchmarks.latency --models FOLDER
    python -m benchmarks.latency --models FOLDER --only bert-2l.ts,magika --levels 3 --peers onnxsim,onnxslim
    python -m benchmarks.latency --models FOLDER --threads 2

Each model has a process of its own. The untouched model and those that the levels and peers make of it take turns, in an order
that changes, on sessions that are opened anew every few rounds: where weights come to lie in memory makes the same model
faster or slower by a per cent. Figures are how many times as fast as the untouched model, medians over the openings with the
95% interval of the sign test. Level 3 is for ONNX Runtime. With one thread, the process stays on one core and its own time
counts. Exit code 1 where a level of graphopt makes a model slower than it was for certain, by more than 1.5%; where it is
that much slower than what a peer makes of it is named.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness, models

BASE = "untouched"
#: So much slower may a model seem to be before that counts.
_NOISE = 0.985
#: Runs that do not count: ONNX Runtime plans its memory in the first, and asks the system for it in the second.
_WARM_UP = 2
#: Openings whatever time they take: fewer decide nothing.
_LEAST = 6
SECONDS = 600.0


class Bench:
    """What runs in a worker: one model."""

    def __init__(self, entry: models.Entry, levels: Sequence[int], peers: Sequence[str]) -> None:
        self.entry = entry
        self.levels = {f"level {n}": ("graphopt", n) for n in levels}
        self.optimizers = self.levels | {p: (p, 0) for p in peers}

    def ratios(self, threads: int, core: int | None, openings: int, seconds: float) -> dict[str, Any]:
        """Of each optimizer the ratio as a dict, or why there is none; and milliseconds of the untouched model."""
        from graphopt.tuning.race import reopened
        from graphopt.tuning.ratio import paired, ratio_of

        found: dict[str, Any] = {}
        paths = {BASE: self.entry["path"]}
        with tempfile.TemporaryDirectory() as folder:
            feeds = models.Bench(self.entry, "identity", folder, 1)._make_feeds(_session(paths[BASE], threads))[0]
            for i, (name, (optimizer, level)) in enumerate(self.optimizers.items()):
                target = Path(folder, f"{i}.onnx")
                try:
                    harness.optimizer(optimizer, level).file(Path(self.entry["path"]), target)
                    _session(str(target), threads).run(None, feeds)
                    paths[name] = str(target)
                except Exception as error:
                    found[name] = harness.describe(error)

            def opener(path: str) -> Callable[[], Callable[[], object]]:
                def opened() -> Callable[[], object]:
                    session = _session(path, threads)
                    for _ in range(_WARM_UP):
                        session.run(None, feeds)
                    return lambda: session.run(None, feeds)

                return opened

            if threads == 1:
                harness.stay_on(core)
            timer = time.thread_time if threads == 1 else time.perf_counter
            until = time.perf_counter() + seconds
            openers = {name: opener(path) for name, path in paths.items()}
            times = reopened(openers, time.perf_counter, timer, min(openings, _LEAST), math.inf)
            more = reopened(openers, time.perf_counter, timer, max(openings - _LEAST, 0), until)
        times = {name: [*t, *more[name]] for name, t in times.items()}

        def ratio(name: str, beside: str) -> dict[str, Any]:
            """How many times as fast the one is as the other, and whether it is slower for certain."""
            inverse = ratio_of(paired(times[beside], times[name]))
            assert inverse is not None
            return inverse.to_dict() | {"slower": inverse.faster and inverse.high < _NOISE}

        ours, theirs = ([n for n in paths if (n in self.levels) == level] for level in (True, False))
        for name in paths:
            found[name] = ratio(name, BASE)
        for name in ours:
            found[name]["behind"] = [peer for peer in theirs if peer != BASE and ratio(name, peer)["slower"]]
        return found | {"ms": statistics.median(times[BASE]) * 1e3}


def _session(path: str, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "0"
    )  # those of the others would wait on the cores
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder, manifest.json or .onnx file")
    parser.add_argument("--only", default="", help="ids, with commas")
    parser.add_argument("--levels", default="2,3", help="of graphopt (default: 2,3)")
    parser.add_argument("--peers", default="", help=harness.OPTIMIZER_HELP)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--core", type=int, help="the core to stay on; -1: any (default: the last one)")
    parser.add_argument("--openings", type=int, default=15, help="of sessions, at most (default: 15)")
    parser.add_argument("--seconds", type=float, default=20, help="of measuring a model, at most (default: 20)")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args(arguments)

    levels = [int(n) for n in options.levels.split(",") if n]
    peers = [p for p in options.peers.split(",") if p]
    rows: dict[str, dict[str, Any]] = {}
    for entry in models.entries(options.models, [i for i in options.only.split(",") if i]):
        worker = harness.Worker(Bench, entry, levels, peers)
        try:
            row = worker.ask(
                "ratios", options.threads, options.core, options.openings, options.seconds, timeout=SECONDS
            )
        except harness.WorkerError as error:
            print(f"left out: {entry['id']}: {error}", flush=True)
            continue
        finally:
            worker.close()
        rows[entry["id"]] = row
        told = ", ".join(f"{name} {_told(r)}" for name, r in row.items() if name not in ("ms", BASE))
        print(f"{entry['id']:32} {row['ms']:9.3f} ms: {told}", flush=True)
    slower = _summary(rows, [*(f"level {n}" for n in levels), *peers])
    harness.write_json(options.json, rows)
    return int(slower or not rows)


def _told(ratio: Any) -> str:
    return ratio if isinstance(ratio, str) else f"{ratio['median']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})"


def _summary(rows: dict[str, dict[str, Any]], names: Sequence[str]) -> bool:
    """Whether a level of graphopt makes a model slower for certain."""
    bad = False
    for name in names:
        found = {i: r[name] for i, r in rows.items() if isinstance(r.get(name), dict)}
        if not found:
            continue
        slow = [i for i, r in found.items() if r["slower"]]
        mean = harness.geometric_mean(r["median"] for r in found.values())
        print(
            f"{name}: {mean:.3f} times as fast, geometric mean of {len(found)} models; lowest "
            f"{min(r['median'] for r in found.values()):.3f}; slower for certain: {', '.join(slow) or 'none'}"
        )
        behind = [f"{i} ({', '.join(r['behind'])})" for i, r in found.items() if r.get("behind")]
        if behind:
            print(f"    slower for certain than what a peer makes of it: {', '.join(behind)}")
        bad = bad or (bool(slow) and name.startswith("level"))
    return bad


if __name__ == "__main__":
    raise SystemExit(main())
