"""How much shape inference knows of a model, and what of the rest could be known before the model runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from benchmarks.claims import names_in, show

if TYPE_CHECKING:
    import onnx

    from graphopt import Model
    from graphopt.ir import Node, Value

_WORDS = {"floor", "ceil", "ceiling", "floordiv", "Max", "Min", "Mod", "max", "min", "sub"}


def coverage(proto: onnx.ModelProto) -> tuple[float, float]:
    """Shares of values with a known rank, and of those that are resolved."""
    inputs = (v.type.tensor_type.shape.dim for v in proto.graph.input if v.type.HasField("tensor_type"))
    own = {d.dim_param for dims in inputs for d in dims if d.dim_param}

    def resolved(dim: onnx.TensorShapeProto.Dimension) -> bool:
        text = dim.dim_param
        if dim.HasField("dim_value") or text in own:
            return True
        return bool(text) and "?" not in text and set(re.findall(r"[A-Za-z_][\w.]*", text)) - _WORDS <= own

    types = {v.name: v.type for v in (*proto.graph.value_info, *proto.graph.output)}
    names = [name for node in proto.graph.node if node.op_type != "Constant" for name in node.output if name]
    tensors = [types[name].tensor_type for name in names if name in types and types[name].HasField("tensor_type")]
    known = [t for t in tensors if t.HasField("shape")]
    count = max(len(names), 1)
    return len(known) / count, sum(all(map(resolved, t.shape.dim)) for t in known) / count


def explain(model: Model, show_first: int) -> dict[str, Any]:
    """The share of resolved values once those are left out that depend on data, and the first that are unresolved."""
    own = set().union(*(names_in(d) for v in model.graph.inputs for d in v.shape or ()))
    excuses = _Excuses(own)
    missing: list[tuple[bool, str]] = []
    resolved = 0
    for node in model.graph:
        excuses.node(node)
        for v in node.outputs:
            if v is None or node.op == "Constant" or v.type is not None:
                continue
            if _is_resolved(v, own):
                resolved += 1
            elif v not in excuses.values:
                later = not all(_is_resolved(i, own) for i in node.inputs if i is not None)
                reason = model.facts.reasons.get(v)
                made = f"'{v.name}' {show(v.shape)} by {node.op} '{node.name}'" + (f": {reason}" if reason else "")
                missing.append((later, made))
    return {
        "apart": resolved / (resolved + len(missing)) if resolved else 1.0 - bool(missing),
        "excused": len(excuses.values),
        "unresolved": len(missing),
        "first": [text for _, text in sorted(missing, key=lambda m: m[0])[:show_first]],
        "conflicts": list(model.facts.conflicts),
    }


def _is_resolved(v: Value, own: set[str]) -> bool:
    return v.shape is not None and all(names_in(d) <= own for d in v.shape)


#: Operators whose outputs have a size that depends on data whatever else is known, and inputs that say how large an output is.
_BY_DATA = {"NonZero", "Unique", "Compress", "NonMaxSuppression", "StringSplit", "ImageDecoder"}
_SIZED_BY = {
    **dict.fromkeys(
        "Reshape Expand CenterCropPad Split Upsample TopK OneHot Squeeze Unsqueeze AffineGrid".split(), (1,)
    ),
    **dict.fromkeys("ConstantOfShape HannWindow HammingWindow BlackmanWindow If".split(), (0,)),
    **dict.fromkeys("Tile Col2Im".split(), (1, 2)),
    "Slice": (1, 2, 3, 4),
    "Pad": (1, 3),
    "Resize": (1, 2, 3),
    "Range": (0, 1, 2),
    "MelWeightMatrix": (0, 1),
    "MaxUnpool": (2,),
    "DFT": (1, 2),
    "STFT": (1, 3),
    "SequenceAt": (1,),
    "SplitToSequence": (1,),
}


class _Excuses:
    """Which values have no dims that could be known before the model runs; nodes come in order.

    Attributes:
        values: those all of whose unresolved dims come from operators whose output size depends on data.
    """

    def __init__(self, own: set[str]) -> None:
        self.values: set[Value] = set()
        self._own = own
        self._names: dict[str, bool] = {}  # names that are made up: whether they stand for data
        self._data: set[Value] = set()  # values whose elements are not a matter of shapes

    def node(self, node: Node) -> None:
        """Look at the outputs of a node."""
        read = [v for v in node.inputs if v is not None]
        for graph in node.subgraphs:
            read += [v for inner in graph.walk() for v in inner.inputs if v is not None and v.graph is node.graph]
            read += [v for v in graph.outputs if v.graph is node.graph]
        by_data = self._sized_by_data(node)
        if node.op in ("Shape", "Size"):
            depends = any(v in self.values for v in read)
        else:
            depends = any(self._is_data(v) for v in read) or "Random" in node.op or by_data
        for v in node.outputs:
            if v is None:
                continue
            if depends:
                self._data.add(v)
            names = {n for d in v.shape or () for n in names_in(d)} - self._own
            for n in names:
                self._names.setdefault(n, by_data)
            unresolved = v.shape is None or bool(names)
            excuse = all(self._names[n] for n in names) if names else by_data or any(i in self.values for i in read)
            if unresolved and excuse:
                self.values.add(v)

    def _is_data(self, v: Value) -> bool:
        return v in self._data or (v.node is None and v.const is None)

    def _sized_by_data(self, node: Node) -> bool:
        if node.op == "Loop":
            return not _runs_to_its_end(node)
        if node.op in _BY_DATA:
            return True
        which = _SIZED_BY.get(node.op, (1,) if node.op.startswith("Reduce") else ())
        given = [node.inputs[i] for i in which if i < len(node.inputs)]
        return any(v is not None and self._is_data(v) for v in given)


def _runs_to_its_end(node: Node) -> bool:
    """Whether a Loop makes a number of turns that is known, and never stops before."""
    trips, start = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    if trips is None or (trips.const is None and (trips.known is None or None in trips.known)):
        return False
    body = node.subgraphs[0]
    condition = body.outputs[0]
    while condition.node is not None and condition.node.op == "Identity" and condition.node.inputs[0] is not None:
        condition = condition.node.inputs[0]
    goes_on = condition.const is not None or condition is body.inputs[1]
    return goes_on and (start is None or start.const is not None)
