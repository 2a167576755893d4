"""Reshape, Squeeze and Unsqueeze: axes that are merged or split stay side by side in any layout that does not part them."""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir import Dim, Node, Shape, Value
from graphopt.passes.layout.form import Form, Reordered, Site, Weights, lays
from graphopt.passes.layout.permutations import Perm, is_identity, reordered
from graphopt.patterns._shapes import target_of
from graphopt.shapes import known_elements, same_dims

#: Axes of a tensor, and the axes of another that hold the same elements in the same order.
Group = tuple[list[int], list[int]]
#: Weights up to this many bytes are laid out anew.
_LARGEST = 1 << 28


def _back(site: Site, perm: Perm) -> Perm | None:
    """A Reshape is one the other way round, too."""
    x, y = site.shape(0), site.result
    if x is None or y is None or len(y) != len(perm) or (groups := grouped(y, x)) is None:
        return None
    return _through(groups, perm)


@lays("Reshape", "Flatten", back=_back)
def regrouped(site: Site, perm: Perm) -> Form | None:
    """A Reshape of the axes in their new order, where those that become one, or come from one, stay side by side."""
    x, y = site.shape(0), site.result
    v = site.input(0)
    if x is None or y is None or v is None or v.const is not None or 0 in x:
        return None
    groups = grouped(x, y)
    result = None if groups is None else _through(groups, perm)
    if site.wanted is not None and groups is not None:  # what is new may stand anywhere
        result = site.wanted if _through([(b, a) for a, b in groups], site.wanted) == perm else None
    weights: tuple[Weights, ...] = ()
    if result is None and site.wanted is None:
        flat = _flattened(site, x, y, perm)
        if flat is None:
            return None
        weights, result = flat, tuple(range(len(y)))
    if result is None:
        return None
    target = target_of(reordered(x, perm), reordered(y, result))
    if target is not None:
        attributes = dict.fromkeys(site.node.attributes)
        shape = np.array(target, np.int64)
        return Form({0: perm}, {0: result}, attributes, {1: shape}, ("", "Reshape"), weights=weights)
    if site.node.op != "Reshape" or weights or (same := _same_numbers(site, perm, result)) is None:
        return None
    return Form({0: perm}, {0: result}, inputs={1: same})


def _same_numbers(site: Site, perm: Perm, result: Perm) -> np.ndarray | Reordered | None:
    """The shape that the node asks for with its elements in another order; what copies a dim must keep its place."""
    v = site.input(1)
    if v is None or v.shape != (len(result),):
        return None
    known = known_elements(v)
    for k, axis in enumerate(result):
        number = None if known is None else known[axis]
        copies = not isinstance(number, int) or number == 0
        if copies and not site.attribute("allowzero", 0) and not (k == axis < len(perm) and perm[k] == k):
            return None
    return Reordered(result) if v.const is None else v.const.numpy()[list(result)]


def _axes(site: Site, rank: int) -> list[int] | None:
    """The axes that a Squeeze takes away, or an Unsqueeze puts in."""
    axes = site.numbers("axes")
    x, y = site.shape(0), site.result
    if axes is None and "axes" not in site.node.attributes and site.parameter("axes") is None and x is not None:
        axes = [k for k, d in enumerate(x) if d == 1] if y is not None and len(y) == len(x) - x.count(1) else None
    if axes is None or not all(-rank <= a < rank for a in axes):
        return None
    return sorted({a % rank for a in axes})


def _without(perm: Perm, axes: list[int]) -> Perm:
    """A permutation of the axes that are left."""
    left = [a for a in range(len(perm)) if a not in axes]
    return tuple([left.index(a) for a in perm if a not in axes])


def _with(perm: Perm, axes: list[int]) -> Perm:
    """A permutation of the axes that were there and of new ones."""
    rank = len(perm) + len(axes)
    old = [a for a in range(rank) if a not in axes]
    order = [old[a] for a in perm]
    for a in axes:
        order.insert(math.ceil(_place_of_new(a, order.index(a - 1) if a else -1, len(order))), a)
    return tuple(order)


def _squeezed_back(site: Site, perm: Perm) -> Perm | None:
    x = site.shape(0)
    axes = None if x is None else _axes(site, len(x))
    return None if axes is None else _with(perm, axes)


@lays("Squeeze", back=_squeezed_back)
def squeeze(site: Site, perm: Perm) -> Form | None:
    """The same axes, where they are now."""
    axes = _axes(site, len(perm))
    if axes is None or site.result is None or len(site.result) != len(perm) - len(axes):
        return None
    numbers = site.with_numbers("axes", sorted(perm.index(a) for a in axes))
    return Form({0: perm}, {0: _without(perm, axes)}, *numbers)


def _unsqueezed_back(site: Site, perm: Perm) -> Perm | None:
    axes = _axes(site, len(perm))
    return None if axes is None else _without(perm, axes)


