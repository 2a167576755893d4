"""Operators of ONNX Runtime (domain com.microsoft) that optimizers and quantizers put in, except attention.

No schema is at hand for them, so defaults are written out; where two runtimes could differ nothing is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from onnx import TensorProto

from graphopt.ir import Dim, Shape
from graphopt.shapes.dims import add, ceildiv, exact_div, less, maximum, mul, sub
from graphopt.shapes.operators.convolution import auto_pad, conv, places, possible, qlinear_conv, windows
from graphopt.shapes.operators.indexing import gather_nd
from graphopt.shapes.operators.pooling import global_pool, pool
from graphopt.shapes.operators.recurrent import GATES, states
from graphopt.shapes.registry import infers
from graphopt.shapes.site import Site, one_axis
from graphopt.shapes.types import TypeInfo

DOMAIN = "com.microsoft"

#: One output, of the type of the first input.
_LIKE_FIRST = (
    "BiasAdd BiasGelu BiasSoftmax FastGelu Gelu GroupNorm Inverse QLinearLeakyRelu QLinearSigmoid QLinearSoftmax "
    "QuickGelu Trilu"
).split()


# ------------------------------------------------------------------------------------------------------------- elementwise
@infers(*_LIKE_FIRST, domain=DOMAIN, since=0)
def like_first(node: Site) -> TypeInfo:
    """The type of the first input."""
    return TypeInfo(node.dtype(0), node.shape(0))


@infers("QLinearAdd", "QLinearMul", domain=DOMAIN, since=0)
def quantized_broadcasting(node: Site) -> TypeInfo:
    """Both operands broadcast together; each brings scale and zero point."""
    return TypeInfo(node.dtype(0), node.broadcast(node.shape(0), node.shape(3)))


@infers("QLinearWhere", domain=DOMAIN, since=0)
def quantized_where(node: Site) -> TypeInfo:
    """Condition and choices broadcast together."""
    return TypeInfo(node.dtype(1), node.broadcast(node.shape(0), node.shape(1), node.shape(4)))


@infers("QuantizeLinear", domain=DOMAIN, since=0)
def quantize(node: Site) -> TypeInfo:
    """The dtype of the zero point; without one uint8."""
    return TypeInfo(node.dtype(2) if node.has(2) else TensorProto.UINT8, node.shape(0))


@infers("DequantizeLinear", domain=DOMAIN, since=0)
def dequantize(node: Site) -> TypeInfo:
    """The dtype of the scale."""
    return TypeInfo(node.dtype(1), node.shape(0))


@infers("MurmurHash3", domain=DOMAIN, since=0)
def murmur_hash(node: Site) -> TypeInfo:
    """A hash for each element."""
    return TypeInfo(TensorProto.UINT32 if node.attribute("positive", 1) else TensorProto.INT32, node.shape(0))


@infers("BiasSplitGelu", domain=DOMAIN, since=0)
def bias_split_gelu(node: Site) -> TypeInfo:
    """One half of the last dim is the gate of the other."""
    x = node.shape(0)
    shape = None if not x else node.or_fresh((*x[:-1], exact_div(x[-1], 2)))
    return TypeInfo(node.dtype(0), shape)


# ---------------------------------------------------------------------------------------------------------- normalization
@infers("LayerNormalization", "SimplifiedLayerNormalization", domain=DOMAIN, since=0)
@infers("SimplifiedLayerNormalization")
def layer_normalization(node: Site) -> list[TypeInfo]:
    """The input with the dtype of the scale; the statistics have 1 for each dim from the axis on."""
    x = node.shape(0)
    kept: Shape | None = None
    if x is not None:
        axis = node.axis(len(x), default=-1)
        kept = x[:axis] + (1,) * (len(x) - axis)
    statistic = TypeInfo(int(node.attribute("stash_type", TensorProto.FLOAT)), kept)
    return [TypeInfo(node.dtype(1), x), statistic, statistic]


@infers("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=DOMAIN, since=0)
def skip_layer_normalization(node: Site) -> list[TypeInfo]:
    """The input's type; the last output is what was normalized."""
    statistic = TypeInfo(TensorProto.FLOAT, None)
    return [node.like(0), statistic, statistic, node.like(0)]


