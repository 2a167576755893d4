"""Slice, Split and Concat: parts of tensors, and parts put together."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.ir import Dim
from graphopt.shapes.dims import (
    add,
    as_size,
    ceildiv,
    exact_div,
    is_anonymous,
    less,
    less_equal,
    maximum,
    minimum,
    mul,
    sub,
)
from graphopt.shapes.registry import infers
from graphopt.shapes.site import Site, all_axes
from graphopt.shapes.types import TypeInfo, Unknown

#: Ends of slices from here on mean "to the end", whatever the dim: no dim is larger.
TO_THE_END = (1 << 31) - 1


@infers("Slice")
def slice_(node: Site) -> TypeInfo:
    """Some dims cut down."""
    x = node.needed(0)
    if node.version < 10:
        starts, ends, axes, steps = node.attribute("starts"), node.attribute("ends"), node.attribute("axes"), None
    else:
        starts, ends = node.numbers(1), node.numbers(2)
        axes, steps = node.numbers(3), node.numbers(4)
        if (node.has(3) and axes is None) or (node.has(4) and steps is None):
            return TypeInfo(node.dtype(0), node.unknown_dims(len(x)))
    count = next((len(n) for n in (starts, ends, axes, steps) if n is not None), None)
    if count is None:
        return TypeInfo(node.dtype(0), node.unknown_dims(len(x)))
    unknown: list[Dim] = [None] * count
    starts, ends = starts or unknown, ends or unknown
    where = list(range(count)) if axes is None else axes
    steps = [1] * count if steps is None else steps
    if not all(isinstance(a, int) for a in where):
        return TypeInfo(node.dtype(0), node.unknown_dims(len(x)))
    if not len(starts) == len(ends) == len(where) == len(steps):
        raise ValueError("Slice: starts, ends, axes and steps differ in length")
    out = list(x)
    for a, start, end, step in zip(all_axes(where, len(x)), starts, ends, steps, strict=True):
        out[a] = slice_length(x[a], start, end, step)
    return TypeInfo(node.dtype(0), node.or_fresh(out))


def slice_length(size: Dim, start: Dim, end: Dim, step: Dim) -> Dim:
    """How many elements a slice takes from a dim; None where that cannot be told."""
    if isinstance(step, int) and step < 0 and runtimes_differ(start, end, size):
        return None
    if isinstance(size, int) and isinstance(start, int) and isinstance(end, int) and isinstance(step, int) and step:
        return len(range(*slice(start, _end(end, step), step).indices(size)))
    if step == 1:
        low, high = _clamped(start, size), _clamped(end, size)
        return None if low is None or high is None else maximum(sub(high, low), 0)
    if isinstance(step, int) and step > 1:
        low, high = _clamped(start, size), _clamped(end, size)
        return None if low is None or high is None else maximum(ceildiv(sub(high, low), step), 0)
    if step == -1 and start == -1 and isinstance(end, int) and end < -TO_THE_END:
        return size
    return None


def runtimes_differ(start: Dim, end: Dim, size: Dim) -> bool:
    """Whether a slice that runs backwards starts before the first element, or ends behind the last one."""
    before = isinstance(start, int) and isinstance(size, int) and start < -size
    return before or (isinstance(end, int) and end >= TO_THE_END)


def _end(end: int, step: int) -> int | None:
    """Python counts a negative end from the back once more, where the specification means 'before the first'."""
    return None if step < 0 and end < -TO_THE_END else end


def _clamped(i: Dim, size: Dim) -> Dim:
    """Where a slice of step 1 or more starts or ends, counted from the front: between 0 and the size."""
    if i is None or size is None:
        return None
    if isinstance(i, int):
        if i >= TO_THE_END:
            return size
        if i <= -TO_THE_END or i == 0:
            return 0
    if less(i, 0):
        return maximum(add(i, size), 0)
    if less(i, 0) is False:
        return i if less_equal(i, size) else minimum(i, size)
    return None


@infers("Split")
def split(node: Site) -> list[TypeInfo]:
    """Parts along an axis: of the sizes that are given, or alike (from opset 18 on the last one may be smaller)."""
    count = len(node.node.outputs)
    x = node.shape(0)
    if x is None:
        return [TypeInfo(node.dtype(0), None)] * count
    axis = node.axis(len(x))
    if node.version < 13:
        sizes: Sequence[Dim] | None = node.attribute("split") or (node.numbers(1) if node.has(1) else None)
        given = sizes is not None or node.has(1)
    else:
        sizes, given = node.numbers(1), node.has(1)
    if not given:
        sizes = _equal_parts(node, x[axis], count)
    if sizes is None:
        sizes = [None] * count
    if len(sizes) != count:
        raise ValueError(f"Split: {len(sizes)} sizes for {count} outputs")
    sizes = [as_size(s) for s in sizes]
    if given and None not in sizes:
        total: Dim = 0
        for s in sizes:
            total = add(total, s)
        node.equate(x[axis], total) if isinstance(x[axis], int) or is_anonymous(x[axis]) else None
    return [TypeInfo(node.dtype(0), node.or_fresh((*x[:axis], s, *x[axis + 1 :]))) for s in sizes]


def _equal_parts(node: Site, size: Dim, count: int) -> list[Dim]:
    if isinstance(size, int):
        if size % count and node.version < 18:
            raise ValueError(f"Split: {size} cannot be split into {count} equal parts")
        part = -(-size // count)
        last = size - part * (count - 1)
        if last < 0:
            raise ValueError(f"Split: {size} cannot be split into {count} parts")
        return [part] * (count - 1) + [last]
    if (part := exact_div(size, count)) is not None and node.version < 18:
        return [part] * count
    part = ceildiv(size, count)
    return [part] * (count - 1) + [sub(size, mul(part, count - 1))]


@infers("Concat")
def concat(node: Site) -> TypeInfo:
    """Along the axis the sum of the dims; the other ones are equal."""
    shapes = [node.shape(i) for i in range(len(node.inputs)) if node.has(i)]
    known = [s for s in shapes if s is not None]
    if not known:
        raise Unknown("the rank of no input is known")
    rank = len(known[0])
    if any(len(s) != rank for s in known):
        raise ValueError(f"Concat: the inputs have {sorted({len(s) for s in known})} dims")
    axis = node.axis(rank, default=1)
    out = list(known[0])
    for s in known[1:]:
        for i, d in enumerate(s):
            if i != axis:
                out[i] = node.equate(out[i], d)
    total: Dim = 0
    for shape in shapes:
        total = add(total, None if shape is None else shape[axis])
    out[axis] = total
    return TypeInfo(node.dtype(0), node.or_fresh(out))
