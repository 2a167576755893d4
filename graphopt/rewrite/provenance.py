"""Provenance: in the metadata of each node that rules made, which rules these were and which nodes it stands for.

Read from the ledger when all is done, so that it costs nothing where nobody asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable

from graphopt._words import listed
from graphopt.ir import Model, Node
from graphopt.rewrite.ledger import Step

#: Keys of `NodeProto.metadata_props`: names of rules and passes in the order in which they were applied, names of nodes.
RULES, NODES = "graphopt.rules", "graphopt.nodes"
#: How many nodes are named; the others are a number.
_NAMED = 8
#: The first IR version whose nodes have metadata; readers of older ones skip them.
METADATA_IR = 10


def note_provenance(model: Model, steps: Iterable[Step]) -> int:
    """Write into nodes that are new what the ledger knows about them; the number of such nodes.

    A node that was made of nodes which rules had made before has the rules of all, and the nodes that these came from. What a
    node says from an earlier optimisation stays in front. Constants say nothing, and other metadata are left as they are.
    """
    made: dict[str, tuple[dict[str, None], dict[str, None]]] = {}  # by name: rules, and nodes of the model as it was
    for step in steps:
        rules: dict[str, None] = {}
        nodes: dict[str, None] = {}
        for r in step.before:
            earlier = made.get(r.name)
            if earlier is None:
                nodes[r.label] = None
            else:
                rules |= earlier[0]
                nodes |= earlier[1]
        rules[step.rule] = None
        for r in step.after:
            if r.name:
                made[r.name] = rules, nodes
    count = 0
    for node in model.nodes():
        if node.op == "Constant" or node.name not in made:
            continue
        rules, nodes = made[node.name]
        known = provenance_of(node)
        node.set_metadata(
            {RULES: ", ".join(dict.fromkeys([*known, *rules])), NODES: listed([n for n in nodes if n], _NAMED)}
        )
        count += 1
    return count


def provenance_of(node: Node) -> list[str]:
    """The rules that a node says it was made by, none where it says nothing."""
    source = node.proto
    text = next((p.value for p in source.metadata_props if p.key == RULES), "") if source is not None else ""
    return text.split(", ") if text else []
