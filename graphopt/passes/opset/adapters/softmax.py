"""Softmax, LogSoftmax, Hardmax: before opset 13 of a matrix, whose rows were the dims from `axis` on."""

from __future__ import annotations

from graphopt.passes.opset.site import Site
from graphopt.passes.opset.transitions import Cannot, down, up

_OPS = ("Softmax", "LogSoftmax", "Hardmax")


@up(*_OPS, version=13)
def from_matrix(site: Site) -> bool:
    """Where more than one dim made a row: flatten, and bring back the shape."""
    axis, shape = site.attribute("axis"), site.shape()
    if axis == -1:
        site.node.set_attribute("axis", -1)
        return False
    if shape is not None:
        at = axis + len(shape) if axis < 0 else axis
        wide = [i for i in range(at, len(shape)) if shape[i] != 1]
        if len(wide) < 2 and at < len(shape):
            site.node.set_attribute("axis", wide[0] if wide else at)
            return False
    x = site.given(0)
    flat = site.before("Flatten", [x], {"axis": axis})
    y = site.before(site.node.op_type, [flat], {"axis": 1})
    if shape is not None and all(isinstance(d, int) and d for d in shape):
        return site.instead("Reshape", [y, site.constant(shape)])
    whole = site.before("Shape", [x])
    if site.target < 14:
        return site.instead("Reshape", [y, whole])
    return site.instead("Reshape", [y, whole], {"allowzero": 1}, version=14)  # dims may be 0


@down(*_OPS, version=13)
def to_matrix(site: Site) -> bool:
    """Where other dims follow the axis: bring it to the end and back."""
    shape, rank = site.shape(), site.rank()
    if rank == 0:
        raise Cannot("its input is a scalar")
    axis = site.attribute("axis") % rank
    assert shape is not None
    if all(d == 1 for d in shape[axis + 1 :]):
        site.node.set_attribute("axis", axis)
        return False
    perm = list(range(rank))
    perm[axis], perm[-1] = rank - 1, axis
    turned = site.before("Transpose", [site.given(0)], {"perm": perm})
    y = site.before(site.node.op_type, [turned], {"axis": rank - 1})
    return site.instead("Transpose", [y], {"perm": perm})


@down(*_OPS, version=11)
def axis_from_the_front(site: Site) -> bool:
    axis = site.attribute("axis")
    if axis < 0:
        site.node.set_attribute("axis", axis + site.rank())
    return False
