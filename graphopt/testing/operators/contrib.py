"""Operators that ONNX Runtime adds (domain com.microsoft): what optimizers and quantizers put in."""

from __future__ import annotations

import numpy as np

from graphopt.testing.building.builder import Invalid
from graphopt.testing.operators.elementwise import broadcasting
from graphopt.testing.operators.linear import gemm
from graphopt.testing.operators.movement import trilu
from graphopt.testing.operators.normalization import channels
from graphopt.testing.operators.quantized import dequantize, quantize, scale
from graphopt.testing.operators.registry import operands
from graphopt.testing.operators.site import Shape, Site
from graphopt.testing.operators.windows import convolution

DOMAIN = "com.microsoft"

operands("Trilu", carries=(0,), domain=DOMAIN)(trilu)
operands("QuantizeLinear", carries=(0,), domain=DOMAIN)(quantize)
operands("DequantizeLinear", carries=(0,), domain=DOMAIN)(dequantize)


# ------------------------------------------------------------------------------------------------------- activations
@operands("Gelu", "QuickGelu", carries=(0,), domain=DOMAIN)
def gelu(s: Site) -> None:
    s.operand(0, s.new_shape(0))
    if s.op_type == "QuickGelu":
        s.number("alpha", 0.5, 2.0, 1.702)


@operands("BiasGelu", "FastGelu", ranks={0: (1, 5), 1: (1, 1)}, carries=(0,), domain=DOMAIN)
def bias_gelu(s: Site) -> None:
    s.operand(0, s.new_shape(0, 1, empty=False))
    x = s.shape(0)
    if not x:
        raise Invalid(f"{s.op_type} of {x}")
    s.operand(1, x[-1:])


@operands("BiasSoftmax", ranks={0: (2, 5), 1: (2, 5)}, carries=(0,), domain=DOMAIN)
def bias_softmax(s: Site) -> None:
    """The bias repeats over the first dims, or over the middle ones."""
    x = s.new_shape(0, 2, 4, empty=False)
    s.operand(0, x)
    axis = s.choices.integer(1, len(x) - 1)
    s.attributes.update(axis=axis, is_inner_broadcast=0)
    s.operand(1, (*(1,) * axis, *x[axis:]))


# ---------------------------------------------------------------------------------------------------------- products
@operands("FusedMatMul", "TransposeMatMul", ranks={0: (2, 4), 1: (2, 4)}, carries=(0, 1), domain=DOMAIN)
def fused_matmul(s: Site) -> None:
    m, k, n = (max(s.dim(), 1) for _ in range(3))
    batch = s.choices.one([(), (), (2,), (2, 3)])
    left, right = s.integer("transA", [0, 1], 0), s.integer("transB", [0, 1], 0)
    a, b = ((k, m) if left else (m, k)), ((n, k) if right else (k, n))
    front = s.op_type == "FusedMatMul" and bool(batch) and s.choices.chance(3)
    if front:  # the rows are the first dim of all
        if s.integer("transBatchA", [0, 1], 0) == 1:
            s.operand(0, (a[0], *batch, a[1]))
        if s.integer("transBatchB", [0, 1], 0) == 1:
            s.operand(1, (b[0], *batch, b[1]))
    s.operand(0, (*batch, *a))
    s.operand(1, (*(batch if front or right or s.choices.integer(0, 1) else ()), *b))
    s.number("alpha", 0.5, 2.0, 1.0)


@operands("FusedGemm", ranks={0: (2, 2), 1: (2, 2), 2: (0, 2)}, domain=DOMAIN)
def fused_gemm(s: Site) -> None:
    gemm(s)
    _activation(s, {"Relu": [], "LeakyRelu": ["activation_alpha"], "Tanh": [], "Sigmoid": []})


def _activation(s: Site, options: dict[str, list[str]]) -> None:
    name = s.choices.one(list(options))
    s.attributes["activation"] = name
    s.attributes.update(dict.fromkeys(options[name], 0.25))


@operands("FusedConv", ranks={0: (3, 5), 1: (3, 5), 2: (1, 1), 3: (3, 5)}, domain=DOMAIN)
def fused_conv(s: Site) -> None:
    convolution(s, 1, 2)
    s.insist(3, False)  # the shape of what is added would follow from all the rest
    name = s.choices.one(["Relu", "Tanh", "Sigmoid", "LeakyRelu", "Clip"])
    s.attributes["activation"] = name
    if name in ("LeakyRelu", "Clip"):
        s.attributes["activation_params"] = [0.25] if name == "LeakyRelu" else [-1.0, 2.0]


