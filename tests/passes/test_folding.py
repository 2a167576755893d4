"""Folding: what is computed ahead of time, what is left alone, and within which budget."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from graphopt import load, optimize
from graphopt.errors import ModelError
from graphopt.ir import Model
from graphopt.passes import constant_folding
from tests.ir import invariants
from tests.ir.building import constants, ops, parse, run, same_bits, with_constants


def fold(model: ModelProto, **kwargs: Any) -> Model:
    """Fold and nothing else; the same interface, the same outputs."""
    before = model.SerializeToString(deterministic=True)
    m = optimize(model, **({"level": 1, "only": "constant_folding"} | kwargs))
    invariants.check(m)
    onnx.checker.check_model(m.proto)
    assert model.SerializeToString(deterministic=True) == before
    assert list(m.proto.graph.output) == list(model.graph.output)
    return m


def folded(model: ModelProto, **kwargs: Any) -> list[np.ndarray]:
    """What a model without inputs gives, once nothing is left to compute."""
    m = fold(model, **kwargs)
    assert set(ops(m)) <= {"Identity"}, ops(m)
    got = [np.asarray(o) for o in run(m)]
    assert same_bits(got, run(model))
    return got


def refused(m: Model) -> list[str]:
    assert m.report is not None
    return [reason for rule, reason, _, _ in m.report.refusals() if rule == "constant_folding"]


# --------------------------------------------------------------------------- values
def test_a_chain() -> None:
    model = with_constants(
        "g (float[2] x) => (float[2] y) { a = Add(k, l) b = Mul(a, l) y = Add(x, b) }",
        k=np.float32([1, 2]),
        l=np.float32([3, 4]),
    )
    m = fold(model)
    assert ops(m) == ["Add"]
    (c,) = constants(m).values()
    assert c.tolist() == [12, 24]
    x = np.float32([5, 6])
    assert same_bits(run(m, x=x), run(model, x=x))
    assert {s.rule for s in m.report.steps} == {"constant_folding"}


@pytest.mark.parametrize(
    "dtype",
    [
        "float16",
        "float",
        "double",
        "int8",
        "uint8",
        "int32",
        "int64",
        "bool",
        "bfloat16",
        "int4",
        "uint4",
        "float8e4m3fn",
    ],
)
def test_results_of_every_dtype(dtype: str) -> None:
    to = getattr(TensorProto, dtype.upper())
    model = parse(
        f"g () => ({dtype}[2] y) {{ k = Constant<value_floats=[0.0, 1.0]>() y = Cast<to={to}>(k) }}", opset=21, ir=10
    )
    m = fold(model)
    if ops(m) == ["Cast"]:
        assert refused(m), "a refusal is said"
        return
    (t,) = [numpy_helper.to_array(n.attribute[0].t) for n in m.proto.graph.node] if len(m.graph) else []
    assert t.dtype == helper.tensor_dtype_to_np_dtype(to)
    assert t.astype(np.float32).tolist() == [0, 1]


def test_arithmetic_on_short_floats() -> None:
    for dtype, name in ((np.float16, "float16"), (ml_dtypes.bfloat16, "bfloat16")):
        k = np.array([1.5, 0.1]).astype(dtype)
        model = with_constants(f"g ({name}[2] x) => ({name}[2] y) {{ a = Mul(k, k) y = Add(x, a) }}", k=k)
        m = fold(model)
        if ops(m) == ["Add"]:
            (c,) = constants(m).values()
            assert c.dtype == dtype
            assert c.tobytes() == (k * k).tobytes()
        else:
            assert refused(m)


def test_text() -> None:
    model = parse(
        'g () => (string[2] y) { k = Constant<value_strings=["a", "é"]>() l = Constant<value_strings=["b", ""]>() y = StringConcat(k, l) }',
        opset=20,
    )
    (y,) = folded(model)
    assert y.tolist() == ["ab", "é"]
    split = parse(
        'g (string[N] x) => (string[N] y) { k = Constant<value_strings=["a b"]>() t, n = StringSplit(k) u = Squeeze(t) y = StringConcat(x, u) }',
        opset=20,
    )
    m = fold(split)
    assert same_bits(run(m, x=np.array(["q"], object)), run(split, x=np.array(["q"], object)))


def test_numbers_as_text() -> None:
    model = parse(
        f"g () => (string[2] y) {{ k = Constant<value_floats=[0.5, 2.0]>() y = Cast<to={TensorProto.STRING}>(k) }}"
    )
    m = fold(model)
    assert [list(map(str, np.asarray(o).tolist())) for o in run(m)] == [["0.5", "2.0"]]


def test_nan_and_signed_zero() -> None:
    model = parse(
        "g () => (float[4] y) { k = Constant<value_floats=[0.0, 1.0, -1.0, 2.0]>() z = Constant<value_floats=[-1.0, 0.0, 0.0, 0.0]>() m = Mul(k, z) y = Div(z, m) }"
    )
    (y,) = folded(model)
    assert np.isnan(y[1])
    model = parse(
        "g () => (float[2] y) { k = Constant<value_floats=[0.0, 5.0]>() z = Constant<value_floats=[-1.0, -1.0]>() y = Mul(k, z) }"
    )
    (y,) = folded(model)
    assert np.signbit(y[0])


def test_several_outputs() -> None:
    text = "g (float[2] x) => (float[2] y) { v, i = TopK(k, n) c = Cast<to=1>(i) a = Add(x, v) y = Add(a, c) }"
    model = with_constants(text, k=np.float32([1, 5, 3]), n=np.array([2]))
    m = fold(model)
    assert ops(m) == ["Add", "Add"]
    x = np.float32([0, 0])
    assert same_bits(run(m, x=x), run(model, x=x))


def test_outputs_that_nobody_reads() -> None:
    text = "g (float[1] x) => (float[1] y) { v, i = TopK(k, n) y = Add(x, v) }"
    m = fold(with_constants(text, k=np.float32([1, 5, 3]), n=np.array([1])))
    assert ops(m) == ["Add"]
    assert len(constants(m)) == 1


def test_left_out_inputs_and_outputs() -> None:
    text = "g (float[2] x) => (float[2] y) { c = Clip(k, lo, hi) y = Add(x, c) }"
    model = with_constants(text, k=np.float32([1, 9]), lo=np.float32(0), hi=np.float32(6))
    model.graph.node[0].input[1] = ""
    m = fold(model)
    (c,) = [v for n, v in constants(m).items() if n not in ("k", "lo", "hi")]
    assert c.tolist() == [1, 6]


def test_empty_tensors() -> None:
    model = with_constants(
        "g (float[2] x) => (float[N] y) { e = Mul(k, k) y = Concat<axis=0>(x, e) }", k=np.zeros(0, np.float32)
    )
    m = fold(model)
    assert ops(m) == ["Concat"]
    assert same_bits(run(m, x=np.float32([1, 2])), [np.float32([1, 2])])


# -------------------------------------------------------------------------- outputs
def test_graph_outputs_that_fold() -> None:
    (y,) = folded(parse("g () => (float[2] y) { k = Constant<value_floats=[1.0, 2.0]>() y = Neg(k) }"))
    assert y.tolist() == [-1, -2]


def test_graph_outputs_that_are_read_as_well() -> None:
    model = with_constants(
        "g (float[2] x) => (float[2] y, float[2] z) { y = Neg(k) z = Add(x, y) }", k=np.float32([1, 2])
    )
    m = fold(model)
    x = np.float32([1, 1])
    assert same_bits(run(m, x=x), run(model, x=x))
    assert "Neg" not in ops(m)


def test_a_constant_as_output_is_left_as_it_is() -> None:
    for text in (
        "g () => (float[2] y) { y = Constant<value_floats=[1.0, 2.0]>() }",
        "g () => (float[2] k) <float[2] k = {1, 2}> {}",
    ):
        m = fold(parse(text))
        assert m.report.steps == []
    model = parse("g () => (float[2] y) <float[2] k = {1, 2}> { y = Identity(k) }")
    m = fold(model)
    assert ops(m) == []
    assert run(m)[0].tolist() == [1, 2]
    model = with_constants("g () => (float[N] y) { y = Identity(k) }", k=np.zeros(1000, np.float32))
    assert ops(fold(model)) == ["Identity"], "a large constant stays where it is"


def test_output_shapes_stay_as_declared() -> None:
    model = with_constants("g () => (float[N] y) { y = Neg(k) }", k=np.float32([1, 2]))
    assert fold(model).proto.graph.output[0] == model.graph.output[0]


# ------------------------------------------------------------------------- refusals
def test_barriers() -> None:
    """Weights stay quantized."""
    text = "g (float[2] x) => (float[2] y) { w = DequantizeLinear(q, s, z) n = Neg(w) y = Add(x, n) }"
    model = with_constants(text, q=np.int8([1, 2]), s=np.float32(0.5), z=np.int8(0))
    m = fold(model)
    assert ops(m) == ["DequantizeLinear", "Neg", "Add"]
    assert m.report.steps == []


@pytest.mark.parametrize(
    "line", ["r = RandomNormal<shape=[2]>()", "r = RandomUniformLike(k)", "r = Bernoulli(k)", "r = my.Foo(k)"]
)
def test_random_and_unknown_operators(line: str) -> None:
    model = parse(
        f"g (float[2] x) => (float[2] y) <float[2] k = {{1, 2}}> {{ {line} y = Add(x, r) }}", imports=', "my": 1'
    )
    assert len(ops(fold(model))) == 2


def test_dropout_that_draws_numbers() -> None:
    text = "g (float[2] x) => (float[2] y) { d = Dropout(k, r, t) y = Add(x, d) }"
    m = fold(with_constants(text, k=np.float32([1, 2]), r=np.float32(0.5), t=np.array(True)))
    assert ops(m) == ["Dropout", "Add"]


def test_overridable_initializers() -> None:
    text = "g (float[2] x, float[2] k) => (float[2] y) <float[2] k = {1, 2}> { a = Neg(k) y = Add(x, a) }"
    m = fold(parse(text))
    assert ops(m) == ["Neg", "Add"]
    assert any("freeze_inputs" in w for w in m.report.warnings)
    m = optimize(parse(text), level=1, freeze_inputs=True)
    assert ops(m) == ["Add"]
    assert [i.name for i in m.proto.graph.input] == ["x"]


def test_shapes_of_overridable_initializers() -> None:
    """Callers may give other values; only what the interface declares is sure."""
    text = "g (float[2, 3] x, int64[2] s) => (int64[2] y) <int64[2] s = {3, 2}> { r = Reshape(x, s) y = Shape(r) }"
    model = parse(text)
    m = optimize(model, level=2)
    x, s = np.zeros((2, 3), np.float32), np.array([1, 6])
    assert run(m, x=x, s=s)[0].tolist() == [1, 6]


def test_functions_and_their_attributes() -> None:
    body = [helper.make_node("Constant", [], ["k"], value_float=2.0), helper.make_node("Neg", ["k"], ["n"])]
    leaky = helper.make_node("LeakyRelu", ["n"], ["m"])
    leaky.attribute.add(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    body += [leaky, helper.make_node("Add", ["v", "m"], ["w"])]
    model = parse("g (float[2] x) => (float[2] y) { y = local.f<slope = 0.5>(x) }", imports=', "local": 1', check=False)
    model.functions.append(
        helper.make_function("local", "f", ["v"], ["w"], body, [helper.make_opsetid("", 17)], ["slope"])
    )
    m = fold(model)
    assert [n.op_type for n in m.proto.functions[0].node] == ["Constant", "LeakyRelu", "Add"]


def test_constants_of_functions_that_the_call_decides() -> None:
    k = helper.make_node("Constant", [], ["k"])
    k.attribute.add(name="value_float", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    body = [k, helper.make_node("Neg", ["k"], ["n"]), helper.make_node("Mul", ["v", "n"], ["w"])]
    model = parse("g (float[2] x) => (float[2] y) { y = local.f<slope = 0.5>(x) }", imports=', "local": 1', check=False)
    model.functions.append(
        helper.make_function("local", "f", ["v"], ["w"], body, [helper.make_opsetid("", 17)], ["slope"])
    )
    m = fold(model)
    x = np.float32([1, 2])
    assert same_bits(run(m, x=x), [np.float32([-0.5, -1])])


def test_dtypes_in_functions() -> None:
    """Where nothing is known of dtypes, the result must still have the right one."""
    half = numpy_helper.from_array(np.float16([2, 3]))
    body = [helper.make_node("Constant", [], ["k"], value=half)]
    for i, op in enumerate(("Sqrt", "Exp", "ReduceMean", "Softmax", "Sigmoid", "Erf")):
        body.append(helper.make_node(op, ["k"], [f"p{i}"]))
    body.append(helper.make_node("Sum", ["v", *(f"p{i}" for i in range(6))], ["w"]))
    model = parse("g (float16[2] x) => (float16[2] y) { y = local.f(x) }", imports=', "local": 1', check=False)
    model.functions.append(helper.make_function("local", "f", ["v"], ["w"], body, [helper.make_opsetid("", 17)]))
    m = fold(model)
    assert {n.attribute[0].t.data_type for n in m.proto.functions[0].node if n.op_type == "Constant"} == {
        TensorProto.FLOAT16
    }


def test_dtypes_that_the_reference_gets_wrong() -> None:
    """onnx's reference makes int64 of a sum of int32 squares."""
    body = [helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.int32([2, 3])))]
    body += [helper.make_node("ReduceSumSquare", ["k"], ["s"]), helper.make_node("Add", ["v", "s"], ["w"])]
    model = parse("g (int32[2] x) => (int32[2] y) { y = local.f(x) }", imports=', "local": 1', check=False)
    model.functions.append(helper.make_function("local", "f", ["v"], ["w"], body, [helper.make_opsetid("", 17)]))
    m = fold(model)
    made = {n.attribute[0].t.data_type for n in m.proto.functions[0].node if n.op_type == "Constant"}
    assert made == {TensorProto.INT32}


