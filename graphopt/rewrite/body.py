"""The body of a function as nodes. Dtypes are those of the call, so constants are cast to that of the operand beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import FunctionProto, ModelProto, helper

from graphopt.errors import RuleError
from graphopt.ir import Graph, Model, Reference, Tensor, Value
from graphopt.ir.attributes import encode
from graphopt.ir.messages import node_proto
from graphopt.ir.model import NEWEST_IR
from graphopt.rewrite.definition import ATTRIBUTES, Definition, Parameter
from graphopt.rewrite.replacement import Builder
from graphopt.rewrite.terms import Call, Leaf


def write_body(definition: Definition, opsets: dict[str, int]) -> tuple[FunctionProto, tuple[Definition, ...]]:
    """See `Definition.proto`."""
    model = Model(ModelProto(ir_version=NEWEST_IR, opset_import=[helper.make_opsetid(*o) for o in opsets.items()]))
    graph = Graph(model, definition.name, opsets=dict(opsets))
    graph.inputs = [Value(name, graph) for name in definition.inputs]
    model._names = set(definition.inputs)
    values: dict[str, Any] = {v.name: Leaf(v) for v in graph.inputs}
    values |= {n: Parameter(n, definition.kinds[n].attr) for n in definition.attributes}
    body = _Body(model, graph, definition)
    outputs = [body.value(r) for r in definition.results(values)]
    imported = {n.domain: opsets.get(n.domain, 1) for n in body.out.nodes} | dict(body.out.domains)
    proto = FunctionProto(name=definition.name, domain=definition.domain, doc_string=definition.doc)
    proto.input.extend([v.name for v in graph.inputs])
    proto.output.extend([v.name for v in outputs])
    proto.attribute.extend([n for n in definition.attributes if n not in definition.defaults])
    for name, value in definition.defaults.items():
        encode(proto.attribute_proto.add(), name, value)
    proto.node.extend([node_proto(n) for n in body.out.nodes])
    proto.opset_import.extend([helper.make_opsetid(*o) for o in sorted(imported.items())])
    if len(set(proto.output)) < len(proto.output):
        raise RuleError(f"function '{definition.domain}::{definition.name}' gives one value twice")
    return proto, tuple(body.needed)


class _Body(Builder):
    """Builds the nodes of a body."""

    def __init__(self, model: Model, graph: Graph, definition: Definition) -> None:
        super().__init__(model, graph, definition, definition.name)
        self.needed: list[Definition] = []

    def is_value(self, a: Any) -> bool:
        return super().is_value(a) and not isinstance(a, Parameter)

    def operand(self, a: Any, dtype: int | None, beside: Value | None) -> Value:
        """A constant, or an attribute of the call, with the dtype of the operand beside it."""
        if isinstance(a, Parameter):
            made = self.value(Call("Constant", (), {f"value_{_field(a)}": a}))
        else:
            array = np.asarray(a)
            if dtype:
                array = self._as_dtype(a, dtype)
            elif array.dtype == np.float64 and np.array_equal(array.astype(np.float32), array, equal_nan=True):
                array = array.astype(np.float32)
            made = self.value(Call("Constant", (), {"value": Tensor(array=array)}))
        if dtype is None and beside is not None:
            return self.value(Call("CastLike", (Leaf(made), Leaf(beside))))
        if dtype and made.dtype and made.dtype != dtype:
            return self.value(Call("Cast", (Leaf(made),), {"to": dtype}))
        return made

    def attribute(self, value: Any, kind: int) -> Any:
        """Attributes of the function become references to those of the call."""
        if isinstance(value, Parameter):
            own = ATTRIBUTES[value.attr][0]
            if kind and own != kind:
                raise RuleError(f"attribute '{value.name}' is of another kind than the one that it is given as")
            return Reference(value.name, own)
        return super().attribute(value, kind)

    def _define(self, definition: Definition) -> None:
        self.needed.append(definition)


def _field(p: Parameter) -> str:
    return {"str": "string"}.get(p.attr, p.attr)
