"""Rules that are made of ONNX's function bodies: patterns/raising/functions.py."""

from __future__ import annotations

import ast
from collections import Counter

import onnx
import pytest

from benchmarks import functions
from benchmarks.rule_text import CannotDerive
from graphopt.ir import load
from graphopt.patterns import all_rules
from graphopt.pipeline import optimize
from graphopt.rewrite import Rule
from graphopt.testing import check_rule
from tests.patterns.raising_cases import c, of, one
from tests.patterns.rule_cases import Case, check_fires, check_refuses

BOUNDS = "z = 0; o = 1; k = 0.2; h = 0.5"
SELU = "z = 0; a = 1.67326; g = 1.0507"
SHRINK = "z = 0; l = 0.5; m = -0.5; b = 0.25"
AXES = "int64[1] a = 1"
SCALARS = {"more": ", float l, float h"}
OVER = {"constants": AXES, "opset": 18}
SINGLE = {"reason": "single precision"}
QUANTIZE = (
    "a = ReduceMin<keepdims=0>(x) b = Min(a, z) d = ReduceMax<keepdims=0>(x) e = Max(d, z) f = Sub(e, b) s = Div(f, m) "
    "g = Div(b, s) h = Sub(z, g) i = Clip(h, z, m) j = Round(i) p = Cast<to=2>(j) y = QuantizeLinear(x, s, p)"
)

