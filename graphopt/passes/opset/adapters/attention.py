"""Attention."""

from __future__ import annotations

from graphopt.ir import Value
from graphopt.passes.opset.site import Site
from graphopt.passes.opset.transitions import Cannot, down, up
from graphopt.shapes import same_dims
from graphopt.shapes.dims import add


@up("Attention", version=25, typed=False)
def both_presents(site: Site) -> bool:
    """Since then keys and values that are there for the next call are asked for together."""
    node, graph = site.node, site.graph
    here = [v is not None for v in (*node.outputs, None, None)[1:3]]
    if any(here) and not all(here):
        node.outputs += [None] * (3 - len(node.outputs))
        for i in (1, 2):
            if node.outputs[i] is None:
                node.outputs[i] = Value(site.shop.model.fresh_name(f"{node.output.name}_present"), graph, node, i)
        node.touch()
    return False


@down("Attention", version=24)
def whole_mask(site: Site) -> bool:
    """Since then a mask may end before the keys do."""
    if site.input(3) is None:
        return False
    mask, keys, past = site.shape(3), site.shape(1), site.shape(4)
    if mask is None or keys is None or not mask or (site.input(4) is not None and past is None):
        raise Cannot("the shape of its mask is not known")
    count = keys[-2] if past is None else add(keys[-2], past[-2])
    if mask[-1] != 1 and not same_dims(mask[-1], count):
        raise Cannot("its mask may end before the keys do")
    return False
