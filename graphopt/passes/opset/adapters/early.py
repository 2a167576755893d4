"""What changed before opset 8: one-way broadcasting, switches for training, parameters under other names."""

from __future__ import annotations

from onnx import TensorProto

from graphopt.passes.opset.site import Site
from graphopt.passes.opset.transitions import Cannot, up


@up("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less", version=7)
def one_way_broadcast(site: Site) -> bool:
    """The second operand broadcast to the first, from `axis` on, where it was asked to."""
    axis = site.attribute("axis")
    if site.attribute("broadcast", 0) and axis is not None:
        _pad_dims(site, axis)
    for name in ("axis", "broadcast"):
        if name in site.node.attributes:
            site.node.remove_attribute(name)
    return False


def _pad_dims(site: Site, axis: int) -> None:
    """Give the second operand dims behind its own, so that they line up from the right."""
    rank, own = site.rank(0), site.rank(1)
    behind = rank - (axis + rank if axis < 0 else axis) - own
    if behind > 0:
        axes = list(range(own, own + behind))
        site.node.set_input(1, site.before("Unsqueeze", [site.given(1)], {"axes": axes}))


@up("PRelu", version=7)
def slope_per_channel(site: Site) -> bool:
    if site.rank(1) == 1 and site.rank(0) > 2 and site.shape(1) != (1,):
        axes = list(range(1, site.rank(0) - 1))
        site.node.set_input(1, site.before("Unsqueeze", [site.given(1)], {"axes": axes}))
    return False


@up("Gemm", version=7, typed=False)
def gemm_broadcasts(site: Site) -> bool:
    if "broadcast" in site.node.attributes:
        site.node.remove_attribute("broadcast")
    return False


@up("BatchNormalization", version=7, typed=False)
@up("Dropout", version=7, typed=False)
def inference_alone(site: Site) -> bool:
    """Before, an attribute told training from inference; batch normalization without statistics was inference in any case."""
    dropout = site.node.op_type == "Dropout"
    trains = not site.attribute("is_test", 0) and (
        bool(site.attribute("ratio")) if dropout else site.output(1) is not None
    )
    if trains:
        raise Cannot("it trains")
    if "is_test" in site.node.attributes:
        site.node.remove_attribute("is_test")
    if not dropout:
        del site.node.outputs[1:]
    return False


@up("RNN", "LSTM", "GRU", version=7, typed=False)
def no_output_sequence(site: Site) -> bool:
    """Whether the first output was given; outputs may be left out since then."""
    if "output_sequence" in site.node.attributes:
        site.node.remove_attribute("output_sequence")
    return False


@up("Upsample", version=7, typed=False)
def scales_of_images(site: Site) -> bool:
    scales = [1.0, 1.0, site.attribute("height_scale"), site.attribute("width_scale")]
    for name in ("height_scale", "width_scale"):
        site.node.remove_attribute(name)
    site.node.set_attribute("scales", scales)
    return False


@up("Cast", version=6, typed=False)
def dtype_by_name(site: Site) -> bool:
    to = site.attribute("to")
    if isinstance(to, str):
        site.node.set_attribute("to", TensorProto.DataType.Value(to.upper()))
    return False


@up("Pad", version=2, typed=False)
def paddings(site: Site) -> bool:
    pads = site.attribute("paddings")
    site.node.remove_attribute("paddings")
    site.node.set_attribute("pads", pads)
    return False


@up("GlobalLpPool", "LpPool", version=2, typed=False)
def whole_p(site: Site) -> bool:
    p = site.attribute("p")
    if p != int(p):
        raise Cannot(f"p is {p}, and has to be an integer")
    site.node.set_attribute("p", int(p))
    return False
