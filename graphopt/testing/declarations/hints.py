"""What a rule's source mentions: numbers and operators that its guard may be asking for.

A guard that wants a factor of 1/6 says so somewhere. What it says is worth a try when an instance is drawn; whether it
was meant that way shows when the rule fires.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import CodeType, FunctionType
from typing import Any

from onnx import TensorProto

from graphopt.ir import newest_schema
from graphopt.rewrite import Rule

#: Worth a try for every rule.
_COMMON = (0.0, 1.0, 2.0, -1.0, 0.5)
_SAME_RANK = re.compile(r"\w\.rank *[!=]= *\w+\.rank")
_INFINITE = frozenset({"inf", "isinf", "isneginf", "isposinf"})
_DEEPEST = 4
_DTYPES = {name: int(code) for name, code in TensorProto.DataType.items() if code}
_CODES = frozenset(_DTYPES.values())
#: A table that has none of these is of something else.
_USUAL = frozenset(_DTYPES[name] for name in "FLOAT FLOAT16 DOUBLE BOOL UINT8 INT32 INT64".split())


@dataclass(frozen=True)
class Hints:
    """What the source of a rule and of the functions that it calls mentions.

    Attributes:
        numbers: those of the rule's own body first, with their reciprocals; then those of functions that it calls, and some
            that are worth a try for every rule.
        own_numbers: how many of them the rule's own body mentions.
        lists: of integers, as permutations and axes.
        operators: all of them.
        own_operators: those that the rule's own body mentions.
        dtypes: those that it asks for by name, or in a table.
        single: it asks for the only element of a constant.
        shapes: it asks for shapes or ranks.
        words: all that its own body mentions.
        nearby: those that functions of the package that it calls mention, too.
        channels: it speaks of channels.
        batches: it, or a function of its module that it calls, speaks of batches; or it wants operands of one rank.
        ranks: those that it compares the rank of a parameter with, by parameter.
        fills: numbers that it compares all elements of a parameter with, by parameter.
        values: what it compares a parameter itself with, by parameter.
        large: it declines where there are few elements.
        alike: attributes that it compares with those of another node, by the names of both.
    """

    numbers: tuple[float, ...]
    own_numbers: int
    lists: tuple[tuple[int, ...], ...]
    operators: frozenset[str]
    own_operators: frozenset[str]
    dtypes: frozenset[int]
    single: bool
    shapes: bool
    words: frozenset[str]
    nearby: frozenset[str]
    channels: bool
    batches: bool
    ranks: Mapping[str, tuple[int, ...]]
    fills: Mapping[str, float]
    values: Mapping[str, tuple[Any, ...]]
    large: bool
    alike: Mapping[str, str]


@cache
def hints_of(rule: Rule) -> Hints:
    """Read a rule's code; nothing is run."""
    operators: set[str] = set()
    own_operators = frozenset(name for name in _names(rule.fn.__code__) if newest_schema(name) is not None)
    own = _numbers([*_in_code(rule.fn.__code__), *map(_contents, rule.fn.__closure__ or ())]) + _bounds(rule.fn)
    mentioned = list(_constants(rule.fn, _DEEPEST, set()))
    for constant in mentioned:
        if isinstance(constant, str):
            operators.update(
                word for word in constant.split() if word.isidentifier() and newest_schema(word) is not None
            )
    lists = [c for c in mentioned if isinstance(c, tuple) and c and all(type(i) is int for i in c)]
    tables = [t for t in lists if len(set(t)) == len(t) and _CODES.issuperset(t) and not _USUAL.isdisjoint(t)]
    dtypes = {i for t in tables for i in t}.union(_DTYPES[c] for c in mentioned if isinstance(c, str) and c in _DTYPES)
    if "measured for float32 only" in mentioned:
        dtypes.add(_DTYPES["FLOAT"])
    infinite = [-math.inf, math.inf]
    near = [rule.fn.__code__, *(f.__code__ for f in _helpers(rule.fn))]
    if any(not _INFINITE.isdisjoint(_names(code)) for code in near):
        own += infinite
    elif _INFINITE.isdisjoint(c for c in mentioned if isinstance(c, str)):
        infinite = []
    single = "item" in _constants(rule.fn, 2, set())
    shapes = not {"shape", "rank"}.isdisjoint(_names(rule.fn.__code__))
    numbers = dict.fromkeys([*own, *_COMMON, *infinite, *_numbers(mentioned)])
    words = frozenset(c for c in _in_code(rule.fn.__code__) if isinstance(c, str))
    told = (c for code in near for c in _in_code(code) if isinstance(c, str))
    nearby = frozenset(c for c in mentioned if isinstance(c, str))
    batches = any("batch" in w for w in told) or bool(_SAME_RANK.search(_source(rule.fn)))
    return Hints(
        tuple(numbers), len(own), tuple(dict.fromkeys(lists)), frozenset(operators), own_operators, frozenset(dtypes), single,
        shapes, words, nearby, any("channel" in w for w in (*words, *_names(rule.fn.__code__))), batches, *_asked(rule),
        "few elements" in mentioned, _alike(rule),
    )  # fmt: skip


