"""A rule's body as text: `Relu(Relu(x))  ->  Relu(x)`."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

_INFIX = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/", "Pow": "**", "MatMul": "@"}


def show(term: Any) -> str:
    """A term in the notation of rule bodies."""
    from graphopt.rewrite.terms import Alternatives, Call, Constant, Leaf, Output, Rest, Var

    if isinstance(term, Call):
        if term.op in _INFIX and len(term.args) == 2 and not term.attrs:
            return f"({show(term.args[0])} {_INFIX[term.op]} {show(term.args[1])})"
        if term.op == "Neg":
            return f"-{show(term.args[0])}"
        parts = [show(a) for a in term.args]
        parts += [k if k.startswith("**") else f"{k}={show(v)}" for k, v in term.attrs.items()]
        return f"{term.op}({', '.join(parts)})"
    if isinstance(term, Output):
        return f"{show(term.call)}[{term.index}]"
    if isinstance(term, Alternatives):
        return f"({' | '.join(show(c) for c in term.choices)})"
    if isinstance(term, Rest):
        return f"*{term.var.name}"
    if isinstance(term, Var):
        return term.name
    if isinstance(term, (Leaf, Constant)):
        return term.value.name
    if isinstance(term, float):
        return f"{term:.6g}"
    if isinstance(term, tuple):
        return ", ".join(show(t) for t in term)
    return str(term)


def right_side(fn: Callable[..., Any]) -> str:
    """The yields after the first, as they are written in the source; '...' where there is no source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(fn)))
    except (OSError, TypeError, SyntaxError):
        return "..."
    yields = sorted((n for n in ast.walk(tree) if isinstance(n, ast.Yield)), key=lambda n: (n.lineno, n.col_offset))
    texts = [ast.unparse(y.value).replace("op.", "") for y in yields[1:] if y.value is not None]
    return "  or  ".join(dict.fromkeys(texts)) or "nothing"
