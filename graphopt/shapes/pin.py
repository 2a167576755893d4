"""Specialisation: fix dims of the model's inputs before anything is inferred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import ValueInfoProto

from graphopt.errors import ArgumentError
from graphopt.ir import Dim, Model


def pin_inputs(model: Model, shapes: Mapping[str, int | Sequence[int | None]]) -> None:
    """Give inputs fixed shapes; the declared interface follows.

    Args:
        shapes: for an input its shape (None leaves a dim as it is), for a named dim its size: {"x": (1, 3, 224, 224)} or
            {"batch": 1}.

    Raises:
        ArgumentError: no such input or dim; the rank or a declared dim differs; two pins disagree.
    """
    graph = model.graph
    inputs = {v.name: v for v in graph.inputs}
    named: dict[str, int] = {}
    names = {d for v in graph.inputs for d in v.shape or () if isinstance(d, str)}

    def pin(name: str, size: int, where: str) -> None:
        if named.setdefault(name, size) != size:
            raise ArgumentError(
                f"input_shapes: {where} makes dim '{name}' {size}, but it is pinned to {named[name]} already"
            )

    for key, wanted in shapes.items():
        if isinstance(wanted, int):
            if key not in names:
                raise ArgumentError(
                    f"input_shapes: no input has a dim named '{key}'; the named dims are {sorted(names) or 'none'}"
                )
            pin(key, _size(wanted, key), f"'{key}'")
            continue
        if key not in inputs:
            raise ArgumentError(f"input_shapes: no input named '{key}'; the inputs are {sorted(inputs)}")
        v = inputs[key]
        declared: Sequence[Dim] = v.shape if v.shape is not None else [None] * len(wanted)
        if len(declared) != len(wanted):
            raise ArgumentError(f"input_shapes: '{key}' has {len(declared)} dims, {len(wanted)} were given")
        for i, (d, size) in enumerate(zip(declared, wanted, strict=True)):
            if size is None:
                continue
            _size(size, f"{key}[{i}]")
            if isinstance(d, int) and d != size:
                raise ArgumentError(f"input_shapes: dim {i} of '{key}' is {d}, it cannot become {size}")
            if isinstance(d, str):
                pin(d, size, f"'{key}'")
        v.shape = tuple(d if size is None else size for d, size in zip(declared, wanted, strict=True))
    for v in graph.inputs:
        if v.shape is None:
            continue
        v.shape = tuple(named.get(d, d) if isinstance(d, str) else d for d in v.shape)
        info = ValueInfoProto()
        info.CopyFrom(graph.input_infos[v])
        dims = info.type.tensor_type.shape.dim
        while len(dims) < len(v.shape):
            dims.add()
        for target, d in zip(dims, v.shape, strict=True):
            if isinstance(d, int):
                target.dim_value = d
        graph.input_infos[v] = info
    for info in graph.output_infos:
        for target in info.type.tensor_type.shape.dim if info.type.HasField("tensor_type") else ():
            if target.dim_param in named:
                target.dim_value = named[target.dim_param]
    graph.touch()


def _size(size: int, where: str) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ArgumentError(f"input_shapes: {where} must be a number of 0 or more, not {size!r}")
    return size
