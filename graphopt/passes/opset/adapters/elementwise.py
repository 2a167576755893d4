"""Arithmetic, Clip, Dropout, sums of several tensors."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from graphopt.passes.opset.site import Site
from graphopt.passes.opset.transitions import Cannot, down, up
from graphopt.shapes import same_shape

_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16})


@down("Sum", "Max", "Min", "Mean", version=8)
def operands_of_one_shape(site: Site) -> bool:
    """Before, operands did not broadcast; a sum may be written as additions, which do."""
    shapes = [site.shape(i) for i in range(len(site.node.inputs))]
    if all(same_shape(shapes[0], s) for s in shapes[1:]):
        return False
    if site.node.op_type != "Sum":
        raise Cannot("its operands may have different shapes")
    total = site.given(0)
    for i in range(1, len(shapes) - 1):
        total = site.before("Add", [total, site.given(i)])
    return site.instead("Add", [total, site.given(len(shapes) - 1)])


@down("Max", "Min", version=12)
def extremes_of_whole_numbers(site: Site) -> bool:
    """Before, of floats alone: one of two is chosen."""
    if site.dtype() in _FLOATS or site.target < 9:
        return False
    if len(site.node.inputs) == 1:
        return site.instead("Identity", [site.given(0)])
    chosen, *others = (site.given(i) for i in range(len(site.node.inputs)))
    compare = "Greater" if site.node.op_type == "Max" else "Less"
    for v in others[:-1]:
        chosen = site.before("Where", [site.before(compare, [chosen, v]), chosen, v])
    return site.instead("Where", [site.before(compare, [chosen, others[-1]]), chosen, others[-1]])


@down("Clip", version=11)
def known_bounds(site: Site) -> bool:
    """Bounds that are computed: the smaller of one and the larger of the other."""
    bounds = [site.input(1), site.input(2)]
    if site.target < 8 or all(b is None or site.number(i + 1) is not None for i, b in enumerate(bounds)):
        return False
    low, high = bounds
    if site.dtype() not in _FLOATS:
        raise Cannot("its bounds are computed by the graph")
    if low is not None and high is not None:
        return site.instead("Min", [site.before("Max", [site.given(0), low]), high])
    return site.instead("Max" if high is None else "Min", [site.given(0), low if high is None else high])


@up("Dropout", version=10)
def mask_of_bools(site: Site) -> bool:
    """The mask had the dtype of the input."""
    _cast_mask(site, site.dtype(), TensorProto.BOOL)
    return False


@down("Dropout", version=10)
def mask_of_floats(site: Site) -> bool:
    _cast_mask(site, TensorProto.BOOL, site.dtype())
    return False


def _cast_mask(site: Site, old: int, new: int) -> None:
    """Give the mask the dtype that it had; one that nobody reads goes."""
    if site.output(1) is not None:
        site.then(1, "Cast", attributes={"to": int(old)}, dtype=new)
    elif len(site.node.outputs) > 1:
        del site.node.outputs[1:]
        site.node.touch()


@down("Dropout", version=12)
def inference_alone(site: Site) -> bool:
    """At inference the ratio does not matter, so it need not be known."""
    if site.input(2) is not None:
        if site.needed(2).any():
            raise Cannot("it trains")
        site.node.put_input(2, None)
    if site.input(1) is not None and site.number(1) is None:
        site.node.put_input(1, None)
    return False


@down("Gemm", version=11)
def gemm_with_c(site: Site) -> bool:
    if site.input(2) is None:
        site.node.put_input(2, site.constant(0, site.dtype()))
    return False


@down("HardSwish", version=14)
def hard_swish_of_doubles(site: Site) -> bool:
    """HardSigmoid's slope is a float, and a sixth of a double is another number."""
    x = site.given(0)
    if x.dtype != TensorProto.DOUBLE:
        return False
    six, half, zero, one = (site.constant(c, x.dtype) for c in (6, 0.5, 0, 1))
    shifted = site.before("Add", [site.before("Div", [x, six]), half])
    return site.instead("Mul", [x, site.before("Clip", [shifted, zero, one])])


@down("Mod", version=28)
def mod_of_floats(site: Site) -> bool:
    """Before, the remainder with the sign of the divisor was one of integers."""
    if site.dtype() in (_FLOATS | {TensorProto.BFLOAT16}) and not site.attribute("fmod"):
        raise Cannot("with fmod=0 it takes integers alone")
    return False


@down("Pow", version=12)
def exponent_of_same_dtype(site: Site) -> bool:
    """Before, both had one dtype."""
    base, other = site.dtype(0), site.dtype(1)
    if base == other:
        return False
    exponent = site.number(1)
    if exponent is None or base not in _FLOATS:
        raise Cannot("base and exponent have different dtypes")
    v = site.constant(exponent, base)
    assert v.const is not None
    if not np.array_equal(v.const.numpy().astype(exponent.dtype), exponent):
        raise Cannot("its exponent does not fit into the dtype of the base")
    site.node.set_input(1, v)
    return False
