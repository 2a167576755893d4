"""The driver: where rules apply, that it ends, and that a refused rewrite leaves no trace."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from graphopt import load, optimize
from graphopt.errors import RewriteLoopError, RuleError
from graphopt.ir import Model
from graphopt.rewrite import Const, Driver, Float, Ledger, Perm, Rewriter, Rule, RuleSet, any_of, domain, op, rule
from graphopt.rewrite.terms import Leaf
from graphopt.shapes import infer_model
from tests.ir import invariants
from tests.ir.building import constants, nodes, ops, parse, reasons, rewrite, run, same_bits, with_constants


@rule
def no_identity(x):
    yield op.Identity(x)
    yield x


@rule
def relu_relu(x):
    yield op.Relu(op.Relu(x))
    yield op.Relu(x)


@rule
def neg_neg(x):
    yield op.Neg(op.Neg(x))
    yield x


@rule
def transpose_transpose(x, p: Perm, q: Perm):
    yield op.Transpose(op.Transpose(x, perm=p), perm=q)
    yield op.Transpose(x, perm=[p[i] for i in q])


def drive(m: Model, *rules: Rule, seconds: float = 10) -> Ledger:
    """Run rules on a loaded model; fails where that takes too long."""
    infer_model(m)
    ledger = Ledger()
    started = time.perf_counter()
    Driver(Rewriter(m, ledger), RuleSet(rules)).run()
    assert time.perf_counter() - started < seconds
    invariants.check(m)
    return ledger


def chain(operators: list[str]) -> ModelProto:
    proto = parse("g (float[2] x) => (float[2] y) { y = Identity(x) }")
    del proto.graph.node[:]
    names = ["x", *(f"v{i}" for i in range(len(operators) - 1)), "y"]
    proto.graph.node.extend(helper.make_node(o, [a], [b]) for o, a, b in zip(operators, names, names[1:]))
    return proto


# ---------------------------------------------------------------------- where
def test_in_the_main_graph() -> None:
    m, ledger = rewrite(chain(["Relu", "Relu", "Relu", "Neg", "Neg", "Relu"]), relu_relu, neg_neg)
    assert ops(m) == ["Relu"]
    assert [s.rule for s in ledger.steps].count("neg_neg") == 1
    assert m.proto.graph.node[0].input == ["x"] and m.proto.graph.node[0].output == ["y"]


def test_in_branches_and_bodies() -> None:
    text = """g (bool c, int64 n, bool go, float[2] x) => (float[2] y, float[2] z) {
        y = If (c) <
            then_branch = t () => (float[2] u) { p = Relu(x) u = Relu(p) },
            else_branch = e () => (float[2] v) {
                v = If (c) <then_branch = tt () => (float[2] a) { q = Neg(x) r = Neg(q) a = Relu(r) }, else_branch = te () => (float[2] b) { b = Sin(x) }>
            }
        >
        z = Loop (n, go, x) <body = b (int64 i, bool k, float[2] w) => (bool l, float[2] o) { l = Identity(k) s = Relu(w) o = Relu(s) }>
    }"""
    m, ledger = rewrite(parse(text), relu_relu, neg_neg)
    assert sorted(s.rule for s in ledger.steps) == ["neg_neg", "relu_relu", "relu_relu"]
    assert {s.graph for s in ledger.steps} == {"t", "tt", "b"}
    feeds = {"n": np.array(2), "go": np.array(True), "x": np.float32([-1, 2])}
    for c in (True, False):
        assert same_bits(run(m, c=np.array(c), **feeds), run(parse(text), c=np.array(c), **feeds))


def test_in_functions() -> None:
    proto = parse("g (float[2] x) => (float[2] y) { y = local.f(x) }", imports=', "local": 1', check=False)
    body = [helper.make_node("Relu", ["v"], ["p"]), helper.make_node("Relu", ["p"], ["w"])]
    proto.functions.append(helper.make_function("local", "f", ["v"], ["w"], body, [helper.make_opsetid("", 17)]))
    m, ledger = rewrite(proto, relu_relu)
    assert [n.op_type for n in m.proto.functions[0].node] == ["Relu"]
    assert ledger.steps[0].graph == "f"
    x = np.float32([-1, 2])
    assert same_bits(run(m, x=x), run(proto, x=x))


def test_what_a_function_gives_out_keeps_a_producer() -> None:
    proto = parse("g (float[2] x) => (float[2] y) { y = local.f(x) }", imports=', "local": 1', check=False)
    body = [helper.make_node("Neg", ["v"], ["p"]), helper.make_node("Neg", ["p"], ["w"])]
    proto.functions.append(helper.make_function("local", "f", ["v"], ["w"], body, [helper.make_opsetid("", 17)]))
    m, _ = rewrite(proto, neg_neg)
    (f,) = m.proto.functions
    assert [n.op_type for n in f.node] == ["Identity"]
    x = np.float32([-1, 2])
    assert same_bits(run(m, x=x), [x])


def test_a_pattern_does_not_cross_the_border_of_a_branch() -> None:
    text = """g (bool c, float[2] x) => (float[2] y) {
        p = Relu(x)
        y = If (c) <then_branch = t () => (float[2] u) { u = Relu(p) }, else_branch = e () => (float[2] v) { v = Neg(p) }>
    }"""
    m, ledger = rewrite(parse(text), relu_relu)
    assert ledger.steps == []
    assert not m.graph.touched


def test_new_nodes_stay_in_their_branch() -> None:
    @rule
    def r(x):
        yield op.Relu(op.Neg(x))
        yield op.Abs(op.Sin(x * 2.0))

    text = """g (bool c, float[2] x) => (float[2] y) {
        y = If (c) <then_branch = t () => (float[2] u) { p = Neg(x) u = Relu(p) }, else_branch = e () => (float[2] v) { v = Neg(x) }>
    }"""
    m, _ = rewrite(parse(text), r)
    branch = next(a.g for a in m.proto.graph.node[0].attribute if a.name == "then_branch")
    assert [n.op_type for n in branch.node] == ["Mul", "Sin", "Abs"]
    assert len(branch.initializer) == 1
    assert not m.proto.graph.initializer


# --------------------------------------------------------------------- interface
def test_outputs_of_the_model_keep_their_names() -> None:
    m, _ = rewrite(chain(["Relu", "Relu"]), relu_relu)
    assert m.proto.graph.node[0].output == ["y"]
    m, _ = rewrite(chain(["Neg", "Neg"]), neg_neg)
    assert [(n.op_type, list(n.input), list(n.output)) for n in m.proto.graph.node] == [("Identity", ["x"], ["y"])]


def test_an_identity_between_input_and_output_stays() -> None:
    m, ledger = rewrite(chain(["Identity"]), no_identity)
    assert ops(m) == ["Identity"]
    assert ledger.steps == []
    assert reasons(ledger) == ["an output of the graph must have a producer"]


def test_an_identity_of_a_constant_stays() -> None:
    m, ledger = rewrite(with_constants("g () => (float[1] y) { y = Identity(k) }", k=np.float32([1])), no_identity)
    assert ops(m) == ["Identity"]
    assert ledger.steps == []

    @rule
    def copy(w: Const):
        yield op.Identity(w)
        yield w + 0.0

    m, ledger = rewrite(with_constants("g () => (float[1] y) { y = Identity(k) }", k=np.float32([1])), copy)
    assert ledger.steps == []
    assert list(constants(m)) == ["k"], "nothing may be left behind by a refused rewrite"


def test_a_value_in_the_middle_that_is_an_output() -> None:
    text = "g (float[2] x) => (float[2] y, float[2] a) { a = Neg(x) b = Neg(a) y = Relu(b) }"
    m, ledger = rewrite(parse(text), neg_neg)
    assert ops(m) == ["Neg", "Relu"]
    assert ledger.steps[0].saved == 1
    x = np.float32([-1, 2])
    assert same_bits(run(m, x=x), run(parse(text), x=x))


def test_a_result_that_is_an_output_already() -> None:
    text = "g (float[2] x) => (float[2] a, float[2] c) { a = Relu(x) b = Neg(a) c = Neg(b) }"
    m, _ = rewrite(parse(text), neg_neg)
    assert [o.name for o in m.proto.graph.output] == ["a", "c"]
    assert ops(m) == ["Relu", "Identity"]
    x = np.float32([-1, 2])
    assert same_bits(run(m, x=x), run(parse(text), x=x))


def test_one_value_that_is_two_outputs() -> None:
    proto = chain(["Relu", "Relu"])
    proto.graph.output.append(proto.graph.output[0])
    m = load(proto)
    drive(m, relu_relu)
    assert [o.name for o in m.proto.graph.output] == ["y", "y"]
    assert m.graph.outputs[0] is m.graph.outputs[1]


def test_an_output_that_is_read_as_well() -> None:
    text = "g (float[2] x) => (float[2] y, float[2] z) { a = Neg(x) y = Neg(a) z = Relu(y) }"
    m, _ = rewrite(parse(text), neg_neg)
    assert {(n.op_type, n.input[0], n.output[0]) for n in m.proto.graph.node} == {
        ("Identity", "x", "y"),
        ("Relu", "x", "z"),
    }


def test_inputs_are_kept() -> None:
    @rule
    def forget(x):
        yield op.Relu(x)
        yield np.zeros(2, np.float32)

    proto = parse("g (float[2] x, float[2] u) => (float[2] y) { a = Relu(x) y = Neg(a) }")
    m, _ = rewrite(proto, forget)
    assert list(m.proto.graph.input) == list(proto.graph.input)


# ------------------------------------------------------------------------- profit
def test_inner_values_that_are_used_elsewhere() -> None:
    text = "g (float[2] x) => (float[2] y, float[2] z) { a = Relu(x) y = Relu(a) z = Neg(a) }"

    @rule
    def nothing_saved(x):
        yield op.Relu(op.Relu(x))
        yield op.Abs(x)

    _, ledger = rewrite(parse(text), nothing_saved)
    assert reasons(ledger) == ["an inner value is used elsewhere, so nothing would be saved"]

    @rule(always=True)
    def all_the_same(x):
        yield op.Relu(op.Relu(x))
        yield op.Abs(x)

    m, _ = rewrite(parse(text), all_the_same)
    assert sorted(ops(m)) == ["Abs", "Neg", "Relu"]


def test_inner_values_that_are_outputs() -> None:
    text = "g (float[2] x) => (float[2] y, float[2] a) { a = Relu(x) y = Neg(a) }"

    @rule
    def r(x):
        yield op.Neg(op.Relu(x))
        yield op.Abs(x)

    _, ledger = rewrite(parse(text), r)
    assert reasons(ledger) == ["an inner value is used elsewhere, so nothing would be saved"]


def test_inner_values_that_a_branch_reads() -> None:
    text = """g (bool c, float[2] x) => (float[2] y, float[2] z) {
        a = Relu(x) z = Neg(a)
        y = If (c) <then_branch = t () => (float[2] u) { u = Sin(a) }, else_branch = e () => (float[2] v) { v = Neg(x) }>
    }"""

    @rule
    def r(x):
        yield op.Neg(op.Relu(x))
        yield op.Abs(x)

    _, ledger = rewrite(parse(text), r)
    assert reasons(ledger) == ["an inner value is used elsewhere, so nothing would be saved"]


def test_nodes_saved_although_an_inner_value_stays() -> None:
    @rule
    def r(x):
        yield op.Neg(op.Sin(op.Relu(x)))
        yield op.Abs(x)

    m, ledger = rewrite(
        parse("g (float[2] x) => (float[2] y, float[2] z) { a = Relu(x) b = Sin(a) y = Neg(b) z = Cos(a) }"), r
    )
    assert sorted(ops(m)) == ["Abs", "Cos", "Relu"]
    assert ledger.steps[0].saved == 1


def test_other_outputs_of_the_root_that_are_used() -> None:
    @rule
    def r(x):
        first, _ = op.Split(x, axis=0, outputs=2)
        yield op.Relu(first)
        yield op.Abs(op.Slice(x, starts=[0], ends=[2]))

    text = "g (float[4] x) => (float[2] y, float[2] z) { p, q = Split<axis=0>(x) y = Relu(p) z = Neg(q) }"
    _, ledger = rewrite(parse(text, opset=13), r)
    assert reasons(ledger) == ["an inner value is used elsewhere, so nothing would be saved"]


@rule(exact=True)
def relu_and_every_neg(x):
    """Nonsense, but replaces as many values as there are."""
    yield op.Relu(x)
    others = [u.output for u in x.value.uses if u.op == "Neg"]
    if not others:
        return "no Neg"
    y = op.Abs(x)
    yield y, {Leaf(v): op.Sin(y) for v in others}


def test_values_beside_the_pattern() -> None:
    """What is replaced comes before and behind; what the new nodes are read by decides where they go."""
    text = (
        "g (float[2] x) => (float[2] y, float[2] z) "
        "{ p = Neg(x) a = Exp(p) q = Neg(x) r = Relu(x) b = Add(a, r) y = Neg(b) z = Cos(q) }"
    )
    m, ledger = rewrite(parse(text), relu_and_every_neg)
    assert sorted(ops(m)) == ["Abs", "Add", "Cos", "Exp", "Neg", "Sin", "Sin"]
    assert ledger.steps[0].rule == "relu_and_every_neg"
    _, z = run(m, x=np.float32([1, -2]))
    np.testing.assert_allclose(z, np.cos(np.sin([1, 2])), rtol=1e-6)


def test_values_beside_the_pattern_that_cannot_come_first() -> None:
    """The pattern's input is computed from what is replaced."""

    @rule
    def r(x):
        yield op.Relu(x)
        if x.value.node is None:
            return "an input"
        yield op.Abs(x), {Leaf(x.value.node.inputs[0]): op.Sin(x)}

    m, ledger = rewrite(parse("g (float[2] x) => (float[2] y) { p = Neg(x) q = Exp(p) y = Relu(q) }"), r)
    assert ops(m) == ["Neg", "Exp", "Relu"] and not ledger.steps