def _asked(rule: Rule) -> tuple[dict[str, tuple[int, ...]], dict[str, float], dict[str, tuple[Any, ...]]]:
    """What a rule's source says of its parameters: `x.rank == 2`, `x.shape == ()`, `x.ndim or ...`; `np.asarray(c) != -1`."""
    source = "".join(map(_source, (rule.fn, *_helpers(rule.fn))))
    found: dict[str, set[int]] = {}
    for name, rank in re.findall(r"\b(\w+)\.(?:rank|ndim) *[=!]= *(\d)", source):
        found.setdefault(name, set()).add(int(rank))
    for name, options in re.findall(r"\b(\w+)\.rank +(?:not +)?in +(\w+|\([\d, ]+\))", source):
        known = rule.fn.__globals__.get(options, ())
        numbers = known if isinstance(known, tuple) and known else map(int, re.findall(r"\d+", options))
        found.setdefault(name, set()).update(numbers)
    for name in re.findall(r"\b(\w+)\.ndim *(?:or\b|:)", source):
        found.setdefault(name, set()).add(0)
    for name, dims in re.findall(r"\b(\w+)\.shape *[=!]= *\(([^()]*)\)", source):
        found.setdefault(name, set()).add(len([d for d in dims.split(",") if d.strip()]))
    fills = re.findall(r"\basarray\((\w+)\) *[!=]= *(-?[\d.]+)", source)
    ranks = {name: tuple(sorted(some)) for name, some in found.items() if name in rule.kinds}
    values: dict[str, list[Any]] = {}
    for name, value in re.findall(r"(?<![\w.])(\w+) *[=!]= *(-?\d+|\[[-\d, ]+\])(?![\w.])", _source(rule.fn)):
        if name in rule.kinds and rule.kinds[name].role in ("attr", "dim"):
            values.setdefault(name, []).append(ast.literal_eval(value))
    for name, options in re.findall(r"(?<![\w.])(\w+) +not +in +\((None, [-\d, ]+)\)", _source(rule.fn)):
        if name in rule.kinds and rule.kinds[name].role == "attr":
            values.setdefault(name, []).extend(map(int, re.findall(r"-?\d+", options)))
    told = {name: float(number) for name, number in fills if name in rule.kinds}
    return ranks, told, {name: tuple(some) for name, some in values.items()}


def _alike(rule: Rule) -> dict[str, str]:
    """Pairs of all attributes of two nodes that a rule compares: `a != a2`."""
    pairs = re.findall(r"(?<![\w.])(\w+) *[!=]= *(\w+)\b(?![.\[])", _source(rule.fn))
    kinds = {name: kind.role for name, kind in rule.kinds.items()}
    found = [(p, q) for p, q in pairs if kinds.get(p) == kinds.get(q) == "attrs"]
    return {name: other for p, q in found for name, other in ((p, q), (q, p))}


def _bounds(function: Any) -> list[float]:
    """Large numbers that a function's module has names for, and some behind them."""
    named = [function.__globals__.get(name) for name in function.__code__.co_names]
    large = [n for n in named if isinstance(n, float) and 1e4 < abs(n) < math.inf]
    return [m for n in large for m in (n, 10 * n, math.copysign(math.inf, n))]


def _helpers(function: Any) -> list[FunctionType]:
    """Functions of the same module that a function calls: what they name like its parameters are these."""
    found = [function.__globals__.get(name) for name in function.__code__.co_names]
    return [f for f in found if isinstance(f, FunctionType) and f.__module__ == function.__module__]


def _source(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return ""


def _numbers(constants: Iterable[Any]) -> list[float]:
    """The numbers of moderate size among some constants, and their reciprocals."""
    found: dict[float, None] = {}
    for c in constants:
        for n in c if isinstance(c, tuple) else (c,):
            if isinstance(n, (int, float)) and not isinstance(n, bool) and (n == 0 or 1e-6 < abs(n) < 1e4):
                found[float(n)] = None
    return [*found, *(1 / n for n in found if n and 1 / n not in found)]


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
        package = (
            user.__module__.rpartition(".")[0] if user.__module__.startswith("graphopt.patterns") else user.__module__
        )
        if depth and value.__module__.startswith(package.removesuffix(".simplifying").removesuffix(".raising")):
            yield from _constants(value, depth - 1, seen)
    elif isinstance(value, (int, float, str)):
        yield value
    elif isinstance(value, dict) and len(value) < 16:
        yield tuple(value)
    elif isinstance(value, (tuple, list, frozenset)) and len(value) < 16:
        yield from value
        yield tuple(value)


def _in_code(code: CodeType) -> Iterator[Any]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _in_code(constant)
        elif isinstance(constant, (tuple, frozenset)):
            yield from constant
            yield tuple(constant)
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
