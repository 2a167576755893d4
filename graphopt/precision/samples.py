"""Runs of the float model: what the other precision is measured against, and how large its values become."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from graphopt.compare import compare, given
from graphopt.exec.executors import DEFAULTS, installed, model_file
from graphopt.ir import Model, Node, Tensor, Value, load
from graphopt.shapes import infer_model
from graphopt.trials import Trials

#: Draws of random inputs, and seconds for the float model's runs.
_SEEDS, _SECONDS = 3, 20.0


@dataclass
class Samples:
    """Inputs and what the float model makes of them.

    Attributes:
        executor: who ran it; '' where nobody did.
        runs: feeds and outputs.
        unstable: outputs that differ from run to run.
        notes: why there are none.
    """

    executor: str = ""
    runs: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = field(default_factory=list)
    unstable: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def executors() -> list[str]:
    """Who may run models here, ONNX Runtime first."""
    return sorted((name for name in installed() if name in DEFAULTS), key=lambda name: name != "onnxruntime")


def sampled(original: Any, inputs: Any = None) -> Samples:
    """Run the float model.

    Args:
        original: in any form.
        inputs: feeds, one dict or several; None: random ones, found as `graphopt.verify` finds them.

    Raises:
        ArgumentError: the inputs do not fit the model.
    """
    samples = Samples()
    with model_file(original) as file:
        feeds: list[Mapping[str, Any]] = list(given(inputs, file.proto))
        for name in executors():
            trials = Trials(file, file, _SEEDS, 1, _SECONDS, feeds, compare, 0.0)
            trials.run_original([name])
            if (found := trials.originals.get(name)) is not None:
                samples.executor, samples.unstable = name, set(found.unstable)
                samples.runs = [(case.feeds, case.outputs) for case in found.cases]
                return samples
            samples.notes += trials.notes[-1:]
    return samples


def peaks(model: Model, samples: Samples) -> dict[str, float]:
    """The largest magnitude of every float32 value of the main graph over all samples, by the value's name.

    Raises:
        Exception: what the executor says that does not run the model with these nodes in it.
    """
    probed = load(model)
    names = _probe(probed)
    most = np.zeros(len(names))
    if names:
        with model_file(probed) as file:
            session = file.on(samples.executor)
            for feeds, _ in samples.runs:
                with np.errstate(all="ignore"):
                    most = np.fmax(most, session.run(feeds)[_PEAKS])
    found = dict(zip(names, most.tolist(), strict=True))
    for feeds, _ in samples.runs:
        for name, value in feeds.items():
            if isinstance(value, np.ndarray) and value.dtype == np.float32 and value.size:
                found[name] = max(found.get(name, 0.0), float(np.abs(value).max()))
    return found


_PEAKS = "graphopt_peaks"


def _probe(model: Model) -> list[str]:
    """Add an output that holds the largest magnitude of each float32 value; their names in order."""
    infer_model(model)
    graph = model.graph
    values = [v for n in graph for v in n.outputs if v is not None and v.dtype == TensorProto.FLOAT and v.const is None]
    if not values:
        return []
    flat = graph.add_initializer(model.fresh_name("graphopt_flat"), Tensor(array=np.array([-1], np.int64)))
    zero = graph.add_initializer(model.fresh_name("graphopt_zero"), Tensor(array=np.array([0], np.float32)))

    def call(op: str, inputs: Iterable[Value], **attributes: Any) -> Value:
        node = Node(op, list(inputs), attributes=attributes)
        graph.append(node)
        return node.new_output(model.fresh_name("graphopt_probe"))

    found = []
    for v in values:  # with a zero at the end, since there may be nothing to take the largest of
        line = call("Reshape", [call("Abs", [v]), flat])
        found.append(call("ReduceMax", [call("Concat", [line, zero], axis=0)], keepdims=1))
    out = call("Concat", found, axis=0)
    out.rename(_PEAKS)
    out.exits += 1
    graph.outputs.append(out)
    graph.output_infos.append(helper.make_tensor_value_info(_PEAKS, TensorProto.FLOAT, [len(values)]))
    return [v.name for v in values]
