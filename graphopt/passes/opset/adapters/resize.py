"""Upsample and Resize."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from graphopt.ir import Value
from graphopt.passes.opset.site import Site
from graphopt.passes.opset.transitions import Cannot, down, up

#: What coordinates were before opset 11.
_PLAIN = "asymmetric"


@up("Upsample", version=10, typed=False)
def upsample_to_resize(site: Site) -> bool:
    """It makes nothing smaller, so the nearest element is the lower one in any case."""
    node = site.node
    if site.attribute("mode") == "bilinear":
        node.set_attribute("mode", "linear")
    if site.target < 11:
        return site.become("Resize")
    _at_11(site, "floor" if site.attribute("mode") == "nearest" else None)
    node.become("Resize")
    return True


@down("Resize", version=10)
def resize_to_upsample(site: Site) -> bool:
    scales = site.number(1)
    if scales is None or (scales < 1).any():
        raise Cannot("Upsample, which it was before, makes nothing smaller")
    return site.become("Upsample")


@up("Resize", version=11)
def plain_coordinates(site: Site) -> bool:
    """The nearest element was the lower one, or the upper one along dims that shrink."""
    nearest = None
    if site.attribute("mode") == "nearest":
        scales = site.needed(1)
        if (scales >= 1).all():
            nearest = "floor"
        elif (scales <= 1).all():
            nearest = "ceil"
        else:
            raise Cannot("some dims grow and some shrink, so that no one way to round is right")
    _at_11(site, nearest)
    return True


def _at_11(site: Site, nearest: str | None) -> None:
    """Write what comes to be a Resize as opset 11 has it."""
    node, scales = site.node, site.given(1)
    node.set_attribute("coordinate_transformation_mode", _PLAIN)
    if nearest is not None:
        node.set_attribute("nearest_mode", nearest)
    node.put_input(2, scales)
    node.put_input(1, site.constant([], TensorProto.FLOAT))
    site.shop.pending.append((node, 11))


@down("Resize", version=11)
def by_scales_alone(site: Site) -> bool:
    mode, transformation = site.attribute("mode"), site.attribute("coordinate_transformation_mode")
    scales = _scales(site)
    if mode == "cubic":
        raise Cannot("there is no cubic mode")
    moved = (scales != 1).any()
    if moved and transformation != _PLAIN:
        raise Cannot(f"coordinates are {transformation}, and were {_PLAIN} alone")
    if mode == "nearest" and moved:
        rounding = site.attribute("nearest_mode")
        if not ((rounding == "floor" and (scales >= 1).all()) or (rounding == "ceil" and (scales <= 1).all())):
            raise Cannot(f"the nearest element is by {rounding}")
    if site.attribute("exclude_outside"):
        raise Cannot("it leaves out what lies outside")
    given = site.constant(scales, TensorProto.FLOAT)
    return site.instead("Resize", [site.given(0), given], {"mode": mode})


def _scales(site: Site) -> np.ndarray:
    """The scales of all dims, from sizes where these are given."""
    scales = site.number(2)
    if scales is not None and scales.size:
        return scales.astype(np.float32)
    shape, sizes = site.shape(), site.number(3)
    if site.input(3) is None:
        site.needed(2)
    if sizes is None or shape is None or not all(isinstance(d, int) and d for d in shape):
        raise Cannot("its scales are not known")
    scales = (sizes / np.array(shape)).astype(np.float32)
    if not np.array_equal(np.floor(np.array(shape, np.float32) * scales), sizes):
        raise Cannot("its sizes do not follow from scales")
    return scales


@up("Resize", version=13, typed=False)
def without_empty_tensors(site: Site) -> bool:
    """What is not meant may be left out since then, and of scales and sizes one has to."""
    if site.attribute("coordinate_transformation_mode") == "tf_half_pixel_for_nn":
        raise Cannot("coordinates are tf_half_pixel_for_nn, which is gone")
    node = site.node
    if len(node.inputs) == 4 and node.inputs[3] is not None:
        node.set_input(2, None)
    if (roi := node.inputs[1]) is not None and roi.const is not None and not roi.const.size:
        node.set_input(1, None)
    return False


@down("Resize", version=13)
def with_empty_tensors(site: Site) -> bool:
    for i in (1, 2):
        if site.input(i) is None:
            site.node.put_input(i, site.constant([], TensorProto.FLOAT))
    return False


@down("Resize", version=19)
def no_symmetric_coordinates(site: Site) -> bool:
    if site.attribute("coordinate_transformation_mode") == "half_pixel_symmetric":
        raise Cannot("coordinates are half_pixel_symmetric")
    return False


@down("Resize", version=18)
def all_axes(site: Site) -> bool:
    """Scales, sizes and region for all dims, where they were those of some."""
    node, axes = site.node, site.attribute("axes")
    if axes is None:
        return False
    shape, rank = site.shape(), site.rank()
    assert shape is not None
    if site.attribute("keep_aspect_ratio_policy") != "stretch":
        raise Cannot("it keeps the aspect ratio")
    where = [a % rank for a in axes]
    made: dict[int, Value] = {}
    for i, one in ((1, None), (2, 1.0), (3, None)):
        v = site.input(i)
        if v is None or v.shape == (0,):
            continue
        given = site.needed(i)
        if i == 1:
            full = np.array([*[0.0] * rank, *[1.0] * rank])
            full[[*where, *[a + rank for a in where]]] = given
        elif one is not None:
            full = np.full(rank, one)
            full[where] = given
        else:
            if not all(isinstance(d, int) for a, d in enumerate(shape) if a not in where):
                raise Cannot("the dims that it leaves as they are are not known")
            full = np.array([d if isinstance(d, int) else 0 for d in shape])
            full[where] = given
        made[i] = site.constant(full, v.dtype)
    node.remove_attribute("axes")
    for i, v in made.items():
        node.set_input(i, v)
    return False
