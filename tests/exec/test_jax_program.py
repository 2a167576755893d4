"""Plans on JAX give what they give on NumPy, are traced no more often than they must, and say what moved to the host."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import graphopt.exec as own
from graphopt.errors import ArgumentError, MissingDependencyError, RunError
from graphopt.exec.backends import devices
from graphopt.exec.backends.numpy import REFERENCE
from graphopt.exec.plan import Plan
from graphopt.exec.planning import plan
from graphopt.ir import load
from tests.ir.building import parse, with_constants

jax = pytest.importorskip("jax")
from graphopt.exec.backends import jax_program  # noqa: E402 - without jax it cannot be imported

JaxProgram = jax_program.JaxProgram
X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture(autouse=True)
def messages(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What has been logged so far."""
    with caplog.at_level(logging.DEBUG, logger="graphopt.exec"):
        yield lambda: [r.message for r in caplog.records if r.name == "graphopt.exec"]


def planned(model: ModelProto) -> Plan:
    return plan(load(model))


def counted(steps: Plan) -> Counter[str]:
    """How often each kernel of a plan's steps is called from now on: once for each time it is traced."""
    calls: Counter[str] = Counter()

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any, **attributes: Any) -> Any:
            calls[name] += 1
            return function(*values, **attributes)

        return call

    for step in steps.steps:
        step.kernel = dataclasses.replace(step.kernel, function=counting(step.node, step.kernel.function))
    return calls


def agree(want: Any, got: Any, rtol: float = 1e-5) -> None:
    """Two values of an output agree in kind, dtype, shape and, nearly, elements."""
    if isinstance(want, list):
        assert isinstance(got, list) and len(got) == len(want)
        for a, b in zip(want, got, strict=True):
            agree(a, b, rtol)
        return
    if want is None:
        assert got is None
        return
    a, b = np.asarray(want), np.asarray(got)
    assert (b.dtype, b.shape) == (a.dtype, a.shape)
    if a.dtype.kind in "OUSbiu":
        assert b.tolist() == a.tolist()
    else:
        np.testing.assert_allclose(b.astype(np.float64), a.astype(np.float64), rtol, rtol)


def same(model: ModelProto, *feeds: Any, rtol: float = 1e-5, **options: Any) -> JaxProgram:
    """Run a model on NumPy and on JAX, on one set of feeds twice: all agree."""
    with np.errstate(all="ignore"):
        want = planned(model).run(REFERENCE, feeds)
    program = JaxProgram(planned(model), threshold=1, **options)
    for _ in range(2):
        agree(want, program.run(feeds), rtol)
    return program


def on_host(program: JaxProgram) -> list[str]:
    return [step.node for stage in program.stages for step in stage.host]


# -------------------------------------------------------------------------------------------- when it is traced again
def test_traced_once_for_the_same_shapes_and_again_for_others() -> None:
    steps = planned(parse("g (float[n,3] x) => (float[n,3] y, int64[2] s) { a = Exp(x) y = Neg(a) s = Shape(y) }"))
    calls = counted(steps)
    program = JaxProgram(steps)
    for i, n in enumerate((2, 2, 5, 2, 5)):
        y, s = program.run([np.full((n, 3), i, np.float32)])
        np.testing.assert_allclose(y, np.full((n, 3), -np.exp(np.float32(i))), rtol=1e-6)
        assert np.asarray(s).tolist() == [n, 3]
    assert calls == {"a": 2, "y": 2, "s": 2}


def test_traced_again_for_another_dtype_of_what_is_fed() -> None:
    program = JaxProgram(planned(parse("g (float[n] x) => (float[n] y) { y = Neg(x) }")))
    for dtype in (np.float32, np.float16, np.int32, np.float32):
        assert np.asarray(program.run([np.ones(2, dtype)])[0]).dtype == dtype


def test_values_of_the_host_are_part_of_the_key() -> None:
    """Two targets of a Reshape that the same shapes come with."""
    steps = planned(parse("g (float[2,3] x, int64[2] s) => (float[a,b] y) { a = Neg(x) y = Reshape(a, s) }"))
    calls = counted(steps)
    program = JaxProgram(steps)
    for target in ([3, 2], [6, 1], [3, 2], [1, -1], [6, 1]):
        (y,) = program.run([X, np.array(target)])
        assert np.asarray(y).tolist() == (-X).reshape(target).tolist()
    assert calls["y"] == 3 and not on_host(program)


