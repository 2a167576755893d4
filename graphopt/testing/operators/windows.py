"""Convolutions and pooling."""

from __future__ import annotations

from math import prod

from graphopt.testing.building.builder import LARGEST, Invalid
from graphopt.testing.operators.linear import with_gaps
from graphopt.testing.operators.registry import operands
from graphopt.testing.operators.site import Shape, Site

_IMAGE = {0: (3, 5)}
#: What a rule says that wants windows to lie inside of the image.
_REACHES_OVER = "windows reach over the border"
#: Sizes of spatial dims, and how often they are drawn.
_SIZES = ((1, 2), (4, 3), (3, 4), (1, 1), (3, 5), (2, 6))


def _image(s: Site, ranks: tuple[int, int] = (3, 5)) -> Shape:
    """The shape of the first operand: batch, channels, one to three spatial dims large enough for a kernel.

    Args:
        ranks: the lowest and the highest that suit the weights.
    """
    x = s.shape(0)
    if x is None:
        low, high = max(s.ranks(0)[0], ranks[0]), min(s.ranks(0)[1], ranks[1])
        rank = s.choices.one([r for r in (4, 3, 5) if low <= r <= high] or [0])
        if not rank:
            raise Invalid("no rank suits all who read an image")
        alike = s.builder.alike
        sizes = [alike or s.choices.weighted(_SIZES[: 4 if rank > 4 else 6]) for _ in range(rank - 2)]
        if s.large and not s.choices.chance(4):
            sizes = [9] * len(sizes)
        elif "Squeeze" in s.beside and not s.choices.chance(4):
            sizes[s.choices.integer(0, len(sizes) - 1)] = 1
        x = (
            alike or s.choices.one([1, 1, 1, 1, 2] if s.whole else [1, 2, 3]),
            alike or s.choices.one([1, 2, 4, 3, 6]),
            *sizes,
        )
        s.operand(0, x)
        x = s.shape(0)
    if x is None or not 3 <= len(x) <= 5:
        raise Invalid(f"{s.op_type} of {x}")
    return x


def _window(s: Site, x: Shape, kernel: Shape, dilated: bool = True, beyond: bool = False) -> None:
    """Strides, pads, dilations and auto_pad. `beyond`: windows may lie in the padding altogether."""
    n = len(kernel)
    inside = s.asks(_REACHES_OVER) and not s.choices.chance(6)
    steps = ((1, 1), (3, 2), (1, 3)) if inside else ((3, 1), (1, 2))
    none = None if inside else [1] * n
    strides = s.parameter("strides", lambda: [s.choices.weighted(steps) for _ in range(n)], none)
    # larger steps than the kernel make for less than no padding, of which ONNX Runtime complains
    same = ["SAME_UPPER", "SAME_LOWER"] if all(k >= d for k, d in zip(kernel, strides)) else []
    auto = s.text("auto_pad", ["NOTSET", "NOTSET", *([] if inside else same), "VALID"], "NOTSET")
    pads = [0] * 2 * n
    if auto == "NOTSET" and not inside:
        least = 2 if beyond and s.choices.chance(3) else 1
        before = [p[n:] + p[:n] for p in s.recent("pads") if len(p) == 2 * n] if s.repeats else []

        def options() -> list[int]:
            if 0 in x[2:]:  # padding alone makes something of it
                return [1] * 2 * n
            if before and s.choices.integer(0, 1):  # as many on the other sides
                return s.choices.one(before)
            return [s.choices.integer(0, max(min(1, k - 2 + least), 0)) for k in (*kernel, *kernel)]

        pads = s.parameter("pads", options, pads)
    if dilated and "dilations" in s.schema.attributes and (auto in ("NOTSET", "VALID")):
        # now and then so far apart that a window sees nothing but padding
        padding = [p + q for p, q in zip(pads, pads[n:])] if len(pads) == 2 * n and s.choices.chance(3) else [0] * n
        fits = all((k - 1) * 2 < d + p for k, d, p in zip(kernel, x[2:], padding))
        s.parameter("dilations", lambda: [2 if fits and s.choices.chance(4) else 1] * n, [1] * n)


def _kernel(s: Site, x: Shape, most: int = 3, least: int = 1) -> Shape:
    return tuple(s.choices.integer(max(min(least, d), 1), max(min(most, d), 1)) for d in x[2:])


@operands("Conv", ranks={0: (3, 5), 1: (3, 5), 2: (1, 1)})
def conv(s: Site) -> None:
    convolution(s, 1, 2)


