"""Dtypes and shapes of values: of a whole model, and of one new node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, defs, helper, numpy_helper

from graphopt import load
from graphopt.ir import Model, Node, Shape, Tensor, Value, op_schema
from graphopt.shapes import TypeInfo, infer_model, infer_node, text
from graphopt.shapes.operators.elementwise import BROADCAST, COMPARISON, LIKE_FIRST
from graphopt.shapes.types import type_proto
from tests.ir import invariants
from tests.ir.building import everything, parse

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def infer(model: ModelProto | str, **kwargs: Any) -> tuple[Model, dict[str, tuple[int, Shape | None]]]:
    """The model with types, and the types of all values that nodes produce, by name."""
    proto = parse(model, **kwargs) if isinstance(model, str) else model
    before = proto.SerializeToString(deterministic=True)
    m = load(proto)
    infer_model(m)
    invariants.check(m)
    assert proto.SerializeToString(deterministic=True) == before
    assert m.proto.SerializeToString(deterministic=True) == before, "inference may not change what is saved"
    return m, {v.name: (v.dtype, plain(v.shape)) for n in m.nodes() for v in n.outputs if v is not None}


def plain(shape: Shape | None) -> Shape | None:
    """Every unknown dim has a name of its own, which onnx begins in another way."""
    made_up = ("?", "unk__")
    return None if shape is None else tuple(None if isinstance(d, str) and d.startswith(made_up) else d for d in shape)


# ------------------------------------------------------------------------ models
def test_chain() -> None:
    _, types = infer("g (float[N, 3] x) => (float[M, K] y) { a = Relu(x) b = Transpose(a) y = MatMul(x, b) }")
    assert types == {"a": (FLOAT, ("N", 3)), "b": (FLOAT, (3, "N")), "y": (FLOAT, ("N", "N"))}


def test_values_of_shape_tensors_are_followed() -> None:
    _, types = infer(
        "g (float[2, 3, N] x) => (float[A, B] y) <int64[1] zero = {0}, int64[1] minus = {-1}> "
        "{ s = Shape(x) d = Gather(s, zero) t = Concat<axis=0>(d, minus) y = Reshape(x, t) }"
    )
    assert types["y"] == (FLOAT, (2, text.parse("3*N")))


def test_claims_about_inner_values_and_outputs_are_not_believed() -> None:
    proto = parse("g (float[2] x) => (float[2] y) { a = Relu(x) y = Neg(a) }")
    proto.graph.value_info.append(helper.make_tensor_value_info("a", INT64, [7]))
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 9
    _, types = infer(proto)
    assert types == {"a": (FLOAT, (2,)), "y": (FLOAT, (2,))}


def test_claims_about_unknown_operators_are_all_there_is() -> None:
    proto = parse("g (float[2] x) => (float[2] y) { a = my.Thing(x) y = Neg(a) }", imports=', "my": 1')
    proto.graph.value_info.append(helper.make_tensor_value_info("a", FLOAT, ["K", 7]))
    _, types = infer(proto)
    assert types == {"a": (FLOAT, ("K", 7)), "y": (FLOAT, ("K", 7))}


@pytest.mark.parametrize("name", ["?", "None", "-1", "unknown", "*"])
def test_names_that_mean_unknown(name: str) -> None:
    proto = parse("g (float[N, M, 3] x) => (float[A, B, C] y) { y = Relu(x) }")
    for v in (proto.graph.input[0], proto.graph.output[0]):
        for d in v.type.tensor_type.shape.dim:
            if not d.HasField("dim_value"):
                d.dim_param = name
    m, types = infer(proto)
    assert types["y"] == (FLOAT, (None, None, 3))
    a, b, _ = m.graph.outputs[0].shape or ()
    assert a != b, "the same name twice says nothing"


def test_names_of_outputs_are_taken_for_what_is_unknown() -> None:
    _, types = infer("g (float[?, 3] x, float[N] z) => (float[M, K] y, float[L] w) { y = Relu(x) w = Neg(z) }")
    assert types == {"y": (FLOAT, ("M", 3)), "w": (FLOAT, ("N",))}


def test_branches() -> None:
    _, types = infer(
        """g (bool c, float[N] x) => (float[K] y) {
            a = Cast<to=11>(x)
            y = If (c) <
                then_branch = t () => (float[N] t_out) { t_a = Neg(a) t_b = Shape(t_a) t_out = Cast<to=1>(t_a) },
                else_branch = e () => (float[N] e_out) { e_out = Relu(x) }
            >
        }"""
    )
    assert types["t_a"] == (TensorProto.DOUBLE, ("N",))
    assert types["t_b"] == (INT64, (1,))
    assert types["e_out"] == types["y"] == (FLOAT, ("N",))


def test_loop_variables_may_change_their_shape() -> None:
    m, types = infer(
        """g (int64 n, bool go, float[2] x) => (float[K] y) {
            y = Loop (n, go, x) <body = b (int64 i, bool cond, float[M] v) => (bool cond_out, float[K] v_out) {
                cond_out = Identity(cond) s = Relu(v) v_out = Concat<axis=0>(s, v)
            }>
        }"""
    )
    assert types["s"][0] == FLOAT
    assert types["s"][1] in (("M",), None, (None,))
    assert types["y"][1] is None or not isinstance(types["y"][1][0], int)
    assert m.graph.outputs[0].dtype == FLOAT


def test_initializers_that_callers_may_override_are_no_constants() -> None:
    model = "g (float[2, 3] x, int64[2] s) => (float[?, ?] y) <int64[2] s = {3, 2}> { y = Reshape(x, s) }"
    _, types = infer(model)
    assert types["y"] == (FLOAT, (None, None))
    m = load(parse(model))
    m.freeze_inputs()
    infer_model(m)
    assert m.graph.outputs[0].shape == (3, 2)


def test_overridable_initializers_in_old_models() -> None:
    """IR version 3 lists every initializer as an input; callers may give another shape tensor."""
    _, types = infer(
        "g (float[2, 3] x, int64[2] s) => (float[?, ?] y) <int64[2] s = {3, 2}> { y = Reshape(x, s) }", opset=8, ir=3
    )
    assert types["y"] == (FLOAT, (None, None))


def test_large_constants_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    proto = parse("g (float[4] x) => (float[A, B] y) { k = Constant() a = Add(x, w) y = Mul(a, k) }", check=False)
    proto.graph.initializer.append(numpy_helper.from_array(np.zeros((512, 4), np.float32), "w"))
    proto.graph.node[0].attribute.append(
        helper.make_attribute("value", numpy_helper.from_array(np.zeros((512, 4), np.float32)))
    )
    monkeypatch.setattr(Tensor, "numpy", lambda self: pytest.fail("a weight was read"))
    _, types = infer(proto)
    assert types["y"] == types["k"] == (FLOAT, (512, 4))


def test_models_that_inference_refuses() -> None:
    """Unknown is an answer: what is after a mistake stays unknown, what is before does not."""
    m, types = infer("g (float[2] x, float[3] z) => (float[2] y) { a = Relu(x) b = Add(a, z) y = Neg(b) }")
    assert types["a"] == (FLOAT, (2,))
    assert m.graph.outputs[0].shape in (None, (2,))
    proto = parse("g (float[2] x) => (float[2] y) { a = NoSuchOperator(x) y = Neg(a) }", check=False)
    infer(proto)
    proto = parse("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    del proto.opset_import[:]
    infer(proto)


def test_every_kind_of_type() -> None:
    m, types = infer(everything())
    values = {v.name: v for n in m.graph for v in n.outputs if v is not None}
    assert values["opt_out"].type is not None and values["opt_out"].dtype == 0
    assert types["from_sequence"][0] == FLOAT
    assert types["has"] == (TensorProto.BOOL, ())
    assert types["k"] == (FLOAT, (2,)) or types["k"] == (TensorProto.DOUBLE, (2,))


def test_functions_are_looked_into() -> None:
    proto = parse("g (float[N, 2] x) => (float[A, B] y) { y = local.twice(x) }", imports=', "local": 1', check=False)
    add = [helper.make_node("Concat", ["v", "v"], ["w"], axis=1)]
    proto.functions.append(helper.make_function("local", "twice", ["v"], ["w"], add, [helper.make_opsetid("", 17)]))
    onnx.checker.check_model(proto)
    _, types = infer(proto)
    assert types["y"] == (FLOAT, ("N", 4))
    assert types["w"] == (0, None), "a body is typed by its calls, of which there may be several"


def test_left_out_outputs() -> None:
    proto = parse("g (float[2, 3] x) => (float[2, 3] y) { y, z = Dropout(x) w, v = TopK(y, k) }", check=False)
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1]), "k"))
    proto.graph.node[1].output[0] = ""
    _, types = infer(proto)
    assert types["v"] == (INT64, (2, 1))


@pytest.mark.parametrize("opset", [7, 9, 13, 17, 21, defs.onnx_opset_version()])
def test_old_and_new_opsets(opset: int) -> None:
    _, types = infer("g (float[N] x) => (float[M] y) { y = Relu(x) }", opset=opset, ir=onnx.IR_VERSION)
    assert types["y"] == (FLOAT, ("N",))


# ----------------------------------------------------------------------- one node
def value(m: Model, name: str, dtype: int, shape: Shape | None, const: np.ndarray | None = None) -> Value:
    v = Value(name, m.graph)
    v.dtype, v.shape = dtype, shape
    if const is not None:
        v.const = Tensor(array=const)
    return v


def one(
    op: str,
    inputs: list[tuple[int, Shape | None] | np.ndarray | None],
    opset: int = 17,
    outputs: int = 1,
    **attributes: Any,
) -> list[TypeInfo]:
    m = load(parse("g (float[2] x) => (float[2] y) { y = Relu(x) }", opset=opset, ir=onnx.IR_VERSION))
    values = [
        None
        if i is None
        else value(m, f"i{k}", helper.np_dtype_to_tensor_dtype(i.dtype), i.shape, i)
        if isinstance(i, np.ndarray)
        else value(m, f"i{k}", *i)
        for k, i in enumerate(inputs)
    ]
    node = Node(op, values, attributes=attributes)
    node.graph = m.graph
    for k in range(outputs):
        node.new_output(f"o{k}")
    infer_node(m, node)
    return [TypeInfo(v.dtype, plain(v.shape), v.type) for v in node.outputs if v is not None]


def types_by_onnx(op: str, inputs: list[tuple[int, Shape | None]], opset: int) -> tuple[int, Shape | None]:
    m = load(parse("g (float[2] x) => (float[2] y) { y = Relu(x) }", opset=opset, ir=onnx.IR_VERSION))
    infos = [onnx.ValueInfoProto(name=f"i{k}", type=type_proto(value(m, "", *i))) for k, i in enumerate(inputs)]
    graph = helper.make_graph(
        [helper.make_node(op, [i.name for i in infos], ["o"])], "g", infos, [onnx.ValueInfoProto(name="o")]
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=onnx.IR_VERSION)
    t = onnx.shape_inference.infer_shapes(proto).graph.output[0].type.tensor_type
    shape = (
        tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in t.shape.dim)
        if t.HasField("shape")
        else None
    )
    return t.elem_type, plain(shape)


@pytest.mark.parametrize("op", sorted({*LIKE_FIRST, *BROADCAST, *COMPARISON}))
def test_elementwise_operators_agree_with_onnx(op: str) -> None:
    """At each opset that changed them."""
    newest = defs.onnx_opset_version()
    versions = {s.since_version for s in defs.get_all_schemas_with_history() if s.name == op and not s.domain}
    for opset in sorted(v for v in versions | {newest} if v >= 7):
        schema = op_schema(op, opset)
        if schema is None:
            continue
        dtype = FLOAT if FLOAT in schema.inputs[0].types else TensorProto.BOOL
        binary = op in BROADCAST or op in COMPARISON
        for shapes in (
            [[("N", 3, None)], [()], [None]]
            if not binary
            else [[(2, 3), (3,)], [("N", 1), ("M",)], [("N", 3), ("N", 3)], [(), (2,)], [None, (2,)]]
        ):
            inputs = [(dtype, s) for s in shapes]
            expected = types_by_onnx(op, inputs, opset)
            if not expected[0]:
                continue  # onnx refuses: a softmax of a scalar
            (got,) = one(op, inputs, opset)
            assert got.dtype == expected[0], (opset, shapes)
            if expected[1] is not None:
                assert got.shape == expected[1], (opset, shapes)


def test_other_operators() -> None:
    assert one("MatMul", [(FLOAT, ("N", 3)), (FLOAT, (3, 4))]) == [TypeInfo(FLOAT, ("N", 4))]
    assert one("Equal", [(FLOAT, (3,)), (FLOAT, (3,))]) == [TypeInfo(TensorProto.BOOL, (3,))]
    assert one("Cast", [(FLOAT, (3,))], to=7) == [TypeInfo(INT64, (3,))]
    assert one("Split", [(FLOAT, (4, 2))], outputs=2, opset=13) == [TypeInfo(FLOAT, (2, 2))] * 2
    assert one("Reshape", [(FLOAT, (2, 3)), np.array([3, -1])]) == [TypeInfo(FLOAT, (3, 2))]
    assert one("Reshape", [(FLOAT, (2, 3)), (INT64, (2,))]) == [TypeInfo(FLOAT, (None, None))]
    assert one("Clip", [(FLOAT, ("N",)), None, (FLOAT, ())]) == [TypeInfo(FLOAT, ("N",))]


def test_unknown_inputs_give_unknown_outputs() -> None:
    assert one("MatMul", [(0, None), (FLOAT, (3, 4))]) == [TypeInfo(FLOAT, None)]
    assert one("Gather", [(0, None), (INT64, (3, 4))]) == [TypeInfo(0, None)]
    assert one("Relu", [(0, None)]) == [TypeInfo(0, None)]


@pytest.mark.parametrize(
    ("op", "inputs", "attributes"),
    [
        ("Add", [(FLOAT, (2,)), (FLOAT, (3,))], {}),
        ("MatMul", [(FLOAT, (2, 3)), (FLOAT, (2, 3))], {}),
        ("Concat", [(FLOAT, (2, 3)), (FLOAT, (2,))], {"axis": 0}),
        ("Transpose", [(FLOAT, (2, 3))], {"perm": [0, 0]}),
        ("Softmax", [(FLOAT, (2, 3))], {"axis": 5}),
    ],
)
def test_what_cannot_be(op: str, inputs: Any, attributes: dict[str, Any]) -> None:
    if op == "Softmax":
        assert one(op, inputs, **attributes)  # not refused here, but when it runs
        return
    with pytest.raises(ValueError, match=".") as e:
        one(op, inputs, **attributes)
    assert "\n" not in str(e.value)


def test_broadcast_of_old_opsets() -> None:
    """Before opset 7 a binary operator broadcast only where an attribute said so: [3] does not fit [2, 3] by itself."""
    try:
        (got,) = one("Add", [(FLOAT, (3,)), (FLOAT, (2, 3))], opset=6)
    except ValueError:
        return
    assert got.shape != (2, 3)
