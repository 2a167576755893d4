"""Both sides of a rule as small graphs, for drawing: the left one from the rule's pattern, the right one from its source.

The right side is read and not run, since what a rule writes depends on what it matched: arithmetic on tensors and calls of operators
become nodes, what the body computes from constants and attributes becomes a leaf that shows the expression.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from graphopt.rewrite import Rule
from graphopt.rewrite.equation import show
from graphopt.rewrite.rule import Walker
from graphopt.rewrite.terms import Call, Output, Rest, Var

_ARITHMETIC = {"Add": "Add", "Sub": "Sub", "Mult": "Mul", "Div": "Div", "Pow": "Pow", "MatMult": "MatMul"}
_LONGEST = 30  # letters of an expression, and of attributes, that are shown


@dataclass(slots=True, eq=False)
class Piece:
    """A node or leaf of a drawing.

    Attributes:
        text: the operator's name, or the leaf's.
        kind: "operator"; "call" of a function that writes operators; "choice" between its inputs, which the guard makes; "tensor",
            "constant" or "computed" for leaves.
        inputs: what it reads, for leaves nothing.
        detail: attributes, or an expression in full where `text` is shortened.
        domain: of an operator.
    """

    text: str
    kind: str
    inputs: list[Piece] = field(default_factory=list)
    detail: str = ""
    domain: str = ""

    @property
    def is_term(self) -> bool:
        """Whether it stands for a tensor of the graph, and not for something that is known when the rule is applied."""
        return self.kind in ("operator", "call", "choice", "tensor")


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a rule.

    Attributes:
        roots: the values that are replaced, or what replaces them.
        forms: how many there are, of which the first is drawn.
    """

    roots: tuple[Piece, ...]
    forms: int

    def pieces(self) -> list[Piece]:
        """All of them, each once, what is read before what reads it."""
        found: dict[int, Piece] = {}
        for root in self.roots:
            _collect(root, found)
        return list(found.values())

    def operators(self) -> list[Piece]:
        """The operators among them."""
        return [p for p in self.pieces() if p.kind == "operator"]


def _collect(piece: Piece, found: dict[int, Piece]) -> None:
    if id(piece) not in found:
        for p in piece.inputs:
            _collect(p, found)
        found[id(piece)] = piece


# ------------------------------------------------------------------------------------------------------------ left side
def left_side(rule: Rule) -> Side:
    """The pattern of a rule, with the first choice made in every alternative."""
    variant = rule.variants[0]
    reading = _Pattern(variant.walker)
    return Side(tuple(reading.piece(r) for r in variant.roots), len(rule.variants))


class _Pattern:
    """Makes pieces of terms; one term gives one piece."""

    def __init__(self, walker: Walker) -> None:
        self._walker = walker
        self._made: dict[Any, Piece] = {}

    def piece(self, term: Any) -> Piece:
        term = self._walker.resolve(term)
        key = term.name if isinstance(term, Var) else id(term)
        if isinstance(term, Output):
            return self.piece(term.call)
        if not isinstance(term, (Call, Rest, Var)):
            return Piece(_short(show(term)), "constant")  # numbers, each where it stands
        if key not in self._made:
            self._made[key] = self._new(term)
        return self._made[key]

    def _new(self, term: Call | Rest | Var) -> Piece:
        if isinstance(term, Rest):
            return Piece(f"{term.var.name}…", "tensor")
        if isinstance(term, Var):
            return Piece(term.name, _kind_of(term.kind))
        attributes = {k: v for k, v in term.attrs.items() if not _is_dict(v)}
        inputs = [self.piece(a) for a in term.args if self._walker.resolve(a) is not None]
        detail = ", ".join(f"{k}={show(v)}" for k, v in attributes.items())
        return Piece(term.op_type, "operator", inputs, detail, term.domain)


def _is_dict(term: Any) -> bool:
    return isinstance(term, Var) and term.kind.role == "attrs"


def _kind_of(kind: Any) -> str:
    return "constant" if kind.role in ("const", "filled") else "tensor" if kind.role == "tensor" else "computed"