@infers("SkipGroupNorm", domain=DOMAIN, since=0)
def skip_group_norm(node: Site) -> list[TypeInfo]:
    """The input's type; the last output is what was normalized."""
    return [node.like(0)] * 2


@infers("EmbedLayerNormalization", domain=DOMAIN, since=0)
def embed_layer_normalization(node: Site) -> list[TypeInfo]:
    """An embedding for each token, how long each sentence is, and the embeddings before they were normalized."""
    tokens, words = node.shape(0), node.shape(2)
    embedded = None
    if tokens is not None and words is not None:
        embedded = (*tokens, words[-1])
    info = TypeInfo(node.dtype(2), embedded)
    lengths = None if tokens is None or not node.attribute("mask_index_type", 1) else tokens[:1]
    return [info, TypeInfo(TensorProto.INT32, lengths), info]


# --------------------------------------------------------------------------------------------------------------- products
def _product(node: Site, a: Shape | None, b: Shape | None) -> Shape | None:
    """[*batch, m, k] x [*batch, k, n]; a vector is a row on the left and a column on the right, without its 1."""
    if a is None or b is None:
        return None
    if not a or not b:
        raise ValueError(f"{node.op_type}: a scalar is no matrix")
    node.equate(a[-1], b[-2] if len(b) > 1 else b[0])
    return (node.broadcast(a[:-2], b[:-2]) or ()) + a[-2:-1] + (b[-1:] if len(b) > 1 else ())


def _transposed(node: Site, i: int, which: str) -> Shape | None:
    """An operand as a stack of matrices: the rows may be the first dim of all, and the last two may be exchanged."""
    x = node.shape(i)
    if x is None or len(x) < 2:
        return x
    front = bool(node.attribute(f"transBatch{which}", 0))
    batch, rows = (x[1:-1], x[0]) if front else (x[:-2], x[-2])
    return (*batch, x[-1], rows) if node.attribute(f"trans{which}", 0) else (*batch, rows, x[-1])


@infers("FusedMatMul", "FusedMatMulActivation", "TransposeMatMul", domain=DOMAIN, since=0)
def fused_matmul(node: Site) -> TypeInfo:
    """The product of operands that may be transposed."""
    return TypeInfo(node.dtype(0), _product(node, _transposed(node, 0, "A"), _transposed(node, 1, "B")))


@infers("DynamicQuantizeMatMul", "GemmFastGelu", domain=DOMAIN, since=0)
def matmul(node: Site) -> TypeInfo:
    """The dtype of the first operand."""
    return TypeInfo(node.dtype(0), _product(node, node.shape(0), node.shape(1)))


@infers("MatMulIntegerToFloat", domain=DOMAIN, since=0)
def matmul_integer_to_float(node: Site) -> TypeInfo:
    """The dtype of the scale."""
    return TypeInfo(node.dtype(2), _product(node, node.shape(0), node.shape(1)))


@infers("MatMulInteger16", domain=DOMAIN, since=0)
def matmul_integer_16(node: Site) -> TypeInfo:
    """Sums are kept in 32 bits."""
    dtype = TensorProto.UINT32 if node.dtype(0) == TensorProto.UINT16 else TensorProto.INT32
    return TypeInfo(dtype, _product(node, node.shape(0), node.shape(1)))


@infers("MatMulNBits", domain=DOMAIN, since=0)
def matmul_n_bits(node: Site) -> TypeInfo:
    """The weight is packed; its dims are attributes."""
    x = node.shape(0)
    if not x:
        return TypeInfo(node.dtype(0), None)
    node.equate(x[-1], int(node.attribute("K")))
    return TypeInfo(node.dtype(0), (*x[:-1], int(node.attribute("N"))))


@infers("SparseToDenseMatMul", domain=DOMAIN, since=0)
def sparse_to_dense_matmul(node: Site) -> TypeInfo:
    """The dtype of the dense operand."""
    return TypeInfo(node.dtype(1), None)


