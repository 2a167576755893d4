"""A model as plain data: what is drawn of it, numbered, without its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graphopt._words import size_text
from graphopt.cost import ONNXRUNTIME_CPU, Machine, Numbers, cost_of, usual_sizes
from graphopt.ir import Graph, Model, Node, Value
from graphopt.ir.tensor import Tensor
from graphopt.ir.text import shortened, value_text
from graphopt.shapes import inferred
from graphopt.shapes.text import show_type

_LONGEST = 160  # characters of an attribute
_EXPORTERS = "pkg.torch."  # metadata that is about the exporter's machine
_FEW = 8  # elements of a constant that are shown


@dataclass(slots=True)
class NodeData:
    """A node.

    Attributes:
        op: its operator, with the domain unless that is ONNX's own.
        name: its name, or that of its first output.
        attributes: as texts.
        inputs, outputs: numbers of values; -1 where one is left out.
        graph: the number of its graph.
        scope: the module that it came from, as far as names or metadata tell.
        flops: floating-point operations of products and convolutions.
        seconds: what it is estimated to take.
        metadata: what the file says beside that.
    """

    op: str
    name: str
    attributes: Mapping[str, str]
    inputs: list[int]
    outputs: list[int]
    graph: int
    scope: tuple[str, ...]
    flops: float
    seconds: float
    metadata: Mapping[str, str]


@dataclass(slots=True)
class ValueData:
    """A value. `constant`: what is known of it where it never changes; `node`: its producer's number, -1 without one."""

    name: str
    type: str
    constant: str = ""
    node: int = -1


@dataclass(slots=True)
class GraphData:
    """A graph. `owner`: the node that holds it, -1 for the main graph and functions."""

    title: str
    owner: int
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)


@dataclass(slots=True)
class ModelData:
    """A model: graphs (the main one first, then functions, subgraphs after what holds them), nodes and values by number.

    Constant nodes are no nodes here but values that never change.

    Attributes:
        places: numbers of nodes by operator and first output, which is how a ledger speaks of them.
        named: numbers of nodes by operator and name, for those that have a name: an output may be renamed on the way.
    """

    nodes: list[NodeData] = field(default_factory=list)
    values: list[ValueData] = field(default_factory=list)
    graphs: list[GraphData] = field(default_factory=list)
    places: dict[tuple[str, str], int] = field(default_factory=dict)
    named: dict[tuple[str, str], int] = field(default_factory=dict)

    def readers(self) -> dict[int, list[int]]:
        """The nodes that read each value, in order, once for each input that does."""
        found: dict[int, list[int]] = {}
        for number, node in enumerate(self.nodes):
            for v in node.inputs:
                if v >= 0:
                    found.setdefault(v, []).append(number)
        return found


def model_data(model: Model, machine: Machine = ONNXRUNTIME_CPU) -> ModelData:
    """What is drawn of a model.

    Args:
        model: its shapes are inferred for this where that has not been done; it stays as it is.
        machine: what costs are estimated for.
    """
    with inferred(model):
        return _Reader(model, machine).data


class _Reader:
    """Numbers the nodes and values of a model as they come."""

    def __init__(self, model: Model, machine: Machine) -> None:
        self.data = ModelData()
        self.numbers: dict[Value, int] = {}
        self.machine = machine
        self.sizes = Numbers(usual_sizes(model))
        self.graph(model.graph, "main graph", -1)
        for f in model.functions.values():
            self.graph(f.graph, f"function {'::'.join(filter(None, f.key[:2]))}", -1)

    def graph(self, graph: Graph, title: str, owner: int) -> None:
        number = len(self.data.graphs)
        data = GraphData(title, owner)
        self.data.graphs.append(data)
        data.inputs = [self.value(v) for v in graph.inputs]
        for node in graph:
            if node.op != "Constant":
                data.nodes.append(self.node(node, number))
        data.outputs = [self.value(v) for v in graph.outputs]

    def node(self, node: Node, graph: int) -> int:
        number = len(self.data.nodes)
        titles = {sub: name for name, sub in node.bodies()}
        cost = cost_of(node, self.machine, self.sizes)
        proto = node.proto
        metadata = {} if proto is None else {p.key: p.value for p in proto.metadata_props}
        first = next((v.name for v in node.outputs if v is not None), "")
        self.data.places.setdefault((node.op, first), number)
        if node.name:
            self.data.named.setdefault((node.op, node.name), number)
        self.data.nodes.append(
            NodeData(
                node.op,
                node.label,
                {k: value_text(v, _LONGEST) for k, v in node.attributes.items() if k not in titles.values()},
                [-1 if v is None else self.value(v) for v in node.inputs],
                [-1 if v is None else self.value(v, number) for v in node.outputs],
                graph,
                scope_of(node.label, metadata),
                cost.work.flops,
                cost.seconds,
                {k: shortened(v, _LONGEST) for k, v in metadata.items() if not k.startswith(_EXPORTERS)},
            )
        )
        for sub in node.subgraphs:
            self.graph(sub, titles[sub], number)
        return number

    def value(self, v: Value, node: int = -1) -> int:
        number = self.numbers.get(v)
        if number is None:
            number = self.numbers[v] = len(self.data.values)
            constant = "" if v.const is None else _constant(v.const)
            self.data.values.append(ValueData(v.name, show_type(v), constant))
        if node >= 0:
            self.data.values[number].node = node
        return number


def _constant(t: Tensor) -> str:
    """The elements of a small constant, else its bytes: dtype and dims stand beside it."""
    if t.size <= _FEW and not t.is_external:
        return shortened(str(t.numpy().tolist()), _LONGEST)
    return size_text(t.nbytes)


def scope_of(name: str, metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The modules around a node, outermost first: torch's newer exporter keeps them as metadata, the older one in names."""
    namespace = metadata.get("namespace") or metadata.get("pkg.torch.onnx.name_scopes", "")
    if namespace.startswith("["):
        parts = [p.strip(" '\"") for p in namespace.strip("[]").split(",")]
        return tuple(p.rpartition(".")[2] for p in parts[:-1] if p)
    if namespace:
        paths = [part.partition(":")[0] for part in namespace.split("/")][:-1]
        return tuple(p for p in (paths[-1].split(".") if paths else ()) if p)
    return tuple(p for p in name.split("/")[:-1] if p)
