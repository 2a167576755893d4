"""Writing models: what was not touched goes out as it came in; a file is written whole or not at all."""

from __future__ import annotations

import os
import resource
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from graphopt import load, optimize
from graphopt.errors import ModelError, SaveError
from graphopt.ir import Model, Node, Reference, Tensor, save
from tests.ir import invariants
from tests.ir.building import constants, everything, parse, run, same_bits


def text(model: ModelProto | Model) -> bytes:
    return (model.proto if isinstance(model, Model) else model).SerializeToString(deterministic=True)


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def add_model(weights: dict[str, np.ndarray], dtype: int = TensorProto.FLOAT) -> ModelProto:
    """y = x + w0 + w1 + ..."""
    lines, last = [], "x"
    for name in weights:
        lines.append(f"{name}_sum = Add({last}, {name})")
        last = f"{name}_sum"
    proto = parse(f"g (float[N] x) => (float[M] y) {{ {' '.join(lines)} y = Identity({last}) }}", check=False)
    proto.graph.initializer.extend(numpy_helper.from_array(w, name) for name, w in weights.items())
    return proto


# ------------------------------------------------------------------- round trips
def test_untouched_models_are_saved_as_they_were(tmp_path: Path) -> None:
    proto = everything()
    onnx.checker.check_model(proto)
    before = text(proto)
    m = load(proto)
    invariants.check(m)
    assert text(m) == before
    assert m.SerializeToString() == m.proto.SerializeToString()
    m.save(tmp_path / "m.onnx")
    assert text(onnx.load(tmp_path / "m.onnx")) == before
    assert files(tmp_path) == ["m.onnx"]
    assert text(load(tmp_path / "m.onnx")) == before
    assert text(proto) == before


@pytest.mark.parametrize("read_attributes", [False, True])
def test_touching_every_node_changes_nothing(read_attributes: bool, tmp_path: Path) -> None:
    proto = everything()
    m = load(proto)
    for node in m.nodes():
        if read_attributes:
            assert isinstance(node.attributes, dict)
        node.touch()
    for g in m.graphs():
        g.touch()
    invariants.check(m)
    assert text(m) == text(proto)
    m.save(tmp_path / "m.onnx")
    onnx.checker.check_model(tmp_path / "m.onnx")
    assert text(onnx.load(tmp_path / "m.onnx")) == text(proto)


def test_nothing_is_shared_with_the_message_that_was_read() -> None:
    proto = everything()
    before = text(proto)
    out = load(proto).proto
    for node in out.graph.node:
        node.name = "changed"
    for t in out.graph.initializer:
        t.name = "changed"
    for info in (*out.graph.input, *out.graph.output, *out.graph.value_info):
        info.name = "changed"
    out.functions[0].node[0].name = "changed"
    out.metadata_props[0].value = "changed"
    assert text(proto) == before


def test_a_file_is_what_onnx_itself_would_read(tmp_path: Path) -> None:
    """The message is written field by field; the bytes must mean the same."""
    proto = everything()
    load(proto).save(tmp_path / "m.onnx")
    data = (tmp_path / "m.onnx").read_bytes()
    assert len(data) == proto.ByteSize()
    again = ModelProto()
    again.ParseFromString(data)
    assert text(again) == text(proto)


def test_opset_changes_are_saved() -> None:
    proto = everything()
    m = load(proto)
    m.opsets["com.microsoft"] = 1
    m.opsets["my.domain"] = 8
    del m.opsets["ai.onnx.ml"]
    assert {o.domain: o.version for o in m.proto.opset_import} == {
        "": 21,
        "my.domain": 8,
        "local": 1,
        "com.microsoft": 1,
    }


@pytest.mark.parametrize("ir", [3, 7, 8, onnx.IR_VERSION])
def test_ir_versions(ir: int, tmp_path: Path) -> None:
    proto = parse("g (float[2] x) => (float[2] y) { y = Relu(x) }", opset=7, ir=ir)
    load(proto).save(tmp_path / "m.onnx")
    assert text(onnx.load(tmp_path / "m.onnx")) == text(proto)


# -------------------------------------------------------------------- attributes
VALUES: list[Any] = [
    0, 1, -(2**63), 1.0, 0.1, float("inf"), "", "text", b"\xff", [1, 2], [0.5, 1.5], ["a", "b"], [b"\xff", b"a"],
    True, np.int64(3), np.float32(0.5), np.float64(0.5), [np.float32(0.5)], [np.int32(7)], np.array([1, 2]), np.array([0.5, 2], np.float32), [1, 0.5], (1, 2),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=[f"{i}-{type(v).__name__}" for i, v in enumerate(VALUES)])
