"""Models in every precision: how far they lie from the float model, how large and how fast they are.

    python -m benchmarks.precision --models FOLDER
    python -m benchmarks.precision --models FOLDER --only bert-base.ts --kinds int8-dynamic,int4-weights --rounds 30

FOLDER as for benchmarks.models. Every precision is made of the model at level 2. Errors are measured as `graphopt.optimize`
reports them, on the model's inputs: the largest error over the largest value, and the cosine, of the output that came out
worst. Bytes are those of constants. Times are ONNX Runtime's with all its optimizations, one thread, pinned to a core, as
ratios to the untouched float model; all forms of a model take turns. bfloat16 has no kernels on CPUs and is not timed;
'int4-weights int8' lets MatMulNBits compute in 8 bits (Precision(accuracy=4)).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.models import Entry, entries, make_input

#: Models of different kinds: encoders, a decoder, vision with and without convolutions, recurrent, speech, classical.
MODELS = (
    "bert-2l.ts", "gpt2-2l.ts", "llama-2l.ts", "vit-3l.ts", "whisper-enc-2l.ts", "lstm-lm.ts", "resnet50.ts", "ppocr4-rec",
    "magika", "yolov8n-like.ts",
)  # fmt: skip
FLOAT = "fp32"
#: Columns: the arguments of Precision, none for float32 at level 2.
FORMS: dict[str, dict[str, Any]] = {
    FLOAT: {},
    "fp16": {"kind": "fp16"},
    "bf16": {"kind": "bf16"},
    "int8-dynamic": {"kind": "int8-dynamic"},
    "int4-weights": {"kind": "int4-weights"},
    "int4-weights int8": {"kind": "int4-weights", "accuracy": 4},
}
_BFLOAT16_OPSET = 22


class Runs:
    """One model in a process of its own."""

    def __init__(self, entry: Entry) -> None:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        self._path = entry["path"]
        self._feeds = [{spec["name"]: make_input(spec, seed) for spec in entry["inputs"]} for seed in (0, 1)]
        self._folder = tempfile.TemporaryDirectory()
        self._sessions: dict[str, Any] = {"": _session(self._path)}

    def make(self, form: str) -> dict[str, Any]:
        """The model in one form: its report, and a session of it where ONNX Runtime has the kernels."""
        import graphopt
        from graphopt.precision import Precision

        arguments = FORMS[form]
        precision = Precision(**arguments, inputs=self._feeds) if arguments else None
        opset = _BFLOAT16_OPSET if arguments.get("kind") == "bf16" else None
        model = graphopt.optimize(self._path, 2, precision=precision, opset=opset)
        assert model.report is not None
        result: dict[str, Any] = {"nodes": model.report.nodes_after, "seconds": model.report.seconds}
        if (report := model.report.precision) is not None:
            floats = [e for e in report.errors if e.same is None]
            before, after = report.bytes
            result |= {
                "executor": report.executor,
                "relative": max((e.relative for e in floats), default=0.0),
                "rms": max((e.rms for e in floats), default=0.0),
                "cosine": min((e.cosine for e in floats), default=1.0),
                "same": min((e.same for e in report.errors if e.same is not None), default=None),
                "bytes": after / max(before, 1),
                "notes": report.notes,
            }
        target = Path(self._folder.name, f"{form}.onnx".replace(" ", "-"))
        model.save(target)
        try:
            self._sessions[form] = _session(str(target))
        except Exception as error:
            result["not_timed"] = harness.describe(error)
        return result

    def times(self, rounds: int) -> dict[str, float]:
        """Median seconds of every session, in turn."""
        feeds = self._feeds[0]
        actions = {name: (lambda s=s: s.run(None, feeds)) for name, s in self._sessions.items()}
        return {name: statistics.median(t) for name, t in harness.interleave(actions, rounds).items()}


def _session(path: str) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def measure(entry: Entry, forms: Sequence[str], rounds: int, patience: float) -> dict[str, Any]:
    """Everything about one model, by form."""
    worker = harness.Worker(Runs, entry)
    result: dict[str, Any] = {"model": entry["id"], "forms": {}, "failed": {}}
    try:
        for form in forms:
            try:
                result["forms"][form] = worker.ask("make", form, timeout=patience)
            except harness.WorkerError as error:
                result["failed"][form] = str(error)
        result["seconds"] = worker.ask("times", rounds, timeout=patience)
    except harness.WorkerError as error:
        result["failed"]["times"] = str(error)
    finally:
        worker.close()
    return result


def show(results: Sequence[dict[str, Any]], forms: Sequence[str]) -> None:
    """Two tables: errors and sizes; times."""
    rows = []
    for r in results:
        for form, f in r["forms"].items():
            if "cosine" in f:
                cosine = f"{f['cosine']:.6f}"
                rows.append(
                    (
                        r["model"],
                        form,
                        f["relative"],
                        f["rms"],
                        cosine,
                        f["same"],
                        f["bytes"],
                        f["nodes"],
                        f["executor"],
                    )
                )
    harness.print_table(("model", "precision", "error", "rms", "cosine", "same", "bytes", "nodes", "measured on"), rows)
    print()
    timed = [f for f in forms if any(f in r.get("seconds", {}) for r in results)]
    table = []
    for r in results:
        base = r.get("seconds", {}).get("")
        ratios = [r["seconds"][f] / base if base and f in r["seconds"] else None for f in timed]
        table.append((r["model"], base and base * 1e3, *ratios))
    harness.print_table(("model", "untouched ms", *timed), table)
    for form in timed:
        ratios = [r["seconds"][form] / r["seconds"][""] for r in results if form in r.get("seconds", {})]
        print(f"{form}: {harness.geometric_mean(ratios):.2f} of the untouched model's time ({len(ratios)} models)")
    for r in results:
        for what, why in r["failed"].items():
            print(f"failed: {r['model']}: {what}: {why}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="a folder, a manifest.json or a file")
    parser.add_argument("--only", default=",".join(MODELS), help="ids of models, with commas between")
    parser.add_argument("--kinds", default=",".join(FORMS), help=f"of {','.join(FORMS)}")
    parser.add_argument("--rounds", type=int, default=20, help="runs of each to take the median time of (default: 20)")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds for one step of one model")
    parser.add_argument("--json", help="write everything to this file")
    options = parser.parse_args(arguments)
    forms = options.kinds.split(",")
    if unknown := set(forms) - set(FORMS):
        parser.error(f"--kinds: there is no {', '.join(sorted(unknown))}")
    results = []
    for entry in entries(options.models, [n for n in options.only.split(",") if n]):
        harness.progress(entry["id"])
        results.append(measure(entry, forms, options.rounds, options.patience))
    harness.progress("")
    show(results, forms)
    harness.write_json(options.json, results)
    return int(any(r["failed"] for r in results))


if __name__ == "__main__":
    raise SystemExit(main())
