"""The proof ladder: wrong rules are refuted with a counterexample, true ones reach the rung that they should, and no rung
proves what is not so."""

from __future__ import annotations

import dataclasses
import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

from graphopt.errors import MissingDependencyError
from graphopt.exec.backends.exact import NotExact
from graphopt.patterns import all_rules, proofs
from graphopt.rewrite import Axis, Const, Ints, Perm, Rule, op, rule
from graphopt.testing.proof import ORDER, Proof, catalogue, normal, outdated, prove, smt, source_hash, write
from graphopt.testing.proof.alarm import alarm
from graphopt.testing.proof.formulas import TimeIsUp, terms
from graphopt.testing.proof.polynomials import Form, Table
from graphopt.testing.proof.rungs import NO_ANSWER, RUNGS, Counterexample, Proved, finite_field, refute
from graphopt.testing.proof.sides import Sides, sides_of
from graphopt.testing.proof.specimens import chosen, specimens
from tests.ir.building import parse

#: What a wrong rule writes may have another shape; and elements that inference knows exactly differ from those that are rounded.
pytestmark = pytest.mark.contradicts
RULES = all_rules()


# ------------------------------------------------------------------------------------------------------------ wrong rules
@rule
def difference_swapped(x, y):
    yield -(x - y)
    yield x - y


@rule
def wrong_constant(x):
    yield x / 4.0
    yield x * 0.2


@rule
def bias_forgotten(x, w: Const, b: Const, k: Const):
    yield (op.MatMul(x, w) + b) * k
    if k.size != 1:
        return "not a single factor"
    yield op.MatMul(x, w * np.asarray(k).reshape(())) + b


@rule(exact=True)
def wrong_perm(x, p: Perm, q: Perm):
    yield op.Transpose(op.Transpose(x, perm=p), perm=q)
    yield op.Transpose(x, perm=[q[i] for i in p])


@rule
def slope_of_any_sign(x, a: Const):
    yield op.Relu(x * a)
    yield op.Relu(x) * a


@rule
def exponential_of_sum(x, y):
    yield op.Exp(x + y)
    yield op.Exp(x) + op.Exp(y)


@rule
def logarithm_undone(x):
    """True where the logarithm is defined, but the left side is everywhere."""
    yield op.Neg(op.Neg(x))
    yield op.Exp(op.Log(x))


@rule
def strict_for_not_strict(x, y):
    yield op.Not(op.Less(x, y))
    yield op.Greater(x, y)


@rule(exact=True)
def order_of_parts(x, y, axis: Axis):
    yield op.Abs(op.Concat(x, y, axis=axis))
    yield op.Concat(op.Abs(y), op.Abs(x), axis=axis)


@rule
def shift_through_relu(x, c: Const):
    yield op.Relu(x + c)
    yield op.Relu(x) + c


@rule
def mean_for_sum(x, a: Ints):
    yield -op.ReduceSum(x, axes=a, keepdims=1)
    yield -op.ReduceMean(x, axes=a, keepdims=1)


@rule
def sign_through_maximum(x, y):
    yield op.Max(x, y) * -1.0
    yield op.Max(-x, -y)


WRONG = [
    difference_swapped, wrong_constant, bias_forgotten, wrong_perm, slope_of_any_sign, exponential_of_sum, logarithm_undone,
    strict_for_not_strict, order_of_parts, shift_through_relu, mean_for_sum, sign_through_maximum,
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=lambda r: r.name)
def test_a_planted_mistake_is_refuted(wrong: Rule) -> None:
    proof = prove(wrong)
    assert proof.rung == "refuted" and not proof.proved and proof.claim == "It is wrong."
    point, *model = proof.counterexample.splitlines()
    assert " before and " in point and " after, at {'" in point
    assert wrong.variants[0].calls[-1].op_type in "\n".join(model)


def test_a_mistake_where_no_point_is_drawn_is_found_by_smt() -> None:
    """Nothing is drawn beyond -1000, and the solver does not look at floats: what it finds is run in 50 digits."""
    pytest.importorskip("z3")

    @rule
    def almost_nothing(x):
        yield op.Max(op.Neg(op.Neg(x)), -1000.0)
        yield op.Neg(op.Neg(x))

    drawn = [s for mine in specimens(almost_nothing) for s in mine]
    assert drawn and all(refute(sides_of(s)) is None for s in drawn if s.feeds["x"].dtype != np.float16)
    proof = prove(almost_nothing)
    assert proof.rung == "refuted" and "-1000.0 before" in proof.counterexample


