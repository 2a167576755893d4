"""What was done to a model, step by step, and what was nearly done."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node as it was: its operator, name and first output; what it read ('' where an input is left out), its other outputs."""

    op: str
    name: str
    output: str
    inputs: tuple[str, ...] = ()
    more_outputs: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What messages call it: its name, else that of its first output."""
        return self.name or self.output


@dataclass(frozen=True, slots=True)
class Step:
    """One application of a rule or pass.

    Attributes:
        rule: its name.
        where: file and line of the rule, empty for a pass.
        graph: the graph that was changed.
        before: nodes that went away.
        after: nodes that came.
        microseconds: what it took.
        note: what a pass has to say about it.
    """

    rule: str
    where: str
    graph: str
    before: tuple[NodeRecord, ...]
    after: tuple[NodeRecord, ...]
    microseconds: float
    note: str = ""

    @property
    def location(self) -> str:
        """The value at which it happened."""
        records = self.before or self.after
        return records[0].output if records else self.graph

    @property
    def saved(self) -> int:
        """How many nodes fewer, Constants apart."""
        return sum(n.op != "Constant" for n in self.before) - sum(n.op != "Constant" for n in self.after)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "rule": self.rule,
            "where": self.where,
            "graph": self.graph,
            "location": self.location,
            "before": [{"op": r.op, "name": r.name, "output": r.output} for r in self.before],
            "after": [{"op": r.op, "name": r.name, "output": r.output} for r in self.after],
            "microseconds": self.microseconds,
            "note": self.note,
        }


class LimitReached(Exception):
    """As many steps were taken as the ledger has room for; the model is whole, as it is after each step."""


@dataclass(slots=True)
class Ledger:
    """Steps in order; refusals counted by (rule, reason), each with the first place where it happened.

    Attributes:
        limit: after so many steps no more are taken; None: no end.
        phases: where each part of the work begins, as (steps taken before it, its name).
    """

    limit: int | None = None

    steps: list[Step] = field(default_factory=list)
    declined: Counter[tuple[str, str]] = field(default_factory=Counter)
    declined_at: dict[tuple[str, str], str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    phases: list[tuple[int, str]] = field(default_factory=list)

    def begin(self, phase: str) -> None:
        """Note that what follows is another part of the work."""
        self.phases.append((len(self.steps), phase))

    @property
    def full(self) -> bool:
        """No more steps may be taken."""
        return self.limit is not None and len(self.steps) >= self.limit

    def record(self, step: Step) -> None:
        """Note a step that was taken.

        Raises:
            LimitReached: it was the last that may be.
        """
        self.steps.append(step)
        if self.full:
            raise LimitReached

    def decline(self, rule: str, reason: str, location: str) -> None:
        key = (rule, reason)
        self.declined[key] += 1
        self.declined_at.setdefault(key, location)
