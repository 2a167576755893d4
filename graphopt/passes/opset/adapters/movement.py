"""Shapes and what moves elements: Reshape, Shape, Split, Slice, Pad, DepthToSpace, and axes from the back."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from graphopt.passes.opset.adapters.indexing import no_index_from_the_back
from graphopt.passes.opset.site import Site
from graphopt.passes.opset.transitions import Cannot, down, up
from graphopt.shapes import known_elements, same_dims
from graphopt.shapes.dims import divides, is_anonymous

_LAST = np.iinfo(np.int64).max


@down(
    "ArgMax", "ArgMin", "Concat", "Flatten", "Gather", "OneHot", "Split", "Squeeze", "Unsqueeze", "Compress",
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
    version=11,
)  # fmt: skip
def axes_from_the_front(site: Site) -> bool:
    """Before, axes did not count from the back. Indices did not either, though runtimes let those of Gather."""
    node = site.node
    if node.op_type == "Gather":
        no_index_from_the_back(site, 1, known=False)
    if node.op_type == "OneHot":
        no_index_from_the_back(site, 0, known=True)
    for name in ("axis", "axes"):
        value = site.attribute(name)
        axes = value if isinstance(value, list) else [value]
        if value is None or all(a >= 0 for a in axes):
            continue
        rank = site.rank() + {"Unsqueeze": len(axes), "OneHot": 1}.get(node.op_type, 0)
        front = [a + rank if a < 0 else a for a in axes]
        node.set_attribute(name, front if isinstance(value, list) else front[0])
    return False


@down("Slice", version=11)
def axes_of_slice_from_the_front(site: Site) -> bool:
    """The same; the axes of Slice are an input at that time."""
    if site.input(3) is not None:
        axes = site.needed(3)
        if (axes < 0).any():
            site.node.set_input(3, site.constant(np.where(axes < 0, axes + site.rank(), axes), site.given(3).dtype))
    return False


@down("Slice", version=10)
def slice_of_steps(site: Site) -> bool:
    if site.input(4) is not None:
        if (site.needed(4) != 1).any():
            raise Cannot("it takes steps")
        site.node.put_input(4, None)
    return False


@down("Reshape", version=14)
def zeros_copy(site: Site) -> bool:
    """With `allowzero` a zero means a dim of size 0: it does not matter where there is none."""
    if not site.attribute("allowzero"):
        return False
    made = site.node.output.shape
    if not (made is not None and all(isinstance(d, int) and d for d in made)) and not _zeros_stay(site):
        raise Cannot("it may make a dim of size 0, unless dims of the inputs are fixed (input_shapes)")
    site.node.remove_attribute("allowzero")
    return False


def _zeros_stay(site: Site) -> bool:
    """Whether no element of the shape is 0, or it is a dim, which means itself where it is 0 (as docs/shapes.md assumes)."""
    wanted, shape = known_elements(site.given(1)), site.shape() or ()
    return wanted is not None and all(
        d != 0 if isinstance(d, int) else not is_anonymous(d) or (i < len(shape) and bool(same_dims(d, shape[i])))
        for i, d in enumerate(wanted.reshape(-1))
    )


@down("Trilu", version=14)
def triangle_written_out(site: Site) -> bool:
    """A comparison of rows and columns chooses between an element and zero."""
    x, shape = site.given(0), site.shape()
    if site.target < 11 or shape is None or len(shape) < 2:
        raise Cannot("there is no such operator")
    size = site.before("Shape", [x])
    zero, one = site.constant(0), site.constant(1)
    rows, columns = (
        site.before("Range", [zero, site.before("Gather", [size, site.constant(i)]), one]) for i in (-2, -1)
    )
    rows = site.before("Unsqueeze", [rows, site.constant([1])])
    if (k := site.input(1)) is not None:
        rows = site.before("Add", [rows, k])
    if site.attribute("upper"):
        outside = site.before("Less", [columns, rows])
    else:
        outside = site.before("Greater", [columns, rows])
    if site.dtype() == TensorProto.BOOL:  # which runtimes do not choose between
        return site.instead("And", [site.before("Not", [outside]), x])
    return site.instead("Where", [outside, site.constant(0, site.dtype()), x])


@down("Shape", version=15)
def part_of_shape(site: Site) -> bool:
    start, end = site.attribute("start"), site.attribute("end")
    if not start and end is None:
        return False
    whole = site.before("Shape", [site.given(0)])
    ends = site.constant([_LAST if end is None else end])
    return site.instead("Slice", [whole, site.constant([start]), ends])


@up("Split", version=18, typed=False)
def number_of_parts(site: Site) -> bool:
    if site.input(1) is None:
        site.node.set_attribute("num_outputs", len(site.node.outputs))
    return False


@down("Split", version=18)
def parts_of_one_size(site: Site) -> bool:
    """Before, the last part could not be smaller; sizes that are known are written down."""
    node, count = site.node, len(site.node.outputs)
    if site.input(1) is None:
        shape, rank = site.shape(), site.rank()
        size = shape[site.attribute("axis") % rank] if shape is not None else None
        if isinstance(size, int) and size % count:
            part = -(-size // count)
            sizes = [min(part, size - i * part) for i in range(count)]
            if min(sizes) < 0:
                raise Cannot(f"{size} elements do not make {count} parts")
            node.put_input(1, site.constant(sizes))
        elif not isinstance(size, int) and divides(count, size) is not True:
            raise Cannot(f"whether {count} parts are of one size is not known")
    if "num_outputs" in node.attributes:
        node.remove_attribute("num_outputs")
    return False


@down("Pad", version=18)
def pads_of_all_axes(site: Site) -> bool:
    if site.input(3) is None:
        return False
    axes, pads, rank = site.needed(3), site.needed(1), site.rank()
    full = np.zeros(2 * rank, np.int64)
    for i, a in enumerate(axes.tolist()):
        full[a % rank], full[a % rank + rank] = pads[i], pads[i + len(axes)]
    site.node.put_input(3, None)
    site.node.set_input(1, site.constant(full))
    return False


@down("Pad", version=19)
def pad_in_circles(site: Site) -> bool:
    if site.attribute("mode") == "wrap":
        raise Cannot("its mode is wrap")
    return False
