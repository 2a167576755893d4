"""The rules and nothing else. Each is an equation; the folder says in which phase it runs, the file which operators it is about.

raising: restore operators from what exporters write out. simplifying: algebra on the canonical form. lowering: what runs best.
onnxruntime_cpu: forms that ONNX Runtime has the fastest kernels for, where it is the target.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from functools import cache
from importlib import resources

from graphopt.rewrite import Rule

PHASES = ("raising", "simplifying", "lowering")
#: Rules for one target only, after the others.
TARGET_PHASES = ("onnxruntime_cpu",)


@cache
def rules_of(phase: str) -> tuple[Rule, ...]:
    """The rules of a phase, by file name and in the order in which they stand there."""
    package = importlib.import_module(f"graphopt.patterns.{phase}")
    found: list[Rule] = []
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        module = importlib.import_module(f"graphopt.patterns.{phase}.{info.name}")
        found += [r for r in vars(module).values() if isinstance(r, Rule) and r.fn.__module__ == module.__name__]
    return tuple(found)


#: Beside the rules: what is proved of each, made by graphopt.testing.proof.
PROOFS = "proofs.json"


@cache
def proofs() -> dict[str, dict[str, str]]:
    """By the rule's name: the rung of the proof ladder that it reached ("rung"), what that is about ("note"), and a hash of the
    source that was proved ("source")."""
    return dict(json.loads(resources.files("graphopt.patterns").joinpath(PROOFS).read_text(encoding="utf-8")))


def all_rules() -> dict[str, Rule]:
    """Every rule of the package by name."""
    return {r.name: r for phase in (*PHASES, *TARGET_PHASES) for r in rules_of(phase)}
