"""Reads a rule's body again, and tells its parameters and the calls of its left side what they were matched with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from typing import Any

from graphopt.ir import Node, Value
from graphopt.rewrite.rule import Rule, Variant, call_body
from graphopt.rewrite.terms import Alternatives, Call, Constant, Leaf, Output

_SELF, _CHOICE, _CALL, _ARGUMENT = range(4)


class Binding:
    """The way through a left side to its calls, the same in every reading: each step leads from a term that was met to another,
    and says which output of which node that stands for (no node: -1).

    Args:
        matched: by id, the calls that stand for one node; those inside bags do not.

    Attributes:
        functions: the definitions of operators on the left side that bring their bodies along.
    """

    __slots__ = ("_results", "_rule", "_seen_as", "_steps", "functions")

    def __init__(self, rule: Rule, variant: Variant, matched: Collection[int]) -> None:
        self.functions = [c.function for c in variant.calls if c.function is not None]
        self._rule = rule
        self._seen_as = [_SEEN_AS.get(kind.role) for kind in rule.kinds.values()]
        self._steps: list[tuple[int, int, int, int, int]] = []
        places = {id(c): k for k, c in enumerate(variant.calls)}
        taken = variant.walker.taken
        met: dict[int, int] = {}
        count = len(rule.left)

        def step(source: int, way: int, index: int, node: int = -1, output: int = 0) -> int:
            self._steps.append((source, way, index, node, output))
            return count + len(self._steps) - 1

        def visit(term: Any, source: int, way: int, index: int) -> int:
            if isinstance(term, Alternatives):
                choice = taken[id(term)]
                return visit(term.choices[choice], step(source, way, index), _CHOICE, choice)
            if isinstance(term, Output):
                at = step(source, way, index, places[id(term.call)], term.index)
                visit(term.call, at, _CALL, 0)
                return at
            if not isinstance(term, Call):
                return -1
            if id(term) in met:
                return met[id(term)]
            at = met[id(term)] = step(source, way, index, places[id(term)] if id(term) in matched else -1)
            for i, a in enumerate(term.args):
                visit(a, at, _ARGUMENT, i)
            return at

        self._results = [visit(term, i, _SELF, 0) for i, term in enumerate(rule.left)]

    def read(self, values: Sequence[Any]) -> Generator[Any, None, str | None]:
        """Start the body. `values`: what the parameters were matched with, in order."""
        seen = [v if see is None else see(v) for v, see in zip(values, self._seen_as, strict=True)]
        return call_body(self._rule.fn, self._rule.kinds, seen)

    def __call__(self, left: Any, nodes: Sequence[Node | None]) -> list[Value | None]:
        """Bind the calls of another reading's left side; the values to be replaced."""
        terms = list(left) if isinstance(left, tuple) else [left]
        for source, way, index, number, output in self._steps:
            term = terms[source]
            if way == _ARGUMENT:
                term = term.args[index]
            elif way == _CHOICE:
                term = term.choices[index]
            elif way == _CALL:
                term = term.call
            terms.append(term)
            if number >= 0:
                node = nodes[number]
                assert node is not None
                term.value = node.outputs[output] if output < len(node.outputs) else None
        return [terms[k].value for k in self._results]


#: By the role of a parameter, what the body sees of what was matched, where that is not the same.
_SEEN_AS: dict[str, Callable[[Any], Any]] = {
    "tensor": lambda v: None if v is None else Leaf(v),
    "const": lambda v: None if v is None else Constant(v),
    "variadic": lambda vs: tuple(map(Leaf, vs)),
    "attrs": lambda attributes: attributes or {},  # None: only another choice of an any_of has it
}
