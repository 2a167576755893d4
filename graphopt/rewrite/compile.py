"""Rules as Python functions that match: made of the pattern, specialised, see `Compiled.source`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from graphopt.ir import Node, Value
from graphopt.rewrite.generator import Generator
from graphopt.rewrite.rule import Rule, Variant

#: What a match yields: the parameters' values in order, the nodes of the calls in order (None inside a bag), and the nodes
#: between the operands of bags.
Match = tuple[tuple[Any, ...], tuple[Node | None, ...], tuple[Node, ...]]


class Compiled:
    """One variant of one rule. Its functions are made when they are first asked for: most rules never meet their operators.

    Attributes:
        op: operator of the node that matching starts from.
        needs: operators, or CONST, that must be among the producers of that node's inputs.
    """

    __slots__ = ("_functions", "needs", "op", "rule", "variant")

    def __init__(self, rule: Rule, variant: Variant) -> None:
        self.rule = rule
        self.variant = variant
        self.op = variant.op
        self.needs = Generator(rule, variant).needs()
        self._functions: tuple[Callable[..., Any], Callable[..., Any], str] | None = None

    def compile(self) -> tuple[Callable[..., Any], Callable[..., Any], str]:
        """Make the functions. Raises RuleError where the pattern is none."""
        if self._functions is None:
            self._functions = Generator(self.rule, self.variant).run()
        return self._functions

    @property
    def match(self) -> Callable[[Node], Iterator[Match]]:
        """The bindings of the pattern with this node as root, lazily."""
        return self.compile()[0]

    @property
    def bind(self) -> Callable[[Any, tuple[Node | None, ...]], list[Value | None]]:
        """Tells the calls of another reading's left side what they were matched with; gives the values to be replaced."""
        return self.compile()[1]

    @property
    def source(self) -> str:
        """The functions as Python."""
        return self.compile()[2]


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
