"""`graphopt inspect`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphopt._words import listed, size_text
from graphopt.cli import options
from graphopt.cli.output import Screen, err, out
from graphopt.cli.streams import size_of, source, title
from graphopt.errors import ArgumentError

if TYPE_CHECKING:
    from graphopt.ir import Model, Node, Value
    from graphopt.shapes import Facts

#: Constants, and names in a line, that are shown.
_LARGEST, _NAMED = 5, 6


Shapes = Annotated[
    bool,
    typer.Option(
        "--shapes", help="Instead, the type of every value, elements of shape tensors, and why what is unknown is."
    ),
]

Cost = Annotated[
    bool,
    typer.Option(
        "--cost", help="Instead, what a run is estimated to take, by operator; --input-shape says for which sizes."
    ),
]


def inspect(
    model: options.ModelPath,
    shapes: Shapes = False,
    cost: Cost = False,
    target: options.Target = "onnxruntime",
    input_shape: options.InputShapes = None,
    json: options.Json = False,
) -> int:
    """Show what MODEL holds: interface, operators, weights, versions; with --shapes the type of every value, with --cost the
    time by operator."""
    from graphopt.ir import load
    from graphopt.shapes.annotate import infer_shapes

    if input_shape and not (shapes or cost):
        raise ArgumentError("--input-shape says something about --shapes and --cost only")
    if shapes and cost:
        raise ArgumentError("--shapes and --cost are two views; give one")
    read, name = source(model), title(model)
    with err().working(f"reading {name}"):
        if shapes:
            data = describe_shapes(infer_shapes(read, input_shapes=options.input_shapes(input_shape)), name)
        elif cost:
            data = describe_cost(load(read), name, options.input_shapes(input_shape), target)
        else:
            data = describe(load(read), name, size_of(model, read))
    if json:
        out().json(data)
    else:
        (_show_shapes if shapes else _show_cost if cost else _show)(out(), data)
    return 0


def describe_cost(model: Model, name: str, shapes: Any, target: str) -> dict[str, Any]:
    """What a run is estimated to take on a target, as plain data."""
    from graphopt.cost import cost_of_model
    from graphopt.shapes import pin_inputs
    from graphopt.targets import target_of

    machine = target_of(target).machine
    if shapes:
        pin_inputs(model, shapes)
    return {"file": name, "target": target, **cost_of_model(model, machine).to_dict()}


def _show_cost(screen: Screen, data: dict[str, Any]) -> None:
    screen.line(data["file"], "bold")
    screen.line(
        f"a run is estimated to take {data['seconds'] * 1e3:.3g} ms on one thread; what a runtime fuses is not known"
    )
    if named := {name: n for name, n in data["sizes"].items() if not name.startswith("?")}:
        screen.line(f"sizes: {listed([f'{name} = {n}' for name, n in named.items()], _NAMED)}")
    screen.line()
    rows = [
        (
            o["operator"],
            o["nodes"],
            f"{o['flops'] / 1e6:,.1f}",
            size_text(int(o["bytes"])),
            f"{o['seconds'] * 1e6:,.1f}",
            f"{o['share']:.1%}",
        )
        for o in data["operators"]
    ]
    screen.table(("operator", "nodes", "million flops", "bytes moved", "microseconds", "share"), rows)


def describe_shapes(model: Model, name: str) -> dict[str, Any]:
    """What inference says of every value that a node computes, as plain data."""
    from graphopt.shapes import facts_of
    from graphopt.shapes.text import show

    facts = facts_of(model)
    values = [
        _value(v, node, facts)
        for graph in model.graph.subgraphs()
        for node in graph
        for v in node.outputs
        if v is not None and node.op != "Constant"
    ]
    return {
        "file": name,
        "inputs": [_interface(i) for v, i in model.graph.input_infos.items() if v not in model.graph.initializers],
        "equal_dims": [[show(a), show(b)] for a, b in facts.equalities],
        "refused": {node.label: reason for node, reason in facts.refused.items()},
        "values": values,
        "rank_known": sum(v["dims"] is not None for v in values),
        "resolved": sum(v["resolved"] for v in values),
    }


def _value(v: Value, node: Node, facts: Facts) -> dict[str, Any]:
    from graphopt.ir.text import numpy_name
    from graphopt.shapes.dims import is_anonymous
    from graphopt.shapes.text import show

    kind = numpy_name(v.dtype) if v.dtype else _type(v.type)[0] if v.type is not None else "unknown"
    dims = None if v.shape is None else [d if isinstance(d, int) else show(d) for d in v.shape]
    return {
        "name": v.name,
        "operator": node.op,
        "type": kind,
        "dims": dims,
        "resolved": v.shape is not None and not any(map(is_anonymous, v.shape)),
        "elements": None if v.known is None else [show(e) for e in v.known.reshape(-1)],
        "unknown_because": facts.reasons.get(v) if v.shape is None else None,
    }


def _show_shapes(screen: Screen, data: dict[str, Any]) -> None:
    values = data["values"]
    screen.line(data["file"], "bold")
    total = f"{len(values):,} values"
    screen.line(f"{total}: the rank is known of {data['rank_known']:,}, every dim of {data['resolved']:,}")
    if data["equal_dims"]:
        screen.line(f"equal whenever it runs: {listed([' = '.join(pair) for pair in data['equal_dims']], _NAMED)}")
    for node, reason in data["refused"].items():
        screen.line(f"note: '{node}' cannot run: {reason}", "yellow")
    screen.line()
    rows = [
        (
            v["name"],
            v["operator"],
            v["type"],
            "" if v["dims"] is None else _dims_text(v["dims"]),
            v["unknown_because"] or ("" if v["elements"] is None else f"= [{', '.join(v['elements'])}]"),
        )
        for v in values
    ]
    screen.table(("value", "operator", "type", "dims", "elements, or why it is unknown"), rows)


def describe(model: Model, name: str, size: int) -> dict[str, Any]:
    """All that the command tells, as plain data."""
    from onnx.defs import onnx_opset_version

    from graphopt.ir.text import numpy_name
    from graphopt.report import Summary

    source, graph = model.source, model.graph
    summary = Summary.of(model)
    constants = [(v.name, t) for g in model.graphs() for v, t in g.initializers.items()]
    constants += [
        (v.name, v.const)
        for node in model.nodes()
        if node.op == "Constant"
        for v in node.outputs
        if v is not None and v.const is not None
    ]
    external: Counter[str] = Counter()
    for _, t in constants:
        if t.is_external:
            external[t.external_range()[0].name] += t.nbytes
    unknown = Counter(node.op for node in model.nodes() if _is_unknown(model, node))
    overridable = [v.name for v in graph.inputs if v in graph.initializers]
    return {
        "file": name,
        "bytes": size,
        "producer": " ".join(filter(None, (source.producer_name, source.producer_version))),
        "ir_version": source.ir_version,
        "opsets": {domain or "ai.onnx": version for domain, version in model.opsets.items()},
        "newest_opset": onnx_opset_version(),
        "graph": graph.name,
        "inputs": [_interface(info) for info in source.graph.input if info.name not in overridable],
        "outputs": [_interface(info) for info in source.graph.output],
        "initializers_that_are_inputs": overridable,
        "nodes": summary.nodes,
        "operators": dict(summary.operators.most_common()),
        "subgraphs": sum(1 for g in model.graph.subgraphs()) - 1,
        "functions": [f"{f.source.domain}::{f.source.name}" for f in model.functions.values()],
        "unknown_operators": dict(unknown.most_common()),
        "constants": len(constants),
        "constant_bytes": summary.constant_bytes,
        "largest_constants": [
            {"name": name, "dtype": numpy_name(t.dtype), "dims": list(t.dims), "bytes": t.nbytes}
            for name, t in sorted(constants, key=lambda c: -c[1].nbytes)[:_LARGEST]
        ],
        "external_data": dict(external.most_common()),
    }


def _is_unknown(model: Model, node: Any) -> bool:
    return model.schema(node) is None and (node.domain, node.op_type, node.overload) not in model.functions


def _interface(info: Any) -> dict[str, Any]:
    """Name, type and dims of an input or output; dims are None where the rank is unknown or it is no tensor."""
    kind, dims = _type(info.type)
    return {"name": info.name, "type": kind, "dims": dims}


def _type(t: Any) -> tuple[str, list[int | str | None] | None]:
    from graphopt.ir.load import read_shape
    from graphopt.ir.text import numpy_name

    which = t.WhichOneof("value")
    if which is None:
        return "unknown", None
    inner = getattr(t, which)
    if which in ("tensor_type", "sparse_tensor_type"):
        name = numpy_name(inner.elem_type)
        dims = list(read_shape(inner.shape)) if inner.HasField("shape") else None
        return (name if which == "tensor_type" else f"sparse({name})"), dims
    if which == "map_type":
        return f"map({numpy_name(inner.key_type)}, {_nested(inner.value_type)})", None
    if which in ("sequence_type", "optional_type"):
        return f"{which.removesuffix('_type')}({_nested(inner.elem_type)})", None
    return which.removesuffix("_type"), None


def _nested(t: Any) -> str:
    kind, dims = _type(t)
    return kind if dims is None else f"{kind}{_dims_text(dims)}"


def _dims_text(dims: list[int | str | None] | None) -> str:
    return "" if dims is None else f"[{', '.join('?' if d is None else str(d) for d in dims)}]"


def _show(screen: Screen, data: dict[str, Any]) -> None:
    screen.line(data["file"], "bold")
    facts = [
        ("file", size_text(data["bytes"])),
        ("producer", data["producer"] or "not said"),
        ("IR version", str(data["ir_version"])),
        ("opsets", ", ".join(f"{domain} {version}" for domain, version in data["opsets"].items()) or "none declared"),
        (
            "nodes",
            f"{data['nodes']:,}" + (f", with those of {data['subgraphs']} subgraphs" if data["subgraphs"] else ""),
        ),
        ("constants", f"{data['constants']:,}, {size_text(data['constant_bytes'])}" if data["constants"] else "none"),
    ]
    if data["external_data"]:
        facts.append(
            ("external data", ", ".join(f"{size_text(n)} in {file}" for file, n in data["external_data"].items()))
        )
    if data["functions"]:
        facts.append(("functions", listed(data["functions"], _NAMED)))
    for what, text in facts:
        screen.line(f"{what:14s}{text}")
    if overridable := data["initializers_that_are_inputs"]:
        text = f"{len(overridable)} initializers are inputs too, so that callers may override them"
        screen.line(f"note: {text}: {listed(overridable, _NAMED)}", "yellow")
    if (opset := data["opsets"].get("ai.onnx", 0)) > data["newest_opset"]:
        screen.line(f"note: opset {opset} is newer than the installed onnx knows: {data['newest_opset']}", "yellow")
    if unknown := data["unknown_operators"]:
        counts = listed([f"{op} x {n}" for op, n in unknown.items()], _NAMED)
        screen.line(f"note: operators that onnx does not know: {counts}", "yellow")

    interface = [
        (
            side,
            i["name"],
            i["type"],
            "rank unknown" if i["dims"] is None and "(" not in i["type"] else _dims_text(i["dims"]),
        )
        for side in ("input", "output")
        for i in data[f"{side}s"]
    ]
    screen.line()
    screen.table(
        ("", "name", "type", "dims"), interface, {r"(?<=[\[ ])[^\d\[\] ][^,\]]*(?=[,\]])|^rank unknown$": "bold yellow"}
    )
    screen.line()
    screen.table(("operator", "nodes"), list(data["operators"].items()))
    if data["largest_constants"]:
        screen.line()
        largest = [
            (c["name"], c["dtype"] + _dims_text(c["dims"]), size_text(c["bytes"])) for c in data["largest_constants"]
        ]
        screen.table(("largest constants", "", ""), largest)
