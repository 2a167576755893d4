"""From the graph to messages. Untouched nodes and weights go out as the messages they came in as."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from graphopt.ir.attributes import encode, graph_messages
from graphopt.ir.graph import Graph
from graphopt.ir.model import Model
from graphopt.ir.node import Node
from graphopt.ir.schema import op_schema


def to_proto(model: Model) -> ModelProto:
    """The model as a message; nothing in it is shared with the message that it came from."""
    proto = header(model)
    fill_graph(proto.graph, model.graph)
    proto.graph.initializer.extend(_initializers(model.graph))
    return proto


def header(model: Model) -> ModelProto:
    """Everything but the main graph."""
    proto = ModelProto()
    for field, value in model.source.ListFields():
        if field.name in ("graph", "functions", "opset_import"):
            continue
        if isinstance(value, (int, str, bytes, float)):
            setattr(proto, field.name, value)
        else:
            getattr(proto, field.name).MergeFrom(value)
    proto.ir_version = model.ir_version
    _fill_opsets(proto.opset_import, model.source.opset_import, model.opsets)
    for f in model.functions.values():
        target = proto.functions.add()
        if not f.graph.touched:
            target.CopyFrom(f.source)
            continue
        for field, value in f.source.ListFields():
            if field.name in ("node", "opset_import", "input", "output"):
                continue
            if isinstance(value, (int, str, bytes, float)):
                setattr(target, field.name, value)
            else:
                getattr(target, field.name).MergeFrom(value)
        _fill_opsets(target.opset_import, f.source.opset_import, f.graph.opsets)
        target.input.extend([v.name for v in f.graph.inputs])
        target.output.extend([v.name for v in f.graph.outputs])
        target.node.extend([node_proto(n) for n in f.graph])
    return proto


def _fill_opsets(target: Any, source: Any, opsets: dict[str, int]) -> None:
    left = dict(opsets)
    for o in source:
        domain = "" if o.domain == "ai.onnx" else o.domain
        if domain in left:
            target.append(o)
            target[-1].version = left.pop(domain)
    for domain, version in left.items():
        target.add(domain=domain, version=version)


def fill_graph(target: GraphProto, graph: Graph) -> None:
    """Everything but the dense initializers."""
    source = graph.source
    if graph.name or source is None or source.HasField("name"):
        target.name = graph.name
    if source is not None:
        if source.HasField("doc_string"):
            target.doc_string = source.doc_string
        target.metadata_props.extend(source.metadata_props)
        target.sparse_initializer.extend(source.sparse_initializer)
    target.node.extend([n._proto if not n.stale else node_proto(n) for n in graph])
    target.input.extend([graph.input_infos[v] for v in graph.inputs])
    target.output.extend(graph.output_infos)
    if graph.owner is not None and graph.touched:  # names inside a body may change
        for info, v in zip([*target.input, *target.output], [*graph.inputs, *graph.outputs], strict=True):
            info.name = v.name
    if graph.value_infos is not None:
        target.value_info.extend(graph.value_infos)
        if source is not None:
            target.quantization_annotation.extend(source.quantization_annotation)
    elif source is not None and not graph.touched:
        target.value_info.extend(source.value_info)
        target.quantization_annotation.extend(source.quantization_annotation)
    elif source is not None and (source.value_info or source.quantization_annotation):
        here = {v.name for n in graph for v in n.outputs if v is not None} | {v.name for v in graph.initializers}
        target.value_info.extend([i for i in source.value_info if i.name in here])
        here |= {v.name for v in graph.inputs}
        target.quantization_annotation.extend([q for q in source.quantization_annotation if q.tensor_name in here])


def _initializers(graph: Graph) -> Iterator[TensorProto]:
    for v, tensor in graph.initializers.items():
        yield tensor.proto(v.name)


def node_proto(node: Node) -> NodeProto:
    """The message of a node, made anew where something about it changed."""
    if not node.stale and node._proto is not None:
        return node._proto
    p = NodeProto(op_type=node.op_type)
    for field in ("name", "domain", "overload"):
        if text := getattr(node, field):
            setattr(p, field, text)
    p.input.extend([v.name if v is not None else "" for v in node.inputs])
    p.output.extend([v.name if v is not None else "" for v in node.outputs])
    source = node._proto
    if source is not None:
        for field in ("name", "domain", "doc_string"):
            if source.HasField(field) and not getattr(p, field):
                setattr(p, field, getattr(source, field))
        p.metadata_props.extend(source.metadata_props)
        if hasattr(source, "device_configurations"):  # from onnx 1.18 on
            p.device_configurations.extend(source.device_configurations)
    read = {a.name: a for a in source.attribute} if source is not None else {}
    if node._attributes is None:
        graphs = iter(node.subgraphs)
        for a in read.values():
            _copy_attribute(p.attribute.add(), a, [next(graphs) for _ in graph_messages(a)])
        return p
    version = node.graph.opsets.get(node.domain) if node.graph is not None else None
    schema = op_schema(node.op_type, version, node.domain) if version else None
    for name, value in node.attributes.items():
        held = [g for g in (value if isinstance(value, list) else [value]) if isinstance(g, Graph)]
        if name in read:
            _copy_attribute(p.attribute.add(), read[name], held)
        elif held:
            kind = AttributeProto.GRAPHS if isinstance(value, list) else AttributeProto.GRAPH
            _encode_graphs(p.attribute.add(), name, held, kind)
        else:
            a = encode(p.attribute.add(), name, value)
            if isinstance(value, list) and not value and schema is not None and name in schema.attributes:
                a.type = cast(AttributeProto.AttributeType, schema.attributes[name].type)
    return p


def _copy_attribute(target: AttributeProto, source: AttributeProto, graphs: list[Graph]) -> None:
    """An attribute as it was read, with its subgraphs as they are now."""
    if not graphs:
        target.CopyFrom(source)
        return
    _encode_graphs(target, source.name, graphs, AttributeProto.GRAPHS if source.graphs else AttributeProto.GRAPH)
    if source.doc_string:
        target.doc_string = source.doc_string


def _encode_graphs(a: AttributeProto, name: str, graphs: list[Graph], kind: AttributeProto.AttributeType) -> None:
    a.name, a.type = name, kind
    for g in graphs:
        target = a.g if kind == AttributeProto.GRAPH else a.graphs.add()
        if not g.touched and g.source is not None:
            target.CopyFrom(g.source)
        else:
            fill_graph(target, g)
            target.initializer.extend(_initializers(g))
