"""Operators that move elements without changing them: other shapes, other orders, more of them."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.ir import Dim, Shape
from graphopt.shapes.dims import (
    add,
    as_size,
    exact_div,
    is_anonymous,
    less,
    mul,
    names_in,
    product,
    same_size,
    substitute,
)
from graphopt.shapes.registry import infers
from graphopt.shapes.site import Site, all_axes
from graphopt.shapes.types import TypeInfo, Unknown


# --------------------------------------------------------------------------------------------------------- same elements
@infers("Reshape")
def reshape(node: Site) -> TypeInfo:
    """The shape that is given: 0 copies a dim of the input (unless `allowzero`), -1 is what is left over."""
    wanted = node.attribute("shape") if node.version < 5 else node.numbers(1)
    if wanted is None:
        raise Unknown("the shape is computed, and its length is unknown")
    x = node.shape(0)
    out: list[Dim] = []
    inferred = None
    zero_is_size = bool(node.attribute("allowzero", 0))
    for i, d in enumerate(wanted):
        if d == 0 and not zero_is_size:
            if x is not None and i >= len(x):
                raise ValueError(f"Reshape: the 0 at {i} copies no dim of {x}")
            d = None if x is None else x[i]
        elif isinstance(d, int) and d < 0:
            if d != -1 or inferred is not None:
                raise ValueError(f"Reshape: {wanted} is no shape")
            inferred, d = i, None
        elif not isinstance(d, int) and d is not None and less(d, 0) is not False:
            d = None  # may be -1
        out.append(d)
    if x is None:
        return TypeInfo(node.dtype(0), node.or_fresh(out))
    unknown = [i for i, d in enumerate(out) if d is None]
    if not unknown:
        fits = same_size(x, tuple(out))
        if fits:
            return TypeInfo(node.dtype(0), tuple(out))
        if fits is False and all(map(_cannot_copy, wanted)):
            raise ValueError(f"Reshape: {x} has another number of elements than {tuple(out)}")
    if not zero_is_size:
        unknown += [i for i, d in enumerate(out) if i != inferred and d is not None and _may_copy(d, i, x)]
        out = [None if i in unknown else d for i, d in enumerate(out)]
    if len(unknown) == 1:
        others = [d for i, d in enumerate(out) if i != unknown[0]]
        # beside a -1 no dim can be 0, beside a number that is not known any may be
        if inferred == unknown[0] or all(less(0, d) for d in others):
            out[unknown[0]] = _left_over(x, others)
    elif not unknown:
        _equate_sizes(node, x, out)
    return TypeInfo(node.dtype(0), node.or_fresh(out))


def _may_copy(d: Dim, i: int, x: Shape) -> bool:
    """Whether an element of a shape may be 0, and so stand for the input's dim, while the input has elements."""
    if isinstance(d, int) or i >= len(x) or d == x[i] or less(0, d):
        return False
    if isinstance(d, str):
        return substitute(product(x), {d: 0}) != 0
    return exact_div(product(x), d) is None


def _cannot_copy(d: Dim) -> bool:
    return isinstance(d, int)


def _left_over(x: Sequence[Dim], others: Sequence[Dim]) -> Dim:
    """The dim that gives a shape with `others`, none of which is 0, as many elements as x has; None where nobody can tell."""
    rest, left = _cancelled(x, others)
    total, size = product(rest), product(left)
    if size == 0:
        return None
    if isinstance(total, int) and isinstance(size, int) and total % size:
        raise ValueError(f"Reshape: {total} elements are no multiple of {size}")
    return exact_div(total, size)


def _cancelled(a: Sequence[Dim], b: Sequence[Dim]) -> tuple[list[Dim], list[Dim]]:
    """Both without the dims that they have in common."""
    left = list(b)
    rest = []
    for d in a:
        if d in left and d is not None and d != 0:
            left.remove(d)
        else:
            rest.append(d)
    return rest, left


