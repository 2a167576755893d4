"""Shape inference: how much is known, how long it takes, and whether it is true.

    python -m benchmarks.shapes --models FOLDER
    python -m benchmarks.shapes --models FOLDER/manifest.json --only bert-2l.ts,magika --tools graphopt,onnx
    python -m benchmarks.shapes --models FOLDER --check
    python -m benchmarks.shapes --suite

Without --check and --suite: a table of the tools that are installed, taken in turn on every model. "rank" is the share
of values (outputs of the main graph's nodes, Constants apart) whose rank is known, "resolved" the share of those of
which every dim is a number or an expression over the dims that the model's inputs declare; what a tool makes up does
not count. The time is from file to message, in a process that has inferred another model before; what was remembered
about sums and products of dims is forgotten before each. "apart" is graphopt's share once values are left out whose
unresolved dims come from an operator whose output size depends on data (NonZero, Unique, Compress, NonMaxSuppression,
a Loop without a fixed number of turns, a Slice whose ends are computed from data...), or that are no tensors; a dim of
an input needs no name there. What is unresolved even so is listed with the node that made it.

--check runs each model (FOLDER as in benchmarks.models; both sets of sizes, several seeds, and each dynamic dim once 1
where the model takes that) under ONNX Runtime without optimisations, every inner tensor an output, where that is
refused on onnx.reference. Dtype, rank, every dim and every
element that was inferred is compared with the tensor that came out, and so is what was written into the model: a name
is one number in a run, also a name that was made up, and expressions must give what is there ("open": one of its names
never stands alone). Values in bodies of If, Loop and Scan cannot be looked at.

--suite does the same with the ONNX backend suite's cases, and says where onnx's own inference knows more. Each is
inferred as it is ("declared"), with a name for every dim of every input ("symbolic"), with a name for every dim of the
first input and constants for the others ("parameters"), and with constants for all ("constant"). Inner values are
those of onnx.reference.

Exit code 1 where something that was inferred is not true.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import queue
import re
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import claims, harness, models, resolved, shape_suite, suite

if TYPE_CHECKING:
    import onnx

    from graphopt import Model

CASE_LIMIT = 60.0  # seconds for one case of the suite


# ------------------------------------------------------------------------------------------------------------ side by side
def _graphopt(path: str) -> onnx.ModelProto:
    import graphopt

    return graphopt.infer_shapes(path, name_dims=True, guess_ranks=True).proto


def _onnx(path: str) -> onnx.ModelProto:
    import onnx

    return onnx.shape_inference.infer_shapes(onnx.load(path), data_prop=True)


def _onnxruntime(path: str) -> onnx.ModelProto:
    import onnx
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

    return SymbolicShapeInference.infer_shapes(onnx.load(path), auto_merge=True, guess_output_rank=False)


def _onnx_shape_inference(path: str) -> onnx.ModelProto:
    ir = importlib.import_module("onnx_ir")
    infer = importlib.import_module("onnx_shape_inference").infer_symbolic_shapes
    return ir.to_proto(infer(ir.load(path)))


TOOLS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "graphopt": ("graphopt", _graphopt),
    "onnx": ("onnx", _onnx),
    "onnxruntime": ("onnxruntime", _onnxruntime),
    "onnx-shape-inference": ("onnx_shape_inference", _onnx_shape_inference),
}


class Tools:
    """What runs in a worker: the inferences, each of which has seen a model before."""

    WARM = """<ir_version: 8, opset_import: ["" : 17]> agraph (float[n, 4] x) => (float[m, 4] y)
        { a = Concat <axis = 0> (x, x)  s = Shape(a)  y = Reshape(a, s) }"""

    def __init__(self, names: Sequence[str]) -> None:
        import tempfile

        import onnx

        claims.quiet()
        with tempfile.TemporaryDirectory() as folder:
            onnx.save(onnx.parser.parse_model(self.WARM), Path(folder, "warm.onnx"))
            for name in names:
                TOOLS[name][1](str(Path(folder, "warm.onnx")))

    def measure(self, name: str, path: str) -> dict[str, float]:
        """One inference from file to message."""
        _forget()
        started = time.perf_counter()
        proto = TOOLS[name][1](path)
        seconds = time.perf_counter() - started
        rank, full = resolved.coverage(proto)
        return {"seconds": seconds, "rank": rank, "resolved": full}

    def explain(self, path: str, show: int) -> dict[str, Any]:
        """What graphopt left unresolved, and what of it was nobody's to know."""
        import graphopt

        return resolved.explain(graphopt.infer_shapes(path), show)


