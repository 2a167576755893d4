"""A step of an optimisation, or a phase, with where it stands: what `report.step`, `report.phases` and `graphopt.trace` give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graphopt._display import html_of, svg_of
from graphopt._words import listed
from graphopt.errors import ArgumentError
from graphopt.rewrite import NodeRecord, Step

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.rewrite import Rule


@dataclass(frozen=True, repr=False)
class NumberedStep:
    """What one step did, and where it stands among the others. Notebooks draw it.

    Attributes:
        number: which one, from 1 on: `optimize(steps=number)` stops right after it.
        of: how many steps there are in all.
        phase: the part of the work that it belongs to.
        step: the ledger's entry.
        rule: the rule, None where a pass did it, or a rule that is not known any more.
        why: what the rule or pass says about itself.
        nodes: how many nodes, Constants apart, the model has after it.
        replay: makes the model after a step of this number; None where the step comes from a report.
    """

    number: int
    of: int
    phase: str
    step: Step
    rule: Rule | None
    why: str
    nodes: int
    replay: Callable[[int], Model] | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """Of the rule or pass."""
        return self.step.rule

    @property
    def before(self) -> tuple[NodeRecord, ...]:
        """The nodes that went away."""
        return self.step.before

    @property
    def after(self) -> tuple[NodeRecord, ...]:
        """The nodes that came."""
        return self.step.after

    @property
    def model(self) -> Model:
        """The model as it is right after this step; made anew, by optimising again and stopping here.

        Raises:
            ArgumentError: the step comes from a report, which keeps no model.
        """
        if self.replay is None:
            raise ArgumentError(
                f"a report keeps no models: graphopt.trace(model)[{self.number}].model, or graphopt.optimize(model, "
                f"steps={self.number}), makes the one after step {self.number}"
            )
        return self.replay(self.number)

    def __str__(self) -> str:
        step = self.step
        lines = [f"step {self.number} of {self.of}, {self.phase}: {step.rule} at '{step.location}'"]
        lines.append(f"  {_nodes(step.before)}  ->  {_nodes(step.after)}, {self.nodes} nodes left")
        lines += [f"  {self.rule.equation}"] if self.rule is not None else []
        lines += [f"  {text}" for text in (self.why, step.note, step.where) if text]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<step {self.number} of {self.of}: {self.name} at '{self.step.location}'>"

    def _repr_html_(self) -> str:
        return html_of(self)

    def _repr_svg_(self) -> str | None:
        return svg_of(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


@dataclass(frozen=True)
class Phase:
    """A part of the work: the steps between two numbers.

    Attributes:
        name: 'raising', 'simplifying', 'lowering', 'exact', 'cleaning up'...
        first, last: numbers of its steps, from 1 on; the last comes before the first where nothing was done.
        nodes_before, nodes_after: how many nodes the model had, Constants apart.
        rules: how often each rule or pass was applied, the most frequent first.
        operators: by how much the number of nodes of each operator changed.
    """

    name: str
    first: int
    last: int
    nodes_before: int
    nodes_after: int
    rules: Counter[str]
    operators: Counter[str]

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.name}: {len(self)} steps, {self.nodes_before} -> {self.nodes_after} nodes"


def phases(steps: list[Step], begins: Iterable[tuple[int, str]], nodes: int) -> list[Phase]:
    """The steps cut into phases; those in which nothing was done are left out.

    Args:
        steps: all of them.
        begins: where phases begin, as (steps before it, its name).
        nodes: how many nodes the model had at first.
    """
    marks = [(0, ""), *begins]
    found: list[Phase] = []
    for (start, name), end in zip(marks, [*(at for at, _ in marks[1:]), len(steps)], strict=True):
        inside = steps[start:end]
        if not inside:
            continue
        left = nodes - sum(s.saved for s in inside)
        changed: Counter[str] = Counter()
        for s in inside:
            changed.update(r.op for r in s.after if r.op != "Constant")
            changed.subtract(r.op for r in s.before if r.op != "Constant")
        operators = Counter({op: n for op, n in changed.items() if n})
        rules = Counter(dict(Counter(s.rule for s in inside).most_common()))
        found.append(Phase(name, start + 1, end, nodes, left, rules, operators))
        nodes = left
    return found


def _nodes(records: tuple[NodeRecord, ...]) -> str:
    return listed([r.op for r in records], 8, " ") or "nothing"