@pytest.mark.parametrize("to", [np.array([0, 1]), np.array([1, 1]), np.array([[1, 1]])])
def test_fingerprints_tell_dtypes_and_shapes_apart(to: np.ndarray) -> None:
    seen = {
        jax_program._fingerprint(v)
        for v in (
            to,
            to.astype(np.uint64),
            to.astype(bool),
            to.reshape(-1, 1),
            [to],
            to.astype(str).astype(object),
            None,
        )
    }
    assert len(seen) == 7
    assert jax_program._fingerprint(to.copy()) in seen


def test_text_and_lists_as_values_of_the_host() -> None:
    one, two = (jax_program._fingerprint([np.array(["a", t], object)]) for t in ("b", "c"))
    assert one != two and hash(one) is not None


# -------------------------------------------------------------------------------------------- what depends on elements
DEPENDS = {
    "nonzero": ("g (float[2,3] x) => (float[n] y) { a = Neg(x) i = NonZero(a) t = Transpose(i) g = GatherND(a, t) y = Exp(g) }", [X], "i"),
    "unique": ("g (float[6] x) => (float[n] y, int64[n] j) { a = Neg(x) u, j = Unique(a) y = Exp(u) }", [np.float32([1, 1, 2, 3, 2, 1])], "u"),
    "compress": ("g (float[2,3] x, bool[2] c) => (float[n,3] y) { a = Neg(x) b = Compress<axis = 0>(a, c) y = Exp(b) }", [X, np.array([True, False])], "b"),
    "range": (
        "g (float[2,3] x, int64 one) => (int64[n] y) { m = ReduceMax<keepdims = 0>(x) c = Cast<to = 7>(m) z = Sub(c, c) r = Range(z, c, one) y = Neg(r) }",
        [X, np.array(1)], "m c z",
    ),
    "reshape": (
        "g (float[2,3] x, float[2] d) => (float[a,b] y) { e = Sqrt(d) f = Mul(e, e) r = Round(f) s = Cast<to = 7>(r) n = Neg(x) y = Reshape(n, s) }",
        [X, np.float32([3, 2])], "e f r s",
    ),
    "top k": ("g (float[2,3] x, int64[1] k) => (float[2,m] v, int64[2,m] i) { a = Neg(x) v, i = TopK(a, k) }", [X, np.array([2])], ""),
    "sequences": (
        ("g (float[2,3] x, int64 at) => (seq(float[2,3]) s, float[2,3] y, float[4,3] z) { a = Neg(x) q = SequenceConstruct(x, a) "
        "s = SequenceInsert(q, a) y = SequenceAt(s, at) z = ConcatFromSequence<axis = 0>(q) }"),
        [X, np.array(1)], "",
    ),
    "sequences that are fed": (
        "g (seq(float[2,3]) s, int64 at) => (float[2,3] y, int64 n) { a = SequenceAt(s, at) y = Neg(a) n = SequenceLength(s) }", [[X, X + 1], np.array(1)], ""
    ),
    "optionals": ("g (float[2,3] x) => (bool b, float[2,3] y) { o = Optional(x) b = OptionalHasElement(o) y = OptionalGetElement(o) }", [X], ""),
}  # fmt: skip


@pytest.mark.parametrize("what", DEPENDS)
def test_shapes_that_depend_on_elements(what: str) -> None:
    text, feeds, host = DEPENDS[what]
    program = same(parse(text, 18, check=False), *feeds)
    assert " ".join(on_host(program)) == host


def test_kernels_on_the_host_get_arrays_of_the_host() -> None:
    steps = planned(parse("g (float[2,3] x) => (seq(float[2,n]) q) { a = Neg(x) s = Cast<to = 9>(a) c = Gather(s, i) b = Compress<axis = 1>(a, c) q = SplitToSequence(b) }".replace("{ a =", "<int64 i = {0}> { a =")))  # fmt: skip
    compress = steps.steps[3]
    got: list[Any] = []
    function = compress.kernel.function
    compress.kernel = dataclasses.replace(
        compress.kernel, function=lambda xp, *xs, **a: got.extend((xp, *xs)) or function(xp, *xs, **a)
    )
    JaxProgram(steps).run([X])
    assert got[0] is REFERENCE and [type(v) for v in got[1:]] == [np.ndarray, np.ndarray]


def test_other_elements_give_other_shapes() -> None:
    model = parse(DEPENDS["nonzero"][0], 18)
    program = JaxProgram(planned(model))
    for x in (X, X * 0, X - 3, X[::-1].copy()):
        agree(planned(model).run(REFERENCE, [x]), program.run([x]))


