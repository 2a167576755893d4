"""`graphopt.diff`: models that differ in names alone are the same, and one difference is told as that one."""

from __future__ import annotations

import random

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper, parser

import graphopt
from graphopt.demo import demo_model
from graphopt.difference import Diff

NESTED = """<ir_version: 10, opset_import: ["" : 21, "own" : 1]>
    main (float[batch, 4] x, bool c, float[4] w) => (float[batch, 4] y, float[N, M] z) <float[4] w = {1, 2, 3, 4}, float[4] k = {1, 0, 2, 5}> {
        a = Add(x, w)
        t = Transpose<perm = [1, 0]>(a)
        u = Transpose<perm = [1, 0]>(t)
        b = If(c) <then_branch = yes () => (float[batch, 4] p) { q = Relu(u) p = Mul(q, a) },
                   else_branch = no () => (float[batch, 4] r) { r = Neg(u) }>
        y = own.Twice(b)
        s = Sigmoid(u)
        z = Mul(s, k)
    }
    <domain: "own", opset_import: ["" : 21]> Twice (v) => (d) { e = Identity(v) d = Add(e, e) }
"""


def nested() -> onnx.ModelProto:
    return parser.parse_model(NESTED)


def main_node(model: onnx.ModelProto, op: str) -> onnx.NodeProto:
    return next(n for n in model.graph.node if n.op_type == op)


def renamed(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """Every name another one, nodes in another order that can run, initializers in any."""
    out, r = onnx.ModelProto(), random.Random(seed)
    out.CopyFrom(model)
    names: dict[str, str] = {}

    def new(name: str) -> str:
        return name and names.setdefault(name, f"v{len(names)}_{r.randrange(10**6)}")

    def change(graph: onnx.GraphProto) -> None:
        graph.name = new(graph.name)
        for info in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
            info.name = new(info.name)
        for info in (*graph.input, *graph.output):
            for d in info.type.tensor_type.shape.dim:
                if d.dim_param:
                    d.dim_param = new(d.dim_param)
        for node in graph.node:
            node.name = f"n{r.randrange(10**6)}"
            node.input[:] = map(new, node.input)
            node.output[:] = map(new, node.output)
            for a in node.attribute:
                if a.HasField("g"):
                    change(a.g)

    change(out.graph)
    nodes, known, order = list(out.graph.node), {""}, []
    known |= {i.name for i in (*out.graph.input, *out.graph.initializer)}
    made = {o for n in nodes for o in n.output}
    while nodes:
        ready = [n for n in nodes if all(i in known for i in reads(n) if i in made or i in known)]
        node = r.choice(ready)
        nodes.remove(node)
        order.append(node)
        known.update(node.output)
    copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in order]
    del out.graph.node[:]
    out.graph.node.extend(copies)
    weights = [onnx.TensorProto.FromString(t.SerializeToString()) for t in out.graph.initializer]
    r.shuffle(weights)
    del out.graph.initializer[:]
    out.graph.initializer.extend(weights)
    return out


def reads(node: onnx.NodeProto) -> set[str]:
    return {*node.input, *(i for a in node.attribute if a.HasField("g") for n in a.g.node for i in reads(n))}


# ------------------------------------------------------------------------------------------------------------ the same
@pytest.mark.parametrize("make", [nested, demo_model])
@pytest.mark.parametrize("seed", range(3))
def test_names_and_order_mean_nothing(make: object, seed: int) -> None:
    model = make()  # type: ignore[operator]
    found = graphopt.diff(model, renamed(model, seed))
    assert not found, str(found)
    assert found.nodes[0] == found.nodes[1] == found.same > 0


def test_constants_may_be_initializers_or_nodes() -> None:
    model = nested()
    k = next(t for t in model.graph.initializer if t.name == "k")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["k"], value=k))
    model.graph.initializer.remove(k)
    assert not graphopt.diff(nested(), model)


