"""Shape arithmetic that optimisers leave: nodes that depend on shapes and constants alone.

    python -m benchmarks.shape_nodes --models FOLDER --only bert-2l.ts,gpt2-2l.ts
    python -m benchmarks.shape_nodes --models FOLDER --optimizers graphopt,onnxsim,onnxslim

Counted are Shape and Size, and every node none of whose inputs depends on the values of the model's inputs, Constants
apart; so Range and masks made of shapes count too. Dims stay as the models declare them. An optimiser that fails
says so in its column.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import harness, models

if TYPE_CHECKING:
    import onnx

OPTIMIZERS = ("graphopt", "onnxsim", "onnxslim", "onnxscript", "onnxoptimizer", "onnxruntime")


def shape_nodes(model: onnx.ModelProto) -> Counter[str]:
    """The operators of the nodes that depend on shapes and constants alone, subgraphs included."""
    found: Counter[str] = Counter()
    _count(model.graph, set(), found)
    return found


def _count(graph: onnx.GraphProto, outer: set[str], found: Counter[str]) -> None:
    data = outer | {i.name for i in graph.input} - {t.name for t in graph.initializer}
    for node in graph.node:
        bodies = [a.g for a in node.attribute if a.HasField("g")]
        if node.op_type == "Constant":
            continue
        if node.op_type not in ("Shape", "Size") and (bodies or not data.isdisjoint(node.input)):
            data.update(node.output)
            for body in bodies:
                _count(body, data, found)
        else:
            found[node.op_type] += 1


class Counting:
    """What runs in a worker: one optimiser on one model after the other."""

    def __init__(self, optimizer: str, level: int) -> None:
        self._optimizer = harness.optimizer(optimizer, level)

    def count(self, source: Path) -> dict[str, int]:
        """Operators that are left, by name."""
        import onnx

        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "model.onnx"
            self._optimizer.file(source, target)
            return dict(shape_nodes(onnx.load(target, load_external_data=False)))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="a folder, a manifest or one .onnx file")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="ids of the manifest")
    parser.add_argument(
        "--optimizers",
        type=lambda text: text.split(","),
        default=list(OPTIMIZERS),
        help=f"default: {','.join(OPTIMIZERS)}; {harness.OPTIMIZER_HELP}",
    )
    parser.add_argument("--level", type=int, default=2, help="graphopt's level (default: 2)")
    parser.add_argument("--timeout", type=float, default=300, help="seconds a model (default: 300)")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args(arguments)

    import onnx

    workers = {name: harness.Worker(Counting, name, options.level) for name in options.optimizers}
    found: list[dict[str, Any]] = []
    for entry in models.entries(options.models, options.only):
        path = Path(entry["path"])
        harness.progress(entry["id"])
        row: dict[str, Any] = {"id": entry["id"]}
        row["original"] = dict(shape_nodes(onnx.load(path, load_external_data=False)))
        for name, worker in workers.items():
            try:
                row[name] = worker.ask("count", path, timeout=options.timeout)
            except harness.WorkerError as e:
                row[name] = e.kind
        found.append(row)
    for worker in workers.values():
        worker.close()
    names = ["original", *options.optimizers]
    cells = [[r["id"], *(sum(r[n].values()) if isinstance(r[n], dict) else r[n] for n in names)] for r in found]
    harness.print_table(["model", *names], cells)
    harness.write_json(options.json, found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
