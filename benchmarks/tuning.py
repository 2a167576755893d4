"""What tuning wins: the untouched model, the analytic choice and the tuned one, measured side by side after tuning.

    python -m benchmarks.tuning --models FOLDER --only ppocr4-det,bert-2l.ts,silero-vad --seconds 60
    python -m benchmarks.tuning --models FOLDER --only bert-2l.ts --shape input_ids=4x256 --shape attention_mask=4x256
    python -m benchmarks.tuning --models FOLDER --only silero-vad-ifless,ppocr4-det --target openvino

Tunes each model for --seconds, then measures anew, with other inputs, the three models in turn (an order that changes, one
thread, pinned to one core), opened anew every few rounds. Times are those of the processor, so that other programs on the
machine disturb less. Ratios are medians over the openings with the 95% interval of the sign test; below 1 is faster. Exit
code 1 where a tuned model is slower than the analytic choice or the untouched model.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.models import entries, make_input


def measure(
    entry: dict[str, Any], target: str, shapes: dict[str, list[int]], seconds: float, openings: int, after: float,
    cache: Path | None,
) -> dict[str, Any]:  # fmt: skip
    """One model."""
    import graphopt
    from graphopt.targets import target_of
    from graphopt.tuning.race import reopened
    from graphopt.tuning.ratio import paired, ratio_of
    from graphopt.tuning.stand import RuntimeStand

    path = Path(entry["path"])
    specs = [s | {"shape": shapes.get(s["name"], s["shape"])} for s in entry["inputs"]]
    tuned_on, measured_on = ({s["name"]: make_input(s, seed) for s in specs} for seed in (0, 1))
    tuned = graphopt.optimize(path, level=3, target=target, tune=seconds, tune_inputs=tuned_on, tune_cache=cache)
    assert tuned.report is not None
    analytic = graphopt.optimize(path, level=3, target=target)
    models = {"untouched": graphopt.load(path), "analytic": analytic, "tuned": tuned}
    stand = RuntimeStand(target_of(target))

    def opener(name: str) -> Callable[[], Callable[[], object]]:
        def opened() -> Callable[[], object]:
            session = stand.open(models[name])
            return lambda: session(measured_on)

        return opened

    until = time.perf_counter() + after
    times = reopened({name: opener(name) for name in models}, time.perf_counter, stand.timer, openings, until)
    ratios = {
        "tuned / untouched": ratio_of(paired(times["tuned"], times["untouched"])),
        "tuned / analytic": ratio_of(paired(times["tuned"], times["analytic"])),
        "analytic / untouched": ratio_of(paired(times["analytic"], times["untouched"])),
    }
    return {
        "id": entry["id"],
        "choice": str(tuned.report.tuning.choice),
        "candidates": len(tuned.report.tuning.candidates),
        "tuning_seconds": tuned.report.tuning.seconds,
        "ms": {name: statistics.median(t) * 1e3 for name, t in times.items() if t},
        "ratios": {name: None if r is None else r.to_dict() for name, r in ratios.items()},
        "slower": any(r is not None and r.slower and r.median > 1.005 for r in list(ratios.values())[:2]),
    }


def _shape(text: str) -> tuple[str, list[int]]:
    name, _, dims = text.partition("=")
    return name, [int(d) for d in dims.split("x")]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="a folder, a manifest.json, or one file")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="ids of models")
    parser.add_argument("--target", default="onnxruntime", help="runtime to tune for (default: onnxruntime)")
    parser.add_argument(
        "--shape", type=_shape, action="append", default=[], metavar="INPUT=4x256", help="of an input, repeatable"
    )
    parser.add_argument("--seconds", type=float, default=60, help="of tuning a model (default: 60)")
    parser.add_argument("--openings", type=int, default=40, help="of sessions afterwards, at most (default: 40)")
    parser.add_argument(
        "--after", type=float, default=60, help="seconds of measuring afterwards, at most (default: 60)"
    )
    parser.add_argument("--core", type=int, help="the core to stay on; -1: any (default: the last one)")
    parser.add_argument("--cache", type=Path, help="a tuning cache")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args(arguments)
    harness.stay_on(options.core)
    found = []
    for entry in entries(options.models, options.only):
        try:
            row = measure(
                entry,
                options.target,
                dict(options.shape),
                options.seconds,
                options.openings,
                options.after,
                options.cache,
            )
        except Exception as e:
            print(f"left out: {entry['id']}: {harness.describe(e)}", flush=True)
            continue
        found.append(row)
        print(f"{row['id']}: {row['choice']} ({row['candidates']} candidates, {row['tuning_seconds']:.0f} s)")
        for name, r in row["ratios"].items():
            if r is not None:
                print(f"    {name:22s} {r['median']:.3f} ({r['low']:.3f} to {r['high']:.3f}, {r['rounds']} openings)")
        print(f"    {', '.join(f'{name} {ms:.3g} ms' for name, ms in row['ms'].items())}", flush=True)
    harness.write_json(options.json, found)
    return int(any(row["slower"] for row in found) or not found)


if __name__ == "__main__":
    raise SystemExit(main())