FIRES = [
    *of("softplus", one("e = Exp(x) f = Add(o, e) y = Log(f)", "o = 1"), one("e = Exp(x) f = Add(e, o) y = Log(f)", "o = 1", opset=8)),
    *of("softsign", one("e = Abs(x) f = Add(o, e) y = Div(x, f)", "o = 1", x="float[N,3]")),
    *of(
        "thresholded_relu",
        one("b = Less(a, x) y = Where(b, x, z)", "a = 0.5; z = 0"),
        one("b = Greater(x, a) y = Where(b, x, z)", "a = 0.5; z = 0", opset=11),
    ),
    *of(
        "shrink",
        one("p = Less(x, m) q = Add(x, b) r = Sub(x, b) s = Less(l, x) t = Where(s, r, z) y = Where(p, q, t)", SHRINK),
        one("p = Less(x, m) q = Add(b, x) r = Sub(x, b) s = Greater(x, l) t = Where(s, r, z) y = Where(p, q, t)", SHRINK),
    ),
    *of(
        "shrink_hard",
        one("p = Less(x, m) q = Add(x, z) s = Less(l, x) t = Where(s, x, z) y = Where(p, q, t)", "z = 0; l = 0.5; m = -0.5"),
    ),
    *of(
        "selu_of_where",
        one("l = Less(x, z) e = Exp(x) f = Mul(a, e) h = Sub(f, a) n = Mul(g, h) p = Mul(g, x) y = Where(l, n, p)", SELU),
    ),
    *of(
        "hard_sigmoid_of_bounds",
        one("p = Mul(x, k) q = Add(p, h) r = Min(q, o) y = Max(r, z)", BOUNDS),
        one("p = Mul(k, x) q = Add(h, p) r = Min(o, q) y = Max(z, r)", BOUNDS, opset=8),
    ),
    *of(
        "prelu",
        one("l = Less(x, z) m = Mul(s, x) y = Where(l, m, x)", "z = 0", more=", float[3] s"),
        one("l = Greater(z, x) m = Mul(x, s) y = Where(l, m, x)", "z = 0; float[2,1] s = 0.25, 0.5"),
    ),
    *of("gelu_of_sum", one("d = Div(x, r) e = Erf(d) s = Sum(o, e) m = Mul(h, x) y = Mul(m, s)", "o = 1; h = 0.5; r = 1.4142135", opset=20)),
    *of(
        "gelu_tanh_of_sum",
        one(
            "p = Pow(x, t) q = Mul(k, p) s = Sum(x, q) u = Mul(r, s) v = Tanh(u) w = Sum(o, v) m = Mul(h, x) y = Mul(m, w)",
            "o = 1; h = 0.5; t = 3; k = 0.044715; r = 0.7978846", opset=20,
        ),
    ),
    *of(
        "clip_of_where",
        one("a = Less(x, l) t = Where(a, l, x) b = Less(h, t) y = Where(b, h, t)", **SCALARS),
        one("t = Clip(x, l) b = Greater(t, h) y = Where(b, h, t)", **SCALARS),
    ),
    *of("clip_below", one("a = Less(x, l) y = Where(a, l, x)", **SCALARS), one("a = Greater(l, x) y = Where(a, l, x)", "l = 0.5")),
    *of("clip_above", one("a = Less(h, x) y = Where(a, h, x)", **SCALARS), one("a = Greater(x, h) y = Where(a, h, x)", "h = 0.5")),
    *of("greater_or_equal", one("a = Greater(x, b) d = Equal(b, x) y = Or(d, a)", y="bool[2,3]", more=", float[3] b")),
    *of("less_or_equal", one("a = Less(x, b) d = Equal(x, b) y = Or(a, d)", y="bool[2,3]", more=", float[3] b")),
    *of(
        "reduce_l1",
        one("a = Abs(x) y = ReduceSum<keepdims=0>(a, n)", "int64[1] n = 1", y="float[2]"),
        one("a = Abs(x) y = ReduceSum<axes=[0]>(a)", y="float[1,3]", opset=11),
    ),
    *of("reduce_l1_over", one("b = Abs(x) y = ReduceSum(b, a)", y="float[2,1]", **OVER)),
    *of(
        "reduce_l2",
        one("a = Mul(x, x) b = ReduceSum(a, n) y = Sqrt(b)", "int64[1] n = 1", y="float[2,1]"),
        one("a = Pow(x, t) b = ReduceSum<axes=[1]>(a) y = Sqrt(b)", "t = 2", y="float[2,1]", opset=11),
        one("b = ReduceSumSquare<axes=[1]>(x) y = Sqrt(b)", y="float[2,1]", opset=11),
    ),
    *of("reduce_l2_over", one("m = Mul(x, x) b = ReduceSum(m, a) y = Sqrt(b)", y="float[2,1]", **OVER)),
    *of("reduce_sum_square", one("a = Mul(x, x) y = ReduceSum<keepdims=0>(a, n)", "int64[1] n = 0", y="float[3]")),
    *of("reduce_sum_square_over", one("m = Mul(x, x) y = ReduceSum(m, a)", y="float[2,1]", **OVER)),
    *of(
        "reduce_log_sum_exp",
        one("e = Exp(x) s = ReduceSum(e, a) y = Log(s)", AXES, y="float[2,1]"),
        one("e = Exp(x) s = ReduceSum<axes=[1]>(e) y = Log(s)", y="float[2,1]", opset=11),
    ),
    *of("reduce_log_sum_exp_over", one("e = Exp(x) s = ReduceSum(e, a) y = Log(s)", y="float[2,1]", **OVER)),
    *of(
        "reduce_log_sum_exp_in_double",
        one("d = Cast<to=11>(x) e = Exp(d) s = ReduceSum(e, a) l = Log(s) y = Cast<to=1>(l)", AXES, y="float[2,1]"),
        one("d = Cast<to=11>(x) l = ReduceLogSumExp<axes=[1]>(d) y = Cast<to=1>(l)", y="float[2,1]"),
    ),
    *of(
        "reduce_log_sum_exp_in_double_over",
        one("d = Cast<to=11>(x) e = Exp(d) s = ReduceSum(e, a) l = Log(s) y = Cast<to=1>(l)", y="float[2,1]", **OVER),
    ),
    *of("reduce_log_sum", one("s = ReduceSum(x, a) y = Log(s)", AXES, y="float[2,1]", low=1.0)),
    *of("reduce_log_sum_over", one("s = ReduceSum(x, a) y = Log(s)", y="float[2,1]", **{**OVER, "low": 1.0})),
    *of(
        "softmax_over_axis",
        one("m = ReduceMax<axes=[0]>(x) d = Sub(x, m) e = Exp(d) s = ReduceSum(e, a) y = Div(e, s)", "int64[1] a = 0"),
    ),
    *of(
        "log_softmax_over_axis",
        one("m = ReduceMax<axes=[0]>(x) d = Sub(x, m) e = Exp(d) s = ReduceSum(e, a) l = Log(s) y = Sub(d, l)", "int64[1] a = 0"),
        one("m = ReduceMax<axes=[0]>(x) d = Sub(x, m) l = ReduceLogSumExp<axes=[0]>(d) y = Sub(d, l)"),
    ),
    *of(
        "dynamic_quantize_linear",
        Case(f"g (float[2,3] x) => (uint8[2,3] y, float s, uint8 p) <float z = {{0.0}}, float m = {{255.0}}> {{ {QUANTIZE} }}", nodes=1),
    ),
]  # fmt: skip