def _forget() -> None:
    """Empty the caches of computed expressions; a model is inferred once in its life."""
    import gc

    from graphopt.shapes import dims, expressions

    for module in (dims, expressions):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()
    gc.collect()


# ------------------------------------------------------------------------------------------------------------- real runs
#: A window that does not fit: by the specification no place is left for it, ONNX Runtime rounds that to one.
_NO_WINDOW = re.compile(r"\((Conv|AveragePool|MaxPool|LpPool|QLinearConv|ConvInteger) .* = (0|-\d+) is expected")


class Bench:
    """What runs in a worker: one model at a time, as it is inferred and as it runs."""

    def __init__(self, seeds: int) -> None:
        claims.quiet()
        self._seeds = seeds

    def check(self, entry: models.Entry) -> dict[str, Any]:
        """Infer, run with all inputs, compare."""
        import graphopt

        path = Path(entry["path"])
        model = graphopt.infer_shapes(str(path))
        said = (claims.inferred(model), claims.written(model.proto, outputs=False))
        run = claims.inner_values(path, [v.name for node in model.graph for v in node.outputs if v and not v.const])
        runs: list[claims.Run] = []
        count = 0
        for feeds, must in self._feeds(entry, path, model):
            try:
                found = claims.compare(said, feeds, run(feeds))
            except Exception:
                if must:
                    raise
                continue
            if must or not _NO_WINDOW.search(found[0].found[0] if found[0].found else ""):
                runs += found
                count += 1
        wrong = [*(text for one in runs for text in one.found), *(f"conflict: {c}" for c in model.facts.conflicts)]
        counts = sum((one.counts for one in runs), Counter({"in bodies": _in_bodies(model)}))
        return {"runs": count, "counts": dict(counts), "wrong": list(dict.fromkeys(wrong))}

    def _feeds(self, entry: models.Entry, path: Path, model: Model) -> Iterator[tuple[dict[str, Any], bool]]:
        """Inputs, and whether the model must run with them."""
        sets = [entry[key] for key in ("inputs", "inputs_alt") if entry.get(key)]
        if not sets:
            found = models._sampled_feeds(models._graph(path), models._session(path), self._seeds)
            yield from ((feeds, True) for feeds in found)
            return
        for specs in sets:
            for seed in range(self._seeds):
                yield {spec["name"]: models.make_input(spec, seed) for spec in specs}, True
        declared = {v.name: v.shape or () for v in model.graph.inputs}
        names = sorted({str(d) for spec in sets[0] for d in declared[spec["name"]] if not isinstance(d, int)})
        for ones in ([name] for name in names) if len(names) < 2 else (*([name] for name in names), names):
            with contextlib.suppress(ValueError):  # values that go with a size
                yield {spec["name"]: _with_ones(spec, declared[spec["name"]], ones) for spec in sets[0]}, False


def _with_ones(spec: dict[str, Any], dims: Sequence[Any], ones: Sequence[str]) -> Any:
    """An input with some of its dynamic dims 1."""
    shape = [1 if str(d) in ones else size for d, size in zip(dims, spec["shape"])]
    return models.make_input(spec | {"shape": shape or spec["shape"]}, 0)


def _in_bodies(model: Model) -> int:
    bodies = (graph for graph in model.graph.subgraphs() if graph is not model.graph)
    return sum(len(node.outputs) for graph in bodies for node in graph)


