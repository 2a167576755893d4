"""Sequences, which are lists and never changed, and optionals, which are None where they are empty."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import axis_of, ints
from graphopt.exec.kernels.movement import cut
from graphopt.exec.kernels.registry import Array, Body, Host, kernel


# -------------------------------------------------------------------------------------------------------------- sequences
@kernel("SequenceConstruct", since=11)
def sequence_construct(xp: Backend, *elements: Array) -> list[Array]:
    return list(elements)


@kernel("SequenceEmpty", since=11)
def sequence_empty(xp: Backend, *, dtype: int = 1) -> list[Array]:
    return []


@kernel("SequenceLength", since=11)
def sequence_length(xp: Backend, sequence: list[Array]) -> np.ndarray:
    """On the host always, as shapes."""
    return np.array(len(sequence), np.int64)


@kernel("SequenceAt", since=11)
def sequence_at(xp: Backend, sequence: list[Array], position: Host) -> Array:
    return sequence[_place(position, len(sequence))]


@kernel("SequenceInsert", since=11)
def sequence_insert(xp: Backend, sequence: list[Array], element: Array, position: Host = None) -> list[Array]:
    """With one more element before the position, or at the end."""
    at = len(sequence) if position is None else _place(position, len(sequence), len(sequence) + 1)
    return [*sequence[:at], element, *sequence[at:]]


@kernel("SequenceErase", since=11)
def sequence_erase(xp: Backend, sequence: list[Array], position: Host = None) -> list[Array]:
    """Without the element at the position, or the last one."""
    at = _place(-1 if position is None else position, len(sequence))
    return [*sequence[:at], *sequence[at + 1 :]]


def _place(position: Any, length: int, places: int | None = None) -> int:
    """A position counted from the front; there are as many as elements, or `places`."""
    at = ints(position)[0]
    if not -length <= at < (length if places is None else places):
        raise ValueError(f"position {at} does not exist in a sequence of {length} elements")
    return at + length if at < 0 else at


@kernel("SequenceMap", since=17)
def sequence_map(xp: Backend, sequence: list[Any], *others: Any, body: Body, outputs: int) -> tuple[list[Any], ...]:
    """Sequences of what the body makes of each element; of other sequences it gets the element, tensors as they are."""
    if any(isinstance(o, list) and len(o) != len(sequence) for o in others):
        raise ValueError(f"the sequences have {[len(o) for o in (sequence, *others) if isinstance(o, list)]} elements")
    if not sequence:
        return ([],) * outputs
    turns = [body(e, *[o[i] if isinstance(o, list) else o for o in others]) for i, e in enumerate(sequence)]
    return tuple(map(list, zip(*turns)))


# --------------------------------------------------------------------------------------------------- tensors and sequences
@kernel("SplitToSequence", since=11)
def split_to_sequence(xp: Backend, x: Array, split: Host = None, *, axis: int = 0, keepdims: int = 1) -> list[Array]:
    """Parts along an axis: of the sizes given, all of one size but for the last, or single elements."""
    axis = axis_of(axis, x.ndim)
    total = x.shape[axis]
    if split is None:
        before = (slice(None),) * axis
        return [x[(*before, slice(i, i + 1) if keepdims else i, ...)] for i in range(total)]
    sizes = ints(split)
    if np.ndim(split) == 0:
        size = sizes[0]
        if size <= 0:
            raise ValueError(f"the size {size} of the parts is not positive")
        sizes = [size] * (total // size) + [total % size] * (total % size > 0)
    return cut(x, axis, sizes)


@kernel("ConcatFromSequence", since=11)
def concat_from_sequence(xp: Backend, sequence: list[Array], *, axis: int, new_axis: int = 0) -> Array:
    """The elements along an axis, which is one of theirs or a new one."""
    if not sequence:
        raise ValueError("the sequence is empty")
    return xp.stack(sequence, axis) if new_axis else xp.concatenate(sequence, axis)


# -------------------------------------------------------------------------------------------------------------- optionals
@kernel("Optional", since=15)
def optional(xp: Backend, element: Any = None, *, type: Any = None) -> Any:
    return element


@kernel("OptionalHasElement", since=15)
def optional_has_element(xp: Backend, element: Any = None) -> np.ndarray:
    """On the host always."""
    return np.array(element is not None)


@kernel("OptionalGetElement", since=15)
def optional_get_element(xp: Backend, element: Any) -> Any:
    if element is None:
        raise ValueError("the optional is empty")
    return element
