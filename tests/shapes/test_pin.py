"""Specialisation: dims of inputs become numbers, and the interface says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from graphopt import load
from graphopt.errors import ArgumentError
from graphopt.shapes import pin_inputs
from tests.ir import invariants
from tests.ir.building import parse

TEXT = "g (float[batch, 3, width] x, float[batch, K] y, float s) => (float[batch, 3, width] z) { z = Relu(x) }"


def pinned(shapes: dict[str, Any], text: str = TEXT, change: Any = None) -> tuple[dict[str, list[Any]], list[Any]]:
    """Shapes of inputs, and of the output, as the saved model declares them."""
    proto = parse(text)
    if change:
        change(proto)
    before = proto.SerializeToString(deterministic=True)
    m = load(proto)
    pin_inputs(m, shapes)
    invariants.check(m)
    out = m.proto
    onnx.checker.check_model(out)
    assert proto.SerializeToString(deterministic=True) == before, "what was passed in was changed"
    for v, i in zip(m.graph.inputs, out.graph.input, strict=True):
        assert v.shape is None or list(v.shape) == dims(i)
    return {i.name: dims(i) for i in out.graph.input}, dims(out.graph.output[0])


def dims(info: onnx.ValueInfoProto) -> list[Any]:
    return [d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in info.type.tensor_type.shape.dim]


def test_by_the_name_of_a_dim() -> None:
    inputs, output = pinned({"batch": 2})
    assert inputs == {"x": [2, 3, "width"], "y": [2, "K"], "s": []}
    assert output == [2, 3, "width"]


def test_by_the_shape_of_an_input() -> None:
    inputs, output = pinned({"x": (2, 3, 4)})
    assert inputs == {"x": [2, 3, 4], "y": [2, "K"], "s": []}
    assert output == [2, 3, 4]


def test_some_dims_of_an_input() -> None:
    inputs, output = pinned({"x": (None, None, 4), "y": [5, None], "s": ()})
    assert inputs == {"x": [5, 3, 4], "y": [5, "K"], "s": []}
    assert output == [5, 3, 4]


def test_both_ways() -> None:
    assert pinned({"batch": 2, "x": (2, 3, 4), "K": 0})[0] == {"x": [2, 3, 4], "y": [2, 0], "s": []}


def test_nothing() -> None:
    assert pinned({})[0] == {"x": ["batch", 3, "width"], "y": ["batch", "K"], "s": []}


def test_numbers_of_numpy() -> None:
    x = np.zeros((2, 3, 4))
    assert pinned({"x": x.shape, "K": np.int64(7)})[0]["y"] == [2, 7]
    assert pinned({"x": np.array(x.shape)})[0]["x"] == [2, 3, 4]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"z": (1,)}, "no input named 'z'"),
        ({"batsh": 1}, "no input has a dim named 'batsh'"),
        ({"x": (1, 3)}, "3 dims"),
        ({"x": (1, 4, 1)}, "dim 1 of 'x' is 3"),
        ({"x": (1, 3, 1), "batch": 2}, "'batch'"),
        ({"x": (1, 3, 1), "y": (2, 1)}, "'batch'"),
        ({"batch": -1}, "0 or more"),
        ({"x": (-1, 3, 1)}, "0 or more"),
        ({"x": (True, 3, 1)}, "0 or more"),
        ({"batch": True}, "0 or more"),
        ({"batch": 1.0}, "input_shapes"),
        ({"x": (1.0, 3, 1)}, "0 or more"),
        ({"x": "1,3,1"}, "input_shapes"),
        ({"x": None}, "input_shapes"),
        ({"s": (1,)}, "0 dims"),
        ({"batch": 1 << 70}, "input_shapes"),
    ],
)
def test_refused(shapes: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as e:
        pinned(shapes)
    assert "\n" not in str(e.value)


def test_dims_that_mean_unknown_are_not_one_dim() -> None:
    """Some exporters write '?' for every dim that they do not know."""

    def anonymous(proto: ModelProto) -> None:
        for info in (*proto.graph.input[:2], proto.graph.output[0]):
            for d in info.type.tensor_type.shape.dim:
                if d.dim_param:
                    d.dim_param = "?"

    inputs, _ = pinned({"x": (2, 3, 4)}, change=anonymous)
    assert inputs["x"] == [2, 3, 4]
    assert inputs["y"] == ["?", "?"]


def test_inputs_without_a_shape() -> None:
    def forget(proto: ModelProto) -> None:
        proto.graph.input[0].type.tensor_type.ClearField("shape")
        proto.graph.output[0].type.tensor_type.ClearField("shape")

    proto = parse(TEXT)
    forget(proto)
    m = load(proto)
    pin_inputs(m, {"x": (1, None, 3)})
    assert dims(m.proto.graph.input[0]) == [1, None, 3]
    assert m.graph.inputs[0].shape == (1, None, 3)
    assert not proto.graph.input[0].type.tensor_type.HasField("shape")


def test_inputs_that_are_no_tensors() -> None:
    text = "g (seq(float[N]) q, float[N] x) => (float[N] y) { y = Relu(x) }"
    with pytest.raises(ArgumentError, match="'q'"):
        pinned({"q": (1,)}, text)
    inputs, output = pinned({"N": 4}, text)
    assert (inputs["x"], output) == ([4], [4])


def test_what_else_an_input_says_is_kept() -> None:
    proto = parse(TEXT)
    info = proto.graph.input[0]
    info.doc_string = "about x"
    info.type.denotation = "IMAGE"
    info.type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    m = load(proto)
    pin_inputs(m, {"batch": 2})
    out = m.proto.graph.input[0]
    assert (out.doc_string, out.type.denotation) == ("about x", "IMAGE")
    dim = out.type.tensor_type.shape.dim[0]
    assert (dim.dim_value, dim.denotation, dim.dim_param) == (2, "DATA_BATCH", "")


def test_initializers_that_are_inputs() -> None:
    proto = parse("g (float[N] x, float[N] w) => (float[N] y) <float[2] w = {1, 2}> { y = Add(x, w) }")
    m = load(proto)
    pin_inputs(m, {"N": 2})
    invariants.check(m)
    assert [dims(i) for i in m.proto.graph.input] == [[2], [2]]


def test_the_word_of_a_dim_may_be_that_of_an_input() -> None:
    inputs, _ = pinned({"x": 5}, "g (float[x, 2] x) => (float[x, 2] y) { y = Relu(x) }")
    assert inputs["x"] == [5, 2]
    inputs, _ = pinned({"x": (6, 2)}, "g (float[x, 2] x) => (float[x, 2] y) { y = Relu(x) }")
    assert inputs["x"] == [6, 2]


def test_dtype_is_kept() -> None:
    m = load(parse("g (int64[N] x) => (int64[N] y) { y = Neg(x) }"))
    pin_inputs(m, {"N": 2})
    assert m.proto.graph.input[0].type == helper.make_tensor_type_proto(TensorProto.INT64, [2])
