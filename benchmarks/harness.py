"""What the benchmark commands share: workers that may die, optimisers by name, comparisons, timing and tables.

Nothing here needs anything but onnx, NumPy and ONNX Runtime, and each of the heavy ones is imported where it is used:
a command's parent process starts at once, its workers pay.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")


# -------------------------------------------------------------------------------------------------------------- workers
class WorkerError(Exception):
    """A request to a worker failed; `kind` is "error" (it raised), "crash" (the process died) or "timeout"."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text


class Worker:
    """An object that lives in a process of its own, so that it may crash or hang: `ask(method, *args, timeout=...)`.

    The process starts at the first request, and again at the first one after its death, with a new object. With `preload`,
    modules by name, it is a copy of one that has imported them (where the system can copy processes): a command that starts
    many workers pays for their imports once. The first worker that is started decides for all.
    """

    START_SECONDS = 120.0

    def __init__(self, factory: Callable[..., Any], *args: Any, preload: Sequence[str] = ()) -> None:
        self._factory = factory
        self._args = args
        self._preload = list(preload)
        self._process: Any = None
        self._pipe: Connection | None = None

    def ask(self, method: str, *args: Any, timeout: float) -> Any:
        """The method's result. Raises WorkerError."""
        if self._pipe is None:
            self._start()
        return self._request((method, args), timeout)

    def close(self) -> None:
        """End the process; the next request starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def _start(self) -> None:
        copied = self._preload and "forkserver" in multiprocessing.get_all_start_methods()
        context: Any = multiprocessing.get_context("forkserver" if copied else "spawn")
        if copied:
            context.set_forkserver_preload(self._preload)
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, self._factory, self._args), daemon=True)
        self._process.start()
        other.close()
        self._request(None, self.START_SECONDS)

    def _request(self, message: tuple[str, tuple[Any, ...]] | None, timeout: float) -> Any:
        assert self._pipe is not None
        try:
            self._pipe.send(message)
            if not self._pipe.poll(timeout):
                self.close()
                raise WorkerError("timeout", f"no answer in {timeout:g} s")
            fine, answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(10)
            code = self._process.exitcode
            self.close()
            raise WorkerError("crash", f"the process died with exit code {code}") from None
        if fine:
            return answer
        raise WorkerError("error", answer)


def _serve(pipe: Connection, factory: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """The worker's process: build the object at the first message, then answer one request after the other."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    served: Any = None
    while True:
        try:
            message = pipe.recv()
        except EOFError:
            return
        try:
            if message is None:
                served = factory(*args)
                pipe.send((True, None))
            else:
                pipe.send((True, getattr(served, message[0])(*message[1])))
        except Exception as error:
            pipe.send((False, describe(error)))


def describe(error: BaseException) -> str:
    """One line: the exception's type, its message, and where in the code it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{where}"


# ----------------------------------------------------------------------------------------------------------- optimisers
class Optimizer:
    """Something that rewrites a model, in memory or from file to file."""

    def __init__(self, function: Callable[[onnx.ModelProto], onnx.ModelProto | None]) -> None:
        self._function = function

    def model(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """The optimised model; the given one may have been changed."""
        result = self._function(model)
        return model if result is None else result

    def file(self, source: Path, target: Path) -> None:
        """Load, optimise, save."""
        import onnx

        model = self.model(onnx.load(source))
        weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
        onnx.save(model, target, save_as_external_data=weights > 2_000_000_000, location="model.data")


class Graphopt(Optimizer):
    """graphopt at one of its levels; level 3 is for ONNX Runtime, which runs what comes out."""

    def __init__(self, level: int) -> None:
        import graphopt

        self._optimize: Callable[..., Any] = graphopt.optimize
        self._options: dict[str, Any] = {"level": level} | ({"target": "onnxruntime"} if level > 2 else {})

    def model(self, model: onnx.ModelProto) -> onnx.ModelProto:
        return self._optimize(model, **self._options).proto

    def file(self, source: Path, target: Path) -> None:
        self._optimize(str(source), **self._options).save(str(target))


class OnnxRuntime(Optimizer):
    """ONNX Runtime's offline optimisation ("extended" level), one thread."""

    def __init__(self) -> None:
        pass

    def model(self, model: onnx.ModelProto) -> onnx.ModelProto:
        import onnx

        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "in.onnx"), Path(folder, "out.onnx")
            onnx.save(model, source)
            self.file(source, target)
            return onnx.load(target)

    def file(self, source: Path, target: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(target)
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def _onnxsim(model: onnx.ModelProto) -> onnx.ModelProto:
    # its certificate changes nothing, and z3 may look for one for minutes
    return importlib.import_module("onnxsim").simplify(model, certify=False)[0]


def _onnxslim(model: onnx.ModelProto) -> onnx.ModelProto:
    return importlib.import_module("onnxslim").slim(model)


def _onnxoptimizer(model: onnx.ModelProto) -> onnx.ModelProto:
    return importlib.import_module("onnxoptimizer").optimize(model)


def _onnxscript(model: onnx.ModelProto) -> onnx.ModelProto | None:
    return importlib.import_module("onnxscript.optimizer").optimize(model)


def _identity(model: onnx.ModelProto) -> onnx.ModelProto:
    return model


PEERS: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto | None]] = {
    "identity": _identity,
    "onnxsim": _onnxsim,
    "onnxslim": _onnxslim,
    "onnxoptimizer": _onnxoptimizer,
    "onnxscript": _onnxscript,
}
OPTIMIZER_HELP = (
    "graphopt (default), onnxruntime, "
    + ", ".join(PEERS)
    + " (each where it is installed), or package.module:function, ModelProto to ModelProto"
)


