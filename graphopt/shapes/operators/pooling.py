"""Operators that take one number from a window, a region or all of an image, and the way back."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import TensorProto

from graphopt.ir import Dim, Shape
from graphopt.shapes.dims import add, ceildiv, mul, same_dims, sub
from graphopt.shapes.operators.convolution import Window, auto_pad, numbers_for, places, possible, windows
from graphopt.shapes.registry import infers
from graphopt.shapes.site import Site
from graphopt.shapes.types import TypeInfo

#: From here on windows that would start in the padding behind are not counted.
_STARTS_INSIDE = 22


# -------------------------------------------------------------------------------------------------------------- windows
@infers("AveragePool", "LpPool")
def pool(node: Site) -> TypeInfo:
    """[N, C, D...] -> [N, C, places of the window...]."""
    return TypeInfo(node.dtype(0), _pooled(node))


@infers("MaxPool")
def max_pool(node: Site) -> list[TypeInfo]:
    """The same, and where the numbers were found."""
    shape = _pooled(node)
    return [TypeInfo(node.dtype(0), shape), TypeInfo(TensorProto.INT64, shape)]


def _pooled(node: Site) -> Shape | None:
    kernel: Sequence[int] | None = node.attribute("kernel_shape")
    x = _image(node, kernel)
    if x is None:
        return None
    if not kernel:  # LpPool, opset 1
        return node.or_fresh((*x[:2], *(None for _ in x[2:])))
    moves = windows(node, kernel)
    same, ceil = auto_pad(node) == "SAME", bool(node.attribute("ceil_mode", 0))
    sizes: list[Dim] = []
    for d, k, window in zip(x[2:], kernel, moves, strict=True):
        if same:  # runtimes forget the dilation when they compute the padding
            sizes.append(ceildiv(d, window.stride) if window.extent == k else None)
        else:
            sizes.append(_places_rounded_up(node, d, window) if ceil else places(d, window))
    return node.or_fresh((*x[:2], *map(possible, sizes)))


def _image(node: Site, kernel: Sequence[int] | None) -> Shape | None:
    """[N, C, D...]; a shape of unknown dims where only the kernel says how many."""
    x = node.shape(0)
    if x is None:
        return (None,) * (len(kernel) + 2) if kernel else None
    if len(x) < 3 or (kernel and len(x) != len(kernel) + 2):
        raise ValueError(f"{node.op_type}: the kernel {kernel} does not go with {len(x)} dims")
    return x


def _places_rounded_up(node: Site, size: Dim, window: Window) -> Dim:
    """The places of a window of which the last ones need not lie in the padded dim wholly."""
    padded = add(size, window.before + window.after)
    n = add(ceildiv(sub(padded, window.extent), window.stride), 1)
    assert isinstance(window.extent, int)
    if window.after + window.stride <= window.extent:  # no window can start in the padding behind
        return n
    inside = ceildiv(add(size, window.before), window.stride)
    if node.version >= _STARTS_INSIDE:
        return inside if window.after < window.extent else None  # at most one too many, and one is all that is dropped
    return n if same_dims(n, inside) else None  # what the specification counts, and what runtimes do at all versions


# ----------------------------------------------------------------------------------------------------------------- all
@infers("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(node: Site) -> TypeInfo:
    """[N, C, D...] -> [N, C, 1...]."""
    x = node.shape(0)
    if x is None or len(x) < 2:
        return TypeInfo(node.dtype(0), None)
    return TypeInfo(node.dtype(0), x[:2] + (1,) * (len(x) - 2))


# ------------------------------------------------------------------------------------------------------------- regions
@infers("MaxRoiPool")
def max_roi_pool(node: Site) -> TypeInfo:
    """[N, C, H, W] and regions [R, 5] -> [R, C, ...]."""
    height, width = node.attribute("pooled_shape")
    return TypeInfo(node.dtype(0), _regions(node, 5, int(height), int(width)))


@infers("RoiAlign")
def roi_align(node: Site) -> TypeInfo:
    """[N, C, H, W], regions [R, 4] and the image of each -> [R, C, ...]."""
    height, width = int(node.attribute("output_height", 1)), int(node.attribute("output_width", 1))
    return TypeInfo(node.dtype(0), _regions(node, 4, height, width, images=2))


def _regions(node: Site, numbers: int, height: int, width: int, images: int | None = None) -> Shape:
    """What is taken from each region; each is so many numbers."""
    x, regions = node.shape(0), node.shape(1)
    if (x is not None and len(x) != 4) or (regions is not None and len(regions) != 2):
        raise ValueError(f"{node.op_type} takes 4 dims and regions of 2, not {x} and {regions}")
    count: Dim = None
    if regions is not None:
        node.equate(regions[1], numbers)
        count = regions[0]
    if images is not None:
        given = node.shape(images)
        count = node.equate(count, given[0]) if given is not None and len(given) == 1 else count
    return node.or_fresh((count, None if x is None else x[1], height, width))


# ---------------------------------------------------------------------------------------------------------------- back
@infers("MaxUnpool")
def max_unpool(node: Site) -> TypeInfo:
    """What was pooled, back where it came from: the shape that is given, or the smallest that it can come from."""
    kernel = node.attribute("kernel_shape")
    x, indices = _image(node, kernel), node.shape(1)
    if x is None:
        return TypeInfo(node.dtype(0), None)
    if indices is not None:
        if len(indices) != len(x):
            raise ValueError(f"MaxUnpool: {indices} and {x} must be equal")
        x = tuple([node.equate(d, i) for d, i in zip(x, indices, strict=True)])
    if node.has(2):
        given = node.numbers(2)
        if given is not None and len(given) != len(x):
            raise ValueError(f"MaxUnpool: {len(given)} numbers in output_shape for {len(x)} dims")
        return TypeInfo(node.dtype(0), node.or_fresh(map(possible, given or [None] * len(x))))
    n = len(x) - 2
    strides, pads = numbers_for(node, "strides", n, 1), numbers_for(node, "pads", 2 * n, 0)
    sizes = [
        sub(add(mul(sub(d, 1), s), int(k)), before + after)
        for d, k, s, before, after in zip(x[2:], kernel, strides, pads[:n], pads[n:], strict=True)
    ]
    return TypeInfo(node.dtype(0), node.or_fresh((*x[:2], *map(possible, sizes))))
