"""From messages to the graph. One pass over the nodes; no weight is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TypeProto, ValueInfoProto

from graphopt.errors import ArgumentError, ModelError
from graphopt.ir.attributes import find_subgraph_messages
from graphopt.ir.graph import GAP, Graph
from graphopt.ir.model import NEWEST_IR, Function, Model, opsets_of
from graphopt.ir.node import Node, Shape, Value
from graphopt.ir.tensor import Tensor
from graphopt.ir.wire import without_weights

#: The weights of smaller files are not worth a look.
_LARGE_FILE = 1 << 16
_PENDING = -1  # index of a value whose producer has not been read yet


def load(model: Any, base_dir: str | None = None) -> Model:
    """Read a model.

    Args:
        model: a path (str or PathLike), the bytes of a file, an `onnx.ModelProto`, a `graphopt.Model`, an `onnx_ir.Model`
            or torch's `ONNXProgram`. Nothing that is passed in is ever changed.
        base_dir: the folder that external data is relative to, where the model comes as bytes or as a message.

    Raises:
        ModelError: the file is missing, empty, truncated or no model; the graph has a cycle, an input that nothing
            produces or a value produced twice; external data is missing or lies outside the model's folder.
        ArgumentError: `model` is none of the above.
    """
    path: Path | None = None
    if isinstance(model, Model):
        return (
            load(model.proto)
            if model.path is None and not model.base_dir
            else _build(model.proto, model.path, model.base_dir)
        )
    if isinstance(model, ModelProto):
        return _build(model, None, base_dir or "")
    if isinstance(model, (bytes, bytearray, memoryview)):
        proto, weights = _parse(bytes(model), "the bytes given")
        return _build(proto, None, base_dir or "", weights)
    if isinstance(model, (str, os.PathLike)):
        path = Path(model)
        proto, weights = _parse(_read(path), f"'{path}'")
        return _build(proto, path, str(path.parent), weights)
    if hasattr(model, "model_proto"):  # torch.onnx.ONNXProgram
        return _build(model.model_proto, None, "")
    if type(model).__module__.startswith("onnx_ir"):
        import onnx_ir

        return _build(onnx_ir.to_proto(model), None, "")
    accepted = "a path, bytes, an onnx.ModelProto, an onnx_ir.Model or a torch ONNXProgram"
    raise ArgumentError(f"cannot load a model from {type(model).__name__}: pass {accepted}")


class Origin(NamedTuple):
    """What a model was read from, less the values of large weights."""

    proto: ModelProto
    path: Path | None
    base_dir: str

    def reread(self) -> Model:
        """The model as it was read, whatever was done to it since; large weights are known by dtype and dims only."""
        return _build(*self)


def origin_of(model: Model) -> Origin:
    """What a model was read from."""
    return Origin(model.source, model.path, model.base_dir)


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"'{path}': no such file") from None
    except IsADirectoryError:
        raise ModelError(f"'{path}' is a folder; name the .onnx file in it") from None
    except OSError as e:
        raise ModelError(f"'{path}' cannot be read: {e.strerror}") from e
    if not data:
        raise ModelError(f"'{path}' is empty; export or download it again")
    return data


def _parse(data: bytes, what: str) -> tuple[ModelProto, dict[int, memoryview]]:
    """The message less the raw data of large initializers, and that by the number of the initializer."""
    proto = ModelProto()
    if data.startswith(b"version https://git-lfs"):
        raise ModelError(f"{what} is not an ONNX model but a Git LFS pointer to one; run `git lfs pull`")
    message, weights = without_weights(data) if len(data) >= _LARGE_FILE else (data, {})
    try:
        proto.ParseFromString(message)
    except DecodeError as e:
        raise ModelError(f"{what} is not an ONNX model, or it is truncated ({len(data)} bytes): {e}") from e
    if not proto.HasField("graph") or not proto.ir_version:
        raise ModelError(f"{what} is not an ONNX model: it holds no graph; export it again")
    return proto, weights


def _build(
    proto: ModelProto, path: Path | None, base_dir: str, weights: Mapping[int, memoryview] = MappingProxyType({})
) -> Model:
    what = f"'{path}'" if path else "the model"
    if proto.ir_version > NEWEST_IR:
        raise ModelError(
            f"{what} has IR version {proto.ir_version}, the installed onnx knows up to {NEWEST_IR}; upgrade onnx"
        )
    if proto.ir_version < 3:
        raise ModelError(f"{what} has IR version {proto.ir_version}; export it again with IR version 3 or newer")
    model = Model(proto, path, base_dir)
    try:
        for f in proto.functions:
            function = read_function(model, f)
            model.functions[function.key] = function
        _read_graph(model.graph, proto.graph, [], weights)
        for training in proto.training_info:
            bindings = [b.key for b in (*training.initialization_binding, *training.update_binding)]
            read = [name for g in (training.initialization, training.algorithm) for n in g.node for name in n.input]
            model.graph.pinned |= {*bindings, *read}
    except ModelError as e:
        raise ModelError(f"{what}: {e}") from e.__cause__
    return model


def read_function(model: Model, f: FunctionProto) -> Function:
    """A function as one of the model's, which it is not added to yet."""
    graph = Graph(model, f.name, opsets=opsets_of(f))
    graph.source = f
    values = {name: Value(name, graph) for name in f.input}
    graph.inputs = list(values.values())
    _read_nodes(graph, f.node, values, [])
    graph.outputs = [_lookup(name, [values], f"output of function '{f.name}'") for name in f.output]
    for v in graph.outputs:
        v.exits += 1
    return Function(f, graph)


