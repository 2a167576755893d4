"""A rule as pictures: its left side from the terms of its pattern, its right sides from the source of its body.

The right side of a rule is Python that runs on matched values. What it writes as operators becomes boxes; what it computes
with NumPy, or leaves to a function, is a value with the text of the expression.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphopt.ir.text import shortened
from graphopt.rewrite import Rule
from graphopt.rewrite.equation import show
from graphopt.rewrite.terms import Alternatives, Call, Output, Rest, Var
from graphopt.view.families import family_of
from graphopt.view.picture import Box, Edge, Picture

_INFIX = {ast.Add: "Add", ast.Sub: "Sub", ast.Mult: "Mul", ast.Div: "Div", ast.Pow: "Pow", ast.MatMult: "MatMul"}
_TENSORS = ("tensor", "variadic")
_LEAF = 24  # characters of an expression that are shown
#: Left sides with more spellings than this would not be recognized in a picture of all.
_SPELLINGS = 4


def pictures_of_rule(rule: Rule) -> list[Picture]:
    """The left side, and each right side that the body may write. Of a left side with many spellings the first is drawn."""
    many = len(rule.variants) > _SPELLINGS
    left = _Side(first_only=many)
    for term in rule.left:
        left.root(left.term(term))
    note = f"the first of {len(rule.variants)} spellings" if many else ""
    return [left.picture("this", note), *_right_sides(rule)]


def place_of(rule: Rule) -> str:
    """The module and line that hold a rule, without the folders of this machine."""
    path, _, line = rule.where.rpartition(":")
    module: str = rule.fn.__module__
    file = path.replace("\\", "/").rpartition("/")[2]
    folders = module.split(".")[:-1] if module.startswith("graphopt.") else []
    return f"{'/'.join([*folders, file])}:{line}"


@dataclass
class _Side:
    """One side while its boxes are put together, operands first."""

    boxes: list[Box] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    leaves: dict[str, int] = field(default_factory=dict)
    calls: dict[int, int] = field(default_factory=dict)
    results: int = 0
    first_only: bool = False

    def leaf(self, text: str) -> int:
        if text not in self.leaves:
            self.leaves[text] = self._add(Box(shortened(text, _LEAF), "value", hint=text))
        return self.leaves[text]

    def call(self, op: str, operands: list[int], line: str = "") -> int:
        at = self._add(Box(op.rpartition("::")[2], "node", family_of(op), line, hint=f"{op} {line}".strip()))
        self.edges += [Edge(source, at) for source in dict.fromkeys(operands)]
        return at

    def root(self, at: int) -> None:
        """Let what stands here be the result."""
        self.results += 1
        self.edges.append(
            Edge(at, self._add(Box("result" if self.results == 1 else f"result {self.results}", "value")))
        )

    def term(self, term: Any) -> int:
        """A term of the pattern."""
        if isinstance(term, Output):
            return self.term(term.call)
        if isinstance(term, Alternatives):
            if self.first_only:
                return self.term(term.choices[0])
            key = id(term)
            if key not in self.calls:
                self.calls[key] = self.call("any of", [self.term(c) for c in term.choices])
            return self.calls[key]
        if isinstance(term, Call):
            if id(term) not in self.calls:
                numbers = [show(a) for a in term.args if _is_number(a)]
                operands = [self.term(a) for a in term.args if a is not None and not _is_number(a)]
                attributes = [k if k.startswith("**") else f"{k}={show(v)}" for k, v in term.attrs.items()]
                self.calls[id(term)] = self.call(term.op, operands, ", ".join([*numbers, *attributes]))
            return self.calls[id(term)]
        if isinstance(term, Rest):
            return self.leaf(f"*{term.var.name}")
        return self.leaf(term.name if isinstance(term, Var) else show(term))

    def picture(self, caption: str, note: str = "") -> Picture:
        return Picture(tuple(self.boxes), tuple(self.edges), caption, note)

    def _add(self, box: Box) -> int:
        self.boxes.append(box)
        return len(self.boxes) - 1


def _right_sides(rule: Rule) -> list[Picture]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(rule.fn)))
    except (OSError, TypeError, SyntaxError):
        side = _Side()
        side.root(side.leaf("its source is not there"))
        return [side.picture("that")]
    tensors = {name for name, kind in rule.kinds.items() if kind.role in _TENSORS}
    assigned: dict[str, ast.expr] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in assigned:
                tensors.discard(name)
            assigned[name] = node.value
    yields = sorted((n for n in ast.walk(tree) if isinstance(n, ast.Yield)), key=lambda n: (n.lineno, n.col_offset))
    written = {ast.unparse(y.value): y.value for y in yields[1:] if y.value is not None}
    pictures = []
    for expression in written.values():
        reader = _Reader(_Side(), tensors, assigned)
        for root in expression.elts if isinstance(expression, ast.Tuple) else [expression]:
            if not isinstance(root, ast.Dict):
                reader.side.root(reader.read(root))
        pictures.append(reader.side.picture("that"))
    return pictures


@dataclass
class _Reader:
    """Reads an expression of a right side."""

    side: _Side
    tensors: set[str]
    assigned: Mapping[str, ast.expr]
    named: dict[str, int] = field(default_factory=dict)

    def read(self, node: ast.expr) -> int:
        if isinstance(node, ast.Name) and self.graphical(node) and node.id in self.assigned:
            if node.id not in self.named:
                self.named[node.id] = self.read(self.assigned[node.id])
            return self.named[node.id]
        if not self.graphical(node):
            return self.side.leaf(ast.unparse(node))
        if isinstance(node, ast.Call):
            operands = [self.read(a) for a in node.args if not isinstance(a, ast.Constant)]
            words = [ast.unparse(a) for a in node.args if isinstance(a, ast.Constant) and a.value is not None]
            words += [
                f"{k.arg}={ast.unparse(k.value)}" if k.arg else f"**{ast.unparse(k.value)}" for k in node.keywords
            ]
            return self.side.call(_operator(node) or "", operands, ", ".join(words))
        if isinstance(node, ast.UnaryOp):
            return self.side.call("Neg", [self.read(node.operand)])
        if isinstance(node, ast.BinOp):
            sides = (node.left, node.right)
            operands = [self.read(s) for s in sides if not isinstance(s, ast.Constant)]
            numbers = ", ".join(ast.unparse(s) for s in sides if isinstance(s, ast.Constant))
            return self.side.call(_INFIX[type(node.op)], operands, numbers)
        return self.side.leaf(ast.unparse(node))

    def graphical(self, node: ast.expr) -> bool:
        """Whether an expression gives nodes of the graph, not an array that is computed now."""
        if isinstance(node, ast.Call):
            return _operator(node) is not None
        if isinstance(node, ast.UnaryOp):
            return isinstance(node.op, ast.USub) and self.holds_tensor(node.operand)
        if isinstance(node, ast.BinOp):
            return type(node.op) in _INFIX and (self.holds_tensor(node.left) or self.holds_tensor(node.right))
        if isinstance(node, ast.Name):
            value = self.assigned.get(node.id)
            return (
                value is not None
                and node.id not in self.tensors
                and not _names(value, node.id)
                and self.graphical(value)
            )
        return False

    def holds_tensor(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Name):
            return node.id in self.tensors or self.graphical(node)
        return self.graphical(node)


def _operator(call: ast.Call) -> str | None:
    """The operator that a call writes: `op.Conv(...)`, `domain("a").B(...)`, a function that is spelt like one."""
    f = call.func
    if isinstance(f, ast.Attribute) and f.attr[:1].isupper():
        if isinstance(f.value, ast.Name) and f.value.id not in ("np", "numpy"):
            return f.attr
        if isinstance(f.value, ast.Call) and isinstance(f.value.func, ast.Name) and f.value.func.id == "domain":
            return f.attr
    return f.id if isinstance(f, ast.Name) and f.id[:1].isupper() else None


def _names(node: ast.expr, name: str) -> bool:
    return any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(node))


def _is_number(a: Any) -> bool:
    return isinstance(a, (int, float)) and not isinstance(a, bool)
