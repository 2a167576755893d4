"""How far a model in another precision lies from the float model, measured on inputs, and what it is made of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx.helper import tensor_dtype_to_np_dtype

from graphopt.compare import is_floating, layout
from graphopt.exec.executors import ModelFile, known, model_file
from graphopt.ir import Model, dtype_name
from graphopt.precision.report import OutputError, PrecisionReport
from graphopt.precision.samples import Samples, executors
from graphopt.trials import short


def nodes_by_dtype(model: Model) -> dict[str, int]:
    """Nodes by the dtype of their first output, Constants apart."""
    found: Counter[str] = Counter()
    for node in model.nodes():
        v = next((v for v in node.outputs if v is not None), None)
        if node.op != "Constant" and v is not None:
            found[dtype_name(v.dtype) if v.dtype else "unknown"] += 1
    return dict(found)


def bytes_by_dtype(model: Model) -> dict[str, int]:
    """Bytes of constants by dtype."""
    found: Counter[str] = Counter()
    for graph in model.graphs():
        for t in graph.initializers.values():
            found[dtype_name(t.dtype)] += t.nbytes
        for node in graph:
            v = node.outputs[0] if node.op == "Constant" else None
            if v is not None and v.const is not None:
                found[dtype_name(v.const.dtype)] += v.const.nbytes
    return dict(found)


def measure(report: PrecisionReport, samples: Samples, candidate: Model, on: str | None = None) -> None:
    """Run a model on the inputs that the float model was run on, and fill in the errors.

    `on`: the executor; None: the first that runs it.

    It need not run where the float model did: these differ by rounding of float32, which is less than what is looked for.
    """
    report.notes += samples.notes
    if not samples.runs:
        return
    with model_file(candidate) as file:
        for name in executors() if on is None else known([on]):
            try:
                report.errors = _errors(samples, file, name)
            except Exception as e:
                report.notes.append(f"not measured on {name}, which does not run it: {short(e)}")
                continue
            report.executor, report.runs = name, len(samples.runs)
            return


def _errors(samples: Samples, file: ModelFile, name: str) -> list[OutputError]:
    session = file.on(name)
    dtypes = {i.name: i.type.tensor_type.elem_type for i in file.proto.graph.input}
    found: dict[str, OutputError] = {}
    for feeds, outputs in samples.runs:
        with np.errstate(all="ignore"):
            got = session.run({n: _as(value, dtypes[n]) for n, value in feeds.items()})
        for output, want in outputs.items():
            error = output_error(output, want, got[output])
            found[output] = found[output].worse(error) if output in found else error
    for output in samples.unstable:
        found[output] = OutputError(output, detail="differs from run to run of the float model")
    return list(found.values())


def _as(value: Any, dtype: int) -> Any:
    """A feed in the dtype that the model declares now."""
    if isinstance(value, np.ndarray) and dtype and is_floating(value):
        return value.astype(tensor_dtype_to_np_dtype(dtype))
    return value


def output_error(output: str, want: Any, got: Any) -> OutputError:
    """How far an output lies from what the float model gives."""
    if not isinstance(want, np.ndarray) or not isinstance(got, np.ndarray):
        parts = _elements(want), _elements(got)
        if len(parts[0]) != len(parts[1]) or not parts[0]:
            return OutputError(output, detail="" if len(parts[0]) == len(parts[1]) else "another number of elements")
        errors = [output_error(output, w, g) for w, g in zip(*parts, strict=True)]
        worst = errors[0]
        for e in errors[1:]:
            worst = worst.worse(e)
        return worst
    if want.shape != got.shape:
        return OutputError(output, math.inf, math.inf, math.inf, 0.0, detail=f"{layout(got)} for {layout(want)}")
    if not is_floating(want) or not want.size:
        return OutputError(output, same=float(np.mean(want == got)) if want.size else 1.0)
    w, g = (x.astype(np.complex128 if x.dtype.kind == "c" else np.float64).ravel() for x in (want, got))
    with np.errstate(all="ignore"):
        alike = np.isfinite(w) == np.isfinite(g)
        if not alike.all():
            lost = f"{int((~alike).sum())} of {w.size} elements are infinite or no number on one side only"
            return OutputError(output, math.inf, math.inf, math.inf, 0.0, detail=lost)
        finite = np.isfinite(w)
        w, g = w[finite], g[finite]
        absolute = float(np.abs(w - g).max(initial=0.0))
        largest, norm, other = float(np.abs(w).max(initial=0.0)), float(np.linalg.norm(w)), float(np.linalg.norm(g))
        cosine = 1.0 if norm == other == 0.0 else float(np.vdot(w, g).real) / max(norm * other, 1e-300)
        relative = absolute / largest if largest else (0.0 if not absolute else math.inf)
        rms = float(np.linalg.norm(w - g)) / norm if norm else (0.0 if not absolute else math.inf)
    return OutputError(output, absolute, relative, rms, min(cosine, 1.0))


def _elements(value: Any) -> Sequence[Any]:
    if isinstance(value, dict):
        return [np.asarray(v) for v in value.values()]
    return [np.asarray(v) if not isinstance(v, (list, dict, np.ndarray)) else v for v in value or ()]