# ----------------------------------------------------------------------------------------------------- what has to move
def test_a_step_that_cannot_be_traced_moves_to_the_host(messages: Callable[[], list[str]]) -> None:
    """ArgMax leads to the shape through no arithmetic that the plan would have left on the host."""
    model = parse(
        "g (float[2,3] x, float[1] z) => (float[n] y, float[2,3] w) { f = Flatten<axis = 0>(x) a = ArgMax<axis = 1, keepdims = 0>(f) "
        "y = Expand(z, a) w = Neg(x) }"
    )
    steps = planned(model)
    calls = counted(steps)
    program = JaxProgram(steps, threshold=1)
    for x in (X, -X, X):
        agree(planned(model).run(REFERENCE, [x, X[0, 1:2]]), program.run([x, X[0, 1:2]]))
    (said,) = messages()
    assert said.startswith("node 'y' (Expand) runs on the host: ")
    assert on_host(program) == ["y"]
    assert calls["w"] <= 2, "the rest is traced once before and once after"


def test_messages_below_the_threshold_are_not_said(messages: Callable[[], list[str]]) -> None:
    text = "g (float x) => (float y) { c = IsNaN(x) y = If (c) <then_branch = t () => (float p) { p = Exp(x) }, else_branch = e () => (float q) { q = Neg(x) }> }"
    JaxProgram(planned(parse(text)), threshold=2).run([np.float32(1)])
    assert not messages()
    JaxProgram(planned(parse(text)), threshold=1).run([np.float32(1)])
    assert messages()


def test_what_fails_on_the_host_too_names_the_node() -> None:
    program = JaxProgram(
        planned(parse("g (float[2,3] x, int64[2] s) => (float[a,b] y) { n = Neg(x) y = Reshape(n, s) }"))
    )
    with pytest.raises(RunError, match=r"^node 'y' \(Reshape\): .*; its inputs: float32\[2, 3\], int64\[2\]$"):
        program.run([X, np.array([4, 4])])
    (y,) = program.run([X, np.array([3, 2])])
    assert np.asarray(y).tolist() == (-X).reshape(3, 2).tolist()


BRANCH = (
    "g (float[2,3] x) => (float s) { a = Exp(x) s0 = ReduceSum<keepdims = 0>(x) c = CONDITION s = If (c) <then_branch = t () => (float p) "
    "{ p = ReduceMax<keepdims = 0>(a) }, else_branch = e () => (float q) { q = Neg(s0) }> }"
)


@pytest.mark.parametrize(("condition", "moved"), [("IsNaN(s0)", True), ("Less(s0, s0)", False)])
def test_a_branch_whose_condition_is_computed(condition: str, moved: bool, messages: Callable[[], list[str]]) -> None:
    """A comparison is computed on the host before the rest is traced; whatever else is found out by trying."""
    model = parse(BRANCH.replace("CONDITION", condition))
    program = same(model, X)
    agree(planned(model).run(REFERENCE, [X * np.nan]), program.run([X * np.nan]))
    assert messages() == (["node 's' (If) runs on the host: the condition is not known while tracing"] if moved else [])
    assert ("s" in on_host(program)) is moved


def test_a_branch_whose_condition_is_fed() -> None:
    text = "g (bool c, float[2,3] x) => (float[2,3] y) { a = Exp(x) y = If (c) <then_branch = t () => (float[2,3] p) { p = Neg(a) }, else_branch = e () => (float[2,3] q) { q = Abs(x) }> }"
    program = JaxProgram(planned(parse(text)))
    for c in (True, False, True):
        agree(planned(parse(text)).run(REFERENCE, [np.array(c), X]), program.run([np.array(c), X]))
    assert not on_host(program) and len(program._compiled) == 2


COUNTED = parse(
    "g (int64 n, float[2,3] x) => (float[2,3] y, float[k,2,3] z) { h = Mul(x, x) y, z = Loop (n, , x) <body = b (int64 i, bool c, float[2,3] a)"
    " => (bool d, float[2,3] e, float[2,3] f) { d = Identity(c) e = Add(a, h) f = Sub(e, x) }> }"
)


@pytest.mark.parametrize("n", [0, 1, 3, 20])
def test_a_loop_that_is_counted(n: int) -> None:
    program = same(COUNTED, np.array(n), X / 10)
    assert not on_host(program)