# ------------------------------------------------------------------------------------------------------------- true rules
@rule
def shifted_softmax(x):
    """Exponentials of sums are products."""
    yield op.Exp(x - 1.5) / op.ReduceSum(op.Exp(x - 1.5), axes=[-1])
    yield op.Exp(x) / op.ReduceSum(op.Exp(x), axes=[-1])


@rule
def pattern_of_bounds(x, y):
    yield op.Max(x, op.Max(y, x))
    yield op.Max(y, x)


@rule
def choice_in_a_choice(x, y):
    """Neither side is written as the other would be."""
    yield op.Where(op.Less(x, y), op.Max(x, y), op.Min(x, y)) - x
    yield op.Where(op.Less(x, y), y, y) - x


@rule
def nothing_known(x):
    """True by a law of the sine that nobody has told."""
    yield op.Sin(-x)
    yield -op.Sin(x)


@rule
def double_angle(x):
    yield 2.0 * (op.Sin(x) * op.Cos(x))
    yield op.Sin(x * 2.0)


@rule
def never(x):
    yield op.Relu(op.Relu(x))
    return "no"
    yield x


TRUE = [
    (RULES["transpose_transpose"], "structural"), (RULES["convolution_zero_bias"], "structural"), (RULES["dim_of_input"], "structural"),
    (RULES["negate_difference"], "structural"), (RULES["batch_norm_of_convolution"], "normal form"), (RULES["mish"], "normal form"),
    (RULES["gelu"], "normal form"), (RULES["leaky_relu_of_where"], "normal form"),
    (shifted_softmax, "normal form"), (pattern_of_bounds, "structural"), (nothing_known, "structural"), (double_angle, "tested"),
    (never, "no instance"),
]  # fmt: skip


@pytest.mark.parametrize(("true", "rung"), TRUE, ids=lambda v: getattr(v, "name", v))
def test_true_rules_reach_their_rung(true: Rule, rung: str) -> None:
    proof = prove(true)
    assert proof.rung == rung, proof
    assert proof.proved == (rung not in ("tested", "no instance"))
    if proof.proved:
        assert proof.specimens and all(line.rpartition(": ")[2] in ORDER for line in proof.specimens)
        assert "over the real numbers" in proof.claim and proof.note in proof.claim


@pytest.mark.parametrize("true", [RULES["elu"], RULES["min_relu_to_clip"], choice_in_a_choice], ids=lambda r: r.name)
def test_piecewise_rules_are_proved_by_smt(true: Rule) -> None:
    pytest.importorskip("z3")
    assert prove(true).rung == "smt"


def test_what_a_proof_says() -> None:
    proof = prove(RULES["batch_norm_of_convolution"])
    assert proof.variants == (2, 2) and proof.tolerance > 0 and "folded constants to" in proof.note
    assert any(line.startswith("variant 1: float64[") for line in proof.specimens)
    sizes = prove(RULES["slice_shape"])
    assert sizes.remarks == ("for all sizes, by shape inference",)
    whole = prove(RULES["multiply_integers_by_zero"])
    assert whole.remarks == ("integers without overflow",)
    some = Proof("r", "smt", ("variant 0: float32[2]: structural", "variant 0: float32[3]: smt"), (1, 3))
    assert some.note == "2 models; 1 structural, 1 smt; 1 of 3 variants"


def test_what_is_drawn_depends_on_the_rule_alone() -> None:
    first, second = (specimens(RULES["transpose_transpose"]) for _ in range(2))
    assert [s.model.SerializeToString() for s in first[0]] == [s.model.SerializeToString() for s in second[0]]


def test_specimens_differ() -> None:
    """Of different ranks, with and without optional inputs."""
    (mine, _) = specimens(RULES["batch_norm_of_convolution"])
    best = chosen(mine, 6)
    assert len(best) == 6 < len(mine)
    arity = {len(n.input) for s in best for n in s.model.graph.node if n.op_type == "Conv"}
    assert arity == {2, 3} and len({s.feeds["x"].ndim for s in best if "x" in s.feeds}) > 1


