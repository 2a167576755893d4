"""The outline of a pattern: which operators and constants are where. It can be held against a node at once, while the function
that matches has to be compiled first; most patterns fit no node of a model."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from math import isfinite
from typing import Any

from graphopt.ir import COMMUTATIVE_OPS, Node, Value, any_number
from graphopt.rewrite.rule import Rule, Variant
from graphopt.rewrite.terms import Alternatives, Call, Output, Rest, Var

#: Stands for "a constant" among the operators that produce a root's inputs.
CONST = "<const>"
#: Operators of which nested calls match as bags, in rules that are not exact, and how many operands a bag has at most.
BAG_OPS = frozenset({"Add", "Mul"})
BAG_LIMIT = 5


#: At least as far from a number of the pattern as any dtype may take a constant for it.
_CLOSE = 0.01


@dataclass(frozen=True, slots=True)
class Fill:
    """Stands for a constant, every element of which is this number."""

    number: float


@dataclass(frozen=True, slots=True)
class Outline:
    """A call: its operator, and what is known of its operands before anything is bound.

    Attributes:
        form: how operands are found: "ordered" by their places, "commuted" in either order, "bag" anywhere below nested calls.
        operands: each with its place: another call, CONST, a number, or constants that are filled with one.
        same: places of operands that are one value.
        inputs: how many there are, None where some may be left out.
        outputs: how many there are; both count for operators that take, or give, any number.
    """

    op: str
    form: str
    operands: tuple[tuple[int, Wanted], ...]
    same: tuple[tuple[int, int], ...] = ()
    inputs: int | None = None
    outputs: int = 1

    def may_match(self, node: Node) -> bool:
        """Whether nothing speaks against a match with `node`, whose operator has been compared already."""
        inputs = node.inputs
        if len(inputs) != self.inputs and self.inputs is not None and any_number(node.op_type, node.domain)[0]:
            return False
        if len(node.outputs) != self.outputs and any_number(node.op_type, node.domain)[1]:
            return False
        if self.form == "bag":
            inputs = list(inputs)
            for v in inputs:
                if v is not None and v.node is not None and v.node.op == self.op and len(inputs) < _MANY:
                    inputs += v.node.inputs
            return len(inputs) >= _MANY or all(any(_may_be(w, v) for v in inputs) for _, w in self.operands)
        for i, j in self.same:
            if i >= len(inputs) or j >= len(inputs) or inputs[i] is not inputs[j]:
                return False
        if all(k < len(inputs) and _may_be(wanted, inputs[k]) for k, wanted in self.operands):
            return True
        return self.form == "commuted" and all(k < 2 and _may_be(wanted, inputs[1 - k]) for k, wanted in self.operands)


#: What is known of an operand.
Wanted = Outline | Fill | str | float
#: Sums and products of more operands are left to the function that matches.
_MANY = 16


def _may_be(wanted: Wanted, v: Value | None) -> bool:
    if v is None:
        return False
    if isinstance(wanted, Outline):
        return v.node is not None and v.node.op == wanted.op and wanted.may_match(v.node)
    if v.const is None or isinstance(wanted, str):
        return v.const is not None
    if isinstance(wanted, Fill):
        return bool(v.const.fill == wanted.number)
    found = v.const.item()
    return isinstance(found, (int, float)) and (found == wanted or abs(found - wanted) <= _CLOSE * abs(wanted))


def outline_of(rule: Rule, variant: Variant) -> Outline:
    """The outline of the pattern below its first root."""
    resolve = variant.walker.resolve

    def outline(call: Call) -> Outline:
        bag = bag_of(call, rule, variant)
        if bag is None and call.op in BAG_OPS and any(_is_call(resolve(a), call.op) for a in call.args):
            return Outline(call.op, "bag", ())  # one where another call of the pattern is known already
        operands: list[tuple[int, Wanted]] = []
        same: list[tuple[int, int]] = []
        places: dict[str, int] = {}
        left_out = False
        for k, a in enumerate(call.args if bag is None else bag):
            a = resolve(a)
            if isinstance(a, Var):
                kind = a.kind
                left_out = left_out or kind.optional
                if kind.role == "const" and not kind.optional:
                    operands.append((k, CONST if kind.fill is None else Fill(kind.fill)))
                if (place := places.setdefault(a.name, k)) != k:
                    same.append((place, k))
            elif isinstance(a, (Call, Output)):
                operands.append((k, outline(call_of(a))))
            elif a is None or isinstance(a, Rest):
                left_out = True
            else:
                operands.append((k, a if isinstance(a, (bool, int, float)) and isfinite(a) else CONST))
        if bag is not None:
            return Outline(call.op, "bag", tuple(operands))
        form = "commuted" if commutes(call) else "ordered"
        return Outline(call.op, form, tuple(operands), tuple(same), None if left_out else len(call.args), call.outputs)

    return outline(call_of(variant.roots[0]))


def needs(rule: Rule, variant: Variant) -> frozenset[str]:
    """Operators, or CONST, that must be among the producers of the inputs of the node that matching starts from."""
    root = call_of(variant.roots[0])
    if root.op in BAG_OPS and bag_of(root, rule, variant) is not None:
        return frozenset({root.op})
    found = set()
    for a in root.args:
        if isinstance(a, Alternatives):
            a = variant.walker.resolve(a)
        if isinstance(a, Var):  # the most frequent ones first: this is done for every rule of an operator
            kind = a.kind
            if kind.role == "const" and not kind.optional:
                found.add(CONST)
        elif isinstance(a, (Call, Output)):
            found.add(call_of(a).op)
        elif a is not None and not isinstance(a, Rest):  # a number
            found.add(CONST)
    return frozenset(found)


def bag_of(call: Call, rule: Rule, variant: Variant, matched: Container[int] = ()) -> list[Any] | None:
    """The operands of a sum or product of three or more, None for anything else. `matched`: calls that have a node already."""
    if call.op not in BAG_OPS or rule.exact or len(call.args) != 2:
        return None
    resolve = variant.walker.resolve
    if not any(_is_call(resolve(a), call.op) for a in call.args):
        return None
    uses = variant.walker.uses
    out: list[Any] = []

    def flatten(c: Call) -> None:
        for a in c.args:
            a = resolve(a)
            if _is_call(a, call.op) and len(a.args) == 2 and uses[id(a)] == 1 and id(a) not in matched:
                flatten(a)
            else:
                out.append(a)

    flatten(call)
    return out if 3 <= len(out) <= BAG_LIMIT else None


def commutes(call: Call) -> bool:
    """Whether both orders of the operands are tried."""
    return (
        call.op in COMMUTATIVE_OPS and len(call.args) == 2 and not isinstance(call.args[-1], Rest) and not call.domain
    )


def call_of(term: Any) -> Call:
    """The call that a term is, or is an output of."""
    call = term.call if isinstance(term, Output) else term
    assert isinstance(call, Call)
    return call


def _is_call(term: Any, op: str) -> bool:
    return isinstance(term, Call) and term.op == op