def test_what_comes_late_is_moved() -> None:
    """The new node reads what is computed behind those that read what it replaces."""

    @rule
    def r(x, z):
        yield op.Relu(x), op.Mul(x, z)
        both = op.Add(x, z)
        yield op.Abs(both), op.Sin(both)

    text = "g (float[2] x) => (float[2] y, float[2] w) { p = Relu(x) y = Neg(p) a = Exp(x) b = Cos(a) w = Mul(x, b) }"
    m, ledger = rewrite(parse(text), r)
    assert [s.rule for s in ledger.steps] == ["r"]
    assert sorted(ops(m)) == ["Abs", "Add", "Cos", "Exp", "Neg", "Sin"]


def test_a_root_that_must_stay_keeps_its_names() -> None:
    """Its first output is replaced, the second is still read: the old name is not free."""

    @rule(always=True)
    def r(x):
        first, _ = op.Split(x, axis=0, outputs=2)
        yield first
        yield op.Slice(x, starts=[0], ends=[2])

    text = "g (float[4] x) => (float[2] y, float[2] z) { p, q = Split<axis=0>(x) y = Relu(p) z = Neg(q) }"
    m = load(parse(text, opset=13))
    infer_model(m)
    driver = Driver(Rewriter(m, Ledger()), RuleSet([r]))
    try:
        driver.run()
    except RewriteLoopError:
        pytest.fail("a rule may not apply again to an output that nobody reads")
    invariants.check(m)
    x = np.arange(4, dtype=np.float32)
    assert same_bits(run(m, x=x), run(parse(text, opset=13), x=x))


