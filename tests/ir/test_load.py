"""Reading models: what comes in, what is refused and how it is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from graphopt import GraphoptError, load
from graphopt.errors import ArgumentError, ModelError
from graphopt.ir import Model, Reference
from tests.ir import invariants
from tests.ir.building import everything, parse, run, same_bits


def text(model: ModelProto) -> bytes:
    return model.SerializeToString(deterministic=True)


def chain(*lines: str, signature: str = "g (float[N] x) => (float[N] y)") -> ModelProto:
    return parse(f"{signature} {{ {' '.join(lines)} }}", check=False)


# ----------------------------------------------------------------------- sources
def test_every_kind_of_source(tmp_path: Path) -> None:
    proto = chain("y = Relu(x)")
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    data = proto.SerializeToString()
    for source in (proto, data, bytearray(data), memoryview(data), path, str(path), load(proto), load(path)):
        m = load(source)
        assert text(m.proto) == text(proto)
        assert m.report is None
    assert load(path).path == path
    assert load(load(path)).path == path
    assert load(proto).path is None


def test_what_looks_like_a_torch_program() -> None:
    class Program:
        model_proto = chain("y = Relu(x)")

    assert len(load(Program()).graph) == 1


def test_onnx_ir_models() -> None:
    onnx_ir = pytest.importorskip("onnx_ir")
    assert len(load(onnx_ir.from_proto(chain("y = Relu(x)"))).graph) == 1


@pytest.mark.parametrize("source", [None, 3, [], {}, object()])
def test_no_model(source: object) -> None:
    with pytest.raises(ArgumentError, match="cannot load a model from") as e:
        load(source)
    assert isinstance(e.value, ValueError)
    assert isinstance(e.value, GraphoptError)


def test_a_copy_of_a_model_is_its_own() -> None:
    first = load(chain("a = Relu(x)", "y = Neg(a)"))
    before = text(first.proto)
    second = load(first)
    second.graph.first.output.rename("other")
    assert text(first.proto) == before
    assert b"other" in text(second.proto)


# ------------------------------------------------------------------ broken files
def broken() -> dict[str, tuple[bytes | None, str]]:
    good = everything().SerializeToString()
    return {
        "empty.onnx": (b"", "is empty"),
        "truncated.onnx": (good[: len(good) // 2], "truncated"),
        "one_byte_less.onnx": (good[:-1], "truncated"),
        "text.onnx": (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            "not an ONNX model",
        ),
        "html.onnx": (b"<!DOCTYPE html>\n<html>\n<body>404</body>\n</html>\n", "not an ONNX model"),
        "zeros.onnx": (bytes(64), "not an ONNX model"),
        "zip.onnx": (b"PK\x03\x04" + bytes(60), "not an ONNX model"),
        "graph.onnx": (everything().graph.SerializeToString(), "not an ONNX model"),
        "tensor.onnx": (numpy_helper.from_array(np.ones(3)).SerializeToString(), "not an ONNX model"),
        "absent.onnx": (None, "no such file"),
    }


@pytest.mark.parametrize("name", list(broken()))
def test_broken_files(name: str, tmp_path: Path) -> None:
    data, message = broken()[name]
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ModelError, match=message) as e:
        load(tmp_path / name)
    assert name in str(e.value)
    assert "\n" not in str(e.value)
    if data:
        with pytest.raises(ModelError, match="bytes given"):
            load(data)


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a folder; name the .onnx file in it") as e:
        load(tmp_path)
    assert str(tmp_path) in str(e.value)
    with pytest.raises(ModelError):
        load(tmp_path / "a" / "b.onnx")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ModelError, match="cannot be read"):
        load(tmp_path / "file" / "b.onnx")


def test_no_bytes() -> None:
    with pytest.raises(ModelError):
        load(b"")
    with pytest.raises(ModelError):
        load(ModelProto())


@pytest.mark.parametrize("version", range(3, onnx.IR_VERSION + 1))
def test_every_ir_version(version: int) -> None:
    proto = chain("y = Relu(x)")
    proto.ir_version = version
    m = load(proto)
    assert m.ir_version == version
    assert text(m.proto) == text(proto)


@pytest.mark.parametrize("version", [1, 2, onnx.IR_VERSION + 1, 1000])
def test_other_ir_versions(version: int) -> None:
    proto = chain("y = Relu(x)")
    proto.ir_version = version
    with pytest.raises(ModelError, match=f"IR version {version}"):
        load(proto)


# ---------------------------------------------------------------- broken graphs
BROKEN = {
    "cycle": (["a = Add(x, b)", "b = Relu(a)", "y = Neg(b)"], "cycle"),
    "itself": (["y = Add(x, y)"], "cycle"),
    "dangling": (["y = Add(x, nowhere)"], "'nowhere'"),
    "twice": (["y = Relu(x)", "y = Neg(x)"], "'y' is produced twice"),
    "input": (["x = Relu(x)", "y = Neg(x)"], "'x' is produced twice"),
    "no output": (["z = Relu(x)"], "'y', output of graph 'g'"),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_broken_graphs(name: str, tmp_path: Path) -> None:
    lines, message = BROKEN[name]
    proto = chain(*lines)
    with pytest.raises(ModelError, match=message):
        load(proto)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=message) as e:
        load(tmp_path / "m.onnx")
    assert "m.onnx" in str(e.value)
    assert "\n" not in str(e.value)


def test_one_node_with_the_same_output_twice() -> None:
    proto = chain("y = Relu(x)")
    proto.graph.node[0].output.append("y")
    with pytest.raises(ModelError, match="twice"):
        load(proto)


def test_two_inputs_of_one_name() -> None:
    proto = chain("y = Relu(x)")
    proto.graph.input.append(proto.graph.input[0])
    with pytest.raises(ModelError, match="two inputs of one name"):
        load(proto)


def test_two_initializers_of_one_name() -> None:
    proto = chain("y = Relu(x)")
    for _ in range(2):
        proto.graph.initializer.append(numpy_helper.from_array(np.ones(1), "w"))
    with pytest.raises(ModelError, match="two initializers named 'w'"):
        load(proto)
    proto.graph.input.append(helper.make_tensor_value_info("w", 1, [1]))
    with pytest.raises(ModelError, match="two initializers named 'w'"):
        load(proto)


def test_an_initializer_without_a_name() -> None:
    proto = chain("y = Relu(x)")
    proto.graph.initializer.append(numpy_helper.from_array(np.ones(1)))
    with pytest.raises(ModelError, match="without a name"):
        load(proto)


def test_an_initializer_that_a_node_produces() -> None:
    proto = chain("y = Relu(x)")
    proto.graph.initializer.append(numpy_helper.from_array(np.ones(1), "y"))
    with pytest.raises(ModelError, match="twice"):
        load(proto)


def test_cycles_name_a_node_on_them() -> None:
    proto = chain("out = Sin(b)", "a = Add(x, b)", "b = Relu(a)", "y = Neg(out)")
    for i, n in enumerate(proto.graph.node):
        n.name = f"n{i}"
    with pytest.raises(ModelError, match="node 'n[12]'"):
        load(proto)


def test_cycles_with_nodes_without_outputs() -> None:
    proto = chain("a = Add(x, b)", "b = Relu(a)", "y = Neg(b)")
    proto.graph.node.insert(0, helper.make_node("Print", ["a"], [], domain="my"))
    proto.graph.node.insert(0, helper.make_node("Print", ["a"], ["", ""], domain="my"))
    with pytest.raises(ModelError, match="cycle"):
        load(proto)


def test_cycle_through_a_branch() -> None:
    proto = parse(
        """g (bool c, float[N] x) => (float[N] y) {
            y = If (c) <then_branch = t () => (float[N] a) { a = Add(x, z) }, else_branch = e () => (float[N] b) { b = Relu(x) }>
            z = Neg(y)
        }""",
        check=False,
    )
    with pytest.raises(ModelError, match="cycle"):
        load(proto)


def test_branch_that_reads_its_own_if() -> None:
    proto = parse(
        """g (bool c, float[N] x) => (float[N] y) {
            y = If (c) <then_branch = t () => (float[N] a) { a = Add(x, y) }, else_branch = e () => (float[N] b) { b = Relu(x) }>
        }""",
        check=False,
    )
    with pytest.raises(ModelError, match="cycle"):
        load(proto)


def test_values_of_a_branch_are_not_seen_outside() -> None:
    proto = parse(
        """g (bool c, float[N] x) => (float[N] y) {
            z = If (c) <then_branch = t () => (float[N] a) { a = Relu(x) }, else_branch = e () => (float[N] b) { b = Relu(x) }>
            y = Neg(a)
        }""",
        check=False,
    )
    with pytest.raises(ModelError, match="'a'"):
        load(proto)


# --------------------------------------------------------------------- structure
def test_unsorted_graphs_are_sorted() -> None:
    proto = chain("y = Add(b, c)", "c = Neg(a)", "b = Relu(a)", "a = Sin(x)")
    m = load(proto)
    invariants.check(m)
    assert [n.op for n in m.graph] == ["Sin", "Neg", "Relu", "Add"]
    onnx.checker.check_model(m.proto)
    x = np.arange(3, dtype=np.float32)
    ordered = chain("a = Sin(x)", "c = Neg(a)", "b = Relu(a)", "y = Add(b, c)")
    assert same_bits(run(m, x=x), run(ordered, x=x))


def test_sorting_keeps_the_order_where_it_is_right() -> None:
    proto = chain("p = Sin(x)", "q = Cos(x)", "y = Add(r, s)", "r = Neg(p)", "s = Abs(q)", "t = Tan(x)")
    assert [n.op for n in load(proto).graph] == ["Sin", "Cos", "Neg", "Abs", "Add", "Tan"]


def test_a_branch_that_reads_what_comes_later() -> None:
    proto = parse(
        """g (bool c, float[N] x) => (float[N] y) {
            y = If (c) <then_branch = t () => (float[N] a) { b = Neg(late) a = Relu(b) }, else_branch = e () => (float[N] d) { d = Relu(x) }>
            late = Sin(x)
        }""",
        check=False,
    )
    m = load(proto)
    invariants.check(m)
    assert [n.op for n in m.graph] == ["Sin", "If"]
    onnx.checker.check_model(m.proto)


def test_unsorted_branches_are_sorted() -> None:
    proto = parse(
        """g (bool c, float[N] x) => (float[N] y) {
            y = If (c) <then_branch = t () => (float[N] a) { a = Relu(b) b = Neg(x) }, else_branch = e () => (float[N] d) { d = Relu(x) }>
        }""",
        check=False,
    )
    m = load(proto)
    invariants.check(m)
    onnx.checker.check_model(m.proto)
    assert [n.op_type for n in m.proto.graph.node[0].attribute[0].g.node] == ["Neg", "Relu"]


NESTED = """g (bool c, float[N] x) => (float[N] y) {
    a = Relu(x)
    y = If (c) <
        then_branch = t () => (float[N] t_out) {
            t_out = If (c) <
                then_branch = tt () => (float[N] tt_out) { p = Add(a, a) tt_out = Add(p, x) },
                else_branch = te () => (float[N] te_out) { te_out = Neg(a) }
            >
        },
        else_branch = e () => (float[N] e_out) { e_out = Sin(x) }
    >
}"""


def test_captured_values_are_uses() -> None:
    m = load(parse(NESTED))
    invariants.check(m)
    relu, choice = m.graph
    a = relu.output
    readers = {n.op: k for n, k in a.uses.items()}
    assert readers == {"Add": 2, "Neg": 1}
    assert all(n.graph is not m.graph for n in a.uses)
    x = m.graph.inputs[0 if m.graph.inputs[0].name == "x" else 1]
    assert sorted(n.op for n in x.uses) == ["Add", "Relu", "Sin"]
    c = next(v for v in m.graph.inputs if v.name == "c")
    assert sum(c.uses.values()) == 2
    inner = choice.subgraphs[0].first
    assert inner is not None and inner.graph is choice.subgraphs[0]
    assert inner.graph.parent is m.graph
    assert m.graph.encloses(inner.subgraphs[1]) and not inner.graph.encloses(m.graph)
    assert len(list(m.graphs())) == 5
    assert m.node_count() == len(list(m.nodes())) == 7


def test_loop_and_scan_bodies() -> None:
    proto = parse(
        """g (int64 n, bool go, float[2] x, float[K, 2] s) => (float[2] y, float[T, 2] z, float[K, 2] w) {
            a = Relu(x)
            y, z = Loop (n, go, x) <body = b (int64 i, bool cond, float[2] v) => (bool cond_out, float[2] v_out, float[2] scanned) {
                cond_out = Identity(cond) v_out = Add(v, a) scanned = Mul(v, a)
            }>
            fin, w = Scan <num_scan_inputs = 1, body = sb (float[2] acc, float[2] item) => (float[2] acc_out, float[2] each) {
                acc_out = Add(acc, item) each = Sub(acc_out, a)
            }> (x, s)
        }"""
    )
    m = load(proto)
    invariants.check(m)
    assert sorted(n.op for n in next(iter(m.graph)).output.uses) == ["Add", "Mul", "Sub"]
    assert text(m.proto) == text(proto)


def test_a_branch_whose_output_is_a_value_from_outside() -> None:
    proto = parse(
        """g (bool c, float[N] x) => (float[N] y) {
            a = Relu(x)
            y = If (c) <then_branch = t () => (float[N] a) {}, else_branch = e () => (float[N] b) { b = Neg(x) }>
        }""",
        check=False,
    )
    m = load(proto)
    invariants.check(m)
    a = next(iter(m.graph)).output
    assert a.exits == 0 and [n.op for n in a.uses] == ["Identity"]
    onnx.checker.check_model(m.proto)  # which refuses the original
    x = np.arange(-1, 2, dtype=np.float32)
    for c in (np.array(True), np.array(False)):
        assert same_bits(run(m, c=c, x=x), run(proto, c=c, x=x))


def test_shadowed_names() -> None:
    """A body may have inputs that are named like outer values: what it reads is its own."""
    proto = parse(
        """g (int64 n, bool go, float[2] x) => (float[2] y) {
            v = Relu(x)
            y = Loop (n, go, v) <body = b (int64 i, bool cond, float[2] v) => (bool cond_out, float[2] v_out) {
                cond_out = Identity(cond) v_out = Add(v, x)
            }>
        }"""
    )
    m = load(proto)
    invariants.check(m)
    relu = next(iter(m.graph))
    assert [n.op for n in relu.output.uses] == ["Loop"]
    assert text(m.proto) == text(proto)
    assert [v.name for v in m.shadowing] == ["v"]
    m.resolve_shadowing()
    invariants.check(m)
    assert m.shadowing == []
    onnx.checker.check_model(m.proto)
    assert text(m.proto) != text(proto)
    feeds = {"n": np.array(3), "go": np.array(True), "x": np.float32([-1, 2])}
    assert same_bits(run(m, **feeds), run(proto, **feeds))


def test_initializers_that_are_inputs() -> None:
    proto = parse(
        "g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}, float[2] k = {3, 4}> { a = Mul(x, w) y = Add(a, k) }"
    )
    m = load(proto)
    invariants.check(m)
    x, w = m.graph.inputs
    assert w in m.graph.initializers
    assert w.const is None
    k = next(v for v in m.graph.initializers if v is not w)
    assert k.const is not None and k.const.numpy().tolist() == [3, 4]
    assert (k.dtype, k.shape) == (TensorProto.FLOAT, (2,))
    assert m.freeze_inputs() == ["w"]
    assert m.graph.inputs == [x]
    assert w.const is not None
    assert (w.dtype, w.shape) == (TensorProto.FLOAT, (2,))
    invariants.check(m)
    assert [i.name for i in m.proto.graph.input] == ["x"]


def test_freezing_knows_the_shape_of_the_constant() -> None:
    proto = parse("g (float[2] x, float[K] w) => (float[K] y) <float[2] w = {1, 2}> { y = Mul(x, w) }")
    m = load(proto)
    assert m.graph.inputs[1].shape == ("K",)
    m.freeze_inputs()
    w = next(iter(m.graph.initializers))
    assert w.shape == (2,)


def test_freezing_raises_the_ir_version() -> None:
    proto = parse("g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { y = Mul(x, w) }", opset=9, ir=3)
    m = load(proto)
    assert m.freeze_inputs() == ["w"]
    assert m.proto.ir_version == 4
    onnx.checker.check_model(m.proto)
    assert load(parse("g (float[2] x) => (float[2] y) { y = Relu(x) }", ir=3)).freeze_inputs() == []


def test_domains() -> None:
    proto = chain("y = Relu(x)")
    proto.opset_import[0].domain = "ai.onnx"
    proto.graph.node[0].domain = "ai.onnx"
    m = load(proto)
    assert m.opsets == {"": 17}
    node = next(iter(m.graph))
    assert (node.op, node.domain) == ("Relu", "")
    assert m.schema(node) is not None
    assert text(m.proto) == text(proto)
    node.touch()
    assert text(m.proto) == text(proto)


def test_two_spellings_of_one_domain() -> None:
    proto = chain("y = Relu(x)")
    proto.opset_import.add(domain="ai.onnx", version=17)
    m = load(proto)
    assert {o.domain for o in m.proto.opset_import} <= {"", "ai.onnx"}
    assert load(m.proto).opsets == {"": 17}


def test_unknown_operators_and_functions_have_no_schema() -> None:
    m = load(everything())
    invariants.check(m)
    by_op = {n.op: n for n in m.graph}
    assert m.schema(by_op["my.domain::Opaque"]) is None
    assert m.schema(by_op["local::double"]) is None
    schema = m.schema(by_op["Add"])
    assert schema is not None and schema.since_version == 14
    assert set(m.functions) == {("local", "double", ""), ("local", "double", "fast")}


def test_types() -> None:
    m = load(everything())
    types = {v.name: v for v in m.graph.inputs}
    assert (types["x"].dtype, types["x"].shape) == (TensorProto.FLOAT, ("batch", 3, None))
    assert types["x"].rank == 3
    assert types["c"].shape == ()
    for name in ("s", "opt", "map", "sparse_in"):
        assert types[name].type is not None
        assert types[name].dtype == 0
        assert types[name].shape is None


@pytest.mark.parametrize(
    ("attribute", "value", "expected"),
    [
        ("value_int", 3, np.array(3, np.int64)),
        ("value_ints", [1, 2], np.array([1, 2], np.int64)),
        ("value_float", 0.1, np.array(0.1, np.float32)),
        ("value_floats", [0.5], np.array([0.5], np.float32)),
        ("value_string", "é", np.array("é", object)),
        ("value_strings", ["a", ""], np.array(["a", ""], object)),
        ("value", numpy_helper.from_array(np.ones((1, 2), np.float16)), np.ones((1, 2), np.float16)),
    ],
)
def test_constant_nodes(attribute: str, value: object, expected: np.ndarray) -> None:
    proto = chain("y = Identity(k)")
    proto.graph.node.insert(0, helper.make_node("Constant", [], ["k"], **{attribute: value}))
    m = load(proto)
    k = next(iter(m.graph)).output
    assert k.const is not None
    assert k.const.numpy().dtype == expected.dtype
    assert k.const.numpy().tolist() == expected.tolist()
    assert (k.dtype, k.shape) == (k.const.dtype, expected.shape)


@pytest.mark.parametrize(("attribute", "value"), [("value_string", b"\xff\xfe"), ("value_strings", [b"a", b"\xff"])])
def test_constants_that_are_no_text(attribute: str, value: object) -> None:
    proto = chain("y = Identity(k)")
    proto.graph.node.insert(0, helper.make_node("Constant", [], ["k"], **{attribute: value}))
    m = load(proto)
    assert text(m.proto) == text(proto)


@pytest.mark.parametrize("attribute", ["value", "value_float", "value_ints", "sparse_value"])
def test_constants_of_functions_that_the_call_decides(attribute: str) -> None:
    kinds = {
        "value": onnx.AttributeProto.TENSOR,
        "value_float": onnx.AttributeProto.FLOAT,
        "value_ints": onnx.AttributeProto.INTS,
    }
    node = onnx.NodeProto(op_type="Constant", output=["k"])
    node.attribute.add(
        name=attribute, ref_attr_name="alpha", type=kinds.get(attribute, onnx.AttributeProto.SPARSE_TENSOR)
    )
    function = helper.make_function(
        "local",
        "f",
        ["v"],
        ["w"],
        [node, helper.make_node("Mul", ["v", "k"], ["w"])],
        [helper.make_opsetid("", 17)],
        ["alpha"],
    )
    proto = chain("y = Relu(x)")
    proto.functions.append(function)
    proto.opset_import.add(domain="local", version=1)
    m = load(proto)
    constant = next(iter(m.functions["local", "f", ""].graph))
    assert constant.output.const is None
    assert constant.attributes == {attribute: Reference("alpha", node.attribute[0].type)}


def test_functions_have_their_own_opsets_and_values() -> None:
    m = load(everything())
    graph = m.functions["local", "double", ""].graph
    assert graph.opsets == {"": 21}
    assert [v.name for v in graph.inputs] == ["v"]
    assert graph.outputs[0].exits == 1
    assert [n.op for n in graph] == ["Constant", "Mul"]


@pytest.mark.parametrize("change", ["input", "output"])
def test_broken_functions(change: str) -> None:
    proto = everything()
    f = proto.functions[0]
    if change == "input":
        f.node[1].input[0] = "nowhere"
    else:
        f.output[0] = "nowhere"
    with pytest.raises(ModelError, match="'nowhere'"):
        load(proto)


def test_fresh_names_are_new_everywhere() -> None:
    m = load(everything())
    taken = {v.name for g in m.graphs() for v in (*g.inputs, *g.initializers)} | {
        v.name for n in m.nodes() for v in n.outputs if v
    }
    taken |= {"sparse", "sum", "o0"}
    for name in sorted(taken):
        assert m.fresh_name(name) != name
    assert m.fresh_name("unheard") == "unheard"
    assert m.fresh_name("unheard") != "unheard"


def test_fresh_names_avoid_stale_value_info() -> None:
    """A type that is kept for a value which is gone must not fall on a new one."""
    proto = chain("y = Relu(x)")
    proto.graph.value_info.append(helper.make_tensor_value_info("ghost", TensorProto.INT64, [7]))
    assert load(proto).fresh_name("ghost") != "ghost"


# ------------------------------------------------------------------ external data
def external_model(folder: Path, dtype: type = np.float32, size: int = 4096, **entries: object) -> Path:
    """y = x + w with w in a file of its own."""
    proto = parse(f"g (float[{size}] x) => (float[{size}] y) {{ y = Add(x, w) }}", check=False)
    w = numpy_helper.from_array(np.arange(size, dtype=dtype), "w")
    (folder / "w.bin").write_bytes(w.raw_data)
    w.ClearField("raw_data")
    w.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": "w.bin", "offset": 0, "length": size * 4} | entries).items():
        if value is not None:
            w.external_data.add(key=key, value=str(value))
    proto.graph.initializer.append(w)
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    return folder / "m.onnx"


def test_external_data_is_mapped(tmp_path: Path) -> None:
    m = load(external_model(tmp_path))
    (w,) = m.graph.initializers
    assert w.const is not None and w.const.is_external
    assert w.const.numpy()[17] == 17
    assert m.base_dir == str(tmp_path)
    assert text(load(m).proto) == text(m.proto)


def test_external_data_of_bytes_is_sought_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = external_model(tmp_path)
    with pytest.raises(ModelError, match="missing"):
        load(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    (w,) = load(path.read_bytes()).graph.initializers
    assert w.const is not None and w.const.numpy()[3] == 3
    (w,) = load("m.onnx").graph.initializers
    assert w.const is not None and w.const.numpy()[3] == 3


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "absent.bin"}, "absent.bin' is missing"),
        ({"location": "../w.bin"}, "outside"),
        ({"location": None}, "outside"),
        ({"offset": 8}, "too short"),
        ({"length": 16}, "too short"),
        ({"length": 1 << 20}, "too short"),
        ({"length": "many"}, "not a number"),
    ],
)
def test_broken_external_data(entries: dict[str, object], message: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(1 << 16))
    path = external_model(tmp_path / "sub", **entries)
    with pytest.raises(ModelError, match=message) as e:
        load(path)
    assert "m.onnx" in str(e.value)
    assert "'w'" in str(e.value)
    assert "\n" not in str(e.value)


def test_external_data_of_constants_and_branches(tmp_path: Path) -> None:
    value = TensorProto(name="k", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    value.external_data.add(key="location", value="k.bin")
    proto = chain("k = Constant()", "y = Add(x, k)")
    proto.graph.node[0].attribute.append(helper.make_attribute("value", value))
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="k.bin"):
        load(path)
    (tmp_path / "k.bin").write_bytes(np.array([1, 2], np.float32).tobytes())
    k = next(iter(load(path).graph)).output
    assert k.const is not None and k.const.numpy().tolist() == [1, 2]


def test_loading_is_a_model() -> None:
    m = load(chain("y = Relu(x)"))
    assert isinstance(m, Model)
    assert "1 nodes" in repr(m) and "opset 17" in repr(m)
    assert m.SerializeToString() == m.proto.SerializeToString()
