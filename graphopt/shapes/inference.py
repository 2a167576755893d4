"""Inference through onnx: over a whole model without its weights, and for a single new node."""

from __future__ import annotations

from typing import Any, NamedTuple

import onnx
from onnx import GraphProto, ModelProto, TensorProto, TypeProto, shape_inference

from graphopt.ir import Graph, Model, Node, OpSchema, Shape, Tensor, Value
from graphopt.ir.load import read_shape
from graphopt.ir.save import node_proto
from graphopt.shapes.dims import ANONYMOUS, broadcast

#: Constants up to this many bytes are shown to the inference: shapes, axes, pads, scales.
_VISIBLE_BYTES = 1024

#: How the names begin that ONNX's inference gives to dims it knows nothing about.
_MADE_UP = "unk__"

#: One output, of the dtype and shape of the first input.
_LIKE_FIRST = frozenset(
    "Abs Acos Acosh Asin Asinh Atan Atanh Ceil Celu Clip Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish Hardmax "
    "Identity LeakyRelu Log LogSoftmax Mish Neg Not Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softmax Softplus "
    "Softsign Sqrt Swish Tan Tanh ThresholdedRelu".split()
)
#: One output, of the inputs' dtype and broadcast shape.
_BROADCAST = frozenset("Add Sub Mul Div And Or Xor Max Min".split())


class TypeInfo(NamedTuple):
    """What is known of an output: dtype (0 unknown), shape (None unknown), and the message where it is no dense tensor."""

    dtype: int
    shape: Shape | None
    type: TypeProto | None = None


UNKNOWN = TypeInfo(0, None)


def infer_model(model: Model) -> bool:
    """Set `dtype`, `shape` and `type` of every value that inference can say something about, subgraphs included.

    May be called again after changes: what is known stays, what became known is added. Never raises: what cannot be
    inferred stays unknown. Weights are not touched, so any size of model will do.

    Returns:
        Whether a rank, a dim or a dtype became known.
    """
    _forget_anonymous(model.graph)
    if not model.inferences and _infer_elementwise(model.graph):
        return True
    skeleton = ModelProto(ir_version=max(model.ir_version, 8))
    for domain, version in model.opsets.items():
        skeleton.opset_import.add(domain=domain, version=version)
    skeleton.functions.extend([f.source for f in model.functions.values()])
    _skeleton(skeleton.graph, model.graph)
    try:
        inferred = shape_inference.infer_shapes(skeleton, data_prop=True)
    except Exception:  # the inference raises many types for models that still run
        return False
    model.inferences += 1
    return _assign(model.graph, inferred.graph, {}, f"@{model.inferences}")


def _infer_elementwise(graph: Graph) -> bool:
    """Infer a graph of nothing but elementwise operators in one walk; False where anything else is in it."""
    broadcasts = graph.opsets.get("", 0) >= 7
    for node in graph:
        if node.op == "Constant" and node.output.const is not None:
            continue
        try:
            info = _elementwise(node, broadcasts)
        except ValueError:
            return False
        if info is None or not info.dtype or info.shape is None:
            return False
        v = node.output
        v.dtype, v.shape, v.type = info
    return True


def _elementwise(node: Node, broadcasts: bool) -> TypeInfo | None:
    """The type of the only output of an operator that works element by element; None for any other operator.

    `broadcasts`: whether operators broadcast as they do from opset 7 on. Raises ValueError where the shapes do not fit.
    """
    inputs = node.inputs
    first = inputs[0] if inputs else None
    if first is None or node.domain or len(node.outputs) != 1 or node.outputs[0] is None:
        return None
    if node.op_type in _LIKE_FIRST:
        return TypeInfo(first.dtype, first.shape)
    if broadcasts and node.op_type in _BROADCAST and len(inputs) == 2 and inputs[1] is not None:
        return TypeInfo(first.dtype, broadcast(first.shape, inputs[1].shape))
    return None


def _skeleton(target: GraphProto, graph: Graph) -> None:
    """The graph without large constants, without claims about inner values and outputs."""
    target.name = "g"
    for v in graph.inputs:
        target.input.append(graph.input_infos[v])
        if v.dtype:
            target.input[-1].type.CopyFrom(type_proto(v))
    for v, t in graph.initializers.items():
        if v.const is not None:  # the others are inputs, and what a caller gives may be anything
            target.initializer.append(_visible(t, v.name))
    nodes = []
    for node in graph:
        value = node.output.const if node.op == "Constant" else None
        if value is not None and value.nbytes > _VISIBLE_BYTES:
            target.initializer.append(_visible(value, node.output.name))
        else:
            nodes.append(node_proto(node))
    target.node.extend(nodes)
    for v in graph.outputs:
        target.output.add(name=v.name)
    known = {v.name for node in graph if node.domain for v in node.outputs if v is not None}
    if known and graph.source is not None:
        target.value_info.extend([i for i in graph.source.value_info if i.name in known])


