"""The builder: a model in the making, with the value that everything in it has for one set of inputs.

Each node is checked against the operator's schema, its shapes are solved by `graphopt.shapes` and its values computed by
the reference kernels as soon as it is put in, so that what is built can be built upon: sizes, indices and shapes that are
computed by the graph are numbers here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from graphopt.exec.evaluate import CannotEvaluate, compute
from graphopt.ir import Graph, Model, Node, OpSchema, Tensor, Value, op_schema
from graphopt.rewrite.rewriter import Rewriter
from graphopt.shapes import infer_node
from graphopt.testing.choices import Choices
from graphopt.testing.schemas import schema_of

#: Values with more elements are not built.
LARGEST = 4096


class Invalid(Exception):
    """What was asked for is no valid model; the message says why."""


class Builder:
    """A model in the making.

    Attributes:
        choices: where decisions come from.
        model: the graph so far.
        graph: where nodes go: the main graph, or a body that is being built.
        arrays: the value of each Value of the model (a list: of a sequence).
        feeds: the inputs.
        names: a dim's size to the name that inputs declare for it; sizes without one are declared as numbers.
        vague: some inputs have no known rank, or do not declare all of their dims.
        alike: a size that most dims have, so that one axis is easily taken for another; None: each has its own.
    """

    def __init__(self, choices: Choices, opset: int, domains: dict[str, int] | None = None) -> None:
        self.choices = choices
        imports = {"": opset, **(domains or {})}
        ids = [helper.make_opsetid(name, version) for name, version in imports.items()]
        known = [i for i in ids if i.domain in ("", "ai.onnx.ml")]
        version = max(helper.find_min_ir_version_for(known, ignore_unknown=True), 4)
        source = ModelProto(ir_version=version, opset_import=ids, producer_name="graphopt.testing")
        self.model = Model(source)
        self.graph: Graph = self.model.graph
        self.graph.name = "g"
        self.arrays: dict[Value, Any] = {}
        self.feeds: dict[str, Any] = {}
        self.names: dict[int, str] = {}
        self.vague = False
        self.alike: int | None = None
        self._made = 0
        self._counts: dict[str, int] = {}
        self._taken: set[str] = set()

    # ------------------------------------------------------------------ values
    def name(self, hint: str) -> str:
        """A name that nothing has yet: x, x1, x2..."""
        while True:
            n = self._counts[hint] = self._counts.get(hint, -1) + 1
            name = f"{hint}{n}" if n else hint
            if name not in self._taken:
                self._taken.add(name)
                return name

    def input(self, array: np.ndarray, hint: str = "x") -> Value:
        """A new input of the model, with its value."""
        v = Value(self.name(hint), self.model.graph)
        v.dtype = Tensor(array=array).dtype
        v.shape = tuple(self.names.get(d, d) for d in array.shape)
        rankless = False
        if self.vague and self.choices.integer(0, 1):
            rankless = self.choices.chance(2)
            if not rankless:
                v.shape = tuple(None if self.choices.chance(2) else d for d in v.shape)
        self._declare(v, array)
        return self._rankless(v) if rankless else v

    def _declare(self, v: Value, array: np.ndarray) -> None:
        self.model.graph.inputs.append(v)
        self.model.graph.input_infos[v] = helper.make_tensor_value_info(v.name, v.dtype, v.shape)
        self.arrays[v] = self.feeds[v.name] = array

    def _rankless(self, v: Value) -> Value:
        """The same, of unknown rank: inputs must declare theirs, so it gets its shape from an input of unknown length."""
        if self.schema("Reshape").max_inputs < 2:
            return v
        dims = Value(self.name("dims"), self.model.graph)
        dims.dtype, dims.shape = TensorProto.INT64, (None,)
        self._declare(dims, np.array(self.arrays[v].shape, np.int64))
        return self.node("Reshape", [v, dims])[0]

    def constant(self, array: np.ndarray, hint: str = "c") -> Value:
        """A new initializer, or now and then a Constant node."""
        tensor = Tensor(array=np.asarray(array))
        if self.choices.chance(5) and self._takes_constant(tensor.dtype):
            v = self.add(Node("Constant", [], attributes={"value": tensor}), hint=hint)[0]
            v.const = tensor
        else:
            v = self.model.graph.add_initializer(self.name(hint), tensor)
        self.arrays[v] = tensor.numpy()
        return v

    def _takes_constant(self, dtype: int) -> bool:
        schema = op_schema("Constant", self.model.opsets[""])
        return schema is not None and dtype in schema.outputs[0].types

    # ------------------------------------------------------------------- nodes
    def node(
        self,
        op_type: str,
        inputs: Sequence[Value | None],
        attributes: dict[str, Any] | None = None,
        outputs: int = 1,
        domain: str = "",
        hint: str = "",
    ) -> list[Value]:
        """Put in a node; its outputs.

        Raises:
            Invalid: the operator does not exist at this opset, or takes no such inputs.
        """
        schema = self.schema(op_type, domain)
        if not schema.min_inputs <= len(inputs) <= schema.max_inputs:
            raise Invalid(f"{op_type} with {len(inputs)} inputs")
        dtypes: dict[str, int] = {}
        for i, v in enumerate(inputs):
            p = schema.input_param(i)
            assert p is not None
            if v is None:
                if not p.optional:
                    raise Invalid(f"{op_type} without its input '{p.name}'")
            elif v.dtype and (
                (p.types and v.dtype not in p.types)
                or (not p.heterogeneous and dtypes.setdefault(p.type_var, v.dtype) != v.dtype)
            ):
                raise Invalid(f"{op_type} takes no {v.dtype} as '{p.name}' beside {dtypes}")
        return self.add(Node(op_type, list(inputs), domain=domain, attributes=attributes or {}), outputs, hint)

    def schema(self, op_type: str, domain: str = "") -> OpSchema:
        """The schema of an operator here. Raises Invalid where it does not exist."""
        schema = schema_of(op_type, self.model.opsets.get(domain, 1), domain)
        if schema is None or schema.deprecated:
            raise Invalid(f"{op_type} does not exist at opset {self.model.opsets.get(domain)}")
        return schema

    def add(self, node: Node, outputs: int = 1, hint: str = "") -> list[Value]:
        """Put in a node that holds what it needs; its outputs, with their types and values (where it has no bodies).

        Raises:
            Invalid: inference or the kernel refuses it, or what it gives is too large.
        """
        node.graph = self.graph
        node.name = self.name(f"n_{node.op_type}")
        made = [node.new_output(self.name(hint or node.op_type.lower())) for _ in range(outputs)]
        for sub in node.subgraphs:
            sub.owner = node
        try:
            infer_node(self.model, node)
        except ValueError as e:
            raise Invalid(f"{node.op_type}: {e}") from e
        if not node.subgraphs:
            for v, array in zip(made, self.compute(node), strict=True):
                self.settle(v, array)
        node.graph = None
        self.graph.append(node)
        return made

    def compute(self, node: Node) -> list[Any]:
        """The values of a node's outputs. Raises Invalid where the kernel refuses."""
        if node.op == "Constant":
            return [node.attributes["value"].numpy()]
        given = [None if v is None else self.arrays[v] for v in node.inputs]
        try:
            found = compute(self.model, node, given)
        except CannotEvaluate as e:
            raise Invalid(f"{node.op_type}: {e}") from e
        if any(isinstance(a, np.ndarray) and a.size > LARGEST for a in found):
            raise Invalid(f"{node.op_type} gives a large tensor")
        return found

    def settle(self, v: Value, array: Any) -> None:
        """Note the value of a Value; where inference does not know a dtype or rank, it is taken from there."""
        self.arrays[v] = array
        if isinstance(array, np.ndarray) and v.type is None:  # an optional that holds a tensor is none
            v.dtype = v.dtype or Tensor(array=array).dtype

    # ------------------------------------------------------------------ bodies
    @contextlib.contextmanager
    def body(self, name: str) -> Iterator[Graph]:
        """A subgraph without inputs: nodes go into it until the block ends. It reads what is around it."""
        outer, inner = self.graph, Graph(self.model, self.name(name))
        inner.opsets = self.model.opsets
        inner.owner = Node("If", [])
        inner.owner.graph = outer
        self.graph = inner
        try:
            yield inner
        finally:
            self.graph = outer

    def end_body(self, body: Graph, outputs: Sequence[Value]) -> None:
        """Say what a body gives; what it does not compute itself is copied."""
        own = [v if v.graph is body and v.node is not None else self.node("Identity", [v])[0] for v in outputs]
        body.outputs = own
        body.output_infos = [self.declared(v, named=False) for v in own]
        for v in own:
            v.exits += 1

    # ---------------------------------------------------------------- finishing
    def output(self, v: Value) -> None:
        """Make a value an output of the model; one that no node computes is copied."""
        if v.node is None or v.graph is not self.model.graph or v.exits:
            v = self.node("Identity", [v])[0]
        self.model.graph.outputs.append(v)
        self.model.graph.output_infos.append(self.declared(v))
        v.exits += 1

    def declared(self, v: Value, named: bool = True) -> ValueInfoProto:
        """What a declaration says of a value: its dtype and rank, of its dims those that inference knows."""
        if v.type is not None:
            return ValueInfoProto(name=v.name, type=v.type)
        dims: list[Any] = [d if isinstance(d, int) and not isinstance(d, bool) else None for d in v.shape or ()]
        if v.shape is None:
            dims = [None] * np.ndim(self.arrays[v])
        if named and v.shape is not None:
            dims = [
                d if isinstance(d, int) or (isinstance(d, str) and d in self.names.values()) else None for d in v.shape
            ]
        return helper.make_tensor_value_info(v.name, v.dtype or TensorProto.FLOAT, dims)

    def finish(self, tidy: bool = True) -> ModelProto:
        """The model, less what nobody reads.

        Args:
            tidy: take out nodes and constants that nobody reads.

        Raises:
            Invalid: the checker refuses it.
        """
        if not self.model.graph.outputs:
            raise Invalid("no output")
        if tidy:
            self.tidy()
        proto = self.model.proto
        try:
            onnx.checker.check_model(proto, full_check=True)
        except Exception as e:
            raise Invalid(f"the checker: {e}") from e
        return proto

    def tidy(self) -> None:
        """Take out nodes and constants that nobody reads."""
        rewriter = Rewriter(self.model, _ledger())
        for graph in list(self.model.graph.subgraphs()):
            for node in reversed(list(graph)):
                if node.graph is not None:
                    rewriter.erase_if_dead(node)
        for v in list(self.model.graph.initializers):
            if not v.used and v not in self.model.graph.inputs:
                self.model.graph.remove_initializer(v)


def _ledger() -> Any:
    from graphopt.rewrite import Ledger

    return Ledger()
