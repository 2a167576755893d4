"""Short ways to write cases, for rules that restore one operator from several."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.patterns.rule_cases import Case


def c(
    body: str, constants: str = "", x: str = "float[2,3]", y: str | None = None, more: str = "", **options: Any
) -> Case:
    """A model from x to y; `constants` are 'name = values; ...', scalars of x's dtype unless a type stands
    before the name; `more` are further inputs."""
    dtype = x.partition("[")[0]
    given = ", ".join(constant(p.strip(), dtype) for p in constants.split(";") if p.strip())
    return Case(f"g ({x} x{more}) => ({y or x} y) {f'<{given}>' if given else ''} {{ {body} }}", **options)


def constant(text: str, dtype: str) -> str:
    """An initializer in ONNX's text form, which wants the bits of 16-bit floats."""
    left, _, right = (t.strip() for t in text.partition("="))
    left = left if " " in left else f"{dtype} {left}"
    values = right.split(", ")
    if left.startswith("float16"):
        values = [str(np.float16(v).view(np.uint16)) for v in values]
    return f"{left} = {{{', '.join(values)}}}"


def one(body: str, constants: str = "", **options: Any) -> Case:
    """The same, to become a single node."""
    return c(body, constants, nodes=1, **options)


def of(rule: str, *cases: Case) -> list[tuple[str, Case]]:
    """The cases of a rule."""
    return [(rule, case) for case in cases]
