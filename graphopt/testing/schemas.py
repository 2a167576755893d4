"""Schemas: those of the installed onnx, and those of operators that ONNX Runtime adds, as far as models are made of them."""

from __future__ import annotations

import ast
from functools import cache
from typing import Any

from onnx import defs, helper

from graphopt.ir import OpSchema, op_schema
from graphopt.ir.schema import read_schema

#: The operators' own declarations (docs/ContribOperators.md of ONNX Runtime), each in one line: inputs -> outputs, type
#: variables, attributes with their defaults ('!': required). '?' follows what may be left out, '*' what may be repeated.
_WRITTEN = {
    "com.microsoft": """
        BiasGelu A:T B:T -> C:T; T=floats;
        BiasSoftmax data:T bias:T -> output:T; T=floats; axis=1 is_inner_broadcast!
        DequantizeLinear x:T1 x_scale:T2 x_zero_point?:T1 -> y:T2; T1=bytes T2=float,float16; axis=1
        DynamicQuantizeMatMul A:float B:T b_scale:float b_zero_point?:T bias?:float -> Y:float; T=bytes;
        ExpandDims X:T axis:int32 -> Y:T; T=floats,int64,int32;
        FastGelu X:T bias?:T -> Y:T; T=floats;
        FusedConv X:T W:T B?:T Z?:T -> Y:T; T=floats; activation='' activation_params=[] auto_pad='NOTSET' dilations=[] \
            group=1 kernel_shape=[] pads=[] strides=[]
        FusedGemm A:T B:T C?:T -> Y:T; T=floats; activation='' activation_alpha=0.0 activation_beta=0.0 alpha=1.0 beta=1.0 \
            transA=0 transB=0
        FusedMatMul A:T B:T -> Y:T; T=floats; alpha=1.0 transA=0 transB=0 transBatchA=0 transBatchB=0
        Gelu X:T -> Y:T; T=floats;
        Inverse X:T -> Y:T; T=floats;
        MatMulIntegerToFloat A:T1 B:T2 a_scale:float b_scale:float a_zero_point?:T1 b_zero_point?:T2 bias?:float -> Y:float; \
            T1=bytes T2=bytes;
        NhwcConv X:T W:T B?:T -> Y:T; T=floats; auto_pad='NOTSET' dilations=[] group=1 kernel_shape=[] pads=[] strides=[]
        NhwcFusedConv X:T W:T B?:T Z?:T -> Y:T; T=float,float16; activation='' activation_params=[] auto_pad='NOTSET' \
            dilations=[] group=1 kernel_shape=[] pads=[] strides=[]
        QLinearAdd A:T A_scale:float A_zero_point?:T B:T B_scale:float B_zero_point?:T C_scale:float C_zero_point?:T -> C:T; \
            T=bytes;
        QLinearGlobalAveragePool X:T x_scale:float x_zero_point:T y_scale:float y_zero_point:T -> Y:T; T=bytes; \
            channels_last=0
        QLinearLeakyRelu X:T X_scale:float X_zero_point?:T Y_scale:float Y_zero_point?:T -> Y:T; T=bytes; alpha=0.01
        QLinearMul A:T A_scale:float A_zero_point?:T B:T B_scale:float B_zero_point?:T C_scale:float C_zero_point?:T -> C:T; \
            T=bytes;
        QLinearSigmoid X:T X_scale:float X_zero_point?:T Y_scale:float Y_zero_point?:T -> Y:T; T=bytes;
        QuantizeLinear x:T1 y_scale:T1 y_zero_point?:T2 -> y:T2; T1=float,float16 T2=bytes; axis=1
        QuickGelu X:T -> Y:T; T=floats; alpha=1.702
        RotaryEmbedding input:T position_ids:int64 cos_cache:T sin_cache:T -> output:T; T=float,float16; interleaved=0 \
            num_heads=0 rotary_embedding_dim=0
        SkipLayerNormalization input:T skip:T gamma:T beta?:T bias?:T -> output:T mean?:float inv_std_var?:float \
            input_skip_bias_sum?:T; T=float,float16; epsilon=1e-12
        SkipSimplifiedLayerNormalization input:T skip:T gamma:T bias?:T -> output:T mean?:float inv_std_var?:float \
            input_skip_bias_sum?:T; T=float,float16; epsilon=1e-12
        TransposeMatMul A:T B:T -> Y:T; T=floats; alpha=1.0 transA=0 transB=0
        Trilu X:T k?:int64 -> Y:T; T=floats,int64; upper=1
    """,
}
_GROUPS = {"floats": ["float", "double", "float16"], "bytes": ["uint8", "int8"]}


def schema_of(op_type: str, version: int, domain: str = "") -> OpSchema | None:
    """The schema in force at `version` of a domain; None where there is none."""
    return op_schema(op_type, version, domain) or _written().get((domain, op_type))


def written_schemas() -> list[OpSchema]:
    """The schemas that are written down here."""
    return list(_written().values())


@cache
def _written() -> dict[tuple[str, str], OpSchema]:
    read = [
        read_schema(_parsed(line, domain)) for domain, text in _WRITTEN.items() for line in text.strip().splitlines()
    ]
    return {(s.domain, s.op_type): s for s in read}


def _parsed(line: str, domain: str) -> defs.OpSchema:
    formal, types, attributes = line.strip().split(";")
    name, _, formal = formal.partition(" ")
    inputs, _, outputs = formal.partition(" -> ")
    return defs.OpSchema(
        name,
        domain,
        1,
        inputs=[_param(p) for p in inputs.split()],
        outputs=[_param(p) for p in outputs.split()],
        type_constraints=[_constraint(t) for t in types.split()],
        attributes=[_attribute(a) for a in attributes.split()],
    )


def _param(text: str) -> defs.OpSchema.FormalParameter:
    name, _, kind = text.partition(":")
    options = defs.OpSchema.FormalParameterOption
    option = {"?": options.Optional, "*": options.Variadic}.get(name[-1], options.Single)
    return defs.OpSchema.FormalParameter(
        name.rstrip("?*"), kind if kind[0].isupper() else f"tensor({kind})", param_option=option
    )


def _constraint(text: str) -> tuple[str, list[str], str]:
    name, _, kinds = text.partition("=")
    found = [k for kind in kinds.split(",") for k in _GROUPS.get(kind, [kind])]
    return name, [f"tensor({k})" for k in found], ""


def _attribute(text: str) -> defs.OpSchema.Attribute:
    kinds = defs.OpSchema.AttrType
    if text.endswith("!"):
        return defs.OpSchema.Attribute(text[:-1], kinds.INT, "", required=True)
    name, _, written = text.partition("=")
    if written == "[]":  # integers without a default, but for one
        return defs.OpSchema.Attribute(
            name, kinds.FLOATS if name == "activation_params" else kinds.INTS, "", required=False
        )
    value: Any = ast.literal_eval(written)
    return defs.OpSchema.Attribute(name, helper.make_attribute(name, value))
