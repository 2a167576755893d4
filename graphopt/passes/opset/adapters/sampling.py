"""GridSample, RoiAlign, DFT."""

from __future__ import annotations

from onnx import TensorProto

from graphopt.passes.opset.site import Site
from graphopt.passes.opset.transitions import Cannot, down, up

_MODES = {"bilinear": "linear", "bicubic": "cubic"}
_OLD_MODES = {new: old for old, new in _MODES.items()}


@up("GridSample", version=20, typed=False)
def modes_of_any_rank(site: Site) -> bool:
    mode = site.attribute("mode")
    site.node.set_attribute("mode", _MODES.get(mode, mode))
    return False


@down("GridSample", version=20)
def modes_of_images(site: Site) -> bool:
    if site.rank() != 4:
        raise Cannot(f"its input has rank {site.rank()}, not 4")
    mode = site.attribute("mode")
    site.node.set_attribute("mode", _OLD_MODES.get(mode, mode))
    return False


@up("RoiAlign", version=16, typed=False)
def without_shift(site: Site) -> bool:
    site.node.set_attribute("coordinate_transformation_mode", "output_half_pixel")
    return False


@down("RoiAlign", version=16)
def no_shift(site: Site) -> bool:
    if site.attribute("coordinate_transformation_mode") != "output_half_pixel":
        raise Cannot("its coordinates are shifted by half a pixel")
    site.node.remove_attribute("coordinate_transformation_mode")
    return False


@up("DFT", version=20, typed=False)
def axis_as_input(site: Site) -> bool:
    """Left out it was 1, and is -2 since then."""
    axis = site.attribute("axis")
    if "axis" in site.node.attributes:
        site.node.remove_attribute("axis")
    site.node.put_input(2, site.constant(axis, TensorProto.INT64))
    return False


@down("DFT", version=20)
def axis_as_attribute(site: Site) -> bool:
    axis = -2 if site.input(2) is None else int(site.needed(2).reshape(()))
    if site.input(2) is not None:
        site.node.put_input(2, None)
    site.node.set_attribute("axis", axis)
    return False
