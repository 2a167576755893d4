"""Operators that name axes: the same axes, where they are now."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.passes.layout.form import Form, Reordered, Site, lays
from graphopt.passes.layout.permutations import Perm, moved

_REDUCE = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare".split()


def _in_range(axis: Any, perm: Perm) -> bool:
    return isinstance(axis, int) and -len(perm) <= axis < len(perm)


@lays("Softmax", "LogSoftmax", "Hardmax", since=13)
@lays("LpNormalization", "Split", "TopK")
def one_axis(site: Site, perm: Perm) -> Form | None:
    """One image, and outputs of the same rank."""
    axis = site.attribute("axis", -1)
    if not _in_range(axis, perm):
        return None
    return Form({0: perm}, site.all_outputs(perm), {"axis": moved(axis, perm)})


@lays("Concat")
def concat(site: Site, perm: Perm) -> Form | None:
    """All inputs are laid alike."""
    axis = site.attribute("axis")
    if not _in_range(axis, perm):
        return None
    reads: dict[int, Perm] = {}
    inputs: dict[int, np.ndarray | Reordered] = {}
    for i, v in enumerate(site.node.inputs):
        if v is None or v.shape is None or len(v.shape) != len(perm):
            return None
        if v.const is None:
            reads[i] = perm
        else:
            inputs[i] = np.ascontiguousarray(np.transpose(v.const.numpy(), perm))
    return Form(reads, {0: perm}, {"axis": moved(axis, perm)}, inputs)


@lays("Gather")
def gather(site: Site, perm: Perm) -> Form | None:
    """With a vector of indices, so that the rank stays."""
    axis, indices = site.attribute("axis", 0), site.shape(1)
    if indices is None or len(indices) != 1 or not _in_range(axis, perm):
        return None
    return Form({0: perm}, {0: perm}, {"axis": moved(axis, perm)})


@lays("CumSum", since=11)
def cumulative(site: Site, perm: Perm) -> Form | None:
    """The axis is an input."""
    axis = site.constant(1)
    if axis is None or axis.size != 1 or not _in_range(number := int(axis.numpy().reshape(())), perm):
        return None
    return Form({0: perm}, {0: perm}, inputs={1: np.array(moved(number, perm), axis.numpy().dtype)})


def _reduced(site: Site, perm: Perm, axes: list[int]) -> tuple[Perm, list[int]] | None:
    """How the result is laid, and the axes to reduce."""
    if not all(_in_range(a, perm) for a in axes):
        return None
    gone = {a % len(perm) for a in axes}
    if not site.attribute("keepdims", 1):
        left = [a for a in range(len(perm)) if a not in gone]
        result = tuple([left.index(a) for a in perm if a not in gone])
    else:
        result = perm
    return result, sorted(moved(a, perm) for a in gone)


@lays(*(f"Reduce{name}" for name in _REDUCE))
def reduction(site: Site, perm: Perm) -> Form | None:
    """Dims that are reduced stay as 1, or go."""
    axes = site.numbers("axes")
    if axes is None and ("axes" in site.node.attributes or site.parameter("axes") is not None):
        return None
    if not axes and site.attribute("noop_with_empty_axes", 0):
        return None
    found = _reduced(site, perm, axes or list(range(len(perm))))
    if found is None:
        return None
    attributes, inputs = site.with_numbers("axes", found[1]) if axes else ({}, {})
    return Form({0: perm}, {0: found[0]}, attributes, inputs)


@lays("ArgMax", "ArgMin")
def position(site: Site, perm: Perm) -> Form | None:
    """One axis is reduced."""
    found = _reduced(site, perm, [site.attribute("axis", 0)])
    return None if found is None else Form({0: perm}, {0: found[0]}, {"axis": found[1][0]})


@lays("Pad", since=2)
def pad(site: Site, perm: Perm) -> Form | None:
    """Pads of all axes go into another order; where axes are named, these are."""
    rank = len(perm)
    if site.parameter("axes") is not None:
        named = site.numbers("axes")
        if named is None or not all(_in_range(a, perm) for a in named):
            return None
        changed = site.with_numbers("axes", [moved(a, perm) for a in named])
        return Form({0: perm}, {0: perm}, *changed)
    order = site.in_order("pads", (*perm, *(rank + a for a in perm)))
    return None if order is None else Form({0: perm}, {0: perm}, *order)


@lays("Tile", since=6)
def tile(site: Site, perm: Perm) -> Form | None:
    """Repetitions of all axes go into another order."""
    order = site.in_order("repeats", perm)
    return None if order is None else Form({0: perm}, {0: perm}, *order)


@lays("Expand", since=8)
def expand(site: Site, perm: Perm) -> Form | None:
    """To a shape of the same rank."""
    order = site.in_order("shape", perm)
    return None if order is None else Form({0: perm}, {0: perm}, *order)


@lays("Slice")
def cut(site: Site, perm: Perm) -> Form | None:
    """Along axes that are named, or the first ones."""
    starts = site.node.attributes.get("starts")
    if starts is None:
        shape = site.shape(1)
        count = shape[0] if shape is not None and len(shape) == 1 else None
    else:
        count = len(starts)
    axes = site.numbers("axes")
    if axes is None:
        if "axes" in site.node.attributes or site.parameter("axes") is not None or not isinstance(count, int):
            return None
        axes = list(range(count))
    if not all(_in_range(a, perm) for a in axes):
        return None
    like = site.input(1) if starts is None else None  # all its parameters have one dtype
    dtype = np.int32 if like is not None and like.dtype == TensorProto.INT32 else np.int64
    return Form({0: perm}, {0: perm}, *site.with_numbers("axes", [moved(a, perm) for a in axes], dtype))


@lays("Resize", since=10)
@lays("Upsample")
def resize(site: Site, perm: Perm) -> Form | None:
    """Where ONNX Runtime has it for any layout: of the nearest element, and linear in two dims with channels first or last."""
    mode = site.attribute("mode", "nearest")
    if mode == "linear" and not _in_two_dims(site, perm):
        return None
    if mode not in ("nearest", "linear") or site.attribute("antialias", 0):
        return None
    if site.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        return None
    if site.attribute("coordinate_transformation_mode") in ("tf_crop_and_resize", "tf_half_pixel_for_nn"):
        return None
    named = site.node.attributes.get("axes")
    if named is not None:
        if not all(_in_range(a, perm) for a in named):
            return None
        return Form({0: perm}, {0: perm}, {"axes": [moved(a, perm) for a in named]})
    attributes: dict[str, Any] = {}
    inputs: dict[int, np.ndarray | Reordered] = {}
    for name in ("scales", "sizes"):
        v = site.parameter(name)
        if name not in site.node.attributes and (v is None or v.shape == (0,)):
            continue
        order = site.in_order(name, perm)
        if order is None:
            return None
        attributes |= order[0]
        inputs |= order[1]
    return Form({0: perm}, {0: perm}, attributes, inputs) if attributes or inputs else None


def _in_two_dims(site: Site, perm: Perm) -> bool:
    """Whether [N, C, H, W] becomes [N, H, W, C], or the other way round, and only H and W change."""
    x, y = site.shape(0), site.result
    if x is None or y is None or perm not in ((0, 2, 3, 1), (0, 3, 1, 2)):
        return False
    channels = 1 if perm == (0, 2, 3, 1) else 3
    return x[0] == y[0] and x[channels] == y[channels]
