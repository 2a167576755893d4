"""graphopt: an optimizer and transformation framework for ONNX graphs."""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from typing import TYPE_CHECKING

from graphopt._lazy import lazy

__version__ = "0.1.0"

_HERE = os.path.dirname(os.path.abspath(__file__))


class _Checkout:
    """In a source checkout patterns/ and exec/ lie beside this folder; an installed package has them inside."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name in ("graphopt.patterns", "graphopt.exec"):
            return PathFinder.find_spec(name, [os.path.dirname(_HERE)])
        return None


if not os.path.isdir(os.path.join(_HERE, "patterns")):
    sys.meta_path.append(_Checkout)

if TYPE_CHECKING:
    from graphopt.bisection import bisect
    from graphopt.difference import diff
    from graphopt.errors import GraphoptError
    from graphopt.ir import Model, load
    from graphopt.pipeline import optimize
    from graphopt.precision import Precision
    from graphopt.report import Report
    from graphopt.rewrite import function, rule
    from graphopt.shapes.annotate import infer_shapes
    from graphopt.shapes.registry import shape_function
    from graphopt.tracing import trace
    from graphopt.verification import verify

#: Public names and where they live; imported when first asked for, so that `import graphopt` costs next to nothing.
__getattr__, __dir__ = lazy(
    __name__,
    {
        "GraphoptError": "errors",
        "Precision": "precision",
        "Report": "report",
        "Model": "ir",
        "bisect": "bisection",
        "diff": "difference",
        "function": "rewrite",
        "infer_shapes": "shapes.annotate",
        "load": "ir",
        "optimize": "pipeline",
        "rule": "rewrite",
        "shape_function": "shapes.registry",
        "trace": "tracing",
        "verify": "verification",
    },
)


__all__ = [
    "GraphoptError",
    "Model",
    "Precision",
    "Report",
    "bisect",
    "diff",
    "function",
    "infer_shapes",
    "load",
    "optimize",
    "rule",
    "shape_function",
    "trace",
    "verify",
]
