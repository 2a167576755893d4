"""Patterns of one call, which most rules have, are matched as they stand: to compile them takes longer than a model needs them.

What is found is what the function made of the pattern would find, see `graphopt.rewrite.generator`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from graphopt.ir import Node, Value, any_number
from graphopt.rewrite.annotations import Kind
from graphopt.rewrite.matching import attributes, dims_match, is_filled, is_number, operands, orders, same_attribute
from graphopt.rewrite.outline import commutes
from graphopt.rewrite.rule import Rule, Variant
from graphopt.rewrite.terms import Call, Term, Var

#: What a match yields, see `graphopt.rewrite.compile.Match`.
_Found = tuple[tuple[Any, ...], tuple[Node], tuple[()]]
#: What a parameter is that only another choice of the pattern has.
_ABSENT: dict[str, Any] = {"variadic": (), "attrs": {}}


def single_matcher(rule: Rule, variant: Variant) -> Callable[[Node], Iterator[_Found]] | None:
    """The function that matches a pattern of one call with variables and numbers, None for any other pattern."""
    if len(variant.calls) != 1 or len(variant.roots) != 1:
        return None
    call = variant.calls[0]
    args = [variant.walker.resolve(a) for a in call.args]
    named = {k: wanted for k, wanted in call.attrs.items() if not k.startswith("**")}
    others = [wanted for k, wanted in call.attrs.items() if k.startswith("**")]
    if not all(map(_is_plain, args)) or not all(map(_is_attribute, named.values())):
        return None
    if any(not isinstance(o, Var) or o.kind.role != "attrs" for o in others):
        return None
    return _matcher(rule, call, args, named, others)


def _matcher(
    rule: Rule, call: Call, args: list[Any], named: dict[str, Any], others: list[Any]
) -> Callable[[Node], Iterator[_Found]]:
    bare, count, exact = not call.attrs, len(args), rule.exact
    whole = not any(a is None or (isinstance(a, Var) and a.kind.optional) for a in args)
    both_orders = commutes(call)
    outputs = call.outputs if any_number(call.op_type, call.domain)[1] else None
    names = tuple(named)
    kinds = tuple(_kind_of(wanted) for wanted in named.values())
    dims = [(name, kind.dims) for name, kind in rule.kinds.items() if kind.dims is not None]
    letters = [name for name, kind in rule.kinds.items() if kind.role == "dim"]
    parameters = [(name, _ABSENT.get(kind.role)) for name, kind in rule.kinds.items()]

    def match(node: Node) -> Iterator[_Found]:
        if outputs is not None and len(node.outputs) != outputs:
            return
        found = None if bare else attributes(node, count, names, kinds, bool(others))
        if found is None and not bare:
            return
        if both_orders:
            ways: tuple[Any, ...] = orders(node, bare, whole)
        else:
            ways = (operands(node, count, bare, whole),)
        for values in ways:
            bound: dict[str, Any] = {}
            if values is None or not all(_fits(a, v, bound, node, exact) for a, v in zip(args, values, strict=True)):
                continue
            if found is not None and not _same(named, found, bound):
                continue
            for o in others:
                bound[o.name] = found[-1] if found is not None else None
            if dims or letters:
                sizes = dims_match([(bound[name], wanted) for name, wanted in dims if name in bound])
                if sizes is None:
                    continue
                bound.update((name, sizes.get(name)) for name in letters)
            yield tuple(bound.get(name, absent) for name, absent in parameters), (node,), ()

    return match


def _is_plain(arg: Any) -> bool:
    if isinstance(arg, Var):
        return arg.kind.role in ("tensor", "const")
    return arg is None or isinstance(arg, (bool, int, float))


def _is_attribute(wanted: Any) -> bool:
    return wanted.kind.role == "attr" if isinstance(wanted, Var) else not isinstance(wanted, Term)


def _kind_of(wanted: Any) -> str:
    return wanted.kind.attr + ("?" if wanted.kind.optional else "") if isinstance(wanted, Var) else ""


def _fits(arg: Any, v: Value | None, bound: dict[str, Any], node: Node, exact: bool) -> bool:
    """Whether an argument can stand for a value; a variable does from then on."""
    if arg is None:
        return v is None
    if not isinstance(arg, Var):
        return is_number(v, arg, node.inputs, exact)
    if arg.name in bound:
        return bound[arg.name] is v
    kind: Kind = arg.kind
    bound[arg.name] = v
    if kind.fill is not None:
        return is_filled(v, kind.fill)
    if v is None:
        return kind.optional
    return kind.role != "const" or v.const is not None


def _same(named: dict[str, Any], found: list[Any], bound: dict[str, Any]) -> bool:
    """Whether attributes are those that are wanted; a variable stands for the value from then on."""
    for wanted, value in zip(named.values(), found, strict=False):
        if not isinstance(wanted, Var):
            if not same_attribute(value, wanted):
                return False
        elif wanted.name not in bound:
            bound[wanted.name] = value
        elif value != bound[wanted.name]:
            return False
    return True