def test_replaced_operators_go_even_if_nobody_knows_them() -> None:
    mine = domain("my")

    @rule
    def lower(x):
        yield mine.Swish(mine.Half(x))
        yield x * op.Sigmoid(x)

    proto = parse(
        "g (float[2] x) => (float[2] y) { h = my.Half(x) y = my.Swish(h) u = my.Print(x) }", imports=', "my": 1'
    )
    m = optimize(proto, rules=[lower])
    assert sorted(ops(m)) == ["Mul", "Print", "Sigmoid"]


# --------------------------------------------------------------------- several roots
@rule
def two(x):
    yield op.Relu(x), op.Neg(x)
    yield op.Sin(x), op.Cos(x)


def test_two_roots_with_users_in_between() -> None:
    m, ledger = rewrite(parse("g (float[2] x) => (float[2] y, float[2] z) { a = Relu(x) y = Abs(a) z = Neg(x) }"), two)
    assert len(ledger.steps) == 1
    assert sorted(ops(m)) == ["Abs", "Cos", "Sin"]


def test_two_roots_that_cannot_be_replaced_together() -> None:
    """The replacement needs b, which is computed from the first of them."""

    @rule
    def r(x, b):
        yield op.Relu(x), op.Mul(x, b)
        yield op.Add(x, b), b

    text = "g (float[2] x) => (float[2] y, float[2] z) { y = Relu(x) b = Sin(y) z = Mul(x, b) }"
    m, ledger = rewrite(parse(text), r)
    assert ledger.steps == []
    assert "no place in the graph" in reasons(ledger)[0]
    assert not m.graph.touched