def test_new_attributes(value: Any) -> None:
    m = load(parse("g (float[2] x) => (float[2] y) { y = Relu(x) }"))
    node = next(iter(m.graph))
    node.set_attribute("a", value)
    (a,) = m.proto.graph.node[0].attribute
    got = helper.get_attribute_value(a)
    expected = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
    if isinstance(expected, str):
        expected = expected.encode()
    if isinstance(expected, (list, tuple)):
        expected = [v.encode() if isinstance(v, str) else v for v in expected]
        assert list(got) == pytest.approx(expected) if isinstance(got[0], float) else list(got) == expected
        assert (
            a.type
            == helper.make_attribute(
                "a", expected if all(type(v) is type(expected[0]) for v in expected) else [0.5]
            ).type
        )
    else:
        assert got == (pytest.approx(expected) if isinstance(expected, float) else expected)
        assert a.type == helper.make_attribute("a", expected).type


def test_new_attributes_that_are_messages() -> None:
    proto = everything()
    m = load(proto)
    opaque = next(n for n in m.graph if n.op == "my.domain::Opaque" and n.attributes)
    target = next(iter(m.graph))
    values = opaque.attributes
    node = Node("Opaque", [], domain="my.domain", attributes={k: v for k, v in values.items() if not _holds_graphs(v)})
    m.graph.insert_before(target, node)
    written = {a.name: a for a in m.proto.graph.node[0].attribute}
    read = {a.name: a for a in proto.graph.node[7].attribute}
    for name, a in written.items():
        if not name.startswith("empty"):
            copy = onnx.AttributeProto()
            copy.CopyFrom(read[name])
            copy.ClearField("doc_string")
            assert a == copy, name


def _holds_graphs(value: Any) -> bool:
    from graphopt.ir import Graph

    return isinstance(value, Graph) or (isinstance(value, list) and value and isinstance(value[0], Graph))


def test_setting_one_attribute_keeps_the_others() -> None:
    proto = everything()
    m = load(proto)
    opaque = next(n for n in m.graph if n.op == "my.domain::Opaque" and n.attributes)
    opaque.set_attribute("a0", 17)
    opaque.set_attribute("fresh", "new")
    before = {a.name: a for n in proto.graph.node for a in n.attribute if n.name == "opaque"}
    after = {a.name: a for n in m.proto.graph.node for a in n.attribute if n.name == "opaque"}
    assert after.pop("fresh").s == b"new"
    assert after.pop("a0").i == 17
    del before["a0"]
    assert after == before


def test_empty_lists_have_the_type_of_the_schema() -> None:
    m = load(parse("g (float[2] x) => (float[2] y) { y = Relu(x) }"))
    x = m.graph.inputs[0]
    node = Node("Upsample", [x], attributes={"scales": []})
    m.opsets[""] = 7
    m.graph.insert_before(m.graph.first, node)
    assert m.proto.graph.node[0].attribute[0].type == onnx.AttributeProto.FLOATS


def test_references_of_functions_are_kept() -> None:
    m = load(everything())
    constant = next(iter(m.functions["local", "double", ""].graph))
    assert constant.attributes["value_float"] == Reference("alpha", onnx.AttributeProto.FLOAT)
    constant.set_attribute("other", Reference("beta", onnx.AttributeProto.INT))
    written = {a.name: (a.ref_attr_name, a.type) for a in m.proto.functions[0].node[0].attribute}
    assert written == {"value_float": ("alpha", onnx.AttributeProto.FLOAT), "other": ("beta", onnx.AttributeProto.INT)}


def test_branches_that_are_given_by_reference() -> None:
    node = helper.make_node("If", ["c"], ["r"])
    for name in ("then_branch", "else_branch"):
        node.attribute.add(name=name, ref_attr_name=name, type=onnx.AttributeProto.GRAPH)
    proto = parse("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    proto.functions.append(
        helper.make_function(
            "local", "f", ["c"], ["r"], [node], [helper.make_opsetid("", 17)], ["then_branch", "else_branch"]
        )
    )
    m = load(proto)
    choice = next(iter(m.functions["local", "f", ""].graph))
    assert choice.subgraphs == []
    assert text(m) == text(proto)
    choice.touch()
    assert text(m) == text(proto)
    assert all(isinstance(a, Reference) for a in choice.attributes.values())
    assert text(m) == text(proto)


