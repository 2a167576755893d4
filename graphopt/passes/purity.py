"""What may be removed, merged or computed ahead of time."""

from __future__ import annotations

from graphopt.ir import Model, Node

#: Domains whose operators are known to have no effect beyond their outputs.
_PURE_DOMAINS = frozenset({"ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"})


def is_pure(model: Model, node: Node) -> bool:
    """Whether a node does nothing but give its outputs. Operators that nobody knows may do more."""
    if not node.domain:
        return model.schema(node) is not None
    return node.domain in _PURE_DOMAINS or (node.domain, node.op_type, node.overload) in model.functions


def is_deterministic(model: Model, node: Node) -> bool:
    """Whether a node gives the same outputs whenever it gets the same inputs, and has no subgraph to look into."""
    schema = model.schema(node)
    return schema is not None and not schema.random and not node.subgraphs