def test_two_roots_one_of_which_reads_the_other_way_round() -> None:
    @rule(always=True)
    def r(x, b):
        yield op.Neg(x), op.Mul(x, b)
        yield op.Abs(x), op.Max(x, b)

    text = "g (float[2] x) => (float[2] y, float[2] z) { z = Neg(x) c = Cos(z) y = Mul(x, c) }"
    m, ledger = rewrite(parse(text), r)
    onnx.checker.check_model(m.proto)
    assert "no place in the graph" in reasons(ledger)[0]


@pytest.mark.parametrize("lines", ["y = Relu(x) z = Abs(x)", "z = Abs(x) y = Relu(x)"])
@pytest.mark.parametrize("first", [True, False])
def test_two_outputs_become_one_value(lines: str, first: bool) -> None:
    """The second output of the model is a copy, which must come after what it copies."""

    @rule
    def r(x):
        yield (op.Relu(x), op.Abs(x)) if first else (op.Abs(x), op.Relu(x))
        n = op.Neg(x)
        yield n, n

    text = f"g (float[2] x) => (float[2] y, float[2] z) {{ {lines} }}"
    m, _ = rewrite(parse(text), r)
    assert sorted(ops(m)) == ["Identity", "Neg"]
    x = np.float32([-1, 2])
    assert same_bits(run(m, x=x), [-x, -x])


def test_two_roots_at_the_very_front() -> None:
    """Positions in front of the first node are as good as any."""
    m = load(
        parse(
            "g (float[2] x) => (float[2] y, float[2] z) { a = Cos(x) y = Relu(a) b = Relu(x) z = Neg(x) c = Add(y, b) d = Add(c, z) }"
        )
    )
    infer_model(m)
    for k, node in enumerate(m.graph):
        node.position = -1000 + 10 * k
    ledger = Ledger()
    Driver(Rewriter(m, ledger), RuleSet([two])).run()
    invariants.check(m)
    assert len(ledger.steps) == 1, reasons(ledger)


