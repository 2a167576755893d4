"""The house: which floor imports which, read from the code, held against docs/architecture.md, and drawn.

The list of floors in docs/architecture.md is what is claimed; `imports` is what is true.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"graphopt": "graphopt", "patterns": "graphopt.patterns", "exec": "graphopt.exec"}
_FLOOR = re.compile(r"^ {2}-> (?P<names>\S+(?:, \S+)*) {2,}(?P<about>.+)$")


@dataclass(frozen=True, slots=True)
class Floor:
    """Modules and packages that lie side by side; what they import lies below them, or is one of them."""

    names: tuple[str, ...]
    about: str


@dataclass(frozen=True, slots=True, order=True)
class Import:
    """One module imports another: when it is imported itself, or later, inside a function."""

    importer: str
    imported: str
    later: bool


def floors() -> list[Floor]:
    """The floors that docs/architecture.md lists, the ground floor first. A name with a dot in front is beside the one before."""
    found: list[Floor] = []
    for line in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").splitlines():
        if match := _FLOOR.match(line):
            names: list[str] = []
            for name in match["names"].split(", "):
                names.append(names[-1].rpartition(".")[0] + name if name.startswith(".") else name)
            found.append(Floor(tuple(names), match["about"]))
    return found


def modules() -> dict[str, Path]:
    """Every module of the package and its file."""
    found: dict[str, Path] = {}
    for folder, name in FOLDERS.items():
        for file in sorted((ROOT / folder).rglob("*.py")):
            parts = [name, *file.relative_to(ROOT / folder).with_suffix("").parts]
            found[".".join(parts).removesuffix(".__init__")] = file
    return found


def floor_of(module: str, listed: Sequence[Floor]) -> int | None:
    """The number of the floor that a module is on, by the longest name that holds it; None for the package's front door and for
    what is not listed."""
    fits = [(len(n), i) for i, f in enumerate(listed) for n in f.names if f"{module}.".startswith(f"{n}.")]
    return max(fits)[1] if fits else None


@cache
def imports() -> list[Import]:
    """Every import between the package's own modules; those for type checkers alone do not count."""
    known = modules()
    found = {
        Import(module, name if name in known else name.rpartition(".")[0], later)
        for module, file in known.items()
        for name, later in _imports(ast.parse(file.read_text(encoding="utf-8")), False)
        if name.split(".")[0] == "graphopt"
    }
    return sorted(i for i in found if i.importer != i.imported)


def _imports(node: ast.AST, later: bool) -> Iterator[tuple[str, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ImportFrom) and child.module and not child.level:
            yield from ((f"{child.module}.{a.name}", later) for a in child.names)
        elif isinstance(child, ast.Import):
            yield from ((a.name, later) for a in child.names)
        elif not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from _imports(child, later or inside)


def upward() -> list[Import]:
    """Imports that point up; there should be none but those inside functions."""
    listed = floors()
    found = []
    for i in imports():
        above, below = floor_of(i.imported, listed), floor_of(i.importer, listed)
        if not i.later and above is not None and below is not None and above > below:
            found.append(i)
    return found


def unlisted() -> list[str]:
    """Modules that no floor holds, the front door apart."""
    listed = floors()
    return [m for m in modules() if m != "graphopt" and m != "graphopt.exec" and floor_of(m, listed) is None]


# -------------------------------------------------------------------------------------------------------------- drawing
HEIGHT, WIDTH, LEFT = 40, 560, 10


def drawing() -> str:
    """The floors as SVG, the ground floor at the bottom. Lines on the right lead from who imports to what is imported; those that
    are dotted are followed inside functions alone. A pointer on a floor shows its own."""
    listed = floors()
    top = 46
    middle = [top + HEIGHT * (len(listed) - 1 - i) + HEIGHT / 2 for i in range(len(listed))]
    edges: dict[tuple[int, int], bool] = {}
    for i in imports():
        a, b = floor_of(i.importer, listed), floor_of(i.imported, listed)
        if a is not None and b is not None and a != b:
            edges[a, b] = edges.get((a, b), True) and i.later
    right = LEFT + WIDTH
    reach = max(abs(a - b) for a, b in edges) * 9 + 30
    height, width = top + HEIGHT * len(listed) + 10, right + reach + 10
    parts = [f'<path class="roof" d="M{LEFT - 6} {top - 4}L{LEFT + WIDTH / 2:.0f} 8L{right + 6} {top - 4}Z"/>']
    for i, f in enumerate(listed):
        lines = [
            f'<path class="{"later" if later else "line"}" d="M{right} {middle[a] + 4 * (a > b) - 2:.0f}'
            f'c{abs(a - b) * 9 + 20} 0 {abs(a - b) * 9 + 20} {middle[b] - middle[a]:.0f} 0 {middle[b] - middle[a]:.0f}"/>'
            for (a, b), later in sorted(edges.items())
            if a == i
        ]
        names = [f.names[0].removeprefix("graphopt.")] + [n.rpartition(".")[2] for n in f.names[1:]]
        parts.append(
            f'<g class="floor"><title>{escape(", ".join(f.names))}</title>{"".join(lines)}'
            f'<rect x="{LEFT}" y="{middle[i] - HEIGHT / 2 + 2:.0f}" width="{WIDTH}" height="{HEIGHT - 4}" rx="4"/>'
            f'<text x="{LEFT + 12}" y="{middle[i] - 3:.0f}">{escape(_fitting(", ".join(names), 76))}</text>'
            f'<text class="detail" x="{LEFT + 12}" y="{middle[i] + 11:.0f}">{escape(_fitting(f.about, 96))}</text></g>'
        )
    label = "The floors of the package, and which imports which"
    return f'<svg class="house" role="img" aria-label="{label}" viewBox="0 0 {width} {height}">{"".join(parts)}</svg>'


def _fitting(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"
