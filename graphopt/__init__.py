"""graphopt: an optimizer and transformation framework for ONNX graphs."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# In a source checkout `graphopt.patterns` and `graphopt.exec` lie beside this folder, not in it; an installed package has
# them inside. With this, both work from the checkout too, whatever is installed.
_ROOT = Path(__file__).resolve().parent.parent
if not (Path(__file__).parent / "patterns").is_dir() and (_ROOT / "pyproject.toml").is_file():
    __path__.append(str(_ROOT))

if TYPE_CHECKING:
    from graphopt.ir import Model, load
    from graphopt.pipeline import optimize
    from graphopt.rewrite import rule
    from graphopt.verification import verify

#: Public names and where they live; imported when first asked for, so that `import graphopt` costs next to nothing.
_EXPORTS = {
    "GraphoptError": "graphopt.errors",
    "Model": "graphopt.ir",
    "load": "graphopt.ir",
    "optimize": "graphopt.pipeline",
    "rule": "graphopt.rewrite",
    "verify": "graphopt.verification",
}


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        value = getattr(importlib.import_module(_EXPORTS[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'graphopt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})


__all__ = ["GraphoptError", "Model", "load", "optimize", "rule", "verify"]
