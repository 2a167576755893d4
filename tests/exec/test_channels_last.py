"""The channels-last forms: the kernels here and the functions' bodies on ONNX Runtime give what the standard's operators give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt.errors import ArgumentError
from graphopt.exec import InferenceSession, SessionOptions
from graphopt.exec.channels_last import function
from graphopt.exec.executors import create, installed
from graphopt.exec.kernels.channels_last import DOMAIN, OPERATORS, dims_of

EXECUTORS = [n for n in ("reference", "jax", "onnxruntime") if n in installed()]
SIZES = (7, 6, 5)
#: ONNX Runtime has no GlobalLpPool of opset 22.
FORMS = [
    (op, n, executor)
    for op in OPERATORS
    for n in dims_of(op)
    for executor in EXECUTORS
    if (op, executor) != ("GlobalLpPool", "onnxruntime")
]
#: Parameters by operator: shapes, and attributes that are not the defaults.
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "MaxPool": {"kernel_shape": [3], "strides": [2], "pads": [1, 0]},
    "AveragePool": {"kernel_shape": [2], "strides": [2], "count_include_pad": 1, "pads": [1, 0]},
    "LpPool": {"kernel_shape": [2], "p": 2},
    "Conv": {"strides": [2], "pads": [1, 1], "group": 2},
    "ConvTranspose": {"strides": [2], "pads": [1, 0]},
    "ConvInteger": {"pads": [1, 0]},
    "QLinearConv": {"pads": [1, 1]},
    "GroupNormalization": {"num_groups": 2, "epsilon": 1e-3},
    "LRN": {"size": 3, "alpha": 0.1},
    "DepthToSpace": {"blocksize": 2, "mode": "CRD"},
    "SpaceToDepth": {"blocksize": 2},
}
PER_DIM = ("kernel_shape", "strides", "pads")


def attributes_of(op: str, dims: int) -> dict[str, Any]:
    given = ATTRIBUTES.get(op, {})
    return {k: [v for v in value for _ in range(dims)] if k in PER_DIM else value for k, value in given.items()}


def inputs_of(op: str, dims: int) -> dict[str, np.ndarray]:
    """Inputs under the names of the schema, the image with its channels in front."""
    rng = np.random.default_rng(0)
    c = 4
    sizes = (4, 6) if op in ("DepthToSpace", "SpaceToDepth") else SIZES[:dims]
    names = [p.name for p in onnx.defs.get_schema(op, 22).inputs]
    x = rng.normal(size=(2, c, *sizes)).astype(np.float32)
    if op in ("ConvInteger", "QLinearConv"):
        x = rng.integers(0, 20, x.shape).astype(np.uint8)
        w = rng.integers(0, 9, (3, c, *[3] * dims)).astype(np.uint8)
        zero, scale = np.array(3, np.uint8), np.array(0.1, np.float32)
        values = (
            [x, w, zero, zero]
            if op == "ConvInteger"
            else [x, scale, zero, w, scale, zero, np.array(2, np.float32), zero]
        )
    elif op == "Conv":
        values = [
            x,
            rng.normal(size=(6, c // 2, *[3] * dims)).astype(np.float32),
            rng.normal(size=6).astype(np.float32),
        ]
    elif op == "ConvTranspose":
        values = [x, rng.normal(size=(c, 3, *[3] * dims)).astype(np.float32)]
    else:
        values = [x, *(rng.uniform(1, 2, c).astype(np.float32) for _ in names[1:])]
    return dict(zip(names, values))


def one_node(node: onnx.NodeProto, inputs: dict[str, np.ndarray], functions: list[onnx.FunctionProto]) -> bytes:
    def info(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)

    kind = (
        TensorProto.INT32
        if "ConvInteger" in node.op_type
        else helper.np_dtype_to_tensor_dtype(inputs[node.input[0]].dtype)
    )
    graph = helper.make_graph(
        [node],
        "g",
        [info(n, a) for n, a in inputs.items()],
        [helper.make_tensor_value_info("y", kind, [None] * inputs[node.input[0]].ndim)],
    )
    opsets = [helper.make_opsetid("", 22), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=10).SerializeToString()


@pytest.mark.parametrize(("op", "dims", "executor"), FORMS)
def test_same_as_the_standard(op: str, dims: int, executor: str) -> None:
    inputs, attributes = inputs_of(op, dims), attributes_of(op, dims)
    first = next(iter(inputs))
    plain = one_node(helper.make_node(op, list(inputs), ["y"], **attributes), inputs, [])
    want = create("reference", plain).run(inputs)["y"]
    last = {**inputs, first: np.ascontiguousarray(np.moveaxis(inputs[first], 1, -1))}
    called = helper.make_node(f"{op}{dims}d", list(inputs), ["y"], domain=DOMAIN, **attributes)
    model = one_node(called, last, [function(op, dims)])
    onnx.checker.check_model(onnx.load_model_from_string(model), full_check=True)
    got = create(executor, model).run(last)["y"]
    np.testing.assert_allclose(np.moveaxis(got, -1, 1), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("dims", dims_of("BatchNormalization"))
@pytest.mark.parametrize("called", [True, False], ids=["kernel", "body"])
def test_batch_normalization_in_training_mode(dims: int, executor: str, called: bool) -> None:
    """The form has all outputs; so has its function's body where nobody has a kernel of the name."""
    inputs, outputs = inputs_of("BatchNormalization", dims), ["y", "mean", "var"]
    attributes = {"epsilon": 1e-3, "momentum": 0.7}
    plain = helper.make_node("BatchNormalization", list(inputs), outputs, training_mode=1, **attributes)
    want = create("reference", with_outputs(plain, inputs, [], outputs)).run(inputs)
    last = {**inputs, "X": np.ascontiguousarray(np.moveaxis(inputs["X"], 1, -1))}
    body = function("BatchNormalization", dims, training=True)
    assert "training_mode" not in body.attribute
    domain = DOMAIN if called else "elsewhere"
    body.domain = domain
    node = helper.make_node(f"BatchNormalizationTraining{dims}d", list(inputs), outputs, domain=domain, **attributes)
    model = with_outputs(node, last, [body], outputs)
    onnx.checker.check_model(onnx.load_model_from_string(model), full_check=True)
    got = create(executor, model).run(last)
    np.testing.assert_allclose(np.moveaxis(got["y"], -1, 1), want["y"], rtol=1e-4, atol=1e-5)
    for name in outputs[1:]:
        assert np.abs(want[name] - inputs[f"input_{name}"]).max() > 0.1
        np.testing.assert_allclose(got[name], want[name], rtol=1e-5)