# ---------------------------------------------------------------------------------------------------------------- no lies
SAMPLE = (
    "hard_sigmoid gelu leaky_relu_of_where elu softmax normalization reduce_of_reduce arg_squeeze add_constants multiply_constants "
    "clip_clip min_max_to_clip max_max convolution_plus_shift batch_norm_of_convolution convolution_of_pad product_times_factor "
    "gemm_plus_shift not_less and_true where_not max_pool_of_zero_pad reshape_reshape mul_of_expand slice_slice gather_slice "
    "concat_slices transpose_transpose sub_of_transposes reduce_sum_of_transpose product_of_transposed"
).split()
_OTHERS = {
    "Relu": "Abs", "Max": "Min", "Add": "Sub", "Mul": "Div", "Less": "LessOrEqual", "GreaterOrEqual": "Greater", "And": "Or",
    "Floor": "Ceil", "ReduceSum": "ReduceMean", "ReduceMax": "ReduceMin", "ArgMax": "ArgMin", "LeakyRelu": "Elu",
    "Softmax": "LogSoftmax", "Elu": "Selu", "MaxPool": "AveragePool",
}  # fmt: skip


def mutants(model: ModelProto, rng: random.Random) -> list[ModelProto]:
    """Models with one thing changed: an element of a weight, an attribute, the order of operands, an operator."""
    out: list[ModelProto] = []

    def changed() -> ModelProto:
        out.append(ModelProto())
        out[-1].CopyFrom(model)
        return out[-1]

    for k, w in enumerate(model.graph.initializer):
        array = numpy_helper.to_array(w).copy()
        if array.size and array.dtype.kind in "fiu":
            i = rng.randrange(array.size)
            array.flat[i] = array.flat[i] * 2 + 1
            changed().graph.initializer[k].CopyFrom(numpy_helper.from_array(array, w.name))
    for k, node in enumerate(model.graph.node):
        if len(node.input) > 1 and node.input[0] != node.input[1]:
            inputs = changed().graph.node[k].input
            inputs[0], inputs[1] = node.input[1], node.input[0]
        for j, a in enumerate(node.attribute):
            b = changed().graph.node[k].attribute[j]
            if a.ints:
                b.ints[:] = [*a.ints[1:], a.ints[0]]
            b.f, b.i = a.f * 1.25 + 0.125, (a.i + 1) % 2
        if node.op_type in _OTHERS:
            changed().graph.node[k].op_type = _OTHERS[node.op_type]
    rng.shuffle(out)
    return out[:3]


def proofs_of(sides: Sides) -> list[str]:
    """The rungs that prove two sides equal."""
    found = []
    for name, rung, _ in RUNGS:
        try:
            answer = rung(sides, 1.0)
        except NO_ANSWER:
            continue
        if isinstance(answer, Proved):
            found.append(name)
    return found


def test_no_rung_proves_what_is_refuted() -> None:
    refuted = 0
    for name in SAMPLE:
        specimen = chosen(specimens(RULES[name])[0], 1)[0]
        for mutant in mutants(specimen.rewritten, random.Random(name)):
            sides = sides_of(dataclasses.replace(specimen, rewritten=mutant))
            if sides is not None and refute(sides) is not None:
                refuted += 1
                assert not proofs_of(sides), (name, mutant)
    assert refuted > 25


def sides(before: str, after: str, **feeds: np.ndarray) -> Sides:
    """Two models in ONNX's text form as the sides of a rule."""
    specimen = next(s for mine in specimens(RULES["negate_twice"]) for s in mine)
    made = sides_of(dataclasses.replace(specimen, model=parse(before), rewritten=parse(after), feeds=feeds))
    assert made is not None
    return made


def test_constant_outputs_prove_nothing() -> None:
    """At the sizes that were drawn they agree; that says nothing of others."""
    before, after = (
        "g (float[2,2] x) => (int64[2] s) { y = Transpose(x) s = Shape(y) }",
        "g (float[2,2] x) => (int64[2] s) { s = Shape(x) }",
    )
    assert proofs_of(sides(before, after, x=np.ones((2, 2), np.float32))) == []
    named = [text.replace("[2,2]", "[N,N]") for text in (before, after)]
    assert proofs_of(sides(*named, x=np.ones((2, 2), np.float32))) == ["structural"]
    swapped = [text.replace("[2,2]", "[N,M]") for text in (before, after)]
    assert proofs_of(sides(*swapped, x=np.ones((2, 2), np.float32))) == []


