"""Numbers, arrays and parameters: what a literal matches, and where each opset keeps what a rule names."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from graphopt.ir import load
from graphopt.rewrite import Axis, Const, Float, Int, Ints, Maybe, Rule, op, rule
from graphopt.rewrite.compile import compile_rule
from graphopt.rewrite.matching import as_float, as_int, dims_match, is_ints, same_attribute
from graphopt.shapes import infer_model
from tests.ir.building import found_at, parse, with_constants
from tests.rewrite.test_compile import bindings

DTYPES = {
    "float": np.float32, "double": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "int32": np.int32,
    "int64": np.int64, "uint8": np.uint8,
}  # fmt: skip


def times(number: Any, exact: bool = False) -> Rule:
    @rule(exact=exact)
    def r(x):
        yield op.Mul(x, number)
        yield x

    return r


def matches(r: Rule, constant: Any, dtype: str = "float", shape: str = "2, 3") -> bool:
    model = with_constants(
        f"g ({dtype}[{shape}] a) => ({dtype}[K] y) {{ p = Mul(a, k) y = Identity(p) }}",
        k=np.asarray(constant).astype(DTYPES[dtype]),
    )
    m = load(model)
    infer_model(m)
    node = next(iter(m.graph))
    return any(found_at(c, node) for c in compile_rule(r))


# ------------------------------------------------------------------------- numbers
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    ("number", "constant", "answer"),
    [
        (2, 2.0, True), (2.0, 2, True), (2, 2.0001, False), (2, [2.0], True), (2, [[2.0]], True), (2, [2.0, 2.0], False),
        (2, [], False), (0, 0.0, True), (1, -1.0, False), (0.5, 0.5, True), (float("inf"), float("inf"), True),
        (float("inf"), -float("inf"), False), (1e30, 1e30, None), (True, 1.0, True), (np.float32(2), 2.0, True),
        (np.float64(0.5), 0.5, True), (np.int64(2), 2.0, True), (0, float("nan"), False),
    ],
)  # fmt: skip
def test_numbers(number: Any, constant: Any, answer: bool | None, exact: bool) -> None:
    expected = answer if answer is not None else not exact
    assert matches(times(number, exact), constant) is expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_of_every_dtype(dtype: str) -> None:
    for exact in (False, True):
        assert matches(times(2, exact), 2, dtype)
        assert not matches(times(3, exact), 2, dtype)


@pytest.mark.parametrize("dtype", ["float", "double", "float16", "bfloat16"])
def test_numbers_that_the_dtype_cannot_hold(dtype: str) -> None:
    """They match within a few roundings, unless the rule is exact."""
    root = math.sqrt(2)
    rounded = np.asarray(root).astype(DTYPES[dtype])
    assert matches(times(root), rounded, dtype)
    assert matches(times(root, exact=True), rounded, dtype) is (dtype == "double")
    step = root * (1 + 2 * {"float": 6e-8, "double": 1e-7, "float16": 5e-4, "bfloat16": 3e-3}[dtype])
    assert matches(times(root), step, dtype) is (dtype != "double"), "float64 holds any number that Python has"
    assert not matches(times(root), 1.43, dtype)
    assert not matches(times(root), -root, dtype)


@pytest.mark.parametrize("dtype", ["float", "double"])
def test_numbers_that_the_dtype_holds_must_be_met(dtype: str) -> None:
    assert not matches(times(0.5), np.nextafter(DTYPES[dtype](0.5), DTYPES[dtype](1)), dtype)
    assert not matches(times(1), np.nextafter(DTYPES[dtype](1), DTYPES[dtype](2)), dtype)


def test_the_sign_of_zero_matters_to_exact_rules() -> None:
    """x - 0 is x, x - (-0.0) is not; likewise for x + (-0.0)."""
    for zero in (0, 0.0, -0.0):
        for constant in (0.0, -0.0):
            same = math.copysign(1, zero) == math.copysign(1, constant)
            assert matches(times(zero, exact=True), constant) is same
            assert matches(times(zero), constant)
    assert matches(times(0, exact=True), 0, "int64")


def test_more_dims_than_the_other_operand() -> None:
    """[[[2]]] makes the result larger by a dim, so it is not the number 2 there."""
    r = times(2)
    assert matches(r, [[2]], shape="2, 3")
    assert not matches(r, [[[2]]], shape="2, 3")
    scalar = "g (float a) => (float[N] y) { y = Mul(a, k) }"
    assert bindings(r, with_constants(scalar, k=np.float32(2)))
    assert not bindings(r, with_constants(scalar, k=np.float32([2])))
    assert matches(r, [[2]], shape="N, M")


def test_unknown_rank_of_the_other_operand() -> None:
    for constant, answer in ((2, True), ([2], False)):
        model = with_constants("g (float[2] a) => (float[2] y) { y = Mul(a, k) }", k=np.asarray(constant, np.float32))
        model.graph.input[0].type.tensor_type.ClearField("shape")
        assert bool(bindings(times(2), model)) is answer


def test_two_constants_do_not_vouch_for_each_other() -> None:
    model = with_constants("g (float[2] a) => (float[2] y) { y = Mul(k, k) }", k=np.float32([2]))
    assert bindings(times(2), model) == []


def test_ranks_within_bags() -> None:
    """The operands count, not what lies between them: 0.5 of rank 3 times a scalar has rank 3 of its own."""

    @rule
    def r(x, z):
        yield 0.5 * op.Relu(x) * z
        yield x

    k = np.float32([[[0.5]]])
    lines = "p = Relu(a) q = Mul(k, p) y = Mul(q, b)"
    assert bindings(r, with_constants(f"g (float[2, 2, 2] a, float b) => (float[N] y) {{ {lines} }}", k=k))
    assert not bindings(r, with_constants(f"g (float a, float[2] b) => (float[N] y) {{ {lines} }}", k=k))
    unknown = with_constants(f"g (float a, float[2] b) => (float[N] y) {{ {lines} }}", k=k)
    unknown.graph.input[1].type.tensor_type.ClearField("shape")
    assert not bindings(r, unknown)


def test_numbers_are_no_variables_and_overridable_ones_are_no_numbers() -> None:
    assert (
        bindings(times(2), "g (float[2] a, float[2] k) => (float[2] y) <float[2] k = {2, 2}> { y = Mul(a, k) }") == []
    )
    assert bindings(times(2), "g (float[2] a, float k) => (float[2] y) <float k = {2}> { y = Mul(a, k) }") == []
    assert bindings(times(2), "g (float[2] a, float k) => (float[2] y) { y = Mul(a, k) }") == []


def test_text_is_no_number() -> None:
    model = with_constants(
        "g (string[2] a) => (string[2] y) { y = StringConcat(a, k) }", opset=20, k=np.array(["2"], object)
    )

    @rule
    def r(x):
        yield op.StringConcat(x, 2)
        yield x

    assert bindings(r, model) == []


def test_truth() -> None:
    @rule(exact=True)
    def r(x):
        yield op.And(x, True)
        yield x

    for constant in (True, False):
        model = with_constants("g (bool[2] a) => (bool[2] y) { y = And(k, a) }", k=np.array(constant))
        assert bindings(r, model) == ([("a",)] if constant else [])


def test_constants_may_be_nodes() -> None:
    assert bindings(times(2), "g (float[2] a) => (float[2] y) { k = Constant<value_float = 2.0>() y = Mul(a, k) }") == [
        ("a",)
    ]


# -------------------------------------------------------------------------- arrays
@pytest.mark.parametrize(
    ("constant", "answer"), [([1, 2], True), ([1, 3], False), ([[1, 2]], False), ([1], False), ([1, 2, 3], False)]
)
def test_arrays(constant: Any, answer: bool) -> None:
    for literal in ([1, 2], np.array([1, 2]), np.array([1.0, 2.0]), (1, 2)):
        assert matches(times(literal), constant, shape="1") is answer


# ---------------------------------------------------------------------- parameters
def parameter(model: ModelProto | str, r: Rule, **kwargs: Any) -> list[Any]:
    return [found[1:] for found in bindings(r, model, **kwargs)]


@rule
def squeeze(x, a: Ints):
    yield op.Squeeze(x, axes=a)
    yield x


@rule
def clip(x, lo: Maybe[Float], hi: Maybe[Float]):
    yield op.Clip(x, min=lo, max=hi)
    yield x


def test_axes_of_squeeze() -> None:
    old = "g (float[1, 2] a) => (float[2] y) { y = Squeeze<axes=[0]>(a) }"
    assert parameter(old, squeeze, opset=11) == [([0],)]
    new = "g (float[1, 2] a) => (float[2] y) { y = Squeeze(a, k) }"
    assert parameter(with_constants(new, opset=13, k=np.array([0])), squeeze) == [([0],)]
    assert parameter("g (float[1, 2] a, int64[1] k) => (float[2] y) { y = Squeeze(a, k) }", squeeze, opset=13) == []
    assert parameter("g (float[1, 2] a) => (float[2] y) { y = Squeeze(a) }", squeeze, opset=13) == []
    assert parameter("g (float[1, 2] a) => (float[2] y) { y = Squeeze(a) }", squeeze, opset=11) == []


def test_axes_of_squeeze_must_be_asked_for() -> None:
    @rule
    def r(x):
        yield op.Squeeze(x)
        yield x

    assert bindings(r, "g (float[1, 2] a) => (float[2] y) { y = Squeeze(a) }")
    assert not bindings(r, with_constants("g (float[1, 2] a) => (float[2] y) { y = Squeeze(a, k) }", k=np.array([0])))
    assert not bindings(r, "g (float[1, 2] a) => (float[2] y) { y = Squeeze<axes=[0]>(a) }", opset=11)


def test_literal_parameters() -> None:
    @rule
    def r(x):
        yield op.Squeeze(x, axes=[0])
        yield x

    for k, answer in ((0, True), (1, False)):
        old = f"g (float[1, 1, 2] a) => (float[M, N] y) {{ y = Squeeze<axes=[{k}]>(a) }}"
        assert bool(bindings(r, old, opset=11)) is answer
        new = with_constants("g (float[1, 1, 2] a) => (float[M, N] y) { y = Squeeze(a, k) }", opset=13, k=np.array([k]))
        assert bool(bindings(r, new)) is answer


def test_bounds_of_clip() -> None:
    old = "g (float[2] a) => (float[2] y) { y = Clip%s(a) }"
    assert parameter(old % "<min=0.0, max=6.0>", clip, opset=6) == [(0, 6)]
    ((lo, hi),) = parameter(old % "<max=6.0>", clip, opset=6)
    assert lo < -3e38
    assert hi == 6
    new = "g (float[2] a) => (float[2] y) { y = Clip(%s) }"
    k = {"l": np.float32(0), "h": np.float32(6)}
    assert parameter(with_constants(new % "a, l, h", **k), clip) == [(0, 6)]
    assert parameter(with_constants(new % "a, l", **k), clip) == [(0, None)]
    assert parameter(new % "a", clip) == [(None, None)]
    left_out = with_constants(new % "a, l, h", **k)
    left_out.graph.node[0].input[1] = ""
    assert parameter(left_out, clip) == [(None, 6)]
    computed = "g (float[2] a, float l) => (float[2] y) { y = Clip(a, l) }"
    assert parameter(computed, clip) == []


@pytest.mark.parametrize("dtype", ["float", "float16", "bfloat16", "double"])
def test_bounds_of_every_dtype(dtype: str) -> None:
    k = {"l": np.asarray(0.5).astype(DTYPES[dtype]), "h": np.asarray([6]).astype(DTYPES[dtype]).reshape(())}
    model = with_constants(f"g ({dtype}[2] a) => ({dtype}[2] y) {{ y = Clip(a, l, h) }}", **k)
    ((lo, hi),) = parameter(model, clip)
    assert (lo, hi) == (0.5, 6)
    assert type(lo) is type(hi) is float


def test_axes_of_reductions() -> None:
    @rule
    def total(x, a: Ints, keep: Int):
        yield op.ReduceSum(x, axes=a, keepdims=keep)
        yield x

    @rule
    def mean(x, a: Ints, keep: Int):
        yield op.ReduceMean(x, axes=a, keepdims=keep)
        yield x

    for name, r, moved in (("ReduceSum", total, 13), ("ReduceMean", mean, 18)):
        old = f"g (float[2, 3] a) => (float[M, N] y) {{ y = {name}<axes=[1], keepdims=0>(a) }}"
        assert parameter(old, r, opset=moved - 1) == [([1], 0)]
        new = with_constants(
            f"g (float[2, 3] a) => (float[M, N] y) {{ y = {name}(a, k) }}", opset=moved, k=np.array([1, -2])
        )
        assert parameter(new, r) == [([1, -2], 1)]


def test_attributes_that_came_later_must_be_at_their_default() -> None:
    """ReduceSum has noop_with_empty_axes from opset 13 on."""

    @rule
    def r(x, a: Maybe[Ints]):
        yield op.ReduceSum(x, axes=a)
        yield x

    text = "g (float[2, 3] a) => (float[M, N] y) { y = ReduceSum%s(a) }"
    assert parameter(text % "", r) == [(None,)]
    assert parameter(text % "<noop_with_empty_axes=0>", r) == [(None,)]
    assert parameter(text % "<noop_with_empty_axes=1>", r) == []


def test_parameters_of_slice() -> None:
    @rule
    def r(x, s: Ints, e: Ints, a: Maybe[Ints], t: Maybe[Ints]):
        yield op.Slice(x, starts=s, ends=e, axes=a, steps=t)
        yield x

    old = "g (float[4, 4] a) => (float[M, N] y) { y = Slice<starts=[1], ends=[3], axes=[0]>(a) }"
    assert parameter(old, r, opset=9) == [([1], [3], [0], None)]
    k = {"s": np.array([1], np.int32), "e": np.array([3], np.int32), "t": np.array([2], np.int32)}
    new = with_constants("g (float[4, 4] a) => (float[M, N] y) { y = Slice(a, s, e, s, t) }", opset=10, **k)
    assert parameter(new, r) == [([1], [3], [1], [2])]
    new.graph.node[0].input[3] = ""
    assert parameter(new, r) == [([1], [3], None, [2])]


def test_parameters_of_pad() -> None:
    @rule
    def r(x, p: Ints, v: Maybe[Float]):
        yield op.Pad(x, pads=p, value=v)
        yield x

    old = "g (float[4] a) => (float[N] y) { y = Pad<pads=[1, 1]%s>(a) }"
    assert parameter(old % ", value=2.0", r, opset=2) == [([1, 1], 2)]
    assert parameter(old % "", r, opset=2) == [([1, 1], 0)]
    assert parameter(old % ', mode="edge"', r, opset=2) == []
    k = {"p": np.array([1, 1]), "v": np.float32(2)}
    text = "g (float[4] a) => (float[N] y) { y = Pad(%s) }"
    assert parameter(with_constants(text % "a, p, v", opset=11, **k), r) == [([1, 1], 2)]
    assert parameter(with_constants(text % "a, p", opset=11, **k), r) == [([1, 1], None)]
    axes = with_constants(text % "a, p, v, p", opset=18, **k)
    assert parameter(axes, r) == []


def test_parameters_of_split() -> None:
    @rule
    def r(x, s: Ints):
        first, second = op.Split(x, axis=0, split=s, outputs=2)
        yield op.Sub(first, second)
        yield x

    old = "g (float[4] a) => (float[2] y) { p, q = Split<axis=0, split=[2, 2]>(a) y = Sub(p, q) }"
    assert parameter(old, r, opset=11) == [([2, 2],)]
    for opset in (13, 18):
        new = with_constants(
            "g (float[4] a) => (float[2] y) { p, q = Split<axis=0>(a, k) y = Sub(p, q) }",
            opset=opset,
            k=np.array([2, 2]),
        )
        assert parameter(new, r) == [([2, 2],)]


def test_parameters_of_unsqueeze_and_top_k() -> None:
    @rule
    def unsqueeze(x, a: Ints):
        yield op.Unsqueeze(x, axes=a)
        yield x

    @rule
    def top(x, k: Int, a: Axis):
        _, indices = op.TopK(x, k=k, axis=a, outputs=2)
        yield op.Cast(indices, to=1)
        yield x

    assert parameter("g (float[2] a) => (float[1, 2] y) { y = Unsqueeze<axes=[0]>(a) }", unsqueeze, opset=11) == [
        ([0],)
    ]
    new = with_constants("g (float[2] a) => (float[1, 2] y) { y = Unsqueeze(a, k) }", opset=13, k=np.array([-2]))
    assert parameter(new, unsqueeze) == [([-2],)]
    old = "g (float[2] a) => (float[1] y) { p, q = TopK<k=1>(a) y = Cast<to=1>(q) }"
    assert parameter(old, top, opset=9) == [(1, 0)]
    new = with_constants(
        "g (float[2] a) => (float[1] y) { p, q = TopK(a, k) y = Cast<to=1>(q) }", opset=11, k=np.array([1])
    )
    assert parameter(new, top) == [(1, 0)]


def test_ratio_of_dropout() -> None:
    @rule
    def r(x, ratio: Maybe[Float]):
        yield op.Dropout(x, ratio=ratio)
        yield x

    text = "g (float[2] a) => (float[2] y) { y = Dropout%s }"
    assert parameter(text % "<ratio=0.25>(a)", r, opset=7) == [(0.25,)]
    assert parameter(text % "(a)", r, opset=7) == [(0.5,)]
    assert parameter(text % "(a)", r, opset=13) == [(None,)]
    assert parameter(with_constants(text % "(a, k)", opset=13, k=np.float32(0.25)), r) == [(0.25,)]
    training = with_constants(text % "(a, k, t)", opset=13, k=np.float32(0.25), t=np.array(True))
    assert parameter(training, r) == []


def test_inputs_may_be_positional_or_parameters() -> None:
    @rule
    def positional(x, s: Const):
        yield op.Reshape(x, s)
        yield x

    @rule
    def named(x, s: Ints):
        yield op.Reshape(x, shape=s)
        yield x

    model = with_constants("g (float[2, 3] a) => (float[M, N] y) { y = Reshape(a, k) }", k=np.array([3, 2]))
    assert bindings(positional, model) == [("a", "k")]
    assert bindings(named, model) == [("a", [3, 2])]
    allowed = with_constants(
        "g (float[2, 3] a) => (float[M, N] y) { y = Reshape<allowzero=1>(a, k) }", k=np.array([3, 2])
    )
    assert bindings(named, allowed) == []


def test_operators_of_opsets_that_nobody_knows() -> None:
    @rule
    def r(x):
        yield op.Transpose(x, perm=[1, 0])
        yield x

    model = parse("g (float[2, 2] a) => (float[2, 2] y) { y = Transpose<perm=[1, 0]>(a) }")
    model.opset_import[0].version = 1000
    m = load(model)
    node = next(iter(m.graph))
    assert len([1 for c in compile_rule(r) for _ in found_at(c, node)]) in (0, 1)


# ------------------------------------------------------------------------- helpers
def test_conversions() -> None:
    assert as_int(3) == as_int([3]) == 3
    assert as_int([1, 2]) is as_int(3.0) is as_int(True) is as_int(None) is as_int("3") is None
    assert as_float(3) == as_float([3.0]) == 3
    assert as_float([1, 2]) is as_float(True) is as_float(None) is as_float("3") is None
    assert is_ints([]) and is_ints([1, 2])
    assert not is_ints([1.0]) and not is_ints(None) and not is_ints(3)


@pytest.mark.parametrize(
    ("value", "literal", "answer"),
    [
        (0.10000000149011612, 0.1, True), (0.1, 0.1, True), (0.1, 0.2, False), (1, 1, True), (1, 1.0, True), (1.0, 1, True), ("a", "a", True),
        ([1, 2], (1, 2), True), ([1, 2], [1], False), ([0.10000000149011612], [0.1], True), (None, 0.1, False), (None, None, True),
        (None, [1], False), ("a", 1, False), ([1], 1, True), ([1, 1], 1, False), ([], 1, False), ([2.0], 2, True), (1, [1], False),
    ],
)  # fmt: skip
def test_same_attribute(value: Any, literal: Any, answer: bool) -> None:
    assert same_attribute(value, literal) is answer


def test_letters() -> None:
    m = load(parse("g (float[2, N] a, float[N] b, float[K] c) => (float[2] y) { y = Relu(a) }", check=False))
    a, b, c = m.graph.inputs
    assert dims_match([(a, ("A", "B")), (b, ("B",))]) == {"A": 2, "B": "N"}
    assert dims_match([(a, ("A", "B")), (c, ("B",))]) is None
    assert dims_match([(a, ("2", "_")), (None, ("Z",))]) == {}
    assert dims_match([(a, ("_", "_"))]) == {}
    assert dims_match([(a, ("A",))]) is None
    assert dims_match([(a, ("...",)), (b, ("...", "B"))]) == {"B": "N"}
    assert dims_match([(b, ("...", "A", "B"))]) is None
    b.shape = None
    assert dims_match([(b, ("B",))]) is None
    b.shape = (None,)
    assert dims_match([(b, ("B",)), (b, ("B",))]) is None, "an unknown dim is not provably itself once more"
    assert dims_match([(b, ("B",))]) == {"B": None}


def test_attribute_types_of_the_schema() -> None:
    node = helper.make_node("Cast", ["a"], ["y"], to=TensorProto.DOUBLE)

    @rule
    def r(x, to: Int):
        yield op.Cast(x, to=to)
        yield x

    model = parse("g (float[2] a) => (double[2] y) { y = Cast<to=1>(a) }")
    model.graph.node[0].CopyFrom(node)
    assert bindings(r, model) == [("a", TensorProto.DOUBLE)]
