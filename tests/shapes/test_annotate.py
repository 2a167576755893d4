"""`infer_shapes`: what is written into a model, and that nothing else is."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from onnx import GraphProto, ModelProto, TensorProto, TypeProto, helper

import graphopt
from graphopt import GraphoptError, infer_shapes, load
from graphopt.errors import ArgumentError, ModelError
from graphopt.ir import Tensor
from graphopt.shapes import dims, infer_model, text
from tests.ir import invariants
from tests.ir.building import everything, parse, run, with_constants
from tests.property_graphs import models

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def graphs(proto: ModelProto) -> list[GraphProto]:
    """The graph, and those inside its nodes."""
    found = [proto.graph]
    for g in found:
        found += [sub for n in g.node for a in n.attribute for sub in ([a.g] if a.HasField("g") else a.graphs)]
    return found


def stripped(proto: ModelProto) -> ModelProto:
    """Without what `infer_shapes` may change."""
    out = ModelProto()
    out.CopyFrom(proto)
    for g in graphs(out):
        del g.value_info[:]
        for o in g.output:
            o.ClearField("type")
    return out


def annotated(model: ModelProto | str, **kwargs: Any) -> ModelProto:
    """The model with types. Nothing else may change, and the result says the same when it is read again."""
    proto = parse(model) if isinstance(model, str) else model
    before = proto.SerializeToString(deterministic=True)
    m = infer_shapes(proto, **kwargs)
    invariants.check(m)
    out = m.proto
    assert proto.SerializeToString(deterministic=True) == before, "what was passed in was changed"
    if not kwargs:
        assert stripped(out) == stripped(proto)
    onnx.checker.check_model(out, full_check=True)
    kept = {k: v for k, v in kwargs.items() if k != "input_shapes"}
    again = not any("unk__" in str(g.output) for g in graphs(out))  # such names are names of the model from now on
    assert not again or infer_shapes(out, **kept).proto == out, "once more changes nothing"
    for g in graphs(out):
        assert not {i.name for i in g.value_info} & {o.name for o in g.output}
    return out


def shape(t: TypeProto) -> list[Any] | None:
    if not t.tensor_type.HasField("shape"):
        return None
    return [d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in t.tensor_type.shape.dim]


def values(proto: ModelProto) -> dict[str, tuple[int, list[Any] | None]]:
    """Types of inner values and outputs, subgraphs included."""
    return {
        i.name: (i.type.tensor_type.elem_type, shape(i.type)) for g in graphs(proto) for i in (*g.value_info, *g.output)
    }


CONV = """g (float[batch, 3, height, width] x, float[8, 3, 3, 3] w) => (float[a, b, c, d] y) {
    p = Conv<strides=[2, 2], pads=[1, 1, 1, 1]>(x, w) q = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(p) s = Shape(q) y = Relu(q)
}"""


# ------------------------------------------------------------------------------------------------------- what is written
def test_expressions_over_the_names_of_the_model() -> None:
    found = values(annotated(CONV))
    assert found["p"] == (FLOAT, ["batch", 8, "floor(height/2 + 1/2)", "floor(width/2 + 1/2)"])
    assert found["s"] == (INT64, [4])
    assert found["y"] == (FLOAT, ["a", "b", "c", "d"]), "the interface keeps the names that it has"
    for d in found["q"][1] or ():
        assert (
            isinstance(d, int) or isinstance(text.parse(d), str) or dims.names_in(text.parse(d)) <= {"height", "width"}
        )


def test_names_of_outputs() -> None:
    out = annotated(CONV, name_dims=True)
    assert values(out)["y"][1] == ["batch", 8, "floor(height/4 + 1/4)", "floor(width/4 + 1/4)"]
    assert [shape(i.type) for i in out.graph.input] == [["batch", 3, "height", "width"], [8, 3, 3, 3]]


def test_names_of_inputs() -> None:
    out = annotated(
        "g (float[?, 3, N] x, float[?] z) => (float[?, A, ?] y) { a = Relu(x) y = Neg(a) b = Relu(z) }", name_dims=True
    )
    first, second = (shape(i.type) for i in out.graph.input)
    assert first == ["x_dim_0", 3, "N"]
    assert second == ["z_dim_0"]
    found = values(out)
    assert found["a"][1] == found["y"][1] == ["x_dim_0", 3, "N"]
    assert found["b"][1] == ["z_dim_0"]
    plain = annotated("g (float[?, 3, N] x) => (float[?, A, ?] y) { y = Relu(x) }")
    assert shape(plain.graph.input[0].type) == [None, 3, "N"]


def test_names_of_inputs_that_are_taken() -> None:
    out = annotated("g (float[?, x_dim_0] x) => (float[A, B] y) { y = Relu(x) }", name_dims=True)
    first, second = shape(out.graph.input[0].type) or ()
    assert second == "x_dim_0"
    assert first not in (None, "?", "x_dim_0")


def test_outputs_that_declare_nothing_are_completed() -> None:
    proto = parse(
        "g (float[N, 3] x) => (float[A, ?] y, float z, float[7, 3] w, q) { y = Relu(x) z = Neg(x) w = Abs(x) q = Exp(x) }",
        check=False,
    )
    proto.graph.output[1].type.tensor_type.ClearField("shape")
    proto.graph.output[2].doc_string = "about w"
    out = annotated(proto)
    assert [shape(o.type) for o in out.graph.output] == [["A", 3], ["N", 3], [7, 3], ["N", 3]]
    assert [o.type.tensor_type.elem_type for o in out.graph.output] == [FLOAT] * 4
    assert out.graph.output[2] == proto.graph.output[2]


def test_dims_that_depend_on_data() -> None:
    """Each has a name, the same for those that are equal."""
    out = annotated(
        "g (float[N] x, float[M] z) => (int64[?, ?] y, int64[?, ?] w) { a = NonZero(x) b = Transpose(a) c = NonZero(z) y = Neg(a) w = Neg(c) d = Concat<axis=1>(a, c) }"
    )
    found = {k: v for k, (_, v) in values(out).items()}
    (_, one), (_, other) = found["a"] or (), found["c"] or ()
    assert found["b"] == [one, 1]
    assert found["y"] == [1, one]
    assert found["w"] == [1, other]
    assert re.fullmatch(r"unk__\d+", one) and re.fullmatch(r"unk__\d+", other)
    assert one != other
    assert found["d"] is not None and found["d"][1] not in (one, other)


def test_names_for_what_is_not_known_are_not_those_of_the_model() -> None:
    out = annotated(
        "g (float[unk__0, unk__2] x) => (float[?, ?] y) { a = NonZero(x) b = NonZero(a) c = NonZero(b) y = Relu(x) }"
    )
    found = {k: v for k, (_, v) in values(out).items()}
    made = [(found[n] or [])[-1] for n in "abc"]
    assert len({*made, "unk__0", "unk__2"}) == 5
    assert all(name.startswith("unk__") for name in made)
    assert found["y"] == ["unk__0", "unk__2"]


def test_names_for_what_is_not_known_are_not_those_of_the_outputs() -> None:
    """A model that was annotated before: the same name for two dims would say that they are equal."""
    first = annotated(
        "g (float[N] x, float[M] z) => (int64[?, ?] w) { a = NonZero(x) b = Neg(a) c = NonZero(z) w = Neg(c) d = Concat<axis=1>(a, c) }"
    )
    found = {k: v for k, (_, v) in values(infer_shapes(first).proto).items()}
    assert len({(found[n] or [])[1] for n in "acd"}) == 3


def test_inputs_without_names() -> None:
    out = annotated(
        "g (float[?, 3] x, float[?, 3] z) => (float[?, ?] y) { a = Relu(x) b = Relu(z) y = Concat<axis=1>(a, b) }"
    )
    found = {k: v for k, (_, v) in values(out).items()}
    assert found["a"] is not None and found["b"] is not None
    assert found["a"][0] == found["b"][0], "Concat can run with equal ones only"
    assert found["a"][0].startswith("unk__")
    assert [shape(i.type) for i in out.graph.input] == [[None, 3], [None, 3]]


def test_branches() -> None:
    out = annotated(
        """g (bool c, float[N, 4] x) => (float[?, ?] y) {
            a = Relu(x)
            y = If (c) <
                then_branch = t () => (float[?, ?] t_out) { t_a = Neg(a) t_b = MatMul(t_a, k) t_out = Abs(t_b) },
                else_branch = e () => (float[?, ?] e_out) { e_a = Transpose(x) e_b = Transpose(e_a) e_out = Exp(e_b) }
            >
        }""".replace("=> (float[?, ?] y) {", "=> (float[?, ?] y) <float[4, 4] k = {0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}> {", 1)
    )  # fmt: skip
    branches = {g.name: {i.name: shape(i.type) for i in g.value_info} for g in graphs(out)}
    assert branches == {
        "g": {"a": ["N", 4]},
        "t": {"t_a": ["N", 4], "t_b": ["N", 4]},
        "e": {"e_a": [4, "N"], "e_b": ["N", 4]},
    }
    assert values(out)["t_out"][1] == values(out)["y"][1] == ["N", 4]


def test_loops() -> None:
    out = annotated(
        """g (int64 n, bool go, float[N, 2] x) => (float[?, ?] y, float[?, ?, ?] z) {
            y, z = Loop (n, go, x) <body = b (int64 i, bool cond, float[?, ?] v) => (bool cond_out, float[?, ?] v_out, float[?, ?] s) {
                cond_out = Identity(cond) r = Relu(v) v_out = Concat<axis=0>(r, r) s = Neg(x)
            }>
        }"""
    )
    found = {k: v for k, (_, v) in values(out).items()}
    assert found["r"] is not None and found["r"][1] == 2
    assert found["r"][0] not in ("N", None), "it grows"
    assert found["s"] == ["N", 2]
    assert found["z"] is not None and found["z"][2] == 2


def test_what_is_no_tensor() -> None:
    out = annotated(
        "g (float[N, 2] x, int64 i) => (float[?, ?] y) { s = SequenceConstruct(x, x) t = SequenceInsert(s, x) y = SequenceAt(t, i) }"
    )
    infos = {i.name: i.type for i in out.graph.value_info}
    assert shape(infos["s"].sequence_type.elem_type) == ["N", 2]
    assert values(out)["y"][1] == ["N", 2]


def test_types_that_the_file_claims_give_way() -> None:
    proto = parse("g (float[2] x) => (float[2] y) { a = Relu(x) y = Neg(a) }")
    proto.graph.value_info.append(helper.make_tensor_value_info("a", INT64, [7]))
    proto.graph.value_info.append(helper.make_tensor_value_info("nobody", INT64, [7]))
    out = annotated(proto)
    assert {i.name: (i.type.tensor_type.elem_type, shape(i.type)) for i in out.graph.value_info} == {"a": (FLOAT, [2])}


def test_what_is_known_of_operators_that_nobody_knows() -> None:
    proto = parse(
        "g (float[N] x) => (float[?, ?] y) { a = my.Thing(x) b = my.Other(x) y = Neg(a) }", imports=', "my": 1'
    )
    proto.graph.value_info.append(helper.make_tensor_value_info("a", FLOAT, ["K", None]))
    out = annotated(proto)
    found = values(out)
    assert "b" not in found
    assert found["a"][1] is not None and found["a"][1][0] == "K"
    assert found["y"][1] is not None and found["y"][1][0] == "K"


def test_everything() -> None:
    proto = everything()
    out = infer_shapes(proto).proto
    assert stripped(out) == stripped(proto)
    assert out.functions == proto.functions
    assert out.training_info == proto.training_info
    onnx.checker.check_model(out)


# ------------------------------------------------------------------------------------------------------------- pins
def test_dims_that_are_fixed_first() -> None:
    out = annotated(CONV, input_shapes={"batch": 1, "x": (None, 3, 224, None)})
    found = {k: v for k, (_, v) in values(out).items()}
    assert found["p"] == [1, 8, 112, "floor(width/2 + 1/2)"]
    assert shape(out.graph.input[0].type) == [1, 3, 224, "width"]
    all_fixed = annotated(CONV, input_shapes={"x": (1, 3, 224, 112)})
    assert values(all_fixed)["q"][1] == [1, 8, 56, 28]


def test_pins_that_do_not_fit() -> None:
    for pins in ({"nobody": 1}, {"x": (1, 4, 2, 2)}, {"x": (1, 3)}, {"batch": -1}):
        with pytest.raises(ArgumentError):
            infer_shapes(parse(CONV), input_shapes=pins)


# ----------------------------------------------------------------------------------------------------------- old models
def test_initializers_of_old_models_are_constants_here() -> None:
    """Before IR version 4 every initializer is listed as an input, though no caller gives it."""
    line = (
        "g (float[N, 6] x, int64[3] s) => (float[?, ?, ?] y) <int64[3] s = {0, 3, 2}> { a = Reshape(x, s) y = Relu(a) }"
    )
    assert values(infer_shapes(parse(line, opset=8, ir=3)).proto)["a"][1] == ["N", 3, 2]
    newer = values(annotated(parse(line, opset=8, ir=4)))["a"][1]
    assert newer is None or 3 not in newer, "here a caller may give another shape"


# ------------------------------------------------------------------------------------------------------- where it is from
def test_ways_to_pass_a_model(tmp_path: Path) -> None:
    proto = parse(CONV)
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    expected = infer_shapes(proto).proto
    for model in (path, str(path), path.read_bytes(), load(proto)):
        assert infer_shapes(model).proto == expected
    assert onnx.load(path) == proto


def test_a_model_that_is_passed_is_not_changed() -> None:
    m = load(parse(CONV))
    before = m.proto.SerializeToString(deterministic=True)
    infer_shapes(m, input_shapes={"batch": 1}, name_dims=True)
    assert m.proto.SerializeToString(deterministic=True) == before


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        infer_shapes(tmp_path / "nothing.onnx")
    with pytest.raises(GraphoptError):
        infer_shapes(b"\xff\xff")


def large() -> ModelProto:
    """Weights, a shape tensor, and more weights."""
    rng = np.random.default_rng(0)
    return with_constants(
        "g (float[N, 64] x) => (float[?, ?, ?] y) { a = MatMul(x, w) b = Add(a, k) y = Reshape(b, s) }",
        w=rng.random((64, 256)).astype(np.float32), k=rng.random(256).astype(np.float32), s=np.array([-1, 16, 16]),
    )  # fmt: skip


def read(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[int, ...], int]:
    """Counts which tensors are read, by their dims."""
    counts: dict[tuple[int, ...], int] = defaultdict(int)
    numpy = Tensor.numpy

    def counting(self: Tensor) -> np.ndarray:
        counts[self.dims] += 1
        return numpy(self)

    monkeypatch.setattr(Tensor, "numpy", counting)
    return counts


def test_weights_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = read(monkeypatch)
    out = infer_shapes(large()).proto
    assert values(out)["y"][1] == ["N", 16, 16]
    assert set(counts) == {(3,)}


def test_external_data_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(large(), path, save_as_external_data=True, location="m.data", size_threshold=100)
    counts = read(monkeypatch)
    before = path.read_bytes()
    m = infer_shapes(path)
    assert set(counts) <= {(3,)}
    assert [v.shape for n in m.graph for v in n.outputs if v is not None][-1] == ("N", 16, 16)
    assert path.read_bytes() == before
    m.save(tmp_path / "typed.onnx")
    typed = onnx.load(tmp_path / "typed.onnx")
    onnx.checker.check_model(typed, full_check=True)
    x = np.ones((2, 64), np.float32)
    np.testing.assert_array_equal(run(typed, x=x)[0], run(large(), x=x)[0])
    assert values(typed)["y"][1] == ["N", 16, 16]


def test_initializers_and_documentation_are_kept() -> None:
    proto = large()
    proto.graph.initializer[0].doc_string = "weights"
    proto.metadata_props.add(key="a", value="b")
    proto.graph.node[0].doc_string = "a product"
    proto.graph.node[0].metadata_props.add(key="c", value="d")
    out = annotated(proto)
    assert out.graph.initializer == proto.graph.initializer
    assert out.graph.node == proto.graph.node
    assert out.metadata_props == proto.metadata_props


# ------------------------------------------------------------------------------------------------------------ any graph
@settings(max_examples=80)
@given(models())
def test_any_model(case: tuple[ModelProto, dict[str, np.ndarray]]) -> None:
    """What is written is true, and no less than what onnx's own inference finds."""
    proto, feeds = case
    out = annotated(proto)
    names = {
        d.dim_param: size
        for i in proto.graph.input
        for d, size in zip(i.type.tensor_type.shape.dim, feeds[i.name].shape)
        if d.dim_param
    }
    whole = ModelProto()
    whole.CopyFrom(out)
    del whole.graph.output[:]
    inner = {i.name: i for i in (*out.graph.value_info, *out.graph.output)}
    whole.graph.output.extend(inner.values())
    for o, array in zip(whole.graph.output, run(whole, **feeds), strict=True):
        assert o.type.tensor_type.elem_type == helper.np_dtype_to_tensor_dtype(array.dtype)
        found = shape(o.type)
        assert found is not None and len(found) == array.ndim
        for d, size in zip(found, array.shape):
            if isinstance(d, str) and not d.startswith("unk__"):
                d = dims.substitute(text.parse(d), dict(names))
            assert not isinstance(d, int) or d == size
    by_onnx = values(onnx.shape_inference.infer_shapes(proto, data_prop=True))
    ours = values(out)
    for name, (dtype, known) in by_onnx.items():
        if name not in inner or not dtype:
            continue
        assert ours[name][0] == dtype
        mine = ours[name][1]
        assert known is None or mine is not None
        for d, e in zip(known or (), mine or ()):
            assert not isinstance(d, int) or d == e, f"{name}: {known}, here {mine}"


@settings(max_examples=40)
@given(models())
def test_what_is_written_is_read_again(case: tuple[ModelProto, dict[str, np.ndarray]]) -> None:
    """A graph typed, cut in two and typed again knows nothing else: names and expressions mean the same there."""
    proto, _ = case
    m = infer_shapes(proto)
    again = load(m.proto)
    infer_model(again)
    for p, q in zip(m.graph, again.graph, strict=True):
        for v, w in zip(p.outputs, q.outputs, strict=True):
            if v is not None and w is not None:
                assert v.dtype == w.dtype
                assert v.shape is not None and w.shape is not None
                for d, e in zip(v.shape, w.shape, strict=True):
                    assert d == e or dims.is_anonymous(d)
    assert graphopt.infer_shapes(m).proto == m.proto
