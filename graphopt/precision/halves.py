"""float16 and bfloat16: weights and values in another dtype, in place, with Casts where the two meet.

A value keeps its name and takes the dtype; where somebody reads it as float32, a Cast right behind its producer gives that
form, once for all who read it. So each value has at most two forms, and the rules take out the Casts that undo each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from onnx import TensorProto, ValueInfoProto
from onnx.helper import tensor_dtype_to_np_dtype

from graphopt.ir import Graph, Model, Node, Tensor, Value
from graphopt.precision.staying import FLOAT, FLOAT16, Staying, fitted, slots, staying, variables
from graphopt.shapes import infer_model

_SUFFIX: dict[int, str] = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}


def convert(
    model: Model,
    dtype: int,
    keep: Sequence[str] = (),
    interface: bool = False,
    large: frozenset[str] = frozenset(),
) -> Counter[str]:
    """Let a model compute in `dtype` instead of float32, in place.

    Args:
        model: its opset must have the dtype.
        dtype: FLOAT16 or BFLOAT16.
        keep: operators and names of nodes that stay in float32.
        interface: inputs and outputs get the dtype too.
        large: names of values that are near float16's largest number, or past it.

    Returns:
        Why nodes that have floats stayed in float32, and how many for each reason.
    """
    infer_model(model)
    model.resolve_shadowing()
    conversion = _Conversion(model, dtype, staying(model, dtype, keep, large), interface)
    conversion.run()
    return Counter(
        why for node, why in conversion.stays.reasons.items() if node.graph is not None and why not in _NOT_FLOATS
    )


_NOT_FLOATS = ("no float32", "holds graphs")


class _Conversion:
    """The state of one conversion: which forms of each float32 value there are."""

    def __init__(self, model: Model, dtype: int, stays: Staying, interface: bool) -> None:
        self.model = model
        self.dtype = dtype
        self.interface = interface
        self.stays = stays
        self.half: dict[tuple[Value, str], Value] = {}
        self.full: dict[Value, Value] = {}
        self.converted: set[Value] = set()  # values that have the dtype now, under their own names

    def run(self) -> None:
        graphs = list(self.model.graph.subgraphs())
        nodes = [n for g in graphs for n in g if n not in self.stays.reasons]
        free = {n: variables(self.model, n, self.dtype) for n in nodes}
        formal = {n: slots(self.model, n) for n in nodes}  # of the model as it was
        full = list(self.stays.reasons)
        if self.interface:
            self._convert_interface()
        for node in nodes:
            for p, v in zip(formal[node][1], list(node.outputs), strict=True):
                if p is not None and v is not None and v.dtype == FLOAT and p.type_var in free[node]:
                    self._convert_output(node, v)
        for node in nodes:
            self._say_dtype(node)
            for i, (p, v) in enumerate(zip(formal[node][0], list(node.inputs), strict=True)):
                if p is None or v is None:
                    continue
                if p.type_var in free[node]:
                    node.set_input(i, self._as_half(v, node.op))
                else:
                    node.set_input(i, self._as_full(v))
        for node in full:
            for i, v in enumerate(list(node.inputs)):
                if v is not None:
                    node.set_input(i, self._as_full(v))
        if self.interface:
            self._convert_outputs()
        for graph in graphs:
            self._drop_unused(graph)
            self._correct_infos(graph)
        infer_model(self.model)

    # ------------------------------------------------------------------- forms
    def _convert_output(self, node: Node, v: Value) -> None:
        """Let a node give the dtype; an output of a graph stays float32 under its name."""
        if v.exits and not (self.interface and v.graph is self.model.graph):
            half = Value(self.model.fresh_name(f"{v.name}_{_SUFFIX[self.dtype]}"), v.graph, node, v.index)
            half.dtype, half.shape = self.dtype, v.shape
            node.outputs[v.index] = half
            node.touch()
            self._cast(half, v.graph, FLOAT, into=v)
            self.half[v, ""] = half
            return
        v.dtype = self.dtype
        self.converted.add(v)

    def _as_half(self, v: Value, reader: str) -> Value:
        """The form of a value that a converted node reads."""
        if v in self.converted or v.dtype != FLOAT:
            return v
        key = (v, reader if v.const is not None and self.dtype == FLOAT16 and reader in _BOUNDS else "")
        found = self.half.get(key)
        if found is None:
            name = self.model.fresh_name(f"{v.name}_{_SUFFIX[self.dtype]}")
            if v.const is not None:
                found = v.graph.add_initializer(name, self._converted(v.const, reader))
            else:
                found = self._cast(v, v.graph, self.dtype, name=name)
            self.half[key] = found
        return found

    def _as_full(self, v: Value) -> Value:
        """The form of a value that a node in float32 reads."""
        if v not in self.converted:
            return v
        found = self.full.get(v)
        if found is None:
            name = self.model.fresh_name(f"{v.name}_{_SUFFIX[FLOAT]}")
            found = self.full[v] = self._cast(v, v.graph, FLOAT, name=name)
        return found

    def _cast(self, v: Value, graph: Graph, to: int, name: str = "", into: Value | None = None) -> Value:
        """A Cast right behind a value's producer, or at the top of its graph."""
        node = Node("Cast", [v], name=self.model.fresh_name(f"{v.name}_cast"), attributes={"to": to})
        anchor = graph.first if v.node is None else v.node.next
        if anchor is None:
            graph.append(node)
        else:
            graph.insert_before(anchor, node)
        if into is None:
            out = node.new_output(name)
        else:
            into.node, into.index = node, 0
            node.outputs.append(into)
            out = into
        out.dtype, out.shape = to, v.shape
        return out

    def _converted(self, tensor: Tensor, reader: str) -> Tensor:
        array = tensor.view()
        if self.dtype == FLOAT16:
            array = fitted(array, reader)
        with np.errstate(over="ignore"):
            return Tensor(array=array.astype(tensor_dtype_to_np_dtype(self.dtype), order="C"))

    # -------------------------------------------------------------- what is said
    def _say_dtype(self, node: Node) -> None:
        """Attributes that say what dtype a converted node gives."""
        if node.outputs[0] is None or node.outputs[0].dtype != self.dtype:
            return
        if node.op == "Cast" and node.attributes.get("to") == FLOAT:
            node.set_attribute("to", self.dtype)
        elif node.op == "ConstantOfShape":
            value = node.attributes.get("value")
            tensor = value if isinstance(value, Tensor) else Tensor(array=np.zeros(1, np.float32))
            node.set_attribute("value", self._converted(tensor, node.op))

    def _convert_interface(self) -> None:
        graph = self.model.graph
        for v in graph.inputs:
            if v.dtype == FLOAT and v not in graph.initializers:
                v.dtype = self.dtype
                self.converted.add(v)
                graph.input_infos[v] = _retyped(graph.input_infos[v], self.dtype)
        for i, info in enumerate(graph.output_infos):
            if info.type.tensor_type.elem_type == FLOAT:
                graph.output_infos[i] = _retyped(info, self.dtype)
        graph.touch()

    def _convert_outputs(self) -> None:
        """Outputs of the model that are still float32: constants, and what a node in float32 gives."""
        graph = self.model.graph
        for v in graph.outputs:
            if v.dtype != FLOAT:
                continue
            name = self.model.fresh_name(f"{v.name}_{_SUFFIX[FLOAT]}")
            if v.const is not None and v in graph.initializers:
                full = graph.add_initializer(name, v.const)
                v.const = graph.initializers[v] = self._converted(v.const, "")
                v.dtype = self.dtype
            elif v.node is not None:
                full = Value(name, graph, v.node, v.index)
                full.dtype, full.shape = FLOAT, v.shape
                v.node.outputs[v.index] = full
                v.node.touch()
                self._cast(full, graph, self.dtype, into=v)
            else:
                continue
            for user in [n for n in v.uses if n is not v.node]:
                for i, read in enumerate(user.inputs):
                    if read is v:
                        user.set_input(i, full)

    def _drop_unused(self, graph: Graph) -> None:
        inputs = set(graph.inputs)
        for v in [v for v in graph.initializers if not v.used and v not in inputs]:
            graph.remove_initializer(v)

    def _correct_infos(self, graph: Graph) -> None:
        """Types that the file gives for inner values, with the dtypes that these have now."""
        source = graph.value_infos if graph.value_infos is not None else getattr(graph.source, "value_info", ())
        names = {v.name for v in self.converted if v.graph is graph}
        if names & {info.name for info in source}:
            here = {v.name for n in graph for v in n.outputs if v is not None} | {v.name for v in graph.initializers}
            graph.value_infos = [
                _retyped(info, self.dtype) if info.name in names else info for info in source if info.name in here
            ]
            graph.touch()


_BOUNDS = ("Clip", "Max", "Min")


def _retyped(info: ValueInfoProto, dtype: int) -> ValueInfoProto:
    out = ValueInfoProto()
    out.CopyFrom(info)
    out.type.tensor_type.elem_type = dtype
    return out