def test_operators_that_fail_on_these_inputs() -> None:
    text = "g (float[2] x) => (float[2] y) { r = Gather(k, i) y = Add(x, r) }"
    m = fold(with_constants(text, k=np.float32([1, 2]), i=np.array(7)))
    assert ops(m) == ["Gather", "Add"]
    assert any("cannot compute" in r for r in refused(m))


def test_what_a_message_does_not_hold() -> None:
    model = parse("g (float[2] x) => (float[2] y) { a = Neg(k) y = Add(x, a) }", check=False)
    model.graph.initializer.append(TensorProto(name="k", data_type=1, dims=[2], raw_data=b"123"))
    with pytest.raises(ModelError, match="'k'"):
        optimize(model, level=1)


def test_sequences_are_left_alone() -> None:
    text = "g (float[2] x) => (float[2] y) { s = SequenceConstruct(k, k) a = SequenceAt(s, i) y = Add(x, a) }"
    m = fold(with_constants(text, k=np.float32([1, 2]), i=np.array(0)))
    assert ops(m) == ["SequenceConstruct", "SequenceAt", "Add"]


# --------------------------------------------------------------------------- budget
def expanded(elements: int, **kwargs: Any) -> Model:
    model = with_constants(
        f"g (float[{elements}] x) => (float[{elements}] y) {{ e = Expand(k, s) y = Add(x, e) }}",
        k=np.float32([1]),
        s=np.array([elements]),
    )
    return fold(model, **kwargs)


