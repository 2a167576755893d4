"""A node on its way to another version, and what may be done to it."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from onnx import helper

from graphopt.ir import Graph, Model, Node, Reference, Shape, Tensor, Value
from graphopt.passes.opset.transitions import Cannot, Step
from graphopt.rewrite import Ledger, Rewriter
from graphopt.rewrite.rewriter import is_function_body
from graphopt.shapes import infer_node, known_elements

#: Constants up to this many bytes are read as parameters.
_READABLE = 1 << 16


class Workshop:
    """What all nodes of a model that is converted share.

    Attributes:
        targets: the versions asked for, by domain.
        pending: nodes that are still to be converted, each with the version that it is written at.
        typed: dtypes and shapes are known, and kept up.
    """

    def __init__(self, model: Model, targets: dict[str, int], typed: bool) -> None:
        self.model = model
        self.targets = targets
        self.typed = typed
        self.pending: deque[tuple[Node, int]] = deque()
        self.rewriter = Rewriter(model, Ledger())
        self._constants: dict[tuple[int, str, tuple[int, ...], bytes], Value] = {}

    def constant(self, array: np.ndarray, before: Node) -> Value:
        """A small constant in the graph of a node, the same for all that ask for it."""
        graph = before.graph
        assert graph is not None
        key = (id(graph), array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants or is_function_body(graph):
            v = Value(self.model.fresh_name(f"{before.op_type}_parameter"), graph)
            v.const = Tensor(array=array)
            v.dtype, v.shape = v.const.dtype, v.const.dims
            self.rewriter.add_constant(v, before)
            self._constants[key] = v
        return self._constants[key]

    def infer(self, node: Node, version: int) -> None:
        """Set the types of the outputs of a node that is written at a version. Raises Cannot where it takes no such inputs."""
        if self.typed:
            assert node.graph is not None
            with written_at(node.graph, node.domain, version):
                try:
                    infer_node(self.model, node)
                except ValueError as e:
                    raise Cannot(f"{node.op}: {e}") from e


@contextlib.contextmanager
def written_at(graph: Graph, domain: str, version: int) -> Iterator[None]:
    """Let a graph be at another opset for a moment."""
    before = graph.opsets.get(domain)
    graph.opsets[domain] = version
    try:
        yield
    finally:
        if before is None:
            del graph.opsets[domain]
        else:
            graph.opsets[domain] = before


class Site:
    """A node at a step from one version to another.

    Attributes:
        node: as it is at the old version.
        step: the schemas of both versions.
    """

    def __init__(self, shop: Workshop, node: Node, step: Step) -> None:
        self.shop = shop
        self.node = node
        self.step = step
        assert node.graph is not None
        self.graph = node.graph

    # ------------------------------------------------------------------ reading
    @property
    def target(self) -> int:
        return self.shop.targets[self.node.domain]

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute, where it is left out the default of the old version, then the one given.

        Raises Cannot where the call of a function decides.
        """
        value = self.node.attributes.get(name)
        if isinstance(value, Reference):
            raise Cannot(f"attribute '{name}' is decided by the call of a function")
        if value is None and name in self.step.old.attributes:
            value = self.step.old.attributes[name].default
        return default if value is None else value

    def input(self, i: int) -> Value | None:
        return self.node.inputs[i] if i < len(self.node.inputs) else None

    def given(self, i: int) -> Value:
        """An input that is there. Raises Cannot where it is not."""
        v = self.input(i)
        if v is None:
            raise Cannot(f"input {i} is left out")
        return v

    def shape(self, i: int = 0) -> Shape | None:
        return None if (v := self.input(i)) is None else v.shape

    def rank(self, i: int = 0) -> int:
        """The rank of an input. Raises Cannot where it is not known."""
        shape = self.shape(i)
        if shape is None:
            raise Cannot("the rank of its input is not known")
        return len(shape)

    def dtype(self, i: int = 0) -> int:
        """The dtype of an input. Raises Cannot where it is not known."""
        v = self.input(i)
        if v is None or not v.dtype:
            raise Cannot("the dtype of its input is not known")
        return v.dtype

    def number(self, i: int) -> np.ndarray | None:
        """The elements of an input where they are known now, and few."""
        return elements(self.input(i))

    def needed(self, i: int) -> np.ndarray:
        """The elements of an input. Raises Cannot where the graph computes them."""
        array = self.number(i)
        if array is None:
            p = self.step.old.input_param(i)
            raise Cannot(f"its input '{p.name if p is not None else i}' is computed by the graph and has to be known")
        return array

    def output(self, i: int) -> Value | None:
        """An output that somebody reads."""
        v = self.node.outputs[i] if i < len(self.node.outputs) else None
        return v if v is not None and v.used else None

    # ----------------------------------------------------------------- changing
    def constant(self, data: Any, dtype: int | None = None) -> Value:
        """A constant; whole numbers are int64 where no dtype is given."""
        wanted = np.int64 if dtype is None else helper.tensor_dtype_to_np_dtype(dtype)
        with np.errstate(all="ignore"):
            array = np.asarray(data).astype(wanted)
        return self.shop.constant(array, self.node)

    def before(self, op_type: str, inputs: Sequence[Value | None], attributes: dict[str, Any] | None = None) -> Value:
        """A new node in front of this one, as the step's version writes it; its output."""
        node = self._new(op_type, inputs, attributes)
        v = node.new_output(self.shop.model.fresh_name(f"{self._hint()}_{op_type}_output"))
        self._place(node, self.node)
        return v

    def give(
        self, i: int, op_type: str, inputs: Sequence[Value | None], attributes: dict[str, Any] | None = None,
        version: int = 0,
    ) -> Value:  # fmt: skip
        """Let a new node give output i, under its name; `leave` follows once all are given.

        Args:
            version: at which it is written, where that is not the step's.
        """
        v = self.node.outputs[i]
        assert v is not None
        node = self._new(op_type, inputs, attributes)
        node.inherit(self.node)
        node.outputs.append(v)
        self.node.outputs[i] = None
        v.node, v.index = node, 0
        self._place(node, self.node, version)
        return v

    def leave(self) -> bool:
        """Take the node out, whose outputs others give; for an adapter to return."""
        self.node.outputs = []
        self.graph.remove(self.node)
        return True

    def store(self, v: Value, tensor: Tensor) -> bool:
        """Let an initializer stand for this node, a Constant; for an adapter to return."""
        v.node = None
        self.graph.initializers[v] = tensor
        self.shop.model.ir_version = max(self.shop.model.ir_version, 4)
        return self.leave()

    def instead(
        self, op_type: str, inputs: Sequence[Value | None], attributes: dict[str, Any] | None = None, version: int = 0
    ) -> bool:
        """Put a new node in the place of this one and of its first output; for an adapter to return."""
        self.give(0, op_type, inputs, attributes, version)
        return self.leave()

    def then(
        self, i: int, op_type: str, inputs: Sequence[Value | None] = (), attributes: dict[str, Any] | None = None,
        dtype: int = 0, known: Shape | None = None,
    ) -> None:  # fmt: skip
        """Send output i through a new node, which gives it under its name; `inputs` are those beside it.

        Args:
            dtype: that of the node's own output, where it is not that of the old one.
            known: its shape, where that is not the old one's.
        """
        old = self.node.outputs[i]
        assert old is not None
        own = Value(self.shop.model.fresh_name(f"{self._hint()}_{self.node.op_type}_output"), self.graph, self.node, i)
        own.dtype, own.shape = dtype or old.dtype, old.shape if known is None else known
        node = self._new(op_type, [own, *inputs], attributes)
        self.node.outputs[i] = own
        self.node.touch()
        node.outputs.append(old)
        old.node, old.index = node, 0
        if self.node.next is None:
            self.graph.append(node)
            self._infer(node)
        else:
            self._place(node, self.node.next)

    def become(self, op_type: str) -> bool:
        """Be another operator, which goes on from the step's version; for an adapter to return."""
        self.node.become(op_type)
        self.shop.pending.append((self.node, self.step.version))
        return True

    def _new(self, op_type: str, inputs: Sequence[Value | None], attributes: dict[str, Any] | None) -> Node:
        name = self.shop.model.fresh_name(f"{self._hint()}_{op_type}")
        node = Node(op_type, list(inputs), name=name, attributes=attributes or {})
        node.graph = self.graph
        return node

    def _place(self, node: Node, anchor: Node, version: int = 0) -> None:
        self.graph.insert_before(anchor, node)
        self._infer(node, version)

    def _infer(self, node: Node, version: int = 0) -> None:
        self.shop.infer(node, version or self.step.version)
        self.shop.pending.append((node, version or self.step.version))

    def _hint(self) -> str:
        return self.node.label or self.node.op_type


def elements(v: Value | None) -> np.ndarray | None:
    """The elements of a value where they are known, and few."""
    if v is None:
        return None
    if v.const is not None:
        return v.const.numpy() if v.const.nbytes <= _READABLE else None
    known = known_elements(v)
    if known is None or not all(isinstance(d, (int, float)) for d in known.reshape(-1)):
        return None
    return np.array(known.tolist())


def referred(v: Value) -> Reference | None:
    """What the call of a function decides, where a value is a Constant of it."""
    if v.node is None or v.node.op != "Constant":
        return None
    return next((a for a in v.node.attributes.values() if isinstance(a, Reference)), None)
