"""Convolutions, and what puts blocks back into an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from onnx import TensorProto

from graphopt.ir import Dim, Shape
from graphopt.shapes.dims import add, ceildiv, exact_div, floordiv, less_equal, mul, product, sub
from graphopt.shapes.registry import infers
from graphopt.shapes.site import Site
from graphopt.shapes.types import TypeInfo

_SAME = ("SAME_UPPER", "SAME_LOWER")


# ------------------------------------------------------------------------------------------------------------- windows
class Window(NamedTuple):
    """How a window moves along one spatial dim.

    Attributes:
        extent: the elements that it spans, with the holes that a dilation leaves.
        before: padding in front.
        after: padding behind.
    """

    extent: Dim
    stride: int
    before: int
    after: int


def auto_pad(node: Site) -> str:
    """How the padding is chosen: NOTSET (by `pads`), VALID (none) or one of two that are SAME to us.

    `pads` beside a choice are not allowed; where a runtime takes them, the choice wins.
    """
    choice = str(node.attribute("auto_pad", "NOTSET")) or "NOTSET"
    if choice in _SAME:
        return "SAME"
    if choice not in ("NOTSET", "VALID"):
        raise ValueError(f"{node.op_type}: auto_pad cannot be '{choice}'")
    return choice


def windows(node: Site, kernel: Sequence[Dim]) -> list[Window]:
    """The windows of a kernel, one for each spatial dim; with `auto_pad` they have no padding."""
    n = len(kernel)
    strides, dilations = numbers_for(node, "strides", n, 1), numbers_for(node, "dilations", n, 1)
    pads = numbers_for(node, "pads", 2 * n, 0) if auto_pad(node) == "NOTSET" else [0] * (2 * n)
    extents = [add(mul(sub(k, 1), d), 1) for k, d in zip(kernel, dilations, strict=True)]
    return [Window(*w) for w in zip(extents, strides, pads[:n], pads[n:], strict=True)]


def numbers_for(node: Site, name: str, count: int, default: int) -> list[int]:
    """An attribute with a number for each spatial dim; runtimes take an empty one for one that is left out."""
    found: Sequence[Any] = node.attribute(name) or [default] * count
    if len(found) != count:
        raise ValueError(f"{node.op_type}: {len(found)} numbers in {name}, where {count} are needed")
    return [int(i) for i in found]


def places(size: Dim, window: Window) -> Dim:
    """How many places a window has in a dim. Runtimes differ where it does not fit: None where that is certain."""
    room = sub(add(size, window.before + window.after), window.extent)
    if isinstance(room, int) and room < 0:
        return None
    return add(floordiv(room, window.stride), 1)


def possible(d: Dim) -> Dim:
    """A computed number of places. What is no number is one in any run, or the node does not run."""
    return None if isinstance(d, int) and d < 0 else d


# -------------------------------------------------------------------------------------------------------- convolutions
def _convolved(node: Site, weight: int, bias: int | None) -> Shape | None:
    """[N, C, D...] * [M, C/group, K...] -> [N, M, places of the kernel...]."""
    x, w = _two(node, weight)
    if x is None or w is None:
        return None
    node.equate(x[1], mul(w[1], int(node.attribute("group", 1))))
    kernel = _kernel(node, w)
    moves = windows(node, kernel)
    if auto_pad(node) == "SAME":
        sizes = [ceildiv(d, m.stride) for d, m in zip(x[2:], moves, strict=True)]
    else:
        sizes = [places(d, m) for d, m in zip(x[2:], moves, strict=True)]
    return node.or_fresh((x[0], _biased(node, w[0], bias), *sizes))


def _two(node: Site, weight: int) -> tuple[Shape | None, Shape | None]:
    """The shapes of input and weight, which have one rank; a shape of unknown dims where only that rank is known."""
    x, w, kernel = node.shape(0), node.shape(weight), node.attribute("kernel_shape")
    ranks = {len(s) for s in (x, w) if s is not None}
    if kernel:
        ranks.add(len(kernel) + 2)
    if not ranks:
        return None, None
    if len(ranks) > 1 or min(ranks) < 3:
        raise ValueError(f"{node.op_type}: input {x}, weight {w} and kernel {kernel} do not go together")
    unknown = (None,) * ranks.pop()
    return unknown if x is None else x, unknown if w is None else w


def _kernel(node: Site, w: Shape) -> Sequence[Dim]:
    """The spatial dims of a weight."""
    given = node.attribute("kernel_shape")
    return [node.equate(d, int(k)) for d, k in zip(w[2:], given, strict=True)] if given else w[2:]


def _biased(node: Site, channels: Dim, bias: int | None) -> Dim:
    """Channels of an output: as many as the bias has elements."""
    b = None if bias is None else node.shape(bias)
    return node.equate(channels, b[0]) if b is not None and len(b) == 1 else channels


@infers("Conv")
def conv(node: Site) -> TypeInfo:
    """The dtype of the input."""
    return TypeInfo(node.dtype(0), _convolved(node, weight=1, bias=2))


@infers("ConvInteger")
def conv_integer(node: Site) -> TypeInfo:
    """Sums of products of 8-bit numbers."""
    return TypeInfo(TensorProto.INT32, _convolved(node, weight=1, bias=None))


@infers("QLinearConv")
def qlinear_conv(node: Site) -> TypeInfo:
    """The dtype of the output's zero point."""
    return TypeInfo(node.dtype(7), _convolved(node, weight=3, bias=8))


