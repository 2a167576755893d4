"""Small models that other optimisers got wrong, and some that only look as if one would.

Each is what an optimiser is tempted to rewrite, with the one circumstance that forbids it. The judge is ONNX Runtime
with its own optimisations off, running the model as it was.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper, parser
from onnx.reference import ReferenceEvaluator

import graphopt

SEEDS = range(4)
LEVELS = (1, 2)

#: Models that some optimiser broke: who, and how.
BROKEN_BY_OTHERS = {
    # onnxslim: the factor lies along W, not along the channels, of which there are as many; fused into Conv as if.
    "conv_times_a_row": """
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[1, 3, 4, 3] x) => (float[1, 3, 4, 3] y)
        <float[3, 3, 1, 1] w = {0.5, -1, 2, 1, 0.25, -0.5, -2, 1, 1.5}, float[3] k = {1, 2, 3}>
        { c = Conv(x, w)  y = Mul(c, k) }""",
    # onnxslim: drops the input.
    "unused_input": """
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[2, 3] x, float[4] unused) => (float[2, 3] y)
        { y = Relu(x) }""",
    # onnxslim: drops the input, once its shape is known.
    "only_the_shape_of_an_input": """
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[2, 3] x, float[4, 5] shaped) => (int64[2] y, float[2, 3] z)
        { y = Shape(shaped)  z = Relu(x) }""",
    # onnxslim, onnxsim: what a caller may feed becomes a constant, and the input goes.
    "input_with_a_default": """
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[2, 3] x, float[3] k = {1, 2, 3}) => (float[2, 3] y)
        { t = Add(k, k)  y = Mul(x, t) }""",
    # The same, with a value that invites an elimination: x * 1.
    "input_with_a_neutral_default": """
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[2, 3] x, float k = {1}) => (float[2, 3] y)
        { y = Mul(x, k) }""",
    # onnxoptimizer: (2, 12); the 0 copies a dim of the Reshape before it, not of x.
    "reshape_copies_a_dim_of_a_reshape": """
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[2, 3, 4] x) => (float[6, 4] y)
        <int64[2] first = {6, 4}, int64[2] second = {0, -1}>
        { t = Reshape(x, first)  y = Reshape(t, second) }""",
    # onnxscript: Clip(x, 0, -0.5), which is -0.5 everywhere.
    "relu_of_a_negative_clip": """
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[2, 3] x) => (float[2, 3] y)
        <float low = {-1}, float high = {-0.5}>
        { t = Clip(x, low, high)  y = Relu(t) }""",
    # onnxscript: both rewrites call their constant x_min, and one is left dangling.
    "two_relus_of_clips_of_one_value": """
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[2, 3] x) => (float[2, 3] y, float[2, 3] z)
        <float a = {-1}, float b = {0.5}, float c = {-0.25}, float d = {2}>
        { s = Clip(x, a, b)  t = Clip(x, c, d)  y = Relu(s)  z = Relu(t) }""",
    # onnxscript: Split with num_outputs, which opset 13 does not have ...
    "two_adjacent_slices": """
        <ir_version: 8, opset_import: ["" : 13]>
        agraph (float[2, 6] x) => (float[2, 3] y, float[2, 3] z)
        <int64[1] zero = {0}, int64[1] half = {3}, int64[1] all = {6}, int64[1] axis = {1}>
        { y = Slice(x, zero, half, axis)  z = Slice(x, half, all, axis) }""",
    # ... in one order of the nodes only.
    "two_adjacent_slices_the_other_way_round": """
        <ir_version: 8, opset_import: ["" : 13]>
        agraph (float[2, 6] x) => (float[2, 3] y, float[2, 3] z)
        <int64[1] zero = {0}, int64[1] half = {3}, int64[1] all = {6}, int64[1] axis = {1}>
        { z = Slice(x, half, all, axis)  y = Slice(x, zero, half, axis) }""",
}

#: Models that looked as if they would break one.
RIGHT_EVERYWHERE = {
    "matmul_with_a_constant_on_the_left": """
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[3, 4] x) => (float[2, 4] y)
        <float[2, 3] w = {1, -2, 3, 0.5, 4, -1}, float[4] b = {1, 2, 3, 4}>
        { t = MatMul(w, x)  y = Add(t, b) }""",
    "add_of_a_bias_that_lies_along_the_rows": """
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[3, 3] x) => (float[3, 3] y)
        <float[3, 3] w = {1, -2, 3, 0.5, 4, -1, 2, 2, -0.5}, float[3, 1] b = {1, 2, 3}>
        { t = MatMul(x, w)  y = Add(t, b) }""",
    "conv_captured_by_a_branch": """
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[1, 2, 3, 3] x, bool cond) => (float[1, 2, 3, 3] y)
        <float[2, 2, 1, 1] w = {1, -1, 0.5, 2},
         float[2] s = {1, 2}, float[2] b = {0, 1}, float[2] m = {0.5, 0}, float[2] v = {1, 4}>
        {
          c = Conv(x, w)
          n = BatchNormalization(c, s, b, m, v)
          y = If (cond) <
            then_branch = yes () => (float[1, 2, 3, 3] t) { t = Relu(c) },
            else_branch = no () => (float[1, 2, 3, 3] e) { e = Sub(n, c) }
          >
        }""",
    "conv_that_is_an_output_before_its_batch_norm": """
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[1, 2, 3, 3] x) => (float[1, 2, 3, 3] c, float[1, 2, 3, 3] y)
        <float[2, 2, 1, 1] w = {1, -1, 0.5, 2},
         float[2] s = {1, 2}, float[2] b = {0, 1}, float[2] m = {0.5, 0}, float[2] v = {1, 4}>
        { c = Conv(x, w)  y = BatchNormalization(c, s, b, m, v) }""",
    "cast_there_and_back": """
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[2, 3] x) => (float[2, 3] y)
        { t = Cast <to = 6> (x)  y = Cast <to = 1> (t) }""",
    "negative_pads_before_a_conv": """
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[1, 1, 6, 6] x) => (float[1, 1, 3, 3] y)
        <float[1, 1, 2, 2] w = {1, -1, 0.5, 2}, int64[8] pads = {0, 0, -1, -1, 0, 0, -1, -1}>
        { t = Pad(x, pads)  y = Conv(t, w) }""",
    "pads_of_both_signs_before_a_conv": """
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[1, 1, 6, 6] x) => (float[1, 1, 5, 5] y)
        <float[1, 1, 2, 2] w = {1, -1, 0.5, 2}, int64[8] pads = {0, 0, 1, -1, 0, 0, -1, 1}>
        { t = Pad(x, pads)  y = Conv(t, w) }""",
    "pad_with_ones_before_a_conv": """
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[1, 1, 3, 3] x) => (float[1, 1, 4, 4] y)
        <float[1, 1, 2, 2] w = {1, -1, 0.5, 2}, int64[8] pads = {0, 0, 1, 1, 0, 0, 1, 1}, float one = {1}>
        { t = Pad(x, pads, one)  y = Conv(t, w) }""",
    "zero_that_broadcasts_its_partner": """
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[3] x) => (float[2, 3] y)
        <float[2, 3] zero = {0, 0, 0, 0, 0, 0}>
        { y = Add(x, zero) }""",
    "one_that_adds_a_dim_to_its_partner": """
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[3] x) => (float[1, 3] y)
        <float[1, 1] one = {1}>
        { y = Mul(x, one) }""",
}

DRAWS = """
    <ir_version: 8, opset_import: ["" : 17]>
    agraph () => (float[64] y)
    { a = RandomUniform <shape = [64]> ()  b = RandomUniform <shape = [64]> ()  y = Sub(a, b) }"""


# --------------------------------------------------------------------------------------------------------------- tests
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", [*BROKEN_BY_OTHERS, *RIGHT_EVERYWHERE])
def test_outputs_and_interface_stay(name: str, level: int) -> None:
    same_results(parser.parse_model((BROKEN_BY_OTHERS | RIGHT_EVERYWHERE)[name]), level)


@pytest.mark.parametrize("level", LEVELS)
def test_a_default_value_can_still_be_overridden(level: int) -> None:
    model = parser.parse_model(BROKEN_BY_OTHERS["input_with_a_default"])
    x, k = np.ones((2, 3), np.float32), np.array([4, 5, 6], np.float32)
    session = session_of(graphopt.optimize(model, level=level).proto)
    np.testing.assert_array_equal(session.run(None, {"x": x, "k": k})[0], 2 * np.stack([k, k]))
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], 2 * np.array([[1, 2, 3]] * 2, np.float32))


@pytest.mark.parametrize("level", LEVELS)
def test_a_default_value_becomes_a_constant_on_request(level: int) -> None:
    model = parser.parse_model(BROKEN_BY_OTHERS["input_with_a_default"])
    frozen = graphopt.optimize(model, level=level, freeze_inputs=True).proto
    assert [node.op_type for node in frozen.graph.node] == ["Mul"]
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(session_of(frozen).run(None, {"x": x})[0], [[2, 4, 6]] * 2)


@pytest.mark.parametrize("level", LEVELS)
def test_random_draws_are_not_merged_nor_frozen(level: int) -> None:
    """onnxslim froze the difference; onnxsim and onnxoptimizer took the two draws for one, so that it was always 0."""
    session = session_of(graphopt.optimize(parser.parse_model(DRAWS), level=level).proto)
    first, second = (session.run(None, {})[0] for _ in range(2))
    assert np.unique(first).size > 32, "the draws were merged"
    assert not np.array_equal(first, second), "the draws were frozen"


@pytest.mark.parametrize("scale_first", [False, True])
@pytest.mark.parametrize("keepdims", ["", ", keepdims = 1"])
def test_layer_norm_is_found_however_it_is_written(keepdims: str, scale_first: bool) -> None:
    """onnxscript missed it with the default of `keepdims`, and where the scale is Mul's first operand."""
    product = "Mul(scale, n)" if scale_first else "Mul(n, scale)"
    model = parser.parse_model(f"""
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[2, 5, 8] x) => (float[2, 5, 8] y)
        <float two = {{2}}, float eps = {{0.00001}},
         float[8] scale = {{1, 2, 3, 4, -1, 0.5, 2, 1}}, float[8] bias = {{0, 1, 0, 1, 0, 1, 0, -1}}>
        {{
          mean = ReduceMean <axes = [-1]{keepdims}> (x)
          d = Sub(x, mean)
          squared = Pow(d, two)
          var = ReduceMean <axes = [-1]{keepdims}> (squared)
          shifted = Add(var, eps)
          deviation = Sqrt(shifted)
          n = Div(d, deviation)
          scaled = {product}
          y = Add(scaled, bias)
        }}""")
    after = same_results(model, level=2)
    assert [node.op_type for node in after.graph.node] == ["LayerNormalization"]


