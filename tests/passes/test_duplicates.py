"""Constants that are equal in every bit become one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from graphopt import load
from graphopt.ir import Model, Tensor
from graphopt.passes import merge_duplicate_initializers
from graphopt.rewrite import Ledger
from tests.ir import invariants
from tests.ir.building import ops, parse, run, same_bits


def merge(model: ModelProto | Path, check: bool = True) -> tuple[Model, int]:
    m = load(model)
    ledger = Ledger()
    merged = merge_duplicate_initializers(m, ledger)
    invariants.check(m)
    if check:
        onnx.checker.check_model(m.proto)
    assert merged == sum(len(s.before) for s in ledger.steps)
    assert merge_duplicate_initializers(m, Ledger()) == 0
    return m, merged


def using(*arrays: Any, read: bool = True) -> ModelProto:
    """A model with these constants, each read by a node of its own."""
    model = parse("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    for k, a in enumerate(arrays):
        tensor = a if isinstance(a, TensorProto) else numpy_helper.from_array(np.asarray(a))
        tensor.name = f"w{k}"
        model.graph.initializer.append(tensor)
        if read:
            model.graph.node.append(helper.make_node("Identity", [f"w{k}"], [f"v{k}"]))
    return model


def count(*arrays: Any) -> int:
    return merge(using(*arrays))[1]


def test_equal_arrays() -> None:
    m, merged = merge(using(np.float32([1, 2]), np.float32([1, 2]), np.float32([1, 3]), np.float32([1, 2])))
    assert merged == 2
    assert [v.name for v in m.graph.initializers] == ["w0", "w2"]
    assert [n.input[0] for n in m.proto.graph.node[1:]] == ["w0", "w0", "w2", "w0"]


BITS = np.array([0x7FC00000, 0x7FC00001, 0xFFC00000, 0x7F800001], np.uint32).view(np.float32)


@pytest.mark.parametrize(
    ("a", "b", "merged"),
    [
        (np.float32(0.0), np.float32(-0.0), 0),
        (np.float32([1]), np.float32(1), 0),
        (np.float32([[1, 2]]), np.float32([1, 2]), 0),
        (np.float32([1]), np.float64([1]), 0),
        (np.int32([1]), np.int64([1]), 0),
        (np.float32([0]), np.int32([0]), 0),
        (np.float32([1]), np.float32([1]), 1),
        (BITS[:1], BITS[:1], 1),
        (BITS[:1], BITS[1:2], 0),
        (BITS[:1], BITS[2:3], 0),
        (BITS[1:2], BITS[3:4], 0),
        (np.zeros((0,), np.float32), np.zeros((0,), np.float32), 1),
        (np.zeros((0, 2), np.float32), np.zeros((0, 3), np.float32), 0),
        (np.array([True]), np.array([True]), 1),
        (np.float16([1.5]), np.float16([1.5]), 1),
        (np.array([1.5], ml_dtypes.bfloat16), np.array([1.5], ml_dtypes.bfloat16), 1),
        (np.array([0.0], ml_dtypes.bfloat16), np.array([-0.0], ml_dtypes.bfloat16), 0),
        (np.array([1, -2], ml_dtypes.int4), np.array([1, -2], ml_dtypes.int4), 1),
        (np.array([1, -2], ml_dtypes.int4), np.array([1, -3], ml_dtypes.int4), 0),
        (np.array([1], ml_dtypes.float8_e4m3fn), np.array([1], ml_dtypes.float8_e5m2), 0),
        (np.complex64([1 + 2j]), np.complex64([1 + 2j]), 1),
    ],
)
def test_every_bit_counts(a: np.ndarray, b: np.ndarray, merged: int) -> None:
    assert count(a, b) == merged


@pytest.mark.parametrize("size", [63, 64, 65, 1000, 100_000])
def test_one_element_that_differs(size: int) -> None:
    base = np.random.default_rng(0).normal(size=size).astype(np.float32)
    for place in {0, 1, size // 2, size // 3, size - 1}:
        other = base.copy()
        other[place] = np.nextafter(other[place], np.float32(9))
        assert count(base, other) == 0
    assert count(base, base.copy()) == 1


def test_many_that_look_alike() -> None:
    """Their samples are equal, their values are not."""
    arrays = []
    for k in range(12):
        a = np.zeros(4096, np.float32)
        a[1 + k % 6] = 1
        arrays.append(a)
    assert count(*arrays) == 6


def test_values_not_messages_are_compared() -> None:
    raw = numpy_helper.from_array(np.float32([1, 2]))
    typed = helper.make_tensor("t", TensorProto.FLOAT, [2], [1.0, 2.0])
    assert raw.raw_data and not typed.raw_data
    assert count(raw, typed) == 1


def test_text_is_left_alone() -> None:
    assert count(np.array(["a"], object), np.array(["a"], object)) == 0


def test_constant_nodes() -> None:
    lines = "k = Constant<value_floats=[1.0, 2.0]>() l = Constant<value_floats=[1.0, 2.0]>() a = Add(x, k) b = Add(a, l) y = Add(b, w)"
    model = parse(f"g (float[2] x) => (float[2] y) <float[2] w = {{1, 2}}> {{ {lines} }}")
    m, merged = merge(model)
    assert merged == 2
    assert [n.op_type for n in m.proto.graph.node] == ["Add"] * 3
    assert same_bits(run(m, x=np.float32([0, 1])), run(model, x=np.float32([0, 1])))


def test_constant_nodes_in_functions() -> None:
    body = [helper.make_node("Constant", [], [n], value_floats=[1.0, 2.0]) for n in "pq"]
    body += [helper.make_node("Sum", ["v", "p", "q"], ["w"])]
    model = parse("g (float[2] x) => (float[2] y) { y = local.f(x) }", imports=', "local": 1', check=False)
    model.functions.append(helper.make_function("local", "f", ["v"], ["w"], body, [helper.make_opsetid("", 17)]))
    m, merged = merge(model)
    assert merged == 1
    assert [n.op_type for n in m.proto.functions[0].node] == ["Constant", "Sum"]


def test_a_constant_node_that_comes_too_late() -> None:
    """What is read before may not be replaced by it."""
    model = parse(
        "g (float[2] x) => (float[2] y) { k = Constant<value_floats=[1.0]>() a = Add(x, k) l = Constant<value_floats=[1.0]>() y = Add(a, l) }"
    )
    m, merged = merge(model)
    assert merged == 1
    assert ops(m) == ["Add", "Add"]
    assert m.proto.graph.node[0].op_type == "Constant"


def test_graph_outputs_stay() -> None:
    model = parse(
        "g (float[2] x) => (float[2] y, float[2] w) <float[2] w = {1, 2}, float[2] k = {1, 2}> { y = Add(x, k) }"
    )
    m, merged = merge(model)
    assert merged == 0
    model = parse(
        "g (float[2] x) => (float[2] y, float[2] k) { k = Constant<value_floats=[1.0, 2.0]>() l = Constant<value_floats=[1.0, 2.0]>() y = Add(x, l) }"
    )
    m, merged = merge(model)
    assert merged == 0
    assert [o.name for o in m.proto.graph.output] == ["y", "k"]


def test_overridable_initializers_stay() -> None:
    model = parse(
        "g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}, float[2] k = {1, 2}> { a = Add(x, k) y = Add(a, w) }"
    )
    m, merged = merge(model)
    assert merged == 0
    m = load(model)
    m.freeze_inputs()
    assert merge_duplicate_initializers(m, Ledger()) == 1
    invariants.check(m)


def test_each_graph_for_itself() -> None:
    model = parse(
        """g (bool c, float[2] x) => (float[2] y) <float[2] w = {1, 2}> {
            y = If (c) <then_branch = t () => (float[2] u) { a = Add(x, w1) u = Add(a, w2) }, else_branch = e () => (float[2] v) { v = Add(x, w) }>
        }""",
        check=False,
    )
    branch = next(a.g for a in model.graph.node[0].attribute if a.name == "then_branch")
    branch.initializer.extend(numpy_helper.from_array(np.float32([1, 2]), n) for n in ("w1", "w2"))
    m, merged = merge(model)
    assert merged == 1
    assert sorted(len(g.initializers) for g in m.graphs()) == [0, 1, 1]


def test_readers_in_branches() -> None:
    model = parse(
        """g (bool c, float[2] x) => (float[2] y) <float[2] w = {1, 2}, float[2] k = {1, 2}> {
            z = If (c) <then_branch = t () => (float[2] u) { u = Add(x, k) }, else_branch = e () => (float[2] v) { v = Add(x, w) }>
            y = Add(z, w)
        }"""
    )
    m, merged = merge(model)
    assert merged == 1
    for c in (True, False):
        feeds = {"c": np.array(c), "x": np.float32([1, 2])}
        assert same_bits(run(m, **feeds), run(model, **feeds))


def test_a_body_input_that_is_named_like_the_twin() -> None:
    model = parse(
        """g (int64 n, bool go, float[2] x) => (float[2] y) <float[2] w = {1, 2}, float[2] k = {1, 2}> {
            s = Mul(x, w)
            y = Loop (n, go, s) <body = body (int64 i, bool c, float[2] w) => (bool l, float[2] o) { l = Identity(c) o = Add(w, k) }>
        }"""
    )
    m, merged = merge(model)
    assert merged == 1
    feeds = {"n": np.array(3), "go": np.array(True), "x": np.float32([10, 100])}
    assert same_bits(run(m, **feeds), [np.float32([13, 206])])


def test_large_weights_are_read_only_where_two_could_be_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    numpy = Tensor.numpy

    def watched(self: Tensor) -> np.ndarray:
        seen.append(self.dims)
        return numpy(self)

    monkeypatch.setattr(Tensor, "numpy", watched)
    m = load(using(np.zeros((300, 2)), np.zeros((300, 3)), np.ones((300, 2))))
    assert merge_duplicate_initializers(m, Ledger()) == 0
    assert (300, 3) not in seen


def test_external_data(tmp_path: Path) -> None:
    a, b = np.arange(2000, dtype=np.float32), np.arange(2000, dtype=np.float32)
    c = a.copy()
    c[77] = 0
    onnx.save(using(a, b, c), tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    m, merged = merge(tmp_path / "m.onnx", check=False)
    assert merged == 1
    m.save(tmp_path / "out.onnx")
    got = {t.name: numpy_helper.to_array(t) for t in onnx.load(tmp_path / "out.onnx").graph.initializer}
    assert same_bits(got["w0"], a) and same_bits(got["w2"], c) and "w1" not in got


def test_the_step() -> None:
    m = load(using(np.float32([1]), np.float32([1])))
    ledger = Ledger()
    merge_duplicate_initializers(m, ledger)
    (step,) = ledger.steps
    assert (step.rule, step.note, step.saved) == ("duplicate_initializers", "1 constants", 0)
    assert [(n.op, n.output) for n in step.before] == [("Constant", "w1")]