@infers("DeformConv")
def deform_conv(node: Site) -> TypeInfo:
    """Offsets (and factors, in the mask) for each element of the kernel at each of its places."""
    out = _convolved(node, weight=1, bias=3)
    for i in (2, 4):
        given = node.shape(i)
        if out is not None and given is not None:
            if len(given) != len(out):
                raise ValueError(f"DeformConv: {given} has not {len(out)} dims")
            spatial = [node.equate(d, g) for d, g in zip(out[2:], given[2:], strict=True)]
            out = (node.equate(out[0], given[0]), out[1], *spatial)
    return TypeInfo(node.dtype(0), out)


@infers("ConvTranspose")
def conv_transpose(node: Site) -> TypeInfo:
    """[N, C, D...] * [C, M/group, K...] -> [N, M, ...]: each element spreads over the extent of the kernel."""
    x, w = _two(node, 1)
    if x is None or w is None:
        return TypeInfo(node.dtype(0), None)
    node.equate(x[1], w[0])
    moves = windows(node, _kernel(node, w))
    channels = _biased(node, mul(w[1], int(node.attribute("group", 1))), 2)
    given = node.attribute("output_shape")
    if given:
        if len(given) not in (len(moves), len(x)):  # runtimes take batch and channels too, and do not look at them
            raise ValueError(f"ConvTranspose: {len(given)} numbers in output_shape for {len(moves)} spatial dims")
        sizes: list[Dim] = [int(d) for d in given[-len(moves) :]]
    else:
        padding = numbers_for(node, "output_padding", len(moves), 0)
        same = auto_pad(node) == "SAME"
        sizes = [_spread(d, m, p, same) for d, m, p in zip(x[2:], moves, padding, strict=True)]
    return TypeInfo(node.dtype(0), node.or_fresh((x[0], channels, *map(possible, sizes))))


def _spread(size: Dim, window: Window, output_padding: int, same: bool) -> Dim:
    """What one dim becomes in the other direction."""
    if same:  # where that needs less than no padding, runtimes do not do what the specification says
        fits = less_equal(window.stride, add(window.extent, output_padding))
        return mul(size, window.stride) if fits else None
    most = add(mul(sub(size, 1), window.stride), add(window.extent, output_padding))
    return sub(most, window.before + window.after)


@infers("CausalConvWithState")
def causal_conv_with_state(node: Site) -> list[TypeInfo]:
    """[N, C, L], and what the kernel [C, 1, K] has yet to see: [N, C, K - 1]."""
    n, c, length = _three(node, 0)
    channels, one, k = _three(node, 1)
    batch, state, kept = _three(node, 3)
    node.equate(one, 1)
    n, c = node.equate(n, batch), node.equate(node.equate(c, channels), state)
    c, kept = _biased(node, c, 2), node.equate(sub(k, 1), kept)
    outputs = ((n, c, length), (n, c, possible(kept)))
    return [TypeInfo(node.dtype(0), node.or_fresh(s)) for s in outputs]


def _three(node: Site, i: int) -> Shape:
    shape = node.shape(i)
    if shape is None:
        return (None,) * 3
    if len(shape) != 3:
        raise ValueError(f"{node.op_type}: input {i} has 3 dims, not {len(shape)}")
    return shape


# -------------------------------------------------------------------------------------------------------------- Col2Im
@infers("Col2Im")
def col2im(node: Site) -> TypeInfo:
    """[N, C·block, places of the block] -> [N, C, image...]."""
    n, c, count = _three(node, 0)
    image, block = node.numbers(1), node.numbers(2)
    rank = next((len(s) for s in (image, block) if s is not None), None)
    for name, parts in (("strides", 1), ("dilations", 1), ("pads", 2)):
        if rank is None and node.attribute(name):
            rank = len(node.attribute(name)) // parts
    if rank is None:
        return TypeInfo(node.dtype(0), None)
    image, block = image or [None] * rank, block or [None] * rank
    if len(image) != len(block):
        raise ValueError(f"Col2Im: {len(block)} dims of a block for {len(image)} of an image")
    sizes = [places(d, w) for d, w in zip(image, windows(node, block), strict=True)]
    node.equate(count, product(sizes))
    channels = exact_div(c, product(block))
    return TypeInfo(node.dtype(0), node.or_fresh((n, channels, *map(possible, image))))