def test_attributes_without_a_type_keep_their_graphs() -> None:
    proto = parse(
        """g (bool c, float[N] x) => (float[N] y) {
            y = If (c) <then_branch = t () => (float[N] a) { a = Relu(x) }, else_branch = e () => (float[N] b) { b = Relu(x) }>
        }"""
    )
    for a in proto.graph.node[0].attribute:
        a.ClearField("type")
    m = load(proto)
    invariants.check(m)
    for node in list(m.nodes()):
        node.name = f"named_{node.op}"
        node.touch()
    assert [n.name for a in m.proto.graph.node[0].attribute for n in a.g.node] == ["named_Relu", "named_Relu"]


def test_changes_deep_inside_are_saved() -> None:
    proto = parse(
        """g (bool c, float[N] x) => (float[N] y) {
            y = If (c) <
                then_branch = t () => (float[N] a) {
                    a = If (c) <then_branch = tt () => (float[N] p) { p = Relu(x) }, else_branch = te () => (float[N] q) { q = Neg(x) }>
                },
                else_branch = e () => (float[N] b) { b = Abs(x) }
            >
        }"""
    )
    m = load(proto)
    deep = next(n for n in m.nodes() if n.op == "Relu")
    deep.name = "found"
    deep.touch()
    assert b"found" in text(m)
    assert deep.graph is not None
    new = Node("Sin", [deep.inputs[0]])
    deep.graph.insert_before(deep, new)
    deep.set_input(0, new.new_output("fresh"))
    invariants.check(m)
    assert b"fresh" in text(m)
    onnx.checker.check_model(m.proto)


def test_value_info_follows_the_values() -> None:
    proto = parse("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { a = Relu(x) b = Add(a, w) y = Neg(b) }")
    for name in ("a", "b", "w", "gone"):
        proto.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]))
    for name in ("x", "b", "gone"):
        proto.graph.quantization_annotation.add(tensor_name=name)
    m = load(proto)
    assert text(m) == text(proto)
    a, b = list(m.graph)[:2]
    a.output.replace_uses(m.graph.inputs[0])
    m.graph.remove(a)
    out = m.proto.graph
    assert [i.name for i in out.value_info] == ["b", "w"]
    assert [q.tensor_name for q in out.quantization_annotation] == ["x", "b"]
    b.output.rename("renamed")
    assert [i.name for i in m.proto.graph.value_info] == ["w"]


def test_parameters_of_quantization_annotations_are_kept() -> None:
    proto = parse(
        "g (float[2] x) => (float[2] y) <float[1] scale = {1}, float[1] unused = {2}> { a = Relu(x) b = Relu(x) y = Add(a, b) }"
    )
    annotation = proto.graph.quantization_annotation.add(tensor_name="x")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")
    out = optimize(proto).proto.graph
    assert [t.name for t in out.initializer] == ["scale"]
    assert out.quantization_annotation[0] == annotation


# ----------------------------------------------------------------- external data
BIG, SMALL = np.arange(4096, dtype=np.float32), np.arange(4, dtype=np.float32)[:1]


def externalised(folder: Path, threshold: int = 0, name: str = "m.onnx") -> tuple[Path, ModelProto]:
    """A model with weights of several dtypes and sizes, saved by onnx with external data; the same in memory."""
    weights = {"big": BIG, "small": SMALL, "big2": BIG * 2}
    proto = add_model(weights)
    extra = {
        "half": np.ones(700, np.float16),
        "ints": np.arange(300),
        "text": np.array(["a"] * 300, object),
        "empty": np.zeros((0,), np.float32),
    }
    proto.graph.initializer.extend(numpy_helper.from_array(w, n) for n, w in extra.items())
    proto.graph.initializer.append(helper.make_tensor("four", TensorProto.INT4, [4001], np.ones(4001)))
    path = folder / name
    onnx.save(proto, path, save_as_external_data=True, location="weights.bin", size_threshold=threshold)
    return path, onnx.load(path)


def check_same(path: Path, proto: ModelProto) -> None:
    """The file holds this model; external data is resolved by onnx and by graphopt."""
    onnx.checker.check_model(path)
    got = onnx.load(path)
    for a, b in (
        (constants(got), constants(proto)),
        ({v.name: t.numpy() for v, t in load(path).graph.initializers.items()}, constants(proto)),
    ):
        assert list(a) == list(b)
        for name in a:
            assert same_bits(a[name], b[name]), name
    x = np.zeros(4096, np.float32)
    assert same_bits(run(got, x=x), run(proto, x=x))


