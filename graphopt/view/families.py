"""What kind of operator it is, and the colour for that: the same in drawings and plots, readable on light and dark."""

from __future__ import annotations

_OPERATORS = {
    "product": """Conv ConvInteger ConvTranspose DeformConv Einsum Gemm MatMul MatMulInteger QLinearConv QLinearMatMul
        FusedConv FusedMatMul FusedGemm MatMulNBits NhwcFusedConv NhwcMaxPool""",
    "attention": "Attention MultiHeadAttention GroupQueryAttention FlexAttention LinearAttention RotaryEmbedding",
    "recurrent": "GRU LSTM RNN DynamicQuantizeLSTM",
    "normalization": """BatchNormalization GroupNormalization InstanceNormalization LayerNormalization LpNormalization LRN
        MeanVarianceNormalization RMSNormalization SimplifiedLayerNormalization SkipLayerNormalization""",
    "activation": """BiasGelu Celu Clip Elu FastGelu Gelu HardSigmoid HardSwish LeakyRelu LogSoftmax Mish PRelu QuickGelu Relu
        Selu Shrink Sigmoid Softmax Softplus Softsign Swish SwiGLU Tanh ThresholdedRelu""",
    "arithmetic": """Abs Add And Ceil Cos Div Equal Erf Exp Floor Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Log Max
        Mean Min Mod Mul Neg Not Or Pow Reciprocal Round Sign Sin Sqrt Sub Sum Where Xor""",
    "reduction": """ArgMax ArgMin AveragePool CumSum GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool ReduceL1
        ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare TopK""",
    "movement": """CenterCropPad Compress Concat DepthToSpace Expand Flatten Gather GatherElements GatherND Identity Pad Reshape
        Resize ScatterElements ScatterND Slice SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze Upsample""",
    "shape": "Cast CastLike Constant ConstantOfShape EyeLike OneHot Range Shape Size",
    "quantization": "DequantizeLinear DynamicQuantizeLinear QuantizeLinear",
    "control": "If Loop Scan SequenceMap",
}
_FAMILIES = {operator: family for family, names in _OPERATORS.items() for operator in names.split()}

#: Fills on which dark text reads well, and which stand out from white and from black.
COLOURS = {
    "product": "#a8c8f0",
    "attention": "#b9b5f2",
    "recurrent": "#b9b5f2",
    "normalization": "#d6b4ec",
    "activation": "#a9dcb0",
    "arithmetic": "#cfe6b0",
    "reduction": "#f2c79a",
    "movement": "#f3e3a1",
    "shape": "#d3d7de",
    "quantization": "#f0bfc8",
    "control": "#f2a7a0",
    "other": "#d9c9b8",
}


def family_of(op: str) -> str:
    """The family of an operator as nodes spell it ('Conv', 'com.microsoft::Gelu'); 'other' where it is in no list."""
    return _FAMILIES.get(op.rpartition("::")[2], "other")


def colour_of(family: str) -> str:
    """The fill for a family."""
    return COLOURS.get(family, COLOURS["other"])