# ------------------------------------------------------------------------------------------------------------- helpers
def same_results(model: onnx.ModelProto, level: int) -> onnx.ModelProto:
    """Optimise; fail unless the result is valid, has the same interface and computes the same. Returns it."""
    onnx.checker.check_model(model, full_check=True)
    given = model.SerializeToString()
    after = graphopt.optimize(model, level=level).proto
    assert model.SerializeToString() == given, "the model that was passed in has changed"
    again = graphopt.optimize(onnx.load_from_string(given), level=level).proto
    assert again.SerializeToString() == after.SerializeToString(), "another result the second time"
    onnx.checker.check_model(after, full_check=True)
    for kind in ("input", "output"):
        assert list(getattr(after.graph, kind)) == list(getattr(model.graph, kind))
    want_from, got_from = session_of(model), session_of(after)
    for seed in SEEDS:
        feeds = feeds_of(model, seed)
        for w, g in zip(want_from.run(None, feeds), got_from.run(None, feeds), strict=True):
            assert (g.shape, g.dtype) == (w.shape, w.dtype)
            np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-6)
        if level == 1 and (bits := bits_of(model, feeds)) is not None:
            assert bits_of(after, feeds) == bits
    return after


def bits_of(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[bytes] | None:
    """The outputs on onnx.reference; None where it cannot run the model (it has no negative pads)."""
    try:
        outputs = ReferenceEvaluator(model).run(None, dict(feeds))
    except ValueError:
        return None
    return [np.asarray(output).tobytes() for output in outputs]


def session_of(model: onnx.ModelProto) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def feeds_of(model: onnx.ModelProto, seed: int) -> dict[str, np.ndarray]:
    """Values of both signs and some size; those of inputs with a default are left to it on even seeds."""
    draw = np.random.default_rng(seed)
    defaults = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    feeds = {}
    for value in model.graph.input:
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        array = draw.normal(0, 3, [d.dim_value for d in value.type.tensor_type.shape.dim])
        if value.name not in defaults or seed % 2:
            feeds[value.name] = np.asarray(array > 0 if dtype.kind == "b" else array.astype(dtype))
    return feeds
