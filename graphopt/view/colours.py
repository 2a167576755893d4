"""The colours of drawings, plots and notebooks; all read on light and on dark."""

from __future__ import annotations

GREY = "#868b93"  # lines and labels: in the middle between black and white
FRAME = "#5a6069"
GOOD, BAD, UNSURE = "#2c8a45", "#c8383a", "#b07d12"

#: By family of operators (see `families`): dark text reads well on them, and they stand out from white and from black.
FILLS = {
    "product": "#a8c8f0",
    "attention": "#b9b5f2",
    "recurrent": "#b9b5f2",
    "normalization": "#d6b4ec",
    "activation": "#a9dcb0",
    "arithmetic": "#cfe6b0",
    "reduction": "#f2c79a",
    "movement": "#f3e3a1",
    "shape": "#d3d7de",
    "quantization": "#f0bfc8",
    "control": "#f2a7a0",
    "other": "#d9c9b8",
}