def convolution(s: Site, weights: int, bias: int | None) -> Shape:
    """A convolution of the first operand, whose weights and bias stand at these places; the shape of its weights."""
    x = _image(s, s.ranks(weights))
    w = s.shape(weights)
    channels = x[1]
    if w is None:
        before = [k for k in s.recent("convolved") if k[0] == x]
        s.repeats = bool(before) and s.choices.chance(2)
        groups = (channels, 2, 2) if s.pointwise else (channels, 2)
        group = s.parameter("group", lambda: s.choices.one([1, 1, *(g for g in groups if g and channels % g == 0)]), 1)
        alike = s.builder.alike if group == 1 else None
        pointwise = s.choices.chance(2 if alike else 3) or (s.pointwise and not s.choices.chance(6))
        kernel = (1,) * (len(x) - 2) if pointwise else _kernel(s, x)
        outputs = 0 if s.choices.chance(24) else alike or group * s.choices.integer(1, 4)
        if s.whole and not s.choices.chance(6):
            many = [k for k in (32, 48) if k * x[0] * prod(x[2:]) <= LARGEST and k % group == 0]
            outputs = s.choices.one(many or [group, 2 * group])
        if (s.one_output and not s.choices.chance(4)) or (s.larger and s.choices.integer(0, 1)):
            outputs = group
        if "Add" in s.beside and s.choices.chance(3):  # what it is added to has as many channels
            outputs = channels
        if s.repeats:
            _, outputs, kernel = before[-1]
        s.note("convolved", (x, outputs, kernel))
        w = (outputs, channels // group, *kernel)
        s.operand(weights, w, array=with_gaps(s, weights, w, 1))
        w = s.shape(weights)
        assert w is not None
    else:
        group = s.parameter("group", lambda: channels // w[1] if w[1] and channels % w[1] == 0 else 1, 1)
    if len(w) != len(x):
        raise Invalid("weights of another rank")
    if bias is not None:
        s.operand(bias, (w[0],))
    if s.choices.chance(3):
        s.parameter("kernel_shape", lambda: list(w[2:]))
    _window(s, x, w[2:], beyond=True)
    return w


@operands("ConvTranspose", ranks={0: (3, 5), 1: (3, 5), 2: (1, 1)})
def conv_transpose(s: Site) -> None:
    x = _image(s)
    channels = x[1]
    group = s.parameter(
        "group", lambda: s.choices.one([1, 1, *(g for g in (channels, 2) if g and channels % g == 0)]), 1
    )
    w = (channels, s.builder.alike or s.choices.integer(1, 3), *_kernel(s, x, 2))
    s.operand(1, w)
    w = s.shape(1) or w
    s.operand(2, (w[1] * group,))
    n = len(w) - 2
    strides = s.parameter("strides", lambda: [s.choices.weighted(((3, 1), (1, 2))) for _ in range(n)], [1] * n)
    s.parameter("output_padding", lambda: [s.choices.integer(0, k - 1) for k in strides], [0] * n)
    s.parameter("pads", lambda: [s.choices.integer(0, min(1, k - 1)) for k in (*w[2:], *w[2:])], [0] * 2 * n)


def _padded(s: Site) -> bool:
    """Whether a Pad stands in front. Raises Invalid where nobody knows that it makes an image of nothing."""
    node = s.inputs[0].node
    before = node.inputs[0] if node is not None and node.op == "Pad" else None
    if before is None:
        return False
    doubted = s.asks("a window may see padding alone")
    if 0 in s.builder.arrays[before].shape and 0 not in (before.shape or ()) and not doubted:
        raise Invalid("an empty image of unknown size")
    return True


def _beyond(s: Site, x: Shape) -> None:
    """A window on both sides of what there is: a single element, which may have been padded already."""
    single = [int(d == 1) for d in x[2:]]
    s.parameter("kernel_shape", lambda: [2 if d in (1, 3) else 1 for d in x[2:]])
    s.parameter("pads", lambda: single * 2)
    s.parameter("dilations", lambda: [2] * len(single))


@operands("AveragePool", "MaxPool", "LpPool", ranks=_IMAGE, carries=(0,))
def pool(s: Site) -> None:
    x = _image(s)
    padded = _padded(s) and not s.choices.chance(4)
    if s.asks("dilations") and "dilations" in s.schema.attributes and {1, 3} & {*x[2:]} and s.choices.chance(2):
        _beyond(s, x)
        return
    sizes = [list(_kernel(s, x, least=2 if padded else 1)), [1] * (len(x) - 2), list(x[2:])]
    kernel = s.parameter(
        "kernel_shape", lambda: s.choices.weighted(list(zip((12 if padded else 3, 2, 1), sizes, strict=True)))
    )
    if kernel is None or len(kernel) != len(x) - 2:
        raise Invalid("a kernel of another rank")
    _window(s, x, tuple(kernel))
    if "count_include_pad" in s.schema.attributes:
        s.integer("count_include_pad", [0, 1], 0)
    if "ceil_mode" in s.schema.attributes:
        s.integer("ceil_mode", [0, 0, 1], 0)
    if "storage_order" in s.schema.attributes and s.outputs > 1:
        s.integer("storage_order", [0, 1], 0)
    if s.op_type == "LpPool":
        s.parameter("p", lambda: s.choices.one([2, 1]), 2)


@operands("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", ranks=_IMAGE, carries=(0,))
def global_pool(s: Site) -> None:
    if s.shape(0) is None and s.choices.chance(3):
        least, most = s.ranks(0)
        s.operand(0, (2, s.choices.integer(1, 3), *(1,) * (max(least, 3) - 2 if most < 4 else 2)))
    _image(s)
    if s.op_type == "GlobalLpPool":
        s.parameter("p", lambda: s.choices.one([2, 1]), 2)
