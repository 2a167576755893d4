"""What a target asks of a model besides rules: its opset, and no operators without a kernel where that can be."""

from __future__ import annotations

from collections import Counter
from functools import partial

from onnx import FunctionProto

from graphopt.ir import Model, OpSchema, op_schema
from graphopt.passes.opset import has_function, keeps_nodes, stands_for, write_out
from graphopt.shapes import infer_model
from graphopt.targets import Kernels, Target

#: How often what was written out is written out in turn.
_DEPTH = 4


def preferred_opset(m: Model, target: Target, kernels: Kernels) -> dict[str, int]:
    """The opset that a target prefers, where that is higher than the model's and no node loses what runs it there.

    A model that declares another rank for an output than it has stays: newer operators' inference finds that out. So does one
    whose initializers are all inputs, as IR version 3 wants it: at a later version they count as overridable.
    """
    own = m.opsets.get("", 0)
    if target.opset is None or not 0 < own < target.opset:
        return {}
    if m.lists_weights:
        return {}
    infer_model(m)
    for declared, v in zip(m.source.graph.output, m.graph.outputs, strict=True):
        tensor = declared.type.tensor_type
        if tensor.HasField("shape") and v.rank not in (None, len(tensor.shape.dim)):
            return {}
    for node in m.nodes():
        later = op_schema(node.op_type, target.opset, node.domain)
        if node.domain or later is None or kernels.refuses(m, node, later) is None:
            continue
        if kernels.refuses(m, node) is None:
            return {}
        body = stands_for(node, later, target.opset)  # runtimes put it in themselves, but not at any opset
        if has_function(later) and not (body and _runs(body, kernels, target.opset)):
            return {}
    return {"": target.opset}


def needs_nothing_newer(m: Model, own: int, kernels: Kernels) -> bool:
    """Whether a model that was raised can go back to its own opset as it is: no operator, parameter or kernel is missed."""
    for node in m.nodes():
        older = None if node.domain else op_schema(node.op_type, own, "")
        if older is not None and kernels.refuses(m, node, older) is not None and kernels.refuses(m, node) is None:
            return False
    return keeps_nodes(m, {"": own})


def write_out_missing(m: Model, target: Target, kernels: Kernels, notes: list[str]) -> None:
    """Write out operators without a kernel as ONNX's functions, where there are kernels for what these hold."""
    done: Counter[str] = Counter()
    wanted = partial(_runs, kernels=kernels, opset=m.opsets.get("", 0))
    for _ in range(_DEPTH):
        missing = [n for n in m.nodes() if kernels.refuses(m, n) is not None]
        now = write_out(m, missing, wanted) if missing else Counter()
        if not now:
            break
        done += now
    if done:
        notes.append(f"{target.name} has no kernel, written out: {', '.join(f'{n} {op}' for op, n in done.items())}")
    left = Counter(n.op for n in missing if n.graph is not None)
    if left:
        notes.append(f"{target.name} has no kernel for {', '.join(f'{n} {op}' for op, n in left.items())}")


def _runs(body: FunctionProto, kernels: Kernels, opset: int) -> bool:
    """Whether there are kernels for the operators of a function, or they can be written out in turn."""

    def known(schema: OpSchema | None) -> bool:
        return schema is not None and has_function(schema)

    return all(
        n.op_type in kernels or n.op_type == "Constant" or known(op_schema(n.op_type, opset, n.domain))
        for n in body.node
    )
