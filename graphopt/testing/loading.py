"""Rules by where they are: a module, a file, or the package's own."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from graphopt.errors import ArgumentError
from graphopt.patterns import all_rules
from graphopt.rewrite import Rule

#: Stands for the package's own rules.
OWN = "graphopt.patterns"


def rules_in(target: str) -> list[Rule]:
    """The rules that a target holds.

    Args:
        target: the path of a Python file; a module's name; 'graphopt.patterns' for the package's own rules; any of these
            with '::name' behind it for one rule.

    Raises:
        ArgumentError: there is no such file, module or rule, or it cannot be imported.
    """
    place, _, wanted = target.partition("::")
    found = list(all_rules().values()) if place == OWN else _in_module(_module(place))
    if not found:
        raise ArgumentError(f"'{place}' holds no rule; a rule is a generator function under @graphopt.rule")
    if wanted:
        named = [r for r in found if r.name == wanted]
        if not named:
            raise ArgumentError(f"'{place}' has no rule '{wanted}'; it has {', '.join(r.name for r in found[:20])}")
        return named
    return found


def _in_module(module: ModuleType) -> list[Rule]:
    rules = [v for v in vars(module).values() if isinstance(v, Rule) and v.fn.__module__ == module.__name__]
    return list(dict.fromkeys(rules))


def _module(place: str) -> ModuleType:
    path = Path(place)
    try:
        if path.suffix != ".py":
            return importlib.import_module(place)
        if not path.is_file():
            raise ArgumentError(f"'{place}': no such file")
        name = f"graphopt_rules_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # where dataclasses and annotations look for it
        spec.loader.exec_module(module)
    except ArgumentError:
        raise
    except Exception as e:
        raise ArgumentError(f"'{place}' cannot be imported: {type(e).__name__}: {e}") from e
    return module