# ------------------------------------------------------------------------- search
def test_the_next_binding_is_tried_when_the_guard_refuses() -> None:
    seen: list[str] = []

    @rule
    def r(x, z):
        yield op.Add(op.Relu(x), op.Relu(z))
        seen.append(x.value.name)
        if x.value.name != "b":
            return "not this one"
        yield op.Abs(x)

    m, ledger = rewrite(
        parse("g (float[2] a, float[2] b) => (float[2] y) { p = Relu(a) q = Relu(b) y = Add(p, q) }"), r
    )
    assert seen == ["a", "b"]
    assert ops(m) == ["Abs"]
    assert reasons(ledger) == ["not this one"]


def test_the_next_binding_is_tried_when_the_result_is_not_valid() -> None:
    @rule
    def r(x, z):
        yield op.Add(x, op.Relu(z))
        yield op.MatMul(x, z)

    text = "g (float[2, 2] a, float[2, 2] b) => (float[2, 2] y) { p = Relu(a) q = Relu(b) y = Add(p, q) }"
    assert ops(rewrite(parse(text), r)[0]) == ["Relu", "MatMul"]


def test_the_first_rule_that_applies_is_taken() -> None:
    @rule
    def first(x):
        yield op.Relu(x)
        yield op.Abs(x)

    @rule
    def second(x):
        yield op.Relu(x)
        yield op.Neg(x)

    assert ops(rewrite(chain(["Relu"]), first, second)[0]) == ["Abs"]
    assert ops(rewrite(chain(["Relu"]), second, first)[0]) == ["Neg"]


def test_a_rewrite_far_below_makes_another_possible_above() -> None:
    """After Neg(Neg(.)) is gone from the reader, the Relus have one user each."""
    text = "g (float[2] x) => (float[2] y) { a = Relu(x) b = Neg(a) c = Neg(b) d = Relu(c) y = Sin(d) }"
    m, _ = rewrite(parse(text), relu_relu, neg_neg)
    assert ops(m) == ["Relu", "Sin"]


def test_what_a_change_makes_possible_elsewhere() -> None:
    """The inner Relu has a second reader, which another rule takes away later."""
    text = "g (float[2] x) => (float[2] y, float[2] z) { a = Relu(x) y = Sin(a) i = Identity(a) j = Neg(i) k = Neg(j) z = Abs(x) w = Relu(k) }"

    @rule
    def sin_relu(x):
        yield op.Sin(op.Relu(x))
        yield op.Cos(x)

    m = optimize(parse(text), rules=[sin_relu, relu_relu, neg_neg, no_identity])
    assert sorted(ops(m)) == ["Abs", "Cos"]


def test_a_rule_that_was_refused_is_tried_again_after_a_change() -> None:
    @rule
    def neg_of_small(x):
        yield op.Neg(op.Max(x, 0.0))
        if x.uses > 1:
            return "used twice"
        yield op.Abs(x)

    text = "g (float[2] a) => (float[2] y, float[2] z) { x = Sin(a) m = Max(x, k) y = Neg(m) i = Identity(x) j = Identity(i) z = Cos(a) }"
    m = optimize(with_constants(text, k=np.float32(0)), rules=[neg_of_small])
    assert "Abs" in ops(m)


# ---------------------------------------------------------------------- termination
def loops(model: ModelProto, *rules: Rule, names: list[str] | None = None) -> None:
    m = load(model)
    infer_model(m)
    started = time.perf_counter()
    with pytest.raises(RewriteLoopError) as e:
        Driver(Rewriter(m, Ledger()), RuleSet(rules)).run()
    assert time.perf_counter() - started < 20
    for name in names or [r.name for r in rules]:
        assert name in str(e.value)
    assert "without=" in str(e.value)
    assert isinstance(e.value, RuleError)
    invariants.check(m)


def test_a_rule_that_feeds_itself() -> None:
    @rule
    def around(x):
        yield op.Relu(x)
        yield op.Neg(op.Relu(op.Neg(x)))

    @rule
    def same(x, y):
        yield op.Add(x, y)
        yield op.Add(y, x)

    loops(chain(["Relu"]), around)
    loops(parse("g (float[2] x, float[2] z) => (float[2] y) { y = Add(x, z) }"), same)


def test_two_rules_that_undo_each_other() -> None:
    @rule
    def there(x):
        yield op.Relu(x)
        yield op.Max(x, 0.0)

    @rule
    def back(x):
        yield op.Max(x, 0.0)
        yield op.Relu(x)

    loops(chain(["Relu"]), there, back)
    loops(chain(["Sin", "Relu", "Cos"]), there, back)


def test_three_rules_in_a_circle() -> None:
    def turn(a: str, b: str) -> Rule:
        @rule
        def r(x):
            yield getattr(op, a)(x)
            yield getattr(op, b)(x)

        return Rule(**{**{f: getattr(r, f) for f in r.__slots__}, "name": f"{a}_to_{b}"})

    loops(chain(["Sin"] * 5), turn("Sin", "Cos"), turn("Cos", "Tan"), turn("Tan", "Sin"))