def optimizer(name: str, level: int) -> Optimizer:
    """An optimiser by name, as OPTIMIZER_HELP says; the level is graphopt's."""
    if name == "graphopt":
        return Graphopt(level)
    if name == "onnxruntime":
        return OnnxRuntime()
    if name in PEERS:
        return Optimizer(PEERS[name])
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ValueError(f"unknown optimiser {name!r}: {OPTIMIZER_HELP}")
    return Optimizer(getattr(importlib.import_module(module), attribute))


# --------------------------------------------------------------------------------------------------------------- models
def count_nodes(model: onnx.ModelProto) -> int:
    """Nodes of the graph, its subgraphs and the model's functions, Constants apart."""
    return _count(model.graph.node) + sum(_count(function.node) for function in model.functions)


def _count(nodes: Iterable[onnx.NodeProto]) -> int:
    total = 0
    for node in nodes:
        total += node.op_type != "Constant"
        for attribute in node.attribute:
            total += _count(attribute.g.node) + sum(_count(graph.node) for graph in attribute.graphs)
    return total


def interface_change(before: onnx.ModelProto, after: onnx.ModelProto) -> str | None:
    """What a caller of the model would notice: inputs or outputs renamed, reordered, retyped, other declared dims."""
    for kind in ("input", "output"):
        old, new = getattr(before.graph, kind), getattr(after.graph, kind)
        if [v.name for v in old] != [v.name for v in new]:
            return f"{kind}s were {[v.name for v in old]}, are {[v.name for v in new]}"
        for v, w in zip(old, new, strict=True):
            if v.type != w.type:
                return f"type of {kind} {v.name!r} was {_short(v.type)}, is {_short(w.type)}"
    defaults = {t.name for t in after.graph.initializer} | {t.values.name for t in after.graph.sparse_initializer}
    lost = [v.name for v in before.graph.input if v.name in _defaults(before) and v.name not in defaults]
    return f"inputs {lost} lost their default value" if lost else None


def _defaults(model: onnx.ModelProto) -> set[str]:
    return {t.name for t in model.graph.initializer} | {t.values.name for t in model.graph.sparse_initializer}


def _short(message: Any) -> str:
    return " ".join(str(message).split())[:150]


# --------------------------------------------------------------------------------------------------------------- values
#: Two units in the last place, by which 16-bit floats may always be off: runtimes differ about what they round.
_TWO_UNITS = {"bfloat16": 2.0**-6, "float16": 2.0**-9}


def mismatch(want: Any, got: Any, rtol: float, atol: float) -> str | None:
    """Why two (nested) results are not equal within the tolerances; None where they are."""
    import numpy as np

    if isinstance(want, (list, tuple)) or isinstance(got, (list, tuple)):
        if not isinstance(got, (list, tuple)) or not isinstance(want, (list, tuple)) or len(want) != len(got):
            return f"{_kind(got)} instead of {_kind(want)}"
        found = ((i, mismatch(w, g, rtol, atol)) for i, (w, g) in enumerate(zip(want, got, strict=True)))
        return next((f"[{i}] {reason}" for i, reason in found if reason), None)
    if want is None or got is None or isinstance(want, dict):
        return None if type(want) is type(got) and want == got else f"{_kind(got)} instead of {_kind(want)}"
    w, g = np.asarray(want), np.asarray(got)
    if w.shape != g.shape:
        return f"shape {g.shape} instead of {w.shape}"
    if w.dtype.kind in "OUST" and g.dtype.kind in "OUST":
        return None if w.astype(object).tolist() == g.astype(object).tolist() else "other strings"
    if w.dtype != g.dtype:
        return f"dtype {g.dtype} instead of {w.dtype}"
    name = w.dtype.name
    if w.dtype.type.__module__ == "ml_dtypes":  # NumPy cannot compare these
        w, g = w.astype(np.float32), g.astype(np.float32)
    rtol = max(rtol, _TWO_UNITS.get(name, 0.0))
    with np.errstate(all="ignore"):
        close = np.isclose(g, w, rtol=rtol, atol=atol, equal_nan=True) if w.dtype.kind in "fc" else g == w
        if np.all(close):
            return None
        bad = np.argwhere(~close)[0]
        first = f"{g[tuple(bad)]} instead of {w[tuple(bad)]} at {bad.tolist()}"
        return f"{int((~close).sum())} of {w.size} values differ, first {first}"


