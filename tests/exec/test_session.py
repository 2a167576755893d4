"""Sessions behave as ONNX Runtime's, say what they do, and refuse what does not fit in one clear sentence."""

from __future__ import annotations

import importlib.util
import json
import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import graphopt
import graphopt.exec as own
from graphopt.errors import ArgumentError, MissingDependencyError, ModelError, RunError, UnsupportedError

SILU = onnx.parser.parse_model(
    '<ir_version: 8, opset_import: ["" : 17], producer_name: "tests", model_version: 3> silu (float[n,3] x, int64[2] shape = {3, 2}) '
    "=> (float[n,3] y, float[a,b] z) { s = Sigmoid(x) y = Mul(x, s) z = Reshape(y, shape) }"
)
X = np.linspace(-3, 3, 6, dtype=np.float32).reshape(2, 3)
has_jax = importlib.util.find_spec("jax") is not None
PROVIDERS = ["ReferenceExecutionProvider", *(["JaxExecutionProvider"] if has_jax else [])]
everywhere = pytest.mark.parametrize("provider", PROVIDERS)


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def quiet(module: ModuleType, level: str = "ORT_ENABLE_ALL") -> Any:
    options = module.SessionOptions()
    options.graph_optimization_level = getattr(module.GraphOptimizationLevel, level)
    options.log_severity_level = 4
    return options


@everywhere
@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"])
def test_runs(provider: str, level: str) -> None:
    session = own.InferenceSession(SILU, quiet(own, level), providers=[provider])
    y, z = session.run(None, {"x": X})
    np.testing.assert_allclose(y, silu(X), rtol=1e-6)
    assert z.shape == (3, 2) and y.dtype == z.dtype == np.float32
    (z,) = session.run(["z"], {"x": X, "shape": np.array([1, 6])})
    assert z.shape == (1, 6)
    assert session.run(["z", "y"], {"x": X})[1].shape == (2, 3)