@infers("FusedGemm", "QGemm", domain=DOMAIN, since=0)
def gemm(node: Site) -> TypeInfo:
    """[m, k] x [k, n]; a quantized one gives floats unless it is told how to quantize the result."""
    quantized = node.op_type == "QGemm"
    a, b = _transposed(node, 0, "A"), _transposed(node, 3 if quantized else 1, "B")
    if any(s is not None and len(s) != 2 for s in (a, b)):
        raise ValueError(f"{node.op_type} takes matrices, not {a} and {b}")
    if a is not None and b is not None:
        node.equate(a[1], b[0])
    dtype = node.dtype(0)
    if quantized:
        dtype = node.dtype(8) if node.has(8) else TensorProto.FLOAT
    return TypeInfo(dtype, node.or_fresh((None if a is None else a[0], None if b is None else b[1])))


@infers("CDist", domain=DOMAIN, since=0)
def distances(node: Site) -> TypeInfo:
    """From each row of one matrix to each of the other."""
    a, b = node.shape(0), node.shape(1)
    if a is not None and b is not None:
        node.equate(a[-1], b[-1])
    return TypeInfo(node.dtype(0), node.or_fresh((None if a is None else a[0], None if b is None else b[0])))


# ---------------------------------------------------------------------------------------------------------------- windows
infers("FusedConv", domain=DOMAIN, since=0)(conv)


def _moved(node: Site, sizes: Sequence[Dim], kernel: Sequence[Dim]) -> list[Dim]:
    """Spatial dims after a kernel went over them."""
    moves = windows(node, kernel)
    if auto_pad(node) == "SAME":
        pairs = zip(sizes, moves, kernel, strict=True)
        return [ceildiv(d, m.stride) if m.extent == k else None for d, m, k in pairs]
    if node.attribute("ceil_mode", 0):
        return [None] * len(sizes)
    return [possible(places(d, m)) for d, m in zip(sizes, moves, strict=True)]


def _convolved_channels_last(node: Site, weight: int) -> Shape | None:
    """[N, D..., C] * [M, C/group, K...] -> [N, places of the kernel..., M]."""
    x, w = node.shape(0), node.shape(weight)
    if x is None or w is None:
        return None
    if len(x) != len(w) or len(x) < 3:
        raise ValueError(f"{node.op_type}: input {x} and weight {w} do not go together")
    node.equate(x[-1], mul(w[1], int(node.attribute("group", 1))))
    return node.or_fresh((x[0], *_moved(node, x[1:-1], w[2:]), w[0]))


@infers("NhwcConv", "NhwcFusedConv", domain=DOMAIN, since=0)
def conv_channels_last(node: Site) -> TypeInfo:
    """The channels are the last dim."""
    return TypeInfo(node.dtype(0), _convolved_channels_last(node, 1))


@infers("QLinearConv", domain=DOMAIN, since=0)
def quantized_conv(node: Site) -> TypeInfo | Sequence[TypeInfo]:
    """The dtype of the output's zero point; the channels may be the last dim."""
    if not node.attribute("channels_last", 0):
        return qlinear_conv(node)
    return TypeInfo(node.dtype(7), _convolved_channels_last(node, 3))


@infers("NhwcMaxPool", "QLinearAveragePool", domain=DOMAIN, since=0)
def quantized_pool(node: Site) -> TypeInfo | Sequence[TypeInfo]:
    """The type of the input; the channels may be the last dim."""
    if node.op_type != "NhwcMaxPool" and not node.attribute("channels_last", 0):
        return pool(node)
    x, kernel = node.shape(0), node.attribute("kernel_shape")
    if x is None or len(x) != len(kernel) + 2:
        return TypeInfo(node.dtype(0), None)
    return TypeInfo(node.dtype(0), node.or_fresh((x[0], *_moved(node, x[1:-1], kernel), x[-1])))


@infers("QLinearGlobalAveragePool", domain=DOMAIN, since=0)
def quantized_global_pool(node: Site) -> TypeInfo | Sequence[TypeInfo]:
    """One number for each image and channel."""
    x = node.shape(0)
    if x is None or len(x) < 3 or not node.attribute("channels_last", 0):
        return global_pool(node)
    return TypeInfo(node.dtype(0), (x[0], *(1 for _ in x[2:]), x[-1]))