REFUSES = [
    *of("softplus", c("e = Exp(x) f = Add(e, o) y = Log(f)", "o = 1", x="double[2,3]", **SINGLE), c("e = Exp(x) f = Add(e, o) y = Log(f)", "o = 2")),
    *of("softsign", c("e = Abs(x) f = Add(o, e) y = Div(x, f)", "o = 1", x="double[2]", **SINGLE)),
    *of("thresholded_relu", c("b = Less(a, x) y = Where(b, x, z)", "float[3] a = 1, 2, 3; z = 0", **SINGLE)),
    *of(
        "shrink",
        c("p = Less(x, m) q = Add(x, b) r = Sub(x, b) s = Less(l, x) t = Where(s, r, z) y = Where(p, q, t)",
          SHRINK.replace("-0.5", "-0.75"), reason="not -lambd"),
        c("p = Less(x, m) q = Add(x, b) r = Sub(x, b) s = Less(l, x) t = Where(s, r, z) y = Where(p, q, t)", SHRINK,
          x="double[2,3]", **SINGLE),
    ),
    *of(
        "shrink_hard",
        c("p = Less(x, m) q = Add(x, z) s = Less(l, x) t = Where(s, x, z) y = Where(p, q, t)", "z = 0; l = 0.5; m = 0.5",
          reason="not -lambd"),
    ),
    *of(
        "selu_of_where",
        c("l = Less(x, z) e = Exp(x) f = Mul(a, e) h = Sub(f, a) n = Mul(g, h) p = Mul(g, x) y = Where(l, n, p)",
          SELU, x="double[2,3]", **SINGLE),
    ),
    *of("hard_sigmoid_of_bounds", c("p = Mul(x, k) q = Add(p, h) r = Min(q, o) y = Max(r, z)", BOUNDS, x="double[2]", **SINGLE)),
    *of(
        "prelu",
        c("l = Less(x, z) m = Mul(s, x) y = Where(l, m, x)", "z = 0", x="float[3]", y="float[2,3]", more=", float[2,3] s",
          reason="broadcast x up"),
        c("l = Less(x, z) m = Mul(s, x) y = Where(l, m, x)", "z = 0", x="double[3]", more=", double[3] s", **SINGLE),
    ),
    *of("gelu_of_sum", c("d = Div(x, r) e = Erf(d) s = Sum(o, e) m = Mul(h, x) y = Mul(m, s)", "o = 1; h = 0.5; r = 1.4142135", reason="does not exist")),
    *of(
        "gelu_tanh_of_sum",
        c("p = Pow(x, t) q = Mul(k, p) s = Sum(x, q) u = Mul(r, s) v = Tanh(u) w = Sum(o, v) m = Mul(h, x) y = Mul(m, w)",
          "o = 1; h = 0.5; t = 3; k = 0.044715; r = 0.7978846", x="double[2]", opset=20),
    ),
    *of("clip_of_where", c("a = Less(x, l) t = Where(a, l, x) b = Less(h, t) y = Where(b, h, t)", more=", float[3] l, float h", reason="scalar")),
    *of(
        "clip_below",
        c("a = Less(x, l) y = Where(a, l, x)", more=", float[1] l", reason="scalar"),
        c("a = Less(x, l) y = Where(a, l, x)", x="double[2,3]", y="double[2,3]", more=", double l", opset=11, reason="opset 12"),
    ),
    *of("clip_above", c("a = Less(h, x) y = Where(a, h, x)", more=", float[3] h", reason="scalar")),
    *of("greater_or_equal", c("a = Greater(x, b) d = Equal(x, b) y = Or(a, d)", y="bool[3]", x="float[3]", more=", float[3] b", opset=11, reason="does not exist")),
    *of("less_or_equal", c("a = Less(b, x) d = Equal(x, x) y = Or(a, d)", y="bool[2,3]", more=", float[3] b")),
    *of("reduce_l1", c("a = Abs(x) y = ReduceSum(a, n)", "int64[1] n = 1", x="int32[2,3]", y="int32[2,1]", reason="not floats")),
    *of("reduce_l1_over", c("b = Abs(x) y = ReduceSum(b, a)", y="float[2,1]", **{**OVER, "opset": 17}, reason="at this opset")),
    *of("reduce_sum_square", c("m = Mul(x, x) y = ReduceSum(m, n)", "int64[1] n = 1", x="int32[2,3]", y="int32[2,1]", reason="not floats")),
    *of("reduce_sum_square", c("m = Mul(x, b) y = ReduceSum(m, n)", "int64[1] n = 1", y="float[2,1]", more=", float[3] b")),
    *of("reduce_log_sum_exp_in_double", c("d = Cast<to=11>(x) l = ReduceLogSumExp<axes=[1]>(d) y = Cast<to=1>(l)", x="float16[2,3]", y="float[2,1]", reason="float16")),
    *of(
        "softmax_over_axis",
        c("m = ReduceMax<axes=[0,1]>(x) d = Sub(x, m) e = Exp(d) s = ReduceSum(e, a) y = Div(e, s)", "int64[2] a = 0, 1", reason="several axes"),
        c("m = ReduceMax<axes=[0]>(x) d = Sub(x, m) e = Exp(d) s = ReduceSum<axes=[0]>(e) y = Div(e, s)", opset=12, reason="not before opset 13"),
    ),
    *of(
        "log_softmax_over_axis",
        c("m = ReduceMax<axes=[0]>(x) d = Sub(x, m) l = ReduceLogSumExp<axes=[0]>(d) y = Sub(d, l)", opset=12, reason="not before opset 13"),
    ),
]  # fmt: skip


