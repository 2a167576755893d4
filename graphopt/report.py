"""What `graphopt.optimize` did to a model, and why not more."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graphopt._display import html_of
from graphopt._words import size_text
from graphopt.errors import ArgumentError
from graphopt.ir import Model, Origin
from graphopt.rewrite import Ledger, Rule, Step
from graphopt.steps import NumberedStep, Phase, phases

if TYPE_CHECKING:
    from graphopt.precision import PrecisionReport


@dataclass(frozen=True, slots=True)
class Summary:
    """A model in numbers: nodes by operator in all graphs (Constants apart), and bytes of constants."""

    operators: Counter[str]
    constant_bytes: int

    @property
    def nodes(self) -> int:
        return sum(self.operators.values())

    @classmethod
    def of(cls, model: Model) -> Summary:
        operators: Counter[str] = Counter()
        size = 0
        for g in model.graphs():
            size += sum(t.nbytes for t in g.initializers.values())
            for node in g:
                if node.op == "Constant":
                    v = node.outputs[0]
                    size += v.const.nbytes if v is not None and v.const is not None else 0
                else:
                    operators[node.op] += 1
        return cls(operators, size)


@dataclass(slots=True, repr=False)
class Report:
    """The ledger of an optimisation and the model before and after.

    Attributes:
        level: what was asked for.
        before, after: the models in numbers.
        ledger: every step in order, refusals with their reasons, warnings.
        seconds: what it took, loading apart.
        notes: what the user should know, beside the ledger's warnings.
        precision: what another precision costs and gains, None where none was asked for.
        tuning: what was measured to come to it (`graphopt.tuning.Tuning`), None where nothing was.
        target: the runtime that the model is for.
        rules: those that the caller brought.
        origin, result: what was optimised, and what came of it; None where there is no telling.
    """

    level: int
    before: Summary
    after: Summary
    ledger: Ledger
    seconds: float
    notes: list[str] = field(default_factory=list)
    precision: PrecisionReport | None = None
    tuning: Any = None
    target: str = "onnx"
    rules: tuple[Rule, ...] = field(default=(), repr=False)
    origin: Origin | None = field(default=None, repr=False, compare=False)
    result: Model | None = field(default=None, repr=False, compare=False)

    @property
    def steps(self) -> list[Step]:
        """Every application of a rule or pass, in order."""
        return self.ledger.steps

    @property
    def nodes_before(self) -> int:
        return self.before.nodes

    @property
    def nodes_after(self) -> int:
        return self.after.nodes

    @property
    def warnings(self) -> list[str]:
        """What the user should know."""
        return [*self.notes, *self.ledger.warnings]

    def by_rule(self) -> list[tuple[str, int, int, float]]:
        """(rule or pass, applications, nodes saved, microseconds), most saved first."""
        rows: dict[str, list[float]] = {}
        for s in self.steps:
            row = rows.setdefault(s.rule, [0, 0, 0.0])
            row[0] += 1
            row[1] += s.saved
            row[2] += s.microseconds
        table = [(name, int(n), int(saved), us) for name, (n, saved, us) in rows.items()]
        return sorted(table, key=lambda r: (-r[2], -r[1], r[0]))

    def operators(self) -> list[tuple[str, int, int]]:
        """(operator, count before, count after) where the counts differ, largest change first."""
        names = {*self.before.operators, *self.after.operators}
        rows = [(n, self.before.operators[n], self.after.operators[n]) for n in names]
        return sorted((r for r in rows if r[1] != r[2]), key=lambda r: (r[2] - r[1], r[0]))

    def refusals(self) -> list[tuple[str, str, int, str]]:
        """(rule, reason, how often, first place), most frequent first."""
        d = self.ledger
        return [(rule, reason, n, d.declined_at[rule, reason]) for (rule, reason), n in d.declined.most_common()]

    def explain(self, name: str) -> list[Step]:
        """The steps that took away or brought the node, or the value, of this name."""

        def mentions(s: Step) -> Iterator[bool]:
            for r in (*s.before, *s.after):
                yield name in (r.name, r.output)

        return [s for s in self.steps if any(mentions(s))]

    def rule(self, name: str) -> Rule | None:
        """The rule of this name, one of the user's own or of the package's; None: it is a pass, or nothing."""
        from graphopt.patterns import all_rules

        return next((r for r in self.rules if r.name == name), None) or all_rules().get(name)

    def step(self, number: int) -> NumberedStep:
        """What step `number` did, from 1 on; `optimize(steps=number)` stops right after it. Notebooks draw it.

        Raises:
            ArgumentError: there is no such step.
        """
        if not isinstance(number, int) or not 1 <= number <= len(self.steps):
            last = f"the last one is {len(self.steps)}" if self.steps else "there are none"
            raise ArgumentError(f"step {number!r} does not exist: they are counted from 1, and {last}")
        return self._numbered(number, sum(s.saved for s in self.steps[:number]))

    def numbered(self) -> Iterator[NumberedStep]:
        """Every step with its number and where it stands, in order."""
        saved = 0
        for number, s in enumerate(self.steps, 1):
            saved += s.saved
            yield self._numbered(number, saved)

    def _numbered(self, number: int, saved: int) -> NumberedStep:
        from graphopt.passes import PASSES

        step = self.steps[number - 1]
        rule = self.rule(step.rule)
        why = PASSES.get(step.rule, "") if rule is None else " ".join(rule.doc.split())
        phase = next((name for at, name in reversed(self.ledger.phases) if at < number), "")
        return NumberedStep(number, len(self.steps), phase, step, rule, why, self.nodes_before - saved)

    def phases(self) -> list[Phase]:
        """The parts of the work in which something was done, in order, with what each did."""
        return phases(self.steps, self.ledger.phases, self.nodes_before)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "level": self.level,
            "nodes": {"before": self.nodes_before, "after": self.nodes_after},
            "constant_bytes": {"before": self.before.constant_bytes, "after": self.after.constant_bytes},
            "operators": {n: {"before": b, "after": a} for n, b, a in self.operators()},
            "seconds": self.seconds,
            "rules": [
                {"rule": r, "applications": n, "nodes_saved": saved, "microseconds": us}
                for r, n, saved, us in self.by_rule()
            ],
            "steps": [s.to_dict() for s in self.steps],
            "refusals": [{"rule": r, "reason": why, "count": n, "first": at} for r, why, n, at in self.refusals()],
            "warnings": self.warnings,
            **({} if self.precision is None else {"precision": self.precision.to_dict()}),
            "tuning": None if self.tuning is None else self.tuning.to_dict(),
        }

    def to_json(self, indent: int | None = 1) -> str:
        return json.dumps(self.to_dict(), indent=indent)

    def to_html(
        self,
        title: str = "",
        *,
        file_bytes: tuple[int, int] | None = None,
        measured: tuple[float, float] | None = None,
        measured_on: str = "",
    ) -> str:
        """A page that shows the models side by side, what was done and what was not; one file, which needs no network.

        Args:
            title: what was optimised; '': the file, or the name of the graph.
            file_bytes: of the files before and after.
            measured: seconds of a run of each.
            measured_on: where they were measured.

        Raises:
            ArgumentError: the report is not of `graphopt.optimize`, so the models are not known.
            MissingDependencyError: jinja2 is not installed.
        """
        if self.origin is None or self.result is None:
            raise ArgumentError(
                "the models of this report are not known; take the .report of what graphopt.optimize returns"
            )
        from graphopt.targets import target_of  # heavy, and only pages need it
        from graphopt.view.page import page

        return page(
            self.origin.reread(), self.result, self, title=title, machine=target_of(self.target).machine,
            file_bytes=file_bytes, measured=measured, measured_on=measured_on,
        )  # fmt: skip

    def __str__(self) -> str:
        size = f"{size_text(self.before.constant_bytes)} -> {size_text(self.after.constant_bytes)} of constants"
        lines = [f"level {self.level}: {self.nodes_before} -> {self.nodes_after} nodes, {size}, {self.seconds:.3f} s"]
        lines += [f"  {n:5d} x {name:36s} {-saved:+5d} nodes" for name, n, saved, _ in self.by_rule()]
        lines += [f"  note: {w}" for w in self.warnings]
        lines += [] if self.precision is None else self.precision.lines()
        lines += [] if self.tuning is None else self.tuning.lines()
        return "\n".join(lines)

    def __repr__(self) -> str:
        nodes = f"{self.nodes_before} -> {self.nodes_after} nodes"
        return f"<graphopt.Report: level {self.level}, {nodes}, {len(self.steps)} steps>"

    def _repr_html_(self) -> str:
        return html_of(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))
