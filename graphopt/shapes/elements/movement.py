"""Elements that come from types, and elements that move."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphopt.ir import Tensor
from graphopt.shapes import dims
from graphopt.shapes.elements.arrays import (
    Array,
    Inputs,
    array_of,
    inside,
    static_sizes,
    whole_numbers,
)
from graphopt.shapes.operators.parts import runtimes_differ
from graphopt.shapes.registry import computes
from graphopt.shapes.site import FLOATS, LARGEST_KNOWN, Site, all_axes, plain_number
from graphopt.shapes.types import TypeInfo


# ------------------------------------------------------------------------------------------------------------ from types
@computes("Shape")
def shape(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """The dims of a tensor."""
    x = node.shape(0)
    if x is None:
        return None
    start, end = int(node.attribute("start", 0)), node.attribute("end")
    return array_of(x[start : None if end is None else int(end)])


@computes("Size")
def size(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """The product of the dims of a tensor."""
    x = node.shape(0)
    return None if x is None else array_of([dims.product(x)], ())


@computes("ConstantOfShape")
def constant_of_shape(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """One value everywhere."""
    sizes = static_sizes(out.shape)
    value = node.attribute("value")
    if sizes is None:
        return None
    number = plain_number(value.item()) if isinstance(value, Tensor) else 0
    return array_of([number] * math.prod(sizes), sizes)


@computes("Range")
def range_(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Numbers in a row."""
    start, limit, delta = (node.element(i) for i in range(3))
    if not (isinstance(start, int) and isinstance(limit, int) and isinstance(delta, int) and delta):
        return None
    numbers = range(start, limit, delta)
    return array_of(list(numbers)) if len(numbers) <= LARGEST_KNOWN and out.dtype not in FLOATS else None


