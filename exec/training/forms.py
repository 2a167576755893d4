"""The same model in other forms: for training, for inference, and with weights as inputs. All in place.

In training form BatchNormalization normalises by the statistics of the batch and gives the running ones as outputs of the
graph, and Dropout drops: both as ONNX itself has it (`training_mode`), so that the optimiser reads the graph rightly.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
from onnx import helper

from graphopt.ir import Model, Node, Tensor, Value
from graphopt.passes.opset import convert_opset

#: The first opset whose BatchNormalization and Dropout say by `training_mode` what they do, for all float dtypes.
_TRAINING_OPSET = 15
#: Inputs of BatchNormalization.
SCALE, SHIFT, MEAN, VARIANCE = 1, 2, 3, 4


def normalizations(model: Model) -> Iterator[tuple[Node, Value, Value]]:
    """BatchNormalizations of the main graph whose running mean and variance are initializers, and these."""
    known = model.graph.initializers
    for node in model.graph:
        if node.op == "BatchNormalization" and len(node.inputs) > VARIANCE:
            mean, variance = node.inputs[MEAN], node.inputs[VARIANCE]
            if mean is not None and variance is not None and mean in known and variance in known:
                yield node, mean, variance


def separate_statistics(model: Model) -> None:
    """Give each BatchNormalization running statistics of its own; exporters let equal tensors share one initializer."""
    graph = model.graph
    for node, *statistics in list(normalizations(model)):
        for i, v in zip((MEAN, VARIANCE), statistics, strict=True):
            if sum(v.uses.values()) + v.exits > 1:
                node.set_input(i, graph.add_initializer(model.fresh_name(v.name), graph.initializers[v]))


def for_training(model: Model, normalized: Collection[str]) -> dict[str, str]:
    """Bring a model into training form.

    Args:
        model: changed in place; its opset becomes 15 at least if it has one of the two operators.
        normalized: names of running means: the BatchNormalizations that use the batch's statistics.

    Returns:
        The output that gives the next value of a running statistic, by the statistic's name.

    Raises:
        OpsetError: a node cannot be written at the opset that training needs.
    """
    if model.opsets.get("", 0) < _TRAINING_OPSET and any(
        n.op in ("BatchNormalization", "Dropout") for n in model.nodes()
    ):
        convert_opset(model, {"": _TRAINING_OPSET})
    outputs: dict[str, str] = {}
    for node, mean, variance in list(normalizations(model)):
        if mean.name in normalized:
            node.set_attribute("training_mode", 1)
            outputs[mean.name] = _exposed(model, node, 1, mean)
            outputs[variance.name] = _exposed(model, node, 2, variance)
        elif node.attributes.get("training_mode") and not any(v is not None and v.used for v in node.outputs[1:]):
            _use_running_statistics(node)
    for node in list(model.graph.walk()):
        if node.op == "Dropout":
            node.put_input(2, _flag(node, True))
    return outputs


def for_inference(model: Model) -> None:
    """Bring a model out of training form: what it normalises by is what was learnt, and nothing is dropped.

    A BatchNormalization whose running statistics somebody reads stays as it is.
    """
    for node in list(model.graph.walk()):
        if node.op == "BatchNormalization" and node.attributes.get("training_mode"):
            if not any(v is not None and v.used for v in node.outputs[1:]):
                _use_running_statistics(node)
        elif node.op == "Dropout" and len(node.inputs) > 2:
            node.put_input(2, _flag(node, False))


def keep_outputs(model: Model, names: Collection[str]) -> None:
    """Leave out the other outputs of a model."""
    graph = model.graph
    pairs = list(zip(graph.outputs, graph.output_infos, strict=True))
    for v, _ in pairs:
        v.exits -= v.name not in names
    graph.outputs = [v for v, _ in pairs if v.name in names]
    graph.output_infos = [info for v, info in pairs if v.name in names]
    graph.touch()


def take_as_inputs(model: Model, names: Collection[str]) -> None:
    """Let initializers of the main graph be inputs, so that nothing is folded into them."""
    graph = model.graph
    for v, tensor in list(graph.initializers.items()):
        if v.name in names:
            del graph.initializers[v]
            v.const = None
            graph.input_infos[v] = helper.make_tensor_value_info(v.name, tensor.dtype, tensor.dims)
            graph.inputs.append(v)
    graph.touch()


def _use_running_statistics(node: Node) -> None:
    node.remove_attribute("training_mode")
    del node.outputs[1:]


def _exposed(model: Model, node: Node, i: int, statistic: Value) -> str:
    """Let output i of a node, which gives a running statistic, be an output of the graph; its name."""
    graph, like = model.graph, model.graph.initializers[statistic]
    node.outputs += [None] * (i + 1 - len(node.outputs))
    v = node.outputs[i]
    if v is None:
        v = Value(model.fresh_name(f"{statistic.name}_next"), graph, node, i)
        v.dtype, v.shape = like.dtype, like.dims
        node.outputs[i] = v
    if v not in graph.outputs:
        graph.outputs.append(v)
        v.exits += 1
        graph.output_infos.append(helper.make_tensor_value_info(v.name, like.dtype, like.dims))
    node.touch()
    graph.touch()
    return v.name


def _flag(node: Node, value: bool) -> Value:
    graph = node.graph
    assert graph is not None
    return graph.add_initializer(graph.model.fresh_name("training_mode"), Tensor(array=np.array(value)))