def test_raw_data_or_not_and_defaults_written_out() -> None:
    model = nested()
    for t in model.graph.initializer:
        t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(t), t.name))
        assert t.HasField("raw_data")
    assert not graphopt.diff(nested(), model)
    plain = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 21]> g (float[4] x) => (float[4] y) { y = Softmax(x) }'
    )
    told = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 21]> g (float[4] x) => (float[4] y) { y = Softmax<axis = -1>(x) }'
    )
    assert not graphopt.diff(plain, told)


# ------------------------------------------------------------------------------------------------------- one difference
def test_a_changed_attribute() -> None:
    model = nested()
    main_node(model, "Transpose").attribute[0].ints[:] = [0, 1]
    found = graphopt.diff(nested(), renamed(model, 1))
    assert not found.hunks and not found.interface and len(found.changed) == 1
    assert found.changed[0].before.op == "Transpose" and found.changed[0].what == ("perm [1, 0] -> [0, 1]",)


def test_changed_elements_of_a_constant() -> None:
    model = nested()
    k = next(t for t in model.graph.initializer if t.name == "k")
    k.float_data[1] = 0.5
    found = graphopt.diff(nested(), renamed(model, 2))
    assert [(c.before.op, c.what) for c in found.changed] == [("Mul", ("input 1: [1, 0, 2, 5] -> [1, 0.5, 2, 5]",))]
    assert not found.hunks and not found.interface
    k.CopyFrom(numpy_helper.from_array(np.array([1, 0, 2], np.float64), "k"))
    found = graphopt.diff(nested(), model)
    assert found.changed[0].what == ("input 1: [1, 0, 2, 5] -> [1, 0, 2]",)


def test_a_sign_of_zero_is_a_difference() -> None:
    model = nested()
    next(t for t in model.graph.initializer if t.name == "k").float_data[1] = -0.0
    assert len(graphopt.diff(nested(), model).changed) == 1


def test_an_inserted_and_a_removed_node() -> None:
    model = nested()
    at = next(i for i, n in enumerate(model.graph.node) if n.op_type == "Sigmoid")
    model.graph.node.insert(at, helper.make_node("Abs", ["u"], ["more"]))
    main_node(model, "Sigmoid").input[0] = "more"
    found = graphopt.diff(nested(), renamed(model, 3))
    assert [n.op for n in found.added] == ["Abs"] and not found.removed and not found.changed and not found.interface
    back = graphopt.diff(renamed(model, 4), nested())
    assert [n.op for n in back.removed] == ["Abs"] and not back.added and not back.changed


def test_another_operator_in_the_same_place_is_one_hunk() -> None:
    model = nested()
    main_node(model, "Sigmoid").op_type = "Tanh"
    found = graphopt.diff(nested(), renamed(model, 5))
    assert [str(h) for h in found.hunks] == ["Sigmoid  ->  Tanh"] and not found.changed
    assert found.operators() == [("Sigmoid", 1, 0, 0), ("Tanh", 0, 1, 0)]


def test_swapped_inputs() -> None:
    model = nested()
    mul = main_node(model, "Mul")
    mul.input[:] = mul.input[::-1]
    found = graphopt.diff(nested(), model)
    assert len(found.changed) == 1 and len(found.changed[0].what) == 2 and "Sigmoid" in found.changed[0].what[0]


def small(text: str) -> onnx.ModelProto:
    head = '<ir_version: 10, opset_import: ["" : 21]> main (float[4, 4] x) => (float[4, 4] y) '
    return parser.parse_model(f"{head}{{ {text} }}")


def test_exchanged_outputs_of_a_node() -> None:
    a = small("p, q = Split<axis = 1, num_outputs = 2>(x) s = Sub(p, q) y = Concat<axis = 1>(s, p)")
    b = small("p, q = Split<axis = 1, num_outputs = 2>(x) s = Sub(q, p) y = Concat<axis = 1>(s, p)")
    found = graphopt.diff(a, b)
    (change,) = found.changed
    assert change.before.op == "Sub" and not found.hunks and len(change.what) == 2
    assert change.what[0] == "input 0: Split 'p' -> Split 'p' output 1"


