"""Where the time is: each model of a folder under ONNX Runtime's profiler, as it came, optimised, and optimised for it.

    python -m benchmarks.where --models FOLDER
    python -m benchmarks.where --models FOLDER/manifest.json --only magika,ppocr4-det --rounds 30 --markdown where.md

ONNX Runtime on one thread with all its own optimisations on; the three sessions take turns, round by round. "nodes" are the
kernels that it really runs, subgraphs included and a loop's body as often as it runs. "time" is that of a run over the one of
the model as it came, the median of all rounds (the profiler's own share, about a microsecond a node, is in both). "Reorder"
counts the copies between plain and blocked layouts of convolutions, "Transpose" transpositions and the copies of a Memcpy.
Shares are of kernel time, each kernel's least over all rounds, so that another job on the machine hardly counts: in a model's
line of that model's total, in the summary of the total that the models had as they came, each model counting the same.
What an If, Loop or Scan spends on its body is the body's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import harness, models

LIMIT = 600.0
BASE = "as it came"
#: The other forms, and the target of each.
FORMS = {"level 2": "onnx", "level 3": "onnxruntime"}
REORDERS = frozenset(("ReorderInput", "ReorderOutput"))
COPIES = frozenset(("Transpose", "MemcpyFromHost", "MemcpyToHost"))
TOP = 5


@dataclass
class Profile:
    """What ONNX Runtime's profiler says of one form of a model."""

    nodes: int = 0
    reorders: int = 0
    copies: int = 0
    milliseconds: float = 0.0
    kernels: float = 0.0
    ratio: float = 1.0
    #: Milliseconds in kernels, by operator.
    by_operator: dict[str, float] = field(default_factory=dict)

    def top(self, count: int = TOP) -> str:
        """The operators that take most, with their share."""
        most = sorted(self.by_operator.items(), key=lambda item: -item[1])[:count]
        return ", ".join(f"{name} {100 * spent / max(self.kernels, 1e-9):.0f}" for name, spent in most)


class Bench:
    """What runs in a worker: one model."""

    def __init__(self, entry: models.Entry) -> None:
        self.entry = entry

    def profiles(self, rounds: int, seconds: float) -> dict[str, dict[str, Any]]:
        """A profile of each form, as a dict."""
        import graphopt

        harness.stay_on(None)
        with tempfile.TemporaryDirectory() as folder:
            paths = {BASE: self.entry["path"]}
            for name, target in FORMS.items():
                paths[name] = str(Path(folder, name.replace(" ", "-") + ".onnx"))
                graphopt.optimize(self.entry["path"], target=target).save(paths[name])
            sessions = {
                name: _session(path, Path(folder, f"profile-{i}")) for i, (name, path) in enumerate(paths.items())
            }
            feeds = models.Bench(self.entry, "graphopt", folder, 1)._make_feeds(sessions[BASE])[0]
            _run(sessions, feeds, rounds, seconds)
            traces = {name: json.loads(Path(s.end_profiling()).read_text()) for name, s in sessions.items()}
        found = {name: _read(trace) for name, trace in traces.items()}
        base = found[BASE][1]
        for profile, spent in found.values():
            profile.ratio = statistics.median(t / b for t, b in zip(spent, base, strict=True))
        return {name: asdict(profile) for name, (profile, _) in found.items()}