def test_rules_that_let_the_graph_grow() -> None:
    @rule
    def more(x):
        yield op.Relu(x)
        yield op.Abs(op.Relu(op.Neg(x)))

    @rule
    def beside(x):
        yield op.Sin(x)
        yield op.Sin(op.Abs(x)) + op.Sin(x)

    @rule
    def below(x):
        yield op.Cos(x)
        yield op.Cos(op.Sqrt(op.Cos(x)))

    loops(chain(["Relu"]), more)
    loops(chain(["Sin"]), beside)
    loops(chain(["Cos", "Relu", "Relu"]), below)


def test_rules_that_shift_something_along_for_ever() -> None:
    """Nothing is ever rewritten twice at one place, but it never ends."""

    @rule
    def push(x):
        yield op.Relu(op.Neg(x))
        yield op.Neg(op.Relu(op.Neg(op.Neg(x))))

    loops(chain(["Neg", "Relu"] * 4), push)


def test_new_domains_that_are_rewritten_again_and_again() -> None:
    mine = domain("my")

    @rule
    def r(x):
        yield mine.Foo(x)
        yield mine.Foo(mine.Bar(x))

    loops(parse("g (float[2] x) => (float[2] y) { y = my.Foo(x) }", imports=', "my": 1'), r)


def test_loops_in_branches() -> None:
    @rule
    def around(x):
        yield op.Relu(x)
        yield op.Neg(op.Relu(op.Neg(x)))

    text = """g (bool c, float[2] x) => (float[2] y) {
        y = If (c) <then_branch = t () => (float[2] u) { u = Relu(x) }, else_branch = e () => (float[2] v) { v = Neg(x) }>
    }"""
    loops(parse(text), around)


def test_rules_that_save_nothing_may_be_many() -> None:
    """One for one on every node of a large graph is no loop."""

    @rule
    def there(x):
        yield op.Relu(x)
        yield op.Abs(x)

    m = load(chain(["Relu", "Sin"] * 3000))
    ledger = drive(m, there)
    assert len(ledger.steps) == 3000


def test_a_chain_of_ten_thousand() -> None:
    m = load(chain(["Relu"] * 10_000))
    ledger = drive(m, relu_relu, seconds=20)
    assert len(m.graph) == 1
    assert len(ledger.steps) == 9_999


def test_a_chain_of_ten_thousand_that_cancels() -> None:
    m = load(chain(["Sin", *["Neg"] * 10_000]))
    drive(m, neg_neg, seconds=20)
    assert [n.op for n in m.graph] == ["Sin"]
    m = load(chain(["Neg"] * 5_000 + ["Sin"] + ["Neg"] * 5_001))
    drive(m, neg_neg, seconds=20)
    assert [n.op for n in m.graph] == ["Sin", "Neg"]


def test_a_wide_graph() -> None:
    """One value that ten thousand nodes read."""
    proto = parse("g (float[2] x) => (float[2] y) { y = Identity(x) }")
    del proto.graph.node[:]
    proto.graph.node.append(helper.make_node("Relu", ["x"], ["a"]))
    proto.graph.node.append(helper.make_node("Identity", ["a"], ["b"]))
    proto.graph.node.extend(helper.make_node("Neg", ["b"], [f"v{i}"]) for i in range(10_000))
    proto.graph.node.append(helper.make_node("Sum", [f"v{i}" for i in range(10_000)], ["y"]))
    m = load(proto)
    drive(m, no_identity, relu_relu, seconds=20)
    assert len(m.graph) == 10_002


def test_deep_nesting() -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["p"]), helper.make_node("Relu", ["p"], ["o0"])],
        "g0",
        [],
        [onnx.ValueInfoProto(name="o0")],
    )
    for k in range(1, 20):  # protobuf reads messages up to a depth of 100
        other = helper.make_graph(
            [helper.make_node("Neg", ["x"], [f"e{k}"])], f"e{k}", [], [onnx.ValueInfoProto(name=f"e{k}")]
        )
        node = helper.make_node("If", ["c"], [f"o{k}"], then_branch=graph, else_branch=other)
        graph = helper.make_graph([node], f"g{k}", [], [onnx.ValueInfoProto(name=f"o{k}")])
    proto = parse("g (bool c, float[2] x) => (float[2] y) { y = Identity(x) }")
    proto.graph.node[0].CopyFrom(graph.node[0])
    proto.graph.node[0].output[0] = "y"
    m = load(proto)
    ledger = drive(m, relu_relu)
    assert [s.graph for s in ledger.steps] == ["g0"]


# ---------------------------------------------------- nodes that go while others are looked at
CAPTURED = """g (bool c, float[2] x) => (float[2] y) {
    z = If (c) <
        then_branch = t () => (float[2] u) { i = Identity(x) j = Relu(i) k = Relu(j) u = Relu(k) },
        else_branch = e () => (float[2] v) { v = Neg(x) }
    >
    y = Min(x, z)
}"""