def a_program(ort: ModuleType, path: Path) -> list[Any]:
    """What an ordinary program does with ONNX Runtime."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
    seen: list[Any] = [session.get_providers(), options.get_session_config_entry("session.intra_op.allow_spinning")]
    seen += [(a.name, a.type, a.shape) for a in (*session.get_inputs(), *session.get_outputs())]
    seen += [a.name for a in session.get_overridable_initializers()]
    meta = session.get_modelmeta()
    seen += [meta.producer_name, meta.graph_name, meta.version, meta.domain, meta.description, meta.custom_metadata_map]
    run_options = ort.RunOptions()
    run_options.log_severity_level = 3
    seen += [a.tolist() for a in session.run(None, {session.get_inputs()[0].name: X}, run_options)]
    value = ort.OrtValue.ortvalue_from_numpy(X)
    seen += [value.device_name(), value.shape(), value.data_type(), value.is_tensor(), value.element_type()]
    seen += [v.numpy().tolist() for v in session.run_with_ort_values(["y"], {"x": value})]
    binding = session.io_binding()
    binding.bind_cpu_input("x", X)
    binding.bind_output("y")
    filled = ort.OrtValue.ortvalue_from_shape_and_type([3, 2], np.float32)
    binding.bind_ortvalue_output("z", filled)
    session.run_with_iobinding(binding)
    seen += [a.tolist() for a in binding.copy_outputs_to_cpu()]
    seen += [filled.numpy().tolist(), binding.get_outputs()[0].data_type()]
    return seen


def test_an_ordinary_program_sees_the_same(tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    path = tmp_path / "silu.onnx"
    onnx.save(SILU, path)
    assert repr(a_program(own, path)) == repr(a_program(ort, path))


def test_the_same_program_on_other_providers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "silu.onnx"
    onnx.save(SILU, path)
    for provider in PROVIDERS:
        monkeypatch.setenv("GRAPHOPT_PROVIDERS", provider)
        assert own.InferenceSession(str(path)).get_providers() == [provider]
    assert own.InferenceSession(path.read_bytes(), providers=["reference"]).get_providers() == [PROVIDERS[0]]
    assert own.InferenceSession(graphopt.load(SILU), providers=["cpu"]).get_providers() == [PROVIDERS[0]]
    assert own.get_available_providers()[0] == PROVIDERS[0]


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"X": X}, r"no input 'X'; its inputs: x, shape"),
        ({}, r"no value is given for input 'x'"),
        (
            {"x": X.astype(np.float64)},
            r"'x' must be float32 \(tensor\(float\)\), not float64; convert it: x.astype\('float32'\)",
        ),
        ({"x": X[0]}, r"'x' must have rank 2, shape \[n, 3\], not 1, shape \[3\]"),
        ({"x": X[:, :2]}, r"'x' must have shape \[n, 3\], not \[2, 2\]: see axis 1"),
        ({"x": None}, r"'x' is a tensor\(float\): feed an array, not a NoneType"),
        ({"x": [[1, 2, 3]]}, r"'x' must be float32 .*, not int64"),
    ],
)
@everywhere
def test_feeds_that_do_not_fit(provider: str, feeds: dict[str, Any], message: str) -> None:
    session = own.InferenceSession(SILU, providers=[provider])
    with pytest.raises(ArgumentError, match=message) as caught:
        session.run(None, feeds)
    assert "\n" not in str(caught.value)


@everywhere
def test_only_nan_comes_in(provider: str) -> None:
    y, _ = own.InferenceSession(SILU, providers=[provider]).run(None, {"x": np.full((2, 3), np.nan, np.float32)})
    assert np.isnan(y).all()


@everywhere
def test_a_node_that_fails_is_named(provider: str) -> None:
    session = own.InferenceSession(SILU, providers=[provider])
    with pytest.raises(RunError, match=r"\(Reshape\).*float32\[2, 3\], int64\[2\]"):
        session.run(None, {"x": X, "shape": np.array([4, 4])})


def test_wrong_arguments(tmp_path: Path) -> None:
    session = own.InferenceSession(SILU)
    with pytest.raises(ArgumentError, match="no output 'w'; its outputs: y, z"):
        session.run(["w"], {"x": X})
    with pytest.raises(ModelError, match="no such file"):
        own.InferenceSession(tmp_path / "none.onnx")
    with pytest.raises(ArgumentError, match="must be a list"):
        own.InferenceSession(SILU, providers="reference")
    with pytest.raises(ArgumentError, match="has no option 'fast'; it has: none"):
        own.InferenceSession(SILU, providers=[("reference", {"fast": 1})])
    options = own.SessionOptions()
    options.add_initializer("w", X)
    with pytest.raises(ArgumentError, match="no initializer 'w'"):
        own.InferenceSession(SILU, options)
    with pytest.raises(ArgumentError, match="profiling was not enabled"):
        session.end_profiling()
    with pytest.raises(ArgumentError, match="'nothing' was not set"):
        own.SessionOptions().get_session_config_entry("nothing")


def test_unknown_provider() -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(ArgumentError, match="no execution provider is called 'FastProvider'; there are: Reference"):
        own.InferenceSession(SILU, providers=["FastProvider"])


def test_extras_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install graphopt\[jax\]"):
        own.InferenceSession(SILU, providers=["jax"])
    with pytest.raises(MissingDependencyError, match=r"'CPUExecutionProvider' .* pip install graphopt\[ort\]"):
        own.InferenceSession(SILU, providers=["CPUExecutionProvider"])


@everywhere
def test_operators_without_kernels_are_named_at_load(provider: str) -> None:
    nodes = [
        helper.make_node("Rotate", ["x"], ["r"], domain="my.domain"),
        helper.make_node("Frobnicate", ["r"], ["y"], domain="my.domain"),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ends[:1], ends[1:]),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("my.domain", 2)],
    )
    with pytest.raises(UnsupportedError, match="my.domain::Rotate at opset 2; .*my.domain::Frobnicate"):
        own.InferenceSession(model, providers=[provider])


def test_three_phases_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    options = own.SessionOptions()
    options.log_severity_level, options.logid = 1, "mine"
    with caplog.at_level(logging.DEBUG, logger="graphopt.exec"):
        own.InferenceSession(SILU, options).run(None, {"x": X})
    said = [r.message for r in caplog.records]
    assert [m.split(": ")[:2] for m in said[:3]] == [["mine", p] for p in ("construct", "load", "plan")]
    caplog.clear()
    own.InferenceSession(SILU).run(None, {"x": X})
    assert not caplog.records


def test_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = quiet(own, "ORT_DISABLE_ALL")
    options.enable_profiling = True
    session = own.InferenceSession(SILU, options)
    session.run(None, {"x": X})
    events = json.loads(Path(session.end_profiling()).read_text())
    assert [e["args"].get("op_name") for e in events] == ["Sigmoid", "Mul", "Reshape", None]
    assert all(e["dur"] >= 0 for e in events)


def test_the_optimised_model_is_written(tmp_path: Path) -> None:
    options = own.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "fast.onnx")
    own.InferenceSession(SILU, options)
    onnx.checker.check_model(onnx.load(tmp_path / "fast.onnx"), full_check=True)


def test_replaced_initializers_and_fixed_dims() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n,3] x) => (float[n,3] y) <float[3] w = {1, 1, 1}> { y = Mul(x, w) }'
    )
    options = own.SessionOptions()
    options.add_initializer("w", own.OrtValue.ortvalue_from_numpy(np.array([1, 2, 3], np.float32)))
    options.add_free_dimension_override_by_name("n", 2)
    (y,) = own.InferenceSession(model, options).run(None, {"x": X})
    np.testing.assert_array_equal(y, X * [1, 2, 3])


@everywhere
def test_nothing_is_shared_with_the_caller(provider: str) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2,3] x) => (float[2,3] same, float[3,2] turned, float[2] k) '
        "<float[2] k0 = {1, 2}> { same = Identity(x) turned = Transpose(x) k = Identity(k0) }"
    )
    session = own.InferenceSession(model, providers=[provider])
    x = X.copy()
    same, turned, k = session.run(None, {"x": x})
    for array in (same, turned, k):
        if array.flags.writeable:
            array[...] = 7
    np.testing.assert_array_equal(x, X)
    again = session.run(None, {"x": x})
    np.testing.assert_array_equal(again[0], X)
    np.testing.assert_array_equal(again[2], [1, 2])


@pytest.mark.skipif(not has_jax, reason="jax is not installed")
def test_programs_for_shapes(caplog: pytest.LogCaptureFixture) -> None:
    options = own.SessionOptions()
    options.log_severity_level = 1
    session = own.InferenceSession(SILU, options, providers=["jax"])
    with caplog.at_level(logging.DEBUG, logger="graphopt.exec"):
        for n in (2, 4, 2, 4):
            feeds = {"x": np.ones((n, 3), np.float32), "shape": np.array([3, n])}
            assert [v.shape for v in session.run(None, feeds)] == [(n, 3), (3, n)]
    assert sum("specialised to" in r.message for r in caplog.records) == 2


def test_dlpack() -> None:
    value = own.OrtValue.ortvalue_from_numpy(X)
    assert np.from_dlpack(value).tolist() == X.tolist()
    assert own.OrtValue.from_dlpack(X).numpy().tolist() == X.tolist()
    bits = own.OrtValue.ortvalue_from_numpy_with_onnx_type(np.array([0x3F80], np.uint16), TensorProto.BFLOAT16)
    assert bits.data_type() == "tensor(bfloat16)" and float(bits.numpy()[0]) == 1.0
    value.update_inplace(X + 1)
    with pytest.raises(ArgumentError, match="update_inplace"):
        value.update_inplace(X[0])