def test_what_makes_the_model_larger() -> None:
    assert ops(expanded(1000)) == ["Add"]
    m = expanded(1 << 19)
    assert ops(m) == ["Expand", "Add"]
    assert "larger than what folding may add" in refused(m)[0]
    assert ops(expanded(1 << 19, fold_allowance=1 << 22)) == ["Add"]
    assert ops(expanded(1000, fold_allowance=0)) == ["Expand", "Add"]


def test_the_budget_is_for_all_together() -> None:
    lines = " ".join(f"e{i} = Expand(k, s) v{i + 1} = Add(v{i}, e{i})" for i in range(6)).replace("v0", "x")
    model = with_constants(
        f"g (float[100] x) => (float[100] y) {{ {lines} y = Identity(v6) }}", k=np.float32([1]), s=np.array([100])
    )
    m = fold(model, fold_allowance=1300)
    assert ops(m).count("Expand") == 3


def test_what_is_freed_counts() -> None:
    """Transposing a large weight is free, since the weight itself goes."""
    text = "g (float[600, 600] x) => (float[600, 600] y) { t = Transpose(w) y = Add(x, t) }"
    w = np.zeros((600, 600), np.float32)
    assert ops(fold(with_constants(text, w=w), level=2)) == ["Add"]
    used_twice = "g (float[600, 600] x) => (float[600, 600] y) { t = Transpose(w) a = Add(x, t) y = Add(a, w) }"
    m = fold(with_constants(used_twice, w=w), level=2)
    assert ops(m) == ["Transpose", "Add", "Add"]


