"""Inputs and outputs of a model in another layout: {"image": "NHWC"}."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import ValueInfoProto

from graphopt.errors import ArgumentError
from graphopt.ir import Model, Node, Tensor, Value
from graphopt.passes.layout.permutations import Perm, inverse, reordered, to_first, to_last
from graphopt.shapes.types import TypeInfo, type_info

_TO = {"NHWC": to_last, "NCHW": to_first}
#: The rank of pictures, of which a layout without a name means all.
_PICTURES = 4


def change_interface(model: Model, io_layout: str | Mapping[str, str]) -> list[str]:
    """Let inputs and outputs be laid out otherwise; inside nothing changes, there are Transposes at the interface.

    Args:
        model: changed in place.
        io_layout: by name of an input or output, 'NHWC' to bring the second dim to the end (for any number of spatial
            dims) or 'NCHW' to bring the last one to the second place. One of them alone: for all inputs and outputs of
            four dims.

    Returns:
        The names of those that changed.

    Raises:
        ArgumentError: there is no such layout, input or output; it is no tensor, or has no three dims.
    """
    graph = model.graph
    ends = {v.name: v for v in (*graph.inputs, *graph.outputs)}
    if isinstance(io_layout, str):
        _permutation("all", io_layout, _PICTURES)
        wanted = {n: io_layout for n, v in ends.items() if len(_declared(model, v).shape or ()) == _PICTURES}
    else:
        wanted = dict(io_layout)
    perms: dict[str, Perm] = {}
    for name, layout in wanted.items():
        if name not in ends:
            raise ArgumentError(f"io_layout: no input or output is named '{name}'; there are {', '.join(sorted(ends))}")
        perms[name] = _checked(model, ends[name], layout)
    for name, perm in perms.items():
        if ends[name] in graph.inputs:
            _change_input(model, ends[name], perm)
        else:
            _change_output(model, ends[name], perm)
    return list(perms)


def _permutation(name: str, layout: str, rank: int) -> Perm:
    if layout not in _TO:
        raise ArgumentError(f"io_layout: '{name}' cannot be {layout!r}; the layouts are {' and '.join(_TO)}")
    return _TO[layout](rank)


def _checked(model: Model, v: Value, layout: str) -> Perm:
    perm = _permutation(v.name, layout, 3)
    declared = _declared(model, v)
    if declared.type is not None:
        raise ArgumentError(f"io_layout: '{v.name}' is no tensor, it has no layout")
    if declared.shape is None:
        raise ArgumentError(f"io_layout: nothing is known of the number of dims of '{v.name}'")
    rank = len(declared.shape)
    if rank < len(perm):
        raise ArgumentError(f"io_layout: '{v.name}' has {rank} dims, and a layout is of three or more")
    if v in model.graph.inputs and v.exits:
        raise ArgumentError(f"io_layout: '{v.name}' is an input and an output at once")
    return _permutation(v.name, layout, rank)


def _declared(model: Model, v: Value) -> TypeInfo:
    """The type of an input as it is now, of an output as it is declared."""
    if v in model.graph.inputs:
        return TypeInfo(v.dtype, v.shape, v.type)
    return type_info(model.graph.output_infos[model.graph.outputs.index(v)].type)


def _change_input(model: Model, v: Value, perm: Perm) -> None:
    """The values that were read are a Transpose of the input now."""
    graph = model.graph
    inside = _transpose(model, v, inverse(perm))
    for user in list(v.uses):
        if user is not inside.node:
            for i, read in enumerate(user.inputs):
                if read is v:
                    user.set_input(i, inside)
    if v in graph.initializers:
        default = np.ascontiguousarray(np.transpose(graph.initializers[v].numpy(), perm))
        graph.initializers[v] = Tensor(array=default)
    inside.shape = v.shape
    if v.shape is not None:
        v.shape = reordered(v.shape, perm)
    graph.input_infos[v] = _redeclared(graph.input_infos[v], perm)
    graph.touch()


def _change_output(model: Model, v: Value, perm: Perm) -> None:
    """The output is a Transpose of what it was."""
    graph = model.graph
    name = v.name
    v.rename(model.fresh_name(name))
    node = Node("Transpose", [v], name=model.fresh_name(f"{name}_Transpose"), attributes={"perm": list(perm)})
    node.graph = graph
    out = node.new_output(name)
    out.dtype = v.dtype
    out.shape = None if v.shape is None else reordered(v.shape, perm)
    graph.append(node)
    for i, o in enumerate(graph.outputs):
        if o is v:
            graph.set_output(i, out)
            graph.output_infos[i] = _redeclared(graph.output_infos[i], perm)
    graph.touch()


def _transpose(model: Model, v: Value, perm: Perm) -> Value:
    """A Transpose in front of everything."""
    graph = model.graph
    node = Node("Transpose", [v], name=model.fresh_name(f"{v.name}_Transpose"), attributes={"perm": list(perm)})
    node.graph = graph
    inside = node.new_output(model.fresh_name(f"{v.name}_inside"))
    inside.dtype = v.dtype
    if graph.first is None:
        graph.append(node)
    else:
        graph.insert_before(graph.first, node)
    return inside


def _redeclared(info: ValueInfoProto, perm: Perm) -> ValueInfoProto:
    """A declaration with its dims in another order."""
    new = ValueInfoProto()
    new.CopyFrom(info)
    if new.type.tensor_type.HasField("shape"):
        dims = list(info.type.tensor_type.shape.dim)
        del new.type.tensor_type.shape.dim[:]
        new.type.tensor_type.shape.dim.extend([dims[axis] for axis in perm])
    return new
