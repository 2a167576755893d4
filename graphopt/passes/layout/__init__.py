"""Layouts of images: channels behind the other dims instead of in front, for executors that prefer that.

`change_layout` writes the inside of a model for another layout, `change_interface` its inputs and outputs.
"""

from __future__ import annotations

from graphopt.errors import ArgumentError
from graphopt.ir import Graph, Model
from graphopt.passes.layout.interface import change_interface
from graphopt.passes.layout.operators.images import HEAVY, is_pointwise
from graphopt.passes.layout.permutations import to_first, to_last
from graphopt.passes.layout.regions import Spread, choose, perm_of
from graphopt.passes.layout.writing import Writer
from graphopt.rewrite import Rewriter
from graphopt.shapes import facts_of

#: Every layout by its name, and what it is.
LAYOUTS = {
    "NHWC": "channels last, in convolutions and around them",
    "NCHW": "channels first, also between Transposes that bring them last",
}


def check(layout: str | None) -> None:
    """Raise ArgumentError where there is no such layout."""
    if layout is not None and layout not in LAYOUTS:
        known = ", ".join(f"{name} ({what})" for name, what in LAYOUTS.items())
        raise ArgumentError(f"layout {layout!r} does not exist; the layouts are {known}")


def change_layout(model: Model, layout: str, rewriter: Rewriter) -> int:
    """Write a model for a layout; how many nodes are written otherwise.

    Shapes must have been inferred. No region is changed that would end with more transpositions, those counted that its
    convolutions would need.

    Raises:
        ArgumentError: there is no such layout.
    """
    check(layout)
    model.resolve_shadowing()
    return sum(_change(model, graph, layout, rewriter) for graph in list(model.graph.subgraphs()))


def _change(model: Model, graph: Graph, layout: str, rewriter: Rewriter) -> int:
    facts = facts_of(model)
    if graph in facts.unrunnable:
        return 0
    spread = Spread(model, graph, facts.left_alone, functions=layout == "NHWC")
    begin = _from_convolutions if layout == "NHWC" else _from_transposes
    begin(spread)
    if not spread.perms:
        return 0
    regions = choose(spread)
    if not regions.forms and not regions.turned:
        return 0
    count = len(regions.forms)
    Writer(rewriter, graph, regions, layout.lower()).write(f"{count} nodes written for {layout}")
    return count + len(regions.turned)


def _from_convolutions(spread: Spread) -> None:
    """Channels go last around convolutions; those of single pixels take what comes, as they can do with more."""
    heavy = [n for n in spread.graph if n.op in HEAVY and n.inputs[0] is not None and n.inputs[0].shape is not None]
    for pointwise in (False, True):
        for node in heavy:
            x = node.inputs[0]
            if x is not None and x.shape is not None and len(x.shape) > 2 and is_pointwise(node) is pointwise:
                spread.lay(x, to_last(len(x.shape)))
                spread.lay(node.outputs[0], to_last(len(x.shape)))
        spread.run()
        spread.cross()


def _from_transposes(spread: Spread) -> None:
    """Channels go first between Transposes that bring them there, and back."""
    for node in spread.graph:
        perm = perm_of(node) if node.op == "Transpose" else None
        if perm is not None and len(perm) > 2 and perm == to_first(len(perm)):
            spread.lay(node.inputs[0], perm)
        elif perm is not None and len(perm) > 2 and perm == to_last(len(perm)):
            spread.lay(node.outputs[0], to_first(len(perm)))
    spread.run()


__all__ = ["LAYOUTS", "change_interface", "change_layout", "check"]
