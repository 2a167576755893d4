"""Sequences and optionals: what they hold, and what comes out of them.

The dims in the type of a sequence hold for each element; those in which elements may differ are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

from onnx import TensorProto

from graphopt.ir import Dim, Reference, Value
from graphopt.shapes.dims import add, ceildiv, divides, is_anonymous, less, less_equal, mul, same_dims
from graphopt.shapes.registry import infers
from graphopt.shapes.site import LARGEST_KNOWN, Site, known_elements, one_axis
from graphopt.shapes.types import (
    UNKNOWN,
    TypeInfo,
    Unknown,
    element_of,
    optional_of,
    sequence_of,
    together,
    type_info,
    without,
)

#: How far the nodes are followed that built a sequence.
_DEEPEST = 64


# ----------------------------------------------------------------------------------------------------- types put together
def same_dtype(*infos: TypeInfo) -> int:
    """The one dtype of tensors that must agree."""
    found = {i.dtype for i in infos} - {0}
    if len(found) > 1:
        names = sorted(TensorProto.DataType.Name(d) for d in found)
        raise ValueError(f"the dtypes {', '.join(names)} should be one")
    return found.pop() if found else 0


def alike(*infos: TypeInfo) -> TypeInfo:
    """A type for each of these: without the dims that differ."""
    return together(_alike, *infos)


def _alike(*infos: TypeInfo) -> TypeInfo:
    dtype = same_dtype(*infos)
    shapes = [i.shape for i in infos]
    first = shapes[0]
    if first is None or any(s is None or len(s) != len(first) for s in shapes):
        return TypeInfo(dtype, None)
    columns = zip(*[s for s in shapes if s is not None], strict=True)
    return TypeInfo(dtype, tuple([c[0] if all(same_dims(c[0], d) for d in c) else None for c in columns]))


def _one_of(node: Site, info: TypeInfo) -> TypeInfo:
    """The type of an element that is taken out."""
    return info if info.shape is None else info._replace(shape=node.or_fresh(info.shape))


# ---------------------------------------------------------------------------------------------------- how they were built
def items_of(v: Value | None, depth: int = 0) -> list[TypeInfo] | None:
    """The types of the elements of a sequence, one by one; None where not even their count is known."""
    node = v.node if v is not None else None
    if node is None or node.domain or depth > _DEEPEST:
        return None
    inputs = node.inputs
    if node.op_type == "SequenceEmpty":
        return []
    if node.op_type == "SequenceConstruct":
        return [TypeInfo(0, None) if i is None else TypeInfo(i.dtype, i.shape, i.type) for i in inputs]
    if node.op_type == "Identity":
        return items_of(inputs[0], depth + 1)
    if node.op_type == "SplitToSequence":
        return _parts(v)
    if node.op_type not in ("SequenceInsert", "SequenceErase"):
        return None
    items = items_of(inputs[0], depth + 1)
    erases = node.op_type == "SequenceErase"
    at = _position(inputs[1 if erases else 2 :], None if items is None else len(items) - erases)
    if items is None or at is None or not -len(items) <= at <= len(items) - erases:
        return None
    if erases:
        del items[at]
    else:
        put = inputs[1]
        items.insert(at, UNKNOWN if put is None else TypeInfo(put.dtype, put.shape, put.type))
    return items


def _position(given: Sequence[Value | None], last: int | None) -> int | None:
    """Where something is put or erased: the last place where nothing is said."""
    if not given or given[0] is None:
        return last
    array = known_elements(given[0])
    at = array.reshape(-1)[0] if array is not None and array.size == 1 else None
    return at if isinstance(at, int) else None


def length_of(v: Value | None, depth: int = 0) -> Dim:
    """How many elements a sequence has, None where that is not known."""
    items = items_of(v)
    if items is not None:
        return len(items)
    node = v.node if v is not None else None
    if node is None or node.domain or depth > _DEEPEST:
        return None
    if node.op_type in ("Identity", "SequenceMap"):
        return length_of(node.inputs[0], depth + 1)
    if node.op_type in ("SequenceInsert", "SequenceErase"):
        return add(length_of(node.inputs[0], depth + 1), 1 if node.op_type == "SequenceInsert" else -1)
    if node.op_type == "SplitToSequence" and (x := node.inputs[0]) is not None and x.shape is not None:
        axis, split = node.attributes.get("axis", 0), _given(node.inputs)
        if isinstance(axis, Reference) or not -len(x.shape) <= axis < len(x.shape):
            return None
        if split is None:
            return x.shape[axis]
        array = known_elements(split)
        return ceildiv(x.shape[axis], array[()]) if array is not None and array.ndim == 0 else None
    return None


def _given(inputs: Sequence[Value | None]) -> Value | None:
    return inputs[1] if len(inputs) > 1 else None


def _parts(v: Value | None) -> list[TypeInfo] | None:
    """The types of what SplitToSequence makes."""
    node = v.node if v is not None else None
    x = node.inputs[0] if node is not None else None
    if node is None or x is None or x.shape is None:
        return None
    axis, keep = node.attributes.get("axis", 0), node.attributes.get("keepdims", 1)
    if isinstance(axis, Reference) or isinstance(keep, Reference) or not -len(x.shape) <= axis < len(x.shape):
        return None
    axis %= len(x.shape)
    split = _given(node.inputs)
    sizes = _sizes(x.shape[axis], split)
    if sizes is None:
        return None
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    if split is None and not keep:
        return [TypeInfo(x.dtype, before + after)] * len(sizes)
    return [TypeInfo(x.dtype, (*before, s, *after)) for s in sizes]


def _sizes(size: Dim, split: Value | None) -> list[Dim] | None:
    """The sizes of the parts of a dim, None where their number is not known."""
    if split is None:
        return [1] * size if isinstance(size, int) and size <= LARGEST_KNOWN else None
    array = known_elements(split)
    if array is None:
        count = split.shape[0] if split.shape is not None and len(split.shape) == 1 else None
        sizes: list[Dim] | None = [None] * count if isinstance(count, int) and count <= LARGEST_KNOWN else None
    elif array.ndim:
        sizes = list(array)
    elif isinstance(size, int) and isinstance(part := array[()], int) and part > 0 and size <= part * LARGEST_KNOWN:
        sizes = [part] * (size // part) + [size % part] * (size % part > 0)
    else:
        sizes = None
    return [size] if sizes is not None and len(sizes) == 1 else sizes


# -------------------------------------------------------------------------------------------------------------- sequences
@infers("SequenceEmpty")
def sequence_empty(node: Site) -> TypeInfo:
    """A sequence of tensors of the dtype that the attribute names."""
    return sequence_of(TypeInfo(int(node.attribute("dtype", TensorProto.FLOAT)), None))


@infers("SequenceConstruct")
def sequence_construct(node: Site) -> TypeInfo:
    """A sequence of the inputs."""
    return sequence_of(alike(*[node.info(i) for i in range(len(node.inputs))]))


@infers("SequenceInsert")
def sequence_insert(node: Site) -> TypeInfo:
    """A sequence with one more element."""
    new = node.info(1)
    if length_of(node.value(0)) == 0:
        return sequence_of(TypeInfo(same_dtype(element_of(node.info(0)), new), new.shape, new.type))
    return sequence_of(alike(element_of(node.info(0)), new))


@infers("SequenceErase")
def sequence_erase(node: Site) -> TypeInfo:
    """A sequence with one element less."""
    return node.like(0)


@infers("SequenceAt")
def sequence_at(node: Site) -> TypeInfo:
    """One of the elements."""
    at, items = node.element(1), items_of(node.value(0))
    if items is not None and isinstance(at, int):
        if not -len(items) <= at < len(items):
            raise ValueError(f"SequenceAt: {len(items)} elements have none at {at}")
        return _one_of(node, items[at])
    return _one_of(node, element_of(node.info(0)))


@infers("SequenceLength")
def sequence_length(node: Site) -> TypeInfo:
    """One whole number."""
    return TypeInfo(TensorProto.INT64, ())


@infers("SplitToSequence")
def split_to_sequence(node: Site) -> TypeInfo:
    """The parts of a tensor along an axis."""
    x, dtype = node.shape(0), node.dtype(0)
    if x is None:
        return sequence_of(TypeInfo(dtype, None))
    axis = node.axis(len(x))
    before, after = x[:axis], x[axis + 1 :]
    if not node.has(1) and not node.attribute("keepdims", 1):
        return sequence_of(TypeInfo(dtype, before + after))
    sizes = node.numbers(1) if node.has(1) and node.rank(1) == 1 else None
    if sizes and None not in sizes and (isinstance(x[axis], int) or is_anonymous(x[axis])):
        node.equate(x[axis], reduce(add, sizes))
    return sequence_of(TypeInfo(dtype, (*before, _part(node, x[axis]), *after)))


def _part(node: Site, size: Dim) -> Dim:
    """The size that all parts have, None where they differ or it is not known."""
    if not node.has(1):
        return 1
    sizes = _sizes(size, node.value(1))
    if sizes is not None:
        return sizes[0] if sizes and all(same_dims(sizes[0], s) for s in sizes) else None
    part = node.element(1) if node.rank(1) == 0 else None
    if part is None or less(0, part) is not True:
        return None
    if divides(part, size):
        return part
    return size if less_equal(size, part) else None


@infers("ConcatFromSequence")
def concat_from_sequence(node: Site) -> TypeInfo:
    """The elements along an axis, which is one of theirs or a new one; in the other dims they are equal."""
    element, items = element_of(node.info(0)), items_of(node.value(0))
    shapes = [element.shape] if not items else [i.shape for i in items]
    known = [s for s in shapes if s is not None]
    if not known:
        return TypeInfo(element.dtype, None)
    if any(len(s) != len(known[0]) for s in known):
        raise ValueError(f"ConcatFromSequence: the elements have {sorted({len(s) for s in known})} dims")
    new = bool(node.attribute("new_axis", 0))
    axis = one_axis(int(node.attribute("axis")), len(known[0]) + new)
    out: list[Dim] = list(known[0])
    for s in known[1:]:
        out = [p if i == axis and not new else node.equate(p, q) for i, (p, q) in enumerate(zip(out, s, strict=True))]
    if new:
        out.insert(axis, length_of(node.value(0)))
    elif items:
        out[axis] = reduce(add, [None if s is None else s[axis] for s in shapes])
    else:
        out[axis] = mul(length_of(node.value(0)), out[axis])
    return TypeInfo(element.dtype, node.or_fresh(out))


@infers("SequenceMap")
def sequence_map(node: Site) -> list[TypeInfo]:
    """A sequence of what the body makes of each element."""
    body = node.attribute("body")
    made = node.facts.made
    inputs = []
    for i in range(len(node.inputs)):
        info = node.info(i)
        is_sequence = info.type is not None and info.type.HasField("sequence_type")
        inputs.append(_one_of(node, element_of(info)) if is_sequence else info)
    found = node.body(body, inputs)
    return [sequence_of(without(i, lambda d: node.facts.escapes(d, made))) for i in found]


# -------------------------------------------------------------------------------------------------------------- optionals
@infers("Optional")
def optional(node: Site) -> TypeInfo:
    """An optional that holds the input, or one that is empty, of the type that the attribute names."""
    if node.has(0):
        return optional_of(node.info(0))
    claimed: Any = node.attribute("type")
    if claimed is None:
        raise Unknown("neither an element nor its type is given")
    return optional_of(type_info(claimed))


@infers("OptionalHasElement")
def optional_has_element(node: Site) -> TypeInfo:
    """One truth value."""
    return TypeInfo(TensorProto.BOOL, ())


@infers("OptionalGetElement")
def optional_get_element(node: Site) -> TypeInfo:
    """What the optional holds; from opset 18 on also an input that is none."""
    info = node.info(0)
    if node.version >= 18 and (info.dtype or (info.type is not None and not info.type.HasField("optional_type"))):
        return info
    return _one_of(node, element_of(info))