def test_truth_values_of_all_inputs() -> None:
    c, d, x = np.array([True, False]), np.array([True, True]), np.ones(2, np.float32)
    before = "g (bool[2] c, bool[2] d, float[2] x) => (float[2] y) { a = And(c, d) n = Not(a) z = Neg(x) y = Where(n, x, z) }"
    after = "g (bool[2] c, bool[2] d, float[2] x) => (float[2] y) { a = Not(c) b = Not(d) n = OP(a, b) z = Neg(x) y = Where(n, x, z) }"
    pytest.importorskip("z3")
    assert "smt" in proofs_of(sides(before, after.replace("OP", "Or"), c=c, d=d, x=x))
    wrong = sides(before, after.replace("OP", "And"), c=c, d=d, x=x)
    assert proofs_of(wrong) == [] and isinstance(refute(wrong), Counterexample)


def test_integers_are_bounded() -> None:
    """Those that a dtype holds; of unsigned ones it is known that they are not negative."""
    text = "g (int8[2] x) => (int8[2] y) <int8 low = {LOW}> { n = Identity(x) y = Max(n, low) }"
    after = "g (int8[2] x) => (int8[2] y) { y = Identity(x) }"
    x = np.array([1, 2], np.int8)
    pytest.importorskip("z3")
    assert proofs_of(sides(text.replace("LOW", "-128"), after, x=x)) == ["smt"]
    assert proofs_of(sides(text.replace("LOW", "-127"), after, x=x)) == []
    unsigned = [t.replace("int8", "uint8") for t in (text, after)]
    assert "structural" in proofs_of(sides(unsigned[0].replace("LOW", "0"), unsigned[1], x=x.astype(np.uint8)))
    assert proofs_of(sides(unsigned[0].replace("LOW", "1"), unsigned[1], x=x.astype(np.uint8))) == []


def test_finite_field() -> None:
    a, b, c = (np.ones((2, 2), np.float32) for _ in range(3))
    product = (
        "g (float[2,2] a, float[2,2] b, float[2,2] c) => (float[2,2] y) {{ p = MatMul({}) q = MatMul({}) y = Sin(q) }}"
    )
    made = sides(product.format("a, b", "p, c"), product.format("b, c", "a, p"), a=a, b=b, c=c)
    assert isinstance(finite_field(made, 1), Proved)
    assert finite_field(sides(product.format("a, b", "p, c"), product.format("b, c", "p, a"), a=a, b=b, c=c), 1) is None


# ------------------------------------------------------------------------------------------------------------ normal form
def equal(left: Callable[..., Any], right: Callable[..., Any], tolerance: float = 0.0) -> bool:
    """Whether two formulas in a and b (and the functions of the back end) have one normal form."""
    table = Table(tolerance)
    f = normal.normal_forms(table).algebra.functions
    a, b = table.symbol("a"), table.symbol("b")
    found = table.same(left(f, a, b), right(f, a, b))
    again = table.same(right(f, a, b), left(f, a, b))
    assert found == again
    return found


