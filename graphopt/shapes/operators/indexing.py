"""Operators that pick elements by index, put them by index, or tell where they are."""

from __future__ import annotations

from fractions import Fraction

from onnx import TensorProto

from graphopt.ir import Dim, Shape
from graphopt.shapes.dims import as_size, less, product
from graphopt.shapes.registry import infers
from graphopt.shapes.site import Site, one_axis
from graphopt.shapes.types import TypeInfo


# -------------------------------------------------------------------------------------------------------------- gathered
@infers("Gather")
def gather(node: Site) -> TypeInfo:
    """The dims of the indices in place of the axis."""
    x, indices = node.shape(0), node.shape(1)
    if x is None or indices is None:
        return TypeInfo(node.dtype(0), None)
    axis = node.axis(len(x))
    return TypeInfo(node.dtype(0), x[:axis] + indices + x[axis + 1 :])


@infers("GatherElements")
def gather_elements(node: Site) -> TypeInfo:
    """An element for each index."""
    _same_rank(node, 0, 1)
    indices, rank = node.shape(1), node.rank(0)
    return TypeInfo(node.dtype(0), node.unknown_dims(rank) if indices is None and rank is not None else indices)


@infers("GatherND")
def gather_nd(node: Site) -> TypeInfo:
    """[batch, *many, k] picks from [batch, *k dims, *slice]: [batch, *many, *slice]."""
    x, indices = node.shape(0), node.shape(1)
    batch = int(node.attribute("batch_dims", 0))
    if x is None or indices is None or not indices or not isinstance(indices[-1], int):
        return TypeInfo(node.dtype(0), None)
    if batch >= len(indices) or batch + indices[-1] > len(x):
        raise ValueError(f"GatherND: indices of {len(indices)} dims, the last {indices[-1]}, for {len(x)} dims")
    shared = tuple([node.equate(p, q) for p, q in zip(indices[:batch], x[:batch], strict=True)])
    return TypeInfo(node.dtype(0), shared + indices[batch:-1] + x[batch + indices[-1] :])


def _same_rank(node: Site, *inputs: int) -> int | None:
    """The rank of inputs that all have the same; None where it is unknown."""
    ranks = {node.rank(i) for i in inputs} - {None}
    if len(ranks) > 1:
        raise ValueError(f"{node.op_type}: the inputs have {sorted(r for r in ranks if r is not None)} dims")
    return ranks.pop() if ranks else None


# ------------------------------------------------------------------------------------------------------------- scattered
@infers("Scatter", "ScatterElements")
def scatter_elements(node: Site) -> TypeInfo:
    """The data with other elements in some places."""
    rank = _same_rank(node, 0, 1, 2)
    for p, q in zip(node.shape(1) or (), node.shape(2) or ()):
        node.equate(p, q)
    x = node.shape(0)
    return TypeInfo(node.dtype(0), node.unknown_dims(rank) if x is None and rank is not None else x)


@infers("ScatterND")
def scatter_nd(node: Site) -> TypeInfo:
    """The data with other slices in some places: an update for each index, as large as what it replaces."""
    x, indices, updates = (node.shape(i) for i in range(3))
    if x is None or not indices or updates is None or not isinstance(indices[-1], int):
        return TypeInfo(node.dtype(0), x)
    many, k = indices[:-1], indices[-1]
    if k > len(x) or len(updates) != len(many) + len(x) - k:
        raise ValueError(f"ScatterND: {updates} are no updates of {x} by indices {indices}")
    for p, q in zip(many, updates):
        node.equate(p, q)
    slices = [node.equate(p, q) for p, q in zip(x[k:], updates[len(many) :], strict=True)]
    return TypeInfo(node.dtype(0), (*x[:k], *slices))


@infers("TensorScatter")
def tensor_scatter(node: Site) -> TypeInfo:
    """The cache, with an update that is as large but for the axis."""
    x, update = node.shape(0), node.shape(1)
    _same_rank(node, 0, 1)
    if x is None or update is None:
        return TypeInfo(node.dtype(0), x)
    axis = node.axis(len(x), default=-2)
    return TypeInfo(node.dtype(0), tuple([d if i == axis else node.equate(d, update[i]) for i, d in enumerate(x)]))


@infers("OneHot")
def one_hot(node: Site) -> TypeInfo:
    """A dim more than the indices, as large as `depth`; the dtype of the values."""
    indices = node.shape(0)
    if indices is None:
        return TypeInfo(node.dtype(2), None)
    depth = node.element(1)
    if isinstance(depth, Fraction):
        depth = int(depth)
    axis = one_axis(int(node.attribute("axis", -1)), len(indices) + 1)
    return TypeInfo(node.dtype(2), node.or_fresh((*indices[:axis], as_size(depth), *indices[axis:])))


# ------------------------------------------------------------------------------------------- as many as the elements say
@infers("TopK")
def top_k(node: Site) -> list[TypeInfo]:
    """The k largest along an axis, and where they are; k is an input from opset 10 on."""
    k = node.attribute("k") if node.version < 10 else node.element(1)
    x = node.shape(0)
    shape: Shape | None = None
    if x is not None:
        axis = node.axis(len(x), default=-1)
        if isinstance(k, int) and (k < 0 or less(x[axis], k)):
            raise ValueError(f"TopK: there are no {k} elements along a dim of {x[axis]}")
        shape = node.or_fresh((*x[:axis], as_size(k), *x[axis + 1 :]))
    return [TypeInfo(node.dtype(0), shape), TypeInfo(TensorProto.INT64, shape)]


@infers("NonZero")
def non_zero(node: Site) -> TypeInfo:
    """A row for each dim; runtimes do not agree on how many a scalar has."""
    return TypeInfo(TensorProto.INT64, (node.rank(0) or node.fresh(), node.fresh()))


@infers("Unique")
def unique(node: Site) -> list[TypeInfo]:
    """What differs, where each is first, which of them each one is, and how often it is there."""
    x, axis = node.shape(0), node.attribute("axis")
    count = node.fresh()
    shape: Shape | None = (count,)
    total: Dim = None if x is None else product(x)
    if axis is not None and x is not None:
        a = one_axis(int(axis), len(x))
        shape, total = (*x[:a], count, *x[a + 1 :]), x[a]
    elif axis is not None:
        shape = None
    counts = TypeInfo(TensorProto.INT64, (count,))
    return [TypeInfo(node.dtype(0), shape), counts, TypeInfo(TensorProto.INT64, node.or_fresh((total,))), counts]


@infers("Compress")
def compress(node: Site) -> TypeInfo:
    """Some of the slices along an axis, or of all elements."""
    axis = node.attribute("axis")
    if axis is None:
        return TypeInfo(node.dtype(0), (node.fresh(),))
    x = node.shape(0)
    if x is None:
        return TypeInfo(node.dtype(0), None)
    a = one_axis(int(axis), len(x))
    return TypeInfo(node.dtype(0), (*x[:a], node.fresh(), *x[a + 1 :]))


@infers("NonMaxSuppression")
def non_max_suppression(node: Site) -> TypeInfo:
    """Batch, class and box of each that is selected."""
    return TypeInfo(TensorProto.INT64, (node.fresh(), 3))
