"""Reductions: axes that may be empty."""

from __future__ import annotations

from graphopt.passes.opset.site import Site, referred
from graphopt.passes.opset.transitions import Cannot, down

_OPS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSumSquare",
)  # fmt: skip


@down("ReduceSum", version=13)
@down(*_OPS, version=18)
def axes_given(site: Site) -> bool:
    """Without axes it reduced all; that it reduces nothing then could not be said."""
    given = site.input(1)
    axes = None if given is None or referred(given) else site.needed(1)
    if site.attribute("noop_with_empty_axes") and (axes is None or not axes.size):
        raise Cannot("it reduces nothing without axes")
    if "noop_with_empty_axes" in site.node.attributes:
        site.node.remove_attribute("noop_with_empty_axes")
    if axes is not None and not axes.size:
        site.node.put_input(1, None)
    return False