LAWS: list[tuple[str, Callable[..., Any], Callable[..., Any], Callable[..., Any]]] = [
    ("products", lambda f, a, b: (a + b) * (a - b), lambda f, a, b: a * a - b * b, lambda f, a, b: a * a + b * b),
    ("quotients", lambda f, a, b: 1 / (1 / a + 1 / b), lambda f, a, b: a * b / (a + b), lambda f, a, b: a * b / (a - b)),
    ("exp of a sum", lambda f, a, b: f["exp"](a + b) / f["exp"](b), lambda f, a, b: f["exp"](a), lambda f, a, b: f["exp"](b)),
    ("exp of a half", lambda f, a, b: f["exp"](a / 2) ** 2, lambda f, a, b: f["exp"](a), lambda f, a, b: f["exp"](a) ** 2),
    ("exp of a quotient", lambda f, a, b: f["exp"](a / (a + b)) * f["exp"](-a / (a + b)), lambda f, a, b: a / a, lambda f, a, b: a),
    ("exp of log", lambda f, a, b: f["exp"](2 * f["log"](1 + f["exp"](a))), lambda f, a, b: (1 + f["exp"](a)) ** 2, lambda f, a, b: 1 + f["exp"](a)),
    ("log of a product", lambda f, a, b: f["log"](2 * f["exp"](a) + 2 * f["exp"](a + b)), lambda f, a, b: a + f["log"](2 + 2 * f["exp"](b)), lambda f, a, b: a + f["log"](2 + f["exp"](b))),
    ("log of a quotient", lambda f, a, b: f["log"](f["exp"](a) / (1 + f["exp"](b))), lambda f, a, b: a - f["log"](1 + f["exp"](b)), lambda f, a, b: a + f["log"](1 + f["exp"](b))),
    ("tanh", lambda f, a, b: f["tanh"](f["log"](1 + f["exp"](a))), lambda f, a, b: 1 - 2 / ((1 + f["exp"](a)) ** 2 + 1), lambda f, a, b: 1 - 1 / ((1 + f["exp"](a)) ** 2 + 1)),
    ("roots", lambda f, a, b: a / f["sqrt"](a * a + 1), lambda f, a, b: a * f["sqrt"](1 + a * a) / (a * a + 1), lambda f, a, b: a * f["sqrt"](1 + a * a)),
    ("powers", lambda f, a, b: f["power"](a, f["sqrt"](b) * 0 + 3), lambda f, a, b: a * a * a, lambda f, a, b: a * a),
    ("root of a quotient", lambda f, a, b: f["sqrt"](a / b) ** 2, lambda f, a, b: a / b, lambda f, a, b: b / a),
    ("maximum", lambda f, a, b: f["maximum"](a, b) + f["minimum"](a, b), lambda f, a, b: a + b, lambda f, a, b: a - b),
    ("order", lambda f, a, b: f["maximum"](a, b), lambda f, a, b: f["maximum"](b, a), lambda f, a, b: f["minimum"](b, a)),
    ("leaky", lambda f, a, b: f["maximum"](a, a / 4), lambda f, a, b: f["choose"](f["greater"](a, 0 * b), a, a / 4), lambda f, a, b: f["choose"](f["less"](a, 0 * b), a, a / 4)),
    ("scale", lambda f, a, b: f["maximum"](3 * a, 3 * b), lambda f, a, b: 3 * f["maximum"](a, b), lambda f, a, b: 3 * f["minimum"](a, b)),
    ("negative scale", lambda f, a, b: f["maximum"](-3 * a, -3 * b), lambda f, a, b: -3 * f["minimum"](a, b), lambda f, a, b: -3 * f["maximum"](a, b)),
    ("absolute", lambda f, a, b: f["abs"](a - b), lambda f, a, b: f["maximum"](a - b, b - a), lambda f, a, b: a - b),
    ("square of the positive part", lambda f, a, b: f["maximum"](a, 0 * b) ** 2, lambda f, a, b: f["maximum"](a, 0 * b) * a, lambda f, a, b: a * a),
    ("sign", lambda f, a, b: f["sign"](a) * f["maximum"](a, 0 * b), lambda f, a, b: f["maximum"](a, 0 * b), lambda f, a, b: f["abs"](a)),
    ("positive", lambda f, a, b: f["maximum"](1 / (1 + f["exp"](a)), 0 * b), lambda f, a, b: 1 / (1 + f["exp"](a)), lambda f, a, b: 1 / (1 + f["exp"](b))),
    ("a fraction", lambda f, a, b: f["minimum"](1 / (1 + f["exp"](a)), 0 * b + 1), lambda f, a, b: 1 / (1 + f["exp"](a)), lambda f, a, b: f["minimum"](1 + f["exp"](a), 0 * b + 1)),
    ("a variance", lambda f, a, b: f["maximum"](2 * (a * a + b * b) - (a + b) ** 2, 0 * b), lambda f, a, b: (a - b) ** 2, lambda f, a, b: (a + b) ** 2),
    ("rounding", lambda f, a, b: f["floor"](f["ceil"](a)), lambda f, a, b: f["ceil"](a), lambda f, a, b: f["floor"](a)),
    ("choices", lambda f, a, b: f["choose"](f["logical_not"](f["less"](a, b)), a * b, b), lambda f, a, b: f["choose"](f["less"](a, b), b, a * b), lambda f, a, b: f["choose"](f["less"](a, b), a * b, b)),
    ("strictness", lambda f, a, b: f["choose"](f["less"](a, b), a * b, b), lambda f, a, b: f["choose"](f["greater"](b, a), a * b, b), lambda f, a, b: f["choose"](f["less_equal"](a, b), a * b, b)),
    ("functions", lambda f, a, b: f["erf"]((a + b) ** 2), lambda f, a, b: f["erf"](a * a + 2 * a * b + b * b), lambda f, a, b: f["erf"](a * a + b * b)),
]  # fmt: skip


