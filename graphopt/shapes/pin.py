"""Specialisation: fix dims of the model's inputs before anything is inferred."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, SupportsIndex

from onnx import ValueInfoProto

from graphopt.errors import ArgumentError
from graphopt.ir import Dim, Graph, Model
from graphopt.shapes import text
from graphopt.shapes.dims import ANONYMOUS, names_in, same_dims, substitute
from graphopt.shapes.facts import Facts


def pin_inputs(model: Model, shapes: Mapping[str, int | Sequence[int | None]]) -> None:
    """Give inputs fixed shapes; the declared interface follows.

    Args:
        shapes: for an input its shape (None leaves a dim as it is), for a named dim its size: {"x": (1, 3, 224, 224)} or
            {"batch": 1}. A number stands for the shape of an input with one dim where no dim has that name.

    Raises:
        ArgumentError: no such input or dim; the rank or a declared dim differs; two pins disagree.
    """
    graph = model.graph
    inputs = {v.name: v for v in graph.inputs}
    named: dict[str, int] = {}
    names = {d for v in graph.inputs for d in v.shape or () if isinstance(d, str) and d not in ANONYMOUS}

    def pin(name: str, size: int, where: str) -> None:
        if named.setdefault(name, size) != size:
            raise ArgumentError(
                f"input_shapes: {where} makes dim '{name}' {size}, but it is pinned to {named[name]} already"
            )

    for key, wanted in shapes.items():
        wanted = _plain(wanted, key)
        if isinstance(wanted, int) and (key in names or key not in inputs):
            if key not in names:
                raise ArgumentError(
                    f"input_shapes: no input has a dim named '{key}'; the named dims are {sorted(names) or 'none'}"
                )
            pin(key, _size(wanted, key), f"'{key}'")
            continue
        if key not in inputs:
            raise ArgumentError(f"input_shapes: no input named '{key}'; the inputs are {sorted(inputs)}")
        v = inputs[key]
        if v.type is not None:
            raise ArgumentError(f"input_shapes: input '{key}' is no tensor, it has no dims")
        wanted = [wanted] if isinstance(wanted, int) else wanted
        declared: Sequence[Dim] = v.shape if v.shape is not None else [None] * len(wanted)
        if len(declared) != len(wanted):
            raise ArgumentError(f"input_shapes: input '{key}' has {len(declared)} dims, not {len(wanted)}")
        for i, (d, size) in enumerate(zip(declared, wanted, strict=True)):
            if size is None:
                continue
            _size(size, f"{key}[{i}]")
            if isinstance(d, int) and d != size:
                raise ArgumentError(f"input_shapes: dim {i} of '{key}' is {d}, it cannot become {size}")
            if isinstance(d, str) and d not in ANONYMOUS:
                pin(d, size, f"'{key}'")
        v.shape = tuple(d if size is None else size for d, size in zip(declared, wanted, strict=True))
    fixed: dict[str, Dim] = {**named, **_computed(graph, named, names)}
    for v in graph.inputs:
        if v.shape is None:
            continue
        v.shape = tuple(fixed.get(d, d) if isinstance(d, str) else d for d in v.shape)
        info = ValueInfoProto()
        info.CopyFrom(graph.input_infos[v])
        dims = info.type.tensor_type.shape.dim
        while len(dims) < len(v.shape):
            dims.add()
        for target, d in zip(dims, v.shape, strict=True):
            _declare(target, d)
        graph.input_infos[v] = info
    for i, source in enumerate(graph.output_infos):
        if not source.type.HasField("tensor_type"):
            continue
        info = graph.output_infos[i] = ValueInfoProto()
        info.CopyFrom(source)
        for target in info.type.tensor_type.shape.dim:
            _declare(target, fixed.get(target.dim_param))
    graph.touch()


def refuse_pins(pinned: Facts, free: Facts) -> None:
    """Say so where a model cannot run with the shapes that it was given, and could without.

    Args:
        pinned: what inference found with the pins.
        free: what it finds without them.

    Raises:
        ArgumentError: a node that could run cannot any more.
    """
    before = {n.label for n in free.refused}
    for node, reason in pinned.refused.items():
        name = node.label
        if name not in before and node.graph is not None and node.graph.owner is None:
            raise ArgumentError(f"input_shapes: node '{name}' ({node.op}) cannot run with these shapes: {reason}")


def _computed(graph: Graph, named: dict[str, int], names: set[Dim]) -> dict[str, Dim]:
    """What declared dims that are expressions over other dims ('past + seq') become; text where a name is left."""
    found: dict[str, Dim] = {}
    declared = [d for v in graph.inputs for d in v.shape or ()]
    declared += [d.dim_param for i in graph.output_infos for d in i.type.tensor_type.shape.dim]
    for d in dict.fromkeys(declared):
        if not isinstance(d, str) or not d or d.isidentifier():
            continue
        try:
            expression = text.parse(d)
        except ValueError:
            continue
        if (
            isinstance(expression, (int, str))
            or not names_in(expression) <= names
            or not names_in(expression) & named.keys()
        ):
            continue
        value = substitute(expression, dict(named))
        if d in named and same_dims(value, named[d]) is False:
            raise ArgumentError(f"input_shapes: dim '{d}' is {value} with the other pins, it cannot become {named[d]}")
        if not names_in(value):
            found[d] = _size(value, f"dim '{d}', {value} with these pins,")
        elif d not in named:
            found[d] = text.writable(value)
    return found


def _declare(target: Any, d: Dim) -> None:
    if isinstance(d, int):
        target.dim_value = d
    elif isinstance(d, str) and target.dim_param and target.dim_param not in ANONYMOUS:
        target.dim_param = d


def _plain(wanted: Any, key: str) -> int | list[Any]:
    """A size, or a list of them, as Python has them; NumPy's are fine too."""
    if isinstance(wanted, (str, bytes, Mapping)) or not isinstance(wanted, (SupportsIndex, Iterable)):
        raise ArgumentError(
            f"input_shapes: '{key}' must be a size or a shape, as 1 or (1, 3, 224, 224), not {wanted!r}"
        )
    scalar = getattr(wanted, "ndim", None) == 0  # an array of no dims can be iterated over in name only
    if isinstance(wanted, Iterable) and not scalar:
        return [_plain_size(size) for size in wanted]
    return _plain_size(wanted)


def _plain_size(size: Any) -> Any:
    return operator.index(size) if isinstance(size, SupportsIndex) and not isinstance(size, bool) else size


def _size(size: int, where: str) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 63:
        raise ArgumentError(f"input_shapes: {where} must be a number of 0 or more that fits 64 bits, not {size!r}")
    return size
