"""What may be removed, merged or computed ahead of time."""

from __future__ import annotations

from graphopt.ir import Model, Node

#: Domains whose operators are known to have no effect beyond their outputs.
_PURE_DOMAINS = frozenset({"ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"})


def is_pure(model: Model, node: Node, calls: tuple[tuple[str, str, str], ...] = ()) -> bool:
    """Whether a node does nothing but give its outputs. Operators that nobody knows may do more.

    `calls`: the functions that are being looked into; one that calls itself does not hide an effect behind that.
    """
    key = (node.domain, node.op_type, node.overload)
    function = model.functions.get(key)
    if function is not None:
        return key in calls or all(is_pure(model, n, (*calls, key)) for n in function.graph.walk())
    if node.domain not in _PURE_DOMAINS and (node.domain or model.schema(node) is None):
        return False
    return all(is_pure(model, n, calls) for sub in node.subgraphs for n in sub)


def is_deterministic(model: Model, node: Node) -> bool:
    """Whether a node gives the same outputs whenever it gets the same inputs, and has no subgraph to look into."""
    schema = model.schema(node)
    return schema is not None and not schema.random and not node.subgraphs
