"""Operator schemas, read once from the installed onnx and kept in a form that costs nothing to consult.

Nothing here lists versions: which attributes, inputs and types an operator has at an opset is what
`onnx.defs` says (https://onnx.ai/onnx/operators/).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import onnx
from onnx import AttributeProto, TensorProto, defs

#: Elementwise operators whose operands may be exchanged.
COMMUTATIVE_OPS = frozenset(
    {"Add", "Mul", "Max", "Min", "Sum", "Mean", "And", "Or", "Xor", "Equal", "BitwiseAnd", "BitwiseOr", "BitwiseXor"}
)

#: Attributes that cannot change an output at inference: (operator, attribute).
IRRELEVANT_ATTRIBUTES = frozenset(
    {
        ("BatchNormalization", "momentum"),
        ("BatchNormalization", "consumed_inputs"),
        ("BatchNormalization", "is_test"),
        ("BatchNormalization", "spatial"),
        ("Dropout", "seed"),
        ("Split", "num_outputs"),  # a node has its outputs
        ("Add", "consumed_inputs"),
        ("Mul", "consumed_inputs"),
        ("Relu", "consumed_inputs"),
    }
)


@dataclass(frozen=True, slots=True)
class Param:
    """A formal input or output. `types` is the set of dtypes (TensorProto.DataType) of tensors it takes."""

    name: str
    type_var: str
    types: frozenset[int]
    optional: bool
    variadic: bool
    heterogeneous: bool


@dataclass(frozen=True, slots=True)
class Attribute:
    """A formal attribute; `default` is its Python value, None where the schema has none."""

    name: str
    type: int
    required: bool
    default: Any


@dataclass(frozen=True, slots=True)
class OpSchema:
    """What the operator set says about one operator at one version."""

    op_type: str
    domain: str
    since_version: int
    inputs: tuple[Param, ...]
    outputs: tuple[Param, ...]
    attributes: dict[str, Attribute]
    min_inputs: int
    max_inputs: int
    min_outputs: int
    max_outputs: int
    deprecated: bool
    has_subgraphs: bool
    random: bool
    proto: defs.OpSchema

    def input_index(self, name: str) -> int | None:
        """Position of the formal input with this name, None where there is none."""
        for i, p in enumerate(self.inputs):
            if p.name == name:
                return i
        return None

    def input_param(self, i: int) -> Param | None:
        """The formal parameter that the i-th actual input belongs to (a variadic one repeats)."""
        if i < len(self.inputs):
            return self.inputs[i]
        return self.inputs[-1] if self.inputs and self.inputs[-1].variadic else None


#: Inputs that took over an attribute under another name: (operator, attribute) to input.
_RENAMED_INPUTS = {("Pad", "value"): "constant_value", ("TopK", "k"): "K"}


def input_of(schema: OpSchema, name: str) -> int | None:
    """The input that holds the parameter of this name, None where there is none."""
    i = schema.input_index(name)
    return i if i is not None else schema.input_index(_RENAMED_INPUTS.get((schema.op_type, name), ""))


def as_input(op_type: str, value: Any) -> Any:
    """A parameter as the input that took its place holds it: K of TopK is a tensor of one element."""
    return [value] if op_type == "TopK" and isinstance(value, int) else value


@cache
def op_schema(op_type: str, version: int, domain: str = "") -> OpSchema | None:
    """The schema in force at `version` of `domain`, or None where the installed onnx knows no such operator."""
    try:
        return read_schema(defs.get_schema(op_type, version, domain))
    except defs.SchemaError:
        return None


def read_schema(s: defs.OpSchema) -> OpSchema:
    """A schema of onnx in the form that is used here; it need not be one that the installed onnx knows."""
    constraints = {
        c.type_param_str: frozenset(filter(None, map(_tensor_type, c.allowed_type_strs))) for c in s.type_constraints
    }

    def params(formal: Any) -> tuple[Param, ...]:
        option = defs.OpSchema.FormalParameterOption
        return tuple(
            Param(
                p.name,
                p.type_str,
                constraints.get(p.type_str) or frozenset(filter(None, map(_tensor_type, p.types))),
                p.option == option.Optional,
                p.option == option.Variadic,
                p.option == option.Variadic and not p.is_homogeneous,
            )
            for p in formal
        )

    attributes = {name: _attribute(a) for name, a in s.attributes.items()}
    graphs = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    described: Any = s  # node_determinism is missing in onnx's type stubs
    return OpSchema(
        s.name, s.domain, s.since_version, params(s.inputs), params(s.outputs), attributes,
        s.min_input, s.max_input, s.min_output, s.max_output, s.deprecated,
        any(a.type in graphs for a in attributes.values()),
        described.node_determinism == defs.OpSchema.NodeDeterminism.NonDeterministic, s,
    )  # fmt: skip


#: ONNX says of what repeats that there may be INT_MAX.
_MANY = 1 << 16


@cache
def newest_schema(op_type: str, domain: str = "") -> OpSchema | None:
    """The newest schema of an operator that the installed onnx knows."""
    try:
        return op_schema(op_type, defs.get_schema(op_type, domain).since_version, domain)
    except defs.SchemaError:
        return None


@cache
def any_number(op_type: str, domain: str = "") -> tuple[bool, bool]:
    """Whether the last input, and the last output, of an operator repeats; without reading the rest of its schema."""
    try:
        s = defs.get_schema(op_type, domain)
    except defs.SchemaError:
        return False, False
    return s.max_input > _MANY, s.max_output > _MANY


def _attribute(a: Any) -> Attribute:
    default = None
    if a.default_value.name or a.default_value.type:
        default = onnx.helper.get_attribute_value(a.default_value)
        if isinstance(default, bytes):
            default = default.decode()
        elif a.type in (AttributeProto.INTS, AttributeProto.FLOATS, AttributeProto.STRINGS):
            default = [v.decode() if isinstance(v, bytes) else v for v in default]
    return Attribute(a.name, int(a.type.value if hasattr(a.type, "value") else a.type), a.required, default)


TENSOR_TYPES = {f"tensor({name.lower()})": number for name, number in TensorProto.DataType.items()}


def _tensor_type(text: str) -> int | None:
    return TENSOR_TYPES.get(text)
