"""What a rule's source mentions: numbers and operators that its guard may be asking for.

A guard that wants a factor of 1/6 says so somewhere. What it says is worth a try when an instance is drawn; whether it
was meant that way shows when the rule fires.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import CodeType, FunctionType
from typing import Any

from graphopt.ir import newest_schema
from graphopt.rewrite import Rule

#: Worth a try for every rule.
_COMMON = (1.0, 0.0, 2.0, -1.0, 0.5)
_DEEPEST = 4


@dataclass(frozen=True)
class Hints:
    """What the source of a rule and of the functions that it calls mentions.

    Attributes:
        numbers: in the order of their appearance, with their reciprocals.
        operators: all of them.
        own: the operators that the rule's own body mentions.
    """

    numbers: tuple[float, ...]
    operators: frozenset[str]
    own: frozenset[str]


@cache
def hints_of(rule: Rule) -> Hints:
    """Read a rule's code; nothing is run."""
    numbers: dict[float, None] = {}
    operators: set[str] = set()
    own = frozenset(name for name in _names(rule.fn.__code__) if newest_schema(name) is not None)
    for constant in _constants(rule.fn, _DEEPEST, set()):
        if isinstance(constant, str):
            operators.update(word for word in constant.split() if word.isidentifier() and newest_schema(word) is not None)
        elif isinstance(constant, (int, float)) and not isinstance(constant, bool) and math.isfinite(constant):
            if 1e-6 < abs(constant) < 1e4:
                numbers[float(constant)] = None
    found = list(numbers)
    made = [1 / n for n in found if n not in (0.0, 1.0, -1.0)]
    return Hints(tuple(dict.fromkeys([*_COMMON, *found, *made])), frozenset(operators), own)


def _constants(function: Any, depth: int, seen: set[Any]) -> Iterator[Any]:
    """Constants and operator names that a function mentions, and those of the package's functions that it calls."""
    function = inspect.unwrap(function)
    if not isinstance(function, FunctionType) or function in seen:
        return
    seen.add(function)
    yield from _in_code(function.__code__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        yield from _of_value(_contents(cell), function, depth, seen)
        yield name
    for name in _names(function.__code__):
        yield name
        value = function.__globals__.get(name)
        if value is not None:
            yield from _of_value(value, function, depth, seen)


def _of_value(value: Any, user: FunctionType, depth: int, seen: set[Any]) -> Iterator[Any]:
    if isinstance(value, FunctionType):
        package = user.__module__.rpartition(".")[0] if user.__module__.startswith("graphopt.patterns") else user.__module__
        if depth and value.__module__.startswith(package.removesuffix(".simplifying").removesuffix(".raising")):
            yield from _constants(value, depth - 1, seen)
    elif isinstance(value, (int, float, str)):
        yield value
    elif isinstance(value, (tuple, list, frozenset)) and len(value) < 16:
        yield from value


def _in_code(code: CodeType) -> Iterator[Any]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _in_code(constant)
        elif isinstance(constant, (tuple, frozenset)):
            yield from constant
        else:
            yield constant


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None
