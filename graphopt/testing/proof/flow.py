"""Which inputs of a model its outputs are made of, and which only decide about shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto

from graphopt.errors import GraphoptError
from graphopt.exec.backends.numpy import REFERENCE
from graphopt.exec.plan import Plan
from graphopt.exec.planning import plan
from graphopt.ir import load

#: Operators that look at an input's shape alone.
_OF_SHAPES = frozenset({"Shape", "Size"})


def data_inputs(model: ModelProto) -> list[str]:
    """The inputs whose elements may reach an output; none where there are operators without kernels."""
    loaded = load(model)
    try:
        planned = plan(loaded)
    except GraphoptError:
        return []
    return [v.name for v, slot in zip(loaded.graph.inputs, planned.inputs, strict=True) if slot in data_slots(planned)]


def gives_elements(model: ModelProto, feeds: Mapping[str, Any]) -> bool:
    """Whether every output has elements."""
    loaded = load(model)
    try:
        with np.errstate(all="ignore"):
            outputs = plan(loaded).run(REFERENCE, [feeds[v.name] for v in loaded.graph.inputs])
    except GraphoptError:
        return False
    return all(np.size(v) > 0 for v in outputs)


def data_slots(planned: Plan) -> set[int]:
    """The slots whose elements may reach an output."""
    found = set(planned.outputs)
    for step in reversed(planned.steps):
        if step.op not in _OF_SHAPES and not found.isdisjoint(step.outputs):
            found.update(slot for i, slot in enumerate(step.inputs) if i not in step.kernel.host)
    return found


def host_slots(planned: Plan) -> set[int]:
    """The slots that kernels read on the host, as what decides about shapes."""
    return {slot for step in planned.steps for i, slot in enumerate(step.inputs) if i in step.kernel.host}
