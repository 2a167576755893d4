"""How a node is written for tensors that are laid out otherwise, and the table of operators for which that is known."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from graphopt.ir import Model, Node, Reference, Shape, Tensor, Value, input_of, op_schema
from graphopt.passes.layout.permutations import Perm, is_identity


@dataclass(frozen=True, slots=True)
class Reordered:
    """An input whose elements stand for axes, in another order; computed by the graph."""

    order: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Weights:
    """A constant that is multiplied with a flattened image: its axis `axis` is `dims`, which go into another order."""

    user: Node
    index: int
    axis: int
    dims: tuple[int, ...]
    order: Perm


@dataclass(frozen=True, slots=True)
class Form:
    """A node as it is written for tensors that are laid out otherwise.

    Attributes:
        reads: inputs that it reads laid out otherwise, each with the permutation.
        gives: outputs likewise.
        attributes: those that differ; None: left out.
        inputs: those that differ: a new constant, or a vector in another order.
        op: domain and name of another operator that it becomes.
        preferred: it is what all this is done for.
        weights: constants elsewhere that are laid out anew with it.
    """

    reads: Mapping[int, Perm]
    gives: Mapping[int, Perm]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[int, np.ndarray | Reordered] = field(default_factory=dict)
    op: tuple[str, str] | None = None
    preferred: bool = False
    weights: tuple[Weights, ...] = ()


class Site:
    """A node as the functions of the table see it. `wanted`: how its first output has to be laid, where that is asked for."""

    def __init__(self, model: Model, node: Node, wanted: Perm | None = None) -> None:
        assert node.graph is not None
        self.wanted = wanted
        self.model = model
        self.node = node
        self.version = node.graph.opsets.get(node.domain, 0)
        self.schema = op_schema(node.op_type, self.version, node.domain)

    def input(self, i: int) -> Value | None:
        return self.node.inputs[i] if i < len(self.node.inputs) else None

    def shape(self, i: int = 0) -> Shape | None:
        """The dims of an input."""
        return v.shape if (v := self.input(i)) is not None else None

    @property
    def result(self) -> Shape | None:
        """The dims of the first output."""
        return v.shape if (v := self.node.outputs[0]) is not None else None

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute, or the schema's default, or the one given."""
        value = self.node.attributes.get(name)
        if value is None and self.schema is not None and name in self.schema.attributes:
            value = self.schema.attributes[name].default
        return default if value is None else value

    def numbers(self, name: str) -> list[int] | None:
        """A parameter of integers, wherever this opset keeps it; None where it is left out or computed by the graph."""
        value = self.node.attributes.get(name)
        if value is None and (v := self.parameter(name)) is not None and v.const is not None:
            value = v.const.numpy().reshape(-1).tolist()
        return value if isinstance(value, list) else None

    def place(self, name: str) -> int | None:
        """The input that holds a parameter at this opset; None where it is an attribute, or there is none."""
        if self.schema is None or name in self.schema.attributes:
            return None
        return input_of(self.schema, name)

    def parameter(self, name: str) -> Value | None:
        """The input that is a parameter."""
        return None if (i := self.place(name)) is None else self.input(i)

    def all_outputs(self, perm: Perm) -> dict[int, Perm]:
        """Every output that is there, laid out like this."""
        return {i: perm for i, v in enumerate(self.node.outputs) if v is not None}

    def with_numbers(
        self, name: str, numbers: list[int], dtype: Any = np.int64
    ) -> tuple[dict[str, Any], dict[int, np.ndarray | Reordered]]:
        """Attributes and inputs that say these numbers for a parameter."""
        i = self.place(name)
        return ({name: numbers}, {}) if i is None else ({}, {i: np.array(numbers, dtype)})

    def in_order(
        self, name: str, order: tuple[int, ...]
    ) -> tuple[dict[str, Any], dict[int, np.ndarray | Reordered]] | None:
        """The same for a vector that has an element for each axis, which go into another order; None: it has not."""
        i = self.place(name)
        if i is None:
            value = self.node.attributes.get(name)
            return ({name: [value[k] for k in order]}, {}) if value and len(value) == len(order) else None
        v = self.input(i)
        if v is None or v.shape is None or v.shape != (len(order),):
            return None
        return {}, {i: Reordered(order) if v.const is None else v.const.numpy()[list(order)]}

    def constant(self, i: int) -> Tensor | None:
        return v.const if (v := self.input(i)) is not None else None


#: What writes a node for a first input that is laid by a permutation; None where that cannot be done.
Lay = Callable[[Site, Perm], Form | None]
#: The permutation of the first input from that of the first output.
Back = Callable[[Site, Perm], Perm | None]

_table: dict[str, tuple[int, Lay, Back]] = {}


def _same(site: Site, perm: Perm) -> Perm | None:
    x = site.shape(0)
    return perm if x is None or len(x) == len(perm) else None


def lays(*op_types: str, since: int = 7, back: Back = _same) -> Callable[[Lay], Lay]:
    """Register how operators are laid out, as a decorator.

    Args:
        op_types: their names, of ONNX's own domain.
        since: the version of the operator set from which on that holds.
        back: how the first input must be laid for the first output to be laid so; by default, alike.
    """

    def register(function: Lay) -> Lay:
        for op_type in op_types:
            _table[op_type] = (since, function, back)
        return function

    return register


@cache
def _families() -> None:
    """Import every family, which registers its operators."""
    package = importlib.import_module("graphopt.passes.layout.operators")
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)


def form_of(model: Model, node: Node, perm: Perm, output: bool = False) -> Form | None:
    """How a node is written where its first input, or with `output` its first output, is laid by a permutation.

    None where that is not known, or not possible.
    """
    _families()
    found = _table.get(node.op)
    if found is None or node.subgraphs or (node.domain, node.op_type, node.overload) in model.functions:
        return None
    since, lay, back = found
    site = Site(model, node, perm if output else None)
    if site.version < since or not node.outputs or site.input(0) is None:
        return None
    if any(isinstance(a, Reference) for a in node.attributes.values()):
        return None
    first = back(site, perm) if output else perm
    form = None if first is None else lay(site, first)
    if form is None:
        return None
    reads = {i: p for i, p in form.reads.items() if not is_identity(p)}
    gives = {i: p for i, p in form.gives.items() if not is_identity(p)}
    return replace(form, reads=reads, gives=gives) if reads or gives else None
