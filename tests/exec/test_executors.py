"""Executors give what the model computes, for every kind of value; and say clearly what they cannot do."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from graphopt.errors import ArgumentError, MissingDependencyError, UnsupportedError
from graphopt.exec.executors import create, installed, model_file, registry
from graphopt.exec.executors.onnxruntime import OnnxRuntime

needs_ort = pytest.mark.skipif("onnxruntime" not in installed(), reason="onnxruntime is not installed")
#: OpenVINO has tests of its own, for the little that it does not refuse.
everywhere = pytest.mark.parametrize("executor", [n for n in installed() if n not in ("openvino", "web", "tfjs")])


def f32(value: Any) -> np.ndarray:
    return np.array(value, np.float32)


def one_node(op: str, x: Any, y: Any, opset: int = 21, ir: int = 10, domain: str = "", **attributes: Any) -> bytes:
    """A model of one node from 'x' to 'y', whose types are a data type (rank 1), or a type."""
    types = [t if isinstance(t, onnx.TypeProto) else helper.make_tensor_type_proto(t, ["n"]) for t in (x, y)]
    values = [helper.make_value_info(name, t) for name, t in zip("xy", types)]
    node = helper.make_node(op, ["x"], ["y"], domain=domain, **attributes)
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=ir).SerializeToString())


NUMBERS = [
    TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.BOOL,
    TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64,
    TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64,
    TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E4M3FNUZ, TensorProto.FLOAT8E5M2, TensorProto.FLOAT8E5M2FNUZ,
]  # fmt: skip


@everywhere
@pytest.mark.parametrize("element", NUMBERS, ids=TensorProto.DataType.Name)
@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (0, 3)])
def test_numbers_come_back_as_they_went_in(executor: str, element: int, shape: tuple[int, ...]) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(element)
    x = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    tensor = helper.make_tensor_type_proto(element, [None] * len(shape))
    y = create(executor, one_node("Identity", tensor, tensor)).run({"x": x})["y"]
    assert y.dtype == dtype
    assert y.shape == shape
    assert y.tobytes() == x.tobytes()


@everywhere
@pytest.mark.parametrize("element", [TensorProto.INT4, TensorProto.UINT4])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_half_bytes(executor: str, element: int, size: int) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "scale"], ["wide"]),
        helper.make_node("QuantizeLinear", ["wide", "scale"], ["y"], output_dtype=element),
    ]
    ends = [helper.make_tensor_value_info(name, element, ["n"]) for name in "xy"]
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [1.0])
    opset = [helper.make_opsetid("", 21)]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ends[:1], ends[1:], [scale]), opset_imports=opset, ir_version=10
    )
    x = np.arange(size).astype(helper.tensor_dtype_to_np_dtype(element))
    y = create(executor, model.SerializeToString()).run({"x": x})["y"]
    assert y.dtype == x.dtype
    assert y.tolist() == x.tolist()


@everywhere
def test_strings(executor: str) -> None:
    model = one_node("Identity", TensorProto.STRING, TensorProto.STRING)
    x = np.array(["a", "", "Ünï"], dtype=object)
    assert create(executor, model).run({"x": x})["y"].tolist() == x.tolist()


@everywhere
def test_sequences_and_optionals(executor: str) -> None:
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, [None])
    joined = create(executor, one_node("ConcatFromSequence", helper.make_sequence_type_proto(tensor), tensor, axis=0))
    assert joined.run({"x": [f32([1]), f32([2, 3])]})["y"].tolist() == [1, 2, 3]
    parts = create(executor, one_node("SplitToSequence", tensor, helper.make_sequence_type_proto(tensor)))
    assert [a.tolist() for a in parts.run({"x": f32([1, 2])})["y"]] == [[1], [2]]
    scalar = helper.make_tensor_type_proto(TensorProto.BOOL, [])
    there = create(executor, one_node("OptionalHasElement", helper.make_optional_type_proto(tensor), scalar))
    assert not there.run({"x": None})["y"]
    assert there.run({"x": f32([1])})["y"]


@everywhere
def test_input_with_a_default(executor: str) -> None:
    nodes = [helper.make_node("Mul", ["x", "k"], ["y"])]
    x, k, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xky")
    default = helper.make_tensor("k", TensorProto.FLOAT, [2], [2.0, 3.0])
    graph = helper.make_graph(nodes, "g", [x, k], [y], [default])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    run = create(executor, model.SerializeToString()).run
    assert run({"x": f32([1, 1])})["y"].tolist() == [2, 3]
    assert run({"x": f32([1, 1]), "k": f32([5, 7])})["y"].tolist() == [5, 7]


@everywhere
@pytest.mark.parametrize("as_bytes", [True, False])
def test_external_data(executor: str, as_bytes: bool, tmp_path: Path) -> None:
    k = helper.make_tensor("k", TensorProto.FLOAT, [1000], np.arange(1000, dtype=np.float32))
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1000]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "k"], ["y"])], "g", [x], [y], [k])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="k.bin", size_threshold=0)
    if as_bytes:
        loaded = create(executor, (tmp_path / "m.onnx").read_bytes(), folder=tmp_path)
    else:
        loaded = create(executor, tmp_path / "m.onnx")
    assert loaded.run({"x": np.zeros(1000, np.float32)})["y"].tolist() == list(range(1000))


@needs_ort
def test_onnxruntime_leaves_the_graph_alone() -> None:
    import onnxruntime

    run = OnnxRuntime(one_node("Relu", TensorProto.FLOAT, TensorProto.FLOAT), threads=2)
    options = run._session.get_session_options()
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    assert options.intra_op_num_threads == 2
    assert run._session.get_providers() == ["CPUExecutionProvider"]


@needs_ort
def test_raw_tensors_beside_strings() -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Identity", ["s"], ["t"])]
    text = [helper.make_tensor_value_info(name, TensorProto.STRING, ["n"]) for name in "st"]
    raw = [helper.make_tensor_value_info(name, TensorProto.BFLOAT16, ["n"]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", [text[0], raw[0]], [text[1], raw[1]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()
    with pytest.raises(UnsupportedError, match=r"s: tensor\(string\)"):
        create("onnxruntime", model)
    feeds = {"s": np.array(["a"], dtype=object), "x": np.ones(1, ml_dtypes.bfloat16)}
    for name in ("reference", "onnx.reference"):
        assert create(name, model).run(feeds)["y"].dtype == ml_dtypes.bfloat16


# -------------------------------------------------------------------------------------------------------------- refusals
def test_unknown_name() -> None:
    with pytest.raises(
        ArgumentError,
        match=r"no executor is called 'tensorrt'; known: reference, jax, onnxruntime, openvino, web, tfjs, onnx.reference",
    ):
        create("tensorrt", b"")


def test_onnxruntime_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r"pip install graphopt\[ort\]"):
        create("onnxruntime", one_node("Relu", TensorProto.FLOAT, TensorProto.FLOAT))
    monkeypatch.undo()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert [name for name in installed() if name not in ("web", "tfjs")] == ["reference", "onnx.reference"]


def test_reference_tells_what_it_lacks_from_what_does_not_exist() -> None:
    lacking = one_node("Gelu", TensorProto.FLOAT, TensorProto.FLOAT, domain="com.microsoft")
    with pytest.raises(UnsupportedError, match=r"com\.microsoft\.Gelu"):
        create("onnx.reference", lacking)
    with pytest.raises(Exception, match="Nonsense") as caught:
        create("onnx.reference", one_node("Nonsense", TensorProto.FLOAT, TensorProto.FLOAT))
    assert not isinstance(caught.value, UnsupportedError)


@everywhere
def test_wrong_inputs_are_refused(executor: str) -> None:
    run = create(executor, one_node("Relu", TensorProto.FLOAT, TensorProto.FLOAT)).run
    with pytest.raises(Exception, match="x"):
        run({})


# ------------------------------------------------------------------------------------------------------------- the rest
class Zero:
    """An executor as another package may bring it."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def run(self, feeds: Any) -> dict[str, Any]:
        return {"y": np.zeros_like(feeds["x"])}


