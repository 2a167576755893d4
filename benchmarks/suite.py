"""The ONNX backend suite as a correctness suite for optimisers: does a case that passes pass once it is optimised?

    python -m benchmarks.suite --level 1 --exact
    python -m benchmarks.suite --level 2 --const
    python -m benchmarks.suite --optimizer onnxsim --sample 300
    python -m benchmarks.suite --filter 'node/test_conv' --executors reference

The 2000 cases ship inside the onnx package. Each is optimised and run, in a worker that may crash or hang, on
graphopt's reference kernels ("reference") and on ONNX Runtime with its own optimisations on ("ort") and off ("ort_noopt"), and
compared with the outputs that the suite expects. "broken" counts the cases that pass on an executor as they are and
fail there once optimised; a model that comes back byte for byte cannot be broken and is not run. Apart from
executors, the ONNX checker must not turn from accepting to refusing, and the model's interface (names, order, types
and declared dims of inputs and outputs) must stay.

--const turns every tensor input into a weight first, so that the whole graph is open to constant folding. --exact
asks for every bit of the untransformed model's outputs on the reference executor, the promise of level 1. Exit code 1
where anything is broken.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pickle
import queue
import re
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from benchmarks import harness

if TYPE_CHECKING:
    import onnx

#: Those that are asked by default; "jax", "onnx.reference" and "openvino" may be named too.
EXECUTORS = ("reference", "ort", "ort_noopt")
OPTIMIZE_LIMIT = 20.0  # seconds
RUN_LIMIT = 60.0  # seconds; the reference executor takes 10 for some of the light models


@dataclass
class Case:
    """One case of the suite: a serialised model, and sets of inputs with the outputs that they should give."""

    id: str
    model: bytes
    sets: list[tuple[list[Any], list[Any]]]
    rtol: float
    atol: float


# ---------------------------------------------------------------------------------------------------------------- cases
@cache
def exported() -> Mapping[str, Path]:
    """Every case as a file, by id; written once for each version of onnx, and listed once in a process."""
    from importlib.metadata import version

    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = caches / "graphopt" / f"backend-suite-{version('onnx')}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as making:
            for case in _cases():
                path = Path(making, "cases", f"{case.id}.pickle")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(pickle.dumps(vars(case)))
            with contextlib.suppress(OSError):  # someone else was faster
                Path(making, "cases").rename(folder)
    cases = {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.pickle"))}
    return MappingProxyType(cases)


def _cases() -> Iterator[Case]:
    import warnings

    import onnx
    from onnx.backend.test.case.model import collect_testcases
    from onnx.backend.test.loader import load_model_tests

    warnings.filterwarnings("ignore")
    seen = set()
    for kind in ("node", "simple", "pytorch-operator", "pytorch-converted"):
        for test in load_model_tests(kind=kind):
            seen.add(test.name)
            if test.model is None:
                assert test.model_dir is not None
                model = onnx.load(Path(test.model_dir, "model.onnx"))
                sets = [_stored_set(model, folder) for folder in sorted(Path(test.model_dir).glob("test_data_set*"))]
            else:
                model = test.model
                sets = [(_arrays(inputs), _arrays(outputs)) for inputs, outputs in test.data_sets or ()]
            yield Case(f"{kind}/{test.name}", model.SerializeToString(), sets, test.rtol, test.atol)
    for test in collect_testcases():
        if test.model is not None and test.name not in seen:
            sets = [(_arrays(inputs), _arrays(outputs)) for inputs, outputs in test.data_sets or ()]
            yield Case(f"simple/{test.name}", test.model.SerializeToString(), sets, test.rtol, test.atol)
        elif test.url is not None and (path := Path(onnx.__file__).parents[1] / test.url).exists():
            yield _light_case(test.name, path, test.rtol, test.atol)


def _light_case(name: str, path: Path, rtol: float, atol: float) -> Case:
    """A known architecture, its weights constants made in the graph."""
    import onnx
    from onnx.backend.test.runner import Runner

    model = onnx.load(path)
    weights = {t.name for t in model.graph.initializer}
    inputs = [Runner.generate_dummy_data(v, name=path.stem) for v in model.graph.input if v.name not in weights]
    outputs = [
        _array(onnx.load_tensor(f"{path.with_suffix('')}_output_{i}.pb")) for i in range(len(model.graph.output))
    ]
    return Case(f"real/{name}", model.SerializeToString(), [(inputs, outputs)], rtol, atol)


def _stored_set(model: onnx.ModelProto, folder: Path) -> tuple[list[Any], list[Any]]:
    def read(kind: str, values: Sequence[onnx.ValueInfoProto]) -> list[Any]:
        files = [folder / f"{kind}_{i}.pb" for i in range(len(values))]
        return [_stored(file, value.type) for file, value in zip(files, values, strict=True) if file.exists()]

    return read("input", model.graph.input), read("output", model.graph.output)


def _stored(file: Path, type_: onnx.TypeProto) -> Any:
    import onnx

    raw = file.read_bytes()
    if type_.HasField("sequence_type"):
        return _array(onnx.SequenceProto.FromString(raw))
    if type_.HasField("optional_type"):
        return _array(onnx.OptionalProto.FromString(raw))
    return _array(onnx.TensorProto.FromString(raw))


def _array(value: Any) -> Any:
    """A value of the suite as NumPy arrays, lists of them, dicts or None."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, onnx.SequenceProto):
        return numpy_helper.to_list(value)
    if isinstance(value, onnx.OptionalProto):
        return numpy_helper.to_optional(value)
    if isinstance(value, (list, tuple)):
        return _arrays(value)
    return value if value is None or isinstance(value, dict) else np.asarray(value)