def _read_graph(
    graph: Graph,
    proto: GraphProto,
    outer: list[dict[str, Value]],
    weights: Mapping[int, memoryview] = MappingProxyType({}),
) -> None:
    graph.source = proto
    graph.name = proto.name
    graph.pinned = frozenset(e.value for q in proto.quantization_annotation for e in q.quant_parameter_tensor_names)
    values: dict[str, Value] = {}
    for info in proto.input:
        v = values[info.name] = Value(info.name, graph)
        set_type(v, info.type)
        graph.inputs.append(v)
        graph.input_infos[v] = info
    if len(values) != len(proto.input):
        raise ModelError(f"graph '{proto.name}' has two inputs of one name")
    for number, t in enumerate(proto.initializer):
        if not t.name:
            raise ModelError(f"graph '{proto.name}' has an initializer without a name")
        raw = weights.get(number)
        tensor = Tensor(t, base_dir=graph.base_dir, raw=raw)
        if tensor.is_external:
            tensor.external_range()
            graph.model.external = True
        elif (raw is not None or t.HasField("raw_data")) and len(t.raw_data if raw is None else raw) < tensor.nbytes:
            raise ModelError(
                f"initializer '{t.name}' holds fewer bytes than its {tensor.nbytes}; export the model again"
            )
        known = values.get(t.name)
        if known is None:
            v = values[t.name] = Value(t.name, graph)
            v.const = tensor
            v.dtype, v.shape = tensor.dtype, tensor.dims
        elif known in graph.initializers:
            raise ModelError(f"graph '{proto.name}' has two initializers named '{t.name}'")
        else:
            v = known
        graph.initializers[v] = tensor
    for sparse in proto.sparse_initializer:
        if sparse.values.name not in values:
            v = values[sparse.values.name] = Value(sparse.values.name, graph)
            v.dtype, v.shape = sparse.values.data_type, tuple(sparse.dims)
    _read_nodes(graph, proto.node, values, outer)
    if outer:
        _note_shadowing(graph, values, outer)
    scopes = [values, *outer]
    for info in proto.output:
        v = _lookup(info.name, scopes, f"output of graph '{proto.name}'")
        if v.graph is not graph:
            v = _copy_into(graph, v, scopes)
            info = ValueInfoProto(name=v.name, type=info.type)
        v.exits += 1
        graph.outputs.append(v)
        graph.output_infos.append(info)
        if info.type.WhichOneof("value") not in (None, "tensor_type") and v.type is None and not v.dtype:
            v.type = info.type


def _note_shadowing(graph: Graph, values: dict[str, Value], outer: list[dict[str, Value]]) -> None:
    """Note what hides a value of the graph around: `Model.resolve_shadowing` renames it before anything is changed."""
    graph.model.shadowing += [v for name, v in values.items() if any(name in scope for scope in outer)]


