"""Rewrites keep gradients, and a rewrite that does not is found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, parser

import graphopt
from graphopt.demo import demo_model
from graphopt.exec.kernels import kernel
from graphopt.patterns import all_rules
from graphopt.rewrite import domain, op, rule
from graphopt.testing import RuleFailure, check_gradients, check_rule_gradients, models
from graphopt.testing.gradients import GradientCheck, gradient_differences, with_weights_as_inputs
from graphopt.testing.seeds import Seeded

jax = pytest.importorskip("jax")
pytestmark = pytest.mark.usefixtures("compiled_quickly")

#: Some of the package: all were tried with `python -m benchmarks.gradients`.
RULES = [
    "hard_sigmoid",
    "top_1_values",
    "common_factor",
    "gemm_plus_tensor",
]


def model(body: str, inputs: str = "float[4, 3] x", weights: str = "") -> ModelProto:
    head = '<ir_version: 10, opset_import: ["" : 20, "tests.gradients" : 1]>'
    return parser.parse_model(f"{head} g ({inputs}) => (float[4, 3] y) {weights} {{ {body} }}")


FEEDS = {"x": np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)}


# ------------------------------------------------------------------------------------------------------- level 2 keeps them
def test_level_2_keeps_gradients_of_inputs_and_weights() -> None:
    body = """
        m = MatMul(x, w)
        a = Add(m, b)
        half = Constant <value_float = 0.5> ()
        root = Constant <value_float = 1.4142135> ()
        one = Constant <value_float = 1.0> ()
        d = Div(a, root)
        e = Erf(d)
        p = Add(e, one)
        q = Mul(a, p)
        y = Mul(q, half)"""
    original, weights = with_weights_as_inputs(
        model(body, weights="<float[3, 3] w = {1, 2, 3, -1, 0.5, 2, 1, 1, -2}, float[3] b = {0.1, 0.2, 0.3}>")
    )
    assert weights.keys() == {"w", "b"}
    optimised = graphopt.optimize(original, level=2)
    assert optimised.node_count() < original.node_count()
    check = check_gradients(original, optimised, {**FEEDS, **weights})
    assert check.compared == 3


def test_the_demo_model_keeps_its_gradients() -> None:
    original, weights = with_weights_as_inputs(demo_model())
    image = np.random.default_rng(1).standard_normal((1, 3, 64, 64)).astype(np.float32)
    optimised = graphopt.optimize(original, level=2)
    assert optimised.node_count() < original.node_count()
    assert check_gradients(original, optimised, {"image": image, **weights}).compared > 20


def test_level_2_keeps_gradients_of_random_models() -> None:
    draw, check = Seeded(models(nodes=6)), GradientCheck()
    for seed in range(8):
        example = draw(seed)
        if example is not None:
            original, weights = with_weights_as_inputs(example.model)
            feeds = {**example.feeds, **weights}
            optimised = graphopt.optimize(original, level=2)
            assert not gradient_differences(original.proto, optimised.proto, feeds, check, seed), seed
    assert check.compared > 3


@pytest.mark.parametrize("name", RULES)
def test_rules_keep_gradients(name: str) -> None:
    assert check_rule_gradients(all_rules()[name], count=2).compared


# -------------------------------------------------------------------------------------------------------- breaks are found
@pytest.fixture
def stopped(no_new_kernels: None) -> None:
    @kernel("Stopped", domain="tests.gradients")
    def stopped(xp: Any, x: Any) -> Any:
        """The identity, for all but derivatives."""
        return jax.lax.stop_gradient(x)


@pytest.mark.usefixtures("stopped")
def test_a_stopped_gradient_is_found() -> None:
    original = model("s = Sin(x) y = Mul(x, s)")
    candidate = model("s = Sin(x) t = tests.gradients.Stopped(s) y = Mul(x, t)")
    np.testing.assert_array_equal(
        *(graphopt.exec.InferenceSession(m).run(None, FEEDS)[0] for m in (original, candidate))
    )
    with pytest.raises(AssertionError, match="with respect to 'x' it differs by"):
        check_gradients(original, candidate, FEEDS)


def test_a_gradient_that_becomes_nan_is_found() -> None:
    zero = "zero = Constant <value_float = 0.0> () big = Greater(x, zero)"
    original = model(f"{zero} a = Abs(x) r = Sqrt(a) y = Where(big, r, zero)")
    candidate = model(f"{zero} r = Sqrt(x) y = Where(big, r, zero)")
    with pytest.raises(AssertionError, match="'x' it differs by inf"):
        check_gradients(original, candidate, FEEDS)
    check_gradients(candidate, original, FEEDS)  # the other way round it is mended


@pytest.mark.usefixtures("stopped")
def test_a_rule_that_stops_gradients_is_found() -> None:
    @rule
    def loses(x):
        yield op.Tanh(op.Neg(x))
        yield op.Neg(op.Tanh(domain("tests.gradients").Stopped(x)))

    with pytest.raises(RuleFailure, match="gradient"):
        check_rule_gradients(loses)


def test_a_rule_that_says_so_is_not_tried() -> None:
    check = check_rule_gradients(all_rules()["softmax_of_selected"])
    assert not check.compared
    assert list(check.left_out) == ["it says that it does not keep them"]


def test_kinks_do_not_count() -> None:
    """At zero the two sides may choose any slope between the two beside it."""
    original, candidate = model("y = Relu(x)"), model("zero = Constant <value_float = 0.0> () y = Max(zero, x)")
    check_gradients(original, candidate, {"x": np.zeros((4, 3), np.float32)})


def test_nothing_to_compare_is_an_error() -> None:
    m = parser.parse_model('<ir_version: 10, opset_import: ["" : 20]> g (int64[2] x) => (int64[2] y) { y = Neg(x) }')
    with pytest.raises(AssertionError, match="no gradient was compared: no float inputs"):
        check_gradients(m, m, {"x": np.arange(2)})