def test_huge_inputs_are_not_computed_with(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "g (float[2] x) => (float[2] y) { s = ReduceSum<keepdims=0>(w) y = Add(x, s) }"
    model = with_constants(text, w=np.ones(1000, np.float32))
    assert ops(fold(model)) == ["Add"]
    monkeypatch.setattr(constant_folding, "_INPUT_LIMIT", 3999)
    m = fold(model)
    assert ops(m) == ["ReduceSum", "Add"]
    assert any("too large to compute" in r for r in refused(m))


# --------------------------------------------------------------------------- bodies
def test_inside_branches() -> None:
    model = parse(
        """g (bool c, float[2] x) => (float[2] y) <float[2] k = {1, 2}> {
            y = If (c) <then_branch = t () => (float[2] u) { a = Neg(k) u = Add(x, a) }, else_branch = e () => (float[2] v) { b = Abs(k) v = Mul(b, b) }>
        }"""
    )
    m = fold(model)
    branches = {a.g.name: [n.op_type for n in a.g.node] for a in m.proto.graph.node[0].attribute}
    assert branches["t"] == ["Add"]
    assert set(branches["e"]) <= {"Identity", "Constant"}
    for c in (True, False):
        feeds = {"c": np.array(c), "x": np.float32([3, 4])}
        assert same_bits(run(m, **feeds), run(model, **feeds))


def test_variables_of_loops_are_no_constants() -> None:
    model = parse(
        """g (int64 n, bool go) => (float[2] y) <float[2] k = {1, 2}> {
            y = Loop (n, go, k) <body = b (int64 i, bool c, float[2] v) => (bool l, float[2] o) { l = Identity(c) d = Neg(k) o = Add(v, d) }>
        }"""
    )
    m = fold(model)
    feeds = {"n": np.array(3), "go": np.array(True)}
    assert same_bits(run(m, **feeds), run(model, **feeds))


# --------------------------------------------------------------------------- shapes
def shape_of(lines: str, declared: str = "2, N, 4, 5", opset: int = 17, **arrays: Any) -> Model:
    dims = f"[{declared}]" if declared else ""
    values = {k: np.array(v) for k, v in arrays.items()}
    model = with_constants(f"g (float{dims} x) => (int64[K] y) {{ {lines} }}", opset=opset, **values)
    m = fold(model)
    for n in (1, 3):
        x = np.zeros([n if d == "N" else int(d) for d in declared.split(", ") if d], np.float32)
        assert same_bits(run(m, x=x), run(model, x=x))
    return m


def left(m: Model) -> bool:
    """Whether something is still computed from the input."""
    return any(n.op_type in ("Shape", "Size", "Gather", "Slice") for n in m.proto.graph.node)


def test_known_shapes() -> None:
    assert not left(shape_of("y = Shape(x)", "2, 3"))
    assert left(shape_of("y = Shape(x)", "2, N"))
    assert not left(shape_of("a = Shape(x) y = Identity(a)", ""))
    assert not left(shape_of("a = Shape(x) y = Neg(a)", "0, 3"))


@pytest.mark.parametrize("start", [None, 0, 2, -2, -9, 9])
@pytest.mark.parametrize("end", [None, 1, 4, -1, -9, 9])
def test_parts_of_shapes(start: int | None, end: int | None) -> None:
    attributes = ", ".join(f"{k}={v}" for k, v in (("start", start), ("end", end)) if v is not None)
    m = shape_of(f"y = Shape<{attributes}>(x)" if attributes else "y = Shape(x)")
    taken = list(range(4))[slice(start, end)]
    assert left(m) is (1 in taken)


@pytest.mark.parametrize("index", [0, 2, -1, -4, [0], [3, 2], [[0, -1]], [], [0, 1]])
def test_gathered_dims(index: Any) -> None:
    lines = "s = Shape(x) g = Gather(s, i) y = Reshape(g, m)"
    m = shape_of(lines, i=np.array(index, np.int64), m=[-1] if index != [] else [0])
    assert left(m) is (index in ([0, 1],))


def test_gathered_dims_that_are_not_there() -> None:
    for index in (4, -5):
        model = with_constants(
            "g (float[2, N, 4, 5] x) => (int64 y) { s = Shape(x) y = Gather(s, i) }", i=np.array(index)
        )
        m = fold(model)
        assert left(m)


@pytest.mark.parametrize("start", [0, 1, 2, -1, -2, -4, -9, 4, 9, -(2**62)])
@pytest.mark.parametrize("end", [0, 2, 4, -1, -3, -9, 9, 2**62, 2**63 - 1])
def test_sliced_shapes(start: int, end: int) -> None:
    m = shape_of("s = Shape(x) y = Slice(s, b, e)", b=[start], e=[end])
    taken = list(range(4))[slice(start, end)]
    assert left(m) is (1 in taken)


@pytest.mark.parametrize("step", [1, 2, -1, -2, 3])
@pytest.mark.parametrize(("start", "end"), [(0, 4), (3, 0), (3, -9), (-1, -9), (0, 2)])
def test_sliced_shapes_with_steps(start: int, end: int, step: int) -> None:
    taken = list(range(4))[slice(start, None if end == -9 and step < 0 else end, step)]
    for axis in (0, -1):
        m = shape_of("s = Shape(x) y = Slice(s, b, e, a, t)", b=[start], e=[end], a=[axis], t=[step])
        assert left(m) is (1 in taken)


def test_slices_of_old_opsets() -> None:
    m = shape_of("s = Shape(x) y = Slice<starts=[2], ends=[4]>(s)", opset=9)
    assert same_bits(run(m, x=np.zeros((2, 1, 4, 5), np.float32)), [np.array([4, 5])])


def test_numbers_of_elements() -> None:
    assert not left(shape_of("z = Size(x) y = Reshape(z, m)", "2, 3", m=[1]))
    assert not left(shape_of("z = Size(x) y = Reshape(z, m)", "", m=[1]))
    assert not left(shape_of("z = Size(x) y = Reshape(z, m)", "0, 3", m=[1]))
    assert left(shape_of("z = Size(x) y = Reshape(z, m)", "2, N", m=[1]))


@pytest.mark.parametrize(
    ("lines", "constant"),
    [
        ("s = Shape<start=1>(x) y = Neg(s)", False),
        ("s = Shape<start=2>(x) y = Neg(s)", True),
        ("s = Shape<start=2>(x) g = Gather(s, short) y = Neg(g)", True),
        ("s = Shape(x) g = Gather(s, short) y = Neg(g)", False),
        ("s = Shape(x) a = Gather(s, i) r = Concat<axis=-1>(a, c, a) y = Neg(r)", True),
        ("s = Shape(x) y = Concat<axis=0>(s, c)", False),
        ("s = Shape(x) a, b = Split<num_outputs=2>(s) y = Neg(b)", True),
        ("s = Shape(x) a, b = Split<num_outputs=2>(s) y = Neg(a)", False),
        ("s = Shape(x) a, b = Split<num_outputs=2>(s) y = Sub(b, a)", False),
        # Through other dtypes, and what is the same for every N.
        ("s = Shape<start=2>(x) f = Cast<to=1>(s) h = Mul(f, half) r = Floor(h) y = Cast<to=7>(r)", True),
        ("s = Shape(x) f = Cast<to=6>(s) g = Gather(f, i) y = Cast<to=7>(g)", True),
        ("s = Shape(x) d = Sub(s, s) y = Neg(d)", True),
        ("s = Shape(x) d = Add(s, s) y = Mod(d, even)", True),
        ("s = Shape(x) y = Mod(s, even)", False),
        ("s = Shape(x) e = Less(s, even) w = Cast<to=7>(e) y = Neg(w)", False),
        ("s = Shape(x) n = Neg(s) e = Less(s, n) y = Cast<to=7>(e)", True),
        ("z = Size(x) f = Reshape(z, first) s = Shape(x) p = ReduceProd<keepdims=1>(s) y = Sub(p, f)", True),
    ],
)
def test_computed_elements(lines: str, constant: bool) -> None:
    constants = {"i": [-1, 2], "c": [7, 1, 7, -1], "even": [2], "first": [1], "half": np.float32(0.5)}
    assert left(shape_of(lines, opset=18, short=np.int32([1, 0]), **constants)) is not constant


def test_elements_that_nobody_knows() -> None:
    model = with_constants(
        "g (int64[3] k, float[2] x) => (int64[2] y) { g = Gather(k, i) y = Neg(g) }", i=np.array([0, 1])
    )
    assert ops(fold(model)) == ["Gather", "Neg"]
    floats = parse("g (float[1] x) => (float[2] y) { y = Concat<axis=0>(x, x) }")
    assert ops(fold(floats)) == ["Concat"]


def test_known_shapes_of_scalars_in_old_opsets() -> None:
    assert not left(shape_of("a = Shape(x) y = Neg(a)", "", opset=12))


def test_shapes_of_inner_values() -> None:
    m = shape_of("t = Transpose<perm=[3, 2, 1, 0]>(x) s = Shape(t) y = Slice(s, b, e)", b=[0], e=[2])
    assert ops(m) in ([], ["Identity"])


def test_claims_about_shapes_are_not_believed() -> None:
    model = parse("g (float[N, 2] x) => (int64[2] y) { a = Relu(x) y = Shape(a) }")
    model.graph.value_info.append(helper.make_tensor_value_info("a", 1, [7, 2]))
    m = fold(model)
    assert run(m, x=np.zeros((3, 2), np.float32))[0].tolist() == [3, 2]


def test_named_dims_that_mean_unknown() -> None:
    model = parse("g (float[M, K] x) => (int64[2] y) { y = Shape(x) }")
    for d in model.graph.input[0].type.tensor_type.shape.dim:
        d.dim_param = "?"
    assert left(fold(model))


def test_folding_of_shapes_leads_to_more_folding() -> None:
    text = "g (float[2, 3, 4] x) => (float[K, L] y) { s = Shape(x) d = Gather(s, i) u = Unsqueeze(d, z) t = Concat<axis=0>(u, m) y = Reshape(x, t) }"
    model = with_constants(text, i=np.array(1), z=np.array([0]), m=np.array([-1]))
    m = fold(model)
    assert ops(m) == ["Reshape"]
    assert [v.tolist() for n, v in constants(m).items() if n.endswith("folded") or "folded" in n] == [[3, -1]]


def test_pinned_inputs() -> None:
    model = parse("g (float[N, 3] x) => (int64[2] y) { a = Relu(x) y = Shape(a) }")
    m = optimize(model, level=1, input_shapes={"N": 5})
    assert not left(m)
    assert run(m, x=np.zeros((5, 3), np.float32))[0].tolist() == [5, 3]
    invariants.check(m)


def test_nothing_to_do_leaves_no_trace() -> None:
    model = parse("g (float[2] x) => (float[2] y) { a = Relu(x) y = Neg(a) }")
    m = fold(model)
    assert m.proto.SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)
    assert not load(m).graph.touched