def _session(path: str, prefix: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_profiling = True
    options.profile_file_prefix = str(prefix)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _run(sessions: dict[str, Any], feeds: dict[str, Any], rounds: int, seconds: float) -> None:
    """Rounds by turns, the first to warm up; fewer of them where they would take too long."""
    started = time.perf_counter()
    for done in range(rounds + 1):
        for session in sessions.values():
            session.run(None, feeds)
        if done >= 3 and time.perf_counter() - started > seconds:
            return


# ------------------------------------------------------------------------------------------------------------- reading
def _read(trace: Iterable[dict[str, Any]]) -> tuple[Profile, list[float]]:
    """A profile, and how long each run took."""
    events = list(trace)
    runs = sorted((e["ts"], e["ts"] + e["dur"]) for e in events if e["name"] == "model_run")[1:]
    kernels = sorted(
        ((e["ts"], -e["dur"], e["args"]["op_name"]) for e in events if e["name"].endswith("_kernel_time")),
    )
    per_run: list[list[tuple[str, float]]] = []
    position = 0
    for start, end in runs:
        while position < len(kernels) and kernels[position][0] < start:
            position += 1
        first = position
        while position < len(kernels) and kernels[position][0] < end:
            position += 1
        per_run.append(_own_time(kernels[first:position]))
    spent = _least(per_run)
    counts = Counter(name for name, _ in spent)
    by_operator: dict[str, float] = defaultdict(float)
    for name, microseconds in spent:
        by_operator[name] += microseconds / 1e3
    took = [float(end - start) for start, end in runs]
    profile = Profile(
        nodes=len(spent),
        reorders=sum(counts[name] for name in REORDERS),
        copies=sum(counts[name] for name in COPIES),
        milliseconds=min(took) / 1e3,
        kernels=sum(by_operator.values()),
        by_operator=dict(sorted(by_operator.items(), key=lambda item: -item[1])),
    )
    return profile, took


def _own_time(kernels: Sequence[tuple[float, float, str]]) -> list[tuple[str, float]]:
    """The kernels of a run, with their microseconds without those of the kernels that ran inside them."""
    spent: list[tuple[str, float]] = []
    around: list[tuple[float, int]] = []
    for start, minus, name in kernels:
        while around and around[-1][0] <= start:
            around.pop()
        if around:
            outer, whole = spent[around[-1][1]]
            spent[around[-1][1]] = outer, whole + minus
        around.append((start - minus, len(spent)))
        spent.append((name, -minus))
    return spent


def _least(runs: Sequence[list[tuple[str, float]]]) -> list[tuple[str, float]]:
    """The least time of each kernel over the runs that did the same as the last."""
    names = [name for name, _ in runs[-1]]
    alike = [run for run in runs if [name for name, _ in run] == names]
    return [(name, min(run[i][1] for run in alike)) for i, name in enumerate(names)]


# -------------------------------------------------------------------------------------------------------------- command
def lines(found: dict[str, dict[str, Profile]]) -> list[str]:
    """The tables, in Markdown."""
    forms = (BASE, *FORMS)
    rows = [
        "| operator | " + " | ".join(forms) + " |",
        "| --- | --- | --- | --- |",
    ]
    sums: dict[str, dict[str, float]] = {form: defaultdict(float) for form in forms}
    for profiles in found.values():
        for form in forms:
            for name, spent in profiles[form].by_operator.items():
                sums[form][name] += 100 * spent / profiles[BASE].kernels / len(found)
    shown = sorted(set().union(*sums.values()), key=lambda name: -max(s[name] for s in sums.values()))
    shown = [name for name in shown if max(s[name] for s in sums.values()) >= 0.25]
    rows += [f"| {name} | " + " | ".join(f"{sums[form][name]:.1f}" for form in forms) + " |" for name in shown]
    rows.append(
        "| others | " + " | ".join(f"{sum(s.values()) - sum(s[n] for n in shown):.1f}" for s in sums.values()) + " |"
    )
    rows.append("| all | " + " | ".join(f"{sum(s.values()):.1f}" for s in sums.values()) + " |")
    means = {form: harness.geometric_mean(p[form].ratio for p in found.values()) for form in forms[1:]}
    told = ", ".join(f"{form} {mean:.3f}" for form, mean in means.items())
    rows += ["", f"{len(found)} models; time over that of the model as it came, geometric mean: {told}.", ""]
    rows += [
        f"| model | ms | time: {', '.join(FORMS)} | nodes | Reorder | Transpose | {BASE}, % | {forms[-1]}, % |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for model, profiles in found.items():
        p = [profiles[form] for form in forms]
        rows.append(
            f"| {model} | {p[0].milliseconds:.3g} | {p[1].ratio:.3f}, {p[2].ratio:.3f} | "
            + " | ".join(", ".join(str(getattr(q, what)) for q in p) for what in ("nodes", "reorders", "copies"))
            + f" | {p[0].top()} | {p[2].top()} |"
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder, manifest.json or .onnx file")
    parser.add_argument("--only", default="", help="ids, with commas")
    parser.add_argument("--rounds", type=int, default=20, help="runs of each form (default: 20)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of rounds a model, at most (default: 10)")
    parser.add_argument("--markdown", type=Path, help="write the tables to this file")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args(arguments)

    found: dict[str, dict[str, Profile]] = {}
    failed: dict[str, str] = {}
    todo = models.entries(options.models, [i for i in options.only.split(",") if i])
    for done, entry in enumerate(todo):
        harness.progress(f"{done}/{len(todo)} {entry['id']}")
        worker = harness.Worker(Bench, entry)
        try:
            answer = worker.ask("profiles", options.rounds, options.seconds, timeout=LIMIT)
            found[entry["id"]] = {form: Profile(**profile) for form, profile in answer.items()}
        except harness.WorkerError as error:
            failed[entry["id"]] = str(error)
        finally:
            worker.close()
    harness.progress("")
    text = "\n".join(lines(found)) if found else ""
    print(text)
    if options.markdown:
        options.markdown.write_text(text + "\n")
    for model, reason in failed.items():
        print(f"FAILED {model}: {reason}")
    harness.write_json(options.json, {m: {f: asdict(p) for f, p in forms.items()} for m, forms in found.items()})
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
