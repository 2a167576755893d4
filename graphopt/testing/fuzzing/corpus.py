"""The folder of a fuzzing campaign: what was found, each as a model with its inputs and how to see it again; how far it got."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from graphopt.errors import ArgumentError, ModelError
from graphopt.testing.random_models.graphs import Example
from graphopt.testing.values import np_dtype

_STATE = "corpus.json"
#: In the file of inputs: whether floating numbers are to be compared. No input is called that.
_FINITE = "#finite"


@dataclass
class Run:
    """One optimizer at one level, on the same executors.

    Attributes:
        seed: the first one.
        done: how many seeds were tried.
        seconds: spent on them.
        invalid: seeds that gave no model.
        silent: models about which nothing could be said: not one output was compared.
        compared: outputs compared, by executor.
        left_out: those that were not, by executor and reason.
        findings: by kind, all of them.
        groups: by group, all of them; one model of each is in the folder.
    """

    seed: int = 0
    done: int = 0
    seconds: float = 0.0
    invalid: int = 0
    silent: int = 0
    compared: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    findings: dict[str, int] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)


@dataclass
class Group:
    """Findings that are taken for the same mistake.

    Attributes:
        kind: of the findings.
        features: rules that were applied to the smallest model, or its operators.
        shrunk: how many were shrunk.
        count: how many there were.
        file: the smallest model.
        detail: what is wrong with it.
    """

    kind: str
    features: list[str]
    file: str
    detail: str
    shrunk: int = 1
    count: int = 1


class Corpus:
    """A folder with what was found, and how far the campaigns in it got."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: dict[str, Run] = {}
        path = folder / _STATE
        if path.exists():
            try:
                self.runs = {key: _run(data) for key, data in json.loads(path.read_text())["runs"].items()}
            except (ValueError, LookupError, TypeError) as e:
                raise ArgumentError(f"'{path}' is no record of a campaign: {e}; name another folder") from e

    def run(self, key: str, seed: int) -> Run:
        """How far a campaign got; a new one where it had not begun, or began with another seed."""
        key = f"{key}, from seed {seed}"
        return self.runs.setdefault(key, Run(seed))

    def save(self) -> None:
        """Write down how far everything got."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"runs": {key: asdict(run) for key, run in self.runs.items()}}, indent=1)
        temporary = self.folder / f"{_STATE}.new"
        temporary.write_text(text)
        os.replace(temporary, self.folder / _STATE)

    def add(self, name: str, example: Example, story: str, options: list[str]) -> str:
        """Write down what was found; the name of the model's file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^\w.-]+", "-", name)
        path = self.folder / f"{name}.onnx"
        onnx.save(example.model, path)
        feeds: dict[str, Any] = {n: _savable(a) for n, a in example.feeds.items()}
        feeds[_FINITE] = np.array(example.finite)
        with open(path.with_suffix(".npz"), "wb") as f:
            np.savez(f, **feeds)
        command = shlex.join(["graphopt", "fuzz", "--replay", str(path), *options])
        path.with_suffix(".txt").write_text(f"{story}\n\n{command}\n")
        return path.name


def _run(data: dict[str, Any]) -> Run:
    groups = {name: Group(**g) for name, g in data.pop("groups").items()}
    return Run(**data, groups=groups)


def read_example(path: Path) -> Example:
    """A model that was found, with its inputs.

    Raises:
        ModelError: it cannot be read, or its inputs are missing.
    """
    feeds_path = path.with_suffix(".npz")
    try:
        model = onnx.load(path)
        with np.load(feeds_path) as saved:
            arrays = {name: saved[name] for name in saved.files}
    except FileNotFoundError as e:
        raise ModelError(
            f"'{e.filename}' does not exist; a replay needs a model and, beside it, its inputs as .npz"
        ) from e
    except Exception as e:  # whatever protobuf and zip files raise
        raise ModelError(f"'{path}' cannot be replayed: {e}") from e
    finite = bool(arrays.pop(_FINITE, np.array(True)))
    return Example(model, {i.name: _restored(i, arrays, feeds_path) for i in model.graph.input}, finite)


def _savable(array: Any) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype == object:
        return array.astype(np.str_)
    return array.view(f"u{array.itemsize}") if array.dtype.type.__module__ == "ml_dtypes" else array


def _restored(info: onnx.ValueInfoProto, arrays: dict[str, np.ndarray], path: Path) -> Any:
    if info.name not in arrays:
        raise ModelError(f"'{path}' lacks the input '{info.name}'")
    array, dtype = arrays[info.name], np_dtype(info.type.tensor_type.elem_type)
    return array.view(dtype) if dtype.type.__module__ == "ml_dtypes" else array.astype(dtype, copy=False)


def tally(model: ModelProto) -> int:
    """Nodes of a model, those of its bodies included."""
    return sum(1 for _ in nodes_of(model.graph))


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Nodes of a graph and of the graphs in them."""
    for node in graph.node:
        yield node
        for a in node.attribute:
            if a.HasField("g"):
                yield from nodes_of(a.g)
