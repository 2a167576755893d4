"""How many attentions of a transformer become one operator each, beside the number of its layers.

    python -m benchmarks.attention --models FOLDER
    python -m benchmarks.attention --models FOLDER --only bert-2l.ts,bert-2l.dyn,bert-2l.raw --opset 23
    python -m benchmarks.attention --models FOLDER --rounds 30

Layers are counted in the model as it comes: a softmax between two products, which scales, masks, casts and guards may
surround. Models without any are left out. "packed" have their heads in the last axis, so that no transposition is left
around them. With --rounds, ONNX Runtime (one thread) runs each model so often, by turns: as it came, optimised with the rules of
attention and rotary embeddings, and without these; the columns are medians of time over that of the model as it came. Exit
code 1 where an attention was not found.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import statistics
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import graphopt
from benchmarks import harness, models

if TYPE_CHECKING:
    from graphopt import Model
    from graphopt.ir import Node, Value

#: What may stand between the product and the softmax, and between the softmax and the other product.
_BEFORE = frozenset("Add Mul Div Sub Where Cast Tanh Reshape Identity Clip".split())
_BEHIND = frozenset("Where Cast Dropout Identity Mul Reshape".split())
_FAR = 8
FAMILIES = ("attention", "rotary")


def layers(model: Model) -> int:
    """Softmaxes between two products of what is computed."""
    return sum(n.op == "Softmax" and _scores(n.inputs[0], _FAR) and _weighs(n, _FAR) for n in model.nodes())


def _scores(v: Value | None, far: int) -> bool:
    """Whether a value is a product of two tensors that are computed, with something done to it."""
    node = v.node if v is not None else None
    if node is None or not far:
        return False
    if node.op == "MatMul":
        return all(i is not None and i.const is None for i in node.inputs)
    return node.op in _BEFORE and any(_scores(i, far - 1) for i in node.inputs)


def _weighs(node: Node, far: int) -> bool:
    """Whether a node's output is the left side of a product, with something done to it."""
    for v in node.outputs[:1]:
        for user in v.uses if v is not None else ():
            if user.op == "MatMul" and user.inputs[0] is v:
                return True
            if far and user.op in _BEHIND and _weighs(user, far - 1):
                return True
    return False


def at_opset(source: str, opset: int, **options: Any) -> Model:
    """A model at an opset, optimised on level 2."""
    if "opset" in inspect.signature(graphopt.optimize).parameters:
        return graphopt.optimize(source, opset=opset, **options)
    import onnx
    from onnx import version_converter

    return graphopt.optimize(version_converter.convert_version(onnx.load(source), opset), **options)


def count(entry: models.Entry, opset: int, rounds: int) -> dict[str, Any]:
    """Layers and operators of a model; nothing but 0 layers where it is no transformer."""
    original = graphopt.optimize(entry["path"], level=1)  # functions written out, Dropout gone
    found: dict[str, Any] = {"layers": layers(original)}
    if not found["layers"]:
        return found
    fast = at_opset(entry["path"], opset)
    operators = Counter(n.op for n in fast.nodes())
    attentions = [n for n in fast.nodes() if n.op == "Attention"]
    found |= {
        "attention": len(attentions),
        "packed": sum("q_num_heads" in n.attributes for n in attentions),
        "causal": sum(bool(n.attributes.get("is_causal")) for n in attentions),
        "past": sum(len(n.inputs) > 4 for n in attentions),
        "softmax": operators["Softmax"],
        "rotary": operators["RotaryEmbedding"],
        "rms": operators["RMSNormalization"],
        "nodes": [graphopt.load(entry["path"]).node_count(), fast.node_count()],
    }
    if rounds:
        variants = {"with": fast, "without": at_opset(entry["path"], opset, without=FAMILIES)}
        found["time"] = _time(entry, variants, rounds)
    return found


def _time(entry: models.Entry, variants: dict[str, Model], rounds: int) -> dict[str, float]:
    """Seconds over those of the model as it came, the median of all rounds."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    with tempfile.TemporaryDirectory() as folder:
        paths = {"original": entry["path"], **{name: f"{folder}/{name}.onnx" for name in variants}}
        for name, model in variants.items():
            model.save(paths[name])
        sessions = {name: onnxruntime.InferenceSession(path, options) for name, path in paths.items()}
    feeds = {spec["name"]: models.make_input(spec, 0) for spec in entry["inputs"]}
    runs = {name: functools.partial(session.run, None, feeds) for name, session in sessions.items()}
    seconds = harness.interleave(runs, rounds)
    base = seconds.pop("original")
    return {name: statistics.median(t / o for t, o in zip(s, base, strict=True)) for name, s in seconds.items()}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks.attention", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", required=True, type=Path, help="a folder, a manifest.json or a model")
    parser.add_argument("--only", default="", help="ids, with commas between")
    parser.add_argument("--opset", type=int, default=23, help="to raise the models to")
    parser.add_argument("--rounds", type=int, default=0, help="to run each model under ONNX Runtime")
    parser.add_argument("--json", help="write the figures to this file")
    args = parser.parse_args(argv)
    result: dict[str, Any] = {}
    for entry in models.entries(args.models, [i for i in args.only.split(",") if i]):
        try:
            found = count(entry, args.opset, args.rounds)
        except Exception as e:
            found = {"layers": 0, "error": harness.describe(e)}
            harness.progress(f"{entry['id']}: {found['error']}")
        if found["layers"]:
            result[entry["id"]] = found
    rows = [
        [name, r["layers"], *(r[k] for k in ("attention", "packed", "past", "causal", "softmax", "rotary", "rms")),
         " -> ".join(map(str, r["nodes"])), *(f"{t:.3f}" for t in r.get("time", {}).values())]
        for name, r in result.items()
    ]  # fmt: skip
    headers = ["model", "layers", "attention", "packed", "past", "causal", "softmax left", "rotary", "RMS", "nodes"]
    harness.print_table([*headers, *(["with", "without"] if args.rounds else [])], rows)
    missed = [name for name, r in result.items() if r["attention"] < r["layers"]]
    print(f"\n{len(result)} models; attention not found in: {', '.join(missed) or 'none'}")
    for name in ("with", "without") if args.rounds else ():
        print(
            f"{name}: {harness.geometric_mean(r['time'][name] for r in result.values()):.3f} of the time of the original"
        )
    harness.write_json(args.json, result)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
