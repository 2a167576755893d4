"""Mistakes that can be made in a rule's body: what a node of its syntax tree could say instead."""

from __future__ import annotations

import ast
import builtins
import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphopt.ir import COMMUTATIVE_OPS, newest_schema
from graphopt.rewrite.annotations import Kind

#: What a node could say instead, and what was done to it.
Edit = tuple[str, Any]

#: Functions for which the order of two arguments does not matter.
_SYMMETRIC = frozenset(
    "same_shape same_dims broadcast any_of close gcd maximum minimum add multiply array_equal".split()
)
#: Functions without which an argument is the same number: there is nothing to forget.
_SAME = frozenset("asarray array ascontiguousarray float64 wide leaf isinstance getattr zip enumerate".split())
_UNORDERED = frozenset("isinstance getattr zip range enumerate slice pow".split())
_INFIX = {ast.Sub: "-", ast.Div: "/", ast.MatMult: "@", ast.Pow: "**", ast.FloorDiv: "//", ast.Mod: "%"}
#: Keywords that are permutations.
_PERMUTATIONS = frozenset({"perm"})


@dataclass(frozen=True)
class Place:
    """A node of a rule's body behind its pattern.

    Attributes:
        node: the node.
        parents: those that hold it, innermost first.
        kinds: what the rule's parameters stand for.
        operators: local names that stand for an operator, with its name where it is known.
        functions: names of functions that the rule's module knows.
    """

    node: ast.AST
    parents: tuple[ast.AST, ...]
    kinds: Mapping[str, Kind]
    operators: Mapping[str, str]
    functions: frozenset[str]

    @property
    def guards(self) -> bool:
        """Whether it decides about something."""
        inner = self.node
        for p in self.parents:
            if isinstance(p, (ast.If, ast.IfExp)) and p.test is inner:
                return True
            inner = p
        return False

    @property
    def offered(self) -> bool:
        """Whether it is part of a replacement as it is offered."""
        return any(isinstance(p, ast.Yield) for p in self.parents)

    def operator(self) -> str | None:
        """The operator that a call makes, '' where its name is not known; None where it makes none."""
        call = self.node
        if not isinstance(call, ast.Call):
            return None
        f = call.func
        if isinstance(f, ast.Attribute) and isinstance(f.value, ast.Name) and f.value.id == "op":
            return f.attr
        if isinstance(f, ast.Name):
            return self.operators.get(f.id, None if f.id in self.functions or hasattr(builtins, f.id) else "")
        return "" if isinstance(f, (ast.Subscript, ast.Call)) else None


# --------------------------------------------------------------------------------------------------------------- guards
def drop_guard(p: Place) -> Iterator[Edit]:
    """`if cond: return "why not"` never refuses."""
    node = p.node
    if isinstance(node, ast.If) and len(node.body) == 1 and isinstance(node.body[0], ast.Return) and node.body[0].value:
        if any(isinstance(n, ast.NamedExpr) for n in ast.walk(node.test)):
            kept: Any = ast.Expr(node.test)
            yield f"guard '{text(node.test)}' dropped", [kept, *node.orelse]
        else:
            yield f"guard '{text(node.test)}' dropped", node.orelse or ast.Pass()


def drop_operand(p: Place) -> Iterator[Edit]:
    """`a or b` without a, or without b."""
    node = p.node
    if isinstance(node, ast.BoolOp):
        for k, operand in enumerate(node.values):
            if any(isinstance(n, ast.NamedExpr) for n in ast.walk(operand)):
                continue
            rest = [*node.values[:k], *node.values[k + 1 :]]
            new = rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
            yield f"'{text(operand)}' dropped from '{text(node)}'", new