# ----------------------------------------------------------------------------------------------------------- right side
def right_side(rule: Rule) -> Side:
    """What a rule writes, as its source says."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(rule.fn)))
    body = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))
    yields = sorted((n for n in ast.walk(body) if isinstance(n, ast.Yield)), key=lambda n: (n.lineno, n.col_offset))
    reading = _Source(rule, body)
    values = [y.value for y in yields[1:] if y.value is not None]
    written = dict.fromkeys(ast.unparse(v) for v in values)
    first = values[0]
    parts = [e for e in first.elts if not isinstance(e, ast.Dict)] if isinstance(first, ast.Tuple) else [first]
    return Side(tuple(reading.piece(p) for p in parts), len(written))


class _Source:
    """Makes pieces of expressions in a rule's body; one name gives one piece."""

    def __init__(self, rule: Rule, body: ast.FunctionDef) -> None:
        self._rule = rule
        self._assigned = dict(_assignments(body))
        self._named: dict[str, Piece] = {}

    def piece(self, e: ast.expr) -> Piece:
        method = getattr(self, f"_{type(e).__name__.lower()}", None)
        return method(e) if method is not None else _computed(e)

    def _name(self, e: ast.Name) -> Piece:
        if e.id not in self._named:
            kind = self._rule.kinds.get(e.id)
            made = Piece(e.id, "computed")
            if kind is not None:
                made = Piece(f"{e.id}…" if kind.role == "variadic" else e.id, _kind_of(kind))
            self._named[e.id] = made  # for what is assigned anew from itself
            if e.id in self._assigned and (found := self.piece(self._assigned[e.id])).is_term:
                self._named[e.id] = found
        return self._named[e.id]

    def _constant(self, e: ast.Constant) -> Piece:
        return Piece(_short(repr(e.value)), "constant")

    def _starred(self, e: ast.Starred) -> Piece:
        return self.piece(e.value)

    def _subscript(self, e: ast.Subscript) -> Piece:
        of = self.piece(e.value)
        if of.kind == "operator":
            return of  # one of its outputs
        return Piece(_short(ast.unparse(e)), "tensor") if of.kind == "tensor" else _computed(e)

    def _unaryop(self, e: ast.UnaryOp) -> Piece:
        operand = self.piece(e.operand)
        return Piece("Neg", "operator", [operand]) if operand.is_term and isinstance(e.op, ast.USub) else _computed(e)

    def _binop(self, e: ast.BinOp) -> Piece:
        operator, sides = _ARITHMETIC.get(type(e.op).__name__), [self.piece(e.left), self.piece(e.right)]
        return Piece(operator, "operator", sides) if operator and any(s.is_term for s in sides) else _computed(e)

    def _ifexp(self, e: ast.IfExp) -> Piece:
        branches = [self.piece(e.body), self.piece(e.orelse)]
        if not any(b.is_term for b in branches):
            return _computed(e)
        return Piece("either", "choice", branches, f"if {ast.unparse(e.test)}")

    def _call(self, e: ast.Call) -> Piece:
        arguments = [a for a in e.args if not (isinstance(a, ast.Constant) and a.value is None)]
        pieces = [self.piece(a) for a in arguments]
        operator = self._operator(e.func)
        if operator is None:
            terms = [p for p in (*pieces, *(self.piece(k.value) for k in e.keywords)) if p.is_term]
            name = _short(ast.unparse(e.func))
            return Piece(name, "call", terms, _short(ast.unparse(e))) if terms else _computed(e)
        attributes = [f"{k.arg}={ast.unparse(k.value)}" for k in e.keywords if k.arg is not None and k.arg != "outputs"]
        return Piece(operator[0], "operator", pieces, ", ".join(attributes), operator[1])

    def _operator(self, function: ast.expr) -> tuple[str, str] | None:
        """Name and domain of the operator that a call writes; None where it calls something else."""
        if isinstance(function, ast.Attribute):
            of = function.value
            if isinstance(of, ast.Name) and of.id == "op":
                return function.attr, ""
            if isinstance(of, ast.Call) and isinstance(of.func, ast.Name) and of.func.id == "domain":
                return function.attr, ast.literal_eval(of.args[0])
        if isinstance(function, ast.Name):
            found = self._surroundings().get(function.id)
            if getattr(found, "__qualname__", "").startswith("_Operators.") and callable(found):
                return found.__name__, ""
        return None

    def _surroundings(self) -> dict[str, Any]:
        """What names mean in the body that are not its own: rules made by a function have the operator from there."""
        return inspect.getclosurevars(self._rule.fn).nonlocals


def _assignments(body: ast.FunctionDef) -> Iterator[tuple[str, ast.expr]]:
    """Names and what they are given; of a name that is given several things, the last."""
    for n in sorted((n for n in ast.walk(body) if isinstance(n, ast.Assign)), key=lambda n: n.lineno):
        for target in n.targets:
            if isinstance(target, ast.Name):
                yield target.id, n.value
            elif isinstance(target, ast.Tuple) and isinstance(n.value, ast.Call):  # a, b = op.Split(x)
                yield from ((t.id, n.value) for t in target.elts if isinstance(t, ast.Name))


def _computed(e: ast.expr) -> Piece:
    text = ast.unparse(e)
    return Piece(_short(text), "computed", detail=text if len(text) > _LONGEST else "")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
