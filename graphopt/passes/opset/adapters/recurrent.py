"""RNN, GRU and LSTM."""

from __future__ import annotations

from graphopt.passes.opset.site import Site
from graphopt.passes.opset.transitions import Cannot, down


@down("RNN", "GRU", "LSTM", version=14)
def time_first(site: Site) -> bool:
    """With `layout` the batch came first: turned around."""
    if not site.attribute("layout"):
        return False
    node = site.node
    shapes = [None if v is None else v.shape for v in node.outputs]
    if any(v is not None and (s is None or not v.dtype) for v, s in zip(node.outputs, shapes, strict=True)):
        raise Cannot("the shapes of its outputs are not known")
    node.remove_attribute("layout")
    states = (5, 6) if node.op_type == "LSTM" else (5,)
    for i in (0, *states):
        if (v := site.input(i)) is not None:
            node.set_input(i, site.before("Transpose", [v], {"perm": [1, 0, 2]}))
    for i, s in enumerate(shapes):
        if s is not None:  # sequence, directions, batch, hidden; directions, batch, hidden
            own = (s[1], s[2], s[0], s[3]) if i == 0 else (s[1], s[0], s[2])
            site.then(i, "Transpose", attributes={"perm": [2, 0, 1, 3] if i == 0 else [1, 0, 2]}, known=own)
    return False
