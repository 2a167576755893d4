"""TensorFlow.js as an executor: every operator of its tables against the reference kernels, errors, memory, whole models."""

from __future__ import annotations

import functools
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

import graphopt
from graphopt.demo import demo_model
from graphopt.errors import ArgumentError, MissingDependencyError, RunError, UnsupportedError
from graphopt.exec.channels_last import function
from graphopt.exec.executors import Reloadable, create, node, tfjs
from graphopt.exec.executors.registry import installed
from graphopt.exec.kernels.channels_last import DOMAIN

needs_tfjs = pytest.mark.skipif(tfjs.missing() is not None, reason=f"TensorFlow.js is left out: {tfjs.missing()}")


def model(text: str, opset: int = 17) -> bytes:
    return bytes(parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]>\n{text}').SerializeToString())


RELU = model("g (float[2] x) => (float[2] y) { y = Relu(x) }")


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    """An executor for each device, started once."""
    yield functools.cache(lambda device="wasm": tfjs.TensorFlowJs(None, device=device, timeout=60))
    gc.collect()


# -------------------------------------------------------------------------------------------------------- every operator
class Case(NamedTuple):
    """One node, what it gets, and what its attributes are; `fixed` inputs are constants."""

    op: str
    inputs: list[Any]
    attributes: dict[str, Any]
    fixed: tuple[int, ...] = ()
    outputs: int = 1
    opset: int = 22

    def __str__(self) -> str:
        return f"{self.op}-{'-'.join(f'{k}={v}' for k, v in self.attributes.items() if not hasattr(v, 'dims'))}"[:80]


