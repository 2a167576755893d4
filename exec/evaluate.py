"""One node on arrays: what constant folding asks for. Through onnx.reference until the project's own kernels stand here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto


class CannotEvaluate(Exception):
    """The node has no implementation, or failed on these inputs; the message says why."""


def evaluate(node: NodeProto, inputs: Sequence[np.ndarray | None], opsets: Mapping[str, int]) -> list[np.ndarray]:
    """Outputs of a node.

    Args:
        node: one whose outputs depend on the inputs alone.
        inputs: one array per input, None where one is left out.
        opsets: version by domain in force for the node.

    Raises:
        CannotEvaluate: the reference does not implement the operator, fails, or gives something that is no tensor.
    """
    from onnx.reference import ReferenceEvaluator

    graph = GraphProto(name="node")
    graph.node.append(node)
    feeds: dict[str, Any] = {name: a for name, a in zip(node.input, inputs, strict=True) if name}
    outputs = [name for name in node.output if name]
    for name in feeds:
        graph.input.add(name=name)
    for name in outputs:
        graph.output.add(name=name)
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(graph, opsets=dict(opsets)).run(outputs, feeds)
    except Exception as e:  # the reference raises whatever its operators raise
        raise CannotEvaluate(f"{type(e).__name__}: {e}") from e
    arrays = []
    for r in results:
        if not isinstance(r, (np.ndarray, np.generic)):
            raise CannotEvaluate(f"gives a {type(r).__name__}, not a tensor")
        arrays.append(np.asarray(r))
    return arrays
