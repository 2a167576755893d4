"""Rules as Python functions that match: made of the pattern, specialised, see `Compiled.source`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from graphopt.ir import Node
from graphopt.rewrite.binding import Binding
from graphopt.rewrite.generator import Generator
from graphopt.rewrite.outline import Outline, needs, outline_of
from graphopt.rewrite.rule import Rule, Variant
from graphopt.rewrite.single import single_matcher

#: What a match yields: the parameters' values in order, the nodes of the calls in order (None inside a bag), and the nodes
#: between the operands of bags.
Match = tuple[tuple[Any, ...], tuple[Node | None, ...], tuple[Node, ...]]


#: How far below a change all patterns are tried again at once.
REACH = 3
_ANYWHERE = 1 << 10
#: So many nodes are held against the outline of a pattern before it is compiled all the same.
_PATIENCE = 1024
#: So many nodes are held against a pattern of one call before it is compiled.
_FEW = 64


class Compiled:
    """One variant of one rule. What matches is compiled when it is first of use: most rules never meet their operators.

    Attributes:
        op: operator of the node that matching starts from.
        needs: operators, or CONST, that must be among the producers of that node's inputs.
        size: so many nodes away from the one that matching starts from a change may matter at most.
        match: the bindings of the pattern with a node as root, lazily.
    """

    __slots__ = (
        "_bind",
        "_generator",
        "_outline",
        "_seen",
        "_single",
        "match",
        "needs",
        "op",
        "rule",
        "size",
        "variant",
    )

    def __init__(self, rule: Rule, variant: Variant) -> None:
        self.rule = rule
        self.variant = variant
        self.op = variant.op
        self.needs = needs(rule, variant)
        self.size = len(variant.calls) if len(variant.roots) == 1 else _ANYWHERE
        self._outline: Outline | None = None
        self._seen = 0
        self._single: Callable[[Node], Iterable[Match]] | None = None
        self._generator: Generator | None = None
        self._bind: Binding | None = None
        self.match: Callable[[Node], Iterable[Match]] = self._match

    def _match(self, node: Node) -> Iterable[Match]:
        """What `match` is until a node comes that the outline fits, or some have come that only one call is held against."""
        if self._outline is None:
            self._outline = outline_of(self.rule, self.variant)
            self._single = single_matcher(self.rule, self.variant)
        self._seen += 1
        if self._seen <= _PATIENCE and not self._outline.may_match(node):
            return ()
        if self._single is not None and self._seen <= _FEW:
            return self._single(node)
        self.compile()
        return self.match(node)

    def compile(self) -> Generator:
        """Make the function that matches. Raises RuleError where the pattern is none."""
        if self._generator is None:
            generator = Generator(self.rule, self.variant)
            self.match = generator.matcher()
            self._generator = generator
        return self._generator

    @property
    def bind(self) -> Binding:
        """Tells the calls of another reading's left side what they were matched with; gives the values to be replaced."""
        if self._bind is None:
            calls = self.variant.calls
            matched = {id(calls[0])} if len(calls) == 1 else self.compile().matched
            self._bind = Binding(self.rule, self.variant, matched)
        return self._bind

    @property
    def source(self) -> str:
        """The function that matches, as Python."""
        return self.compile().source


def compile_rule(rule: Rule) -> list[Compiled]:
    """All variants of a rule, in the order in which they are tried, ready to run.

    Raises:
        RuleError: something in the pattern stands where it cannot.
    """
    variants = variants_of(rule)
    for v in variants:
        v.compile()
    return variants


@cache
def variants_of(rule: Rule) -> list[Compiled]:
    """All variants of a rule, in the order in which they are tried; nothing is compiled yet."""
    return [Compiled(rule, v) for v in rule.variants]
