"""The rule language and the engine that applies rules."""

from graphopt.rewrite.annotations import (
    Attrs,
    Axis,
    Const,
    Dim,
    Filled,
    Float,
    Floats,
    Int,
    Ints,
    Maybe,
    Perm,
    Str,
    Tensor,
)
from graphopt.rewrite.definition import Definition, function
from graphopt.rewrite.driver import Driver, Handlers, RuleSet
from graphopt.rewrite.ledger import Ledger, LimitReached, NodeRecord, Step
from graphopt.rewrite.rewriter import Rewriter
from graphopt.rewrite.rule import Rule, rule
from graphopt.rewrite.terms import any_of, domain, maybe, op

__all__ = [
    "Attrs", "Axis", "Const", "Definition", "Dim", "Driver", "Filled", "Float", "Floats", "Handlers", "Int", "Ints", "Ledger",
    "LimitReached", "Maybe", "NodeRecord", "Perm", "Rewriter", "Rule", "RuleSet", "Step", "Str", "Tensor", "any_of", "domain",
    "function", "maybe", "op", "rule",
]  # fmt: skip
