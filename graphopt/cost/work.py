"""What operators do: a table from operator to a kind of work and its amount."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

from graphopt.ir import Node

Sizes = Sequence[int]


#: Kinds whose amount is floating-point operations.
_FLOPS = frozenset({"product", "convolution", "depthwise", "recurrence"})


class Work(NamedTuple):
    """Work of one kind: floating-point operations, or elements where these say little."""

    kind: str
    amount: float

    @property
    def flops(self) -> float:
        """Floating-point operations; 0 where what is counted are elements."""
        return self.amount if self.kind in _FLOPS else 0.0


class Operands(NamedTuple):
    """A node with the dims of its inputs and outputs as numbers; what is left out, or no tensor, has none."""

    node: Node
    inputs: Sequence[Sizes]
    outputs: Sequence[Sizes]

    def read(self, i: int) -> Sizes:
        """The dims of an input; () where there is no such input."""
        return self.inputs[i] if i < len(self.inputs) else ()

    @property
    def written(self) -> Sizes:
        return self.outputs[0] if self.outputs else ()


def _matmul(o: Operands) -> Work:
    depth = o.read(0)[-1] if o.read(0) else 1
    return Work("product", 2.0 * prod(o.written) * depth)


def _gemm(o: Operands) -> Work:
    a = o.read(0)
    depth = a[0 if o.node.attributes.get("transA") else -1] if len(a) == 2 else 1
    return Work("product", 2.0 * prod(o.written) * depth)


def _convolution(o: Operands) -> Work:
    weights = o.read(1)
    per_output = prod(weights[1:]) if weights else 1
    groups = int(o.node.attributes.get("group", 1))
    kind = "depthwise" if weights and groups > 1 and weights[1] <= 4 else "convolution"
    return Work(kind, 2.0 * prod(o.written) * per_output)


def _transposed_convolution(o: Operands) -> Work:
    return Work("convolution", 2.0 * prod(o.read(0)) * prod(o.read(1)[1:]))


def _recurrent(gates: int) -> Callable[[Operands], Work]:
    def work(o: Operands) -> Work:
        x, w, r = o.read(0), o.read(1), o.read(2)
        if len(x) != 3 or len(w) != 3 or len(r) != 3:
            return Work("recurrence", 2.0 * gates * prod(o.written))
        return Work("recurrence", 2.0 * x[0] * x[1] * (prod(w) + prod(r)))

    return work


def _attention(o: Operands) -> Work:
    """Scores and what is attended to: queries by keys by the size of a head, twice."""
    q, k = o.read(0), o.read(1) or o.read(0)
    if len(q) < 3 or len(k) < 3:
        return Work("product", 4.0 * prod(o.written))
    return Work("product", 4.0 * prod(q) * k[-2])


def _pooling(o: Operands) -> Work:
    kernel = o.node.attributes.get("kernel_shape") or ()
    return Work("element", float(prod(o.written) * prod(int(k) for k in kernel)))


def _of_output(kind: str, times: float = 1.0) -> Callable[[Operands], Work]:
    return lambda o: Work(kind, times * sum(map(prod, o.outputs)))


def _of_input(kind: str, times: float = 1.0) -> Callable[[Operands], Work]:
    return lambda o: Work(kind, times * prod(o.read(0)))


def _view(o: Operands) -> Work:
    return Work("view", 0.0)


def _table(*rows: tuple[str, Callable[[Operands], Work]]) -> dict[str, Callable[[Operands], Work]]:
    return {op: work for names, work in rows for op in names.split()}


#: By operator type, whatever its domain: a runtime's own operators keep the names. What is missing counts as elementwise.
WORK = _table(
    ("MatMul FusedMatMul TransposeMatMul MatMulInteger QLinearMatMul DynamicQuantizeMatMul MatMulNBits", _matmul),
    ("MatMulIntegerToFloat QAttention Einsum", _matmul),
    ("Gemm FusedGemm QGemm", _gemm),
    ("Conv FusedConv ConvInteger QLinearConv NhwcFusedConv NhwcConv", _convolution),
    ("ConvTranspose", _transposed_convolution),
    ("LSTM DynamicQuantizeLSTM", _recurrent(4)),
    ("GRU", _recurrent(3)),
    ("RNN", _recurrent(1)),
    ("Attention MultiHeadAttention GroupQueryAttention PackedAttention", _attention),
    ("MaxPool AveragePool LpPool QLinearAveragePool", _pooling),
    ("GlobalAveragePool GlobalMaxPool GlobalLpPool", _of_input("reduction")),
    ("Reshape Squeeze Unsqueeze Flatten Identity Shape Size Dropout Constant", _view),
    ("Exp Log Erf Tanh Sigmoid Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh Softplus Elu Selu", _of_output("function")),
    ("QuickGelu Mish Swish Silu Celu Pow", _of_output("function")),
    ("Gelu FastGelu BiasGelu LogSoftmax Softmax Hardmax", _of_output("function", 4.0)),
    ("LayerNormalization SkipLayerNormalization RMSNormalization SimplifiedLayerNormalization", _of_input("reduction", 2.0)),
    ("SkipSimplifiedLayerNormalization InstanceNormalization GroupNormalization LpNormalization", _of_input("reduction", 2.0)),
    ("MeanVarianceNormalization LRN EmbedLayerNormalization", _of_input("reduction", 2.0)),
    ("ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare", _of_input("reduction")),
    ("ReduceLogSum ReduceLogSumExp ArgMax ArgMin CumSum CumProd", _of_input("reduction")),
    ("Transpose Slice Gather Expand Tile DepthToSpace SpaceToDepth Resize Upsample Pad ReverseSequence", _of_output("move")),
    ("GatherND GatherElements ScatterND ScatterElements Scatter Where Compress OneHot GridSample", _of_output("move")),
    ("TopK NonZero Unique NonMaxSuppression", _of_input("move", 4.0)),
    ("RotaryEmbedding", _of_output("element")),
)  # fmt: skip


def work_of(o: Operands) -> Work:
    """What a node does; an operator that the table lacks computes every element of its outputs once."""
    work = WORK.get(o.node.op_type)
    return Work("element", float(sum(map(prod, o.outputs)))) if work is None else work(o)