def _equate_sizes(node: Site, x: Shape, y: Sequence[Dim]) -> None:
    """Learn from x and y having equally many elements, where one dim of either side is the only one that is not clear.

    All others must be above 0: nothing can be learnt from an empty tensor.
    """
    rest, left = _cancelled(x, y)
    for one, many in ((rest, left), (left, rest)):
        named = [d for d in one if not isinstance(d, int)]
        if len(named) != 1 or not is_anonymous(named[0]):
            continue
        if all(less(0, d) for d in (*x, *y) if d is not named[0]):
            value = exact_div(product(many), product(d for d in one if d is not named[0]))
            if value is not None and not names_in(named[0]) & names_in(value):
                node.equate(named[0], value)
                return


@infers("Flatten")
def flatten(node: Site) -> TypeInfo:
    """A matrix: the dims before the axis, and those from it on."""
    if (x := node.shape(0)) is None:
        return TypeInfo(node.dtype(0), node.unknown_dims(2))
    axis = int(node.attribute("axis", 1))
    if not -len(x) <= axis <= len(x):
        raise ValueError(f"Flatten: axis {axis} is out of range for {len(x)} dims")
    axis += len(x) if axis < 0 else 0
    return TypeInfo(node.dtype(0), node.or_fresh((product(x[:axis]), product(x[axis:]))))


@infers("Squeeze")
def squeeze(node: Site) -> TypeInfo:
    """Without the dims that are named, or without all that are 1."""
    x = node.needed(0)
    axes = node.ints("axes")
    if axes is None:
        if not all(isinstance(d, int) or less(1, d) for d in x):
            raise Unknown("which dims are 1 is not known")
        return TypeInfo(node.dtype(0), tuple([d for d in x if d != 1]))
    gone = all_axes(axes, len(x))
    for a in gone:
        node.equate(x[a], 1) if is_anonymous(x[a]) or isinstance(x[a], int) else None
    return TypeInfo(node.dtype(0), tuple([d for i, d in enumerate(x) if i not in gone]))


@infers("Unsqueeze")
def unsqueeze(node: Site) -> TypeInfo:
    """With dims of 1 put in; the axes count in the result."""
    x = node.needed(0)
    axes = node.ints("axes")
    if axes is None:
        raise Unknown("the axes are not known")
    put = all_axes(axes, len(x) + len(axes))
    dims = iter(x)
    return TypeInfo(node.dtype(0), tuple([1 if i in put else next(dims) for i in range(len(x) + len(put))]))


@infers("Transpose")
def transpose(node: Site) -> TypeInfo:
    """The dims in another order; without `perm` the reverse one."""
    perm = node.attribute("perm")
    x = node.shape(0)
    if x is None:
        return TypeInfo(node.dtype(0), None if perm is None else node.unknown_dims(len(perm)))
    if perm is None:
        return TypeInfo(node.dtype(0), x[::-1])
    if sorted(perm) != list(range(len(x))):
        raise ValueError(f"Transpose: {list(perm)} is no permutation of {len(x)} dims")
    return TypeInfo(node.dtype(0), tuple([x[i] for i in perm]))


@infers("DepthToSpace")
def depth_to_space(node: Site) -> TypeInfo:
    """[N, C, H, W] -> [N, C/b², H·b, W·b]."""
    n, c, h, w = _four(node)
    b = int(node.attribute("blocksize"))
    if isinstance(c, int) and c % (b * b):
        raise ValueError(f"DepthToSpace: {c} channels are not divisible by {b * b}")
    return TypeInfo(node.dtype(0), node.or_fresh((n, exact_div(c, b * b), mul(h, b), mul(w, b))))


@infers("SpaceToDepth")
def space_to_depth(node: Site) -> TypeInfo:
    """[N, C, H, W] -> [N, C·b², H/b, W/b]."""
    n, c, h, w = _four(node)
    b = int(node.attribute("blocksize"))
    if any(isinstance(d, int) and d % b for d in (h, w)):
        raise ValueError(f"SpaceToDepth: {h} x {w} is not divisible by {b}")
    return TypeInfo(node.dtype(0), node.or_fresh((n, mul(c, b * b), exact_div(h, b), exact_div(w, b))))


