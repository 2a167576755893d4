"""Patterns on graphs: what matches, in which ways, and what does not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper

from graphopt.errors import RuleError
from graphopt.ir import Value, load
from graphopt.rewrite import (
    Attrs,
    Axis,
    Const,
    Dim,
    Filled,
    Float,
    Int,
    Ints,
    Maybe,
    Perm,
    Rule,
    Str,
    Tensor,
    any_of,
    domain,
    maybe,
    op,
    rule,
)
from graphopt.rewrite.compile import Compiled, compile_rule, variants_of
from graphopt.shapes import infer_model
from tests.ir.building import found_at, parse, with_constants


def plain(value: Any) -> Any:
    if isinstance(value, Value):
        return value.name
    return tuple(map(plain, value)) if isinstance(value, tuple) else value


def bindings(r: Rule, model: ModelProto | str, **kwargs: Any) -> list[tuple[Any, ...]]:
    """What the parameters stand for in every match, in the order in which matches are found."""
    m = load(parse(model, **kwargs) if isinstance(model, str) else model)
    infer_model(m)
    found = []
    for node in m.graph:
        for c in compile_rule(r):
            if c.op == node.op:
                found += [tuple(map(plain, values)) for values, _, _ in found_at(c, node)]
    return found


def elementwise(lines: str, inputs: str = "a b c d e") -> str:
    signature = ", ".join(f"float[2] {n}" for n in inputs.split())
    return f"g ({signature}) => (float[2] y) {{ {lines} }}"


# ---------------------------------------------------------------- order of operands
def test_commutative_operators_in_both_orders() -> None:
    @rule
    def r(x, z):
        yield op.Add(op.Relu(x), z)
        yield x

    assert bindings(r, elementwise("p = Relu(a) y = Add(p, b)")) == [("a", "b")]
    assert bindings(r, elementwise("p = Relu(a) y = Add(b, p)")) == [("a", "b")]
    assert bindings(r, elementwise("p = Relu(a) q = Relu(b) y = Add(p, q)")) == [("a", "q"), ("b", "p")]
    assert bindings(r, elementwise("p = Neg(a) y = Add(p, b)")) == []


@pytest.mark.parametrize("name", ["Sub", "Div", "Pow", "Less", "MatMul"])
def test_other_operators_in_one_order(name: str) -> None:
    @rule
    def r(x, z):
        yield getattr(op, name)(op.Relu(x), z)
        yield x

    out = f"y = {name}(%s)" if name != "Less" else "l = Less(%s) y = Cast<to=1>(l)"
    assert bindings(r, elementwise("p = Relu(a) " + out % "p, b")) == [("a", "b")]
    assert bindings(r, elementwise("p = Relu(a) " + out % "b, p")) == []


@pytest.mark.parametrize("name", ["And", "Or", "Xor", "Max", "Min", "Mul", "Equal", "Sum", "Mean"])
def test_commutative_operators(name: str) -> None:
    @rule(exact=True)
    def r(x, z):
        yield getattr(op, name)(op.Identity(x), z)
        yield x

    kind = "bool" if name in ("And", "Or", "Xor") else "float"
    for args in ("p, b", "b, p"):
        text = (
            f"g ({kind}[2] a, {kind}[2] b) => (float[2] y) {{ p = Identity(a) q = {name}({args}) y = Cast<to=1>(q) }}"
        )
        assert bindings(r, text) == [("a", "b")]


def test_orders_on_several_levels() -> None:
    @rule(exact=True)
    def r(x, u, v):
        yield op.Add(op.Mul(op.Relu(x), u), v)
        yield x

    for inner, outer in itertools.product(("p, b", "b, p"), ("q, c", "c, q")):
        assert bindings(r, elementwise(f"p = Relu(a) q = Mul({inner}) y = Add({outer})")) == [("a", "b", "c")]


# ----------------------------------------------------------------------------- bags
def trees(leaves: tuple[str, ...]) -> list[str | tuple[Any, Any]]:
    """Every way to put these leaves, in this order, into binary trees."""
    if len(leaves) == 1:
        return [leaves[0]]
    return [(left, right) for k in range(1, len(leaves)) for left in trees(leaves[:k]) for right in trees(leaves[k:])]


def write(tree: Any, name: str) -> str:
    lines: list[str] = []

    def value(t: Any) -> str:
        if isinstance(t, str):
            return t
        a, b = value(t[0]), value(t[1])
        lines.append(f"t{len(lines)} = {name}({a}, {b})")
        return lines[-1].split()[0]

    last = value(tree)
    return " ".join(lines) + f" y = Identity({last})"


def marked(count: int) -> Rule:
    """A sum of so many operands, each with a mark of its own."""
    marks = [op.Relu, op.Neg, op.Abs, op.Sin, op.Cos]

    if count == 3:

        @rule
        def r3(a, b, c):
            yield marks[0](a) + marks[1](b) + marks[2](c)
            yield a

        return r3
    if count == 4:

        @rule
        def r4(a, b, c, d):
            yield (marks[0](a) + marks[1](b)) + (marks[2](c) + marks[3](d))
            yield a

        return r4

    @rule
    def r5(a, b, c, d, e):
        yield marks[0](a) + (marks[1](b) + (marks[2](c) + (marks[3](d) + marks[4](e))))
        yield a

    return r5


@pytest.mark.parametrize("count", [3, 4])
def test_every_association_and_order_of_a_sum(count: int) -> None:
    r = marked(count)
    names = "pqrs"[:count]
    setup = " ".join(f"{n} = {m}({v})" for n, m, v in zip(names, ("Relu", "Neg", "Abs", "Sin"), "abcd"))
    tried = 0
    for order in itertools.permutations(names):
        for tree in trees(order):
            found = bindings(r, elementwise(f"{setup} {write(tree, 'Add')}"))
            assert found == [tuple("abcd"[:count])], tree
            tried += 1
    assert tried == math.factorial(count) * {3: 2, 4: 5}[count]


@pytest.mark.parametrize("seed", range(40))
def test_sums_of_five(seed: int) -> None:
    draw = np.random.default_rng(seed)
    r = marked(5)
    setup = "p = Relu(a) q = Neg(b) r = Abs(c) s = Sin(d) t = Cos(e)"
    order = tuple(draw.permutation(list("pqrst")))
    tree = draw.choice(np.array([*trees(order), None], object)[:-1])
    assert bindings(r, elementwise(f"{setup} {write(tree, 'Add')}")) == [tuple("abcde")]


def test_bags_of_products_with_numbers() -> None:
    @rule
    def gelu(x):
        yield 0.5 * x * (1 + op.Erf(x / math.sqrt(2)))
        yield op.Gelu(x)

    k = {"half": np.float32(0.5), "one": np.float32(1), "root": np.float32(math.sqrt(2))}
    head = "g (float[2] a) => (float[2] y) { d = Div(a, root) e = Erf(d) "
    for add in ("s = Add(e, one)", "s = Add(one, e)"):
        for order in itertools.permutations(("a", "s", "half")):
            for tree in trees(order):
                model = with_constants(f"{head}{add} {write(tree, 'Mul')} }}", **k)
                assert bindings(gelu, model) == [("a",)]


def test_exact_rules_keep_the_association() -> None:
    @rule(exact=True)
    def r(x, u, v):
        yield (op.Relu(x) + op.Neg(u)) + op.Abs(v)
        yield x

    setup = "p = Relu(a) q = Neg(b) r = Abs(c) "
    assert bindings(r, elementwise(setup + "s = Add(p, q) y = Add(s, r)")) == [("a", "b", "c")]
    assert bindings(r, elementwise(setup + "s = Add(q, p) y = Add(r, s)")) == [("a", "b", "c")]
    assert bindings(r, elementwise(setup + "s = Add(q, r) y = Add(p, s)")) == []


def test_a_bag_may_leave_sums_together() -> None:
    """Three operands in a tree of four leaves: any of the three sums may be one operand."""

    @rule
    def r(u, v, w):
        yield op.Relu(u) + v + w
        yield u

    found = bindings(r, elementwise("p = Relu(a) s = Add(p, b) t = Add(s, c) y = Add(t, d)"))
    assert sorted(found) == [("a", "b", "c"), ("a", "c", "b")]
    found = bindings(r, elementwise("p = Relu(a) s = Add(p, b) t = Add(c, d) y = Add(s, t)"))
    assert sorted(found) == [("a", "b", "t"), ("a", "t", "b")]


def test_one_value_twice_in_a_bag() -> None:
    @rule
    def r(x, z):
        yield x + x + z
        yield x

    assert set(bindings(r, elementwise("s = Add(a, b) y = Add(s, a)"))) == {("a", "b")}
    assert bindings(r, elementwise("s = Add(a, b) y = Add(s, c)")) == []
    assert set(bindings(r, elementwise("s = Add(a, a) y = Add(s, a)"))) == {("a", "a")}


def test_a_sum_that_is_read_twice_is_a_leaf_too() -> None:
    @rule
    def r(x, u, v):
        yield x + u + v
        yield x

    found = bindings(r, elementwise("s = Add(a, b) y = Add(s, s)"))
    assert ("a", "b", "s") in found
    assert {len(set(f) - {"a", "b", "s"}) for f in found} == {0}


def test_bags_ignore_other_operators_and_domains() -> None:
    @rule
    def r(x, u, v):
        yield x * u * v
        yield x

    assert bindings(r, elementwise("s = Add(a, b) y = Mul(s, c)")) == []
    assert bindings(r, elementwise("s = my.Mul(a, b) y = Mul(s, c)"), imports=', "my": 1') == []


def test_bags_do_not_forget_what_old_operators_say() -> None:
    """Before opset 7 Add had attributes that say how to broadcast."""

    @rule
    def r(x, u, v):
        yield x + u + v
        yield x

    lines = "s = Add%s(a, b) y = Add%s(s, c)"
    assert bindings(r, elementwise(lines % ("", "")), opset=6)
    for where in (("<broadcast=1, axis=0>", ""), ("", "<broadcast=1, axis=0>")):
        assert bindings(r, elementwise(lines % where), opset=6) == []


def test_more_than_the_limit_keeps_the_association() -> None:
    @rule
    def r(a, b, c, d, e, f):
        yield ((((op.Relu(a) + b) + c) + d) + e) + f
        yield a

    text = elementwise(
        "p = Relu(a) q = Add(p, b) r = Add(q, c) s = Add(r, d) t = Add(s, e) y = Add(t, f)", "a b c d e f"
    )
    found = bindings(r, text)
    assert sorted(found) == sorted(("a", *order, "f") for order in itertools.permutations("bcde"))


# ------------------------------------------------------------------------- variables
def test_the_same_variable_is_the_same_value() -> None:
    @rule
    def r(x):
        yield op.Sub(op.Relu(x), op.Neg(x))
        yield x

    assert bindings(r, elementwise("p = Relu(a) q = Neg(a) y = Sub(p, q)")) == [("a",)]
    assert bindings(r, elementwise("p = Relu(a) q = Neg(b) y = Sub(p, q)")) == []


def test_the_same_call_is_the_same_node() -> None:
    @rule
    def r(x):
        s = op.Sigmoid(x)
        yield op.Sub(op.Relu(s), op.Neg(s))
        yield x

    assert bindings(r, elementwise("s = Sigmoid(a) p = Relu(s) q = Neg(s) y = Sub(p, q)")) == [("a",)]
    assert bindings(r, elementwise("s = Sigmoid(a) t = Sigmoid(a) p = Relu(s) q = Neg(t) y = Sub(p, q)")) == []


def test_two_calls_may_be_one_node() -> None:
    @rule
    def r(x, z):
        yield op.Sub(op.Relu(x), op.Relu(z))
        yield x

    assert bindings(r, elementwise("p = Relu(a) y = Sub(p, p)")) == [("a", "a")]


def test_constants() -> None:
    @rule
    def r(x, w: Const):
        yield op.Mul(x, w)
        yield x

    model = with_constants(
        "g (float[2] a, float[2] b) => (float[2] y) { p = Mul(k, a) q = Mul(p, b) y = Mul(k, k) }", k=np.float32([1, 2])
    )
    assert bindings(r, model) == [("a", "k"), ("k", "k"), ("k", "k")]
    overridable = "g (float[2] a, float[2] k) => (float[2] y) <float[2] k = {1, 2}> { y = Mul(a, k) }"
    assert bindings(r, overridable) == []


def test_a_body_is_not_looked_into_from_outside() -> None:
    @rule
    def r(x):
        yield op.Neg(op.Relu(x))
        yield x

    text = """g (bool c, float[2] a) => (float[2] y) {
        p = Relu(a)
        y = If (c) <then_branch = t () => (float[2] u) { u = Neg(p) }, else_branch = e () => (float[2] v) { q = Relu(a) v = Neg(q) }>
    }"""
    m = load(parse(text))
    found = [
        plain(values)
        for node in m.nodes()
        for c in compile_rule(r)
        if c.op == node.op
        for values, _, _ in found_at(c, node)
    ]
    assert found == [("a",)]


# --------------------------------------------------------------------------- inputs
def test_optional_inputs() -> None:
    @rule
    def r(x, w: Const, b: Maybe[Const]):
        yield op.Conv(x, w, b)
        yield x

    signature = "g (float[1,1,4,4] x, float[2] v) => (float[1,2,4,4] y)"
    w, b = np.ones((2, 1, 1, 1), np.float32), np.ones(2, np.float32)
    assert bindings(r, with_constants(f"{signature} {{ y = Conv(x, w, b) }}", w=w, b=b)) == [("x", "w", "b")]
    assert bindings(r, with_constants(f"{signature} {{ y = Conv(x, w) }}", w=w)) == [("x", "w", None)]
    assert bindings(r, with_constants(f"{signature} {{ y = Conv(x, w, v) }}", w=w)) == []
    left_out = with_constants(f"{signature} {{ y = Conv(x, w, v) }}", w=w)
    left_out.graph.node[0].input[2] = ""
    assert bindings(r, left_out) == [("x", "w", None)]


def test_inputs_that_the_pattern_does_not_name() -> None:
    @rule
    def without(x):
        yield op.Clip(x)
        yield x

    @rule
    def none(x, hi):
        yield op.Clip(x, None, hi)
        yield x

    text = "g (float[2] a, float l, float h) => (float[2] y) { y = Clip(%s) }"
    assert bindings(without, text % "a") == [("a",)]
    assert bindings(without, text % "a, l") == []
    assert bindings(none, text % "a, l, h") == []
    assert bindings(none, text % "a") == []
    model = parse(text % "a, l, h")
    model.graph.node[0].input[1] = ""
    assert bindings(none, model) == [("a", "h")]
    assert bindings(without, model) == []
    model.graph.node[0].input[2] = ""
    assert bindings(without, model) == [("a",)]


def test_variadic_inputs() -> None:
    @rule
    def all_of(axis: Int, *xs):
        yield op.Concat(*xs, axis=axis)
        yield xs[0]

    @rule
    def rest(x, axis: Int, *xs):
        yield op.Concat(op.Relu(x), *xs, axis=axis)
        yield x

    text = "g (float[2] a, float[2] b, float[2] c) => (float[K] y) { p = Relu(a) y = Concat<axis=0>(%s) }"
    assert bindings(all_of, text % "p, b, c") == [(0, ("p", "b", "c"))]
    assert bindings(all_of, text % "a") == [(0, ("a",))]
    assert bindings(rest, text % "p, b, c") == [("a", 0, ("b", "c"))]
    assert bindings(rest, text % "p") == [("a", 0, ())]
    assert bindings(rest, text % "b, p") == []


def test_alternatives() -> None:
    @rule
    def r(x, z):
        yield op.Sub(any_of(op.Relu(x), op.Max(x, z)), any_of(op.Neg(x), x))
        yield x

    assert bindings(r, elementwise("p = Relu(a) q = Neg(a) y = Sub(p, q)")) == [("a", None)]
    assert bindings(r, elementwise("p = Max(a, b) q = Neg(a) y = Sub(p, q)")) == [("a", "b")]
    assert bindings(r, elementwise("p = Max(a, b) y = Sub(p, b)")) == [("b", "a")]
    assert bindings(r, elementwise("p = Sin(a) y = Sub(p, a)")) == []


def test_optional_wrappers() -> None:
    @rule
    def r(x, t: Maybe[Int]):
        yield op.Relu(maybe(op.Cast)(op.Neg(x), to=t))
        yield x

    assert bindings(r, elementwise("p = Neg(a) y = Relu(p)")) == [("a", None)]
    assert bindings(r, elementwise("p = Neg(a) q = Cast<to=1>(p) y = Relu(q)")) == [("a", 1)]
    assert bindings(r, elementwise("y = Relu(a)")) == []


def test_alternatives_at_the_root() -> None:
    @rule
    def r(x):
        yield any_of(op.Relu(op.Sin(x)), op.Neg(op.Cos(x)))
        yield x

    assert bindings(r, elementwise("p = Sin(a) y = Relu(p)")) == [("a",)]
    assert bindings(r, elementwise("p = Cos(a) y = Neg(p)")) == [("a",)]
    assert bindings(r, elementwise("p = Cos(a) y = Relu(p)")) == []


def test_names_of_variants_do_not_leak() -> None:
    """Attributes of a choice that was not taken are None, empty or ()."""
    seen: list[Any] = []

    @rule
    def r(x, t: Maybe[Int], attrs: Attrs, *xs):
        yield any_of(op.Relu(x), op.Cast(x, to=t, **attrs), op.Sum(x, *xs))
        seen.append((t, attrs, xs))
        yield x

    assert bindings(r, elementwise("y = Relu(a)")) == [("a", None, {}, ())]
    assert bindings(r, elementwise("y = Sum(a, b)")) == [("a", None, {}, ("b",))]
    found = bindings(r, elementwise("y = Cast<to=1>(a)"))
    assert found[0][:2] == ("a", 1)


# --------------------------------------------------------------------------- outputs
SPLIT = "g (float[4] a, float[2] b) => (float[2] y, float[2] z) { p, q = Split<axis=0>(a) %s }"


def test_one_of_several_outputs() -> None:
    @rule
    def r(x):
        _, second = op.Split(x, axis=0, outputs=2)
        yield op.Relu(second)
        yield x

    assert bindings(r, SPLIT % "y = Relu(q) z = Neg(p)", opset=13) == [("a",)]
    assert bindings(r, SPLIT % "y = Relu(p) z = Neg(q)", opset=13) == []


def test_the_number_of_outputs_may_be_written_down() -> None:
    """From opset 18 on Split says how many outputs it has."""

    @rule
    def r(x):
        first, second = op.Split(x, axis=0, outputs=2)
        yield op.Sub(first, second)
        yield x

    @rule
    def one(x):
        yield op.Split(x)
        yield x

    text = "g (float[4] a) => (float[2] y) { p, q = Split<axis=0, num_outputs=2>(a) y = Sub(p, q) }"
    assert bindings(r, text, opset=18) == [("a",)]
    assert bindings(one, text, opset=18) == []
    assert bindings(one, "g (float[4] a) => (float[4] y) { y = Split<num_outputs=1>(a) }", opset=18) == [("a",)]


def test_several_outputs_of_one_call() -> None:
    @rule
    def r(x):
        first, second = op.Split(x, axis=0, outputs=2)
        yield op.Sub(first, second)
        yield x

    assert bindings(r, SPLIT % "y = Sub(p, q) z = Neg(q)", opset=13) == [("a",)]
    assert bindings(r, SPLIT % "y = Sub(q, p) z = Neg(q)", opset=13) == []
    assert bindings(r, SPLIT % "y = Sub(p, b) z = Neg(q)", opset=13) == []


def test_the_number_of_outputs_must_be_right() -> None:
    """A node with more outputs than the pattern computes something else."""

    @rule
    def r(x):
        first, second = op.Split(x, axis=0, outputs=2)
        yield op.Sub(first, second)
        yield x

    text = "g (float[6] a) => (float[2] y, float[2] z) { p, q, s = Split<axis=0>(a) y = Sub(p, q) z = Neg(s) }"
    assert bindings(r, text, opset=13) == []


def test_two_roots_in_both_orders() -> None:
    @rule
    def r(x):
        yield op.Relu(x), op.Neg(x)
        yield op.Sin(x), op.Cos(x)

    text = "g (float[2] a, float[2] b) => (float[2] y, float[2] z) { %s }"
    assert bindings(r, text % "y = Relu(a) z = Neg(a)") == [("a",)]
    assert bindings(r, text % "z = Neg(a) y = Relu(a)") == [("a",)]
    assert bindings(r, text % "y = Relu(a) z = Neg(b)") == []


def test_two_roots_further_apart() -> None:
    @rule
    def r(x):
        yield op.Relu(op.Sin(x)), op.Neg(op.Cos(op.Abs(x)))
        yield x, x

    text = "g (float[2] a) => (float[2] y, float[2] z) { p = Sin(a) y = Relu(p) q = Abs(a) s = Cos(q) z = Neg(s) }"
    assert bindings(r, text) == [("a",)]


def test_two_roots_that_share_a_call() -> None:
    @rule
    def r(x):
        s = op.Sigmoid(x)
        yield op.Relu(s), op.Neg(s)
        yield x, x

    text = "g (float[2] a) => (float[2] y, float[2] z) { s = Sigmoid(a) t = Sigmoid(a) y = Relu(s) z = Neg(%s) }"
    assert bindings(r, text % "s") == [("a",)]
    assert bindings(r, text % "t") == []


def test_two_roots_are_two_nodes() -> None:
    @rule
    def r(x, u, v):
        yield op.Mul(x, u), op.Mul(x, v)
        yield x, x

    text = "g (float[2] a, float[2] b, float[2] c) => (float[2] y, float[2] z) { y = Mul(a, b) z = Mul(c, a) }"
    assert set(bindings(r, text)) == {("a", "b", "c"), ("a", "c", "b")}
    assert bindings(r, elementwise("y = Mul(a, b)")) == []


def test_roots_that_share_nothing() -> None:
    @rule
    def r(x, z):
        yield op.Relu(x), op.Neg(z)
        yield x, z

    with pytest.raises(RuleError, match="share no variable"):
        compile_rule(r)


def test_roots_through_an_optional_input() -> None:
    @rule
    def r(x, w: Maybe[Const], b: Maybe[_]):
        yield op.Clip(x, w, b), op.Neg(b)
        yield x, x

    text = "g (float[2] a, float h) => (float[2] y, float[] z) { y = Clip(a) z = Neg(h) }"
    assert bindings(r, text, check=False) == []


def test_roots_behind_an_output_that_is_left_out() -> None:
    @rule
    def r(x):
        first, second = op.TopK(x, k=1, outputs=2)
        yield op.Relu(x), op.Neg(op.Cast(second, to=1))
        yield x, x

    model = with_constants(
        "g (float[2] a) => (float[2] y, float[1] z) { p, q = TopK(a, k) c = Cast<to=1>(q) z = Neg(c) y = Relu(a) }",
        k=np.array([1]),
    )
    model.graph.node[0].output[0] = ""
    assert bindings(r, model) == [("a",)]


# ------------------------------------------------------------------------ attributes
def test_kinds_of_attributes() -> None:
    @rule
    def ints(x, p: Ints):
        yield op.Transpose(x, perm=p)
        yield x

    @rule
    def perm(x, p: Perm):
        yield op.Transpose(x, perm=p)
        yield x

    @rule
    def axis(x, a: Axis):
        yield op.Softmax(x, axis=a)
        yield x

    @rule
    def integer(x, a: Int):
        yield op.Softmax(x, axis=a)
        yield x

    @rule
    def number(x, a: Float):
        yield op.LeakyRelu(x, alpha=a)
        yield x

    @rule
    def text(x, a: Str):
        yield op.Gelu(x, approximate=a)
        yield x

    given = "g (float[2, 3] a) => (float[N, M] y) { y = %s(a) }"
    assert bindings(ints, given % "Transpose<perm=[1, 0]>") == [("a", [1, 0])]
    assert bindings(ints, given % "Transpose") == []
    assert bindings(perm, given % "Transpose") == [("a", [1, 0])]
    assert bindings(perm, given % "Transpose<perm=[0, 1]>") == [("a", [0, 1])]
    assert bindings(axis, given % "Softmax") == [("a", 1)]
    assert bindings(axis, given % "Softmax<axis=-2>") == [("a", 0)]
    assert bindings(integer, given % "Softmax<axis=-2>") == [("a", -2)]
    assert bindings(integer, given % "Softmax") == [("a", -1)]
    assert bindings(number, given % "LeakyRelu<alpha=0.25>") == [("a", 0.25)]
    assert bindings(number, given % "LeakyRelu") == [("a", pytest.approx(0.01))]
    assert bindings(text, given % 'Gelu<approximate="tanh">', opset=20) == [("a", "tanh")]
    assert bindings(text, given % "Gelu", opset=20) == [("a", "none")]


def test_unknown_ranks_have_no_axis() -> None:
    @rule
    def perm(x, p: Perm):
        yield op.Transpose(x, perm=p)
        yield x

    @rule
    def axis(x, a: Axis):
        yield op.Softmax(x, axis=a)
        yield x

    model = parse("g (float[2] a) => (float[2] y) { p = Softmax<axis=-1>(a) q = Softmax<axis=0>(p) y = Transpose(q) }")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert bindings(perm, model) == []
    assert [b[1] for b in bindings(axis, model)] == [0]


def test_the_same_attribute_twice() -> None:
    @rule
    def r(x, a: Int):
        yield op.Softmax(op.Softmax(x, axis=a), axis=a)
        yield x

    given = "g (float[2, 3] a) => (float[2, 3] y) { p = Softmax<axis=%d>(a) y = Softmax<axis=%d>(p) }"
    assert bindings(r, given % (0, 0)) == [("a", 0)]
    assert bindings(r, given % (0, 1)) == []


def test_literal_attributes() -> None:
    @rule
    def r(x):
        yield op.Transpose(op.LeakyRelu(x, alpha=0.1), perm=[1, 0])
        yield x

    given = "g (float[2, 3] a) => (float[3, 2] y) { p = LeakyRelu<alpha=%s>(a) y = Transpose<perm=%s>(p) }"
    assert bindings(r, given % ("0.1", "[1, 0]")) == [("a",)]
    assert bindings(r, given % ("0.2", "[1, 0]")) == []
    assert bindings(r, given % ("0.1", "[0, 1]")) == []


def test_all_other_attributes() -> None:
    @rule
    def r(x, w, g: Int, rest: Attrs):
        yield op.Conv(x, w, group=g, **rest)
        yield x

    given = "g (float[1, 1, 4, 4] a, float[1, 1, 1, 1] w) => (float[1, 1, M, N] y) { y = Conv%s(a, w) }"
    ((_, _, group, rest),) = bindings(r, given % "<strides=[2, 2]>")
    assert (group, rest) == (1, {"strides": [2, 2], "auto_pad": "NOTSET"})
    ((_, _, group, rest),) = bindings(r, given % "")
    assert (group, rest) == (1, {"auto_pad": "NOTSET"})


def test_attributes_that_are_not_named_have_their_default() -> None:
    @rule
    def r(x):
        yield op.LeakyRelu(x)
        yield x

    given = "g (float[2] a) => (float[2] y) { y = LeakyRelu%s(a) }"
    assert bindings(r, given % "") == [("a",)]
    assert bindings(r, given % "<alpha=0.01>") == [("a",)]
    assert bindings(r, given % "<alpha=0.02>") == []


def test_attributes_that_change_nothing() -> None:
    @rule
    def r(x, s, b, m, v):
        yield op.BatchNormalization(x, s, b, m, v)
        yield x

    given = "g (float[1, 2] x, float[2] s, float[2] b, float[2] m, float[2] v) => (float[1, 2] y) { y = BatchNormalization%s(x, s, b, m, v) }"
    assert bindings(r, given % "")
    assert bindings(r, given % "<momentum=0.3>")
    assert bindings(r, given % "<epsilon=0.3>") == []


def test_attributes_of_unknown_operators() -> None:
    contrib = domain("my")

    @rule
    def r(x, k: Int):
        yield contrib.Foo(x, k=k)
        yield x

    given = "g (float[2] a) => (float[2] y) { y = my.Foo%s(a) }"
    assert bindings(r, given % "<k = 3>", imports=', "my": 1') == [("a", 3)]
    assert bindings(r, given % "", imports=', "my": 1') == []
    assert bindings(r, given % "<k = 3, l = 4>", imports=', "my": 1') == []


def test_attributes_that_a_function_takes_from_its_call() -> None:
    @rule
    def named(x, a: Float):
        yield op.LeakyRelu(x, alpha=a)
        yield x

    @rule
    def unnamed(x):
        yield op.LeakyRelu(x)
        yield x

    @rule
    def rest(x, attrs: Attrs):
        yield op.LeakyRelu(x, **attrs)
        yield x

    node = helper.make_node("LeakyRelu", ["v"], ["w"])
    node.attribute.add(name="alpha", ref_attr_name="slope", type=1)
    model = parse("g (float[2] a) => (float[2] y) { y = local.f(a) }", imports=', "local": 1', check=False)
    model.functions.append(
        helper.make_function("local", "f", ["v"], ["w"], [node], [helper.make_opsetid("", 17)], ["slope"])
    )
    m = load(model)
    (inner,) = m.functions["local", "f", ""].graph
    for r in (named, unnamed, rest):
        assert [list(c.match(inner)) for c in compile_rule(r)] == [[]]


# ----------------------------------------------------------------------------- shapes
def test_shapes_of_variables() -> None:
    @rule
    def r(x: "N C", z: C, N: Dim, C: Dim):
        yield op.Add(x, z)
        yield x

    given = "g (float[%s] a, float[%s] b) => (float[M, N] y) { y = Add(a, b) }"
    assert bindings(r, given % ("2, 3", "3")) == [("a", "b", 2, 3)]
    assert bindings(r, given % ("B, K", "K")) == [("a", "b", "B", "K")]
    assert bindings(r, given % ("2, 3", "1")) == []
    assert bindings(r, given % ("B, K", "L")) == []
    assert bindings(r, given % ("2, 3", "1, 3")) == []


def test_numbers_and_dots_in_shapes() -> None:
    @rule
    def r(x: "... C", z: "1 C", w: ...):
        yield op.Concat(x, z, w, axis=0)
        yield x

    given = "g (float[%s] a, float[%s] b, float[%s] c) => (float[M, N] y) { y = Concat<axis=0>(a, b, c) }"
    assert bindings(r, given % ("4, 3", "1, 3", "2, 3")) == [("a", "b", "c")]
    assert bindings(r, given % ("4, 3", "2, 3", "2, 3")) == []
    assert bindings(r, given % ("4, K", "1, K", "2, K")) == [("a", "b", "c")]


def test_the_order_of_matching_does_not_matter_for_letters() -> None:
    """Letters are compared when all is bound; a second binding is tried where they differ."""

    @rule(exact=True)
    def r(x: "N C", z: C):
        yield op.Mul(x, z)
        yield x

    assert bindings(r, "g (float[3] b, float[2, 3] a) => (float[2, 3] y) { y = Mul(b, a) }") == [("a", "b")]


# ----------------------------------------------------------------------- what is wrong
def wrong(r: Rule, message: str) -> None:
    with pytest.raises(RuleError, match=message) as e:
        compile_rule(r)
    assert f"'{r.name}'" in str(e.value)


def test_patterns_that_cannot_be() -> None:
    @rule
    def attribute_as_input(x, a: Ints):
        yield op.Add(x, a)
        yield x

    @rule
    def tensor_as_attribute(x, p):
        yield op.Transpose(x, perm=p)
        yield x

    @rule
    def call_as_attribute(x):
        yield op.Transpose(x, perm=op.Shape(x))
        yield x

    @rule
    def attrs_as_input(x, a: Attrs):
        yield op.Add(x, a)
        yield x

    @rule
    def tensor_as_attrs(x, w: Const):
        yield op.Relu(x, **w)
        yield x

    @rule
    def tensor_as_rest(x):
        yield op.Sum(*x)
        yield x

    wrong(attribute_as_input, "stands for a tensor")
    wrong(tensor_as_attribute, "annotate it")
    wrong(call_as_attribute, "an attribute must be")
    wrong(attrs_as_input, "stands for a tensor")
    wrong(tensor_as_attrs, "Attrs")
    wrong(tensor_as_rest, "variadic")


def test_source_can_be_read() -> None:
    @rule
    def r(x):
        yield op.Neg(op.Relu(x))
        yield x

    (c,) = compile_rule(r)
    assert c.op == "Neg"
    assert c.needs == {"Relu"}
    assert c.source.startswith("def match(n0):")
    assert "'Relu'" in c.source


def test_what_must_be_near() -> None:
    @rule
    def r(x, w: Const, b: Maybe[Const], v: Const):
        yield op.Foo(op.Relu(x), w, b, 3.0, [1, 2], op.Add(op.Neg(x), v), None)
        yield x

    (c,) = compile_rule(r)
    assert c.needs == {"Relu", "<const>", "Add"}


# ------------------------------------------------------------------------ outlines
def test_what_an_outline_speaks_against_is_not_compiled() -> None:
    @rule
    def r(x, w: Const):
        yield op.Add(op.Relu(op.Neg(x)), w * 0.5)
        yield x

    (c,) = variants_of(r)
    with_others = "g (float[2] a, float[2] b) => (float[2] y) <float[1] h = {0.5}, float[2] k = {1, 2}>"
    for body in (
        "{ p = Relu(a) q = Mul(k, h) y = Add(p, q) }",
        "{ n = Neg(a) p = Relu(n) q = Mul(b, k) y = Add(p, q) }",
        "{ n = Neg(a) p = Relu(n) q = Mul(k, k) y = Add(q, p) }",
    ):
        assert list(c.match(list(load(parse(f"{with_others} {body}", check=False)).graph)[-1])) == []
    assert c._generator is None
    fits = list(
        load(parse(f"{with_others} {{ n = Neg(a) p = Relu(n) q = Mul(h, k) y = Add(q, p) }}", check=False)).graph
    )
    assert len(list(c.match(fits[-1]))) == 1 and c._generator is not None


def test_outlines_let_every_match_through() -> None:
    """Of rules of this file's kinds: bags, alternatives, attributes that are inputs, several outputs."""

    @rule
    def bag(x, y, z: Const):
        yield (x + 2.0) + op.Relu(y) + z
        yield x

    @rule
    def alternatives(x, a: Maybe[Ints]):
        yield op.Neg(any_of(op.Relu(x), maybe(op.Cast)(op.Squeeze(x, axes=a), to=1)))
        yield x

    graph = (
        "g (float[1, 2] a, float[2] b) => (float[2] y, float[2] u, float[1, 2] w) "
        "<float[2] k = {1, 2}, float two = {2}, int64[1] zero = {0}> "
        "{ p = Add(k, b) q = Relu(b) r = Add(two, q) s = Add(r, p) y = Neg(s) t = Squeeze(a, zero) u = Neg(t) v = Relu(a) w = Neg(v) }"
    )

    def found(make: Callable[[Rule], list[Compiled]]) -> list[Any]:
        variants_of.cache_clear()
        nodes = list(load(parse(graph)).graph)
        return [
            tuple(map(plain, m[0]))
            for r in (bag, alternatives)
            for c in make(r)
            for n in nodes
            if n.op == c.op
            for m in c.match(n)
        ]

    assert found(variants_of) == found(compile_rule) != []


