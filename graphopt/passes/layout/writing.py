"""Writes the nodes of a region for their layout, and Transposes at its borders."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.exec import channels_last
from graphopt.exec.kernels.channels_last import DOMAIN, form_name
from graphopt.ir import Graph, Node, Tensor, Value
from graphopt.ir.load import read_function
from graphopt.passes.layout.form import Form, Reordered
from graphopt.passes.layout.permutations import inverse, is_identity, reordered
from graphopt.passes.layout.regions import AGNOSTIC, Regions, turning
from graphopt.rewrite import Rewriter, Step
from graphopt.rewrite.ledger import NodeRecord
from graphopt.rewrite.rewriter import record
from graphopt.shapes import infer_node


class Writer:
    """Writes one graph. Nodes are made anew in front of the old ones, which go at the end; what somebody still reads as it was
    is made by a Transpose, under the name that it had."""

    def __init__(self, rewriter: Rewriter, graph: Graph, regions: Regions, hint: str) -> None:
        self.rewriter = rewriter
        self.model = rewriter.model
        self.graph = graph
        self.regions = regions
        self.hint = hint
        self.laid: dict[Value, Value] = {}
        self.made: list[Node] = []
        self.replaced: dict[Node, Value | None] = {}  # with what stands for the output of a Transpose
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Value] = {}

    def write(self, note: str) -> None:
        """Write everything, and one step into the ledger."""
        started = time.perf_counter()
        for node in list(self.graph):
            if (form := self.regions.forms.get(node)) is not None:
                self._node(node, form)
            elif (sides := self.regions.turned.get(node)) is not None:
                self._transpose(node, *sides)
            elif node.op in AGNOSTIC and node.inputs[0] in self.laid:
                self._shape(node)
        gone = self._remove()
        after = tuple(record(n) for n in self.made if n.graph is not None)
        taken = (time.perf_counter() - started) * 1e6
        self.rewriter.ledger.record(Step("layout", "", self.graph.name, tuple(gone), after, taken, note))

    # -------------------------------------------------------------------------------------------------------- new nodes
    def _build(
        self, op_type: str, inputs: Sequence[Value | None], attributes: dict[str, Any], like: Node, domain: str = "",
        outputs: Sequence[bool] = (True,),
    ) -> Node:  # fmt: skip
        """A node beside the graph. Raises ValueError where it takes no such inputs."""
        name = self.model.fresh_name(f"{like.name or like.op_type}_{self.hint}")
        node = Node(op_type, list(inputs), domain=domain, name=name, attributes=attributes)
        node.graph = self.graph
        for there in outputs:
            if there:
                node.new_output(self.model.fresh_name(f"{name}_output"))
            else:
                node.outputs.append(None)
        infer_node(self.model, node)
        return node

    def _put(self, node: Node, before: Node) -> Node:
        self.rewriter.insert(node, before)
        self.made.append(node)
        return node

    def constant(self, array: np.ndarray, before: Node) -> Value:
        """A constant; small ones are shared."""
        key = (array.dtype.str, array.shape, array.tobytes()) if array.nbytes <= 64 else None
        if key is not None and key in self._constants:
            return self._constants[key]
        v = Value(self.model.fresh_name(f"{before.op_type}_{self.hint}_const"), self.graph)
        v.const = Tensor(array=array)
        v.dtype, v.shape = v.const.dtype, v.const.dims
        self.rewriter.add_constant(v, before)
        if key is not None:
            self._constants[key] = v
        return v

    def _laid(self, v: Value, before: Node) -> Value:
        """A value as it is laid in the region."""
        if v not in self.laid:
            perm = self.regions.perms[v]
            t = self._put(self._build("Transpose", [v], {"perm": list(perm)}, before), before)
            self._name(t.output, v)
            self.laid[v] = t.output
        return self.laid[v]

    def _name(self, new: Value, old: Value) -> None:
        """Let what is laid be called after what it is, and know its dims."""
        new.rename(self.model.fresh_name(f"{old.name}_{self.hint}"))
        new.dtype = old.dtype or new.dtype
        if old.shape is not None:
            new.shape = reordered(old.shape, self.regions.perms[old])

    # ------------------------------------------------------------------------------------------------------- old nodes
    def _node(self, node: Node, form: Form) -> None:
        """A node of the region. One that takes no such inputs after all stays as it is."""
        inputs = list(node.inputs)
        for i in form.reads:
            v = inputs[i]
            assert v is not None
            inputs[i] = self._laid(v, node)
        for i, entry in form.inputs.items():
            inputs += [None] * (i + 1 - len(inputs))
            inputs[i] = self._parameter(node, inputs[i], entry)
        attributes = {n: a for n, a in {**node.attributes, **form.attributes}.items() if a is not None}
        domain, op_type = form.op or (node.domain, node.op_type)
        if domain == DOMAIN:
            self._define(node, op_type)
        try:
            new = self._build(op_type, inputs, attributes, node, domain, [v is not None for v in node.outputs])
        except ValueError as e:
            self.rewriter.ledger.decline("layout", f"{op_type}: {e}", node.output.name)
            return
        for w in form.weights:
            self._relay(w)
        new.inherit(node)
        self._put(new, node)
        for i, v in enumerate(node.outputs):
            made = new.outputs[i]
            if v is None or made is None:
                continue
            if i in form.gives:
                self._name(made, v)
                self.laid[v] = made
            else:
                self._stand_in(new, i, v, node)
        self.replaced[node] = None

    def _parameter(self, node: Node, v: Value | None, entry: np.ndarray | Reordered) -> Value:
        if not isinstance(entry, Reordered):
            return self.constant(entry, node)
        order = self.constant(np.array(entry.order, np.int64), node)
        return self._put(self._build("Gather", [v, order], {}, node), node).output

    def _define(self, node: Node, name: str) -> None:
        """Bring the function along that a channels-last form calls."""
        if (DOMAIN, name, "") not in self.model.functions:
            training = name == form_name(node.op, dims := int(name[-2]), training=True)
            proto = channels_last.function(node.op, dims, self.graph.opsets[""], training)
            self.model.add_function(read_function(self.model, proto), 1)

    def _relay(self, w: Any) -> None:
        """Bring weights into the order of the image that they are multiplied with."""
        v = w.user.inputs[w.index]
        array = v.const.numpy()
        rows = array if w.axis == 0 else array.T
        rows = rows.reshape(*w.dims, -1).transpose(*w.order, len(w.dims)).reshape(rows.shape)
        w.user.set_input(w.index, self.constant(np.ascontiguousarray(rows if w.axis == 0 else rows.T), w.user))
        self.rewriter.drop_if_unused(v)

    def _transpose(self, node: Node, reads: bool, gives: bool) -> None:
        """What is left of a Transpose at a border, or inside."""
        x = node.inputs[0]
        assert x is not None
        perm = turning(node, reads, gives, self.regions.perms)
        source = self._laid(x, node) if reads else x
        if not is_identity(perm):
            source = self._put(self._build("Transpose", [source], {"perm": list(perm)}, node), node).output
        if gives:
            self.laid[node.output] = source
        self.replaced[node] = None if gives else source

    def _shape(self, node: Node) -> None:
        """The dims of a value are those of what is laid, in another order; their product is the same."""
        v = node.inputs[0]
        assert v is not None
        if v.node not in self.replaced:
            return  # it is there as it was, too
        if node.op == "Size":
            node.set_input(0, self.laid[v])
            return
        order = inverse(self.regions.perms[v])
        start, end = node.attributes.get("start", 0), node.attributes.get("end", len(order))
        shape = self._put(self._build("Shape", [self.laid[v]], {}, node), node)
        chosen = self.constant(np.array(order[start:end], np.int64), node)
        picked = self._put(self._build("Gather", [shape.output, chosen], {}, node), node)
        self._stand_in(picked, 0, node.output, node)
        self.replaced[node] = None

    def _stand_in(self, new: Node, i: int, v: Value, old: Node) -> None:
        """Let a new node give a value that an old one gave."""
        old.outputs[v.index] = None
        made = new.outputs[i]
        if made is not None:
            v.known = made.known if v.known is None else v.known
        new.outputs[i] = v
        v.node, v.index = new, i
        new.touch()

    def _remove(self) -> list[NodeRecord]:
        """Take out the old nodes, the last first; they, and what nobody reads then."""
        gone: list[NodeRecord] = []
        read: dict[Value, None] = {}
        for node, source in reversed(list(self.replaced.items())):
            if source is not None and node.output.used:
                self.rewriter.replace(node.output, source, node)
            self._restore(node)
            gone.append(record(node))
            read |= dict.fromkeys(v for v in node.inputs if v is not None)
            self.graph.remove(node)
            self.rewriter.pending.pop(node, None)
        for v in read:
            if v.used:
                continue
            if v.node is not None and v.node.graph is not None:
                self.rewriter.erase_if_dead(v.node, gone)
            elif v.node is None and v.const is not None:
                self.rewriter.drop_if_unused(v)
        return gone

    def _restore(self, node: Node) -> None:
        """Make what is still read as it was from what is laid."""
        for v in list(node.outputs):
            if v is not None and v.used and v in self.laid:
                perm = inverse(self.regions.perms[v])
                t = self._put(self._build("Transpose", [self.laid[v]], {"perm": list(perm)}, node), node)
                self._stand_in(t, 0, v, node)
