"""A model: the main graph, model-local functions, operator sets, and all that is kept as it was read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import onnx
from onnx import FunctionProto, ModelProto

from graphopt._display import html_of, svg_of
from graphopt.errors import ArgumentError
from graphopt.ir.graph import Graph
from graphopt.ir.node import Node, Value
from graphopt.ir.schema import OpSchema, op_schema

if TYPE_CHECKING:
    from graphopt.report import Report


class Function:
    """A model-local function: a graph whose inputs have no types, called by nodes of its domain and name."""

    def __init__(self, source: FunctionProto, graph: Graph) -> None:
        self.source = source
        self.graph = graph

    @property
    def key(self) -> tuple[str, str, str]:
        """Domain, name, overload."""
        return self.source.domain, self.source.name, getattr(self.source, "overload", "")


class Model:
    """An ONNX model in memory.

    Attributes:
        source: the message that it was read from, never changed.
        path: the file that it was read from, None where it came from memory.
        base_dir: the folder that external data is relative to.
        graph: the main graph.
        functions: model-local functions by (domain, name, overload).
        opsets: version by domain; '' is ONNX's own.
        external: it came with external data.
        facts: what `graphopt.shapes` learnt about its dims, None before anything was inferred.
        report: what `graphopt.optimize` did, None where nothing was done.
    """

    def __init__(self, source: ModelProto, path: Path | None = None, base_dir: str = "") -> None:
        self.source = source
        self.path = path
        self.base_dir = base_dir
        self.ir_version: int = source.ir_version
        self.opsets: dict[str, int] = opsets_of(source)
        self.functions: dict[tuple[str, str, str], Function] = {}
        self.graph = Graph(self, source.graph.name)
        self.external = False
        self.facts: Any = None
        self.shadowing: list[Value] = []  # values of subgraphs that are named like values around them
        self.report: Report | None = None
        self._names: set[str] | None = None
        self._counter = 0

    # ------------------------------------------------------------------ reading
    def graphs(self) -> Iterator[Graph]:
        """Every graph: the main one, the functions' bodies, and all subgraphs."""
        yield from self.graph.subgraphs()
        for f in self.functions.values():
            yield from f.graph.subgraphs()

    def nodes(self) -> Iterator[Node]:
        """Every node of every graph."""
        for g in (self.graph, *(f.graph for f in self.functions.values())):
            yield from g.walk()

    def schema(self, node: Node) -> OpSchema | None:
        """The schema of a node's operator at the opset in force for it; None: unknown operator, or a function of the model."""
        graph = node.graph or self.graph
        version = graph.opsets.get(node.domain)
        if version is None or (node.domain, node.op_type, node.overload) in self.functions:
            return None
        return op_schema(node.op_type, version, node.domain)

    def node_count(self) -> int:
        """Nodes in all graphs, Constants apart."""
        return sum(1 for n in self.nodes() if n.op != "Constant")

    # ----------------------------------------------------------------- changing
    def fresh_name(self, hint: str) -> str:
        """A name that no value or node of the model has."""
        if self._names is None:
            self._names = set()
            for g in self.graphs():
                self._names.update(v.name for v in (*g.inputs, *g.initializers))
                if g.source is not None:
                    self._names.update(i.name for i in g.source.value_info)
                    self._names.update(s.values.name for s in getattr(g.source, "sparse_initializer", ()))
                for node in g:
                    self._names.add(node.name)
                    self._names.update(v.name for v in node.outputs if v is not None)
        name = hint
        while name in self._names:
            self._counter += 1
            name = f"{hint}_{self._counter}"
        self._names.add(name)
        return name

    def add_function(self, function: Function, version: int = 1) -> None:
        """Add a model-local function. `version`: of its domain, where the model does not import that yet."""
        self.functions[function.key] = function
        for name, v in (*function.graph.opsets.items(), (function.key[0], version)):
            self.opsets.setdefault(name, v)
        self.ir_version = max(self.ir_version, _DEFAULTS_IR if function.source.attribute_proto else _FUNCTIONS_IR)
        if self._names is not None:
            self._names.update(v.name for v in function.graph.inputs)
            for node in function.graph.walk():
                self._names |= {node.name, *(v.name for v in node.outputs if v is not None)}
        self.graph.touch()

    def leads_to(self, function: Function, graph: Graph) -> bool:
        """Whether a function's body is, holds or calls this graph."""
        stack, seen = [function], set()
        while stack:
            f = stack.pop()
            if f.graph is graph or f.graph.encloses(graph):
                return True
            if f.key not in seen:
                seen.add(f.key)
                keys = {(n.domain, n.op_type, n.overload) for n in f.graph.walk()}
                stack += [self.functions[key] for key in keys if key in self.functions]
        return False

    @contextmanager
    def with_functions(self, functions: Iterable[Function]) -> Iterator[None]:
        """Let the model have more functions inside the block: for what is built beside it."""
        more = {f.key: f for f in functions if f.key not in self.functions}
        self.functions.update(more)
        try:
            yield
        finally:
            for key in more:
                del self.functions[key]

    def resolve_shadowing(self) -> None:
        """Rename what hides an outer value in a body, so that every body can read any value around it."""
        hiding, self.shadowing = self.shadowing, []
        for v in hiding:
            v.rename(self.fresh_name(v.name))

    @property
    def lists_weights(self) -> bool:
        """Whether weights are inputs too, as IR version 3 wants it: to runtimes they are constants there, at later versions
        what callers may override."""
        return self.ir_version < _FREE_INITIALIZERS_IR and any(v in self.graph.initializers for v in self.graph.inputs)

    def freeze_inputs(self) -> list[str]:
        """Take inputs that have an initializer off the interface, so that their values count as constant.

        Returns their names. A model of IR version 3 becomes version 4, the first that allows it.
        """
        graph = self.graph
        frozen = [v for v in graph.inputs if v in graph.initializers]
        graph.inputs = [v for v in graph.inputs if v not in graph.initializers]
        for v in frozen:
            v.const = graph.initializers[v]
            v.dtype, v.shape = v.const.dtype, v.const.dims
        if frozen:
            self.ir_version = max(self.ir_version, _FREE_INITIALIZERS_IR)
            graph.touch()
        return [v.name for v in frozen]

    # ------------------------------------------------------------------- saving
    @property
    def proto(self) -> ModelProto:
        """The model as a message of its own. External data stays external, relative to `base_dir`."""
        from graphopt.ir.messages import to_proto

        return to_proto(self)

    def SerializeToString(self) -> bytes:
        """The bytes of `proto`, so that a Model can stand where a ModelProto is asked for."""
        return self.proto.SerializeToString()

    def save(self, path: str | Path | IO[bytes], *, external_data: bool | None = None) -> None:
        """Write the model whole or not at all.

        Args:
            path: the file; an existing one is replaced at the end, in one step. Or a binary stream, as `sys.stdout.buffer` or
                an `io.BytesIO`, which takes the model with all of its weights.
            external_data: put tensors of 1 KiB and more into '<file name>.data' beside it. None: only where the model
                had external data or would pass protobuf's 2 GB.

        Raises:
            SaveError: the folder is missing or not writable, or the model is too large for one file.
            ArgumentError: external data beside a stream.
        """
        from graphopt.ir.save import save, write

        if isinstance(path, (str, os.PathLike)):
            save(self, Path(path), external_data)
        elif external_data:
            raise ArgumentError(
                "external_data=True needs a file, which the data can lie beside; a stream has no such place"
            )
        else:
            write(self, path)

    def __repr__(self) -> str:
        return f"<graphopt.Model {self.graph.name!r}: {self.node_count()} nodes, opset {self.opsets.get('')}>"

    def _repr_html_(self) -> str:
        return html_of(self)

    def _repr_svg_(self) -> str | None:
        return svg_of(self)


def opsets_of(source: Any) -> dict[str, int]:
    """Version by domain of a model or function; 'ai.onnx' is spelt ''."""
    return {"" if o.domain == "ai.onnx" else o.domain: o.version for o in source.opset_import}


NEWEST_IR = onnx.IR_VERSION
#: The first IR versions with model-local functions, and with defaults of their attributes.
_FUNCTIONS_IR, _DEFAULTS_IR = 8, 9
#: From this IR version on an initializer need not be an input, and callers may override one that is.
_FREE_INITIALIZERS_IR = 4
