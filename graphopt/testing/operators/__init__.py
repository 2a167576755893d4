"""How operators like their operands: for each operator a function that chooses shapes, values and attributes at a site."""

from __future__ import annotations

from graphopt.testing.operators.registry import Operands, known_operators, operands, operands_of
from graphopt.testing.operators.site import Site

__all__ = ["Operands", "Site", "known_operators", "operands", "operands_of"]
