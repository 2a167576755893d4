"""check_rule finds what is wrong with a rule, and shows it on a small model."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphopt.rewrite import Const, Rule, op, rule
from graphopt.testing import QUICK, Profile, RuleFailure, check_rule
from graphopt.testing.checking import apply_rule
from graphopt.testing.declarations.instances import Instance, instances
from graphopt.testing.seeds import Seeded
from tests.testing import wrong_rules

WRONG = {name: r for name, r in vars(wrong_rules).items() if isinstance(r, Rule)}
FAST = ["reference", "onnxruntime"]
#: Some mistakes show on few models only, as that of a zero's sign.
THOROUGH = Profile("thorough", fired=300, least=8, attempts=2000)


@pytest.mark.contradicts  # what a wrong rule writes may have another shape than what was there
@pytest.mark.parametrize("name", WRONG)
def test_a_planted_mistake_is_found(name: str) -> None:
    with pytest.raises(RuleFailure) as found:
        check_rule(WRONG[name], THOROUGH, on=["reference"])
    failure = found.value
    assert failure.instance is not None, failure
    onnx.checker.check_model(failure.instance.model)
    assert failure.differences and name in str(failure)


def test_the_example_is_shrunk() -> None:
    """The design's planted mistake: one convolution without a bias, and nothing around it."""
    with pytest.raises(RuleFailure) as found:
        check_rule(wrong_rules.batch_norm_into_conv, on=FAST)
    instance = found.value.instance
    assert instance is not None
    conv, norm = instance.model.graph.node
    assert (conv.op_type, norm.op_type) == ("Conv", "BatchNormalization")
    assert len(conv.input) == 2  # the bias is left out
    assert sum(np.size(a) for a in instance.feeds.values()) <= 16


def test_a_rule_that_never_fires_is_not_tested() -> None:
    @rule
    def never(x):
        yield op.Relu(op.Relu(x))
        return "no"
        yield x

    with pytest.raises(RuleFailure, match="fired 0 times") as found:
        check_rule(never, on=["reference"])
    assert found.value.check.refused["no"] > 100


@pytest.mark.contradicts
def test_a_rule_whose_body_fails_is_wrong() -> None:
    @rule
    def divides(x, c: Const):
        yield x * c
        yield x * (1 / len(c.shape))

    with pytest.raises(RuleFailure, match="ZeroDivisionError"):
        check_rule(divides, on=["reference"])


def test_the_same_models_every_time() -> None:
    right = rule_of_two()
    first, second = (check_rule(right, on=["reference"]) for _ in range(2))
    assert (first.drawn, first.fired, first.refused) == (second.drawn, second.fired, second.refused)
    assert first.fired >= QUICK.fired


def rule_of_two() -> Rule:
    @rule(exact=True)
    def double_negation(x):
        """Twice the other way round."""
        yield op.Neg(op.Neg(x))
        yield x

    return double_negation


def test_instances_are_valid_and_hold_the_left_side() -> None:
    right = rule_of_two()
    draw = Seeded(instances(right))
    seen = [i for i in map(draw, range(40)) if isinstance(i, Instance)]
    for instance in seen:
        onnx.checker.check_model(instance.model, full_check=True)
    assert len(seen) > 30
    assert sum(apply_rule(right, i.model)[0] is not None for i in seen) > 20
    assert len({i.model.graph.input[0].type.tensor_type.elem_type for i in seen if i.model.graph.input}) > 2  # dtypes
    assert any(n.op_type == "If" for i in seen for n in i.model.graph.node)  # decoys
    assert len({i.model.opset_import[0].version for i in seen}) > 2