@pytest.mark.parametrize("threshold", [0, 1024])
@pytest.mark.parametrize("external_data", [None, True, False])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_external_data(external_data: bool | None, elsewhere: bool, threshold: int, tmp_path: Path) -> None:
    path, proto = externalised(tmp_path, threshold)
    target = tmp_path / "other" if elsewhere else tmp_path
    target.mkdir(exist_ok=True)
    load(path).save(target / "saved.onnx", external_data=external_data)
    made = {"saved.onnx"} | ({"saved.onnx.data"} if external_data is not False else set())
    assert made == set(files(target)) - {"m.onnx", "weights.bin", "other"}
    if elsewhere:
        path.unlink()
        (tmp_path / "weights.bin").unlink()
    check_same(target / "saved.onnx", proto)


def test_external_data_that_was_none(tmp_path: Path) -> None:
    proto = add_model({"big": BIG, "small": SMALL})
    load(proto).save(tmp_path / "a.onnx", external_data=True)
    check_same(tmp_path / "a.onnx", proto)
    raw = onnx.load(tmp_path / "a.onnx", load_external_data=False)
    assert [t.data_location for t in raw.graph.initializer] == [TensorProto.EXTERNAL, TensorProto.DEFAULT]
    load(proto).save(tmp_path / "b.onnx")
    assert files(tmp_path) == ["a.onnx", "a.onnx.data", "b.onnx"]
    entries = {e.key: e.value for e in raw.graph.initializer[0].external_data}
    assert entries == {"location": "a.onnx.data", "offset": "0", "length": str(BIG.nbytes)}


def test_large_tensors_start_at_pages(tmp_path: Path) -> None:
    big = np.arange(1 << 15, dtype=np.float32)
    load(add_model({"a": big, "b": np.ones(300, np.float32), "c": big})).save(tmp_path / "m.onnx", external_data=True)
    raw = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    offsets = [int({e.key: e.value for e in t.external_data}["offset"]) for t in raw.graph.initializer]
    assert offsets[0] == 0
    assert offsets[1] % 64 == 0
    assert offsets[2] % 4096 == 0


def test_no_data_file_without_large_tensors(tmp_path: Path) -> None:
    load(add_model({"small": SMALL})).save(tmp_path / "m.onnx", external_data=True)
    assert files(tmp_path) == ["m.onnx"]


def test_over_itself_while_tensors_are_mapped(tmp_path: Path) -> None:
    path, proto = externalised(tmp_path)
    m = load(path)
    arrays = {v.name: t.numpy() for v, t in m.graph.initializers.items()}
    m.save(path)
    check_same(path, proto)
    for name, array in arrays.items():
        assert same_bits(array, constants(proto)[name])


def reordered(m: Model) -> None:
    """Let offsets in the next data file differ from those in the last."""
    m.graph.initializers = dict(reversed(m.graph.initializers.items()))


def test_over_its_own_data_file_again_and_again(tmp_path: Path) -> None:
    """After a save in place the model must know where its weights are now."""
    path, proto = externalised(tmp_path)
    load(path).save(path)
    m = load(path)
    for _ in range(2):
        reordered(m)
        m.save(path)
        for v, t in m.graph.initializers.items():
            assert same_bits(t.numpy(), constants(proto)[v.name]), v.name
    check_same(path, proto)
    m.save(tmp_path / "other.onnx")
    check_same(tmp_path / "other.onnx", proto)
    m.save(tmp_path / "inside.onnx", external_data=False)
    check_same(tmp_path / "inside.onnx", proto)


INNER = """g (bool c, float[600] x) => (float[600] y) {
    k = Constant()
    z = Add(x, k)
    y = If (c) <then_branch = t () => (float[600] a) { a = Add(z, w) }, else_branch = e () => (float[600] b) { b = Mul(z, w2) }>
}"""


