"""Batch and group normalization."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from graphopt.passes.opset.site import Site
from graphopt.passes.opset.transitions import Cannot, down, up


@up("BatchNormalization", version=9)
def per_channel(site: Site) -> bool:
    """Without `spatial` each element of an entry had statistics of its own: written out."""
    if site.attribute("spatial"):
        return False
    _refuse_training(site)
    x, scale, shift, mean, var = (site.given(i) for i in range(5))
    epsilon = site.constant(site.attribute("epsilon"), site.dtype())
    deviation = site.before("Sqrt", [site.before("Add", [var, epsilon])])
    y = site.before("Div", [site.before("Sub", [x, mean]), deviation])
    return site.instead("Add", [site.before("Mul", [y, scale]), shift])


@up("BatchNormalization", version=14, typed=False)
def inference(site: Site) -> bool:
    """There is an attribute for training since then."""
    _refuse_training(site)
    del site.node.outputs[1:]
    return False


def _refuse_training(site: Site) -> None:
    """Outputs for statistics made it train, whether somebody reads them or not."""
    if any(v is not None for v in site.node.outputs[1:]):
        raise Cannot("it trains")


@down("BatchNormalization", version=14)
def no_training(site: Site) -> bool:
    if site.attribute("training_mode") or site.output(1) is not None:
        raise Cannot("it trains")
    return False


@up("GroupNormalization", version=21)
def per_channel_of_group(site: Site) -> bool:
    """Scale and shift were one number a group."""
    groups = site.attribute("num_groups")
    shape = site.shape()
    channels = shape[1] if shape is not None and len(shape) > 1 else None
    if not isinstance(channels, int) or channels % groups:
        raise Cannot("the number of its channels is not known")
    for i in (1, 2):
        v = site.given(i)
        if v.const is not None:
            wide = site.constant(np.repeat(v.const.numpy(), channels // groups), v.dtype)
        else:
            column = site.before("Reshape", [v, site.constant([groups, 1])])
            spread = site.before("Expand", [column, site.constant([groups, channels // groups])])
            wide = site.before("Reshape", [spread, site.constant([channels])])
        site.node.set_input(i, wide)
    return False


@down("LayerNormalization", version=17)
def layer_norm_written_out(site: Site) -> bool:
    """As exporters write it. ONNX's own function takes the variance as a difference of squares, which loses digits."""
    x, dtype, stash, axis = site.given(0), site.dtype(), site.attribute("stash_type"), site.attribute("axis")
    axes = list(range(axis, 0 if axis < 0 else site.rank()))
    if dtype == TensorProto.DOUBLE and site.output(1) is None and site.output(2) is None:
        stash = dtype  # as kernels do, although the default asks for less
    if dtype != stash:
        x = site.before("Cast", [x], {"to": stash})
    epsilon = site.constant(site.attribute("epsilon"), stash)
    mean_of = {"axes": axes, "keepdims": 1}
    mean = site.give(1, "ReduceMean", [x], mean_of) if site.output(1) else site.before("ReduceMean", [x], mean_of)
    centered = site.before("Sub", [x, mean])
    variance = site.before("ReduceMean", [site.before("Mul", [centered, centered])], mean_of)
    deviation = site.before("Sqrt", [site.before("Add", [variance, epsilon])])
    if site.output(2) is not None:
        site.give(2, "Reciprocal", [deviation])
    y = site.before("Div", [centered, deviation])
    if dtype != stash:
        y = site.before("Cast", [y], {"to": dtype})
    if (shift := site.input(2)) is None:
        return site.instead("Mul", [y, site.given(1)])
    return site.instead("Add", [site.before("Mul", [y, site.given(1)]), shift])