def with_outputs(
    node: onnx.NodeProto, inputs: dict[str, np.ndarray], functions: list[onnx.FunctionProto], names: list[str]
) -> bytes:
    """`one_node` with all outputs; those behind the first are vectors."""
    model = onnx.load_model_from_string(one_node(node, inputs, functions))
    for name in names[1:]:
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]))
    if node.domain not in ("", DOMAIN):
        model.opset_import.append(helper.make_opsetid(node.domain, 1))
    return model.SerializeToString()


def test_only_batch_normalization_has_a_form_for_training() -> None:
    with pytest.raises(ArgumentError, match="Conv on 2 .* no channels-last form for training.*: BatchNormalization$"):
        function("Conv", 2, training=True)


@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 2, 0, 1]])
def test_convolution_of_single_pixels(pads: list[int]) -> None:
    """The form that has a kernel of its own."""
    rng = np.random.default_rng(0)
    inputs = {
        n: rng.normal(size=s).astype(np.float32) for n, s in (("X", (2, 4, 7, 6)), ("W", (3, 4, 1, 1)), ("B", (3,)))
    }
    attributes = {"strides": [2, 1], "pads": pads}
    want = create("reference", one_node(helper.make_node("Conv", list(inputs), ["y"], **attributes), inputs, [])).run(
        inputs
    )["y"]
    last = {**inputs, "X": np.moveaxis(inputs["X"], 1, -1)}
    called = helper.make_node("Conv2d", list(inputs), ["y"], domain=DOMAIN, **attributes)
    got = create("reference", one_node(called, last, [function("Conv", 2)])).run(last)["y"]
    np.testing.assert_allclose(np.moveaxis(got, -1, 1), want, rtol=1e-5, atol=1e-5)


