"""The table from operators to the functions that choose their operands."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

from graphopt.testing.operators.site import Shape, Site

Chooser = Callable[[Site], None]
Planner = Callable[[Site], Mapping[int, Shape]]


@dataclass(frozen=True)
class Operands:
    """How an operator likes its operands.

    Attributes:
        choose: fills a site: asks for each operand that is not there, and for the parameters.
        ranks: the lowest and highest rank of operands by position; of those not listed, any.
        carries: operands whose rank is the output's.
        dtypes: of operands by position: those for which all runtimes mean the same; of those not listed, what the schema says.
        plan: shapes that would suit operands which other nodes are to make; asked before these are made, and then found in
            `Site.planned`.
    """

    choose: Chooser
    ranks: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    carries: tuple[int, ...] = ()
    dtypes: Mapping[int, frozenset[int]] = field(default_factory=dict)
    plan: Planner | None = None


_TABLE: dict[str, Operands] = {}


def operands(
    *operators: str,
    ranks: Mapping[int, tuple[int, int]] | None = None,
    carries: tuple[int, ...] = (),
    dtypes: Mapping[int, frozenset[int]] | None = None,
    plan: Planner | None = None,
    domain: str = "",
) -> Callable[[Chooser], Chooser]:
    """Register a function for these operators of a domain."""

    def register(function: Chooser) -> Chooser:
        for op in operators:
            key = f"{domain}::{op}" if domain else op
            assert key not in _TABLE, key
            _TABLE[key] = Operands(function, ranks or {}, carries, dtypes or {}, plan)
        return function

    return register


@cache
def _loaded() -> dict[str, Operands]:
    package = importlib.import_module("graphopt.testing.operators")
    for info in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{info.name}")
    return _TABLE


def operands_of(op: str) -> Operands | None:
    """How this operator (with its domain in front unless that is ONNX's own) likes its operands; None: nobody says."""
    return _loaded().get(op)


def known_operators() -> list[str]:
    """The operators that the table knows, by name."""
    return sorted(_loaded())
