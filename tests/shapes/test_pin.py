"""Specialisation: dims of inputs become numbers, and the interface says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

import graphopt
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


# ---------------------------------------------------------------------------------------------- dims that are expressions
CACHE = """g (float[batch, seq, 8] x, float[batch, past, 8] k, float[batch, whole] mask, float[half] h) => (float[batch, whole, 8] y, float[half] z) {
    y = Concat<axis=1>(k, x) z = Relu(h) n = Neg(mask)
}"""


def with_expressions(proto: ModelProto, whole: str = "past + seq", half: str = "floor(seq/2) + 1") -> None:
    """Put in what the text form of a model has no room for."""
    for info in (*proto.graph.input, *proto.graph.output):
        for d in info.type.tensor_type.shape.dim:
            if d.dim_param:
                d.dim_param = {"whole": whole, "half": half}.get(d.dim_param, d.dim_param)


def expressed(shapes: dict[str, Any], **spellings: str) -> dict[str, list[Any]]:
    """Shapes of the inputs and the first output."""
    inputs, output = pinned(shapes, CACHE, lambda proto: with_expressions(proto, **spellings))
    return {**inputs, "y": output}


def test_expressions_follow() -> None:
    found = expressed({"past": 2, "seq": 5})
    assert found["mask"] == ["batch", 7]
    assert found["h"] == [3]
    assert found["y"] == ["batch", 7, 8]
    assert expressed({"k": (1, 0, 8), "x": (1, 3, 8)})["y"] == [1, 3, 8]


def test_expressions_follow_as_far_as_they_are_known() -> None:
    found = expressed({"seq": 1})
    assert found["mask"] == ["batch", "past + 1"]
    assert found["y"] == ["batch", "past + 1", 8]
    assert found["h"] == [1]
    assert expressed({"batch": 1})["mask"] == [1, "past + seq"], "what has nothing to do with it is spelt as it was"


@pytest.mark.parametrize(
    ("spelling", "size"),
    [("past+seq", 7), ("seq*past", 10), ("Max(past, seq)", 5), ("(seq//2)", 2), ("CeilDiv(seq, 2)", 3), ("seq**2", 25), ("seq - past", 3), ("7", "7")],
)  # fmt: skip
def test_spellings(spelling: str, size: Any) -> None:
    assert expressed({"past": 2, "seq": 5}, whole=spelling)["mask"] == ["batch", size]


@pytest.mark.parametrize(
    "spelling", ["past + more", "past seq", "seq +", "__import__('os')", "9**9**9*seq", "seq/past", "f(seq)"]
)
def test_what_is_no_expression_of_other_dims_is_a_name(spelling: str) -> None:
    found = expressed({"past": 2, "seq": 5}, whole=spelling)
    assert found["mask"] == ["batch", spelling]
    assert expressed({spelling: 4, "seq": 5}, whole=spelling)["mask"] == ["batch", 4]


def test_expressions_may_be_pinned_themselves() -> None:
    found = expressed({"past + seq": 9})
    assert (found["mask"], found["y"], found["x"]) == (["batch", 9], ["batch", 9, 8], ["batch", "seq", 8])
    assert expressed({"mask": (1, 9)})["y"] == [1, 9, 8]
    assert expressed({"past + seq": 9, "past": 4, "seq": 5})["y"] == ["batch", 9, 8]


@pytest.mark.parametrize(
    "shapes",
    [
        {"past": 2, "seq": 5, "past + seq": 8}, {"past + seq": 8, "seq": 5, "past": 2}, {"past": 2, "seq": 5, "mask": (1, 8)},
        {"x": (1, 5, 8), "k": (1, 2, 8), "mask": (1, 8)}, {"seq": 5, "h": (4,)},
    ],
)  # fmt: skip
def test_expressions_that_contradict(shapes: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="cannot become|already"):
        expressed(shapes)


@pytest.mark.parametrize("shapes", [{"past + seq": 9, "past": 4}, {"mask": (1, 9), "past": 4}])
def test_pins_of_expressions_are_kept(shapes: dict[str, Any]) -> None:
    found = expressed(shapes)
    assert (found["mask"][1], found["y"][1]) == (9, 9)


@pytest.mark.parametrize(
    ("whole", "shapes"), [("seq - 5", {"seq": 3}), ("seq/2", {"seq": 3}), ("past + seq", {"seq": 5, "past + seq": 4})]
)
def test_expressions_that_become_no_size(whole: str, shapes: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        expressed(shapes, whole=whole)


def test_inference_knows_what_an_expression_is() -> None:
    proto = parse(CACHE)
    with_expressions(proto)
    for shapes, concat in (({}, "past + seq"), ({"seq": 1}, "past + 1"), ({"seq": 1, "past": 3}, "4")):
        m = graphopt.infer_shapes(proto, input_shapes=shapes)
        found = {v.name: v.shape for n in m.graph for v in n.outputs if v is not None}
        assert str(found["n"][1]) == str(found["y"][1]) == concat


# ------------------------------------------------------------------------------------------- pins with which nothing runs
IMPOSSIBLE = "g (float[N, K] x, float[3, 4] w) => (float[A, B] y) { a = Relu(x) y = MatMul(a, w) }"


@pytest.mark.parametrize("of_model", [graphopt.optimize, graphopt.infer_shapes])
@pytest.mark.parametrize(
    ("text", "shapes", "node"),
    [
        (IMPOSSIBLE, {"K": 5}, "y"),
        (IMPOSSIBLE, {"x": (1, 2)}, "y"),
        (IMPOSSIBLE.replace("y = MatMul", "[product] y = MatMul"), {"K": 5}, "product"),
        ("g (float[N, 2] x, float[M, 3] z) => (float[A, B] y) { [join] y = Concat<axis=1>(x, z) }", {"N": 2, "M": 3}, "join"),
        ("g (float[N] x, float[M] z) => (float[A] y) { a = Neg(x) b = Add(a, z) y = Abs(b) }", {"x": (2,), "z": (3,)}, "b"),
        ("g (float[N] x) => (float[A] y, float[B] z) { [halves] y, z = Split<axis=0>(x) }", {"N": 3}, "halves"),
    ],
)  # fmt: skip
def test_a_node_that_cannot_run_any_more(of_model: Any, text: str, shapes: dict[str, Any], node: str) -> None:
    proto = parse(text)
    of_model(proto)
    with pytest.raises(ArgumentError, match=f"'{node}'") as e:
        of_model(proto, input_shapes=shapes)
    assert "\n" not in str(e.value)
    assert str(e.value).startswith("input_shapes: ")


@pytest.mark.parametrize(("shape", "size"), [("2, -1", 5), ("2, 3", 5), ("1, 6", 12)])
def test_a_reshape_that_cannot_run_any_more(shape: str, size: int) -> None:
    """As exported for one batch size, with the numbers of it inside."""
    proto = parse(f"g (float[N] x) => (float[A, B] y) <int64[2] s = {{{shape}}}> {{ [fold] y = Reshape(x, s) }}")
    with pytest.raises(ArgumentError, match="'fold'"):
        graphopt.infer_shapes(proto, input_shapes={"N": size})


@pytest.mark.parametrize("of_model", [graphopt.optimize, graphopt.infer_shapes])
@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        (IMPOSSIBLE, {"K": 3}),
        (IMPOSSIBLE, {"N": 0}),
        ("g (float[N] x, float[M] z) => (float[A] y) { y = Add(x, z) }", {"N": 1, "M": 3}),
        ("g (float[N] x, float[M] z) => (float[A] y) { y = Add(x, z) }", {"N": 1, "M": 0}),
    ],
)
def test_shapes_with_which_it_runs(of_model: Any, text: str, shapes: dict[str, Any]) -> None:
    of_model(parse(text), input_shapes=shapes)


@pytest.mark.parametrize("of_model", [graphopt.optimize, graphopt.infer_shapes])
def test_a_node_that_could_never_run_is_not_the_fault_of_pins(of_model: Any) -> None:
    text = "g (float[N, K] x, float[3, 4] w) => (float[A, B] y, float[C] z) { y = Relu(x) z = MatMul(w, w) }"
    of_model(parse(text, check=False), input_shapes={"K": 5})


@pytest.mark.parametrize("of_model", [graphopt.optimize, graphopt.infer_shapes])
def test_a_branch_need_not_run(of_model: Any) -> None:
    """Where nobody knows which branch is taken, one of them may be impossible."""
    text = """g (bool c, float[N, K] x, float[3, 4] w) => (y) {
        y = If (c) <then_branch = t () => (float[E, F] t_out) { t_out = MatMul(x, w) }, else_branch = e () => (float[G, H] e_out) { e_out = Neg(x) }>
    }"""
    of_model(parse(text, check=False), input_shapes={"K": 5})