def negate(p: Place) -> Iterator[Edit]:
    """A condition the other way round."""
    node = p.node
    if isinstance(node, (ast.If, ast.IfExp)):
        new = copy.copy(node)
        inner = node.test
        new.test = inner.operand if isinstance(inner, ast.UnaryOp) and isinstance(inner.op, ast.Not) else _not(inner)
        yield f"'{text(inner)}' negated", new
    if isinstance(node, ast.comprehension) and node.ifs:
        comprehension = copy.copy(node)
        comprehension.ifs = [_not(node.ifs[0]), *node.ifs[1:]]
        yield f"'{text(node.ifs[0])}' negated", comprehension


def _not(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)


# -------------------------------------------------------------------------------------------------------------- numbers
def change_number(p: Place) -> Iterator[Edit]:
    """Another number: one more, twice as much, of the other sign."""
    node = p.node
    if not isinstance(node, ast.Constant) or isinstance(node.value, (str, bytes)) or node.value is None:
        return
    number = node.value
    if isinstance(number, bool):
        yield f"{number} made {not number} in '{_around(p)}'", ast.Constant(not number)
    elif isinstance(number, (int, float)):
        others = [number + 1]
        if not any(
            isinstance(a, ast.Subscript) for a in p.parents[:2]
        ):  # an index of another sign or twice is no wiser
            others += [*([number * 2] if isinstance(number, float) else []), -number]
        for other in dict.fromkeys(o for o in others if o != number):
            yield f"{number} made {other} in '{_around(p)}'", ast.parse(repr(other), mode="eval").body


def _around(p: Place) -> str:
    """The expression that a number stands in."""
    return text(next((a for a in p.parents if isinstance(a, ast.expr) and not isinstance(a, ast.UnaryOp)), p.node))


def reverse_permutation(p: Place) -> Iterator[Edit]:
    """A permutation back to front."""
    node = p.node
    if isinstance(node, ast.keyword) and node.arg in _PERMUTATIONS:
        yield f"{node.arg}={text(node.value)} reversed", ast.keyword(node.arg, _reversed(node.value))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "compose":
        yield f"'{text(node)}' reversed", _reversed(node)


def _reversed(value: ast.expr) -> ast.expr:
    listed = ast.Call(ast.Name("list", ast.Load()), [value], [])
    return ast.Subscript(listed, ast.Slice(None, None, ast.UnaryOp(ast.USub(), ast.Constant(1))), ast.Load())


# ------------------------------------------------------------------------------------------------------------- operands
def swap(p: Place) -> Iterator[Edit]:
    """Operands in another order, where that is not the same."""
    node = p.node
    if isinstance(node, ast.BinOp) and type(node.op) in _INFIX and not isinstance(node.left, ast.JoinedStr):
        if text(node.left) != text(node.right):
            yield f"operands of '{text(node)}' swapped", ast.BinOp(node.right, node.op, node.left)
    elif isinstance(node, ast.Call) and not _starred(node):
        op_type = p.operator()
        if op_type in COMMUTATIVE_OPS or _called(node) in _SYMMETRIC | _UNORDERED:
            return
        for k in range(len(node.args) - 1):
            a, b = node.args[k : k + 2]
            if text(a) == text(b) or (op_type is None and not _alike(a, b, p.kinds)):
                continue
            new = copy.copy(node)
            new.args = [*node.args[:k], b, a, *node.args[k + 2 :]]
            yield f"{text(a)} and {text(b)} swapped in '{text(node)}'", new


def _alike(a: ast.expr, b: ast.expr, kinds: Mapping[str, Kind]) -> bool:
    """Whether two arguments of a function are likely to be of one type, so that they can be mixed up."""
    if isinstance(a, ast.Name) and isinstance(b, ast.Name):
        first, second = (kinds[n.id].role if n.id in kinds else None for n in (a, b))
        return first == second
    if isinstance(a, ast.Attribute) and isinstance(b, ast.Attribute):
        return a.attr == b.attr
    return type(a) is type(b) and not isinstance(a, ast.Constant)


