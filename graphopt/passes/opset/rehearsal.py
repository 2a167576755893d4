"""Whether a model could be written at another opset with the nodes that it has; nothing is changed to find out.

Each step is taken by a copy of the node that no graph holds. What would place another node is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from graphopt.ir import Model, Node, Tensor, Value
from graphopt.passes.opset.convert import path_of, take
from graphopt.passes.opset.site import Site, Workshop
from graphopt.passes.opset.transitions import Cannot, Step


def keeps_nodes(model: Model, targets: Mapping[str, int]) -> bool:
    """Whether `convert_opset` would write an inferred model at these opsets, each node as the same operator."""
    shop = _Workshop(model, dict(targets), typed=True)
    roots = (model.graph, *(f.graph for f in model.functions.values()))
    return all(_keeps(shop, n, path_of(model, root, n, targets)) for root in roots for n in root.walk())


def _keeps(shop: Workshop, node: Node, steps: Sequence[Step]) -> bool:
    if not steps:
        return True
    copy = _copy(node)
    try:
        return not any(take(_Rehearsal(shop, copy, step)) for step in steps)
    except Cannot:
        return False
    finally:
        for i in range(len(copy.inputs)):
            copy.set_input(i, None)


def _copy(node: Node) -> Node:
    copy = Node(node.op_type, [None] * len(node.inputs), domain=node.domain, name=node.name, attributes=node.attributes)
    copy.graph, copy.subgraphs, copy.outputs = node.graph, node.subgraphs, list(node.outputs)
    for i, v in enumerate(node.inputs):
        copy.set_input(i, v)
    return copy


class _Workshop(Workshop):
    """One whose constants are in no graph."""

    def constant(self, array: np.ndarray, before: Node) -> Value:
        assert before.graph is not None
        v = Value("", before.graph)
        v.const = Tensor(array=array)
        v.dtype, v.shape = v.const.dtype, v.const.dims
        return v


class _Rehearsal(Site):
    """One where nothing is placed or taken out."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise Cannot("other nodes would stand for it")

    before = give = leave = store = then = become = _refuse
