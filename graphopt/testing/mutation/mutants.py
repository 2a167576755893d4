"""From a rule to rules with one mistake each, compiled from its changed syntax tree."""

from __future__ import annotations
import __future__

import ast
import copy
import dataclasses
import hashlib
import inspect
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from graphopt.errors import RuleError
from graphopt.rewrite import Rule, rule
from graphopt.testing.mutation.edits import EDITS, Place

_FLAGS = sum({getattr(__future__, name).compiler_flag for name in __future__.all_feature_names})


@dataclass(frozen=True)
class Mutant:
    """A rule with a mistake.

    Attributes:
        original: the rule as it should be.
        kind: of mistake, one of `EDITS`.
        what: was done, unique among the mutants of a rule.
        line: where, in the file of the rule.
        rule: what came of it.
        tree: its body.
    """

    original: Rule
    kind: str
    what: str
    line: int
    rule: Rule
    tree: ast.FunctionDef

    @property
    def description(self) -> str:
        """What was done, and where."""
        return f"line {self.line}: {self.what}"

    @property
    def source(self) -> str:
        """Its body as text."""
        return ast.unparse(self.tree)

    @property
    def digest(self) -> str:
        """The same for the same mutant of the same rule."""
        told = f"{self.original.name}|{self.original.exact}|{self.original.kinds}|{self.source}"
        return hashlib.sha256(told.encode()).hexdigest()[:20]

    def __str__(self) -> str:
        return f"{self.original.name}, {self.description}"


def mutants_of(original: Rule) -> list[Mutant]:
    """Rules that differ from one rule by one mistake behind its pattern.

    What is no rule, and what compiles to the same as the original or an earlier mutant, is left out.

    Raises:
        OSError: the rule has no source.
    """
    fn: Any = original.fn
    tree = _definition(fn)
    seen = {_essence(_code(tree, fn))}
    found: list[Mutant] = []
    names: Counter[str] = Counter()
    for kind, what, place, new in _edits(tree, original):
        changed = _replaced(tree, place, new)
        code = _code(changed, fn)
        if code is None or (key := _essence(code)) in seen:
            continue
        seen.add(key)
        mutated = _rule(code, original)
        if mutated is None:
            continue
        names[what] += 1
        what += f" ({names[what]})" if names[what] > 1 else ""
        found.append(Mutant(original, kind, what, _line(place.node, tree), mutated, changed))
    return found


def _definition(fn: Any) -> ast.FunctionDef:
    """A function's syntax tree without its decorators, with the lines of its file."""
    lines, first = inspect.getsourcelines(fn)
    module = ast.parse(textwrap.dedent("".join(lines)))
    definition = module.body[0]
    assert isinstance(definition, ast.FunctionDef)
    ast.increment_lineno(module, first - 1)
    definition.decorator_list = []
    return definition


def _edits(tree: ast.FunctionDef, original: Rule) -> Iterator[tuple[str, str, Place, Any]]:
    fn: Any = original.fn
    pattern = next(i for i, s in enumerate(tree.body) if any(isinstance(n, ast.Yield) for n in ast.walk(s)))
    functions = frozenset(n for n, v in fn.__globals__.items() if callable(v))
    cells = zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True)
    operators = {name: made for name, cell in cells if (made := _operator(cell.cell_contents)) is not None}
    for statement in tree.body[pattern + 1 :]:
        for node, parents in _walk(statement, ()):
            place = Place(node, parents, original.kinds, operators, functions)
            for kind, edit in EDITS.items():
                for what, new in edit(place):
                    yield kind, what, place, new


def _walk(node: ast.AST, parents: tuple[ast.AST, ...]) -> Iterator[tuple[ast.AST, tuple[ast.AST, ...]]]:
    yield node, parents
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, (node, *parents))


def _operator(value: Any) -> str | None:
    """The operator that a function makes calls of, None where it is none."""
    if not isinstance(value, FunctionType) or value.__module__ != "graphopt.rewrite.terms":
        return None
    return next(
        (c.cell_contents for c in value.__closure__ or () if isinstance(c.cell_contents, str) and c.cell_contents), ""
    )


def _replaced(tree: ast.FunctionDef, place: Place, new: Any) -> ast.FunctionDef:
    """The tree with another node (or several) in the place of one; what lies on the way to it is copied."""
    old: ast.AST = place.node
    for parent in (*place.parents, tree):
        changed = copy.copy(parent)
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(changed, name, new)
            elif isinstance(value, list) and any(v is old for v in value):
                k = next(k for k, v in enumerate(value) if v is old)
                setattr(changed, name, [*value[:k], *(new if isinstance(new, list) else [new]), *value[k + 1 :]])
        old, new = parent, changed
    assert isinstance(new, ast.FunctionDef)
    return ast.fix_missing_locations(new)


def _code(definition: ast.FunctionDef, fn: Any) -> CodeType | None:
    """The compiled function, its free names being those of `fn`; None where it cannot be."""
    free = list(fn.__code__.co_freevars)
    header = ast.parse(f"def around({', '.join(free)}):\n pass").body[0]
    assert isinstance(header, ast.FunctionDef)
    header.body = [definition]
    module = ast.fix_missing_locations(ast.Module([header], []))
    try:
        code = compile(module, "<mutant>", "exec", fn.__code__.co_flags & _FLAGS, dont_inherit=True)
    except (SyntaxError, ValueError, TypeError):
        return None
    around = next(c for c in code.co_consts if isinstance(c, CodeType))
    return next((c for c in around.co_consts if isinstance(c, CodeType) and c.co_name == definition.name), None)


def _essence(code: Any) -> Any:
    """What code does, lines and names of its own left aside."""
    if isinstance(code, CodeType):
        return code.co_code, code.co_names, code.co_varnames, code.co_freevars, tuple(map(_essence, code.co_consts))
    return type(code), repr(code)


def _rule(code: CodeType, original: Rule) -> Rule | None:
    """The rule that a changed body makes, None where it makes none."""
    fn: Any = original.fn
    cells = dict(zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True))
    made = FunctionType(code, fn.__globals__, fn.__name__, fn.__defaults__, tuple(cells[n] for n in code.co_freevars))
    made.__kwdefaults__, made.__annotations__, made.__doc__ = fn.__kwdefaults__, dict(fn.__annotations__), fn.__doc__
    made.__qualname__, made.__module__ = fn.__qualname__, fn.__module__
    try:
        found = rule(
            exact=original.exact, always=original.always, since=original.since,
            keeps_gradients=original.keeps_gradients,
        )(made)  # fmt: skip
    except RuleError:
        return None
    # As a rule of the package it would only be left out where it fails.
    return dataclasses.replace(found, builtin=False, where=original.where)


def _line(place: ast.AST, tree: ast.AST) -> int:
    inner = (n.lineno for n in ast.walk(place) if hasattr(n, "lineno"))
    return getattr(place, "lineno", None) or min(inner, default=getattr(tree, "lineno", 0))