@operands("NhwcConv", "NhwcFusedConv", ranks={0: (4, 4), 1: (4, 4), 2: (1, 1)}, domain=DOMAIN)
def channels_last_conv(s: Site) -> None:
    c, group = s.choices.integer(1, 3), s.choices.one([1, 2])
    size, kernel = (
        (s.choices.integer(3, 5), s.choices.integer(3, 5)),
        (s.choices.integer(1, 3), s.choices.integer(1, 3)),
    )
    w = (group * s.choices.integer(1, 2), c, *kernel)
    s.operand(0, (s.choices.integer(1, 2), *size, c * group))
    s.operand(1, w)
    s.operand(2, w[:1])
    s.attributes["group"] = group
    s.parameter("strides", lambda: [s.choices.one([1, 1, 2]) for _ in kernel], [1, 1])
    s.parameter("pads", lambda: [s.choices.integer(0, k - 1) for k in (*kernel, *kernel)], [0] * 4)
    if s.op_type == "NhwcFusedConv":
        s.insist(3, False)
        _activation(s, {"Relu": [], "Tanh": [], "Sigmoid": []})


@operands("Inverse", ranks={0: (2, 4)}, carries=(0,), domain=DOMAIN)
def inverse(s: Site) -> None:
    n = s.choices.integer(1, 3)
    batch: Shape = s.choices.one([(), (2,), (1, 2)])
    values = s.random().integers(-4, 5, (*batch, n, n)) / 4
    s.operand(0, (*batch, n, n), array=values + 4 * np.eye(n))  # far from singular


# ----------------------------------------------------------------------------------------------------- normalization
@operands(
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
    ranks={0: (2, 3), 1: (2, 3)},
    carries=(0,),
    domain=DOMAIN,
)
def skip_normalization(s: Site) -> None:
    s.at_most(1)  # the statistics are only of some runtimes
    x = channels(s, 3)
    s.operand(1, s.choices.weighted(((3, x), (1, (1, *x[1:])), (1, x[1:]))))
    for i in range(2, 5):
        s.operand(i, x[-1:])
    s.number("epsilon", 1e-5, 0.25, 1e-12)


@operands("RotaryEmbedding", ranks={0: (3, 4), 1: (1, 2), 2: (2, 2), 3: (2, 2)}, carries=(0,), domain=DOMAIN)
def rotary_embedding(s: Site) -> None:
    batch, heads, length, size = (
        s.choices.integer(1, 2),
        s.choices.integer(1, 3),
        s.choices.integer(1, 4),
        s.choices.one([4, 8]),
    )
    s.operand(0, (batch, heads, length, size) if s.choices.integer(0, 1) else (batch, length, heads * size))
    positions = length + 2
    starts = np.array([s.choices.integer(0, 2)])
    each = s.random().integers(0, positions, (batch, length))
    ids = starts if s.choices.integer(0, 1) else each
    s.operand(1, ids.shape, array=ids)
    s.operand(2, (positions, size // 2), "fraction")
    s.operand(3, (positions, size // 2), "fraction")
    s.integer("interleaved", [0, 1], 0)


@operands("ExpandDims", domain=DOMAIN)
def expand_dims(s: Site) -> None:
    x = s.new_shape(0, 0, 3)
    s.operand(0, x)
    s.operand(1, (), array=np.array(s.choices.integer(-len(x) - 1, len(x))))


# --------------------------------------------------------------------------------------------------------- quantized
def _with_zero_points(s: Site, *places: int) -> None:
    """ONNX Runtime reads zero points that are not there: it refuses the model, or ends the process."""
    for i in places:
        s.insist(i)


@operands("QLinearAdd", "QLinearMul", carries=(0, 3), domain=DOMAIN)
def quantized_binary(s: Site) -> None:
    _with_zero_points(s, 2, 5, 7)
    broadcasting(s, [0, 3])
    for i in (1, 4, 6):
        scale(s, i, i + 1, result=i == 6)


@operands("QLinearSigmoid", "QLinearLeakyRelu", carries=(0,), domain=DOMAIN)
def quantized_unary(s: Site) -> None:
    _with_zero_points(s, 2, 4)
    s.operand(0, s.new_shape(0))
    scale(s, 1, 2)
    scale(s, 3, 4, result=True)
    if s.op_type == "QLinearLeakyRelu":
        s.number("alpha", 0.0, 1.0, 0.01)


@operands("QLinearGlobalAveragePool", ranks={0: (4, 4)}, carries=(0,), domain=DOMAIN)
def quantized_pool(s: Site) -> None:
    s.operand(0, tuple(max(d, 1) for d in s.new_shape(0, 4, 4)))
    scale(s, 1, 2)
    scale(s, 3, 4, result=True)
    s.integer("channels_last", [0, 1], 0)


@operands("MatMulIntegerToFloat", "DynamicQuantizeMatMul", ranks={0: (2, 3), 1: (2, 2)}, domain=DOMAIN)
def scaled_product(s: Site) -> None:
    a = s.new_shape(0, 2, 3, empty=False)
    n = max(s.dim(), 1)
    s.operand(0, a)
    s.operand(1, (a[-1], n))
    each = s.choices.one([(), (n,)])
    if s.op_type == "MatMulIntegerToFloat":
        scale(s, 2, 4)
        scale(s, 3, 5, each)
        s.operand(6, (n,))
    else:
        scale(s, 2, 3, each)
        s.operand(4, (n,))
