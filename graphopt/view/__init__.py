"""Pictures of models, rules and steps, and how notebooks show them.

    draw(thing)         a drawing: shown by notebooks, saved as SVG
    svg_of(thing)       the same as text, None where nothing can be drawn here
    plots               operators, nodes, tuning and verification as matplotlib plots

Drawings need igraph, plots matplotlib: the extra `graphopt[view]`. Nothing here is imported before something is shown.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from graphopt._lazy import lazy

if TYPE_CHECKING:
    from graphopt.view.drawing import Drawing, draw

#: What to do where `can_draw` says no.
NEEDS_IGRAPH = "drawings need igraph: pip install 'graphopt[view]'"

__getattr__, __dir__ = lazy(__name__, {"Drawing": "drawing", "draw": "drawing"})


def svg_of(thing: Any) -> str | None:
    """What `draw` draws of a model, graph, rule or step, as SVG; None without igraph, so that a notebook shows text."""
    if not can_draw():
        return None
    from graphopt.view.drawing import draw

    return draw(thing).svg


def can_draw() -> bool:
    """Whether igraph, which lays out drawings, is installed."""
    return importlib.util.find_spec("igraph") is not None


__all__ = ["NEEDS_IGRAPH", "Drawing", "can_draw", "draw", "svg_of"]
