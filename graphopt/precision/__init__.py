"""Models in another precision, on request: float16, bfloat16, 8-bit and 4-bit weights, and how far they lie from float32."""

from __future__ import annotations

from graphopt.precision.options import KINDS, Precision
from graphopt.precision.report import OutputError, PrecisionReport

__all__ = ["KINDS", "OutputError", "Precision", "PrecisionReport"]