def test_readers_are_told_apart_by_the_place_at_which_they_read() -> None:
    a = small("t = Relu(x) d = Sub(x, t) e = Sub(t, x) y = Mul(d, e)")
    b = small("t = Tanh(x) e = Sub(t, x) d = Sub(x, t) y = Div(d, e)")
    found = graphopt.diff(a, b)
    assert not found.changed and found.same == 2
    assert sorted(map(str, found.hunks)) == ["Mul  ->  Div", "Relu  ->  Tanh"]


def with_weights(text: str) -> onnx.ModelProto:
    model = small(text)
    model.graph.initializer.append(numpy_helper.from_array(np.arange(16, dtype=np.float32).reshape(4, 4), "w"))
    return model


def test_weights_are_known_again_where_all_around_them_is_new() -> None:
    a = with_weights("a = Relu(x) m = MatMul(a, w) y = Exp(m)")
    b = with_weights("a = Neg(x) c = Abs(a) m = MatMul(c, w) n = Sin(m) y = Cos(n)")
    found = graphopt.diff(a, b)
    assert found.same == 1 and "MatMul" not in {n.op for n in (*found.removed, *found.added)}


def test_hunks_come_in_the_order_of_the_models() -> None:
    a = with_weights("a = Relu(x) m = MatMul(a, w) y = Exp(m)")
    b = with_weights("m = MatMul(x, w) n = Neg(m) y = Exp(n)")
    assert [str(h) for h in graphopt.diff(a, b).hunks] == ["Relu  ->  nothing", "nothing  ->  Neg"]


def test_how_far_elements_moved() -> None:
    def told(old: np.ndarray, new: np.ndarray) -> str:
        both = []
        for array in (old, new):
            m = small("z = Identity(k) y = Relu(x)")
            m.graph.initializer.append(numpy_helper.from_array(array, "k"))
            both.append(m)
        (change,) = graphopt.diff(*both).changed
        return change.what[0]

    ones = np.ones((3, 4), np.float32)
    assert told(ones, ones * 3).endswith("other values, by up to 2")
    assert told(ones * 0, ones * -0.0).endswith("other values")  # the sign of zero; no distance
    assert told(ones.astype(np.complex64), (ones + 2j).astype(np.complex64)).endswith("by up to 2")


def test_inside_a_body() -> None:
    model = nested()
    body = main_node(model, "If").attribute[1].g
    assert body.node[0].op_type == "Neg"
    body.node[0].op_type = "Exp"
    found = graphopt.diff(nested(), model)
    assert [(n.op, n.graph) for n in (*found.removed, *found.added)] == [
        ("Neg", "b.else_branch"), ("Exp", "b.else_branch"),
    ]  # fmt: skip
    assert not found.changed and not found.interface


def test_what_a_body_reads_from_outside() -> None:
    model = nested()
    main_node(model, "If").attribute[1].g.node[0].input[0] = "a"
    found = graphopt.diff(nested(), model)
    assert [(c.before.op, c.before.graph) for c in found.changed] == [("Neg", "b.else_branch")]


def test_inside_a_function_and_a_function_more() -> None:
    model = nested()
    model.functions[0].node[1].op_type = "Mul"
    found = graphopt.diff(nested(), model)
    assert [(n.op, n.graph) for n in found.removed] == [("Add", "function own::Twice")]
    del model.functions[:]
    assert "function own::Twice: removed" in graphopt.diff(nested(), model).interface


def test_the_interface() -> None:
    model = nested()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 8
    model.opset_import[0].version = 22
    model.graph.initializer.remove(next(t for t in model.graph.initializer if t.name == "w"))
    model.graph.output.pop()
    told = graphopt.diff(nested(), model).interface
    assert told[:3] == (
        "opset ai.onnx: 21 -> 22", "input 0 'x': float32[N0, 4] -> float32[N0, 8]", "2 -> 1 outputs",
    )  # fmt: skip
    assert "input 2 'w': the default was removed" in told
    model = nested()
    for d in (model.graph.input[0], model.graph.output[0]):
        d.type.tensor_type.shape.dim[0].dim_param = "other"
    assert not graphopt.diff(nested(), model), "names of dims are names"
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "third"
    assert graphopt.diff(nested(), model).interface, "but one name is not two"


