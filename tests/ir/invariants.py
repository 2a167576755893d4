"""What must hold of a graph at any time, checked from scratch."""

from __future__ import annotations

from collections import Counter

from graphopt.ir import Graph, Model, Node, Value


def check(model: Model) -> None:
    """Raise AssertionError where links, counts, order or names of a model are wrong."""
    roots = [model.graph, *(f.graph for f in model.functions.values())]
    for root in roots:
        uses: dict[Value, Counter[Node]] = {}
        exits: Counter[Value] = Counter()
        values: dict[Value, Graph] = {}
        _walk(root, uses, exits, values, {}, set())
        for v, graph in values.items():
            assert v.graph is graph, f"{v} says that it belongs to another graph"
            assert dict(v.uses) == dict(uses.pop(v, {})), f"uses of {v}: {dict(v.uses)}"
            assert v.exits == exits.pop(v, 0), f"exits of {v}: {v.exits}"
        assert not uses, f"read, but not in any graph: {list(uses)}"
        assert not exits, f"outputs that are not in any graph: {list(exits)}"


def _walk(
    graph: Graph,
    uses: dict[Value, Counter[Node]],
    exits: Counter[Value],
    values: dict[Value, Graph],
    visible: dict[Value, None],
    outer_names: set[str],
) -> None:
    own = list(dict.fromkeys([*graph.inputs, *graph.initializers]))
    names: Counter[str] = Counter(v.name for v in own)
    for v in own:
        assert v.node is None, f"{v} is an input or initializer and has a producer"
        assert v not in values, f"{v} is twice"
        values[v] = graph
        if v in graph.initializers:
            assert (v.const is None) == (v in graph.inputs), f"const of {v}"
            assert v.const is None or v.const is graph.initializers[v], f"const of {v}"
    sparse = {
        v: None
        for n in graph
        for v in n.inputs
        if v is not None and v.node is None and v.graph is graph and v not in values
    }
    for sub in graph.subgraphs():
        sparse.update(
            {
                v: None
                for n in sub
                for v in n.inputs
                if v is not None and v.node is None and v.graph is graph and v not in values
            }
        )
        sparse.update({v: None for v in sub.outputs if v.node is None and v.graph is graph and v not in values})
    held = (
        {s.values.name for s in graph.source.sparse_initializer}
        if hasattr(graph.source, "sparse_initializer")
        else set()
    )
    for v in sparse:
        assert v.name in held, f"{v} comes from nowhere"
        values[v] = graph
    seen = {**visible, **dict.fromkeys([*own, *sparse])}
    count = 0
    last: Node | None = None
    node = graph.first
    while node is not None:
        count += 1
        assert node.graph is graph, f"{node} says that it is in another graph"
        assert node.prev is last, f"prev of {node}"
        assert last is None or last.position < node.position, f"positions of {last} and {node}"
        for v in node.inputs:
            if v is not None:
                assert v in seen, f"{node} reads {v}, which is not there yet"
                uses.setdefault(v, Counter())[node] += 1
        for sub in node.subgraphs:
            assert sub.owner is node
            assert sub.parent is graph
            _walk(sub, uses, exits, values, seen, outer_names | set(names))
        graphs = [
            g for a in node.attributes.values() for g in (a if isinstance(a, list) else [a]) if isinstance(g, Graph)
        ]
        assert graphs == node.subgraphs, f"subgraphs of {node}"
        for i, o in enumerate(node.outputs):
            if o is not None:
                assert o.node is node and o.index == i, f"producer of {o}"
                assert o not in values, f"{o} is twice"
                values[o] = graph
                seen[o] = None
                names[o.name] += 1
                if o.const is not None:
                    assert node.op == "Constant", f"const of {o}"
        assert (node in graph.holders) == bool(node.subgraphs), f"holders and {node}"
        last = node
        node = node.next
    assert graph.last is last
    assert all(n.graph is graph for n in graph.holders)
    assert graph.size == count == len(graph) == len(list(graph))
    twice = [n for n, k in names.items() if k > 1]
    assert not twice, f"names twice in graph '{graph.name}': {twice}"
    assert len(graph.output_infos) in (0, len(graph.outputs))
    for v in graph.outputs:
        assert v in seen, f"output {v} is not there"
        exits[v] += 1
    if graph is graph.model.graph:
        assert [v.name for v in graph.outputs] == [i.name for i in graph.output_infos], "names of outputs"
        assert [v.name for v in graph.inputs] == [graph.input_infos[v].name for v in graph.inputs], "names of inputs"