@infers("ConvTransposeWithDynamicPads", domain=DOMAIN, since=0)
def conv_transpose_with_dynamic_pads(node: Site) -> TypeInfo:
    """The pads are computed, so that the spatial dims are not known."""
    x, w = node.shape(0), node.shape(1)
    if x is None or w is None or len(x) < 3 or len(w) != len(x):
        return TypeInfo(node.dtype(0), None)
    node.equate(x[1], w[0])
    channels = mul(w[1], int(node.attribute("group", 1)))
    return TypeInfo(node.dtype(0), (x[0], *node.or_fresh((channels,)), *node.unknown_dims(len(x) - 2)))


# ----------------------------------------------------------------------------------------------------------------- moving
infers("GatherND", domain=DOMAIN, since=0)(gather_nd)


@infers("QLinearConcat", domain=DOMAIN, since=0)
def quantized_concat(node: Site) -> TypeInfo:
    """Along the axis the sum of the dims, after scale and zero point of the result; each input is followed by its own."""
    shapes = [node.shape(i) for i in range(2, len(node.inputs), 3)]
    known = [s for s in shapes if s is not None]
    if not known:
        return TypeInfo(node.dtype(1), None)
    axis = node.axis(len(known[0]))
    out = list(known[0])
    for s in known[1:]:
        out = [p if i == axis else node.equate(p, q) for i, (p, q) in enumerate(zip(out, s, strict=True))]
    out[axis] = reduce(add, [None if s is None else s[axis] for s in shapes])
    return TypeInfo(node.dtype(1), node.or_fresh(out))


@infers("ExpandDims", domain=DOMAIN, since=0)
def expand_dims(node: Site) -> TypeInfo:
    """With a dim of 1 put in; the axis counts in the result."""
    x, axis = node.shape(0), node.element(1)
    if x is None:
        return TypeInfo(node.dtype(0), None)
    if not isinstance(axis, int):
        return TypeInfo(node.dtype(0), node.unknown_dims(len(x) + 1))
    a = one_axis(axis, len(x) + 1)
    return TypeInfo(node.dtype(0), (*x[:a], 1, *x[a:]))


@infers("Pad", domain=DOMAIN, since=0)
def pad(node: Site) -> TypeInfo:
    """Each dim with what is added before and after it."""
    x, pads = node.shape(0), node.known(1)
    if x is None:
        return TypeInfo(node.dtype(0), None)
    if pads is None or pads.size != 2 * len(x):
        return TypeInfo(node.dtype(0), node.unknown_dims(len(x)))
    before, after = pads.reshape(2, len(x))
    sums = [add(add(d, p), q) for d, p, q in zip(x, before, after, strict=True)]
    return TypeInfo(node.dtype(0), node.or_fresh(d if d is not None and less(d, 0) is False else None for d in sums))


@infers("Range", domain=DOMAIN, since=0)
def range_(node: Site) -> TypeInfo:
    """As many numbers as there are steps from the start to before the limit; without a step it is 1."""
    start, limit, delta = node.element(0), node.element(1), node.element(2) if node.has(2) else 1
    count: Dim = None
    whole = node.dtype(0) in (TensorProto.INT64, TensorProto.INT32, TensorProto.INT16)
    if whole and isinstance(delta, int) and delta:
        distance = sub(limit, start) if delta > 0 else sub(start, limit)
        count = maximum(ceildiv(distance, abs(delta)), 0)
    return TypeInfo(node.dtype(0), node.or_fresh((count,)))


@infers("Unique", domain=DOMAIN, since=0)
def unique(node: Site) -> list[TypeInfo]:
    """The different elements, for each element which it is, and how often each is there."""
    count = node.fresh()
    return [
        TypeInfo(node.dtype(0), (count,)),
        TypeInfo(TensorProto.INT64, node.shape(0)),
        TypeInfo(TensorProto.INT64, (count,)),
    ]


# -------------------------------------------------------------------------------------------------------------- recurrent
@infers("DynamicQuantizeLSTM", domain=DOMAIN, since=0)
def dynamic_quantize_lstm(node: Site) -> list[TypeInfo]:
    """An LSTM; its weights have the gates last."""
    return states(node, GATES["LSTM"], "sbi diG dhG dB b dbh dbh dP".split())