@pytest.mark.parametrize("tolerance", [0.0, 1e-6])
@pytest.mark.parametrize(("left", "right", "wrong"), [law[1:] for law in LAWS], ids=[law[0] for law in LAWS])
def test_laws_of_the_normal_form(left: Any, right: Any, wrong: Any, tolerance: float) -> None:
    """What is equal has no difference left, with exact coefficients and with rounded ones; what is not, has one."""
    assert equal(left, right, tolerance) and not equal(left, wrong, tolerance)


def test_rounded_coefficients() -> None:
    """One part in a million is rounding, also inside of functions; but nothing small is forgotten beside something large."""
    third = 0.33333334
    assert not equal(lambda f, a, b: a * third, lambda f, a, b: a / 3)
    assert equal(lambda f, a, b: a * third, lambda f, a, b: a / 3, 1e-6)
    assert equal(lambda f, a, b: f["erf"](f["exp"](a * third)), lambda f, a, b: f["erf"](f["exp"](a / 3)), 1e-6)
    assert not equal(lambda f, a, b: a / 3, lambda f, a, b: a * 0.33334, 1e-6)
    assert not equal(lambda f, a, b: f["sqrt"](a * a + 1e-7), lambda f, a, b: f["sqrt"](a * a), 1e-6)
    assert not equal(lambda f, a, b: 1e6 * a + 1e-3 * b, lambda f, a, b: 1e6 * a, 1e-6)
    assert equal(lambda f, a, b: (a + 0.1) - 0.1, lambda f, a, b: a, 1e-12)


def test_what_has_no_normal_form() -> None:
    table = Table()
    f = normal.normal_forms(table).algebra.functions
    a, b = table.symbol("a"), table.symbol("b")
    with pytest.raises(NotExact, match="division by zero"):
        a / (b - b)
    with pytest.raises(NotExact, match="logarithm of zero"):
        f["log"](a - a)
    with pytest.raises(NotExact, match="equality that is not known"):
        f["equal"](a, b)
    assert f["equal"](a + b, b + a) is True and f["equal"](a, a + 1) is False
    assert f["less"](a, a + 1) is True and f["less"](f["exp"](a), b - b) is False
    with pytest.raises(NotExact, match="and of truth values"):
        f["less"](a, b) & f["less"](b, a * a)
    less = f["less"](a, b)
    assert (
        (less & True) == less
        and (False | less) == less
        and (less & False) is False
        and (less ^ True) == f["greater_equal"](a, b)
    )
    assert f["maximum"](normal.Infinite(-1), a) is a and table.same(f["minimum"](a, normal.Infinite(1)), a)
    assert isinstance(a + 1, Form) and "a^2" in str(a * a / (b + 1)) and str(a - a) == "0"


def test_time_is_limited() -> None:
    table = Table(deadline=0.0)
    with pytest.raises(TimeIsUp):
        (table.symbol("a") + table.symbol("b") + table.symbol("c") + 1) ** 12
    x = terms().lift(np.ones(3))
    assert terms().maximum(x, x).shape == (3,)
    with pytest.raises(TimeIsUp):
        terms(0.0).maximum(x, x)


