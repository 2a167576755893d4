"""MaxPool and AveragePool."""

from __future__ import annotations

from graphopt.passes.opset.site import Site
from graphopt.passes.opset.transitions import Cannot, down


@down("MaxPool", "AveragePool", version=22)
def windows_in_the_padding(site: Site) -> bool:
    """Rounded up, there could be a window that starts behind the image; ONNX had a place for it, which runtimes never made."""
    shape = site.shape()
    if not site.attribute("ceil_mode") or site.attribute("auto_pad") != "NOTSET" or shape is None:
        return False
    n = len(shape) - 2
    kernel, pads = site.attribute("kernel_shape"), site.attribute("pads", [0] * (2 * n))
    strides, dilations = site.attribute("strides", [1] * n), site.attribute("dilations", [1] * n)
    for i, size in enumerate(shape[2:]):
        if isinstance(size, int):
            extent = dilations[i] * (kernel[i] - 1) + 1
            last = -(-(size + pads[i] + pads[n + i] - extent) // strides[i]) * strides[i]
            if last >= size + pads[i]:
                raise Cannot("with ceil_mode its last window starts behind the image")
    return False
