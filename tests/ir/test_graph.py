"""Changing graphs: links, positions and order stay right, whatever is done while walking."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from graphopt import load
from graphopt.ir import Graph, Model, Node, Tensor, Value, op_key
from tests.ir import invariants
from tests.ir.building import parse, run, same_bits

CHAIN = "g (float[N] x) => (float[N] y) { a = Relu(x) b = Neg(a) c = Abs(b) y = Sin(c) }"
BRANCH = """g (bool c, float[N] x) => (float[N] y) {
    a = Relu(x)
    z = If (c) <
        then_branch = t () => (float[N] t_out) {
            t_out = If (c) <
                then_branch = tt () => (float[N] tt_out) { p = Add(a, a) tt_out = Add(p, w) },
                else_branch = te () => (float[N] te_out) { te_out = Neg(a) }
            >
        },
        else_branch = e () => (float[N] e_out) { e_out = Sin(x) }
    >
    y = Abs(z)
}"""


def chain() -> Model:
    return load(parse(CHAIN))


def branch() -> Model:
    proto = parse(BRANCH, check=False)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.float32([1]), "w"))
    return load(proto)


def insert(m: Model, before: Node, op: str, *inputs: Value | None) -> Node:
    node = Node(op, list(inputs))
    node.graph = before.graph
    node.new_output(m.fresh_name(op))
    assert before.graph is not None
    before.graph.insert_before(before, node)
    return node


def names(graph: Graph) -> list[str]:
    return [n.op for n in graph]


# ---------------------------------------------------------------------- iterating
def test_removing_the_current_node() -> None:
    m = chain()
    seen = []
    for node in m.graph:
        seen.append(node.op)
        if node.op in ("Relu", "Neg", "Abs"):
            node.output.replace_uses(node.inputs[0])
            m.graph.remove(node)
    assert seen == ["Relu", "Neg", "Abs", "Sin"]
    assert names(m.graph) == ["Sin"]
    invariants.check(m)


def test_removing_nodes_ahead_and_behind() -> None:
    m = chain()
    seen = []
    for node in m.graph:
        seen.append(node.op)
        if node.op == "Neg":
            ahead, behind = node.next, node.prev
            assert ahead is not None and behind is not None
            ahead.output.replace_uses(node.output)
            m.graph.remove(ahead)
            behind.output.replace_uses(behind.inputs[0])
            m.graph.remove(behind)
    assert seen == ["Relu", "Neg", "Sin"]
    invariants.check(m)


def test_removing_the_current_and_all_that_follow() -> None:
    m = chain()
    seen = []
    for node in m.graph:
        seen.append(node.op)
        if node.op == "Relu":
            m.graph.set_output(0, m.graph.inputs[0])
            for other in reversed(list(m.graph)):
                m.graph.remove(other)
    assert seen == ["Relu"]
    assert len(m.graph) == 0
    assert m.graph.first is m.graph.last is None


def test_inserting_while_walking() -> None:
    m = chain()
    seen = []
    for node in m.graph:
        seen.append(node.op)
        if node.op == "Neg":
            insert(m, node, "Cos", node.inputs[0])
            assert node.next is not None
            insert(m, node.next, "Tan", node.output)
    assert seen == ["Relu", "Neg", "Tan", "Abs", "Sin"]
    assert names(m.graph) == ["Relu", "Cos", "Neg", "Tan", "Abs", "Sin"]
    invariants.check(m)


def test_replacing_the_current_node() -> None:
    m = chain()
    seen = []
    for node in m.graph:
        seen.append(node.op)
        if node.op == "Neg":
            new = insert(m, node, "Erf", *node.inputs)
            node.output.replace_uses(new.output)
            m.graph.remove(node)
    assert seen == ["Relu", "Neg", "Abs", "Sin"]
    assert names(m.graph) == ["Relu", "Erf", "Abs", "Sin"]
    invariants.check(m)


# ---------------------------------------------------------------------- positions
@pytest.mark.parametrize("where", range(4))
def test_positions_never_run_out(where: int) -> None:
    m = chain()
    anchor = list(m.graph)[where]
    for k in range(100):
        insert(m, anchor, "Cos", m.graph.inputs[0])
        if k % 10 == 0:
            invariants.check(m)
    invariants.check(m)
    assert len(m.graph) == 104


def test_inserting_before_the_node_inserted_last() -> None:
    m = chain()
    anchor = m.graph.last
    for _ in range(100):
        assert anchor is not None
        anchor = insert(m, anchor, "Cos", m.graph.inputs[0])
    invariants.check(m)


def test_appending() -> None:
    m = load(parse("g (float[N] x) => (float[N] x_out) { x_out = Relu(x) }"))
    node = Node("Neg", [m.graph.inputs[0]])
    node.graph = m.graph
    node.new_output("fresh")
    m.graph.append(node)
    invariants.check(m)
    assert names(m.graph) == ["Relu", "Neg"]
    m = branch()
    inner = next(g for g in m.graphs() if g.name == "e")
    node = Node("Neg", [m.graph.inputs[1]])
    node.graph = inner
    node.new_output("fresh")
    inner.append(node)
    invariants.check(m)
    assert b"fresh" in m.SerializeToString()


def test_appending_to_an_empty_graph() -> None:
    m = load(parse("g (float[N] x) => (float[N] x) {}", check=False))
    node = Node("Neg", [m.graph.inputs[0]])
    node.graph = m.graph
    node.new_output("fresh")
    m.graph.append(node)
    invariants.check(m)
    insert(m, node, "Cos", m.graph.inputs[0])
    invariants.check(m)


# --------------------------------------------------------------------------- uses
def test_one_value_several_times() -> None:
    m = load(parse("g (float[N] x) => (float[N] y) { y = Max(x, x, x) }"))
    x = m.graph.inputs[0]
    node = m.graph.first
    assert node is not None and x.uses == {node: 3}
    node.set_input(1, None)
    assert x.uses == {node: 2}
    node.set_input(1, x)
    assert x.uses == {node: 3}
    node.set_input(1, x)
    assert x.uses == {node: 3}
    invariants.check(m)
    other = m.graph.add_initializer("k", Tensor(array=np.float32([1])))
    x.replace_uses(other)
    assert (x.uses, other.uses) == ({}, {node: 3})
    assert not x.used
    invariants.check(m)


def test_a_value_may_replace_itself() -> None:
    m = chain()
    a = next(iter(m.graph)).output
    a.replace_uses(a)
    assert not m.graph.touched
    invariants.check(m)


def test_outputs_follow() -> None:
    proto = parse("g (float[N] x) => (float[N] y, float[N] z) { y = Relu(x) a = Neg(x) z = Abs(a) }")
    m = load(proto)
    relu, neg, last = m.graph
    y = relu.output
    assert y.exits == 1 and y.used
    y.replace_uses(neg.output)
    assert m.graph.outputs == [neg.output, last.output]
    assert (y.exits, neg.output.exits) == (0, 1)


def test_one_value_as_two_outputs() -> None:
    proto = parse("g (float[N] x) => (float[N] y) { y = Relu(x) }")
    proto.graph.output.append(proto.graph.output[0])
    m = load(proto)
    relu = next(iter(m.graph))
    assert relu.output.exits == 2
    invariants.check(m)
    relu.output.replace_uses(m.graph.inputs[0])
    assert relu.output.exits == 0
    assert m.graph.outputs == [m.graph.inputs[0]] * 2
    m.graph.remove(relu)


def test_inputs_and_initializers_as_outputs() -> None:
    m = load(parse("g (float[2] x) => (float[2] x, float[2] w) <float[2] w = {1, 2}> {}", check=False))
    invariants.check(m)
    assert [v.exits for v in m.graph.outputs] == [1, 1]


def test_captured_uses_are_replaced() -> None:
    m = branch()
    a = next(iter(m.graph)).output
    x = m.graph.inputs[1]
    a.replace_uses(x)
    assert not a.used
    assert sorted(n.op for n in x.uses) == ["Add", "Neg", "Relu", "Sin"]
    m.graph.remove(a.node)
    invariants.check(m)
    onnx.checker.check_model(m.proto)
    assert b"a" not in [i.encode() for n in m.proto.graph.node for i in n.input]


def test_removing_a_node_frees_what_its_branches_read() -> None:
    m = branch()
    relu, choice, absolute = m.graph
    absolute.set_input(0, relu.output)
    w = next(iter(m.graph.initializers))
    assert w.uses
    inner = list(choice.subgraphs[0].walk()) + list(choice.subgraphs[1].walk())
    m.graph.remove(choice)
    assert relu.output.uses == {absolute: 1}
    assert not w.uses
    assert all(n.graph is None for n in inner), "nobody may go on working on a branch that is gone"
    assert not any(v.exits or v.uses for n in inner for v in n.outputs if v is not None)
    invariants.check(m)


def test_only_what_nobody_reads_is_removed() -> None:
    m = chain()
    with pytest.raises(AssertionError):
        m.graph.remove(next(iter(m.graph)))
    with pytest.raises(AssertionError):
        m.graph.remove(m.graph.last)
    invariants.check(m)


def test_users() -> None:
    m = load(
        parse(
            "g (float[4] x) => (float[2] y, float[2] z) { a, b = Split<axis=0>(x) y = Add(a, b) z = Neg(b) }", opset=13
        )
    )
    split = next(iter(m.graph))
    assert [n.op for n in split.users()] == ["Add", "Add", "Neg"]


# ------------------------------------------------------------------------ renaming
def test_renaming_reaches_every_reader() -> None:
    m = branch()
    a = next(iter(m.graph)).output
    a.rename("renamed")
    invariants.check(m)
    onnx.checker.check_model(m.proto)
    text = onnx.printer.to_text(m.proto)
    assert text.count("renamed") == 4
    assert "(a" not in text
    w = next(iter(m.graph.initializers))
    w.rename("weight")
    onnx.checker.check_model(m.proto)
    assert m.proto.graph.initializer[0].name == "weight"


def test_renaming_to_the_same_name_touches_nothing() -> None:
    m = branch()
    next(iter(m.graph)).output.rename("a")
    assert not any(n.stale for n in m.nodes())


def test_renaming_what_a_branch_gives_out() -> None:
    m = branch()
    inner = next(n for n in m.nodes() if n.op == "Neg")
    inner.output.rename("given")
    out = m.proto
    onnx.checker.check_model(out)
    c, x = np.array(False), np.arange(3, dtype=np.float32)
    assert same_bits(run(out, c=c, x=x), [np.abs(np.sin(x))])


def test_touching() -> None:
    m = branch()
    deep = next(n for n in m.nodes() if n.op == "Neg")
    deep.touch()
    assert deep.stale and deep.graph is not None
    owner: Node | None = deep
    while owner is not None:
        assert owner.stale and owner.graph is not None and owner.graph.touched
        owner = owner.graph.owner
    assert not next(g for g in m.graphs() if g.name == "e").touched
    assert not next(iter(m.graph)).stale


# -------------------------------------------------------------------------- adopt
@pytest.mark.parametrize("extra", [0, 40])
def test_adopting_a_branch(extra: int) -> None:
    m = branch()
    relu, choice, absolute = m.graph
    then = choice.subgraphs[0]
    top = then.first
    assert top is not None
    inner = top.subgraphs[0]
    for _ in range(extra):
        assert inner.first is not None
        insert(m, inner.first, "Cos", relu.output)
    v = inner.outputs[0]
    moved = then.adopt(inner, top)
    assert [n.op for n in moved] == ["Cos"] * extra + ["Add", "Add"]
    assert len(inner) == 0 and not inner.holders
    inner.outputs = []
    v.exits -= 1
    top.output.replace_uses(v)
    then.remove(top)
    invariants.check(m)
    moved = m.graph.adopt(then, choice)
    assert names(m.graph) == ["Relu", *["Cos"] * extra, "Add", "Add", "If", "Abs"]
    then.outputs = []
    v.exits -= 1
    choice.output.replace_uses(v)
    m.graph.remove(choice)
    invariants.check(m)
    assert not m.graph.holders
    x = np.arange(3, dtype=np.float32)
    onnx.checker.check_model(m.proto)
    assert same_bits(run(m, c=np.array(True), x=x), [2 * x + 1])
    assert absolute.inputs == [v]


def test_adopting_initializers_and_nested_branches() -> None:
    proto = parse(BRANCH, check=False)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.float32([1]), "w"))
    t = next(a.g for a in proto.graph.node[1].attribute if a.name == "then_branch")
    t.initializer.append(onnx.numpy_helper.from_array(np.float32([2]), "own"))
    m = load(proto)
    choice = list(m.graph)[1]
    then = choice.subgraphs[0]
    (own,) = then.initializers
    m.graph.adopt(then, choice)
    assert own in m.graph.initializers and own.graph is m.graph
    assert not then.initializers
    nested = next(n for n in m.graph.holders if n is not choice)
    assert nested.graph is m.graph
    assert nested.subgraphs[0].parent is m.graph
    assert choice.next is not None


# --------------------------------------------------------------------------- sort
def test_sort_after_changes() -> None:
    m = chain()
    relu, neg, absolute, sin = m.graph
    relu.set_input(0, None)
    neg.set_input(0, m.graph.inputs[0])
    relu.set_input(0, absolute.output)
    sin.set_input(0, relu.output)
    assert m.graph.sort() is None
    invariants.check(m)
    assert names(m.graph) == ["Neg", "Abs", "Relu", "Sin"]
    relu.set_input(0, sin.output)
    before = names(m.graph)
    stuck = m.graph.sort()
    assert stuck in (relu, sin)
    assert names(m.graph) == before


def test_sort_sees_what_branches_read() -> None:
    m = branch()
    relu, choice, _ = m.graph
    deep = next(n for n in m.nodes() if n.op == "Neg")
    late = insert(m, m.graph.last, "Tan", m.graph.inputs[1])
    deep.set_input(0, late.output)
    assert m.graph.sort() is None
    invariants.check(m)
    assert late.position < choice.position
    assert relu.position < choice.position


def test_walking_and_nesting() -> None:
    m = branch()
    assert [n.op for n in m.graph.walk()] == ["Relu", "If", "If", "Add", "Add", "Neg", "Sin", "Abs"]
    assert [g.name for g in m.graph.subgraphs()] == ["g", "t", "tt", "te", "e"]
    assert [g.parent.name if g.parent else None for g in m.graph.subgraphs()] == [None, "g", "t", "t", "g"]
    graphs = {g.name: g for g in m.graphs()}
    assert graphs["g"].encloses(graphs["te"])
    assert graphs["t"].encloses(graphs["t"])
    assert not graphs["e"].encloses(graphs["te"])


def test_left_out_inputs_and_outputs() -> None:
    proto = parse("g (float[4] x, float hi) => (float[4] y) { y = Clip(x, lo, hi) }", check=False, opset=13)
    proto.graph.node[0].input[1] = ""
    m = load(proto)
    invariants.check(m)
    node = next(iter(m.graph))
    assert node.inputs[1] is None
    node.touch()
    assert m.proto.graph.node[0] == proto.graph.node[0]
    assert repr(node) == "y = Clip(x, , hi)"


def test_values() -> None:
    m = chain()
    v = m.graph.add_initializer("w", Tensor(array=np.zeros((2, 3), np.int32)))
    assert (v.dtype, v.shape, v.rank, v.used) == (TensorProto.INT32, (2, 3), 2, False)
    invariants.check(m)
    m.graph.remove_initializer(v)
    assert not m.graph.initializers
    invariants.check(m)
    assert op_key("Relu", "") == "Relu"
    assert op_key("Gelu", "com.microsoft") == "com.microsoft::Gelu"


def test_metadata_is_taken_over() -> None:
    m = chain()
    old = next(iter(m.graph))
    assert old.proto is not None
    source = onnx.NodeProto()
    source.CopyFrom(old.proto)
    source.doc_string = "where it comes from"
    source.metadata_props.add(key="k", value="v")
    old._proto = source
    new = insert(m, old, "Neg", *old.inputs)
    new.inherit(old)
    written = m.proto.graph.node[0]
    assert (written.op_type, written.doc_string) == ("Neg", "where it comes from")
    assert written.metadata_props[0].key == "k"


@given(st.data())
def test_random_changes(data: st.DataObject) -> None:
    """Any sequence of legal changes keeps everything right, and the result can be read again."""
    m = branch()
    for _ in range(data.draw(st.integers(1, 12))):
        graph = data.draw(st.sampled_from(list(m.graphs())))
        nodes = list(graph)
        if not nodes:
            continue
        node = data.draw(st.sampled_from(nodes))
        before = [v for n in nodes[: nodes.index(node)] for v in n.outputs if v is not None]
        g: Graph | None = graph
        while g is not None:
            before += g.inputs[1:] + list(g.initializers)
            if g.owner is not None and g.owner.graph is not None:
                others = list(g.owner.graph)
                before += [v for n in others[: others.index(g.owner)] for v in n.outputs if v is not None]
            g = g.parent
        if not before:
            continue
        value = data.draw(st.sampled_from(before))
        match data.draw(st.sampled_from(["insert", "input", "replace", "remove", "rename", "append"])):
            case "insert":
                insert(m, node, "Cos", value)
            case "input":
                if node.op != "If":
                    node.set_input(data.draw(st.integers(0, len(node.inputs) - 1)), value)
            case "replace":
                if graph.owner is None or value.graph is graph:
                    own = [o for o in graph.outputs if o is node.output]
                    if not own:
                        node.output.replace_uses(value)
            case "remove":
                if not node.output.used:
                    graph.remove(node)
            case "rename":
                if not value.exits and value not in m.graph.inputs:
                    value.rename(m.fresh_name("renamed"))
            case _:
                new = Node("Tan", [value])
                new.graph = graph
                new.new_output(m.fresh_name("tan"))
                graph.append(new)
        invariants.check(m)
    onnx.checker.check_model(m.proto)
    again = load(m.proto)
    invariants.check(again)
    assert again.proto.SerializeToString(deterministic=True) == m.proto.SerializeToString(deterministic=True)


def test_renaming_what_bodies_and_functions_take_and_give() -> None:
    proto = parse(
        """g (int64 n, bool go, float[2] x) => (float[2] y) {
            y = Loop (n, go, x) <body = b (int64 i, bool cond, float[2] v) => (bool cond_out, float[2] v_out) {
                cond_out = Identity(cond) v_out = Add(v, x)
            }>
        }"""
    )
    add = onnx.helper.make_node("Add", ["p", "p"], ["r"])
    proto.functions.append(
        onnx.helper.make_function("local", "double", ["p"], ["r"], [add], [onnx.helper.make_opsetid("", 17)])
    )
    proto.opset_import.add(domain="local", version=1)
    m = load(proto)
    for g in list(m.graphs())[1:]:
        for v in {*g.inputs, *g.outputs}:
            v.rename(f"new_{v.name}")
    invariants.check(m)
    out = m.proto
    onnx.checker.check_model(out)
    assert (out.functions[0].input, out.functions[0].output) == (["new_p"], ["new_r"])
    feeds = {"n": np.array(3), "go": np.array(True), "x": np.float32([1, 2])}
    assert same_bits(run(out, **feeds), run(proto, **feeds))
    assert [i.name for i in proto.graph.node[0].attribute[0].g.input] == ["i", "cond", "v"]