def drop_optional(p: Place) -> Iterator[Edit]:
    """An operator without an input that it can do without."""
    node, op_type = p.node, p.operator()
    if not isinstance(node, ast.Call) or op_type is None or _starred(node):
        return
    schema = newest_schema(op_type) if op_type else None
    for k, a in enumerate(node.args):
        able = k < len(schema.inputs) and schema.inputs[k].optional if schema is not None else k > 1
        if able and not (isinstance(a, ast.Constant) and a.value is None):
            new = copy.copy(node)
            new.args = [*node.args[:k], ast.Constant(None), *node.args[k + 1 :]]
            yield f"{text(a)} left out of '{text(node)}'", new


def other_variable(p: Place) -> Iterator[Edit]:
    """Another parameter of the same kind."""
    node = p.node
    if not isinstance(node, ast.Name) or not p.offered or p.guards or node.id not in p.kinds:
        return
    names = list(p.kinds)
    at = names.index(node.id)
    same = [n for n in names[at + 1 :] + names[:at] if p.kinds[n].role == p.kinds[node.id].role]
    same = [n for n in same if p.kinds[n].attr == p.kinds[node.id].attr]
    if same:
        yield f"{same[0]} for {node.id} in '{_around(p)}'", ast.Name(same[0], ast.Load())


# ------------------------------------------------------------------------------------------------ attributes, broadcasts
def drop_attribute(p: Place) -> Iterator[Edit]:
    """A call without a keyword, a dictionary without an entry."""
    node = p.node
    if isinstance(node, ast.Call) and _called(node) != "zip":
        schema = newest_schema(p.operator() or "")
        for k, keyword in enumerate(node.keywords):
            if keyword.arg is None and schema is not None and not schema.attributes:
                continue  # there are none to be ignored
            new = copy.copy(node)
            new.keywords = [*node.keywords[:k], *node.keywords[k + 1 :]]
            yield f"{keyword.arg or '**' + text(keyword.value)} left out of '{text(node)}'", new
    elif isinstance(node, ast.Dict):
        for k, (key, value) in enumerate(zip(node.keys, node.values, strict=True)):
            left = ast.Dict([*node.keys[:k], *node.keys[k + 1 :]], [*node.values[:k], *node.values[k + 1 :]])
            yield f"{text(key) if key is not None else '**' + text(value)} left out of '{text(node)}'", left


def forget_call(p: Place) -> Iterator[Edit]:
    """`along(k, axis)` or `k.reshape(shape)` is k as it was."""
    node = p.node
    if not isinstance(node, ast.Call) or p.operator() is not None or p.guards:
        return
    f = node.func
    if isinstance(f, ast.Attribute) and f.attr in ("reshape", "transpose", "astype"):
        module = isinstance(f.value, ast.Name) and f.value.id == "np"
        yield f"'{text(node)}' made '{text(node.args[0] if module else f.value)}'", node.args[0] if module else f.value
    elif isinstance(f, ast.Name) and f.id in p.functions - _SAME and len(node.args) > 1 and not _starred(node):
        yield f"'{text(node)}' made '{text(node.args[0])}'", node.args[0]


def _starred(call: ast.Call) -> bool:
    return any(isinstance(a, ast.Starred) for a in call.args)


def _called(call: ast.Call) -> str:
    return (
        call.func.id
        if isinstance(call.func, ast.Name)
        else call.func.attr
        if isinstance(call.func, ast.Attribute)
        else ""
    )


#: Every kind of mistake, by name.
EDITS: dict[str, Callable[[Place], Iterator[Edit]]] = {
    "guard dropped": drop_guard,
    "operand of a condition dropped": drop_operand,
    "condition negated": negate,
    "number changed": change_number,
    "permutation reversed": reverse_permutation,
    "operands swapped": swap,
    "optional operand left out": drop_optional,
    "other variable": other_variable,
    "attribute ignored": drop_attribute,
    "broadcast forgotten": forget_call,
}


def text(node: ast.AST) -> str:
    """A node's source on one line."""
    return " ".join(ast.unparse(node).split())