# ------------------------------------------------------------------------------------------------------------- movement
@computes("Identity")
def identity(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """The same elements."""
    return inputs[0]


@computes("Reshape", "Squeeze", "Unsqueeze", "Flatten")
def reshaped(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """The same elements in another shape."""
    x, sizes = inputs[0], static_sizes(out.shape)
    return x.reshape(sizes) if x is not None and sizes is not None and x.size == math.prod(sizes) else None


@computes("Expand")
def expand(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Elements repeated along dims of 1."""
    x, sizes = inputs[0], static_sizes(out.shape)
    return None if x is None or sizes is None else np.broadcast_to(x, sizes).copy()


@computes("Tile")
def tile(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Everything repeated."""
    x, repeats = inputs[0], node.numbers(1)
    if x is None or repeats is None or static_sizes(out.shape) is None or not all(isinstance(r, int) for r in repeats):
        return None
    return np.tile(x, repeats) if len(repeats) == x.ndim else None


@computes("Transpose")
def transpose(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Another order of the dims."""
    return None if inputs[0] is None else np.transpose(inputs[0], node.attribute("perm"))


@computes("Concat")
def concat(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """One after the other; the elements of an input that is not known are not known."""
    parts = []
    for i, x in enumerate(inputs):
        if x is None:
            sizes = static_sizes(node.shape(i))
            if sizes is None:
                return None
            x = array_of([None] * math.prod(sizes), sizes)
        parts.append(x)
    return np.concatenate(parts, axis=node.axis(parts[0].ndim, default=1))


@computes("Slice")
def slice_(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """A part."""
    x = inputs[0]
    if x is None:
        return None
    if node.version < 10:
        parameters = [node.attribute("starts"), node.attribute("ends"), node.attribute("axes"), None]
    else:
        parameters = [node.numbers(i) if node.has(i) else None for i in range(1, 5)]
        if any(p is None and node.has(i + 1) for i, p in enumerate(parameters)):
            return None
    if not all(isinstance(n, int) for p in parameters if p is not None for n in p):
        return None
    starts, ends, axes, steps = parameters
    where = all_axes(range(len(starts)) if axes is None else axes, x.ndim)
    index = [slice(None)] * x.ndim
    for a, start, end, step in zip(where, starts, ends, steps or [1] * len(where), strict=True):
        if step < 0 and runtimes_differ(start, end, x.shape[a]):
            return None
        stop = None if step < 0 and end <= -(1 << 31) + 1 else end
        index[a] = slice(start, stop, step)
    return np.asarray(x[tuple(index)], object)


@computes("Split")
def split(node: Site, inputs: Inputs, out: TypeInfo) -> list[Array] | None:
    """Parts in a row."""
    x = inputs[0]
    outputs = node.node.outputs
    if x is None or any(v is None for v in outputs):
        return None
    axis = node.axis(x.ndim)
    sizes: list[Any] = [v.shape[axis] if v is not None and v.shape is not None else None for v in outputs]
    if not all(isinstance(s, int) for s in sizes):
        return None
    return list(np.split(x, np.cumsum(sizes)[:-1].tolist(), axis=axis))


@computes("Gather")
def gather(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Elements by their index along an axis."""
    x, index = inputs[0], whole_numbers(inputs[1])
    if x is None or index is None:
        return None
    axis = node.axis(x.ndim)
    n = x.shape[axis]
    if index.size and not (index.min() >= -n and index.max() < n):
        return None
    moved = np.moveaxis(x, axis, 0)
    picked = moved[index.reshape(-1) % max(n, 1)].reshape(index.shape + moved.shape[1:])
    return np.moveaxis(picked, range(index.ndim), range(axis, axis + index.ndim))


@computes("GatherElements")
def gather_elements(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Elements by an index of their own along an axis."""
    x, index = inputs[0], whole_numbers(inputs[1])
    if x is None or index is None or x.ndim != 1 or index.ndim != 1 or (index.size and not -x.size <= index.min()):
        return None
    return x[index] if not index.size or index.max() < x.size else None


@computes("GatherND")
def gather_nd(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Elements by their place."""
    x, index = inputs[0], whole_numbers(inputs[1])
    if x is None or index is None or node.attribute("batch_dims", 0) or not index.ndim or index.shape[-1] > x.ndim:
        return None
    sizes = np.array(x.shape[: index.shape[-1]], np.int64)
    if index.size and not ((index >= -sizes) & (index < sizes)).all():
        return None
    return np.asarray(x[tuple(np.moveaxis(index, -1, 0))], object)


@computes("ScatterElements", "Scatter")
def scatter_elements(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Elements of a vector replaced by their index."""
    x, index, update = inputs[0], whole_numbers(inputs[1]), inputs[2]
    if x is None or index is None or update is None or x.ndim != 1 or index.shape != update.shape:
        return None
    if node.attribute("reduction", "none") != "none" or not inside(index, x.size):
        return None
    result = x.copy()
    result[index] = update
    return result


@computes("ScatterND")
def scatter_nd(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Elements of a vector replaced by their place."""
    x, index, update = inputs[0], whole_numbers(inputs[1]), inputs[2]
    if x is None or index is None or update is None or x.ndim != 1 or index.ndim != 2 or index.shape[1] != 1:
        return None
    if node.attribute("reduction", "none") != "none" or not inside(index, x.size) or update.shape != index.shape[:1]:
        return None
    result = x.copy()
    result[index[:, 0]] = update
    return result


@computes("Pad")
def pad(node: Site, inputs: Inputs, out: TypeInfo) -> Array | None:
    """Elements with a constant around them."""
    if node.version < 11 or node.has(3) or node.attribute("mode", "constant") != "constant":
        return None
    x, pads = inputs[0], whole_numbers(inputs[1])
    if (
        x is None
        or pads is None
        or pads.size != 2 * x.ndim
        or pads.min(initial=0) < 0
        or static_sizes(out.shape) is None
    ):
        return None
    value = node.element(2) if node.has(2) else 0
    result = np.full(tuple(np.array(x.shape, int) + pads[: x.ndim] + pads[x.ndim :]), value, object)
    result[tuple(slice(p, p + n) for p, n in zip(pads[: x.ndim].tolist(), x.shape, strict=True))] = x
    return result
