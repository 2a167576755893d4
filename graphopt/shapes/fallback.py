"""ONNX's own inference for one node: for operators that the installed onnx has and the table has not."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import TensorProto, TypeProto, shape_inference

from graphopt.ir import Model, Node, OpSchema
from graphopt.ir.messages import node_proto
from graphopt.shapes.types import UNKNOWN, TypeInfo, type_info, type_proto

#: Constants up to this many bytes are shown to the inference: shapes, axes, pads, scales.
_VISIBLE_BYTES = 1024
#: How the names begin that it gives to dims it knows nothing about.
_MADE_UP = "unk__"


def infer_by_onnx(model: Model, node: Node, schema: OpSchema) -> list[TypeInfo]:
    """Types of a node's outputs. Raises ValueError where the operator's own inference refuses the inputs."""
    if any(v is not None and not v.dtype and v.type is None for v in node.inputs):
        return [UNKNOWN] * len(node.outputs)
    types: dict[str, TypeProto] = {}
    data: dict[str, TensorProto] = {}
    for v in node.inputs:
        if v is not None and v.name not in types:
            types[v.name] = type_proto(v)
            if v.const is not None and v.const.nbytes <= _VISIBLE_BYTES and not v.const.is_external:
                data[v.name] = v.const.proto(v.name)
    graph = node.graph or model.graph
    imports = [onnx.helper.make_opsetid(d, n) for d, n in graph.opsets.items()]
    try:
        found: dict[str, Any] = shape_inference.infer_node_outputs(
            schema.proto,
            node_proto(node),
            types,
            input_data=data,
            opset_imports=imports,
            ir_version=max(model.ir_version, 8),
        )
    except Exception as e:  # the inference raises many types
        raise ValueError(str(e).strip().splitlines()[-1] if str(e).strip() else repr(e)) from e
    out = []
    for v in node.outputs:
        t = found.get(v.name) if v is not None else None
        info = UNKNOWN if t is None else type_info(t)
        if info.shape is not None:
            shape = tuple([None if isinstance(d, str) and d.startswith(_MADE_UP) else d for d in info.shape])
            info = info._replace(shape=shape)
        out.append(info)
    return out
