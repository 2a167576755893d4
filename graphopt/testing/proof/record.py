"""The rungs that rules reach, recorded beside the rules: what `prove` finds in minutes can be read in no time.

Each entry holds a hash of the rule's source and of what it calls, so that it can be told when it is out of date.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from graphopt.patterns import PROOFS
from graphopt.rewrite import Rule
from graphopt.testing.proof.ladder import Proof

_PACKAGE = "graphopt.patterns"


def write(proofs: Mapping[str, Proof], rules: Mapping[str, Rule], path: Path | None = None) -> Path:
    """Record proofs, one rule a line; the file. What it records of other rules stays.

    Args:
        rules: all rules, by name; no others are left in the file.
        path: of the file; None: the one beside the rules.
    """
    target = path or Path(str(resources.files(_PACKAGE).joinpath(PROOFS)))
    before = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
    entries = {**before, **{n: _entry(p, rules[n]) for n, p in proofs.items()}}
    lines = [f"{json.dumps(n)}: {json.dumps(entries[n])}" for n in sorted(entries) if n in rules]
    target.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return target


def _entry(proof: Proof, rule: Rule) -> dict[str, str]:
    return {"rung": proof.rung, "note": proof.note, "source": source_hash(rule)}


def outdated(entries: Mapping[str, Mapping[str, str]], rules: Mapping[str, Rule]) -> list[str]:
    """The rules that are not recorded, or have another source now; and what is recorded of rules that there are not."""
    changed = [n for n, r in rules.items() if n not in entries or entries[n]["source"] != source_hash(r)]
    return changed + [n for n in entries if n not in rules]


def source_hash(rule: Rule) -> str:
    """A hash of a rule's source, of the functions of the rules' package that it calls, and of the constants that they read."""
    told = hashlib.blake2b(f"{rule.name}: {rule.equation}".encode(), digest_size=8)
    for part in _sources(rule.fn, set()):
        told.update(part.encode())
    return told.hexdigest()


def _sources(function: Any, seen: set[Any]) -> Iterator[str]:
    if function in seen:
        return
    seen.add(function)
    yield "\n".join(line.strip() for line in inspect.getsource(function).splitlines())
    own = function.__globals__
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    read = {name: own[name] for name in sorted(set(_names(function.__code__))) if name in own}
    for name, value in [*read.items(), *((name, cell.cell_contents) for name, cell in cells)]:
        if isinstance(value, FunctionType):
            if value.__module__.startswith(_PACKAGE) or value.__module__ == function.__module__:
                yield from _sources(value, seen)
        elif (text := _constant(value)) is not None:
            yield f"{name} = {text}"


def _names(code: CodeType) -> Iterable[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _constant(value: Any) -> str | None:
    """A constant as text that is the same in every process."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    if isinstance(value, (tuple, list, frozenset, set)):
        items = [_constant(v) or "?" for v in value]
        return str(items if isinstance(value, (tuple, list)) else sorted(items))
    if isinstance(value, dict):
        return str([(_constant(k), _constant(v) or "?") for k, v in value.items()])
    return None