def test_patterns_of_one_call() -> None:
    """What is not compiled finds the same as what is: `bindings` looks at both."""

    @rule
    def twice(x):
        yield op.Sub(x, x)
        yield x

    @rule
    def ones(x, k: Filled[1]):
        yield x * k
        yield x

    @rule
    def square(x, k: Ints):
        yield op.MaxPool(x, kernel_shape=k, strides=k)
        yield x

    @rule
    def softmax(x):
        yield op.Softmax(x)
        yield x

    assert bindings(twice, elementwise("y = Sub(a, a)")) == [("a",)]
    assert bindings(twice, elementwise("y = Sub(a, b)")) == []
    filled = "g (float[2] a) => (float[2] y) <float[2] k = {%s}> { y = Mul(a, k) }"
    assert bindings(ones, filled % "1, 1") == [("a", "k")]
    assert bindings(ones, filled % "1, 2") == []
    pool = "g (float[1, 1, 8, 8] a) => (float[1, 1, M, N] y) { y = MaxPool<kernel_shape=[2, 2], strides=[%s]>(a) }"
    assert bindings(square, pool % "2, 2") == [("a", [2, 2])]
    assert bindings(square, pool % "2, 1") == []
    last = "g (float[2, 3] a) => (float[2, 3] y) { y = Softmax<axis=%d>(a) }"
    assert bindings(softmax, last % -1) == [("a",)]
    assert bindings(softmax, last % 0) == []


def test_patterns_of_one_call_are_compiled_where_many_nodes_come() -> None:
    @rule
    def r(x, k: Const):
        yield x + k
        yield x

    text = "g (float[2] a) => (float[2] y) <float[2] k = {1, 2}> { y = Add(a, k) }"
    (c,), (node,) = variants_of(r), load(parse(text)).graph
    found = [list(c.match(node)) for _ in range(100)]
    assert all(f == found[0] and len(f) == 1 for f in found) and c._generator is not None


def test_operands_that_may_be_left_out_of_what_takes_any_number() -> None:
    @rule
    def r(x, y: Maybe[Tensor], a: Int):
        yield op.Neg(op.Concat(x, y, axis=a))
        yield x

    for operands, found in (("a", [("a", None, 0)]), ("a, b", [("a", "b", 0)]), ("a, b, a", [])):
        text = f"g (float[2] a, float[2] b) => (float[N] y) {{ p = Concat<axis=0>({operands}) y = Neg(p) }}"
        m = load(parse(text))
        infer_model(m)
        (c,) = variants_of(r)
        got = [tuple(map(plain, values)) for n in m.graph if n.op == "Neg" for values, _, _ in c.match(n)]
        assert got == found
        variants_of.cache_clear()