def test_a_long_loop_is_not_traced_turn_by_turn() -> None:
    steps = planned(COUNTED)
    calls = counted(steps.steps[1].bodies["body"].plan)
    y, z = JaxProgram(steps).run([np.array(50), X / 10])
    assert np.asarray(z).shape == (50, 2, 3) and calls["e"] < 10
    agree(planned(COUNTED).run(REFERENCE, [np.array(50), X / 10]), [y, z], 1e-4)


@pytest.mark.parametrize("body", ["e = Add(a, x)", "m = MatMul(a, w) e = Add(m, x)"])
def test_a_loop_whose_condition_depends_on_elements(body: str, messages: Callable[[], list[str]]) -> None:
    """It runs on the host; a body with a product of matrices is compiled nevertheless."""
    model = with_constants(
        "g (float[2,3] x, bool on) => (float[2,3] y, float[k] z) { y, z = Loop (, on, x) <body = b (int64 i, bool c, float[2,3] a) => "
        f"(bool d, float[2,3] e, float s) {{ {body} s = ReduceSum<keepdims = 0>(e) d = Less(s, limit) }}> }}",
        limit=np.float32(100),
        **({"w": np.eye(3, dtype=np.float32)} if "w" in body else {}),
    )
    program = same(model, X, np.array(True))
    agree(planned(model).run(REFERENCE, [X, np.array(False)]), program.run([X, np.array(False)]))
    assert messages() == ["node 'y' (Loop) runs on the host: the condition is not known while tracing"]
    bodies = [f for key, f in program._compiled.items() if key[0] == "body"]
    assert [isinstance(getattr(f, "__self__", None), JaxProgram) for f in bodies] == ["MatMul" in body]


def test_scans() -> None:
    text = (
        "g (float[3] s, float[5,3] xs) => (float[3] y, float[5,3] z) { k = Neg(s) y, z = Scan <num_scan_inputs = 1, body = b (float[3] a, float[3] v) => "
        "(float[3] t, float[3] u) { t = Add(a, v) u = Mul(t, k) }> (s, xs) }"
    )
    same(parse(text), X[0], np.resize(X, (5, 3)))


# ------------------------------------------------------------------------------------------------------ all kinds of values
def test_outputs_that_are_inputs_or_constants() -> None:
    model = with_constants(
        "g (float[2,3] x, int64[2] i) => (float[2,3] x, float[2,3] y, float[3] k, float[2,3] z, int64[2] i, int64[1] two, float[3] j) "
        "{ y = Identity(x) z = Neg(x) two = Constant<value_ints = [2]>() j = Identity(k) }",
        k=np.float32([1, 2, 3]),
    )
    same(model, X, np.array([1, 2]))


def test_a_model_that_computes_nothing() -> None:
    same(parse("g (float[2,3] x) => (float[2,3] x) { }"), X)
    same(parse("g () => (float[2] y) { y = Constant<value_floats = [1.0, 2.0]>() }"))


def test_outputs_without_elements_and_scalars() -> None:
    same(parse("g (float[0,3] x, float s) => (float[0,3] y, float[1,3] z, float t) { y = Exp(x) z = ReduceSum(x, zero) t = Exp(s) }".replace("{ y =", "<int64[1] zero = {0}> { y =")), X[:0], np.float32(2))  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "g (string[2] s, float[2,3] x) => (string[2] t, float[2,3] y) { t = Identity(s) y = Exp(x) }",
        "g (string[2] s, float[2,3] x) => (string[2] t, float[2,3] y) { u = StringConcat(s, k) t = Identity(u) y = Exp(x) }",
        "g (string[2] s, float[2,3] x) => (string[2] t, float[2,3] y) { t = Identity(k) y = Exp(x) }",
        "g (string[2] s, float[2,3] x) => (string[2] t, seq(string[1]) q) { t = StringConcat(k, k) q = SplitToSequence(k) }",
        "g (string[2] s, float[2,3] x) => (string[2,3] t, float[2] y) { n = Neg(x) t = Cast<to = 8>(n) p = Cast<to = 1>(k) y = Exp(p) }",
        "g (string[2] s, float[2,3] x) => (string t, bool[2] y) { t = Gather(s, i) y = Equal(s, k) }",
    ],
)
def test_text(text: str) -> None:
    constants = {
        name: v
        for name, v in {"k": np.array(["1", "2.5"], object), "i": np.array(1)}.items()
        if f" {name})" in text or f"({name}" in text
    }
    same(with_constants(text, 20, 9, **constants), np.array(["a", "b"], object), X)


