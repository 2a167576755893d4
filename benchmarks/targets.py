"""Ask runtimes which operators they have kernels for, and write the tables of graphopt/targets.

    python -m benchmarks.targets web --write        # needs Node.js and onnxruntime-web, see graphopt.exec.executors.web
    python -m benchmarks.targets openvino --write   # needs openvino
    python -m benchmarks.targets tensorrt operators.md --write   # from the support matrix of onnx-tensorrt

Every operator is drawn alone, at each of its versions, with operands of every dtype that it may have; what the runtime
loads counts as having a kernel, what it refuses for the lack of one as having none. A dtype that was never refused for
that counts as taken.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from onnx import ModelProto, TensorProto, defs

import graphopt.targets
from graphopt.errors import UnsupportedError
from graphopt.ir.schema import OpSchema, op_schema, read_schema

#: The oldest version that operators are drawn at; what is older counts as what is there at it.
OLDEST = 7
#: The newest opset that the support matrix is about.
NEWEST_TENSORRT = 20
#: The newest opset that operators are drawn at.
NEWEST = 23
#: Draws of an operator at a version; models with the same dtypes that are tried; operators in one process.
_DRAWN, _ENOUGH, _AT_ONCE = 120, 3, 12

Load = Callable[[bytes], None]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=["web", "openvino", "tensorrt"])
    parser.add_argument("file", nargs="?", type=Path, help="tensorrt: docs/operators.md of onnx-tensorrt")
    parser.add_argument("--only", metavar="OP", nargs="+", help="these operators")
    parser.add_argument("--within", action="store_true", help="in this process")
    parser.add_argument("--write", action="store_true", help="write the table")
    arguments = parser.parse_args()
    if arguments.target == "tensorrt":
        if arguments.file is None:
            parser.error("tensorrt: name the file docs/operators.md of onnx-tensorrt")
        data = tensorrt(arguments.file.read_text("utf-8"))
    else:
        runtime, load = (web if arguments.target == "web" else openvino)()
        kernels = dict(probe(load, arguments.only)) if arguments.within else apart(arguments.target, arguments.only)
        data = {"runtime": runtime, "kernels": kernels}
    text = _text(data)
    if arguments.write:
        path = Path(graphopt.targets.__file__).with_name(f"{arguments.target}.json")
        path.write_text(text, encoding="utf-8")
        print(f"{len(data['kernels'])} operators: {path}")
    else:
        print(text)
    return 0


def _text(data: dict[str, Any]) -> str:
    lines = ",\n".join(f"  {json.dumps(op)}: {json.dumps(entries)}" for op, entries in data["kernels"].items())
    return f'{{\n "runtime": {json.dumps(data["runtime"])},\n "kernels": {{\n{lines}\n }}\n}}\n'


# ------------------------------------------------------------------------------------------------------------- runtimes
def web() -> tuple[str, Load]:
    """ONNX Runtime Web, in one process for all models."""
    from graphopt.exec.executors.web import PACKAGE, OnnxRuntimeWeb

    first = OnnxRuntimeWeb(_smallest())
    return f"{PACKAGE}, WebAssembly", first.load


def openvino() -> tuple[str, Load]:
    import openvino as ov

    from graphopt.exec.executors.openvino import OpenVino

    return f"openvino {ov.__version__.partition('-')[0]}, CPU", lambda data: void(OpenVino(data))


def void(value: object) -> None:
    """For what is made only to see whether it can be."""


def _smallest() -> bytes:
    from onnx import helper

    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "smallest", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


# -------------------------------------------------------------------------------------------------------------- probing
def probe(load: Load, only: list[str] | None) -> Iterator[tuple[str, list[Any]]]:
    """The entries of every operator that the runtime has a kernel for."""
    for op, versions in operators().items():
        if only and op not in only:
            continue
        entries = []
        for k, schema in enumerate(versions):
            end = versions[k + 1].since_version - 1 if k + 1 < len(versions) else None
            opset = NEWEST if schema.domain else min(end or NEWEST, NEWEST)
            types = _types(load, op, schema, max(opset, schema.since_version) if not schema.domain else opset)
            if types is not None:
                if k == 0 and schema.since_version > 1:
                    entries.append([1, schema.since_version - 1, {}])
                entries.append([schema.since_version, end, types])
        print(f"{op}: {len(entries)} of {len(versions)} versions", file=sys.stderr, flush=True)
        if entries:
            yield op, entries


def apart(target: str, only: list[str] | None) -> dict[str, list[Any]]:
    """The same, some operators at a time in a process of their own, which a runtime may end; alone where it does."""
    names = [op for op in operators() if not only or op in only]
    waiting = [names[i : i + _AT_ONCE] for i in range(0, len(names), _AT_ONCE)]
    found: dict[str, list[Any]] = {}
    while waiting:
        some = waiting.pop()
        command = [sys.executable, "-m", "benchmarks.targets", target, "--within", "--only", *some]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode == 0:
            found |= json.loads(done.stdout)["kernels"]
        elif len(some) > 1:
            waiting += [[op] for op in some]
        else:
            print(f"{some[0]}: the runtime ends the process ({done.returncode}), left out", file=sys.stderr, flush=True)
    return dict(sorted(found.items()))


def operators() -> dict[str, list[OpSchema]]:
    """Every operator that can be drawn, with its schemas from `OLDEST` on (the last one before it among them)."""
    from graphopt.testing.operators import operands_of
    from graphopt.testing.schemas import written_schemas

    since: dict[str, list[OpSchema]] = defaultdict(list)
    for s in defs.get_all_schemas_with_history():
        if s.domain in ("", "ai.onnx.ml") and not s.deprecated:
            since[f"{s.domain}::{s.name}" if s.domain else s.name].append(read_schema(s))
    for schema in written_schemas():
        since[f"{schema.domain}::{schema.op_type}"].append(schema)
    out = {}
    for op, schemas in sorted(since.items()):
        schemas.sort(key=lambda s: s.since_version)
        old = [s for s in schemas if s.since_version <= OLDEST]
        if operands_of(op) is not None:
            out[op] = [*old[-1:], *(s for s in schemas if s.since_version > OLDEST)]
    return out


def _types(load: Load, op: str, schema: OpSchema, opset: int) -> dict[str, list[str]] | None:
    """The dtypes that the type variables may be at a version, where some are refused; None: it has no kernel."""
    taken: dict[str, set[int]] = defaultdict(set)
    refused: dict[str, set[int]] = defaultdict(set)
    tries: Counter[tuple[tuple[str, int], ...]] = Counter()
    loaded = lacking = 0
    for model in _models(op, opset):
        dtypes = _dtypes_in(model, op, schema)
        key = tuple(sorted(dtypes.items()))
        tries[key] += 1
        if tries[key] > _ENOUGH:
            continue
        try:
            load(model.SerializeToString())
        except UnsupportedError:
            lacking += 1
            into = refused
        except Exception:  # about this one model
            continue
        else:
            loaded += 1
            into = taken
        for variable, d in dtypes.items():
            into[variable].add(d)
    if not loaded:
        return None if lacking else {}
    out = {}
    for p in (*schema.inputs, *schema.outputs):
        never = refused[p.type_var] - taken[p.type_var]
        if never and p.type_var not in out:
            out[p.type_var] = sorted(TensorProto.DataType.Name(d).lower() for d in p.types - never)
    return out


def _models(op: str, opset: int) -> Iterator[ModelProto]:
    """Models of this operator and no other."""
    from graphopt.testing.operators.free import SingleNode, single_nodes
    from graphopt.testing.seeds import Seeded

    example = Seeded(single_nodes(op, opset))
    for seed in range(_DRAWN):
        drawn = example(seed)
        if isinstance(drawn, SingleNode) and len(drawn.model.graph.node) == 1:
            yield drawn.model


def _dtypes_in(model: ModelProto, op: str, schema: OpSchema) -> dict[str, int]:
    """The dtypes of the operator's type variables in a model of it."""
    from graphopt.ir import load

    m = load(model)
    graphopt.infer_shapes(m)
    node = next(n for n in m.graph if n.op == op)
    pairs = [(schema.input_param(i), v) for i, v in enumerate(node.inputs)]
    pairs += list(zip(schema.outputs, node.outputs, strict=False))
    return {p.type_var: v.dtype for p, v in pairs if p is not None and v is not None and v.dtype}


# ------------------------------------------------------------------------------------------------------------- TensorRT
_NAMES = {
    "FP32": "float", "FP16": "float16", "BF16": "bfloat16", "INT64": "int64", "INT32": "int32", "INT8": "int8", "INT4": "int4",
    "UINT8": "uint8", "BOOL": "bool", "FP8": "float8e4m3fn", "DOUBLE": "double",
}  # fmt: skip


def tensorrt(text: str) -> dict[str, Any]:
    """The table out of the support matrix: operators with 'Y', and the dtypes of their first type variable."""
    kernels: dict[str, list[Any]] = {}
    for op, supported, types in re.findall(r"^\| *(\w+) *\| *([YN]) *\|([^|\n]*)", text, re.M):
        schema = op_schema(op, 20)
        if supported == "Y" and schema is not None and schema.inputs:
            named = [_NAMES[t] for t in re.findall(r"\w+", types) if t in _NAMES]
            kernels[op] = [[1, NEWEST_TENSORRT, {schema.inputs[0].type_var: named} if named else {}]]
    version = re.search(r"TensorRT ([\d.]+)", text)
    return {"runtime": f"TensorRT {version[1] if version else ''}", "kernels": kernels}


if __name__ == "__main__":
    raise SystemExit(main())