@lays("Unsqueeze", back=_unsqueezed_back)
def unsqueeze(site: Site, perm: Perm) -> Form | None:
    """New axes where they are wanted, otherwise where they are now."""
    if site.result is None or (axes := _axes(site, len(site.result))) is None:
        return None
    if len(perm) + len(axes) != len(site.result):
        return None
    result = site.wanted or _with(perm, axes)
    return Form({0: perm}, {0: result}, *site.with_numbers("axes", sorted(result.index(a) for a in axes)))


def grouped(x: Shape, y: Shape) -> list[Group] | None:
    """Which axes of x are which of y, where one is a Reshape of the other; None where that cannot be told."""
    front = 0
    while front < min(len(x), len(y)) and same_dims(x[front], y[front]) is True:
        front += 1
    behind = 0
    while behind < min(len(x), len(y)) - front and same_dims(x[-1 - behind], y[-1 - behind]) is True:
        behind += 1
    groups: list[Group] = [([k], [k]) for k in range(front)]
    i, j = front, front
    end_x, end_y = len(x) - behind, len(y) - behind
    if i < end_x or j < end_y:
        inner_x, inner_y = list(range(i, end_x)), list(range(j, end_y))
        groups += _matched(x, y, inner_x, inner_y)
    groups += [([end_x + k], [end_y + k]) for k in range(behind)]
    return groups


def _matched(x: Shape, y: Shape, xs: list[int], ys: list[int]) -> list[Group]:
    """Axes in as many groups as their sizes tell; one group where they tell nothing."""
    if not all(isinstance(d, int) for d in (*(x[a] for a in xs), *(y[a] for a in ys))):
        return [(xs, ys)]
    groups: list[Group] = []
    left_x, left_y = list(xs), list(ys)
    while left_x and left_y:
        p, q = [left_x.pop(0)], [left_y.pop(0)]
        while (m := _product(x, p)) != (n := _product(y, q)):
            more, into = (left_x, p) if m < n else (left_y, q)
            if not more:
                return [(xs, ys)]
            into.append(more.pop(0))
        groups.append((p, q))
    if left_x:
        groups.append((left_x, []))
    if left_y:
        groups.append(([], left_y))
    return groups


def _product(shape: Shape, axes: list[int]) -> int:
    sizes: list[Dim] = [shape[a] for a in axes]
    return math.prod(d for d in sizes if isinstance(d, int))


def _through(groups: list[Group], perm: Perm) -> Perm | None:
    """How the other side is laid where one is laid by `perm`; None where that parts a group."""
    place = {a: k for k, a in enumerate(perm)}
    keyed: list[tuple[float, list[int]]] = []
    last = -0.5
    for mine, others in groups:
        if mine:
            places = [place[a] for a in mine]
            if places != list(range(places[0], places[0] + len(places))):
                return None
            last = places[-1]
            keyed.append((places[0], others))
        else:
            keyed.append((_place_of_new(others[0], last, len(perm)), others))
    keyed.sort(key=lambda entry: entry[0])
    return tuple([a for _, others in keyed for a in others])


def _place_of_new(axis: int, front: float, count: int) -> float:
    """Where a new axis goes: to the end if it is that of channels, otherwise behind what was in front, but not the channels."""
    return count if axis == 1 else front + 0.5 if front < count - 1 else 0.5


def _flattened(site: Site, x: Shape, y: Shape, perm: Perm) -> tuple[Weights, ...] | None:
    """The weights that an image is multiplied with once its axes have become one, where nothing else reads it."""
    out = site.node.outputs[0]
    if len(y) != 2 or out is None or out.exits or not out.uses or perm[0] != 0 or same_dims(x[0], y[0]) is not True:
        return None
    sizes = tuple([d for d in x[1:] if isinstance(d, int)])
    if len(sizes) != len(x) - 1 or math.prod(sizes) != y[1]:
        return None
    order = tuple([a - 1 for a in perm[1:]])
    if is_identity(order):
        return None
    found = [_weights_of(user, out, sizes, order) for user in out.uses]
    return None if None in found else tuple([w for w in found if w is not None])


def _weights_of(user: Node, flat: Value, dims: tuple[int, ...], order: Perm) -> Weights | None:
    """What a MatMul or Gemm multiplies a flattened image with."""
    if user.op not in ("MatMul", "Gemm") or user.graph is not flat.graph or user.inputs[0] is not flat:
        return None
    if user.inputs.count(flat) != 1 or user.attributes.get("transA", 0):
        return None
    w = user.inputs[1]
    axis = 1 if user.attributes.get("transB", 0) else 0
    if w is None or w.const is None or len(w.const.dims) != 2 or w.const.dims[axis] != math.prod(dims):
        return None
    return Weights(user, 1, axis, dims, order) if w.const.nbytes <= _LARGEST else None
