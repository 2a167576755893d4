"""QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from onnx import TensorProto

from graphopt.passes.opset.site import Site
from graphopt.passes.opset.transitions import Cannot, down, up


@up("QuantizeLinear", version=23)
def quotient_in_float(site: Site) -> bool:
    """The quotient was rounded to float; since then to the dtype of the scale, if nothing else is asked for."""
    if site.given(1).dtype not in (TensorProto.FLOAT, TensorProto.INT32):
        site.node.set_attribute("precision", int(TensorProto.FLOAT))
    return False


@down("QuantizeLinear", version=23)
def only_in_float(site: Site) -> bool:
    precision = site.attribute("precision") or site.dtype(1)
    if precision not in (TensorProto.FLOAT, TensorProto.INT32):
        raise Cannot("its quotient is rounded to fewer bits than those of float")
    if "precision" in site.node.attributes:
        site.node.remove_attribute("precision")
    return False


@down("QuantizeLinear", "DequantizeLinear", version=13)
def per_tensor(site: Site) -> bool:
    """Before, there was one scale, and no axis."""
    if site.shape(1) != ():
        raise Cannot("it may have more than one scale")
    if "axis" in site.node.attributes:
        site.node.remove_attribute("axis")
    return False
