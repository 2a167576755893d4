"""What a node costs: microseconds per node from file to optimised file, and beside ONNX Runtime's offline
optimisation.

    python -m benchmarks.cost
    python -m benchmarks.cost --sizes 1000,4000 --levels 1 --against ''
    python -m benchmarks.cost --optimizer onnxsim --sizes 1000,4000

First table: chains and random graphs of growing size; "64000:1000" is the cost of a node in the largest over that in
the smallest model, 1 for a cost that grows linearly. Second table: --optimizer at the highest level beside --against
on the same model, taken in turn, and the ratio of the medians. Each time is load from file, optimise, save to file,
in a process that has done it once before (so that imports and whatever is compiled once do not count); ONNX Runtime's
includes building the session, since it has no way of saving without one.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness

SIZES = (1_000, 4_000, 16_000, 64_000)
SIDE_BY_SIDE = 10_000


def _made(folder: Path, kind: str, size: int) -> Path:
    """A synthetic model as a file."""
    import onnx

    from benchmarks import graphs

    path = folder / f"{kind}-{size}.onnx"
    if not path.exists():
        onnx.save(graphs.chain(size) if kind == "chain" else graphs.random_dag(size), path)
    return path


def _action(optimizer: harness.Optimizer, source: Path, target: Path) -> Callable[[], None]:
    return lambda: optimizer.file(source, target)


def per_node(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Microseconds a node, by kind of graph, level and size."""
    found = []
    for kind in options.kinds:
        for level in options.levels:
            optimizer = harness.optimizer(options.optimizer, level)
            sources = {size: _made(folder, kind, size) for size in options.sizes}
            targets = {size: folder / f"out-{size}.onnx" for size in options.sizes}
            actions = {str(size): _action(optimizer, sources[size], targets[size]) for size in options.sizes}
            seconds = harness.interleave(actions, options.rounds)
            cost = {size: statistics.median(seconds[str(size)]) / size * 1e6 for size in options.sizes}
            row = {
                "kind": kind,
                "level": level,
                "us_per_node": cost,
                "growth": cost[max(options.sizes)] / cost[min(options.sizes)],
            }
            found.append(row | {"nodes_after": {size: _nodes(targets[size]) for size in options.sizes}})
    return found


def beside(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The optimiser beside another one, on the same models."""
    found = []
    level, size = max(options.levels), options.size
    for kind in options.kinds:
        source = _made(folder, kind, size)
        names = (options.optimizer, options.against)
        targets = [folder / f"{i}.onnx" for i in range(2)]
        actions = {str(i): _action(harness.optimizer(names[i], level), source, targets[i]) for i in range(2)}
        seconds = harness.interleave(actions, 2 * options.rounds)
        mine, other = (statistics.median(seconds[str(i)]) for i in range(2))
        row = {
            "kind": kind,
            "nodes": size,
            "level": level,
            "optimizer": names[0],
            "against": names[1],
            "seconds": mine,
            "other_seconds": other,
        }
        found.append(row | {"ratio": mine / other, "nodes_after": [_nodes(target) for target in targets]})
    return found


def _nodes(path: Path) -> int:
    import onnx

    return harness.count_nodes(onnx.load(path, load_external_data=False))


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimizer", default="graphopt", help=harness.OPTIMIZER_HELP)
    parser.add_argument("--levels", type=_numbers, default=[1, 2], help="graphopt's levels (default: 1,2)")
    parser.add_argument(
        "--kinds", type=lambda text: text.split(","), default=["chain", "dag"], help="default: chain,dag"
    )
    parser.add_argument(
        "--sizes", type=_numbers, default=list(SIZES), help="nodes, of the first table (default: 1000,4000,16000,64000)"
    )
    parser.add_argument("--size", type=int, default=SIDE_BY_SIDE, help="nodes, of the second table (default: 10000)")
    parser.add_argument(
        "--against", default="onnxruntime", help="the other optimiser of the second table ('' for none)"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="of the first table; twice as many of the second (default: 5)"
    )
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args(arguments)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        nodes = per_node(folder, options) if options.sizes else []
        pairs = beside(folder, options) if options.against else []
    if nodes:
        sizes = sorted(options.sizes)
        print(f"{options.optimizer}: microseconds per node, median of {options.rounds}")
        headers = [
            "graph",
            "level",
            *(str(size) for size in sizes),
            f"{sizes[-1]}:{sizes[0]}",
            "nodes left of the largest",
        ]
        rows = [
            [r["kind"], r["level"], *(r["us_per_node"][s] for s in sizes), r["growth"], r["nodes_after"][sizes[-1]]]
            for r in nodes
        ]
        harness.print_table(headers, rows)
    if pairs:
        headers = [
            "graph",
            "nodes",
            "level",
            f"{options.optimizer} s",
            f"{options.against} s",
            "ratio",
            "nodes left",
            "other's",
        ]
        rows = [
            [r["kind"], r["nodes"], r["level"], r["seconds"], r["other_seconds"], r["ratio"], *r["nodes_after"]]
            for r in pairs
        ]
        harness.print_table(headers, rows)
    harness.write_json(options.json, {"per_node": nodes, "beside": pairs})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
