"""Types of values: dense tensors as dtype and dims, sequences, optionals and maps as messages around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from onnx import TypeProto

from graphopt.ir import Dim, Shape, Value
from graphopt.ir.load import read_shape
from graphopt.shapes import text


class TypeInfo(NamedTuple):
    """What is known of an output: dtype (0 unknown), shape (None unknown), and the message where it is no dense tensor."""

    dtype: int
    shape: Shape | None
    type: TypeProto | None = None


UNKNOWN = TypeInfo(0, None)


class Unknown(Exception):
    """Nothing can be told about the outputs of a node; the message says why."""


def type_proto(info: TypeInfo | Value) -> TypeProto:
    """A type as a message. Dims that are expressions become text that `text.parse` reads again."""
    if info.type is not None:
        return info.type
    t = TypeProto()
    t.tensor_type.elem_type = info.dtype
    if info.shape is not None:
        t.tensor_type.shape.SetInParent()
        dims = t.tensor_type.shape.dim
        for d in info.shape:
            if d is None:
                dims.add()
            elif isinstance(d, int):
                dims.add().dim_value = d
            else:
                dims.add().dim_param = text.show(d)
    return t


def type_info(t: TypeProto) -> TypeInfo:
    """What a message of `type_proto` says."""
    if not t.HasField("tensor_type"):
        return TypeInfo(0, None, t if t.WhichOneof("value") else None)
    shape = read_shape(t.tensor_type.shape) if t.tensor_type.HasField("shape") else None
    if shape is not None:
        shape = tuple([_parsed(d) if isinstance(d, str) else d for d in shape])
    return TypeInfo(t.tensor_type.elem_type, shape)


def _parsed(name: str) -> Dim:
    if name.isidentifier() or name.startswith("?"):
        return name
    try:
        return text.parse(name)
    except ValueError:
        return name


def sequence_of(info: TypeInfo) -> TypeInfo:
    """The type of a sequence of these."""
    t = TypeProto()
    t.sequence_type.elem_type.CopyFrom(type_proto(info))
    return TypeInfo(0, None, t)


def optional_of(info: TypeInfo) -> TypeInfo:
    """The type of an optional that holds one of these."""
    t = TypeProto()
    t.optional_type.elem_type.CopyFrom(type_proto(info))
    return TypeInfo(0, None, t)


def element_of(info: TypeInfo) -> TypeInfo:
    """The type of what a sequence or an optional holds. Raises Unknown where it is neither."""
    t = info.type
    if t is not None:
        for kind in ("sequence_type", "optional_type"):
            if t.HasField(kind):
                return type_info(getattr(t, kind).elem_type)
    raise Unknown("the type of the elements is unknown")


_BUILT: tuple[tuple[str, Callable[[TypeInfo], TypeInfo]], ...] = (
    ("sequence_type", sequence_of),
    ("optional_type", optional_of),
)


def together(leaf: Callable[..., TypeInfo], *infos: TypeInfo) -> TypeInfo:
    """What `leaf` makes of the tensors in types of one structure, with the sequences and optionals put around it again.

    A type of which nothing is known takes the structure of the others.
    """
    types = [i.type for i in infos if i != UNKNOWN]
    if all(t is None for t in types):
        return leaf(*infos)
    for kind, build in _BUILT:
        if all(t is not None and t.HasField(kind) for t in types):
            return build(together(leaf, *[i if i == UNKNOWN else element_of(i) for i in infos]))
    return infos[0] if all(i == infos[0] for i in infos) else UNKNOWN


def without(info: TypeInfo, gone: Callable[[Dim], bool]) -> TypeInfo:
    """A type without some of its dims."""

    def leaf(t: TypeInfo) -> TypeInfo:
        return t if t.shape is None else TypeInfo(t.dtype, tuple([None if gone(d) else d for d in t.shape]))

    return together(leaf, info)