def test_exchanged_outputs() -> None:
    model = nested()
    first, second = model.graph.output
    first.name, second.name = second.name, first.name
    told = graphopt.diff(nested(), model).interface
    assert len(told) == 2 and "Mul" in told[0]


def test_another_training_of_a_model() -> None:
    model = demo_model()
    r = np.random.default_rng(0)
    moved = 0
    for t in model.graph.initializer:
        if t.data_type == onnx.TensorProto.FLOAT and np.prod(t.dims) > 8:
            t.CopyFrom(numpy_helper.from_array(r.normal(size=tuple(t.dims)).astype(np.float32), t.name))
            moved += 1
    found = graphopt.diff(demo_model(), renamed(model, 7))
    assert moved and found.changed and not found.hunks and not found.interface
    assert all("other values, by up to" in what for c in found.changed for what in c.what)


# --------------------------------------------------------------------------------------------------------- large models
def random_model(n: int, seed: int, other: int = -1) -> onnx.ModelProto:
    r, values, nodes = random.Random(seed), ["x"], []
    for i in range(n):
        op = r.choice(["Relu", "Add", "Mul", "Sigmoid", "Sub"])
        inputs = [r.choice(values[-6:]) for _ in range(1 if op in ("Relu", "Sigmoid") else 2)]
        if i == other:
            op = {"Relu": "Abs", "Sigmoid": "Abs"}.get(op, "Div")
        nodes.append(helper.make_node(op, inputs, [f"v{i}"]))
        values.append(f"v{i}")
    used = {i for node in nodes for i in node.input}
    outputs = [helper.make_tensor_value_info(v, 1, [4]) for v in values[1:] if v not in used]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, [4])], outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


@given(st.integers(0, 10**6), st.integers(1, 60), st.data())
def test_one_operator_is_all_that_differs(seed: int, n: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, n - 1))
    found = graphopt.diff(random_model(n, seed), renamed(random_model(n, seed, at), seed))
    assert (len(found.removed), len(found.added), found.changed, found.interface) == (1, 1, (), ())
    assert {n.op for n in found.added} <= {"Abs", "Div"}


def test_no_more_than_linear() -> None:
    """Counted in calls, since clocks lie on a busy machine."""
    import cProfile

    def calls(n: int) -> int:
        a, b = graphopt.load(random_model(n, 1)), graphopt.load(random_model(n, 1, n // 2))
        profile = cProfile.Profile()
        found = profile.runcall(graphopt.diff, a, b)
        assert len(found.removed) == len(found.added) == 1 and found.same == n - 1
        return sum(entry.callcount for entry in profile.getstats())  # type: ignore[attr-defined]

    assert calls(2000) < 6 * calls(400)


# ---------------------------------------------------------------------------------------------------------- what it is
def test_as_text_and_data() -> None:
    model = nested()
    main_node(model, "Sigmoid").op_type = "Tanh"
    found = graphopt.diff(nested(), model)
    assert isinstance(found, Diff) and found
    assert str(found).splitlines()[0] == "12 -> 12 nodes: 1 removed, 1 added, 0 changed, 11 the same"
    assert "1 x Sigmoid  ->  Tanh" in str(found)
    data = found.to_dict()
    assert data["same"] is False and data["nodes"] == {"before": 12, "after": 12, "same": 11}
    assert [n["op"] for n in data["hunks"][0]["added"]] == ["Tanh"]
    assert str(graphopt.diff(model, model)) == "the same structure: 12 nodes"


def test_bad_models() -> None:
    with pytest.raises(graphopt.GraphoptError, match="no such file"):
        graphopt.diff("none.onnx", nested())
    with pytest.raises(graphopt.GraphoptError, match="not an ONNX model"):
        graphopt.diff(nested(), b"text")
