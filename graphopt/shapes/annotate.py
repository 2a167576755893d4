"""What was inferred, written into the model for other programs to read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from onnx import TypeProto, ValueInfoProto

from graphopt.ir import Dim, Model, Value, load
from graphopt.shapes import text
from graphopt.shapes.dims import ANONYMOUS, is_anonymous
from graphopt.shapes.inference import infer_model
from graphopt.shapes.pin import pin_inputs, refuse_pins
from graphopt.shapes.types import type_proto

#: Before this IR version every initializer is listed as an input, though callers do not give them.
_OVERRIDABLE = 4
#: How the names begin that are written for dims of which nothing is known.
_UNKNOWN = "unk__"


def infer_shapes(
    model: Any,
    *,
    input_shapes: Mapping[str, int | Sequence[int | None]] | None = None,
    name_dims: bool = False,
    guess_ranks: bool = False,
) -> Model:
    """Infer dtypes and shapes of all values, and write them into the model's `value_info`; nothing else changes.

    Dims are numbers, names of the model's own dims, or expressions over them ('floor(height/2) + 1'). Dims that depend on
    data get names that begin with 'unk__', the same for dims that are provably equal. Weights are not read.

    Args:
        model: a path, bytes, `onnx.ModelProto`, `graphopt.Model`, `onnx_ir.Model` or torch `ONNXProgram`.
        input_shapes: {"x": (1, 3, 224, 224)} or {"batch": 1} fixes dims of the inputs first.
        name_dims: give the interface names that say more: input dims that have none get one ('x_dim_0'), and output dims are
            declared in terms of the inputs' instead of by names that an exporter made up.
        guess_ranks: where Squeeze without axes meets a dim of unknown size, suppose that it is not 1, as other tools do.
            What follows is wrong for inputs of this size; without it, the rank is unknown then.

    Returns:
        The model; `.proto` is the message. What was read is never changed.

    Raises:
        ModelError: the model cannot be read or is not valid.
        ArgumentError: `input_shapes` does not fit the inputs.
    """
    m = load(model)
    if input_shapes:
        pin_inputs(m, input_shapes)
    if name_dims:
        _name_inputs(m)
    listed = [v for v in m.graph.initializers if v.const is None] if m.ir_version < _OVERRIDABLE else []
    for v in listed:
        v.const = m.graph.initializers[v]
    facts = infer_model(m, guess_ranks)
    for v in listed:
        v.const = None
    if input_shapes and facts.refused:
        refuse_pins(facts, infer_model(load(model), guess_ranks))
    annotate(m, name_dims)
    return m


def _name_inputs(model: Model) -> None:
    """Declare a name for each input dim that has none."""
    graph = model.graph
    taken = {d for v in graph.inputs for d in v.shape or ()}
    for v in graph.inputs:
        if v.shape is None or all(d is not None and d not in ANONYMOUS for d in v.shape):
            continue
        info = ValueInfoProto()
        info.CopyFrom(graph.input_infos[v])
        dims = list(v.shape)
        for i, d in enumerate(dims):
            if d is None or d in ANONYMOUS:
                name = f"{re.sub(r'[^0-9A-Za-z_]', '_', v.name)}_dim_{i}"
                while name in taken or name[0].isdigit():
                    name = f"_{name}"
                taken.add(name)
                dims[i] = info.type.tensor_type.shape.dim[i].dim_param = name
        v.shape, graph.input_infos[v] = tuple(dims), info


def annotate(model: Model, name_dims: bool = False) -> None:
    """Write what was inferred into the `value_info` of every graph, and where an output declares nothing into the output."""
    taken = {d for v in model.graph.inputs for d in v.shape or () if isinstance(d, str)}
    taken |= {d.dim_param for i in model.graph.output_infos for d in i.type.tensor_type.shape.dim}
    names: dict[str, str] = {}
    for graph in model.graph.subgraphs():
        inner = set(graph.outputs)
        if graph.owner is not None:
            graph.touch()
        graph.value_infos = [
            ValueInfoProto(name=v.name, type=_written(v, names, taken))
            for node in graph
            for v in node.outputs
            if v is not None and v not in inner and (v.dtype or v.type is not None)
        ]
        for i, (v, info) in enumerate(zip(graph.outputs, graph.output_infos, strict=True)):
            if v.dtype and v.shape is not None:
                graph.output_infos[i] = _completed(info, v, names, taken, name_dims)


def _written(v: Value, names: dict[str, str], taken: set[Dim]) -> TypeProto:
    """A type as a message, with names that other programs understand."""
    t = type_proto(v)
    if v.type is None:
        for target, d in zip(t.tensor_type.shape.dim, v.shape or (), strict=True):
            if not isinstance(d, int):
                _write(target, d, names, taken)
    return t


def _write(target: Any, d: Dim, names: dict[str, str], taken: set[Dim]) -> None:
    target.Clear()
    if isinstance(d, int):
        target.dim_value = d
    elif d is not None and is_anonymous(d):
        name = names.get(key := text.show(d))
        while name is None:
            name = f"{_UNKNOWN}{len(names)}"
            if name in taken:
                names[name], name = "", None
        names[key] = name
        target.dim_param = name
    elif (written := text.writable(d)) is not None:
        target.dim_param = written


def _completed(info: ValueInfoProto, v: Value, names: dict[str, str], taken: set[Dim], rename: bool) -> ValueInfoProto:
    """The declaration of an output, with what it leaves open filled in."""
    if info.type.WhichOneof("value") not in (None, "tensor_type"):
        return info
    out = ValueInfoProto()
    out.CopyFrom(info)
    tensor = out.type.tensor_type
    tensor.elem_type = tensor.elem_type or v.dtype
    assert v.shape is not None
    if not tensor.HasField("shape") or (rename and len(tensor.shape.dim) != len(v.shape)):
        tensor.shape.Clear()
        tensor.shape.SetInParent()
        for _ in v.shape:
            tensor.shape.dim.add()
    if len(tensor.shape.dim) != len(v.shape):
        return info
    for target, d in zip(tensor.shape.dim, v.shape, strict=True):
        declared = target.HasField("dim_value") or (target.dim_param and target.dim_param not in ANONYMOUS)
        if not declared or (rename and target.dim_param and not is_anonymous(d)):
            _write(target, d, names, taken)
    return out