def _four(node: Site) -> Shape:
    x = node.shape(0)
    if x is None:
        return (None,) * 4
    if len(x) != 4:
        raise ValueError(f"{node.op_type} takes 4 dims, not {len(x)}")
    return x


@infers("ReverseSequence")
def same_type(node: Site) -> TypeInfo:
    """The same elements in another order."""
    return node.like(0)


# ---------------------------------------------------------------------------------------------------------- more of them
@infers("Expand")
def expand(node: Site) -> TypeInfo:
    """The input broadcast to a shape, in which smaller dims do no harm."""
    wanted = node.numbers(1)
    if wanted is None:
        raise Unknown("the shape is computed, and its length is unknown")
    shape = tuple([None if d is None or less(d, 0) is not False else d for d in wanted])
    return TypeInfo(node.dtype(0), node.broadcast(node.shape(0), shape))


@infers("Tile", since=6)
def tile(node: Site) -> TypeInfo:
    """Each dim as often as `repeats` says."""
    x, repeats = node.shape(0), node.numbers(1)
    if x is None and repeats is None:
        raise Unknown("neither the rank nor the number of repeats is known")
    if x is None or repeats is None:
        return TypeInfo(node.dtype(0), node.unknown_dims(len(x if x is not None else repeats or ())))
    if len(x) != len(repeats):
        raise ValueError(f"Tile: {len(repeats)} repeats for {len(x)} dims")
    return TypeInfo(node.dtype(0), node.or_fresh(mul(d, as_size(r)) for d, r in zip(x, repeats, strict=True)))


@infers("Tile")
def tile_one_axis(node: Site) -> TypeInfo:
    """Opset 1: one axis, so many times."""
    x, times, axis = node.needed(0), node.element(1), node.element(2)
    if not isinstance(axis, int):
        return TypeInfo(node.dtype(0), node.unknown_dims(len(x)))
    return TypeInfo(node.dtype(0), node.or_fresh(mul(d, as_size(times)) if i == axis else d for i, d in enumerate(x)))


@infers("Pad")
def pad(node: Site) -> TypeInfo:
    """Each dim with what is added before and after it; negative numbers take away."""
    pads = node.attribute("pads") or node.attribute("paddings") if node.version < 11 else node.numbers(1)
    x = node.shape(0)
    if x is None:
        if pads is None or node.has(3):
            raise Unknown("neither the rank nor the number of pads is known")
        return TypeInfo(node.dtype(0), node.unknown_dims(len(pads) // 2))
    axes: Sequence[Dim] | None = node.numbers(3) if node.has(3) else list(range(len(x)))
    if pads is None or axes is None or not all(isinstance(a, int) for a in axes):
        return TypeInfo(node.dtype(0), node.unknown_dims(len(x)))
    where = all_axes(axes, len(x))
    if len(pads) != 2 * len(where):
        raise ValueError(f"Pad: {len(pads)} pads for {len(where)} axes")
    out = list(x)
    for k, a in enumerate(where):
        out[a] = as_size(add(add(x[a], pads[k]), pads[k + len(where)]))
    return TypeInfo(node.dtype(0), node.or_fresh(out))


@infers("CenterCropPad")
def center_crop_pad(node: Site) -> TypeInfo:
    """The dims of the axes are what the shape says."""
    x, wanted = node.needed(0), node.numbers(1)
    axes = all_axes(node.attribute("axes") or range(len(x)), len(x))
    if wanted is not None and len(wanted) != len(axes):
        raise ValueError(f"CenterCropPad: {len(wanted)} sizes for {len(axes)} axes")
    out = list(x)
    for k, a in enumerate(axes):
        out[a] = None if wanted is None else as_size(wanted[k])
    return TypeInfo(node.dtype(0), node.or_fresh(out))
