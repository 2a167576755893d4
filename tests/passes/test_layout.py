"""Channels last, inside a model and at its interface."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

import graphopt
from graphopt.errors import ArgumentError
from graphopt.exec.executors import create, installed
from graphopt.ir import Model
from graphopt.passes.layout.cut import NO, Choices
from graphopt.passes.layout.permutations import inverse, moves_nothing, then, to_first, to_last
from tests.ir import invariants
from tests.ir.building import parse

FORM = "graphopt.channels_last::"
EXECUTORS = [n for n in ("reference", "onnxruntime") if n in installed()]
RNG = np.random.default_rng(0)
#: What the texts below may read.
CONSTANTS = {
    "w": RNG.normal(size=(4, 4, 3, 3)), "w1": RNG.normal(size=(4, 4, 1, 1)), "v": RNG.normal(size=(4, 1, 3, 3)),
    "w3": RNG.normal(size=(4, 4, 3)), "b": RNG.normal(size=4), "wt": RNG.normal(size=(4, 4, 2, 2)),
    "row": RNG.normal(size=6), "channel": RNG.normal(size=(4, 1, 1)), "full": RNG.normal(size=(1, 4, 6, 6)),
    "half": np.array(0.5), "one": RNG.uniform(1, 2, 4), "flat": RNG.normal(size=(144, 3)), "flat2": RNG.normal(size=(3, 144)),
    "scales": np.array([1, 1, 2, 2]), "channels_scaled": np.array([1, 2, 1, 1]), "slope": RNG.uniform(size=(4, 1, 1)),
}  # fmt: skip
INTEGERS = {
    "a1": [1], "a2": [2], "a23": [2, 3], "am1": [-1], "a0": [0], "zeros": [0, 0], "ones": [1, 1], "threes": [3, 3], "two_two": [2, 2],
    "pads": [0, 0, 1, 2, 0, 0, 0, 1], "repeats": [1, 2, 1, 3], "to_flat": [0, -1], "to_rows": [0, 4, -1], "to_split": [0, 2, 2, 6, 6],
    "to_image": [0, 4, 6, 6], "sizes": [2, 4, 12, 12], "pick": [2, 0], "wide": [2, 4, 6, 6], "to_squares": [0, 4, 3, 2, 6],
}  # fmt: skip


def model(lines: str, inputs: str = "float[2, 4, 6, 6] x", outputs: str = "y", opset: int = 18) -> ModelProto:
    """A model with the constants that it reads, and typed outputs."""
    proto = parse(f"g ({inputs}) => ({outputs}) {{ {lines} }}", opset, check=False)
    return complete(proto)


def complete(proto: ModelProto) -> ModelProto:
    """With the constants that it reads, and the types of its outputs."""
    used = {i for n in proto.graph.node for i in n.input}
    for name in sorted(used):
        if name in CONSTANTS:
            proto.graph.initializer.append(numpy_helper.from_array(CONSTANTS[name].astype(np.float32), name))
        elif name in INTEGERS:
            proto.graph.initializer.append(numpy_helper.from_array(np.array(INTEGERS[name], np.int64), name))
    typed = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    for info, known in zip(proto.graph.output, typed.graph.output):
        info.CopyFrom(known)
    return proto


def ops(m: Model) -> list[str]:
    return [n.op.replace(FORM, "") for n in m.graph if n.op != "Constant"]


def feeds(proto: ModelProto) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    constants = {t.name for t in proto.graph.initializer}
    found = {}
    for v in proto.graph.input:
        if v.name not in constants:
            dims = [d.dim_value or 2 for d in v.type.tensor_type.shape.dim]
            found[v.name] = rng.normal(size=dims).astype(np.float32)
    return found


def shapes(m: Model) -> list[tuple[Any, ...]]:
    """The declared dims of inputs and outputs."""
    declared = (v.type.tensor_type.shape.dim for v in (*m.proto.graph.input, *m.proto.graph.output))
    return [tuple(d.dim_param or d.dim_value for d in dims) for dims in declared]


def laid(proto: ModelProto, layout: str = "NHWC", level: int = 0, **more: Any) -> Model:
    """The model in a layout; it is valid and computes the same on every executor."""
    before = proto.SerializeToString(deterministic=True)
    m = graphopt.optimize(proto, level, layout=layout, **more)
    assert proto.SerializeToString(deterministic=True) == before
    invariants.check(m)
    assert m.report is not None and not m.report.warnings
    onnx.checker.check_model(m.proto, full_check=True)
    for executor in EXECUTORS:
        want = create(executor, before).run(feeds(proto))
        got = create(executor, m.SerializeToString()).run(feeds(proto))
        for name, array in want.items():
            assert got[name].dtype == array.dtype and got[name].shape == array.shape
            np.testing.assert_allclose(got[name], array, rtol=2e-5, atol=2e-5)
    return m


# ------------------------------------------------------------------------------------------------------------ operators
#: What stands between two convolutions and goes along with them: text from h to k, and the operators that it becomes.
GOES_ALONG = {
    "Relu": ("k = Relu(h)", ["Relu"]),
    "Clip": ("k = Clip(h, half)", ["Clip"]),
    "add a number": ("k = Add(h, half)", ["Add"]),
    "add a channel": ("k = Add(h, channel)", ["Add"]),
    "add a row": ("k = Add(row, h)", ["Add"]),
    "add an image": ("k = Mul(h, full)", ["Mul"]),
    "add itself": ("r = Sigmoid(h) k = Mul(h, r)", ["Sigmoid", "Mul"]),
    "Where": ("c = Less(h, half) k = Where(c, h, channel)", ["Less", "Where"]),
    "PRelu": ("k = PRelu(h, slope)", ["PRelu"]),
    "Cast": ("r = Cast <to = 6> (h) k = Cast <to = 1> (r)", ["Cast", "Cast"]),
    "Concat": ("r = Neg(h) c = Concat <axis = 1> (h, r) k = Gather <axis = 1> (c, pick4)", ["Neg", "Concat", "Gather"]),
    "Split": (
        "p, q = Split <axis = 1, num_outputs = 2> (h) r = Relu(q) k = Concat <axis = -3> (r, p)",
        ["Split", "Relu", "Concat"],
    ),
    "Softmax": ("k = Softmax <axis = 1> (h)", ["Softmax"]),
    "Pad": ("k = Pad(h, pads)", ["Pad"]),
    "Pad along axes": ("k = Pad(h, ones4, , a23)", ["Pad"]),
    "Slice": ("k = Slice(h, zeros, threes, a23)", ["Slice"]),
    "Slice without axes": ("k = Slice(h, zeros, one_four)", ["Slice"]),
    "Tile": ("k = Tile(h, repeats13)", ["Tile"]),
    "Expand": ("r = ReduceMax(h, a23) k = Expand(r, wide)", ["ReduceMax", "Expand"]),
    "ReduceMean": ("r = ReduceMean(h, a23) k = Mul(h, r)", ["ReduceMean", "Mul"]),
    "squeeze and excite": (
        "r = GlobalAveragePool(h) s = Conv(r, w1) t = HardSigmoid(s) k = Mul(h, t)",
        ["GlobalAveragePool2d", "Conv2d", "HardSigmoid", "Mul"],
    ),
    "MaxPool": ("k = MaxPool <kernel_shape = [2, 2]> (h)", ["MaxPool2d"]),
    "AveragePool": ("k = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (h)", ["AveragePool2d"]),
    "BatchNormalization": ("k = BatchNormalization(h, one, b, b, one)", ["BatchNormalization2d"]),
    "InstanceNormalization": ("k = InstanceNormalization(h, one, b)", ["InstanceNormalization2d"]),
    "ConvTranspose": ("k = ConvTranspose <strides = [2, 2]> (h, wt)", ["ConvTranspose2d"]),
    "depthwise": ("k = Conv <group = 4, pads = [1, 1, 1, 1]> (h, v)", ["Conv2d"]),
    "Resize nearest": ("k = Resize(h, , scales)", ["Resize"]),
    "Resize linear": ('k = Resize <mode = "linear"> (h, , scales)', ["Resize"]),
    "Resize to sizes": ("k = Resize(h, , , sizes)", ["Resize"]),
    "Resize along axes": ("k = Resize <axes = [2, 3]> (h, , two_scales)", ["Resize"]),
    "Upsample with scales of all": ("k = Resize(h, , channels_once)", ["Resize"]),
    "ArgMax": ("r = ArgMax <axis = 1> (h) s = Cast <to = 1> (r) k = Add(h, s)", ["ArgMax", "Cast", "Add"]),
    "CumSum": ("k = CumSum(h, axis1)", ["CumSum"]),
    "channel shuffle": (
        "r = Reshape(h, to_split) s = Transpose <perm = [0, 2, 1, 3, 4]> (r) k = Reshape(s, to_image)",
        ["Reshape", "Transpose", "Reshape"],
    ),
    "there and back": ("r = Reshape(h, to_rows) s = Relu(r) k = Reshape(s, to_image)", ["Reshape", "Relu", "Reshape"]),
    "split rows": ("r = Reshape(h, to_squares) s = Relu(r) k = Reshape(s, to_image)", ["Reshape", "Relu", "Reshape"]),
    "out and in again": (
        "r = Transpose <perm = [0, 2, 3, 1]> (h) s = LayerNormalization(r, one, b) k = Transpose <perm = [0, 3, 1, 2]> (s)",
        ["LayerNormalization"],
    ),
    "pointwise on turned pixels": (
        "r = Transpose <perm = [0, 1, 3, 2]> (h) s = Conv(r, w1) k = Transpose <perm = [0, 1, 3, 2]> (s)",
        ["Conv2d"],
    ),
}  # fmt: skip
INTEGERS |= {
    "pick4": [3, 6, 0, 5], "ones4": [1, 1, 1, 1], "one_four": [1, 4], "four": [4], "nc": [2, 4], "repeats13": [1, 1, 2, 1],
}  # fmt: skip
CONSTANTS |= {"two_scales": np.array([2, 2]), "channels_once": np.array([1, 1, 3, 1])}


@pytest.mark.parametrize("name", GOES_ALONG)
def test_goes_along(name: str) -> None:
    between, want = GOES_ALONG[name]
    before = "h = Conv <pads = [1, 1, 1, 1]> (x, w)"
    lines = f"{before} {between} l = Conv <pads = [1, 1, 1, 1]> (k, w) m = Conv(l, w1) y = GlobalMaxPool(m)"
    if name == "CumSum":
        lines = "axis1 = Constant <value = int64 {1}> () " + lines
    m = laid(model(lines, opset=18))
    assert ops(m)[:2] == ["Transpose", "Conv2d"]
    assert ops(m)[2:-4] == want
    assert ops(m)[-4:] == ["Conv2d", "Conv2d", "GlobalMaxPool2d", "Reshape"]


def test_batch_normalization_in_training_mode_goes_along() -> None:
    """The statistics that it gives have no layout, and keep their names."""
    proto = model(
        "h = Conv <pads = [1, 1, 1, 1]> (x, w) n, mean, var = BatchNormalization <training_mode = 1, epsilon = 0.01> "
        "(h, one, b, b, one) r = Relu(n) l = Conv <pads = [1, 1, 1, 1]> (r, w) k, o, p = BatchNormalization "
        "<training_mode = 1> (l, one, b, b, one) m = Conv(k, w1) y = GlobalMaxPool(m)",
        outputs="y, mean, var",
    )
    m = laid(proto)
    form = "BatchNormalizationTraining2d"
    assert ops(m) == ["Transpose", "Conv2d", form, "Relu", "Conv2d", form, "Conv2d", "GlobalMaxPool2d", "Reshape"]
    assert [v.name for v in m.graph.outputs] == ["y", "mean", "var"]
    assert not any("training_mode" in n.attributes for n in m.graph)


#: What stays as it is, between Transposes where convolutions around it pay for them: the reason, and the text.
STAYS = {
    "adds dims": "q = Unsqueeze(h, a0) r = Add(q, h) k = Squeeze(r, a0)",
    "an operand of fewer dims": "k = Add(h, z)",
    "cubic": 'k = Resize <mode = "cubic"> (h, , scales)',
    "linear along channels": 'r = Resize <mode = "linear"> (h, , channels_scaled) k = Gather <axis = 1> (r, pick4)',
    "indices of a MaxPool": "k, i = MaxPool <kernel_shape = [1, 1]> (h) j = Cast <to = 1> (i)",
    "merges rows and channels": "r = Reshape(h, to_odd) s = Relu(r) k = Reshape(s, to_image)",
    "LayerNormalization of rows": "k = LayerNormalization <axis = 3> (h, row, row)",
}
INTEGERS |= {"to_odd": [2, 24, 6]}


@pytest.mark.parametrize("name", STAYS)
def test_stays(name: str) -> None:
    proto = model(
        "a = Conv <pads = [1, 1, 1, 1]> (x, w) h = Conv <pads = [1, 1, 1, 1]> (a, w) "
        f"{STAYS[name]} l = Conv <pads = [1, 1, 1, 1]> (k, w) m = Conv <pads = [1, 1, 1, 1]> (l, w) n = Conv(m, w) "
        "o = Conv(n, w) y = GlobalMaxPool(o)",
        "float[2, 4, 6, 6] x, float[6] z",
        "y, j" if name == "indices of a MaxPool" else "y",
    )
    m = laid(proto)
    kept = [n.op for n in m.graph if n.op in ("Add", "Resize", "MaxPool", "Relu", "LayerNormalization")]
    assert kept and not any(n.op == "Conv" for n in m.graph)
    assert sum(op == "Transpose" for op in ops(m)) in (2, 3)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 18, 21, 23])
def test_opsets(opset: int) -> None:
    """Parameters are written where the opset keeps them."""
    proto = model(
        "a = Conv <pads = [1, 1, 1, 1]> (x, w) b1 = BatchNormalization(a, one, b, b, one) c = Relu(b1) "
        "d = AveragePool <kernel_shape = [2, 2]> (c) e = Conv(d, w) y = GlobalAveragePool(e)",
        opset=opset,
    )
    m = laid(proto)
    if opset >= 9:
        assert ops(m) == [
            "Transpose", "Conv2d", "BatchNormalization2d", "Relu", "AveragePool2d", "Conv2d", "GlobalAveragePool2d", "Reshape"
        ]  # fmt: skip


def test_one_dim() -> None:
    proto = model(
        "a = Conv(x, w3) d = MaxPool <kernel_shape = [2]> (a) e = Conv(d, w3) y = Conv(e, w3)", "float[1, 4, 20] x"
    )
    assert ops(laid(proto)) == ["Transpose", "Conv1d", "MaxPool1d", "Conv1d", "Conv1d", "Transpose"]


@pytest.mark.parametrize(
    ("lines", "weight"),
    [
        ("f = Flatten(h) y = MatMul(f, flat)", "flat"),
        ("f = Reshape(h, to_flat) y = Gemm(f, flat)", "flat"),
        ("f = Flatten(h) y = Gemm <transB = 1> (f, flat2)", "flat2"),
    ],
)
def test_flattened(lines: str, weight: str) -> None:
    """What a flattened image is multiplied with is laid out anew; nothing is transposed behind it."""
    m = laid(model(f"a = Conv <pads = [1, 1, 1, 1]> (x, w) h = Conv <pads = [1, 1, 1, 1]> (a, w) {lines}"))
    assert ops(m)[:4] == ["Transpose", "Conv2d", "Conv2d", "Reshape"]
    assert len(ops(m)) == 5
    shape = CONSTANTS[weight].shape
    found = [v.const for v in m.graph.initializers if v.const is not None and v.const.dims == shape]
    assert len(found) == 1 and not np.array_equal(found[0].numpy(), CONSTANTS[weight].astype(np.float32))


def test_dynamic() -> None:
    """Sizes that nobody knows are read from what is there."""
    proto = model(
        "h = Conv <pads = [1, 1, 1, 1]> (x, w) s = Shape(h) t = Slice(s, a2, four) u = Concat <axis = 0> (nc, t) "
        "k = Resize(h, , , u) l = Conv(k, w) m = Conv(l, w) y = GlobalMaxPool(m)",
        "float[2, 4, H, W] x",
    )
    m = graphopt.optimize(proto, 0, layout="NHWC")
    onnx.checker.check_model(m.proto, full_check=True)
    assert "Resize" in ops(m) and ops(m).count("Transpose") == 1
    x = RNG.normal(size=(2, 4, 5, 7)).astype(np.float32)
    want = create("reference", proto.SerializeToString()).run({"x": x})["y"]
    np.testing.assert_allclose(
        create("reference", m.SerializeToString()).run({"x": x})["y"], want, rtol=1e-5, atol=1e-5
    )


# -------------------------------------------------------------------------------------------------------------- regions
def test_never_more_than_it_saves() -> None:
    """One convolution between two Transposes would gain nothing; nor would convolutions that each stand alone."""
    alone = laid(model("a = Conv(x, w) y = Relu(a)"))
    assert ops(alone) == ["Conv", "Relu"]
    apart = "a = Conv <pads = [1, 1, 1, 1]> (x, w) b1 = LayerNormalization <axis = 3> (a, row, row) y = Conv(b1, w)"
    assert ops(laid(model(apart))) == ["Conv", "LayerNormalization", "Conv"]


def test_read_twice() -> None:
    """What is read as it was, too, is transposed once, and outputs keep their names."""
    proto = model(
        "a = Conv(x, w) c = Conv(a, w) e = Conv <pads = [1, 1, 1, 1]> (c, w) y = Relu(c) z = Conv(e, w1)",
        outputs="y, c, z",
    )
    m = laid(proto)
    assert [v.name for v in m.graph.outputs] == ["y", "c", "z"]
    assert "Conv" not in ops(m)


def test_channels_last_exports() -> None:
    """Between Transposes around every convolution, only those at the interface stay, or none."""
    turned = "Transpose <perm = [0, 3, 1, 2]>", "Transpose <perm = [0, 2, 3, 1]>"
    lines = "".join(
        f"t{i} = {turned[0]} ({'x' if not i else f'e{i - 1}'}) c{i} = Conv <pads = [1, 1, 1, 1]> (t{i}, w) "
        f"d{i} = {turned[1]} (c{i}) s{i} = Add(d{i}, b) e{i} = Relu(s{i}) "
        for i in range(3)
    )
    proto = model(f"{lines} y = Identity(e2)", "float[2, 6, 6, 4] x")
    last = laid(proto, "NHWC", level=1)
    assert [op for op in ops(last) if op != "Identity"] == ["Conv2d", "Add", "Relu"] * 3
    first = laid(proto, "NCHW", level=1)
    assert [op for op in ops(first) if op != "Identity"] == ["Transpose", *["Conv", "Add", "Relu"] * 3, "Transpose"]


def test_inside_a_branch() -> None:
    proto = parse(
        """g (bool c, float[2, 4, 6, 6] x) => (float[2, 4, 1, 1] y) {
            y = If (c) <then_branch = t () => (float[2, 4, 1, 1] p) { a = Conv(x, w) d = Conv(a, w) p = GlobalMaxPool(d) },
                        else_branch = e () => (float[2, 4, 1, 1] q) { q = GlobalAveragePool(x) }>
        }""",
        18, check=False,
    )  # fmt: skip
    proto.graph.initializer.append(numpy_helper.from_array(CONSTANTS["w"].astype(np.float32), "w"))
    m = graphopt.optimize(proto, 0, layout="NHWC")
    onnx.checker.check_model(m.proto, full_check=True)
    inner = [n.op.replace(FORM, "") for n in m.nodes() if n.graph is not m.graph]
    assert "Conv2d" in inner and "Conv" not in inner[: inner.index("GlobalMaxPool2d")]
    given = {"c": np.array(True), "x": RNG.normal(size=(2, 4, 6, 6)).astype(np.float32)}
    want = create("reference", proto.SerializeToString()).run(given)["y"]
    np.testing.assert_allclose(create("reference", m.SerializeToString()).run(given)["y"], want, rtol=1e-5, atol=1e-5)


def test_twice() -> None:
    """What is laid out stays so; the functions are there once."""
    proto = model("a = Conv(x, w) c = Conv(a, w) d = Relu(c) y = GlobalMaxPool(d)")
    once = laid(proto)
    again = graphopt.optimize(once, 2, layout="NHWC")
    assert ops(again) == ops(once)
    assert [f[1] for f in once.functions] == ["Conv2d", "GlobalMaxPool2d"]


def test_another_function_of_the_name() -> None:
    """A model whose own function has the name keeps that, and its convolutions."""
    text = """<ir_version: 8, opset_import: ["": 18, "graphopt.channels_last": 1]>
        g (float[2, 4, 6, 6] x) => (float[2, 4, 2, 2] y) { a = Conv(x, w) c = graphopt.channels_last.Conv2d(a) y = Conv(c, w) }
        <domain: "graphopt.channels_last", opset_import: ["": 18]> Conv2d (v) => (u) { u = Relu(v) }"""
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.append(numpy_helper.from_array(CONSTANTS["w"].astype(np.float32), "w"))
    m = graphopt.optimize(proto, 0, layout="NHWC")
    assert ops(m) == ["Conv", "Conv2d", "Conv"]


def test_selection_and_steps() -> None:
    proto = model("a = Conv(x, w) c = Conv(a, w) y = GlobalMaxPool(c)")
    assert "Conv2d" not in ops(graphopt.optimize(proto, layout="NHWC", without="layout"))
    assert "Conv2d" not in ops(graphopt.optimize(proto, layout="NHWC", steps=0))
    m = graphopt.optimize(proto, layout="NHWC")
    assert m.report is not None and "layout" in {s.rule for s in m.report.steps}
    with pytest.raises(ArgumentError, match="layout 'HWNC' does not exist; the layouts are NHWC"):
        graphopt.optimize(proto, layout="HWNC")


# ------------------------------------------------------------------------------------------------------------ interface
def test_interface() -> None:
    """Inputs and outputs are permuted, and nothing else: names and dtypes stay."""
    proto = model("a = Conv(x, w) c = Conv(a, w) y = Relu(c) z = GlobalMaxPool(y)", "float[N, 4, 6, 6] x", "y, z")
    m = graphopt.optimize(proto, layout="NHWC", io_layout={"x": "NHWC", "y": "NHWC"})
    onnx.checker.check_model(m.proto, full_check=True)
    invariants.check(m)
    assert "Transpose" not in ops(m)
    assert shapes(m) == [("N", 6, 6, 4), ("N", 2, 2, 4), ("N", 4, 1, 1)]
    x = RNG.normal(size=(3, 4, 6, 6)).astype(np.float32)
    for executor in EXECUTORS:
        want = create(executor, proto.SerializeToString()).run({"x": x})
        got = create(executor, m.SerializeToString()).run({"x": np.ascontiguousarray(x.transpose(0, 2, 3, 1))})
        assert list(got) == ["y", "z"]
        np.testing.assert_allclose(got["y"].transpose(0, 3, 1, 2), want["y"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(got["z"], want["z"], rtol=1e-5, atol=1e-5)


def test_interface_of_all() -> None:
    proto = model("a = Conv(x, w) y = Reshape(a, to_flat) z = Relu(a)", outputs="y, z")
    m = graphopt.optimize(proto, 0, io_layout="NHWC")
    assert shapes(m) == [(2, 6, 6, 4), (2, 64), (2, 4, 4, 4)]
    back = graphopt.optimize(m, 0, io_layout="NCHW")
    assert shapes(back) == shapes(graphopt.optimize(proto, 0))
    x = feeds(proto)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(
            create("reference", back.SerializeToString()).run(x).values(),
            create("reference", proto.SerializeToString()).run(x).values(),
        )
    )


def test_interface_with_a_default() -> None:
    """A default of an input is laid out with it."""
    proto = model("y = Relu(full)", "float[1, 4, 6, 6] full")
    m = graphopt.optimize(proto, 0, io_layout={"full": "NHWC"})
    onnx.checker.check_model(m.proto, full_check=True)
    want = create("reference", proto.SerializeToString()).run({})["y"]
    np.testing.assert_array_equal(create("reference", m.SerializeToString()).run({})["y"], want)


@pytest.mark.parametrize(
    ("io_layout", "message"),
    [
        ({"q": "NHWC"}, "no input or output is named 'q'; there are f, x, y"),
        ({"x": "HWCN"}, "'x' cannot be 'HWCN'; the layouts are NHWC and NCHW"),
        ("nothing", "'all' cannot be 'nothing'"),
        ({"f": "NHWC"}, "'f' has 2 dims"),
    ],
)
def test_senseless_interfaces(io_layout: Any, message: str) -> None:
    proto = model("y = Relu(x) f = Flatten(x)", outputs="y, f")
    with pytest.raises(ArgumentError, match="io_layout") as e:
        graphopt.optimize(proto, io_layout=io_layout)
    assert message in str(e.value)


def test_an_output_that_is_an_input() -> None:
    proto = model("y = Relu(x)", outputs="y, x")
    with pytest.raises(ArgumentError, match="'x' is an input and an output at once"):
        graphopt.optimize(proto, io_layout={"x": "NHWC"})


# ------------------------------------------------------------------------------------------------------------------ cut
def test_cheapest_choices() -> None:
    """A cut finds what trying all combinations finds."""
    rng = np.random.default_rng(2)
    for _ in range(60):
        choices, count = Choices(), int(rng.integers(1, 7))
        own = [choices.new() for _ in range(count)]
        preferences = [int(p) for p in rng.integers(-4, 5, count)]
        for choice, p in zip(own, preferences):
            choices.prefer(choice, p)
        groups = []
        for _ in range(int(rng.integers(0, 8))):
            members = [NO, *own]
            maker = members[rng.integers(len(members))]
            readers = {members[i] for i in rng.integers(len(members), size=2)}
            cost = int(rng.integers(1, 5))
            groups.append((maker, readers, cost))
            choices.agree(maker, readers, cost)
        pairs = []
        for _ in range(int(rng.integers(0, 4))):
            a, b = (int(own[i]) for i in rng.integers(count, size=2))
            (neither, only_b), (only_a, both) = rng.integers(0, 4, (2, 2)).tolist()
            if a != b and neither + both <= only_a + only_b:
                pairs.append((a, b, ((neither, only_b), (only_a, both))))
                choices.pair(*pairs[-1])

        def cost_of(taken: dict[int, bool], preferences=preferences, own=own, groups=groups, pairs=pairs) -> int:
            total = sum(
                p if p > 0 and taken[c] else -p if p < 0 and not taken[c] else 0 for c, p in zip(own, preferences)
            )
            total += sum(cost for maker, readers, cost in groups if any(taken[r] != taken[maker] for r in readers))
            return total + sum(costs[taken[a]][taken[b]] for a, b, costs in pairs)

        found = choices.best()
        every = ({NO: False, **{c: bool(k >> i & 1) for i, c in enumerate(own)}} for k in range(1 << count))
        assert cost_of({NO: False, **{c: found[c] for c in own}}) == min(map(cost_of, every))


def test_permutations() -> None:
    p, q = (2, 0, 1, 3), (3, 1, 0, 2)
    x = RNG.normal(size=(2, 3, 4, 5))
    assert np.array_equal(x.transpose(p).transpose(q), x.transpose(then(p, q)))
    assert then(p, inverse(p)) == (0, 1, 2, 3)
    assert then(to_last(5), to_first(5)) == (0, 1, 2, 3, 4)
    assert moves_nothing((2, 1, 5, 1), (1, 0, 2, 3)) and not moves_nothing((2, 3, 1, 1), (1, 0, 2, 3))
    assert not moves_nothing(None, p)
