"""Entries of a tensor that are taken one by one, as queries, keys and values are: all at once.

The gradient of each alone is an array as large as the tensor, zeros but for the entry; that of all is the entries put together
(a transformer of two layers of 256: 4% of a step's time).
"""

from __future__ import annotations

from dataclasses import replace

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import axis_of
from graphopt.exec.kernels.indexing import gather
from graphopt.exec.kernels.registry import Array
from graphopt.exec.plan import EMPTY, Plan, Step


def taken_at_once(plan: Plan) -> list[Step]:
    """The steps of a plan, where one step stands for Gathers that take single entries of one tensor along one axis."""
    groups: dict[tuple[int, int], list[Step]] = {}
    for step in plan.steps:
        if step.op == "Gather" and EMPTY not in step.outputs:
            index = plan.constants.get(step.inputs[1])
            if index is not None and not index.ndim:
                groups.setdefault((step.inputs[0], step.attributes.get("axis", 0)), []).append(step)
    firsts: dict[int, Step] = {}
    gone: set[int] = set()
    for (_, axis), steps in groups.items():
        if len(steps) > 1:
            outputs = tuple(step.outputs[0] for step in steps)
            first = steps[0]
            inputs = (first.inputs[0], *(step.inputs[1] for step in steps))
            kernel = replace(first.kernel, function=_entries)
            firsts[id(first)] = replace(
                first, kernel=kernel, inputs=inputs, outputs=outputs, attributes={"axis": axis}, frees=()
            )
            gone.update(id(step) for step in steps[1:])
    return [firsts.get(id(step), step) for step in plan.steps if id(step) not in gone]


def _entries(xp: Backend, x: Array, *indices: Array, axis: int) -> tuple[Array, ...]:
    """An entry along the axis for each index, without the axis."""
    along = axis_of(axis, x.ndim)
    n = x.shape[along]
    if n > 2 * len(indices) or not all(-n <= int(i) < n for i in indices):
        return tuple(gather(xp, x, i, axis=axis) for i in indices)
    parts = xp.cutter((1,) * n, along)(x)
    shape = (*x.shape[:along], *x.shape[along + 1 :])
    return tuple(parts[int(i)].reshape(shape) for i in indices)