def test_the_node_that_holds_a_branch_goes_while_the_branch_is_rewritten() -> None:
    """Taking away the Identity in the branch makes the driver look at the other readers of x; one of them frees the If."""

    @rule
    def least(x, z):
        yield op.Min(x, z)
        if not isinstance(x.value.node, type(None)):
            return "not the input"
        yield op.Sin(x)

    for rules in ([no_identity, least, relu_relu], [least, no_identity, relu_relu], [relu_relu, no_identity, least]):
        m, _ = rewrite(parse(CAPTURED), *rules)
        assert ops(m) == ["Sin"]
        assert all(n.graph is m.graph for v in m.graph.inputs for n in v.uses)


def test_constant_if_inside_a_loop_body() -> None:
    text = """g (int64 n, bool go, float[2] x) => (float[2] y) {
        y = Loop (n, go, x) <body = b (int64 i, bool k, float[2] w) => (bool l, float[2] o) {
            l = Identity(k)
            yes = Constant<value_int = 1>()
            t = Cast<to = 9>(yes)
            o = If (t) <then_branch = tt () => (float[2] p) { p = Relu(w) }, else_branch = ee () => (float[2] q) { q = Add(w, x) }>
        }>
    }"""
    m = optimize(parse(text), level=1)
    invariants.check(m)
    body = m.proto.graph.node[0].attribute[0].g
    assert "Relu" in [n.op_type for n in body.node]
    assert "If" not in [n.op_type for n in body.node]
    feeds = {"n": np.array(2), "go": np.array(True), "x": np.float32([-1, 2])}
    assert same_bits(run(m, **feeds), run(parse(text), **feeds))


# --------------------------------------------------------------------------- errors
def test_user_rules_that_fail_stop_the_run() -> None:
    @rule
    def broken(x):
        yield op.Relu(x)
        raise ValueError("oh dear")
        yield x

    with pytest.raises(RuleError, match="broken.*oh dear"):
        optimize(chain(["Relu"]), rules=[broken])


def test_rules_of_the_package_that_fail_are_left_out() -> None:
    calls = []

    @rule
    def broken(x):
        yield op.Relu(x)
        calls.append(1)
        raise ValueError("oh dear")
        yield x

    builtin = Rule(**{**{f: getattr(broken, f) for f in broken.__slots__}, "builtin": True})
    m = load(chain(["Relu"] * 5))
    infer_model(m)
    ledger = Ledger()
    Driver(Rewriter(m, ledger), RuleSet([builtin, neg_neg])).run()
    assert len(calls) == 1
    assert len(ledger.warnings) == 1
    assert "broken" in ledger.warnings[0] and "please report" in ledger.warnings[0]
    assert len(m.graph) == 5


def test_ill_formed_patterns_are_errors() -> None:
    @rule
    def wrong(x, p):
        yield op.Transpose(x, perm=p)
        yield x

    with pytest.raises(RuleError, match="wrong"):
        optimize(parse("g (float[2, 2] x) => (float[2, 2] y) { y = Transpose(x) }"), rules=[wrong])


# --------------------------------------------------------------------------- ledger
def test_the_ledger() -> None:
    @rule
    def refuses(x):
        yield op.Relu(x)
        return "because"
        yield x

    m, ledger = rewrite(chain(["Neg", "Neg", "Relu", "Sin", "Relu"]), neg_neg, refuses)
    assert list(ledger.declined) == [("refuses", "because")]
    assert ledger.declined["refuses", "because"] >= 2
    assert ledger.declined_at["refuses", "because"] in ("v2", "y")
    (step,) = ledger.steps
    assert [(n.op, n.output) for n in step.before] == [("Neg", "v1"), ("Neg", "v0")]
    assert step.microseconds > 0
    assert step.note == ""
    assert m.report is None


def test_names_of_inner_values_are_kept() -> None:
    m, _ = rewrite(chain(["Relu", "Relu", "Sin"]), relu_relu)
    assert [list(n.output) for n in m.proto.graph.node] == [["v1"], ["y"]]


# -------------------------------------------------------------------------- old files
def test_ir_version_3() -> None:
    """Its weights are inputs, which runtimes take for constants as long as it has that version: new ones are nodes."""
    text = "g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { a = Relu(x) y = Add(a, w) }"

    @rule
    def r(x):
        yield op.Relu(x)
        yield op.Max(x, 0.0)

    @rule
    def shaped(x):
        yield op.Relu(x)
        yield op.Abs(op.Reshape(x, [2]))

    for other in (r, shaped, no_identity):
        m, _ = rewrite(parse(text, opset=9, ir=3), other)
        assert m.proto.ir_version == 3
        assert [i.name for i in m.proto.graph.input] == ["x", "w"]
        assert [t.name for t in m.proto.graph.initializer] == ["w"]
    m, _ = rewrite(parse(text, opset=8, ir=3), shaped)  # there are no Constants of integers before opset 9
    assert m.proto.ir_version >= 4 and [i.name for i in m.proto.graph.input] == ["x", "w"]
    without = "g (float[2] x) => (float[2] y) { y = Relu(x) }"
    m, _ = rewrite(parse(without, opset=9, ir=3), r)
    assert m.proto.ir_version >= 4 and len(m.proto.graph.initializer) == 1