def _arrays(values: Sequence[Any]) -> list[Any]:
    return [_array(value) for value in values]


# ------------------------------------------------------------------------------------------------------------ executors
class Loaded:
    """A model on an executor, ready to run."""

    def __init__(self, executor: str, model: onnx.ModelProto) -> None:
        from graphopt.exec.executors import create
        from graphopt.exec.executors.onnxruntime import OnnxRuntime

        data = model.SerializeToString()
        if executor in ("ort", "ort_noopt"):
            self._executor: Any = OnnxRuntime(data, optimize=executor == "ort")
        else:
            self._executor = create(executor, data)

    def run(self, feeds: dict[str, Any]) -> list[Any]:
        """All outputs."""
        return list(self._executor.run(feeds).values())


# ----------------------------------------------------------------------------------------------------------- the worker
class Bench:
    """What runs in a worker: one case at a time, its model before and after."""

    def __init__(self, optimizer: str, level: int, const: bool) -> None:
        import logging
        import warnings

        import numpy as np

        warnings.filterwarnings("ignore")
        logging.disable(logging.WARNING)
        np.seterr(all="ignore")
        self._optimizer = harness.optimizer(optimizer, level)
        self._const = const

    def optimize(self, path: Path) -> dict[str, Any]:
        """Take a case and optimise its model."""
        import onnx

        self._case = Case(**pickle.loads(path.read_bytes()))
        self._before = onnx.load_from_string(self._case.model)
        self._feeds = self._bind(self._before)
        if self._const:
            _freeze(self._before, self._feeds[0])
        given = self._before.SerializeToString()
        started = time.perf_counter()
        self._after = self._optimizer.model(onnx.load_from_string(given))
        seconds = time.perf_counter() - started
        unchanged = self._after.SerializeToString() == given
        return {"seconds": seconds, "nodes": harness.count_nodes(self._before), "unchanged": unchanged}

    def inspect(self) -> dict[str, Any]:
        """Everything about the optimised model that needs no executor."""
        checked = _check(self._after)
        return {
            "nodes": harness.count_nodes(self._after),
            "checker": checked if checked and not _check(self._before) else None,
            "interface": harness.interface_change(self._before, self._after),
        }

    def run(self, executor: str, optimized: bool, exact: bool) -> str | None:
        """Why the case fails, None where it passes. `exact`: against the other model's outputs too, bit by bit."""
        model, other = (self._after, self._before) if optimized else (self._before, self._after)
        session = Loaded(executor, model)
        for feeds, (_, expected) in zip(self._feeds, self._case.sets, strict=False):
            got = session.run(dict(feeds))
            if reason := harness.mismatch(expected, got, self._case.rtol, self._case.atol):
                return reason
            if exact and harness.bit_mismatch(Loaded(executor, other).run(dict(feeds)), got):
                was, now = (harness.on_reference(one, feeds, row_major=True) for one in (other, model))
                if reason := harness.bit_mismatch(was, now):
                    return f"not the same bits: {reason}"
        return None

    def _bind(self, model: onnx.ModelProto) -> list[dict[str, Any]]:
        """Feeds by input name, one dict a data set; where they are fewer than inputs, defaults stay."""
        defaults = {t.name for t in model.graph.initializer}
        every = [v.name for v in model.graph.input]
        free = [name for name in every if name not in defaults]
        sets = self._case.sets[:1] if self._const else self._case.sets
        return [dict(zip(free if len(free) == len(inputs) else every, inputs, strict=False)) for inputs, _ in sets]


