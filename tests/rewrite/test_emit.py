"""Replacements: what is built, what is refused, and what is an error in the rule."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from graphopt.errors import RuleError
from graphopt.ir import load
from graphopt.rewrite import (
    Attrs,
    Axis,
    Const,
    Driver,
    Float,
    Int,
    Ints,
    Ledger,
    Maybe,
    Perm,
    Rewriter,
    Rule,
    RuleSet,
    any_of,
    domain,
    op,
    rule,
)
from graphopt.shapes import infer_model
from tests.ir import invariants
from tests.ir.building import constants, nodes, ops, parse, reasons, rewrite, run, same_bits, with_constants

RELU = "g (float[2, 3] x) => (float[2, 3] y) { y = Relu(x) }"


def relu_becomes(build: Any, **kwargs: Any) -> Rule:
    """Relu(x) -> build(x), where it is built from x and Relu(x)."""

    @rule(always=True, **kwargs)
    def r(x):
        y = op.Relu(x)
        yield y
        yield build(x) if build.__code__.co_argcount == 1 else build(x, y)

    return r


def declines(model: ModelProto, *rules: Rule) -> list[str]:
    """Why rules do not apply; the graph must be as if nothing had been tried."""
    before = model.SerializeToString(deterministic=True)
    m, ledger = rewrite(model, *rules)
    assert ledger.steps == []
    assert m.proto.SerializeToString(deterministic=True) == before
    assert not any(n.stale for n in m.nodes()) and not any(g.touched for g in m.graphs())
    return reasons(ledger)


def fails(model: ModelProto, r: Rule, message: str) -> None:
    before = model.SerializeToString(deterministic=True)
    m = load(model)
    infer_model(m)
    with pytest.raises(RuleError, match=message) as e:
        Driver(Rewriter(m, Ledger()), RuleSet([r])).run()
    assert f"'{r.name}'" in str(e.value)
    assert m.proto.SerializeToString(deterministic=True) == before
    invariants.check(m)


# ------------------------------------------------------------------------ what is built
def test_a_value() -> None:
    m, ledger = rewrite(parse("g (float[2] x) => (float[2] y) { a = Relu(x) y = Neg(a) }"), relu_becomes(lambda x: x))
    assert ops(m) == ["Neg"]
    (step,) = ledger.steps
    assert (step.rule, step.graph, step.saved, step.location) == ("r", "g", 1, "a")
    assert step.where.startswith(__file__)
    assert [(n.op, n.output) for n in step.before] == [("Relu", "a")]
    assert step.after == ()


def test_a_tree_of_calls() -> None:
    m, ledger = rewrite(parse(RELU), relu_becomes(lambda x: op.Neg(op.Min(op.Neg(x), op.Abs(x)))))
    assert ops(m) == ["Neg", "Abs", "Min", "Neg"]
    assert m.proto.graph.node[-1].output == ["y"]
    assert [n.op for n in ledger.steps[0].after] == ["Neg", "Abs", "Min", "Neg"]
    assert len({n.name for n in m.proto.graph.node}) == 4


def test_one_call_twice_is_one_node() -> None:
    def build(x: Any) -> Any:
        s = op.Sigmoid(x)
        return op.Mul(s, op.Add(s, s))

    assert ops(rewrite(parse(RELU), relu_becomes(build))[0]) == ["Sigmoid", "Add", "Mul"]


def test_a_call_of_several_outputs() -> None:
    def build(x: Any) -> Any:
        a, b = op.Split(x, axis=1, split=[1, 2], outputs=2)
        return op.Concat(a, b, axis=1)

    for opset in (11, 13, 18):
        m, _ = rewrite(parse(RELU, opset=opset), relu_becomes(build))
        assert ops(m) == ["Split", "Concat"]
        x = np.arange(6, dtype=np.float32).reshape(2, 3)
        assert same_bits(run(m, x=x), [x])


def test_a_split_into_equal_parts_at_any_opset() -> None:
    """From opset 18 on their number must be written down."""

    def build(x: Any) -> Any:
        a, b = op.Split(x, axis=0, outputs=2)
        return op.Concat(a, b, axis=0)

    for opset in (11, 13, 18, onnx.defs.onnx_opset_version()):
        m, _ = rewrite(parse(RELU, opset=opset, ir=10), relu_becomes(build))
        x = np.arange(6, dtype=np.float32).reshape(2, 3)
        assert same_bits(run(m, x=x), [x])


def test_several_roots_at_once() -> None:
    @rule
    def r(x):
        yield op.Relu(x), op.Neg(x)
        yield op.Sin(x), op.Cos(x)

    m, ledger = rewrite(parse("g (float[2] x) => (float[2] y, float[2] z) { z = Neg(x) y = Relu(x) }"), r)
    assert {n.op_type: n.output[0] for n in m.proto.graph.node} == {"Sin": "y", "Cos": "z"}
    assert {n.op for n in ledger.steps[0].before} == {"Relu", "Neg"}


def test_the_cheapest_valid_offer_is_taken() -> None:
    @rule(always=True)
    def r(x):
        yield op.Relu(x)
        yield op.Neg(op.Neg(op.Abs(x)))
        yield op.Gelu(x)
        yield op.Neg(op.Abs(x))
        yield op.Abs(op.Neg(x))

    assert ops(rewrite(parse(RELU), r)[0]) == ["Abs", "Neg"]
    assert ops(rewrite(parse(RELU, opset=20), r)[0]) == ["Gelu"]


def test_matched_calls_are_reused() -> None:
    @rule(always=True)
    def r(x):
        inner = op.Neg(x)
        yield op.Relu(inner)
        yield op.Abs(inner)

    m, _ = rewrite(parse("g (float[2] x) => (float[2] y) { a = Neg(x) y = Relu(a) }"), r)
    assert [(n.op_type, list(n.input)) for n in m.proto.graph.node] == [("Neg", ["x"]), ("Abs", ["a"])]


def test_metadata_is_inherited() -> None:
    model = parse(RELU)
    model.graph.node[0].doc_string = "from a layer"
    model.graph.node[0].metadata_props.add(key="source", value="line 3")
    m, _ = rewrite(model, relu_becomes(lambda x: op.Neg(op.Abs(x))))
    for n in m.proto.graph.node:
        assert n.doc_string == "from a layer"
        assert n.metadata_props[0].value == "line 3"


def test_new_domains_are_imported() -> None:
    ms = domain("com.microsoft")
    m, _ = rewrite(parse(RELU), relu_becomes(lambda x: ms.Gelu(x)))
    assert m.proto.graph.node[0].domain == "com.microsoft"
    assert {o.domain: o.version for o in m.proto.opset_import} == {"": 17, "com.microsoft": 1}


def test_domains_that_are_there_keep_their_version() -> None:
    ms = domain("com.microsoft")
    m, _ = rewrite(
        parse(RELU, imports=', "com.microsoft": 3'),
        relu_becomes(lambda x: ms.Gelu(x, k=1, alpha=np.float32(0.5), v=[np.float32(1)])),
    )
    assert m.opsets["com.microsoft"] == 3
    written = {a.name: helper.get_attribute_value(a) for a in m.proto.graph.node[0].attribute}
    assert written == {"k": 1, "alpha": 0.5, "v": [1.0]}


def test_a_declined_rule_imports_nothing() -> None:
    ms = domain("com.microsoft")
    assert declines(parse(RELU), relu_becomes(lambda x: op.Gelu(ms.Gelu(x))))


# ------------------------------------------------------------------------- constants
@pytest.mark.parametrize("dtype", ["float", "double", "float16", "bfloat16", "int32", "int64"])
def test_numbers_take_the_dtype_of_their_operands(dtype: str) -> None:
    text = f"g ({dtype}[2] x) => ({dtype}[2] y) {{ y = Abs(x) }}"

    @rule
    def r(x):
        yield op.Abs(x)
        yield x * 2 + 1

    m, _ = rewrite(parse(text), r)
    assert {t.data_type for t in m.proto.graph.initializer} == {getattr(TensorProto, dtype.upper())}
    assert sorted(float(v) for v in constants(m).values()) == [1, 2]
    assert all(v.shape == () for v in constants(m).values())


def test_arrays_computed_from_short_floats_are_rounded_again() -> None:
    for dtype in (np.float16, ml_dtypes.bfloat16):

        @rule
        def r(x, v: Const, w: Const):
            yield op.Mul(op.Mul(x, v), w)
            yield op.Mul(x, v * w)

        name = "float16" if dtype is np.float16 else "bfloat16"
        text = f"g ({name}[2] x) => ({name}[2] y) {{ a = Mul(x, v) y = Mul(a, w) }}"
        v, w = np.array([1.5, 2], dtype), np.array([3, 0.25], dtype)
        m, _ = rewrite(with_constants(text, v=v, w=w), r)
        (k,) = constants(m).values()
        assert k.dtype == dtype
        assert k.tolist() == [4.5, 0.5]


def test_matched_constants_are_used_again() -> None:
    @rule
    def r(x, w: Const):
        yield op.Relu(op.Mul(x, w))
        yield op.Mul(op.Abs(x), w)

    model = with_constants("g (float[2] x) => (float[2] y) { a = Mul(w, x) y = Relu(a) }", w=np.float32([1, 2]))
    m, _ = rewrite(model, r)
    assert list(m.proto.graph.initializer) == list(model.graph.initializer)
    (kept,) = m.graph.initializers.values()
    assert kept._proto is not None


def test_constants_that_nobody_reads_are_not_added() -> None:
    def build(x: Any) -> Any:
        op.Add(x, 5.0)
        return op.Abs(x)

    assert constants(rewrite(parse(RELU), relu_becomes(build))[0]) == {}


def test_a_constant_as_result() -> None:
    m, _ = rewrite(
        parse("g (float[2] x) => (float[2] y) { a = Relu(x) y = Neg(a) }"), relu_becomes(lambda x: np.array([1.0, 2.0]))
    )
    assert ops(m) == ["Neg"]
    (k,) = constants(m).values()
    assert (k.dtype, k.tolist()) == (np.float32, [1, 2])


def test_numbers_for_integer_parameters() -> None:
    m, _ = rewrite(parse(RELU), relu_becomes(lambda x: op.Gather(x, [1, 0], axis=0)))
    (k,) = constants(m).values()
    assert (k.dtype, k.tolist()) == (np.int64, [1, 0])


@pytest.mark.parametrize(
    ("dtype", "data", "reason"),
    [
        ("float16", 1e6, "overflows float16"),
        ("float16", -1e6, "overflows float16"),
        ("float16", 70000, "overflows float16"),
        ("float16", np.float32([1, 1e5]), "overflows float16"),
        ("bfloat16", 1e39, "overflows bfloat16"),
        ("float", 1e39, "overflows float"),
        ("int32", 0.5, "does not fit into int32"),
        ("int32", 1 << 40, "does not fit into int32"),
        ("int32", float("nan"), "does not fit into int32"),
        ("int32", float("inf"), "does not fit into int32"),
        ("uint8", -1, "does not fit into uint8"),
        ("uint8", 256, "does not fit into uint8"),
        ("uint8", np.array([3, 300]), "does not fit into uint8"),
        ("int8", 200.0, "does not fit into int8"),
    ],
)
def test_numbers_that_do_not_fit(dtype: str, data: Any, reason: str) -> None:
    kind = "Max" if dtype in ("uint8", "int8") else "Mul"
    text = f"g ({dtype}[2] x) => ({dtype}[2] y) {{ y = {kind}(x, x) }}"

    @rule
    def r(x):
        yield getattr(op, kind)(x, x)
        yield op.Max(x, data)

    assert declines(parse(text), r) == [f"a new constant {reason}"]


@pytest.mark.parametrize(
    ("dtype", "data", "expected"),
    [
        ("float16", float("inf"), float("inf")), ("float16", 65504, 65504), ("float", 0.1, np.float32(0.1)), ("int32", 3.0, 3),
        ("uint8", 255, 255), ("int8", -128, -128), ("float", True, 1), ("double", np.float32(0.1), float(np.float32(0.1))), ("float", 16777217, 16777216),
    ],
)  # fmt: skip
def test_numbers_that_fit(dtype: str, data: Any, expected: Any) -> None:
    @rule
    def r(x):
        yield op.Max(x, x)
        yield op.Max(x, data)

    m, _ = rewrite(parse(f"g ({dtype}[2] x) => ({dtype}[2] y) {{ y = Max(x, x) }}"), r)
    (k,) = constants(m).values()
    assert k == expected


def test_text() -> None:
    @rule
    def r(x):
        yield op.StringConcat(x, x)
        yield op.StringConcat(x, "é")

    @rule
    def number(x):
        yield op.StringConcat(x, x)
        yield op.StringConcat(x, 3)

    @rule
    def word(x):
        yield op.Relu(x)
        yield op.Max(x, "word")

    model = parse("g (string[2] x) => (string[2] y) { y = StringConcat(x, x) }", opset=20)
    m, _ = rewrite(model, r)
    assert [v.tolist() for v in constants(m).values()] == ["é"]
    fails(model, number, "text")
    fails(parse(RELU), word, "text")


def test_nothing_is_no_replacement() -> None:
    @rule
    def r(x, b: Maybe[Const]):
        yield op.Clip(x, b)
        yield b

    fails(parse("g (float[2] x) => (float[2] y) { y = Clip(x) }"), r, "None")


FUNCTION = helper.make_function(
    "local",
    "f",
    ["v", "k"],
    ["w"],
    [helper.make_node("Mul", ["v", "k"], ["m"]), helper.make_node("Relu", ["m"], ["w"])],
    [helper.make_opsetid("", 17)],
)


def in_function(function: onnx.FunctionProto = FUNCTION) -> ModelProto:
    text = "g (float16[2] x, float16[2] k) => (float16[2] y) { y = local.f(x, k) }"
    model = parse(text, imports=', "local": 1', check=False)
    model.functions.append(function)
    onnx.checker.check_model(model)
    return model


@pytest.mark.parametrize("data", [2.0, 2, np.float32(2), np.ones(2), np.array([1, 2])])
def test_where_dtypes_are_unknown_no_constant_is_made(data: Any) -> None:
    """In the body of a function nothing has a dtype; a number would be float or int, the operand beside it anything."""
    assert declines(in_function(), relu_becomes(lambda x: op.Max(x, data))) == [
        "the dtype of a new constant is not known"
    ]
    assert declines(in_function(), relu_becomes(lambda x: data)) == ["the dtype of a new constant is not known"]


def test_where_dtypes_are_unknown_shapes_are_still_integers() -> None:
    m, _ = rewrite(in_function(), relu_becomes(lambda x: op.Reshape(x, shape=[-1])))
    body = m.proto.functions[0].node
    assert [n.op_type for n in body] == ["Mul", "Constant", "Reshape"]
    assert list(body[1].attribute[0].t.dims) == [1]
    x = np.float16([1, 2])
    assert same_bits(run(m, x=x, k=x), [x * x])
    m, _ = rewrite(in_function(), relu_becomes(lambda x: op.Gather(x, [1, 0])))
    assert same_bits(run(m, x=x, k=x), [np.float16([4, 1])])


# --------------------------------------------------------------------------- opsets
def test_operators_that_the_opset_lacks() -> None:
    assert declines(parse(RELU), relu_becomes(lambda x: op.Gelu(x))) == ["Gelu does not exist at opset 17"]
    assert declines(parse(RELU), relu_becomes(lambda x: op.Upsample(x, [1.0, 1.0]))) == [
        "Upsample does not exist at opset 17"
    ]
    ml = domain("ai.onnx.ml")
    assert declines(parse(RELU), relu_becomes(lambda x: ml.Scaler(x))) == ["the model does not import ai.onnx.ml"]


def test_operators_that_no_opset_has() -> None:
    fails(parse(RELU), relu_becomes(lambda x: op.Gelo(x)), "Gelo, which no opset")
    ml = domain("ai.onnx.ml")
    fails(parse(RELU, imports=', "ai.onnx.ml": 3'), relu_becomes(lambda x: ml.Scalar(x)), "Scalar, which no opset")


def test_parameters_that_the_opset_lacks() -> None:
    r = relu_becomes(lambda x: op.Reshape(x, shape=[2, 3], allowzero=1))
    assert declines(parse(RELU, opset=13), r) == ["Reshape has no parameter 'allowzero' at opset 13"]
    assert ops(rewrite(parse(RELU, opset=14), r)[0]) == ["Reshape"]
    fails(parse(RELU), relu_becomes(lambda x: op.Reshape(x, shape=[2, 3], allowone=1)), "'allowone' at any opset")
    fails(parse(RELU), relu_becomes(lambda x: op.Softmax(x, axes=[1])), "'axes' at any opset")


def test_inputs_that_the_opset_lacks() -> None:
    assert declines(parse(RELU, opset=6), relu_becomes(lambda x: op.Clip(x, 0.0, 6.0))) == [
        "Clip takes 1 inputs at this opset"
    ]
    fails(parse(RELU), relu_becomes(lambda x: op.Abs(x, x)), "with 2 inputs, it takes 1")
    fails(parse(RELU), relu_becomes(lambda x: op.Mul(x)), "without its input B")
    fails(parse(RELU), relu_becomes(lambda x: op.Where(x, None, x)), "without its input X")
    fails(parse(RELU), relu_becomes(lambda x: op.Concat(axis=0)), "without its input")
    fails(parse(RELU), relu_becomes(lambda x: op.Abs(x, outputs=2)[0]), "with 2 outputs")
    fails(parse(RELU), relu_becomes(lambda x: op.Cast(x)), "without its attribute to")
    fails(parse(RELU), relu_becomes(lambda x: op.Cast(x, to=None)), "without its attribute to")


#: What is written, opset, where it lies: the name of an attribute, or the number of an input.
PLACES: list[tuple[Any, int, Any]] = [
    (lambda x: op.Squeeze(op.Unsqueeze(x, axes=[0]), axes=[0]), 11, "axes"),
    (lambda x: op.Squeeze(op.Unsqueeze(x, axes=[0]), axes=[0]), 13, 1),
    (lambda x: op.Clip(x, min=0.0, max=6.0), 6, "min"),
    (lambda x: op.Clip(x, min=0.0, max=6.0), 11, 1),
    (lambda x: op.Clip(x, min=None, max=6.0), 6, "max"),
    (lambda x: op.Clip(x, min=None, max=6.0), 13, 2),
    (lambda x: op.ReduceSum(x, axes=[1], keepdims=1) * x, 11, "axes"),
    (lambda x: op.ReduceSum(x, axes=[1], keepdims=1) * x, 13, 1),
    (lambda x: op.ReduceMean(x, axes=[1]) * x, 17, "axes"),
    (lambda x: op.ReduceMean(x, axes=[1]) * x, 18, 1),
    (lambda x: op.Slice(x, starts=[0], ends=[2], axes=[0], steps=None), 9, "starts"),
    (lambda x: op.Slice(x, starts=[0], ends=[2], axes=[0]), 10, 1),
    (lambda x: op.Slice(x, starts=[0], ends=[2], axes=[0], steps=[1]), 17, 4),
    (lambda x: op.Pad(x, pads=[0, 0, 0, 0], value=1.0), 2, "pads"),
    (lambda x: op.Pad(x, pads=[0, 0, 0, 0], value=1.0), 11, 2),
    (lambda x: op.Pad(x, pads=[0, 0, 0, 0], value=1.0), 18, 2),
    (lambda x: op.TopK(x, k=3, axis=1, outputs=2)[0], 9, "k"),
    (lambda x: op.TopK(x, k=3, axis=1, outputs=2)[0], 11, 1),
    (lambda x: op.Dropout(x, ratio=0.25), 10, "ratio"),
    (lambda x: op.Dropout(x, ratio=0.25), 13, 1),
    (lambda x: op.Reshape(x, shape=[2, 3]), 5, 1),
    (lambda x: op.Expand(x, [2, 3]), 13, 1),
    (lambda x: op.Tile(x, repeats=[1, 1]), 13, 1),
]


@pytest.mark.parametrize(
    ("build", "opset", "place"), PLACES, ids=[f"{i}-{o}-{p}" for i, (_, o, p) in enumerate(PLACES)]
)
def test_parameters_go_where_the_opset_keeps_them(build: Any, opset: int, place: Any) -> None:
    if opset < 7 and "Mul" in build.__code__.co_names:
        return
    m, ledger = rewrite(parse(RELU, opset=opset), relu_becomes(build))
    assert len(ledger.steps) == 1, reasons(ledger)
    onnx.checker.check_model(m.proto, full_check=True)
    written = next(n for n in reversed(m.proto.graph.node) if n.op_type not in ("Mul", "Constant"))
    if isinstance(place, str):
        assert place in {a.name for a in written.attribute}
    else:
        assert len(written.input) > place and written.input[place]
    assert m.graph.model.proto.graph.node[-1].input[0] != ""


def test_defaults_are_not_written() -> None:
    m, _ = rewrite(parse(RELU), relu_becomes(lambda x: op.Softmax(x, axis=-1)))
    assert not m.proto.graph.node[0].attribute
    m, _ = rewrite(parse(RELU), relu_becomes(lambda x: op.LeakyRelu(x, alpha=0.5)))
    (a,) = m.proto.graph.node[0].attribute
    assert (a.name, a.f) == ("alpha", 0.5)


def test_attributes_have_the_type_of_the_schema() -> None:
    m, _ = rewrite(
        parse(RELU), relu_becomes(lambda x: op.LeakyRelu(op.Transpose(op.Transpose(x), perm=np.array([1, 0])), alpha=1))
    )
    written = {a.name: a for n in m.proto.graph.node for a in n.attribute}
    assert written["alpha"].type == onnx.AttributeProto.FLOAT
    assert (written["perm"].type, list(written["perm"].ints)) == (onnx.AttributeProto.INTS, [1, 0])


def test_all_attributes_are_handed_on() -> None:
    @rule
    def r(x, w, attrs: Attrs):
        yield op.Relu(op.Conv(x, w, **attrs))
        yield op.Conv(op.Abs(x), w, **attrs)

    text = "g (float[1, 1, 4, 4] x, float[1, 1, 2, 2] w) => (float[1, 1, M, N] y) { a = Conv<%s>(x, w) y = Relu(a) }"
    m, _ = rewrite(parse(text % "strides=[2, 2], pads=[0, 0, 1, 1]"), r)
    written = {a.name: list(a.ints) for a in nodes(m, "Conv")[0].attribute}
    assert written == {"strides": [2, 2], "pads": [0, 0, 1, 1]}


def test_broadcasting_before_opset_7() -> None:
    """It had to be asked for by an attribute; a plain Mul multiplies equal shapes."""
    r = relu_becomes(lambda x: op.Mul(x, 2.0))
    assert declines(parse(RELU, opset=6), r) == ["Mul does not broadcast at this opset"]
    assert ops(rewrite(parse(RELU, opset=7), r)[0]) == ["Mul"]
    assert ops(rewrite(parse(RELU, opset=6), relu_becomes(lambda x: op.Mul(x, x)))[0]) == ["Mul"]


# --------------------------------------------------------------------- dtypes, shapes
def test_other_dtypes() -> None:
    assert declines(parse(RELU), relu_becomes(lambda x: op.Cast(x, to=TensorProto.DOUBLE))) == [
        "the replacement is double, the original float"
    ]
    assert declines(parse(RELU), relu_becomes(lambda x: op.Add(x, op.Cast(x, to=TensorProto.DOUBLE)))) == [
        "Add would mix float and double"
    ]
    assert declines(parse(RELU), relu_becomes(lambda x: op.Not(x))) == ["Not takes no float at this opset"]
    integers = parse("g (int32[2, 3] x) => (int32[2, 3] y) { y = Relu(x) }")
    assert declines(integers, relu_becomes(lambda x: op.Sigmoid(x))) == ["Sigmoid takes no int32 at this opset"]


def test_operators_that_took_a_dtype_later() -> None:
    r = relu_becomes(lambda x: op.Max(x, x))
    halves = "g (float16[2, 3] x) => (float16[2, 3] y) { y = Relu(x) }"
    longs = "g (int64[2, 3] x) => (int64[2, 3] y) { y = Abs(x) }"

    @rule
    def of_abs(x):
        yield op.Abs(x)
        yield op.Max(x, x)

    assert ops(rewrite(parse(halves, opset=11), r)[0]) == ["Max"]
    assert declines(parse(longs, opset=11), of_abs) == ["Max takes no int64 at this opset"]
    assert ops(rewrite(parse(longs, opset=12), of_abs)[0]) == ["Max"]


@pytest.mark.contradicts
def test_other_shapes() -> None:
    (reason,) = declines(parse(RELU), relu_becomes(lambda x: op.Transpose(x)))
    assert reason == "the replacement has shape [3, 2], the original [2, 3]"
    (reason,) = declines(parse(RELU), relu_becomes(lambda x: op.Unsqueeze(x, axes=[0])))
    assert "shape [1, 2, 3]" in reason
    (reason,) = declines(parse(RELU), relu_becomes(lambda x: np.zeros(3)))
    assert "shape [3]" in reason
    (reason,) = declines(parse(RELU), relu_becomes(lambda x: op.MatMul(x, x)))
    assert reason.startswith("MatMul: ")


@pytest.mark.contradicts
def test_shapes_that_may_be_equal() -> None:
    model = parse("g (float[N, M] x) => (float[N, M] y) { y = Relu(x) }")
    m, _ = rewrite(model, relu_becomes(lambda x: op.Transpose(x)))
    assert ops(m) == ["Transpose"]
    (reason,) = declines(model, relu_becomes(lambda x: op.Unsqueeze(x, axes=[0])))
    assert "shape" in reason


def test_types_of_new_values() -> None:
    m, _ = rewrite(
        parse("g (float[N, 3] x) => (float[A, B] y) { a = Relu(x) b = Transpose(a) y = Neg(b) }"),
        relu_becomes(lambda x: op.Abs(op.Sin(x))),
    )
    for node in m.graph:
        assert (node.output.dtype, node.output.shape) == (1, ("N", 3) if node.op in ("Abs", "Sin") else (3, "N"))


# ------------------------------------------------------------------- errors of the rule
def test_the_number_of_results() -> None:
    @rule
    def two(x):
        yield op.Relu(x)
        yield x, x

    @rule
    def one(x):
        yield op.Relu(x), op.Neg(x)
        yield x

    fails(parse(RELU), two, "has 1 outputs, the replacement 2")
    fails(
        parse("g (float[2] x) => (float[2] y, float[2] z) { y = Relu(x) z = Neg(x) }"),
        one,
        "has 2 outputs, the replacement 1",
    )


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyError, IndexError, TypeError, AssertionError, StopIteration])
def test_bodies_that_fail(error: type[Exception]) -> None:
    @rule
    def r(x):
        yield op.Relu(x)
        raise error("oh dear")
        yield x

    fails(parse(RELU), r, f"failed with ({error.__name__}|RuntimeError): ")


def test_guards() -> None:
    @rule
    def silent(x):
        yield op.Relu(x)
        if x.rank == 2:
            return
        yield x

    @rule
    def outspoken(x):
        yield op.Relu(x)
        if x.rank == 2:
            return f"rank {x.rank} is not for me"
        yield x

    assert declines(parse(RELU), silent) == ["the guard says no"]
    assert declines(parse(RELU), outspoken) == ["rank 2 is not for me"]


def test_comparing_terms_is_an_error() -> None:
    @rule
    def r(x):
        yield op.Relu(x)
        if x > 0:
            return "positive"
        yield x

    fails(parse(RELU), r, "failed with TypeError")


def test_asking_what_a_new_call_is() -> None:
    fails(parse(RELU), relu_becomes(lambda x: op.Neg(x) if op.Abs(x).shape else x), "not part of what was matched")


def test_what_cannot_stand_in_a_replacement() -> None:
    @rule
    def r(x):
        yield op.Relu(x)
        yield any_of(x, op.Neg(x))

    fails(parse(RELU), r, "cannot stand in a replacement")


def test_a_replacement_that_is_what_was_there() -> None:
    assert declines(parse(RELU), relu_becomes(lambda x, y: y)) == ["the replacement is what was there"]


def test_a_replacement_that_reads_what_it_replaces() -> None:
    for build in (lambda x, y: op.Neg(y), lambda x, y: op.Add(x, op.Neg(y))):
        (reason,) = declines(parse(RELU), relu_becomes(build))
        assert "reads what it replaces" in reason


def test_one_output_from_another_of_the_same_node() -> None:
    @rule(always=True)
    def r(x):
        first, second = op.Split(x, axis=0, outputs=2)
        yield first
        yield op.Neg(second)

    @rule(always=True)
    def same(x):
        first, second = op.Split(x, axis=0, outputs=2)
        yield first
        yield second

    text = "g (float[4] x) => (float[2] y, float[2] z) { p, q = Split<axis=0>(x) y = Relu(p) z = Abs(q) }"
    (reason,) = declines(parse(text, opset=13), r)
    assert "reads what it replaces" in reason
    m, _ = rewrite(parse(text, opset=13), same)
    assert [list(n.input) for n in m.proto.graph.node] == [["x"], ["q"], ["q"]]


def test_parameters_of_all_kinds_can_be_handed_on() -> None:
    @rule(always=True)
    def r(x, p: Perm, a: Axis, s: Float, k: Int, e: Maybe[Ints]):
        yield op.ReduceSum(op.LeakyRelu(op.Softmax(op.Transpose(x, perm=p), axis=a), alpha=s), axes=e, keepdims=k)
        yield op.ReduceSum(
            op.LeakyRelu(op.Softmax(op.Transpose(op.Abs(x), perm=p), axis=a), alpha=s), axes=e, keepdims=k
        )

    text = "g (float[2, 3] x) => (float[M, N] y) { t = Transpose(x) s = Softmax<axis=-2>(t) l = LeakyRelu<alpha=0.3>(s) y = ReduceSum(l) }"
    m = load(parse(text))
    infer_model(m)
    driver = Driver(Rewriter(m, Ledger()), RuleSet([r]))
    with pytest.raises(RuleError, match="rewrites its own result"):
        driver.run()
    node = next(n for n in m.graph if n.op == "Softmax")
    assert node.attributes == {"axis": 0}
    invariants.check(m)


def test_parameters_by_name_and_behind_variadic_ones() -> None:
    @rule
    def only_named(x, *, a: Int):
        yield op.Neg(op.Concat(x, x, axis=a))
        yield op.Concat(-x, -x, axis=a)

    @rule
    def behind(first, *xs, a: Int):
        yield op.Neg(op.Concat(first, *xs, axis=a))
        yield op.Concat(-first, *(op.Abs(x) for x in xs), axis=a)

    model = "g (float[2, 2] x, float[2, 2] z) => (float[4, 2] y) { c = Concat<axis=0>(%s) y = Neg(c) }"
    m, _ = rewrite(parse(model % "x, x"), only_named)
    assert ops(m) == ["Neg", "Neg", "Concat"]
    m, _ = rewrite(parse(model % "z, x"), behind)
    assert [(n.op_type, n.input[0]) for n in m.proto.graph.node[:2]] == [("Neg", "z"), ("Abs", "x")]
