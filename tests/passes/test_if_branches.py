"""What both branches of an If compute, or give, comes out of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from graphopt import optimize
from graphopt.ir import Model
from tests.ir import invariants
from tests.ir.building import ops, parse, run, same_bits
from tests.patterns.rule_cases import run_ort

X = np.float32([-1, 0.5])
ONLY = ("if_branches", "dead_code")


def simplify(text: str, only: Any = ONLY, opset: int = 17, imports: str = "") -> Model:
    """Optimise with this pass alone; the outputs stay the same, whatever the condition is."""
    model = parse(text, opset=opset, imports=imports)
    before = model.SerializeToString(deterministic=True)
    m = optimize(model, level=1, **({"only": only} if only else {}))
    assert model.SerializeToString(deterministic=True) == before
    invariants.check(m)
    assert m.report is not None
    assert m.report.nodes_before - m.report.nodes_after == sum(step.saved for step in m.report.steps), "the ledger"
    onnx.checker.check_model(m.proto, full_check=True)
    for c in (True, False):
        feeds = {i.name: X if i.type.tensor_type.elem_type == 1 else np.array(c) for i in model.graph.input}
        assert same_bits(run(m, **feeds), run(model, **feeds))
        assert same_bits(run_ort(m.proto, feeds), run_ort(model, feeds))
    return m


def conditional(
    then: str,
    other: str,
    outs: str = "y",
    cond: str = "c",
    before: str = "",
    after: str = "",
    given: str = "",
    ends: int = 1,
) -> str:
    """An If of one or two outputs, t0 and t1 in the first branch and e0 and e1 in the second."""
    t, e = (", ".join(f"float[N] {side}{i}" for i in range(ends)) for side in "te")
    y = ", ".join(f"float[N] {o}" for o in (["y"] if after or ends == 1 else ["y", "z"]))
    return f"""g (float[N] x, bool c{given}) => ({y}) <float two = {{2}}> {{ {before}
        {outs} = If ({cond}) <then_branch = t () => ({t}) {{ {then} }}, else_branch = e () => ({e}) {{ {other} }}> {after} }}"""


def bodies(m: Model) -> list[list[str]]:
    """The operators in the branches of the only If."""
    (node,) = [n for n in m.graph if n.op == "If"]
    return [[n.op for n in sub] for sub in node.subgraphs]


# ---------------------------------------------------------------------------------------------------------------- hoist
def test_what_both_compute_comes_first() -> None:
    m = simplify(conditional("p = Sin(x) q = Mul(p, two) t0 = Exp(q)", "r = Sin(x) s = Mul(r, two) e0 = Cos(s)"))
    assert ops(m) == ["Sin", "Mul", "If"]
    assert bodies(m) == [["Exp"], ["Cos"]]
    steps = [s for s in m.report.steps if s.rule == "if_branches"]
    assert [n.op for n in steps[0].after] == ["Sin", "Mul"]
    assert sorted(n.op for n in steps[0].before) == ["Mul", "Mul", "Sin", "Sin"]


def test_constants_of_both_branches() -> None:
    """The same numbers in each of them, and their names are also those of others."""
    then = "k = Constant<value = float[2] {1.0, 2.0}>() p = Add(x, k) t0 = Exp(p)"
    other = "k = Constant<value = float[2] {1.0, 2.0}>() q = Add(x, k) e0 = Cos(q)"
    m = simplify(conditional(then, other))
    assert ops(m) == ["Add", "If"]
    m = simplify(conditional(then, other.replace("2.0", "3.0")))
    assert [op for op in ops(m) if op != "Constant"] == ["If"]


def test_outputs_that_both_compute() -> None:
    m = simplify(conditional("t0 = Sin(x) t1 = Exp(x)", "e0 = Sin(x) e1 = Cos(x)", "y, z", ends=2))
    assert [n.op for n in m.graph] == ["Sin", "If"]
    assert bodies(m) == [["Exp"], ["Cos"]]
    assert ops(simplify(conditional("t0 = Sin(x)", "e0 = Sin(x)"))) == ["Sin"]


def test_what_is_given_and_read_on() -> None:
    """A branch must make what it gives: a copy of what is computed in front."""
    then = "t0 = Sin(x) p = Neg(t0) q = Abs(p) r = Neg(q) t1 = Exp(r)"
    other = "s = Sin(x) p = Neg(s) q = Abs(p) r = Neg(q) e0 = Cos(r) e1 = Tan(r)"
    m = simplify(conditional(then, other, "y, z", ends=2))
    assert [n.op for n in m.graph] == ["Sin", "Neg", "Abs", "Neg", "If"]
    assert bodies(m) == [["Identity", "Exp"], ["Cos", "Tan"]]


def test_nothing_is_gained_by_copies() -> None:
    """Sin would be there once instead of twice, and two copies of it."""
    m = simplify(conditional("t0 = Sin(x) t1 = Exp(x)", "e0 = Cos(x) e1 = Sin(x)", "y, z", ends=2))
    assert ops(m) == ["If"]


def test_nested_branches_read_it_too() -> None:
    inner = "%s = If (c) <then_branch = a () => (float[N] u) { u = Exp(p) }, else_branch = b () => (float[N] w) { w = Cos(p) }>"
    m = simplify(conditional("p = Sin(x) " + inner % "t0", "p = Sin(x) " + inner % "v" + " e0 = Neg(v)"))
    assert ops(m)[0] == "Sin"


def test_attributes_and_operators_count() -> None:
    other = "q = LeakyRelu<alpha=0.5>(x) e0 = Cos(q)"
    assert ops(simplify(conditional("p = LeakyRelu<alpha=0.25>(x) t0 = Exp(p)", other))) == ["If"]
    assert ops(simplify(conditional("p = LeakyRelu<alpha=0.5>(x) t0 = Exp(p)", other))) == ["LeakyRelu", "If"]


def test_random_and_unknown_operators_stay() -> None:
    model = parse(conditional("p = RandomUniformLike(x) t0 = Exp(p)", "p = RandomUniformLike(x) e0 = Cos(p)"))
    assert ops(optimize(model, level=1)) == ["If"]
    text = conditional("p = my.Print(x) t0 = Exp(p)", "p = my.Print(x) e0 = Cos(p)")
    assert ops(optimize(parse(text, imports=', "my": 1', check=False), level=1)) == ["If"]


def test_what_a_branch_knows_stays_there() -> None:
    """Only one branch needs two elements, so in front of it nobody knows that there are two."""
    then = "k = Constant<value = float[2] {1.0, 2.0}>() p = Sin(x) s = Shape(p) r = Cast<to=1>(s) q = MatMul(p, k) t0 = Add(r, q)"
    other = "p = Sin(x) s = Shape(p) r = Cast<to=1>(s) e0 = Neg(r)"
    m = simplify(conditional(then, other), only=None)
    model = parse(conditional(then, other))
    feeds = {"x": np.float32([1, 2, 3]), "c": np.array(False)}
    assert same_bits(run(m, **feeds), run(model, **feeds))


# ------------------------------------------------------------------------------------------------- outputs, conditions
def test_both_give_the_same() -> None:
    assert ops(simplify(conditional("t0 = Identity(x)", "e0 = Identity(x)", "a", after="y = Neg(a)"))) == ["Neg"]
    constant = "%s = Constant<value = float[2] {1.0, 2.0}>()"
    m = simplify(conditional(constant % "t0", constant % "e0", "a", after="y = Add(a, x)"))
    assert ops(m) == ["Add"]


def test_nobody_reads_it() -> None:
    text = conditional("t0 = Exp(x) t1 = Sin(x)", "e0 = Cos(x) e1 = Tan(x)", "a, b", ends=2, after="y = Neg(b)")
    m = simplify(text)
    assert bodies(m) == [["Sin"], ["Tan"]]
    (node,) = [n for n in m.graph if n.op == "If"]
    assert len(node.outputs) == 1


def test_not_of_a_condition() -> None:
    m = simplify(conditional("t0 = Exp(x)", "e0 = Cos(x)", cond="d", before="d = Not(c)"))
    assert ops(m) == ["If"]
    assert bodies(m) == [["Cos"], ["Exp"]]
    text = conditional(
        "t0 = Exp(x)", "e0 = Cos(x)", "a", cond="d", before="d = Not(c)", after="f = Cast<to=1>(d) y = Add(a, f)"
    )
    assert ops(simplify(text)) == ["Not", "If", "Cast", "Add"]


@pytest.mark.parametrize(("inner", "left"), [("c", [["Exp"], ["Neg"]]), ("d", [["Cos"], ["Neg"]])])
def test_a_condition_has_come_out_inside(inner: str, left: list[list[str]]) -> None:
    nested = f"t0 = If ({inner}) <then_branch = a () => (float[N] u) {{ u = Exp(x) }}, else_branch = b () => (float[N] w) {{ w = Cos(x) }}>"
    m = simplify(conditional(nested, "e0 = Neg(x)", before="d = Not(c)"), only=["constant_if", "dead_code"])
    assert bodies(m) == left
    nested = nested.replace("t0 =", "e0 =")
    m = simplify(conditional("t0 = Neg(x)", nested, before="d = Not(c)"), only=["constant_if", "dead_code"])
    assert bodies(m) == [["Neg"], ["Cos" if inner == "c" else "Exp"]]


def test_inside_a_loop_inside_a_branch() -> None:
    nested = """n = Constant<value = int64 {3}>() t0 = Loop (n, , x) <body = l (int64 i, bool go, float[N] v) => (bool on, float[N] w) {
        on = Identity(go) w = If (c) <then_branch = a () => (float[N] u) { u = Sin(v) }, else_branch = b () => (float[N] r) { r = Cos(v) }> }>"""
    m = simplify(conditional(nested, "e0 = Neg(x)"), only=["constant_if"])
    assert [n.op for n in m.graph.walk() if n.op not in ("Constant", "Identity")] == ["If", "Loop", "Sin", "Neg"]


# --------------------------------------------------------------------------------------------------------------- choose
def small(
    then: str, other: str, dtype: str = "float", shape: str = "2", cond: str = "bool c", opset: int = 17
) -> Model:
    t = f"{dtype}[{shape}]" if shape else dtype
    x = "" if dtype == "float" else f"k = Cast<to={ {'double': 11, 'int32': 6, 'bool': 9, 'float16': 10}[dtype] }>(x)"
    x = x or "k = Identity(x)"
    return simplify(
        f"""g (float[{shape}] x, {cond}) => ({t} y) {{ {x}
            y = If (c) <then_branch = t () => ({t} t0) {{ {then} }}, else_branch = e () => ({t} e0) {{ {other} }}> }}""", opset=opset)  # fmt: skip


def test_a_choice_of_small_values() -> None:
    constants = ("t0 = Constant<value = float[2] {1.0, 2.0}>()", "e0 = Constant<value = float[2] {3.0, 4.0}>()")
    assert ops(small(*constants))[-1:] == ["Where"]
    assert "If" not in ops(small("t0 = Identity(k)", "e0 = Neg(k)"))
    assert "If" not in ops(small("t0 = Identity(k)", "e0 = Mul(k, k)", "double"))
    assert "If" not in ops(small("t0 = Identity(k)", "e0 = Neg(k)", "int32"))


@pytest.mark.parametrize(
    ("then", "other", "options"),
    [
        pytest.param("t0 = Identity(k)", "e0 = Not(k)", {"dtype": "bool"}, id="no kernel of Where for booleans"),
        pytest.param("t0 = Identity(k)", "e0 = Neg(k)", {"dtype": "float16"}, id="nor for 16 bits"),
        pytest.param("t0 = Identity(k)", "e0 = Div(k, k)", {}, id="may fail, for integers"),
        pytest.param("t0 = Identity(k)", "e0 = Neg(k)", {"shape": "N"}, id="may be large"),
        pytest.param("t0 = Sin(k)", "a = Sin(k) b = Sin(a) d = Sin(b) e0 = Sin(d)", {}, id="takes time"),
    ],
)
def test_choices_that_stay(then: str, other: str, options: dict[str, Any]) -> None:
    assert "If" in ops(small(then, other, **options))


def test_shapes_that_differ() -> None:
    """A Where would broadcast one to the other."""
    text = """g (float[2] x, bool c) => (float[N] y) { k = Neg(x)
        y = If (c) <then_branch = t () => (float[1] t0) { t0 = Constant<value = float[1] {1.0}>() },
                    else_branch = e () => (float[2] e0) { e0 = Abs(k) }> }"""
    assert "If" in ops(simplify(text))
