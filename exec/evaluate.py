"""One node on arrays: what constant folding asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.errors import ModelError, RunError, UnsupportedError
from graphopt.exec.backends.numpy import REFERENCE
from graphopt.exec.planning import plan_node
from graphopt.ir import Model, Node


class CannotEvaluate(Exception):
    """The node has no kernel, or failed on these inputs; the message says why."""


def compute(model: Model, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """What `evaluate` says, of values of every kind: a sequence is a list, an optional that is empty None.

    Raises:
        CannotEvaluate: there is no kernel for the operator at its version, or it fails.
    """
    try:
        with np.errstate(all="ignore"):
            results = plan_node(model, node).run(REFERENCE, inputs)
    except (ModelError, UnsupportedError) as e:
        raise CannotEvaluate(str(e)) from e
    except RunError as e:
        raise CannotEvaluate(str(e.__cause__ or e)) from e
    return [np.asarray(r) if isinstance(r, np.generic) else r for r in results]


def evaluate(model: Model, node: Node, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    """Outputs of a node, on the reference kernels.

    Args:
        model: the one that the node belongs to.
        node: one whose outputs depend on the inputs alone.
        inputs: one array per input, None where one is left out.

    Raises:
        CannotEvaluate: there is no kernel for the operator at its version, or it fails, or gives what is no tensor.
    """
    arrays = []
    for r in compute(model, node, inputs):
        if not isinstance(r, np.ndarray):
            raise CannotEvaluate(f"gives a {type(r).__name__}, not a tensor")
        arrays.append(r)
    return arrays