def test_other_packages_add_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = importlib.metadata.EntryPoint("zero", f"{__name__}:Zero", "graphopt.executors")
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or sys.modules[Zero.__module__])
    monkeypatch.setattr(registry, "_added", lambda: {"zero": entry})
    assert create("zero", b"").run({"x": np.ones(2)})["y"].tolist() == [0, 0]
    assert "zero" in installed()


@needs_ort
def test_a_provider_may_follow_the_name() -> None:
    model = one_node("Relu", TensorProto.FLOAT, TensorProto.FLOAT)
    assert create("onnxruntime:CPUExecutionProvider", model).run({"x": f32([-1, 1])})["y"].tolist() == [0, 1]
    with pytest.raises(ArgumentError, match="this ONNX Runtime has no 'FastProvider'; it has: "):
        create("onnxruntime:FastProvider", model)


@pytest.mark.parametrize("name", ["reference", "onnx.reference"])
def test_who_has_no_devices(name: str) -> None:
    with pytest.raises(ArgumentError, match=f"'{name}:cuda': {name} has no devices to choose from, write '{name}'"):
        create(f"{name}:cuda", one_node("Relu", TensorProto.FLOAT, TensorProto.FLOAT))


@pytest.mark.parametrize("entry", ["no_such_package:Zero", f"{__name__}:NoSuchClass"])
def test_an_added_executor_that_is_not_there(monkeypatch: pytest.MonkeyPatch, entry: str) -> None:
    broken = importlib.metadata.EntryPoint("zero", entry, "graphopt.executors")
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or sys.modules[Zero.__module__])
    monkeypatch.setattr(registry, "_added", lambda: {"zero": broken})
    with pytest.raises(MissingDependencyError, match="executor 'zero' cannot be loaded: .*[nN]o"):
        create("zero", b"")


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, graphopt.exec.executors as e; print('onnxruntime' in sys.modules, 'onnx.reference' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_temporary_files_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.import_module("graphopt.exec.executors.model_file"), "_ONE_MESSAGE", 100)
    k = helper.make_tensor("k", TensorProto.FLOAT, [1000], np.arange(1000, dtype=np.float32).tobytes(), raw=True)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1000]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "k"], ["y"])], "g", [x], [y], [k])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with model_file(model) as file:
        assert isinstance(file.source, Path)
        assert file.source.exists()
        for name in installed():
            assert file.on(name).run({"x": np.zeros(1000, np.float32)})["y"][-1] == 999
    assert not file.source.parent.exists()