@pytest.mark.parametrize(("dtype", "left"), [("float16", ["Softmax"]), ("float", [])])
def test_softmax_of_16_bits_is_left_to_the_runtime(dtype: str, left: list[str]) -> None:
    """How its steps round differs from runtime to runtime, by more than one step."""
    text = f'<ir_version: 8, opset_import: ["" : 17]> g () => ({dtype}[3] y) <{dtype}[3] x = {{1, 2, 3}}> {{ y = Softmax(x) }}'
    m = optimize(onnx.parser.parse_model(text), level=2)
    assert [n.op for n in m.graph if n.op != "Constant"] == left


@pytest.mark.parametrize(("dtype", "left"), [("float", ["Cast"]), ("int64", [])])
def test_floats_as_text_are_left_to_the_runtime(dtype: str, left: list[str]) -> None:
    """ONNX Runtime writes 1.0 as '1', the standard's own evaluator as '1.0'."""
    text = f'<ir_version: 8, opset_import: ["" : 17]> g () => (string[3] y) <{dtype}[3] x = {{1, 2, 3}}> {{ y = Cast<to=8>(x) }}'
    m = optimize(onnx.parser.parse_model(text), level=2)
    assert [n.op for n in m.graph if n.op != "Constant"] == left


def test_what_a_gradient_names_is_left_alone() -> None:
    """Folding would leave nothing to differentiate."""
    training = "ai.onnx.preview.training"
    text = (
        f'<ir_version: 8, opset_import: ["" : 17, "{training}" : 1]> g () => (float[1] c, float[1] d) <float[1] a = {{2}}, float[1] b = {{3}}> '
        f'{{ c = Mul(a, b) d = {training}.Gradient <xs = ["a"], y = "c"> (a) }}'
    )
    m = optimize(onnx.parser.parse_model(text), level=2)
    assert [n.op_type for n in m.graph] == ["Mul", "Gradient"]
    assert m.report is not None and any("Gradient" in note for note in m.report.notes)