def inner_external(folder: Path) -> tuple[Path, ModelProto]:
    """External data in a Constant's attribute and in the initializers of branches."""
    proto = parse(INNER, check=False)
    proto.graph.node[0].attribute.append(
        helper.make_attribute("value", numpy_helper.from_array(np.full(600, 2, np.float32), "k"))
    )
    branches = {a.name: a.g for a in proto.graph.node[2].attribute}
    branches["then_branch"].initializer.append(numpy_helper.from_array(np.full(600, 3, np.float32), "w"))
    branches["else_branch"].initializer.append(numpy_helper.from_array(np.full(600, 5, np.float32), "w2"))
    onnx.checker.check_model(proto)
    inside = ModelProto()
    inside.CopyFrom(proto)
    data = b"\0" * 128
    for t in (
        proto.graph.node[0].attribute[0].t,
        branches["then_branch"].initializer[0],
        branches["else_branch"].initializer[0],
    ):
        t.external_data.add(key="location", value="m.onnx.data")
        t.external_data.add(key="offset", value=str(len(data)))
        t.data_location = TensorProto.EXTERNAL
        data += t.raw_data
        t.ClearField("raw_data")
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    (folder / "m.onnx.data").write_bytes(data)
    return folder / "m.onnx", inside


def same_function(a: ModelProto, b: ModelProto) -> None:
    x = np.arange(600, dtype=np.float32)
    for c in (np.array(True), np.array(False)):
        assert same_bits(run(a, c=c, x=x), run(b, c=c, x=x))


@pytest.mark.parametrize("external_data", [None, True, False])
def test_external_data_of_constants_and_branches(external_data: bool | None, tmp_path: Path) -> None:
    path, inside = inner_external(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    m = load(path)
    m.save(other / "s.onnx", external_data=external_data)
    path.unlink()
    (tmp_path / "m.onnx.data").unlink()
    same_function(onnx.load(other / "s.onnx"), inside)


def test_inner_external_data_over_itself(tmp_path: Path) -> None:
    path, inside = inner_external(tmp_path)
    m = load(path)
    m.save(path)
    same_function(onnx.load(path), inside)
    m.save(path)
    same_function(onnx.load(path), inside)
    m.save(tmp_path / "other.onnx")
    same_function(onnx.load(tmp_path / "other.onnx"), inside)
    m.save(tmp_path / "inside.onnx", external_data=False)
    same_function(onnx.load(tmp_path / "inside.onnx"), inside)


def test_optimised_over_itself(tmp_path: Path) -> None:
    path, proto = externalised(tmp_path)
    x = np.zeros(4096, np.float32)
    before = run(proto, x=x)
    m = optimize(path)
    m.save(path)
    assert same_bits(run(onnx.load(path), x=x), before)
    m.save(path)
    assert same_bits(run(onnx.load(path), x=x), before)


def test_data_that_vanished(tmp_path: Path) -> None:
    path, _ = externalised(tmp_path)
    m = load(path)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError, match="missing"):
        m.save(tmp_path / "other.onnx")
    assert files(tmp_path) == ["m.onnx"]