def test_text_of_no_dims() -> None:
    same(parse("g (string s) => (string t) { u = StringConcat(s, s) t = Identity(u) }", 20, 9), np.array("a", object))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_floats_of_16_bits(dtype: Any) -> None:
    kind = {np.float16: "float16"}.get(dtype, "bfloat16")
    model = parse(
        f"g ({kind}[4,8] x, {kind}[8,4] w) => ({kind}[4,4] y, {kind}[4,4] z, {kind}[4] s) {{ y = MatMul(x, w) z = Softmax(y) s = ReduceSum<keepdims = 0>(x, one) }}".replace(
            "{ y =", "<int64[1] one = {1}> { y ="
        )
    )
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(dtype) for s in ((4, 8), (8, 4)))
    same(model, x, w, rtol=2**-7 if dtype is ml_dtypes.bfloat16 else 2**-10)


@pytest.mark.parametrize("dtype", [TensorProto.INT4, TensorProto.UINT4], ids=["int4", "uint4"])
def test_integers_of_half_a_byte(dtype: int) -> None:
    """Fed, made inside, given, from a weight, and across the stages of a plan."""
    kind = TensorProto.DataType.Name(dtype).lower()
    array = np.array([[0, 1, 2], [7, 3, 0]]).astype(helper.tensor_dtype_to_np_dtype(dtype))
    weight = numpy_helper.from_array(array, "w")

    def model(text: str) -> ModelProto:
        proto = parse(text.replace("int4", kind), 21, 10, check=False)
        if "(w" in text:
            proto.graph.initializer.append(weight)
        return proto

    same(model("g (int4[2,3] x) => (int4[2,3] y) { y = Identity(x) }"), array)
    same(model("g (int4[2,3] x) => (float[2,3] y) { a = Cast<to = 1>(x) y = Neg(a) }"), array)
    same(model(f"g (float[2,3] x) => (int4[2,3] y) {{ a = Abs(x) y = Cast<to = {dtype}>(a) }}"), X)
    same(
        model("g (float[2,3] x, float s) => (float[2,3] y) { a = DequantizeLinear(w, s) y = Add(a, x) }"),
        X,
        np.float32(0.5),
    )
    same(model("g (float[2,3] x) => (int4[3,2] y) { y = Transpose(w) }"), X)
    same(
        model(
            f"g (float[2,3] x) => (float[2,3] y, int64[2,n] i) {{ a = Cast<to = {dtype}>(x) i = NonZero(x) b = Identity(a) c = Cast<to = 1>(b) y = Exp(c) }}"
        ),
        X,
    )


def test_what_is_random() -> None:
    """With a seed the reference's numbers; without, others each time, although the program is compiled once."""
    same(parse("g (float[2,3] x) => (float[2,3] y) { r = RandomUniformLike<seed = 1.0>(x) y = Add(x, r) }"), X)
    program = JaxProgram(
        planned(parse("g (float[2,3] x) => (float[2,3] y) { a = Exp(x) r = RandomUniformLike(a) y = Identity(r) }"))
    )
    one, two = (np.asarray(program.run([X])[0]) for _ in range(2))
    assert (one != two).any() and one.shape == (2, 3)


# ------------------------------------------------------------------------------------------------------------- options
def weighted() -> ModelProto:
    rng = np.random.default_rng(0)
    return with_constants(
        "g (float[2,16] x, bool c) => (float[2,16] y) { a = MatMul(x, w) b = Add(a, v) d = If (c) <then_branch = t () => (float[2,16] p) { p = MatMul(b, w) }, "
        "else_branch = e () => (float[2,16] q) { q = Neg(b) }> y = Gather<axis = 1>(d, i) }",
        w=rng.standard_normal((16, 16)).astype(np.float32),
        v=np.float32(range(16)),
        i=np.arange(16)[::-1].copy(),
    )


@pytest.mark.parametrize("c", [True, False])
def test_weights_as_arguments_or_inside(c: bool) -> None:
    x = np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 16)
    inside = same(weighted(), x, np.array(c))
    passed = same(weighted(), x, np.array(c), embed=False)
    assert not inside._placed and [a.shape for a in passed._placed.values()] == [(16, 16)]