def test_no_such_form() -> None:
    with pytest.raises(ArgumentError, match="Relu on 2 spatial dims has no channels-last form"):
        function("Relu", 2)


@pytest.mark.skipif("jax" not in EXECUTORS, reason="JAX is not installed")
@pytest.mark.parametrize(
    ("options", "forms"), [({"device": "cpu"}, 2), ({"layout": "NHWC"}, 2), ({"layout": "NCHW"}, 0)]
)
def test_sessions_on_jax(options: dict[str, str], forms: int, tmp_path: Path) -> None:
    """On the CPU a session writes convolutions with channels last, unless it is told not to."""
    text = """<ir_version: 8, opset_import: ["": 18]>
        g (float[N, 2, 6, 6] x) => (float[N, 2, 1, 1] y) { a = Conv(x, w) b = Conv(a, w) y = ReduceMax <keepdims = 1> (b, axes) }"""
    model = onnx.parser.parse_model(text)
    w = np.random.default_rng(0).normal(size=(2, 2, 3, 3)).astype(np.float32)
    model.graph.initializer.extend([numpy_helper.from_array(w, "w"), numpy_helper.from_array(np.array([2, 3]), "axes")])
    session_options = SessionOptions()
    session_options.optimized_model_filepath = str(tmp_path / "o.onnx")
    session = InferenceSession(model, session_options, providers=[("jax", options)])
    ops = [n.op_type for n in onnx.load(tmp_path / "o.onnx").graph.node]
    assert ops.count("Conv2d") == forms and ops.count("Conv") == 2 - forms
    x = np.random.default_rng(1).normal(size=(3, 2, 6, 6)).astype(np.float32)
    want = create("reference", model.SerializeToString()).run({"x": x})["y"]
    np.testing.assert_allclose(session.run(None, {"x": x})[0], want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("size", [5, 40])
@pytest.mark.parametrize(("group", "kernel", "attributes"), [
    (1, 1, {}), (1, 1, {"strides": [2, 2]}), (1, 3, {"pads": [1, 0, 2, 1]}), (1, 3, {"strides": [2, 1], "dilations": [1, 2]}),
    (1, 3, {"pads": [-1, 0, 1, 0]}), (1, 1, {"pads": [-1, 0, 1, 0]}), (4, 3, {"pads": [-1, 0, 1, -1]}), (4, 3, {"pads": [1, 1, 1, 1]}), (4, 3, {"strides": [2, 2], "auto_pad": "SAME_UPPER"}), (2, 3, {}),
])  # fmt: skip
def test_convolutions(executor: str, size: int, group: int, kernel: int, attributes: dict[str, Any]) -> None:
    """Each way to compute one, on images on either side of where it is chosen."""
    if any(p < 0 for p in attributes.get("pads", ())) and executor == "onnxruntime":
        pytest.skip("ONNX Runtime takes no negative pads")
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2, 4, size, size)).astype(np.float32)
    w = rng.normal(size=(8, 4 // group, kernel, kernel)).astype(np.float32)
    b = rng.normal(size=8).astype(np.float32)
    inputs = {"X": x, "W": w, "B": b}
    plain = helper.make_node("Conv", list(inputs), ["y"], group=group, **attributes)
    form = helper.make_node("Conv2d", list(inputs), ["y"], domain=DOMAIN, group=group, **attributes)
    want = create("reference", one_node(plain, inputs, [])).run(inputs)["y"]
    last = {**inputs, "X": np.ascontiguousarray(x.transpose(0, 2, 3, 1))}
    got = create(executor, one_node(form, last, [function("Conv", 2)])).run(last)["y"]
    np.testing.assert_allclose(got.transpose(0, 3, 1, 2), want, rtol=1e-4, atol=1e-4)
