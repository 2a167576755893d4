"""Nodes that compute the same become one."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from graphopt import load
from graphopt.ir import Model
from graphopt.passes import merge_common_subexpressions
from graphopt.rewrite import Ledger
from graphopt.shapes import infer_model
from tests.ir import invariants
from tests.ir.building import ops, parse, run, same_bits, with_constants


def merge(model: ModelProto, feeds: dict[str, Any] | None = None) -> tuple[Model, int]:
    before = model.SerializeToString(deterministic=True)
    m = load(model)
    infer_model(m)
    ledger = Ledger()
    merged = merge_common_subexpressions(m, ledger)
    invariants.check(m)
    onnx.checker.check_model(m.proto)
    assert model.SerializeToString(deterministic=True) == before
    assert merged == len(ledger.steps)
    assert list(m.proto.graph.output) == list(model.graph.output)
    assert merge_common_subexpressions(m, Ledger()) == 0
    if feeds is not None:
        assert same_bits(run(m, **feeds), run(model, **feeds))
    return m, merged


X = np.float32([[-1, 2], [3, 0.5]])


def text(lines: str, outputs: str = "y") -> str:
    outs = ", ".join(f"float[2, 2] {o}" for o in outputs.split())
    return f"g (float[2, 2] x, float[2, 2] z) => ({outs}) {{ {lines} }}"


def test_the_same_node_twice() -> None:
    m, merged = merge(parse(text("a = Relu(x) b = Relu(x) y = Sub(a, b)")), {"x": X, "z": X})
    assert merged == 1
    assert [list(n.input) for n in m.proto.graph.node] == [["x"], ["a", "a"]]


def test_chains_of_duplicates_in_one_walk() -> None:
    lines = "a = Relu(x) b = Relu(x) c = Neg(a) d = Neg(b) e = Abs(c) f = Abs(d) y = Sub(e, f)"
    assert ops(merge(parse(text(lines)), {"x": X, "z": X})[0]) == ["Relu", "Neg", "Abs", "Sub"]


def test_three_of_a_kind() -> None:
    assert merge(parse(text("a = Relu(x) b = Relu(x) c = Relu(x) y = Sum(a, b, c)")), {"x": X, "z": X})[1] == 2


@pytest.mark.parametrize(
    "lines",
    [
        "a = Relu(x) b = Relu(z) y = Sub(a, b)",
        "a = Sub(x, z) b = Sub(z, x) y = Mul(a, b)",
        "a = Softmax<axis=0>(x) b = Softmax<axis=1>(x) y = Sub(a, b)",
        "a = LeakyRelu<alpha=0.1>(x) b = LeakyRelu<alpha=0.2>(x) y = Sub(a, b)",
        "a = Transpose<perm=[0, 1]>(x) b = Transpose<perm=[1, 0]>(x) y = Sub(a, b)",
        "a = Relu(x) b = Abs(x) y = Sub(a, b)",
        "a = RandomNormalLike(x) b = RandomNormalLike(x) y = Sub(a, b)",
        "a = RandomNormalLike<seed=1.0>(x) b = RandomNormalLike<seed=1.0>(x) y = Sub(a, b)",
        "a = Bernoulli(x) b = Bernoulli(x) y = Sub(a, b)",
        "a = my.Foo(x) b = my.Foo(x) y = Sub(a, b)",
        "a = my.Relu(x) b = Relu(x) y = Sub(a, b)",
    ],
)
def test_what_is_not_the_same(lines: str) -> None:
    assert merge(parse(text(lines), imports=', "my": 1'))[1] == 0


def test_dropout_may_draw_numbers() -> None:
    model = with_constants(
        text("a, m = Dropout(x, r, t) b, n = Dropout(x, r, t) y = Sub(a, b)"), r=np.float32(0.5), t=np.array(True)
    )
    assert merge(model)[1] == 0


def test_the_order_of_attributes_does_not_matter() -> None:
    model = parse(text("a = Gemm<alpha=0.5, beta=2.0>(x, z) b = Gemm<beta=2.0, alpha=0.5>(x, z) y = Sub(a, b)"))
    assert merge(model, {"x": X, "z": X})[1] == 1


def test_attributes_of_every_kind() -> None:
    tensors = [
        numpy_helper.from_array(np.float32([v]), n)
        for v, n in ((0.0, "p"), (-0.0, "q"), (0.0, "r"), (np.nan, "s"), (np.nan, "t"))
    ]

    def merged(*values: Any, **kwargs: Any) -> int:
        model = parse(text("y = Identity(x)"), check=False)
        del model.graph.node[:]
        op, name, inputs = kwargs.get("op", "ConstantOfShape"), kwargs.get("name", "value"), kwargs.get("inputs", ["k"])
        model.graph.initializer.append(numpy_helper.from_array(np.array([2, 2]), "k"))
        for i, v in enumerate(values):
            model.graph.node.append(helper.make_node(op, inputs, [f"v{i}"], **{name: v}))
        model.graph.node.append(helper.make_node("Sum", [f"v{i}" for i in range(len(values))], ["y"]))
        return merge(model)[1]

    assert merged(tensors[0], tensors[2]) == 1, "names of tensors do not matter"
    assert merged(tensors[0], tensors[1]) == 0, "0.0 and -0.0 differ"
    assert merged(tensors[3], tensors[4]) == 1, "NaNs of the same bits are the same"
    leaky = {"op": "LeakyRelu", "name": "alpha", "inputs": ["x"]}
    assert merged(0.5, 0.5, **leaky) == 1
    assert merged(0.0, -0.0, **leaky) == 0
    assert merged(float("nan"), float("nan"), **leaky) == 1


def test_a_list_of_one_is_no_number() -> None:
    model = parse(text("a = my.Foo(x) y = Identity(a)"), imports=', "my": 1')
    assert merge(model)[1] == 0


def test_left_out_inputs() -> None:
    model = with_constants(
        text("a = Clip(x, lo, hi) b = Clip(x, lo, hi) c = Clip(x, lo) y = Sum(a, b, c)"),
        lo=np.float32(0),
        hi=np.float32(6),
    )
    for node in model.graph.node[:2]:
        node.input[1] = ""
    m, merged = merge(model, {"x": X, "z": X})
    assert merged == 1
    assert ops(m) == ["Clip", "Clip", "Sum"]


def test_several_outputs() -> None:
    lines = "a, b = TopK(x, k) c, d = TopK(x, k) e = Cast<to=1>(b) f = Cast<to=1>(d) y = Sum(a, c, e, f)"
    m, merged = merge(with_constants(text(lines), k=np.array([2])), {"x": X, "z": X})
    assert merged == 2
    assert ops(m) == ["TopK", "Cast", "Sum"]


def test_outputs_that_only_one_of_them_has() -> None:
    """A MaxPool that gives indices as well is another node; it may still give them if asked."""
    model = parse(
        "g (float[1,1,4,4] x) => (float[1,1,2,2] y, int64[1,1,2,2] i) { a = MaxPool<kernel_shape=[3,3]>(x) b, i = MaxPool<kernel_shape=[3,3]>(x) y = Sub(a, b) }"
    )
    m, _ = merge(model)
    assert [o.name for o in m.proto.graph.output] == ["y", "i"]


def test_a_left_out_output_of_the_first() -> None:
    gru = "g (float[2,1,3] x, float[1,6,3] w, float[1,6,2] r) => (float[2,1,1,2] y, float[1,1,2] h) { %s }"
    model = parse(gru % "a, h = GRU<hidden_size=2>(x, w, r) y, c = GRU<hidden_size=2>(x, w, r)")
    model.graph.node[0].output[0] = ""
    m, merged = merge(model)
    assert merged == 0
    assert ops(m) == ["GRU", "GRU"]


def test_outputs_of_the_model_are_never_merged() -> None:
    m, merged = merge(parse(text("y = Relu(x) w = Relu(x)", "y w")), {"x": X, "z": X})
    assert merged == 0
    assert ops(m) == ["Relu", "Relu"]
    m, merged = merge(parse(text("y = Relu(x) a = Relu(x) w = Neg(a)", "y w")), {"x": X, "z": X})
    assert merged == 1
    assert ops(m) == ["Relu", "Neg"]


def test_an_output_that_comes_second() -> None:
    m, _ = merge(parse(text("a = Relu(x) y = Relu(x) w = Neg(a)", "y w")), {"x": X, "z": X})
    assert [o.name for o in m.proto.graph.output] == ["y", "w"]


def test_readers_in_branches() -> None:
    model = parse(
        """g (bool c, float[2, 2] x) => (float[2, 2] y) {
            a = Relu(x) b = Relu(x) d = Neg(a)
            z = If (c) <then_branch = t () => (float[2, 2] u) { u = Neg(b) }, else_branch = e () => (float[2, 2] v) { v = Abs(x) w = Abs(x) }>
            y = Add(z, d)
        }"""
    )
    for c in (True, False):
        m, merged = merge(model, {"c": np.array(c), "x": X})
        assert merged == 2
    assert b"b" not in [i.encode() for n in m.nodes() for v in n.inputs if v for i in [v.name]]


def test_nothing_is_merged_across_the_border_of_a_branch() -> None:
    model = parse(
        """g (bool c, float[2, 2] x) => (float[2, 2] y) {
            a = Relu(x)
            z = If (c) <then_branch = t () => (float[2, 2] u) { u = Relu(x) }, else_branch = e () => (float[2, 2] v) { v = Relu(x) }>
            y = Add(z, a)
        }"""
    )
    assert merge(model, {"c": np.array(True), "x": X})[1] == 0


def test_a_body_input_that_is_named_like_the_twin() -> None:
    """The body reads b. It may not read `a` instead, since inside the body that is something else."""
    model = parse(
        """g (int64 n, bool go, float[2, 2] x) => (float[2, 2] y) {
            a = Relu(x) b = Relu(x) s = Neg(a)
            y = Loop (n, go, s) <body = body (int64 i, bool k, float[2, 2] a) => (bool l, float[2, 2] o) { l = Identity(k) o = Add(a, b) }>
        }"""
    )
    m, merged = merge(model)
    assert merged == 1
    feeds = {"n": np.array(3), "go": np.array(True), "x": X}
    assert same_bits(run(m, **feeds), [2 * np.maximum(X, 0)])  # onnx's reference computes the original wrongly


def test_attributes_that_a_function_takes_from_its_call() -> None:
    nodes = []
    for out, ref in (("p", "slope"), ("q", "slope"), ("r", "other")):
        node = helper.make_node("LeakyRelu", ["v"], [out])
        node.attribute.add(name="alpha", ref_attr_name=ref, type=onnx.AttributeProto.FLOAT)
        nodes.append(node)
    nodes.append(helper.make_node("Sum", ["p", "q", "r"], ["w"]))
    model = parse(
        "g (float[2, 2] x) => (float[2, 2] y) { y = local.f<slope = 0.1, other = 0.2>(x) }",
        imports=', "local": 1',
        check=False,
    )
    model.functions.append(
        helper.make_function("local", "f", ["v"], ["w"], nodes, [helper.make_opsetid("", 17)], ["slope", "other"])
    )
    m, merged = merge(model)
    assert merged == 1
    assert [n.op_type for n in m.proto.functions[0].node] == ["LeakyRelu", "LeakyRelu", "Sum"]


@pytest.mark.parametrize(("count", "same", "merged"), [(4, True, 1), (4, False, 0), (300, True, 0), (300, False, 0)])
def test_large_tensors_in_attributes_are_not_compared(count: int, same: bool, merged: int) -> None:
    tables = [np.arange(count) + 1, np.arange(count) + (1 if same else 2)]
    nodes = [
        helper.make_node(
            "LabelEncoder", ["x"], [name], domain="ai.onnx.ml",
            keys_tensor=numpy_helper.from_array(np.arange(count)), values_tensor=numpy_helper.from_array(table),
            default_tensor=numpy_helper.from_array(np.array([-1])),
        )
        for name, table in zip("ab", tables, strict=True)
    ]  # fmt: skip
    graph = helper.make_graph(
        [*nodes, helper.make_node("Sub", ["a", "b"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.INT64, [2])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.INT64, [2])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 4)]
    assert merge(helper.make_model(graph, opset_imports=opsets, ir_version=8), {"x": np.array([0, 3])})[1] == merged


def test_sequences() -> None:
    model = with_constants(
        text(
            "s = SequenceConstruct(x, z) t = SequenceConstruct(x, z) a = SequenceAt(s, k) b = SequenceAt(t, k) y = Sub(a, b)"
        ),
        k=np.array(0),
    )
    m, merged = merge(model, {"x": X, "z": X})
    assert merged == 2
    assert ops(m) == ["SequenceConstruct", "SequenceAt", "Sub"]


def test_the_step_says_what_remains() -> None:
    m = load(parse(text("a = Relu(x) b = Relu(x) y = Sub(a, b)")))
    ledger = Ledger()
    merge_common_subexpressions(m, ledger)
    assert ledger.steps[0].note == "the same as a"
    assert ledger.steps[0].location == "b"


def test_operands_in_either_order() -> None:
    model = parse(text("a = Mul(x, z) b = Mul(z, x) c = Max(x, z) d = Max(z, x) y = Sum(a, b, c, d)"))
    m, merged = merge(model, {"x": X, "z": -X})
    assert merged == 1 and ops(m) == ["Mul", "Max", "Max", "Sum"]