def test_weights_are_passed_where_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    assert JaxProgram(planned(weighted())).embed
    monkeypatch.setattr(jax_program, "CONSTANTS_LIMIT", 1000)
    assert not JaxProgram(planned(weighted())).embed
    assert JaxProgram(planned(weighted()), embed=True).embed


def test_embed_as_an_option_of_a_session() -> None:
    x = np.ones((2, 16), np.float32)
    feeds = {"x": x, "c": np.array(True)}
    want, one, two, three = (
        own.InferenceSession(weighted(), providers=[p]).run(None, feeds)[0]
        for p in ("reference", ("jax", {"embed": "0"}), ("jax", {"embed": 1}), ("jax", {"embed": False}))
    )
    for got in (one, two, three):
        agree(want, got)


def test_the_device_is_where_the_results_are() -> None:
    device = devices.find("cpu")
    program = same(weighted(), np.ones((2, 16), np.float32), np.array(True), device=device, embed=False)
    assert {d for a in program._placed.values() for d in a.devices()} == {device}
    (y,) = program.run([np.ones((2, 16), np.float32), np.array(True)])
    assert y.devices() == {device}
    session = own.InferenceSession(weighted(), providers=[("jax", {"device": "cpu", "device_id": "0"})])
    assert session.run(None, {"x": np.ones((2, 16), np.float32), "c": np.array(True)})[0].shape == (2, 16)


@pytest.mark.parametrize(
    ("kind", "index"),
    [("abacus", 0), ("cpu", 99), *([] if any(d.platform == "gpu" for d in jax.devices()) else [("cuda", 0)])],
)
def test_devices_that_are_not_there(kind: str, index: int) -> None:
    there = ", ".join(f"{d.platform}:{d.id}" for d in jax.devices())
    with pytest.raises(ArgumentError, match=f"^JAX finds no device '{kind}:{index}'; there are: {there}$"):
        own.InferenceSession(weighted(), providers=[("jax", {"device": kind, "device_id": index})])


def test_devices_without_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(MissingDependencyError, match=r"device 'cuda' needs jax: pip install graphopt\[jax\]"):
        devices.find("cuda")


def test_unknown_options() -> None:
    with pytest.raises(
        ArgumentError, match="has no option 'fast'; it has: device, device_id, cache_dir, precision, embed"
    ):
        own.InferenceSession(weighted(), providers=[("jax", {"fast": 1})])


def test_the_precision_of_products_is_that_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    right = jax.default_matmul_precision
    monkeypatch.setattr(jax, "default_matmul_precision", lambda p: asked.append(p) or right(p))
    same(weighted(), np.ones((2, 16), np.float32), np.array(True))
    assert set(asked) == {"highest"}
    asked.clear()
    same(weighted(), np.ones((2, 16), np.float32), np.array(True), precision="bfloat16")
    assert set(asked) == {"bfloat16"}


CACHING = """
import sys, numpy as np, onnx
import graphopt.exec as own
model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { y = Exp(x) }')
for i, folder in enumerate(["", *sys.argv[1:]]):
    options = {"cache_dir": folder} if folder else {}
    own.InferenceSession(model, providers=[("jax", options)]).run(None, {"x": np.ones(3 + i, np.float32)})
"""


def test_compiled_programs_are_kept_in_a_folder(tmp_path: Path) -> None:
    """Also where others were compiled before, and in the folder that was named last; the next process finds them."""
    folders = [str(tmp_path / name) for name in ("one", "two")]
    for _ in range(2):
        subprocess.run([sys.executable, "-c", CACHING, *folders], check=True, timeout=300, capture_output=True)
        found = [sorted(p.name for p in Path(f).iterdir() if p.name.endswith("-cache")) for f in folders]
        assert [len(names) for names in found] == [1, 1], "a second process adds nothing"
    assert found[0] != found[1]


# ------------------------------------------------------------------------------------------------------------- records
def test_what_ran_is_recorded() -> None:
    seen = []
    model = parse(DEPENDS["nonzero"][0], 18)
    JaxProgram(planned(model), record=lambda name, kind, began, **more: seen.append((name, more["op_name"]))).run([X])
    assert seen == [("segment 0", "1 nodes"), ("i", "NonZero"), ("segment 1", "3 nodes")]


def test_the_profile_of_a_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = own.SessionOptions()
    options.enable_profiling = True
    session = own.InferenceSession(parse(DEPENDS["nonzero"][0], 18), options, providers=["jax"])
    session.run(None, {"x": X})
    assert "JaxExecutionProvider" in Path(session.end_profiling()).read_text()