def _read_nodes(graph: Graph, protos: Any, values: dict[str, Value], outer: list[dict[str, Value]]) -> None:
    scopes = [values, *outer]
    outputs: list[list[Value | None]] = []
    for p in protos:
        outs: list[Value | None] = []
        for name in p.output:
            if not name:
                outs.append(None)
                continue
            if name in values:
                raise ModelError(f"value '{name}' is produced twice: by node '{p.name}' ({p.op_type}) and before")
            v = values[name] = Value(name, graph, None, _PENDING)
            outs.append(v)
        outputs.append(outs)

    unsorted = False
    last: Node | None = None
    position = 0
    for p, outs in zip(protos, outputs, strict=True):
        domain = p.domain
        node = Node(
            p.op_type,
            [],
            domain="" if domain == "ai.onnx" else domain,
            name=p.name,
            overload=getattr(p, "overload", ""),
            proto=p,
        )
        node.graph = graph
        inputs = node.inputs
        for name in p.input:
            if not name:
                inputs.append(None)
                continue
            v = values.get(name) or _lookup(name, scopes, f"input of node '{p.name}' ({p.op_type})")
            if v.index == _PENDING:
                unsorted = True
            uses = v.uses
            uses[node] = uses.get(node, 0) + 1
            inputs.append(v)
        if p.attribute:
            for message in find_subgraph_messages(p):
                sub = Graph(graph.model, message.name, node, graph.opsets)
                node.subgraphs.append(sub)
                graph.holders[node] = None
                _read_graph(sub, message, scopes)
            if not unsorted and node.subgraphs:
                unsorted = any(v.index == _PENDING and v.graph is graph for v in Graph._reads(node))
        for i, o in enumerate(outs):
            if o is not None:
                o.node = node
                o.index = i
        node.outputs = outs
        if p.op_type == "Constant" and not node.domain:
            _read_constant(node, graph.base_dir)
        node.prev = last
        if last is None:
            graph.first = node
        else:
            last.next = node
        last = node
        position += GAP
        node.position = position
    graph.last = last
    graph.size = len(outputs)
    if unsorted:
        stuck = graph.sort()
        if stuck is not None:
            where = f"node '{stuck.name}' ({stuck.op_type}, output '{', '.join(v.name for v in stuck.outputs if v is not None)}')"
            raise ModelError(f"graph '{graph.name}' has a cycle through {where}; no order of its nodes can run")
        graph.touch()


def _copy_into(graph: Graph, outer: Value, scopes: list[dict[str, Value]]) -> Value:
    """A subgraph may not give out a value of the graph around it; give out a copy."""
    name = f"{outer.name}_copy"
    while any(name in values for values in scopes):
        name += "_"
    node = Node("Identity", [outer], name=name)
    graph.append(node)
    v = scopes[0][name] = node.new_output(name)
    v.dtype, v.shape, v.type = outer.dtype, outer.shape, outer.type
    graph.touch()
    return v


def _lookup(name: str, scopes: list[dict[str, Value]], what: str) -> Value:
    for values in scopes:
        v = values.get(name)
        if v is not None:
            return v
    raise ModelError(f"'{name}', {what}, is not produced by any node, input or initializer")


def set_type(v: Value, t: TypeProto) -> None:
    """Take dtype and shape, or the type of a non-tensor, from a message."""
    if t.HasField("tensor_type"):
        tensor = t.tensor_type
        v.dtype = tensor.elem_type
        if tensor.HasField("shape"):
            v.shape = read_shape(tensor.shape)
    elif t.WhichOneof("value") is not None:
        v.type = t


def read_shape(shape: Any) -> Shape:
    """The dims of a TensorShapeProto: int, name, or None."""
    return tuple([d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in shape.dim])


_CONSTANT_FIELDS: dict[str, tuple[str, Any]] = {
    "value_float": ("f", np.float32),
    "value_floats": ("floats", np.float32),
    "value_int": ("i", np.int64),
    "value_ints": ("ints", np.int64),
    "value_string": ("s", object),
    "value_strings": ("strings", object),
}


def constant_field(name: str, value: Any) -> Tensor | None:
    """What a Constant gives whose attribute of this name has this value; None where it is text that cannot be read."""
    if name == "value":
        return value if isinstance(value, Tensor) else None
    if name not in _CONSTANT_FIELDS or isinstance(value, bytes):
        return None
    return Tensor(array=np.array(value, dtype=_CONSTANT_FIELDS[name][1]))


def _read_constant(node: Node, base_dir: str) -> None:
    proto: NodeProto | None = node.proto
    if proto is None or len(proto.attribute) != 1 or not node.outputs or node.outputs[0] is None:
        return
    a: AttributeProto = proto.attribute[0]
    v = node.output
    if a.ref_attr_name:  # the call of a function decides
        return
    if a.name == "value":
        v.const = Tensor(a.t, base_dir=base_dir)
        if v.const.is_external:
            v.const.external_range()
            v.graph.model.external = True
    elif a.name in _CONSTANT_FIELDS:
        field, dtype = _CONSTANT_FIELDS[a.name]
        raw = getattr(a, field)
        if dtype is object:
            try:
                raw = raw.decode() if isinstance(raw, bytes) else [s.decode() for s in raw]
            except UnicodeDecodeError:  # bytes that are no text stay what they are
                return
        array = np.array(raw if isinstance(raw, (float, int, str)) else list(raw), dtype=dtype)
        array.setflags(write=False)
        v.const = Tensor(array=array)
    if v.const is not None:
        v.dtype, v.shape = v.const.dtype, v.const.dims


__all__ = ["ValueInfoProto", "load", "read_function", "read_shape", "set_type"]
