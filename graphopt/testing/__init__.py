"""Property-based tests for rules and models.

    tensors, models     Hypothesis strategies
    check_rule          a rule is its own property test
    assert_equivalent   two models compute the same
    check_gradients     two models have the same gradients
    prove               which form of proof a rule reaches, on small shapes and over the reals

Needs Hypothesis: the extra `graphopt[testing]`.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from graphopt._lazy import lazy
from graphopt.errors import MissingDependencyError

if TYPE_CHECKING:
    from graphopt.testing.checking import RuleCheck, RuleFailure, check_rule
    from graphopt.testing.declarations.instances import Instance, instances
    from graphopt.testing.equivalence import assert_equivalent
    from graphopt.testing.gradients import check_gradients, check_rule_gradients
    from graphopt.testing.operators import operands
    from graphopt.testing.profiles import NIGHTLY, QUICK, Profile
    from graphopt.testing.proof import Proof, prove
    from graphopt.testing.random_models.graphs import Example, models
    from graphopt.testing.values import tensors

if importlib.util.find_spec("hypothesis") is None:
    raise MissingDependencyError("graphopt.testing needs Hypothesis: pip install 'graphopt[testing]'")

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Example": "random_models.graphs",
        "Instance": "declarations.instances",
        "NIGHTLY": "profiles",
        "Profile": "profiles",
        "Proof": "proof",
        "QUICK": "profiles",
        "RuleCheck": "checking",
        "RuleFailure": "checking",
        "assert_equivalent": "equivalence",
        "check_gradients": "gradients",
        "check_rule": "checking",
        "check_rule_gradients": "gradients",
        "instances": "declarations.instances",
        "models": "random_models.graphs",
        "operands": "operators",
        "prove": "proof",
        "tensors": "values",
    },
)


__all__ = [
    "NIGHTLY",
    "QUICK",
    "Example",
    "Instance",
    "Profile",
    "Proof",
    "RuleCheck",
    "RuleFailure",
    "assert_equivalent",
    "check_gradients",
    "check_rule",
    "check_rule_gradients",
    "instances",
    "models",
    "operands",
    "prove",
    "tensors",
]
