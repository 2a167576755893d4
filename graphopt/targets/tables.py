"""Kernels of runtimes that cannot be asked here, as tables that come with the package.

A table is a JSON file beside this module, made by `python -m benchmarks.targets`:

    {"runtime": "...", "kernels": {"Add": [[7, 12, {}], [14, null, {"T": ["float", "int32"]}]]}}

For each operator: first and last version (null: no end), and the dtypes that each type variable of its schema may be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from onnx import TensorProto

from graphopt.targets.kernels import OPEN_ENDED, Kernel, Kernels


@cache
def table(name: str) -> Kernels:
    """The kernels in the table '<name>.json'."""
    return kernels_in(json.loads(resources.files("graphopt.targets").joinpath(f"{name}.json").read_text("utf-8")))


def kernels_in(data: Mapping[str, Any]) -> Kernels:
    """The kernels that a table lists."""
    return Kernels({op: [_kernel(*entry) for entry in entries] for op, entries in data["kernels"].items()})


def _kernel(start: int, end: int | None, types: Mapping[str, list[str]]) -> Kernel:
    dtypes = {variable: frozenset(map(_dtype, names)) for variable, names in types.items()}
    return Kernel(start, OPEN_ENDED if end is None else end, dtypes)


def _dtype(name: str) -> int:
    return int(TensorProto.DataType.Value(name.upper()))