#: Rules that are not in the package, because they save nodes and not time.
SLOWER = {r.name: r for r in functions.rules_of(functions.SLOWER)}


@pytest.fixture(autouse=True)
def with_slower_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.patterns.rule_cases.all_rules", lambda: {**SLOWER, **all_rules()})


@pytest.mark.parametrize(("rule", "case"), FIRES)
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), REFUSES)
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


@pytest.mark.parametrize("rule", SLOWER.values(), ids=str)
def test_slower_rules_hold(rule: Rule) -> None:
    check_rule(rule, on=["reference", "onnxruntime"])


def test_every_rule_has_a_case() -> None:
    rules = {n for n, r in all_rules().items() if r.family == "functions"}
    assert rules == {d.name or functions._snake(d.op) for d in functions.DERIVED}
    assert not rules & SLOWER.keys()
    assert {r for r, _ in FIRES} == rules | SLOWER.keys()


# ------------------------------------------------------------------------------------------------------------ as derived
def test_the_file_is_what_the_bodies_say() -> None:
    if onnx.__version__ != functions.MADE_WITH:
        pytest.skip(f"made with onnx {functions.MADE_WITH}")
    assert ast.dump(ast.parse(functions.OUTPUT.read_text())) == ast.dump(ast.parse(functions.source()))


def test_every_operator_with_a_body_was_looked_at() -> None:
    if onnx.__version__ != functions.MADE_WITH:
        pytest.skip(f"made with onnx {functions.MADE_WITH}")
    derived = {d.op for d in (*functions.DERIVED, *functions.SLOWER)}
    groups = [derived, set(functions.BY_HAND), set(functions.LEFT)]
    assert Counter(op for g in groups for op in g) == Counter(functions.with_bodies())
    assert {n for names in functions.BY_HAND.values() for n in names.split(", ")} <= set(all_rules())


@pytest.mark.parametrize(
    ("derived", "why"),
    [
        (functions.Derived("Range"), "a subgraph"),
        (functions.Derived("SoftmaxCrossEntropyLoss"), "is passed on"),
        (functions.Derived("Conv"), "no function body"),
        (functions.Derived("Bernoulli"), "has no default"),
    ],
)
def test_bodies_that_are_no_pattern(derived: functions.Derived, why: str) -> None:
    with pytest.raises(CannotDerive, match=why):
        functions.derive(derived)


# ------------------------------------------------------------------------------------------------------------- the suite
#: Operators that level 2 restores in every expanded model of the backend suite, and those that it would restore.
RESTORED = frozenset(
    "Celu DynamicQuantizeLinear Elu Gelu GreaterOrEqual HardSigmoid HardSwish LeakyRelu LessOrEqual Mish PRelu RMSNormalization "
    "Relu Selu Shrink Softsign ThresholdedRelu".split()
)
RESTORABLE = frozenset(
    "LogSoftmax ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare Softmax Softplus".split()
)


@pytest.mark.suite
@pytest.mark.parametrize(
    ("rules", "operators", "least"),
    [((), RESTORED, 99), (tuple(SLOWER.values()), RESTORED | RESTORABLE, 150)],
    ids=["level 2", "slower"],
)
def test_expanded_models_are_one_operator_again(rules: tuple[Rule, ...], operators: frozenset[str], least: int) -> None:
    restored: Counter[str] = Counter()
    missed = []
    for case, (operator, *_), _, after in functions.expanded(rules):
        if after == [operator]:
            restored[operator] += 1
        elif operator in operators:
            missed.append((case, after))
    assert not missed
    assert set(restored) >= operators and restored.total() >= least


def test_a_shape_tensor_stays_what_it_is() -> None:
    """Sums of squares of dims are no floats, and no rule makes one of them."""
    text = "g (float[N,M] x) => (int64[1] y) { s = Shape(x) p = Mul(s, s) y = ReduceSum(p) }"
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]>\n{text}')
    assert "ReduceSumSquare" not in {n.op for n in load(optimize(model)).graph}
