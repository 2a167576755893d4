"""A model cut down to what is wrong with it: fewer outputs, and inputs in place of what leads to a node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper

from graphopt.errors import GraphoptError
from graphopt.exec.backends.numpy import REFERENCE
from graphopt.exec.planning import plan
from graphopt.ir import Tensor, load
from graphopt.testing.random_models.graphs import Example

Still = Callable[[Example], bool]


def reduced(example: Example, still: Still) -> Example:
    """The smallest model that is found by cutting, in which the same is still wrong.

    Args:
        still: whether it is; what it raises ends the search.
    """
    try:
        values = _values(example)
    except GraphoptError:  # the reference has no kernel for something
        return example
    outputs = [o.name for o in example.model.graph.output]
    best, cuts = example, set[str]()

    def attempt(wanted: Sequence[str], cut: set[str]) -> bool:
        nonlocal best
        smaller = _cut(example, wanted, cut, values)
        if smaller.model.ByteSize() == best.model.ByteSize() or not still(smaller):
            return False
        best = smaller
        return True

    for name in outputs:
        if len(outputs) > 1 and attempt([name], cuts):
            outputs = [name]
            break
    else:
        attempt(outputs, cuts)
    changed = True
    while changed:
        changed = False
        for node in reversed(best.model.graph.node):
            made = {v for v in node.output if v}
            if made & set(outputs) or not made <= values.keys() or node.op_type == "Constant":
                continue
            if attempt(outputs, cuts | made):
                cuts |= made
                changed = True
                break
    return best


def _values(example: Example) -> dict[str, np.ndarray]:
    """All tensors that the nodes of a model compute, by name."""
    model = load(example.model)
    made = [v for n in model.graph for v in n.outputs if v is not None]
    with np.errstate(all="ignore"):
        found = plan(model, made).run(REFERENCE, [example.feeds[v.name] for v in model.graph.inputs])
    arrays = {
        v.name: np.asarray(a) for v, a in zip(made, found, strict=True) if isinstance(a, (np.ndarray, np.generic))
    }
    return arrays


def _cut(example: Example, outputs: Sequence[str], cuts: set[str], values: dict[str, np.ndarray]) -> Example:
    """The part of a model that leads to some outputs, from its inputs or from the cuts."""
    source = example.model.graph
    needed, nodes = set(outputs), []
    for node in reversed(source.node):
        if needed & set(node.output) - cuts:
            nodes.append(node)
            needed.update(_read(node))
    model = ModelProto()
    model.CopyFrom(example.model)
    graph = model.graph
    kept_outputs = [o for o in source.output if o.name in outputs]
    kept_inputs = [i for i in source.input if i.name in needed]
    kept_inputs += [
        helper.make_tensor_value_info(name, Tensor(array=values[name]).dtype, values[name].shape)
        for name in sorted(cuts & needed)
    ]
    for field, kept in (
        (graph.node, nodes[::-1]), (graph.output, kept_outputs), (graph.input, kept_inputs),
        (graph.initializer, [t for t in source.initializer if t.name in needed]),
    ):  # fmt: skip
        del field[:]
        field.extend(kept)
    feeds: dict[str, Any] = {i.name: example.feeds.get(i.name, values.get(i.name)) for i in graph.input}
    return Example(model, feeds, example.finite)


def _read(node: NodeProto) -> Iterator[str]:
    """Names that a node reads, those that its bodies read included."""
    yield from node.input
    for a in node.attribute:
        if a.HasField("g"):
            yield from _read_inside(a.g)


def _read_inside(graph: GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from _read(node)
    yield from (o.name for o in graph.output)