def _visible(tensor: Tensor, name: str) -> TensorProto:
    if tensor.nbytes <= _VISIBLE_BYTES and not tensor.is_external:
        return tensor.proto(name)
    return TensorProto(name=name, data_type=tensor.dtype, dims=tensor.dims)


def _assign(graph: Graph, inferred: GraphProto, parsed: dict[bytes, TypeInfo], suffix: str) -> bool:
    """Copy types from the inferred message; whether that told anything new.

    `parsed` remembers types by their bytes, since most are alike; `suffix` keeps the names that this inference made up for
    unknown dims apart from those of another.
    """
    types = {i.name: i.type.SerializeToString() for i in inferred.value_info}
    for i in inferred.output:
        types[i.name] = i.type.SerializeToString()
    news = False
    for node in graph:
        for v in node.outputs:
            if v is None or v.const is not None:
                continue
            message = types.get(v.name)
            if not message:
                continue
            info = parsed.get(message)
            if info is None:
                info = parsed[message] = _parse_type(TypeProto.FromString(message), suffix)
            if v.dtype or v.type is not None:
                shape = _merged(v.shape, info.shape)
                news = news or _knows_more(shape, v.shape)
                v.shape = shape
            else:
                v.dtype, v.shape, v.type = info
                news = True
    if not graph.holders:
        return news
    nested = {p.output[0]: p for p in inferred.node if p.output and p.attribute}
    for node in graph.holders:
        p = nested.get(node.outputs[0].name) if node.outputs and node.outputs[0] is not None else None
        if p is not None:
            graphs = [g for a in p.attribute for g in ([a.g] if a.HasField("g") else a.graphs)]
            for sub, g in zip(node.subgraphs, graphs, strict=False):
                news = _assign(sub, g, parsed, suffix) or news
    return news


def _merged(old: Shape | None, new: Shape | None) -> Shape | None:
    """What two inferences know together: numbers before the model's own names before names made up."""
    if old is None or new is None or len(old) != len(new):
        return old if new is None else new
    return tuple(
        q if not isinstance(p, int) and (isinstance(q, int) or (q is not None and (p is None or "@" in p))) else p
        for p, q in zip(old, new, strict=True)
    )


def _knows_more(new: Shape | None, old: Shape | None) -> bool:
    if new is None or old is None:
        return new is not None
    return any(isinstance(q, int) and not isinstance(p, int) for p, q in zip(old, new, strict=False))


def _parse_type(t: TypeProto, suffix: str = "") -> TypeInfo:
    if not t.HasField("tensor_type"):
        return TypeInfo(0, None, t)
    shape = read_shape(t.tensor_type.shape) if t.tensor_type.HasField("shape") else None
    if suffix and shape is not None:
        shape = tuple(d + suffix if isinstance(d, str) and d.startswith(_MADE_UP) else d for d in shape)
    return TypeInfo(t.tensor_type.elem_type, shape)


def _forget_anonymous(graph: Graph) -> None:
    for v in graph.inputs:
        if v.shape is not None and not ANONYMOUS.isdisjoint(v.shape):
            v.shape = tuple(None if d in ANONYMOUS else d for d in v.shape)


def type_proto(v: Value) -> TypeProto:
    """The type of a value as a message."""
    if v.type is not None:
        return v.type
    t = TypeProto()
    t.tensor_type.elem_type = v.dtype
    if v.shape is not None:
        t.tensor_type.shape.SetInParent()
        dims = t.tensor_type.shape.dim
        for d in v.shape:
            if d is None:
                dims.add()
            elif isinstance(d, int):
                dims.add().dim_value = d
            else:
                dims.add().dim_param = d
    return t


def infer_outputs(model: Model, node: Node, schema: OpSchema, opsets: dict[str, int]) -> list[TypeInfo]:
    """Types of the outputs of a node that is not in a graph yet.

    Raises ValueError where the operator's own inference refuses the inputs.
    """
    info = _elementwise(node, broadcasts=schema.since_version >= 7)
    if info is not None:
        return [info]
    inputs = node.inputs
    if any(v is not None and not v.dtype and v.type is None for v in inputs):
        return [UNKNOWN] * len(node.outputs)
    types: dict[str, TypeProto] = {}
    data: dict[str, TensorProto] = {}
    for v in inputs:
        if v is not None and v.name not in types:
            types[v.name] = type_proto(v)
            if v.const is not None and v.const.nbytes <= _VISIBLE_BYTES and not v.const.is_external:
                data[v.name] = v.const.proto(v.name)
    imports = [onnx.helper.make_opsetid(d, n) for d, n in opsets.items()]
    try:
        found: dict[str, Any] = shape_inference.infer_node_outputs(
            schema.proto,
            node_proto(node),
            types,
            input_data=data,
            opset_imports=imports,
            ir_version=max(model.ir_version, 8),
        )
    except Exception as e:
        raise ValueError(str(e).strip().splitlines()[-1] if str(e).strip() else repr(e)) from e
    out = []
    for v in node.outputs:
        t = found.get(v.name) if v is not None else None
        out.append(UNKNOWN if t is None else _parse_type(t))
    return out
