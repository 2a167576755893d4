"""For each rule a small model that it applies to, before and after: drawn from the rule's declaration, and rewritten by the rule.

Nothing of it is written by hand, so a picture of the catalogue is always what the rule really does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from onnx import ModelProto, TensorProto

from graphopt.errors import RuleError
from graphopt.patterns import all_rules
from graphopt.rewrite import Rule
from graphopt.testing import Instance, instances
from graphopt.testing.checking import apply_rule
from graphopt.testing.proof.record import source_hash
from graphopt.testing.seeds import Seeded
from graphopt.view.drawing import picture_of_model
from graphopt.view.svg import render

#: Models to draw before giving up, and models on which the rule applies among which the plainest is taken.
DRAWN, FOUND = 400, 6


@dataclass(frozen=True, slots=True)
class Example:
    """A model that a rule applies to, and what the rule makes of it."""

    before: ModelProto
    after: ModelProto

    def drawing(self, label: str) -> str:
        """Both side by side as SVG; the label says what it shows, for those who do not see it."""
        return render([picture_of_model(m) for m in (self.before, self.after)], ["→"], label)


def example_of(rule: Rule) -> Example | None:
    """The plainest of the first models drawn on which a rule fires; None where it fires on none of them.

    The same on every machine: models are functions of a number.
    """
    found: list[Example] = []
    for example in _firing(rule):
        found.append(example)
        if len(found) == FOUND:
            break
    return min(found, key=_strangeness, default=None)


def _firing(rule: Rule) -> Iterator[Example]:
    draw = [
        Seeded(instances(rule, decoys=False, style="plain", variant=k))
        for k in range(min(len(rule.variants), DRAWN // 20))
    ]
    for seed in range(DRAWN):
        drawn = draw[seed // 20 % len(draw)](seed)
        if isinstance(drawn, Instance):
            after, _ = apply_rule(rule, drawn.model)
            if after is not None:
                yield Example(drawn.model, after)


def _strangeness(example: Example) -> tuple[int, int, int]:
    """Empty tensors and scalars last, then by size and by dtypes that are not the usual ones."""
    graph = example.before.graph
    types = [v.type.tensor_type for v in graph.input]
    empty = any(d.HasField("dim_value") and d.dim_value == 0 for t in types for d in t.shape.dim)
    scalars = sum(t.HasField("shape") and len(t.shape.dim) < 2 for t in types)
    usual = (TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL)
    return 2 * empty + bool(scalars), len(graph.node), sum(t.elem_type not in usual for t in types)


@cache
def examples_of(folder: Path) -> dict[str, Example]:
    """An example for each of the package's rules; those whose rule has not changed since are read from a folder.

    Raises:
        RuleError: a rule fires on nothing that is drawn from it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Example] = {}
    for name, rule in all_rules().items():
        base = f"{name}-{source_hash(rule)}"
        files = [folder / f"{base}-{side}.onnx" for side in ("before", "after")]
        if not all(f.exists() for f in files):
            example = example_of(rule)
            if example is None:
                raise RuleError(f"rule '{name}' fires on none of {DRAWN} models that are drawn from its declaration")
            files[0].write_bytes(example.before.SerializeToString(deterministic=True))
            files[1].write_bytes(example.after.SerializeToString(deterministic=True))
        found[name] = Example(*(ModelProto.FromString(f.read_bytes()) for f in files))
    return found
