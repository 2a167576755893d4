"""Operators that a runtime lacks, written out as the functions by which ONNX defines them, at the opset that a model is at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from onnx import IR_VERSION, FunctionProto, ModelProto, TensorProto, checker, helper, shape_inference

from graphopt.errors import ModelError, OpsetError
from graphopt.ir import Model, Node, OpSchema, load
from graphopt.ir.messages import node_proto
from graphopt.passes.opset.convert import OLDEST, Conversion, expand, lead
from graphopt.passes.opset.functions import body_of
from graphopt.passes.opset.site import Workshop
from graphopt.passes.opset.transitions import Cannot
from graphopt.shapes.types import type_proto

_WORDS = Cannot("it is defined by words")


def write_out(model: Model, nodes: Iterable[Node], wanted: Callable[[FunctionProto], bool]) -> Counter[str]:
    """Put the functions that define their operators in the place of nodes of an inferred model; how many of each operator.

    A node stays where its operator has no function that `stands_for` it, or none that is `wanted`.
    """
    shop = Workshop(model, _versions(model), typed=True)
    done: Counter[str] = Counter()
    for node in nodes:
        schema = model.schema(node)
        version = 0 if node.graph is None else node.graph.opsets.get(node.domain, 0)
        function = None if schema is None else stands_for(node, schema, version)
        if schema is None or function is None or not wanted(function):
            continue
        _expand_and_lead(shop, node, schema, version)
        done[node.op] += 1
    return done


def stands_for(node: Node, schema: OpSchema, version: int) -> FunctionProto | None:
    """The function of a node's operator, where it gives valid nodes for what the node reads, and the same values.

    Some hold for a part of the dtypes that their operators take, some count in float whatever they are given. So each is tried
    on a model of the node alone, and none stands for nodes that read or give float64.
    """
    function = body_of(node, schema, version)
    around = (*node.inputs, *node.outputs)
    if function is None or any(v is not None and v.dtype == TensorProto.DOUBLE for v in around):
        return None
    proto = ModelProto(ir_version=IR_VERSION, opset_import=[helper.make_opsetid("", version)])
    proto.graph.name = node.op_type
    proto.graph.node.append(node_proto(node))
    inputs = dict.fromkeys(v for v in node.inputs if v is not None)
    proto.graph.input.extend(helper.make_value_info(v.name, type_proto(v)) for v in inputs)
    proto.graph.output.extend(helper.make_value_info(v.name, type_proto(v)) for v in node.outputs if v is not None)
    try:
        alone = load(proto)
        _expand_and_lead(Workshop(alone, _versions(alone), typed=True), next(iter(alone.graph)), schema, version)
        checker.check_model(alone.proto, full_check=True)
    except (Cannot, ModelError, OpsetError, checker.ValidationError, shape_inference.InferenceError):
        return None
    return function


def _versions(model: Model) -> dict[str, int]:
    return {d: v for d, v in model.opsets.items() if d in OLDEST}


def _expand_and_lead(shop: Workshop, node: Node, schema: OpSchema, version: int) -> None:
    expand(shop, node, schema, version, _WORDS)
    while shop.pending:
        n, v = shop.pending.popleft()
        if n.graph is not None:
            lead(shop, n, v, Conversion({}, {}), original=False)
