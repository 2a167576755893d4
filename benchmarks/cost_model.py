"""Whether the analytic cost of a model tells where its time goes: predicted against measured, operator by operator.

    python -m benchmarks.cost_model --models FOLDER
    python -m benchmarks.cost_model --models FOLDER --only bert-2l.ts,resnet50.dyn --rounds 20

First table: time by operator over all models as ONNX Runtime's profiler has it, its optimizations off so that nodes are
those of the model, beside what `graphopt.cost` says for the same sizes; the rank correlation over single nodes of the
operator in all models. Then rank correlations: over all nodes, over the operators of each model (the mean), and over
whole models with ONNX Runtime's optimizations on. One thread; medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.models import entries, make_input

_SUFFIX = "_kernel_time"


def profile(path: Path, feeds: dict[str, Any], rounds: int) -> dict[str, tuple[str, float]]:
    """Operator and seconds of every named node of a model that is run as it is."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "profile"))
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for _ in range(rounds + 1):
            session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text())
    seconds: dict[str, list[float]] = defaultdict(list)
    operators: dict[str, str] = {}
    for e in events:
        if e.get("cat") == "Node" and e["name"].endswith(_SUFFIX):
            name = e["name"].removesuffix(_SUFFIX)
            seconds[name].append(e["dur"] * 1e-6)
            operators[name] = e["args"]["op_name"]
    return {name: (operators[name], statistics.median(found)) for name, found in seconds.items()}


def whole(path: Path, feeds: dict[str, Any], rounds: int) -> float:
    """Seconds of a run with all of ONNX Runtime's optimizations."""
    from graphopt.exec.executors import create

    session = create("onnxruntime", path, optimize=True)
    found = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        session.run(feeds)
        found.append(time.perf_counter() - started)
    return statistics.median(found[1:])


def measure(entry: dict[str, Any], rounds: int) -> dict[str, Any]:
    """One model: operator, predicted and measured seconds of its nodes, and of the whole."""
    from graphopt.cost import Numbers, cost_of, cost_of_model
    from graphopt.ir import load
    from graphopt.shapes import infer_model, pin_inputs

    feeds = {spec["name"]: make_input(spec, 0) for spec in entry["inputs"]}
    path = Path(entry["path"])
    measured = profile(path, feeds, rounds)
    model = load(path)
    pin_inputs(model, {name: value.shape for name, value in feeds.items()})
    infer_model(model)
    numbers = Numbers()
    nodes = [
        (node.op, cost_of(node, numbers=numbers).seconds, measured[node.name][1])
        for node in model.graph
        if node.op != "Constant" and measured.get(node.name, ("", 0.0))[0] == node.op_type
    ]
    return {
        "id": entry["id"],
        "nodes": nodes,
        "predicted": cost_of_model(model).seconds,
        "measured": whole(path, feeds, rounds),
    }


def correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Of the ranks (Spearman's); NaN for fewer than three."""
    import numpy as np

    if len(a) < 3:
        return float("nan")
    ranks = [np.argsort(np.argsort(x)).astype(float) for x in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def by_operator(models: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All nodes of an operator together, the most expensive operator first."""
    rows: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for m in models:
        for op, predicted, measured in m["nodes"]:
            rows[op].append((predicted, measured))
    table = []
    for op, pairs in rows.items():
        predicted, measured = (list(side) for side in zip(*pairs, strict=True))
        table.append(
            {
                "operator": op,
                "nodes": len(pairs),
                "measured": sum(measured),
                "predicted": sum(predicted),
                "correlation": correlation(predicted, measured),
            }
        )
    return sorted(table, key=lambda row: -row["measured"])


def _operators_of(model: dict[str, Any]) -> float:
    """The correlation over the operators of one model."""
    totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for op, predicted, measured in model["nodes"]:
        totals[op][0] += predicted
        totals[op][1] += measured
    return correlation([t[0] for t in totals.values()], [t[1] for t in totals.values()])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="a folder, a manifest.json, or one file")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="ids of models")
    parser.add_argument("--rounds", type=int, default=9, help="runs of each model (default: 9)")
    parser.add_argument("--rows", type=int, default=24, help="operators to print (default: 24)")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args(arguments)
    models = []
    for entry in entries(options.models, options.only):
        if "inputs" not in entry:
            continue
        try:
            models.append(measure(entry, options.rounds))
        except Exception as e:
            print(f"left out: {entry['id']}: {harness.describe(e)}")
    if not models:
        return 1
    table = by_operator(models)
    total = sum(row["measured"] for row in table)
    harness.print_table(
        ["operator", "nodes", "measured ms", "share", "predicted / measured", "rank correlation"],
        [
            [
                row["operator"],
                row["nodes"],
                row["measured"] * 1e3,
                row["measured"] / total,
                row["predicted"] / row["measured"] if row["measured"] else float("nan"),
                row["correlation"],
            ]
            for row in table[: options.rows]
        ],
    )
    nodes = [pair for m in models for pair in m["nodes"]]
    each = [c for m in models if (c := _operators_of(m)) == c]
    figures = {
        "nodes": correlation([n[1] for n in nodes], [n[2] for n in nodes]),
        "operators of a model, mean": statistics.fmean(each) if each else float("nan"),
        "models": correlation([m["predicted"] for m in models], [m["measured"] for m in models]),
    }
    print(f"\n{len(models)} models, {len(nodes)} nodes; rank correlation of predicted and measured time")
    for what, value in figures.items():
        print(f"  {what:28s} {value:.3f}")
    harness.write_json(options.json, {"operators": table, "correlation": figures, "models": models})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
