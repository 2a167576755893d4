"""Attributes: from messages to Python values and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, GraphProto, NodeProto, helper, numpy_helper

from graphopt.ir import Reference, Tensor, load
from graphopt.ir.attributes import decode, encode, find_subgraph_messages
from tests.ir.building import everything

SPARSE = onnx.SparseTensorProto(dims=[4])
TYPE = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [1])
VALUES: list[Any] = [
    0,
    -5,
    1.5,
    "",
    "é",
    b"\xff",
    [1, 2],
    [0.5],
    ["a", ""],
    ["a", b"\xff"],
    SPARSE,
    [SPARSE],
    TYPE,
    [TYPE],
]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_there_and_back(value: Any) -> None:
    a = encode(AttributeProto(), "a", value)
    assert a.name == "a"
    assert decode(a, iter(()), "") == value
    raw = [v.encode() if isinstance(v, str) else v for v in value] if isinstance(value, list) else value
    assert a == helper.make_attribute("a", raw)


@pytest.mark.parametrize("many", [False, True])
def test_tensors(many: bool) -> None:
    tensor = numpy_helper.from_array(np.arange(3), "name")
    a = helper.make_attribute("a", [tensor] if many else tensor)
    value = decode(a, iter(()), "")
    assert (value[0] if many else value).numpy().tolist() == [0, 1, 2]
    assert encode(AttributeProto(), "a", value) == a
    made = encode(AttributeProto(), "a", Tensor(array=np.float32([1])))
    assert numpy_helper.to_array(made.t).tolist() == [1]


def test_references() -> None:
    a = AttributeProto(name="a", ref_attr_name="b", type=AttributeProto.INT)
    assert decode(a, iter(()), "") == Reference("b", AttributeProto.INT)
    assert encode(AttributeProto(), "a", Reference("b", AttributeProto.INT)) == a


@pytest.mark.parametrize(
    ("field", "value"), [("f", 0.5), ("i", 3), ("s", b"x"), ("floats", [0.5]), ("ints", [1]), ("strings", [b"x"])]
)
def test_attributes_without_a_type(field: str, value: Any) -> None:
    a = AttributeProto(name="a")
    if isinstance(value, list):
        getattr(a, field).extend(value)
    else:
        setattr(a, field, value)
    expected = "x" if field == "s" else ["x"] if field == "strings" else value
    assert decode(a, iter(()), "") == expected


def test_booleans_are_numbers() -> None:
    a = encode(AttributeProto(), "a", True)
    assert (a.type, a.i) == (AttributeProto.INT, 1)


def test_graphs_are_found_in_the_order_of_the_attributes() -> None:
    node = NodeProto(op_type="X")
    node.attribute.append(helper.make_attribute("one", helper.make_graph([], "g1", [], [])))
    node.attribute.append(helper.make_attribute("number", 1))
    node.attribute.append(helper.make_attribute("two", [helper.make_graph([], f"g{i}", [], []) for i in (2, 3)]))
    node.attribute.add(name="none", type=AttributeProto.GRAPHS)
    node.attribute.add(name="ref", type=AttributeProto.GRAPH, ref_attr_name="r")
    untyped = node.attribute.add(name="untyped")
    untyped.g.CopyFrom(GraphProto(name="g4"))
    found = find_subgraph_messages(node)
    assert [g.name for g in found] == ["g1", "g2", "g3", "g4"]
    graphs = iter(found)
    decoded = {a.name: decode(a, graphs, "") for a in node.attribute}
    assert [g.name for g in decoded["two"]] == ["g2", "g3"]
    assert decoded["untyped"].name == "g4"
    assert decoded["none"] == []


def test_attributes_of_nodes() -> None:
    m = load(everything())
    opaque = next(n for n in m.graph if n.op == "my.domain::Opaque" and n.attributes)
    values = opaque.attributes
    assert values["a0"] == 1
    assert values["a3"] == b"\xff\xfe"
    assert isinstance(values["a_tensor"], Tensor)
    assert [g.name for g in opaque.subgraphs] == ["Add_branch", "Add_branch", "Mul_branch"]
    assert values["a12"] is opaque.subgraphs[0]
    assert values["a13"] == opaque.subgraphs[1:]
    assert values["empty_FLOATS"] == []
    assert opaque.attributes is values