def _freeze(model: onnx.ModelProto, feeds: dict[str, Any]) -> None:
    """Turn the tensor inputs into weights, with the values of the feeds, and take them from the feeds."""
    import numpy as np
    from onnx import numpy_helper

    model.ir_version = max(model.ir_version, 4)  # before that, a weight had to be an input as well
    defaults = {t.name for t in model.graph.initializer}
    frozen = {
        v.name
        for v in model.graph.input
        if isinstance(feeds.get(v.name), np.ndarray) and v.type.HasField("tensor_type")
    }
    kept = [v for v in model.graph.input if v.name not in frozen | defaults]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    for name in sorted(frozen - defaults):
        model.graph.initializer.append(numpy_helper.from_array(feeds[name], name))
    for name in frozen:
        del feeds[name]


def _check(model: onnx.ModelProto) -> str | None:
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        return harness.describe(error)
    return None


# ------------------------------------------------------------------------------------------------------------- verdicts
@dataclass
class Verdict:
    """What became of one case. `broken`: executor to reason, and also "optimizer", "checker" and "interface"."""

    case: str
    nodes_before: int = 0
    nodes_after: int = 0
    seconds: float = 0.0
    unchanged: bool = False
    passed: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    not_judged: dict[str, str] = field(default_factory=dict)


def judge(worker: harness.Worker, case: str, path: Path, executors: Sequence[str], exact: bool) -> Verdict:
    """Optimise one case and run it everywhere; the model as it was runs only where a failure has to be judged."""
    verdict = Verdict(case)

    def ask(method: str, *args: Any, limit: float = RUN_LIMIT) -> Any:
        try:
            return worker.ask(method, *args, timeout=limit)
        except harness.WorkerError as error:
            if error.kind != "error":
                worker.ask("optimize", path, timeout=OPTIMIZE_LIMIT)  # a new worker has to learn the case
            raise

    def run(executor: str, optimized: bool) -> str | None:
        started = time.perf_counter()
        by_bits = optimized and exact and executor == "reference"
        try:
            reason = ask("run", executor, optimized, by_bits, limit=RUN_LIMIT * (4 if by_bits else 1))
        except harness.WorkerError as error:
            return str(error)
        slow = not optimized and time.perf_counter() - started > RUN_LIMIT / 3
        return reason or ("close to the time limit" if slow else None)

    try:
        made = worker.ask("optimize", path, timeout=OPTIMIZE_LIMIT)
        verdict.seconds, verdict.unchanged, verdict.nodes_before = made["seconds"], made["unchanged"], made["nodes"]
        verdict.nodes_after = verdict.nodes_before
        if verdict.unchanged:
            return verdict
        seen = ask("inspect")
    except harness.WorkerError as error:
        verdict.broken["optimizer"] = str(error)
        return verdict
    verdict.nodes_after = seen["nodes"]
    verdict.broken |= {name: seen[name] for name in ("checker", "interface") if seen[name]}
    for executor in executors:
        reason = run(executor, optimized=True)
        if reason is None:
            verdict.passed.append(executor)
        elif was := run(executor, optimized=False):
            verdict.not_judged[executor] = was
        else:
            verdict.broken[executor] = reason
    return verdict


