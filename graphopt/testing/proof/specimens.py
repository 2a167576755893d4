"""Specimens: small models in which a rule fires, for each of its variants, before and after.

They are drawn as those of the rule's property test are, but by dice instead of Hypothesis: it is known which variant is
wanted, and nothing has to shrink. What is drawn depends on the rule's name alone.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from onnx import ModelProto, TensorProto, helper

from graphopt.errors import GraphoptError
from graphopt.exec.kernels.dtypes import is_float, is_integer
from graphopt.rewrite import Rule
from graphopt.testing.building.builder import Invalid
from graphopt.testing.checking import apply_rule
from graphopt.testing.choices import Choices
from graphopt.testing.declarations.instances import draw_instance
from graphopt.testing.declarations.signature import DTYPES
from graphopt.testing.proof.flow import data_inputs, gives_elements
from graphopt.testing.proof.sizes import computes_shapes, names_in_outputs

T = TypeVar("T")
#: Numbers that arithmetic keeps exact, so that what a rule folds is not rounded.
_STYLES = ("binary", "whole", "plain")
#: Models drawn for a variant at most.
_ATTEMPTS = 60
#: Models wanted in which a rule fires, all its variants together, and for each of these at least.
_WANTED, _AT_LEAST = 24, 6
#: Models drawn where the rule fired on none of the first ones.
_MORE_ATTEMPTS = 240
#: Elements of all inputs and outputs of a specimen together: more take too long to compute with in formulas.
_LARGEST = 160
#: So many elements more are worth one feature that others have not.
_WORTH = 20.0
#: Costs below the first number are those of models of real numbers and truth values, below the second of integers and shapes.
_SUITS = (1.0, 2.0)


@dataclass(frozen=True)
class Specimen:
    """A model in which a rule fires.

    Attributes:
        variant: of the rule.
        model: before.
        rewritten: after.
        feeds: inputs.
        cost: the smaller, the better it suits.
        features: what is special about it.
    """

    variant: int
    model: ModelProto
    rewritten: ModelProto
    feeds: dict[str, Any]
    cost: tuple[float, ...]
    features: frozenset[str]

    @property
    def shapes(self) -> str:
        """Dtypes and shapes of the inputs."""
        return ", ".join(f"{np.asarray(a).dtype}{list(np.shape(a))}" for a in self.feeds.values()) or "no inputs"


class Dice(Choices):
    """Choices by a seeded generator of random numbers. Double precision wins where it may, as it rounds constants least."""

    __slots__ = ("_random",)

    def __init__(self, seed: str) -> None:
        super().__init__(_no_draw)
        self._random = random.Random(seed)

    def one(self, options: Sequence[T]) -> T:
        return options[self.integer(0, len(options) - 1)]

    def weighted(self, options: Sequence[tuple[int, T]]) -> T:
        if options and all(isinstance(o[1], int) and o in DTYPES for o in options):
            wide = [o for o in options if o[1] == TensorProto.DOUBLE] or [
                o for o in options if o[1] == TensorProto.FLOAT
            ]
            if wide and self._random.random() < 0.8:
                return wide[0][1]
        (weights, values) = zip(*options, strict=True)
        return self._random.choices(values, weights)[0]

    def integer(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def chance(self, of: int) -> bool:
        return self._random.random() * of < 1


def _no_draw(strategy: Any) -> Any:
    raise AssertionError("dice draw from no strategy")


def specimens(rule: Rule) -> list[list[Specimen]]:
    """Models in which a rule fires, for each of its variants; the fewest for those that hardly ever do."""
    wanted = max(_WANTED // len(rule.variants), _AT_LEAST)
    found: list[list[Specimen]] = []
    for k in range(len(rule.variants)):
        mine: dict[Any, Specimen] = {}
        for attempt in range(_MORE_ATTEMPTS):
            if len(mine) >= wanted or (mine and attempt >= _ATTEMPTS):
                break
            specimen = _drawn(rule, k, f"{rule.name}/{k}/{attempt}", _STYLES[attempt % len(_STYLES)])
            if specimen is not None:
                mine.setdefault((specimen.shapes, specimen.features), specimen)
        found.append(list(mine.values()))
    return found


def chosen(found: Sequence[Specimen], count: int) -> list[Specimen]:
    """Some that suit, small ones that have what the others have not: ranks, inputs that are left out, attributes."""
    good = next(filter(None, ([s for s in found if s.cost[0] < limit] for limit in _SUITS)), found)
    left = sorted(good, key=lambda s: s.cost)
    taken: list[Specimen] = []
    seen: set[str] = set()
    while left and len(taken) < count:
        best = min(left, key=lambda s: (s.cost[0], s.cost[1] / _WORTH - len(s.features - seen)))
        left.remove(best)
        taken.append(best)
        seen |= best.features
    return taken


def _drawn(rule: Rule, variant: int, seed: str, style: str) -> Specimen | None:
    try:
        instance = draw_instance(Dice(seed), rule, variant, False, style)
        rewritten, _ = apply_rule(rule, instance.model)
    except (Invalid, GraphoptError):
        return None
    feeds = instance.feeds
    if rewritten is None or not feeds or not all(isinstance(a, np.ndarray) and a.size for a in feeds.values()):
        return None
    if not gives_elements(instance.model, feeds):
        return None
    cost = _cost(instance.model, rewritten, feeds)
    if cost[1] > _LARGEST:
        return None
    return Specimen(variant, instance.model, rewritten, feeds, cost, _features(instance.model, feeds))


def _features(model: ModelProto, feeds: dict[str, np.ndarray]) -> frozenset[str]:
    """Ranks, which inputs operators have, their attributes, and the ranks of constants."""
    found = {f"ranks {[a.ndim for a in feeds.values()]}"}
    found.update(f"constant {len(w.dims)}" for w in model.graph.initializer)
    for node in model.graph.node:
        found.add(f"{node.op_type} {[bool(name) for name in node.input]}")
        found.update(
            f"{node.op_type} {helper.printable_attribute(a)}" for a in node.attribute if node.op_type != "Constant"
        )
    return frozenset(found)


def _cost(model: ModelProto, rewritten: ModelProto, feeds: dict[str, np.ndarray]) -> tuple[float, ...]:
    """How well a model suits: its outputs are made of real numbers, its tensors have something to mix up, and there are few.

    What computes shapes suits where these have dims with names.
    """
    if computes_shapes(model) and (names := names_in_outputs(model, rewritten)):
        return (1.0, float(len(model.graph.node)), float(-len(names)))
    reaching = [feeds[name] for name in data_inputs(model)]
    suits = min([_suits(a.dtype) for a in reaching], default=2.0)
    shapes = [a.shape for a in feeds.values()]
    says = all(sum(d > 1 for d in s) >= min(len(s), 2) for s in shapes)
    shapes += [tuple(w.dims) for w in model.graph.initializer if w.data_type in _REAL]
    says = says and all(0 not in s for s in shapes)
    if not says or not any(a.ndim for a in reaching):
        suits += 3.0
    return (suits, float(sum(map(math.prod, shapes))), float(all(a.dtype != np.float64 for a in reaching)))


def _suits(dtype: np.dtype[Any]) -> float:
    """Narrow floats suit less than others, as what a rule folds is rounded coarsely."""
    if is_float(dtype):
        return 0.0 if dtype.itemsize > 2 else 0.25
    return 0.5 if dtype.kind == "b" else 1.0 if is_integer(dtype) else 2.0


_REAL = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16})