def f(*shape: int, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Floats, the same each time."""
    count = int(np.prod(shape))
    return (low + (high - low) * ((np.arange(count) * 0.61803399 + 0.27) % 1)).astype(np.float32).reshape(shape)


def ints(*values: Any) -> np.ndarray:
    return np.array(values, np.int64)


def of(
    op: str, *inputs: Any, fixed: tuple[int, ...] = (), outputs: int = 1, opset: int = 22, **attributes: Any
) -> Case:
    return Case(op, list(inputs), attributes, fixed, outputs, opset)


B = np.array([[True, False, True], [False, False, True]])
I = ints([3, -4, 5], [-7, 2, 1])  # noqa: E741 - integers
IMAGE = f(2, 4, 7, 6)
CASES = [
    *(of(op, f(2, 3)) for op in "Relu Sigmoid HardSigmoid HardSwish Softsign Softplus Tanh Erf Exp Ceil Floor Round Cos Sin Tan Cosh "
      "Sinh Asinh Atan Neg Abs Sign Selu Celu Elu Reciprocal LeakyRelu Mish Gelu ThresholdedRelu Shrink IsNaN IsInf".split()),
    *(of(op, f(2, 3, low=0.1, high=0.9)) for op in "Acos Asin Atanh Log Sqrt".split()),
    of("Acosh", f(2, 3, low=1.1, high=3)), of("Abs", I), of("Neg", I), of("Sign", I), of("Relu", I.astype(np.int32)),
    of("Round", np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], np.float32)),
    of("IsNaN", np.array([1, np.nan, np.inf], np.float32)), of("IsInf", np.array([-np.inf, np.nan, np.inf], np.float32), detect_negative=0),
    of("Gelu", f(2, 3), approximate="tanh"), of("Elu", f(2, 3), alpha=0.7), of("Celu", f(2, 3), alpha=0.4), of("LeakyRelu", f(2, 3), alpha=0.3),
    of("HardSigmoid", f(2, 3), alpha=0.4, beta=0.3), of("Swish", f(2, 3), opset=24), of("Swish", f(2, 3), opset=24, alpha=1.7),
    of("Shrink", f(2, 3), bias=0.2, lambd=0.8), of("ThresholdedRelu", f(2, 3), alpha=0.3), of("PRelu", f(2, 3, 4), f(3, 1)),
    *(of(op, f(2, 3), f(3, low=0.5)) for op in "Add Sub Mul Div Max Min Sum Mean".split()),
    *(of(op, I, ints(2, -3, 4)) for op in "Add Sub Mul Div Mod Max Min Pow".split() if op != "Pow"),
    of("Mod", I, ints(2, -3, 4), fmod=1), of("Mod", f(2, 3), f(3, low=0.5), fmod=1), of("Pow", I, ints(2)), of("Pow", f(2, 3), np.float32(2)),
    of("Pow", f(2, 3, low=0.1), f(3)), of("Pow", f(2, 3, low=0.1), np.float32(0.5)), of("Sum", f(2, 3), f(3), f(1, 1)), of("Mean", f(2, 3), f(3)),
    *(of(op, f(2, 3), np.array([-1.2, f(2, 3)[0, 1], 0.4], np.float32)) for op in "Equal Greater GreaterOrEqual Less LessOrEqual".split()),
    of("Equal", B, ~B), of("Equal", I, ints(3)), of("Not", B), *(of(op, B, np.array([True, True, False])) for op in "And Or Xor".split()),
    *(of(op, I, ints(6, 5, -4)) for op in "BitwiseAnd BitwiseOr BitwiseXor".split()), of("BitwiseNot", I),
    of("Where", B, f(2, 3), f(3)), of("Where", B, I, ints(9)), of("Where", B[:, :1], B, ~B),
    of("Clip", f(2, 3), np.float32(-0.5), np.float32(0.7)), of("Clip", I, None, ints(2).reshape(())), of("Clip", f(2, 3), np.float32(1), np.float32(-1)),
    *(of("Cast", x, to=to) for x in (f(2, 3) * 3, I, B) for to in (TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL)),
    of("Cast", ints(300, -5), to=TensorProto.UINT8), of("Cast", ints(300, -5), to=TensorProto.INT8), of("CastLike", I, f(1)),
    of("Cast", ints(70000, -5), to=TensorProto.INT16), of("Cast", ints(70000, -5), to=TensorProto.UINT16),
    of("Range", ints(7).reshape(()), ints(-2).reshape(()), ints(-2).reshape(())), of("Range", np.float32(0), np.float32(1), np.float32(0.3)),
    # ---------------------------------------------------------------------------------------------------------- movement
    of("Identity", f(2, 3)), of("Dropout", f(2, 3), outputs=2), of("Reshape", f(2, 3, 4), ints(0, -1)), of("Reshape", f(0, 3), ints(3, 0), allowzero=1),
    of("Flatten", f(2, 3, 4), axis=-1), of("Flatten", f(2, 3, 4), axis=0), of("Squeeze", f(2, 1, 3, 1)), of("Squeeze", f(2, 1, 3, 1), ints(-1)),
    of("Unsqueeze", f(2, 3), ints(-1, 0)), of("Transpose", f(2, 3, 4)), of("Transpose", f(2, 1, 3, 4), perm=[3, 1, 0, 2]), of("Transpose", B),
    of("Transpose", f(2, 1, 3), perm=[1, 0, 2]), of("Concat", f(2, 3), f(2, 1), axis=-1), of("Concat", f(2, 0), f(2, 3), axis=1), of("Concat", B, B, axis=0),
    of("Split", f(2, 7), outputs=3, axis=1, num_outputs=3), of("Split", f(2, 7), ints(2, 0, 5), outputs=3, axis=-1),
    of("Slice", f(5, 6), ints(-1, 1), ints(-100, 2**63 - 1), ints(0, 1), ints(-2, 3), fixed=(1, 2, 3, 4)), of("Slice", f(5, 6), ints(2), ints(2)),
    of("Slice", B, ints(1), ints(-9), ints(1), ints(-1)), of("Slice", f(5, 6), ints(-3), ints(-1), ints(1)), of("Slice", I, ints(0), ints(3), ints(1), ints(2)),
    of("Pad", f(2, 3), ints(1, 0, 0, 2)), of("Pad", f(4, 5), ints(-1, 1, 1, -2), np.float32(7)), of("Pad", B, ints(0, 1, 1, 0)), of("Pad", I, ints(2, 1), None, ints(1)),
    *(of("Pad", f(4, 5), ints(1, 3, 2, 0), mode=mode) for mode in ("edge", "reflect", "wrap")), of("Expand", f(3, 1), ints(2, 1, 4)), of("Expand", B, ints(2, 1, 1)),
    of("Tile", f(2, 3), ints(2, 1)), of("Tile", B, ints(1, 2)), of("Shape", f(2, 3, 4), start=-2), of("Shape", f(2, 3, 4), end=1), of("Size", f(2, 3)),
    of("ConstantOfShape", ints(2, 3)), of("ConstantOfShape", ints(2), value=numpy_helper.from_array(ints(-7))), of("ConstantOfShape", ints(0, 2)),
    of("EyeLike", f(3, 4), k=1), of("EyeLike", f(3, 4), k=-1, dtype=TensorProto.INT64), of("Trilu", f(2, 3, 4)), of("Trilu", f(4, 3), ints(-1).reshape(()), upper=0),
    of("Trilu", B, ints(1).reshape(())), of("DepthToSpace", f(1, 8, 2, 3), blocksize=2), of("DepthToSpace", f(1, 8, 2, 3), blocksize=2, mode="CRD"),
    of("SpaceToDepth", f(1, 2, 4, 6), blocksize=2),
    # ---------------------------------------------------------------------------------------------------------- indexing
    of("Gather", f(3, 4), ints([0, -1], [2, 1])), of("Gather", f(3, 4), ints(-2).reshape(()), axis=1), of("Gather", I, ints(1, 0), axis=0), of("Gather", B, ints(2, 2), axis=1),
    of("GatherElements", f(3, 4), ints([0, -1, 1], [2, 0, 0]), axis=1), of("GatherElements", f(3, 2), ints([2, -3]), axis=0),
    of("GatherND", f(3, 4, 2), ints([0, 1], [-1, 3])), of("GatherND", f(2, 3, 4), ints([1], [-1]), batch_dims=1), of("GatherND", I, ints([1])),
    *(of("ScatterElements", f(3, 3), ints([0, -1, 0]), f(1, 3, high=9), axis=1, reduction=r) for r in ("none", "add", "mul", "max", "min")),
    *(of("ScatterND", f(4, 3), ints([1], [-1], [1]), f(3, 3, high=9), reduction=r) for r in ("none", "add", "mul", "max", "min")), of("ScatterND", I, ints([0, 1]), ints(8)),
    of("OneHot", ints(0, -1, 5), ints(3).reshape(()), np.array([0.5, 2], np.float32)), of("OneHot", ints([0, 2]), ints(3).reshape(()), ints(0, 1), axis=0),
    of("NonZero", B), of("NonZero", I), of("Compress", f(3, 4), np.array([True, False, True]), axis=0), of("Compress", f(2, 2), np.array([False, True, True])),
    of("TopK", f(3, 5), ints(2), outputs=2), of("TopK", I, ints(1), outputs=2, axis=0, largest=0), of("ArgMax", f(3, 5)), of("ArgMax", I * 0, axis=1, select_last_index=1, keepdims=0),
    of("ArgMin", f(3, 5), axis=-1, keepdims=0), of("CumSum", f(3, 4), ints(1).reshape(()), exclusive=1, reverse=1), of("CumSum", I, ints(-1).reshape(()), reverse=1),
    of("CumProd", f(3, 4), ints(1).reshape(()), opset=26), of("CumProd", I, ints(0).reshape(()), opset=26, exclusive=1),
    of("ReverseSequence", f(4, 3, 2), ints(2, 4, 1)), of("ReverseSequence", f(2, 4), ints(3, 2), batch_axis=0, time_axis=1),
    *(of("NonMaxSuppression", f(2, 9, 4, low=0), f(2, 3, 9, low=0), ints(m).reshape(()), np.float32(0.2), np.float32(0.3), center_point_box=c) for m in (2, 9) for c in (0, 1)),
    of("NonMaxSuppression", f(1, 3, 4), f(1, 1, 3)),
    # --------------------------------------------------------------------------------------------------------- reduction
    *(of(f"Reduce{r}", f(2, 3, 4, low=0.2), ints(-1, 0), keepdims=k) for k in (0, 1) for r in "Sum Mean Max Min Prod L1 L2 SumSquare LogSum LogSumExp".split()),
    *(of(f"Reduce{r}", I) for r in "Sum Max Min Prod L1 SumSquare".split()), of("ReduceMax", B, ints(1)), of("ReduceMin", B, ints(1)), of("ReduceSum", f(2, 3), noop_with_empty_axes=1),
    of("ReduceSumSquare", f(2, 3), noop_with_empty_axes=1), of("ReduceMean", I.astype(np.int32), ints(0)), of("ReduceSum", f(2, 0), ints(1)),
    # ------------------------------------------------------------------------------------------------------------ linear
    of("MatMul", f(2, 3), f(3, 4)), of("MatMul", f(3), f(3, 4)), of("MatMul", f(5, 2, 3), f(3)), of("MatMul", f(5, 2, 3), f(3, 4)), of("MatMul", f(4, 1, 2, 3), f(5, 3, 2)),
    of("MatMul", f(2, 2, 3), f(2, 3, 2)), of("MatMul", f(2, 100, 101), f(2, 101, 100)), of("MatMul", I.astype(np.int32), I.astype(np.int32).T), of("MatMul", f(2, 0), f(0, 3)), of("MatMul", f(3), f(3)),
    of("Gemm", f(2, 3), f(3, 4), f(4)), of("Gemm", f(3, 2), f(4, 3), f(2, 1), alpha=0.5, beta=2.0, transA=1, transB=1, fixed=(1, 2)), of("Gemm", f(2, 3), f(3, 4)),
    *(of("Einsum", f(2, 3, 4), f(2, 4, 5), equation=e) for e in ("bij,bjk->bik", "bij,bjk->kb", "bij, bjk", "aij,bjk->aibk")), of("Einsum", f(2, 3), equation="ij->j"), of("Einsum", f(2, 3), equation="ij->ji"),
    # ----------------------------------------------------------------------------------------------------- normalization
    *(of("BatchNormalization", x, f(4), f(4), f(4), f(4, low=0.3), epsilon=0.01, fixed=c) for x, c in ((IMAGE, (1, 2, 3, 4)), (f(3, 4), ()), (f(2, 4, 5), ()))),
    of("InstanceNormalization", IMAGE, f(4), f(4)), of("GroupNormalization", IMAGE, f(4), f(4), num_groups=2), of("LayerNormalization", f(2, 3, 4), f(4), f(4), outputs=3),
    of("LayerNormalization", f(2, 3, 4), f(3, 4), axis=1), of("RMSNormalization", f(2, 3, 4), f(4), opset=23), of("LpNormalization", f(2, 3), p=1, axis=0), of("LpNormalization", f(2, 3)),
    of("LRN", IMAGE, size=3, alpha=0.1, beta=0.6, bias=1.5), of("LRN", IMAGE, size=2), *(of(op, f(2, 3, 4), axis=a) for op in ("Softmax", "LogSoftmax", "Hardmax") for a in (-1, 1)),
    of("Softmax", f(2, 3, 4), opset=11, axis=1),
    # ---------------------------------------------------------------------------------------------- convolution, pooling
    of("Conv", IMAGE, f(3, 4, 3, 2), f(3), fixed=(1, 2)), of("Conv", IMAGE, f(3, 4, 3, 2), strides=[2, 1], pads=[0, 1, 2, 0]), of("Conv", IMAGE, f(3, 4, 3, 3), dilations=[2, 1], pads=[1, 1, 1, 1]),
    of("Conv", IMAGE, f(3, 4, 2, 2), dilations=[2, 3], strides=[2, 2]), of("Conv", IMAGE, f(6, 2, 3, 3), group=2, auto_pad="SAME_UPPER", strides=[2, 2]), of("Conv", IMAGE, f(4, 1, 3, 3), f(4), group=4),
    of("Conv", IMAGE, f(8, 1, 2, 3), group=4, auto_pad="SAME_LOWER", fixed=(1,)), of("Conv", IMAGE, f(4, 1, 2, 2), group=4, dilations=[2, 2], strides=[2, 1]), of("Conv", f(2, 3, 9), f(4, 3, 3), f(4), pads=[2, 1]),
    of("Conv", f(2, 4, 9), f(4, 1, 3), group=4, dilations=[2]), of("Conv", f(2, 4, 9), f(2, 2, 3), group=2, strides=[2]), of("Conv", f(1, 2, 4, 5, 6), f(3, 2, 2, 2, 3), f(3), pads=[1, 0, 0, 0, 1, 2]),
    of("Conv", f(1, 4, 5, 5, 6), f(4, 2, 2, 2, 3), group=2, dilations=[2, 1, 2], strides=[1, 2, 1]), of("Conv", IMAGE, f(3, 4, 1, 1), auto_pad="VALID"),
    of("ConvTranspose", IMAGE, f(4, 3, 3, 2), f(3), fixed=(1,)), of("ConvTranspose", IMAGE, f(4, 3, 3, 3), strides=[2, 3], pads=[1, 0, 2, 1], output_padding=[1, 2]),
    of("ConvTranspose", IMAGE, f(4, 2, 3, 3), group=2, dilations=[2, 1]), of("ConvTranspose", IMAGE, f(4, 3, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    of("ConvTranspose", IMAGE, f(4, 3, 3, 3), strides=[3, 2], output_shape=[20, 14]), of("ConvTranspose", f(2, 4, 5), f(4, 3, 3), f(3), strides=[2], pads=[1, 1]),
    of("ConvTranspose", f(1, 2, 3, 4, 5), f(2, 3, 3, 2, 2), f(3), strides=[2, 2, 1]), of("ConvTranspose", f(1, 4, 2, 3, 2), f(4, 1, 2, 2, 3), group=2, pads=[0, 1, 0, 1, 0, 0]),
    *(of(op, IMAGE, kernel_shape=[3, 2], **a) for op in ("MaxPool", "AveragePool", "LpPool") for a in ({}, {"strides": [2, 2], "pads": [1, 0, 1, 1]}, {"auto_pad": "SAME_LOWER"})),
    *(of(op, IMAGE, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, dilations=[2, 1]) for op in ("MaxPool", "AveragePool")), of("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 2, 2], strides=[2, 2], count_include_pad=1, ceil_mode=1),
    of("MaxPool", f(2, 3, 9), kernel_shape=[3], strides=[2], ceil_mode=1), of("AveragePool", f(2, 3, 9), kernel_shape=[4], pads=[1, 2]), of("MaxPool", f(1, 2, 4, 5, 6), kernel_shape=[2, 2, 3], strides=[1, 2, 1]),
    of("AveragePool", f(1, 2, 4, 5, 6), kernel_shape=[2, 2, 3], pads=[0, 1, 0, 1, 0, 1]), of("LpPool", f(2, 3, 9), kernel_shape=[3], p=3), of("GlobalLpPool", IMAGE, p=3), of("GlobalMaxPool", IMAGE), of("GlobalAveragePool", IMAGE),
    # ------------------------------------------------------------------------------------------------------------ resize
    *(of("Resize", f(1, 2, 4, 5), None, np.array([1, 1, *s], np.float32), mode=m, coordinate_transformation_mode=c)
      for m in ("nearest", "linear", "cubic") for s in ((2, 1.6), (0.6, 0.5)) for c in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric")),
    *(of("Resize", f(1, 2, 4, 5), None, None, ints(1, 2, 7, 3), nearest_mode=n) for n in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")),
    of("Resize", f(1, 2, 4, 5), None, None, ints(2, 3), axes=[3, 2], mode="linear", antialias=1), of("Resize", f(1, 2, 8, 9), None, None, ints(4, 5), axes=[2, 3], mode="cubic", antialias=1, exclude_outside=1),
    of("Resize", f(1, 2, 4, 5), np.array([0, 0, 0.4, 0.6, 1, 1, 1.2, 1.7], np.float32), None, ints(1, 2, 3, 3), mode="linear", coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=9.0),
    of("Resize", f(1, 2, 4, 5), None, None, ints(8, 8), axes=[2, 3], keep_aspect_ratio_policy="not_larger"), of("Resize", f(1, 2, 4, 5), None, None, ints(8, 8), axes=[2, 3], keep_aspect_ratio_policy="not_smaller"),
    # ------------------------------------------------------------------------------------------ quantisation, recurrence
    *(of("QuantizeLinear", f(2, 3) * 100, np.float32(0.7), np.array(z, t), fixed=(1, 2)) for z, t in ((100, np.uint8), (-5, np.int8), (9, np.uint16), (-9, np.int16))),
    of("QuantizeLinear", f(2, 3) * 100, np.float32(0.7)), of("QuantizeLinear", f(2, 3) * 100, f(3, low=0.5), np.zeros(3, np.int8), fixed=(1, 2)),
    of("DequantizeLinear", np.array([[1, 255, 7]], np.uint8), np.float32(0.3), np.uint8(128), fixed=(2,)), of("DequantizeLinear", np.array([[1, -128, 7]], np.int8), f(3), axis=-1),
    *(of(op, f(5, 2, 3), f(d, g * 4, 3), f(d, g * 4, 4), f(d, 2 * g * 4), outputs=2, hidden_size=4, direction=way)
      for op, g in (("LSTM", 4), ("GRU", 3), ("RNN", 1)) for d, way in ((1, "forward"), (1, "reverse"), (2, "bidirectional"))),
    of("LSTM", f(5, 2, 3), f(1, 16, 3), f(1, 16, 4), None, np.array([3, 5], np.int32), f(1, 2, 4), f(1, 2, 4, low=0), f(1, 12), outputs=3, hidden_size=4, clip=0.8, activations=["HardSigmoid", "Softsign", "Tanh"], activation_alpha=[0.3], activation_beta=[0.4]),
    of("LSTM", f(2, 5, 3), f(1, 16, 3), f(1, 16, 4), outputs=3, hidden_size=4, layout=1, input_forget=1), of("GRU", f(5, 2, 3), f(1, 12, 3), f(1, 12, 4), f(1, 24), np.array([3, 5], np.int32), outputs=2, hidden_size=4, linear_before_reset=1),
    *(of(op, x, **a) for x in (f(2, 4, 5), f(2, 4, 3, 4, 5)) for op, a in (("GlobalLpPool", {}), ("GlobalMaxPool", {}), ("GlobalAveragePool", {}),
      *((p, {"kernel_shape": [2] * (x.ndim - 2)}) for p in ("MaxPool", "AveragePool", "LpPool")))),
    *(of(op, x, f(4), f(4), **a) for x in (f(2, 4, 5), f(2, 4, 3, 4, 5)) for op, a in (("InstanceNormalization", {}), ("GroupNormalization", {"num_groups": 2}))),
    of("BatchNormalization", f(2, 4, 3, 2, 2), f(4), f(4), f(4), f(4, low=0.3)),
]  # fmt: skip
#: Those whose cases are texts of their own, below.
WHOLE = {"If", "Loop", "Scan"}
#: A node that is a constant is none for the runner.
NEVER = {"Constant"}
SPATIAL = (
    "Conv",
    "ConvTranspose",
    "Pool",
    "BatchNormalization",
    "InstanceNormalization",
    "GroupNormalization",
    "LRN",
    "DepthToSpace",
    "SpaceToDepth",
)


def last(case: Case) -> Case | None:
    """The same with channels last, where it has that form."""
    rank = np.ndim(case.inputs[0])
    if rank < 3 or not case.op.endswith(SPATIAL):
        return None
    x = np.moveaxis(case.inputs[0], 1, -1)
    return case._replace(op=f"{DOMAIN}::{case.op}{rank - 2}d", inputs=[x, *case.inputs[1:]])


def built(case: Case) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A model of the one node, and its feeds."""
    domain, _, op = case.op.rpartition("::")
    names = [f"x{i}" if x is not None else "" for i, x in enumerate(case.inputs)]
    results = [f"y{i}" for i in range(case.outputs)]
    made = helper.make_node(op, names, results, domain=domain, name="n", **case.attributes)
    arrays = {n: np.asarray(x) for n, x in zip(names, case.inputs, strict=True) if x is not None}
    fixed = {names[i] for i in case.fixed}
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in arrays.items()
        if n not in fixed
    ]
    opsets = [helper.make_opsetid("", case.opset)]
    functions = []
    if domain:
        functions.append(function(op[:-2], int(op[-2]), case.opset))
        opsets.append(helper.make_opsetid(domain, 1))
    outputs = [helper.make_value_info(r, onnx.TypeProto()) for r in results]
    constants = [numpy_helper.from_array(arrays[n], n) for n in sorted(fixed)]
    graph = helper.make_graph([made], "g", inputs, outputs, constants)
    proto = helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=10)
    feeds = {n: a for n, a in arrays.items() if n not in fixed}
    want = create("reference", proto.SerializeToString()).run(feeds)
    for info in proto.graph.output:  # their types, which the executor gives its results
        array = want[info.name]
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        info.CopyFrom(helper.make_tensor_value_info(info.name, kind, array.shape))
    return proto, feeds