# ------------------------------------------------------------------------------------------------------------------- parts
def _all(
    todo: Sequence[Any], jobs: int, factory: Callable[..., Any], arguments: Sequence[Any], one: Callable[..., Any]
) -> list[Any]:
    """`one(worker, item)` for each, in as many processes; results in the order of the items."""
    waiting: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    for numbered in enumerate(todo):
        waiting.put(numbered)
    results: dict[int, Any] = {}

    def serve() -> None:
        worker = harness.Worker(factory, *arguments)
        try:
            while True:
                i, item = waiting.get_nowait()
                results[i] = one(worker, item)
                harness.progress(f"{len(results)}/{len(todo)}")
        except queue.Empty:
            return
        finally:
            worker.close()

    threads = [threading.Thread(target=serve) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    harness.progress("")
    return [results[i] for i in range(len(todo))]


def side_by_side(entries: Sequence[models.Entry], options: argparse.Namespace) -> tuple[Any, bool]:
    """The table of all tools; nothing in it is a failure."""
    names = options.tools or [name for name, (module, _) in TOOLS.items() if importlib.util.find_spec(module)]

    def one(worker: harness.Worker, entry: models.Entry) -> dict[str, Any]:
        found: dict[str, Any] = {"model": entry["id"], "tools": {}}
        seconds: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(options.rounds):
            for name in names:
                if "failed" in found["tools"].get(name, {}):
                    continue
                try:
                    got = worker.ask("measure", name, entry["path"], timeout=options.limit)
                except harness.WorkerError as error:
                    found["tools"][name] = {"failed": str(error)}
                    continue
                seconds[name].append(got["seconds"])
                found["tools"][name] = got | {"seconds": statistics.median(seconds[name])}
        if "graphopt" in names:
            try:
                found |= worker.ask("explain", entry["path"], options.show, timeout=options.limit)
            except harness.WorkerError as error:
                found["conflicts"] = [str(error)]
        return found

    found = _all(entries, 1, Tools, (names,), one)
    headers = ["model", *(f"{name} {what}" for name in names for what in ("rank", "resolved", "s")), "apart"]
    rows = [
        [f["model"], *(cell for name in names for cell in _cells(f["tools"].get(name, {}))), _percent(f.get("apart"))]
        for f in found
    ]
    harness.print_table(headers, rows)
    for f in found:
        for text in f.get("first", ()):
            print(f"UNRESOLVED {f['model']} {text}")
        if (more := f.get("unresolved", 0) - len(f.get("first", ()))) > 0:
            print(f"UNRESOLVED {f['model']} ... and {more} more (--show)")
        for text in f.get("conflicts", ()):
            print(f"CONFLICT {f['model']} {text}")
    for name in names:
        ran = [t for f in found if "rank" in (t := f["tools"].get(name, {}))]
        if ran:
            rank, full = (statistics.mean(t[key] for t in ran) for key in ("rank", "resolved"))
            apart = [f["apart"] for f in found if "apart" in f]
            extra = f", {statistics.mean(apart):.2%} apart from data" if name == "graphopt" and apart else ""
            seconds = harness.geometric_mean(t["seconds"] for t in ran)
            print(
                f"{name}: ran on {len(ran)} of {len(found)}, rank {rank:.2%}, resolved {full:.2%}{extra}, "
                f"{seconds:.3f} s (geometric mean), at most {max(t['seconds'] for t in ran):.2f} s"
            )
    return found, any(f.get("conflicts") for f in found)


def _cells(tool: Mapping[str, Any]) -> tuple[Any, ...]:
    if "rank" not in tool:
        return tool.get("failed", "-").partition(":")[0], "-", "-"
    return _percent(tool["rank"]), _percent(tool["resolved"]), tool["seconds"]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def checked(entries: Sequence[models.Entry], options: argparse.Namespace) -> tuple[Any, bool]:
    """All models on real runs; whether anything is not true."""

    def one(worker: harness.Worker, entry: models.Entry) -> dict[str, Any]:
        try:
            return {"model": entry["id"]} | worker.ask("check", entry, timeout=options.limit)
        except harness.WorkerError as error:
            return {"model": entry["id"], "failed": str(error), "counts": {}, "wrong": []}

    found = _all(entries, options.jobs, Bench, (options.seeds,), one)
    kinds = ("values", "in bodies", "names", "dims", "elements", "open")
    headers = ("model", "runs", *kinds, "not true")
    rows = [(f["model"], f.get("runs"), *(f["counts"].get(k, 0) for k in kinds), len(f["wrong"])) for f in found]
    harness.print_table(headers, rows)
    _list_wrong(((f["model"], text) for f in found for text in f["wrong"]), options.show)
    for f in found:
        if "failed" in f:
            print(f"FAILED {f['model']} {f['failed']}")
    totals = sum((Counter(f["counts"]) for f in found), Counter())
    wrong = sum(len(f["wrong"]) for f in found)
    print(
        f"{len(found)} models, {sum('failed' in f for f in found)} failed: {totals['values']} values, {totals['dims']} dims "
        f"and {totals['elements']} elements checked, {totals['names']} names bound, {totals['open']} left open, "
        f"{totals['in bodies']} values in bodies not looked at; {wrong} not true"
    )
    return found, bool(wrong) or any("failed" in f for f in found)


def suite_checked(options: argparse.Namespace) -> tuple[Any, bool]:
    """All cases of the suite; whether anything is not true."""
    cases = [item for item in suite.exported().items() if re.search(options.filter, item[0])]

    def one(worker: harness.Worker, item: tuple[str, Path]) -> list[shape_suite.Verdict]:
        try:
            found: list[shape_suite.Verdict] = worker.ask("judge", *item, timeout=CASE_LIMIT)
        except harness.WorkerError as error:
            return [shape_suite.Verdict(item[0], shape_suite.MODES[0], wrong=[str(error)])]
        return found

    verdicts = [v for found in _all(cases, options.jobs, shape_suite.Bench, (), one) for v in found]
    kinds = ("outputs", "no type", "no rank", "output dims", "unknown dims", "values", "dims", "elements", "open")
    rows = []
    for mode in shape_suite.MODES:
        mine = [v for v in verdicts if v.mode == mode]
        totals = sum((Counter(v.counts) for v in mine), Counter())
        ends = (sum(bool(v.less) for v in mine), sum(bool(v.wrong) for v in mine))
        rows.append((mode, len(mine), *(totals[k] for k in kinds), *ends))
    harness.print_table(("inputs", "cases", *kinds, "less than onnx", "not true"), rows)
    for v in [v for v in verdicts if v.less][: options.show]:
        print(f"LESS {v.case} [{v.mode}] {'; '.join(v.less)}")
    _list_wrong(((f"{v.case} [{v.mode}]", text) for v in verdicts for text in v.wrong), options.show)
    return [asdict(v) for v in verdicts], any(v.wrong for v in verdicts)


def _list_wrong(found: Iterable[tuple[str, str]], show_first: int) -> None:
    every = list(found)
    for where, text in every[:show_first]:
        print(f"NOT TRUE {where} {text}")
    if len(every) > show_first:
        print(f"... and {len(every) - show_first} more (--show)")


# ----------------------------------------------------------------------------------------------------------------- command
def _names(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, help="a folder, a manifest or one .onnx file")
    parser.add_argument("--only", type=_names, default=[], help="only these ids")
    parser.add_argument("--check", action="store_true", help="compare with real runs instead")
    parser.add_argument("--suite", action="store_true", help="compare with the ONNX backend suite instead")
    parser.add_argument("--tools", type=_names, help=f"{','.join(TOOLS)} (default: those that are installed)")
    parser.add_argument("--rounds", type=int, default=3, help="inferences to take the median time of (default: 3)")
    parser.add_argument("--seeds", type=int, default=2, help="--check: inputs for each set of sizes (default: 2)")
    parser.add_argument("--filter", default="", help="--suite: regular expression; ids look like node/test_add_bcast")
    parser.add_argument("--limit", type=float, default=120, help="seconds for one step on one model (default: 120)")
    parser.add_argument("--jobs", type=int, default=1, help="processes of --check and --suite (default: 1)")
    parser.add_argument(
        "--show", type=int, default=5, help="lines of a kind to list, of a model or in all (default: 5)"
    )
    parser.add_argument("--json", help="write all figures to this file")
    options = parser.parse_args(arguments)
    if not options.suite and options.models is None:
        parser.error("--models or --suite is needed")

    started = time.perf_counter()
    if options.suite:
        found, bad = suite_checked(options)
    else:
        entries = models.entries(options.models, options.only)
        found, bad = (checked if options.check else side_by_side)(entries, options)
    print(f"{time.perf_counter() - started:.0f} s")
    harness.write_json(options.json, found)
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