# ---------------------------------------------------------------------- failures
def test_no_place_to_save(tmp_path: Path) -> None:
    m = load(add_model({"small": SMALL}))
    with pytest.raises(SaveError, match="does not exist") as e:
        m.save(tmp_path / "absent" / "m.onnx")
    assert "absent" in str(e.value)
    with pytest.raises(SaveError, match="is a folder"):
        m.save(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SaveError):
        m.save(tmp_path / "file" / "m.onnx")
    assert files(tmp_path) == ["file"]


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write anywhere, so the system's answer is made up."""

    def denied(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(save.tempfile, "mkstemp", denied)
    with pytest.raises(SaveError, match=r"m\.onnx' cannot be written: Permission denied"):
        load(add_model({"small": SMALL})).save(tmp_path / "m.onnx")
    assert files(tmp_path) == []


class Full:
    """A file on a disk that is full after so many bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self.file = file
        self.room = room

    def write(self, data: bytes) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(28, "No space left on device")
        return int(self.file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


@pytest.mark.parametrize("external_data", [True, False])
@pytest.mark.parametrize("room", [0, 10, 200, 3000, 20000])
@pytest.mark.parametrize("exists", [True, False])
def test_a_full_disk(
    external_data: bool, room: int, exists: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = load(add_model({"big": BIG, "big2": BIG}))
    if exists:
        m.save(tmp_path / "m.onnx", external_data=external_data)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        f = open(path, mode, *args, **kwargs)
        return Full(f, room) if "w" in mode else f

    monkeypatch.setattr(save, "open", full, raising=False)
    with pytest.raises(SaveError, match="No space left") as e:
        m.save(tmp_path / "m.onnx", external_data=external_data)
    assert "m.onnx" in str(e.value)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("failing", [1, 2])
@pytest.mark.parametrize("exists", [True, False])
def test_renaming_fails(failing: int, exists: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old model never stands beside the data file of the new one."""
    m = load(add_model({"big": BIG, "big2": BIG}))
    if exists:
        m.save(tmp_path / "m.onnx", external_data=True)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    calls = []
    replace = os.replace

    def broken(a: Any, b: Any) -> None:
        calls.append(b)
        if len(calls) == failing:
            raise OSError(5, "Input/output error")
        replace(a, b)

    monkeypatch.setattr(os, "replace", broken)
    changed = load(add_model({"big": BIG + 1, "other": BIG[:2000], "big2": BIG}))
    with pytest.raises(SaveError, match="Input/output error"):
        changed.save(tmp_path / "m.onnx", external_data=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    m = load(add_model({"big": BIG}))

    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(save, "_write_model", stop)
    with pytest.raises(KeyboardInterrupt):
        m.save(tmp_path / "m.onnx", external_data=True)
    assert files(tmp_path) == []


def test_files_are_readable_by_others(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        load(add_model({"big": BIG})).save(tmp_path / "m.onnx", external_data=True)
    finally:
        os.umask(mask)
    assert {p.stat().st_mode & 0o777 for p in tmp_path.iterdir()} == {0o644}


def test_odd_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    m = load(add_model({"big": BIG}))
    for name in ("no suffix", "ä ö.onnx", ".hidden", "a" * 240):
        m.save(tmp_path / name, external_data=True)
        check_same(tmp_path / name, add_model({"big": BIG}))
    monkeypatch.chdir(tmp_path)
    m.save("plain.onnx")
    assert load("plain.onnx").node_count() == 2
    m.save(Path("plain2.onnx"))


# ------------------------------------------------------------------- large models
@pytest.mark.slow
def test_more_than_two_gigabytes(tmp_path: Path) -> None:
    """Weights stay in their file: neither loading nor saving takes memory in proportion."""
    count, each = 22, 100 << 20
    size = count * each
    with open(tmp_path / "weights.bin", "wb") as f:
        f.truncate(size)
        for i in range(count):
            f.seek(i * each)
            f.write(np.float32(i + 1).tobytes())
    proto = parse("g (float[1] x) => (float[1] y) { y = Relu(x) }")
    for i in range(count):
        t = proto.graph.initializer.add(
            name=f"w{i}", data_type=TensorProto.FLOAT, dims=[each // 4], data_location=TensorProto.EXTERNAL
        )
        for key, value in (("location", "weights.bin"), ("offset", i * each), ("length", each)):
            t.external_data.add(key=key, value=str(value))
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        m = load(path)
        m.save(tmp_path / "out.onnx")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 200 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 500 << 10  # in KiB
    assert (tmp_path / "out.onnx.data").stat().st_size == size
    again = load(tmp_path / "out.onnx")
    firsts = [t.numpy()[0] for t in again.graph.initializers.values()]
    assert firsts == list(range(1, count + 1))
    with pytest.raises(SaveError, match=r"2 GB.*external_data=True"):
        m.save(tmp_path / "inside.onnx", external_data=False)
    assert not (tmp_path / "inside.onnx").exists()


def test_just_too_large_for_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(save, "PROTOBUF_LIMIT", 20000)
    m = load(add_model({"big": BIG, "big2": BIG}))
    with pytest.raises(SaveError, match="2 GB"):
        m.save(tmp_path / "m.onnx", external_data=False)
    assert files(tmp_path) == []
    m.save(tmp_path / "m.onnx")
    assert files(tmp_path) == ["m.onnx", "m.onnx.data"]
    check_same(tmp_path / "m.onnx", add_model({"big": BIG, "big2": BIG}))


def test_new_constants_are_saved(tmp_path: Path) -> None:
    m = load(add_model({"big": BIG}))
    for name, array in {
        "f16": np.ones(3, np.float16), "b": np.array([True]), "scalar": np.array(2, np.int32), "text": np.array(["a"], object),
        "large": np.arange(1000.0),
    }.items():  # fmt: skip
        m.graph.add_initializer(name, Tensor(array=array))
    invariants.check(m)
    for external_data in (True, False):
        m.save(tmp_path / "m.onnx", external_data=external_data)
        got = constants(onnx.load(tmp_path / "m.onnx"))
        assert got["f16"].dtype == np.float16
        assert got["scalar"].shape == ()
        assert got["text"].tolist() == ["a"]
        assert got["large"].tolist() == list(range(1000))