def test_attributes_by_reference_do_not_match() -> None:
    node = helper.make_node("LeakyRelu", ["p"], ["w"])
    node.attribute.add(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    proto = parse("g (float[2] x) => (float[2] y) { y = local.f<slope = 0.5>(x) }", imports=', "local": 1', check=False)
    body = [helper.make_node("LeakyRelu", ["v"], ["p"]), node]
    proto.functions.append(
        helper.make_function("local", "f", ["v"], ["w"], body, [helper.make_opsetid("", 17)], ["slope"])
    )

    @rule
    def both(x, a: Float, b: Float):
        yield op.LeakyRelu(op.LeakyRelu(x, alpha=a), alpha=b)
        yield op.LeakyRelu(x, alpha=a * b)

    @rule
    def default(x):
        yield op.LeakyRelu(x)
        yield op.Relu(x)

    m, ledger = rewrite(proto, both, default)
    assert [s.rule for s in ledger.steps] == ["default"]
    assert [n.op_type for n in m.proto.functions[0].node] == ["Relu", "LeakyRelu"]


def test_casts_between_dtypes_that_numpy_lacks() -> None:
    @rule
    def r(x):
        yield op.Relu(x)
        yield op.Max(x, 0.0)

    m, _ = rewrite(parse("g (bfloat16[2] x) => (bfloat16[2] y) { y = Relu(x) }"), r)
    assert m.proto.graph.initializer[0].data_type == TensorProto.BFLOAT16
    assert numpy_helper.to_array(m.proto.graph.initializer[0]) == 0


def test_alternatives_at_the_root() -> None:
    @rule
    def r(x):
        yield any_of(op.Relu(op.Abs(x)), op.Neg(op.Cos(x)))
        yield op.Sin(x)

    assert ops(rewrite(chain(["Abs", "Relu", "Cos", "Neg"]), r)[0]) == ["Sin", "Sin"]
    assert nodes(rewrite(chain(["Abs", "Neg"]), r)[0], "Sin") == []


def test_the_same_bytes_every_time() -> None:
    rules: list[Any] = [relu_relu, neg_neg, no_identity, transpose_transpose]
    proto = chain(["Relu", "Relu", "Neg", "Identity", "Neg", "Sin", "Relu", "Identity", "Relu"])
    assert len({rewrite(proto, *rules)[0].SerializeToString() for _ in range(3)}) == 1


def test_a_rule_since_an_opset() -> None:
    @rule(since=13)
    def late(x):
        yield op.Relu(op.Relu(x))
        yield op.Relu(x)

    for opset, left in ((12, 2), (13, 1)):
        m, ledger = rewrite(parse("g (float[2] x) => (float[2] y) { a = Relu(x) y = Relu(a) }", opset), late)
        assert len(m.graph) == left
        assert reasons(ledger) == ["not before opset 13"] * (left == 2)


# ------------------------------------------------------------- what is tried again
def test_small_patterns_are_not_tried_again_far_below_a_change() -> None:
    """A rule that refuses is asked again on nodes that its pattern leads from to the change, not further down."""
    asked: list[str] = []

    @rule
    def never(x):
        y = op.Sigmoid(x)
        yield y
        asked.append(y.value.name)
        return "never"
        yield x

    lines = ["s0 = Sigmoid(a)", "r0 = Relu(s0)", "r1 = Relu(r0)"]
    lines += [f"s{k} = Sigmoid({'r1' if k == 1 else f's{k - 1}'})" for k in range(1, 8)]
    _, ledger = rewrite(parse(f"g (float[2] a) => (float[2] s7) {{ {' '.join(lines)} }}"), never, relu_relu)
    assert len(ledger.steps) == 1
    twice = ("s0", "s1")  # what the new node reads, and what reads it
    assert {n: asked.count(n) for n in asked} == {f"s{k}": 2 if f"s{k}" in twice else 1 for k in range(8)}


def test_what_is_near_a_change_is_tried_again() -> None:
    """However many users a replaced value has."""

    @rule(always=True)
    def neg_of_relu(x):
        yield op.Neg(op.Relu(x))
        yield op.Abs(x)

    @rule
    def no_tanh(x):
        yield op.Tanh(x)
        if x.shape == (2,):
            yield x

    users = [f"y{k} = Neg(u)" for k in range(40)]
    outputs = ", ".join(f"float[2] y{k}" for k in range(40))
    model, _ = rewrite(
        parse(f"g (float[2] a) => ({outputs}) {{ r = Relu(a) t = Tanh(r) u = Tanh(t) {' '.join(users)} }}"),
        neg_of_relu,
        no_tanh,
    )
    assert ops(model) == ["Abs"] * 40
