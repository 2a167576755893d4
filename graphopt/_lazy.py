"""Public names of a package that are imported when they are first asked for (PEP 562): importing it costs next to nothing."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy(package: str, exports: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package.

    Args:
        package: its name.
        exports: public names, and the modules of the package where they live: 'module', or 'module:name' where it is called
            otherwise there.
    """
    namespace = vars(sys.modules[package])

    def get(name: str) -> Any:
        if name not in exports:
            raise AttributeError(f"module '{package}' has no attribute {name!r}")
        module, _, there = exports[name].partition(":")
        value = namespace[name] = getattr(importlib.import_module(f"{package}.{module}"), there or name)
        return value

    return get, lambda: sorted({*namespace, *exports})
