"""One network from several exporters: how many nodes are left of each, beside other optimisers.

    python -m benchmarks.flavours --models FOLDER
    python -m benchmarks.flavours --models FOLDER --only bert-2l,gpt2-2l --optimizers graphopt,onnxsim,onnxslim

Models are grouped by what stands before the last dot of their names: bert-2l.ts, bert-2l.dyn and bert-2l.raw are one
network, written by TorchScript's exporter, by torch's dynamo with its own optimiser and without. A cell holds the nodes of
each flavour, Constants apart and subgraphs counted; "apart" is by how much graphopt's largest exceeds its smallest,
"without new operators" the same after operators that the flavour with the oldest opset lacks are counted as so many nodes as they
stand for there. Models of one flavour only have a row too; "fewest" is what the best of the others leaves.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import harness, models

if TYPE_CHECKING:
    import onnx

#: Operators that came with an opset, and the nodes that stand for one where it is not there yet.
YOUNG = {("Gelu", "none"): (20, 5), ("Gelu", "tanh"): (20, 8), ("LayerNormalization", ""): (17, 9)}


def young_nodes(model: onnx.ModelProto, opset: int) -> int:
    """By how many nodes a model would be larger at this opset, for operators that are younger."""
    return sum(
        nodes - 1
        for node in model.graph.node
        for (op, kind), (since, nodes) in YOUNG.items()
        if node.op_type == op and since > opset and kind in ("", _kind(node))
    )


def _kind(node: onnx.NodeProto) -> str:
    return next((a.s.decode() for a in node.attribute if a.name == "approximate"), "none")


class Counting:
    """What runs in a worker: one optimiser on one model after the other."""

    def __init__(self, optimizer: str, level: int) -> None:
        self._optimizer = harness.optimizer(optimizer, level)

    def count(self, source: Path, oldest: int) -> tuple[int, int]:
        """Nodes that are left, and how many more they would be at the oldest opset."""
        import onnx

        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "model.onnx"
            self._optimizer.file(source, target)
            model = onnx.load(target, load_external_data=False)
        return harness.count_nodes(model), young_nodes(model, oldest)


def opset(path: Path) -> int:
    """The opset of ONNX's own domain that a file asks for."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def grouped(entries: Sequence[models.Entry]) -> dict[str, dict[str, models.Entry]]:
    """Models by network, and by flavour."""
    found: dict[str, dict[str, models.Entry]] = {}
    for entry in entries:
        network, dot, flavour = entry["id"].rpartition(".")
        found.setdefault(network if dot else entry["id"], {})[flavour if dot else ""] = entry
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="a folder, a manifest or one .onnx file")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="networks, without their flavour")
    parser.add_argument(
        "--optimizers",
        type=lambda text: text.split(","),
        default=["graphopt"],
        help=f"the first one is compared with the others (default: graphopt); {harness.OPTIMIZER_HELP}",
    )
    parser.add_argument("--level", type=int, default=2, help="graphopt's level (default: 2)")
    parser.add_argument("--timeout", type=float, default=300, help="seconds a model (default: 300)")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args(arguments)

    workers = {name: harness.Worker(Counting, name, options.level) for name in options.optimizers}
    found: list[dict[str, Any]] = []
    for network, flavours in grouped(models.entries(options.models)).items():
        if options.only and network not in options.only:
            continue
        oldest = min(opset(Path(e["path"])) for e in flavours.values())
        row: dict[str, Any] = {"network": network, "flavours": list(flavours)}
        for name, worker in workers.items():
            row[name] = [_ask(worker, Path(e["path"]), oldest, options.timeout) for e in flavours.values()]
            harness.progress(f"{network} {name}")
        found.append(row)
    harness.progress("")
    for worker in workers.values():
        worker.close()
    own, *others = options.optimizers
    headers = [
        "network",
        "flavours",
        *options.optimizers,
        "apart",
        "without new operators",
        *(["fewest"] if others else []),
    ]
    harness.print_table(headers, [_cells(row, own, others) for row in found])
    harness.write_json(options.json, found)
    return 0


def _ask(worker: harness.Worker, path: Path, oldest: int, timeout: float) -> tuple[int, int] | None:
    try:
        nodes, more = worker.ask("count", path, oldest, timeout=timeout)
    except harness.WorkerError:
        return None
    return nodes, more


def _cells(row: dict[str, Any], own: str, others: Sequence[str]) -> list[Any]:
    counts = {name: [None if c is None else c[0] for c in row[name]] for name in (own, *others)}
    level = [None if c is None else c[0] + c[1] for c in row[own]]
    cells = [row["network"], " ".join(row["flavours"]), *(" ".join(map(str, counts[name])) for name in (own, *others))]
    cells += [_apart(counts[own]), _apart(level)]
    if others:
        best = [min((n for n in column if n is not None), default=None) for column in zip(*map(counts.get, others))]
        cells.append(" ".join(map(str, best)))
    return cells


def _apart(counts: Sequence[int | None]) -> str:
    there = [n for n in counts if n is not None]
    return f"{max(there) / min(there) - 1:.0%}" if len(there) > 1 and min(there) else "-"


if __name__ == "__main__":
    raise SystemExit(main())
