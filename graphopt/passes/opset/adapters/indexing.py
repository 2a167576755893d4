"""Scatter and what became of it, TopK, and indices that count from the back."""

from __future__ import annotations

from graphopt.passes.opset.site import Site
from graphopt.passes.opset.transitions import Cannot, down, up


@up("Scatter", version=11, typed=False)
def scatter_to_elements(site: Site) -> bool:
    return site.become("ScatterElements")


@down("ScatterElements", version=11)
def elements_to_scatter(site: Site) -> bool:
    axis = site.attribute("axis")
    if axis < 0:
        site.node.set_attribute("axis", axis + site.rank())
    return site.become("Scatter")


@down("TopK", version=11)
def the_largest_in_order(site: Site) -> bool:
    """Before, there was nothing else; what is in order is a way to be in no order."""
    if not site.attribute("largest"):
        raise Cannot("it looks for the smallest")
    if (axis := site.attribute("axis")) < 0:
        site.node.set_attribute("axis", axis + site.rank())
    for name in ("largest", "sorted"):
        if name in site.node.attributes:
            site.node.remove_attribute(name)
    return False


@down("ScatterElements", "ScatterND", version=18)
def no_extremes(site: Site) -> bool:
    if site.attribute("reduction") in ("max", "min"):
        raise Cannot(f"its reduction is {site.attribute('reduction')}")
    return False


def no_index_from_the_back(site: Site, i: int, known: bool) -> None:
    """See that no index is negative, which before version 11 meant something else, or nothing."""
    indices = site.needed(i) if known else site.number(i)
    if indices is not None and (indices < 0).any():
        raise Cannot("its indices count from the back")
