"""What kind of operator it is: that chooses its colour in drawings and plots."""

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


def family_of(op: str) -> str:
    """The family of an operator as nodes spell it ('Conv', 'com.microsoft::Gelu'); 'other' where it is in no list."""
    return _FAMILIES.get(op.rpartition("::")[2], "other")
