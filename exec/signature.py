"""What a model takes and gives, as ONNX Runtime spells it, and whether feeds fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import TensorProto, TypeProto

from graphopt.errors import ArgumentError
from graphopt.exec.kernels.dtypes import np_dtype
from graphopt.ir import Model, Value

_NAMES = {number: name.lower() for name, number in TensorProto.DataType.items()}


@dataclass(frozen=True)
class NodeArg:
    """An input or output.

    Attributes:
        name: of the value.
        type: as in 'tensor(float)', 'seq(tensor(int64))', 'map(int64,tensor(float))', 'optional(tensor(float))'.
        shape: ints, names of dims, None where nothing is declared; [] also where the rank is not declared.
    """

    name: str
    type: str
    shape: list[int | str | None]
    dtype: int = field(default=0, repr=False)
    ranked: bool = field(default=True, repr=False)

    @classmethod
    def of(cls, name: str, t: TypeProto) -> NodeArg:
        """Read a type message."""
        kind = t.WhichOneof("value")
        if kind != "tensor_type":
            return cls(name, type_text(t), [], 0, False)
        dims = [d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in t.tensor_type.shape.dim]
        return cls(name, type_text(t), dims, t.tensor_type.elem_type, t.tensor_type.HasField("shape"))


def type_text(t: TypeProto) -> str:
    """A type as ONNX Runtime spells it."""
    kind = t.WhichOneof("value")
    if kind in ("tensor_type", "sparse_tensor_type"):
        return f"{kind.removesuffix('_type')}({_NAMES.get(getattr(t, kind).elem_type, 'undefined')})"
    if kind == "sequence_type":
        return f"seq({type_text(t.sequence_type.elem_type)})"
    if kind == "optional_type":
        return f"optional({type_text(t.optional_type.elem_type)})"
    if kind == "map_type":
        return f"map({_NAMES[t.map_type.key_type]},{type_text(t.map_type.value_type)})"
    return "undefined"


@dataclass(frozen=True)
class ModelMetadata:
    """What a model says of itself."""

    producer_name: str
    graph_name: str
    domain: str
    description: str
    graph_description: str
    version: int
    custom_metadata_map: dict[str, str]

    @classmethod
    def of(cls, model: Model) -> ModelMetadata:
        """Read a model's own message."""
        m = model.source
        custom = {p.key: p.value for p in m.metadata_props}
        return cls(m.producer_name, m.graph.name, m.domain, m.doc_string, m.graph.doc_string, m.model_version, custom)


@dataclass(frozen=True)
class Signature:
    """Inputs that must be fed, those that may be (they have an initializer), outputs."""

    inputs: tuple[NodeArg, ...]
    overridable: tuple[NodeArg, ...]
    outputs: tuple[NodeArg, ...]

    @classmethod
    def of(cls, model: Model) -> Signature:
        """Read a model's main graph."""
        graph = model.graph

        def arg(v: Value) -> NodeArg:
            return NodeArg.of(v.name, graph.input_infos[v].type)

        required = tuple(arg(v) for v in graph.inputs if v not in graph.initializers)
        overridable = tuple(arg(v) for v in graph.inputs if v in graph.initializers)
        return cls(required, overridable, tuple(NodeArg.of(i.name, i.type) for i in graph.output_infos))

    def names_of(self, outputs: Any) -> list[str]:
        """The outputs asked for; all, where none are named.

        Raises:
            ArgumentError: the model has no output of a name.
        """
        known = [o.name for o in self.outputs]
        wanted = list(outputs) if outputs else known
        if unknown := [n for n in wanted if n not in known]:
            raise ArgumentError(f"the model has no output '{unknown[0]}'; its outputs: {', '.join(known)}")
        return wanted

    def check(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Feeds as arrays, if they fit.

        Raises:
            ArgumentError: an unknown or missing name, another dtype, rank or dim than declared.
        """
        known = {a.name: a for a in (*self.inputs, *self.overridable)}
        if unknown := [n for n in feeds if n not in known]:
            raise ArgumentError(f"the model has no input '{unknown[0]}'; its inputs: {', '.join(known) or 'none'}")
        if missing := [a.name for a in self.inputs if a.name not in feeds and not a.type.startswith("optional")]:
            raise ArgumentError(
                f"no value is given for input {', '.join(f'{n!r}' for n in missing)}; the model needs all of: "
                f"{', '.join(a.name for a in self.inputs)}"
            )
        return {name: _fitting(known[name], value) for name, value in feeds.items()}


def _fitting(arg: NodeArg, value: Any) -> Any:
    if not arg.type.startswith("tensor("):
        if arg.type.startswith("seq(") and not isinstance(value, (list, tuple)):
            raise ArgumentError(f"input '{arg.name}' is a {arg.type}: feed a list, not a {type(value).__name__}")
        return list(value) if isinstance(value, tuple) else value
    if value is None or isinstance(value, dict):
        raise ArgumentError(f"input '{arg.name}' is a {arg.type}: feed an array, not a {type(value).__name__}")
    if not hasattr(value, "dtype"):
        value = np.asarray(value)
    wanted = np_dtype(arg.dtype)
    if value.dtype != wanted:
        if wanted.kind == "O" and value.dtype.kind in "UST":
            value = value.astype(object)
        else:
            raise ArgumentError(
                f"input '{arg.name}' must be {wanted} ({arg.type}), not {value.dtype}; convert it: x.astype('{wanted}')"
            )
    shape = value.shape
    if arg.ranked and (
        len(shape) != len(arg.shape) or any(d != n for d, n in zip(arg.shape, shape) if isinstance(d, int))
    ):
        raise ArgumentError(_misfit(arg, list(shape)))
    return value


def _misfit(arg: NodeArg, shape: list[int]) -> str:
    declared = ", ".join("?" if d is None else str(d) for d in arg.shape)
    if len(shape) != len(arg.shape):
        return (
            f"input '{arg.name}' must have rank {len(arg.shape)}, shape [{declared}], not {len(shape)}, shape {shape}"
        )
    axis = next(i for i, d in enumerate(arg.shape) if isinstance(d, int) and d != shape[i])
    return f"input '{arg.name}' must have shape [{declared}], not {shape}: see axis {axis}"