ALL = [c for case in CASES for c in (case, last(case)) if c is not None]


@needs_tfjs
@pytest.mark.parametrize("case", ALL, ids=str)
def test_operators(case: Case, started: Any) -> None:
    proto, feeds = built(case)
    data = proto.SerializeToString()
    executor = started()
    executor.load(data)
    held = executor.memory()["numTensors"]
    got = executor.run(feeds)
    for name, want in create("reference", data).run(feeds).items():
        assert got[name].dtype == want.dtype and got[name].shape == want.shape
        np.testing.assert_allclose(got[name], want, rtol=2e-5, atol=2e-5)
    executor.run(feeds)
    assert executor.memory()["numTensors"] <= held + 8  # weights in another form; nothing of the runs


@needs_tfjs
def test_every_operator_has_a_case(started: Any) -> None:
    have = {c.op for c in ALL} | WHOLE | NEVER
    assert started()._operators == have


@needs_tfjs
@pytest.mark.parametrize("device", tfjs.DEVICES)
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_a_model(device: str, layout: str) -> None:
    source = demo_model().SerializeToString()
    inputs = onnx.load_from_string(source).graph.input
    feeds = {i.name: f(*(d.dim_value or 1 for d in i.type.tensor_type.shape.dim)) for i in inputs}
    got = tfjs.TensorFlowJs(source, device=device, layout=layout).run(feeds)
    for name, want in create("reference", source).run(feeds).items():
        np.testing.assert_allclose(got[name], want, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------------------- control flow
BRANCH = model(
    """g (bool c, float[2] x) => (float[2] y) {
        t = Exp(x)
        y = If(c) <then_branch = a () => (float[2] p) { p = Add(t, x) }, else_branch = b () => (float[2] q) { q = Identity(x) }>
    }"""
)
LOOP = model(
    """g (int64 n, float[2] x) => (float[2] y, float[k, 2] all) {
        go = Constant<value_int = 1>() yes = Cast<to = 9>(go)
        y, all = Loop(n, yes, x) <body = b (int64 i, bool c, float[2] a) => (bool d, float[2] s, float[2] each) {
            d = Identity(c) j = Cast<to = 1>(i) t = Add(a, j) s = Mul(t, x) each = Identity(a) }>
    }"""
)
SCAN = model(
    """g (float[2] start, float[3, 2] x) => (float[2] y, float[2, 3] all) {
        y, all = Scan<num_scan_inputs = 1, scan_input_directions = [1], scan_output_axes = [1], body = b (float[2] a, float[2] e)
            => (float[2] s, float[2] each) { s = Add(a, e) each = Mul(s, s) }>(start, x)
    }"""
)


@needs_tfjs
@pytest.mark.parametrize(
    ("source", "feeds"),
    [
        (BRANCH, {"c": np.array(True), "x": f(2)}),
        (BRANCH, {"c": np.array(False), "x": f(2)}),
        (LOOP, {"n": np.array(4), "x": f(2)}),
        (SCAN, {"start": f(2), "x": f(3, 2)}),
    ],
)
def test_control_flow_and_memory(source: bytes, feeds: dict[str, np.ndarray], started: Any) -> None:
    executor = started()
    executor.load(source)
    held = executor.memory()
    got = executor.run(feeds)
    for name, want in create("reference", source).run(feeds).items():
        np.testing.assert_allclose(got[name], want, rtol=1e-5)
    assert executor.memory() == held


@needs_tfjs
def test_weights_go_with_their_model(started: Any) -> None:
    executor = started()
    executor.load(RELU)
    assert executor.memory()["numTensors"] == 0
    executor.load(demo_model().SerializeToString())
    assert executor.memory()["numTensors"] > 0
    executor.load(RELU)
    assert executor.memory()["numTensors"] == 0


@needs_tfjs
def test_an_initializer_that_is_an_input_can_be_fed(started: Any) -> None:
    source = model("g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { y = Mul(x, w) }")
    executor = started()
    executor.load(source)
    x = f(2)
    np.testing.assert_allclose(executor.run({"x": x})["y"], x * [1, 2], rtol=1e-6)
    np.testing.assert_allclose(executor.run({"x": x, "w": x})["y"], x * x, rtol=1e-6)


# ---------------------------------------------------------------------------------------------------------------- errors
@needs_tfjs
def test_all_that_is_lacking_is_named(started: Any) -> None:
    source = model(
        """g (float[1,1,4,4] x, double[2] d) => (float[1,1,2,2] y, int64[1,1,2,2] i, float z) {
            [pool] y, i = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x) [det] z = Det(y) }"""
    )
    with pytest.raises(UnsupportedError, match=r"Det \('det'\): there is no such operator.*input \('d'\).*double"):
        started().load(source)
    with pytest.raises(RunError, match="no model"):
        started().run({})
    source = model(
        """g (float[1,1,4,4] x) => (float[1,1,2,2] y, int64[1,1,2,2] i) {
            [pool] y, i = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x) }"""
    )
    with pytest.raises(UnsupportedError, match=r"MaxPool \('pool'\): it gives no indices"):
        started().load(source)


@needs_tfjs
def test_integers_that_do_not_fit(started: Any) -> None:
    executor = started()
    executor.load(model("g (int64[2] a, int64[2] b) => (int64[2] y) { [times] y = Mul(a, b) }"))
    assert executor.run({"a": ints(3, -4), "b": ints(5, 6)})["y"].tolist() == [15, -24]
    with pytest.raises(UnsupportedError, match="input 'a' has 1 to 4294967296"):
        executor.run({"a": ints(1, 2**32), "b": ints(1, 1)})
    with pytest.raises(UnsupportedError, match=r"'times' \(Mul\): the integer 4294967296 is beyond int32"):
        executor.run({"a": ints(1, 2**16), "b": ints(1, 2**16)})
    with pytest.raises(UnsupportedError, match="a constant of node"):
        executor.load(model("g (int64[1] a) => (int64[1] y) <int64[1] c = {4294967296}> { y = Add(a, c) }"))


@needs_tfjs
def test_what_fails_is_named(started: Any) -> None:
    executor = started()
    executor.load(model("g (float[n] x, int64[1] i) => (float[1] y) { [take] y = Gather(x, i) }"))
    with pytest.raises(RunError, match=r"node 'take' \(Gather\): index 7 is out of bounds of an axis of 3"):
        executor.run({"x": f(3), "i": ints(7)})
    assert executor.run({"x": f(3), "i": ints(-1)})["y"] == f(3)[-1:]  # it goes on
    with pytest.raises(ArgumentError, match="must be float32"):
        executor.run({"x": ints(1, 2, 3), "i": ints(0)})


def test_what_there_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="devices of tfjs: wasm, cpu"):
        create("tfjs:gpu", RELU)
    with pytest.raises(ArgumentError, match="'NHWC' and 'NCHW'"):
        tfjs.TensorFlowJs(RELU, layout="CHWN")
    monkeypatch.setenv(node.FOLDER, str(tmp_path))
    if node.missing([], "it") is None:
        with pytest.raises(MissingDependencyError, match=r"npm install --prefix .* @tensorflow/tfjs-core@4\.22\.0"):
            create("tfjs", RELU)
    assert "tfjs" not in installed()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"Node\.js is not installed"):
        create("tfjs", RELU)


@needs_tfjs
def test_it_verifies() -> None:
    source = demo_model()
    assert "tfjs" in installed()
    assert isinstance(create("tfjs", RELU), Reloadable)
    assert graphopt.verify(source, graphopt.optimize(source), on=["tfjs", "reference"])
