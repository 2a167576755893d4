"""Reductions: sums, means, extremes and norms over some of the dims."""

from __future__ import annotations

from onnx import TensorProto

from graphopt.ir import Dim, Shape
from graphopt.shapes.registry import infers
from graphopt.shapes.site import Site, one_axis
from graphopt.shapes.types import TypeInfo, Unknown

#: Over axes that are an attribute at first and an input later, at opset 13 (ReduceSum) or 18.
REDUCTIONS = (
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare"
).split()


@infers(*REDUCTIONS)
def reduce(node: Site) -> TypeInfo:
    """Without the dims of the axes, or with 1 for each; without axes all of them, unless that means none."""
    x, keep = node.shape(0), bool(node.attribute("keepdims", 1))
    axes = _axes(node)
    if axes == [] and node.attribute("noop_with_empty_axes", 0):
        return TypeInfo(node.dtype(0), x)
    shape: Shape | None
    if axes == []:
        shape = (None if x is None else (1,) * len(x)) if keep else ()
    elif x is None:
        shape = None
    else:
        shape = _reduced(node, x, axes, keep)
    return TypeInfo(node.dtype(0), shape)


def _axes(node: Site) -> list[Dim] | None:
    """The axes, none where they are left out; None where not even their number is known."""
    try:
        return node.parameter("axes") or []
    except Unknown:
        return None


def _reduced(node: Site, x: Shape, axes: list[Dim] | None, keep: bool) -> Shape | None:
    """What is left of a shape; the axes may be computed. One that is named twice counts once, and a scalar stays one."""
    if not x:
        return ()
    gone = {one_axis(a, len(x)) for a in axes or () if isinstance(a, int)}
    sure = axes is not None and all(isinstance(a, int) for a in axes)
    if keep:
        return node.or_fresh(1 if i in gone else d if sure or d == 1 else None for i, d in enumerate(x))
    if sure:
        return tuple([d for i, d in enumerate(x) if i not in gone])
    return node.unknown_dims(len(x) - 1) if axes is not None and len(axes) == 1 else None


@infers("ArgMax", "ArgMin")
def position(node: Site) -> TypeInfo:
    """Where the largest or smallest element along an axis is."""
    x = node.shape(0)
    if not x:
        return TypeInfo(TensorProto.INT64, x)
    axis = node.axis(len(x))
    return TypeInfo(TensorProto.INT64, (*x[:axis], *(1,) * bool(node.attribute("keepdims", 1)), *x[axis + 1 :]))
