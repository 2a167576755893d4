"""What can be chosen about a model: the level, the opset, and what is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from graphopt.passes import COST
from graphopt.patterns import PHASES, TARGET_PHASES, rules_of
from graphopt.report import Report

#: Simplifications that move or add work; the others make a model smaller and nothing else.
_MOVING = frozenset(
    {"algebra", "channels", "convolution", "convolution_input", "convolution_merging", "linear", "linear_gemm", "linear_sums",
     "pooling", "recurrent", "relative_position", "resize", "slicing", "splitting", "strided", "transpose"}
)  # fmt: skip
#: Passes that do so; each is a family of its own.
_MOVING_PASSES = ("constant_folding", "constant_loop", "if_branches", "local_initializers", "loop_invariants")


@dataclass(frozen=True, slots=True)
class Choice:
    """Options of `graphopt.optimize`.

    Attributes:
        level: its level.
        own_opset: the model stays at its own opset, where the target prefers another.
        without: rules, families and passes that are left out, besides those that the user leaves out.
    """

    level: int
    own_opset: bool = False
    without: frozenset[str] = frozenset()

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {"level": self.level, "own_opset": self.own_opset, "without": sorted(self.without)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Choice:
        """What `to_dict` made."""
        return cls(int(data["level"]), bool(data["own_opset"]), frozenset(map(str, data["without"])))

    def __str__(self) -> str:
        if not self.level:
            return "untouched"
        words = [f"level {self.level}"]
        if self.own_opset:
            words.append("at its own opset")
        if self.without:
            words.append(f"without {', '.join(sorted(self.without))}")
        return " ".join(words)


UNTOUCHED = Choice(0)


def alternatives(base: Choice, report: Report, other_opset: bool) -> list[Choice]:
    """Choices beside the one that was made, those that change most first.

    Args:
        report: of the optimisation by `base`: what did not fire makes no difference.
        other_opset: it led the model to another opset than its own.
    """
    found = [Choice(base.level, True, base.without)] if other_opset and not base.own_opset else []
    found += [Choice(level, base.own_opset, base.without) for level in range(1, base.level)]
    found += [without(base, family) for family, _ in _changes(report, by_family=True).most_common()]
    return [*found, without(base, COST)] if COST not in base.without else found


def finer(base: Choice, report: Report, family: str) -> list[Choice]:
    """The rules of a family one by one, where several fired."""
    mine = {r.name for r in _moving() if r.family == family}
    fired = [name for name, _ in _changes(report, by_family=False).most_common() if name in mine]
    return [without(base, name) for name in fired] if len(fired) > 1 else []


def without(base: Choice, name: str) -> Choice:
    """The same with one thing more left out."""
    return Choice(base.level, base.own_opset, base.without | {name})


def together(base: Choice, choices: list[Choice]) -> Choice:
    """All that any of them leaves out; at its own opset where one of them is."""
    left_out = base.without.union(*(c.without for c in choices))
    return Choice(base.level, base.own_opset or any(c.own_opset for c in choices), left_out)


def _moving() -> Iterator[Any]:
    """The rules that are no plain cleaning up."""
    for phase in (*PHASES, *TARGET_PHASES):
        for r in rules_of(phase):
            if phase != "simplifying" or r.family in _MOVING:
                yield r


def _changes(report: Report, by_family: bool) -> Counter[str]:
    """Nodes that were taken or brought, by family or by rule."""
    families = {r.name: r.family for r in _moving()} | {name: name for name in _MOVING_PASSES}
    counted: Counter[str] = Counter()
    for step in report.steps:
        if (family := families.get(step.rule)) is not None:
            counted[family if by_family else step.rule] += len(step.before) + len(step.after)
    return counted