def bit_mismatch(want: Any, got: Any) -> str | None:
    """Why two (nested) results are not the same bits; None where they are. All NaNs are one value, 0 and -0 are two."""
    import numpy as np

    if reason := mismatch(want, got, 0.0, 0.0):
        return reason
    if isinstance(want, (list, tuple)):
        return next((reason for w, g in zip(want, got, strict=True) if (reason := bit_mismatch(w, g))), None)
    w, g = np.asarray(want), np.asarray(got)
    if w.dtype.kind == "f" and not np.array_equal(np.signbit(w[w == 0]), np.signbit(g[g == 0])):
        return "0 and -0 swapped"
    return None


def on_reference(model: Any, feeds: Mapping[str, Any], row_major: bool = False) -> list[Any]:
    """Outputs on the reference kernels, nothing optimised.

    NumPy's matrix product and sums round otherwise on a transposed view than on a copy of it: a weight that is stored
    transposed, instead of being transposed in the graph, moves last bits although no number has changed. `row_major` lays
    every value out alike, so that results depend on values alone.
    """
    import numpy as np

    from graphopt.exec.backends.numpy import NumPyBackend
    from graphopt.exec.planning import plan
    from graphopt.ir import load

    class RowMajor(NumPyBackend):
        lifts = True

        def lift(self, value: Any) -> Any:
            return np.asarray(value, order="C") if isinstance(value, np.ndarray) else value

    loaded = load(model)
    graph = loaded.graph
    defaults = {v.name: graph.initializers[v].numpy() for v in graph.inputs if v in graph.initializers}
    inputs = [feeds.get(v.name, defaults.get(v.name)) for v in graph.inputs]
    with np.errstate(all="ignore"):
        return plan(loaded).run(RowMajor() if row_major else NumPyBackend(), inputs)


def distance(want: Sequence[Any], got: Sequence[Any]) -> float:
    """Largest error over all outputs, relative to max(1, |want|max); inf where shapes, dtypes or integers differ."""
    if len(want) != len(got):
        return math.inf
    return max((_distance(w, g) for w, g in zip(want, got, strict=True)), default=0.0)


def _distance(want: Any, got: Any) -> float:
    import numpy as np

    if isinstance(want, (list, tuple)) and isinstance(got, (list, tuple)):
        return distance(want, got)
    if isinstance(want, dict) and isinstance(got, dict):
        return distance(list(want.values()), list(got.values())) if want.keys() == got.keys() else math.inf
    w, g = np.asarray(want), np.asarray(got)
    if w.shape != g.shape or w.dtype != g.dtype:
        return math.inf
    if w.dtype.kind not in "fcV" or not w.size:
        return 0.0 if mismatch(want, got, 0.0, 0.0) is None else math.inf
    wide = np.complex128 if w.dtype.kind == "c" else np.float64
    w, g = w.astype(wide), g.astype(wide)
    finite = np.isfinite(w) & np.isfinite(g)
    if not np.array_equal(w[~finite], g[~finite], equal_nan=True):
        return math.inf
    w, g = w[finite], g[finite]
    return float(np.abs(w - g).max(initial=0.0) / max(1.0, np.abs(w).max(initial=0.0)))


def _kind(value: Any) -> str:
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, (list, tuple)) else type(value).__name__


# --------------------------------------------------------------------------------------------------------------- timing
def interleave(actions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each action, run A B C A B C ... after one round that does not count."""
    import gc

    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(rounds + 1):
        for name, action in actions.items():
            gc.collect()
            started = time.perf_counter()
            action()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def stay_on(core: int | None) -> None:
    """Keep the process on one core, None: the last one that it may use, -1: any; where the platform can."""
    if hasattr(os, "sched_setaffinity") and core != -1:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0)) if core is None else core})


def geometric_mean(values: Iterable[float]) -> float:
    """NaN where there is nothing."""
    found = list(values)
    return statistics.geometric_mean(found) if found else math.nan


# --------------------------------------------------------------------------------------------------------------- output
def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A compact table: first column left, the others right."""
    cells = [list(headers), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
    for row in cells:
        print("  ".join(f"{cell:{'<' if i == 0 else '>'}{widths[i]}}" for i, cell in enumerate(row)).rstrip())


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def write_json(path: str | None, result: object) -> None:
    """The command's result as JSON, where a file was asked for; numbers that JSON lacks become strings."""
    if path is not None:
        Path(path).write_text(json.dumps(_plain(result), indent=1) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def progress(text: str) -> None:
    """A line that the next one overwrites, where someone is looking."""
    if sys.stderr.isatty():
        print(f"\r{text[:110]:110s}", end="\r" if text else "", file=sys.stderr, flush=True)