# ------------------------------------------------------------------------------------------------------------------- smt
def test_smt_needs_z3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the ladder has one rung less."""
    monkeypatch.setitem(__import__("sys").modules, "z3", None)
    with pytest.raises(MissingDependencyError, match=r"graphopt\[proof\]"):
        smt.solver_module()
    assert prove(RULES["min_relu_to_clip"]).rung == "tested"
    assert prove(RULES["transpose_nothing"]).rung == "structural"


@pytest.mark.parametrize(
    ("left", "right", "different"),
    [
        (lambda f, a, b: f["maximum"](a, b), lambda f, a, b: f["choose"](f["less"](a, b), b, a), False),
        (lambda f, a, b: f["maximum"](a, b), lambda f, a, b: f["choose"](f["less"](a, b), a, b), True),
        (
            lambda f, a, b: f["exp"](f["minimum"](a, a - a)),
            lambda f, a, b: f["choose"](f["greater"](a, a - a), f["exp"](a - a), f["exp"](a)),
            False,
        ),
        (lambda f, a, b: f["maximum"](f["exp"](a), a - a), lambda f, a, b: f["exp"](a), False),
        (
            lambda f, a, b: f["maximum"](f["log"](1 + f["exp"](a)), a - a),
            lambda f, a, b: f["log"](1 + f["exp"](a)),
            False,
        ),
        (lambda f, a, b: f["sqrt"](a * a + 1) ** 2, lambda f, a, b: a * a + 1, False),
        (lambda f, a, b: f["equal"](a, b), lambda f, a, b: f["logical_not"](f["equal"](a, b)), True),
        (lambda f, a, b: f["less"](a, b) & True, lambda f, a, b: f["greater"](b, a) | False, False),
        (lambda f, a, b: f["less"](a, b) ^ True, lambda f, a, b: f["greater_equal"](a, b), False),
    ],
)
def test_facts_for_smt(left: Any, right: Any, different: bool) -> None:
    pytest.importorskip("z3")
    formulas = smt.Formulas()
    a, b = formulas.symbol("a"), formulas.symbol("b")
    f = formulas.backend.algebra.functions
    found = formulas.differ([(left(f, a, b), right(f, a, b))], [], 0.0, 10)
    assert (found is not None and found is not False) if different else found is None


def test_irrational_counterexamples() -> None:
    pytest.importorskip("z3")
    formulas = smt.Formulas()
    a = formulas.symbol("a")
    found = formulas.differ([(a, a + 1)], [a * a == 2, a > 0], 0.0, 10)
    assert abs(float(formulas.value(found, a)) ** 2 - 2) < 1e-15


# ------------------------------------------------------------------------------------------------------------ the record
REGENERATE = "the recorded proofs are out of date: python -m benchmarks.proofs --outdated --write"
CHEAP = "transpose_transpose negate_twice mish clip_of_relu reshape_reshape convolution_zero_bias softmax".split()


def test_every_rule_is_recorded() -> None:
    entries = proofs()
    assert not (stale := outdated(entries, RULES)), f"{REGENERATE}\n{', '.join(stale)}"
    rungs = [e["rung"] for e in entries.values()]
    assert set(rungs) <= set(ORDER) and "refuted" not in rungs
    assert sum(ORDER.index(r) > ORDER.index("tested") for r in rungs) >= 0.75 * len(rungs)


@pytest.mark.parametrize("name", CHEAP)
def test_recorded_rungs_are_still_reached(name: str) -> None:
    assert prove(RULES[name]).rung == proofs()[name]["rung"], REGENERATE


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    rules = {name: RULES[name] for name in CHEAP[:2]}
    path = write(catalogue(rules.values()), rules, tmp_path / "proofs.json")
    entries = json.loads(path.read_text())
    assert entries.keys() == rules.keys() and len(path.read_text().splitlines()) == 4
    assert outdated(entries, rules) == []
    other = {CHEAP[0]: RULES[CHEAP[0]], "mish": RULES["mish"]}
    assert outdated(entries, other) == ["mish", CHEAP[1]]
    write(catalogue([RULES["mish"]]), other, path)
    assert (again := json.loads(path.read_text())).keys() == other.keys() and again[CHEAP[0]] == entries[CHEAP[0]]


def busy(seconds: float) -> None:
    """Computes for so long; what is raised in the first 0.3 s is caught, as libraries do."""
    started = time.monotonic()
    while time.monotonic() < started + seconds:
        try:
            while time.monotonic() < started + seconds:
                pass
        except TimeIsUp:
            if time.monotonic() > started + 0.3:
                raise


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no timers")
def test_what_does_not_look_at_the_clock_is_ended() -> None:
    with pytest.raises(TimeIsUp), alarm(0.05):
        busy(20)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def helper(k: Any) -> Any:
    return k * FACTOR


FACTOR = 2.0


def made(factor: float) -> Rule:
    @rule
    def with_helper(x, k: Const):
        yield x * k + factor
        yield helper(x)

    return with_helper


def test_the_hash_tells_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the body, of what it closes over, and of what the functions that it calls read."""
    first = source_hash(made(1.0))
    assert source_hash(made(1.0)) == first != source_hash(made(2.0))
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert source_hash(made(1.0)) != first
    assert len({source_hash(r) for r in RULES.values()}) == len(RULES)