# -------------------------------------------------------------------------------------------------------------- openvino
def test_openvino() -> None:
    pytest.importorskip("openvino")
    x = f32([-1, 2])
    assert create("openvino", one_node("Relu", TensorProto.FLOAT, TensorProto.FLOAT)).run({"x": x})["y"].tolist() == [
        0,
        2,
    ]
    with pytest.raises(ValueError, match="no value is given for input 'x'"):
        create("openvino", one_node("Relu", TensorProto.FLOAT, TensorProto.FLOAT)).run({})
    with pytest.raises(UnsupportedError, match="y: bf16|x: bf16"):
        create("openvino", one_node("Identity", TensorProto.BFLOAT16, TensorProto.BFLOAT16))
    with pytest.raises(UnsupportedError, match="pass a path"):
        create("openvino", b"", folder=".")


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        ([("Dropout", "x", "z"), ("Relu", "x", "y")], ["y", "z"]),
        ([("Relu", "x", "a"), ("Dropout", "a", "y"), ("Dropout", "a", "z")], ["z", "y"]),
    ],
)
def test_openvino_keeps_the_names_of_values_that_are_one(nodes: list[tuple[str, str, str]], outputs: list[str]) -> None:
    """Its ports go by the name of any value that is the same tensor."""
    pytest.importorskip("openvino")
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xyz"}
    made = [helper.make_node(op, [a], [b]) for op, a, b in nodes]
    graph = helper.make_graph(made, "g", [values["x"]], [values[name] for name in outputs])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    x = f32([-1, 2])
    want = create("onnx.reference", model).run({"x": x})
    got = create("openvino", model).run({"x": x})
    assert list(got) == list(want) == outputs
    for name in outputs:
        np.testing.assert_array_equal(got[name], want[name])


def test_openvino_gets_each_input_its_own() -> None:
    pytest.importorskip("openvino")
    x, y, z = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xyz")
    nodes = [helper.make_node("Dropout", ["y"], ["p"]), helper.make_node("Sub", ["p", "x"], ["z"])]
    graph = helper.make_graph(nodes, "g", [x, y], [z])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    assert create("openvino", model).run({"y": f32([5, 6]), "x": f32([1, 3])})["z"].tolist() == [4, 3]


def test_openvino_takes_no_other_values_for_initializers() -> None:
    pytest.importorskip("openvino")
    x, k, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xky")
    default = helper.make_tensor("k", TensorProto.FLOAT, [2], [2.0, 3.0])
    graph = helper.make_graph([helper.make_node("Mul", ["x", "k"], ["y"])], "g", [x, k], [y], [default])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    run = create("openvino", model.SerializeToString()).run
    assert run({"x": f32([1, 1])})["y"].tolist() == [2, 3]
    with pytest.raises(UnsupportedError, match="openvino takes inputs with an initializer for constants: k"):
        run({"x": f32([1, 1]), "k": f32([5, 7])})


def test_openvino_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependencyError, match=r"pip install graphopt\[openvino\]"):
        create("openvino", b"")
