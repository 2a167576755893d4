"""How windows move over the spatial dims of an image: what convolutions and poolings share.

Only padding and basic slices with steps, which every backend has: the elements that the windows see at one of their
offsets are a slice, and what a window makes of its elements is made of whole slices.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from graphopt.exec.kernels.registry import Array

#: Elements in front of a dim and behind it.
Pads = tuple[tuple[int, int], ...]


class Windows(NamedTuple):
    """Windows over spatial dims; each attribute has an entry for each of these.

    Attributes:
        kernel: elements of a window.
        strides: from one window to the next.
        dilations: from one element of a window to the next.
        pads: the padding asked for.
        places: the number of windows.
        cover: the padding that the windows see: less than asked for where the last ones end before, more where
            `ceil_mode` lets them stick out.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads
    places: tuple[int, ...]
    cover: Pads

    def along(self, dim: int) -> Iterator[slice]:
        """What the windows see of a padded dim, one slice for each element of the kernel."""
        stride, step, last = self.strides[dim], self.dilations[dim], self.places[dim] - 1
        for i in range(self.kernel[dim]):
            yield slice(i * step, i * step + max(stride * last + 1, 0), stride)

    def offsets(self) -> Iterator[tuple[slice, ...]]:
        """The same for all dims together, in the order of the kernel's elements."""
        return itertools.product(*[list(self.along(dim)) for dim in range(len(self.kernel))])


def windows(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    whole: bool = True,
) -> Windows:
    """The windows that the attributes of an operator describe.

    Args:
        sizes: the spatial dims.
        kernel: elements of a window along each.
        strides: 1 where left out or empty, as the dilations.
        dilations: from one element of a window to the next.
        pads: in front of all dims, then behind all; they count without `auto_pad` only.
        auto_pad: 'SAME_UPPER' and 'SAME_LOWER' pad to one window for each stride, the odd element behind or in front.
        ceil_mode: a last window may stick out behind the padding, as long as it does not start there.
        whole: a window must fit into each dim; otherwise runtimes round towards 0, so that one may be left that does not.

    Raises:
        ValueError: the attributes do not go with the dims, or the kernel does not fit into them.
    """
    given = [tuple(numbers or ()) for numbers in (strides, dilations, pads)]
    return _windows(tuple(sizes), tuple(kernel), *given, auto_pad, ceil_mode, whole)


@functools.lru_cache(maxsize=1 << 12)
def _windows(
    sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: tuple[int, ...],
    auto_pad: str,
    ceil_mode: int,
    whole: bool,
) -> Windows:
    n = len(sizes)
    for name, given, count in (
        ("kernel", kernel, n),
        ("strides", strides, n),
        ("dilations", dilations, n),
        ("pads", pads, 2 * n),
    ):
        if len(given) != count and (given or name == "kernel"):
            raise ValueError(f"{name} {list(given)} does not have {count} numbers, for spatial dims {list(sizes)}")
    strides, dilations, pads = strides or (1,) * n, dilations or (1,) * n, pads or (0,) * (2 * n)
    if min((*kernel, *strides, *dilations), default=1) < 1:
        raise ValueError(f"kernel {kernel}, strides {strides} and dilations {dilations} must be positive")
    around = chosen_pads(auto_pad, sizes, kernel, strides, dilations) or tuple(zip(pads[:n], pads[n:], strict=True))
    places = []
    for size, k, stride, step, (before, after) in zip(sizes, kernel, strides, dilations, around, strict=True):
        room = before + size + after - (k - 1) * step - 1
        count = (-(-room // stride) if ceil_mode or room < 0 else room // stride) + 1
        if ceil_mode and (count - 1) * stride >= before + size:
            count -= 1
        if room < 0 and size == 0:
            count = 0
        elif room < 0 and (count < 0 or whole):
            raise ValueError(
                f"a kernel of {kernel}, dilated by {dilations}, does not fit into {list(sizes)} padded by {around}"
            )
        places.append(count)
    cover = tuple(
        (before, (count - 1) * stride + (k - 1) * step + 1 - size - before)
        for size, k, stride, step, (before, _), count in zip(
            sizes, kernel, strides, dilations, around, places, strict=True
        )
    )
    return Windows(kernel, strides, dilations, around, tuple(places), cover)


def chosen_pads(
    auto_pad: str, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Pads | None:
    """The padding that `auto_pad` asks for; None where it leaves that to `pads`.

    Raises:
        ValueError: there is no such choice.
    """
    if auto_pad in ("NOTSET", ""):
        return None
    if auto_pad == "VALID":
        return ((0, 0),) * len(sizes)
    if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        raise ValueError(f"auto_pad cannot be '{auto_pad}'")
    totals = [
        max((-(-size // stride) - 1) * stride + (k - 1) * step + 1 - size, 0)
        for size, k, stride, step in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    return tuple(halves(total, auto_pad == "SAME_UPPER") for total in totals)


def halves(total: int, upper: bool) -> tuple[int, int]:
    """Padding split between front and back; an odd element goes to the back if `upper`."""
    less, more = total // 2, total - total // 2
    return (less, more) if upper else (more, less)


def padded(xp: Any, x: Array, pads: Pads, value: Any = 0) -> Array:
    """The spatial dims of an image with elements added at their ends, or taken away where pads are negative."""
    x = cropped(x, pads)
    return xp.pad(x, ((0, 0), (0, 0), *((max(before, 0), max(after, 0)) for before, after in pads)), value)


def cropped(x: Array, pads: Pads) -> Array:
    """An image less the elements that negative pads take away."""
    if all(before >= 0 and after >= 0 for before, after in pads):
        return x
    kept = [slice(max(-before, 0), n - max(-after, 0)) for n, (before, after) in zip(x.shape[2:], pads, strict=True)]
    return x[(..., *kept)]


def padded_last(xp: Any, x: Array, pads: Pads, value: Any = 0) -> Array:
    """`padded` of an image with its channels last."""
    x, pads = cropped_last(x, pads)
    return xp.pad(x, ((0, 0), *pads, (0, 0)), value) if any(map(any, pads)) else x


def cropped_last(x: Array, pads: Pads) -> tuple[Array, Pads]:
    """An image with its channels last, less the elements that negative pads take away, and the pads that are left."""
    inside = tuple([slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape[1:-1], pads, strict=True)])
    return x[(slice(None), *inside)], tuple([(max(a, 0), max(b, 0)) for a, b in pads])