def run_suite(options: argparse.Namespace) -> list[Verdict]:
    """The verdicts on all the cases asked for, in the order of their ids."""
    cases = {name: path for name, path in exported().items() if re.search(options.filter, name)}
    if options.sample:
        cases = dict(sorted(cases.items(), key=lambda item: zlib.crc32(item[0].encode()))[: options.sample])
    todo: queue.SimpleQueue[tuple[str, Path]] = queue.SimpleQueue()
    for item in sorted(cases.items(), key=lambda item: not item[0].startswith("real/")):  # the slow ones first
        todo.put(item)
    verdicts: list[Verdict] = []

    def serve() -> None:
        worker = harness.Worker(Bench, options.optimizer, options.level, options.const)
        try:
            while True:
                case, path = todo.get_nowait()
                try:
                    verdicts.append(judge(worker, case, path, options.executors, options.exact))
                except harness.WorkerError as error:  # a second death while the first was being judged
                    verdicts.append(Verdict(case, broken={"optimizer": str(error)}))
                harness.progress(f"{len(verdicts)}/{len(cases)} {case}")
        except queue.Empty:
            return
        finally:
            worker.close()

    threads = [threading.Thread(target=serve) for _ in range(options.jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    harness.progress("")
    return sorted(verdicts, key=lambda verdict: verdict.case)


# -------------------------------------------------------------------------------------------------------------- command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimizer", default="graphopt", help=harness.OPTIMIZER_HELP)
    parser.add_argument("--level", type=int, default=2, help="graphopt's level (default: 2)")
    parser.add_argument(
        "--executors",
        type=lambda text: text.split(","),
        default=list(EXECUTORS),
        help=f"default: {','.join(EXECUTORS)}",
    )
    parser.add_argument("--const", action="store_true", help="turn every tensor input into a weight first")
    parser.add_argument("--exact", action="store_true", help="ask for the same bits on the reference executor")
    parser.add_argument("--filter", default="", help="regular expression; ids look like node/test_add_bcast")
    parser.add_argument("--sample", type=int, help="only so many cases, always the same")
    parser.add_argument("--jobs", type=int, default=2, help="workers at a time (default: 2)")
    parser.add_argument("--show", type=int, default=40, help="broken cases to list (default: 40)")
    parser.add_argument("--json", help="write every verdict to this file")
    options = parser.parse_args(arguments)

    started = time.perf_counter()
    verdicts = run_suite(options)
    wall = time.perf_counter() - started
    broken = [verdict for verdict in verdicts if verdict.broken]
    reasons = Counter(name for verdict in broken for name in verdict.broken)
    on_executors = [v for v in broken if v.broken.keys() & {*options.executors, "optimizer"}]
    changed = [verdict for verdict in verdicts if not verdict.unchanged]
    rows = [
        (e, len(changed), sum(e in v.passed for v in verdicts), sum(e in v.not_judged for v in verdicts), reasons[e])
        for e in options.executors
    ]
    harness.print_table(("executor", "changed", "passed", "not judged", "broken"), rows)
    for verdict in broken[: options.show]:
        for reason in dict.fromkeys(verdict.broken.values()):
            where = ",".join(name for name, why in verdict.broken.items() if why == reason)
            print(f"BROKEN {verdict.case} [{where}] {reason}")
    if len(broken) > options.show:
        print(f"... and {len(broken) - options.show} more (--show)")
    summary = {
        "optimizer": options.optimizer,
        "level": options.level,
        "const": options.const,
        "exact": options.exact,
        "cases": len(verdicts),
        "unchanged": len(verdicts) - len(changed),
        "broken": len(on_executors),
        "checker": reasons["checker"],
        "interface": reasons["interface"],
        "nodes_before": sum(v.nodes_before for v in verdicts),
        "nodes_after": sum(v.nodes_after for v in verdicts),
        "optimize_seconds": sum(v.seconds for v in verdicts),
        "wall_seconds": wall,
    }
    what = options.optimizer + f" level {options.level}" * (options.optimizer == "graphopt") + " const" * options.const
    print(
        f"{what}: "
        f"{summary['cases']} cases, {summary['unchanged']} unchanged, {summary['broken']} broken, "
        f"{summary['checker']} checker ok to bad, {summary['interface']} interface changed; "
        f"nodes {summary['nodes_before']} to {summary['nodes_after']}; {wall:.0f} s"
    )
    harness.write_json(options.json, {"summary": summary, "verdicts": [asdict(verdict) for verdict in verdicts]})
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
